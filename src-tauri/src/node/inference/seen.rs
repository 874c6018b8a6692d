//! How each model did when it was asked last, in this run: what people look at, and nothing decides by.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::domain::base::TimeMs;
use crate::domain::inference::{Failure, ModelRef};

/// How a model did when it was asked last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// When it last answered to the end, in milliseconds since 1970.
    pub answered_at: Option<u64>,
    /// How long it took then until the first piece of its reply, in milliseconds.
    pub first_ms: Option<u64>,
    /// How long it took then until the end, in milliseconds.
    pub took_ms: Option<u64>,
    /// When it last failed, in milliseconds since 1970.
    pub failed_at: Option<u64>,
    /// Why it did.
    pub error: Option<String>,
}

/// The models of a node.
#[derive(Default)]
pub(super) struct Sightings(Mutex<BTreeMap<ModelRef, Seen>>);

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelRef, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, model: &ModelRef) -> Seen {
        self.lock().get(model).cloned().unwrap_or_default()
    }

    pub(super) fn answered(&self, model: &ModelRef, now: TimeMs, first_ms: u64, took_ms: u64) {
        let mut all = self.lock();
        let seen = all.entry(model.clone()).or_default();
        seen.answered_at = Some(now.0);
        seen.first_ms = Some(first_ms);
        seen.took_ms = Some(took_ms);
    }

    pub(super) fn failed(&self, model: &ModelRef, now: TimeMs, failure: &Failure) {
        let mut all = self.lock();
        let seen = all.entry(model.clone()).or_default();
        seen.failed_at = Some(now.0);
        seen.error = Some(failure.why.clone());
    }
}
