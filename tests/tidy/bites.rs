//! Each rule of the house, shown to fail on a source that breaks it and to pass on one that does
//! not. The sources are synthetic; the real ones are read beside this file's parent.

use super::devices;
use super::promises;
use super::rules::{check_anywhere, check_map, check_source};
use super::scan;

/// The complaints about one synthetic file that has a proper header.
fn complaints(file: &str, body: &str) -> Vec<String> {
    let source = format!("//! A file.\n{body}\n");
    check_source(file, &source)
        .into_iter()
        .map(|fault| format!("{} {}", fault.place, fault.what))
        .collect()
}

#[track_caller]
pub(super) fn refused(file: &str, body: &str, because: &str) {
    let found = complaints(file, body);
    assert!(
        found.iter().any(|what| what.contains(because)),
        "{file}: {body}\n gave {found:?}, not `{because}`"
    );
}

#[track_caller]
pub(super) fn accepted(file: &str, body: &str) {
    let found = complaints(file, body);
    assert!(found.is_empty(), "{file}: {body}\n gave {found:?}");
}

#[test]
fn tiers_point_down() {
    accepted(
        "node/peers.rs",
        "use crate::adapters::store::Store; use crate::domain::base::TimeMs;",
    );
    accepted("surfaces/http/mod.rs", "use crate::operator::Door;");
    refused(
        "domain/base/ids.rs",
        "use crate::adapters::transport::Socket;",
        "points up",
    );
    refused(
        "adapters/store/mod.rs",
        "use crate::node::Node;",
        "points up",
    );
    refused(
        "node/mod.rs",
        "fn f() { crate::operator::door(); }",
        "points up",
    );
    refused("operator/mod.rs", "use crate::surfaces::http;", "points up");
    refused(
        "node/mod.rs",
        "use {crate::domain::base, crate::surfaces::cli};",
        "points up",
    );
}

#[test]
fn the_line_of_the_fault_is_told() {
    refused(
        "node/mod.rs",
        "\n\nuse crate::operator::Door;",
        "node/mod.rs:4 ",
    );
}

#[test]
fn relative_paths_are_resolved() {
    refused(
        "adapters/store/tables/frames.rs",
        "use super::super::super::super::node::Node;",
        "points up",
    );
    refused(
        "domain/wire/mod.rs",
        "use super::gate::Ruling;",
        "points up",
    );
    refused(
        "domain/wire/codec.rs",
        "use super::super::gate::Ruling;",
        "points up",
    );
    refused(
        "domain/wire/mod.rs",
        "use self::super::gate::Ruling;",
        "points up",
    );
    accepted("domain/wire/codec.rs", "use super::gate::Ruling;"); // wire's own child
    accepted("domain/gate/steps.rs", "use super::super::wire::Frame;");
    // An inline module is one level more.
    accepted(
        "domain/wire/mod.rs",
        "mod tests { use super::gate::Fake; use super::*; }",
    );
    refused(
        "domain/wire/mod.rs",
        "mod tests { use super::super::gate::Ruling; }",
        "points up",
    );
    refused(
        "domain/wire/mod.rs",
        "mod a { fn f() {} } use super::gate::Ruling;",
        "points up",
    );
}

#[test]
fn domain_rooms_keep_their_order() {
    accepted(
        "domain/proposal/mod.rs",
        "use crate::domain::{base::TimeMs, gate::Ruling, policy};",
    );
    refused(
        "domain/gate/mod.rs",
        "use crate::domain::{base::TimeMs, proposal::Proposal};",
        "points up",
    );
    refused(
        "domain/base/ids.rs",
        "type A = super::super::identity::Key;",
        "points up",
    );
    refused(
        "domain/base/ids.rs",
        "use crate::domain::*;",
        "whole of domain",
    );
    refused(
        "domain/base/ids.rs",
        "use crate::domain::{self};",
        "whole of domain",
    );
    refused("domain/base/mod.rs", "use super::*;", "whole of domain");
    refused(
        "domain/attic/mod.rs",
        "use super::base::TimeMs;",
        "no known room",
    );
    refused("domain/base/ids.rs", "use crate::*;", "whole crate");
    refused("domain/base/ids.rs", "use crate as house;", "whole crate");
}

#[test]
fn adapter_families_and_surfaces_keep_apart() {
    refused(
        "adapters/store/mod.rs",
        "use crate::adapters::transport::Socket;",
        "never name each other",
    );
    refused(
        "adapters/store/mod.rs",
        "use super::transport::Link;",
        "never name each other",
    );
    refused(
        "adapters/store/mod.rs",
        "use crate::adapters;",
        "whole of adapters",
    );
    refused(
        "adapters/paths.rs",
        "use super::store::Store;",
        "never name each other",
    );
    accepted(
        "adapters/store/mod.rs",
        "use crate::adapters::store::Row; use crate::adapters::paths::StateDir;",
    );
    refused(
        "surfaces/cli/mod.rs",
        "use crate::surfaces::http::Server;",
        "never name each other",
    );
    accepted(
        "surfaces/cli/mod.rs",
        "use crate::surfaces::remote::Client;",
    );
    refused(
        "surfaces/remote.rs",
        "use super::http::Server;",
        "never name each other",
    );
}

