//! The rules of the house that a compiler does not know: which room may name which, what may not
//! be written at all, and how a file opens.

use super::scan::{self, Path, Token};
use super::systems;

/// The tiers from the ground up. A tier may name itself and what stands before it.
const TIERS: [&str; 5] = ["domain", "adapters", "node", "operator", "surfaces"];

/// The rooms of `domain` in order. A room may name itself and what stands before it.
const DOMAIN_ROOMS: [&str; 19] = [
    "base",
    "quality",
    "inference",
    "identity",
    "capability",
    "wire",
    "sync",
    "admission",
    "pairing",
    "world",
    "continuity",
    "policy",
    "gate",
    "plan",
    "alerts",
    "proposal",
    "router",
    "coordination",
    "site",
];

/// The rooms of `node` in order. A room may name what stands before it, and `handles`, which lists them.
const NODE_ROOMS: [&str; 54] = [
    "surroundings",
    "config",
    "context",
    "inference",
    "credentials",
    "gateways",
    "coordinator",
    "naming",
    "sites",
    "policy_book",
    "pause",
    "links",
    "guards",
    "cites",
    "privacy",
    "frame_log",
    "continuity",
    "health",
    "alike",
    "presence",
    "ingress",
    "reconcile",
    "routing",
    "gossip",
    "gen1",
    "mesh_models",
    "messages",
    "proposals",
    "leading",
    "answering",
    "timetable",
    "planning",
    "planner",
    "authority",
    "channels",
    "pairing",
    "protocol",
    "sessions",
    "peers",
    "console",
    "retention",
    "updates",
    "housekeeping",
    "discovery",
    "sensing",
    "wiring",
    "push",
    "alerts",
    "pulse",
    "refused",
    "handles",
    "assemble",
    "ending",
    "hosting",
];

/// Who may name the device's key above the adapters: each signs one kind of thing with it, and hands it to nobody. What
/// persons change is signed by `node/authority/`, also for the operator's door; `offline.rs` works on a stopped node.
const KEY_HOLDERS: [&str; 13] = [
    "node/assemble/identity.rs",
    "node/authority/mod.rs",
    "node/authority/own.rs",
    "node/channels/mod.rs",
    "node/context/journal.rs",
    "node/context/timekeeping.rs",
    "node/continuity/mod.rs",
    "node/frame_log/handle.rs",
    "node/pairing/mod.rs",
    "node/proposals/executor.rs",
    "node/proposals/left.rs",
    "node/sessions/mod.rs",
    "surfaces/cli/offline.rs",
];

/// The one part of `surfaces` that other surfaces may name: the client of our own HTTP API.
const SHARED_SURFACE: &str = "remote";

/// What the pure tier may not name: anything that reads a clock, a disk, a socket or a dice.
const IMPURE: [&[&str]; 15] = [
    &["tokio"],
    &["tokio_util"],
    &["axum"],
    &["hyper"],
    &["rusqlite"],
    &["sysinfo"],
    &["getrandom"],
    &["tokio_tungstenite"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "SystemTime"],
    &["std", "time", "Instant"],
];

/// What starts a task, and may stand only in `node/context/tasks.rs` and the entry points.
const SPAWNS: [&[&str]; 4] = [
    &["tokio", "spawn"],
    &["tokio", "task", "spawn"],
    &["tokio", "task", "spawn_local"],
    &["task", "spawn"],
];

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: file and line.
    pub place: String,
    /// What is wrong and what to do.
    pub what: String,
}

/// Checks one file of `src-tauri/src`; `file` is relative to it, with forward slashes.
pub fn check_source(file: &str, source: &str) -> Vec<Fault> {
    let tokens = scan::tokens(&scan::blank(source));
    let mut faults = check_anywhere(file, source);
    if stays_at_the_door(file) {
        let past = tokens.windows(2).filter(|pair| {
            (pair[0].text == "." && pair[1].text == "handles") || pair[1].text == "Handles"
        });
        let what =
            "a surface reaches past the operator door: add a call to the door, or use its context";
        faults.extend(past.map(|pair| fault(file, pair[1].line, what.to_owned())));
    }
    faults.extend(systems::asks(file, &tokens));
    for path in scan::paths(&tokens) {
        let complaint = check_import(file, &path)
            .or_else(|| systems::of_one(file, &path))
            .or_else(|| check_key(file, &path))
            .or_else(|| check_spawn(file, &path))
            .or_else(|| check_purity(file, &path));
        faults.extend(complaint.map(|what| fault(file, path.line, what)));
    }
    faults
}

