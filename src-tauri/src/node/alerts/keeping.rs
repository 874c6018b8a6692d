//! The look at what stands: each second the alarms in memory and the alerts on disk are made the same. One task does it; nothing
//! that raises an alarm waits for it, and a disk that takes no writes keeps no alert from being seen.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::conditions::{Heard, look_at_estop, look_at_proposals};
use super::telling::Teller;
use super::{Alerts, store};
use crate::adapters::store::alerts::{AlertRow, NewAlert};
use crate::adapters::store::{Class, StoreError, facts};
use crate::domain::admission::budget::Cause;
use crate::domain::alerts::watch::{Around, Before, Book, Look};
use crate::domain::base::limits::{
    ALERT_AGAIN_MS, ALERT_LOOK_MS, ALERT_SAME_MS, ALERT_SEEN_EVERY_MS, ALERT_SLOW_LOOKS,
};
use crate::domain::base::quantity::span;
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::world::Fact;
use crate::node::context::alarms::{Alarm, AlarmKind};
use crate::node::context::{DURABLE, Event, Severity};

/// How long a look waits for the store.
const STORE_WAIT: Duration = Duration::from_secs(3);

/// What an alert is about.
pub(super) type Key = (AlarmKind, String);

/// What the look keeps from one time to the next.
struct Keeper {
    alerts: Alerts,
    open: BTreeMap<Key, AlertRow>,
    /// Those that stood before the start and have not stood since.
    before: BTreeSet<Key>,
    book: Book,
    /// Subjects of rules about private readings.
    private: BTreeSet<String>,
    /// Whose readings alerts of rules are about.
    origins: BTreeMap<String, DeviceId>,
    /// Why alerts of rules ended with this look.
    whys: BTreeMap<Key, String>,
    heard: Heard,
    teller: Teller,
    begun: TimeMs,
    seen_at: TimeMs,
    looks: u32,
    loaded: bool,
    /// What stood before the start has been taken up.
    resumed: bool,
    /// Whether the last write failed, so that it is told of once.
    unwritten: bool,
    /// Whether a write failed in this look; then no other is tried in it.
    broken: bool,
    /// Ends that are not on disk yet.
    unended: Vec<(u64, TimeMs, String)>,
}

/// Looks until the node ends.
pub async fn run(alerts: Alerts) {
    let mut keeper = Keeper::new(alerts.clone());
    let mut tick = tokio::time::interval(Duration::from_millis(ALERT_LOOK_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = alerts.tasks.stop().cancelled() => return,
            () = alerts.0.changed.notified() => keeper.loaded = false,
            _ = tick.tick() => {}
        }
        keeper.look().await;
    }
}

/// What the store says, unless it takes too long.
pub(super) async fn soon<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Option<Result<T, StoreError>> {
    tokio::time::timeout(STORE_WAIT, work).await.ok()
}

impl Keeper {
    fn new(alerts: Alerts) -> Self {
        let at = alerts.moment();
        Self {
            alerts: alerts.clone(),
            open: BTreeMap::new(),
            before: BTreeSet::new(),
            book: Book::default(),
            private: BTreeSet::new(),
            origins: BTreeMap::new(),
            whys: BTreeMap::new(),
            heard: Heard::default(),
            teller: Teller::new(&alerts),
            begun: at.steady,
            seen_at: at.wall,
            looks: 0,
            loaded: false,
            resumed: false,
            broken: false,
            unended: Vec::new(),
            unwritten: false,
        }
    }

    async fn look(&mut self) {
        self.broken = false;
        if !self.loaded {
            self.load().await;
        }
        if !self.resumed {
            // Without what stood before everything would begin anew.
            return;
        }
        self.look_at_rules().await;
        look_at_estop(&self.alerts);
        if self.looks.is_multiple_of(ALERT_SLOW_LOOKS) {
            let settings = self.alerts.config.alerts.clone();
            if let Some(after_ms) = settings.peer_lost_ms {
                self.heard.look(&self.alerts, after_ms).await;
            }
            if let Some(after_ms) = settings.proposal_waits_ms {
                look_at_proposals(&self.alerts, after_ms).await;
            }
        }
        self.looks = self.looks.wrapping_add(1).max(1);
        self.compare().await;
        self.teller.look(&self.open).await;
    }

