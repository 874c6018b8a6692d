//! The person's word for a decision or a far-reaching change: given after the record was printed, at a terminal, or with a flag by
//! whoever has looked before.

use std::io::{BufRead, IsTerminal as _, Read as _, Write};

use super::args::DecideArgs;
use super::fail::{Done, Failure};
use super::out;
use super::record::Checked;
use crate::adapters::system;
use crate::domain::gate::NodeCode;
use crate::domain::gate::approval::Verdict;
use crate::domain::policy::Level;

/// Longest answer that is read, in bytes.
const ANSWER_MAX_BYTES: u64 = 1_024;

/// Whether a person can be asked.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Takes the person's word for exactly this record.
///
/// # Errors
/// If it is not given: then nothing is signed.
pub(super) fn take(args: &DecideArgs, verdict: Verdict, checked: &Checked) -> Done {
    let target = checked.record().target.as_str();
    if let Some(start) = &args.digest {
        let digest = checked.signed.digest().to_string();
        if !digest.starts_with(start) {
            return Err(Failure::failed(format!(
                "the digest of this record is {digest}, not {start}…; look at it again with `show`, nothing was signed"
            )));
        }
    }
    let named = match args.target.as_deref() {
        Some(named) if verdict == Verdict::Approve && named != target => {
            return Err(Failure::usage(format!(
                "this proposal moves {target}, not {named}; nothing was signed"
            )));
        }
        named => named.is_some(),
    };
    let must_name = verdict == Verdict::Approve && checked.record().level == Level::L3 && !named;
    let given = args.yes || args.digest.is_some();
    if given && must_name {
        return Err(Failure::usage(format!(
            "this proposal is L3: look at it with `show`, then name what it moves with --target {target}"
        )));
    }
    if given {
        return Ok(());
    }
    if !can_ask() {
        let digest = checked.signed.digest().to_string();
        return Err(Failure::usage(format!(
            "nothing was signed: there is no terminal to ask at. Look at it with `show {}`, then add --digest {} (a start of what you saw), or --yes",
            checked.short(),
            digest.get(..12).unwrap_or(&digest)
        )));
    }
    let wanted = if must_name { target } else { "yes" };
    let wanted = &not_typed_ahead(wanted, || checked.signed.digest().to_string());
    let what = match verdict {
        Verdict::Approve => "approve",
        Verdict::Reject => "reject",
    };
    let prompt = format!("Type {wanted} to {what} exactly this, anything else to leave it: ");
    ask(
        &prompt,
        wanted,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr(),
    )
}

/// The code that the executor shows at its own console, from the person or the next line of stdin.
///
/// # Errors
/// If there is none: then nothing is signed.
pub(super) fn code() -> Result<NodeCode, Failure> {
    if can_ask() {
        let asked = std::io::stderr().write_all(b"The code that the executor shows: ");
        asked.map_err(|e| {
            Failure::failed(format!("nobody can be asked ({e}); nothing was signed"))
        })?;
    }
    let mut line = String::new();
    let read = std::io::stdin()
        .lock()
        .take(ANSWER_MAX_BYTES)
        .read_line(&mut line);
    read.map_err(|e| Failure::failed(format!("stdin: {e}; nothing was signed")))?;
    line.trim()
        .parse()
        .map_err(|e| Failure::usage(format!("{e}; nothing was signed")))
}

/// Takes the person's word for what was just printed.
///
/// # Errors
/// If it is not given: then nothing is signed.
pub(super) fn to_sign(yes: bool, what: &str) -> Done {
    if yes {
        return Ok(());
    }
    if !can_ask() {
        return Err(Failure::usage(
            "nothing was signed: there is no terminal to ask at. If you mean exactly this, add --yes",
        ));
    }
    let wanted = &not_typed_ahead("yes", any_digits);
    ask(
        &format!("Type {wanted} to {what}, anything else to leave it: "),
        wanted,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr(),
    )
}

/// Shows what a change means and takes the person's yes to it.
///
/// # Errors
/// If it is not given: then nothing is changed.
pub(super) fn to_change(yes: bool, what_it_means: &str) -> Done {
    out::error(what_it_means);
    if yes {
        return Ok(());
    }
    if !can_ask() {
        return Err(Failure::usage(
            "nothing was changed: there is no terminal to ask at. If you mean it, add --yes",
        ));
    }
    let wanted = &not_typed_ahead("yes", any_digits);
    ask(
        &format!("Type {wanted} to do it, anything else to leave it: "),
        wanted,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr(),
    )
}

/// The word that is asked for. What was typed before the question is no answer to it: it is dropped, and where the system
/// cannot drop it, digits follow the word that nobody could have typed before they were shown.
fn not_typed_ahead(word: &str, digits: impl FnOnce() -> String) -> String {
    match system::drop_typed() {
        true => word.to_owned(),
        false => format!("{word} {}", digits().chars().take(6).collect::<String>()),
    }
}

/// Digits that are others each time.
fn any_digits() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn ask(prompt: &str, wanted: &str, from: &mut dyn BufRead, to: &mut dyn Write) -> Done {
    // A prompt that cannot be written was not read.
    to.write_all(prompt.as_bytes())
        .and_then(|()| to.flush())
        .map_err(|e| Failure::failed(format!("nobody can be asked ({e}); nothing was signed")))?;
    let mut typed = String::new();
    std::io::Read::take(from, ANSWER_MAX_BYTES)
        .read_line(&mut typed)
        .map_err(|e| Failure::failed(format!("no answer came ({e}); nothing was signed")))?;
    match typed.trim() == wanted {
        true => Ok(()),
        false => Err(Failure::failed("left as it is; nothing was signed")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn only_the_very_word_signs() {
        let said = |typed: &str| {
            let mut shown = Vec::new();
            let answer = ask("Sure? ", "yes", &mut typed.as_bytes(), &mut shown);
            assert_eq!(shown, b"Sure? ");
            answer
        };
        said("yes\n").unwrap();
        for other in ["", "\n", "y\n", "no\n", "YES\n", "yes please\n"] {
            let left = said(other).unwrap_err();
            assert!(left.to_string().contains("nothing was signed"), "{other:?}");
        }
    }
}
