//! Actuators that an earlier run may have left moving, from a configuration that cannot be used as a whole: each actuator
//! of which the way to the safe state is certain. Bytes that are no text, a value that is not needed and a fault elsewhere
//! in the file hide none. One actuator may be found more than once; the caller chooses.

use std::path::Path;
use std::sync::Arc;

use toml::de::ValueDeserializer;
use toml::{Table, Value};

use super::orders::{self, Order};
use super::registry::Kind;
use super::{Keeper, SharedActuator, exec};
use crate::domain::base::limits::RESCUE_INLINE_LINES;

/// The keys of a configuration whose tables are devices.
const TABLES: [&str; 2] = ["device", "actuator"];

/// The keys that say how, where and by what proof the safe state is reached: a table in which one of them does not
/// read has no certain way there.
const NEEDED: [&str; 38] = [
    "capability",
    "safe",
    "operation",
    "name",
    "argv",
    "actuator",
    "address",
    "serial",
    "baud",
    "parity",
    "stop_bits",
    "unit",
    "write",
    "table",
    "at",
    "value",
    "type",
    "order",
    "function",
    "feedback",
    "broker",
    "ca",
    "user",
    "password",
    "payload",
    "topic",
    "state",
    "json",
    "url",
    "token",
    "method",
    "path",
    "body",
    "text",
    "chip",
    "line",
    "active_low",
    "on",
];

/// The tables of an actuator in which everything is needed.
const WHOLE: [&str; 3] = ["write", "feedback", "state"];

/// The tables of a device in which nothing is needed.
const FREE: &str = "reading";

/// The node whose actuators are looked for.
pub struct Ground<'a> {
    /// Its state directory.
    pub dir: &'a Path,
    /// Tells who it is, and the passwords of its devices.
    pub keeper: &'a Arc<dyn Keeper>,
}

/// The actuators that a configuration file tells of, each with its safe operation alone. Logs which stay as
/// they are.
pub fn rescue(file: &[u8], ground: &Ground<'_>) -> Vec<SharedActuator> {
    let tables = tables(&text(file));
    let all = tables.iter().flat_map(|(kind, table)| orders(*kind, table));
    let uncertain = orders::uncertain(&all.collect::<Vec<_>>());
    let found = tables.into_iter().flat_map(|(kind, table)| {
        way_back(kind, &table, ground).unwrap_or_else(|why| {
            let name = table.get("capability").map(ToString::to_string);
            let name = name.unwrap_or_else(|| "a device".to_owned());
            tracing::error!("{name} stays as it is: its way to the safe state is not known: {why}");
            Vec::new()
        })
    });
    let certain = found.filter(|found| {
        let name = found.capability().as_str();
        let why = uncertain.get(name);
        why.inspect(|why| tracing::error!("{name} stays as it is: {why}"));
        why.is_none()
    });
    certain.collect()
}

/// What the actuators of a table are told, where it reads as a whole.
fn orders(kind: Option<&'static Kind>, table: &Table) -> Vec<Order> {
    let text = Value::Table(table.clone()).to_string();
    let read = |kind: &'static Kind| (kind.read)(ValueDeserializer::parse(&text).ok()?).ok();
    kind.and_then(read)
        .map_or_else(Vec::new, |settings| settings.orders())
}

/// The file as text. Invalid bytes become U+FFFD: it does no harm in a comment, and a command with it is not certain.
fn text(file: &[u8]) -> String {
    let wide = |number: fn([u8; 2]) -> u16| {
        let (pairs, _) = file.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| number(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    let text = match file {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(file).into_owned(),
    };
    let text = text.trim_start_matches('\u{feff}').trim_end_matches('\0');
    let odd = |c: char| c.is_ascii_control() && !"\r\n\t".contains(c);
    text.replace(odd, "\u{fffd}")
}

/// The ways to the safe state of one table. Each kind says them by keys of its own: where one finds them they are certain,
/// under any name of the table.
fn way_back(
    kind: Option<&'static Kind>,
    table: &Table,
    ground: &Ground<'_>,
) -> Result<Vec<SharedActuator>, String> {
    let own = kind.map(|kind| (kind.rescue)(table, ground));
    if let Some(Ok(found)) = &own
        && !found.is_empty()
    {
        return Ok(found.clone());
    }
    let each = Kind::all().filter_map(|kind| (kind.rescue)(table, ground).ok());
    let other = each.into_iter().find(|found| !found.is_empty());
    match (other, own) {
        (Some(found), _) => Ok(found),
        (None, Some(Ok(_))) if table.contains_key("operation") => {
            (exec::KIND.rescue)(table, ground)
        }
        (None, Some(own)) => own,
        (None, None) => (exec::KIND.rescue)(table, ground),
    }
}

/// The devices of a configuration file by their kinds. Where the file as a whole is no TOML, those that are TOML by
/// themselves.
fn tables(text: &str) -> Vec<(Option<&'static Kind>, Table)> {
    // Of the three ways to end a line TOML knows two.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let whole = toml::from_str(text).or_else(|_| toml::from_str(&lines));
    if let Ok(file) = whole {
        return of(&file);
    }
    let read: Vec<Option<Table>> = parts(&lines).iter().map(|part| read(part)).collect();
    let bad = read.iter().filter(|part| part.is_none()).count();
    if bad > 0 {
        tracing::error!(
            "{bad} of the devices in the configuration do not read and stay as they are"
        );
    }
    read.iter().flatten().flat_map(of).collect()
}

/// The place that a line sets for itself and the next ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// A device begins.
    Device,
    /// The device that has begun goes on.
    Within,
    /// Something else begins; also a heading that is cut off: what follows it belongs to no device before it.
    Other,
    /// A key that holds devices, at the top of the file.
    Inline,
    /// None of these.
    Plain,
}

impl Line {
    fn of(line: &str) -> Self {
        let line = line.trim_start();
        if !line.starts_with('[') {
            return match key(line).is_some_and(|key| TABLES.contains(&key)) {
                true => Self::Inline,
                false => Self::Plain,
            };
        }
        let heading = toml::from_str::<Table>(line).unwrap_or_default();
        let mut inner = TABLES.iter().filter_map(|key| heading.get(*key));
        match inner.next().and_then(|value| each(value).next()) {
            None => Self::Other,
            Some(table) if table.is_empty() => Self::Device,
            Some(_) => Self::Within,
        }
    }
}

/// The key that a line gives a value to.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    Some(key.trim().trim_matches(['"', '\'']))
}

