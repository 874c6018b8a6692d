//! Keys in the system's keychain: the secret half lies there, the file of the state directory holds
//! the public half and says so. A key that lies in a file already stays where it is.
//!
//! A note beside the file names the entry before it is written and goes when the file is there: an entry
//! that a crash left without its file is found by the note at the next start and taken out again.
//!
//! Every call may wait for the keychain, which may wait for a person: none belongs on an async thread. A
//! keychain protects the key at rest, and from other users. Other programs of the same person can ask an
//! unlocked keychain for it; no code of ours can prevent that.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::device::no_state;
use super::file::{KEYCHAIN, KeyFile, create, read_any};
use super::operator::card;
use super::{DeviceKeys, KeyError, NamedOperatorKey, load_device_key, load_operator_key};
use crate::adapters::files;
use crate::adapters::paths::{StateDir, write_private};
use crate::domain::base::TimeMs;
use crate::domain::identity::{DeviceKey, OperatorKey};

/// The service name of the entries.
const SERVICE: &str = "org.clawmesh.desktop";
/// Largest note about an entry, in bytes.
const NOTE_MAX_BYTES: u64 = 256;

/// Why a keychain gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is no keychain on this system, or nothing answers for it.
    #[error("this system has no keychain that answers: {0}")]
    Absent(String),
    /// It stayed locked.
    #[error("it is locked, or refuses: {0}")]
    Locked(String),
}

/// A keychain: named secrets of one person.
pub trait Vault: Send + Sync {
    /// The secret of a name, `None` if there is none.
    ///
    /// # Errors
    /// [`VaultError`].
    fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, VaultError>;

    /// Keeps a secret under a name.
    ///
    /// # Errors
    /// [`VaultError`].
    fn set(&self, name: &str, secret: &str) -> Result<(), VaultError>;

    /// Takes the secret of a name out; one that is not there is fine.
    ///
    /// # Errors
    /// [`VaultError`].
    fn remove(&self, name: &str) -> Result<(), VaultError>;
}

/// The keychain of this system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemVault;

fn entry(name: &str) -> Result<keyring::Entry, VaultError> {
    if let Err(error) = keyring::Entry::store_status() {
        return Err(VaultError::Absent(error.to_string()));
    }
    keyring::Entry::new(SERVICE, name).map_err(why)
}

fn why(error: keyring::Error) -> VaultError {
    match error {
        keyring::Error::NoDefaultStore => VaultError::Absent(error.to_string()),
        // Said in full it would show what the entry holds.
        keyring::Error::BadEncoding(_) | keyring::Error::BadDataFormat(..) => {
            VaultError::Locked("an entry of ours does not hold what we put there".to_owned())
        }
        other => VaultError::Locked(other.to_string()),
    }
}

impl Vault for SystemVault {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, VaultError> {
        match entry(name)?.get_password() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(why(error)),
        }
    }

    fn set(&self, name: &str, secret: &str) -> Result<(), VaultError> {
        entry(name)?.set_password(secret).map_err(why)
    }

    fn remove(&self, name: &str) -> Result<(), VaultError> {
        match entry(name)?.delete_credential() {
            Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
            Err(error) => Err(why(error)),
        }
    }
}

/// Keys of devices and people behind a [`Vault`].
#[derive(Clone)]
pub struct Keychain(Arc<dyn Vault>);

impl Keychain {
    /// Keys in the system's keychain.
    pub fn system() -> Self {
        Self::behind(SystemVault)
    }

    /// Keys in a given one.
    pub fn behind(vault: impl Vault + 'static) -> Self {
        Self(Arc::new(vault))
    }

