//! What differs between operating systems, as one list of names with an implementation for each system: files and who may
//! use them, processes, the terminal, the machine. Neutral ground that every family may use.
//!
//! A name that one system lacks does not compile there, which `scripts/foreign` checks. Only this room, and those that
//! `tests/tidy/systems.rs` names beside it, may ask which system it is.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as here;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;
#[cfg(windows)]
pub use windows::system_program;

#[cfg(any(windows, test))]
mod sddl;

/// Files: who may use them, what tells one from another, and the ways to open them that wait for nothing.
pub use here::files::{
    Stream, advice_to_own, copy_of, disk, entry_id, file_id, for_all, for_owner, foreign_owner,
    lock_folder, long_path, make_private_dir, names_of, open_lock, open_or_make, open_plain,
    open_to_write, others_may_read, others_may_write, restrict, rights, sync_name,
};
/// The machine, the places that it has for state, and what hides the memory of a process.
pub use here::machine::{
    HOME_VARIABLE, default_state_dir, journal_of_stderr, limit_open_files, machine_id,
    mark_folders, no_dumps, open_files_limit, share_port, steady_ms, unheard_at_most,
};
/// Processes that this one starts and ends.
pub use here::process::{
    ask_to_end, bare, in_own_group, is_administrator, kill_self, signal_of, user_number,
};
/// Serial ports: what names one, and what keeps others off it.
pub use here::serial::{claim_port, is_port};
/// The terminal.
pub use here::terminal::{Quiet, columns, drop_typed, has_terminal, show_at, would_stop_us};

/// The account of the service `clawmesh-node` of Windows (`NT SERVICE\clawmesh-node`), as its tools take it. Its number follows
/// from its name: the SHA-1 sum of the name in capitals as UTF-16. What runs under it is the node that the administrator has
/// installed as that service.
pub const SERVICE_ACCOUNT: &str = "*S-1-5-80-326923544-3975239612-1228487156-1269689144-1426928730";

/// Tells a file from every other one, also from a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The file system that it is on.
    pub volume: u64,
    /// Its number there.
    pub number: u64,
}

/// How others than its owner may use a file, and what ends that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The rights, in the system's words.
    pub how: String,
    /// The command that takes them away.
    pub mend: String,
}

/// The room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that this process may still write.
    pub free: u64,
    /// All of its bytes.
    pub whole: u64,
    /// Whether nothing can be written there; `false` where the system does not say.
    pub read_only: bool,
}
