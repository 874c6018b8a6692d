//! Which of the nodes that run the same bot answers. Each tells the others how it stands; one holds the bot, with an epoch
//! that grows with each change, and the others stand by. One that is not heard for [`ANSWERING_HEARD_MS`] has gone.
//!
//! What a device tells is only its word: it keeps the bot silent until the others have looked at the server and found that
//! nobody polls there; then it is not believed for an hour. It can answer nothing by it, and two that answer do no harm: the
//! executor of each action checks what they sign.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::base::limits::{
    ANSWERING_CHECK_MS, ANSWERING_DOUBT_MS, ANSWERING_FIRST_CHECK_MS, ANSWERING_GIVE_EVERY_MS,
    ANSWERING_HEARD_MS, ANSWERING_HELD_MS, ANSWERING_NODES_MAX, ANSWERING_PATIENCE_MS,
    ANSWERING_REST_MS, ANSWERING_SETTLE_MS, NAME_MAX_BYTES,
};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::gate::ChannelKind;

/// What a node tells of its bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// What channel it is.
    pub kind: ChannelKind,
    /// The number of the bot at its server.
    pub bot: String,
    /// Counts the changes of who answers: who begins takes one more than it has heard of.
    pub epoch: u64,
    /// Whether it answers.
    pub holds: bool,
    /// Whether it reaches the bot's server.
    pub well: bool,
    /// Whether it wants to answer for a while, so that a person can enter a code with it.
    pub wants: bool,
    /// How many chats are persons' there.
    pub serves: u32,
}

impl Claim {
    /// Reads what a node tells.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for anything that does not read.
    pub fn parse(payload: serde_json::Value) -> Result<Self, Refusal> {
        let bad = |why: String| Refusal::new(Code::InvalidParams, format!("channel.claim: {why}"));
        let claim: Self = serde_json::from_value(payload).map_err(|e| bad(e.to_string()))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        match (1..=NAME_MAX_BYTES / 2).contains(&claim.bot.len()) && claim.bot.bytes().all(plain) {
            true => Ok(claim),
            false => Err(bad("the number of a bot is letters and digits".to_owned())),
        }
    }
}

/// How a node stands with its bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// It answers.
    Holds,
    /// Another answers.
    By(DeviceId),
    /// Nobody answers, and another goes before this one.
    Waits(DeviceId),
    /// It listens whether another answers.
    Listens,
    /// It leaves a bot alone that somebody else polls.
    Rests,
    /// Nobody is heard to answer, and this one goes first: it looks at the server and begins.
    First,
}

/// Another node with the same bot, as it is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The device.
    pub device: DeviceId,
    /// Whether it says that it answers, and is believed.
    pub holds: bool,
    /// How long ago it was heard, in milliseconds.
    pub heard_ms: u64,
}

#[derive(Debug, Clone)]
struct Heard {
    claim: Claim,
    at: u64,
    /// Since when it has said, time and again, that it answers; earlier by how long it did before, within the hour.
    holds_since: u64,
    /// How long it has said so since it was found there, and until when; times between which there is no hour add up.
    held_ms: u64,
    held_until: u64,
    doubted_until: u64,
    given_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mine {
    since: u64,
    well: bool,
    serves: u32,
    wants: Option<(u64, u64)>,
    /// The epoch and the last moment at which it was seen to hold.
    hold: Option<(u64, u64)>,
    rests_until: u64,
    checked_at: u64,
    nobody_since: Option<u64>,
    /// When the one that answered said that it does not any more.
    handed_at: Option<u64>,
}

/// The nodes of one bot, as one of them sees it. Moments are of its own clock that never steps.
#[derive(Debug, Clone)]
pub struct Turns {
    own: DeviceId,
    kind: ChannelKind,
    bot: String,
    mine: Mine,
    heard: BTreeMap<DeviceId, Heard>,
    newest: u64,
}

impl Turns {
    /// This node runs a bot from now on.
    pub fn new(own: DeviceId, kind: ChannelKind, bot: &str, now: u64) -> Self {
        Self {
            own,
            kind,
            bot: bot.to_owned(),
            mine: Mine {
                since: now,
                well: true,
                ..Mine::default()
            },
            heard: BTreeMap::new(),
            newest: 0,
        }
    }