    fn seed_of(&self, name: &str, file: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let secret = self.0.get(name).map_err(|e| refused(&e, false))?;
        let Some(secret) = secret else {
            let why = format!(
                "it says that its secret key is in the keychain, which has no entry {name:?} of {SERVICE}"
            );
            return Err(damaged(file, why));
        };
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret.as_str()).unwrap_or_default());
        <[u8; 32]>::try_from(bytes.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| damaged(file, "the keychain's entry for it is no key".to_owned()))
    }

    /// Puts a secret into the keychain and makes sure that it comes out again.
    fn keep(&self, name: &str, seed: &[u8; 32]) -> Result<(), KeyError> {
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(seed));
        self.0.set(name, &text).map_err(|e| refused(&e, true))?;
        let back = self.0.get(name).map_err(|e| refused(&e, true))?;
        if back.is_some_and(|b| b == text) {
            return Ok(());
        }
        let odd = VaultError::Locked("it did not keep what was put into it".to_owned());
        Err(refused(&odd, true))
    }

    /// Puts a secret into the keychain and then its public half into `path`. The note about the entry
    /// outlives a crash between the two; without one, a failure takes the entry out again.
    fn put(
        &self,
        path: &Path,
        name: &str,
        seed: &[u8; 32],
        file: &KeyFile,
    ) -> Result<(), KeyError> {
        self.take_out_orphan(path)?;
        let note = note_of(path);
        write_private(&note, name.as_bytes())?;
        let done = self.keep(name, seed).and_then(|()| create(path, file));
        if done.is_ok() {
            // Gone or not, the file says that the entry is in use.
            let _ = fs::remove_file(&note);
        } else if self.0.remove(name).is_ok() {
            let _ = fs::remove_file(&note);
        }
        done
    }

    /// Takes out the entry that was written for a key file which then never came to be.
    fn take_out_orphan(&self, path: &Path) -> Result<(), KeyError> {
        let note = note_of(path);
        if fs::metadata(&note).is_err() {
            return Ok(());
        }
        let name = files::read_text(&note, NOTE_MAX_BYTES).unwrap_or_default();
        let used = read_any(path)?.is_some_and(|file| {
            let own = file.device_id.map(|id| format!("device:{id}"));
            let person = file.operator_id.map(|id| format!("operator:{id}"));
            [own, person].contains(&Some(name.clone()))
        });
        if !used && is_entry_name(&name) {
            self.0.remove(&name).map_err(|e| refused(&e, true))?;
            tracing::info!(%name, "took a key out of the keychain whose file was never written");
        }
        let _ = fs::remove_file(&note);
        Ok(())
    }

    /// Finds what an earlier start left half done, and says only in the log where that cannot be mended
    /// now: the note stays for the next start.
    fn tidy(&self, dir: &StateDir) {
        for path in [dir.identity_file(), dir.operator_key_file()] {
            if let Err(error) = self.take_out_orphan(&path) {
                tracing::warn!("a key left over in the keychain stays there for now: {error}");
            }
        }
    }

    /// Makes a person's key; `fresh` must be random.
    ///
    /// # Errors
    /// [`KeyError::Exists`], [`KeyError::Keychain`], or what the system said.
    pub fn create_operator_key(
        &self,
        dir: &StateDir,
        name: &str,
        fresh: [u8; 32],
        now: TimeMs,
    ) -> Result<NamedOperatorKey, KeyError> {
        let key = OperatorKey::from_seed(&Zeroizing::new(fresh));
        let file = KeyFile {
            operator_id: Some(key.id().to_string()),
            name: Some(name.to_owned()),
            ..public_half(key.public().to_text(), now)
        };
        let entry = format!("operator:{}", key.id());
        self.put(&dir.operator_key_file(), &entry, &key.seed(), &file)?;
        Ok(NamedOperatorKey {
            name: name.to_owned(),
            key,
        })
    }

    /// The person's key of a state directory, from the keychain or from a file without passphrase.
    ///
    /// # Errors
    /// [`KeyError::NoOperatorKey`], [`KeyError::Locked`] for one under a passphrase,
    /// [`KeyError::Keychain`], or what is wrong with the file.
    pub fn operator_key(&self, dir: &StateDir) -> Result<NamedOperatorKey, KeyError> {
        let path = dir.operator_key_file();
        let file = match read_any(&path)? {
            Some(file) if file.storage == KEYCHAIN => file,
            _ => return load_operator_key(dir),
        };
        let shown = path.display().to_string();
        let card = card(&path, &file)?;
        let key = OperatorKey::from_seed(&*self.seed_of(&format!("operator:{}", card.id), &shown)?);
        if *key.id() != card.id {
            let why = "the keychain holds the key of somebody else for it".to_owned();
            return Err(damaged(&shown, why));
        }
        Ok(NamedOperatorKey {
            name: card.name,
            key,
        })
    }
}

