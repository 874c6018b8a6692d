//! A start that is refused: what an earlier run may have left moving is made safe first, as far as the
//! configuration says how, unless another process holds the state directory (invariant I9).
//!
//! The file is read leniently here: a wrong key elsewhere in it, or a directory that takes no writes,
//! must not leave a pump on. A start that gets further makes safe by its own guards (`open`).

use std::sync::Arc;
use std::time::Duration;

use super::context::alarms::Alarms;
use super::context::tasks::Tasks;
use super::guards::Guards;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::{self, SharedActuator};
use crate::adapters::files;
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{CONFIG_FILE_MAX_BYTES, SAFE_AT_START_MS};

/// Makes every actuator safe that `more` names or that the configuration file of a directory tells of,
/// waiting no longer than a start does, and logs what is not confirmed.
pub async fn make_safe(dir: &StateDir, more: Vec<SharedActuator>, clock: &SharedClock) {
    let mut found = more;
    found.extend(configured(dir));
    if found.is_empty() {
        return;
    }
    // Whoever can write there could have any command run.
    if dir.is_open_to_others() {
        return tracing::error!(
            "{} can be written by others, so no command in it is run: its actuators stay as they are",
            dir.root().display()
        );
    }
    let _hold = match dir.hold() {
        Ok(Some(hold)) => hold,
        // A node runs there, and its guards see to them.
        Ok(None) => return,
        Err(error) => {
            return tracing::error!(
                "whether another node holds the directory is not known ({error}), so its actuators stay as they are"
            );
        }
    };
    let (tasks, alarms) = (Tasks::new(), Arc::new(Alarms::default()));
    // Without threads of their own: this works too where the system gives none.
    let guards = match Guards::start(found, clock, &alarms, &tasks, false) {
        Ok(guards) => guards,
        Err(error) => return tracing::error!("the actuators could not be made safe: {error}"),
    };
    let within = Duration::from_millis(SAFE_AT_START_MS);
    for left in guards.all_safe(within).await {
        let why = left.problem.unwrap_or_default();
        tracing::error!(actuator = %left.target, "not confirmed to be in its safe state: {why}");
    }
    tasks.shut_down().await;
}

/// The actuators that the configuration file tells of, each with its safe operation alone.
fn configured(dir: &StateDir) -> Vec<SharedActuator> {
    let text = match files::read_text(&dir.config_file(), CONFIG_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::error!("the configuration does not read, so no actuator is known: {error}");
            return Vec::new();
        }
    };
    devices::rescue(&text, dir.root())
}
