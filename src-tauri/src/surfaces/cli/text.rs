//! Text for people: safe to print, aligned, with ages instead of timestamps. Pure.
//!
//! Whatever came from outside passes [`clean`] before it reaches a terminal: a name on the mesh must
//! not move the cursor, recolour a line or reverse its reading order. Nor may it fill a line until the
//! terminal breaks it by itself, which it does at column 0, where our own labels stand: lines are
//! broken here, by columns, and what goes on is indented.

use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;
use unicode_width::UnicodeWidthChar as _;

/// Characters of an id that tables show.
const SHORT_CHARS: usize = 12;

/// Columns that a column of a table keeps, and that a fact's value has, however narrow the terminal is.
const COLUMN_MIN: usize = 4;
const VALUE_MIN: usize = 8;

fn is_bidi(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether a character is drawn as a blank, or ends a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{115f}'
                | '\u{1160}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{ffa0}'
                | '\u{13441}'
                | '\u{13442}'
                | '\u{16fe4}'
                | '\u{1d159}'
        )
}

/// Whether a character changes how its neighbours read, or is not seen at all.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || is_bidi(c)
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text without control characters, bidi marks and what is not seen; whatever is drawn as a blank
/// becomes a space.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            c if is_blank(c) => Some(' '),
            c if is_hidden(c) => None,
            c => Some(c),
        })
        .collect()
}

