//! Who may name the whole node. `node/handles.rs` lists the handles of all rooms; only what puts the node together and the
//! door to it
//! may name it. Every other room takes a `&Context` or the handles of what it uses.

use super::rules::Fault;
use super::scan;

/// What puts the node together, and the door to it.
const JOINS: [&str; 5] = [
    "node/handles.rs",
    "node/assemble",
    "node/mod.rs",
    "node/ending.rs",
    "operator/",
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
        let of_handles = |pair: &[String]| names(pair, "handles", a_type);
        let module = |name: &str| matches!(name, "super" | "self" | "node");
        let re_exported = |pair: &[String]| module(&pair[0]) && pair[1] == "Handles";
        let mut pairs = path.segments.windows(2);
        !path.in_test && pairs.any(|pair| of_handles(pair) || re_exported(pair))
    };
    paths.iter().find(is_whole).map(|path| path.line)
}

/// Finds the files that take the whole node and may not. `files` are those of `src-tauri/src` with their sources.
pub fn check(files: &[(String, String)]) -> Vec<Fault> {
    let joins = |file: &str| JOINS.iter().any(|join| file.starts_with(join));
    let a_test = |file: &str| file.contains("/tests/") || file.ends_with("tests.rs");
    let of_node = |file: &str| file.starts_with("node/") && !joins(file) && !a_test(file);
    let found = files.iter().filter(|(file, _)| of_node(file));
    let found = found.filter_map(|(file, source)| Some((file, takes(source)?)));
    found
        .map(|(file, line)| Fault {
            place: format!("{file}:{line}"),
            what: "takes the whole node: take a `&Context`, or the handles of what it uses"
                .to_owned(),
        })
        .collect()
}

#[test]
fn a_room_that_takes_the_whole_node_is_told() {
    let told = |file: &str, source: &str| {
        let files = [(file.to_owned(), format!("//! A file.\n{source}\n"))];
        let faults = check(&files).into_iter();
        faults
            .map(|fault| fault.what)
            .collect::<Vec<_>>()
            .join("; ")
    };
    for source in [
        "use crate::node::handles::Handles;",
        "use super::handles::{MESH_FLOOR, Handles};",
        "use super::handles::*;",
        "fn f(node: &super::Handles) {}",
        "struct Later(Weak<crate::node::handles::Inner>);",
    ] {
        let told_of = told("node/gossip/tree.rs", source);
        assert!(told_of.contains("take a `&Context`"), "{source}");
        assert_eq!(told("node/gossip/tests.rs", source), "");
        assert_eq!(told("operator/people.rs", source), "");
    }
    for source in [
        "use crate::node::context::Context;",
        "use super::choice::Wanted; fn f() { Wanted::Shared; }",
        "#[cfg(test)] mod tests { use super::handles::Handles; }",
    ] {
        assert_eq!(told("node/naming.rs", source), "", "{source}");
    }
}
