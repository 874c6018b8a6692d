//! One value set in the text of a `config.toml`. Everything else in it, comments and order too, stays as it is; a key that
//! the documented file has as a comment is switched on in its place. The result is read as a node reads it before it is given.

use std::ops::Range;
use std::path::PathBuf;

use toml::Table;
use toml::de::{DeTable, DeValue};

use super::keys::{known, lists, no_such_key};
use super::{ConfigError, RawConfig, value};

/// The text with `key` set to `given`, which is written as TOML, or as plain words where a text is wanted.
///
/// # Errors
/// [`ConfigError`]: no such key, a value that does not fit, or a file that was wrong before.
pub fn set(text: &str, path: &str, key: &str, given: &str) -> Result<String, ConfigError> {
    let (section, name) = match key.split_once('.') {
        Some((section, name)) => (section, name),
        None => ("", key),
    };
    if !known(section).iter().any(|known| known == name) {
        return Err(no_such_key(key));
    }
    if section.is_empty() && lists().contains(&name) {
        let why = format!("it is a list of tables, [[{name}]]: write it into {path}");
        return Err(value(key, why));
    }
    if section.is_empty() && !known(name).is_empty() {
        return Err(value(
            key,
            format!("it is a table: name a key of it, as in {name}.KEY"),
        ));
    }
    // A file that is wrong already is told as it stands.
    RawConfig::parse(text, path)?;
    let mut first = None;
    for literal in literals(given) {
        let placed = place(text, (section, name), &literal).ok_or_else(|| {
            value(
                key,
                format!("it cannot be set in {path} as that is written: write it there"),
            )
        })?;
        let read = RawConfig::parse(&placed, path).map_err(|error| plain(key, error));
        match read.and_then(|raw| raw.resolve(PathBuf::new())) {
            Ok(_) => return Ok(placed),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    Err(first.unwrap_or_else(|| value(key, "no value was given")))
}

/// The text with tables behind everything else.
///
/// # Errors
/// [`ConfigError`]: a file that was wrong before, or would be with them.
pub fn append(text: &str, path: &str, tables: &str) -> Result<String, ConfigError> {
    RawConfig::parse(text, path)?;
    let cut = match text {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let placed = format!("{text}{cut}{tables}");
    RawConfig::parse(&placed, path).and_then(|raw| raw.resolve(PathBuf::new()))?;
    Ok(placed)
}

/// The error without the place in a file that was never written.
fn plain(key: &str, error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Parse { source, .. } => value(key, super::in_words(source.message())),
        other => other,
    }
}

/// What a value may mean, likeliest first: TOML, or plain words.
pub(super) fn literals(given: &str) -> Vec<String> {
    let given = given.trim();
    let line = format!("v = {given}\n");
    let one = DeTable::parse(&line).is_ok_and(|table| table.get_ref().len() == 1);
    let toml = (one && !given.contains('\n') && !given.is_empty()).then(|| given.to_owned());
    let words = toml::Value::String(given.to_owned()).to_string();
    toml.into_iter().chain([words]).collect()
}

/// The text with the key set; `None` where it cannot be without changing anything else.
fn place(text: &str, key: (&str, &str), literal: &str) -> Option<String> {
    let mut wanted: Table = text.parse().ok()?;
    let set: Table = format!("v = {literal}").parse().ok()?;
    let set = set.get("v")?.clone();
    let (section, name) = key;
    let table = match section.is_empty() {
        true => &mut wanted,
        false => wanted
            .entry(section)
            .or_insert_with(|| Table::new().into())
            .as_table_mut()?,
    };
    table.insert(name.to_owned(), set);
    let ways = [replaced, switched_on, inserted];
    let mut tried = ways.iter().filter_map(|way| way(text, key, literal));
    tried.find(|placed| placed.parse::<Table>().ok().as_ref() == Some(&wanted))
}

/// In the place of the value that is there.
fn replaced(text: &str, (section, name): (&str, &str), literal: &str) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let at = |table: &DeTable<'_>| Some(table.get(name)?.span());
    let span = match section.is_empty() {
        true => at(table.get_ref())?,
        false => match table.get_ref().get(section)?.get_ref() {
            DeValue::Table(inner) => at(inner)?,
            _ => return None,
        },
    };
    Some(spliced(text, span, literal))
}

/// In the place of a comment that shows the key, as the documented file has them.
fn switched_on(text: &str, (section, name): (&str, &str), literal: &str) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let header = |line: &str| {
        let line = line.strip_prefix('#').unwrap_or(line);
        line.starts_with('[').then(|| line.trim_end().to_owned())
    };
    let begin = match section.is_empty() {
        true => 0,
        false => {
            let wanted = format!("[{section}]");
            let found = lines
                .iter()
                .position(|line| header(line).is_some_and(|header| header.starts_with(&wanted)))?;
            if let Some(on) = lines[found].strip_prefix('#') {
                lines[found] = on.to_owned();
            }
            found + 1
        }
    };
    let shown = format!("#{name} = ");
    let end = lines
        .iter()
        .skip(begin)
        .position(|line| header(line).is_some());
    let end = end.map_or(lines.len(), |end| begin + end);
    let at = lines
        .get(begin..end)?
        .iter()
        .position(|line| line.starts_with(&shown))?;
    // One that goes on over several lines stays, and the key stands before it.
    let whole = lines[begin + at]
        .trim_start_matches('#')
        .parse::<Table>()
        .is_ok();
    let line = format!("{name} = {literal}\n");
    match whole {
        true => lines[begin + at] = line,
        false => lines.insert(begin + at, line),
    }
    Some(lines.concat())
}

