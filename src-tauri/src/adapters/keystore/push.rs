//! The key by which push services know this node (VAPID), in an owner-only file: made once, because browsers subscribe for it.
//! No backup has it: the sessions whose browsers subscribed are in none either.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyError;
use super::file::read_secret;
use crate::adapters::paths::{PathError, create_private};
use crate::domain::base::limits::KEY_FILE_MAX_BYTES;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    version: u32,
    secret_key: Zeroizing<String>,
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let Some(text) = read_secret(path, KEY_FILE_MAX_BYTES)? else {
        return Ok(None);
    };
    let damaged = |why: &str| KeyError::Damaged {
        file: path.display().to_string(),
        why: why.to_owned(),
    };
    // What serde says of the text may repeat it.
    let file: File = serde_json::from_str(&text).map_err(|_| damaged("it is no key file"))?;
    let bytes = URL_SAFE_NO_PAD.decode(file.secret_key.as_bytes());
    match (file.version, bytes) {
        (1, Ok(bytes)) => Ok(Some(Zeroizing::new(bytes))),
        _ => Err(damaged(
            "it is of another version, or its key does not read",
        )),
    }
}

/// The key of this file; `fresh` is kept there where there is none yet. Blocks.
///
/// # Errors
/// [`KeyError`] where the file is damaged, can be read by others, or cannot be written.
pub fn push_key(path: &Path, fresh: &Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if let Some(known) = read(path)? {
        return Ok(known);
    }
    let file = File {
        version: 1,
        secret_key: Zeroizing::new(URL_SAFE_NO_PAD.encode(fresh.as_slice())),
    };
    let text = serde_json::to_vec(&file).map(Zeroizing::new);
    let text = text.map_err(|e| KeyError::Damaged {
        file: path.display().to_string(),
        why: e.to_string(),
    })?;
    match create_private(path, &text) {
        Ok(()) => Ok(fresh.clone()),
        // Made by another at the same moment.
        Err(PathError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| KeyError::Exists {
                file: path.display().to_string(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_key_is_made_once_and_a_damaged_file_makes_no_other() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("push-key.json");
        let [first, second] = [vec![1; 40], vec![2; 40]].map(Zeroizing::new);
        assert_eq!(push_key(&path, &first).unwrap(), first);
        assert_eq!(push_key(&path, &second).unwrap(), first);
        std::fs::write(&path, "{\"version\":1,\"secretKey\":\"!!\"}").unwrap();
        let why = push_key(&path, &second).unwrap_err().to_string();
        assert!(
            why.contains("push-key.json") && !why.contains("!!"),
            "{why}"
        );
    }
}