#[test]
fn rooms_of_the_node_name_what_stands_before_them() {
    refused(
        "node/links/mod.rs",
        "use crate::node::sessions::dial;",
        "points up",
    );
    refused("node/context/mod.rs", "use super::frame_log;", "points up");
    refused(
        "node/helpers.rs",
        "use super::links::Link;",
        "no known room",
    );
    refused(
        "node/peers/mod.rs",
        "use crate::node::Config;",
        "front page",
    );
    accepted(
        "node/peers/mod.rs",
        "use super::links::Link; use super::handles::Handles;",
    );
    accepted("node/mod.rs", "use sessions::accepted;");
}

#[test]
fn unknown_places_are_refused_and_entry_points_are_free() {
    refused(
        "helpers/mod.rs",
        "use crate::domain::base::TimeMs;",
        "no known tier",
    );
    refused("node/mod.rs", "use crate::helpers::thing;", "no known tier");
    accepted(
        "bin/clawmesh-node.rs",
        "use clawmesh::surfaces::cli; fn f() { tokio::spawn(g()); }",
    );
}

#[test]
fn a_surface_stays_at_the_door() {
    let why = "past the operator door";
    refused(
        "surfaces/http/auth.rs",
        "fn f(d: &Door) { d.handles(); }",
        why,
    );
    refused("surfaces/cli/look.rs", "use crate::node::Handles;", why);
    refused("surfaces/cli/mod.rs", "use crate::node::Handles;", why);
    accepted("surfaces/http/auth.rs", "fn f(d: &Door) { d.context(); }");
}

#[test]
fn few_rooms_hold_the_key() {
    let why = "may not hold the device's key";
    for source in [
        "use crate::domain::identity::DeviceKey;",
        "fn f(key: &crate::domain::identity::DeviceKey) {}",
        "use crate::domain::identity::{DeviceKey, PublicKey};",
    ] {
        refused("node/planning.rs", source, why);
        refused("operator/registry.rs", source, why);
        refused("node/proposals/mint.rs", source, why);
        accepted("node/pairing/mod.rs", source);
        accepted("node/proposals/tests.rs", source);
        accepted("adapters/keystore/device.rs", source);
    }
    accepted(
        "node/planner/led.rs",
        "#[cfg(test)] mod tests { use crate::domain::identity::DeviceKey; }",
    );
}

#[test]
fn only_the_runtime_starts_tasks() {
    refused(
        "node/peers.rs",
        "fn f() { tokio::spawn(g()); }",
        "starts tasks",
    );
    refused(
        "node/peers.rs",
        "use tokio::{sync::mpsc, task::spawn};",
        "starts tasks",
    );
    refused(
        "adapters/transport/mod.rs",
        "use tokio::task; fn f() { task::spawn(g()); }",
        "starts tasks",
    );
    accepted("node/context/tasks.rs", "fn f() { tokio::spawn(g()); }");
    accepted(
        "node/peers.rs",
        "#[cfg(test)]\n#[allow(dead_code)]\nmod tests { fn f() { tokio::spawn(g()); } }",
    );
    refused(
        "node/peers.rs",
        "#[cfg(test)]\nuse a::b;\nmod loops { fn f() { tokio::spawn(g()); } }",
        "starts tasks",
    );
}

#[test]
fn the_domain_is_pure() {
    refused(
        "domain/world/mod.rs",
        "use std::fs::File;",
        "domain is pure",
    );
    refused(
        "domain/world/mod.rs",
        "use std::{collections::BTreeMap, time::{Duration, SystemTime}};",
        "domain is pure",
    );
    refused(
        "domain/world/mod.rs",
        "async fn f() { tokio::time::sleep(d).await }",
        "domain is pure",
    );
    accepted(
        "domain/world/mod.rs",
        "use std::{collections::BTreeMap, time::Duration};",
    );
    accepted("adapters/store/mod.rs", "use std::fs::File;");
}

#[test]
fn forbidden_words_are_found_anywhere() {
    for (body, because) in [
        ("#[test]\n#[ignore]\nfn a() {}", "ignored test"),
        ("#[test]\n#[ignore = \"slow\"]\nfn a() {}", "ignored test"),
        ("#[test]\n#[should_panic]\nfn a() {}", "expects a panic"),
        ("fn a() { todo!() }", "open end"),
        ("fn a() { std::thread::sleep(d); }", "sleeps"),
        ("use std::thread;\nfn a() { thread::sleep(d); }", "sleeps"),
        ("use std::{thread::{self, sleep}};", "sleeps"),
    ] {
        let source = format!("//! A file.\n{body}\n");
        let found = check_anywhere("tests/it/a.rs", &source);
        assert!(
            found.iter().any(|fault| fault.what.contains(because)),
            "{body} gave {found:?}"
        );
    }
}

