//! The event log: numbered, stored, and streamed to whoever listens.
//!
//! A refusal that repeats is one event and then a number. What a device or a stranger causes is told up to
//! its share, then counted, and is kept in a room of its own: nobody pushes another's events out of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::shared::Shared;
use crate::adapters::store::{Class, events};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    BUDGET_EVENTS_PER_MINUTE, EVENT_LAG_MAX, EVENT_TEXT_MAX_CHARS, REFUSAL_REASON_CHARS,
    REFUSAL_REASONS_MAX, REFUSAL_REPEAT_MAX_MS, REFUSAL_REPEAT_MS, REFUSAL_SUBJECT_CHARS,
    REFUSALS_KNOWN_MAX, REFUSALS_PER_MINUTE,
};
use crate::domain::base::text::{bounded, shown};
use crate::domain::base::{Code, Refusal, TimeMs};

/// The sending end of the event stream.
#[derive(Debug)]
pub struct EventLog {
    live: broadcast::Sender<u64>,
    /// On each account its own: nobody's refusals hide another's.
    refusals: Mutex<BTreeMap<Cause, Refusals>>,
}

/// What makes two refusals the same to a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: &'static str,
    code: Code,
    subject: String,
}

/// A refusal that was told, and how many like it have come since.
#[derive(Debug)]
struct Told {
    since: TimeMs,
    rest_ms: u64,
    more: u64,
    /// What the newest of those said.
    message: String,
    /// What has been told.
    reasons: BTreeSet<String>,
}

/// What was refused lately. Strangers choose their own names, so the list has an end, and so has the
/// number of those that are told in a minute.
#[derive(Debug, Default)]
struct Refusals {
    minute: TimeMs,
    told: u32,
    known: BTreeMap<Key, Told>,
    /// Refusals that found no place.
    others: u64,
}

/// Refusals that have come since they were last told.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    /// Of which kind, code and subject; `None` for those that found no place.
    of: Option<(&'static str, Code, String)>,
    message: String,
    count: u64,
}

impl Refusals {
    /// Whether this refusal becomes an event now; otherwise it is counted.
    fn admits(&mut self, key: Key, message: &str, now: TimeMs) -> bool {
        // A clock that jumped either way begins a new minute.
        if now.distance(self.minute) >= 60_000 {
            (self.minute, self.told) = (now, 0);
        }
        let room = self.told < REFUSALS_PER_MINUTE;
        let reason: String = message.chars().take(REFUSAL_REASON_CHARS).collect();
        if let Some(told) = self.known.get_mut(&key) {
            // Another reason is news, up to a number: a peer may vary what it is refused for.
            if room && told.reasons.len() < REFUSAL_REASONS_MAX && told.reasons.insert(reason) {
                self.told += 1;
                return true;
            }
            told.more = told.more.saturating_add(1);
            message.clone_into(&mut told.message);
            return false;
        }
        if !room || self.known.len() >= REFUSALS_KNOWN_MAX {
            self.others = self.others.saturating_add(1);
            return false;
        }
        self.told += 1;
        let told = Told {
            since: now,
            rest_ms: REFUSAL_REPEAT_MS,
            more: 0,
            message: String::new(),
            reasons: BTreeSet::from([reason]),
        };
        self.known.insert(key, told);
        true
    }

    /// Whether nothing of it is worth remembering.
    fn is_quiet(&self, now: TimeMs) -> bool {
        self.known.is_empty() && self.others == 0 && now.distance(self.minute) >= 60_000
    }

    /// What is to be told of those that were counted; what has been quiet is forgotten.
    fn due(&mut self, now: TimeMs) -> Vec<Counted> {
        let mut due = Vec::new();
        self.known.retain(|key, told| {
            if now.distance(told.since) < told.rest_ms {
                return true;
            }
            if told.more == 0 {
                return false;
            }
            due.push(Counted {
                of: Some((key.kind, key.code, key.subject.clone())),
                message: told.message.clone(),
                count: std::mem::take(&mut told.more),
            });
            told.since = now;
            told.rest_ms = told.rest_ms.saturating_mul(2).min(REFUSAL_REPEAT_MAX_MS);
            true
        });
        if self.others > 0 && now.distance(self.minute) >= 60_000 {
            due.push(Counted {
                of: None,
                message: "Other refusals".to_owned(),
                count: std::mem::take(&mut self.others),
            });
        }
        due
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            live: broadcast::channel(EVENT_LAG_MAX).0,
            refusals: Mutex::default(),
        }
    }
}

impl EventLog {
    /// Records something that this node, its persons or its actuators did.
    pub async fn record(
        &self,
        shared: &Shared,
        kind: &'static str,
        severity: &'static str,
        message: &str,
        data: Value,
    ) {
        let cause = Cause::Own;
        self.keep(shared, cause, kind, severity, message, data)
            .await;
    }

    /// Records something that a device or a stranger may have caused; beyond its share it is counted,
    /// and told with its number by [`EventLog::tell_counted`].
    pub async fn caused(
        &self,
        shared: &Shared,
        cause: Cause,
        kind: &'static str,
        severity: &'static str,
        message: &str,
        data: Value,
    ) {
        if shared.budgets.event(&cause, shared.now()) {
            self.keep(shared, cause, kind, severity, message, data)
                .await;
        }
    }

