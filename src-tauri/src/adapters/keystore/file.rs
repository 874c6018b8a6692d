//! Key files: their format, that only their owner may read them, and where the secret half lies.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyError;
use super::sealed::Sealed;
use crate::adapters::files;
use crate::adapters::paths::{PathError, create_private, write_private};
use crate::adapters::system;
use crate::domain::base::limits::KEY_FILE_MAX_BYTES;

/// The value of `storage` where the keychain holds the secret half.
pub(super) const KEYCHAIN: &str = "keychain";

/// A key file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyFile {
    pub(super) version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) operator_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) public_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret_key: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<Sealed>,
    pub(super) created_at_ms: u64,
    pub(super) storage: String,
}

/// The text of a file with a secret; `None` where there is none. It must be a plain file that only its owner may
/// read.
///
/// # Errors
/// [`KeyError::Read`], or [`KeyError::Exposed`] with what to do.
pub fn read_secret(path: &Path, max_bytes: u64) -> Result<Option<Zeroizing<String>>, KeyError> {
    let file = path.display().to_string();
    let failed = |source| KeyError::Read {
        file: file.clone(),
        source,
    };
    let opened = match files::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if let Some(exposure) = system::others_may_read(&opened, path).map_err(failed)? {
        return Err(KeyError::Exposed { file, exposure });
    }
    let text = files::text_of(files::read_opened(opened, max_bytes).map_err(failed)?);
    Ok(Some(Zeroizing::new(text.map_err(failed)?)))
}

/// The key file at `path`, wherever its secret half lies.
pub(super) fn read_any(path: &Path) -> Result<Option<KeyFile>, KeyError> {
    let file = path.display().to_string();
    let Some(text) = read_secret(path, KEY_FILE_MAX_BYTES)? else {
        return Ok(None);
    };
    let key: KeyFile = serde_json::from_str(&text).map_err(|e| KeyError::Damaged {
        file: file.clone(),
        why: format!("it is no key file: {e}"),
    })?;
    let known = match key.storage.as_str() {
        // Checked in full when it is opened.
        KEYCHAIN => true,
        "file" => key.version == 1 && key.sealed.is_none(),
        "passphrase" => key.version == 2 && key.sealed.is_some() && key.secret_key.is_none(),
        _ => false,
    };
    if !known {
        let why = format!(
            "version {} with storage {:?} is not known here",
            key.version, key.storage
        );
        return Err(KeyError::Damaged { file, why });
    }
    Ok(Some(key))
}

/// As [`read_any`], for what can be used without a keychain.
pub(super) fn read(path: &Path) -> Result<Option<KeyFile>, KeyError> {
    match read_any(path)? {
        Some(key) if key.storage == KEYCHAIN => Err(KeyError::InKeychain {
            file: path.display().to_string(),
        }),
        key => Ok(key),
    }
}

/// The secret half that a key file holds.
pub(super) fn seed(path: &Path, key: &KeyFile) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let text = key
        .secret_key
        .as_ref()
        .map(|s| s.as_str())
        .unwrap_or_default();
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).unwrap_or_default());
    <[u8; 32]>::try_from(bytes.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Damaged {
            file: path.display().to_string(),
            why: "secretKey is not 32 bytes as base64url without padding".to_owned(),
        })
}

/// Writes a key file where there is none.
pub(super) fn create(path: &Path, file: &KeyFile) -> Result<(), KeyError> {
    let text = serde_json::to_vec_pretty(file).map_err(|e| KeyError::Damaged {
        file: path.display().to_string(),
        why: e.to_string(),
    })?;
    create_private(path, &Zeroizing::new(text)).map_err(|error| match error {
        PathError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            KeyError::Exists {
                file: path.display().to_string(),
            }
        }
        other => other.into(),
    })
}

/// Writes a key file in place of the one there is.
pub(super) fn replace(path: &Path, file: &KeyFile) -> Result<(), KeyError> {
    let text = serde_json::to_vec_pretty(file).map_err(|e| KeyError::Damaged {
        file: path.display().to_string(),
        why: e.to_string(),
    })?;
    Ok(write_private(path, &Zeroizing::new(text))?)
}
