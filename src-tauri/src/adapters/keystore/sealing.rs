//! The keys that credentials are sealed with: one that the service manager hands to the process, else one made of the
//! device's. A key has an id, by which a wrong one is told from an altered file; neither is ever printed.

use std::io;
use std::path::Path;

use ring::{aead, hkdf};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyError;
use crate::adapters::files;
use crate::domain::base::limits::{SERVICE_KEY_MAX_BYTES, SERVICE_KEY_MIN_BYTES};
use crate::domain::identity::DeviceKey;

/// The variable that names the directory in which systemd puts the credentials of a service.
pub const SERVICE_DIRECTORY_ENV: &str = "CREDENTIALS_DIRECTORY";
/// The name of the credential of systemd whose content is the key.
pub const SERVICE_KEY: &str = "clawmesh-credentials-key";

const SALT: &[u8] = b"clawmesh credentials v1";
/// The purpose of the key made of the device's; it was named when there were keys of providers alone.
const OF_DEVICE: &[u8] = b"provider/";
const OF_SERVICE: &[u8] = b"service";
const ID: &[u8] = b"key id";

/// What a credential is sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SealedBy {
    /// A key made of the device's.
    Device,
    /// A key that the service manager gives.
    Service,
}

/// A key, where it is from, and what tells it from others.
#[derive(Clone)]
pub(super) struct SealingKey {
    /// Where it is from.
    pub(super) by: SealedBy,
    /// What tells it from others; opens nothing.
    pub(super) id: String,
    /// The key.
    pub(super) key: aead::LessSafeKey,
}

impl SealingKey {
    /// The key made of the device's.
    pub(super) fn of_device(device: &DeviceKey) -> Option<Self> {
        Self::made(SealedBy::Device, OF_DEVICE, &*device.seed())
    }

    /// The key that the service manager has put into `directory`, if it has.
    ///
    /// # Errors
    /// [`KeyError::Read`], or [`KeyError::Credential`] for one that is too short.
    pub(super) fn of_service(directory: &Path) -> Result<Option<Self>, KeyError> {
        let file = directory.join(SERVICE_KEY);
        let shown = || file.display().to_string();
        let secret = match files::read(&file, SERVICE_KEY_MAX_BYTES) {
            Ok(secret) => Zeroizing::new(secret),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(KeyError::Read {
                    file: shown(),
                    source,
                });
            }
        };
        let made = match secret.len() >= SERVICE_KEY_MIN_BYTES {
            true => Self::made(SealedBy::Service, OF_SERVICE, &secret),
            false => None,
        };
        let why = || {
            format!(
                "{} is too short to be a key: give {SERVICE_KEY_MIN_BYTES} random bytes or more, as in \
                 `head -c {SERVICE_KEY_MIN_BYTES} /dev/urandom`; nothing was changed",
                shown()
            )
        };
        made.map(Some)
            .ok_or_else(|| KeyError::Credential { why: why() })
    }

    fn made(by: SealedBy, purpose: &[u8], secret: &[u8]) -> Option<Self> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let purpose = [purpose];
        let out = secret.expand(&purpose, &aead::CHACHA20_POLY1305).ok()?;
        let key = aead::LessSafeKey::new(aead::UnboundKey::from(out));
        let mut id = [0; 32];
        let out = secret.expand(&[ID], hkdf::HKDF_SHA256).ok()?;
        out.fill(&mut id).ok()?;
        let id = id.iter().take(8).map(|byte| format!("{byte:02x}"));
        Some(Self {
            by,
            id: id.collect(),
            key,
        })
    }
}
