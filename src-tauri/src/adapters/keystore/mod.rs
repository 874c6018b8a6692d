//! Keys at rest: owner-only files for devices and for people at the command line, the latter under a
//! passphrase if the person wishes; on the desktop the system's keychain (`keychain`).
//!
//! A file that cannot be read is an error and never a reason for a second identity. A directory whose
//! key lives in the keychain is recognised by its file and refused by whoever cannot open that.

mod backup;
mod credentials;
pub mod dumps;
pub mod gen1;
#[cfg(feature = "desktop")]
pub mod keychain;
mod sealed;

pub use self::backup::{keys_to_back_up, restore_key};
pub use self::credentials::{CredentialCard, Credentials, credential_name, credential_secret};
pub use self::sealed::Passphrase;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::adapters::files;
use crate::adapters::paths::{PathError, StateDir, create_private, write_private};
use crate::domain::base::limits::KEY_FILE_MAX_BYTES;
use crate::domain::base::{OperatorId, TimeMs};
use crate::domain::identity::{DeviceKey, OperatorKey, PublicKey};

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "{file} holds a secret key but can be read by others (mode {mode:o}); run: chmod 600 {file}"
    )]
    Exposed {
        /// The file.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold what it should.
    #[error("{file}: {why}. It is left as it is and no new key is made; restore it from a backup")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// The key lives in the keychain of the desktop.
    #[error(
        "{file} says that this identity lives in the keychain of the desktop application; this node does not make a second one. Start it there, or use another --state-dir"
    )]
    InKeychain {
        /// The file.
        file: String,
    },
    /// The keychain does not open.
    #[error("the keychain does not give the key: {why}")]
    Keychain {
        /// What the keychain said.
        why: String,
        /// Whether there is no keychain at all, so that asking again in this process is in vain.
        absent: bool,
        /// Whether there is no key yet, so that an owner-only file can hold it instead.
        fresh: bool,
    },
    /// It is gone, while what the device has done is there.
    #[error(
        "{file} is missing, though {dir} holds the state of a device: no other identity is made for it. Put the file          back, or restore a backup into an empty directory with `clawmesh-node restore`; to begin as a new device use          another --state-dir"
    )]
    Lost {
        /// The file.
        file: String,
        /// The state directory.
        dir: String,
    },
    /// There is one already.
    #[error("{file} exists already; it is not overwritten")]
    Exists {
        /// The file.
        file: String,
    },
    /// There is none.
    #[error("{file} does not exist; make an operator key with `clawmesh-node operator init`")]
    NoOperatorKey {
        /// The file.
        file: String,
    },
    /// The key is under a passphrase.
    #[error("{file} is protected by a passphrase")]
    Locked {
        /// The file.
        file: String,
    },
    /// The passphrase is not the key's.
    #[error("the passphrase does not open {file}")]
    WrongPassphrase {
        /// The file.
        file: String,
    },
    /// The passphrase cannot be used.
    #[error("{why}")]
    Passphrase {
        /// What is wrong with it; never the passphrase.
        why: String,
    },
}

/// What `storage` says where the keychain holds the secret half.
const KEYCHAIN: &str = "keychain";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyFile {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operator_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    public_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_key: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<sealed::Sealed>,
    created_at_ms: u64,
    storage: String,
}

/// The public half of a person's key, and whether the secret one is under a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorCard {
    /// The operator id.
    pub id: OperatorId,
    /// The person's name.
    pub name: String,
    /// The public key.
    pub public: PublicKey,
    /// Whether using it takes a passphrase.
    pub protected: bool,
    /// Whether the secret half lies in the keychain of the desktop.
    pub in_keychain: bool,
}

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

/// A person's key and the name that goes with it.
#[derive(Debug)]
pub struct NamedOperatorKey {
    /// The person's name.
    pub name: String,
    /// The key.
    pub key: OperatorKey,
}

