//! The end of the process that hosts a node: what happens on a signal besides the node's own stop.
//! It runs on the signals' thread, so it works while the store, the log and the network stand still.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::assemble::Opened;
use super::guards::Cut;
use super::handles::Handles;
use super::pulse::{Look, Watch};
use crate::adapters::signals::{Asked, AtOnce, Ends};
use crate::adapters::{log, service_manager};
use crate::domain::base::limits::SAFE_AT_END_MS;

/// The exit code after a second signal.
const AGAIN: i32 = 130;
/// The exit code where the node did not end in time.
const TOO_LONG: i32 = 1;
/// The exit code where the node's tasks stood still.
const STANDS: i32 = 1;

/// Whose actuators are made safe when the process ends. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    node: Arc<Mutex<Option<Concerned>>>,
    /// Whether a hangup asks for the configuration to be read again.
    hangup_reads: bool,
}

#[derive(Debug)]
struct Concerned {
    node: Handles,
    watch: Watch,
}

impl Ending {
    /// As it is for a process that no terminal controls: nothing can hang up there, and the signal asks for the configuration
    /// to be read again.
    pub fn without_terminal() -> Self {
        Self {
            hangup_reads: true,
            ..Self::default()
        }
    }

    /// A node runs from now on, or none does.
    pub fn concerns(&self, opened: Option<&Opened>) {
        let concerned = opened.map(|opened| Concerned {
            watch: Watch::new(opened.handles.pulse.clone()),
            node: opened.handles.clone(),
        });
        *self.locked() = concerned;
    }

    /// How much longer than usual the end may take, for actuators that need their time.
    pub fn patience(&self) -> Duration {
        self.concerned()
            .map_or(Duration::ZERO, |node| node.guards.before_end())
    }

    fn concerned(&self) -> Option<Handles> {
        self.locked()
            .as_ref()
            .map(|concerned| concerned.node.clone())
    }

    fn locked(&self) -> MutexGuard<'_, Option<Concerned>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends for Ending {
    fn each_second(&mut self) -> bool {
        let look = self
            .locked()
            .as_mut()
            .map(|concerned| concerned.watch.look());
        match look {
            Some(Look::Beats) => service_manager::alive(),
            Some(Look::Stands) => return true,
            Some(Look::Quiet) | None => {}
        }
        false
    }

    fn patience(&self) -> Duration {
        Ending::patience(self)
    }

    fn hung_up(&mut self) -> bool {
        if self.hangup_reads
            && let Some(node) = self.concerned()
        {
            node.wiring.ask();
        }
        self.hangup_reads
    }

    fn asked(&mut self, _: Asked) {
        service_manager::stopping("actuators go to their safe state");
        if let Some(node) = self.concerned() {
            // The guards act on threads of their own; the orderly end need not come that far.
            node.guards.secure_each(&Cut::Shutdown);
        }
    }

    async fn at_once(&mut self, why: AtOnce) {
        if let Some(node) = self.concerned() {
            let limit = Duration::from_millis(SAFE_AT_END_MS);
            for left in node.guards.secure_all(Cut::Shutdown, limit).await {
                if !left.safe {
                    let why = left.problem.unwrap_or_default();
                    tracing::error!(actuator = %left.target, "not confirmed to be in its safe state: {why}");
                }
            }
        }
        let (what, code) = match why {
            AtOnce::Again => ("a second signal came before everything had ended", AGAIN),
            AtOnce::TooLong => ("the node did not end in time", TOO_LONG),
            AtOnce::Stands => ("no task of the node has run for some time", STANDS),
        };
        tracing::error!("stopped at once: {what}");
        log::flush();
        process::exit(code);
    }
}
