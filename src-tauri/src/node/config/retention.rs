//! `[store]`: how large the database may be, and what is kept of the frame log.

use serde::Deserialize;

use super::{ConfigError, value};
use crate::domain::base::limits::{
    DAYS_KEPT_MAX, DAYS_KEPT_MIN, HISTORY_KEPT_DAYS, KEEP_FRAMES, KEEP_FRAMES_MIN, OTHER_KEPT_DAYS,
    READINGS_KEPT_DAYS,
};

/// `[store]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStore {
    /// The largest size of the database, in bytes.
    pub max_bytes: Option<u64>,
    /// How many of the newest frames are kept.
    pub keep_frames: Option<u64>,
    /// For how many days readings are kept one by one.
    pub keep_readings_days: Option<u64>,
    /// For how many days events, answers and what people and models said are kept.
    pub keep_other_days: Option<u64>,
    /// For how many days old readings are kept by the hour.
    pub keep_history_days: Option<u64>,
}

/// What is kept of the frame log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest frames.
    pub frames: u64,
    /// Readings and presences, in days.
    pub readings_days: u64,
    /// Other frames, in days.
    pub other_days: u64,
    /// Old readings by the hour, in days.
    pub history_days: u64,
}

/// Checks `[store]` and fills in what was left out.
pub(super) fn resolve(raw: &RawStore) -> Result<Keep, ConfigError> {
    let frames = raw.keep_frames.unwrap_or(KEEP_FRAMES);
    if frames < KEEP_FRAMES_MIN {
        return Err(value(
            "store.keep_frames",
            format!("keep at least {KEEP_FRAMES_MIN}; this node works from the newest frames"),
        ));
    }
    let days = |key: &str, asked: Option<u64>, usual: u64| {
        let days = asked.unwrap_or(usual);
        match (DAYS_KEPT_MIN..=DAYS_KEPT_MAX).contains(&days) {
            true => Ok(days),
            false => Err(value(
                key,
                format!(
                    "write a number of days from {DAYS_KEPT_MIN} to {DAYS_KEPT_MAX}, such as {usual}"
                ),
            )),
        }
    };
    Ok(Keep {
        frames,
        readings_days: days(
            "store.keep_readings_days",
            raw.keep_readings_days,
            READINGS_KEPT_DAYS,
        )?,
        other_days: days(
            "store.keep_other_days",
            raw.keep_other_days,
            OTHER_KEPT_DAYS,
        )?,
        history_days: days(
            "store.keep_history_days",
            raw.keep_history_days,
            HISTORY_KEPT_DAYS,
        )?,
    })
}
