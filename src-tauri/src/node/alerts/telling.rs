//! Telling people: at each look every place is asked for what is due there (`domain/alerts/escalation.rs`), and told by a task of
//! its own, so that none waits for another. What was told is on disk once it has arrived: a node that dies between the two tells
//! once more, and never forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::chat::InChat;
use super::keeping::{Key, soon};
use super::waiting::{self, Waiting};
use super::words::{self, Private};
use super::{Alerts, store};
use crate::adapters::notify::{Notice, Notifier, Ntfy, Untold};
use crate::adapters::store::alerts::AlertRow;
use crate::domain::alerts::escalation::{Case, Due, Pace, Told};
use crate::domain::base::limits::{
    ALERT_KEYS_MAX, NOTIFY_APART_MAX, NOTIFY_OF_ONE_PER_HOUR_MAX, NOTIFY_OVER_MAX_MS,
    NOTIFY_PAUSE_FIRST_MS, NOTIFY_PAUSE_MAX_MS, NOTIFY_PER_HOUR_MAX, NOTIFY_RESERVED_PER_HOUR,
    NOTIFY_SEND_MS, NOTIFY_TARGETS_MAX,
};
use crate::domain::base::{Severity, TimeMs};
use crate::node::config::notify::{Target, Way};
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{DURABLE, Event};
use crate::node::push::ByPush;

/// An alert that a place is told of.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub key: Key,
    pub row: AlertRow,
    pub due: Due,
}

/// How a telling ended.
struct Sent {
    place: usize,
    about: Vec<About>,
    done: Result<(), Untold>,
}

/// A place, and how it is with it.
struct Place {
    target: Target,
    notifier: Arc<dyn Notifier>,
    pace: Pace,
    /// How often each alert's condition was told as new there.
    each: BTreeMap<Key, Pace>,
    failures: u32,
    rests_until: Option<Instant>,
    busy: bool,
}

impl Place {
    /// Whether it is told of proposals as soon as they wait.
    fn hears_proposals(&self) -> bool {
        matches!(self.target.way, Way::Push { .. })
    }
}

/// The places of the configuration, and what was told.
pub(super) struct Teller {
    alerts: Alerts,
    places: Vec<Place>,
    told: BTreeMap<Key, BTreeMap<String, Told>>,
    /// Those that are over and of which somebody was told.
    over: Vec<(Key, AlertRow, BTreeMap<String, Told>)>,
    waiting: Waiting,
    tell: mpsc::Sender<Sent>,
    sent: mpsc::Receiver<Sent>,
}

/// How people are reached at a place.
pub(super) fn notifier(alerts: &Alerts, target: &Target) -> Arc<dyn Notifier> {
    match &target.way {
        Way::Chat { kind, person } => Arc::new(InChat {
            ear: alerts.0.ear.clone(),
            kind: *kind,
            person: person.clone(),
        }),
        Way::Push { person, named } => Arc::new(ByPush {
            phones: alerts.0.phones.clone(),
            person: person.clone(),
            may_be_empty: !named,
        }),
        Way::Ntfy {
            address,
            topic,
            token,
            ca,
        } => {
            let keeper = alerts.0.keeper.clone();
            let token = token.clone().map(|name| {
                let token: crate::adapters::notify::Token =
                    Arc::new(move || keeper.password(&name));
                token
            });
            let topic = topic.reveal().to_owned();
            Arc::new(Ntfy::new(address.clone(), ca.clone(), topic, token))
        }
    }
}

/// Tells one place once, within its time.
pub(super) async fn tell(notifier: &dyn Notifier, notice: &Notice) -> Result<(), Untold> {
    let within = Duration::from_millis(NOTIFY_SEND_MS);
    let told = tokio::time::timeout(within, notifier.tell(notice)).await;
    told.unwrap_or_else(|_| Err(Untold::Lost("it takes too long to answer".to_owned())))
}

