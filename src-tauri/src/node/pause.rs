//! The planner's pause: while a person holds it, no rule fires and no draft of a planner leaves. It
//! is durable, so that a restart does not let the planner loose again; proposals that stand go on.
//!
//! A second person who pauses it is listed beside the first: each had a reason, and none is hidden by
//! another. Resuming is one act that ends them all; the person who does it is shown all the reasons.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::context::{Context, DURABLE, store_refusal};
use super::inference::Inference;
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{ASKED_BY_MAX_CHARS, PAUSE_HOLDERS_MAX, TEXT_MAX_CHARS};
use crate::domain::base::{AuditKind, Code, Refusal, TimeMs};
use crate::node::context::{Event, Severity};

/// Where the pause lies.
const PAUSE: &str = "planner.pause";

/// A pause of the planner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Since when, in milliseconds since 1970.
    #[cfg_attr(test, schema(value_type = u64))]
    pub since: TimeMs,
    /// Who asked for it.
    pub by: String,
    /// Why; empty where nobody said.
    pub reason: String,
    /// Who else asked for it since, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Hold>,
}

/// Somebody who wants the planner to rest while it rests already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Since when, in milliseconds since 1970.
    #[cfg_attr(test, schema(value_type = u64))]
    pub since: TimeMs,
    /// Who asked for it.
    pub by: String,
    /// Why; empty where nobody said.
    pub reason: String,
}

impl Pause {
    /// Who holds it and why, as people read it.
    pub fn holders(&self) -> String {
        let first = held_by(&self.by, &self.reason);
        let others = self.also.iter().map(|h| held_by(&h.by, &h.reason));
        let all: Vec<String> = std::iter::once(first).chain(others).collect();
        all.join("; and by ")
    }

    /// The refusal of a wish of the planner while it lasts.
    pub fn refusal(&self) -> Refusal {
        let why = format!("the planner is paused by {}", self.holders());
        Refusal::new(Code::PlannerPaused, why)
    }

    /// The pause with one more who holds it; `None` if that person gave that reason already.
    fn with(&self, hold: &Hold) -> Result<Option<Self>, Refusal> {
        let same = |by: &str, reason: &str| by == hold.by && reason == hold.reason;
        let known =
            same(&self.by, &self.reason) || self.also.iter().any(|h| same(&h.by, &h.reason));
        if known {
            return Ok(None);
        }
        if self.also.len() + 1 >= PAUSE_HOLDERS_MAX {
            let why = format!(
                "the planner is paused already, with {PAUSE_HOLDERS_MAX} reasons; nothing was added"
            );
            return Err(Refusal::new(Code::Conflict, why));
        }
        let mut more = self.clone();
        more.also.push(hold.clone());
        Ok(Some(more))
    }
}

fn held_by(by: &str, reason: &str) -> String {
    match reason {
        "" => by.to_owned(),
        reason => format!("{by}: {reason}"),
    }
}