/// The text with every character that hides, moves or turns something written out as an escape, and
/// the number of characters that are left out behind the first `chars`.
pub fn visible(text: &str, chars: usize) -> String {
    let mut out = String::new();
    let mut all = text.chars();
    for c in all.by_ref().take(chars) {
        match is_hidden(c) || (is_blank(c) && c != ' ') {
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

/// JSON text in which what hides, moves or turns something is written as an escape.
pub fn json_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if !matches!(c, '\n' | ' ') && (is_hidden(c) || is_blank(c)) {
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

/// The columns a character takes on a terminal. One that combines with the one before it counts too:
/// not every terminal draws it there.
fn columns_of(c: char) -> usize {
    c.width().unwrap_or_default().max(1)
}

fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// The text followed by spaces up to `width` columns.
fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Breaks text between words into lines of at most `width` columns; a longer word is broken too.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split_whitespace() {
        let apart = usize::from(used > 0);
        if used + apart + columns(word) <= width {
            line.push_str(&" ".repeat(apart));
            used += apart;
        } else if used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for c in word.chars() {
            let wide = columns_of(c);
            if used > 0 && used + wide > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
    }
    lines.push(line);
    lines
}

/// As [`wrap`], all lines but the first indented; a text that fits stays as it is.
pub fn hang(text: &str, width: usize) -> Vec<String> {
    if columns(text) <= width {
        return vec![text.to_owned()];
    }
    let lines = wrap(text, width.saturating_sub(2)).into_iter();
    lines
        .enumerate()
        .map(|(n, part)| match n {
            0 => part,
            _ => format!("  {part}"),
        })
        .collect()
}

/// The widths of columns so that a row fits into `width`: the widest ones give way.
fn fit(mut widths: Vec<usize>, width: usize) -> Vec<usize> {
    let gaps = 2 * widths.len().saturating_sub(1);
    let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
    while over > 0 {
        match widths.iter_mut().max() {
            Some(widest) if *widest > COLUMN_MIN => *widest -= 1,
            _ => break,
        }
        over -= 1;
    }
    widths
}

/// Rows in aligned columns under a heading. Cells are cleaned, and broken where a row would be wider
/// than `width`.
pub fn table(head: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let head = head.iter().map(|h| (*h).to_owned()).collect();
    let cells: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().map(|row| row.iter().map(|c| line(c)).collect()))
        .collect();
    let wide = |column: usize| {
        let all = cells.iter().filter_map(|r| r.get(column));
        all.map(|c| columns(c)).max().unwrap_or(0)
    };
    let widths = fit((0..cells[0].len()).map(wide).collect(), width);
    let mut out = String::new();
    for row in &cells {
        // The first column begins where our own lines do, so what goes on there is indented.
        let parts: Vec<Vec<String>> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(n, (cell, w))| {
                if n == 0 {
                    hang(cell, *w)
                } else {
                    wrap(cell, *w)
                }
            })
            .collect();
        for n in 0..parts.iter().map(Vec::len).max().unwrap_or(0) {
            let shown: Vec<String> = parts
                .iter()
                .zip(&widths)
                .map(|(part, w)| padded(part.get(n).map_or("", String::as_str), *w))
                .collect();
            out.push_str(shown.join("  ").trim_end());
            out.push('\n');
        }
    }
    out
}

/// Lines of `label: value`, values aligned; empty values are left out.
pub fn facts(lines: &[(&str, String)], width: usize) -> String {
    let labels = lines.iter().map(|(label, _)| columns(label));
    let wide = labels.max().unwrap_or(0) + 2;
    let room = width.saturating_sub(wide + 1).max(VALUE_MIN);
    let mut out = String::new();
    for (label, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        for (n, part) in wrap(&clean(text), room).iter().enumerate() {
            let lead = if n == 0 {
                format!("{label}:")
            } else {
                String::new()
            };
            out.push_str(format!("{} {part}", padded(&lead, wide)).trim_end());
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

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

    /// What a stranger may write: blanks of all kinds, wide and combining characters, our own labels.
    fn foreign() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            any::<String>(),
            Just("needs:".to_owned()),
            Just("EVIDENCE  SAYS".to_owned()),
            (
                "[a\u{2800}\u{3164}\u{ad}\u{a0}\u{3000}漢🙂\u{301}\u{1160} ]",
                1..200usize
            )
                .prop_map(|(c, n)| c.repeat(n)),
        ];
        proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    /// Without our own ones, the way a person sees it.
    fn looks_blank(c: char) -> bool {
        c == ' ' || is_blank(c) || is_hidden(c)
    }

    proptest! {
        #[test]
        fn no_line_with_foreign_text_is_wider_than_the_terminal_or_begins_at_its_edge(
            text in foreign(),
            cells in proptest::collection::vec(foreign(), 7),
            width in 40..120usize,
        ) {
            let said = visible(&text, 2_000);
            let fits = |out: &str| out.lines().all(|l| columns(l) <= width);
            for text in [&text, &said] {
                let lines = hang(&line(text), width);
                prop_assert!(lines.iter().all(|l| columns(l) <= width), "{lines:?}");
                prop_assert!(lines.iter().skip(1).all(|l| l.starts_with("  ")), "{lines:?}");

                let shown = facts(&[("needs", "L2".to_owned()), ("asked by", text.clone())], width);
                prop_assert!(fits(&shown), "{shown}");
                let ours = |l: &str| l.starts_with("asked by:") || l.starts_with("           ");
                prop_assert!(shown.lines().skip(1).all(ours), "{shown}");
                prop_assert!(!shown.chars().any(|c| !matches!(c, ' ' | '\n') && looks_blank(c)));
            }
            let mut row: Vec<String> = cells.iter().map(|c| line(c)).collect();
            row[0] = "9a33ff01".to_owned();
            let head = ["EVIDENCE", "SAYS", "AGE THEN", "AGE NOW", "ORIGIN", "TIER", "SIGNATURE"];
            let shown = table(&head, &[row, cells.clone()], width);
            prop_assert!(fits(&shown), "{shown}");
            let own = shown.lines().filter(|l| !l.starts_with(' ')).count();
            prop_assert!(own <= 3, "a cell of a table begins a row: {shown}");
        }
    }

    #[test]
    fn blanks_of_all_kinds_make_no_word_and_wide_characters_count_twice() {
        let blank = "routine\u{2800}\u{3164}\u{ffa0}\u{3000}needs:";
        assert_eq!(line(blank), "routine needs:");
        assert_eq!(
            visible(blank, 99),
            "routine\\u{2800}\\u{3164}\\u{ffa0}\\u{3000}needs:"
        );
        assert!(json_safe(&format!("\"{blank}\"")).is_ascii());
        assert_eq!(wrap("漢漢漢漢漢", 5), ["漢漢", "漢漢", "漢"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        let rows = [
            vec!["漢漢".to_owned(), "x".to_owned()],
            vec!["a".to_owned(), "y".to_owned()],
        ];
        assert_eq!(
            table(&["ID", "N"], &rows, 80),
            "ID    N\n漢漢  x\na     y\n"
        );
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
