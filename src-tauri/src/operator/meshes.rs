//! Meshes on the LAN and who of them is there; how devices of our own mesh join.

use serde::{Deserialize, Serialize};

use super::{Answer, Door};
use crate::domain::base::limits::NAME_MAX_BYTES;
use crate::domain::base::{Code, DeviceId, MeshId, Refusal};
use crate::node::context::store_refusal;
use crate::node::discovery::{JoinPolicy, Near};

/// A mesh that has been seen, or is our own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MeshView {
    /// Its id; absent for nodes that do not say, such as gen-1 nodes.
    pub mesh_id: Option<String>,
    /// Its name, as its nodes say.
    pub name: Option<String>,
    /// Whether it is this node's own.
    pub own: bool,
    /// What happens when a trusted device of it is seen. Devices of other meshes are never connected.
    pub policy: JoinPolicy,
    /// Its nodes on the LAN.
    pub nearby: Vec<NearbyView>,
}

/// A node on the LAN, as it says of itself; nothing of it is proven.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NearbyView {
    /// The device.
    pub device_id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// When it was first seen.
    pub since: u64,
    /// Whether this node trusts it.
    pub trusted: bool,
    /// Whether a link to it is up.
    pub connected: bool,
    /// Whether somebody is pairing it right now.
    pub pairing: bool,
}

/// A change of a mesh's join policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshPolicyChange {
    /// The mesh: its id, or a name.
    pub mesh: String,
    /// What shall happen.
    pub policy: JoinPolicy,
}

/// A device to be let in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admittance {
    /// The device.
    pub device_id: String,
}

impl Door {
    /// Every mesh seen on the LAN; ours first.
    pub fn meshes(&self) -> Vec<MeshView> {
        let handles = &self.handles;
        let own = handles.mesh.clone();
        let mut meshes = vec![MeshView {
            mesh_id: Some(own.as_str().to_owned()),
            name: handles.config.mesh_name.clone(),
            own: true,
            policy: handles.nearby.own_policy(&own),
            nearby: Vec::new(),
        }];
        let policies = handles.nearby.policies();
        for near in handles.nearby.all() {
            let id = near.sighting.mesh.as_ref().map(|m| m.as_str().to_owned());
            let at = meshes.iter().position(|m| m.mesh_id == id);
            let at = at.unwrap_or_else(|| {
                let set = id.as_ref().and_then(|id| policies.get(id));
                meshes.push(MeshView {
                    // Who does not say which mesh it is in is met as one of ours.
                    policy: match &id {
                        Some(_) => set.copied().unwrap_or(JoinPolicy::Never),
                        None => handles.nearby.own_policy(&own),
                    },
                    mesh_id: id,
                    name: near.sighting.mesh_name.clone(),
                    own: false,
                    nearby: Vec::new(),
                });
                meshes.len() - 1
            });
            if let Some(mesh) = meshes.get_mut(at) {
                mesh.nearby.push(self.nearby_view(near));
            }
        }
        meshes
    }

    fn nearby_view(&self, near: Near) -> NearbyView {
        let device = &near.sighting.device;
        NearbyView {
            device_id: device.as_str().to_owned(),
            trusted: self.handles.trust.trusts(device),
            connected: self.handles.links.get(device).is_some(),
            addresses: near
                .sighting
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
            since: near.since.0,
            name: near.sighting.name,
            role: near.sighting.role,
            version: near.sighting.version,
            pairing: near.sighting.pairing,
        }
    }

    /// Sets the join policy of a mesh.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for `auto` on another mesh, or a mesh that is neither known nor a name.
    pub async fn set_mesh_policy(&self, change: MeshPolicyChange) -> Answer<Vec<MeshView>> {
        let handles = &self.handles;
        let invalid = |why: String| Refusal::new(Code::InvalidParams, why);
        let mesh = self.mesh_meant(change.mesh.trim())?;
        if mesh != handles.mesh && change.policy == JoinPolicy::Auto {
            return Err(invalid(
                "devices of another mesh are never connected by themselves; pair the device, or start this node \
                 with that --mesh-name"
                    .to_owned(),
            ));
        }
        handles
            .nearby
            .set_policy(handles, &mesh, change.policy)
            .await
            .map_err(|e| store_refusal(&e))?;
        Ok(self.meshes())
    }

    /// The mesh that a text means: one that is known by this id, else what has the form of an id,
    /// else the mesh of this name.
    fn mesh_meant(&self, text: &str) -> Answer<MeshId> {
        let known = self.meshes().into_iter().filter_map(|m| m.mesh_id);
        let known = known.chain(self.handles.nearby.policies().into_keys());
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let id = hex || uuid::Uuid::try_parse(text).is_ok() || known.into_iter().any(|k| k == text);
        let invalid = |why: String| Refusal::new(Code::InvalidParams, why);
        match id {
            true => text.parse().map_err(|e| invalid(format!("mesh: {e}"))),
            false if text.is_empty() || text.len() > NAME_MAX_BYTES => {
                Err(invalid("name the mesh, or give its id".to_owned()))
            }
            false => Ok(MeshId::of_name(text)),
        }
    }

    /// Lets a device of our mesh in that the join policy asks about.
    ///
    /// # Errors
    /// `NOT_FOUND` if it is not on the LAN.
    pub async fn admit_nearby(&self, wish: Admittance) -> Answer<Vec<MeshView>> {
        let device: DeviceId = wish
            .device_id
            .parse()
            .map_err(|e| Refusal::new(Code::InvalidParams, format!("deviceId: {e}")))?;
        if !self.handles.nearby.admit(&device) {
            let why = format!("device {} is not on the LAN now", device.short());
            return Err(Refusal::new(Code::NotFound, why));
        }
        Ok(self.meshes())
    }
}
