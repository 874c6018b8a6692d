//! Writing to the terminal: the only place of the CLI that touches stdout and stderr.
//!
//! A reader that goes away (`| head`) is no fault: what cannot be written is dropped quietly.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use super::fail::{Done, Failure};
use super::text;

/// The width lines are broken at where the terminal does not say.
const WIDTH_CHARS: usize = 110;

/// Writes text to stdout as it is; the caller cleans what came from outside.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    let _ = written;
}

/// Writes one clean line to stdout.
pub fn line(text: &str) {
    print(&format!("{}\n", text::clean(text)));
}

/// Writes one clean line to stderr.
pub fn error(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{}", text::line(text));
}

/// Writes text to stderr as it is, for people who read along while stdout is for programs.
pub fn aside(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
}

/// Writes a value as indented JSON.
///
/// # Errors
/// If the value has no JSON form.
pub fn json(value: &impl Serialize) -> Done {
    let json = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::failed(format!("no JSON form: {e}")))?;
    print(&format!("{}\n", text::json_safe(&json)));
    Ok(())
}

/// Writes a value as one line of JSON, for streams.
///
/// # Errors
/// If the value has no JSON form.
pub fn json_line(value: &impl Serialize) -> Done {
    let json =
        serde_json::to_string(value).map_err(|e| Failure::failed(format!("no JSON form: {e}")))?;
    print(&format!("{}\n", text::json_safe(&json)));
    Ok(())
}

/// Writes a table, or `nothing` where there are no rows.
pub fn table(head: &[&str], rows: &[Vec<String>], nothing: &str) {
    if rows.is_empty() {
        line(nothing);
    } else {
        print(&text::table(head, rows, width()));
    }
}

/// Writes `label: value` lines.
pub fn facts(lines: &[(&str, String)]) {
    print(&text::facts(lines, width()));
}

/// Where lines are broken: nowhere in a pipe, else at `COLUMNS` or a usual width.
pub fn width() -> usize {
    if !std::io::stdout().is_terminal() {
        return usize::MAX / 2;
    }
    std::env::var("COLUMNS")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(WIDTH_CHARS)
}
