//! Who is told of an alert, when, how often, and that it is over. What was told is all that counts besides the alert and the
//! time, so a node that was started again goes on where it was.

use std::collections::VecDeque;

use crate::domain::base::limits::NOTIFY_OVER_MAX_MS;
use crate::domain::base::{Severity, TimeMs};
use crate::domain::policy::Hours;

const HOUR_MS: u64 = 3_600_000;

/// When a place is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How long an alert stands without an answer before this place is told, in milliseconds.
    pub after_ms: u64,
    /// The least that an alert must matter.
    pub floor: Severity,
    /// When this place is left alone.
    pub quiet: Option<Hours>,
    /// Whether it is left alone then with what is critical too.
    pub quiet_all: bool,
    /// After how long without an answer it is told again, in milliseconds; once where absent.
    pub repeat_ms: Option<u64>,
    /// How often it is told at most.
    pub times: u32,
}

/// An alert, as far as it matters for who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// How much it matters.
    pub severity: Severity,
    /// Since when it stands.
    pub since: TimeMs,
    /// When it ended.
    pub ended: Option<TimeMs>,
    /// Whether somebody has acknowledged it.
    pub acknowledged: bool,
    /// Until when it is muted.
    pub muted_until: Option<TimeMs>,
}

/// What a place was told of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// How often.
    pub times: u32,
    /// When last.
    pub last: TimeMs,
    /// Whether also that it is over.
    pub over: bool,
}

/// What a place is to be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// That an alert stands.
    First,
    /// That it still does.
    Again,
    /// That it is over.
    Over,
}

impl Step {
    /// Whether this place is left alone now.
    fn is_quiet(&self, severity: Severity, now: TimeMs) -> bool {
        let passes = severity == Severity::Critical && !self.quiet_all;
        !passes && self.quiet.is_some_and(|hours| hours.contain(now))
    }

    /// What the place is to be told of an alert now. Times are compared by their distance: a clock that was set back tells
    /// early rather than never.
    pub fn due(&self, case: &Case, told: Option<Told>, now: TimeMs) -> Option<Due> {
        if self.is_quiet(case.severity, now) {
            return None;
        }
        if let Some(ended) = case.ended {
            // Whoever was told hears of the end, whatever anybody has answered meanwhile.
            let waits = told.is_some_and(|told| !told.over);
            return (waits && now.distance(ended) <= NOTIFY_OVER_MAX_MS).then_some(Due::Over);
        }
        let muted = case.muted_until.is_some_and(|until| until > now);
        if case.acknowledged || muted || case.severity < self.floor {
            return None;
        }
        match (told, self.repeat_ms) {
            (None, _) => (now.distance(case.since) >= self.after_ms).then_some(Due::First),
            (Some(told), Some(every)) => {
                let again = told.times < self.times && now.distance(told.last) >= every;
                again.then_some(Due::Again)
            }
            (Some(_), None) => None,
        }
    }
}

/// How many messages there were lately.
#[derive(Debug, Clone, Default)]
pub struct Pace(VecDeque<TimeMs>);

impl Pace {
    /// How many there were in the last hour.
    pub fn count(&self, now: TimeMs) -> usize {
        self.0
            .iter()
            .filter(|at| now.distance(**at) < HOUR_MS)
            .count()
    }

    /// Counts one.
    pub fn note(&mut self, now: TimeMs) {
        self.0.retain(|at| now.distance(*at) < HOUR_MS);
        self.0.push_back(now);
    }

    /// Whether there may be another one, of so many in an hour; it is counted.
    pub fn admits(&mut self, now: TimeMs, most: usize) -> bool {
        let admits = self.count(now) < most;
        if admits {
            self.note(now);
        }
        admits
    }
}
