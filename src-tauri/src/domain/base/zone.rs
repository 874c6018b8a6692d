//! Time zones as a configuration writes them: UTC or a fixed offset. Names of zones are not known, so that no rule depends
//! on a table that a device may lack, and summer time is not followed: no local time comes twice, and none is left out.

/// How a zone that does not read is refused.
pub const ZONE_HELP: &str = "zone must be UTC or an offset such as +02:00; names of zones are not known, and summer time is not followed";

/// The minutes of the day that `HH:MM` names.
pub fn minute_of_day(text: &str) -> Option<u32> {
    let (h, m) = text.split_once(':')?;
    let (h, m): (u32, u32) = (h.parse().ok()?, m.parse().ok()?);
    (h < 24 && m < 60 && text.len() == 5).then_some(h * 60 + m)
}

/// How far a zone is ahead of UTC, in minutes.
pub fn zone_minutes(text: &str) -> Option<i32> {
    if text == "UTC" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let ahead = i32::try_from(minute_of_day(rest)?).ok()?;
    (ahead <= 14 * 60).then_some(sign * ahead)
}

/// A minute of the day as `HH:MM`.
pub fn clock(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// A zone as people read it: `UTC`, `UTC+02:00`.
pub fn zone_shown(minutes: i32) -> String {
    match minutes {
        0 => "UTC".to_owned(),
        zone => {
            let sign = if zone < 0 { '-' } else { '+' };
            format!("UTC{sign}{}", clock(zone.unsigned_abs()))
        }
    }
}
