//! The `exec` driver: commands of this machine that the operator listed, with fixed arguments; those that move are here,
//! those that print a reading in `reading`.
//!
//! No shell around them, no inherited environment, a time limit, a process group of its own that ends as
//! a whole when the time is up. Parameters reach the command as environment variables only, after policy
//! has bounded them. The way back is reserved before anything moves (`standby`), and what a start command
//! began is ended before the safe command counts.

mod reading;
mod settings;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as here;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;

use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use self::here::ExecDriver;
pub(crate) use self::settings::KIND;
#[cfg(test)]
pub(crate) use self::settings::certain;
#[cfg(test)]
pub(crate) use self::unix::tests;
use crate::domain::capability::Capability;

/// How long the last words of a command that has ended are waited for, in milliseconds. They are in
/// the pipe by then; only something it left running can keep the pipe open.
const LAST_WORDS_MS: u64 = 100;
/// Longest part of what a failing command says that is shown, in characters.
const SAID_MAX_CHARS: usize = 120;

/// One operation as a command line.
#[derive(Debug, Clone)]
#[cfg_attr(windows, expect(dead_code, reason = "no command moves there"))]
pub(crate) struct ExecOperation {
    /// The operation's name.
    pub name: String,
    /// The program, absolute, and its arguments.
    pub argv: Vec<String>,
}

/// An actuator driven by commands.
#[derive(Debug, Clone)]
#[cfg_attr(windows, expect(dead_code, reason = "no command moves there"))]
pub(crate) struct ExecConfig {
    /// Identifies this node on this machine: its state directory.
    pub node: PathBuf,
    /// Its name.
    pub capability: Capability,
    /// The operation that is its safe state.
    pub safe: String,
    /// The longest a command may take, in milliseconds.
    pub timeout_ms: u64,
    /// Its operations.
    pub operations: Vec<ExecOperation>,
}

/// What a command prints, at most so many bytes of it.
///
/// # Errors
/// Why it cannot be run, did not end in time, or said no.
pub(super) async fn printed_by(argv: &[String], most: usize) -> Result<Vec<u8>, String> {
    here::printed::run(argv, most).await
}

/// Keeps the first bytes, at most so many, and reads on, so that a talkative command does not die of a closed pipe.
async fn listen(words: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>, most: usize) {
    let Some(mut words) = words else {
        return;
    };
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = words.read(&mut buffer).await {
        let room = most.saturating_sub(said.len());
        said.extend(buffer.iter().take(read.min(room)));
    }
}