#[test]
fn comments_and_literals_are_not_code() {
    accepted(
        "domain/base/ids.rs",
        "// use crate::node::Node;\n/* crate::node /* nested */ crate::node */",
    );
    accepted(
        "domain/base/ids.rs",
        r##"const A: &str = "\" crate::node::x"; const B: &str = r#"todo!() " crate::node::y"#;"##,
    );
    accepted(
        "domain/base/ids.rs",
        "/// See [`crate::node::Node`].\nfn f<'a>(c: &'a str) -> bool { c == \"'\" && '\"' != '\\'' }",
    );
    refused(
        "domain/base/ids.rs",
        "const Q: char = '\"'; use crate::node::Node;",
        "points up",
    );
    refused(
        "domain/base/ids.rs",
        "fn f<'a>(x: &'a str) {} use crate::node::Node;",
        "points up",
    );
    refused(
        "domain/base/ids.rs",
        "const R: u8 = b'\\''; use crate::node::Node;",
        "points up",
    );
    refused(
        "domain/base/ids.rs",
        "for r in x {} /* a */ use crate::node::Node;",
        "points up",
    );
    refused(
        "domain/base/ids.rs",
        "fn f() { let r#type = 1; crate::node::go() }",
        "points up",
    );
    let kept = scan::blank("a /* b\nc */ d");
    assert_eq!(kept.lines().count(), 2, "line breaks stay: {kept:?}");
}

#[test]
fn visibility_is_no_import() {
    accepted(
        "domain/base/ids.rs",
        "pub(crate) fn f() {} pub(super) struct S;",
    );
}

#[test]
fn a_file_without_a_header_is_refused() {
    let found = check_anywhere("node/mod.rs", "// A remark.\nfn f() {}\n");
    assert!(
        found
            .iter()
            .any(|fault| fault.what.contains("does not open")),
        "{found:?}"
    );
    assert!(check_anywhere("node/mod.rs", "\n//! The node.\n").is_empty());
}

#[test]
fn the_map_is_compared_both_ways() {
    let folders = ["domain".to_owned(), "domain/base".to_owned()];
    let files = ["domain/base/ids.rs".to_owned()];
    let good =
        "`domain/`, `src-tauri/src/domain/base/` with `domain/base/ids.rs`, `Frame<T>` and `a/b`.";
    assert_eq!(check_map(good, &folders, &files), []);
    let found = check_map(
        "Only `domain/` and `domain/attic/` and `domain/base/old.rs`.",
        &folders,
        &files,
    );
    let told: Vec<_> = found.iter().map(|fault| fault.what.as_str()).collect();
    for part in [
        "does not mention `domain/base/`",
        "mentions `domain/attic/`",
        "mentions `domain/base/old.rs`",
    ] {
        assert!(
            told.iter().any(|what| what.starts_with(part)),
            "{part} not in {told:?}"
        );
    }
}

#[test]
fn a_promise_names_a_test_that_exists() {
    let faults = |text: &str| {
        let tests = promises::tests_of("#[test]\nfn a_valve_closes() {}\nfn no_test() {}");
        let tests = tests.into_iter().collect();
        let text = format!(
            "## What we promise\n{text}\n## Whom we defend against\n- **All.** Held by review: it is prose.\n"
        );
        let found = promises::check(&text, &tests);
        found.into_iter().map(|f| f.what).collect::<Vec<_>>()
    };
    assert!(faults("1. **It closes.**\n   Held by: `a_valve_closes`.\n").is_empty());
    let bad = [
        ("1. **It closes.** Always.\n", "no `Held by:`"),
        ("1. **It closes.** Held by: nobody.\n", "names no test"),
        (
            "1. **It closes.** Held by: `no_test`.\n",
            "there is no test no_test",
        ),
        ("", "has no promises"),
    ];
    for (text, because) in bad {
        let found = faults(text);
        assert!(
            found.iter().any(|f| f.contains(because)),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn a_kind_of_device_is_known_in_its_folder_alone() {
    let source = "pub struct Bus; impl Actuator for Bus {} impl Sensor for BusSensor {}";
    let drivers = devices::drivers_of(source);
    assert_eq!(drivers, ["Bus", "BusSensor"]);
    let faults = |file: &str, body: &str| devices::check(file, body, &drivers).len();
    assert_eq!(faults("node/assemble.rs", "fn f() { Bus::new(); }"), 1);
    assert_eq!(
        faults(
            "node/assemble.rs",
            "use crate::adapters::devices::bus::Client;"
        ),
        1
    );
    assert_eq!(
        faults(
            "node/assemble.rs",
            "use crate::adapters::devices::{Actuator, make};"
        ),
        0
    );
    assert_eq!(faults("adapters/devices/bus.rs", source), 0);
    assert_eq!(faults("node/guards/tests.rs", source), 0);
}
