//! Linux, macOS and their kin.

pub(super) mod files;
pub(super) mod machine;
pub(super) mod process;
pub(super) mod serial;
pub(super) mod terminal;
