//! The terminal: echo, what was typed ahead, its width, and background processes.

use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr,
};

/// The terminal without echo, until dropped.
#[derive(Debug)]
pub struct Quiet(Termios);

impl Quiet {
    /// Turns the echo off.
    ///
    /// # Errors
    /// The OS error.
    pub fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Drops what was typed and not read yet; whether that can be done here.
pub fn drop_typed() -> bool {
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
    true
}

/// Shows a text at a terminal, which is named by its path and need not be this process's own. One that takes no text now is
/// not waited for.
///
/// # Errors
/// If it is no terminal, may not be written to, or takes no text.
pub fn show_at(path: &Path, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())?;
    let mut terminal = File::from(opened);
    if !terminal.is_terminal() {
        return Err(io::Error::other("this is not a terminal"));
    }
    terminal.write_all(text.as_bytes())
}

/// How many columns a terminal has.
pub fn columns(of: &impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(of).ok()?;
    Some(usize::from(size.ws_col))
}

/// Whether a terminal controls this process. One that has gone since the start does no more.
pub fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether a write would bring the whole process to a halt: a terminal with `stty tostop` stops what
/// writes to it from the background.
pub fn would_stop_us(output: &File) -> bool {
    let fd = output.as_fd();
    fd.is_terminal()
        && tcgetattr(fd).is_ok_and(|t| t.local_modes.contains(LocalModes::TOSTOP))
        && tcgetpgrp(fd).is_ok_and(|foreground| foreground != getpgrp())
}
