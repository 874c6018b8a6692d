//! SECURITY.md and the tests that hold its promises: every promise names at least one test, and
//! every test that is named exists. A promise without a test, or a test that was renamed away,
//! fails here.

use std::collections::BTreeSet;

use super::rules::Fault;

/// The heading whose numbered entries and bullets are promises.
const PROMISES: &[&str] = &["## What we promise", "## Whom we defend against"];
/// How the line that names the tests of a promise begins.
const HELD_BY: &str = "Held by:";
/// A promise that no test can hold says why in these words.
const BY_REVIEW: &str = "Held by review:";

/// The promises of `security` that name no test, and names that are no test in `tests`.
pub fn check(security: &str, tests: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |place: &str, what: String| {
        faults.push(Fault {
            place: place.to_owned(),
            what,
        });
    };
    for (heading, promises) in sections(security) {
        if promises.is_empty() {
            fault(heading, "has no promises".to_owned());
        }
        for promise in promises {
            let start: String = promise.chars().take(60).collect();
            if promise.contains(BY_REVIEW) {
                continue;
            }
            let Some((_, held)) = promise.split_once(HELD_BY) else {
                fault("SECURITY.md", format!("no `{HELD_BY}` in: {start}"));
                continue;
            };
            let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
            if named.is_empty() {
                fault(
                    "SECURITY.md",
                    format!("`{HELD_BY}` names no test in: {start}"),
                );
            }
            for name in named.into_iter().filter(|n| !tests.contains(*n)) {
                fault(
                    "SECURITY.md",
                    format!("there is no test {name} (promise: {start})"),
                );
            }
        }
    }
    faults
}

/// Each section of promises with its entries, continuation lines joined.
fn sections(security: &str) -> Vec<(&'static str, Vec<String>)> {
    PROMISES
        .iter()
        .map(|heading| {
            let body = security
                .split_once(heading)
                .map(|(_, after)| after.split("\n## ").next().unwrap_or_default())
                .unwrap_or_default();
            (*heading, entries(body))
        })
        .collect()
}

fn entries(body: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut within = false;
    for line in body.lines() {
        let begins = line.starts_with("- ")
            || line
                .split_once(". ")
                .is_some_and(|(n, _)| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()));
        match line.trim() {
            "" => within = false,
            text if begins => {
                within = true;
                entries.push(text.to_owned());
            }
            text if within => {
                if let Some(entry) = entries.last_mut() {
                    entry.push(' ');
                    entry.push_str(text);
                }
            }
            _ => {}
        }
    }
    entries
}

/// The names of the test functions of a Rust source.
pub fn tests_of(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(after) = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
            .filter(|_| marked)
        {
            marked = false;
            let name = after.split(['(', '<']).next().unwrap_or_default();
            names.push(name.to_owned());
        }
    }
    names
}
