//! Messages to agents, as people and programs see them. An answer is what an agent said:
//! untrusted text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::views::Names;
use super::{Answer, Door};
use crate::adapters::store::messages::{self as rows, Page};
use crate::domain::base::limits::{MESSAGES_PAGE_MAX, NAME_MAX_BYTES};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::coordination::choose::Place;
use crate::domain::coordination::message::{Message, MessageState};
use crate::domain::coordination::routes::Retry;
use crate::node::messages::Sent;

/// A message to send.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageSend {
    /// The text.
    pub text: String,
    /// The node it goes to, by name or device id; the rules decide where neither this nor `group` nor `agent` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The group of nodes it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The agent it goes to: `model`, or an agent of a gateway, also as GATEWAY/AGENT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The greater, the sooner; from -9 to 9.
    #[serde(default)]
    pub priority: i64,
    /// How long it may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// A name that the sender gives it: a second message of one name is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who sends it, where nobody is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A node that was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// Its device id.
    pub device_id: String,
    /// Its name.
    pub name: String,
    /// Its agent.
    pub agent: String,
    /// When it was asked, in milliseconds since 1970.
    pub at: u64,
    /// Why it gave no answer.
    #[serde(default)]
    pub why: Option<String>,
}

/// A message, and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: MessageState,
    /// The text.
    pub text: String,
    /// The surface it came from.
    pub source: String,
    /// Who sent it.
    pub sender: String,
    /// The node it is to go to, where its sender said so.
    #[serde(default)]
    pub to_node: Option<String>,
    /// The group it is to go to, where its sender said so.
    #[serde(default)]
    pub to_group: Option<String>,
    /// The agent it is to go to, where its sender said so.
    #[serde(default)]
    pub to_agent: Option<String>,
    /// The greater, the sooner.
    pub priority: i64,
    /// When it came, in milliseconds since 1970.
    pub created_at: u64,
    /// When its time is over, in milliseconds since 1970.
    pub expires_at: u64,
    /// When it was over, in milliseconds since 1970.
    #[serde(default)]
    pub ended_at: Option<u64>,
    /// The rule that decided where it goes.
    #[serde(default)]
    pub rule: Option<String>,
    /// What becomes of it where its node stops answering.
    pub retry: Retry,
    /// The nodes that were asked, oldest first.
    pub attempts: Vec<AttemptView>,
    /// The answer, or what was said of it so far: untrusted text of an agent.
    #[serde(default)]
    pub answer: Option<String>,
    /// Why it stands so.
    #[serde(default)]
    pub why: Option<String>,
    /// Whether it may be sent once more.
    pub may_be_sent_again: bool,
}

/// Messages, and how many stand in each state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MessagesView {
    /// Messages, newest first.
    pub messages: Vec<MessageView>,
    /// How many stand in each state, of all.
    pub counts: BTreeMap<String, u64>,
}

/// Which messages are listed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageQuery {
    /// In these states, with commas between.
    #[serde(default)]
    pub state: Option<String>,
    /// With this text in the message or its answer.
    #[serde(default)]
    pub text: Option<String>,
    /// That came before this moment, in milliseconds since 1970.
    #[serde(default)]
    pub before: Option<u64>,
    /// Of those of that very moment, after this id: the last one of the page before.
    #[serde(default, rename = "beforeId")]
    pub before_id: Option<String>,
    /// At most so many.
    #[serde(default)]
    pub limit: Option<usize>,
}

pub(super) fn name_of(names: &Names, device: &DeviceId) -> String {
    let name = names.get(device).cloned();
    name.unwrap_or_else(|| device.short().to_owned())
}

