//! The house's own rules as tests: imports point down, the domain is pure, every file says what it
//! is, nothing is ignored or left open, and the map shows the rooms that exist.
//!
//! It reads sources as text and uses nothing of the crate. `tidy/bites.rs` shows each rule failing.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

#[path = "tidy/devices.rs"]
mod devices;
#[path = "tidy/promises.rs"]
mod promises;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/systems.rs"]
mod systems;
#[path = "tidy/bites.rs"]
mod the_rules_bite;
#[path = "tidy/whole.rs"]
mod whole;

use std::fs;
use std::path::{Path, PathBuf};

use rules::Fault;

/// The most lines of a file that is not in [`LONG_FILES`].
const FILE_LINES_MAX: usize = 500;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "src-tauri/src/adapters/llm/server.rs",
        "one request, the reply to it and what is said of each failure",
    ),
    (
        "src-tauri/src/surfaces/cli/args/mod.rs",
        "the command line in one table",
    ),
    (
        "benches/node.rs",
        "one benchmark a section, over one set-up",
    ),
    (
        "src-tauri/src/adapters/keystore/keychain.rs",
        "one vault with the tests of its failures",
    ),
    (
        "src-tauri/src/adapters/paths.rs",
        "one state directory, half of it tests",
    ),
    (
        "src-tauri/src/adapters/store/proposals.rs",
        "one table's statements",
    ),
    (
        "src-tauri/src/adapters/store/tests/decisions.rs",
        "tests of one family",
    ),
    (
        "src-tauri/src/adapters/store/tests/families.rs",
        "tests of one family each",
    ),
    (
        "src-tauri/src/adapters/transport/socket.rs",
        "one socket with its limits",
    ),
    (
        "src-tauri/src/domain/base/limits.rs",
        "every limit in one place",
    ),
    (
        "src-tauri/src/domain/policy/kind.rs",
        "every kind of action, with its tests",
    ),
    ("src-tauri/src/domain/policy/parse.rs", "one file format"),
    (
        "src-tauri/src/domain/proposal/record.rs",
        "one signed form, with what bounds it",
    ),
    ("src-tauri/src/domain/policy/tests.rs", "tests of one room"),
    ("src-tauri/src/domain/site/format.rs", "one file format"),
    ("src-tauri/src/domain/site/tests.rs", "tests of one room"),
    (
        "src-tauri/src/domain/wire/handshake.rs",
        "one handshake, both sides",
    ),
    ("src-tauri/src/node/inference/tests.rs", "tests of one room"),
    ("src-tauri/src/node/guards/guard.rs", "one state machine"),
    (
        "src-tauri/src/node/pairing/session.rs",
        "one protocol, both sides",
    ),
    (
        "src-tauri/src/operator/people.rs",
        "operators, persons and issuers share their rules",
    ),
    ("src-tauri/src/operator/queries.rs", "one method a question"),
    ("src-tauri/src/surfaces/remote/calls.rs", "one call a route"),
    (
        "src-tauri/src/surfaces/desktop/bridge.rs",
        "what every way to the node checks, with its tests",
    ),
    (
        "src-tauri/src/surfaces/desktop/host.rs",
        "half of it tests over one lab",
    ),
    (
        "src-tauri/src/surfaces/desktop/mod.rs",
        "the state of one application",
    ),
    (
        "src-tauri/src/surfaces/http/browser_tests.rs",
        "tests of one surface",
    ),
    (
        "src-tauri/src/surfaces/http/tests.rs",
        "tests of one surface",
    ),
    ("tests/it/cli.rs", "the contract of one program"),
    ("tests/it/entitled.rs", "tests of one promise each"),
    ("tests/it/gen1_actuators.rs", "tests of one promise each"),
    ("tests/it/handshake.rs", "tests of one promise each"),
    ("tests/it/pairing.rs", "tests of one promise each"),
    ("tests/it/privacy.rs", "the ways out of one promise"),
    ("tests/it/process.rs", "what tests of the program share"),
    ("tests/it/questions.rs", "tests of one promise each"),
    ("tests/it/reserve.rs", "tests of one promise each"),
    ("tests/it/restored.rs", "tests of one promise each"),
    ("tests/it/starting.rs", "tests of one promise each"),
    ("tests/sim/liar/lies.rs", "one lie a section"),
    ("tests/sim/world.rs", "the world of the simulator"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> PathBuf {
    root().join("src-tauri/src")
}

/// Whether `adapters/<name>` is a plain file, which every family may use.
fn is_file_of_adapters(name: &str) -> bool {
    sources()
        .join("adapters")
        .join(name)
        .with_extension("rs")
        .is_file()
}

/// The Rust files below `base`, as paths relative to it with forward slashes, sorted.
fn rust_files(base: &Path) -> Vec<String> {
    fn walk(base: &Path, folder: &Path, out: &mut Vec<String>) {
        let entries = fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("reading {}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                walk(base, &path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(base).expect("below its base");
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                out.push(parts.join("/"));
            }
        }
    }
    let mut out = Vec::new();
    walk(base, base, &mut out);
    out.sort();
    out
}