/// After the other keys of its table; in a table of its own at the end where there is none.
fn inserted(text: &str, (section, name): (&str, &str), literal: &str) -> Option<String> {
    let line = format!("{name} = {literal}\n");
    if !section.is_empty() {
        let header = format!("[{section}]");
        let mut end = 0;
        for old in text.split_inclusive('\n') {
            end += old.len();
            if old.trim_start().starts_with(&header) {
                let cut = if old.ends_with('\n') { "" } else { "\n" };
                return Some(spliced(text, end..end, &format!("{cut}{line}")));
            }
        }
        let cut = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        return Some(format!("{text}{cut}\n{header}\n{line}"));
    }
    let table = DeTable::parse(text).ok()?;
    let plain = table.get_ref().iter().filter(|(_, value)| {
        let value = value.get_ref();
        !matches!(value, DeValue::Table(_)) && !is_tables(value)
    });
    let last = plain.map(|(_, value)| value.span().end).max();
    let at = match last {
        Some(end) => {
            end + text[end..]
                .find('\n')
                .map_or(text[end..].len(), |at| at + 1)
        }
        None => 0,
    };
    let cut = match text[..at].ends_with('\n') || at == 0 {
        true => "",
        false => "\n",
    };
    Some(spliced(text, at..at, &format!("{cut}{line}")))
}

fn is_tables(value: &DeValue<'_>) -> bool {
    let DeValue::Array(all) = value else {
        return false;
    };
    let mut items = all.iter();
    items.any(|one| matches!(one.get_ref(), DeValue::Table(_)))
}

