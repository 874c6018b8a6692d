//! A start that is refused: what an earlier run may have left moving is made safe first, as far as the
//! configuration says how, unless another process holds the state directory (invariant I9). What is not made
//! safe, also of what the store alone knows, is told by name. It changes nothing else.
//!
//! The file is read leniently here: a wrong key elsewhere in it, or a directory that takes no writes,
//! must not leave a pump on. A start that gets further makes safe by its own guards (`open`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::alarms::Alarms;
use super::context::tasks::Tasks;
use super::credentials::Own;
use super::guards::moved::{self, Moved};
use super::guards::{Guards, Secured};
use super::surroundings::environment;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::{self, Ground, Keeper, SharedActuator};
use crate::adapters::files;
use crate::adapters::paths::StateDir;
use crate::adapters::store::{Store, StoreError};
use crate::domain::base::limits::{RESCUE_FILE_MAX_BYTES, SAFE_AT_START_MS};
use crate::domain::capability::Capability;

const BY_HAND: &str = "make it safe by hand now, or mend config.toml so that it has its block as it was, and start again";

/// Makes every actuator safe that `more` names or that the configuration file of a directory tells of,
/// waiting no longer than a start does. Logs what is not confirmed to be safe and returns it, a sentence each.
pub async fn make_safe(
    dir: &StateDir,
    more: Vec<SharedActuator>,
    clock: &SharedClock,
) -> Vec<String> {
    let mut found = more;
    let (configured, unread) = configured(dir);
    found.extend(configured);
    if found.is_empty() && !has_store(dir) {
        return told(unread.into_iter().collect());
    }
    // Write access to the file would be enough to have any command run.
    if dir.is_open_to_others() {
        let why = format!(
            "{} can be written by others, so no command in it is run: its actuators stay as they are; look at them now",
            dir.root().display()
        );
        return told(vec![why]);
    }
    let _hold = match dir.hold() {
        Ok(Some(hold)) => hold,
        Ok(None) => {
            return match dir.held_by_command() {
                // A node runs there, and its guards see to them.
                None => Vec::new(),
                Some(holder) => told(vec![format!(
                    "a command holds {} (pid {holder}), so the actuators of an earlier run stay as they are: start the node \
                     again in a moment, or look at them now",
                    dir.root().display()
                )]),
            };
        }
        Err(error) => {
            let why = format!(
                "whether another node holds the directory is not known ({error}), so its actuators stay as they are; look at \
                 them now"
            );
            return told(vec![why]);
        }
    };
    let (found, mut left) = one_each(found, dir);
    left.extend(unread);
    let (tasks, alarms) = (Tasks::new(), Arc::new(Alarms::default()));
    // Without threads of their own: this works too where the system gives none.
    let guards = Guards::start(found, clock, &alarms, &tasks, false);
    match &guards {
        Ok((guards, _)) => {
            left.extend(unsafe_still(dir, guards).await);
        }
        Err(error) => left.push(format!("the actuators could not be made safe: {error}")),
    }
    tasks.shut_down().await;
    // Not before: a guard whose node is gone ends.
    drop(guards);
    told(left)
}

const COPY_ALONE: &str = "the store does not read; which actuators were moved and not seen safe since is known from \
     moved.json alone, which may lack the last movement: look at the actuators of this node now";
const NOT_KNOWN: &str = "the store does not read, so which actuators were moved and not seen safe since is not known: look at \
     every actuator of this node now";

/// Waits until all actuators of guards are safe, no longer than a start does, and says what is not: of them, and of
/// what the store lists as moved. Where that list does not read, that is said too.
async fn unsafe_still(dir: &StateDir, guards: &Guards) -> Vec<String> {
    let not_safe = guards
        .all_safe(Duration::from_millis(SAFE_AT_START_MS))
        .await;
    let mut left: Vec<String> = not_safe.iter().map(in_words).collect();
    let listed = listed(dir);
    let (all, unknown) = match listed {
        Ok(all) => (all, None),
        Err(_) => match moved::copied(dir) {
            Some(all) => (all, Some(COPY_ALONE)),
            None => (Vec::new(), Some(NOT_KNOWN)),
        },
    };
    let gone = all.iter().filter(|moved| !moved.is_in(guards));
    left.extend(gone.map(|moved| {
        format!(
            "{} was moved ({}) and nothing has confirmed since that it is in its safe state: {BY_HAND}",
            moved.target,
            moved.in_words()
        )
    }));
    left.extend(unknown.map(str::to_owned));
    left
}

