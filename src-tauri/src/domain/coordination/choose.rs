//! Which nodes a message goes to, in which order, and why not to the others. Nothing of what is chosen here permits anything:
//! the node that is asked decides itself whether it answers whom.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::routes::{Incoming, NodeMatch, Reading, Ready, Retry, Routes, Strategy};
use crate::domain::base::limits::NAME_MAX_BYTES;
use crate::domain::base::text::one_line;
use crate::domain::base::{DeviceId, Digest};

/// The name of the agent that every node with a language model of its own has.
pub const MODEL_AGENT: &str = "model";

/// An agent of a node: `model`, or an agent of one of its gateways as `gateway/agent`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentRef {
    /// The gateway; none for the node's own model.
    pub gateway: Option<String>,
    /// The agent.
    pub agent: String,
}

impl AgentRef {
    /// The node's own model.
    pub fn model() -> Self {
        Self {
            gateway: None,
            agent: MODEL_AGENT.to_owned(),
        }
    }

    /// Whether asking it twice changes nothing but what it costs.
    pub fn is_without_effects(&self) -> bool {
        self.gateway.is_none()
    }

    /// Whether a person means it by this name.
    fn is(&self, name: &str) -> bool {
        self.agent == name || self.to_string() == name
    }
}

impl fmt::Display for AgentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.gateway {
            Some(gateway) => write!(f, "{gateway}/{}", self.agent),
            None => f.write_str(&self.agent),
        }
    }
}

impl std::str::FromStr for AgentRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 2 * NAME_MAX_BYTES || one_line(text, text.len()) != text
        {
            return Err("an agent is `model`, or GATEWAY/AGENT".to_owned());
        }
        match text.split_once('/') {
            None if text == MODEL_AGENT => Ok(Self::model()),
            Some((gateway, agent)) if !gateway.is_empty() && !agent.is_empty() => Ok(Self {
                gateway: Some(gateway.to_owned()),
                agent: agent.to_owned(),
            }),
            _ => Err(format!(
                "{text:?} is no agent: write `model`, or GATEWAY/AGENT"
            )),
        }
    }
}

impl Serialize for AgentRef {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AgentRef {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A node that may be asked, as this node knows it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// What it says it can do.
    pub profile: Profile,
    /// The agents that it answers with for this node, the usual one first.
    pub agents: Vec<AgentRef>,
    /// How many messages it has under way, by its own word, and of this node for certain.
    pub in_flight: u32,
    /// How long a request to it takes, where it was measured.
    pub latency_ms: Option<u64>,
    /// Why it cannot be asked now.
    pub away: Option<String>,
}

/// What the sender says of where a message is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// A node, by name or device id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// An agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

impl Place {
    /// Whether the rules decide.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// A node and its agent that a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The node.
    pub device: DeviceId,
    /// The agent.
    pub agent: AgentRef,
}

/// How one node was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeLook {
    /// Its device id.
    pub device_id: String,
    /// Its name.
    pub name: String,
    /// Why it is not asked; absent where it is.
    #[serde(default)]
    pub why_not: Option<String>,
    /// Its agent that is asked.
    #[serde(default)]
    pub agent: Option<String>,
}

/// How one rule was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RuleLook {
    /// Its name; absent for what is done where no rule decides, and where the sender says where it goes.
    #[serde(default)]
    pub rule: Option<String>,
    /// Why it does not decide; absent where it does.
    #[serde(default)]
    pub why_not: Option<String>,
    /// The nodes as it looks at them; none where it does not take the message.
    pub nodes: Vec<NodeLook>,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The rule that decided.
    pub rule: Option<String>,
    /// What becomes of a message whose node stopped answering.
    pub retry: Retry,
    /// How long it may take, in milliseconds, where the rule says so.
    pub timeout_ms: Option<u64>,
    /// Whom to ask, in this order.
    pub order: Vec<Choice>,
    /// What was looked at.
    pub looks: Vec<RuleLook>,
}

/// What a rule wants, or the sender.
struct Wanted<'a> {
    node: &'a NodeMatch,
    gateway: Option<&'a str>,
    agent: Option<&'a str>,
    strategy: Strategy,
    weight: &'a dyn Fn(&Candidate) -> u32,
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn is_called(candidate: &Candidate, name: &str) -> bool {
    candidate.name == name || candidate.device.as_str() == name || candidate.device.short() == name
}

