//! Times of a schedule, as a cron expression of five fields in a fixed time zone: minute, hour, day of the month, month,
//! day of the week. Where both days are restricted either is enough, as in every cron.

use std::fmt;
use std::str::FromStr;

use time::{Date, OffsetDateTime};

use crate::domain::base::TimeMs;
use crate::domain::base::limits::{CRON_MAX_CHARS, SLOT_AHEAD_DAYS, SLOT_MS};
use crate::domain::base::zone::{clock, zone_shown};

const MINUTES_OF_DAY: u64 = 1_440;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    /// How far the zone is ahead of UTC, in minutes.
    zone_min: i32,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// The values of one field as bits, and whether it says `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    any: bool,
}

impl Field {
    fn has(self, value: u32) -> bool {
        self.bits >> value & 1 == 1
    }

    /// Reads a field: `*`, `5`, `1-5`, `*/15`, `10-40/10`, and lists of them.
    fn parse(name: &str, text: &str, range: (u32, u32), names: &[&str]) -> Result<Self, String> {
        let bad = |part: &str| {
            let (low, high) = range;
            format!("{name}: {part:?} is no value from {low} to {high}, range, list or step")
        };
        let mut bits = 0;
        for part in text.split(',') {
            let (span, step) = match part.split_once('/') {
                Some((span, step)) => (span, number(step).filter(|n| *n > 0)),
                None => (part, Some(1)),
            };
            let step = step.ok_or_else(|| bad(part))?;
            let value = |text: &str| {
                let named = names.iter().position(|n| text.eq_ignore_ascii_case(n));
                let named = named.and_then(|at| u32::try_from(at).ok());
                let value = named.map(|at| at + range.0).or_else(|| number(text));
                value.filter(|v| (range.0..=range.1).contains(v))
            };
            let (from, to) = match span.split_once('-') {
                _ if span == "*" => range,
                Some((from, to)) => {
                    let ends = value(from).zip(value(to)).filter(|(from, to)| from <= to);
                    ends.ok_or_else(|| bad(part))?
                }
                None => {
                    let one = value(span).ok_or_else(|| bad(part))?;
                    // `5/10` is from 5 on, as in every cron.
                    let last = if part.contains('/') { range.1 } else { one };
                    (one, last)
                }
            };
            for at in (from..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
                bits |= 1 << at;
            }
        }
        let any = text.starts_with('*');
        Ok(Self { bits, any })
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl Cron {
    /// Reads an expression for a zone that is so many minutes ahead of UTC.
    ///
    /// # Errors
    /// What of it does not read, or that no such time ever comes.
    pub fn parse(text: &str, zone_min: i32) -> Result<Self, String> {
        if text.chars().count() > CRON_MAX_CHARS {
            return Err(format!("longer than {CRON_MAX_CHARS} characters"));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!(
                "{text:?} must have five fields: minute, hour, day of the month, month, day of the week"
            ));
        };
        let mut weekdays = Field::parse("day of the week", weekdays, (0, 7), &DAYS)?;
        // Sunday is 0 and 7.
        weekdays.bits |= weekdays.bits >> 7 & 1;
        let cron = Self {
            text: fields.join(" "),
            zone_min,
            minutes: Field::parse("minute", minutes, (0, 59), &[])?,
            hours: Field::parse("hour", hours, (0, 23), &[])?,
            days: Field::parse("day of the month", days, (1, 31), &[])?,
            months: Field::parse("month", months, (1, 12), &MONTHS)?,
            weekdays,
        };
        match cron.next_after(TimeMs(0)) {
            Some(_) => Ok(cron),
            None => Err(format!("{text:?} names a day that never comes")),
        }
    }

    /// Local time as minutes since 1970, counted in the zone.
    fn local(&self, at: TimeMs) -> u64 {
        (at.0 / SLOT_MS).saturating_add_signed(i64::from(self.zone_min))
    }

    fn of_local(&self, minutes: u64) -> TimeMs {
        let utc = minutes.saturating_add_signed(-i64::from(self.zone_min));
        TimeMs(utc.saturating_mul(SLOT_MS))
    }

    fn has_day(&self, day: u64) -> bool {
        let Some(date) = date(day) else {
            return false;
        };
        let of_month = self.days.has(u32::from(date.day()));
        let weekday = date.weekday().number_days_from_sunday();
        let of_week = self.weekdays.has(u32::from(weekday));
        let fits = match (self.days.any, self.weekdays.any) {
            (false, false) => of_month || of_week,
            _ => of_month && of_week,
        };
        fits && self.months.has(u32::from(u8::from(date.month())))
    }

    /// The time that has come and lasts still: the minute of this moment, if the schedule names it.
    pub fn slot(&self, now: TimeMs) -> Option<TimeMs> {
        let local = self.local(now);
        let minute = u32::try_from(local % MINUTES_OF_DAY).unwrap_or(0);
        let named = self.hours.has(minute / 60) && self.minutes.has(minute % 60);
        let comes = named && self.has_day(local / MINUTES_OF_DAY);
        comes.then(|| TimeMs(now.0 - now.0 % SLOT_MS))
    }

    /// The next time after a moment.
    pub fn next_after(&self, now: TimeMs) -> Option<TimeMs> {
        let from = self.local(now) + 1;
        let today = from / MINUTES_OF_DAY;
        for day in (today..=today + SLOT_AHEAD_DAYS).filter(|day| self.has_day(*day)) {
            let first = match day == today {
                true => from % MINUTES_OF_DAY,
                false => 0,
            };
            let minute = (first..MINUTES_OF_DAY).find(|minute| {
                let minute = u32::try_from(*minute).unwrap_or(0);
                self.hours.has(minute / 60) && self.minutes.has(minute % 60)
            });
            if let Some(minute) = minute {
                return Some(self.of_local(day * MINUTES_OF_DAY + minute));
            }
        }
        None
    }

    /// A time of it as people read it: `06:00 UTC+02:00`.
    pub fn shown(&self, at: TimeMs) -> String {
        let minute = u32::try_from(self.local(at) % MINUTES_OF_DAY).unwrap_or(0);
        format!("{} {}", clock(minute), zone_shown(self.zone_min))
    }
}

/// The date of a day since 1970.
fn date(day: u64) -> Option<Date> {
    let seconds = i64::try_from(day).ok()?.checked_mul(86_400)?;
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(at.date())
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, zone_shown(self.zone_min))
    }
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn at(text: &str) -> TimeMs {
        let at = OffsetDateTime::parse(text, &Rfc3339).unwrap();
        TimeMs(u64::try_from(at.unix_timestamp()).unwrap() * 1_000)
    }

    #[test]
    fn the_next_time_is_the_one_that_the_expression_names() {
        // A Sunday.
        let now = at("2026-11-29T15:03:54Z");
        for (text, zone, next) in [
            ("0 6 * * *", 0, "2026-11-30T06:00:00Z"),
            ("0 6 * * *", 120, "2026-11-30T04:00:00Z"),
            ("0 6 * * *", -840, "2026-11-29T20:00:00Z"),
            ("4 15 * * *", 0, "2026-11-29T15:04:00Z"),
            ("3 15 * * *", 0, "2026-11-30T15:03:00Z"),
            ("*/15 * * * *", 0, "2026-11-29T15:15:00Z"),
            ("5/20 * * * *", 0, "2026-11-29T15:05:00Z"),
            ("10-40/10 8,16 * * *", 0, "2026-11-29T16:10:00Z"),
            ("0 0 29 2 *", 0, "2028-02-29T00:00:00Z"),
            ("0 12 * * mon-fri", 0, "2026-11-30T12:00:00Z"),
            ("0 12 * * 7", 0, "2026-12-06T12:00:00Z"),
            ("0 12 * * 0", 0, "2026-12-06T12:00:00Z"),
            ("0 12 * Jan *", 0, "2027-01-01T12:00:00Z"),
            // Either day is enough.
            ("0 12 1 * fri", 0, "2026-12-01T12:00:00Z"),
            ("0 12 31 * tue", 0, "2026-12-01T12:00:00Z"),
            ("30 23 31 12 *", 840, "2026-12-31T09:30:00Z"),
        ] {
            let cron = Cron::parse(text, zone).unwrap();
            assert_eq!(cron.next_after(now), Some(at(next)), "{text} {zone}");
        }
        let leap = "0 0 29 2 *".parse::<Cron>().unwrap();
        let next = leap.next_after(at("2096-03-01T00:00:00Z"));
        assert_eq!(next, Some(at("2104-02-29T00:00:00Z")));
        let east = Cron::parse("0 6 * * *", 120).unwrap();
        assert_eq!(east.shown(at("2026-11-30T04:00:00Z")), "06:00 UTC+02:00");
        assert_eq!(east.to_string(), "0 6 * * * UTC+02:00");
    }

    #[test]
    fn what_names_no_time_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "1,,2 * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "a * * * *",
            "0 0 30 2 *",
            "0 0 31 4,6 *",
            "@daily",
            "99999999999 * * * *",
        ] {
            assert!(text.parse::<Cron>().is_err(), "{text:?}");
        }
    }

    proptest! {
        /// The next time is a time, and none lies before it.
        #[test]
        fn next_and_now_agree(
            (minute, step, hour) in (0u32..60, 1u32..60, 0u32..24), zone in -840i32..=840, now in 0u64..4_000_000_000_000,
        ) {
            let cron = Cron::parse(&format!("{minute}/{step} {hour} * * *"), zone).unwrap();
            let next = cron.next_after(TimeMs(now)).unwrap();
            prop_assert!(next.0 > now && next.0 - now <= 2 * 24 * 60 * SLOT_MS);
            prop_assert_eq!(cron.slot(next), Some(next));
            prop_assert_eq!(cron.slot(next.plus(SLOT_MS - 1)), Some(next));
            let between = (1..).map(|n| TimeMs((now / SLOT_MS + n) * SLOT_MS));
            for minute in between.take_while(|m| *m < next) {
                prop_assert_eq!(cron.slot(minute), None);
            }
        }

        #[test]
        fn any_text_reads_or_is_refused(text in ".{0,40}", fields in prop::collection::vec("[0-9*/,a-z-]{1,6}", 5)) {
            let _ = text.parse::<Cron>();
            let _ = fields.join(" ").parse::<Cron>();
        }
    }
}
