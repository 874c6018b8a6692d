//! The names a person gave this device and its mesh in the console: a small file under the
//! configuration, which wins over it. A new name counts from the next start on, which follows at once.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::config::RawConfig;
use super::shared::{DURABLE, MESH_FLOOR, Shared, internal, store_refusal};
use crate::adapters::paths::StateDir;
use crate::adapters::store::{frames, kv};
use crate::domain::base::limits::{NAME_MAX_BYTES, NAMES_FILE_MAX_BYTES};
use crate::domain::base::{Code, Refusal};

/// How long a node waits with its restart, so that whoever asked hears of it.
const RESTART_GRACE: Duration = Duration::from_millis(500);

/// Names a person gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Names {
    /// The device's name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The mesh's name; nodes that share it are one mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_name: Option<String>,
}

/// Which names the configuration or a flag has said, so that no console can change them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The device's.
    pub name: bool,
    /// The mesh's.
    pub mesh_name: bool,
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
    match std::fs::metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Names::default()),
        Ok(meta) if meta.len() > NAMES_FILE_MAX_BYTES => {
            return Err(format!("{shown}: larger than {NAMES_FILE_MAX_BYTES} bytes"));
        }
        _ => {}
    }
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{shown}: {e}"))?;
    serde_json::from_str(&text)
        .map_err(|e| format!("{shown}: {e}; mend it, or delete it and give the names again"))
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
/// `INVALID_PARAMS` for what is no name; `CONFLICT` where the configuration names it, or for the mesh of
/// a node that trusts others: they would be left behind.
pub async fn give(shared: &Shared, wanted: &Names) -> Result<bool, Refusal> {
    let config = &shared.config;
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
    let others = shared.trust.all();
    let others = others
        .iter()
        .filter(|r| r.is_live() && r.device_id != *shared.own_id());
    let others = others.count();
    if mesh_name.is_some() && others > 0 {
        return conflict(format!(
            "this node trusts {others} devices of its mesh; under another name it would leave them"
        ));
    }
    let dir = StateDir::at(&shared.state_dir());
    let old = read(&dir).unwrap_or_default();
    let new = Names {
        name: name.clone().or(old.name),
        mesh_name: mesh_name.clone().or(old.mesh_name),
    };
    keep(shared, &dir, &new, mesh_name.is_some()).await?;
    let tasks = shared.tasks.clone();
    shared.tasks.passing("restart", async move {
        tokio::time::sleep(RESTART_GRACE).await;
        tasks.restart("given another name, starting again".to_owned());
    });
    Ok(true)
}

/// Writes the names down. A node that changes its mesh leaves its frames of the old one behind.
async fn keep(shared: &Shared, dir: &StateDir, new: &Names, moves: bool) -> Result<(), Refusal> {
    let (s, told) = (shared.clone(), new.clone());
    let write = move |c: &rusqlite::Connection| {
        if moves {
            kv::put(c, MESH_FLOOR, &frames::max_seq(c)?.to_be_bytes())?;
        }
        s.audit_in(c, "node.named", s.own_id().as_str(), json!(told))
    };
    let written = shared.store.write(DURABLE, "names", write).await;
    written.map_err(|e| store_refusal(&e))?;
    let text = format!("{}\n", json!(new));
    dir.write_private(&dir.names_file(), text.as_bytes())
        .map_err(|e| internal(&e.to_string()))
}