/// The metrics of private readings.
pub(super) async fn private_metrics(alerts: &Alerts) -> Private {
    let read = |c: &Connection| {
        let mut query = c.prepare_cached("SELECT DISTINCT metric FROM facts WHERE private")?;
        let rows = query.query_map([], |r| r.get::<_, String>(0))?;
        Ok(rows.collect::<Result<Vec<String>, _>>()?)
    };
    let found = soon(alerts.store.read_committed("private metrics", read)).await?;
    let found = found.ok()?.into_iter().map(|m| m.to_lowercase());
    Some(
        found
            .chain(alerts.config.models.labels.metrics().iter().cloned())
            .collect(),
    )
}

impl Teller {
    pub(super) fn new(alerts: &Alerts) -> Self {
        let (tell, sent) = mpsc::channel(NOTIFY_TARGETS_MAX);
        let place = |target: &Target| Place {
            notifier: notifier(alerts, target),
            target: target.clone(),
            pace: Pace::default(),
            each: BTreeMap::new(),
            failures: 0,
            rests_until: None,
            busy: false,
        };
        Self {
            places: alerts.config.notify.iter().map(place).collect(),
            alerts: alerts.clone(),
            told: BTreeMap::new(),
            over: Vec::new(),
            waiting: Waiting::new(alerts),
            tell,
            sent,
        }
    }

    /// Takes up what was told before the start, and whom the end of what is still to be told.
    pub(super) async fn resume(&mut self, open: &BTreeMap<Key, AlertRow>) {
        let ids: Vec<(Key, u64)> = open
            .iter()
            .map(|(key, row)| (key.clone(), row.id))
            .collect();
        let since = TimeMs(self.alerts.now().0.saturating_sub(NOTIFY_OVER_MAX_MS));
        let read = move |c: &Connection| {
            let told = ids
                .into_iter()
                .map(|(key, id)| Ok((key, store::told_of(c, id)?)));
            let told =
                told.collect::<Result<BTreeMap<_, _>, crate::adapters::store::StoreError>>()?;
            let over = store::untold_ends(c, since)?.into_iter();
            let over = over.map(|row| Ok((store::told_of(c, row.id)?, row)));
            Ok((
                told,
                over.collect::<Result<Vec<_>, crate::adapters::store::StoreError>>()?,
                waiting::told_before(c)?,
            ))
        };
        match soon(self.alerts.store.read_committed("who was told", read)).await {
            Some(Ok((told, over, waiting))) => {
                self.told = told;
                for (key, told) in waiting {
                    self.told.entry(key).or_insert(told);
                }
                let over = over.into_iter().filter_map(|(told, row)| {
                    let kind = AlarmKind::of_code(&row.new.kind)?;
                    Some(((kind, row.new.subject.clone()), row, told))
                });
                self.over = over.collect();
            }
            Some(Err(error)) => tracing::warn!(%error, "who was told of alerts cannot be read"),
            None => {}
        }
    }

    /// An alert is over: whoever was told hears of it.
    pub(super) fn ended(&mut self, key: Key, row: AlertRow) {
        // Somebody may be being told at this moment.
        let told = self.told.remove(&key).unwrap_or_default();
        if !told.is_empty() || self.places.iter().any(|p| p.busy) {
            self.over.push((key, row, told));
            // The oldest are not worth more than memory.
            if self.over.len() > ALERT_KEYS_MAX {
                self.over.remove(0);
            }
        }
    }

    /// Hears how tellings ended, and begins those that are due.
    pub(super) async fn look(&mut self, open: &BTreeMap<Key, AlertRow>) {
        while let Ok(sent) = self.sent.try_recv() {
            self.heard(sent).await;
        }
        let hears = |place: &Place| place.hears_proposals() && !place.notifier.is_idle();
        if self.places.iter().any(hears) {
            for (key, row) in self.waiting.look(&self.alerts.clone()).await {
                // One that became an alert ends with that.
                if !open.contains_key(&key) {
                    self.ended(key, row);
                }
            }
        }
        let (now, names) = (self.alerts.now(), self.names());
        let busy = self.places.iter().any(|p| p.busy);
        self.over.retain(|(_, row, told)| {
            let late = row
                .ended
                .as_ref()
                .is_none_or(|(at, _)| now.distance(*at) > NOTIFY_OVER_MAX_MS);
            let waits = told.iter().any(|(name, t)| !t.over && names.contains(name));
            !late && (waits || busy)
        });
        let mut private = None;
        for place in 0..self.places.len() {
            let about = self.due(place, open, now);
            if about.is_empty() {
                continue;
            }
            if private.is_none() {
                private = Some(private_metrics(&self.alerts).await);
            }
            self.begin(place, about, private.as_ref().unwrap_or(&None), now);
        }
    }

