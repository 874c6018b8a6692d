//! Which gateways a node has, as the store keeps it.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{GATEWAY_ID_MAX_BYTES, GATEWAY_NAME_MAX_CHARS, GATEWAYS_MAX};
use crate::domain::base::text::is_plain_name;
use crate::domain::base::{Code, Refusal};

/// Where the list lies.
const KEPT: &str = "gateways";

/// What is kept of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub id: String,
    pub name: String,
    pub url: String,
    pub enabled: bool,
    pub added_at: u64,
    /// The gateway's own id, as it was when it was first met.
    #[serde(default)]
    pub identity: Option<String>,
}

fn damaged(error: &serde_json::Error) -> StoreError {
    let why = format!("the list of gateways does not read: {error}");
    Refusal::new(Code::StorageFailed, why).into()
}

/// The gateways. A list that does not read is an error: what it had must not be written over.
pub(super) fn read(c: &Connection) -> Result<Vec<Saved>, StoreError> {
    match kv::get(c, KEPT)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| damaged(&e)),
        None => Ok(Vec::new()),
    }
}

pub(super) fn write(c: &Connection, all: &[Saved]) -> Result<(), StoreError> {
    let text = serde_json::to_vec(all).map_err(|e| damaged(&e))?;
    kv::put(c, KEPT, &text)
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

/// Checks a name for people.
pub(super) fn named(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    let fits = (1..=GATEWAY_NAME_MAX_CHARS).contains(&name.chars().count());
    match fits && is_plain_name(name) {
        true => Ok(name.to_owned()),
        false => Err(bad(format!(
            "name: 1 to {GATEWAY_NAME_MAX_CHARS} characters that show, in one line"
        ))),
    }
}

/// The id of a new gateway, made of its name; those of others are taken.
pub(super) fn id_of(name: &str, all: &[Saved]) -> String {
    let mut id = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        match c.is_ascii_lowercase() || c.is_ascii_digit() {
            true => id.push(c),
            // Two dashes name what belongs to a gateway.
            false if !id.is_empty() && !id.ends_with('-') => id.push('-'),
            false => {}
        }
    }
    id.truncate(GATEWAY_ID_MAX_BYTES - 4);
    let base = match id.trim_end_matches('-') {
        "" => "gateway",
        base => base,
    };
    let taken = |id: &str| all.iter().any(|one| one.id == id);
    let numbered = (2..=GATEWAYS_MAX + 1).map(|n| format!("{base}-{n}"));
    let mut each = [base.to_owned()].into_iter().chain(numbered);
    each.find(|id| !taken(id))
        .unwrap_or_else(|| base.to_owned())
}

/// Refuses a name that another gateway has, as its name or its id.
pub(super) fn is_free(name: &str, but: Option<&str>, all: &[Saved]) -> Result<(), Refusal> {
    let folded = crate::domain::base::text::folded(name);
    if folded == super::JOINED {
        let why = format!("{name} names the agents of claw-mesh that have joined this node");
        return Err(Refusal::new(Code::Conflict, why));
    }
    let others = all.iter().filter(|one| Some(one.id.as_str()) != but);
    let mut same = others
        .filter(|one| crate::domain::base::text::folded(&one.name) == folded || one.id == folded);
    match same.next() {
        None => Ok(()),
        Some(one) => Err(Refusal::new(
            Code::Conflict,
            format!("there is a gateway {} ({}) already", one.name, one.id),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(id: &str, name: &str) -> Saved {
        Saved {
            id: id.to_owned(),
            name: name.to_owned(),
            url: "ws://127.0.0.1:1".to_owned(),
            enabled: true,
            added_at: 0,
            identity: None,
        }
    }

    #[test]
    fn an_id_is_a_word_for_a_credential_and_no_other_gateways() {
        let all = [saved("mac", "Mac"), saved("gateway", "居間")];
        let ids = ["Mac", "My  Mac!", "--", "居間", &"x".repeat(80), "Mac-"];
        let ids = ids.map(|name| id_of(name, &all));
        let long = "x".repeat(28);
        assert_eq!(
            ids,
            ["mac-2", "my-mac", "gateway-2", "gateway-2", &long, "mac-2"]
        );
        for id in ids {
            let name = format!("gateway/{id}");
            assert_eq!(crate::adapters::keystore::credential_name(&name), Ok(()));
            assert!(!id.contains("--"));
        }
    }

    #[test]
    fn a_name_or_id_belongs_to_one_gateway() {
        let all = [saved("mac", "Living Room"), saved("pi", "Pi")];
        assert!(is_free("living room", None, &all).is_err());
        assert!(is_free("MAC", None, &all).is_err());
        assert!(is_free("Mac", Some("mac"), &all).is_ok());
        assert!(named(" a\u{202e}b ").is_err() && named("").is_err());
        assert_eq!(named(" Mac ").unwrap(), "Mac");
    }
}
