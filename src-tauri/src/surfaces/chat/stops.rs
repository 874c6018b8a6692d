//! Emergency stops that members write: each update stops everything once, whether it was seen while this node looked at the bot
//! or taken by it. So a stop that a person has released is not engaged again by the message that engaged it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Talk, talk as answers};
use crate::adapters::crash;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{CHAT_STOP_LATE_MS, CHAT_STOPS_KEPT, CHAT_STOPS_MS};
use crate::domain::base::quantity::span;
use crate::node::channels::Member;

/// What is said where the answer is no longer known.
const BEFORE: &str = "EMERGENCY STOP: this message was carried out before, and is not again. Ask for the status to see whether it is latched.";

/// A stop that was carried out.
#[derive(Debug, Clone)]
struct Done {
    at: TimeMs,
    /// What came of it, where it was since the bot began.
    said: Option<String>,
}

/// The updates whose stops were carried out.
#[derive(Debug, Default)]
pub(super) struct Stops(Mutex<BTreeMap<i64, Done>>);

impl Stops {
    /// Those that are on disk.
    pub(super) fn of(known: Vec<(i64, TimeMs)>) -> Self {
        let each = known.into_iter();
        let all = each.map(|(update, at)| (update, Done { at, said: None }));
        Self(Mutex::new(all.collect()))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<i64, Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of an update whose stop was carried out.
    fn said(&self, update: i64, now: TimeMs) -> Option<String> {
        let all = self.all();
        let lately = |done: &&Done| now.since(done.at) < CHAT_STOPS_MS;
        let done = all.get(&update).filter(lately)?;
        Some(done.said.clone().unwrap_or_else(|| BEFORE.to_owned()))
    }

    fn note(&self, update: i64, at: TimeMs, said: &str) {
        let mut all = self.all();
        let said = Some(said.to_owned());
        all.insert(update, Done { at, said });
        while all.len() > CHAT_STOPS_KEPT
            && let Some(oldest) = all.iter().min_by_key(|(_, done)| done.at)
        {
            let oldest = *oldest.0;
            all.remove(&oldest);
        }
    }
}

/// Stops everything, unless this update has done so; what came of it. That it did is on disk before this returns: only a crash
/// in between carries it out twice.
pub(super) async fn carry_out(
    talk: &Talk,
    (update, sent_at): (i64, Option<TimeMs>),
    member: &Member,
    reason: &str,
) -> String {
    if let Some(said) = talk.stops.said(update, talk.now()) {
        return said;
    }
    // A stop errs to the safe side, however late it comes; who reads of it learns how old it is.
    let late = sent_at.and_then(|at| late(at, talk.now()));
    let said = answers::stopped(talk, member, &because(reason, late.as_deref())).await;
    let said = match late {
        Some(late) => format!("{said}\nThe message was {late}, and reached this node only now."),
        None => said,
    };
    crash::point("chat", "stopped");
    talk.stops.note(update, talk.now(), &said);
    let noted = talk.door.channel_note_stop(talk.kind, &talk.bot.id, update);
    if let Err(refusal) = noted.await {
        tracing::error!("that a stop was carried out will not be known after a restart: {refusal}");
    }
    said
}

/// How old a message is, in words, where it was long under way.
fn late(sent_at: TimeMs, now: TimeMs) -> Option<String> {
    let age_ms = now.since(sent_at);
    (age_ms >= CHAT_STOP_LATE_MS).then(|| format!("sent {} ago", span(age_ms)))
}

/// The reason of a stop, with how old its message is.
fn because(reason: &str, late: Option<&str>) -> String {
    match (reason.is_empty(), late) {
        (_, None) => reason.to_owned(),
        (true, Some(late)) => format!("asked for in a chat; {late}"),
        (false, Some(late)) => format!("{reason} ({late})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_was_long_under_way_says_how_old_it_is() {
        let now = TimeMs(10 * 86_400_000);
        assert_eq!(late(TimeMs(now.0 - 5_000), now), None);
        assert_eq!(
            late(now.plus(5_000), now),
            None,
            "its server's clock is ahead"
        );
        let old = late(TimeMs(now.0 - 3 * 86_400_000), now).unwrap();
        assert!(old.starts_with("sent 3 d"), "{old}");
        assert_eq!(
            because("", Some(&old)),
            format!("asked for in a chat; {old}")
        );
        assert_eq!(because("fire", Some(&old)), format!("fire ({old})"));
        assert_eq!(because("fire", None), "fire");
    }

    #[test]
    fn a_stop_is_known_for_two_days_and_they_are_bounded() {
        let stops = Stops::of(vec![(1, TimeMs(0))]);
        assert_eq!(stops.said(1, TimeMs(5)).as_deref(), Some(BEFORE));
        assert_eq!(
            stops.said(1, TimeMs(CHAT_STOPS_MS)),
            None,
            "another's number"
        );
        assert_eq!(stops.said(2, TimeMs(5)), None);
        for update in 2..100 {
            stops.note(update, TimeMs(10), "latched");
        }
        assert_eq!(stops.said(99, TimeMs(20)).as_deref(), Some("latched"));
        assert_eq!(stops.all().len(), CHAT_STOPS_KEPT);
        assert_eq!(stops.said(1, TimeMs(20)), None, "the oldest goes first");
    }
}
