//! Who may have the whole node. `node/shared.rs` joins every room, so a room that has it can reach the key, the links
//! and the actuators. What puts the node together needs it; the rooms in [`STILL`] have it until they take a
//! `&Context` or the handles of what they use.

use super::rules::Fault;
use super::scan;

/// What puts the node together, and the door to it.
const JOINS: [&str; 5] = [
    "node/shared.rs",
    "node/assemble.rs",
    "node/mod.rs",
    "node/ending.rs",
    "operator/",
];

/// Files that still take the whole node and are to take what they need. It only becomes shorter: a file that is not in
/// it may not begin to, and one that no longer does is taken out.
pub const STILL: &[&str] = &[
    "node/discovery.rs",
    "node/pairing/keep.rs",
    "node/pairing/mod.rs",
    "node/pairing/session.rs",
    "node/sessions/accept.rs",
];

/// Whether a source takes the whole node; what only its tests name does not count.
fn takes(source: &str) -> Option<usize> {
    let tokens = scan::tokens(&scan::blank(source));
    let paths = scan::paths(&tokens);
    let is_whole = |path: &&scan::Path| {
        let names = |pair: &[String], of: &str, what: fn(&str) -> bool| {
            pair.first().is_some_and(|s| s == of) && pair.last().is_some_and(|s| what(s))
        };
        let a_type = |name: &str| name == "*" || name.starts_with(char::is_uppercase);
        let of_shared = |pair: &[String]| names(pair, "shared", a_type);
        let module = |name: &str| matches!(name, "super" | "self" | "node");
        let re_exported = |pair: &[String]| module(&pair[0]) && pair[1] == "Shared";
        let mut pairs = path.segments.windows(2);
        !path.in_test && pairs.any(|pair| of_shared(pair) || re_exported(pair))
    };
    paths.iter().find(is_whole).map(|path| path.line)
}

/// Compares who takes the whole node with who still may. `files` are those of `src-tauri/src` with their sources.
pub fn check(files: &[(String, String)], still: &[&str]) -> Vec<Fault> {
    let joins = |file: &str| JOINS.iter().any(|join| file.starts_with(join));
    let a_test = |file: &str| file.contains("/tests/") || file.ends_with("tests.rs");
    let of_node = |file: &str| file.starts_with("node/") && !joins(file) && !a_test(file);
    let mut faults = Vec::new();
    for (file, source) in files.iter().filter(|(file, _)| of_node(file)) {
        let (line, listed) = (takes(source), still.contains(&file.as_str()));
        let what = match (line, listed) {
            (Some(_), false) => {
                "takes the whole node: take a `&Context`, or the handles of what it uses"
            }
            (None, true) => {
                "takes the whole node no longer: take it out of STILL in tests/tidy/whole.rs"
            }
            _ => continue,
        };
        faults.push(Fault {
            place: format!("{file}:{}", line.unwrap_or(1)),
            what: what.to_owned(),
        });
    }
    let there = |listed: &str| files.iter().any(|(file, _)| file == listed);
    for listed in still.iter().filter(|listed| !there(listed)) {
        faults.push(Fault {
            place: (*listed).to_owned(),
            what: "is in STILL of tests/tidy/whole.rs and is not there".to_owned(),
        });
    }
    faults
}

#[test]
fn a_room_that_begins_or_ceases_to_take_the_whole_node_is_told() {
    let told = |file: &str, source: &str, still: &[&str]| {
        let files = [(file.to_owned(), format!("//! A file.\n{source}\n"))];
        let faults = check(&files, still).into_iter();
        faults
            .map(|fault| fault.what)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let begins = "take a `&Context`";
    for source in [
        "use crate::node::shared::Shared;",
        "use super::shared::{MESH_FLOOR, Shared};",
        "use super::shared::*;",
        "fn f(node: &super::Shared) {}",
        "struct Later(Weak<crate::node::shared::Inner>);",
    ] {
        assert!(
            told("node/gossip/tree.rs", source, &[]).contains(begins),
            "{source}"
        );
        assert_eq!(
            told("node/gossip/tree.rs", source, &["node/gossip/tree.rs"]),
            ""
        );
        assert_eq!(told("node/gossip/tests.rs", source, &[]), "");
        assert_eq!(told("operator/people.rs", source, &[]), "");
    }
    for source in [
        "use crate::node::context::Context;",
        "use super::choice::Wanted; fn f() { Wanted::Shared; }",
        "#[cfg(test)] mod tests { use super::shared::Shared; }",
    ] {
        assert_eq!(told("node/naming.rs", source, &[]), "", "{source}");
        let ceased = told("node/naming.rs", source, &["node/naming.rs"]);
        assert!(ceased.contains("no longer"), "{source}: {ceased}");
    }
    let gone = told("node/naming.rs", "", &["node/names.rs"]);
    assert!(gone.contains("is not there"), "{gone}");
}
