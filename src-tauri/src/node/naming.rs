//! The names a person gave this device and its mesh in the console: a small file under the
//! configuration, which wins over it. A new name counts from the next start on, which follows at once.
//!
//! The file is the change: before it is written, what is to follow it is written down in the store, and
//! the next start does that (the audit entry, the end of the old mesh's frames) if, and only if, the file
//! says so. So a file that cannot be written, or a crash in between, leaves nothing half done.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::config::{Config, Fixed, RawConfig};
use super::context::{Context, DURABLE, store_refusal};
use crate::adapters::files;
use crate::adapters::paths::StateDir;
use crate::adapters::store::{Store, StoreError, frames, kv};
use crate::domain::base::limits::{NAME_MAX_BYTES, NAMES_FILE_MAX_BYTES};
use crate::domain::base::{AuditKind, Code, Refusal};

/// Delay before a restart, so that the answer to the request is sent first.
const RESTART_GRACE: Duration = Duration::from_millis(500);

/// Names a person gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Names {
    /// The device's name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The mesh's name; nodes that share it are one mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_name: Option<String>,
}

/// The configuration with the names a person gave, where it says none itself.
///
/// # Errors
/// A sentence that names the file, if it is there and does not read.
pub fn fill_in(dir: &StateDir, mut raw: RawConfig) -> Result<RawConfig, String> {
    let Names { name, mesh_name } = read(dir)?;
    raw.fixed = Fixed {
        name: raw.name.is_some(),
        mesh_name: raw.mesh_name.is_some(),
    };
    raw.name = raw.name.or(name);
    raw.mesh_name = raw.mesh_name.or(mesh_name);
    Ok(raw)
}

fn read(dir: &StateDir) -> Result<Names, String> {
    let file = dir.names_file();
    let shown = file.display();
    let text = match files::read_text(&file, NAMES_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Names::default()),
        Err(error) => return Err(format!("{shown}: {error}")),
    };
    serde_json::from_str(&text)
        .map_err(|e| format!("{shown}: {e}; mend it, or delete it and give the names again"))
}

/// Why a text is no name for a device or a mesh; `None` if it is one.
pub fn unfit(text: &str) -> Option<String> {
    let refusal = sound("a name", Some(&text.to_owned())).err()?;
    Some(refusal.message)
}

fn sound(what: &str, text: Option<&String>) -> Result<Option<String>, Refusal> {
    let Some(text) = text.map(|t| t.trim()) else {
        return Ok(None);
    };
    if text.is_empty() || text.len() > NAME_MAX_BYTES || text.chars().any(char::is_control) {
        let why = format!("{what} has 1 to {NAME_MAX_BYTES} bytes and no control characters");
        return Err(Refusal::new(Code::InvalidParams, why));
    }
    Ok(Some(text.to_owned()))
}

/// Gives this device or its mesh another name, and has the node start again with it. Returns whether
/// anything changes.
///
/// # Errors
/// `INVALID_PARAMS` for what is no name; `CONFLICT` where the configuration names it, the file of names
/// does not read, or for the mesh of a node that trusts others: they would be left behind; what the store
/// or the disk says. Then nothing has changed.
pub async fn give(context: &Context, wanted: &Names) -> Result<bool, Refusal> {
    let config = &context.config;
    let conflict = |why: String| Err(Refusal::new(Code::Conflict, why));
    let name = sound("a name", wanted.name.as_ref())?.filter(|n| *n != config.name);
    let mesh_name = sound("a mesh's name", wanted.mesh_name.as_ref())?
        .filter(|n| config.mesh_name.as_ref() != Some(n));
    if name.is_none() && mesh_name.is_none() {
        return Ok(false);
    }
    if name.is_some() && config.fixed.name {
        return conflict("the configuration or a flag names this device; change it there".into());
    }
    if mesh_name.is_some() && config.fixed.mesh_name {
        return conflict("the configuration or a flag names the mesh; change it there".into());
    }
    let others = context.trust.all();
    let others = others
        .iter()
        .filter(|r| r.is_live() && r.device_id != *context.own_id());
    let others = others.count();
    if mesh_name.is_some() && others > 0 {
        return conflict(format!(
            "this node trusts {others} devices of its mesh; under another name it would leave them"
        ));
    }
    let dir = StateDir::at(&context.state_dir());
    // A file that does not parse may still hold names worth keeping, so it is never overwritten.
    let old = read(&dir).map_err(|why| {
        let why = format!("{why}. Nothing was changed, and the file is left as it is");
        Refusal::new(Code::Conflict, why)
    })?;
    let new = Names {
        name: name.or(old.name),
        mesh_name: mesh_name.or(old.mesh_name),
    };
    keep(context, &dir, new).await?;
    let tasks = context.tasks.clone();
    context.tasks.passing("restart", async move {
        tokio::time::sleep(RESTART_GRACE).await;
        tasks.restart("given another name, starting again".to_owned());
    });
    Ok(true)
}

/// The store's pending record of a change of the names file; applied at start only if the two match.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    /// The content of the file after the change.
    names: Names,
    /// Whether the node is then in another mesh than before.
    moves: bool,
}

/// Where [`Pending`] lies.
const PENDING: &str = "names.pending";

