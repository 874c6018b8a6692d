//! The rules by which messages find a node, and what nodes say that they can do, as people and programs see them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::messages::name_of;
use super::{Answer, Door};
use crate::domain::base::limits::MESSAGE_TEXT_MAX_BYTES;
use crate::domain::base::{Code, Refusal};
use crate::domain::coordination::choose::{Candidate, Choice, Place, RuleLook};
use crate::domain::coordination::profile::Profile;
use crate::domain::coordination::routes::{Ready, Retry, Routes, Strategy};
use crate::node::context::{Event, Severity};
use crate::node::messages::{Asked, Rules};

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
    let view = |rule: &Ready| RuleView {
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

/// The tags of this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TagsView {
    /// The tags.
    pub tags: Vec<String>,
}

impl Door {
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
    pub async fn tag(&self, change: TagsChange) -> Answer<TagsView> {
        let messages = &self.handles.messages;
        let tags = messages.tag(change.add, &change.remove).await?;
        Ok(TagsView {
            tags: tags.into_iter().collect(),
        })
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
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a text that is too long.
    pub async fn routing_explain(&self, asked: &RouteAsk) -> Answer<RoutedView> {
        if asked.text.len() > MESSAGE_TEXT_MAX_BYTES {
            let why = format!("text: at most {MESSAGE_TEXT_MAX_BYTES} bytes");
            return Err(Refusal::new(Code::InvalidParams, why));
        }
        let text = Asked {
            text: asked.text.clone(),
            source: asked.source.clone(),
            sender: asked.sender.clone(),
        };
        let place = Place {
            node: asked.node.clone(),
            group: asked.group.clone(),
            agent: asked.agent.clone(),
        };
        let plan = self.handles.messages.explain(text, &place).await?;
        let names = self.names();
        let choice = |c: &Choice| ChoiceView {
            device_id: c.device.as_str().to_owned(),
            name: name_of(&names, &c.device),
            agent: c.agent.to_string(),
        };
        Ok(RoutedView {
            order: plan.order.iter().map(choice).collect(),
            rule: plan.rule,
            retry: plan.retry,
            looks: plan.looks,
        })
    }
}
