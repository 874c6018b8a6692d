//! The journal: what happened, what was refused, and the signed audit chain (invariant I10).
//!
//! Events are numbered, stored, and streamed to listeners. A refusal that repeats is one event and
//! then a number. What a device or a stranger causes is told up to its share, then counted, and is kept in
//! a room of its own, so that it cannot push the events of others out of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::alarms::{AlarmKind, Alarms};
use super::budgets::Budgets;
use super::event::{Event, Severity};
use super::metrics::Metrics;
use super::tasks::Tasks;
use crate::adapters::clock::SharedClock;
use crate::adapters::store::cases::{self, Writing};
use crate::adapters::store::{Class, Store, StoreError, audit, events, standing_approvals};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    AUDIT_TEXT_MAX_CHARS, BUDGET_EVENTS_PER_MINUTE, EVENT_LAG_MAX, EVENT_TEXT_MAX_CHARS,
    REFUSAL_REASON_CHARS, REFUSAL_REASONS_MAX, REFUSAL_REPEAT_MAX_MS, REFUSAL_REPEAT_MS,
    REFUSAL_SUBJECT_CHARS, REFUSALS_KNOWN_MAX, REFUSALS_PER_MINUTE,
};
use crate::domain::base::text::{bounded, shown};
use crate::domain::base::{AuditKind, Code, ProposalId, Refusal, TimeMs};
use crate::domain::gate::SignedDecision;
use crate::domain::identity::DeviceKey;
use crate::domain::proposal::case::Step;

/// The node's journal; cheap to clone.
#[derive(Clone)]
pub struct Journal(Arc<Parts>);

struct Parts {
    needs: Needs,
    live: broadcast::Sender<u64>,
    /// One list per account, so that the refusals of one cannot hide those of another.
    refusals: Mutex<BTreeMap<Cause, Refusals>>,
}

/// The parts of a [`Journal`].
pub struct Needs {
    /// Where events and audit entries are stored.
    pub store: Store,
    /// The clock.
    pub clock: SharedClock,
    /// The key that signs audit entries.
    pub key: Arc<DeviceKey>,
    /// The shares of events that one device or stranger may cause.
    pub budgets: Arc<Budgets>,
    /// Where refusals are counted.
    pub metrics: Arc<Metrics>,
    /// Tells whether the store takes writes.
    pub alarms: Arc<Alarms>,
    /// Records of refusals that are written in the background.
    pub tasks: Tasks,
}

/// The key under which refusals count as the same for a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    event: Event,
    code: Code,
    subject: String,
}

/// A refusal that was told, and how many like it have come since.
#[derive(Debug)]
struct Told {
    since: TimeMs,
    rest_ms: u64,
    more: u64,
    /// The message of the newest of those.
    message: String,
    /// The reasons that have been told.
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
    of: Option<(Event, Code, String)>,
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

    /// Returns counters due for a summary; drops keys with no recent refusals.
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
                of: Some((key.event, key.code, key.subject.clone())),
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

impl Journal {
    /// An empty journal over these.
    pub fn new(needs: Needs) -> Self {
        Self(Arc::new(Parts {
            needs,
            live: broadcast::channel(EVENT_LAG_MAX).0,
            refusals: Mutex::default(),
        }))
    }

    fn now(&self) -> TimeMs {
        self.0.needs.clock.now()
    }

    /// Records something that this node, its persons or its actuators did.
    pub async fn record(&self, event: Event, severity: Severity, message: &str, data: Value) {
        self.keep(Cause::Own, event, severity, message, data).await;
    }

    /// Records something that a device or a stranger may have caused; beyond its share it is counted,
    /// and told with its number by [`Journal::tell_counted`].
    pub async fn caused(
        &self,
        cause: Cause,
        event: Event,
        severity: Severity,
        message: &str,
        data: Value,
    ) {
        if self.0.needs.budgets.event(&cause, self.now()) {
            self.keep(cause, event, severity, message, data).await;
        }
    }

    /// Stores an event and tells the listeners its number. An event that cannot be stored is logged:
    /// it must not stop what it reports.
    async fn keep(
        &self,
        cause: Cause,
        event: Event,
        severity: Severity,
        message: &str,
        data: Value,
    ) {
        let (now, kind) = (self.now(), event.kind());
        // Part of both is what strangers say of themselves.
        let text = shown(message, EVENT_TEXT_MAX_CHARS);
        let data = bounded(data, EVENT_TEXT_MAX_CHARS);
        let store = &self.0.needs.store;
        let stored = store
            .write(Class::Relaxed, "event", move |c| {
                events::append(c, now, &cause, kind, severity.as_str(), &text, &data)
            })
            .await;
        match stored {
            Ok(seq) => {
                // Fails where there is no listener, which is fine.
                let _ = self.0.live.send(seq);
            }
            Err(error) => tracing::warn!(kind, %error, "event not stored: {message}"),
        }
    }

    /// Records a refusal: counter, log, event (invariant I10). In a flood of them only the counter goes on.
    pub async fn refused(&self, event: Event, subject: &str, refusal: &Refusal) {
        self.refused_of(Cause::Own, event, subject, refusal).await;
    }

    /// Records what was refused to a device or a stranger, on their account; see [`Journal::refused`].
    pub async fn refused_of(&self, cause: Cause, event: Event, subject: &str, refusal: &Refusal) {
        let (needs, kind) = (&self.0.needs, event.kind());
        needs.metrics.refused(refusal.code);
        if !self.admits_refusal(&cause, event, subject, refusal) {
            tracing::debug!(kind, subject, code = %refusal.code, "{}", refusal.message);
            return;
        }
        tracing::warn!(kind, subject, code = %refusal.code, "{}", refusal.message);
        let data = json!({"code": refusal.code, "subject": subject});
        let (journal, message) = (self.clone(), refusal.message.clone());
        let record = async move {
            journal
                .keep(cause, event, Severity::Warning, &message, data)
                .await;
        };
        match needs.alarms.stands(AlarmKind::StoreUnwritable, "") {
            // Written in the background: the refused side does not wait for the disk.
            true => needs.tasks.passing("refusal's record", record),
            false => record.await,
        }
    }

