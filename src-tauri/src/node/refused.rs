//! A start that is refused: what an earlier run may have left moving is made safe first, as far as the
//! configuration says how, unless another process holds the state directory (invariant I9).
//!
//! The file is read leniently here: a wrong key elsewhere in it, or a directory that takes no writes,
//! must not leave a pump on. A start that gets further makes safe by its own guards (`open`).

use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};

use super::context::alarms::Alarms;
use super::context::tasks::Tasks;
use super::drivers::{Drivers, RawActuator, RawOperation, SharedDriver};
use super::guards::Guards;
use crate::adapters::clock::SharedClock;
use crate::adapters::files;
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{CONFIG_FILE_MAX_BYTES, SAFE_AT_START_MS};

/// Makes every actuator safe that `more` names or that the configuration file of a directory tells of,
/// waiting no longer than a start does, and logs what is not confirmed.
pub async fn make_safe(dir: &StateDir, more: Vec<SharedDriver>, clock: &SharedClock) {
    let mut found = more;
    found.extend(configured(dir));
    if found.is_empty() {
        return;
    }
    // Whoever can write there could have any command run.
    if dir.is_open_to_others() {
        return tracing::error!(
            "{} can be written by others, so no command in it is run: its actuators stay as they are",
            dir.root().display()
        );
    }
    let _hold = match dir.hold() {
        Ok(Some(hold)) => hold,
        // A node runs there, and its guards see to them.
        Ok(None) => return,
        Err(error) => {
            return tracing::error!(
                "whether another node holds the directory is not known ({error}), so its actuators stay as they are"
            );
        }
    };
    let (tasks, alarms) = (Tasks::new(), Arc::new(Alarms::default()));
    // Without threads of their own: this works too where the system gives none.
    let guards = match Guards::start(&Drivers::new(found), clock, &alarms, &tasks, false) {
        Ok(guards) => guards,
        Err(error) => return tracing::error!("the actuators could not be made safe: {error}"),
    };
    let within = Duration::from_millis(SAFE_AT_START_MS);
    for left in guards.all_safe(within).await {
        let why = left.problem.unwrap_or_default();
        tracing::error!(actuator = %left.target, "not confirmed to be in its safe state: {why}");
    }
    tasks.shut_down().await;
}

/// The actuators that the configuration file tells of, each with its safe operation alone.
fn configured(dir: &StateDir) -> Vec<SharedDriver> {
    let text = match files::read_text(&dir.config_file(), CONFIG_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::error!("the configuration does not read, so no actuator is known: {error}");
            return Vec::new();
        }
    };
    let drivers = tables(&text).into_iter().filter_map(|table| {
        let name = table.get("capability").map(ToString::to_string);
        if table.get("driver").and_then(Value::as_str) == Some("gen1") {
            let name = name.unwrap_or_else(|| "an actuator".to_owned());
            tracing::error!(
                "{name} of a gen-1 node stays as it is: a node that does not start reaches nobody"
            );
            return None;
        }
        let driver =
            safe_half(&table).and_then(|raw| raw.exec(dir.root()).map_err(|e| e.to_string()));
        match driver {
            Ok(driver) => Some(Arc::new(driver) as SharedDriver),
            Err(why) => {
                let name = name.unwrap_or_else(|| "an actuator".to_owned());
                tracing::error!("{name} stays as it is: its safe command cannot be read: {why}");
                None
            }
        }
    });
    drivers.collect()
}

/// The `[[actuator]]` tables of a configuration file. Where the file as a whole is no TOML, those that
/// are TOML by themselves.
fn tables(text: &str) -> Vec<Table> {
    let of = |file: Table| match file.get("actuator") {
        Some(Value::Array(all)) => all.iter().filter_map(|v| v.as_table().cloned()).collect(),
        _ => Vec::new(),
    };
    if let Ok(file) = toml::from_str::<Table>(text) {
        return of(file);
    }
    let mut parts: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let head = line.split('#').next().unwrap_or_default();
        let head: String = head.chars().filter(|c| !c.is_whitespace()).collect();
        match head.as_str() {
            "[[actuator]]" => {
                inside = true;
                parts.push(String::new());
            }
            "[[actuator.operation]]" => {}
            // Also a heading that is cut off: what follows it belongs to no actuator before it.
            other if other.starts_with('[') => inside = false,
            _ => {}
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
            "{} of the actuators in the configuration do not read and stay as they are",
            bad.len()
        );
    }
    good.into_iter().flatten().flat_map(of).collect()
}

/// What a table says of an actuator's way to its safe state; whatever else is in it may be wrong.
fn safe_half(table: &Table) -> Result<RawActuator, String> {
    let text = |table: &Table, key: &str| {
        let found = table.get(key).and_then(Value::as_str);
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("there is no {key}"))
    };
    let (capability, safe) = (text(table, "capability")?, text(table, "safe")?);
    let all = table.get("operation").and_then(Value::as_array);
    let named = |v: &&Value| v.get("name").and_then(Value::as_str) == Some(&safe);
    let mut fit = all.into_iter().flatten().filter(named);
    let (Some(operation), None) = (fit.next(), fit.next()) else {
        return Err(format!("there is not one operation {safe:?}"));
    };
    let words = operation.get("argv").and_then(Value::as_array);
    let words = words.map(|all| {
        let each = all.iter().map(|word| word.as_str().map(str::to_owned));
        each.collect::<Option<Vec<String>>>()
    });
    let Some(Some(argv)) = words else {
        return Err(format!("operation {safe:?} has no argv"));
    };
    let seconds = table.get("timeout_sec").and_then(Value::as_integer);
    Ok(RawActuator {
        capability,
        timeout_sec: seconds.and_then(|s| u64::try_from(s).ok()),
        operation: vec![RawOperation {
            name: safe.clone(),
            argv,
            ..RawOperation::default()
        }],
        safe,
        ..RawActuator::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe_commands(text: &str) -> Vec<String> {
        let read = tables(text)
            .into_iter()
            .map(|table| match safe_half(&table) {
                Ok(raw) => format!("{} {}", raw.capability, raw.operation[0].argv.join(" ")),
                Err(why) => why,
            });
        read.collect()
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
