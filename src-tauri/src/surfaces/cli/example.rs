//! Keeps `config.example.toml` true: it parses, it resolves, and it documents every key there is.
//!
//! The keys are taken from the parser's own complaint about an unknown one, so that a new key
//! without documentation fails here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use crate::adapters::devices::Kind;
use crate::node::RawConfig;

const EXAMPLE: &str = include_str!("../../../../config.example.toml");

/// The example with every commented-out key switched on.
fn switched_on() -> String {
    EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The keys the parser would have accepted where `text` has a `zzz`.
fn keys_at(text: &str) -> Vec<String> {
    let error = RawConfig::parse(text, "x").unwrap_err().to_string();
    let expected = error
        .split_once("expected")
        .unwrap_or_else(|| panic!("{error}"))
        .1;
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn documented(section: &str, key: &str) -> bool {
    let written = [
        format!("{key} = "),
        format!("[{key}]"),
        format!("[[{key}]]"),
        format!("[[device.{key}]]"),
    ];
    section.lines().any(|line| {
        let line = line.trim_start_matches(['#', '~', ' ']);
        written.iter().any(|w| line.starts_with(w.as_str()))
    })
}

#[test]
fn the_example_parses_as_it_is_and_with_every_key_on() {
    let plain = RawConfig::parse(EXAMPLE, "config.example.toml").unwrap();
    plain.resolve(PathBuf::new()).unwrap();
    let raw = RawConfig::parse(&switched_on(), "config.example.toml").unwrap();
    let is_device = |line: &&str| matches!(*line, "[[device]]" | "[[actuator]]");
    let devices = switched_on().lines().filter(is_device).count();
    assert_eq!(
        (raw.devices.len(), raw.rule.len(), raw.peers.len()),
        (devices, 1, 1)
    );
    let config = raw.resolve(PathBuf::new()).unwrap();
    let counts = (config.rules.len(), config.models.all.len());
    assert_eq!((counts, config.questions.len()), ((1, 3), 1));
}

#[test]
fn the_example_documents_every_key() {
    let places = [
        ("zzz = 1", ""),
        ("[store]\nzzz = 1", "[store]"),
        ("[[rule]]\nzzz = 1", "[[rule]]"),
        ("[[question]]\nzzz = 1", "[[question]]"),
        ("[[redundant]]\nzzz = 1", "[[redundant]]"),
        ("[[model]]\nzzz = 1", "[[model]]"),
        ("[inference]\nzzz = 1", "[inference]"),
        ("[privacy]\nzzz = 1", "[privacy]"),
        ("[telegram]\nzzz = 1", "[telegram]"),
        ("[slack]\nzzz = 1", "[slack]"),
        ("[console]\nzzz = 1", "[console]"),
        ("[updates]\nzzz = 1", "[updates]"),
        ("[[alert]]\nzzz = 1", "[[alert]]"),
        ("[alerts]\nzzz = 1", "[alerts]"),
        ("[[notify]]\nzzz = 1", "[[notify]]"),
    ];
    for (text, heading) in places {
        let keys = keys_at(text);
        assert!(keys.len() >= 2, "{heading}: {keys:?}");
        all_documented(heading, &EXAMPLE[EXAMPLE.find(heading).unwrap()..], keys);
    }
    assert!(EXAMPLE.contains("#[[actuator]]\n#driver = "));
}

#[track_caller]
fn all_documented(what: &str, section: &str, keys: Vec<String>) {
    for key in keys {
        assert!(
            documented(section, &key),
            "config.example.toml lacks {key} of {what}"
        );
    }
}

#[test]
fn the_example_documents_every_kind_of_device() {
    for kind in Kind::names().filter(|kind| *kind != "pretend") {
        let table = format!("[[device]]\nkind = \"{kind}\"\n");
        let written = table.replace("\n", "\n#");
        let start = EXAMPLE.find(written.trim_end_matches('#'));
        let start = start.unwrap_or_else(|| panic!("config.example.toml lacks the kind {kind}"));
        let section = &EXAMPLE[start..];
        let end = section[1..]
            .find("#[[device]]")
            .unwrap_or(section.len() - 1);
        let mut keys = keys_at(&format!("{table}zzz = 1"));
        // The older spelling of `kind`.
        keys.retain(|key| key != "driver");
        for (inner, needed) in [
            ("operation", ""),
            ("reading", "metric = \"m\"\n"),
            ("actuator", ""),
        ] {
            if keys.iter().any(|key| key == inner) {
                let text = format!("{table}[[device.{inner}]]\n{needed}zzz = 1");
                keys.extend(keys_at(&text));
            }
        }
        keys.retain(|key| key != "operation");
        all_documented(kind, &section[..end], keys);
    }
}
