//! `meshes`: what is on the LAN, and how devices join.

use super::args::MeshesCommand;
use super::context::Context;
use super::fail::Done;
use super::{format, out};
use crate::operator::meshes::{Admittance, MeshPolicyChange, MeshView};

/// `meshes …`
///
/// # Errors
/// If the node does not run, or refuses.
pub(super) async fn run(ctx: &Context, command: Option<&MeshesCommand>) -> Done {
    let remote = ctx.remote().await?;
    let meshes = match command {
        None | Some(MeshesCommand::List) => remote.meshes().await?,
        Some(MeshesCommand::Set { mesh, policy }) => {
            let change = MeshPolicyChange {
                mesh: mesh.clone(),
                policy: (*policy).into(),
            };
            remote.set_mesh_policy(&change).await?
        }
        Some(MeshesCommand::Admit { device }) => {
            let wish = Admittance {
                device_id: device.clone(),
            };
            remote.admit_nearby(&wish).await?
        }
    };
    if ctx.json {
        return out::json(&meshes);
    }
    let rows: Vec<Vec<String>> = meshes.iter().flat_map(|m| rows(m, ctx.now())).collect();
    let head = ["MESH", "JOIN", "DEVICE", "ROLE", "SEEN", "STATE", "ADDRESS"];
    out::table(&head, &rows, "no mesh is known");
    Ok(())
}

fn rows(mesh: &MeshView, now: u64) -> Vec<Vec<String>> {
    let none = || "-".to_owned();
    let mut name = match (&mesh.name, &mesh.mesh_id) {
        (name, Some(id)) => format::who(name.as_deref(), id),
        (Some(name), None) => format::name(name),
        (None, None) => "not said (gen-1)".to_owned(),
    };
    if mesh.own {
        name.push_str(" (ours)");
    }
    let policy = format!("{:?}", mesh.policy).to_lowercase();
    if mesh.nearby.is_empty() {
        let mut row = vec![name, policy];
        row.resize(7, none());
        return vec![row];
    }
    let row = |n: &crate::operator::meshes::NearbyView| {
        let state = match (n.connected, n.trusted, n.pairing) {
            (true, ..) => "connected",
            (_, true, _) => "trusted",
            (.., true) => "pairing",
            _ => "not trusted",
        };
        vec![
            name.clone(),
            policy.clone(),
            format::who(n.name.as_deref(), &n.device_id),
            n.role.clone().unwrap_or_else(none),
            format::age(now, n.since),
            state.to_owned(),
            n.addresses.first().cloned().unwrap_or_else(none),
        ]
    };
    mesh.nearby.iter().map(row).collect()
}
