//! Text from outside, made fit to be shown on one line.

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

/// Whether the character changes the direction of what follows (UAX #9).
pub fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn nothing_that_moves_other_text_is_left() {
        assert_eq!(one_line("a\u{202e}b\nc\u{7}d\u{2067}", 9), "abcd");
        assert_eq!(one_line("ärger", 2), "är");
    }
}
