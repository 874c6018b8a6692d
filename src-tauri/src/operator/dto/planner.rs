//! The planner of a node as people see it, and what they ask of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::inference::mode::{Mode, Out};
use crate::node::pause::Pause;
use crate::node::planner::later::Later;

/// What plans on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlannerKind {
    /// Thresholds of the configuration.
    Rules,
    /// Nothing: there are no rules.
    None,
}

/// What a planner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlannerState {
    /// Nothing, for it has no rules or its node's role plans nothing.
    Off,
    /// Nothing, for somebody has paused it.
    Paused,
    /// It acts when the world changes.
    Idle,
}

impl fmt::Display for PlannerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PlannerKind::Rules => "rules",
            PlannerKind::None => "none",
        })
    }
}

impl fmt::Display for PlannerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PlannerState::Off => "off",
            PlannerState::Paused => "paused",
            PlannerState::Idle => "idle",
        })
    }
}

/// The planner of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannerView {
    /// What plans here.
    pub kind: PlannerKind,
    /// What it does.
    pub state: PlannerState,
    /// Why it is in this state, in a sentence.
    pub why: String,
    /// The model that is asked first where a person asks something; absent where the rules answer.
    #[serde(default)]
    pub model: Option<String>,
    /// What the models can do for it; absent where there is none.
    #[serde(default)]
    pub mode: Option<ModeView>,
    /// What is done for a question now, and how many wait behind it; absent where nobody asks.
    #[serde(default)]
    pub question: Option<String>,
    /// Why the last question got no answer of a model, where one was to answer; absent once one has.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The questions that are asked again by themselves when a model can be asked, in their order.
    #[serde(default)]
    pub later: Vec<Later>,
    /// How many rules it has.
    pub rules: usize,
    /// Its rules that ask at times of a schedule.
    #[serde(default)]
    pub schedules: Vec<ScheduleView>,
    /// What its model is asked without a person.
    #[serde(default)]
    pub questions: Vec<StandingView>,
    /// The pause, if there is one.
    pub pause: Option<Pause>,
    /// The rule that fired last since the node started.
    pub last_rule: Option<String>,
    /// When it did, in milliseconds since 1970.
    pub last_fired_at: Option<u64>,
    /// Who leads by the election of gen-1 nodes, among this node and those it is linked with; a gen-1
    /// planner comes before ours.
    #[serde(default)]
    pub leader: Option<LeaderView>,
    /// What the planners of gen-1 nodes propose, newest first: theirs, and never executed here.
    #[serde(default)]
    pub others: Vec<OtherProposalView>,
}

/// A rule that asks at times of a schedule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    /// Its name.
    pub rule: String,
    /// The cron expression with its time zone.
    pub at: String,
    /// The next time, in milliseconds since 1970.
    pub next_at: Option<u64>,
    /// When it last came since the node started, in milliseconds since 1970.
    #[serde(default)]
    pub last_at: Option<u64>,
    /// The device whose planner asks instead, as long as it does.
    #[serde(default)]
    pub left_to: Option<String>,
}

/// A standing question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StandingView {
    /// Its name; answers name it as who asked.
    pub name: String,
    /// The question.
    pub text: String,
    /// When it is asked, in words.
    pub when: String,
    /// The next time, in milliseconds since 1970, where it is asked at times of a schedule.
    pub next_at: Option<u64>,
    /// Whether only models that may see private data are asked.
    pub private: bool,
    /// Whether the model may ask for an action, which waits for a person.
    pub propose: bool,
}

/// What the models can do for a planner, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModeView {
    /// What they can do.
    pub mode: Mode,
    /// Why, in a sentence; empty where a model can be asked.
    pub why: String,
    /// What ends it, in a sentence; empty where a model can be asked.
    pub advice: String,
    /// When the first model is tried again by itself, in milliseconds since 1970; absent where only a person changes
    /// that, or a model can be asked.
    pub until: Option<u64>,
    /// The models that cannot be asked, in their order.
    pub out: Vec<Out>,
}

/// The planner that leads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaderView {
    /// The device.
    pub device_id: String,
    /// Its name, where known.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it is this node.
    pub own: bool,
    /// The role it stands with.
    pub role: String,
}

/// A proposal of a gen-1 planner, as it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OtherProposalView {
    /// The planner's id for it.
    pub id: String,
    /// The device that said it.
    pub from: String,
    /// That device's name, where known.
    #[serde(default)]
    pub from_name: Option<String>,
    /// What it is about.
    pub summary: String,
    /// The actuator it names.
    pub target: String,
    /// The operation it names.
    pub operation: String,
    /// The level its planner chose; it means nothing here.
    pub level: String,
    /// Where it stands, in its planner's word.
    pub status: String,
    /// When this node first heard of it, in milliseconds since 1970.
    pub heard_at: u64,
    /// Whether it can be decided and executed here: never.
    pub executable_here: bool,
}

/// Why the planner is to rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PauseRequest {
    /// The reason, for people.
    #[serde(default)]
    pub reason: Option<String>,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
}

/// A question to the planner of a node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskRequest {
    /// The question.
    pub question: String,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
    /// The conversation that it goes on with, from an earlier answer; a new one begins where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// Whether the conversation is private from here on: then only models that may see private data are asked, and what
    /// they say is told to no other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Whether it is asked again by itself, for a day, where no model can be asked now; the rules answer meanwhile, and
    /// the answer says `queued`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

/// An answered question that is to be asked again when a model can be asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaterRequest {
    /// Its id.
    pub id: String,
}
