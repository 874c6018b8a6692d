//! Ids, names, numbers, ages and values as people read them. Pure.

use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use super::clean::{clean, visible};
use crate::domain::base::quantity;
pub(super) use crate::domain::base::quantity::{bytes, span};

/// Characters of an id that tables show.
const SHORT_CHARS: usize = 12;

/// The first characters of an id, clean.
pub(super) fn short(id: &str) -> String {
    clean(id).chars().take(SHORT_CHARS).collect()
}

/// The last characters of a frame's id, clean: the first are the time in many of them.
pub(super) fn short_frame(id: &str) -> String {
    let clean = clean(id);
    let over = clean.chars().count().saturating_sub(SHORT_CHARS);
    clean.chars().skip(over).collect()
}

/// Longest name that is shown beside an id, in characters.
const NAME_CHARS: usize = 40;

/// A name chosen by a person or a device, so that it reads as one name: plain words as they are; in quotes if it has
/// brackets, marks or escapes in it, or could be taken for an id.
pub(super) fn name(name: &str) -> String {
    let shown = cut(&visible(name.trim(), usize::MAX), NAME_CHARS);
    let plain = |c: char| c.is_alphanumeric() || " -_.'&+#/@…".contains(c);
    let id = |c: char| c.is_ascii_hexdigit() || c == '-';
    match shown.chars().all(plain) && !(shown.len() >= 8 && shown.chars().all(id)) {
        true => shown,
        false => format!("\"{}\"", shown.replace('"', "'")),
    }
}

/// A device, person or key by its name, with the start of the id beside it: `pump-house (9f3a01cd77ab)`.
/// Without a name the start of the id alone. Whatever the name is, the id is what stands last.
pub(super) fn who(named: Option<&str>, id: &str) -> String {
    match named.map(name).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} ({})", short(id)),
        None => short(id),
    }
}

/// The first `chars` characters, with a mark where more was there.
pub(super) fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A value with its unit as people read it: `72 GiB`, `31.8%`, `21.4 °C`.
pub(super) fn reading(told: &Value, unit: Option<&str>) -> String {
    clean(&quantity::reading(told, unit))
}

/// A JSON value as a person would write it.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => "-".to_owned(),
        Value::Number(n) if n.is_f64() => quantity::number(n.as_f64().unwrap_or_default()),
        other => clean(&other.to_string()),
    }
}

/// How long `then` is past, or ahead, of `now`.
pub(super) fn age(now: u64, then: u64) -> String {
    if then > now.saturating_add(999) {
        format!("in {}", span(then - now))
    } else {
        span(now.saturating_sub(then))
    }
}

/// A moment in UTC, to the millisecond.
pub(super) fn moment(ms: u64) -> String {
    let form =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanos = i128::from(ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|t| t.format(&form).ok())
        .unwrap_or_else(|| format!("{ms} ms"))
}

/// A code of a closed list, as its JSON form has it.
pub(super) fn code(code: impl serde::Serialize) -> String {
    value(&serde_json::to_value(code).unwrap_or_default())
}

/// The members of an object as `key=value` words.
pub(super) fn pairs(params: &Value) -> String {
    match params {
        Value::Object(map) => map
            .iter()
            .map(|(key, v)| format!("{}={}", clean(key), value(v)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Null => String::new(),
        other => value(other),
    }
}

/// Reads `key=value`; the value is a JSON scalar if it reads as one, else text.
///
/// # Errors
/// Why it is no pair.
pub(super) fn parse_pair(text: &str) -> Result<(String, Value), String> {
    let (key, given) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| format!("{text:?} is no key=value"))?;
    let scalar = serde_json::from_str::<Value>(given)
        .ok()
        .filter(|v| !v.is_array() && !v.is_object() && !v.is_null());
    Ok((
        key.to_owned(),
        scalar.unwrap_or_else(|| Value::String(given.to_owned())),
    ))
}

/// A reason: something must be said.
///
/// # Errors
/// If it is empty.
pub(super) fn said(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; say why in a few words".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_name_stands_before_its_id_and_never_looks_like_one() {
        let id = "9f3a01cd77ab0e55";
        assert_eq!(who(Some("pump-house"), id), "pump-house (9f3a01cd77ab)");
        assert_eq!(who(Some("Café Süd #2"), id), "Café Süd #2 (9f3a01cd77ab)");
        assert_eq!(who(None, id), "9f3a01cd77ab");
        assert_eq!(who(Some(" \u{200b}"), id), "\"\\u{200b}\" (9f3a01cd77ab)");
        // A name that pretends to be another device, an id or a row.
        assert_eq!(
            who(Some("pump-house (0123456789ab)"), id),
            "\"pump-house (0123456789ab)\" (9f3a01cd77ab)"
        );
        assert_eq!(
            who(Some("0123456789ab"), id),
            "\"0123456789ab\" (9f3a01cd77ab)"
        );
        assert_eq!(
            who(Some("a\" (0123456789ab)\nb"), id),
            "\"a' (0123456789ab)\\nb\" (9f3a01cd77ab)"
        );
        let long = who(Some(&"x".repeat(500)), id);
        assert!(long.ends_with("x… (9f3a01cd77ab)") && long.chars().count() < 60);
    }

    #[test]
    fn long_data_is_cut_visibly() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }

    #[test]
    fn ages_read_like_a_person_says_them() {
        assert_eq!(span(12_300), "12 s");
        assert_eq!(span(3 * 3_600_000), "3 h");
        assert_eq!(age(5_000, 25_000), "in 20 s");
        assert_eq!(age(25_000, 5_000), "20 s");
        assert_eq!(moment(0), "1970-01-01 00:00:00.000Z");
    }

    #[test]
    fn pairs_are_scalars_or_text() {
        assert_eq!(
            parse_pair("durationSec=10").unwrap(),
            ("durationSec".into(), 10.into())
        );
        assert_eq!(parse_pair("on=true").unwrap().1, Value::Bool(true));
        assert_eq!(parse_pair("a=b=c").unwrap().1, Value::from("b=c"));
        assert_eq!(parse_pair("a=[1]").unwrap().1, Value::from("[1]"));
        assert!(parse_pair("novalue").is_err() && parse_pair("=x").is_err());
    }
}
