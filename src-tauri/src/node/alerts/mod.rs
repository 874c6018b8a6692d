//! Alerts: every alarm of the node, every rule of `[[alert]]` that holds and what people should know of besides, kept on disk with
//! who acknowledged or muted it, until it is over and after. An alert tells people and nothing else: this room has no way to ask
//! for an action, and decides about none.

mod chat;
mod conditions;
mod keeping;
mod telling;
mod waiting;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use self::chat::Ear;
pub use self::chat::ToTell;
pub use self::keeping::run;
use super::config::notify::Target;
use super::context::alarms::AlarmKind;
use super::context::{DURABLE, Event, Severity, store_refusal};
use super::peers::Peers;
use super::proposals::Executor;
use super::push::Phones;
use crate::adapters::devices::Keeper;
use crate::adapters::notify::{Notice, Untold};
use crate::adapters::store::StoreError;
use crate::adapters::store::alerts::{self as store, Acknowledged, AlertRow, Muted};
use crate::domain::alerts::escalation::Told;
use crate::domain::base::limits::{
    ALERT_MUTE_GRAVE_MAX_MS, ALERT_MUTE_MAX_MS, ALERT_NOTE_MAX_CHARS, NOTIFY_TESTS_PER_MIN_MAX,
};
use crate::domain::base::quantity::span;
use crate::domain::base::text::one_line;
use crate::domain::base::{AuditKind, Code, Refusal, TimeMs};
use crate::domain::gate::ChannelKind;

/// The alerts of a node; clones share them.
#[derive(Clone)]
pub struct Alerts(Arc<Parts>);

/// What [`Alerts`] gives access to.
pub struct Parts {
    executor: Executor,
    peers: Arc<Peers>,
    /// Tells the tokens of servers.
    keeper: Arc<dyn Keeper>,
    /// Where a chat hears what it is to tell.
    ear: Ear,
    /// The phones that hear by push.
    phones: Phones,
    /// A person has changed something.
    changed: Notify,
    /// Those that stand and are not on disk yet, for who lists them.
    unstored: Mutex<Vec<AlertRow>>,
    /// When each place was last told a test, by the steady clock.
    tests: Mutex<BTreeMap<String, VecDeque<TimeMs>>>,
}

impl std::ops::Deref for Alerts {
    type Target = Executor;

    fn deref(&self) -> &Executor {
        &self.0.executor
    }
}

/// An alert with what was told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The alert.
    pub row: AlertRow,
    /// What each place was told.
    pub told: BTreeMap<String, Told>,
}

fn refused(code: Code, why: impl Into<String>) -> StoreError {
    StoreError::Refused(Refusal::new(code, why))
}

fn known_in(conn: &Connection, id: u64) -> Result<Known, StoreError> {
    let row = store::get(conn, id)?;
    let row = row.ok_or_else(|| refused(Code::NotFound, format!("there is no alert {id} here")))?;
    let told = store::told_of(conn, id)?;
    Ok(Known { row, told })
}

/// An alert that stands.
fn standing_in(conn: &Connection, id: u64) -> Result<AlertRow, StoreError> {
    let row = known_in(conn, id)?.row;
    match &row.ended {
        None => Ok(row),
        Some(_) => Err(refused(Code::Conflict, format!("alert {id} is over"))),
    }
}

