//! The agents of this node, asked: its language model, and those of its gateways.

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::Messages;
use super::runs::{Live, RunAsk};
use crate::adapters::gateway::{Ask, AskError, Before};
use crate::adapters::store::messages::RunState;
use crate::domain::base::limits::{
    MESSAGE_ANSWER_MAX_BYTES, MODEL_OUTPUT_TOKENS, RUN_PIECES_WAITING_MAX,
};
use crate::domain::base::{DeviceId, Digest};
use crate::domain::coordination::message::Message as Sent;
use crate::domain::inference::{FailureKind, InferenceRequest, Message, Piece};
use crate::node::inference::Wanted;
use crate::node::mesh_models;

/// What its own model is told of its task.
const ABOUT: &str = "You answer a message that a person or a program sent to a mesh of machines. You have no tools and cannot act. Answer \
    plainly and briefly.";

/// Asks the agent of a run to the end.
pub(super) async fn of_agent(
    messages: &Messages,
    device: &DeviceId,
    ask: &RunAsk,
    before: Option<Before>,
    live: &Live,
) -> RunState {
    match &ask.agent.gateway {
        None => of_model(messages, device, ask, live).await,
        Some(gateway) => of_gateway(messages, device, ask, (gateway, before), live).await,
    }
}

/// The name of a conversation at a gateway: those of two devices, or of two senders, are never one.
fn session(device: &DeviceId, said: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let begin: String = said.chars().take(40).map(plain).collect();
    let digest = key(device, said);
    format!("{begin}-{}", digest.get(..16).unwrap_or_default())
}

/// The key of a run at a gateway: the same for one message of a device, whichever node asks, and no other device can take it.
fn key(device: &DeviceId, said: &str) -> String {
    Digest::of(&[device.as_str().as_bytes(), b"\0", said.as_bytes()]).to_hex()
}

impl Messages {
    /// The key under which a gateway of this node has had a message.
    pub fn key_at_gateway(&self, message: &Sent) -> String {
        key(self.own_id(), &message.run_key())
    }
}

/// Asks an agent of a gateway.
async fn of_gateway(
    messages: &Messages,
    device: &DeviceId,
    ask: &RunAsk,
    (gateway, before): (&str, Option<Before>),
    live: &Live,
) -> RunState {
    let was_asked = before.is_some();
    let question = Ask {
        agent: ask.agent.agent.clone(),
        session: session(device, &ask.session),
        text: ask.text.clone(),
        key: key(device, &ask.key),
        timeout_ms: ask.timeout_ms,
        before,
    };
    let (sender, mut pieces) = mpsc::channel(RUN_PIECES_WAITING_MAX);
    let asking = messages.0.gateways.ask(gateway, question, sender);
    let mut asking = Box::pin(asking);
    let answer = loop {
        tokio::select! {
            biased;
            piece = pieces.recv() => match piece {
                Some(piece) => drop(live.says(&piece)),
                None => break asking.await,
            },
            answer = &mut asking => break answer,
        }
    };
    match answer {
        Ok(answer) if answer.len() > MESSAGE_ANSWER_MAX_BYTES => RunState::Failed(format!(
            "its answer has more than {MESSAGE_ANSWER_MAX_BYTES} bytes"
        )),
        Ok(answer) => RunState::Answered(answer),
        Err(AskError::NotSent(why) | AskError::Refused(why)) if was_asked => {
            RunState::Interrupted(why)
        }
        Err(AskError::NotSent(why) | AskError::Refused(why)) => RunState::NotRun(why),
        Err(AskError::Unknown(why)) => RunState::Interrupted(why),
        Err(AskError::Failed(why)) => RunState::Failed(why),
    }
}

/// Asks the model of this node.
async fn of_model(messages: &Messages, device: &DeviceId, ask: &RunAsk, live: &Live) -> RunState {
    let models = &messages.0.models;
    let about = models.inference.labels().text(&ask.text);
    let request = InferenceRequest {
        messages: vec![
            Message::System(ABOUT.to_owned()),
            Message::User(ask.text.clone()),
        ],
        max_output_tokens: MODEL_OUTPUT_TOKENS,
        ..InferenceRequest::default()
    };
    let mut pieces = match device == messages.own_id() {
        true => {
            models
                .inference
                .ask_of(&Wanted::Chain, request, &about)
                .await
                .1
        }
        false => match mesh_models::ask_for(models, device, request, &about).await {
            Ok((_, pieces)) => pieces,
            Err(refusal) => return RunState::NotRun(refusal.message),
        },
    };
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(Piece::Text(text)) => {
                if !live.says(&text) {
                    return RunState::Failed(format!(
                        "its answer has more than {MESSAGE_ANSWER_MAX_BYTES} bytes"
                    ));
                }
            }
            Ok(Piece::Call(_)) => {}
            Ok(Piece::End(_)) => {
                let text = live.text().clone();
                return match text.trim().is_empty() {
                    true => RunState::Failed("it said nothing".to_owned()),
                    false => RunState::Answered(text),
                };
            }
            // It may answer later, or another node's may.
            Err(failure) if failure.kind.may_pass() || failure.kind == FailureKind::Budget => {
                return RunState::NotRun(failure.why);
            }
            Err(failure) => return RunState::Failed(failure.why),
        }
    }
    RunState::Failed("the model's answer broke off".to_owned())
}