impl DeviceKeys for Keychain {
    fn load_or_create(
        &self,
        dir: &StateDir,
        fresh: [u8; 32],
        now: TimeMs,
    ) -> Result<DeviceKey, KeyError> {
        let path = dir.identity_file();
        let shown = path.display().to_string();
        let found = read_any(&path)?;
        self.tidy(dir);
        let Some(file) = found else {
            no_state(dir)?;
            let key = DeviceKey::from_seed(&Zeroizing::new(fresh));
            let file = KeyFile {
                device_id: Some(key.id().to_string()),
                ..public_half(key.public().to_text(), now)
            };
            let entry = format!("device:{}", key.id());
            self.put(&path, &entry, &key.seed(), &file)?;
            return Ok(key);
        };
        if file.storage != KEYCHAIN {
            let missing = damaged(&shown, "it went away meanwhile".to_owned());
            return load_device_key(dir)?.ok_or(missing);
        }
        let id = file.device_id.unwrap_or_default();
        let key = DeviceKey::from_seed(&*self.seed_of(&format!("device:{id}"), &shown)?);
        if id != key.id().as_str() || file.public_key != key.public().to_text() {
            let why = "deviceId and publicKey do not belong to the keychain's key".to_owned();
            return Err(damaged(&shown, why));
        }
        Ok(key)
    }
}

/// The note about an entry whose file is still to come.
fn note_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".keychain-entry");
    PathBuf::from(name)
}

