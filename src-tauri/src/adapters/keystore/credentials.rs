//! Keys of providers, passwords of devices and other secrets, sealed in `credentials.json`: with a key that is made of the
//! device's, so that where this lies in a keychain, so does what opens them, or with one that the service manager gives
//! (`sealing`). The file alone opens nothing. It is read anew each time, so that a change counts at once, and replaced as a
//! whole, so that a sudden end leaves the old content or the new one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sealing::{SERVICE_KEY, SealedBy, SealingKey};
use super::{KeyError, read_secret};
use crate::adapters::paths::{StateDir, write_private};
use crate::adapters::{crash, files};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    CREDENTIAL_MAX_BYTES, CREDENTIALS_FILE_MAX_BYTES, CREDENTIALS_MAX, NAME_MAX_BYTES,
};
use crate::domain::identity::DeviceKey;

/// Prefixes of credential names: keys of providers, passwords of devices, tokens of channels and gateways, and what else a person keeps.
const KINDS: [&str; 5] = ["provider/", "device/", "channel/", "gateway/", "custom/"];

/// The credentials of a state directory.
#[derive(Clone)]
pub struct Credentials {
    file: PathBuf,
    /// New ones are sealed with the first; each opens what was sealed with it.
    keys: Vec<SealingKey>,
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

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sealed {
    nonce: String,
    text: String,
    set_at_ms: TimeMs,
    /// What it is sealed with; absent in files of version 1, which know the device's key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyNote>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyNote {
    from: SealedBy,
    id: String,
}

/// A credential without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialCard {
    /// Its name.
    pub name: String,
    /// When it was set.
    pub set_at_ms: TimeMs,
    /// What it is sealed with.
    pub sealed_by: SealedBy,
}