    fn names(&self) -> BTreeSet<String> {
        self.places.iter().map(|p| p.target.name.clone()).collect()
    }

    /// What a place is to be told now: one alert, or many where they are many.
    fn due(&mut self, place: usize, open: &BTreeMap<Key, AlertRow>, now: TimeMs) -> Vec<About> {
        let Some(place) = self.places.get_mut(place) else {
            return Vec::new();
        };
        let rests = place
            .rests_until
            .is_some_and(|until| until > Instant::now());
        if place.busy || rests || place.notifier.is_idle() {
            return Vec::new();
        }
        let name = &place.target.name;
        let mut all = Vec::new();
        let waiting = self.waiting.all.iter();
        let waiting = waiting.filter(|(key, _)| place.hears_proposals() && !open.contains_key(key));
        let standing = open
            .iter()
            .chain(waiting)
            .map(|(key, row)| (key, row, self.told.get(key).and_then(|t| t.get(name))));
        let over = self
            .over
            .iter()
            .map(|(key, row, told)| (key, row, told.get(name)));
        for (key, row, told) in standing.chain(over) {
            // Nobody is told by a place that it cannot be told there.
            if key.0 == AlarmKind::NotifyFailing && key.1 == *name {
                continue;
            }
            if let Some(due) = place.target.step.due(&case(row), told.copied(), now) {
                all.push(About {
                    key: key.clone(),
                    row: row.clone(),
                    due,
                });
            }
        }
        all.retain(|about| {
            let many = || {
                place
                    .each
                    .get(&about.key)
                    .is_some_and(|pace| pace.count(now) >= NOTIFY_OF_ONE_PER_HOUR_MAX)
            };
            about.due != Due::First || !many()
        });
        all.sort_by_key(|a| {
            (
                a.due == Due::Over,
                std::cmp::Reverse(a.row.new.severity),
                a.row.new.since,
            )
        });
        let critical = all.iter().any(|a| a.row.new.severity == Severity::Critical);
        let most = match critical {
            true => NOTIFY_PER_HOUR_MAX,
            false => NOTIFY_PER_HOUR_MAX - NOTIFY_RESERVED_PER_HOUR,
        };
        if all.is_empty() || !place.pace.admits(now, most) {
            return Vec::new();
        }
        if all.len() <= NOTIFY_APART_MAX {
            all.truncate(1);
        }
        all
    }

    fn begin(&mut self, at: usize, about: Vec<About>, private: &Private, now: TimeMs) {
        let node = self.alerts.config.name.clone();
        let notice = match about.as_slice() {
            [one] => words::one(&node, one, private, now),
            all => words::many(&node, all, private, now),
        };
        let Some(place) = self.places.get_mut(at) else {
            return;
        };
        place.busy = true;
        let (notifier, report) = (place.notifier.clone(), self.tell.clone());
        self.alerts.tasks.passing("alert told", async move {
            let done = tell(&*notifier, &notice).await;
            // The look that would hear it has ended with the node.
            let _ = report
                .send(Sent {
                    place: at,
                    about,
                    done,
                })
                .await;
        });
    }