impl Alerts {
    /// None yet, beside those of the store.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn begin(
        executor: Executor,
        peers: Arc<Peers>,
        keeper: Arc<dyn Keeper>,
    ) -> Result<Self, StoreError> {
        let phones = Phones::open(executor.context.clone()).await?;
        Ok(Self(Arc::new(Parts {
            executor,
            peers,
            keeper,
            ear: Ear::default(),
            phones,
            changed: Notify::new(),
            unstored: Mutex::default(),
            tests: Mutex::default(),
        })))
    }

    /// The phones that hear by push.
    pub fn phones(&self) -> &Phones {
        &self.0.phones
    }

    /// The words of an alert that stands, as they are now.
    fn in_words_now(&self, mut row: AlertRow) -> AlertRow {
        let (alarms, new) = (self.alarms.list(), &mut row.new);
        let alarm = alarms
            .into_iter()
            .find(|a| a.kind.as_str() == new.kind && a.subject == new.subject);
        if let Some(alarm) = alarm.filter(|_| row.ended.is_none()) {
            (new.message, new.advice) = (alarm.message, alarm.advice);
        }
        row
    }

    /// Those that stand, the worst first, then the oldest.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn open(&self) -> Result<Vec<Known>, Refusal> {
        let read = |conn: &Connection| {
            let rows = store::open(conn)?.into_iter();
            let all = rows.map(|row| {
                Ok(Known {
                    told: store::told_of(conn, row.id)?,
                    row,
                })
            });
            all.collect::<Result<Vec<Known>, StoreError>>()
        };
        let mut all = self
            .store
            .read_committed("alerts", read)
            .await
            .map_err(|e| store_refusal(&e))?;
        let unstored = self
            .0
            .unstored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.extend(unstored.into_iter().map(|row| Known {
            row,
            told: BTreeMap::new(),
        }));
        for known in &mut all {
            known.row = self.in_words_now(known.row.clone());
        }
        all.sort_by_key(|k| {
            (
                std::cmp::Reverse(k.row.new.severity),
                k.row.new.since,
                k.row.id,
            )
        });
        Ok(all)
    }

    /// Alerts, newest first, those that are over too: those that follow the number `before`, or the newest.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn history(&self, before: Option<u64>, limit: usize) -> Result<Vec<Known>, Refusal> {
        let read = move |conn: &Connection| {
            let rows = store::history(conn, before, limit)?.into_iter();
            let all = rows.map(|row| {
                Ok(Known {
                    told: store::told_of(conn, row.id)?,
                    row,
                })
            });
            all.collect::<Result<Vec<Known>, StoreError>>()
        };
        let all = self.store.read_committed("alerts", read).await;
        let all = all.map_err(|e| store_refusal(&e))?.into_iter();
        Ok(all
            .map(|k| Known {
                row: self.in_words_now(k.row),
                ..k
            })
            .collect())
    }

    /// One alert.
    ///
    /// # Errors
    /// `NOT_FOUND`, or whatever the store says.
    pub async fn one(&self, id: u64) -> Result<Known, Refusal> {
        let known = self
            .store
            .read_committed("alert", move |conn| known_in(conn, id))
            .await;
        let known = known.map_err(|e| store_refusal(&e))?;
        Ok(Known {
            row: self.in_words_now(known.row),
            ..known
        })
    }

    /// Takes a person's word that they have seen an alert: nobody else is told of it. Whoever says so a second time changes
    /// nothing.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` for one that is over, `INVALID_PARAMS` for a note that is too long.
    pub async fn acknowledge(
        &self,
        id: u64,
        by: &str,
        note: Option<String>,
    ) -> Result<Known, Refusal> {
        let note = note.filter(|note| !note.trim().is_empty());
        if note
            .as_ref()
            .is_some_and(|n| n.chars().count() > ALERT_NOTE_MAX_CHARS)
        {
            let why = format!("note: at most {ALERT_NOTE_MAX_CHARS} characters");
            return Err(Refusal::new(Code::InvalidParams, why));
        }
        let note = note.map(|note| one_line(&note, ALERT_NOTE_MAX_CHARS));
        let (s, by) = (self.clone(), by.to_owned());
        let work = move |conn: &Connection| {
            let row = standing_in(conn, id)?;
            if row.acknowledged.is_some() {
                return Ok((known_in(conn, id)?, false));
            }
            let at = s.now();
            let detail = json!({"alert": id, "kind": row.new.kind, "by": by, "note": note});
            store::acknowledge(conn, id, &Acknowledged { at, by, note })?;
            s.journal
                .audit(conn, AuditKind::AlertAcknowledged, &row.new.subject, detail)?;
            Ok((known_in(conn, id)?, true))
        };
        let done = self.store.write(DURABLE, "alert acknowledged", work).await;
        let (known, new) = done.map_err(|e| store_refusal(&e))?;
        self.0.changed.notify_one();
        if let Some(ack) = known.row.acknowledged.as_ref().filter(|_| new) {
            let message = format!("{} acknowledged alert {id}", ack.by);
            self.tell(Event::AlertAcknowledged, &known.row, &message)
                .await;
        }
        Ok(Known {
            row: self.in_words_now(known.row),
            ..known
        })
    }

    /// Mutes an alert for a while: people are not told of it. What is about an actuator that may move or an emergency is muted
    /// for minutes only; it can be acknowledged.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` for one that is over, `INVALID_PARAMS` for a time that is none or too long.
    pub async fn mute(&self, id: u64, for_ms: u64, by: &str) -> Result<Known, Refusal> {
        let (s, by) = (self.clone(), by.to_owned());
        let work = move |conn: &Connection| {
            let row = standing_in(conn, id)?;
            let grave = AlarmKind::of_code(&row.new.kind).is_none_or(AlarmKind::is_grave);
            let most = if grave {
                ALERT_MUTE_GRAVE_MAX_MS
            } else {
                ALERT_MUTE_MAX_MS
            };
            if for_ms == 0 || for_ms > most {
                let instead = if grave {
                    ": it is about something that may move, or an emergency; acknowledge it instead"
                } else {
                    ""
                };
                let why = format!("alert {id} is muted for up to {}{instead}", span(most));
                return Err(refused(Code::InvalidParams, why));
            }
            let muted = Muted {
                until: s.now().plus(for_ms),
                by,
            };
            let detail =
                json!({"alert": id, "kind": row.new.kind, "by": muted.by, "until": muted.until});
            store::mute(conn, id, Some(&muted))?;
            s.journal
                .audit(conn, AuditKind::AlertMuted, &row.new.subject, detail)?;
            known_in(conn, id)
        };
        let known = self.store.write(DURABLE, "alert muted", work).await;
        let known = known.map_err(|e| store_refusal(&e))?;
        self.0.changed.notify_one();
        if let Some(muted) = &known.row.muted {
            let message = format!("{} muted alert {id} for {}", muted.by, span(for_ms));
            self.tell(Event::AlertMuted, &known.row, &message).await;
        }
        Ok(Known {
            row: self.in_words_now(known.row),
            ..known
        })
    }

    /// Unmutes an alert.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` for one that is over.
    pub async fn unmute(&self, id: u64, by: &str) -> Result<Known, Refusal> {
        let (s, who) = (self.clone(), by.to_owned());
        let work = move |conn: &Connection| {
            let row = standing_in(conn, id)?;
            if row.muted.is_some() {
                let detail = json!({"alert": id, "kind": row.new.kind, "by": who, "until": null});
                store::mute(conn, id, None)?;
                s.journal
                    .audit(conn, AuditKind::AlertMuted, &row.new.subject, detail)?;
            }
            Ok((known_in(conn, id)?, row.muted.is_some()))
        };
        let done = self.store.write(DURABLE, "alert unmuted", work).await;
        let (known, new) = done.map_err(|e| store_refusal(&e))?;
        self.0.changed.notify_one();
        if new {
            let message = format!("{by} unmuted alert {id}");
            self.tell(Event::AlertMuted, &known.row, &message).await;
        }
        Ok(Known {
            row: self.in_words_now(known.row),
            ..known
        })
    }

    async fn tell(&self, event: Event, row: &AlertRow, message: &str) {
        let data = json!({"alert": row.id, "alarm": row.new.kind, "subject": row.new.subject});
        self.journal
            .record(event, Severity::Info, message, data)
            .await;
    }

    /// What chats of a kind are to tell persons from now on.
    pub fn tellings(&self, kind: ChannelKind) -> mpsc::Receiver<ToTell> {
        self.0.ear.listen(kind)
    }

    /// Tells one phone, by its session, a test; a few in a minute.
    pub async fn test_phone(&self, session: &str, by: &str) -> Result<(), Untold> {
        self.admit_test(&format!("phone {session}"))?;
        self.0.phones.tell_one(session, &self.a_test(by)).await
    }

    fn a_test(&self, by: &str) -> Notice {
        Notice {
            title: format!("{}: test", one_line(&self.config.name, 100)),
            text: format!(
                "This is a test that {} asked for. Alerts come here.",
                one_line(by, 100)
            ),
            severity: Severity::Info,
            over: false,
            alerts: Vec::new(),
            proposal: None,
        }
    }

    /// Whether a place may be told another test now; it is counted.
    fn admit_test(&self, name: &str) -> Result<(), Untold> {
        const MINUTE_MS: u64 = 60_000;
        let now = self.moment().steady;
        let mut all = self.0.tests.lock().unwrap_or_else(PoisonError::into_inner);
        let tests = all.entry(name.to_owned()).or_default();
        tests.retain(|at| now.since(*at) < MINUTE_MS);
        if tests.len() >= NOTIFY_TESTS_PER_MIN_MAX {
            let oldest = tests.front().map_or(0, |at| now.since(*at));
            let wait = MINUTE_MS.saturating_sub(oldest).max(1_000);
            return Err(Untold::Later(Duration::from_millis(wait)));
        }
        tests.push_back(now);
        // Sessions come and go.
        all.retain(|_, tests| tests.back().is_some_and(|at| now.since(*at) < MINUTE_MS));
        Ok(())
    }

    /// Tells one place a test, whatever its hours are; a few in a minute.
    pub async fn test(&self, target: &Target, by: &str) -> Result<(), Untold> {
        self.admit_test(&target.name)?;
        let notice = self.a_test(by);
        let notifier = telling::notifier(self, target);
        telling::tell(&*notifier, &notice).await
    }
}
