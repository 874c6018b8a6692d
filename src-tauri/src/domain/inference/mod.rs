//! What is asked of a language model and what it says back, whichever provider serves it. Everything a model says is
//! untrusted text: it carries the taint `llm`, reaches no tier above T0 and decides nothing.

pub mod breaker;
pub mod budget;
pub mod exchange;
pub mod mode;
pub mod route;
pub mod words;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::base::limits::NAME_MAX_BYTES;

/// A model of a provider, as people write it: `ollama/qwen2.5:1.5b`, `anthropic/claude-sonnet-4-5`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelRef {
    provider: String,
    model: String,
}

impl ModelRef {
    /// The provider, a word of small letters, digits and dashes.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The model as its provider names it.
    pub fn model(&self) -> &str {
        &self.model
    }
}

/// The provider that stands for other devices of the mesh.
const MESH: &str = "mesh";

/// A model of another device: `mesh/DEVICE/PROVIDER/MODEL`, where the device is an id, a name or `*` for any that
/// offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshModel {
    /// The device's id or name; none for any.
    pub device: Option<String>,
    /// The model as that device offers it.
    pub model: ModelRef,
}

impl ModelRef {
    /// Whether it is a model of another device.
    pub fn is_of_mesh(&self) -> bool {
        self.provider == MESH
    }

    /// The model of another device that this names.
    ///
    /// # Errors
    /// A sentence, if it begins as one and is none.
    pub fn of_mesh(&self) -> Result<MeshModel, String> {
        let parts = self.model.split_once('/').filter(|_| self.is_of_mesh());
        let model = parts.and_then(|(device, model)| Some((device, model.parse::<Self>().ok()?)));
        match model {
            Some((device, model)) if !device.is_empty() && !model.is_of_mesh() => Ok(MeshModel {
                device: (device != "*").then(|| device.to_owned()),
                model,
            }),
            _ => Err(format!(
                "{self} names no model of another device: write mesh/DEVICE/PROVIDER/MODEL, with a device id, a name, \
                 or * for any device that offers it"
            )),
        }
    }

    /// The same model at another device, which is named by its id or name.
    ///
    /// # Errors
    /// If the text is too long or the name has spaces.
    pub fn at_device(&self, device: &str) -> Result<Self, String> {
        let there: Self = format!("{MESH}/{device}/{self}").parse()?;
        there.of_mesh().map(|_| there)
    }

    /// Whether two names mean one model; a capability has small letters alone.
    pub fn same_as(&self, other: &Self) -> bool {
        self.provider == other.provider && self.model.eq_ignore_ascii_case(&other.model)
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl FromStr for ModelRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is no model: write PROVIDER/MODEL, as in ollama/qwen2.5:1.5b, of at most {NAME_MAX_BYTES} bytes"
            )
        };
        let (provider, model) = text.split_once('/').ok_or_else(bad)?;
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let named = !provider.is_empty() && provider.chars().all(word);
        let plain = |c: char| !c.is_control() && !c.is_whitespace();
        match named && !model.is_empty() && model.chars().all(plain) && text.len() <= NAME_MAX_BYTES
        {
            true => Ok(Self {
                provider: provider.to_owned(),
                model: model.to_owned(),
            }),
            false => Err(bad()),
        }
    }
}

impl Serialize for ModelRef {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelRef {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One message of a conversation with a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// What the runtime tells the model about its task.
    System(String),
    /// What a person or the runtime asks.
    User(String),
    /// What the model said before.
    Assistant {
        /// Its text; may be empty.
        text: String,
        /// The tools it called.
        calls: Vec<ToolCall>,
    },
    /// What a tool gave back.
    Tool {
        /// The call that it answers.
        call_id: String,
        /// Its result as text.
        text: String,
    },
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: &'static str,
    /// What it does, for the model.
    pub description: &'static str,
    /// The JSON schema of its arguments, an object.
    pub parameters: Value,
}

/// A call of a tool, as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The provider's id for it, which its result repeats.
    pub id: String,
    /// The tool; perhaps one that does not exist.
    pub name: String,
    /// Its arguments as JSON text; perhaps not valid.
    pub arguments: String,
}

