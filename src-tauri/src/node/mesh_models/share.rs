//! What each device has used today of the models that are shared here, kept across restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::adapters::store::{Class, StoreError, kv};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::inference::Usage;
use crate::domain::inference::budget::{Price, Spent};
use crate::node::shared::Shared;

/// Where it lies in the store.
const KEY: &str = "inference.lent";

type Book = BTreeMap<DeviceId, Spent>;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares(Arc<Mutex<Book>>);

impl Shares {
    pub(super) fn load(conn: &rusqlite::Connection) -> Result<Self, StoreError> {
        let kept = kv::get(conn, KEY)?;
        let book = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self(Arc::new(Mutex::new(book.unwrap_or_default()))))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request with the most it may take.
    ///
    /// # Errors
    /// `OVER_BUDGET`, which says until when.
    pub(super) fn reserve(
        &self,
        shared: &Shared,
        device: &DeviceId,
        most: Usage,
    ) -> Result<Lent, Refusal> {
        let lending = &shared.config.models.lending;
        let mut book = self.lock();
        // Devices that are trusted no longer have no share.
        if !book.contains_key(device) {
            book.retain(|known, _| shared.trust.trusts(known));
        }
        let spent = book.entry(device.clone()).or_default();
        *spent = spent.at(shared.now());
        let (input, output) = (most.input_tokens, most.output_tokens);
        let tokens = spent.tokens.saturating_add(input).saturating_add(output);
        if spent.requests >= lending.requests_per_day || tokens > lending.tokens_per_day {
            let why = format!(
                "device {} has used {} requests and {} tokens of models here today, and may use {} and {}; it starts again at \
                 midnight UTC",
                device.short(),
                spent.requests,
                spent.tokens,
                lending.requests_per_day,
                lending.tokens_per_day
            );
            return Err(Refusal::new(Code::OverBudget, why));
        }
        spent.reserve(&most, Price::default());
        Ok(Lent {
            shares: self.clone(),
            device: device.clone(),
            day: spent.day,
            most,
            took: Usage {
                input_tokens: input,
                ..Usage::default()
            },
        })
    }

    /// Writes it down.
    pub(super) async fn keep(&self, shared: &Shared) {
        let shares = self.clone();
        let write = move |c: &rusqlite::Connection| {
            let text = json!(*shares.lock()).to_string();
            kv::put(c, KEY, text.as_bytes())
        };
        let kept = shared.store.write(Class::Relaxed, "what peers use", write);
        if let Err(error) = kept.await {
            tracing::warn!(%error, "what other devices use of the models here could not be written");
        }
    }
}

/// A request that is counted; dropped, it counts as what was seen of it.
pub(super) struct Lent {
    shares: Shares,
    device: DeviceId,
    day: u64,
    most: Usage,
    /// What it took, as far as is known.
    pub took: Usage,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut book = self.shares.lock();
        if let Some(spent) = book.get_mut(&self.device) {
            spent.settle(self.day, &self.most, &self.took, Price::default());
        }
    }
}
