//! What differs between operating systems stands in few places: nothing else asks which system it is, or names what one
//! system alone has.

use super::rules::{Fault, fault, is_test_file, starts_with};
use super::scan::{Path, Token};
use super::the_rules_bite::{accepted, refused};

/// Where systems may differ: each has one interface and a file for every system. Nothing else asks which system it is.
const SYSTEM_ROOMS: [&str; 13] = [
    "adapters/devices/exec/",
    "adapters/devices/gpio/",
    "adapters/service_manager/elsewhere.rs",
    "adapters/service_manager/linux.rs",
    "adapters/service_manager/mod.rs",
    "adapters/service_manager/windows.rs",
    "adapters/signals",
    "adapters/system",
    "adapters/transport/local.rs",
    "adapters/transport/local/",
    "surfaces/desktop/gesture.rs",
    "surfaces/desktop/system.rs",
    "surfaces/desktop/system/",
];

/// What exists on one system only.
const OF_ONE_SYSTEM: [&[&str]; 17] = [
    &["fs4"],
    &["gtk"],
    &["nix"],
    &["rustix"],
    &["sd_notify"],
    &["std", "os"],
    &["tokio", "net", "unix"],
    &["tokio", "net", "UnixListener"],
    &["tokio", "net", "UnixStream"],
    &["tokio", "net", "windows"],
    &["tokio", "signal", "unix"],
    &["tokio", "signal", "windows"],
    &["winapi"],
    &["winapi_util"],
    &["windows"],
    &["windows_service"],
    &["windows_sys"],
];

/// The words by which code asks which system it is.
const SYSTEM_WORDS: [&str; 4] = ["unix", "windows", "target_os", "target_family"];

fn may_differ(file: &str) -> bool {
    is_test_file(file) || SYSTEM_ROOMS.iter().any(|room| file.starts_with(room))
}

/// The complaint about a path that one system alone has.
pub fn of_one(file: &str, path: &Path) -> Option<String> {
    let named = OF_ONE_SYSTEM.iter().any(|start| starts_with(path, start));
    (named && !path.in_test && !may_differ(file)).then(|| {
        format!(
            "`{}` exists on one system only: use adapters/system, or give it a name there (SYSTEM_ROOMS in tests/tidy/systems.rs)",
            path.segments.join("::")
        )
    })
}

/// Finds `cfg(unix)` and its kin. Tests stand at the end of a file and may ask.
pub fn asks(file: &str, tokens: &[Token]) -> Vec<Fault> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut faults = Vec::new();
    for at in 0..tokens.len() {
        if text(at) != "cfg" {
            continue;
        }
        let open = if text(at + 1) == "!" { at + 2 } else { at + 1 };
        if text(open) != "(" {
            continue;
        }
        let end = (open..tokens.len()).find(|at| matches!(text(*at), "]" | ";" | "{"));
        let end = end.unwrap_or(tokens.len());
        let has = |word: &str| (open..end).any(|at| text(at) == word);
        if has("test") {
            if text(end) == "]" && text(end + 1) == "mod" && text(end + 3) == "{" {
                break;
            }
            continue;
        }
        if SYSTEM_WORDS.into_iter().any(has) && !may_differ(file) {
            let what = "asks which system it is: use adapters/system, or give it a name there (SYSTEM_ROOMS in tests/tidy/systems.rs)";
            faults.push(fault(file, tokens[at].line, what.to_owned()));
        }
    }
    faults
}

#[test]
fn what_differs_between_systems_stands_in_few_places() {
    let because = "system";
    for body in [
        "#[cfg(unix)] fn f() {}",
        "#[cfg(not(windows))] fn f() {}",
        "#[cfg(all(unix, not(target_os = \"macos\")))] fn f() {}",
        "const LINUX: bool = cfg!(target_os = \"linux\");",
        "use std::os::unix::fs::MetadataExt as _;",
        "use std::{io, os::fd::AsFd};",
        "fn f() { rustix::process::geteuid(); }",
        "use tokio::signal::unix::signal;",
        "use tokio::net::{TcpStream, UnixStream};",
    ] {
        refused("node/health.rs", body, because);
        refused("surfaces/cli/out.rs", body, because);
        accepted("adapters/system/unix/files.rs", body);
        accepted("node/health/tests.rs", body);
    }
    accepted(
        "node/health.rs",
        "use tokio::net::TcpStream; fn f() { tokio::signal::ctrl_c(); }",
    );
    accepted(
        "node/health.rs",
        "#[cfg(test)] mod tests { use std::os::unix::fs::symlink; #[cfg(unix)] fn f() {} }",
    );
    refused(
        "node/health.rs",
        "#[cfg(test)] use std::io; #[cfg(unix)] fn f() {}",
        because,
    );
}