/// What is asked of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferenceRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// The tools it may call.
    pub tools: Vec<ToolSpec>,
    /// How much it may write at most, in tokens.
    pub max_output_tokens: u32,
    /// The JSON schema its text has to follow, where the server can be held to one.
    pub schema: Option<Value>,
    /// How freely it chooses its words, from 0 to 2; the server's own choice where absent.
    pub temperature: Option<f64>,
}

/// One piece of what a model says, in order. The last one of a reply that ended well is [`Piece::End`].
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// More text.
    Text(String),
    /// A call of a tool, whole.
    Call(ToolCall),
    /// The reply has ended.
    End(Usage),
}

/// What a reply took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read; 0 where the server does not say.
    pub input_tokens: u64,
    /// Tokens written; 0 where the server does not say.
    pub output_tokens: u64,
    /// Whether it was cut off at the limit.
    #[serde(default)]
    pub cut: bool,
}

/// Why a model gave no reply, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// A sentence that says what was wrong and what to do; never a key.
    pub why: String,
    /// After how many milliseconds the server wants to be asked again, where it says so.
    pub retry_after_ms: Option<u64>,
}

/// What kind of failure it was, and so whether another try or another model can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The server cannot be reached, or the link broke.
    Unreachable,
    /// It did not answer, or stopped answering, in time.
    Timeout,
    /// The key is missing or wrong.
    Unauthorized,
    /// It takes no more for now.
    RateLimited,
    /// It failed.
    Server,
    /// It refused the request: no such model, none for this key, too long, not understood, not allowed.
    Refused,
    /// What it sent is no reply, or is larger than the limit.
    BadReply,
    /// This node's budget for it is used up.
    Budget,
    /// No model may be asked: none is configured, or the privacy tier allows none.
    NoModel,
    /// Whoever asked has gone.
    Cancelled,
}

impl FailureKind {
    /// Whether the same model may be tried again soon.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Timeout | Self::RateLimited | Self::Server
        )
    }

    /// Whether another model may be asked instead.
    pub fn may_fall_back(self) -> bool {
        !matches!(self, Self::Cancelled | Self::NoModel)
    }
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(kind: FailureKind, why: impl Into<String>) -> Self {
        Self {
            kind,
            why: why.into(),
            retry_after_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_model_is_a_provider_and_a_name() {
        let model: ModelRef = "ollama/hf.co/some/model:Q4".parse().unwrap();
        assert_eq!(
            (model.provider(), model.model()),
            ("ollama", "hf.co/some/model:Q4")
        );
        assert_eq!(model.to_string(), "ollama/hf.co/some/model:Q4");
        for bad in [
            "", "ollama", "ollama/", "/x", "Ollama/x", "a b/c", "a/b c", "a/\u{7}",
        ] {
            let error = bad.parse::<ModelRef>().unwrap_err();
            assert!(error.contains("PROVIDER/MODEL"), "{error}");
        }
        let far: ModelRef = "mesh/hub/ollama/qwen2.5:1.5b".parse().unwrap();
        let there = far.of_mesh().unwrap();
        assert_eq!(there.device.as_deref(), Some("hub"));
        assert_eq!(there.model.to_string(), "ollama/qwen2.5:1.5b");
        assert_eq!(there.model.at_device("hub"), Ok(far));
        let any: ModelRef = "mesh/*/ollama/x".parse().unwrap();
        assert_eq!(any.of_mesh().unwrap().device, None);
        for bad in ["mesh/x", "mesh/a/b", "mesh//a/b", "mesh/a/mesh/b/c/d"] {
            assert!(bad.parse::<ModelRef>().unwrap().of_mesh().is_err(), "{bad}");
        }
        assert!(
            format!("a/{}", "x".repeat(NAME_MAX_BYTES))
                .parse::<ModelRef>()
                .is_err()
        );
    }
}
