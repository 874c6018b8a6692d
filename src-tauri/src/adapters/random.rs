//! The only place that asks the system for random bytes while a node runs.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::base::TimeMs;

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes; try again, and look at the system's entropy source")]
pub struct NoRandom;

/// A source of random bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes`, all of them.
    ///
    /// # Errors
    /// [`NoRandom`]; nothing may then be made of what `bytes` holds.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom>;
}

/// Shared handle to a source of random bytes.
#[derive(Clone)]
pub struct SharedRandom(Arc<dyn Random>);

impl SharedRandom {
    /// Wraps a source.
    pub fn new(source: impl Random + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The system's source.
    pub fn system() -> Self {
        Self::new(SystemRandom)
    }

    /// An array of random bytes.
    ///
    /// # Errors
    /// [`NoRandom`].
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandom> {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A random UUID (RFC 9562, version 4).
    ///
    /// # Errors
    /// [`NoRandom`].
    pub fn uuid(&self) -> Result<Uuid, NoRandom> {
        Ok(uuid::Builder::from_random_bytes(self.bytes()?).into_uuid())
    }

    /// A UUID that begins with a time (RFC 9562, version 7).
    ///
    /// # Errors
    /// [`NoRandom`].
    pub fn uuid_at(&self, at: TimeMs) -> Result<Uuid, NoRandom> {
        let random = self.bytes()?;
        Ok(uuid::Builder::from_unix_timestamp_millis(at.0, &random).into_uuid())
    }

    /// A number below `end`, near enough to uniform for jitter; 0 without randomness.
    pub fn below(&self, end: u64) -> u64 {
        self.bytes()
            .map_or(0, |bytes| u64::from_be_bytes(bytes) % end.max(1))
    }
}

impl fmt::Debug for SharedRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRandom")
    }
}

/// The system's random bytes.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[allow(clippy::disallowed_methods)]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        getrandom::fill(bytes).map_err(|_| NoRandom)
    }
}