fn check_key(file: &str, path: &Path) -> Option<String> {
    let below = file.starts_with("domain/") || file.starts_with("adapters/");
    let names = path.segments.iter().any(|segment| segment == "DeviceKey");
    let refused = names && !below && !path.in_test && !is_test_file(file);
    (refused && !KEY_HOLDERS.contains(&file)).then(|| {
        "this room may not hold the device's key: ask a room that signs with it (KEY_HOLDERS in tests/tidy/rules.rs)"
            .to_owned()
    })
}

/// Checks what holds for tests and benches too: the header and the forbidden words.
pub fn check_anywhere(file: &str, source: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !source.trim_start().starts_with("//!") {
        let what = "the file does not open with `//!`: say what it is, where it sits in the flow and what it lacks";
        faults.push(fault(file, 1, what.to_owned()));
    }
    let tokens = scan::tokens(&scan::blank(source));
    for (index, token) in tokens.iter().enumerate() {
        faults
            .extend(forbidden(&tokens, index).map(|what| fault(file, token.line, what.to_owned())));
    }
    for path in scan::paths(&tokens) {
        if path
            .segments
            .windows(2)
            .any(|pair| pair == ["thread", "sleep"])
        {
            let what = "a thread sleeps: wait for the condition instead";
            faults.push(fault(file, path.line, what.to_owned()));
        }
    }
    faults
}

pub(super) fn fault(file: &str, line: usize, what: String) -> Fault {
    Fault {
        place: format!("{file}:{line}"),
        what,
    }
}

fn forbidden(tokens: &[Token], index: usize) -> Option<&'static str> {
    let text = |offset: usize| {
        tokens
            .get(index + offset)
            .map_or("", |token| token.text.as_str())
    };
    match text(0) {
        "[" if text(1) == "ignore" => Some("an ignored test: make it run, or delete it"),
        "should_panic" => Some("a test that expects a panic: return an error and check it"),
        "todo" if text(1) == "!" => Some("an open end: finish it or leave it out"),
        _ => None,
    }
}

/// Files that start a process: they may name everything.
fn is_entry_point(file: &str) -> bool {
    file == "main.rs" || file.starts_with("bin/")
}

fn stays_at_the_door(file: &str) -> bool {
    file.starts_with("surfaces/") && !is_test_file(file) && !file.ends_with("_tests.rs")
}

pub(super) fn is_test_file(file: &str) -> bool {
    file.split('/')
        .any(|part| part == "tests" || part == "tests.rs")
}

/// The module that a file is: `domain/base/ids.rs` is `[domain, base, ids]`.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut parts: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    parts
}

/// The module or item of our own crate that the path names, from the crate's root; `None` for what
/// lies outside or is named from the inside.
fn resolve(file: &str, path: &Path) -> Option<Vec<String>> {
    let mut here = module_of(file);
    here.extend(path.inside.iter().cloned());
    let mut rest = path.segments.as_slice();
    match rest.first().map(String::as_str)? {
        "crate" | "clawmesh" => (here, rest) = (Vec::new(), &rest[1..]),
        "self" => rest = &rest[1..],
        "super" => {}
        _ => return None,
    }
    while rest.first().is_some_and(|segment| segment == "super") {
        here.pop();
        rest = &rest[1..];
    }
    here.extend(rest.iter().filter(|segment| *segment != "*").cloned());
    Some(here)
}

fn check_import(file: &str, path: &Path) -> Option<String> {
    if is_entry_point(file) || file == "lib.rs" {
        return None;
    }
    let from = module_of(file);
    let to = resolve(file, path)?;
    let written = path.segments.join("::");
    let Some(from_tier) = from.first().and_then(|name| tier(name)) else {
        return Some(format!(
            "`{file}` is in no known tier; the tiers are {}",
            TIERS.join(", ")
        ));
    };
    let Some(name) = to.first() else {
        return Some(format!(
            "`{written}` names the whole crate, past every room's door; name the room"
        ));
    };
    let Some(to_tier) = tier(name) else {
        return Some(format!(
            "`{written}` names `{name}`, which is in no known tier; the tiers are {}",
            TIERS.join(", ")
        ));
    };
    if to_tier > from_tier {
        return Some(format!(
            "`{written}` points up: {} may not name {name}",
            from[0]
        ));
    }
    if to_tier < from_tier || from.len() < 2 {
        return None; // a lower tier, or the tier's own front page
    }
    if name == "node" && (path.in_test || is_test_file(file)) {
        return None; // a test may put rooms together
    }
    check_siblings(name, &from[1], to.get(1).map(String::as_str), &written)
}

