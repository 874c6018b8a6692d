//! Offers: what this node offers others and what the other end of a link offers it, both of which may change while the link
//! stands (`link.offers` `{"capabilities": [..]}`, feature `offers`). A gen-1 node is told with its next link.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Links;
use super::link::{Link, PeerInfo};
use crate::domain::base::{Code, Refusal};
use crate::domain::capability::{Capability, offers_actuator};
use crate::domain::wire::Message;
use crate::domain::wire::handshake::{Feature, capabilities};

/// The event by which a node tells what it offers from now on.
pub const OFFERS: &str = "link.offers";

/// What this node offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Everything.
    pub all: Vec<Capability>,
    /// The actuators and sequences among it.
    pub actuators: Vec<Capability>,
}

impl Offer {
    /// Everything, as it is said to others.
    pub fn texts(&self) -> Vec<String> {
        self.all.iter().map(|c| c.as_str().to_owned()).collect()
    }
}

/// What this node offers now, and who waits for it to change.
#[derive(Debug)]
pub struct Own {
    now: RwLock<Arc<Offer>>,
    /// Bots that run here, beside what the configuration and the devices offer.
    bots: RwLock<Vec<Capability>>,
    changes: watch::Sender<u64>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            now: RwLock::default(),
            bots: RwLock::default(),
            changes: watch::channel(0).0,
        }
    }
}

impl Own {
    /// What it offers from its start.
    pub fn of(offer: Offer) -> Self {
        let own = Self::default();
        *own.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(offer);
        own
    }

    /// What it offers now.
    pub fn now(&self) -> Arc<Offer> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    /// Counts up with each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A bot runs here from now on; `false` if that is known.
    pub fn runs(&self, bot: Capability) -> bool {
        let mut bots = self.bots.write().unwrap_or_else(PoisonError::into_inner);
        if bots.contains(&bot) {
            return false;
        }
        bots.push(bot.clone());
        drop(bots);
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut *now).all.push(bot);
        drop(now);
        self.changes.send_modify(|n| *n += 1);
        true
    }

    /// Whether one of these is a bot that runs here too.
    pub fn shares_bot(&self, offered: &[String]) -> bool {
        let bots = self.bots.read().unwrap_or_else(PoisonError::into_inner);
        bots.iter()
            .any(|bot| offered.iter().any(|o| o == bot.as_str()))
    }

    /// It offers something else from now on, beside its bots; `false` if it is the same.
    pub fn becomes(&self, mut offer: Offer) -> bool {
        let bots = self.bots.read().unwrap_or_else(PoisonError::into_inner);
        offer.all.extend(bots.iter().cloned());
        drop(bots);
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let new = **now != offer;
        *now = Arc::new(offer);
        drop(now);
        if new {
            self.changes.send_modify(|n| *n += 1);
        }
        new
    }

    /// Tells every link that takes it.
    pub async fn tell_all(&self, links: &Links) {
        for link in links.all() {
            self.tell(&link).await;
        }
    }

    /// Tells a link, unless its handshake can have said nothing else.
    pub async fn tell(&self, link: &Link) {
        if *self.changes.borrow() > 0 && link.info.speaks(Feature::Offers) {
            let about = json!({"capabilities": self.now().texts()});
            link.send(Message::event(OFFERS, &about)).await;
        }
    }
}

/// What the other end of a link says it offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// What counts, limited to its grants: actuators only with the grant `actuate`.
    pub capabilities: Vec<String>,
    /// Actuators that it says it has, without that grant; nothing is sent to it for them.
    pub withheld: Vec<String>,
}

impl Offered {
    /// These, with the actuators withheld unless the device may offer any.
    pub fn of(said: Vec<String>, may_actuate: bool) -> Self {
        let (withheld, capabilities) = said
            .into_iter()
            .partition(|c| !may_actuate && offers_actuator(c));
        Self {
            capabilities,
            withheld,
        }
    }

    /// Everything it says it offers, whether it may or not.
    pub fn claims(&self) -> impl Iterator<Item = &String> {
        self.capabilities.iter().chain(&self.withheld)
    }
}

/// The offers of the other end of a link.
#[derive(Debug)]
pub(super) struct Other(RwLock<Arc<Offered>>);

impl Other {
    pub(super) fn of(info: &PeerInfo) -> Self {
        Self(RwLock::new(Arc::new(info.offered.clone())))
    }
}

impl Link {
    /// What the other end offers now.
    pub fn offered(&self) -> Arc<Offered> {
        let now = self.other.0.read().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    /// The other end says what it offers from now on; `None` if it has said the same before.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what is no list of capabilities.
    pub fn offers(
        &self,
        payload: &Value,
        may_actuate: bool,
    ) -> Result<Option<Arc<Offered>>, Refusal> {
        let wrong = |why: &str| Refusal::new(Code::InvalidParams, format!("{OFFERS}: {why}"));
        let map = payload.as_object().ok_or_else(|| wrong("no object"))?;
        let said = capabilities(map).map_err(|e| wrong(&e.message))?;
        let offered = Arc::new(Offered::of(said, may_actuate));
        let mut now = self.other.0.write().unwrap_or_else(PoisonError::into_inner);
        if *now == offered {
            return Ok(None);
        }
        *now = offered.clone();
        Ok(Some(offered))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_node_offers_changes_once_for_each_change() {
        let own = Own::of(Offer::default());
        let offer = Offer {
            all: vec!["actuator:pump:a".parse().unwrap()],
            actuators: Vec::new(),
        };
        assert!(!own.becomes(Offer::default()));
        assert!(own.becomes(offer.clone()) && !own.becomes(offer));
        assert_eq!(*own.changes().borrow(), 1);
        assert_eq!(own.now().texts(), ["actuator:pump:a"]);
        let bot: Capability = "channel:telegram:7".parse().unwrap();
        assert!(own.runs(bot.clone()) && !own.runs(bot));
        assert!(own.becomes(Offer::default()));
        assert_eq!(own.now().texts(), ["channel:telegram:7"]);
        assert!(own.shares_bot(&["channel:telegram:7".to_owned()]));
    }

    #[test]
    fn actuators_without_the_grant_are_withheld() {
        let said = || vec!["actuator:pump:a".to_owned(), "channel:x".to_owned()];
        let without = Offered::of(said(), false);
        assert_eq!(without.capabilities, ["channel:x"]);
        assert_eq!(without.withheld, ["actuator:pump:a"]);
        assert_eq!(without.claims().count(), 2);
        assert!(Offered::of(said(), true).withheld.is_empty());
    }
}
