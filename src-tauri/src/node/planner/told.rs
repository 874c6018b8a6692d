//! What whoever asks is told: the steps of an answer, and the answer.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::base::{DeviceId, TierName};

/// A frame that an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Citation {
    /// The frame.
    pub frame_id: String,
    /// The device that made it.
    pub origin: String,
    /// What it says, as the model was told.
    pub summary: String,
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Answerer {
    /// A language model. What it says is untrusted.
    Model,
    /// The planner of rules, which looks up words.
    Rules,
}

/// An answered question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The question's id.
    pub id: String,
    /// The conversation that it belongs to; empty for one that an earlier version answered.
    #[serde(default)]
    pub conversation: String,
    /// What was private in it or before it in its conversation; only models that may see that were asked.
    #[serde(default)]
    pub private: Vec<String>,
    /// The question.
    pub question: String,
    /// Who asked: a person or program, or a standing question by its name.
    pub asked_by: String,
    /// Whether a standing question asked.
    #[serde(default)]
    pub standing: bool,
    /// The device that answered, by its name, where it was another one.
    #[serde(default)]
    pub answered_by: Option<String>,
    /// The other devices whose planner or model led to the answer, or to one before it in the conversation; whom they alone
    /// vouch for does not approve what comes of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(test, schema(value_type = Vec<String>))]
    pub led_by: BTreeSet<DeviceId>,
    /// The answer.
    pub answer: String,
    /// The frames it rests on; each exists and was shown to who answered.
    pub citations: Vec<Citation>,
    /// How many citations named no frame that was shown, and were dropped.
    pub citations_dropped: usize,
    /// The proposals that it led to.
    pub proposals: Vec<String>,
    /// Who answered.
    pub answerer: Answerer,
    /// The model, if one answered.
    pub model: Option<String>,
    /// The tier of what is said; T0 for a model.
    pub tier: TierName,
    /// Why no model answered, where one was to.
    pub why: Option<String>,
    /// When it was asked, in milliseconds since 1970.
    pub asked_at: u64,
    /// How long it took from then on, in milliseconds.
    pub took_ms: u64,
    /// Tokens read and written.
    pub tokens: u64,
    /// Whether its question is asked again by itself when a model can be asked.
    #[serde(default)]
    pub queued: bool,
}

/// What is told while a question is answered, in order. The last one is `answered` or `failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(
    rename_all = "kebab-case",
    tag = "event",
    rename_all_fields = "camelCase"
)]
pub enum Telling {
    /// It waits.
    Queued {
        /// The question's id.
        id: String,
        /// How many are answered before it.
        behind: usize,
    },
    /// A model was asked.
    Thinking {
        /// Which, and why not another, in a sentence.
        route: String,
    },
    /// The answer as far as it has come; it replaces what was told before.
    Text {
        /// The text.
        text: String,
    },
    /// The model used a tool.
    Tool {
        /// Which, with what.
        call: String,
        /// What came of it, cut.
        result: String,
    },
    /// What the model said could not be used, and it is asked again.
    Again {
        /// Why.
        why: String,
    },
    /// The answer.
    Answered(Box<Answered>),
    /// There is none.
    Failed {
        /// The code.
        code: String,
        /// Why, and what to do.
        message: String,
    },
}