/// `from` and `to` are rooms of one tier.
fn check_siblings(tier: &str, from: &str, to: Option<&str>, written: &str) -> Option<String> {
    if !matches!(tier, "domain" | "adapters" | "node" | "surfaces") || to == Some(from) {
        return None;
    }
    let Some(to) = to else {
        return Some(format!(
            "`{written}` names the whole of {tier}; name the room"
        ));
    };
    match tier {
        "domain" => match (room(from), room(to)) {
            (Some(mine), Some(other)) if other < mine => None,
            (Some(_), Some(_)) => Some(format!(
                "`{written}` points up: domain/{from} comes before domain/{to}"
            )),
            (None, _) => Some(format!(
                "domain/{from} is no known room; give it a place in the order of tests/tidy/rules.rs"
            )),
            (_, None) => Some(format!(
                "`{written}` names `{to}` of domain's front page; name the room it comes from"
            )),
        },
        "node" => match (node_room(from), node_room(to)) {
            (None, _) => Some(format!(
                "node/{from} is no known room; give it a place in the order of tests/tidy/rules.rs"
            )),
            (Some(mine), Some(other)) if other < mine || to == "handles" => None,
            (Some(_), Some(_)) => Some(format!(
                "`{written}` points up: node/{from} comes before node/{to}"
            )),
            // The node itself is put together on the front page.
            (Some(_), None) if from == "hosting" => None,
            (Some(_), None) => Some(format!(
                "`{written}` names `{to}` of node's front page; name the room it comes from"
            )),
        },
        // A plain file beside the families, such as paths.rs, is neutral ground.
        "adapters" if super::is_file_of_adapters(to) => None,
        "adapters" => Some(format!(
            "`{written}`: adapter families never name each other ({from} names {to}); what both need belongs in domain/base"
        )),
        _ if to == SHARED_SURFACE => None,
        _ => Some(format!(
            "`{written}`: surfaces never name each other ({from} names {to}); share through operator or {SHARED_SURFACE}"
        )),
    }
}

fn tier(name: &str) -> Option<usize> {
    TIERS.iter().position(|tier| *tier == name)
}

fn room(name: &str) -> Option<usize> {
    DOMAIN_ROOMS.iter().position(|room| *room == name)
}

fn node_room(name: &str) -> Option<usize> {
    NODE_ROOMS.iter().position(|room| *room == name)
}

pub(super) fn starts_with(path: &Path, prefix: &[&str]) -> bool {
    path.segments.len() >= prefix.len()
        && path
            .segments
            .iter()
            .zip(prefix)
            .all(|(have, want)| have == want)
}

fn check_spawn(file: &str, path: &Path) -> Option<String> {
    let exempt = file == "node/context/tasks.rs"
        || is_entry_point(file)
        || is_test_file(file)
        || path.in_test;
    let spawns = SPAWNS
        .iter()
        .any(|spawn| starts_with(path, spawn) && path.segments.len() == spawn.len());
    (spawns && !exempt).then(|| {
        format!("`{}`: only node/context/tasks.rs starts tasks; every task has a name, a token and a tracked end", path.segments.join("::"))
    })
}

fn check_purity(file: &str, path: &Path) -> Option<String> {
    let pure = file.starts_with("domain/") && !is_test_file(file) && !path.in_test;
    (pure && IMPURE.iter().any(|prefix| starts_with(path, prefix))).then(|| {
        format!(
            "`{}`: domain is pure; time, randomness and bytes are arguments",
            path.segments.join("::")
        )
    })
}

/// Compares the map with the tree. `folders` and `files` are relative to `src-tauri/src`.
pub fn check_map(map: &str, folders: &[String], files: &[String]) -> Vec<Fault> {
    // The odd pieces between back-ticks are code; fenced blocks have an even number of fences.
    let named: Vec<&str> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|name| name.trim_start_matches("src-tauri/src/"))
        .collect();
    let place = "ARCHITECTURE.md".to_owned();
    let missing = folders
        .iter()
        .filter(|folder| !named.contains(&format!("{folder}/").as_str()))
        .map(|folder| Fault {
            place: place.clone(),
            what: format!(
                "does not mention `{folder}/`; say what the room is for and what it must not know"
            ),
        });
    let gone = named
        .iter()
        .filter(|name| is_place(name) && !exists(name, folders, files))
        .map(|name| Fault {
            place: place.clone(),
            what: format!("mentions `{name}`, which is not there"),
        });
    missing.chain(gone).collect()
}

/// Whether a name in the map looks like a folder or a Rust file of ours.
fn is_place(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    let ours = TIERS.contains(&first) || first == "bin";
    ours && name.contains('/') && (name.ends_with('/') || name.ends_with(".rs"))
}

fn exists(name: &str, folders: &[String], files: &[String]) -> bool {
    match name.strip_suffix('/') {
        Some(folder) => folders.iter().any(|known| known == folder),
        None => files.iter().any(|known| known == name),
    }
}