/// The tables of a key, be it one or a list of them.
fn each(value: &Value) -> impl Iterator<Item = &Table> {
    let one = value.as_table().into_iter();
    one.chain(
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_table),
    )
}

/// The lines of each device of a file.
fn parts(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut parts: Vec<String> = Vec::new();
    let (mut top, mut inside, mut at) = (true, false, 0);
    while let Some(line) = lines.get(at) {
        let rest = lines.get(at..).unwrap_or_default();
        at += 1;
        match Line::of(line) {
            Line::Device => {
                (top, inside) = (false, true);
                parts.push(String::new());
            }
            Line::Other => (top, inside) = (false, false),
            Line::Inline if top => {
                let part = inline(rest);
                at += part.lines().count().saturating_sub(1);
                parts.push(part);
            }
            Line::Within => top = false,
            Line::Inline | Line::Plain => {}
        }
        if let Some(part) = parts.last_mut().filter(|_| inside) {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// As many of the lines as one key with its value takes; one that does not end is the first line alone.
fn inline(lines: &[&str]) -> String {
    let mut part = String::new();
    for line in lines.iter().take(RESCUE_INLINE_LINES) {
        part.push_str(line);
        part.push('\n');
        if line.contains([']', '}']) && toml::from_str::<Table>(&part).is_ok() {
            return part;
        }
    }
    lines.first().map(ToString::to_string).unwrap_or_default()
}

/// The lines of a device as TOML; if they are none, without the lines that are wrong by themselves and not needed.
fn read(part: &str) -> Option<Table> {
    if let Ok(table) = toml::from_str(part) {
        return Some(table);
    }
    // In a text of several lines a line may be part of a command.
    if part.contains("\"\"\"") || part.contains("'''") {
        return None;
    }
    let reads = |text: &str| toml::from_str::<Table>(text).is_ok();
    let lines: Vec<&str> = part.lines().collect();
    let (mut place, mut kept, mut at) = (Vec::new(), String::new(), 0);
    while let Some(line) = lines.get(at) {
        let mut whole = format!("{line}\n");
        if line.trim_start().starts_with('[') {
            place = path(line);
        } else if !reads(line) {
            whole = inline(lines.get(at..).unwrap_or_default());
            if !reads(&whole) {
                if !is_free(&place, line) {
                    return None;
                }
                whole.clear();
            }
        }
        at += whole.lines().count().max(1);
        kept.push_str(&whole);
    }
    toml::from_str(&kept).ok()
}

/// Whether a line in this place of a device says nothing of a way to the safe state. Where its key does not read that
/// is not known.
fn is_free(place: &[String], line: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else {
        return false;
    };
    let keys = path(&format!("{key} = 0"));
    let any = |of: &[String], all: &[&str]| of.iter().any(|key| all.contains(&key.as_str()));
    let needed = any(place, &WHOLE) || any(&keys, &NEEDED) || any(&keys, &TABLES);
    !keys.is_empty() && (!needed || any(place, &[FREE]))
}

/// The keys of a line, the outermost first; none where it does not read.
fn path(line: &str) -> Vec<String> {
    let read = toml::from_str::<Table>(line).map(Value::Table);
    let (mut path, mut inner) = (Vec::new(), read.as_ref().ok());
    while let Some((key, value)) = inner.and_then(|v| each(v).next()?.iter().next()) {
        path.push(key.clone());
        inner = Some(value);
    }
    path
}

/// The devices of a file that reads, each with its kind where that is known.
fn of(file: &Table) -> Vec<(Option<&'static Kind>, Table)> {
    let all = TABLES
        .iter()
        .filter_map(|key| file.get(*key))
        .flat_map(each);
    let kind = |table: &Table| {
        let named = table.get("kind").or(table.get("driver"));
        Kind::of(named?.as_str()?).ok()
    };
    all.map(|table| (kind(table), table.clone())).collect()
}

#[cfg(test)]
mod tests;
