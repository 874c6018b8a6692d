//! The end of the process that hosts a node: what happens on a signal besides the node's own stop.
//! It runs on the signals' thread, so it works while the store, the log and the network stand still.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::assemble::Opened;
use super::guards::Cut;
use super::handles::Handles;
use crate::adapters::log;
use crate::adapters::signals::{Asked, AtOnce, Ends};
use crate::domain::base::limits::SAFE_AT_END_MS;

/// The exit code after a second signal.
const AGAIN: i32 = 130;
/// The exit code where the node did not end in time.
const TOO_LONG: i32 = 1;

/// Whose actuators are made safe when the process ends. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<Mutex<Option<Handles>>>);

impl Ending {
    /// A node runs from now on, or none does.
    pub fn concerns(&self, opened: Option<&Opened>) {
        let node = opened.map(|opened| opened.handles.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }

    /// How much longer than usual the end may take, for actuators that need their time.
    pub fn patience(&self) -> Duration {
        self.node()
            .map_or(Duration::ZERO, |node| node.guards.before_end())
    }

    fn node(&self) -> Option<Handles> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Ends for Ending {
    fn patience(&self) -> Duration {
        Ending::patience(self)
    }

    fn asked(&mut self, _: Asked) {
        if let Some(node) = self.node() {
            // The guards act on threads of their own; the orderly end need not come that far.
            node.guards.secure_each(&Cut::Shutdown);
        }
    }

    async fn at_once(&mut self, why: AtOnce) {
        if let Some(node) = self.node() {
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
        };
        tracing::error!("stopped at once: {what}");
        log::flush();
        process::exit(code);
    }
}
