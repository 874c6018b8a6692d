//! The tools of a program: a closed list. Each reads, or asks for an action as a model does. None approves, rejects, stops, lets
//! anybody in or changes a setting.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::handler::server::common::schema_for_type;
use rmcp::model::{JsonObject, Tool as Listed, ToolAnnotations};
use rmcp::schemars;
use rmcp::schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::base::text::type_in_words;
use crate::domain::base::{Code, Refusal};
use crate::domain::capability::Params;
use crate::operator::mcp::{Client, Clients, McpPropose};
use crate::operator::queries::FactQuery;
use crate::operator::{Answer, Door};

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    MeshStatus,
    QueryWorld,
    ListActuators,
    ListAlerts,
    ListEvents,
    ListProposals,
    ShowProposal,
    ExplainPolicy,
    Propose,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct World {
    /// Readings of this metric alone, for example soil.moisture
    metric: Option<String>,
    /// Readings of this zone alone
    zone: Option<String>,
    /// Readings of the device with this id alone
    device_id: Option<String>,
    /// How many readings, 1 to 200; 50 where nothing is said
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Events {
    /// Events after this number; the newest where nothing is said
    since: Option<u64>,
    /// How many are looked at, 1 to 200; 50 where nothing is said
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Proposals {
    /// Those that have ended too
    #[serde(default)]
    all: bool,
    /// How many, 1 to 200; 50 where nothing is said
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct One {
    /// Its id, or the unique start of it
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Explain {
    /// The actuator, as list_actuators names it
    target: String,
    /// What it would do
    operation: String,
    /// With which parameters
    #[serde(default, deserialize_with = "crate::domain::capability::read_params")]
    #[schemars(with = "JsonObject")]
    params: Params,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// The actuator, as list_actuators names it
    target: String,
    /// What it is to do, for example start
    operation: String,
    /// With which parameters, for example {"durationSec": 60}
    #[serde(default, deserialize_with = "crate::domain::capability::read_params")]
    #[schemars(with = "JsonObject")]
    params: Params,
    /// Why, for the person who decides
    reason: String,
    /// The readings it rests on: their `frame` as query_world gives it
    #[serde(default)]
    cites: Vec<String>,
    /// The executor that is meant, where several offer the target
    executor: Option<String>,
}

fn read<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Answer<T> {
    let value = Value::Object(arguments.unwrap_or_default());
    serde_json::from_value(value).map_err(|error| {
        let why = type_in_words(&error.to_string());
        Refusal::new(Code::InvalidParams, format!("arguments: {why}"))
    })
}

impl Tool {
    /// Every tool.
    pub(super) const ALL: [Self; 9] = [
        Self::MeshStatus,
        Self::QueryWorld,
        Self::ListActuators,
        Self::ListAlerts,
        Self::ListEvents,
        Self::ListProposals,
        Self::ShowProposal,
        Self::ExplainPolicy,
        Self::Propose,
    ];

    /// The tool of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MeshStatus => "mesh_status",
            Self::QueryWorld => "query_world",
            Self::ListActuators => "list_actuators",
            Self::ListAlerts => "list_alerts",
            Self::ListEvents => "list_events",
            Self::ListProposals => "list_proposals",
            Self::ShowProposal => "show_proposal",
            Self::ExplainPolicy => "explain_policy",
            Self::Propose => "propose",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::MeshStatus => {
                "The ClawMesh node at a glance: its health, the nodes of its mesh and what each offers, how many proposals wait, \
                 whether the planner is paused or the emergency stop engaged."
            }
            Self::QueryWorld => {
                "The newest readings of the mesh, each with its unit, age, the node it comes from, and a tier from T0 (unverified \
                 origin) to T3 that says how well it is proven."
            }
            Self::ListActuators => {
                "What can be moved: each actuator, its executor, its operations and where it stands."
            }
            Self::ListAlerts => "The alerts that stand, with what to do about each.",
            Self::ListEvents => {
                "What became of actions and proposals, oldest first; give `next` as `since` to go on."
            }
            Self::ListProposals => {
                "Actions that were asked for, newest first, and where each stands."
            }
            Self::ShowProposal => {
                "One proposal: what it would do, where it stands, what came of it."
            }
            Self::ExplainPolicy => {
                "What the policy would say of an action that you ask for: who would have to approve, and what stands in its way \
                 now. Nothing is asked for."
            }
            Self::Propose => {
                "Ask for an action. It becomes a proposal that a person approves or rejects at the node; this tool never moves \
                 anything, and there is no tool that approves."
            }
        }
    }

    fn schema(self) -> Arc<JsonObject> {
        match self {
            Self::MeshStatus | Self::ListActuators | Self::ListAlerts => {
                schema_for_type::<Nothing>()
            }
            Self::QueryWorld => schema_for_type::<World>(),
            Self::ListEvents => schema_for_type::<Events>(),
            Self::ListProposals => schema_for_type::<Proposals>(),
            Self::ShowProposal => schema_for_type::<One>(),
            Self::ExplainPolicy => schema_for_type::<Explain>(),
            Self::Propose => schema_for_type::<Wish>(),
        }
    }

    /// As programs are told of it.
    pub(super) fn listed(self) -> Listed {
        let reads = self != Self::Propose;
        let hints = ToolAnnotations::from_raw(None, Some(reads), Some(false), Some(reads), None);
        let about: Cow<'static, str> = self.about().into();
        Listed::new(self.name(), about, self.schema()).with_annotations(hints)
    }

    /// Does it for a program.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for arguments that do not read, or the refusal of the door.
    pub(super) async fn call(
        self,
        door: &Door,
        (clients, client): (&Clients, &Client),
        arguments: Option<JsonObject>,
    ) -> Answer<Value> {
        match self {
            Self::MeshStatus => {
                read::<Nothing>(arguments)?;
                door.mcp_status().await
            }
            Self::QueryWorld => {
                let asked: World = read(arguments)?;
                let query = FactQuery {
                    metric: asked.metric,
                    zone: asked.zone,
                    origin: asked.device_id,
                };
                door.mcp_world(query, asked.limit).await
            }
            Self::ListActuators => {
                read::<Nothing>(arguments)?;
                door.mcp_actuators().await
            }
            Self::ListAlerts => {
                read::<Nothing>(arguments)?;
                door.mcp_alerts().await
            }
            Self::ListEvents => {
                let asked: Events = read(arguments)?;
                door.mcp_events(asked.since, asked.limit).await
            }
            Self::ListProposals => {
                let asked: Proposals = read(arguments)?;
                door.mcp_proposals(asked.all, asked.limit).await
            }
            Self::ShowProposal => {
                let asked: One = read(arguments)?;
                door.mcp_proposal(&asked.id).await
            }
            Self::ExplainPolicy => {
                let asked: Explain = read(arguments)?;
                door.mcp_explain(asked.target, asked.operation, asked.params)
                    .await
            }
            Self::Propose => {
                let asked: Wish = read(arguments)?;
                let wish = McpPropose {
                    target: asked.target,
                    operation: asked.operation,
                    params: asked.params,
                    reason: asked.reason,
                    cites: asked.cites,
                    executor: asked.executor,
                };
                door.mcp_propose(clients, client, wish).await
            }
        }
    }
}
