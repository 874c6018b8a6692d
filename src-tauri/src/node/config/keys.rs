//! The keys that a configuration can have, asked of the reader itself: so a new key is known here as soon as it is read.

use super::{ConfigError, RawConfig, value};
use crate::domain::base::text::{closest, type_in_words};

/// A name that no key has.
const NO_KEY: &str = "zzz_no_key";

/// The keys of a table; of the file itself where its name is empty. None where there is no such table.
pub fn known(table: &str) -> Vec<String> {
    let head = match table {
        "" => String::new(),
        table if table.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
            format!("[{table}]\n")
        }
        _ => return Vec::new(),
    };
    let text = format!("{head}{NO_KEY} = 1\n");
    match RawConfig::parse(&text, "") {
        Err(ConfigError::Parse { source, .. }) => match unknown(source.message()) {
            Some((name, expected)) if name == NO_KEY => expected.map(str::to_owned).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The keys of the file that stand for lists of tables.
pub fn lists() -> [&'static str; 8] {
    [
        "device",
        "actuator",
        "rule",
        "question",
        "model",
        "redundant",
        "alert",
        "notify",
    ]
}

/// The tables of the file that are no lists.
pub fn tables() -> [&'static str; 10] {
    [
        "store",
        "inference",
        "privacy",
        "telegram",
        "slack",
        "console",
        "alerts",
        "messages",
        "coordinator",
        "updates",
    ]
}

/// Every key with a value of its own, as in `store.max_bytes`.
pub fn all() -> Vec<String> {
    let plain = known("").into_iter().filter(|key| {
        let key = key.as_str();
        !lists().contains(&key) && !tables().contains(&key)
    });
    let inner = tables().into_iter().flat_map(|table| {
        let keys = known(table).into_iter();
        keys.map(move |key| format!("{table}.{key}"))
    });
    plain.chain(inner).collect()
}

/// The refusal of a key that is none, with the one that is spelled most like it.
pub(super) fn no_such_key(key: &str) -> ConfigError {
    let all = all();
    let near = closest(key, all.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean {near}?"));
    let near = near.unwrap_or_else(|| "; `clawmesh-node config show` lists them".to_owned());
    value(key, format!("there is no such key{near}"))
}

/// A parser's message as it is told: types in words, and for an unknown key the one that is spelled most like it.
pub(super) fn in_words(message: &str) -> String {
    if let Some((name, expected)) = unknown(message)
        && let Some(near) = closest(name, expected)
        && let Some((before, list)) = message.split_once(", expected ")
    {
        return format!("{before}, did you mean `{near}`? expected {list}");
    }
    type_in_words(message)
}

/// The unknown key of a parser's message, and the keys there are.
fn unknown(message: &str) -> Option<(&str, impl Iterator<Item = &str> + Clone)> {
    let (name, expected) = message
        .strip_prefix("unknown field `")?
        .split_once("`, expected ")?;
    Some((name, expected.split('`').skip(1).step_by(2)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_reader() {
        let all = all();
        for key in [
            "name",
            "port",
            "store.max_bytes",
            "privacy.zones",
            "inference.edge_first",
        ] {
            assert!(all.iter().any(|known| known == key), "{key}: {all:?}");
        }
        // Every table of the file is one of the two kinds.
        for key in known("") {
            let table = !known(&key).is_empty();
            assert_eq!(table, tables().contains(&key.as_str()), "{key}");
        }
        for list in lists() {
            assert!(known("").iter().any(|known| known == list), "{list}");
        }
        assert!(known("nonsense").is_empty() && known("a]\nb").is_empty());
    }

    #[test]
    fn an_unknown_key_of_a_file_is_told_with_the_nearest() {
        for (text, near) in [
            ("nmae = 'x'\n", "`name`"),
            ("[store]\nmax_byte = 1\n", "`max_bytes`"),
            ("[[rule]]\nnam = 'x'\n", "`name`"),
            ("[[device]]\nkind = 'sim'\npaec = 1.0\n", "`pace`"),
        ] {
            let said = RawConfig::parse(text, "config.toml")
                .unwrap_err()
                .to_string();
            assert!(said.contains(&format!("did you mean {near}?")), "{said}");
        }
        let said = RawConfig::parse("qqqqqqqqqqqq = 1\n", "x")
            .unwrap_err()
            .to_string();
        assert!(
            !said.contains("did you mean") && said.contains("expected one of"),
            "{said}"
        );
    }
}