fn view(message: Message, names: &Names, so_far: Option<String>) -> MessageView {
    let attempt = |attempt: &crate::domain::coordination::message::Attempt| AttemptView {
        device_id: attempt.device.as_str().to_owned(),
        name: name_of(names, &attempt.device),
        agent: attempt.agent.to_string(),
        at: attempt.at.0,
        why: attempt.why.clone(),
    };
    MessageView {
        attempts: message.attempts.iter().map(attempt).collect(),
        may_be_sent_again: message.state.may_be_sent_again(),
        id: message.id,
        state: message.state,
        text: message.text,
        source: message.source,
        sender: message.sender,
        to_node: message.place.node,
        to_group: message.place.group,
        to_agent: message.place.agent,
        priority: message.priority,
        created_at: message.created_at.0,
        expires_at: message.expires_at.0,
        ended_at: message.ended_at.map(|at| at.0),
        rule: message.rule,
        retry: message.retry,
        answer: message.answer.or(so_far).filter(|text| !text.is_empty()),
        why: message.why,
    }
}

impl Door {
    fn shown(&self, message: Message) -> MessageView {
        let so_far = self.handles.messages.so_far(&message.id);
        view(message, &self.names(), so_far)
    }

    /// Takes a message; it is on the disk when this returns. `source` is the surface, `by` who sends it.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `CONFLICT`, `BUSY`, or what the store says.
    pub async fn message_send(
        &self,
        asked: MessageSend,
        source: &str,
        by: &str,
    ) -> Answer<MessageView> {
        let sent = Sent {
            text: asked.text,
            source: source.to_owned(),
            sender: crate::domain::base::text::one_line(by, NAME_MAX_BYTES),
            key: asked.key,
            place: Place {
                node: asked.node,
                group: asked.group,
                agent: asked.agent,
            },
            priority: asked.priority,
            timeout_ms: asked.timeout_ms,
        };
        Ok(self.shown(self.handles.messages.send(sent).await?))
    }

    /// Messages, newest first.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a state that there is not, or what the store says.
    pub async fn messages(&self, asked: MessageQuery) -> Answer<MessagesView> {
        let states = asked.state.iter().flat_map(|s| s.split(',')).map(|name| {
            MessageState::named(name.trim()).ok_or_else(|| {
                let all: Vec<&str> = MessageState::ALL.iter().map(|s| s.as_str()).collect();
                let why = format!("state: {name:?} is none; use {}", all.join(", "));
                Refusal::new(Code::InvalidParams, why)
            })
        });
        let page = Page {
            states: states.collect::<Answer<_>>()?,
            text: asked.text.filter(|text| !text.is_empty()),
            before: asked.before.map(TimeMs),
            before_id: asked.before_id,
            limit: asked.limit.unwrap_or(50).clamp(1, MESSAGES_PAGE_MAX),
        };
        let read = move |c: &rusqlite::Connection| Ok((rows::page(c, &page)?, rows::counts(c)?));
        let (messages, counts) = self.read("messages", read).await?;
        let names = self.names();
        let seen = |message: Message| {
            let so_far = self.handles.messages.so_far(&message.id);
            view(message, &names, so_far)
        };
        let counts = counts
            .into_iter()
            .map(|(state, n)| (state.as_str().to_owned(), n));
        Ok(MessagesView {
            messages: messages.into_iter().map(seen).collect(),
            counts: counts.collect(),
        })
    }

    /// One message.
    ///
    /// # Errors
    /// `NOT_FOUND`, or what the store says.
    pub async fn message(&self, id: &str) -> Answer<MessageView> {
        Ok(self.shown(self.handles.messages.message(id).await?))
    }

    /// Takes a message back.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` for one that is over, or what the store says.
    pub async fn message_cancel(&self, id: &str, by: &str) -> Answer<MessageView> {
        Ok(self.shown(self.handles.messages.cancel(id, by).await?))
    }

    /// Sends a message once more that was not answered.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT`, `BUSY`, or what the store says.
    pub async fn message_again(&self, id: &str) -> Answer<MessageView> {
        Ok(self.shown(self.handles.messages.send_again(id).await?))
    }
}
