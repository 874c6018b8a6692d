//! Lines, tables and lists of facts for a terminal of any width. Pure.
//!
//! A line that a terminal breaks by itself goes on at column 0, where our own labels stand. Lines are
//! therefore broken here, by columns, and the parts after the first are indented.

use unicode_width::UnicodeWidthChar as _;

use super::clean::{clean, line};

/// Columns that a column of a table keeps, and that a fact's value has, however narrow the terminal is.
const COLUMN_MIN: usize = 4;
const VALUE_MIN: usize = 8;

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
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
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
pub(super) fn hang(text: &str, width: usize) -> Vec<String> {
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
pub(super) fn table(head: &[&str], rows: &[Vec<String>], width: usize) -> String {
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
pub(super) fn facts(lines: &[(&str, String)], width: usize) -> String {
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
    use proptest::prelude::*;

    use super::super::clean::{is_blank, is_hidden, json_safe, visible};
    use super::*;

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
}
