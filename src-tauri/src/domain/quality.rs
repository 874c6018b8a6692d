//! The quality of a sensor's own readings: what bounds say of a value and of those before it.
//!
//! A doubted reading is published all the same, as an unverified observation (T1) with the reason, so that nothing acts
//! on it and people see what the sensor says.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::base::quantity::{number, span};

/// What a value must satisfy to be believed. Without bounds every finite value is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The lowest and the highest value that can be, in the reading's unit.
    pub range: Option<[f64; 2]>,
    /// The most that it can change in a second, in the reading's unit.
    pub per_second: Option<f64>,
    /// The longest, in seconds, that it stays exactly the same where the sensor works.
    pub stuck_sec: Option<u64>,
}

/// Why a value is not believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "doubt",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Doubt {
    /// It lies outside the range.
    OutOfRange {
        /// The range.
        range: [f64; 2],
    },
    /// It is further from the last value that was believed than it can have moved since.
    Jump {
        /// That value.
        from: f64,
        /// How long ago that was, in milliseconds.
        since_ms: u64,
    },
    /// It has been exactly the same for too long.
    Stuck {
        /// For how long, in milliseconds.
        since_ms: u64,
    },
    /// It was measured too long ago.
    Late {
        /// How long, in milliseconds.
        since_ms: u64,
    },
    /// When it was measured is not known, for example a message that a broker kept.
    AgeUnknown,
    /// Another sensor of the same thing says something else, or nothing.
    Contradicted {
        /// What the others say, in words.
        others: String,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::OutOfRange { range: [low, high] } => {
                write!(
                    f,
                    "outside its range of {} to {}",
                    number(*low),
                    number(*high)
                )
            }
            Doubt::Jump { from, since_ms } => write!(
                f,
                "it was {} {} ago and cannot change so fast",
                number(*from),
                span(*since_ms)
            ),
            Doubt::Stuck { since_ms } => {
                write!(f, "exactly the same for {}", span(*since_ms))
            }
            Doubt::Late { since_ms } => write!(f, "measured {} ago", span(*since_ms)),
            Doubt::AgeUnknown => f.write_str("when it was measured is not known"),
            Doubt::Contradicted { others } => write!(f, "the others say {others}"),
        }
    }
}

impl Bounds {
    /// Whether they make sense.
    ///
    /// # Errors
    /// The key that does not, and why.
    pub fn check(&self) -> Result<(), String> {
        if let Some([low, high]) = self.range
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            return Err("range: the first number must be less than the second".to_owned());
        }
        if self
            .per_second
            .is_some_and(|most| !(most.is_finite() && most > 0.0))
        {
            return Err("per_second: must be a number greater than 0".to_owned());
        }
        if self.stuck_sec == Some(0) {
            return Err("stuck_sec: must be at least 1".to_owned());
        }
        Ok(())
    }
}

/// When sensors of the same thing agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// How far two of them may be apart, in their unit.
    pub within: f64,
    /// How many have to agree; more than half of all that there are.
    pub of: usize,
}

/// What sensors of the same thing say together.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreed {
    /// The value in the middle; none where none speaks. Where more than half speak the truth, it lies among their values,
    /// whatever the others say.
    pub value: Option<f64>,
    /// Which of them are believed, in their order: none, unless enough of them agree.
    pub agree: Vec<bool>,
}

impl Agreement {
    /// Judges finite values of the same moment. One agrees if it is close to the middle: to both values in the middle,
    /// where their number is even.
    pub fn judge(&self, values: &[f64]) -> Agreed {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let below = sorted.get(sorted.len().saturating_sub(1) / 2);
        let (Some(&low), Some(&high)) = (below, sorted.get(sorted.len() / 2)) else {
            return Agreed {
                value: None,
                agree: Vec::new(),
            };
        };
        // A little more than nothing, for what a number loses where it has no exact form.
        let within = self.within + self.within.max(low.abs()).max(high.abs()) * 1e-12;
        let close = |value: &f64| (value - low).abs() <= within && (value - high).abs() <= within;
        let mut agree: Vec<bool> = values.iter().map(close).collect();
        if agree.iter().filter(|is| **is).count() < self.of {
            agree.fill(false);
        }
        Agreed {
            value: Some(low.midpoint(high)),
            agree,
        }
    }
}

