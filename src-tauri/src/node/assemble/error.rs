//! Why a start is refused.

use crate::adapters::devices::DeviceError;
use crate::adapters::keystore::KeyError;
use crate::adapters::paths::PathError;
use crate::adapters::random::NoRandom;
use crate::adapters::store::StoreError;
use crate::adapters::transport::{TlsError, TransportError};

/// Why a node could not start. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The identity cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port cannot be listened on.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An actuator has no guard.
    #[error("an actuator's guard cannot start: {0}; nothing was started")]
    Guards(std::io::Error),
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// A file of the state directory does not hold what it should.
    #[error("{file}: {why}")]
    File {
        /// Which file.
        file: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// It was refused, and an actuator is not confirmed to be in its safe state.
    #[error("{cause}; and {}", left.join("; "))]
    Unsafe {
        /// Why it was refused.
        cause: Box<OpenError>,
        /// What is not safe and what to do, a sentence each.
        left: Vec<String>,
    },
}

impl OpenError {
    /// Why the start was refused, whatever else is to be told.
    pub fn cause(&self) -> &OpenError {
        match self {
            OpenError::Unsafe { cause, .. } => cause.cause(),
            other => other,
        }
    }

    /// As itself, with what is not safe.
    #[must_use]
    pub fn leaving(self, left: Vec<String>) -> Self {
        match left.is_empty() {
            true => self,
            false => OpenError::Unsafe {
                cause: Box::new(self),
                left,
            },
        }
    }
}
