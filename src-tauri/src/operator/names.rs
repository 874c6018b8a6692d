//! Naming this device and its mesh, for the first minutes with a new node.

use serde::{Deserialize, Serialize};

use super::{Answer, Door};
use crate::node::naming::{self, Names};

/// What this device and its mesh are called, and whether that can be changed here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NamesView {
    /// The device's name.
    pub name: String,
    /// Whether the configuration says it, so that it cannot be changed here.
    pub name_fixed: bool,
    /// The mesh's name, if it has one.
    pub mesh_name: Option<String>,
    /// Whether the configuration says it, so that it cannot be changed here.
    pub mesh_name_fixed: bool,
    /// Whether the node starts again now, with the new names.
    pub restarting: bool,
}

impl Door {
    /// What this device and its mesh are called.
    pub fn names_given(&self) -> NamesView {
        let config = &self.handles.config;
        NamesView {
            name: config.name.clone(),
            name_fixed: config.fixed.name,
            mesh_name: config.mesh_name.clone(),
            mesh_name_fixed: config.fixed.mesh_name,
            restarting: false,
        }
    }

    /// Gives them other names; the node then starts again.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what is no name, `CONFLICT` for what cannot be changed here.
    pub async fn give_names(&self, wanted: &Names) -> Answer<NamesView> {
        let restarting = naming::give(&self.handles, wanted).await?;
        let now = self.names_given();
        Ok(NamesView {
            name: wanted.name.clone().unwrap_or(now.name),
            mesh_name: wanted.mesh_name.clone().or(now.mesh_name),
            restarting,
            ..now
        })
    }
}
