//! How a command fails: one line that says what to do, and an exit code that programs rely on.

use std::fmt;

use super::clean;
use crate::adapters::keystore::KeyError;
use crate::domain::base::{Code, Refusal};
use crate::surfaces::remote::RemoteError;

/// Exit codes; `--help` and the README list the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Refused, or tried and failed.
    Failed = 1,
    /// The command line or a configuration is wrong.
    Usage = 2,
    /// There is no such thing, or several.
    NotFound = 3,
    /// The node does not run or does not answer.
    NotRunning = 4,
    /// The state directory cannot be used.
    State = 5,
    /// A check that was asked for did not pass.
    Unverified = 6,
    /// `status` found a critical alarm, or a node ended with an actuator that is not confirmed safe.
    Alarm = 7,
}

/// The exit codes as `--help` shows them.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  refused or failed
  2  wrong usage: flags, arguments, configuration
  3  not found, or more than one matches
  4  the node is not running or does not answer
  5  the state directory cannot be used (in use, corrupt, full, permissions)
  6  verification failed (audit verify, policy test, rehearse, device test), or doctor found a fault
  7  a critical alarm stands (status), or an actuator is not confirmed safe (start)";

/// A command's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exit code of the process.
    pub exit: Exit,
    /// The message for a person; one line.
    pub message: String,
    /// Further lines where one would be too long to read: what stands there, what to do. Few.
    pub more: Vec<String>,
}

/// The result of every command.
pub(super) type Done = Result<(), Failure>;

impl Failure {
    /// A failure; line breaks and control characters in `message` become spaces.
    pub(super) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: clean::line(&message.to_string()),
            more: Vec::new(),
        }
    }

    /// With one more line below the message.
    #[must_use]
    pub(super) fn and(mut self, line: impl fmt::Display) -> Self {
        self.more.push(clean::line(&line.to_string()));
        self
    }

    /// The failure for a faulty key: a passphrase that does not open it or a key that is not there is a
    /// refusal; a file that cannot be used is the state directory's fault.
    pub(super) fn key(error: &KeyError) -> Self {
        match error {
            KeyError::WrongPassphrase { .. }
            | KeyError::Locked { .. }
            | KeyError::NoOperatorKey { .. } => Self::failed(error),
            other => Self::state(other),
        }
    }

    /// Refused, or tried and failed.
    pub(super) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Wrong usage.
    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The state directory cannot be used.
    pub(super) fn state(message: impl fmt::Display) -> Self {
        Self::new(Exit::State, message)
    }

    /// A refusal of the node or of the rules, with the code in front.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::new(
            exit_of(refusal.code.as_str()),
            format!("{}: {}", refusal.code, refusal.message),
        )
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        match &error {
            RemoteError::Refused { code, .. } => Self::new(exit_of(code), &error),
            RemoteError::File { .. } | RemoteError::Tokens(_) => Self::new(Exit::State, &error),
            RemoteError::Sink { .. } => Self::new(Exit::Failed, &error),
            RemoteError::Unreachable { .. } | RemoteError::TimedOut { .. } => {
                let what = "is it still running? its log says more";
                Self::new(Exit::NotRunning, format!("{error}; {what}"))
            }
            RemoteError::Answer { .. } => {
                let what = "does it run the same version as this program?";
                Self::new(Exit::Failed, format!("{error}; {what}"))
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The exit code for a refusal code of the node.
pub(super) fn exit_of(code: &str) -> Exit {
    let not_found = [
        Code::ProposalNotFound.as_str(),
        Code::ProposalAmbiguous.as_str(),
        Code::TargetAmbiguous.as_str(),
    ];
    if not_found.contains(&code) || code.ends_with("_NOT_FOUND") {
        Exit::NotFound
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::failed("first\nsecond\u{1b}[31m");
        assert!(!failure.message.contains(['\n', '\u{1b}']));
    }

    #[test]
    fn a_wrong_passphrase_is_a_refusal_and_no_fault_of_the_state_directory() {
        let file = || "operator.json".to_owned();
        let exit = |error: KeyError| Failure::key(&error).exit;
        assert_eq!(
            exit(KeyError::WrongPassphrase { file: file() }),
            Exit::Failed
        );
        assert_eq!(exit(KeyError::NoOperatorKey { file: file() }), Exit::Failed);
        assert_eq!(exit(KeyError::Exists { file: file() }), Exit::State);
    }

    #[test]
    fn every_exit_code_is_documented() {
        for exit in [
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::NotRunning,
            Exit::State,
            Exit::Unverified,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit as u8)));
        }
    }

    #[test]
    fn what_is_not_there_has_its_own_exit_code() {
        assert_eq!(exit_of("PROPOSAL_NOT_FOUND"), Exit::NotFound);
        assert_eq!(exit_of("APPROVAL_INVALID"), Exit::Failed);
    }
}
