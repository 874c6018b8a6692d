//! The token of the model endpoint. Unlike those of the operator API it is kept over restarts, as it stands in the
//! settings of other programs, and it opens the models and nothing else. Compared in constant time, never logged.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::access::{TokensError, fresh};
use crate::adapters::keystore;
use crate::adapters::paths::{PathError, StateDir};
use crate::domain::base::limits::MODEL_TOKEN_FILE_MAX_BYTES;

/// The prefix of a token, by which scanners for leaked secrets recognise it.
const PREFIX: &str = "cmk_";

/// See the module.
pub struct ModelToken(Zeroizing<String>);

impl fmt::Debug for ModelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelToken(secret)")
    }
}

/// Why the token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file is there and is not what was written.
    #[error("{file}: {why}; `clawmesh-node model token --new` makes a new one")]
    File {
        /// The file.
        file: String,
        /// The fault; never the content.
        why: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] PathError),
    /// The system gives no random bytes.
    #[error(transparent)]
    Random(#[from] TokensError),
}

impl ModelToken {
    /// The token of a state directory, `None` if it has none.
    ///
    /// # Errors
    /// [`TokenError::File`].
    pub fn load(dir: &StateDir) -> Result<Option<Self>, TokenError> {
        let file = dir.model_token_file();
        let bad = |why: String| TokenError::File {
            file: file.display().to_string(),
            why,
        };
        let read = keystore::read_secret(&file, MODEL_TOKEN_FILE_MAX_BYTES);
        let Some(text) = read.map_err(|error| bad(error.to_string()))? else {
            return Ok(None);
        };
        let token = text.trim();
        let bytes = token.strip_prefix(PREFIX);
        let bytes = bytes.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        match bytes.is_some_and(|bytes| bytes.len() == 32) {
            true => Ok(Some(Self(Zeroizing::new(token.to_owned())))),
            false => Err(bad("it holds no token".to_owned())),
        }
    }

    /// A new token in the place of what was there, readable by its owner only.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn make(dir: &StateDir) -> Result<Self, TokenError> {
        let token = Zeroizing::new(format!("{PREFIX}{}", fresh()?));
        dir.write_private(&dir.model_token_file(), format!("{}\n", *token).as_bytes())?;
        Ok(Self(token))
    }

    /// Whether this is it.
    pub fn fits(&self, presented: &str) -> bool {
        bool::from(self.0.as_bytes().ct_eq(presented.as_bytes()))
    }

    /// The token, for the person that it belongs to.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_kept_owner_only_replaced_on_request_and_never_shown_by_accident() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        assert!(ModelToken::load(&dir).unwrap().is_none());
        let made = ModelToken::make(&dir).unwrap();
        let kept = ModelToken::load(&dir).unwrap().unwrap();
        assert!(kept.fits(made.reveal()) && made.reveal().starts_with(PREFIX));
        for bad in ["", PREFIX, &made.reveal()[1..], &made.reveal()[..20]] {
            assert!(!kept.fits(bad));
        }
        let file = dir.model_token_file();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        assert!(!format!("{made:?}").contains(&made.reveal()[5..]));
        let new = ModelToken::make(&dir).unwrap();
        assert!(!new.fits(made.reveal()));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = ModelToken::load(&dir).unwrap_err().to_string();
        assert!(error.contains("644"), "{error}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&file, "hush\n").unwrap();
        let error = ModelToken::load(&dir).unwrap_err().to_string();
        assert!(
            error.contains("model-token") && !error.contains("hush"),
            "{error}"
        );
    }
}
