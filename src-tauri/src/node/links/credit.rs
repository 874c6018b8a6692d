//! Flow control: a receiver says how much it is ready to take (feature `credit`).
//!
//! Both sides begin with [`CREDIT_WINDOW_KIB`]. What carries frames costs its size; the receiver gives
//! it back once the frames are stored. So a receiver that is slow to store slows the frames of that
//! one link, and never stops reading: requests and answers overtake.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::LinkHandle;
use crate::domain::base::limits::{CREDIT_WINDOW_KIB, MESSAGE_MAX_BYTES};
use crate::domain::base::{Code, Refusal};
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;

/// The event that gives credit back.
pub const EVENT: &str = "link.credit";

/// Credit that is left for sending, in KiB.
#[derive(Debug)]
pub struct Credit {
    /// `None` towards a peer that gives no credit.
    left: Option<Semaphore>,
    /// Received bytes whose credit was not returned yet.
    owed: AtomicU32,
}

/// The credit that a message of this size takes.
pub fn cost_kib(bytes: usize) -> u32 {
    u32::try_from(bytes.min(2 * MESSAGE_MAX_BYTES).div_ceil(1_024).max(1)).unwrap_or(1)
}

impl Credit {
    /// The window both sides begin with, if the peer speaks of credit at all.
    pub fn new(negotiated: bool) -> Self {
        let window = usize::try_from(CREDIT_WINDOW_KIB).unwrap_or(usize::MAX);
        Self {
            left: negotiated.then(|| Semaphore::new(window)),
            owed: AtomicU32::new(0),
        }
    }

    /// Waits until a message of this size may be sent, and pays for it.
    pub async fn pay(&self, bytes: usize) {
        if let Some(left) = &self.left
            && let Ok(paid) = left.acquire_many(cost_kib(bytes)).await
        {
            paid.forget();
        }
    }

    /// Takes the credit a peer gives.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for no number, or for more than was ever paid.
    pub fn take(&self, payload: &Value) -> Result<(), Refusal> {
        let wrong = |why: &str| Refusal::new(Code::InvalidParams, format!("{EVENT}: {why}"));
        let given = payload
            .get("kib")
            .and_then(Value::as_u64)
            .and_then(|kib| usize::try_from(kib).ok())
            .ok_or_else(|| wrong("kib must be a whole number"))?;
        let Some(left) = &self.left else {
            return Err(wrong("credit was not negotiated"));
        };
        let window = usize::try_from(CREDIT_WINDOW_KIB).unwrap_or(usize::MAX);
        if given.saturating_add(left.available_permits()) > window {
            return Err(wrong("more credit than was used"));
        }
        left.add_permits(given);
        Ok(())
    }

    /// Credit that is left for sending, in KiB; `None` without negotiated credit.
    pub fn left_kib(&self) -> Option<usize> {
        self.left.as_ref().map(Semaphore::available_permits)
    }
}

/// Frames of a link that are being taken in; dropping it gives their credit back.
#[derive(Debug)]
pub struct Taken {
    link: LinkHandle,
    kib: u32,
}

impl Taken {
    /// Frames that came in a message of this size.
    pub fn new(link: &LinkHandle, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            link: link.clone(),
            kib: cost_kib(bytes),
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.link.info.speaks(Feature::Credit) {
            return;
        }
        let owed = &self.link.credit.owed;
        let total = owed.fetch_add(self.kib, Ordering::AcqRel) + self.kib;
        // In one piece now and then: the peer has the rest of the window meanwhile.
        if total < CREDIT_WINDOW_KIB / 4 {
            return;
        }
        let given = owed.swap(0, Ordering::AcqRel);
        if given > 0
            && !self
                .link
                .tell(Message::event(EVENT, &json!({"kib": given})))
        {
            owed.fetch_add(given, Ordering::AcqRel);
        }
    }
}
