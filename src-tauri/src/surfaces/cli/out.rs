//! Writing to the terminal: the only place of the CLI that touches stdout and stderr.
//!
//! Failed writes make the command fail at its end, see [`arrived`]. A reader that stalls makes
//! a command wait, but never a program that runs on, such as a node: see [`never_wait`].

use std::io::{ErrorKind, IsTerminal, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;

use super::fail::{Done, Failure};
use super::{clean, layout};
use crate::adapters::lines::Lines;
use crate::adapters::log;
use crate::adapters::system;
use crate::domain::base::limits::LOG_FLUSH_MS;

/// The width lines are broken at where the terminal does not say.
const WIDTH_CHARS: usize = 110;

/// Stdout and stderr of a program that waits for neither.
static LINES: OnceLock<(Lines, Lines)> = OnceLock::new();

/// Why something could not be written to stdout, once it happened.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// From now on what is written here is queued for threads of their own, and dropped where nobody
/// reads: what `start` and `demo` have to do does not wait for a terminal.
///
/// # Errors
/// If the system has no descriptor or thread left.
pub(super) fn never_wait() -> Done {
    let both = Lines::to(std::io::stdout(), "stdout", |_| {})
        .and_then(|stdout| Ok((stdout, log::stderr()?)))
        .map_err(|e| Failure::failed(format!("the output cannot be set up: {e}")))?;
    LINES.get_or_init(|| both);
    Ok(())
}

/// From now on what is written here goes into the log: there is no terminal at all.
///
/// # Errors
/// If there is no log.
pub(super) fn into_log() -> Done {
    let lines =
        log::stderr().map_err(|e| Failure::failed(format!("the output cannot be set up: {e}")))?;
    LINES.get_or_init(|| (lines.clone(), lines));
    Ok(())
}

/// Waits a moment for what is queued; for the end of the process.
pub(super) fn flush() {
    if let Some((stdout, _)) = LINES.get() {
        stdout.flush(Duration::from_millis(LOG_FLUSH_MS / 2));
    }
}

/// Writes text to stdout as it is; the caller cleans what came from outside.
pub(super) fn print(text: &str) {
    if let Some((stdout, _)) = LINES.get() {
        return stdout.push(text.as_bytes().to_vec());
    }
    if LOST.get().is_some() {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    if let Err(error) = written {
        LOST.get_or_init(|| error);
    }
}

/// Whether everything that was printed could be written; commands that go on printing ask each time.
///
/// # Errors
/// Why not. A reader that left early (`| head`) knows it, so nothing is said of that.
pub(super) fn arrived() -> Done {
    match LOST.get() {
        None => Ok(()),
        Some(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::failed("")),
        Some(error) => Err(Failure::failed(format!(
            "the output is cut off, it could not be written: {error}"
        ))),
    }
}

/// Writes one clean line to stdout, broken where the terminal would break it.
pub(super) fn line(text: &str) {
    let lines = layout::hang(&clean::clean(text), width());
    print(&format!("{}\n", lines.join("\n")));
}

/// Writes one clean line to stdout that is never broken: what is there to be copied.
pub(super) fn whole(text: &str) {
    print(&format!("{}\n", clean::clean(text)));
}

/// Writes one clean line to stderr, broken where the terminal would break it.
pub(super) fn error(text: &str) {
    let lines = layout::hang(&clean::line(text), width_aside());
    let line = format!("{}\n", lines.join("\n"));
    if let Some((_, stderr)) = LINES.get() {
        return stderr.push(line.into_bytes());
    }
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(line.as_bytes());
}

/// Writes text to stderr as it is, for people who read along while stdout is for programs.
pub(super) fn aside(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
}

/// Writes one clean line to stderr, beside the output.
pub(super) fn aside_line(text: &str) {
    aside(&format!("{}\n", clean::line(text)));
}

/// Writes a value as indented JSON.
///
/// # Errors
/// If the value has no JSON form.
pub(super) fn json(value: &impl Serialize) -> Done {
    let json = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::failed(format!("no JSON form: {e}")))?;
    print(&format!("{}\n", clean::json_safe(&json)));
    Ok(())
}

/// Writes a value as one line of JSON, for streams.
///
/// # Errors
/// If the value has no JSON form.
pub(super) fn json_line(value: &impl Serialize) -> Done {
    let json =
        serde_json::to_string(value).map_err(|e| Failure::failed(format!("no JSON form: {e}")))?;
    print(&format!("{}\n", clean::json_safe(&json)));
    Ok(())
}

/// Writes a table, or `nothing` where there are no rows.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], nothing: &str) {
    if rows.is_empty() {
        line(nothing);
    } else {
        print(&layout::table(head, rows, width()));
    }
}

/// Writes `label: value` lines.
pub(super) fn facts(lines: &[(&str, String)]) {
    print(&layout::facts(lines, width()));
}

/// Where lines on stdout are broken: nowhere in a pipe, else at `COLUMNS`, the width of the terminal, or
/// a usual width where neither says one.
pub(super) fn width() -> usize {
    width_of(&std::io::stdout())
}

/// Where lines on stderr are broken, as [`width`].
pub(super) fn width_aside() -> usize {
    width_of(&std::io::stderr())
}

fn width_of(to: &(impl IsTerminal + system::Stream)) -> usize {
    if !to.is_terminal() {
        return usize::MAX / 2;
    }
    let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    said.or_else(|| system::columns(to))
        .filter(|columns| *columns > 0)
        .unwrap_or(WIDTH_CHARS)
}
