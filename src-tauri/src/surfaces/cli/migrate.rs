//! `migrate`: imports a gen-1 node's identity, mesh and trusted peers into a new state directory of ours,
//! and says what it left there. The gen-1 directory is only read.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::offline::Offline;
use super::out;
use crate::adapters::keystore::{self, gen1};
use crate::adapters::paths::StateDir;
use crate::domain::base::MeshId;
use crate::node::naming;
use crate::operator::dto::TrustAdd;

/// Where ours goes when the state directory itself is a gen-1 node's.
const BESIDE: &str = "node";

/// `migrate`.
///
/// # Errors
/// If there is no gen-1 state, or the new directory has an identity already.
pub(super) async fn run(ctx: &Context, from: Option<&Path>, mesh_name: Option<&str>) -> Done {
    let source = from.map_or_else(|| ctx.dir.root().to_path_buf(), Path::to_path_buf);
    if !StateDir::at(&source).is_gen1() {
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "{} is not the state of a gen-1 node; name it with --from",
                source.display()
            ),
        ));
    }
    let target = target(ctx, &source);
    let dir = StateDir::at(&target);
    let old = gen1::read(&source).map_err(Failure::state)?;
    if let Some(why) = mesh_name.and_then(naming::unfit) {
        return Err(Failure::new(Exit::Usage, why));
    }
    dir.prepare().map_err(Failure::state)?;
    {
        let _lock = dir.acquire_lock().map_err(Failure::state)?;
        keystore::create_device_key(&dir, &old.seed, ctx.time()).map_err(Failure::state)?;
        bring_mesh(&dir, &old, mesh_name)?;
    }
    let offline = Offline::open(&dir, ctx.time()).await?;
    let mut imported = Vec::new();
    let mut left_out = Vec::new();
    for peer in &old.peers {
        let add = TrustAdd {
            device_id: peer.device_id.clone(),
            public_key: peer.public_key.clone(),
            name: peer.display_name.clone(),
            preset: Some("gen1".to_owned()),
            grants: None,
        };
        match offline.trust_add_if_missing(&add).await {
            Ok(()) => imported.push(peer.device_id.clone()),
            Err(failure) => left_out.push((peer.device_id.clone(), failure.message)),
        }
    }
    let mesh = match mesh_name {
        Some(name) => Some(MeshId::of_name(name)),
        None => old.mesh.clone(),
    };
    let device = offline.device_id().clone();
    offline.close().await;
    if ctx.json {
        let left_out: Vec<_> = left_out
            .iter()
            .map(|(id, why)| json!({"deviceId": id, "why": why}))
            .collect();
        return out::json(
            &json!({"from": source, "stateDir": target, "deviceId": device, "trusted": imported, "leftOut": left_out,
                "meshId": mesh, "meshName": mesh_name, "leftFiles": old.left}),
        );
    }
    out::line(&format!(
        "device {device} and {} trusted peers are now in {}",
        imported.len(),
        target.display()
    ));
    out::line(&match (mesh_name, &old.mesh) {
        (Some(name), _) => format!("mesh: {name:?}"),
        (None, Some(id)) => format!(
            "mesh: {id}; if the gen-1 node was started with --mesh-name, its mesh is another: start with that flag too"
        ),
        (None, None) => "mesh: left out, for none is kept there; start with the --mesh-name that the gen-1 node was \
                         started with, or the two do not meet"
            .to_owned(),
    });
    for (id, why) in &left_out {
        out::line(&format!("left out: {id}: {why}"));
    }
    for file in &old.left {
        out::line(&format!("left there, not imported: {file}"));
    }
    out::line(&format!(
        "{} is as it was; do not run both nodes at once, they are the same device",
        source.display()
    ));
    out::line(&format!(
        "start it: clawmesh-node start --state-dir {}",
        target.display()
    ));
    Ok(())
}

/// Writes down which mesh the node is in: by name where it was given, else by the id that was kept.
fn bring_mesh(
    dir: &StateDir,
    old: &gen1::Gen1State,
    mesh_name: Option<&str>,
) -> Result<(), Failure> {
    if let Some(name) = mesh_name {
        let names = json!({"meshName": name}).to_string();
        let written = dir.write_private(&dir.names_file(), names.as_bytes());
        return written.map_err(Failure::state);
    }
    if let Some(id) = &old.mesh {
        let written = dir.write_private(&dir.mesh_id_file(), format!("{id}\n").as_bytes());
        return written.map_err(Failure::state);
    }
    Ok(())
}

/// Where the new state goes: the named state directory, or beside the gen-1 state if that is it.
fn target(ctx: &Context, source: &Path) -> PathBuf {
    if ctx.dir.is_gen1() {
        return source.join(BESIDE);
    }
    ctx.dir.root().to_path_buf()
}