/// Whether a text names a credential: a kind (`provider/`, `device/`, `channel/`, `gateway/` or `custom/`) and a word of small letters,
/// digits and dashes.
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
            "that names no credential: write provider/NAME, device/NAME, channel/NAME, gateway/NAME or custom/NAME, as in provider/openai, \
             in small letters, digits and '-'"
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
    /// The credentials of a directory, opened with its device's key and with the one that the service manager has put into
    /// `service`, if it has. New ones are sealed with the latter where it is there.
    ///
    /// # Errors
    /// [`KeyError::Credential`] if no key can be made, [`KeyError::Read`] for one of the service manager that does not read.
    pub fn new(
        dir: &StateDir,
        device: &DeviceKey,
        service: Option<&Path>,
    ) -> Result<Self, KeyError> {
        let file = dir.credentials_file();
        let service = match service {
            Some(directory) => SealingKey::of_service(directory)?,
            None => None,
        };
        let device = SealingKey::of_device(device);
        let device = device.ok_or_else(|| damaged(&file, "no key can be made for it"))?;
        let keys = service.into_iter().chain([device]).collect();
        Ok(Self { file, keys })
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
                sealed_by: sealed.key.map_or(SealedBy::Device, |key| key.from),
            });
        Ok(cards.collect())
    }

    /// The secret of a name, if it is set.
    ///
    /// # Errors
    /// The fault in the file, or that its key is not here.
    pub fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, KeyError> {
        match read(&self.file)?.credentials.get(name) {
            Some(sealed) => self.open(name, sealed).map(Some),
            None => Ok(None),
        }
    }

    /// The names that no key here opens, each with the reason.
    ///
    /// # Errors
    /// The fault in the file.
    pub fn closed(&self) -> Result<Vec<(String, String)>, KeyError> {
        let file = read(&self.file)?;
        let closed = file.credentials.iter().filter_map(|(name, sealed)| {
            let error = self.open(name, sealed).err()?;
            Some((name.clone(), error.to_string()))
        });
        Ok(closed.collect())
    }

    fn open(&self, name: &str, sealed: &Sealed) -> Result<Zeroizing<String>, KeyError> {
        let key = self.key_of(name, sealed)?;
        let odd = || {
            let what = match sealed.key {
                Some(_) => "was altered",
                None => "was sealed with another device's key or altered",
            };
            KeyError::Credential {
                why: format!(
                    "{name} in {} {what}; forget it with `clawmesh-node credential delete {name}` and set it again",
                    self.file.display()
                ),
            }
        };
        let nonce = URL_SAFE_NO_PAD.decode(&sealed.nonce).ok();
        let nonce = nonce
            .and_then(|n| <[u8; 12]>::try_from(n).ok())
            .ok_or_else(odd)?;
        let mut text = Zeroizing::new(URL_SAFE_NO_PAD.decode(&sealed.text).map_err(|_| odd())?);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let bound = aead::Aad::from(name.as_bytes());
        let plain = key
            .key
            .open_in_place(nonce, bound, &mut text)
            .map_err(|_| odd())?;
        let plain = std::str::from_utf8(plain).map_err(|_| odd())?;
        Ok(Zeroizing::new(plain.to_owned()))
    }

    /// The key that a credential is sealed with.
    fn key_of(&self, name: &str, sealed: &Sealed) -> Result<&SealingKey, KeyError> {
        let from = sealed.key.as_ref().map_or(SealedBy::Device, |k| k.from);
        let here = self.keys.iter().find(|key| key.by == from);
        let noted = sealed.key.as_ref().map(|note| note.id.as_str());
        match here {
            Some(key) if noted.is_none_or(|id| id == key.id) => Ok(key),
            other => {
                let why = match (from, other) {
                    (SealedBy::Service, None) => format!(
                        "is sealed with the key that the service manager gives to the node ({SERVICE_KEY}), which this process \
                         does not have: run it in the service, or with the same LoadCredential"
                    ),
                    (SealedBy::Service, Some(_)) => format!(
                        "was sealed with another {SERVICE_KEY} than the service manager gives now: put that one back"
                    ),
                    (SealedBy::Device, _) => {
                        "was sealed with another device's key than this one: put that identity.json back".to_owned()
                    }
                };
                Err(KeyError::Credential {
                    why: format!(
                        "{name} in {} {why}, or forget it with `clawmesh-node credential delete {name}` and set it again; it is \
                         left as it is",
                        self.file.display()
                    ),
                })
            }
        }
    }

    fn seal(&self, name: &str, secret: &str, set_at_ms: TimeMs) -> Result<Sealed, KeyError> {
        let failed = || damaged(&self.file, "nothing could be sealed");
        let key = self.keys.first().ok_or_else(failed)?;
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|_| failed())?;
        // Room for the tag, so that the plain bytes are not left behind by a move.
        let mut text = Zeroizing::new(Vec::with_capacity(secret.len() + 16));
        text.extend_from_slice(secret.as_bytes());
        let used = aead::Nonce::assume_unique_for_key(nonce);
        let bound = aead::Aad::from(name.as_bytes());
        let sealed = key.key.seal_in_place_append_tag(used, bound, &mut *text);
        sealed.map_err(|_| failed())?;
        Ok(Sealed {
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            text: URL_SAFE_NO_PAD.encode(&*text),
            set_at_ms,
            key: Some(KeyNote {
                from: key.by,
                id: key.id.clone(),
            }),
        })
    }

    /// Sets the secret of a name. One that no key here opens is not replaced: its key may come back.
    ///
    /// # Errors
    /// If the name or the secret cannot be used, or the file not be written.
    pub fn set(&self, name: &str, secret: &Zeroizing<String>, now: TimeMs) -> Result<(), KeyError> {
        let refused = |why: String| KeyError::Passphrase { why };
        credential_name(name).map_err(refused)?;
        credential_secret(secret).map_err(refused)?;
        let _turn = turn(&self.file)?;
        let mut file = read(&self.file)?;
        match file.credentials.get(name) {
            Some(before) => drop(self.open(name, before)?),
            None if file.credentials.len() >= CREDENTIALS_MAX => {
                let why = format!("there are {CREDENTIALS_MAX} credentials already; remove one");
                return Err(refused(why));
            }
            None => {}
        }
        let sealed = self.seal(name, secret, now)?;
        file.credentials.insert(name.to_owned(), sealed);
        write(&self.file, file)
    }

    /// Seals with the key of new ones whatever was sealed otherwise and opens; says how many. Those that do not open stay
    /// as they are.
    ///
    /// # Errors
    /// If the file does not read or cannot be written; then it is as it was.
    pub fn take_over(&self) -> Result<usize, KeyError> {
        let first = self.keys.first().map(|key| key.by);
        let other = |sealed: &Sealed| sealed.key.as_ref().map(|key| key.from) != first;
        // A directory that takes no writes needs none where there is nothing to do.
        if !read(&self.file)?.credentials.values().any(other) {
            return Ok(0);
        }
        let _turn = turn(&self.file)?;
        let mut file = read(&self.file)?;
        let mut taken = 0;
        for (name, sealed) in file.credentials.iter_mut().filter(|(_, s)| other(s)) {
            if let Ok(secret) = self.open(name, sealed) {
                *sealed = self.seal(name, &secret, sealed.set_at_ms)?;
                taken += 1;
            }
        }
        if taken > 0 {
            crash::point("credentials", "before");
            write(&self.file, file)?;
            crash::point("credentials", "after");
        }
        Ok(taken)
    }

    /// Seals those that open anew, in a directory without any, for the device that `seed` makes; the names of the others.
    ///
    /// # Errors
    /// If the file does not read, or the new one cannot be written.
    pub fn sealed_anew_in(
        &self,
        to: &StateDir,
        seed: &[u8; 32],
        service: Option<&Path>,
    ) -> Result<Vec<String>, KeyError> {
        let other = Self::new(to, &DeviceKey::from_seed(seed), service)?;
        let (mut anew, mut left_out) = (BTreeMap::new(), Vec::new());
        for (name, sealed) in read(&self.file)?.credentials {
            match self.open(&name, &sealed) {
                Ok(secret) => {
                    let sealed = other.seal(&name, &secret, sealed.set_at_ms)?;
                    anew.insert(name, sealed);
                }
                Err(_) => left_out.push(name),
            }
        }
        if !anew.is_empty() {
            let credentials = anew;
            let file = File {
                version: 2,
                credentials,
            };
            write(&other.file, file)?;
        }
        Ok(left_out)
    }

    /// Forgets a name; whether it was set. Needs no key.
    ///
    /// # Errors
    /// The fault in the file.
    pub fn remove(dir: &StateDir, name: &str) -> Result<bool, KeyError> {
        let path = dir.credentials_file();
        if !read(&path)?.credentials.contains_key(name) {
            return Ok(false);
        }
        let _turn = turn(&path)?;
        let mut file = read(&path)?;
        let was = file.credentials.remove(name).is_some();
        if was {
            write(&path, file)?;
        }
        Ok(was)
    }
}

