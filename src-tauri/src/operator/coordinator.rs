//! The coordinator of claw-mesh at the door: agents that join, and messages that come through it. A message goes by the desk of this
//! node: it is on the disk before it counts, and is answered once.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Door};
use crate::domain::base::limits::{JOINED_MESSAGE_MS, NAME_MAX_BYTES};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal};
use crate::domain::coordination::choose::Place;
use crate::domain::coordination::message::{Message, MessageState};
pub use crate::node::coordinator::{ANY, Caller, Coordinator, Joining, Status, View, moment};
use crate::node::gateways::JOINED;
use crate::node::messages::Sent;

/// How often it is looked at whether a message was answered: at first, and at most, in milliseconds.
const LOOK_MS: (u64, u64) = (10, 250);

/// The surface that these messages come from.
const SOURCE: &str = "claw-mesh";

/// A message that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// Its id.
    pub message: String,
    /// The agent or node that answered.
    pub node: String,
    /// Its answer: untrusted text.
    pub response: String,
}

fn forwarding(why: &str) -> Refusal {
    Refusal::new(Code::DeliveryFailed, format!("forwarding failed: {why}"))
}

impl Door {
    /// The agents that have joined.
    pub fn coordinator(&self) -> &Coordinator {
        &self.handles.coordinator
    }

    /// Takes up the agents that joined before, and has them asked like those of a gateway.
    ///
    /// # Errors
    /// `CONFLICT` where a gateway has their name, `STORAGE_FAILED`.
    pub async fn coordinator_begin(&self) -> Answer<()> {
        let gateways = &self.handles.gateways;
        if gateways.one(JOINED).is_some_and(|one| !one.url.is_empty()) {
            let why = format!(
                "a gateway is called {JOINED} already, as the agents that join are: rename or remove it"
            );
            return Err(Refusal::new(Code::Conflict, why));
        }
        self.coordinator().begin().await?;
        gateways.take(JOINED, Arc::new(self.coordinator().clone()));
        Ok(())
    }

    /// Where a message of a client goes.
    fn coordinator_place(&self, to: Option<&str>) -> Answer<Place> {
        let of = |agent: &str| Place {
            agent: Some(format!("{JOINED}/{agent}")),
            ..Place::default()
        };
        let all = self.coordinator().all();
        if let Some(to) = to {
            let found = all.iter().find(|one| one.id == to);
            let found = found.ok_or_else(|| {
                let why = format!("target node {:?} not found", one_line(to, NAME_MAX_BYTES));
                Refusal::new(Code::NotFound, why)
            })?;
            if found.status == Status::Offline {
                let why = format!("target node {to:?} is offline");
                return Err(Refusal::new(Code::DeliveryFailed, why));
            }
            let agent = self.coordinator().agent_of(to).unwrap_or_default();
            return Ok(of(&agent));
        }
        if all.iter().any(|one| one.status != Status::Offline) {
            return Ok(of(ANY));
        }
        // Nobody has joined: the rules of the mesh decide, where they have an agent.
        let messages = self.handles.messages.abilities();
        match messages
            .iter()
            .any(|one| one.away.is_none() && !one.agents.is_empty())
        {
            true => Ok(Place::default()),
            false => Err(Refusal::new(Code::Busy, "no online nodes available")),
        }
    }

    /// Sends a message of a client and waits until it is over.
    ///
    /// # Errors
    /// `NOT_FOUND` and `DELIVERY_FAILED` for a target that is not there, `BUSY` where nobody is, `DELIVERY_FAILED` where it was not
    /// answered, or what the desk says.
    pub async fn coordinator_route(
        &self,
        content: String,
        source: &str,
        to: Option<&str>,
    ) -> Answer<Routed> {
        let sender = match one_line(source, NAME_MAX_BYTES) {
            named if !named.is_empty() && named == source => named,
            _ => SOURCE.to_owned(),
        };
        let sent = Sent {
            text: content,
            source: SOURCE.to_owned(),
            sender,
            place: self.coordinator_place(to)?,
            timeout_ms: Some(JOINED_MESSAGE_MS),
            ..Sent::default()
        };
        let mut message = self.handles.messages.send(sent).await?;
        let mut wait = LOOK_MS.0;
        while !message.state.is_over() {
            if message.state == MessageState::Queued && message.why.is_some() {
                return Err(self.nobody(&message).await);
            }
            tokio::time::sleep(Duration::from_millis(wait)).await;
            wait = (2 * wait).min(LOOK_MS.1);
            message = self.handles.messages.message(&message.id).await?;
        }
        self.routed(message)
    }

    /// Nobody took a message: its sender is told at once, and it does not wait for somebody in the queue.
    async fn nobody(&self, message: &Message) -> Refusal {
        let why = message.why.clone().unwrap_or_default();
        let cancelled = self.handles.messages.cancel(&message.id, SOURCE).await;
        if let Err(refusal) = cancelled {
            return refusal;
        }
        match message.attempts.is_empty() {
            true => Refusal::new(Code::Busy, "no online nodes available"),
            false => forwarding(&why),
        }
    }

    fn routed(&self, message: Message) -> Answer<Routed> {
        let why = message.why.as_deref().unwrap_or("no reason is known");
        match message.state {
            MessageState::Answered => {}
            MessageState::Unclear => {
                let why = format!(
                    "it is not known what became of the message {}, and it is not sent again by itself: {why}",
                    message.id
                );
                return Err(forwarding(&why));
            }
            state => return Err(forwarding(&format!("{}: {why}", state.as_str()))),
        }
        let key = self.handles.messages.key_at_gateway(&message);
        let last = message.attempts.last();
        let of_joined = last.is_some_and(|a| a.agent.gateway.as_deref() == Some(JOINED));
        let had = of_joined.then(|| self.coordinator().had(&key)).flatten();
        let node = had.or_else(|| last.map(|a| a.device.to_string()));
        Ok(Routed {
            message: message.id,
            node: node.unwrap_or_default(),
            response: message.answer.unwrap_or_default(),
        })
    }
}
