//! Replays what the fuzzer kept, and what real nodes once said, through every reader.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod targets;

use std::path::Path;

use targets::{TARGETS, Target};

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// Runs one input; names its file if the reader panics.
fn run((name, read): Target, bytes: &[u8], from: &Path) {
    let done = std::panic::catch_unwind(|| read(bytes));
    assert!(done.is_ok(), "{name} panicked on {}", from.display());
}

#[test]
fn what_the_fuzzer_kept_panics_nowhere() {
    let mut inputs = 0;
    for target in TARGETS {
        let dir = corpus().join(target.0);
        let files = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut paths: Vec<_> = files.map(|f| f.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} is empty", dir.display());
        for path in paths {
            let bytes = std::fs::read(&path).unwrap();
            run(*target, &bytes, &path);
            // Cut off and with a byte turned, as a bad line would have it.
            run(*target, &bytes[..bytes.len() / 2], &path);
            let mut turned = bytes.clone();
            if let Some(byte) = turned.get_mut(bytes.len() / 3) {
                *byte ^= 0x20;
            }
            run(*target, &turned, &path);
            inputs += 1;
        }
    }
    assert!(
        inputs >= TARGETS.len() * 3,
        "{inputs} inputs are too few to mean anything"
    );
}

#[test]
fn every_corpus_belongs_to_a_reader() {
    for dir in std::fs::read_dir(corpus()).unwrap() {
        let name = dir.unwrap().file_name();
        let known = TARGETS
            .iter()
            .any(|(target, _)| *target == name.to_str().unwrap());
        assert!(
            known,
            "tests/fuzz/corpus/{} is read by nobody",
            name.display()
        );
    }
}

#[test]
fn what_real_gen1_nodes_said_panics_nowhere() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gen1");
    let mut lines = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            // Some lines tell of connections and hold no message.
            let Some(message) = line.get("frame") else {
                continue;
            };
            for target in TARGETS {
                for part in [message, &message["params"], &message["payload"]] {
                    run(*target, part.to_string().as_bytes(), &path);
                }
            }
            lines += 1;
        }
    }
    assert!(lines > 20, "{lines}");
}