/// Every folder that holds one of the files, or a folder of such a file.
fn folders_of(files: &[String]) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for file in files {
        let mut folder = file.as_str();
        while let Some((parent, _)) = folder.rsplit_once('/') {
            folders.push(parent.to_owned());
            folder = parent;
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

#[track_caller]
fn assert_none(faults: &[Fault]) {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("  {}: {}", fault.place, fault.what))
        .collect();
    assert!(
        faults.is_empty(),
        "the house rules are broken in {} places:\n{}",
        faults.len(),
        lines.join("\n")
    );
}

#[test]
fn the_sources_keep_the_rules() {
    let files = rust_files(&sources());
    assert!(
        files.contains(&"lib.rs".to_owned()),
        "no sources found below {}",
        sources().display()
    );
    let faults: Vec<Fault> = files
        .iter()
        .flat_map(|file| rules::check_source(file, &read(&sources().join(file))))
        .collect();
    assert_none(&faults);
}

#[test]
fn no_room_begins_to_take_the_whole_node() {
    let files = rust_files(&sources()).into_iter();
    let files: Vec<(String, String)> = files
        .map(|file| {
            let source = read(&sources().join(&file));
            (file, source)
        })
        .collect();
    assert_none(&whole::check(&files));
}

#[test]
fn devices_are_known_in_their_folder_and_moved_by_their_guards_alone() {
    let files = rust_files(&sources());
    let of = |file: &String| read(&sources().join(file));
    let own = files.iter().filter(|f| f.starts_with(devices::FOLDER));
    let drivers: Vec<String> = own
        .flat_map(|file| devices::drivers_of(&of(file)))
        .collect();
    assert!(drivers.len() >= 5, "{drivers:?}");
    let others = files.iter();
    let faults: Vec<Fault> = others
        .flat_map(|file| {
            let mut faults = devices::check(file, &of(file), &drivers);
            faults.extend(devices::check_holders(file, &of(file)));
            faults
        })
        .collect();
    assert_none(&faults);
}

#[test]
fn tests_and_benches_open_with_a_header_and_leave_nothing_open() {
    let mut faults = Vec::new();
    for folder in ["tests", "benches"] {
        let base = root().join(folder);
        for file in rust_files(&base) {
            faults.extend(rules::check_anywhere(
                &format!("{folder}/{file}"),
                &read(&base.join(&file)),
            ));
        }
    }
    assert_none(&faults);
}

#[test]
fn the_map_shows_the_rooms_that_exist() {
    let files = rust_files(&sources());
    assert_none(&rules::check_map(
        &read(&root().join("ARCHITECTURE.md")),
        &folders_of(&files),
        &files,
    ));
}

#[test]
fn every_promise_of_security_names_a_test_that_exists() {
    let mut names = std::collections::BTreeSet::new();
    for folder in ["src-tauri/src", "tests"] {
        let base = root().join(folder);
        for file in rust_files(&base) {
            names.extend(promises::tests_of(&read(&base.join(&file))));
        }
    }
    assert_none(&promises::check(&read(&root().join("SECURITY.md")), &names));
}

/// `grep -q` ends at its first match, which kills what still writes to it: under `pipefail` a yes is then a no,
/// at times.
#[test]
fn no_script_pipes_into_a_grep_that_ends_early() {
    let faults: Vec<Fault> = fs::read_dir(root().join("scripts"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .flat_map(|path| {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let is_bad = |line: &str| line.contains("| grep -q") && !line.starts_with('#');
            let bad = |(n, line): (usize, &str)| {
                is_bad(line.trim_start()).then(|| Fault {
                    place: format!("scripts/{file}:{}", n + 1),
                    what: "`| grep -q` under pipefail; write `| grep … >/dev/null`".to_owned(),
                })
            };
            text.lines().enumerate().filter_map(bad).collect::<Vec<_>>()
        })
        .collect();
    assert_none(&faults);
}

#[test]
fn no_file_is_too_long_without_a_reason() {
    let mut faults = Vec::new();
    for folder in ["src-tauri/src", "tests", "benches"] {
        let base = root().join(folder);
        for file in rust_files(&base) {
            let lines = read(&base.join(&file)).lines().count();
            let place = format!("{folder}/{file}");
            if lines > FILE_LINES_MAX && LONG_FILES.iter().all(|(listed, _)| *listed != place) {
                let what = format!(
                    "has {lines} lines; split it at {FILE_LINES_MAX}, or list it with a reason in tests/tidy.rs"
                );
                faults.push(Fault { place, what });
            }
        }
    }
    for (listed, _) in LONG_FILES.iter().filter(|(f, _)| !root().join(f).is_file()) {
        let what = "is listed as a long file and is not there".to_owned();
        let place = (*listed).to_owned();
        faults.push(Fault { place, what });
    }
    assert_none(&faults);
}