    /// Whether it is about this bot.
    pub fn is_about(&self, kind: ChannelKind, bot: &str) -> bool {
        self.kind == kind && self.bot == bot
    }

    /// Another node told how it stands. Who it is was proven by its link, and that its word counts is known.
    pub fn hear(&mut self, device: DeviceId, claim: Claim, now: u64) {
        if !self.is_about(claim.kind, &claim.bot) || device == self.own {
            return;
        }
        if self.heard.len() >= ANSWERING_NODES_MAX && !self.heard.contains_key(&device) {
            let oldest = self.heard.iter().min_by_key(|(_, h)| h.at);
            let gone = oldest.filter(|(_, h)| !is_live(h, now));
            let Some(gone) = gone.map(|(device, _)| device.clone()) else {
                return;
            };
            self.heard.remove(&gone);
        }
        // A number that was made up does not use up those that are left.
        let newest = claim.epoch.min(self.newest.saturating_add(1 << 16));
        self.newest = self.newest.max(newest);
        let before = self.heard.get(&device);
        let held = before.filter(|h| h.claim.holds && is_live(h, now));
        if held.is_some() && !claim.holds && self.holder(now).as_ref() == Some(&device) {
            self.mine.handed_at = Some(now);
        }
        let (held_ms, held_until) = before.map_or((0, 0), |h| h.held(now));
        let earlier = held_ms.min(ANSWERING_FIRST_CHECK_MS);
        let mut heard = Heard {
            holds_since: held.map_or(now.saturating_sub(earlier), |h| h.holds_since),
            held_ms,
            held_until,
            doubted_until: before.map_or(0, |h| h.doubted_until),
            given_at: before.and_then(|h| h.given_at),
            at: now,
            claim,
        };
        if let Some((epoch, _)) = self.mine.hold {
            let said = &heard.claim;
            let higher = answers(&heard, now)
                && (said.epoch, Reverse(&device)) > (epoch, Reverse(&self.own));
            let lately = |at: u64| now.saturating_sub(at) < ANSWERING_GIVE_EVERY_MS;
            let asks = said.wants && said.well && !self.wants(now);
            let gives = asks && heard.doubted_until <= now && !heard.given_at.is_some_and(lately);
            if gives {
                heard.given_at = Some(now);
            }
            if higher || gives {
                self.mine.hold = None;
            }
        }
        self.heard.insert(device, heard);
    }

    /// Looks whether it still may answer, and goes on if so; `false` where it has lost the bot by standing still. A node that
    /// was not heard for long runs the bot no more.
    pub fn tick(&mut self, now: u64) -> bool {
        let known = |h: &Heard| now.saturating_sub(h.at) < ANSWERING_DOUBT_MS;
        self.heard.retain(|_, h| known(h) || h.doubted_until > now);
        let wanted = self.mine.wants.is_some();
        if wanted && !self.wants(now) {
            self.gives_back(now);
        }
        self.mine.nobody_since = match self.holder(now) {
            None if self.mine.hold.is_none() => Some(self.mine.nobody_since.unwrap_or(now)),
            _ => None,
        };
        match self.mine.hold {
            Some(_) if !self.speaks(now) => {
                self.mine.hold = None;
                false
            }
            Some((epoch, _)) => {
                self.mine.hold = Some((epoch, now));
                true
            }
            None => true,
        }
    }

    /// Whether it may say anything now.
    pub fn speaks(&self, now: u64) -> bool {
        let seen = self.mine.hold.map(|(_, seen)| seen);
        seen.is_some_and(|seen| now.saturating_sub(seen) < ANSWERING_HELD_MS)
    }

