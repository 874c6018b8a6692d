//! Keys of providers, sealed with a key that is made of the device's: `credentials.json` alone opens nothing, and where
//! the device's key lies in a keychain, so does what opens these. Read anew each time, so that a change counts at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{aead, hkdf};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyError, read_secret};
use crate::adapters::paths::{StateDir, write_private};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    CREDENTIAL_MAX_BYTES, CREDENTIALS_FILE_MAX_BYTES, CREDENTIALS_MAX, NAME_MAX_BYTES,
};
use crate::domain::identity::DeviceKey;

const SALT: &[u8] = b"clawmesh credentials v1";
/// Prefixes of credential names: keys of providers, passwords of devices.
const KINDS: [&str; 2] = ["provider/", "device/"];
/// The purpose of the sealing key; it was named when there were keys of providers alone.
const USE: &str = "provider/";

/// The credentials of a state directory.
#[derive(Clone)]
pub struct Credentials {
    file: PathBuf,
    key: aead::LessSafeKey,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.file.display())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    version: u32,
    credentials: BTreeMap<String, Sealed>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sealed {
    nonce: String,
    text: String,
    set_at_ms: TimeMs,
}

/// A credential without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialCard {
    /// Its name.
    pub name: String,
    /// When it was set.
    pub set_at_ms: TimeMs,
}

/// Whether a text names a credential: `provider/` or `device/` and a word of small letters, digits and dashes.
///
/// # Errors
/// How to write one.
pub fn credential_name(text: &str) -> Result<(), String> {
    let word = KINDS.iter().find_map(|kind| text.strip_prefix(kind));
    let word = word.unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match !word.is_empty() && text.len() <= NAME_MAX_BYTES && word.bytes().all(plain) {
        true => Ok(()),
        // The text may be a key in the wrong place, so it is not repeated.
        false => Err(
            "that names no credential: write provider/NAME or device/NAME, as in provider/openai, in small letters, digits and '-'"
                .to_owned(),
        ),
    }
}

/// Whether a secret can be sent to a provider, which takes it in a line of an HTTP head.
///
/// # Errors
/// The fault, without the secret.
pub fn credential_secret(secret: &str) -> Result<(), String> {
    if secret.is_empty() || secret.len() > CREDENTIAL_MAX_BYTES {
        return Err(format!("a key has 1 to {CREDENTIAL_MAX_BYTES} bytes"));
    }
    let odd = secret.chars().position(|c| !c.is_ascii_graphic());
    odd.map_or(Ok(()), |at| {
        Err(format!(
            "character {} is none that a key can have: it has ASCII letters, digits and signs alone, no spaces and no \
             line breaks; nothing was set",
            at + 1
        ))
    })
}