/// Writes the names down, and before them what is to follow.
async fn keep(context: &Context, dir: &StateDir, names: Names) -> Result<(), Refusal> {
    let config = &context.config;
    // Against the mesh of this run: of two changes in a row the second must not forget the first.
    let moves = names.mesh_name.is_some() && names.mesh_name != config.mesh_name;
    let pending = json!(Pending {
        names: names.clone(),
        moves: moves && !config.fixed.mesh_name,
    });
    let write = move |c: &rusqlite::Connection| kv::put(c, PENDING, pending.to_string().as_bytes());
    let written = context.store.write(DURABLE, "names", write).await;
    written.map_err(|e| store_refusal(&e))?;
    let text = format!("{}\n", json!(names));
    // A pending record without the matching file is dropped at the next start.
    dir.write_private(&dir.names_file(), text.as_bytes())
        .map_err(|e| {
            Refusal::new(
                Code::StorageFailed,
                format!("{e}; nothing was changed, the names stay as they were"),
            )
        })
}

/// Does the first of what follows names that were given in an earlier run: where the node is in another
/// mesh now, its frames of the old one are left behind. What was pending for a file that was never
/// written is dropped. Before anything reads where the frames of this mesh begin.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn settle(
    store: &Store,
    dir: &StateDir,
    config: &Config,
) -> Result<(), StoreError> {
    let Some(pending) = store.read("names", pending).await? else {
        return Ok(());
    };
    // The file was there when the configuration was read, and did read.
    let given = read(dir).unwrap_or_default();
    let (due, there) = (
        pending.names == given,
        pending.names.mesh_name == config.mesh_name,
    );
    if due && (!pending.moves || !there) {
        // Only the audit entry is left; or a flag keeps the node in the old mesh for this run.
        return Ok(());
    }
    let follow = move |c: &rusqlite::Connection| {
        if !due {
            return kv::delete(c, PENDING).map(drop);
        }
        kv::put(c, MESH_FLOOR, &frames::max_seq(c)?.to_be_bytes())?;
        let left = json!(Pending {
            moves: false,
            ..pending
        });
        kv::put(c, PENDING, left.to_string().as_bytes())
    };
    store.write(DURABLE, "names", follow).await
}

/// Writes the audit entry of names that were given in an earlier run and count now.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn tell(context: &Context) -> Result<(), StoreError> {
    let s = context.clone();
    let write = move |c: &rusqlite::Connection| match pending(c)?.filter(|p| !p.moves) {
        Some(Pending { names, .. }) => {
            s.journal
                .audit(c, AuditKind::NodeNamed, s.own_id().as_str(), json!(names))?;
            kv::delete(c, PENDING).map(drop)
        }
        None => Ok(()),
    };
    context.store.write(DURABLE, "names", write).await
}

fn pending(conn: &rusqlite::Connection) -> Result<Option<Pending>, StoreError> {
    Ok(kv::get(conn, PENDING)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The key under which the end of an earlier mesh's frames is written down.
pub const MESH_FLOOR: &str = "mesh.floor";

/// Where the frames of this mesh begin.
///
/// # Errors
/// Whatever the store says.
pub fn mesh_floor(conn: &rusqlite::Connection) -> Result<u64, StoreError> {
    Ok(kv::get(conn, MESH_FLOOR)?
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::adapters::store::StoreOptions;

    struct Desk {
        _temp: tempfile::TempDir,
        dir: StateDir,
        store: Store,
    }

    impl Desk {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let dir = StateDir::at(&temp.path().join("state"));
            dir.prepare().unwrap();
            let store = Store::open(&dir.database(), StoreOptions::default()).unwrap();
            Self {
                _temp: temp,
                dir,
                store,
            }
        }

        async fn pending(&self) {
            let names = Names {
                name: None,
                mesh_name: Some("new".into()),
            };
            let text = json!(Pending { names, moves: true }).to_string();
            self.store
                .write(DURABLE, "t", move |c| kv::put(c, PENDING, text.as_bytes()))
                .await
                .unwrap();
        }

        /// Starts in this mesh; what is pending still (whether it moves), and whether the node has moved.
        async fn start(&self, mesh: &str) -> (Option<bool>, bool) {
            let raw = RawConfig {
                mesh_name: Some(mesh.to_owned()),
                ..RawConfig::default()
            };
            let config = raw.resolve(self.dir.root().to_path_buf()).unwrap();
            settle(&self.store, &self.dir, &config).await.unwrap();
            let look = |c: &rusqlite::Connection| {
                let moved = kv::get(c, MESH_FLOOR)?.is_some();
                Ok((pending(c)?.map(|p| p.moves), moved))
            };
            self.store.read("t", look).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_follows_a_name_follows_the_file_and_nothing_else() {
        let desk = Desk::new();
        assert_eq!(desk.start("old").await, (None, false));
        // Killed before the file was written: nothing happened.
        desk.pending().await;
        assert_eq!(desk.start("old").await, (None, false));
        // The file is there: a start that a flag keeps in the old mesh waits, the next one moves, once.
        let file = desk.dir.names_file();
        std::fs::write(&file, r#"{"meshName": "new"}"#).unwrap();
        desk.pending().await;
        assert_eq!(desk.start("old").await, (Some(true), false));
        assert_eq!(desk.start("new").await, (Some(false), true));
        assert_eq!(desk.start("new").await, (Some(false), true));
    }
}