/// Why a node does not fit, whatever its agents.
fn misfit(routes: &Routes, wants: &NodeMatch, candidate: &Candidate) -> Option<String> {
    let profile = &candidate.profile;
    if !wants.name.is_empty() && !wants.name.iter().any(|n| is_called(candidate, n)) {
        return Some("it is not one of the nodes that are named".to_owned());
    }
    if let Some(group) = &wants.group {
        let Some(of_group) = routes.group(group) else {
            return Some(format!("there is no group {group:?}"));
        };
        // A group names no other group.
        if misfit(routes, of_group, candidate).is_some() {
            return Some(format!("it is not in the group {group:?}"));
        }
    }
    if let Some(os) = wants.os.as_ref().filter(|os| !same(os, &profile.os)) {
        return Some(format!("its system is {:?}, not {os:?}", profile.os));
    }
    if let Some(arch) = wants.arch.as_ref().filter(|a| !same(a, &profile.arch)) {
        return Some(format!("its processor is {:?}, not {arch:?}", profile.arch));
    }
    if let Some(gpu) = wants.gpu.filter(|gpu| *gpu == profile.gpus.is_empty()) {
        let has = if gpu { "no" } else { "a" };
        return Some(format!("it has {has} graphics processor"));
    }
    let can = |skill: &String| profile.can(skill);
    if let Some(skill) = wants.skills.iter().find(|skill| !can(skill)) {
        return Some(format!("it does not have the skill {skill:?}"));
    }
    if !wants.any_skill.is_empty() && !wants.any_skill.iter().any(can) {
        return Some(format!(
            "it has none of the skills {}",
            wants.any_skill.join(", ")
        ));
    }
    if let Some(kind) = wants.skill_kind
        && !profile.skills.iter().any(|s| s.kind == kind)
    {
        return Some("it has no skill of the kind that is wanted".to_owned());
    }
    let tag = wants.tags.iter().find(|tag| !profile.tags.contains(*tag));
    tag.map(|tag| format!("it does not have the tag {tag:?}"))
}

/// The agent of a node that is asked, or why it is not.
fn fit(routes: &Routes, wanted: &Wanted<'_>, candidate: &Candidate) -> Result<AgentRef, String> {
    if let Some(why) = misfit(routes, wanted.node, candidate) {
        return Err(why);
    }
    if let Some(why) = &candidate.away {
        return Err(why.clone());
    }
    if candidate.agents.is_empty() {
        return Err("it answers no messages of this node".to_owned());
    }
    let of_gateway = |agent: &&AgentRef| match wanted.gateway {
        Some(gateway) => agent.gateway.as_deref() == Some(gateway),
        None => true,
    };
    let named = |agent: &&AgentRef| wanted.agent.is_none_or(|name| agent.is(name));
    let mut agents = candidate.agents.iter().filter(of_gateway).filter(named);
    let agent = agents.next().cloned();
    agent.ok_or_else(|| match (wanted.gateway, wanted.agent) {
        (_, Some(agent)) => format!("it does not answer with the agent {agent:?}"),
        (Some(gateway), None) => format!("it does not answer with the gateway {gateway:?}"),
        (None, None) => "it answers no messages of this node".to_owned(),
    })
}

/// A number that is the same for one sender and device on every node.
fn draw(message: &Incoming<'_>, device: &DeviceId) -> u64 {
    let (source, sender) = (message.source.as_bytes(), message.sender.as_bytes());
    let digest = Digest::of(&[source, b"\0", sender, b"\0", device.as_str().as_bytes()]);
    let hex = digest.to_hex();
    u64::from_str_radix(hex.get(..16).unwrap_or_default(), 16).unwrap_or_default()
}

/// Puts the nodes that fit in the order in which they are asked. `turn` counts the messages of the rule.
fn order(
    wanted: &Wanted<'_>,
    fits: &mut [(&Candidate, AgentRef)],
    message: &Incoming<'_>,
    turn: u64,
) {
    fits.sort_by(|(a, _), (b, _)| a.device.cmp(&b.device));
    let len = u64::try_from(fits.len()).unwrap_or(u64::MAX).max(1);
    let at = |place: u64| usize::try_from(place).unwrap_or_default();
    match wanted.strategy {
        Strategy::LeastBusy => {
            // Those that are equally busy take turns.
            fits.rotate_left(at(turn % len));
            fits.sort_by_key(|(c, _)| c.in_flight);
        }
        Strategy::RoundRobin => fits.rotate_left(at(turn % len)),
        Strategy::Weighted => {
            let weights: Vec<u64> = fits
                .iter()
                .map(|(c, _)| u64::from((wanted.weight)(c)))
                .collect();
            let sum: u64 = weights.iter().sum();
            if sum == 0 {
                return;
            }
            let mut left = turn % sum;
            let first = weights
                .iter()
                .position(|weight| match left.checked_sub(*weight) {
                    Some(rest) => {
                        left = rest;
                        false
                    }
                    None => true,
                });
            fits.rotate_left(first.unwrap_or_default());
        }
        Strategy::Sticky => {
            fits.sort_by_key(|(c, _)| std::cmp::Reverse(draw(message, &c.device)));
        }
        Strategy::Latency => {
            fits.sort_by_key(|(c, _)| (c.latency_ms.unwrap_or(u64::MAX), c.in_flight));
        }
    }
}

