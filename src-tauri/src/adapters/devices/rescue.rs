//! What an earlier run may have left moving, from a configuration that cannot be used as a whole: each actuator of
//! which the way to the safe state is certain.

use std::path::Path;

use toml::{Table, Value};

use super::registry::Kind;
use super::{SharedActuator, exec};

/// The keys of a configuration whose tables are devices.
const TABLES: [&str; 2] = ["device", "actuator"];

/// The actuators that the text of a configuration file tells of, at the node of this state directory, each with its
/// safe operation alone. Logs which stay as they are.
pub fn rescue(text: &str, dir: &Path) -> Vec<SharedActuator> {
    let found = tables(text).into_iter().filter_map(|(kind, table)| {
        (kind.rescue)(&table, dir).unwrap_or_else(|why| {
            let name = table.get("capability").map(ToString::to_string);
            let name = name.unwrap_or_else(|| "a device".to_owned());
            tracing::error!("{name} stays as it is: its way to the safe state is not known: {why}");
            None
        })
    });
    found.collect()
}

/// The devices of a configuration file by their kinds. Where the file as a whole is no TOML, those that are TOML by
/// themselves.
fn tables(text: &str) -> Vec<(&'static Kind, Table)> {
    if let Ok(file) = toml::from_str::<Table>(text) {
        return of(&file);
    }
    let mut parts: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let head = line.split('#').next().unwrap_or_default();
        let head: String = head.chars().filter(|c| !c.is_whitespace()).collect();
        let begins = |key: &str| head == format!("[[{key}]]");
        let goes_on = |key: &str| head.starts_with(&format!("[[{key}.")) && head.ends_with("]]");
        if TABLES.into_iter().any(begins) {
            inside = true;
            parts.push(String::new());
        } else if head.starts_with('[') && !TABLES.into_iter().any(goes_on) {
            // Also a heading that is cut off: what follows it belongs to no device before it.
            inside = false;
        }
        if let Some(part) = parts.last_mut().filter(|_| inside) {
            part.push_str(line);
            part.push('\n');
        }
    }
    let read = parts.iter().map(|part| toml::from_str::<Table>(part));
    let (good, bad): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    if !bad.is_empty() {
        tracing::error!(
            "{} of the devices in the configuration do not read and stay as they are",
            bad.len()
        );
    }
    good.into_iter()
        .flatten()
        .flat_map(|file| of(&file))
        .collect()
}

/// The devices of a file that reads. One whose kind is not known may still say which command makes it safe, as the
/// tables of `exec` alone do.
fn of(file: &Table) -> Vec<(&'static Kind, Table)> {
    let mut found = Vec::new();
    for key in TABLES {
        let all = file.get(key).and_then(Value::as_array);
        for table in all.into_iter().flatten().filter_map(Value::as_table) {
            let named = table.get("kind").or(table.get("driver"));
            let kind = named.and_then(Value::as_str).map(Kind::of);
            let kind = kind.and_then(Result::ok).unwrap_or(&exec::KIND);
            found.push((kind, table.clone()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::exec::certain;
    use super::*;

    fn safe_commands(text: &str) -> Vec<String> {
        let read = tables(text).into_iter();
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
}
