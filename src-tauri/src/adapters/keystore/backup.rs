//! Keys in a backup: always under the backup's passphrase, or under the person's own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::file::{KeyFile, create, read, read_any, seed};
use super::{KeyError, Passphrase, sealed};
use crate::adapters::paths::StateDir;

/// The value of `storage` in a backup.
const BACKUP: &str = "backup";

fn subject(name: &str, file: &KeyFile) -> String {
    format!("{BACKUP} of {name}\n{}", file.public_key)
}

fn damaged(name: &str, why: impl ToString) -> KeyError {
    KeyError::Damaged {
        file: name.to_owned(),
        why: why.to_string(),
    }
}

fn text(name: &str, file: &KeyFile) -> Result<Vec<u8>, KeyError> {
    serde_json::to_vec_pretty(file).map_err(|e| damaged(name, e))
}

fn sealed_file(
    name: &str,
    path: &std::path::Path,
    file: KeyFile,
    passphrase: &Passphrase,
) -> Result<Vec<u8>, KeyError> {
    let secret = seed(path, &file)?;
    let about = subject(name, &file);
    let sealed = sealed::seal(&secret, passphrase, &about)
        .ok_or_else(|| damaged(name, "the system gave no random bytes to seal it with"))?;
    if sealed::open(&sealed, passphrase, &about).ok().as_deref() != Some(&*secret) {
        return Err(damaged(name, "the sealed key did not open again"));
    }
    let file = KeyFile {
        version: 2,
        secret_key: None,
        sealed: Some(sealed),
        storage: BACKUP.to_owned(),
        ..file
    };
    text(name, &file)
}

/// The keys of a state directory as a backup holds them: name and content of each file. Slow on
/// purpose. A person's key that is under a passphrase already, or in a keychain, goes as it is.
///
/// # Errors
/// [`KeyError::InKeychain`] for a device key that lies in a keychain, or what is wrong with a file.
pub fn keys_to_back_up(
    dir: &StateDir,
    passphrase: &Passphrase,
) -> Result<Vec<(String, Vec<u8>)>, KeyError> {
    passphrase
        .good_enough()
        .map_err(|why| KeyError::Passphrase { why })?;
    let mut keys = Vec::new();
    let (name, path) = ("identity.json", dir.identity_file());
    if let Some(file) = read(&path)? {
        let bytes = sealed_file(name, &path, file, passphrase)?;
        keys.push((name.to_owned(), bytes));
    }
    let (name, path) = ("operator-key.json", dir.operator_key_file());
    if let Some(file) = read_any(&path)? {
        let bytes = match file.secret_key.is_some() {
            true => sealed_file(name, &path, file, passphrase)?,
            false => text(name, &file)?,
        };
        keys.push((name.to_owned(), bytes));
    }
    Ok(keys)
}

/// Writes a key of a backup into a state directory that has none.
///
/// # Errors
/// [`KeyError::WrongPassphrase`], [`KeyError::Exists`], or what is wrong with it.
pub fn restore_key(
    dir: &StateDir,
    name: &str,
    bytes: &[u8],
    passphrase: &Passphrase,
) -> Result<(), KeyError> {
    let file: KeyFile = serde_json::from_slice(bytes).map_err(|e| damaged(name, e))?;
    let path = dir.root().join(name);
    let Some(secret) = file.sealed.as_ref().filter(|_| file.storage == BACKUP) else {
        return create(&path, &file);
    };
    let opened = sealed::open(secret, passphrase, &subject(name, &file));
    let opened = opened.map_err(|e| match e {
        sealed::NotOpened::Wrong => KeyError::WrongPassphrase {
            file: format!("{name} of the backup"),
        },
        sealed::NotOpened::Malformed(why) => damaged(name, why),
    })?;
    let file = KeyFile {
        version: 1,
        secret_key: Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(*opened))),
        sealed: None,
        storage: "file".to_owned(),
        ..file
    };
    create(&path, &file)
}
