//! A number from what a device says as text: alone, or at a place in a JSON document.

use serde_json::Value;

/// The number in a text of at most `limit` bytes: a plain number, `true`, `false`, `on` or `off`; where `pointer` is given
/// (RFC 6901), at that place of the JSON document that the text is.
///
/// # Errors
/// The fault, in a sentence that shows no more than its beginning.
pub(super) fn number(text: &[u8], pointer: Option<&str>, limit: usize) -> Result<f64, String> {
    if text.len() > limit {
        let (len, most) = (text.len(), limit);
        return Err(format!("it has {len} bytes, at most {most} are read"));
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is no UTF-8 text".to_owned())?;
    let found = match pointer {
        None => plain(text.trim()).ok_or_else(|| format!("{} is no number", shown(text))),
        Some(pointer) => at(text, pointer),
    }?;
    match found.is_finite() {
        true => Ok(found),
        false => Err(format!("{} is no finite number", shown(text))),
    }
}

/// Checks a JSON pointer as the configuration gives it.
///
/// # Errors
/// Why it is none.
pub(super) fn check_pointer(pointer: &str) -> Result<(), String> {
    match pointer.is_empty() || pointer.starts_with('/') {
        true => Ok(()),
        false => Err("json: must be a JSON pointer such as /soil/moisture".to_owned()),
    }
}

/// The word in a text, as a device says its state: all of it without the space around, or what is at a place of the JSON
/// document that it is.
pub(super) fn word(text: &[u8], pointer: Option<&str>) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let Some(pointer) = pointer else {
        return Some(text.trim().to_owned());
    };
    let document: Value = serde_json::from_str(text).ok()?;
    match document.pointer(pointer)? {
        Value::String(text) => Some(text.trim().to_owned()),
        plain @ (Value::Bool(_) | Value::Number(_)) => Some(plain.to_string()),
        _ => None,
    }
}

fn plain(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" => Some(1.0),
        "false" | "off" => Some(0.0),
        other => other.parse().ok(),
    }
}

fn at(text: &str, pointer: &str) -> Result<f64, String> {
    let found = number_in(&document(text)?, pointer)
        .map_err(|_| format!("{} is no number at {pointer}", shown(text)))?;
    found.ok_or_else(|| format!("{} has nothing at {pointer}", shown(text)))
}

/// The JSON document that a text is.
///
/// # Errors
/// That it is none, with its beginning.
pub(super) fn document(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|_| format!("{} is no JSON", shown(text)))
}

/// The number at a place of a JSON document; `None` where there is nothing or `null`.
///
/// # Errors
/// What stands there instead, cut.
pub(super) fn number_in(document: &Value, pointer: &str) -> Result<Option<f64>, String> {
    let number = match document.pointer(pointer) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::Bool(is)) => Some(f64::from(u8::from(*is))),
        Some(Value::String(text)) => plain(text.trim()),
        Some(_) => None,
    };
    let found = document
        .pointer(pointer)
        .map_or_else(String::new, Value::to_string);
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(format!("{} is no number", shown(&found))),
    }
}

/// Times scale, plus offset, without the rounding error of a scale such as 0.1: fifteen digits count, from the first one
/// of the larger part. With scale 1 and offset 0 it stays as it is.
#[allow(clippy::float_cmp)]
pub(super) fn scaled(raw: f64, scale: f64, offset: f64) -> f64 {
    if scale == 1.0 && offset == 0.0 {
        return raw;
    }
    let product = raw * scale;
    let value = product + offset;
    let first = product.abs().max(offset.abs()).log10().floor();
    let decimals = 14.0 - first;
    // Outside of this there are no digits behind the point, or no number.
    if !(0.0..=320.0).contains(&decimals) {
        return value;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let decimals = decimals as usize;
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

/// The beginning of a text, as one line.
fn shown(text: &str) -> String {
    const SHOWN: usize = 40;
    let line = crate::domain::base::text::one_line(text.trim(), SHOWN);
    format!("{line:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_found_alone_and_in_json() {
        for (text, pointer, found) in [
            ("41\n", None, 41.0),
            (" -3.5e1 ", None, -35.0),
            ("ON", None, 1.0),
            ("false", None, 0.0),
            (
                r#"{"soil":{"moisture":21.5}}"#,
                Some("/soil/moisture"),
                21.5,
            ),
            (r#"[{"v":"7"}]"#, Some("/0/v"), 7.0),
            (r#"{"open":true}"#, Some("/open"), 1.0),
            ("12", Some(""), 12.0),
        ] {
            assert_eq!(number(text.as_bytes(), pointer, 100), Ok(found), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_told_and_shown() {
        for (text, pointer, why) in [
            (&b"wet"[..], None, "\"wet\" is no number"),
            (b"", None, "\"\" is no number"),
            (b"NaN", None, "\"NaN\" is no finite number"),
            (b"1e999", None, "\"1e999\" is no finite number"),
            (b"\xff\xfe", None, "it is no UTF-8 text"),
            (b"{", Some("/a"), "\"{\" is no JSON"),
            (b"{}", Some("/a"), "\"{}\" has nothing at /a"),
            (
                b"{\"a\":[]}",
                Some("/a"),
                "\"{\\\"a\\\":[]}\" is no number at /a",
            ),
        ] {
            assert_eq!(number(text, pointer, 100).unwrap_err(), why);
        }
        let long = number(&[b'1'; 101], None, 100).unwrap_err();
        assert_eq!(long, "it has 101 bytes, at most 100 are read");
        let deep = "[".repeat(100);
        assert!(number(deep.as_bytes(), Some("/a"), 100).is_err());
    }

    #[test]
    fn a_state_is_read_from_text_or_json() {
        assert_eq!(word(b" OFF\n", None).as_deref(), Some("OFF"));
        let json = br#"{"relay":[{"on":false}],"s":"OFF"}"#;
        assert_eq!(word(json, Some("/relay/0/on")).as_deref(), Some("false"));
        assert_eq!(word(json, Some("/s")).as_deref(), Some("OFF"));
        for odd in [&b"\xff"[..], b"{", b"{}"] {
            assert_eq!(word(odd, Some("/s")), None);
        }
    }

    #[test]
    fn small_and_long_numbers_keep_their_digits() {
        for (raw, scale, offset, value) in [
            (3.0, 0.1, 0.0, 0.3),
            (4.7, 1e-12, 0.0, 4.7e-12),
            (1.234_567_890_123, 1e-6, 0.0, 1.234_567_890_123e-6),
            (273.25, 1.0, -273.15, 0.1),
            (1.1, 3.0, 0.0, 3.3),
            (0.0, 0.1, 0.0, 0.0),
            (1_234_567.891, 0.1, 0.0, 123_456.789_1),
            (9e15, 3.0, 0.0, 2.7e16),
            (0.123_456_789_012_345_67, 1.0, 0.0, 0.123_456_789_012_345_67),
        ] {
            assert_eq!(
                scaled(raw, scale, offset).to_bits(),
                f64::to_bits(value),
                "{raw} {scale} {offset}"
            );
        }
    }
}
