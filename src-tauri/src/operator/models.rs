//! The language models of this node as people see them: how each is, which one a question would go to, one short try, and
//! the names under which keys are kept. A key goes in and never comes out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use zeroize::Zeroizing;

use super::{Answer, Door};
use crate::adapters::keystore::CredentialCard;
use crate::domain::base::limits::{
    MODEL_TRIES_EVERY_MS, MODEL_TRIES_MAX, MODEL_TRY_MAX_CHARS, MODEL_TRY_TOKENS,
    QUESTION_MAX_CHARS,
};
use crate::domain::base::text::{one_line, shown};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::domain::inference::route::{About, Route};
use crate::domain::inference::{InferenceRequest, Message, ModelRef, Piece, Usage};
use crate::node::Handles;
use crate::node::context::{Event, Severity};
use crate::node::credentials;
use crate::node::inference::ModelState;

/// Queue of pieces of a try for their reader; a slow reader misses some and never the end.
const TOLD_MAX: usize = 32;

/// The models of this node and what decides between them.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelsView {
    /// Every model, in the order in which they are asked.
    pub models: Vec<ModelState>,
    /// Whether those of this machine come before others.
    pub edge_first: bool,
    /// Zones that are labelled private.
    pub private_zones: Vec<String>,
    /// Metrics that are labelled private.
    pub private_metrics: Vec<String>,
}

/// A question whose way is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRequest {
    /// The question.
    pub question: String,
    /// Whether it is private whatever it says.
    #[serde(default)]
    pub private: bool,
}

/// The way a question would take now.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// The way.
    pub route: Route,
    /// The same in a sentence.
    pub why: String,
    /// The models that would be asked next, where one fails before it has said anything.
    #[cfg_attr(test, schema(value_type = Vec<String>))]
    pub after: Vec<ModelRef>,
}

/// A short text to try the models with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TryRequest {
    /// The text.
    pub prompt: String,
    /// Whether it is private whatever it says.
    #[serde(default)]
    pub private: bool,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
}

/// What is told of a try, in order. The last one is `done` or `failed`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(
    rename_all = "kebab-case",
    tag = "event",
    rename_all_fields = "camelCase"
)]
pub enum Tried {
    /// A model begins to answer, or none does.
    Route {
        /// The way taken.
        route: Route,
        /// The same in a sentence.
        why: String,
    },
    /// The answer as far as it has come; it replaces what was told before.
    Text {
        /// The text.
        text: String,
    },
    /// The answer has ended.
    Done {
        /// The whole answer.
        text: String,
        /// How long it took, in milliseconds.
        #[serde(rename = "tookMs")]
        took_ms: u64,
        /// What it took.
        usage: Usage,
        /// What it cost, in millionths; 0 without a price.
        micros: u64,
    },
    /// There is none.
    Failed {
        /// Why, and what to do.
        message: String,
    },
}

/// A key to be kept. Never shown.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialSet {
    /// Its name, as in `provider/openai`.
    pub name: String,
    /// The key.
    #[cfg_attr(test, schema(value_type = String))]
    pub secret: Secret,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub by: Option<String>,
}

impl Secret {
    /// The text, for whoever keeps it.
    pub(super) fn into_text(self) -> Zeroizing<String> {
        self.0
    }
}

/// A key on its way in. What is no text is refused without a word of it.
pub struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from).map(|text| Self(Zeroizing::new(text)));
        text.map_err(|_| serde::de::Error::custom("secret: a key is a text"))
    }
}

/// A key that is kept, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CredentialView {
    /// Its name.
    pub name: String,
    /// When it was set, in milliseconds since 1970.
    pub set_at: u64,
}

impl From<CredentialCard> for CredentialView {
    fn from(card: CredentialCard) -> Self {
        Self {
            name: card.name,
            set_at: card.set_at_ms.0,
        }
    }
}

/// Keeps tries few: each may cost money.
pub struct Trials {
    turn: Arc<Semaphore>,
    begun: Mutex<VecDeque<TimeMs>>,
}

impl Default for Trials {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            begun: Mutex::default(),
        }
    }
}

impl Trials {
    fn take(&self, now: TimeMs) -> Answer<OwnedSemaphorePermit> {
        let many = |why: &str| Refusal::new(Code::RateExceeded, why);
        let turn = self.turn.clone().try_acquire_owned();
        let turn = turn.map_err(|_| many("another try is under way; wait for its end"))?;
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|at| now.distance(*at) < MODEL_TRIES_EVERY_MS);
        if begun.len() >= MODEL_TRIES_MAX {
            return Err(many("that was tried often enough; wait a minute"));
        }
        begun.push_back(now);
        Ok(turn)
    }
}

fn about(handles: &Handles, text: &str, private: bool) -> About {
    let said = match private {
        true => About::private("this text"),
        false => About::public(),
    };
    said.and(handles.inference.labels().text(text))
}

fn text_of(what: &str, text: &str, most: usize) -> Answer<String> {
    let text = text.trim();
    match !text.is_empty() && text.chars().count() <= most {
        true => Ok(shown(text, most)),
        false => Err(Refusal::new(
            Code::InvalidParams,
            format!("{what}: 1 to {most} characters"),
        )),
    }
}

impl Door {
    /// The models of this node.
    pub fn models(&self) -> ModelsView {
        let configured = &self.handles.config.models;
        ModelsView {
            models: self.handles.inference.models(),
            edge_first: configured.edge_first,
            private_zones: configured.labels.zones().to_vec(),
            private_metrics: configured.labels.metrics().to_vec(),
        }
    }