    /// Reads those that stand from the store; at the start also since when this node was off.
    async fn load(&mut self) {
        let read = |c: &Connection| Ok((store::open(c)?, store::seen(c)?));
        let (rows, seen) = match soon(self.alerts.store.read_committed("alerts", read)).await {
            Some(Ok(found)) => found,
            Some(Err(error)) => return tracing::warn!(%error, "alerts cannot be read"),
            None => return,
        };
        self.loaded = true;
        let ended = |row: &AlertRow| self.unended.iter().any(|(id, ..)| *id == row.id);
        let rows = rows.into_iter().filter(|row| !ended(row));
        let mut unknown = Vec::new();
        let mut open: BTreeMap<Key, AlertRow> = BTreeMap::new();
        for row in rows {
            match AlarmKind::of_code(&row.new.kind) {
                Some(kind) => drop(open.insert((kind, row.new.subject.clone()), row)),
                None => unknown.push(row),
            }
        }
        // Those that are not on disk yet stay.
        self.open
            .retain(|key, row| row.id == 0 && !open.contains_key(key));
        self.open.append(&mut open);
        if !std::mem::replace(&mut self.resumed, true) {
            self.resume(seen, unknown).await;
        }
    }

    /// Takes up what stood before the start.
    async fn resume(&mut self, seen: Option<TimeMs>, unknown: Vec<AlertRow>) {
        let now = self.alerts.now();
        let off = seen.map_or(0, |seen| now.distance(seen));
        let mut over: Vec<(AlertRow, String)> = unknown
            .into_iter()
            .map(|row| {
                (
                    row,
                    "this version of the program does not know it".to_owned(),
                )
            })
            .collect();
        // What a reading has raised a restart does not end, however long it took: it may be another alert from then on.
        let rules = self.open.iter().filter(|((kind, _), _)| kind.is_of_rule());
        let said = |row: &AlertRow| Before {
            message: row.new.message.clone(),
            private: row.new.private,
        };
        self.book = Book::resumed(
            rules
                .map(|((_, subject), row)| (subject.clone(), said(row)))
                .collect(),
        );
        if off > ALERT_SAME_MS {
            let why = format!(
                "the node was off for {}; it begins anew if it still stands",
                span(off)
            );
            let rows = std::mem::take(&mut self.open).into_values();
            over.extend(rows.map(|row| (row, why.clone())));
        }
        self.before = self.open.keys().cloned().collect();
        for (row, why) in over {
            self.end(row, &why).await;
        }
        self.teller.resume(&self.open).await;
    }

    /// Raises and ends the alarms of rules.
    async fn look_at_rules(&mut self) {
        let (alerts, rules) = (self.alerts.clone(), &self.alerts.config.alerts.rules);
        let at = alerts.moment();
        let metrics: BTreeSet<String> = rules.iter().map(|r| r.metric.clone()).collect();
        let mut facts: Vec<Fact> = Vec::new();
        if !metrics.is_empty() {
            let read = move |c: &Connection| facts::numeric_of(c, &metrics, at);
            match soon(alerts.store.read_gathered("facts", read)).await {
                Some(Ok(found)) => facts = found,
                Some(Err(error)) => {
                    return tracing::warn!(%error, "readings cannot be looked at for alerts");
                }
                None => return,
            }
        }
        let own = alerts.own_id().clone();
        let name = |device: &DeviceId| match *device == own {
            true => "this node".to_owned(),
            false => {
                let kept = alerts.trust.live(device).and_then(|r| r.name);
                let said = || alerts.0.peers.get(device).and_then(|s| s.name);
                kept.or_else(said).unwrap_or_else(|| device.who())
            }
        };
        let trusted = alerts.trust.all();
        let trusts_short = |short: &str| {
            let mut live = trusted.iter().filter(|r| r.is_live());
            live.any(|r| r.device_id.short() == short)
        };
        let look = self.book.look(
            rules,
            &facts,
            &Around {
                own: &own,
                trusts: &|device| alerts.trust.trusts(device),
                trusts_short: &trusts_short,
                name: &name,
                at,
            },
        );
        self.take_over(look, at.wall);
    }