/// Looks at every node as a rule wants it.
fn look<'a>(
    routes: &Routes,
    wanted: &Wanted<'_>,
    candidates: &'a [Candidate],
) -> (Vec<(&'a Candidate, AgentRef)>, Vec<NodeLook>) {
    let (mut fits, mut looks) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let fit = fit(routes, wanted, candidate);
        looks.push(NodeLook {
            device_id: candidate.device.as_str().to_owned(),
            name: candidate.name.clone(),
            why_not: fit.as_ref().err().cloned(),
            agent: fit.as_ref().ok().map(AgentRef::to_string),
        });
        fits.extend(fit.map(|agent| (candidate, agent)));
    }
    (fits, looks)
}

fn one(_: &Candidate) -> u32 {
    1
}

fn weight_of(rule: &Ready, candidate: &Candidate) -> u32 {
    let named = rule
        .weights
        .iter()
        .find(|(name, _)| is_called(candidate, name));
    named.map_or(1, |(_, weight)| *weight)
}

/// Where a message goes: where its sender says, else by the first rule that takes it and has a node for it, else to the node
/// with the least under way. `turn` counts messages, so that they go to each in turn.
pub fn choose(
    routes: &Routes,
    message: &Incoming<'_>,
    place: &Place,
    candidates: &[Candidate],
    turn: u64,
) -> Plan {
    let mut plan = Plan::default();
    let reading = Reading::of(message);
    let chosen = |fits: Vec<(&Candidate, AgentRef)>| -> Vec<Choice> {
        let of = |(c, agent): (&Candidate, AgentRef)| Choice {
            device: c.device.clone(),
            agent,
        };
        fits.into_iter().map(of).collect()
    };
    for rule in routes.rules().iter().filter(|_| place.is_open()) {
        let mut seen = RuleLook {
            rule: Some(rule.name.clone()),
            why_not: rule.refuses(&reading),
            nodes: Vec::new(),
        };
        if seen.why_not.is_none() {
            let wanted = Wanted {
                node: &rule.node,
                gateway: rule.gateway.as_deref(),
                agent: rule.agent.as_deref(),
                strategy: rule.strategy,
                weight: &|c| weight_of(rule, c),
            };
            let (mut fits, nodes) = look(routes, &wanted, candidates);
            // A node of weight 0 gets none.
            fits.retain(|(c, _)| rule.strategy != Strategy::Weighted || weight_of(rule, c) > 0);
            seen.nodes = nodes;
            if !fits.is_empty() {
                order(&wanted, &mut fits, message, turn);
                plan.looks.push(seen);
                plan.rule = Some(rule.name.clone());
                plan.retry = rule.retry;
                plan.timeout_ms = rule.timeout_s.map(|s| s.saturating_mul(1_000));
                plan.order = chosen(fits);
                return plan;
            }
            seen.why_not = Some("no node fits".to_owned());
        }
        plan.looks.push(seen);
    }
    let node = NodeMatch {
        name: place.node.iter().cloned().collect(),
        group: place.group.clone(),
        ..NodeMatch::default()
    };
    let wanted = Wanted {
        node: &node,
        gateway: None,
        agent: place.agent.as_deref(),
        strategy: Strategy::LeastBusy,
        weight: &one,
    };
    let (mut fits, nodes) = look(routes, &wanted, candidates);
    order(&wanted, &mut fits, message, turn);
    let none = fits.is_empty().then(|| "no node fits".to_owned());
    plan.looks.push(RuleLook {
        rule: None,
        why_not: none,
        nodes,
    });
    plan.order = chosen(fits);
    plan
}

#[cfg(test)]
mod tests;
