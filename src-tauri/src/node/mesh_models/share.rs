//! The usage of each device today of the models that are shared here, kept across restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use serde_json::json;

use crate::adapters::llm::Pieces;
use crate::adapters::store::{Class, StoreError, kv};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::inference::budget::{Price, Spent, tokens_of};
use crate::domain::inference::{Failure, Piece, Usage};
use crate::node::context::Context;

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
        context: &Context,
        device: &DeviceId,
        most: Usage,
    ) -> Result<Lent, Refusal> {
        let lending = &context.config.models.lending;
        let mut book = self.lock();
        // Devices that are trusted no longer have no share.
        if !book.contains_key(device) {
            book.retain(|known, _| context.trust.trusts(known));
        }
        let spent = book.entry(device.clone()).or_default();
        *spent = spent.at(context.now());
        let tokens = spent.tokens.saturating_add(most.input_tokens);
        let tokens = tokens.saturating_add(most.output_tokens);
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
            took: most,
            seen: 0,
        })
    }

    /// Writes it down.
    pub(super) async fn keep(&self, context: &Context) {
        let shares = self.clone();
        let write = move |c: &rusqlite::Connection| {
            let text = json!(*shares.lock()).to_string();
            kv::put(c, KEY, text.as_bytes())
        };
        let kept = context.store.write(Class::Relaxed, "what peers use", write);
        if let Err(error) = kept.await {
            tracing::warn!(%error, "what other devices use of the models here could not be written");
        }
    }
}

/// A request that is counted. Where nobody has said what it took, it counts as the most it may have taken: a model
/// thinks and costs before it says anything, and whoever takes a request back early has had that.
pub(super) struct Lent {
    shares: Shares,
    device: DeviceId,
    day: u64,
    most: Usage,
    took: Usage,
    seen: u64,
}

impl Lent {
    /// Notes text of the reply, in tokens.
    pub(super) fn saw(&mut self, tokens: u64) {
        self.seen = self.seen.saturating_add(tokens);
    }

    /// Notes that the model failed: the device has what was seen.
    pub(super) fn failed(&mut self) {
        self.took.output_tokens = self.seen;
    }

    /// Notes what the reply took, as the model says; what was seen, where it does not say.
    pub(super) fn ended(&mut self, usage: &Usage) {
        self.failed();
        if usage.output_tokens > 0 {
            self.took = *usage;
        }
    }

    /// A reply that is counted as it comes.
    pub(super) fn counting(mut self, pieces: Pieces) -> Pieces {
        let count = move |piece: &Result<Piece, Failure>| match piece {
            Ok(Piece::Text(text)) => self.saw(tokens_of(text.len())),
            Ok(Piece::Call(_)) => {}
            Ok(Piece::End(usage)) => self.ended(usage),
            Err(_) => self.failed(),
        };
        pieces.inspect(count).boxed()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut book = self.shares.lock();
        if let Some(spent) = book.get_mut(&self.device) {
            spent.settle(self.day, &self.most, &self.took, Price::default());
        }
    }
}
