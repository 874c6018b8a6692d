//! Language models for programs and people of this machine: those of the node, and those that other devices share. What
//! they say is untrusted text, and nothing here acts on it.

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::model_token::{ModelToken, TokenError};
use super::{Answer, Door};
use crate::adapters::llm::Pieces;
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{COMPLETIONS_OUTPUT_TOKENS, COMPLETIONS_OUTPUT_TOKENS_MAX};
use crate::domain::base::{Code, Refusal};
use crate::domain::inference::route::Route;
use crate::domain::inference::words::text_of_all;
use crate::domain::inference::{Failure, InferenceRequest, Message, ModelRef, Piece, Usage};
use crate::node::inference::{Wanted, Whole};

/// The name that stands for the models of the configuration in their order.
pub const AUTO: &str = "auto";

/// What is asked of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InferRequest {
    /// What is asked.
    pub prompt: String,
    /// PROVIDER/MODEL; those of the configuration in their order where absent.
    #[serde(default)]
    pub model: Option<String>,
    /// The device whose model is meant, by its id or name.
    #[serde(default)]
    pub peer: Option<String>,
    /// How much it may write, in tokens.
    #[serde(default)]
    pub max_tokens: Option<u32>,
}

/// What comes of it, one line each; the last one is `ended` or `failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum Inferred {
    /// A model begins to answer.
    #[serde(rename_all = "camelCase")]
    Begun {
        /// Which one.
        model: String,
        /// The way to it, in a sentence.
        route: String,
    },
    /// More text.
    #[serde(rename_all = "camelCase")]
    Text {
        /// The text.
        text: String,
    },
    /// The reply has ended.
    #[serde(rename_all = "camelCase")]
    Ended {
        /// What it took.
        usage: Usage,
    },
    /// There is no reply, or no more of it.
    #[serde(rename_all = "camelCase")]
    Failed {
        /// Why, in a sentence.
        why: String,
    },
}

impl Door {
    /// Which models a name means.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what names none.
    pub fn models_named(&self, model: Option<&str>, peer: Option<&str>) -> Answer<Wanted> {
        let invalid = |why: String| Refusal::new(Code::InvalidParams, why);
        let Some(model) = model.filter(|model| *model != AUTO) else {
            return match peer {
                None => Ok(Wanted::Chain),
                Some(_) => Err(invalid("say which model of that device".to_owned())),
            };
        };
        let model: ModelRef = model.parse().map_err(invalid)?;
        let model = match peer {
            None => model,
            Some(device) => model.at_device(device).map_err(invalid)?,
        };
        if model.is_of_mesh() {
            model.of_mesh().map_err(invalid)?;
        }
        Ok(Wanted::Named(model))
    }

    /// Every model that can be named: of this node, and of other devices.
    pub fn model_names(&self) -> Vec<String> {
        let inference = &self.handles.inference;
        let own = inference.models().into_iter().map(|m| m.model);
        let mut all: Vec<String> = Vec::new();
        for model in own.chain(inference.elsewhere()) {
            let name = model.to_string();
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    /// Asks a model: the way taken, and its reply. What is labelled private decides where it may go.
    pub async fn infer(&self, wanted: &Wanted, request: InferenceRequest) -> (Route, Pieces) {
        let inference = &self.handles.inference;
        let about = inference.labels().text(&text_of_all(&request));
        inference.ask_of(wanted, request, &about).await
    }

    /// As [`Door::infer`], to the end of the reply.
    pub async fn infer_whole(
        &self,
        wanted: &Wanted,
        request: InferenceRequest,
    ) -> (Route, Result<Whole, Failure>) {
        let inference = &self.handles.inference;
        let about = inference.labels().text(&text_of_all(&request));
        inference.ask_whole(wanted, request, &about).await
    }

    /// Asks a model and tells what comes of it.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what names no model, or no prompt.
    pub async fn infer_told(
        &self,
        asked: &InferRequest,
    ) -> Answer<impl futures_util::Stream<Item = Inferred> + Send + use<>> {
        let wanted = self.models_named(asked.model.as_deref(), asked.peer.as_deref())?;
        if asked.prompt.trim().is_empty() {
            return Err(Refusal::new(Code::InvalidParams, "the prompt is empty"));
        }
        let most = asked.max_tokens.unwrap_or(COMPLETIONS_OUTPUT_TOKENS);
        let request = InferenceRequest {
            messages: vec![Message::User(asked.prompt.clone())],
            max_output_tokens: most.clamp(1, COMPLETIONS_OUTPUT_TOKENS_MAX),
            ..InferenceRequest::default()
        };
        let door = self.clone();
        let told = async move {
            let (route, pieces) = door.infer(&wanted, request).await;
            let begun = route.chosen.as_ref().map(|model| Inferred::Begun {
                model: model.to_string(),
                route: route.explain(),
            });
            let told = pieces.filter_map(|piece| async move {
                match piece {
                    Ok(Piece::Text(text)) => Some(Inferred::Text { text }),
                    Ok(Piece::Call(_)) => None,
                    Ok(Piece::End(usage)) => Some(Inferred::Ended { usage }),
                    Err(failure) => Some(Inferred::Failed { why: failure.why }),
                }
            });
            futures_util::stream::iter(begun).chain(told)
        };
        Ok(futures_util::stream::once(told).flatten())
    }

    /// Whether this is the token of the model endpoint, as the state directory has it now.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn is_model_token(&self, presented: &str) -> Result<bool, TokenError> {
        let kept = ModelToken::load(&StateDir::at(&self.handles.state_dir()))?;
        Ok(kept.is_some_and(|token| token.fits(presented)))
    }
}