/// Keeps other processes from changing the file meanwhile, so that no change is lost.
fn turn(file: &Path) -> Result<std::fs::File, KeyError> {
    let lock = file.with_extension("lock");
    files::wait_for_lock(&lock).map_err(|source| KeyError::Read {
        file: lock.display().to_string(),
        source,
    })
}

fn damaged(file: &Path, why: &str) -> KeyError {
    KeyError::Damaged {
        file: file.display().to_string(),
        why: why.to_owned(),
    }
}

fn read(path: &Path) -> Result<File, KeyError> {
    let Some(text) = read_secret(path, CREDENTIALS_FILE_MAX_BYTES)? else {
        return Ok(File {
            version: 1,
            credentials: BTreeMap::new(),
        });
    };
    let file = serde_json::from_str::<File>(&text);
    let file = file.map_err(|e| damaged(path, &format!("it is no file of credentials: {e}")))?;
    match file.version {
        1 | 2 => Ok(file),
        other => Err(damaged(path, &format!("version {other} is not known here"))),
    }
}

fn write(path: &Path, mut file: File) -> Result<(), KeyError> {
    // Programs that know version 1 alone refuse what they could not open.
    let noted = file.credentials.values().any(|sealed| sealed.key.is_some());
    file.version = if noted { 2 } else { 1 };
    let text = serde_json::to_vec_pretty(&file).map_err(|e| damaged(path, &e.to_string()))?;
    Ok(write_private(path, &text)?)
}

#[cfg(test)]
mod tests;