    /// Whether a refusal becomes an event now. One like it that came before is counted instead, and told
    /// with its number by [`Journal::tell_counted`].
    fn admits_refusal(
        &self,
        cause: &Cause,
        event: Event,
        subject: &str,
        refusal: &Refusal,
    ) -> bool {
        let key = Key {
            event,
            code: refusal.code,
            subject: subject.chars().take(REFUSAL_SUBJECT_CHARS).collect(),
        };
        let mut refusals = self.lock();
        let refusals = refusals.entry(cause.clone()).or_default();
        refusals.admits(key, &refusal.message, self.now())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Cause, Refusals>> {
        let refusals = &self.0.refusals;
        refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of the refusals that were counted meanwhile, each kind in one event with its number, and of
    /// other events that were left out, each account in one.
    pub async fn tell_counted(&self) {
        let now = self.now();
        let due: Vec<(Cause, Counted)> = {
            let mut all = self.lock();
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
            let (event, data) = match of {
                Some((event, code, subject)) => (
                    event,
                    json!({"code": code, "subject": subject, "count": count}),
                ),
                None => (Event::RefusalsCounted, json!({"count": count})),
            };
            self.keep(cause, event, Severity::Warning, &message, data)
                .await;
        }
        for (cause, count) in self.0.needs.budgets.left_out(now) {
            let (whose, device) = match &cause {
                Cause::Device(device) => (device.who(), Some(device)),
                Cause::Session(who) => (who.clone(), None),
                Cause::Own | Cause::Strangers => ("strangers".to_owned(), None),
            };
            let message = format!(
                "{count} further events about {whose} were not told one by one: there were more than {BUDGET_EVENTS_PER_MINUTE} in a minute"
            );
            let data = json!({"deviceId": device, "count": count});
            let event = Event::EventsCounted;
            self.keep(cause, event, Severity::Warning, &message, data)
                .await;
        }
    }

    /// The numbers of new events as they come; the events themselves are read from the store.
    pub fn listen(&self) -> broadcast::Receiver<u64> {
        self.0.live.subscribe()
    }

    /// An audit entry about `subject`, appended inside the caller's transaction.
    ///
    /// # Errors
    /// Whatever the store says; the caller's transaction then fails as a whole.
    pub fn audit(
        &self,
        conn: &rusqlite::Connection,
        kind: AuditKind,
        subject: &str,
        detail: Value,
    ) -> Result<(), StoreError> {
        audit_entry(conn, &self.0.needs.key, self.now(), kind, subject, detail)
    }

    /// As [`Journal::audit`], of what happened at `at`.
    ///
    /// # Errors
    /// As [`Journal::audit`].
    pub fn audit_at(
        &self,
        conn: &rusqlite::Connection,
        at: TimeMs,
        kind: AuditKind,
        subject: &str,
        detail: Value,
    ) -> Result<(), StoreError> {
        audit_entry(conn, &self.0.needs.key, at, kind, subject, detail)
    }

    /// Writes a step of a proposal's life inside a transaction, with its audit entries.
    ///
    /// # Errors
    /// As [`cases::apply`].
    pub fn step(
        &self,
        conn: &rusqlite::Connection,
        step: &Step,
        decision: Option<&SignedDecision>,
    ) -> Result<(), StoreError> {
        write_step(conn, &self.0.needs.key, self.now(), step, decision)
    }
}

/// Appends a signed entry to the audit chain inside a transaction.
///
/// # Errors
/// Whatever the store says.
pub fn audit_entry(
    conn: &rusqlite::Connection,
    key: &DeviceKey,
    now: TimeMs,
    kind: AuditKind,
    subject: &str,
    detail: Value,
) -> Result<(), StoreError> {
    let kind = kind.as_str();
    let detail = bounded(detail, AUDIT_TEXT_MAX_CHARS);
    let subject = shown(subject, AUDIT_TEXT_MAX_CHARS);
    let entry = json!({"device": key.id(), "time": now, "kind": kind, "subject": subject, "detail": detail});
    audit::append(conn, now, &entry, |message| key.sign(message).to_text())
}

/// As [`Journal::step`], for a node that does not run.
///
/// # Errors
/// As [`cases::apply`].
pub fn write_step(
    conn: &rusqlite::Connection,
    key: &DeviceKey,
    now: TimeMs,
    step: &Step,
    decision: Option<&SignedDecision>,
) -> Result<(), StoreError> {
    let audit =
        |kind, id: &ProposalId, detail| audit_entry(conn, key, now, kind, id.as_str(), detail);
    let with = Writing {
        now,
        decision,
        audit: &audit,
    };
    cases::apply(conn, step, &with)
}

/// Ends all standing approvals that have not ended, for how often they were used, or what time it is, was not known: with an audit entry each, inside a transaction; none that was signed before counts again.
///
/// # Errors
/// Whatever the store says.
pub fn void_standing_approvals(
    conn: &rusqlite::Connection,
    key: &DeviceKey,
    now: TimeMs,
    why: &str,
) -> Result<(), StoreError> {
    let ended = standing_approvals::void_all(conn, now, why)?;
    ended.iter().try_for_each(|id| {
        let kind = AuditKind::StandingEnded;
        audit_entry(conn, key, now, kind, &id.to_hex(), json!({"why": why}))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subject: &str) -> Key {
        Key {
            event: Event::RequestRefused,
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