fn spliced(text: &str, at: Range<usize>, piece: &str) -> String {
    let (before, after) = (text.get(..at.start), text.get(at.end..));
    [before.unwrap_or_default(), piece, after.unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../config.example.toml");

    fn put(text: &str, key: &str, value: &str) -> String {
        set(text, "config.toml", key, value).unwrap()
    }

    fn refused(text: &str, key: &str, value: &str) -> String {
        let refused = set(text, "config.toml", key, value);
        refused
            .map(|placed| panic!("taken: {placed}"))
            .unwrap_err()
            .to_string()
    }

    /// The lines that are in one text and not in the other.
    fn changed(before: &str, after: &str) -> Vec<String> {
        let gone = before
            .lines()
            .filter(|line| !after.lines().any(|l| l == *line));
        let new = after
            .lines()
            .filter(|line| !before.lines().any(|l| l == *line));
        let gone = gone.map(|line| format!("- {line}"));
        gone.chain(new.map(|line| format!("+ {line}"))).collect()
    }

    #[test]
    fn a_value_is_set_and_everything_else_stays_byte_for_byte() {
        let text =
            "# mine\nport = 1 # why\n\n  name = 'a'\n[store] # s\n# m\nkeep_frames = 300000\n";
        let text = put(text, "port", "2");
        let text = put(&text, "store.keep_frames", "400000");
        let text = put(&text, "store.keep_readings_days", "30");
        assert_eq!(
            put(&text, "role", "field"),
            "# mine\nport = 2 # why\n\n  name = 'a'\nrole = \"field\"\n[store] # s\nkeep_readings_days = 30\n# m\nkeep_frames = 400000\n"
        );
        assert_eq!(put("", "port", "1"), "port = 1\n");
        assert_eq!(
            put("[store]", "store.keep_readings_days", "30"),
            "[store]\nkeep_readings_days = 30\n"
        );
        assert_eq!(
            put("port = 1", "privacy.zones", "['bed']"),
            "port = 1\n\n[privacy]\nzones = ['bed']\n"
        );
        assert_eq!(
            put(
                "store.keep_frames = 300000\n",
                "store.keep_frames",
                "400000"
            ),
            "store.keep_frames = 400000\n"
        );
    }

    #[test]
    fn keys_of_the_documented_file_are_switched_on_in_their_place() {
        for (key, value, lines) in [
            ("port", "1234", &["- #port = 18789", "+ port = 1234"][..]),
            (
                "name",
                "barn",
                &["- name = \"field-1\"", "+ name = \"barn\""],
            ),
            (
                "store.keep_readings_days",
                "30",
                &[
                    "- #[store]",
                    "- #keep_readings_days = 90",
                    "+ [store]",
                    "+ keep_readings_days = 30",
                ],
            ),
            (
                "inference.edge_first",
                "true",
                &[
                    "- #[inference]",
                    "- #edge_first = false",
                    "+ [inference]",
                    "+ edge_first = true",
                ],
            ),
        ] {
            assert_eq!(changed(EXAMPLE, &put(EXAMPLE, key, value)), lines, "{key}");
        }
        // Every plain key of the file can be set one after the other, and the file reads each time.
        let mut text = EXAMPLE.to_owned();
        for (key, value) in [
            ("port", "5"),
            ("discovery", "false"),
            ("store.keep_other_days", "50"),
            ("host", "127.0.0.1"),
            ("privacy.zones", "['bed']"),
            ("ping_interval_ms", "2000"),
        ] {
            text = put(&text, key, value);
        }
        assert!(text.contains("\nhost = \"127.0.0.1\"\n"), "{text}");
    }

    #[test]
    fn words_are_texts_and_numbers_are_what_is_wanted() {
        assert_eq!(put("", "name", "42"), "name = \"42\"\n");
        assert_eq!(put("", "name", "a \"b\" \\"), "name = 'a \"b\" \\'\n");
        assert_eq!(put("", "discovery", "false"), "discovery = false\n");
        assert!(put("", "capabilities", "['sensor:a:b']").contains("'sensor:a:b'"));
    }

    #[test]
    fn what_would_not_start_a_node_is_refused_with_what_would() {
        for (key, value, words) in [
            ("prot", "1", "did you mean port?"),
            ("stroe.keep_frames", "1", "did you mean store.keep_frames?"),
            ("store.keep_frame", "1", "did you mean store.keep_frames?"),
            ("port", "99999", "0 to 65535"),
            ("port", "many", "0 to 65535"),
            ("role", "boss", "boss"),
            ("sensor_interval_ms", "1", "from 50"),
            ("device", "x", "list of tables"),
            ("store", "x", "store.KEY"),
            ("name", "", "1 to 128"),
            ("name", "'a'\nport = 1", "control characters"),
        ] {
            let said = refused("", key, value);
            assert!(said.contains(words), "{key} = {value}: {said}");
        }
        assert!(refused("nmae = 1\n", "port", "1").contains("line 1"));
        assert!(
            refused(
                "store = { keep_frames = 300000 }",
                "store.keep_other_days",
                "50"
            )
            .contains("write it there")
        );
    }
}