    /// The route that a question would take now; no model is asked.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for no question or one that is too long.
    pub fn explain_route(&self, asked: &RouteRequest) -> Answer<RouteView> {
        let question = text_of("question", &asked.question, QUESTION_MAX_CHARS)?;
        let about = about(&self.handles, &question, asked.private);
        let route = self.handles.inference.explain(&about);
        Ok(RouteView {
            why: route.explain(),
            route,
            after: self
                .handles
                .inference
                .chain(&about)
                .into_iter()
                .skip(1)
                .collect(),
        })
    }

    /// Asks the models a short text, as a question would go. Dropping the channel ends it.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for no text or one that is too long, `RATE_EXCEEDED` where that is done too often.
    pub async fn try_models(
        &self,
        trials: &Trials,
        asked: &TryRequest,
        by: &str,
    ) -> Answer<mpsc::Receiver<Tried>> {
        let handles = self.handles.clone();
        let prompt = text_of("prompt", &asked.prompt, MODEL_TRY_MAX_CHARS)?;
        let turn = trials.take(handles.now())?;
        let about = about(&handles, &prompt, asked.private);
        // A person who tries them wants them asked.
        handles.inference.forgive();
        let message = format!("{by} tried the models: {}", one_line(&prompt, 80));
        let journal = &handles.journal;
        let data = json!({"by": by});
        journal
            .record(Event::ModelTried, Severity::Info, &message, data)
            .await;
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let work = handles.clone();
        handles.tasks.passing("try of the models", async move {
            let _turn = turn;
            tokio::select! {
                biased;
                () = work.tasks.stop().cancelled() => {}
                () = tell.closed() => {}
                last = tried(&work, prompt, &about, &tell) => {
                    // Who reads nothing any more has gone.
                    let _ = tell.send(last).await;
                }
            }
        });
        Ok(told)
    }

    /// The names under which keys are kept.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub async fn credentials(&self) -> Answer<Vec<CredentialView>> {
        let cards = credentials::list(&self.handles.credentials).await?;
        Ok(cards.into_iter().map(CredentialView::from).collect())
    }

    /// Keeps a key.
    ///
    /// # Errors
    /// As [`credentials::set`].
    pub async fn credential_set(
        &self,
        asked: CredentialSet,
        by: &str,
    ) -> Answer<Vec<CredentialView>> {
        let s = &self.handles;
        let kept = (&s.credentials, &s.inference);
        credentials::set(s, kept, &asked.name, asked.secret.0, by).await?;
        s.gateways.credential_changed(&asked.name);
        self.credentials().await
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// As [`credentials::remove`].
    pub async fn credential_remove(&self, name: &str, by: &str) -> Answer<Vec<CredentialView>> {
        credentials::remove(&self.handles, &self.handles.credentials, name, by).await?;
        self.credentials().await
    }
}

/// Asks, tells what comes, and gives what is told last.
async fn tried(
    handles: &Handles,
    prompt: String,
    about: &About,
    tell: &mpsc::Sender<Tried>,
) -> Tried {
    let begun = handles.clock.steady_ms();
    let request = InferenceRequest {
        messages: vec![Message::User(prompt)],
        max_output_tokens: MODEL_TRY_TOKENS,
        ..InferenceRequest::default()
    };
    let (route, mut pieces) = handles.inference.ask(request, about).await;
    let (model, why) = (route.chosen.clone(), route.explain());
    let _ = tell.send(Tried::Route { route, why }).await;
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(Piece::Text(more)) => {
                // A model may write more than it was asked for; that much is not shown.
                if text.len() < usize::try_from(MODEL_TRY_TOKENS).unwrap_or(usize::MAX) * 16 {
                    text.push_str(&more);
                    let _ = tell.try_send(Tried::Text { text: text.clone() });
                }
            }
            Ok(Piece::Call(_)) => {}
            Ok(Piece::End(usage)) => {
                return Tried::Done {
                    text,
                    took_ms: handles.clock.steady_ms().saturating_sub(begun),
                    micros: model.map_or(0, |m| handles.inference.cost(&m, &usage)),
                    usage,
                };
            }
            Err(failure) => {
                return Tried::Failed {
                    message: failure.why,
                };
            }
        }
    }
    Tried::Failed {
        message: "the reply ended without an end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tries_are_few_and_one_at_a_time() {
        let trials = Trials::default();
        let first = trials.take(TimeMs(1_000)).unwrap();
        assert_eq!(
            trials.take(TimeMs(1_000)).unwrap_err().code,
            Code::RateExceeded
        );
        drop(first);
        for _ in 1..MODEL_TRIES_MAX {
            drop(trials.take(TimeMs(1_000)).unwrap());
        }
        let refused = trials.take(TimeMs(1_000)).unwrap_err();
        assert!(refused.message.contains("wait a minute"), "{refused}");
        drop(trials.take(TimeMs(1_000 + MODEL_TRIES_EVERY_MS)).unwrap());
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        for body in [
            r#"{"name":"provider/a","secret":{"sk-1":2}}"#,
            r#"{"name":"provider/a","secret":["sk-1"]}"#,
            r#"{"name":"provider/a","secret":77001}"#,
        ] {
            let Err(error) = serde_json::from_str::<CredentialSet>(body) else {
                panic!("taken: {body}")
            };
            let said = error.to_string();
            assert!(!said.contains("sk-1") && !said.contains("77001"), "{said}");
        }
    }
}
