//! The planner's pause: while a person holds it, no rule fires and no draft of a planner leaves. It
//! is durable, so that a restart does not let the planner loose again; proposals that stand go on.

use std::sync::{PoisonError, RwLock};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::shared::{DURABLE, Shared, store_refusal};
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{NAME_MAX_BYTES, TEXT_MAX_CHARS};
use crate::domain::base::{Code, Refusal, TimeMs};

/// Where the pause lies.
const PAUSE: &str = "planner.pause";

/// A pause of the planner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Since when, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub since: TimeMs,
    /// Who asked for it.
    pub by: String,
    /// Why; empty where nobody said.
    pub reason: String,
}

/// Whether the planner of this node rests, and what it last did.
#[derive(Debug)]
pub struct PlannerState {
    pause: RwLock<Option<Pause>>,
    /// The rule that fired last and when.
    last: RwLock<Option<(String, TimeMs)>>,
    woken: watch::Sender<u64>,
    /// Held over a change, so that disk and memory say the same.
    changing: tokio::sync::Mutex<()>,
}

impl Default for PlannerState {
    fn default() -> Self {
        Self {
            pause: RwLock::default(),
            last: RwLock::default(),
            woken: watch::channel(0).0,
            changing: tokio::sync::Mutex::default(),
        }
    }
}

impl PlannerState {
    /// The pause, if there is one.
    pub fn pause(&self) -> Option<Pause> {
        self.pause
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The rule that fired last in this run, and when.
    pub fn last_fired(&self) -> Option<(String, TimeMs)> {
        self.last
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes that a rule fired.
    pub fn fired(&self, rule: &str, now: TimeMs) {
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some((rule.to_owned(), now));
    }

    /// Changes when a pause begins or ends.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.woken.subscribe()
    }

    fn set(&self, pause: Option<Pause>) {
        *self.pause.write().unwrap_or_else(PoisonError::into_inner) = pause;
        self.woken.send_modify(|n| *n += 1);
    }
}

/// Takes the pause of an earlier run up, before the planner starts.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn resume_state(shared: &Shared) -> Result<(), StoreError> {
    let stored = |c: &Connection| kv::get(c, PAUSE);
    if let Some(bytes) = shared.store.read("planner", stored).await? {
        // A pause that does not read is a pause all the same.
        let pause = serde_json::from_slice(&bytes).unwrap_or_else(|_| Pause {
            since: TimeMs(0),
            by: "unknown".to_owned(),
            reason: "the stored pause does not read".to_owned(),
        });
        shared.planner.set(Some(pause));
    }
    Ok(())
}

fn said(what: &str, text: &str, most: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Refusal::new(
            Code::InvalidParams,
            format!("{what} has at most {most} characters and no control characters"),
        ));
    }
    Ok(text.to_owned())
}

/// Makes the planner of this node rest until somebody lets it go on.
///
/// # Errors
/// `CONFLICT` where there is no planner, `INVALID_PARAMS` for a name or reason that is too long, or what the
/// store says: then it does not rest.
pub async fn pause(shared: &Shared, by: &str, reason: &str) -> Result<Pause, Refusal> {
    if !shared.config.role.plans() || shared.config.rules.is_empty() {
        return Err(Refusal::new(
            Code::Conflict,
            "this node has no planner; pause it where its rules are",
        ));
    }
    let _turn = shared.planner.changing.lock().await;
    let pause = Pause {
        since: shared.now(),
        by: said("the name", by, NAME_MAX_BYTES)?,
        reason: said("the reason", reason, TEXT_MAX_CHARS)?,
    };
    let (kept, s) = (pause.clone(), shared.clone());
    let write = move |c: &Connection| {
        kv::put(c, PAUSE, json!(kept).to_string().as_bytes())?;
        let detail = json!({"by": kept.by, "reason": kept.reason});
        s.audit_in(c, "planner.paused", "planner", detail)
    };
    let stored = shared.store.write(DURABLE, "planner", write).await;
    stored.map_err(|e| store_refusal(&e))?;
    shared.planner.set(Some(pause.clone()));
    let message = match pause.reason.as_str() {
        "" => format!("The planner is paused by {}", pause.by),
        reason => format!("The planner is paused by {}: {reason}", pause.by),
    };
    shared
        .events
        .record(shared, "planner.paused", "warning", &message, json!(pause))
        .await;
    Ok(pause)
}

/// Lets the planner of this node go on.
///
/// # Errors
/// `CONFLICT` if it does not rest, or what the store says.
pub async fn resume(shared: &Shared, by: &str) -> Result<(), Refusal> {
    let by = said("the name", by, NAME_MAX_BYTES)?;
    let _turn = shared.planner.changing.lock().await;
    if shared.planner.pause().is_none() {
        return Err(Refusal::new(Code::Conflict, "the planner is not paused"));
    }
    let (s, name) = (shared.clone(), by.clone());
    let write = move |c: &Connection| {
        kv::delete(c, PAUSE)?;
        s.audit_in(c, "planner.resumed", "planner", json!({"by": name}))
    };
    let stored = shared.store.write(DURABLE, "planner", write).await;
    stored.map_err(|e| store_refusal(&e))?;
    shared.planner.set(None);
    let message = format!("The planner goes on, as {by} asked");
    shared
        .events
        .record(
            shared,
            "planner.resumed",
            "info",
            &message,
            json!({"by": by}),
        )
        .await;
    Ok(())
}
