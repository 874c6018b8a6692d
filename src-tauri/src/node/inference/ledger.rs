//! The usage of each model today, kept across restarts. A request is on disk with the most it may take before it is
//! sent, and with what it took before the end of its reply is passed on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::adapters::store::{Class, Store, StoreError, kv};
use crate::domain::base::TimeMs;
use crate::domain::inference::budget::{Budget, Price, Spent, tokens_of};
use crate::domain::inference::{FailureKind, ModelRef, Piece, Usage};

/// Where it lies in the store.
const KEY: &str = "inference.spent";

type Book = Arc<Mutex<BTreeMap<ModelRef, Spent>>>;

/// See the module.
#[derive(Clone)]
pub(super) struct Ledger {
    store: Store,
    book: Book,
}

/// Why a request is not counted and so not sent.
pub(super) enum Refused {
    /// It would go over the budget.
    Budget(String),
    /// It cannot be written down.
    Store(StoreError),
}

fn lock(book: &Book) -> MutexGuard<'_, BTreeMap<ModelRef, Spent>> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    pub(super) fn empty(store: Store) -> Self {
        Self {
            store,
            book: Book::default(),
        }
    }

    pub(super) async fn open(store: Store) -> Result<Self, StoreError> {
        let kept = store
            .read("what models have used", |c| kv::get(c, KEY))
            .await?;
        let book = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self {
            store,
            book: Arc::new(Mutex::new(book.unwrap_or_default())),
        })
    }

    pub(super) fn spent(&self, model: &ModelRef, now: TimeMs) -> Spent {
        let spent = lock(&self.book).get(model).copied();
        spent.unwrap_or_default().at(now)
    }

    /// Counts a request with the most it may take, on disk.
    pub(super) async fn reserve(
        &self,
        model: &ModelRef,
        (budget, price): (Budget, Price),
        most: Usage,
        now: TimeMs,
    ) -> Result<Reserved, Refused> {
        let mut reserved = {
            let mut book = lock(&self.book);
            let spent = book.entry(model.clone()).or_default();
            *spent = spent.at(now);
            budget
                .allows(spent, &most, price)
                .map_err(Refused::Budget)?;
            spent.reserve(&most, price);
            Reserved {
                ledger: self.clone(),
                model: model.clone(),
                day: spent.day,
                price,
                budget,
                most,
                took: Usage::default(),
                sent: false,
                settled: false,
            }
        };
        match self.write(budget).await {
            Ok(()) => {
                // From here on it is sent, and whatever becomes of it was read by somebody.
                reserved.took.input_tokens = most.input_tokens;
                reserved.sent = true;
                Ok(reserved)
            }
            Err(error) => Err(Refused::Store(error)),
        }
    }

    /// Where there is a limit, what is counted is on disk before the request is sent.
    async fn write(&self, budget: Budget) -> Result<(), StoreError> {
        let class = match budget == Budget::default() {
            true => Class::Relaxed,
            false => Class::Durable,
        };
        let book = self.book.clone();
        let write = move |c: &_| {
            let text = serde_json::to_vec(&*lock(&book)).unwrap_or_default();
            kv::put(c, KEY, &text)
        };
        self.store
            .write(class, "what models have used", write)
            .await
    }
}

/// A request that is counted. Dropped before its end, it counts as what was seen of it; where there is a price or a
/// budget, as the most it may have taken: a model thinks and costs before it says anything.
pub(super) struct Reserved {
    ledger: Ledger,
    model: ModelRef,
    day: u64,
    price: Price,
    budget: Budget,
    most: Usage,
    took: Usage,
    /// Whether it was sent and its usage is not known yet.
    sent: bool,
    settled: bool,
}

impl Reserved {
    /// Notes a piece of the reply.
    pub(super) fn saw(&mut self, piece: &Piece) {
        let bytes = match piece {
            Piece::Text(text) => text.len(),
            Piece::Call(call) => call.name.len() + call.arguments.len(),
            Piece::End(_) => 0,
        };
        self.took.output_tokens = self.took.output_tokens.saturating_add(tokens_of(bytes));
    }

    /// Notes that it failed before anything was said. What was surely not read costs nothing.
    pub(super) fn failed(&mut self, kind: FailureKind) {
        if !matches!(kind, FailureKind::Timeout | FailureKind::BadReply) {
            self.took.input_tokens = 0;
            self.sent = false;
        }
    }

    /// Counts what the server says it took, on disk; the estimate where it does not say.
    pub(super) async fn end(mut self, usage: &Usage) {
        self.sent = false;
        if usage.input_tokens > 0 {
            self.took.input_tokens = usage.input_tokens;
        }
        if usage.output_tokens > 0 {
            self.took.output_tokens = usage.output_tokens;
        }
        self.settle();
        if let Err(error) = self.ledger.write(self.budget).await {
            tracing::warn!(%error, "what a model used could not be written; the most it may have used stays counted");
        }
    }

    fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            if self.sent && (self.budget, self.price) != Default::default() {
                self.took.output_tokens = self.took.output_tokens.max(self.most.output_tokens);
            }
            let mut book = lock(&self.ledger.book);
            let spent = book.entry(self.model.clone()).or_default();
            spent.settle(self.day, &self.most, &self.took, self.price);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.settle();
    }
}
