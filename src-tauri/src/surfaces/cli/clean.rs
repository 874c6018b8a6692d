//! Text of others made safe to print. Pure.
//!
//! Text from outside passes [`clean`] before it reaches a terminal, so that a name on the mesh cannot
//! move the cursor, recolour a line or reverse its reading order.

use serde_json::Value;

fn is_bidi(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether a character is drawn as a blank, or ends a line.
pub(super) fn is_blank(c: char) -> bool {
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
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || is_bidi(c)
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text without control characters, bidi marks and what is not seen; whatever is drawn as a blank
/// becomes a space.
pub(super) fn clean(text: &str) -> String {
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
pub(super) fn visible(text: &str, chars: usize) -> String {
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
pub(super) fn exact_pairs(params: &Value) -> String {
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
pub(super) fn line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON text in which what hides, moves or turns something is written as an escape.
pub(super) fn json_safe(json: &str) -> String {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

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
}
