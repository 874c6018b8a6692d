//! The values of a configuration that the environment says: `CLAWMESH_PORT` for `port`. They beat the file, and flags beat them.

use toml::Table;

use super::edit::literals;
use super::{ConfigError, RawConfig, in_words, value};

/// The keys that a variable may say.
pub const IN_ENVIRONMENT: [&str; 9] = [
    "name",
    "role",
    "mesh_name",
    "host",
    "port",
    "discovery",
    "stand_by",
    "sensor_interval_ms",
    "ping_interval_ms",
];

/// The variable of a key.
pub fn variable_of(key: &str) -> String {
    format!("CLAWMESH_{}", key.to_ascii_uppercase())
}

/// The values that the environment says, and the same as a table. An empty variable says nothing.
///
/// # Errors
/// [`ConfigError::Value`] naming the variable.
pub fn read(variables: fn(&str) -> Option<String>) -> Result<(RawConfig, Table), ConfigError> {
    let mut table = Table::new();
    for key in IN_ENVIRONMENT {
        let variable = variable_of(key);
        let Some(given) = variables(&variable).filter(|given| !given.trim().is_empty()) else {
            continue;
        };
        let mut first = None;
        let mut read = literals(&given).into_iter().filter_map(|literal| {
            let line = format!("{key} = {literal}\n");
            match RawConfig::parse(&line, &variable) {
                Ok(_) => line.parse::<Table>().ok(),
                Err(ConfigError::Parse { source, .. }) => {
                    first.get_or_insert_with(|| in_words(source.message()));
                    None
                }
                Err(other) => {
                    first.get_or_insert_with(|| other.to_string());
                    None
                }
            }
        });
        match read.next() {
            Some(one) => table.extend(one),
            None => return Err(value(&variable, first.unwrap_or_default())),
        }
    }
    let raw = RawConfig::parse(&table.to_string(), "the environment")?;
    Ok((raw, table))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn variables_are_read_as_a_person_writes_them_and_a_wrong_one_is_named() {
        let (raw, table) = read(|name| match name {
            "CLAWMESH_PORT" => Some("1234".to_owned()),
            "CLAWMESH_NAME" => Some("42".to_owned()),
            "CLAWMESH_DISCOVERY" => Some("false".to_owned()),
            "CLAWMESH_ROLE" => Some(String::new()),
            _ => None,
        })
        .unwrap();
        assert_eq!((raw.port, raw.name.as_deref()), (Some(1234), Some("42")));
        assert_eq!((raw.discovery, raw.role), (Some(false), None));
        assert_eq!(table.len(), 3);
        let wrong = read(|name| (name == "CLAWMESH_PORT").then(|| "many".to_owned()));
        let wrong = wrong.unwrap_err().to_string();
        assert!(
            wrong.contains("CLAWMESH_PORT") && wrong.contains("65535"),
            "{wrong}"
        );
    }

    #[test]
    fn every_key_of_the_environment_is_one_of_the_file() {
        let known = super::super::keys::known("");
        assert!(
            IN_ENVIRONMENT
                .iter()
                .all(|key| known.iter().any(|k| k == key))
        );
    }
}