impl Credentials {
    /// The credentials of a directory, opened with its device's key.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] if no key can be made.
    pub fn new(dir: &StateDir, device: &DeviceKey) -> Result<Self, KeyError> {
        let file = dir.credentials_file();
        let made = || {
            let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT);
            let secret = salt.extract(&*device.seed());
            let use_of = [USE.as_bytes()];
            let out = secret.expand(&use_of, &aead::CHACHA20_POLY1305).ok()?;
            Some(aead::LessSafeKey::new(aead::UnboundKey::from(out)))
        };
        match made() {
            Some(key) => Ok(Self { file, key }),
            None => Err(damaged(&file, "no key can be made for it")),
        }
    }

    /// Every credential by name, without its secret; needs no key.
    ///
    /// # Errors
    /// The fault in the file.
    pub fn list(dir: &StateDir) -> Result<Vec<CredentialCard>, KeyError> {
        let file = read(&dir.credentials_file())?;
        let cards = file
            .credentials
            .into_iter()
            .map(|(name, sealed)| CredentialCard {
                name,
                set_at_ms: sealed.set_at_ms,
            });
        Ok(cards.collect())
    }

    /// The secret of a name, if it is set.
    ///
    /// # Errors
    /// The fault in the file.
    pub fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, KeyError> {
        let Some(sealed) = read(&self.file)?.credentials.remove(name) else {
            return Ok(None);
        };
        let odd = || {
            let why = format!(
                "{name} was sealed with another device's key or altered; set it again with `clawmesh-node credential set {name}`"
            );
            damaged(&self.file, &why)
        };
        let nonce = URL_SAFE_NO_PAD.decode(&sealed.nonce).ok();
        let nonce = nonce
            .and_then(|n| <[u8; 12]>::try_from(n).ok())
            .ok_or_else(odd)?;
        let mut text = Zeroizing::new(URL_SAFE_NO_PAD.decode(&sealed.text).map_err(|_| odd())?);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let bound = aead::Aad::from(name.as_bytes());
        let plain = self
            .key
            .open_in_place(nonce, bound, &mut text)
            .map_err(|_| odd())?;
        let plain = std::str::from_utf8(plain).map_err(|_| odd())?;
        Ok(Some(Zeroizing::new(plain.to_owned())))
    }

    /// Sets the secret of a name.
    ///
    /// # Errors
    /// If the name or the secret cannot be used, or the file not be written.
    pub fn set(&self, name: &str, secret: &Zeroizing<String>, now: TimeMs) -> Result<(), KeyError> {
        let refused = |why: String| KeyError::Passphrase { why };
        credential_name(name).map_err(refused)?;
        credential_secret(secret).map_err(refused)?;
        let mut file = read(&self.file)?;
        if file.credentials.len() >= CREDENTIALS_MAX && !file.credentials.contains_key(name) {
            let why = format!("there are {CREDENTIALS_MAX} credentials already; remove one");
            return Err(refused(why));
        }
        let mut nonce = [0; 12];
        let failed = || damaged(&self.file, "nothing could be sealed");
        getrandom::fill(&mut nonce).map_err(|_| failed())?;
        // Room for the tag, so that the plain bytes are not left behind by a move.
        let mut text = Zeroizing::new(Vec::with_capacity(secret.len() + 16));
        text.extend_from_slice(secret.as_bytes());
        let used = aead::Nonce::assume_unique_for_key(nonce);
        let bound = aead::Aad::from(name.as_bytes());
        let sealed = self.key.seal_in_place_append_tag(used, bound, &mut *text);
        sealed.map_err(|_| failed())?;
        let sealed = Sealed {
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            text: URL_SAFE_NO_PAD.encode(&*text),
            set_at_ms: now,
        };
        file.credentials.insert(name.to_owned(), sealed);
        write(&self.file, &file)
    }

    /// Forgets a name; whether it was set. Needs no key.
    ///
    /// # Errors
    /// The fault in the file.
    pub fn remove(dir: &StateDir, name: &str) -> Result<bool, KeyError> {
        let path = dir.credentials_file();
        let mut file = read(&path)?;
        let was = file.credentials.remove(name).is_some();
        if was {
            write(&path, &file)?;
        }
        Ok(was)
    }
}

fn damaged(file: &std::path::Path, why: &str) -> KeyError {
    KeyError::Damaged {
        file: file.display().to_string(),
        why: why.to_owned(),
    }
}

fn read(path: &std::path::Path) -> Result<File, KeyError> {
    let Some(text) = read_secret(path, CREDENTIALS_FILE_MAX_BYTES)? else {
        return Ok(File {
            version: 1,
            credentials: BTreeMap::new(),
        });
    };
    let file = serde_json::from_str::<File>(&text);
    let file = file.map_err(|e| damaged(path, &format!("it is no file of credentials: {e}")))?;
    match file.version {
        1 => Ok(file),
        other => Err(damaged(path, &format!("version {other} is not known here"))),
    }
}

