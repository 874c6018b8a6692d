//! Actuators that this node has moved and not seen safe since, on disk. After a crash and a change of the
//! configuration nothing else knows that one of them may still be away from its safe state. A small file beside the
//! store holds a copy, for when the store does not read; it is written behind the store, and nothing waits for it.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::Guards;
use crate::adapters::files;
use crate::adapters::paths::{PathError, StateDir, write_private};
use crate::adapters::store::{Class, StoreError, kv};
use crate::domain::base::limits::MOVED_FILE_MAX_BYTES;
use crate::domain::base::{Code, DeviceId, Digest, ProposalId, Refusal, TimeMs};
use crate::domain::capability::Capability;
use crate::node::context::Context;

const MOVED: &str = "actuators.moved";

/// The gen-1 node behind an actuator, and what that node calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Far {
    /// The node.
    pub device: DeviceId,
    /// The actuator's name there.
    pub target: Capability,
}

impl Far {
    /// Where an actuator is now, if it is at a gen-1 node.
    pub fn of(guards: &Guards, target: &Capability) -> Option<Self> {
        guards.gen1(target)
    }
}

/// One movement whose actuator has not been confirmed safe since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The actuator.
    pub target: Capability,
    /// Where it was then, if not at this machine.
    pub far: Option<Far>,
    /// What brought it to its safe state then; see [`Actuator::safe_way`].
    ///
    /// [`Actuator::safe_way`]: crate::adapters::devices::Actuator::safe_way
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Digest>,
    /// The proposal that moved it.
    pub proposal: ProposalId,
    /// When it began.
    pub at: TimeMs,
}

impl Moved {
    /// A movement of an actuator as the configuration has it now.
    pub fn new(guards: &Guards, target: Capability, proposal: ProposalId, at: TimeMs) -> Self {
        Self {
            far: Far::of(guards, &target),
            way: guards.safe_way(&target),
            target,
            proposal,
            at,
        }
    }

    /// Whether the configuration has the actuator that was moved, and not something else under its name.
    pub fn is_in(&self, guards: &Guards) -> bool {
        if !guards.has(&self.target) {
            return false;
        }
        // An earlier version did not note the way.
        let same_way = self.way.is_none() || guards.safe_way(&self.target) == self.way;
        self.far == Far::of(guards, &self.target) && same_way
    }

    /// Which thing was moved and by what, in words.
    pub fn in_words(&self) -> String {
        let place = match (&self.far, self.way) {
            (Some(far), _) => format!("{} of the gen-1 node {}", far.target, far.device),
            (None, Some(way)) => {
                let way: String = way.to_hex().chars().take(8).collect();
                format!("at this machine, safe command {way}")
            }
            (None, None) => "at this machine".to_owned(),
        };
        format!("{place}, by proposal {}", self.proposal.short())
    }

    fn is_of_same(&self, other: &Moved) -> bool {
        (&self.target, &self.far, &self.way) == (&other.target, &other.far, &other.way)
    }
}

/// Every such movement, oldest first.
///
/// # Errors
/// Whatever the store says; a list that does not read is an error, since it may name what moves.
pub fn all(conn: &Connection) -> Result<Vec<Moved>, StoreError> {
    let Some(bytes) = kv::get(conn, MOVED)? else {
        return Ok(Vec::new());
    };
    serde_json::from_slice(&bytes).map_err(|e| {
        let why = format!("the list of actuators that were moved does not read: {e}");
        StoreError::Refused(Refusal::new(Code::StorageFailed, why))
    })
}

/// Writes the whole list.
///
/// # Errors
/// Whatever the store says.
pub fn keep(conn: &Connection, all: &[Moved]) -> Result<(), StoreError> {
    match all.is_empty() {
        true => kv::delete(conn, MOVED).map(drop),
        false => kv::put(conn, MOVED, &serde_json::to_vec(all).unwrap_or_default()),
    }
}

/// Notes a movement that begins, inside the transaction that lets it begin.
///
/// # Errors
/// Whatever the store says.
pub fn begins(conn: &Connection, moved: Moved) -> Result<(), StoreError> {
    let mut all = all(conn)?;
    all.retain(|other| !other.is_of_same(&moved));
    all.push(moved);
    keep(conn, &all)
}

/// Takes out the movements that `over` holds for; how many there were.
///
/// # Errors
/// Whatever the store says.
pub fn end(conn: &Connection, over: impl Fn(&Moved) -> bool) -> Result<usize, StoreError> {
    let mut left = all(conn)?;
    let before = left.len();
    left.retain(|moved| !over(moved));
    if left.len() < before {
        keep(conn, &left)?;
    }
    Ok(before - left.len())
}

/// Writes the copy of the list, if it is not that already.
///
/// # Errors
/// What the system says.
pub fn write_copy(dir: &StateDir, all: &[Moved]) -> Result<(), PathError> {
    if copied(dir).as_deref() == Some(all) {
        return Ok(());
    }
    let text = serde_json::to_vec(all).unwrap_or_default();
    write_private(&dir.moved_file(), &text)
}

/// The copy of the list; `None` where there is none that reads.
pub fn copied(dir: &StateDir) -> Option<Vec<Moved>> {
    let text = files::read_text(&dir.moved_file(), MOVED_FILE_MAX_BYTES).ok()?;
    serde_json::from_str(&text).ok()
}

/// Brings the copy up to date with the store.
pub async fn copy(context: &Context) {
    // Behind the write that changed it, whatever that was.
    let listed = context.store.write(Class::Relaxed, "copy of moved", all);
    let Ok(all) = listed.await else { return };
    let dir = StateDir::at(&context.state_dir());
    let written = tokio::task::spawn_blocking(move || write_copy(&dir, &all)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "the copy of what was moved could not be written");
    }
}

/// Keeps the copy until the node ends.
pub async fn keep_copy(context: Context, guards: Guards) {
    loop {
        copy(&context).await;
        tokio::select! {
            biased;
            () = context.tasks.stop().cancelled() => return,
            () = guards.moved_changed() => {}
        }
    }
}
