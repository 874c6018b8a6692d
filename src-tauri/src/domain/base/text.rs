//! Text from outside, made fit to be shown and bounded.

use serde_json::Value;

/// The text without control characters and without the marks that change the direction of what
/// follows (UAX #9), cut at `max` characters.
pub fn one_line(text: &str, max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !is_direction_mark(*c))
        .take(max)
        .collect()
}

/// The beginning of a text: at most `max` characters.
pub fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

/// The value with every text in it cut at `max` characters and made fit to be shown; a text may keep its
/// line breaks.
pub fn bounded(value: Value, max: usize) -> Value {
    match value {
        Value::String(text) => Value::String(shown(&text, max)),
        Value::Array(list) => list.into_iter().map(|v| bounded(v, max)).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, v)| (shown(&name, max), bounded(v, max)))
            .collect(),
        other => other,
    }
}

/// As [`one_line`], but line breaks stay; `…` at the end says that it was cut.
pub fn shown(text: &str, max: usize) -> String {
    let mut fit = text
        .chars()
        .filter(|c| *c == '\n' || !c.is_control() && !is_direction_mark(*c));
    let mut shown: String = fit.by_ref().take(max).collect();
    if fit.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Whether the character changes the direction of what follows (UAX #9).
pub fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_other_text_is_left() {
        assert_eq!(one_line("a\u{202e}b\nc\u{7}d\u{2067}", 9), "abcd");
        assert_eq!(one_line("ärger", 2), "är");
    }

    #[test]
    fn a_strangers_long_name_is_cut_wherever_it_stands() {
        let long = "n\u{202e}".repeat(60_000);
        let value = serde_json::json!({"names": [long.clone()], long.clone(): 7, "code": "X"});
        let cut = bounded(value, 100);
        assert!(cut.to_string().len() < 400, "{cut}");
        assert_eq!(cut["code"], "X");
        assert_eq!(cut["names"][0], format!("{}…", "n".repeat(100)));
        assert_eq!(shown("a\nb", 3), "a\nb");
    }
}