    /// How it stands. `alone` says that no other node may answer a bot at all.
    pub fn stand(&self, alone: bool, now: u64) -> Stand {
        if self.speaks(now) {
            return Stand::Holds;
        }
        if let Some(holder) = self.holder(now) {
            let asked = self.mine.wants.filter(|(_, until)| now < *until);
            return match asked.is_some_and(|(since, _)| now - since >= 2 * ANSWERING_SETTLE_MS) {
                // It was asked to give way and does not: the server tells whether it is there.
                true if now >= self.mine.rests_until => Stand::First,
                _ => Stand::By(holder),
            };
        }
        let listens = now.saturating_sub(self.mine.since) < ANSWERING_SETTLE_MS;
        let listens = listens && !alone && !self.is_handed(now);
        if now < self.mine.rests_until {
            return Stand::Rests;
        }
        if listens {
            return Stand::Listens;
        }
        let waited = self.mine.nobody_since.map_or(0, |s| now.saturating_sub(s));
        match self.goes_before(now) {
            Some(first) if waited < ANSWERING_PATIENCE_MS => Stand::Waits(first),
            _ => Stand::First,
        }
    }

    /// Whether the one that answered has just said that it does not any more: what it does not hold it does not use.
    pub fn is_handed(&self, now: u64) -> bool {
        let lately = |at: u64| now.saturating_sub(at) < ANSWERING_HELD_MS;
        self.mine.handed_at.is_some_and(lately) && self.holder(now).is_none()
    }

    /// Who says that it answers, and is believed.
    pub fn holder(&self, now: u64) -> Option<DeviceId> {
        let all = self.heard.iter().filter(|(_, h)| answers(h, now));
        let first = all.max_by_key(|(device, h)| (h.claim.epoch, Reverse(*device)));
        first.map(|(device, _)| device.clone())
    }

    /// The node that goes before this one where nobody answers: who wants a code to be entered, then who has most chats, then
    /// the lowest id.
    fn goes_before(&self, now: u64) -> Option<DeviceId> {
        let own = (
            Reverse(self.wants(now)),
            Reverse(self.mine.serves),
            &self.own,
        );
        let fit = |h: &Heard| is_live(h, now) && h.doubted_until <= now && h.claim.well;
        let all = self.heard.iter().filter(|(_, h)| fit(h));
        let order = |(device, h): (_, &Heard)| {
            let said = &h.claim;
            (Reverse(said.wants), Reverse(said.serves), device)
        };
        let first = all.map(order).min().filter(|first| *first < own);
        first.map(|(_, _, device)| device.clone())
    }

    /// It begins to answer; its epoch.
    pub fn take(&mut self, now: u64) -> u64 {
        let epoch = self.newest.saturating_add(1);
        self.newest = epoch;
        self.mine.hold = Some((epoch, now));
        self.mine.well = true;
        epoch
    }

    /// It ceases to answer, or does not begin: somebody else polls. `apart` tells several that meet so apart.
    pub fn rests(&mut self, apart: u64, now: u64) {
        self.mine.hold = None;
        let apart = apart % (ANSWERING_REST_MS / 2);
        self.mine.rests_until = now.saturating_add(ANSWERING_REST_MS + apart);
    }

    /// It ceases to answer, for it may have missed that another has begun.
    pub fn lets_go(&mut self) {
        self.mine.hold = None;
    }

    /// Whether it reaches the bot's server.
    pub fn is_well(&mut self, well: bool) {
        self.mine.well = well;
    }

    /// How many chats are persons' here.
    pub fn serves(&mut self, chats: u32) {
        self.mine.serves = chats;
    }

    fn wants(&self, now: u64) -> bool {
        self.mine.wants.is_some_and(|(_, until)| now < until)
    }

    /// A code was given out here, which has to be entered with this node.
    pub fn wants_until(&mut self, until: u64, now: u64) {
        self.mine.wants = Some((now, until));
        self.mine.rests_until = 0;
    }

