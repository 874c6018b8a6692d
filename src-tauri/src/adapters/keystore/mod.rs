//! Keys at rest: owner-only files for devices and for people at the command line, the latter under a
//! passphrase if the person wishes; on the desktop the system's keychain (`keychain`).
//!
//! A file that cannot be read is an error and never a reason for a second identity. A directory whose
//! key lives in the keychain is recognised by its file and refused by a node that cannot open it.

mod backup;
mod channel;
mod credentials;
mod device;
pub mod dumps;
mod file;
pub mod gen1;
#[cfg(feature = "desktop")]
pub mod keychain;
mod operator;
mod push;
mod sealed;
mod sealing;

use std::io;

pub use self::backup::{keys_to_back_up, restore_key};
pub use self::channel::channel_key;
pub use self::credentials::{CredentialCard, Credentials, credential_name, credential_secret};
pub use self::device::{
    DeviceKeys, FileKeys, create_device_key, device_public_key, load_device_key,
    load_or_create_device_key,
};
pub use self::file::read_secret;
pub use self::operator::{
    NamedOperatorKey, OperatorCard, create_operator_key, load_operator_key, operator_card,
    protect_operator_key, unlock_operator_key, unprotect_operator_key,
};
pub use self::push::push_key;
pub use self::sealed::Passphrase;
pub use self::sealing::{SERVICE_DIRECTORY_ENV, SERVICE_KEY, SealedBy};
use crate::adapters::paths::PathError;
use crate::adapters::system::Exposure;

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
        /// The OS error.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "{file} holds a secret key but can be read by others ({}); run: {}", exposure.how, exposure.mend
    )]
    Exposed {
        /// The file.
        file: String,
        /// How, and what ends that.
        exposure: Exposure,
    },
    /// It does not hold what it should.
    #[error("{file}: {why}. It is left as it is and no new key is made; restore it from a backup")]
    Damaged {
        /// The file.
        file: String,
        /// The fault.
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
        /// The keychain's error.
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
    /// A credential is there and does not open.
    #[error("{why}")]
    Credential {
        /// Which, why, and what to do; never the secret.
        why: String,
    },
    /// The passphrase cannot be used.
    #[error("{why}")]
    Passphrase {
        /// The fault; never the passphrase.
        why: String,
    },
}