    /// Stores an event and tells the listeners its number. An event that cannot be stored is logged:
    /// it must not stop what it reports.
    pub(super) async fn keep(
        &self,
        shared: &Shared,
        cause: Cause,
        kind: &'static str,
        severity: &'static str,
        message: &str,
        data: Value,
    ) {
        let now = shared.now();
        // Part of both is what strangers say of themselves.
        let text = shown(message, EVENT_TEXT_MAX_CHARS);
        let data = bounded(data, EVENT_TEXT_MAX_CHARS);
        let stored = shared
            .store
            .write(Class::Relaxed, "event", move |c| {
                events::append(c, now, &cause, kind, severity, &text, &data)
            })
            .await;
        match stored {
            Ok(seq) => {
                // Nobody listening is fine.
                let _ = self.live.send(seq);
            }
            Err(error) => tracing::warn!(kind, %error, "event not stored: {message}"),
        }
    }

    /// Whether a refusal becomes an event now. One like it that came before is counted instead, and told
    /// with its number by [`EventLog::tell_counted`].
    pub fn admits_refusal(
        &self,
        cause: &Cause,
        kind: &'static str,
        subject: &str,
        refusal: &Refusal,
        now: TimeMs,
    ) -> bool {
        let key = Key {
            kind,
            code: refusal.code,
            subject: subject.chars().take(REFUSAL_SUBJECT_CHARS).collect(),
        };
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let refusals = refusals.entry(cause.clone()).or_default();
        refusals.admits(key, &refusal.message, now)
    }

    /// Tells of the refusals that were counted meanwhile, each kind in one event with its number, and of
    /// other events that were left out, each account in one.
    pub async fn tell_counted(&self, shared: &Shared) {
        let now = shared.now();
        let due: Vec<(Cause, Counted)> = {
            let mut all = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            let due = all.iter_mut().flat_map(|(cause, refusals)| {
                let due = refusals.due(now);
                due.into_iter().map(|counted| (cause.clone(), counted))
            });
            let due = due.collect();
            all.retain(|_, refusals| !refusals.is_quiet(now));
            due
        };
        for (cause, Counted { of, message, count }) in due {
            let message = match count {
                1 => format!("{message} (once more)"),
                n => format!("{message} ({n} times more)"),
            };
            let (kind, data) = match of {
                Some((kind, code, subject)) => (
                    kind,
                    json!({"code": code, "subject": subject, "count": count}),
                ),
                None => ("refusals.counted", json!({"count": count})),
            };
            self.keep(shared, cause, kind, "warning", &message, data)
                .await;
        }
        for (cause, count) in shared.budgets.left_out(now) {
            let (whose, device) = match &cause {
                Cause::Device(device) => (device.who(), Some(device)),
                Cause::Own | Cause::Strangers => ("strangers".to_owned(), None),
            };
            let message = format!(
                "{count} further events about {whose} were not told one by one: there were more than {BUDGET_EVENTS_PER_MINUTE} in a minute"
            );
            let data = json!({"deviceId": device, "count": count});
            self.keep(shared, cause, "events.counted", "warning", &message, data)
                .await;
        }
    }

    /// The numbers of new events as they come; the events themselves are read from the store.
    pub fn listen(&self) -> broadcast::Receiver<u64> {
        self.live.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subject: &str) -> Key {
        Key {
            kind: "request.refused",
            code: Code::NotAuthorized,
            subject: subject.to_owned(),
        }
    }

    #[test]
    fn what_repeats_is_told_once_and_then_counted() {
        let mut r = Refusals::default();
        let at = |s: u64| TimeMs(1_000_000 + s * 1_000);
        assert!(r.admits(key("loud"), "no", at(0)));
        let reasons = (0..9_000).filter(|n| r.admits(key("loud"), &n.to_string(), at(1)));
        assert_eq!(
            reasons.count(),
            REFUSAL_REASONS_MAX - 1,
            "some reasons are told, not as many as a peer can think of"
        );
        assert!((0..1_015).all(|_| !r.admits(key("loud"), "no", at(1))));
        assert!(r.admits(key("quiet"), "no", at(1)), "others are heard");
        assert_eq!(r.due(at(59)), []);
        let due = r.due(at(61));
        assert_eq!(due.len(), 1, "the quiet one has nothing to add");
        assert_eq!(
            due.first().map(|d| (d.message.as_str(), d.count)),
            Some(("no", 10_000))
        );
        // It goes on: told less and less often, never forgotten.
        assert!(!r.admits(key("loud"), "no", at(62)));
        assert_eq!(r.due(at(61 + 119)), []);
        assert_eq!(r.due(at(61 + 120)).first().map(|d| d.count), Some(1));
        // Quiet for long: the next is news again, whatever the clock did meanwhile.
        assert_eq!(r.due(at(10_000)), []);
        assert!(r.admits(key("loud"), "no", TimeMs(5)));
    }

    #[test]
    fn strangers_with_names_of_their_own_do_not_fill_the_log() {
        let mut r = Refusals::default();
        let told = |r: &mut Refusals, from: u32, ms: u64| {
            (from..from + 10_000)
                .filter(|n| r.admits(key(&n.to_string()), "no", TimeMs(ms)))
                .count()
        };
        let most = usize::try_from(REFUSALS_PER_MINUTE).unwrap_or(0);
        assert_eq!(told(&mut r, 0, 1_000_000), most);
        let due = r.due(TimeMs(1_060_000));
        let others = due.iter().find(|d| d.of.is_none()).map(|d| d.count);
        assert_eq!(others, Some(10_000 - u64::from(REFUSALS_PER_MINUTE)));
        assert!(r.known.is_empty(), "what was quiet is forgotten");
        assert_eq!(told(&mut r, 20_000, 1_060_001), most, "a new minute");
    }
}