/// As [`make_safe`], of a start whose configuration is whole and has guards.
pub async fn made_safe(dir: &StateDir, guards: &Guards) -> Vec<String> {
    told(unsafe_still(dir, guards).await)
}

/// An actuator that is not confirmed safe, in a sentence.
pub fn in_words(left: &Secured) -> String {
    let why = left.problem.as_deref().unwrap_or("no answer of its driver");
    format!(
        "{} is not confirmed to be in its safe state: {why}",
        left.target
    )
}

fn told(left: Vec<String>) -> Vec<String> {
    for sentence in &left {
        tracing::error!("{sentence}");
    }
    left
}

/// One way to the safe state for each actuator, and what is left without one. Where the file says several, the one
/// by which the actuator was to be made safe when it was last moved is certain, as its node took it from a whole file;
/// else none is, and none is run: it may be what moves.
fn one_each(found: Vec<SharedActuator>, dir: &StateDir) -> (Vec<SharedActuator>, Vec<String>) {
    let mut by_name: BTreeMap<Capability, Vec<SharedActuator>> = BTreeMap::new();
    for actuator in found {
        let same = by_name.entry(actuator.capability().clone()).or_default();
        if same.iter().all(|a| a.safe_way() != actuator.safe_way()) {
            same.push(actuator);
        }
    }
    let (mut certain, mut left) = (Vec::new(), Vec::new());
    for (target, mut ways) in by_name {
        if ways.len() > 1 {
            let listed = listed(dir).ok().or_else(|| moved::copied(dir));
            let listed = listed.unwrap_or_default();
            let last = listed.iter().rev().filter(|moved| moved.target == target);
            let mut last = last.filter(|moved| moved.far.is_none());
            let was = last.find_map(|moved| ways.iter().position(|a| a.safe_way() == moved.way));
            match was {
                Some(at) => ways = vec![ways.swap_remove(at)],
                None => {
                    left.push(format!(
                        "{target} stays as it is: config.toml has it more than once, with different safe commands, and none \
                         is certain: {BY_HAND}"
                    ));
                    continue;
                }
            }
        }
        certain.extend(ways);
    }
    (certain, left)
}

fn has_store(dir: &StateDir) -> bool {
    dir.database().exists() || dir.has_had_store()
}

/// The actuators that the store of a directory lists as moved and not seen safe since; it is only read.
fn listed(dir: &StateDir) -> Result<Vec<Moved>, StoreError> {
    if !has_store(dir) {
        return Ok(Vec::new());
    }
    let store = Store::open_to_read(&dir.database())?;
    store.read_blocking("moved actuators", moved::all)
}

/// The actuators that the configuration file tells of, each with its safe operation alone, and what is wrong with the
/// file itself. Of one that is too large for a start its beginning is looked at.
fn configured(dir: &StateDir) -> (Vec<SharedActuator>, Option<String>) {
    let path = dir.config_file();
    let read = files::open(&path).and_then(|file| {
        let bytes = file.metadata()?.len();
        files::read_opened_up_to(file, RESCUE_FILE_MAX_BYTES).map(|read| (read, bytes))
    });
    let look = "look at every actuator that it names now";
    match read {
        Ok((file, bytes)) => {
            let rest = bytes > RESCUE_FILE_MAX_BYTES;
            let why = rest.then(|| {
                format!(
                    "{} has {} MiB, of which {} were looked through for actuators; those behind them stay as they are: {look}",
                    path.display(),
                    bytes >> 20,
                    RESCUE_FILE_MAX_BYTES >> 20
                )
            });
            let keeper: Arc<dyn Keeper> = Arc::new(Own::of(dir.clone(), environment));
            let ground = Ground {
                dir: dir.root(),
                keeper: &keeper,
            };
            (devices::rescue(&file, &ground), why)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => {
            let why = format!(
                "{} does not read ({error}), so the actuators that it alone names stay as they are: {look}",
                path.display()
            );
            (Vec::new(), Some(why))
        }
    }
}
