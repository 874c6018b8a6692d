//! Messages to agents, and the rules by which they find a node, as people and programs see them. An answer is what an agent said:
//! untrusted text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::views::Names;
use super::{Answer, Door};
use crate::adapters::store::messages::{self as rows, Page};
use crate::domain::base::limits::{MESSAGES_PAGE_MAX, NAME_MAX_BYTES};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::coordination::choose::{Candidate, Place, RuleLook};
use crate::domain::coordination::message::{Message, MessageState};
use crate::domain::coordination::profile::Profile;
use crate::domain::coordination::routes::{Incoming, Retry, Routes, Strategy};
use crate::node::context::{Event, Severity};
use crate::node::messages::{Rules, Sent};

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
    /// At most so many.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// A message whose way is explained; nothing is sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteAsk {
    /// The text.
    pub text: String,
    /// The surface it comes from.
    #[serde(default)]
    pub source: String,
    /// Who sends it.
    #[serde(default)]
    pub sender: String,
    /// The node it is to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The group it is to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The agent it is to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// A node that would be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChoiceView {
    /// Its device id.
    pub device_id: String,
    /// Its name.
    pub name: String,
    /// Its agent.
    pub agent: String,
}

/// Where a message would go, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RoutedView {
    /// The rule that decides; absent where none does.
    #[serde(default)]
    pub rule: Option<String>,
    /// What would become of it where its node stops answering.
    pub retry: Retry,
    /// Whom it would go to, and whom next.
    pub order: Vec<ChoiceView>,
    /// What was looked at, rule by rule.
    pub looks: Vec<RuleLook>,
}

/// One rule, in short.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Whether it is left out.
    pub disabled: bool,
    /// How one of several nodes is chosen.
    pub strategy: Strategy,
    /// What becomes of a message whose node stops answering.
    pub retry: Retry,
}

/// The rules by which messages find a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RulesView {
    /// Their text, as it was given.
    pub text: String,
    /// The rules, in their order.
    pub rules: Vec<RuleView>,
    /// How many tests they carry.
    pub tests: u64,
}

/// Other rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RulesSet {
    /// Their text.
    pub text: String,
    /// The text that they replace; refused where it was changed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
    /// Whether they are only tried: nothing is changed.
    #[serde(default)]
    pub try_only: bool,
    /// Who changes them, where nobody is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A node that messages may go to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AbleView {
    /// Its device id.
    pub device_id: String,
    /// Its name.
    pub name: String,
    /// Whether it is this node.
    pub own: bool,
    /// Why it cannot be asked now.
    #[serde(default)]
    pub away: Option<String>,
    /// The agents that it answers with for this node, the usual one first.
    pub agents: Vec<String>,
    /// How many messages it has under way.
    pub in_flight: u32,
    /// How long a request to it takes, in milliseconds, where it was measured.
    #[serde(default)]
    pub latency_ms: Option<u64>,
    /// What it says that it can do.
    pub profile: Profile,
}

/// Tags that this node gets and loses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagsChange {
    /// Those it gets.
    #[serde(default)]
    pub add: Vec<String>,
    /// Those it loses.
    #[serde(default)]
    pub remove: Vec<String>,
}

fn view_of(rules: &Rules) -> RulesView {
    let view = |rule: &crate::domain::coordination::routes::Ready| RuleView {
        name: rule.name.clone(),
        disabled: rule.disabled,
        strategy: rule.strategy,
        retry: rule.retry,
    };
    RulesView {
        rules: rules.routes.rules().iter().map(view).collect(),
        tests: u64::try_from(rules.routes.tests()).unwrap_or(u64::MAX),
        text: rules.text.clone(),
    }
}

fn name_of(names: &Names, device: &DeviceId) -> String {
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

    /// This node and the devices that it trusts, with what each says that it can do.
    pub fn abilities(&self) -> Vec<AbleView> {
        let own = self.handles.own_id();
        let all = self.handles.messages.abilities().into_iter();
        let view = |c: Candidate| AbleView {
            own: c.device == *own,
            device_id: c.device.as_str().to_owned(),
            name: c.name,
            away: c.away,
            agents: c.agents.iter().map(ToString::to_string).collect(),
            in_flight: c.in_flight,
            latency_ms: c.latency_ms,
            profile: c.profile,
        };
        all.map(view).collect()
    }

    /// Gives this node tags and takes others away; it has those that are returned.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, or what the store says.
    pub async fn tag(&self, change: TagsChange) -> Answer<Vec<String>> {
        let messages = &self.handles.messages;
        let tags = messages.tag(change.add, &change.remove).await?;
        Ok(tags.into_iter().collect())
    }

    /// The rules by which messages find a node.
    pub fn routing(&self) -> RulesView {
        view_of(&self.handles.messages.rules())
    }

    /// Puts other rules in force, or tries them.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for rules that do not read or whose tests fail, `CONFLICT`, or what the store says.
    pub async fn routing_set(&self, asked: RulesSet, by: &str) -> Answer<RulesView> {
        if asked.try_only {
            let routes = Routes::parse(&asked.text);
            let routes = routes.map_err(|why| Refusal::new(Code::InvalidParams, why))?;
            return Ok(view_of(&Rules {
                routes: routes.into(),
                text: asked.text,
            }));
        }
        let messages = &self.handles.messages;
        messages
            .set_rules(asked.text, asked.instead_of.as_deref())
            .await?;
        let view = self.routing();
        let said = format!(
            "{by} changed the rules of messages: {} rules",
            view.rules.len()
        );
        let data = json!({"by": by, "rules": view.rules.len()});
        let journal = &self.handles.journal;
        journal
            .record(Event::RoutingChanged, Severity::Warning, &said, data)
            .await;
        Ok(view)
    }

    /// Where a message would go, and why; nothing is sent.
    pub fn routing_explain(&self, asked: &RouteAsk) -> RoutedView {
        let incoming = Incoming {
            text: &asked.text,
            source: &asked.source,
            sender: &asked.sender,
        };
        let place = Place {
            node: asked.node.clone(),
            group: asked.group.clone(),
            agent: asked.agent.clone(),
        };
        let plan = self.handles.messages.explain(&incoming, &place);
        let names = self.names();
        let choice = |c: &crate::domain::coordination::choose::Choice| ChoiceView {
            device_id: c.device.as_str().to_owned(),
            name: name_of(&names, &c.device),
            agent: c.agent.to_string(),
        };
        RoutedView {
            order: plan.order.iter().map(choice).collect(),
            rule: plan.rule,
            retry: plan.retry,
            looks: plan.looks,
        }
    }
}
