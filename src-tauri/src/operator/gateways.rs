//! Gateways of agents at the door: listed, found, added, changed and removed. A token goes in and never comes out.

use serde::{Deserialize, Serialize};

use super::models::Secret;
use super::{Answer, Door};
use crate::adapters::gateway::State;
use crate::node::gateways::{Added, Changed, Status};

/// Where a gateway stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GatewayState {
    /// It answers, and is not ready to be asked yet.
    Starting,
    /// It is not connected; it is tried for ever.
    Connecting,
    /// A person must let this node in at the gateway.
    PairingRequired,
    /// It takes questions.
    Ready,
    /// A person turned it off here.
    Disabled,
    /// It refuses this node, or is another one; a person has to do something.
    Failed,
}

/// An agent of a gateway, as the gateway says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayAgent {
    /// Its id there.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its model, where the gateway says.
    #[serde(default)]
    pub model: Option<String>,
}

/// A gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayView {
    /// Its id here, which stays.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Where it stands.
    pub state: GatewayState,
    /// Why it is not connected, or what is wrong and what to do.
    #[serde(default)]
    pub why: Option<String>,
    /// The command by which a person lets this node in, on the gateway's machine.
    #[serde(default)]
    pub command: Option<String>,
    /// Since when it stands like that, in milliseconds since 1970.
    pub since: u64,
    /// When it was heard last, in milliseconds since 1970.
    #[serde(default)]
    pub heard_at: Option<u64>,
    /// When it was added, in milliseconds since 1970.
    pub added_at: u64,
    /// The version of its OpenClaw.
    #[serde(default)]
    pub version: Option<String>,
    /// Its agents.
    pub agents: Vec<GatewayAgent>,
    /// How many sessions it has.
    #[serde(default)]
    pub sessions: Option<u64>,
}

impl From<Status> for GatewayView {
    fn from(status: Status) -> Self {
        let seen = status.seen;
        let (mut why, mut command) = (None, None);
        let state = match seen.state {
            State::Starting => GatewayState::Starting,
            State::Connecting { why: last } => {
                why = last;
                GatewayState::Connecting
            }
            State::PairingRequired {
                command: approve, ..
            } => {
                command = Some(approve);
                GatewayState::PairingRequired
            }
            State::Ready => GatewayState::Ready,
            State::Disabled => GatewayState::Disabled,
            State::Failed { why: fault } => {
                why = Some(fault);
                GatewayState::Failed
            }
        };
        Self {
            id: status.id,
            name: status.name,
            url: status.url,
            state,
            why,
            command,
            since: seen.since,
            heard_at: seen.heard_at,
            added_at: status.added_at,
            version: seen.version,
            agents: seen
                .agents
                .into_iter()
                .map(|agent| GatewayAgent {
                    id: agent.id,
                    name: agent.name,
                    model: agent.model,
                })
                .collect(),
            sessions: seen.sessions,
        }
    }
}

/// A gateway that was found. Nothing proves what it says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayFound {
    /// Its address.
    pub url: String,
    /// What it is called there.
    pub name: String,
    /// Whether OpenClaw's configuration on this machine names it; otherwise it announces itself on the network.
    pub here: bool,
    /// Whether its token was found with it, so that none need be given.
    pub has_token: bool,
    /// The gateway here that has this address, if one has.
    #[serde(default)]
    pub added: Option<String>,
}

/// A gateway to add.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayAdd {
    /// Its address, as in `ws://127.0.0.1:18789`; absent for the one that OpenClaw of the node's user is configured for.
    #[serde(default)]
    pub url: Option<String>,
    /// Its name; its host where none is given.
    #[serde(default)]
    pub name: Option<String>,
    /// Its token; never shown.
    #[serde(default)]
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub token: Option<Secret>,
    /// Confirms that token and texts may go to another machine unencrypted.
    #[serde(default)]
    pub insecure: bool,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub by: Option<String>,
}

/// A change of a gateway.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayChange {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The person's name, where a session does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Door {
    /// The gateways of this node.
    pub fn gateways(&self) -> Vec<GatewayView> {
        let all = self.handles.gateways.all();
        all.into_iter().map(GatewayView::from).collect()
    }

    /// Gateways on this machine and on the LAN.
    pub async fn gateways_found(&self) -> Vec<GatewayFound> {
        let found = self.handles.gateways.found().await;
        let all = self.handles.gateways.all();
        let each = found.into_iter().map(|found| {
            let added = all.iter().find(|one| one.url == found.url);
            GatewayFound {
                added: added.map(|one| one.name.clone()),
                url: found.url,
                name: found.name,
                here: found.here,
                has_token: found.has_token,
            }
        });
        each.collect()
    }

    /// Adds a gateway and connects it.
    ///
    /// # Errors
    /// As [`crate::node::gateways::Gateways::add`].
    pub async fn gateway_add(&self, asked: GatewayAdd, by: &str) -> Answer<GatewayView> {
        let new = Added {
            url: asked.url,
            name: asked.name,
            token: asked.token.map(Secret::into_text),
            insecure: asked.insecure,
        };
        Ok(self.handles.gateways.add(new, by).await?.into())
    }

    /// Renames, enables or disables a gateway.
    ///
    /// # Errors
    /// As [`crate::node::gateways::Gateways::change`].
    pub async fn gateway_change(
        &self,
        id: &str,
        asked: GatewayChange,
        by: &str,
    ) -> Answer<GatewayView> {
        let change = Changed {
            name: asked.name,
            enabled: asked.enabled,
        };
        Ok(self.handles.gateways.change(id, change, by).await?.into())
    }

    /// Removes a gateway with its tokens.
    ///
    /// # Errors
    /// As [`crate::node::gateways::Gateways::remove`].
    pub async fn gateway_remove(&self, id: &str, by: &str) -> Answer<Vec<GatewayView>> {
        self.handles.gateways.remove(id, by).await?;
        Ok(self.gateways())
    }
}
