//! The key of a device: made once, by the first process that asks for it, and never again.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::KeyError;
use super::file::{KeyFile, create, read, read_any, seed};
use crate::adapters::paths::StateDir;
use crate::domain::base::TimeMs;
use crate::domain::identity::{DeviceKey, PublicKey};

/// Who keeps a device's key.
pub trait DeviceKeys: Send + Sync {
    /// The key of this device; the first call makes it from `fresh`, which must be random. May wait
    /// for a person who unlocks a keychain: keep it off the async threads.
    ///
    /// # Errors
    /// [`KeyError`]; a second identity is never made.
    fn load_or_create(
        &self,
        dir: &StateDir,
        fresh: [u8; 32],
        now: TimeMs,
    ) -> Result<DeviceKey, KeyError>;
}

/// Owner-only files.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileKeys;

impl DeviceKeys for FileKeys {
    fn load_or_create(
        &self,
        dir: &StateDir,
        fresh: [u8; 32],
        now: TimeMs,
    ) -> Result<DeviceKey, KeyError> {
        load_or_create_device_key(dir, fresh, now)
    }
}

/// The key of this device, if there is one.
///
/// # Errors
/// [`KeyError`] for a file that is there and not right.
pub fn load_device_key(dir: &StateDir) -> Result<Option<DeviceKey>, KeyError> {
    let path = dir.identity_file();
    let Some(file) = read(&path)? else {
        return Ok(None);
    };
    let key = DeviceKey::from_seed(&*seed(&path, &file)?);
    if file.device_id.as_deref() != Some(key.id().as_str())
        || file.public_key != key.public().to_text()
    {
        let why = "deviceId and publicKey do not belong to its secret key".to_owned();
        return Err(KeyError::Damaged {
            file: path.display().to_string(),
            why,
        });
    }
    Ok(Some(key))
}

/// The public half of this device's key, if there is an identity, also where the keychain has the rest.
///
/// # Errors
/// [`KeyError`] for a file that is there and not right.
pub fn device_public_key(dir: &StateDir) -> Result<Option<PublicKey>, KeyError> {
    let path = dir.identity_file();
    let Some(file) = read_any(&path)? else {
        return Ok(None);
    };
    PublicKey::from_text(&file.public_key)
        .map(Some)
        .map_err(|e| KeyError::Damaged {
            file: path.display().to_string(),
            why: format!("publicKey is no key ({e})"),
        })
}

/// The key of this device; the first call makes it from `fresh`, which must be random.
///
/// # Errors
/// [`KeyError`] for a file that is there and not right.
pub fn load_or_create_device_key(
    dir: &StateDir,
    fresh: [u8; 32],
    now: TimeMs,
) -> Result<DeviceKey, KeyError> {
    match load_device_key(dir)? {
        Some(key) => Ok(key),
        None => {
            match no_state(dir).and_then(|()| create_device_key(dir, &Zeroizing::new(fresh), now)) {
                // Another process was quicker: its key is the one.
                Err(KeyError::Exists { file }) => {
                    load_device_key(dir)?.ok_or(KeyError::Exists { file })
                }
                made => made,
            }
        }
    }
}

/// Refuses to make an identity in a directory that has lost the one it had.
///
/// # Errors
/// [`KeyError::Lost`].
pub(super) fn no_state(dir: &StateDir) -> Result<(), KeyError> {
    let store = fs::metadata(dir.database()).is_ok_and(|meta| meta.len() > 0);
    match store || dir.has_had_store() {
        true => Err(KeyError::Lost {
            file: dir.identity_file().display().to_string(),
            dir: dir.root().display().to_string(),
        }),
        false => Ok(()),
    }
}

/// Writes a device key into a directory that has none; used by `migrate` too.
///
/// # Errors
/// [`KeyError::Exists`], or what the system said.
pub fn create_device_key(
    dir: &StateDir,
    seed: &[u8; 32],
    now: TimeMs,
) -> Result<DeviceKey, KeyError> {
    let path = dir.identity_file();
    let key = DeviceKey::from_seed(seed);
    let file = KeyFile {
        version: 1,
        device_id: Some(key.id().to_string()),
        operator_id: None,
        name: None,
        public_key: key.public().to_text(),
        secret_key: Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(*key.seed()))),
        sealed: None,
        created_at_ms: now.0,
        storage: "file".to_owned(),
    };
    create(&path, &file)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn dir() -> (tempfile::TempDir, StateDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        (temp, dir)
    }

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let (_temp, dir) = dir();
        let first = load_or_create_device_key(&dir, [7; 32], TimeMs(1)).unwrap();
        let again = load_or_create_device_key(&dir, [8; 32], TimeMs(2)).unwrap();
        assert_eq!(first.id(), again.id());
        assert!(create_device_key(&dir, &[9; 32], TimeMs(3)).is_err());
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_stays() {
        let (_temp, dir) = dir();
        load_or_create_device_key(&dir, [7; 32], TimeMs(1)).unwrap();
        let path = dir.identity_file();
        let good = fs::read_to_string(&path).unwrap();
        let other = DeviceKey::from_seed(&[8; 32]);
        let id = DeviceKey::from_seed(&[7; 32]).id().to_string();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace(&id, other.id().as_str()),
            good.replace("\"file\"", "\"keychain\""),
            good.replace("\"version\": 1", "\"version\": 2"),
        ] {
            fs::write(&path, &bad).unwrap();
            load_or_create_device_key(&dir, [9; 32], TimeMs(2)).unwrap_err();
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                bad,
                "the file must stay as it is"
            );
        }
        fs::write(&path, &good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_create_device_key(&dir, [9; 32], TimeMs(2)).unwrap_err();
        assert!(error.to_string().contains("chmod 600"));
    }

    #[test]
    fn a_link_to_a_disk_that_is_not_there_is_no_reason_for_a_second_identity() {
        let (temp, dir) = dir();
        let target = temp.path().join("not-mounted/identity.json");
        std::os::unix::fs::symlink(&target, dir.identity_file()).unwrap();
        load_or_create_device_key(&dir, [9; 32], TimeMs(2)).unwrap_err();
        create_device_key(&dir, &[9; 32], TimeMs(2)).unwrap_err();
        assert_eq!(fs::read_link(dir.identity_file()).unwrap(), target);
    }

    #[test]
    fn two_processes_that_make_an_identity_at_once_agree_on_one() {
        let (_temp, dir) = dir();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let makers: Vec<_> = (1..=8)
                .map(|n| {
                    let dir = &dir;
                    scope.spawn(move || load_or_create_device_key(dir, [n; 32], TimeMs(1)))
                })
                .collect();
            makers
                .into_iter()
                .map(|m| m.join().unwrap().unwrap().id().to_string())
                .collect()
        });
        let kept = load_device_key(&dir).unwrap().unwrap().id().to_string();
        assert!(ids.iter().all(|id| *id == kept), "{ids:?} but kept {kept}");
    }
}