/// The text of a file with a secret; `None` where there is none. It must be a plain file that nobody but its owner
/// may read.
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
    let meta = opened.metadata().map_err(failed)?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { file, mode });
    }
    let text = files::text_of(files::read_opened(opened, max_bytes).map_err(failed)?);
    Ok(Some(Zeroizing::new(text.map_err(failed)?)))
}

/// The key file at `path`, wherever its secret half lies.
fn read_any(path: &Path) -> Result<Option<KeyFile>, KeyError> {
    let file = path.display().to_string();
    let Some(text) = read_secret(path, KEY_FILE_MAX_BYTES)? else {
        return Ok(None);
    };
    let key: KeyFile = serde_json::from_str(&text).map_err(|e| KeyError::Damaged {
        file: file.clone(),
        why: format!("it is no key file: {e}"),
    })?;
    let known = match key.storage.as_str() {
        // Whoever can open it looks closer.
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
fn read(path: &Path) -> Result<Option<KeyFile>, KeyError> {
    match read_any(path)? {
        Some(key) if key.storage == KEYCHAIN => Err(KeyError::InKeychain {
            file: path.display().to_string(),
        }),
        key => Ok(key),
    }
}

fn seed(path: &Path, key: &KeyFile) -> Result<Zeroizing<[u8; 32]>, KeyError> {
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

fn create(path: &Path, file: &KeyFile) -> Result<(), KeyError> {
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
fn no_state(dir: &StateDir) -> Result<(), KeyError> {
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

/// The public half of the person's key of this directory, if there is a key.
///
/// # Errors
/// What is wrong with the file.
pub fn operator_card(dir: &StateDir) -> Result<Option<OperatorCard>, KeyError> {
    let path = dir.operator_key_file();
    let Some(file) = read_any(&path)? else {
        return Ok(None);
    };
    if file.sealed.is_some() || file.storage == KEYCHAIN {
        return card(&path, &file).map(Some);
    }
    let named = plain(&path, file)?;
    Ok(Some(OperatorCard {
        id: named.key.id().clone(),
        name: named.name,
        public: *named.key.public(),
        protected: false,
        in_keychain: false,
    }))
}

/// The public half as the file has it.
fn card(path: &Path, file: &KeyFile) -> Result<OperatorCard, KeyError> {
    let public = PublicKey::from_text(&file.public_key).ok();
    let public = public.filter(|k| file.operator_id.as_deref() == Some(k.operator_id().as_str()));
    let Some(public) = public else {
        return Err(mismatch(path));
    };
    Ok(OperatorCard {
        id: public.operator_id(),
        name: file.name.clone().unwrap_or_else(|| "operator".to_owned()),
        public,
        protected: file.sealed.is_some(),
        in_keychain: file.storage == KEYCHAIN,
    })
}

fn mismatch(path: &Path) -> KeyError {
    KeyError::Damaged {
        file: path.display().to_string(),
        why: "operatorId and publicKey do not belong to its secret key".to_owned(),
    }
}

fn plain(path: &Path, file: KeyFile) -> Result<NamedOperatorKey, KeyError> {
    let key = OperatorKey::from_seed(&*seed(path, &file)?);
    if file.operator_id.as_deref() != Some(key.id().as_str())
        || file.public_key != key.public().to_text()
    {
        return Err(mismatch(path));
    }
    Ok(NamedOperatorKey {
        name: file.name.unwrap_or_else(|| "operator".to_owned()),
        key,
    })
}

fn required(path: &Path) -> Result<KeyFile, KeyError> {
    read(path)?.ok_or_else(|| KeyError::NoOperatorKey {
        file: path.display().to_string(),
    })
}

/// The person's key of this directory, if it is under no passphrase.
///
/// # Errors
/// [`KeyError::NoOperatorKey`], [`KeyError::Locked`], or what is wrong with the file.
pub fn load_operator_key(dir: &StateDir) -> Result<NamedOperatorKey, KeyError> {
    let path = dir.operator_key_file();
    let file = required(&path)?;
    if file.sealed.is_some() {
        return Err(KeyError::Locked {
            file: path.display().to_string(),
        });
    }
    plain(&path, file)
}

/// The person's key of this directory, opened with its passphrase. Slow on purpose: keep it off the
/// async threads. A key under no passphrase is not opened by any.
///
/// # Errors
/// [`KeyError::WrongPassphrase`], [`KeyError::NoOperatorKey`], or what is wrong with the file.
pub fn unlock_operator_key(
    dir: &StateDir,
    passphrase: &Passphrase,
) -> Result<NamedOperatorKey, KeyError> {
    let path = dir.operator_key_file();
    let file = required(&path)?;
    let name = || path.display().to_string();
    let Some(secret) = &file.sealed else {
        return Err(KeyError::Passphrase {
            why: format!("{} is under no passphrase", name()),
        });
    };
    let card = card(&path, &file)?;
    let opened = sealed::open(secret, passphrase, &subject(&card)).map_err(|e| match e {
        sealed::NotOpened::Wrong => KeyError::WrongPassphrase { file: name() },
        sealed::NotOpened::Malformed(why) => KeyError::Damaged { file: name(), why },
    })?;
    let key = OperatorKey::from_seed(&opened);
    if *key.id() != card.id {
        return Err(mismatch(&path));
    }
    Ok(NamedOperatorKey {
        name: card.name,
        key,
    })
}

fn subject(card: &OperatorCard) -> String {
    format!("{}\n{}", card.id, card.public.to_text())
}

/// Puts the person's key under a passphrase. The new file is opened once before it takes the old
/// one's place, so that a key is never lost to a fault here.
///
/// # Errors
/// [`KeyError::Locked`] if it is under one already, [`KeyError::Passphrase`] for one that is too
/// short, or what the system said.
pub fn protect_operator_key(
    dir: &StateDir,
    passphrase: &Passphrase,
) -> Result<OperatorCard, KeyError> {
    passphrase
        .good_enough()
        .map_err(|why| KeyError::Passphrase { why })?;
    let path = dir.operator_key_file();
    let old = required(&path)?;
    let named = load_operator_key(dir)?;
    let card = OperatorCard {
        id: named.key.id().clone(),
        name: named.name,
        public: *named.key.public(),
        protected: true,
        in_keychain: false,
    };
    let damaged = |why: &str| KeyError::Damaged {
        file: path.display().to_string(),
        why: why.to_owned(),
    };
    let secret = named.key.seed();
    let about = subject(&card);
    let sealed = sealed::seal(&secret, passphrase, &about)
        .ok_or_else(|| damaged("the system gave no random bytes to seal it with"))?;
    if sealed::open(&sealed, passphrase, &about).ok().as_deref() != Some(&*secret) {
        return Err(damaged("the sealed key did not open again"));
    }
    let file = KeyFile {
        version: 2,
        secret_key: None,
        sealed: Some(sealed),
        storage: "passphrase".to_owned(),
        ..old
    };
    replace(&path, &file)?;
    Ok(card)
}

/// Takes the passphrase off the person's key.
///
/// # Errors
/// As [`unlock_operator_key`], or what the system said.
pub fn unprotect_operator_key(
    dir: &StateDir,
    passphrase: &Passphrase,
) -> Result<OperatorCard, KeyError> {
    let path = dir.operator_key_file();
    let old = required(&path)?;
    let named = unlock_operator_key(dir, passphrase)?;
    let file = KeyFile {
        version: 1,
        secret_key: Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(*named.key.seed()))),
        sealed: None,
        storage: "file".to_owned(),
        ..old
    };
    replace(&path, &file)?;
    Ok(OperatorCard {
        id: named.key.id().clone(),
        name: named.name,
        public: *named.key.public(),
        protected: false,
        in_keychain: false,
    })
}

fn replace(path: &Path, file: &KeyFile) -> Result<(), KeyError> {
    let text = serde_json::to_vec_pretty(file).map_err(|e| KeyError::Damaged {
        file: path.display().to_string(),
        why: e.to_string(),
    })?;
    Ok(write_private(path, &Zeroizing::new(text))?)
}

/// Makes a person's key; `fresh` must be random.
///
/// # Errors
/// [`KeyError::Exists`], or what the system said.
pub fn create_operator_key(
    dir: &StateDir,
    name: &str,
    fresh: [u8; 32],
    now: TimeMs,
) -> Result<NamedOperatorKey, KeyError> {
    let path = dir.operator_key_file();
    let key = OperatorKey::from_seed(&Zeroizing::new(fresh));
    let file = KeyFile {
        version: 1,
        device_id: None,
        operator_id: Some(key.id().to_string()),
        name: Some(name.to_owned()),
        public_key: key.public().to_text(),
        secret_key: Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(*key.seed()))),
        sealed: None,
        created_at_ms: now.0,
        storage: "file".to_owned(),
    };
    create(&path, &file)?;
    Ok(NamedOperatorKey {
        name: name.to_owned(),
        key,
    })
}

#[cfg(test)]
mod tests {
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
    fn an_operator_key_is_never_overwritten_and_never_shown() {
        let (_temp, dir) = dir();
        assert!(
            load_operator_key(&dir)
                .unwrap_err()
                .to_string()
                .contains("operator init")
        );
        let made = create_operator_key(&dir, "ada", [5; 32], TimeMs(1)).unwrap();
        assert!(create_operator_key(&dir, "eve", [6; 32], TimeMs(1)).is_err());
        let read = load_operator_key(&dir).unwrap();
        assert_eq!((read.name.as_str(), read.key.id()), ("ada", made.key.id()));
        assert!(!format!("{read:?}").contains(&URL_SAFE_NO_PAD.encode([5; 32])));
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

    #[test]
    fn an_operator_key_file_with_another_public_key_is_damaged() {
        let (_temp, dir) = dir();
        let made = create_operator_key(&dir, "ada", [5; 32], TimeMs(1)).unwrap();
        let other = OperatorKey::from_seed(&[6; 32]).public().to_text();
        let text = fs::read_to_string(dir.operator_key_file()).unwrap();
        let text = text.replace(&made.key.public().to_text(), &other);
        fs::write(dir.operator_key_file(), text).unwrap();
        load_operator_key(&dir).unwrap_err();
    }

    #[test]
    fn a_key_goes_under_a_passphrase_and_comes_out_the_same() {
        let (_temp, dir) = dir();
        let phrase = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned()));
        let made = create_operator_key(&dir, "ada", [5; 32], TimeMs(1)).unwrap();
        assert!(!operator_card(&dir).unwrap().unwrap().protected);
        protect_operator_key(&dir, &phrase("short")).unwrap_err();
        let card = protect_operator_key(&dir, &phrase("correct horse")).unwrap();
        assert_eq!(operator_card(&dir).unwrap(), Some(card.clone()));
        assert_eq!((&card.id, card.protected), (made.key.id(), true));
        let text = fs::read_to_string(dir.operator_key_file()).unwrap();
        assert!(!text.contains(&URL_SAFE_NO_PAD.encode([5; 32])), "{text}");
        assert!(matches!(
            load_operator_key(&dir),
            Err(KeyError::Locked { .. })
        ));
        let again = protect_operator_key(&dir, &phrase("another one"));
        assert!(matches!(again, Err(KeyError::Locked { .. })));
        let wrong = unlock_operator_key(&dir, &phrase("wrong horse"));
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase { .. })));
        let open = unlock_operator_key(&dir, &phrase("correct horse")).unwrap();
        assert_eq!((open.key.id(), open.name.as_str()), (made.key.id(), "ada"));
        unprotect_operator_key(&dir, &phrase("wrong horse")).unwrap_err();
        unprotect_operator_key(&dir, &phrase("correct horse")).unwrap();
        assert_eq!(load_operator_key(&dir).unwrap().key.id(), made.key.id());
        assert!(create_operator_key(&dir, "eve", [6; 32], TimeMs(1)).is_err());
    }
}
