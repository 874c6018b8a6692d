//! Actuators that an earlier run may have left moving, from a configuration that cannot be used as a whole: each actuator
//! of which the way to the safe state is certain. Bytes that are no text, a value that is not needed and a fault elsewhere
//! in the file hide none. One actuator may be found more than once; the caller chooses.

use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::registry::Kind;
use super::{Keeper, SharedActuator, exec};
use crate::domain::base::limits::RESCUE_INLINE_LINES;

/// The keys of a configuration whose tables are devices.
const TABLES: [&str; 2] = ["device", "actuator"];

/// The keys that say how, where and by what proof the safe state is reached: a table in which one of them does not
/// read has no certain way there.
const NEEDED: [&str; 30] = [
    "capability",
    "safe",
    "operation",
    "name",
    "argv",
    "actuator",
    "address",
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
    let found = tables(&text(file)).into_iter().flat_map(|(kind, table)| {
        way_back(kind, &table, ground).unwrap_or_else(|why| {
            let name = table.get("capability").map(ToString::to_string);
            let name = name.unwrap_or_else(|| "a device".to_owned());
            tracing::error!("{name} stays as it is: its way to the safe state is not known: {why}");
            Vec::new()
        })
    });
    found.collect()
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
mod tests {
    use super::super::exec::certain;
    use super::super::tests::NoKeeper;
    use super::*;

    fn safe_commands(file: impl AsRef<[u8]>) -> Vec<String> {
        let read = tables(&text(file.as_ref())).into_iter();
        read.map(|(_, table)| certain(&table)).collect()
    }

    fn actuator(name: &str) -> String {
        format!(
            "[[actuator]] # one\ncapability = \"actuator:{name}\"\nsafe = \"stop\"\n\
             [[actuator.operation]]\nname = \"start\"\nargv = [\"/bin/{name}\", \"on\"]\n\
             [[actuator.operation]]\nname = \"stop\"\nargv = [\"/bin/{name}\", \"off\"]\n"
        )
    }

    #[test]
    fn a_fault_elsewhere_in_the_file_hides_no_safe_command() {
        let (a, b) = (actuator("a"), actuator("b"));
        let both = ["actuator:a /bin/a off", "actuator:b /bin/b off"];
        for fault in [
            "nmae = 1\n",
            "port = \"x\"\n",
            "port = = 1\n",
            "[store\n",
            "[[rule]]\n",
        ] {
            let text = format!("{fault}{a}[[rule]]\nname = 3\n{b}");
            assert_eq!(safe_commands(&text), both, "{text}");
            let text = format!("{a}{b}[store]\n{fault}");
            assert_eq!(safe_commands(&text), both, "{text}");
        }
        // The newer spelling, and a kind that is misspelled.
        for kind in ["exec", "exce"] {
            let device = a.replace("[[actuator", "[[device");
            let device = device.replace("safe =", &format!("kind = \"{kind}\"\nsafe ="));
            for text in [format!("{device}{b}"), format!("port = = 1\n{device}{b}")] {
                let mut found = safe_commands(&text);
                found.sort_unstable();
                assert_eq!(found, both, "{text}");
            }
        }
        // A wrong key or operation beside it.
        let odd = a
            .replace("safe =", "saef = 1\nsafe =")
            .replace("\"on\"", "1");
        assert_eq!(safe_commands(&odd), both[..1]);
    }

    #[test]
    fn no_command_is_taken_for_a_safe_one_that_may_not_be() {
        let (a, b) = (actuator("a"), actuator("b").replace("stop", "start"));
        // The heading of b is broken: a keeps its own words, b has none.
        for heading in ["[[actuator\n", "[actuator]]\n", "[[actuatr]]\n"] {
            let text = format!("{a}{}", b.replace("[[actuator]] # one\n", heading));
            let all = safe_commands(&text);
            assert!(
                all.iter().all(|c| c == "actuator:a /bin/a off"),
                "{text}: {all:?}"
            );
        }
        let twice = format!("{a}[[actuator.operation]]\nname = \"stop\"\nargv = [\"/bin/x\"]\n");
        assert_eq!(
            safe_commands(&twice),
            ["there is not one operation \"stop\""]
        );
        let gone = a.replace("name = \"stop\"", "name = \"halt\"");
        assert_eq!(
            safe_commands(&gone),
            ["there is not one operation \"stop\""]
        );
        let merged = format!("{a}{}", b.replace("[[actuator]] # one\n", "actuator]]\n"));
        assert_eq!(safe_commands(&merged), [""; 0]);
    }

    /// The actuators made safe, by name, from a file with this actuator in it.
    fn found(file: impl AsRef<[u8]>) -> Vec<String> {
        let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
        let ground = Ground {
            dir: Path::new("/"),
            keeper: &keeper,
        };
        let found = rescue(file.as_ref(), &ground);
        found.iter().map(|a| a.capability().to_string()).collect()
    }

    fn pump() -> String {
        actuator("pump").replace("/bin/pump", "/bin/sh")
    }

    #[test]
    fn whatever_a_table_is_called_or_written_like_its_safe_command_is_found() {
        let good = pump();
        let inline = "device = [\n  { capability = \"actuator:pump\", safe = \"stop\", operation = [\n    \
                      { name = \"stop\", argv = [\"/bin/sh\", \"off\"] }] }, # one\n]\n";
        let with = |more: &str| good.replace("safe =", &format!("{more}\nsafe ="));
        let mut files = vec![
            good.replace("[[actuator]]", "[[\"actuator\"]]"),
            good.replace("[[actuator]]", "[ actuator ]"),
            inline.to_owned(),
            inline.replace("device =", "\"device\"="),
            good.replace('\n', "\r"),
            good.replace('\n', "\r\n"),
            with("timeout_sec = 99999999999999999999"),
            with("timeout_sec = \"10"),
            with("nmae = = 1"),
            format!("{good}# \u{1}\n"),
            format!("{good}\0\0"),
        ];
        for kind in ["exec", "exce", "host", "sim", "gen1"] {
            files.push(with(&format!("kind = \"{kind}\"")));
        }
        files.push(with("kind = 3"));
        for file in files {
            let end = if file.contains("\r") && !file.contains('\n') {
                "\r"
            } else {
                "\n"
            };
            assert_eq!(found(&file), ["actuator:pump"], "{file:?}");
            let broken = format!("port = = 1{end}{file}");
            assert_eq!(found(&broken), ["actuator:pump"], "{broken:?}");
        }
        let mut latin1 = good.clone().into_bytes();
        latin1.extend(b"# f\xfcr\n");
        assert_eq!(found(&latin1), ["actuator:pump"]);
        let wide = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            let text = format!("\u{feff}{good}");
            text.encode_utf16().flat_map(bytes).collect()
        };
        assert_eq!(found(wide(u16::to_le_bytes)), ["actuator:pump"]);
        assert_eq!(found(wide(u16::to_be_bytes)), ["actuator:pump"]);
        // Kinds that move nothing here, as they are.
        for kind in ["host", "sim"] {
            assert_eq!(found(format!("[[device]]\nkind = \"{kind}\"\n")), [""; 0]);
        }
    }

    #[test]
    fn a_command_that_is_not_certain_is_none() {
        let good = pump();
        let mut odd = good.replace("\"off\"", "\"off?\"").into_bytes();
        for byte in odd.iter_mut().filter(|byte| **byte == b'?') {
            *byte = 0xfc;
        }
        assert_eq!(found(&odd), [""; 0], "a byte of the command is no text");
        odd.iter_mut()
            .filter(|byte| **byte == 0xfc)
            .for_each(|byte| *byte = 0);
        assert_eq!(found(&odd), [""; 0]);
        // A line that looks wrong and belongs to a command.
        let script = good.replace("\"off\"", "\"\"\"\nx = = 1\n\"\"\"");
        let broken = script.replace("safe =", "timeout_sec = = 1\nsafe =");
        assert_eq!(found(&script), ["actuator:pump"]);
        assert_eq!(found(&broken), [""; 0]);
        let below = "port = = 1\n[other]\ndevice = [{ capability = \"actuator:pump\", safe = \"stop\", operation = \
                     [{ name = \"stop\", argv = [\"/bin/sh\"] }] }]\n";
        assert_eq!(found(below), [""; 0], "a key of another table");
    }

    #[test]
    fn a_table_of_which_a_line_that_is_needed_does_not_read_gives_no_way() {
        let with = |line: &str| pump().replace("safe =", &format!("{line}\nsafe ="));
        for key in NEEDED {
            for line in [
                format!("{key} = = 1"),
                format!("{key} = x"),
                format!("\"{key}\" = \"1"),
                format!("{key}.more = x"),
                format!("more.{key} = x"),
            ] {
                assert_eq!(found(with(&line)), [""; 0], "{line}");
            }
            // In a reading it says nothing of the way.
            let reading = format!("[[actuator.reading]]\n{key} = x\n[[actuator.op");
            let file = pump().replacen("[[actuator.op", &reading, 1);
            assert_eq!(found(&file), ["actuator:pump"], "{file}");
        }
        // A key that does not read may be any.
        for line in ["ty\u{fffd}pe = 1", "type\" = 1", "ty pe = 1"] {
            assert_eq!(found(with(line)), [""; 0], "{line}");
        }
        for place in WHOLE {
            let inner = format!("[actuator.{place}]\nmore = x\n[[actuator.op");
            let file = pump().replacen("[[actuator.op", &inner, 1);
            assert_eq!(found(&file), [""; 0], "{file}");
        }
        // A command of several lines is whole or none.
        let long = pump().replace("[\"/bin/sh\", \"off\"]", "[\n\"/bin/sh\",\n\"a=b\",\n]");
        let long = long.replace("safe =", "timeout_sec = x\nsafe =") + "mode = x\n";
        assert_eq!(safe_commands(&long), ["actuator:pump /bin/sh a=b"]);
        let open = long.replace("\"a=b\"", "\"a=b");
        assert_eq!(safe_commands(&open), [""; 0]);
    }
}