/// The values of one sensor so far, as far as the next one is judged by them.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The last value that was in range and no jump, and when.
    believed: Option<(f64, u64)>,
    /// The last value, and since when it has been exactly that.
    same: Option<(f64, u64)>,
}

impl History {
    /// Judges a finite value read at `at_ms` of a clock that never steps, and keeps it for the next one.
    ///
    /// A new level after a jump is believed once it could have been reached at the rate of the bounds, counted from the
    /// last value that was believed.
    pub fn judge(&mut self, bounds: &Bounds, value: f64, at_ms: u64) -> Option<Doubt> {
        let since = match self.same {
            Some((same, since)) if same == value => since,
            _ => at_ms,
        };
        self.same = Some((value, since));
        if let Some(range) = bounds.range
            && !(range[0]..=range[1]).contains(&value)
        {
            return Some(Doubt::OutOfRange { range });
        }
        if let (Some(most), Some((from, then))) = (bounds.per_second, self.believed) {
            let since_ms = at_ms.saturating_sub(then);
            if (value - from).abs() > most * seconds(since_ms) {
                return Some(Doubt::Jump { from, since_ms });
            }
        }
        // Many values in a moment would else each move a little, and all of them far.
        if self
            .believed
            .is_none_or(|(_, then)| at_ms.saturating_sub(then) >= CLOSEST_MS)
        {
            self.believed = Some((value, at_ms));
        }
        let since_ms = at_ms.saturating_sub(since);
        let stuck = |limit: u64| since_ms >= limit.saturating_mul(1_000);
        let is_stuck = bounds.stuck_sec.is_some_and(stuck);
        is_stuck.then_some(Doubt::Stuck { since_ms })
    }
}

/// Readings closer than this count as that far apart, in milliseconds.
const CLOSEST_MS: u64 = 100;

