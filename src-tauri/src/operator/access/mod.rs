//! Who may use the door: the scoped tokens of the state directory, the sessions of browsers and what
//! a person decides in one.
//!
//! Tokens are new at every start of the node, so that a leaked one is worth nothing after the next.
//! They are compared in constant time and never printed. How they travel is a surface's business.

pub mod away;
pub mod deciding;
pub mod guesses;
pub mod kept;
pub mod listed;
pub mod push;
pub mod sessions;
mod shares;

#[cfg(test)]
mod sessions_tests;

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::adapters::files;
use crate::adapters::paths::{self, PathError, StateDir};
use crate::domain::base::limits::TOKENS_FILE_MAX_BYTES;

/// The header that names the program which `clawmesh-node mcp` speaks for.
pub const MCP_CLIENT_HEADER: &str = "x-clawmesh-client";

/// Where the operator API lives on the HTTP listener.
pub const API_ROOT: &str = "/api/operator/v1";
/// What a token allows; each scope contains the ones before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Decide, ask, withdraw.
    Operate,
    /// Change trust, operators and policy.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Admin => "admin",
        })
    }
}

/// Put into a request by the desktop window of this very process, it stands for the person at that
/// window. A request from a socket carries no such extension, so it cannot be forged over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtTheWindow;

/// The tokens of one node. Never printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    read: String,
    operate: String,
    admin: String,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(secret)")
    }
}

/// Why the tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not what a node writes.
    #[error(
        "{path} does not hold the API tokens ({why}); the node makes new ones at its next start"
    )]
    Malformed {
        /// The file.
        path: String,
        /// The fault; never the content.
        why: &'static str,
    },
    /// The file cannot be written.
    #[error("cannot write the API tokens: {0}")]
    Write(#[from] PathError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// A new random secret: 32 bytes as base64url.
///
/// # Errors
/// [`TokensError::Random`].
pub(super) fn fresh() -> Result<String, TokensError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(TokensError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl Tokens {
    /// New random tokens.
    ///
    /// # Errors
    /// [`TokensError::Random`].
    pub fn generate() -> Result<Self, TokensError> {
        Ok(Self {
            read: fresh()?,
            operate: fresh()?,
            admin: fresh()?,
        })
    }

    /// The tokens of a state directory, `None` if it has none yet.
    ///
    /// # Errors
    /// [`TokensError::Read`] or [`TokensError::Malformed`].
    pub fn load(state_dir: &Path) -> Result<Option<Self>, TokensError> {
        let file = StateDir::at(state_dir).tokens_file();
        let path = || file.display().to_string();
        let malformed = |why| TokensError::Malformed { path: path(), why };
        let text = match files::read_text(&file, TOKENS_FILE_MAX_BYTES) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => {
                return Err(malformed("it is too large"));
            }
            Err(source) => {
                return Err(TokensError::Read {
                    path: path(),
                    source,
                });
            }
        };
        let tokens: Tokens = serde_json::from_str(&text)
            .map_err(|_| malformed("it is not the JSON a node writes"))?;
        let whole = |t: &str| URL_SAFE_NO_PAD.decode(t).is_ok_and(|b| b.len() == 32);
        if [&tokens.read, &tokens.operate, &tokens.admin]
            .into_iter()
            .all(|t| whole(t))
        {
            Ok(Some(tokens))
        } else {
            Err(malformed("a token is not 32 bytes"))
        }
    }

    /// New tokens in place of those of the last run, readable by their owner only. Whoever calls holds
    /// the lock of the state directory.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn renew(state_dir: &Path) -> Result<Self, TokensError> {
        let tokens = Self::generate()?;
        let text = serde_json::json!({"read": tokens.read, "operate": tokens.operate, "admin": tokens.admin});
        paths::write_private_for_this_run(
            &StateDir::at(state_dir).tokens_file(),
            format!("{text}\n").as_bytes(),
        )?;
        Ok(tokens)
    }

    /// The token of a scope, for a client of this state directory.
    pub fn of(&self, scope: Scope) -> &str {
        match scope {
            Scope::Read => &self.read,
            Scope::Operate => &self.operate,
            Scope::Admin => &self.admin,
        }
    }

    /// The scope of a presented token; looks at all three, whichever fits.
    pub fn scope_of(&self, presented: &str) -> Option<Scope> {
        let mut found = None;
        for scope in [Scope::Read, Scope::Operate, Scope::Admin] {
            if bool::from(self.of(scope).as_bytes().ct_eq(presented.as_bytes())) {
                found = Some(scope);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn tokens_are_new_at_every_start_private_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Tokens::load(dir.path()).unwrap().is_none());
        let before = Tokens::renew(dir.path()).unwrap();
        let made = Tokens::renew(dir.path()).unwrap();
        for scope in [Scope::Read, Scope::Operate, Scope::Admin] {
            assert_eq!(made.scope_of(before.of(scope)), None);
        }
        let kept = Tokens::load(dir.path()).unwrap().unwrap();
        assert_eq!(kept.of(Scope::Admin), made.of(Scope::Admin));
        assert_ne!(made.of(Scope::Read), made.of(Scope::Admin));
        assert!(!format!("{made:?}").contains(made.of(Scope::Read)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.path().join("tokens.json"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_broken_token_file_is_named_but_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokens.json"), r#"{"read":"hush"}"#).unwrap();
        let error = Tokens::load(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("tokens.json") && !error.contains("hush"),
            "{error}"
        );
    }

    #[test]
    fn a_token_has_its_scope_and_no_other_text_has_any() {
        let tokens = Tokens::generate().unwrap();
        for scope in [Scope::Read, Scope::Operate, Scope::Admin] {
            assert_eq!(tokens.scope_of(tokens.of(scope)), Some(scope));
        }
        for bad in ["", "x", &tokens.read[1..]] {
            assert_eq!(tokens.scope_of(bad), None);
        }
    }
}
