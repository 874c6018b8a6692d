//! Text from outside, made fit to be shown and bounded.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

/// The text as names are compared: one Unicode form (NFKC) in small letters, without invisible marks. Two spellings that read
/// alike because letters are composed, wide or of another case are one.
pub fn folded(text: &str) -> String {
    let seen = text.nfkd().filter(|c| !is_unseen(*c));
    // Small letters may decompose in another way than large ones.
    seen.flat_map(char::to_lowercase).nfkc().collect()
}

/// Whether a text may be the name of a person or a thing that people read: one line that shows what it is, without characters that
/// do not show or change the direction of others.
pub fn is_plain_name(text: &str) -> bool {
    let odd = |c: char| c.is_control() || is_unseen(c) || is_direction_mark(c) || is_separator(c);
    !text.trim().is_empty() && !text.chars().any(odd)
}

/// Characters without a shape of their own: joiners, soft hyphens, variation selectors, marks of direction.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The text without control characters and without the marks that change the direction of what
/// follows (UAX #9), cut at `max` characters.
pub fn one_line(text: &str, max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !is_direction_mark(*c) && !is_separator(*c))
        .take(max)
        .collect()
}

/// As [`one_line`], of what others wrote for people to read elsewhere: without characters that do not show, and with each run of
/// blanks as one, so that nothing is pushed out of sight or hidden between letters.
pub fn seen(text: &str, max: usize) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        match c.is_whitespace() || is_blank(c) {
            true if kept.is_empty() || kept.ends_with(' ') => {}
            true => kept.push(' '),
            false if !is_unseen(c) => kept.push(c),
            false => {}
        }
    }
    one_line(kept.trim_end(), max)
}

/// Letters and marks that are drawn as nothing: fillers of Hangul, the empty Braille pattern, a note head and a tag of nothing.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{ffa0}'
            | '\u{1d159}'
    )
}

/// The beginning of a text: at most `max` characters.
pub fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

/// The name among `known` that is spelled most like this one, if one is close: it holds it, or at most a third of its letters
/// differ.
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(&cut(name, CLOSE_CHARS));
    let most = wanted.chars().count().div_ceil(3);
    let far = |other: &str| {
        let other = folded(&cut(other, CLOSE_CHARS));
        match !wanted.is_empty() && other.contains(&wanted) {
            true => 0,
            false => steps(&wanted, &other),
        }
    };
    let each = known.map(|other| (far(other), other));
    let near = each.min_by_key(|(far, _)| *far);
    near.filter(|(far, _)| *far <= most).map(|(_, other)| other)
}

/// The longest part of a name that is compared.
const CLOSE_CHARS: usize = 64;

/// How many letters must be put in, taken out or changed to make one text of the other.
fn steps(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let [corner, above] = pair else { continue };
            let changed = corner + usize::from(x != *y);
            left = changed.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
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
        .filter(|c| *c == '\n' || !c.is_control() && !is_direction_mark(*c) && !is_separator(*c));
    let mut shown: String = fit.by_ref().take(max).collect();
    if fit.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A parser's message on a value of the wrong type, with the expected type in words: `expected u16` becomes `expected a whole
/// number from 0 to 65535`.
pub fn type_in_words(message: &str) -> String {
    let Some((before, wanted)) = message.rsplit_once("expected ") else {
        return message.to_owned();
    };
    let word = |text: &str| text.find([' ', ',', '\n']).unwrap_or(text.len());
    let (name, rest) = wanted.split_at(word(wanted));
    let (words, rest) = match name {
        "u8" | "u16" | "u32" => {
            let max = match name {
                "u8" => u32::from(u8::MAX),
                "u16" => u32::from(u16::MAX),
                _ => u32::MAX,
            };
            (format!("a whole number from 0 to {max}"), rest)
        }
        "u64" | "usize" | "u128" => ("a whole number, zero or more".to_owned(), rest),
        "i8" | "i16" | "i32" | "i64" | "isize" => ("a whole number".to_owned(), rest),
        "f32" | "f64" => ("a number".to_owned(), rest),
        // The name of a type of ours says nothing to a reader.
        "struct" => {
            let rest = rest.trim_start();
            let rest = rest.get(word(rest)..).unwrap_or_default();
            ("a table of names and values".to_owned(), rest)
        }
        "map" => ("a table of names and values".to_owned(), rest),
        _ => return message.to_owned(),
    };
    format!("{before}expected {words}{rest}")
}

/// Whether the character ends a line or a paragraph without being a control character (Unicode Zl and Zp).
fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether the character changes the direction of what follows (UAX #9).
pub fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_shown_without_what_does_not_show() {
        let hidden = "open\u{200b}\u{2060} the\u{3164}\u{3164}valve\u{ad} \u{a0}\u{2003}  now\u{202e}\n\n\tplease \u{2800}";
        assert_eq!(seen(hidden, 100), "open the valve now please");
        assert_eq!(seen("Grüße, 12 °C", 100), "Grüße, 12 °C");
        assert_eq!(seen("abcdef", 3), "abc");
        assert!(is_plain_name("Ada O'Neill-Ł"));
        for odd in [
            "",
            " ",
            "a\u{200d}b",
            "a\u{2066}b",
            "a\u{2028}b",
            "\u{feff}ada",
        ] {
            assert!(!is_plain_name(odd), "{odd:?}");
        }
    }

    #[test]
    fn a_type_is_told_in_words() {
        for (said, words) in [
            (
                "invalid type: string \"x\", expected u16",
                "invalid type: string \"x\", expected a whole number from 0 to 65535",
            ),
            (
                "expected u64 at line 1 column 9",
                "expected a whole number, zero or more at line 1 column 9",
            ),
            (
                "invalid type: integer `1`, expected struct RawRule at line 2",
                "invalid type: integer `1`, expected a table of names and values at line 2",
            ),
            (
                "invalid type: integer `1`, expected struct RawRule",
                "invalid type: integer `1`, expected a table of names and values",
            ),
            ("expected a boolean", "expected a boolean"),
            ("missing field `x`", "missing field `x`"),
        ] {
            assert_eq!(type_in_words(said), words);
        }
    }

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
