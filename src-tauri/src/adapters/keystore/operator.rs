//! The key of a person at the command line: in an owner-only file, under a passphrase if the person wishes.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::file::{KEYCHAIN, KeyFile, create, read, read_any, replace, seed};
use super::{KeyError, Passphrase, sealed};
use crate::adapters::paths::StateDir;
use crate::domain::base::{OperatorId, TimeMs};
use crate::domain::identity::{OperatorKey, PublicKey};

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

/// A person's key and the name that goes with it.
#[derive(Debug)]
pub struct NamedOperatorKey {
    /// The person's name.
    pub name: String,
    /// The key.
    pub key: OperatorKey,
}

/// The public half of the person's key of this directory, if there is a key.
///
/// # Errors
/// The fault in the file.
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
pub(super) fn card(path: &Path, file: &KeyFile) -> Result<OperatorCard, KeyError> {
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
    use std::fs;

    use super::*;

    fn dir() -> (tempfile::TempDir, StateDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        (temp, dir)
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