    /// Makes the alarms what a look at the rules has found. What ended goes first: it may have made room.
    fn take_over(&mut self, look: Look, now: TimeMs) {
        let alerts = self.alerts.clone();
        for one in look.ended {
            for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
                let kind = AlarmKind::of_rule(severity);
                if alerts.alarms.clear(kind, &one.subject)
                    || self.open.contains_key(&(kind, one.subject.clone()))
                {
                    self.whys
                        .insert((kind, one.subject.clone()), one.why.clone());
                }
            }
        }
        self.private.clear();
        for one in look.standing {
            let kind = AlarmKind::of_rule(one.severity);
            if one.private {
                self.private.insert(one.subject.clone());
            }
            if let Some(origin) = one.origin {
                self.origins.insert(one.subject.clone(), origin);
            }
            alerts
                .alarms
                .raise(kind, &one.subject, &one.message, &one.advice, now);
        }
    }

    /// On whose account the event of an alert is.
    fn cause(&self, key: &Key) -> Cause {
        let origin = self.origins.get(&key.1).filter(|_| key.0.is_of_rule());
        origin.map_or(Cause::Own, |origin| Cause::of(origin, self.alerts.own_id()))
    }

    /// Begins what is new, and ends what stands no more.
    async fn compare(&mut self) {
        let alarms: BTreeMap<Key, Alarm> = self
            .alerts
            .alarms
            .list()
            .into_iter()
            .map(|a| ((a.kind, a.subject.clone()), a))
            .collect();
        for (key, alarm) in &alarms {
            self.before.remove(key);
            if self.open.get(key).is_none_or(|row| row.id == 0) {
                self.begin(key, alarm).await;
            }
        }
        let up = self.alerts.moment().steady.since(self.begun);
        // Who is missed is known again only after the time in which nobody is.
        let missed_ms = self.alerts.config.alerts.peer_lost_ms.unwrap_or_default();
        let settled = |kind: AlarmKind| match kind {
            AlarmKind::PeerLost => up >= ALERT_AGAIN_MS.saturating_add(missed_ms),
            // Of these the look at the rules says when they are over.
            kind if kind.is_of_rule() => false,
            _ => up >= ALERT_AGAIN_MS,
        };
        let rules = alarms.keys().filter(|(kind, _)| kind.is_of_rule());
        let elsewhere: BTreeSet<&String> = rules.map(|(_, subject)| subject).collect();
        let over = self.open.keys().filter(|key| {
            // Its rule may have another severity since the start.
            let moved = key.0.is_of_rule() && elsewhere.contains(&key.1);
            let again = self.before.contains(*key)
                && !moved
                && !settled(key.0)
                && !self.whys.contains_key(*key);
            !alarms.contains_key(*key) && !again
        });
        for key in over.cloned().collect::<Vec<Key>>() {
            let why = self
                .whys
                .remove(&key)
                .unwrap_or_else(|| match self.before.remove(&key) {
                    true if key.0.is_of_rule() => "its rule has another severity now".to_owned(),
                    true => "it has not stood since the node was started again".to_owned(),
                    false => "it is over".to_owned(),
                });
            if let Some(row) = self.open.remove(&key) {
                self.end(row, &why).await;
            }
        }
        self.write_ends().await;
        self.whys.clear();
        let unstored: Vec<AlertRow> = self
            .open
            .values()
            .filter(|row| row.id == 0)
            .cloned()
            .collect();
        *self
            .alerts
            .0
            .unstored
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = unstored;
        self.note_seen().await;
    }

    /// Whether a write came to its end; a failure is told of once.
    fn written<T>(&mut self, done: Option<Result<T, StoreError>>) -> Option<T> {
        let why = match done {
            Some(Ok(value)) => {
                self.unwritten = false;
                return Some(value);
            }
            Some(Err(error)) => error.to_string(),
            None => "the store does not answer".to_owned(),
        };
        self.broken = true;
        if !std::mem::replace(&mut self.unwritten, true) {
            tracing::error!("alerts cannot be written down, and are kept in memory alone: {why}");
        }
        None
    }

    async fn begin(&mut self, key: &Key, alarm: &Alarm) {
        let new = NewAlert {
            kind: key.0.as_str().to_owned(),
            subject: key.1.clone(),
            severity: key.0.severity(),
            message: alarm.message.clone(),
            advice: alarm.advice.clone(),
            private: self.private.contains(&key.1),
            since: alarm.since,
        };
        let kept = new.clone();
        let id = match self.broken {
            true => 0,
            false => {
                let store = self.alerts.store.clone();
                let begun = store.write(DURABLE, "alert", move |c| store::begin(c, &kept));
                let done = soon(begun).await;
                self.written(done).unwrap_or_default()
            }
        };
        let is_new = !self.open.contains_key(key);
        let row = AlertRow {
            id,
            new,
            ended: None,
            acknowledged: None,
            muted: None,
        };
        if is_new && (key.0.is_of_rule() || !key.0.is_of_node()) {
            let data = json!({"alert": id, "alarm": row.new.kind, "subject": row.new.subject});
            let message = &row.new.message;
            let journal = self.alerts.journal.clone();
            let severity = row.new.severity;
            let cause = self.cause(key);
            journal
                .caused(cause, Event::AlertBegan, severity, message, data)
                .await;
        }
        self.open.insert(key.clone(), row);
        // That it stands is written down with the same look.
        self.seen_at = TimeMs(0);
    }

    async fn end(&mut self, mut row: AlertRow, why: &str) {
        let (id, now, kept) = (row.id, self.alerts.now(), why.to_owned());
        if id != 0 {
            self.unended.push((id, now, kept));
            self.write_ends().await;
        }
        row.ended = Some((now, why.to_owned()));
        let message = format!(
            "Alert {id} ({}) is over after {}: {why}",
            row.new.kind,
            span(now.since(row.new.since))
        );
        let data =
            json!({"alert": id, "alarm": row.new.kind, "subject": row.new.subject, "why": why});
        let key = AlarmKind::of_code(&row.new.kind).map(|kind| (kind, row.new.subject.clone()));
        let cause = key.as_ref().map_or(Cause::Own, |key| self.cause(key));
        self.alerts
            .journal
            .caused(cause, Event::AlertEnded, Severity::Info, &message, data)
            .await;
        if let Some(key) = key {
            self.origins.remove(&key.1);
            self.teller.ended(key, row);
        }
    }

    /// Writes down what has ended and is not on disk.
    async fn write_ends(&mut self) {
        if self.unended.is_empty() || self.broken {
            return;
        }
        let ends = self.unended.clone();
        let work = move |c: &Connection| {
            let mut ends = ends.iter();
            ends.try_for_each(|(id, at, why)| store::end(c, *id, *at, why).map(drop))
        };
        let done = soon(self.alerts.store.write(DURABLE, "alert", work)).await;
        if self.written(done).is_some() {
            self.unended.clear();
        }
    }

    /// Writes down now and then that those that stand were seen to.
    async fn note_seen(&mut self) {
        let now = self.alerts.now();
        if self.open.is_empty()
            || now.distance(self.seen_at) < ALERT_SEEN_EVERY_MS && self.looks > 1
        {
            return;
        }
        self.seen_at = now;
        let noted = self
            .alerts
            .store
            .write(Class::Relaxed, "alerts", move |c| store::note_seen(c, now));
        let done = soon(noted).await;
        self.written(done);
    }
}
