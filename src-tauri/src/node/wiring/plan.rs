//! What a new configuration changes of the devices, and which of its other keys count only after a restart. Pure: tables are
//! compared, nothing is made.

use serde::{Deserialize, Serialize};

use crate::adapters::devices::Configured;
use crate::node::config::Config;

/// What becomes of each table; numbers are places in the two lists that were compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Tables that say the same, with where they stood and where they stand.
    pub same: Vec<(usize, usize)>,
    /// What is taken out.
    pub out: Vec<usize>,
    /// What is put in.
    pub put_in: Vec<usize>,
}

impl Plan {
    /// From one list of devices to another. A table that was only moved in the file is the same.
    pub(super) fn of(before: &[Configured], after: &[Configured]) -> Self {
        let mut plan = Self {
            out: (0..before.len()).collect(),
            ..Self::default()
        };
        for (to, device) in after.iter().enumerate() {
            let is_same = |from: &usize| before.get(*from).is_some_and(|b| b.says_as(device));
            match plan.out.iter().position(is_same) {
                Some(at) => plan.same.push((plan.out.remove(at), to)),
                None => plan.put_in.push(to),
            }
        }
        plan
    }

    /// Whether every table says the same.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.put_in.is_empty()
    }

    /// Its names for people: what is added, removed and changed.
    pub(super) fn names(&self, before: &[Configured], after: &[Configured]) -> Names {
        let titles = |all: &[Configured], which: &[usize]| -> Vec<String> {
            let each = which.iter().filter_map(|at| all.get(*at));
            each.map(Configured::title).collect()
        };
        let mut removed = titles(before, &self.out);
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        for title in titles(after, &self.put_in) {
            match removed.iter().position(|gone| *gone == title) {
                Some(at) => changed.push(removed.remove(at)),
                None => added.push(title),
            }
        }
        (added, removed, changed)
    }
}

/// Names of devices: those that are added, removed and changed.
pub(super) type Names = (Vec<String>, Vec<String>, Vec<String>);

/// How a change of the devices ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ReloadOutcome {
    /// The devices are those of the file now.
    Applied,
    /// They were already.
    Unchanged,
    /// Nothing was changed.
    Refused,
}

/// What became of a configuration that was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// How it ended.
    pub outcome: ReloadOutcome,
    /// Devices that came in, or would: kind and name.
    pub added: Vec<String>,
    /// Devices that went, or would.
    pub removed: Vec<String>,
    /// Devices that were made anew, or would be.
    pub changed: Vec<String>,
    /// Devices whose tables say the same; they were left alone.
    pub unchanged: usize,
    /// Whether what agrees with what is another, or would be.
    pub redundant: bool,
    /// Keys of the file that differ from those in force and count after a restart only.
    pub restart: Vec<String>,
    /// Everything that is wrong with the file; nothing was changed then.
    pub mistakes: Vec<String>,
    /// What stands in the way, such as an actuator that moves; nothing was changed then.
    pub busy: Vec<String>,
}

impl Reloaded {
    /// Nothing was changed, because of these.
    pub(super) fn mistaken(mistakes: Vec<String>) -> Self {
        Self {
            outcome: ReloadOutcome::Refused,
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            unchanged: 0,
            redundant: false,
            restart: Vec::new(),
            mistakes,
            busy: Vec::new(),
        }
    }