    /// The code was entered. What is said of it is said from here; then another that goes before this one has the bot again.
    pub fn wanted_no_more(&mut self, now: u64) {
        let end = now.saturating_add(ANSWERING_SETTLE_MS);
        self.mine.wants = self
            .mine
            .wants
            .map(|(since, until)| (since, until.min(end)));
    }

    fn gives_back(&mut self, now: u64) {
        self.mine.wants = None;
        if self.mine.hold.is_some() && self.goes_before(now).is_some() {
            self.mine.hold = None;
        }
    }

    /// The node that says that it answers, where it is time to look whether it does.
    pub fn to_check(&self, now: u64) -> Option<DeviceId> {
        let holder = self.holder(now)?;
        let since = self.heard.get(&holder)?.holds_since;
        let checked = self.mine.checked_at;
        let due = match checked < since {
            true => since.saturating_add(ANSWERING_FIRST_CHECK_MS),
            false => checked.saturating_add(ANSWERING_CHECK_MS + self.apart() % 60_000),
        };
        (now >= due && now >= self.mine.rests_until).then_some(holder)
    }

    /// A number of this device's own, so that nodes do not all look at once.
    pub fn apart(&self) -> u64 {
        let start = self.own.as_str().get(..8).unwrap_or_default();
        u64::from_str_radix(start, 16).unwrap_or_default()
    }

    /// It was looked whether the holder is there: it is.
    pub fn checked(&mut self, holder: &DeviceId, now: u64) {
        self.mine.checked_at = now.max(1);
        if let Some(heard) = self.heard.get_mut(holder) {
            heard.held_ms = 0;
        }
    }

    /// It was looked whether a device that says so answers: it does not.
    pub fn doubt(&mut self, device: &DeviceId, now: u64) {
        self.mine.checked_at = now.max(1);
        if let Some(heard) = self.heard.get_mut(device) {
            heard.doubted_until = now.saturating_add(ANSWERING_DOUBT_MS);
        }
    }

    /// Whether every other node of this bot is heard now, so that none can have begun unnoticed.
    pub fn hears_all(&self, now: u64) -> bool {
        let lately = |h: &Heard| now.saturating_sub(h.at) < ANSWERING_HELD_MS;
        self.heard.values().all(lately)
    }

    /// The other nodes of this bot.
    pub fn others(&self, now: u64) -> Vec<Other> {
        let other = |(device, h): (&DeviceId, &Heard)| Other {
            device: device.clone(),
            holds: answers(h, now),
            heard_ms: now.saturating_sub(h.at),
        };
        self.heard.iter().map(other).collect()
    }

    /// What is told to the others.
    pub fn claim(&self, now: u64) -> Claim {
        Claim {
            kind: self.kind,
            bot: self.bot.clone(),
            epoch: self.mine.hold.map_or(self.newest, |(epoch, _)| epoch),
            holds: self.speaks(now),
            well: self.mine.well,
            wants: self.wants(now),
            serves: self.mine.serves,
        }
    }
}

impl Heard {
    /// For how long it has said that it answers, up to now, and until when.
    fn held(&self, now: u64) -> (u64, u64) {
        let (mut ms, mut until) = (self.held_ms, self.held_until);
        if self.claim.holds {
            until = now.min(self.at.saturating_add(ANSWERING_HEARD_MS));
            ms = ms.saturating_add(until.saturating_sub(self.at));
        }
        match now.saturating_sub(until) < ANSWERING_DOUBT_MS {
            true => (ms, until),
            false => (0, until),
        }
    }
}

fn is_live(heard: &Heard, now: u64) -> bool {
    now.saturating_sub(heard.at) < ANSWERING_HEARD_MS
}

fn answers(heard: &Heard, now: u64) -> bool {
    is_live(heard, now) && heard.claim.holds && heard.claim.well && heard.doubted_until <= now
}

#[cfg(test)]
mod tests;
