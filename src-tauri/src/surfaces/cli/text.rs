//! Text for people: safe to print, aligned, with ages instead of timestamps. Pure.
//!
//! Whatever came from outside passes [`clean`] before it reaches a terminal: a name on the mesh must
//! not move the cursor, recolour a line or reverse its reading order.

use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

/// Characters of an id that tables show.
const SHORT_CHARS: usize = 12;

fn is_bidi(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text without control characters, bidi marks and invisible spaces; line breaks and tabs
/// become spaces.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' => Some(' '),
            c if c.is_control() || is_bidi(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Whether a character changes how its neighbours read, or is not seen at all.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || is_bidi(c)
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every character that hides, moves or turns something written out as an escape, and
/// the number of characters that are left out behind the first `chars`.
pub fn visible(text: &str, chars: usize) -> String {
    let mut out = String::new();
    let mut all = text.chars();
    for c in all.by_ref().take(chars) {
        match is_hidden(c) || (c.is_whitespace() && c != ' ') {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    match all.count() {
        0 => out,
        more => format!("{out}… ({more} more characters)"),
    }
}

/// A value exactly as it is: numbers in full, text in quotes unless it is one plain word.
fn exact(value: &Value) -> String {
    let plain = |text: &str| {
        let word = |b: u8| b.is_ascii_alphanumeric() || b"._:/-".contains(&b);
        !text.is_empty() && text.bytes().all(word) && serde_json::from_str::<Value>(text).is_err()
    };
    match value {
        Value::String(text) if plain(text) => text.clone(),
        other => visible(&other.to_string(), usize::MAX),
    }
}

/// The members of an object as `key=value` words, nothing rounded, cut or left out.
pub fn exact_pairs(params: &Value) -> String {
    match params {
        Value::Object(map) => map
            .iter()
            .map(|(key, v)| format!("{}={}", visible(key, usize::MAX), exact(v)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Null => String::new(),
        other => exact(other),
    }
}

/// The text as one clean line, runs of spaces made one.
pub fn line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON text in which control and bidi characters are written as escapes.
pub fn json_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && (c.is_control() || is_bidi(c)) {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The first characters of an id, clean.
pub fn short(id: &str) -> String {
    clean(id).chars().take(SHORT_CHARS).collect()
}

/// A number of bytes as people read it.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{} KiB", n / 1_024),
        n => format!("{}.{} MiB", n / 1_048_576, n % 1_048_576 * 10 / 1_048_576),
    }
}

/// A span in the largest fitting unit, for example `12 s` or `3 h`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// How long `then` is past, or ahead, of `now`.
pub fn age(now: u64, then: u64) -> String {
    if then > now.saturating_add(999) {
        format!("in {}", span(then - now))
    } else {
        span(now.saturating_sub(then))
    }
}

/// A moment in UTC, to the millisecond.
pub fn moment(ms: u64) -> String {
    let form =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanos = i128::from(ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|t| t.format(&form).ok())
        .unwrap_or_else(|| format!("{ms} ms"))
}

/// A JSON value as a person would write it.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => "-".to_owned(),
        Value::Number(n) if n.is_f64() => {
            let shown = format!("{:.2}", n.as_f64().unwrap_or_default());
            shown.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        other => clean(&other.to_string()),
    }
}

/// The members of an object as `key=value` words.
pub fn pairs(params: &Value) -> String {
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
/// What is wrong with it.
pub fn parse_pair(text: &str) -> Result<(String, Value), String> {
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
pub fn said(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; say why in a few words".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

/// Breaks text between words into lines of at most `width` characters; a longer word stays whole.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let fits = lines
            .last()
            .is_some_and(|l| l.chars().count() + 1 + word.chars().count() <= width);
        match lines.last_mut() {
            Some(last) if fits => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// Rows in aligned columns under a heading. Cells are cleaned; the last column breaks between words
/// where the line would be wider than `width`.
pub fn table(head: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let cells: Vec<Vec<String>> = std::iter::once(head.iter().map(|h| (*h).to_owned()).collect())
        .chain(
            rows.iter()
                .map(|row| row.iter().map(|c| clean(c)).collect::<Vec<_>>()),
        )
        .collect();
    let wide = |column: usize| {
        cells
            .iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let last = head.len().saturating_sub(1);
    let widths: Vec<usize> = (0..last).map(wide).collect();
    let indent: usize = widths.iter().map(|w| w + 2).sum();
    let room = width.saturating_sub(indent).max(24);
    let mut out = String::new();
    for row in &cells {
        let mut start = String::new();
        for (cell, w) in row.iter().zip(&widths) {
            start.push_str(cell);
            start.extend(std::iter::repeat_n(' ', w + 2 - cell.chars().count()));
        }
        let tail = row.get(last).map_or("", String::as_str);
        for (n, part) in wrap(tail, room).iter().enumerate() {
            let lead = if n == 0 {
                start.clone()
            } else {
                " ".repeat(indent)
            };
            out.push_str(format!("{lead}{part}").trim_end());
            out.push('\n');
        }
    }
    out
}

/// Lines of `label: value`, values aligned; empty values are left out.
pub fn facts(lines: &[(&str, String)], width: usize) -> String {
    let wide = lines
        .iter()
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0)
        + 2;
    let mut out = String::new();
    for (label, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        let label = format!("{label}:");
        for (n, part) in wrap(&clean(text), width.saturating_sub(wide + 1).max(24))
            .iter()
            .enumerate()
        {
            let lead = if n == 0 { label.as_str() } else { "" };
            out.push_str(format!("{lead:<wide$} {part}").trim_end());
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn bytes_are_read_by_people() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(2_047), "1 KiB");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor_or_turns_the_text() {
        let evil = "ok\u{1b}[2J\u{202e}evil\u{2066}\u{7}\u{9b}31m\r\nnext";
        let shown = clean(evil);
        assert!(
            shown.chars().all(|c| !c.is_control() && !is_bidi(c)),
            "{shown:?}"
        );
        assert!(shown.contains("evil") && shown.contains("next"));
        let json = serde_json::to_string(&evil).unwrap();
        let safe = json_safe(&json);
        assert!(safe.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), evil);
    }

    #[test]
    fn what_hides_in_a_record_is_written_out_and_nothing_is_rounded() {
        let shown = visible("op\u{202e}en\n\u{1b}[2J\u{e0041}x", 100);
        assert_eq!(shown, "op\\u{202e}en\\n\\u{1b}[2J\\u{e0041}x");
        assert_eq!(visible("abcdef", 4), "abcd… (2 more characters)");
        let params = serde_json::json!({"a": 0.001, "b": "10 c=9", "d": "slow", "e": "7"});
        assert_eq!(exact_pairs(&params), "a=0.001 b=\"10 c=9\" d=slow e=\"7\"");
    }

    #[test]
    fn columns_line_up_and_words_stay_whole() {
        let rows = vec![
            vec!["a".to_owned(), "one two three four five six".to_owned()],
            vec!["longer".to_owned(), "x".to_owned()],
        ];
        let shown = table(&["ID", "WHAT"], &rows, 32);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "ID      WHAT");
        assert!(lines[1].starts_with("a       one"));
        assert!(lines[2].starts_with("        "), "{shown}");
        assert_eq!(lines.last(), Some(&"longer  x"));
        assert!(lines.iter().all(|l| l.chars().count() <= 32));
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