    async fn heard(&mut self, sent: Sent) {
        let Sent { place, about, done } = sent;
        let Some(place) = self.places.get_mut(place) else {
            return;
        };
        place.busy = false;
        let name = place.target.name.clone();
        let why = match done {
            Ok(()) => {
                (place.failures, place.rests_until) = (0, None);
                let now = self.alerts.now();
                place.each.retain(|_, pace| pace.count(now) > 0);
                for about in about.iter().filter(|a| a.due == Due::First) {
                    place.each.entry(about.key.clone()).or_default().note(now);
                }
                self.alerts.alarms.clear(AlarmKind::NotifyFailing, &name);
                return self.note(&name, about).await;
            }
            Err(why) => why,
        };
        let pause = NOTIFY_PAUSE_FIRST_MS.saturating_mul(1 << place.failures.min(10));
        let pause = match &why {
            Untold::Later(wait) => *wait,
            _ => Duration::from_millis(pause.min(NOTIFY_PAUSE_MAX_MS)),
        };
        place.rests_until = Some(Instant::now() + pause);
        place.failures = place.failures.saturating_add(1);
        tracing::warn!(
            place = name,
            "people were not told of {} alerts: {why}",
            about.len()
        );
        // What was lost once may have been lost on its way.
        if place.failures > 1 || matches!(why, Untold::Refused(_)) {
            let message = format!("people cannot be told of alerts at {name}: {why}");
            let advice = "look at [[notify]] of the configuration and try it with `clawmesh-node notify test`";
            let now = self.alerts.now();
            self.alerts
                .alarms
                .raise(AlarmKind::NotifyFailing, &name, &message, advice, now);
        }
    }

    /// Writes down what a place was told.
    async fn note(&mut self, name: &str, about: Vec<About>) {
        let now = self.alerts.now();
        let mut ids = Vec::new();
        for one in &about {
            let over = one.due == Due::Over;
            let is_it = |(key, row, _): &&mut (Key, AlertRow, BTreeMap<String, Told>)| {
                *key == one.key && row.new.since == one.row.new.since
            };
            // It may be over since it was told of.
            let told = match (self.over.iter_mut().find(is_it), over) {
                (Some((_, _, told)), _) => Some(told),
                (None, false) => Some(self.told.entry(one.key.clone()).or_default()),
                (None, true) => None,
            };
            if let Some(told) = told {
                let told = told.entry(name.to_owned()).or_insert(Told {
                    times: 0,
                    last: now,
                    over: false,
                });
                told.times += u32::from(!over);
                (told.last, told.over) = (now, told.over || over);
            }
            ids.extend((one.row.id != 0).then_some((one.row.id, over)));
        }
        let to = name.to_owned();
        let waits = about.iter().any(|a| self.waiting.all.contains_key(&a.key));
        let known = self.told.iter();
        let known = known.filter(|(key, _)| self.waiting.all.contains_key(*key));
        let waiting: waiting::ToldOf = known.map(|(k, t)| (k.clone(), t.clone())).collect();
        let work = move |c: &Connection| {
            if waits {
                waiting::keep_told(c, &waiting)?;
            }
            ids.iter()
                .try_for_each(|(id, over)| store::note_told(c, *id, &to, now, *over))
        };
        match soon(self.alerts.store.write(DURABLE, "alert told", work)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "who was told of alerts is not written down")
            }
            None => tracing::warn!(
                "who was told of alerts is not written down: the store does not answer"
            ),
        }
        let over = about.iter().all(|a| a.due == Due::Over);
        let which: Vec<String> = about.iter().map(|a| a.row.id.to_string()).collect();
        let message = match over {
            true => format!("{name} was told that alerts are over: {}", which.join(", ")),
            false => format!("{name} was told of alerts: {}", which.join(", ")),
        };
        let data = serde_json::json!({"target": name, "alerts": which, "over": over});
        self.alerts
            .journal
            .record(Event::AlertTold, Severity::Info, &message, data)
            .await;
    }
}

fn case(row: &AlertRow) -> Case {
    Case {
        severity: row.new.severity,
        since: row.new.since,
        ended: row.ended.as_ref().map(|(at, _)| *at),
        acknowledged: row.acknowledged.is_some(),
        muted_until: row.muted.as_ref().map(|m| m.until),
    }
}