/// Milliseconds as seconds.
#[allow(clippy::cast_precision_loss)]
fn seconds(ms: u64) -> f64 {
    ms.max(CLOSEST_MS) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn bounds(text: &str) -> Bounds {
        let bounds: Bounds = toml::from_str(text).unwrap();
        bounds.check().unwrap();
        bounds
    }

    #[test]
    fn a_value_out_of_range_is_doubted_and_does_not_count_as_the_last() {
        let bounds = bounds("range = [0, 100]\nper_second = 1");
        let mut history = History::default();
        assert_eq!(history.judge(&bounds, 50.0, 0), None);
        let range = [0.0, 100.0];
        assert_eq!(
            history.judge(&bounds, 6_553.5, 1_000),
            Some(Doubt::OutOfRange { range })
        );
        assert_eq!(history.judge(&bounds, 51.0, 2_000), None);
    }

    #[test]
    fn a_jump_is_believed_once_the_value_could_be_there() {
        let bounds = bounds("per_second = 5");
        let mut history = History::default();
        assert_eq!(history.judge(&bounds, 20.0, 0), None);
        let jump = |since_ms| {
            Some(Doubt::Jump {
                from: 20.0,
                since_ms,
            })
        };
        assert_eq!(history.judge(&bounds, 80.0, 1_000), jump(1_000));
        assert_eq!(history.judge(&bounds, 80.0, 11_999), jump(11_999));
        assert_eq!(history.judge(&bounds, 80.0, 12_000), None);
        assert_eq!(history.judge(&bounds, 84.0, 13_000), None);
    }

    #[test]
    fn one_spike_changes_nothing_for_the_values_after_it() {
        let bounds = bounds("per_second = 1");
        let mut history = History::default();
        assert_eq!(history.judge(&bounds, 20.0, 0), None);
        assert!(history.judge(&bounds, 85.0, 1_000).is_some());
        assert_eq!(history.judge(&bounds, 20.5, 2_000), None);
    }

    #[test]
    fn many_values_in_a_moment_move_no_further_than_one() {
        let bounds = bounds("per_second = 1");
        let mut history = History::default();
        assert_eq!(history.judge(&bounds, 20.0, 0), None);
        for at in 1..=99_u32 {
            history.judge(&bounds, 20.0 + 0.09 * f64::from(at), u64::from(at));
        }
        let told = history.judge(&bounds, 29.0, 1_000);
        assert_eq!(
            told,
            Some(Doubt::Jump {
                from: 20.0,
                since_ms: 1_000
            })
        );
    }

    #[test]
    fn a_value_that_never_changes_is_stuck_until_it_changes() {
        let bounds = bounds("stuck_sec = 60");
        let mut history = History::default();
        assert_eq!(history.judge(&bounds, 7.0, 0), None);
        assert_eq!(history.judge(&bounds, 7.0, 59_999), None);
        let stuck = Doubt::Stuck { since_ms: 60_000 };
        assert_eq!(history.judge(&bounds, 7.0, 60_000), Some(stuck));
        assert_eq!(history.judge(&bounds, 7.1, 61_000), None);
        assert_eq!(history.judge(&bounds, 7.1, 61_001), None);
    }

    fn agree(values: &[f64], of: usize) -> (Option<f64>, Vec<bool>) {
        let judged = Agreement { within: 0.5, of }.judge(values);
        (judged.value, judged.agree)
    }

    #[test]
    fn what_is_close_to_the_middle_agrees_if_enough_do() {
        let (yes, no) = (true, false);
        assert_eq!(agree(&[], 2), (None, vec![]));
        assert_eq!(agree(&[20.0], 2), (Some(20.0), vec![no]));
        assert_eq!(agree(&[20.0, 20.5], 2), (Some(20.25), vec![yes, yes]));
        assert_eq!(agree(&[20.0, 20.6], 2), (Some(20.3), vec![no, no]));
        assert_eq!(
            agree(&[20.1, 85.0, 20.3], 2),
            (Some(20.3), vec![yes, no, yes])
        );
        assert_eq!(
            agree(&[20.1, 85.0, 20.3], 3),
            (Some(20.3), vec![no, no, no])
        );
        assert_eq!(
            agree(&[20.0, 30.0, 20.2, 30.2], 3),
            (Some(25.1), vec![no; 4])
        );
        assert_eq!(agree(&[0.1, 0.6], 2).1, [yes, yes]);
    }

    proptest! {
        #[test]
        fn fewer_than_half_that_lie_never_move_the_middle_out_of_what_the_others_say(
            honest in prop::collection::vec(-50.0_f64..50.0, 2..8),
            lies in prop::collection::vec(-1e9_f64..1e9, 0..7),
        ) {
            let lies = lies.get(..lies.len().min(honest.len() - 1)).unwrap();
            let low = honest.iter().copied().fold(f64::INFINITY, f64::min);
            let high = honest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let all = [honest.as_slice(), lies].concat();
            let value = agree(&all, 2).0.unwrap();
            prop_assert!((low..=high).contains(&value));
        }
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        for (text, key) in [
            ("range = [5, 5]", "range"),
            ("range = [nan, 5]", "range"),
            ("range = [0, inf]", "range"),
            ("per_second = 0", "per_second"),
            ("per_second = -1.0", "per_second"),
            ("stuck_sec = 0", "stuck_sec"),
        ] {
            let bounds: Bounds = toml::from_str(text).unwrap();
            assert!(bounds.check().unwrap_err().starts_with(key), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_believed_lies_in_range_and_never_moves_faster_than_the_bounds(
            steps in prop::collection::vec((-50.0_f64..150.0, 100_u64..5_000), 1..60),
        ) {
            let bounds = bounds("range = [0, 100]\nper_second = 3");
            let (mut history, mut at, mut last) = (History::default(), 0, None);
            for (value, later) in steps {
                at += later;
                if history.judge(&bounds, value, at).is_none() {
                    prop_assert!((0.0..=100.0).contains(&value));
                    if let Some((from, then)) = last {
                        let most: f64 = 3.0 * seconds(at - then);
                        prop_assert!(f64::abs(value - from) <= most);
                    }
                    last = Some((value, at));
                }
            }
        }
    }
}
