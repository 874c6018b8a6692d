//! The context of every command: the state directory, the running node behind it, the clock, the
//! person's key. Here a start of an id becomes an id; that of a proposal does at the node.

use std::path::PathBuf;

use super::args::Global;
use super::fail::{Exit, Failure};
use super::{clean, demo, format, offline, passphrase};
use crate::adapters::clock::{Clock as _, SystemClock};
use crate::adapters::keystore::{self, OperatorCard, Passphrase};
use crate::adapters::marks::MarkPlaces;
use crate::adapters::paths::StateDir;
use crate::domain::base::TimeMs;
use crate::domain::identity::OperatorKey;
use crate::surfaces::remote::Remote;

/// The context of a command.
#[derive(Debug)]
pub(super) struct Context {
    /// The state directory.
    pub dir: StateDir,
    /// The directory that `--state-dir` names, if it does.
    pub named: Option<PathBuf>,
    /// Whether to print JSON.
    pub json: bool,
    clock: SystemClock,
}

impl Context {
    /// The context of a command line.
    ///
    /// # Errors
    /// If no state directory is named and there is no home directory.
    pub(super) fn new(global: &Global) -> Result<Self, Failure> {
        let env = |name: &str| std::env::var_os(name);
        let dir = StateDir::resolve(global.state_dir.as_deref(), env).map_err(Failure::state)?;
        Ok(Self {
            dir,
            named: global.state_dir.clone(),
            json: global.json,
            clock: SystemClock::default(),
        })
    }

    /// Where it is noted how far the store has come.
    pub(super) fn marks(&self) -> MarkPlaces {
        MarkPlaces::of_machine(|name| std::env::var_os(name))
    }

    /// The current moment.
    pub(super) fn time(&self) -> TimeMs {
        self.clock.now()
    }

    /// The current moment, in milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.time().0
    }

    /// The node that runs on the state directory.
    ///
    /// # Errors
    /// If none does, with the command that starts it.
    pub(super) async fn remote(&self) -> Result<Remote, Failure> {
        self.running().await?.ok_or_else(|| {
            let dir = self.dir.root().display();
            Failure::new(
                Exit::NotRunning,
                format!("no node runs on {dir}; start it: clawmesh-node start --state-dir {dir}"),
            )
        })
    }

    /// The node that runs on the state directory, if one does.
    ///
    /// # Errors
    /// If one seems to run but does not answer.
    pub(super) async fn running(&self) -> Result<Option<Remote>, Failure> {
        Ok(Remote::connect(self.dir.root()).await?)
    }

    /// The public half of the person's key in this state directory.
    ///
    /// # Errors
    /// If there is none, with the command that makes one.
    pub(super) fn operator_card(&self) -> Result<OperatorCard, Failure> {
        offline::operator_card(&self.dir)?.ok_or_else(|| {
            let dir = self.dir.root().display();
            Failure::failed(format!(
                "there is no operator key in {dir}; make one with `clawmesh-node operator init` and enrol it at the executor"
            ))
        })
    }

    /// The person's key in this state directory. One that is under a passphrase is opened with what
    /// the person types, or with the first line of stdin.
    ///
    /// # Errors
    /// If there is none, with the command that makes one, or it does not open.
    pub(super) fn operator_key(&self, from_stdin: bool) -> Result<OperatorKey, Failure> {
        let of_demo = match from_stdin {
            true => None,
            false => self.open_operator_key()?,
        };
        let card = self.operator_card()?;
        let key = match of_demo {
            Some(key) => return Ok(key),
            None if card.protected => {
                let typed = passphrase::ask(&format!("Passphrase of {}: ", card.name), from_stdin)?;
                keystore::unlock_operator_key(&self.dir, &typed)
            }
            None => keystore::load_operator_key(&self.dir),
        };
        key.map(|named| named.key).map_err(|e| Failure::key(&e))
    }

    /// The person's key where nobody has to be asked for it: it is under no passphrase, or under that of the
    /// demonstration.
    ///
    /// # Errors
    /// If there is none, or its file cannot be used.
    pub(super) fn open_operator_key(&self) -> Result<Option<OperatorKey>, Failure> {
        if !self.operator_card()?.protected {
            let key = keystore::load_operator_key(&self.dir);
            return key
                .map(|named| Some(named.key))
                .map_err(|e| Failure::key(&e));
        }
        let of_demo = demo::passphrase::kept(&self.dir).map(Passphrase::new);
        let opened =
            of_demo.and_then(|known| keystore::unlock_operator_key(&self.dir, &known).ok());
        Ok(opened.map(|named| named.key))
    }

    /// The person at the keyboard, as the system names them.
    pub(super) fn person(&self) -> String {
        person()
    }
}

/// The person at the keyboard, as the system names them.
pub(super) fn person() -> String {
    let user = std::env::var("USER").ok().map(|u| clean::line(&u));
    user.filter(|u| !u.is_empty())
        .unwrap_or_else(|| "operator".to_owned())
}

/// The id of a proposal, or the start of one, that a command was given; the node finds which it means.
///
/// # Errors
/// If it is empty.
pub(super) fn proposal(given: &str) -> Result<&str, Failure> {
    match given.is_empty() {
        true => Err(Failure::new(Exit::NotFound, "name a proposal")),
        false => Ok(given),
    }
}

/// The only id that starts with `wanted`; an exact match wins.
///
/// # Errors
/// If there is none or more than one.
pub(super) fn unique<'a>(
    what: &str,
    wanted: &str,
    ids: impl Iterator<Item = &'a str>,
) -> Result<String, Failure> {
    let fitting: Vec<&str> = ids.filter(|id| id.starts_with(wanted)).collect();
    let missing = |why: String| Failure::new(Exit::NotFound, why);
    match fitting.as_slice() {
        _ if wanted.is_empty() => Err(missing(format!("name a {what}"))),
        [] => Err(missing(format!(
            "there is no {what} {wanted:?}; list them first"
        ))),
        [one] => Ok((*one).to_owned()),
        many if many.contains(&wanted) => Ok(wanted.to_owned()),
        many => {
            let shown: Vec<String> = many.iter().take(5).map(|id| format::short(id)).collect();
            Err(missing(format!(
                "{wanted:?} fits {} of them ({}); give more of the id",
                many.len(),
                shown.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_prefix_must_fit_one() {
        let ids = ["abc", "abd", "abcde"];
        let find = |w: &str| unique("proposal", w, ids.into_iter());
        assert_eq!(find("abd").unwrap(), "abd");
        assert_eq!(find("abc").unwrap(), "abc");
        for bad in ["ab", "x", ""] {
            assert_eq!(find(bad).unwrap_err().exit, Exit::NotFound, "{bad:?}");
        }
    }
}
