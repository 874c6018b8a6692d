//! A small reader of Rust sources: blanks out comments and literals, cuts the rest into tokens and
//! collects every path with the module it stands in.
//!
//! It is no parser and knows no types; what it finds is what is written. That is enough for the
//! rules, which are about what a file names.

/// One path as written, for example `super::base::TimeMs`, with a use tree already spread out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The segments, root first. A glob import ends in `*`.
    pub segments: Vec<String>,
    /// The inline modules the path stands in, outermost first.
    pub inside: Vec<String>,
    /// Whether it stands in code that only tests compile.
    pub in_test: bool,
    /// The line, counted from 1.
    pub line: usize,
}

/// One token: a word, `::`, or a single other character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token's text.
    pub text: String,
    /// The line, counted from 1.
    pub line: usize,
}

/// Replaces comments and the contents of literals with spaces; line breaks stay where they are.
pub fn blank(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end > at {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        } else if is_word(chars[at]) {
            // A whole word at once, so that the `r` of `for` does not look like a raw string.
            while at < chars.len() && is_word(chars[at]) {
                out.push(chars[at]);
                at += 1;
            }
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts there.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    match chars[at] {
        '/' if next(1) == '/' => line_end(chars, at),
        '/' if next(1) == '*' => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'b' | 'c' if next(1) == '"' => string_end(chars, at + 2),
        'b' if next(1) == '\'' => char_end(chars, at + 1),
        'b' | 'c' if next(1) == 'r' => raw_string_end(chars, at, at + 2),
        'r' => raw_string_end(chars, at, at + 1),
        '\'' => char_end(chars, at),
        _ => at,
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|&c| c == '\n')
        .map_or(chars.len(), |offset| at + offset)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut here = at;
    while here + 1 < chars.len() {
        match (chars[here], chars[here + 1]) {
            ('/', '*') => (depth, here) = (depth + 1, here + 2),
            ('*', '/') => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
        if depth == 0 {
            return here;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], start: usize, mut at: usize) -> usize {
    let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return start; // a raw identifier or an ordinary word
    }
    at += 1;
    while at < chars.len() {
        let closed = chars[at] == '"'
            && chars[at + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes;
        if closed {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

/// A character literal, or nothing at all if the quote opens a lifetime.
fn char_end(chars: &[char], quote: usize) -> usize {
    match (chars.get(quote + 1), chars.get(quote + 2)) {
        (Some('\\'), Some(_)) => {
            let from = quote + 3;
            let closing = chars
                .get(from..)
                .and_then(|rest| rest.iter().position(|&c| c == '\''));
            closing.map_or(chars.len(), |offset| from + offset + 1)
        }
        (Some(_), Some('\'')) => quote + 3,
        _ => quote,
    }
}

/// Cuts blanked source into tokens.
pub fn tokens(blanked: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (index, text) in blanked.lines().enumerate() {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            if is_word(chars[at]) {
                while at < chars.len() && is_word(chars[at]) {
                    at += 1;
                }
            } else if chars[at..].starts_with(&[':', ':']) {
                at += 2;
            } else {
                at += 1;
                if chars[start].is_whitespace() {
                    continue;
                }
            }
            out.push(Token {
                text: chars[start..at].iter().collect(),
                line: index + 1,
            });
        }
    }
    out
}

/// Every path in the tokens that has at least two segments, and every one-segment `use`.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    let mut modules: Vec<(String, usize, bool)> = Vec::new();
    let mut depth = 0_usize;
    let mut test_attribute = false;
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "#" if (1..7)
                .map(|offset| text(at + offset))
                .eq(["[", "cfg", "(", "test", ")", "]"]) =>
            {
                test_attribute = true;
                at += 7;
                continue;
            }
            // An item that is no module: the attribute was its own.
            ";" => test_attribute = false,
            "mod" if text(at + 2) == "{" => {
                modules.push((text(at + 1).to_owned(), depth, test_attribute));
                (depth, test_attribute) = (depth + 1, false);
                at += 3;
                continue;
            }
            "{" => (depth, test_attribute) = (depth + 1, false),
            "}" => {
                depth = depth.saturating_sub(1);
                if modules.last().is_some_and(|module| module.1 == depth) {
                    modules.pop();
                }
            }
            word if word.starts_with(is_word) && (at == 0 || !continues(text(at - 1))) => {
                let use_item = at > 0 && (text(at - 1) == "use");
                if text(at + 1) == "::" || use_item {
                    let mut spread = Vec::new();
                    let end = tree(tokens, at, &[], &mut spread);
                    found.extend(spread.into_iter().map(|(segments, line)| Path {
                        segments,
                        inside: modules.iter().map(|module| module.0.clone()).collect(),
                        in_test: modules.iter().any(|module| module.2),
                        line,
                    }));
                    at = end.max(at + 1);
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn continues(previous: &str) -> bool {
    matches!(previous, "::" | ".")
}

/// Reads one path or use tree from `at`; gives the index after it.
fn tree(
    tokens: &[Token],
    at: usize,
    before: &[String],
    out: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut segments = before.to_vec();
    let mut here = at;
    loop {
        if text(here) == "{" {
            here += 1;
            while here < tokens.len() && text(here) != "}" {
                if text(here) == "," {
                    here += 1;
                } else {
                    here = tree(tokens, here, &segments, out).max(here + 1);
                }
            }
            return here + 1;
        }
        let segment = text(here);
        if segment == "*" || segment.starts_with(is_word) {
            // `a::{self}` names `a`.
            if segment != "self" || segments.is_empty() {
                segments.push(segment.to_owned());
            }
        } else {
            break;
        }
        here += 1;
        if text(here) != "::" {
            break;
        }
        here += 1;
    }
    if !segments.is_empty() {
        let line = tokens.get(at).map_or(0, |token| token.line);
        out.push((segments, line));
    }
    // `as name` belongs to the tree.
    if text(here) == "as" { here + 2 } else { here }
}
