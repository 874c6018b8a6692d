//! libFuzzer over one reader, which `CLAWMESH_FUZZ` names.
#![no_main]
#![allow(missing_docs)]

#[path = "../targets.rs"]
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

fn chosen() -> Target {
    let name = std::env::var("CLAWMESH_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    *found.unwrap_or_else(|| panic!("CLAWMESH_FUZZ={name:?} names no reader"))
}

static READER: OnceLock<Target> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| (READER.get_or_init(chosen).1)(bytes));
