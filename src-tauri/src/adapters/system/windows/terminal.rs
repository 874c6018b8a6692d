//! The console: echo and its width.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::windows::io::AsHandle;
use std::path::Path;

use winapi_util::HandleRef;
use winapi_util::console::{mode, screen_buffer_info, set_mode};

/// What is typed is shown (`ENABLE_ECHO_INPUT`).
const ECHO: u32 = 0x4;

/// Shows a text at a terminal that is named by its path, which Windows does not have.
///
/// # Errors
/// Always.
pub fn show_at(_: &Path, _: &str) -> io::Result<()> {
    Err(io::Error::other("Windows has no terminal with a path"))
}

/// The terminal without echo, until dropped.
#[derive(Debug)]
pub struct Quiet(u32);

impl Quiet {
    /// Turns the echo off.
    ///
    /// # Errors
    /// The OS error.
    pub fn start() -> io::Result<Self> {
        let before = mode(HandleRef::stdin())?;
        set_mode(HandleRef::stdin(), before & !ECHO)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = set_mode(HandleRef::stdin(), self.0);
    }
}

/// Drops what was typed and not read yet; whether that can be done here: it cannot, and what is asked then must be
/// something that nobody could have typed before.
pub fn drop_typed() -> bool {
    false
}

/// How many columns a terminal has.
pub fn columns(_of: &impl AsHandle) -> Option<usize> {
    // Both outputs are of one console, if they are of any.
    let size = screen_buffer_info(HandleRef::stdout()).ok()?.size();
    usize::try_from(size.0).ok()
}

/// Whether a terminal controls this process.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether a write would bring the whole process to a halt: none does here.
pub fn would_stop_us(_output: &File) -> bool {
    false
}