    /// What changed, or would, in words.
    pub fn in_words(&self) -> String {
        let lists = [
            ("added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
        ];
        let lists = lists.iter().filter(|(_, names)| !names.is_empty());
        let mut all: Vec<String> = lists
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        if self.redundant {
            all.push("[[redundant]] changed".to_owned());
        }
        match all.is_empty() {
            true => "no device changed".to_owned(),
            false => all.join("; "),
        }
    }
}

/// The keys outside the devices that differ; they count after a restart.
pub(super) fn restart_keys(before: &Config, after: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    macro_rules! compare {
        ($($field:ident: $key:literal),+ $(,)?) => { $(
            if format!("{:?}", before.$field) != format!("{:?}", after.$field) {
                keys.push($key.to_owned());
            }
        )+ };
    }
    compare!(
        name: "name",
        role: "role",
        mesh_name: "mesh_name",
        host: "host",
        port: "port",
        discovery: "discovery",
        peers: "peers",
        capabilities: "capabilities",
        sensor_interval_ms: "sensor_interval_ms",
        ping_interval_ms: "ping_interval_ms",
        demo: "demo",
        store_max_bytes: "[store] max_bytes",
        keep: "[store]",
        rules: "[[rule]]",
        questions: "[[question]]",
        stand_by: "stand_by",
        models: "[[model]], [inference] or [privacy]",
        private_devices: "[privacy] devices",
        telegram: "[telegram]",
        slack: "[slack]",
        alerts: "[[alert]] or [alerts]",
        notify: "[[notify]]",
    );
    keys
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::*;
    use crate::node::config::RawConfig;

    fn config(text: &str) -> Config {
        let raw = RawConfig::parse(text, "config.toml").unwrap();
        raw.resolve(PathBuf::from("/nowhere")).unwrap()
    }

    fn file(name: &str, path: &str) -> String {
        format!(
            "[[device]]\nkind = \"file\"\nname = \"{name}\"\n[[device.reading]]\nmetric = \"t\"\nzone = \"{name}\"\n\
             unit = \"Cel\"\npath = \"{path}\"\n"
        )
    }

    fn plan(before: &str, after: &str) -> (Plan, Names) {
        let (before, after) = (config(before).devices, config(after).devices);
        let plan = Plan::of(&before, &after);
        let names = plan.names(&before, &after);
        (plan, names)
    }

    #[test]
    fn tables_that_say_the_same_are_left_alone_wherever_they_stand() {
        let (a, b) = (file("a", "/a"), file("b", "/b"));
        let moved = format!("\n# words\n\n{b}\n{}", a.replace(" = ", "   = "));
        let (plan, _) = plan(&format!("{a}{b}"), &moved);
        assert!(plan.is_empty());
        assert_eq!(plan.same, [(1, 0), (0, 1)]);
    }

    #[test]
    fn what_is_added_removed_and_changed_is_named() {
        let before = file("a", "/a") + &file("b", "/b") + &file("c", "/c");
        let after = file("a", "/a") + &file("b", "/other") + &file("d", "/d");
        let (plan, (added, removed, changed)) = plan(&before, &after);
        assert_eq!(plan.same, [(0, 0)]);
        assert_eq!((plan.out, plan.put_in), (vec![1, 2], vec![1, 2]));
        assert_eq!(added, ["file d"]);
        assert_eq!(removed, ["file c"]);
        assert_eq!(changed, ["file b"]);
    }

    #[test]
    fn two_tables_that_say_the_same_are_two() {
        let a = file("a", "/a");
        let (plan, (_, removed, _)) = plan(&format!("{a}{a}"), &a);
        assert_eq!((plan.same.len(), plan.out.len()), (1, 1));
        assert_eq!(removed, ["file a"]);
    }

    #[test]
    fn the_older_spelling_of_a_table_says_the_same() {
        let operations = "capability = 'actuator:pump:a'\nsafe = 'stop'\n\
             [[TABLE.operation]]\nname = 'start'\nargv = ['/bin/true', 'on']\n\
             [[TABLE.operation]]\nname = 'stop'\nargv = ['/bin/true', 'off']\n";
        let older = format!("[[actuator]]\n{}", operations.replace("TABLE", "actuator"));
        let newer = operations.replace("TABLE", "device");
        let newer = format!("[[device]]\nkind = 'exec'\n{newer}");
        assert!(plan(&older, &newer).0.is_empty());
    }

    #[test]
    fn keys_that_need_a_restart_are_named_and_devices_are_none_of_them() {
        let before = config("name = 'a'\n[store]\nmax_bytes = 100000000\n");
        let after = "name = 'b'\nport = 1\n[store]\nmax_bytes = 200000000\n".to_owned();
        let after = config(&(after + &file("a", "/a")));
        assert_eq!(
            restart_keys(&before, &after),
            ["name", "port", "[store] max_bytes"]
        );
        assert!(restart_keys(&before, &before).is_empty());
    }
}