fn write(path: &std::path::Path, file: &File) -> Result<(), KeyError> {
    let text = serde_json::to_vec_pretty(file).map_err(|e| damaged(path, &e.to_string()))?;
    Ok(write_private(path, &text)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[test]
    fn a_credential_is_sealed_and_opens_with_the_devices_key_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let own = Credentials::new(&dir, &DeviceKey::from_seed(&[1; 32])).unwrap();
        assert_eq!(own.get("provider/openai").unwrap(), None);
        own.set("provider/openai", &secret("sk-1"), TimeMs(5))
            .unwrap();
        own.set("provider/other", &secret("sk-2"), TimeMs(6))
            .unwrap();
        assert_eq!(own.get("provider/openai").unwrap(), Some(secret("sk-1")));
        let text = std::fs::read_to_string(dir.credentials_file()).unwrap();
        assert!(!text.contains("sk-1"), "{text}");
        let mode = std::fs::metadata(dir.credentials_file())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = Credentials::new(&dir, &DeviceKey::from_seed(&[2; 32])).unwrap();
        let refused = other.get("provider/openai").unwrap_err().to_string();
        assert!(
            refused.contains("credential set provider/openai"),
            "{refused}"
        );
        let names: Vec<_> = Credentials::list(&dir)
            .unwrap()
            .into_iter()
            .map(|c| c.name)
            .collect();
        assert_eq!(names, ["provider/openai", "provider/other"]);
        assert!(Credentials::remove(&dir, "provider/openai").unwrap());
        assert!(!Credentials::remove(&dir, "provider/openai").unwrap());
        assert_eq!(own.get("provider/openai").unwrap(), None);
    }

    #[test]
    fn one_credential_cannot_stand_in_for_another() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let own = Credentials::new(&dir, &DeviceKey::from_seed(&[1; 32])).unwrap();
        own.set("provider/cheap", &secret("sk-1"), TimeMs(5))
            .unwrap();
        let text = std::fs::read_to_string(dir.credentials_file()).unwrap();
        std::fs::write(
            dir.credentials_file(),
            text.replace("provider/cheap", "provider/dear"),
        )
        .unwrap();
        assert!(own.get("provider/dear").is_err());
        std::fs::write(dir.credentials_file(), "{").unwrap();
        assert!(own.get("provider/dear").is_err() && Credentials::list(&dir).is_err());
    }

    #[test]
    fn names_and_secrets_are_checked() {
        for bad in [
            "",
            "openai",
            "provider/",
            "provider/A",
            "provider/a b",
            "other/a",
        ] {
            assert!(credential_name(bad).is_err(), "{bad}");
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let own = Credentials::new(&dir, &DeviceKey::from_seed(&[1; 32])).unwrap();
        let long = "x".repeat(CREDENTIAL_MAX_BYTES + 1);
        for bad in [
            "",
            &long,
            "sk-1 sk-2",
            "sk-1\n",
            "sk-\u{1}",
            "sk-\u{7f}",
            "sk-ä",
            "\u{feff}sk-1",
            "sk\u{200b}1",
        ] {
            let refused = own.set("provider/a", &secret(bad), TimeMs(1)).unwrap_err();
            let refused = refused.to_string();
            assert!(bad.is_empty() || !refused.contains(bad), "{refused}");
            assert_eq!(own.get("provider/a").unwrap(), None);
        }
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_none_is_refused_as_a_key_file_is() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let own = Credentials::new(&dir, &DeviceKey::from_seed(&[1; 32])).unwrap();
        own.set("provider/a", &secret("sk-1"), TimeMs(5)).unwrap();
        let path = dir.credentials_file();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
        let all = || {
            [
                own.get("provider/a").map(drop).unwrap_err(),
                own.set("provider/b", &secret("sk-2"), TimeMs(6))
                    .unwrap_err(),
                Credentials::list(&dir).map(drop).unwrap_err(),
                Credentials::remove(&dir, "provider/a")
                    .map(drop)
                    .unwrap_err(),
            ]
            .map(|refused| refused.to_string())
        };
        for wide in [0o640, 0o604, 0o622] {
            mode(wide).unwrap();
            assert!(
                all().iter().all(|why| why.contains("chmod 600")),
                "{:?}",
                all()
            );
        }
        mode(0o600).unwrap();
        assert_eq!(own.get("provider/a").unwrap(), Some(secret("sk-1")));
        // A link to a file of others is no better than the file, and one to nothing is no empty file.
        let elsewhere = temp.path().join("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        mode(0o644).unwrap();
        assert!(
            all().iter().all(|why| why.contains("chmod 600")),
            "{:?}",
            all()
        );
        std::fs::remove_file(&elsewhere).unwrap();
        assert!(
            all().iter().all(|why| why.contains("a link to a file")),
            "{:?}",
            all()
        );
    }
}