/// Whether the planner of this node rests, and what it last did.
#[derive(Debug)]
pub struct PlannerState {
    pause: RwLock<Option<Pause>>,
    /// When each rule fired last in this run.
    last: RwLock<BTreeMap<String, TimeMs>>,
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
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        let (rule, at) = last.iter().max_by_key(|(_, at)| **at)?;
        Some((rule.clone(), *at))
    }

    /// When this rule fired last in this run.
    pub fn last_of(&self, rule: &str) -> Option<TimeMs> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        last.get(rule).copied()
    }

    /// Notes that a rule fired.
    pub fn fired(&self, rule: &str, now: TimeMs) {
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        last.insert(rule.to_owned(), now);
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
pub(super) async fn resume_state(
    context: &Context,
    planner: &PlannerState,
) -> Result<(), StoreError> {
    let stored = |c: &Connection| kv::get(c, PAUSE);
    if let Some(bytes) = context.store.read("planner", stored).await? {
        // A pause that does not read is a pause all the same.
        let pause = serde_json::from_slice(&bytes).unwrap_or_else(|_| Pause {
            since: TimeMs(0),
            by: "unknown".to_owned(),
            reason: "the stored pause does not read".to_owned(),
            also: Vec::new(),
        });
        planner.set(Some(pause));
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

/// Makes the planner of this node rest until somebody lets it go on. One that rests already goes on
/// resting as it did, now for one more reason.
///
/// # Errors
/// `CONFLICT` where there is no planner or too many hold it, `INVALID_PARAMS` for a name or reason that is too long, or what the
/// store says: then it does not rest.
pub async fn pause(
    context: &Context,
    (planner, models): (&PlannerState, &Inference),
    by: &str,
    reason: &str,
) -> Result<Pause, Refusal> {
    let rules = context.config.role.plans() && !context.config.rules.is_empty();
    if !rules && models.is_empty() {
        return Err(Refusal::new(
            Code::Conflict,
            "this node has no planner; pause it where its rules are",
        ));
    }
    let _turn = planner.changing.lock().await;
    let hold = Hold {
        since: context.now(),
        by: said("the name", by, ASKED_BY_MAX_CHARS)?,
        reason: said("the reason", reason, TEXT_MAX_CHARS)?,
    };
    let pause = match planner.pause() {
        Some(held) => match held.with(&hold)? {
            Some(more) => more,
            None => return Ok(held),
        },
        None => Pause {
            since: hold.since,
            by: hold.by.clone(),
            reason: hold.reason.clone(),
            also: Vec::new(),
        },
    };
    let (kept, asked, s) = (pause.clone(), hold.clone(), context.clone());
    let write = move |c: &Connection| {
        kv::put(c, PAUSE, json!(kept).to_string().as_bytes())?;
        let detail = json!({"by": asked.by, "reason": asked.reason});
        s.journal
            .audit(c, AuditKind::PlannerPaused, "planner", detail)
    };
    let stored = context.store.write(DURABLE, "planner", write).await;
    stored.map_err(|e| store_refusal(&e))?;
    planner.set(Some(pause.clone()));
    let also = if pause.also.is_empty() { "" } else { "also " };
    let message = format!(
        "The planner is {also}paused by {}",
        held_by(&hold.by, &hold.reason)
    );
    context
        .journal
        .record(
            Event::PlannerPaused,
            Severity::Warning,
            &message,
            json!(pause),
        )
        .await;
    Ok(pause)
}

/// Lets the planner of this node go on.
///
/// # Errors
/// `CONFLICT` if it does not rest, or what the store says.
pub async fn resume(context: &Context, planner: &PlannerState, by: &str) -> Result<(), Refusal> {
    let by = said("the name", by, ASKED_BY_MAX_CHARS)?;
    let _turn = planner.changing.lock().await;
    let Some(ended) = planner.pause() else {
        return Err(Refusal::new(Code::Conflict, "the planner is not paused"));
    };
    let (s, detail) = (context.clone(), json!({"by": by, "ended": ended}));
    let write = move |c: &Connection| {
        kv::delete(c, PAUSE)?;
        s.journal
            .audit(c, AuditKind::PlannerResumed, "planner", detail)
    };
    let stored = context.store.write(DURABLE, "planner", write).await;
    stored.map_err(|e| store_refusal(&e))?;
    planner.set(None);
    let message = format!(
        "The planner goes on, as {by} asked; it was paused by {}",
        ended.holders()
    );
    context
        .journal
        .record(
            Event::PlannerResumed,
            Severity::Info,
            &message,
            json!({"by": by}),
        )
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn hold(by: &str, reason: &str) -> Hold {
        Hold {
            since: TimeMs(9),
            by: by.to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_second_pause_hides_nothing_of_the_first() {
        // As an earlier version stored it.
        let first: Pause =
            serde_json::from_str(r#"{"since": 5, "by": "ada", "reason": "pump service"}"#).unwrap();
        assert_eq!(first.with(&hold("ada", "pump service")).unwrap(), None);
        let both = first.with(&hold("bob", "people inside")).unwrap().unwrap();
        assert_eq!((both.since, both.by.as_str()), (TimeMs(5), "ada"));
        assert_eq!(
            both.holders(),
            "ada: pump service; and by bob: people inside"
        );
        assert_eq!(both.with(&hold("bob", "people inside")).unwrap(), None);
        let mut many = both;
        for n in many.also.len() + 1..PAUSE_HOLDERS_MAX {
            many = many.with(&hold(&n.to_string(), "")).unwrap().unwrap();
        }
        let full = many.with(&hold("one", "more")).unwrap_err();
        assert_eq!(full.code, Code::Conflict);
        assert_eq!(many.with(&hold("bob", "people inside")).unwrap(), None);
    }
}
