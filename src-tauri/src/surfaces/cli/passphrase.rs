//! Passphrases from people: typed without echo, or the first line of stdin. Never an argument, which
//! every other program of the machine could read.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use zeroize::Zeroizing;

use super::fail::Failure;
use crate::adapters::keystore::Passphrase;
use crate::adapters::system::Quiet;
use crate::domain::base::limits::PASSPHRASE_MAX_BYTES;

/// Asks for a passphrase at the terminal; where stdin is none, takes its first line if allowed.
///
/// # Errors
/// If there is no terminal and stdin may not be read, or nothing comes.
pub(super) fn ask(prompt: &str, from_stdin: bool) -> Result<Passphrase, Failure> {
    let terminal = std::io::stdin().is_terminal();
    if !terminal && !from_stdin {
        return Err(Failure::usage(
            "your operator key is under a passphrase and there is no terminal to ask at; use --passphrase-stdin",
        ));
    }
    if !terminal {
        return line();
    }
    let quiet = quiet()?;
    say(prompt);
    let typed = line();
    drop(quiet);
    say("\n");
    typed
}

/// Asks for a new passphrase, at the terminal twice.
///
/// # Errors
/// If the two differ, or it is too short, or nothing comes.
pub(super) fn ask_new(prompt: &str) -> Result<Passphrase, Failure> {
    let typed = ask(prompt, true)?;
    typed.good_enough().map_err(Failure::usage)?;
    if std::io::stdin().is_terminal() && !ask("The same again: ", true)?.same_as(&typed) {
        return Err(Failure::usage(
            "the two are not the same; nothing was changed",
        ));
    }
    Ok(typed)
}

/// A secret that is none of a person's: typed without echo, or the first line of stdin.
///
/// # Errors
/// If nothing comes, or it is too long.
pub(super) fn secret(prompt: &str, most_bytes: usize) -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return first_line(most_bytes);
    }
    let quiet = quiet()?;
    say(prompt);
    let typed = first_line(most_bytes);
    drop(quiet);
    say("\n");
    typed
}

/// As [`secret`], where there may be none.
///
/// # Errors
/// If it is too long.
pub(super) fn perhaps(
    prompt: &str,
    most_bytes: usize,
) -> Result<Option<Zeroizing<String>>, Failure> {
    let typed = match std::io::stdin().is_terminal() {
        true => {
            let quiet = quiet()?;
            say(prompt);
            let typed = read_line(most_bytes);
            drop(quiet);
            say("\n");
            typed
        }
        false => read_line(most_bytes),
    };
    let typed = typed.map_err(|e| Failure::failed(format!("the token could not be read: {e}")))?;
    match typed.len() {
        0 => Ok(None),
        n if n > most_bytes => Err(Failure::usage(format!(
            "the token has more than {most_bytes} bytes"
        ))),
        _ => Ok(Some(typed)),
    }
}

fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let written = stderr.write_all(text.as_bytes());
    let _ = written.and_then(|()| stderr.flush());
}

/// The first line of stdin, at most as long as a passphrase may be.
fn line() -> Result<Passphrase, Failure> {
    let typed = read_line(PASSPHRASE_MAX_BYTES)
        .map_err(|e| Failure::failed(format!("the passphrase could not be read: {e}")))?;
    if typed.is_empty() {
        return Err(Failure::usage("no passphrase was given"));
    }
    Ok(Passphrase::new(typed))
}

fn first_line(most_bytes: usize) -> Result<Zeroizing<String>, Failure> {
    let typed = read_line(most_bytes)
        .map_err(|e| Failure::failed(format!("the key could not be read: {e}")))?;
    match typed.len() {
        0 => Err(Failure::usage("no key was given")),
        n if n > most_bytes => Err(Failure::usage(format!(
            "the key has more than {most_bytes} bytes"
        ))),
        _ => Ok(typed),
    }
}

fn read_line(most_bytes: usize) -> std::io::Result<Zeroizing<String>> {
    let most = u64::try_from(most_bytes + 2).unwrap_or(u64::MAX);
    let mut text = Zeroizing::new(String::with_capacity(most_bytes + 2));
    std::io::stdin().lock().take(most).read_line(&mut text)?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\n', '\r']).to_owned(),
    ))
}

/// The terminal without echo, until dropped.
fn quiet() -> Result<Quiet, Failure> {
    Quiet::start().map_err(|e| Failure::failed(format!("the terminal cannot be made quiet: {e}")))
}
