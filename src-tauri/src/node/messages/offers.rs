//! What a node tells others of the agents that it answers with for them (`message.offer` `{"agents": [..], "inFlight": n}`,
//! feature `messages`), when it changes and every few seconds. What another says is its word: it decides whom a message goes to
//! and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Messages;
use crate::adapters::gateway::State;
use crate::domain::admission::Grant;
use crate::domain::base::limits::{
    AGENTS_OF_NODE_MAX, MESSAGE_OFFER_EVERY_MS, MESSAGE_OFFERS_PER_MINUTE, PROFILE_LOOK_MS,
};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::coordination::choose::AgentRef;
use crate::domain::coordination::profile::Profile;
use crate::domain::wire::Message as Wire;
use crate::domain::wire::handshake::Feature;
use crate::node::links::LinkHandle;

/// How a node tells another what it answers with.
pub const OFFER: &str = "message.offer";

/// How often it is looked at whether something changed.
const LOOK: Duration = Duration::from_millis(500);

/// What a node says that it answers with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    /// Its agents, the usual one first.
    pub(super) agents: Vec<AgentRef>,
    /// How many messages it has under way.
    pub(super) in_flight: u32,
    /// What it can do.
    #[serde(default)]
    pub(super) profile: Profile,
}

impl Messages {
    /// The agents of this node.
    pub(super) fn own_agents(&self) -> Vec<AgentRef> {
        let mut agents = self.gateway_agents();
        if !self.0.models.inference.is_empty() {
            agents.push(AgentRef::model());
        }
        agents
    }

    /// The agents of the gateways that can be asked now.
    fn gateway_agents(&self) -> Vec<AgentRef> {
        let all = self.0.gateways.all().into_iter();
        let ready = all.filter(|gateway| gateway.seen.state == State::Ready);
        let agents = ready.flat_map(|gateway| {
            let of = gateway.name;
            gateway.seen.agents.into_iter().map(move |agent| AgentRef {
                gateway: Some(of.clone()),
                agent: agent.id,
            })
        });
        agents.take(AGENTS_OF_NODE_MAX - 1).collect()
    }

    /// The agents that this node answers with for another device.
    pub(super) fn agents_for(&self, device: &DeviceId) -> Vec<AgentRef> {
        let record = self.trust.live(device);
        if !record.is_some_and(|r| r.grants.has(Grant::Llm)) {
            return Vec::new();
        }
        let mut agents = self.gateway_agents();
        agents.retain(|agent| self.config.shared_agents.has(agent));
        if self.0.models.inference.shares_any() {
            agents.push(AgentRef::model());
        }
        agents
    }
}

impl Messages {
    /// Whom messages can go to now.
    fn there(&self) -> Vec<(DeviceId, Vec<AgentRef>)> {
        let all = self.candidates("").into_iter();
        let there = all.filter(|c| c.away.is_none());
        there.map(|c| (c.device, c.agents)).collect()
    }

    /// What a device is told: the agents with the grant `llm`, and with that or `read` what this node can do.
    fn offer_to(&self, device: &DeviceId) -> Told {
        let record = self.trust.live(device);
        let has = |grant| record.as_ref().is_some_and(|r| r.grants.has(grant));
        match has(Grant::Llm) || has(Grant::Read) {
            true => Told {
                agents: self.agents_for(device),
                in_flight: self.0.runs.count(),
                profile: self.own_profile(),
            },
            false => Told::default(),
        }
    }
}

/// Tells links what changed, and forgets what those that ended said.
pub(super) async fn run(messages: Messages) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // By link, since another one to the same device has heard nothing.
    let mut said: BTreeMap<DeviceId, (u64, Told, u64)> = BTreeMap::new();
    let mut looked = None;
    let mut there = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = messages.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = messages.clock.steady_ms();
        if looked.is_none_or(|at| now.saturating_sub(at) >= PROFILE_LOOK_MS) {
            looked = Some(now);
            super::profile::look(&messages).await;
        }
        let now_there = messages.there();
        if there != now_there {
            there = now_there;
            messages.wake();
        }
        let links = messages.links.all();
        said.retain(|device, _| links.iter().any(|l| l.info.device == *device));
        for link in links {
            if !link.info.speaks(Feature::Messages) {
                continue;
            }
            let device = &link.info.device;
            let offer = messages.offer_to(device);
            let begun = link.info.connected_at.0;
            let known = said.get(device);
            let same = known.is_some_and(|(of, told, at)| {
                *of == begun && *told == offer && now.saturating_sub(*at) < MESSAGE_OFFER_EVERY_MS
            });
            let nothing = offer == Told::default() && known.is_none();
            if same || nothing {
                continue;
            }
            let payload = serde_json::to_value(&offer).unwrap_or_default();
            link.tell(Wire::event(OFFER, &payload));
            said.insert(device.clone(), (begun, offer, now));
        }
    }
}

/// A node says what it answers with.
///
/// # Errors
/// `INVALID_PARAMS` for what does not read.
pub fn heard(messages: &Messages, link: &LinkHandle, payload: Value) -> Result<(), Refusal> {
    let wrong = |why: String| Refusal::new(Code::InvalidParams, format!("{OFFER}: {why}"));
    let device = &link.info.device;
    let rate = {
        let mut rates = messages.0.offer_rates.lock();
        let rates = rates.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
        rates.retain(|device, _| messages.trust.trusts(device));
        rates.entry(device.clone()).or_default().clone()
    };
    if !rate.admits(MESSAGE_OFFERS_PER_MINUTE, messages.now()) {
        let why = format!("{OFFER}: more than {MESSAGE_OFFERS_PER_MINUTE} in a minute");
        return Err(Refusal::new(Code::RateExceeded, why));
    }
    let agents = payload
        .get("agents")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    if agents > AGENTS_OF_NODE_MAX {
        return Err(wrong(format!("more than {AGENTS_OF_NODE_MAX} agents")));
    }
    let mut told: Told = serde_json::from_value(payload).map_err(|e| wrong(e.to_string()))?;
    told.profile = told.profile.checked().map_err(wrong)?;
    let mut all = messages
        .0
        .told
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    all.retain(|device, _| messages.trust.trusts(device));
    let before = all.insert(device.clone(), told.clone());
    drop(all);
    if before
        .is_none_or(|before| (&before.agents, &before.profile) != (&told.agents, &told.profile))
    {
        messages.wake();
    }
    Ok(())
}