/// Whether a text is the name of an entry of ours; a note may hold anything.
fn is_entry_name(text: &str) -> bool {
    let id = text
        .strip_prefix("device:")
        .or_else(|| text.strip_prefix("operator:"));
    id.is_some_and(|id| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// Whether the identity of a state directory lies in the keychain, which only the desktop application
/// puts there.
///
/// # Errors
/// The fault in the file.
pub fn identity_is_ours(dir: &StateDir) -> Result<bool, KeyError> {
    Ok(read_any(&dir.identity_file())?.is_some_and(|file| file.storage == KEYCHAIN))
}

fn public_half(public_key: String, now: TimeMs) -> KeyFile {
    KeyFile {
        version: 1,
        device_id: None,
        operator_id: None,
        name: None,
        public_key,
        secret_key: None,
        sealed: None,
        created_at_ms: now.0,
        storage: KEYCHAIN.to_owned(),
    }
}

fn damaged(file: &str, why: String) -> KeyError {
    KeyError::Damaged {
        file: file.to_owned(),
        why,
    }
}

fn refused(error: &VaultError, fresh: bool) -> KeyError {
    KeyError::Keychain {
        why: error.to_string(),
        absent: matches!(error, VaultError::Absent(_)),
        fresh,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::adapters::keystore::{
        create_operator_key, load_or_create_device_key, operator_card,
    };

    /// The twin: a keychain in memory, which can be locked.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<(BTreeMap<String, String>, bool)>>);

    impl Vault for Memory {
        fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, VaultError> {
            let inside = self.0.lock().unwrap();
            match inside.1 {
                true => Err(VaultError::Locked("closed".to_owned())),
                false => Ok(inside.0.get(name).cloned().map(Zeroizing::new)),
            }
        }

        fn set(&self, name: &str, secret: &str) -> Result<(), VaultError> {
            let mut inside = self.0.lock().unwrap();
            if inside.1 {
                return Err(VaultError::Locked("closed".to_owned()));
            }
            inside.0.insert(name.to_owned(), secret.to_owned());
            Ok(())
        }

        fn remove(&self, name: &str) -> Result<(), VaultError> {
            let mut inside = self.0.lock().unwrap();
            if inside.1 {
                return Err(VaultError::Locked("closed".to_owned()));
            }
            inside.0.remove(name);
            Ok(())
        }
    }

    /// Takes the secret and is killed before anything else happens.
    struct Killed(Memory);

    impl Vault for Killed {
        fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, VaultError> {
            self.0.get(name)
        }

        fn set(&self, name: &str, secret: &str) -> Result<(), VaultError> {
            self.0.set(name, secret)?;
            panic!("killed");
        }

        fn remove(&self, name: &str) -> Result<(), VaultError> {
            self.0.remove(name)
        }
    }

    impl Memory {
        fn names(&self) -> Vec<String> {
            self.0.lock().unwrap().0.keys().cloned().collect()
        }
    }

    fn killed(work: impl FnOnce() + std::panic::UnwindSafe) {
        std::panic::catch_unwind(work).unwrap_err();
    }

    fn place() -> (tempfile::TempDir, StateDir, Memory, Keychain) {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let memory = Memory::default();
        let keychain = Keychain::behind(memory.clone());
        (temp, dir, memory, keychain)
    }

    #[test]
    fn an_identity_lives_in_the_keychain_and_its_secret_not_in_the_file() {
        let (_temp, dir, memory, keychain) = place();
        let made = keychain.load_or_create(&dir, [7; 32], TimeMs(1)).unwrap();
        let again = keychain.load_or_create(&dir, [8; 32], TimeMs(2)).unwrap();
        assert_eq!(made.id(), again.id());
        let text = std::fs::read_to_string(dir.identity_file()).unwrap();
        assert!(!text.contains(&URL_SAFE_NO_PAD.encode([7; 32])), "{text}");
        let refused = load_or_create_device_key(&dir, [9; 32], TimeMs(3)).unwrap_err();
        assert!(matches!(refused, KeyError::InKeychain { .. }));
        memory.0.lock().unwrap().0.clear();
        let gone = keychain
            .load_or_create(&dir, [9; 32], TimeMs(3))
            .unwrap_err();
        assert!(matches!(gone, KeyError::Damaged { .. }), "{gone}");
    }

    #[test]
    fn a_locked_keychain_makes_no_second_identity() {
        let (_temp, dir, memory, keychain) = place();
        memory.0.lock().unwrap().1 = true;
        let refused = keychain
            .load_or_create(&dir, [7; 32], TimeMs(1))
            .unwrap_err();
        assert!(matches!(refused, KeyError::Keychain { fresh: true, .. }));
        assert!(!dir.identity_file().exists());
        memory.0.lock().unwrap().1 = false;
        let made = keychain.load_or_create(&dir, [8; 32], TimeMs(1)).unwrap();
        memory.0.lock().unwrap().1 = true;
        let refused = keychain
            .load_or_create(&dir, [9; 32], TimeMs(1))
            .unwrap_err();
        assert!(matches!(refused, KeyError::Keychain { fresh: false, .. }));
        memory.0.lock().unwrap().1 = false;
        let again = keychain.load_or_create(&dir, [9; 32], TimeMs(1)).unwrap();
        assert_eq!(made.id(), again.id());
    }

    #[test]
    fn keys_that_lie_in_files_stay_there() {
        let (_temp, dir, memory, keychain) = place();
        let device = load_or_create_device_key(&dir, [7; 32], TimeMs(1)).unwrap();
        let person = create_operator_key(&dir, "ada", [5; 32], TimeMs(1)).unwrap();
        let same = keychain.load_or_create(&dir, [8; 32], TimeMs(2)).unwrap();
        assert_eq!(device.id(), same.id());
        assert_eq!(
            keychain.operator_key(&dir).unwrap().key.id(),
            person.key.id()
        );
        assert!(memory.0.lock().unwrap().0.is_empty());
    }

    #[test]
    fn a_person_in_the_keychain_has_a_card_that_anybody_here_can_read() {
        let (_temp, dir, _memory, keychain) = place();
        let made = keychain
            .create_operator_key(&dir, "ada", [5; 32], TimeMs(1))
            .unwrap();
        let card = operator_card(&dir).unwrap().unwrap();
        assert_eq!((&card.id, card.name.as_str()), (made.key.id(), "ada"));
        assert!(card.in_keychain && !card.protected);
        let text = std::fs::read_to_string(dir.operator_key_file()).unwrap();
        assert!(!text.contains(&URL_SAFE_NO_PAD.encode([5; 32])), "{text}");
        assert!(matches!(
            load_operator_key(&dir),
            Err(KeyError::InKeychain { .. })
        ));
        assert_eq!(keychain.operator_key(&dir).unwrap().key.id(), made.key.id());
    }

    #[test]
    fn a_secret_whose_file_never_came_to_be_is_taken_out_at_the_next_start() {
        let (_temp, dir, memory, keychain) = place();
        let dies = Keychain::behind(Killed(memory.clone()));
        let at = dir.clone();
        killed(std::panic::AssertUnwindSafe(move || {
            let _ = dies.load_or_create(&at, [7; 32], TimeMs(1));
        }));
        let orphan = memory.names();
        assert_eq!(orphan.len(), 1);
        assert!(!dir.identity_file().exists());
        let made = keychain.load_or_create(&dir, [8; 32], TimeMs(2)).unwrap();
        assert_eq!(memory.names(), [format!("device:{}", made.id())]);

        let (dies, at) = (Keychain::behind(Killed(memory.clone())), dir.clone());
        killed(std::panic::AssertUnwindSafe(move || {
            let _ = dies.create_operator_key(&at, "ada", [5; 32], TimeMs(3));
        }));
        assert_eq!(memory.names().len(), 2);
        keychain.load_or_create(&dir, [9; 32], TimeMs(4)).unwrap();
        assert_eq!(memory.names(), [format!("device:{}", made.id())]);
        let notes = std::fs::read_dir(dir.root()).unwrap().flatten();
        let notes: Vec<_> = notes
            .filter(|e| e.file_name().to_string_lossy().contains("keychain-entry"))
            .collect();
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn a_secret_is_taken_out_at_once_when_its_file_cannot_be_written() {
        let (_temp, dir, memory, keychain) = place();
        std::fs::create_dir(dir.operator_key_file()).unwrap();
        keychain
            .create_operator_key(&dir, "ada", [5; 32], TimeMs(1))
            .unwrap_err();
        assert!(memory.names().is_empty());
    }

    #[test]
    fn an_orphan_waits_where_the_keychain_is_closed_and_stops_nobody() {
        let (_temp, dir, memory, keychain) = place();
        let (dies, at) = (Keychain::behind(Killed(memory.clone())), dir.clone());
        killed(std::panic::AssertUnwindSafe(move || {
            let _ = dies.load_or_create(&at, [7; 32], TimeMs(1));
        }));
        // The person chose files after that.
        let device = load_or_create_device_key(&dir, [6; 32], TimeMs(2)).unwrap();
        memory.0.lock().unwrap().1 = true;
        let same = keychain.load_or_create(&dir, [9; 32], TimeMs(3)).unwrap();
        assert_eq!(same.id(), device.id());
        memory.0.lock().unwrap().1 = false;
        assert_eq!(memory.names().len(), 1);
        keychain.load_or_create(&dir, [9; 32], TimeMs(4)).unwrap();
        assert!(memory.names().is_empty());
    }

    #[test]
    fn a_note_with_anything_else_in_it_takes_nothing_out() {
        let (_temp, dir, memory, keychain) = place();
        let made = keychain.load_or_create(&dir, [7; 32], TimeMs(1)).unwrap();
        memory.set("somebody else's", "secret").unwrap();
        let own = format!("device:{}", made.id());
        for text in ["somebody else's", &own, "", "device:", &"x".repeat(10_000)] {
            std::fs::write(note_of(&dir.identity_file()), text).unwrap();
            keychain.load_or_create(&dir, [9; 32], TimeMs(2)).unwrap();
            assert_eq!(memory.names().len(), 2, "{text:.20}");
        }
        assert!(identity_is_ours(&dir).unwrap());
    }
}
