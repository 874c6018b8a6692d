//! Which links carry frames and which only carry their names: a broadcast tree over the links that stand
//! (feature `tree`).
//!
//! The method is Plumtree (J. Leitão, J. Pereira, L. Rodrigues, "Epidemic Broadcast Trees", 2007). A link is
//! eager at first: frames are pushed over it. A frame that came over another link before prunes the one it
//! comes over again; from then on that one is lazy and only offers are made over it. A frame that was offered
//! and does not come is asked for from one who offered it, which makes that link eager again. A peer that
//! offers and does not send is asked after all others, and little of what it offers is remembered.
//!
//! Pure: time is an argument, and nothing is sent here.

use std::collections::{BTreeMap, BTreeSet};

use super::FrameKey;
use crate::domain::base::limits::{
    TREE_ASK_AGAIN_MAX_MS, TREE_ASK_AGAIN_MS, TREE_ASK_MS, TREE_BUSY_MAX_MS, TREE_GRAFT_EVERY_MS,
    TREE_LINKS_ALL_EAGER, TREE_OFFERS_KEPT_MAX, TREE_OFFERS_OF_LIAR_MAX, TREE_OFFERS_PER_MESSAGE,
    TREE_PRUNE_AGAIN_MS, TREE_TRIES_MAX, TREE_UNMET_MAX,
};
use crate::domain::base::{DeviceId, TimeMs};

#[derive(Debug)]
struct Branch {
    eager: bool,
    /// Offers of it that are remembered.
    offers: usize,
    /// Offers that it did not keep; half of them are forgotten with each one that it keeps.
    unmet: u32,
    /// Whether it offers frames and does not send them.
    withholds: bool,
    /// How long a message to it and back takes, in milliseconds.
    round_trip: u64,
    /// When it was last told to push no more.
    pruned: Option<TimeMs>,
}

#[derive(Debug)]
struct Missing {
    since: TimeMs,
    due: TimeMs,
    /// Who has been asked last.
    asked: Option<DeviceId>,
    tries: u32,
    /// Who offered it and has not been asked.
    offers: BTreeSet<DeviceId>,
}

/// The rules of one node.
#[derive(Debug, Default)]
pub struct Tree {
    branches: BTreeMap<DeviceId, Branch>,
    missing: BTreeMap<FrameKey, Missing>,
    due: BTreeSet<(TimeMs, FrameKey)>,
    /// When a link was last made eager for a frame that did not come.
    grafted: Option<TimeMs>,
}

/// A request to a peer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Frames that it offered.
    pub keys: Vec<FrameKey>,
    /// Whether it is to push what follows.
    pub graft: bool,
}

impl Tree {
    /// A link to a peer that speaks of the tree began. It is eager.
    pub fn joined(&mut self, peer: &DeviceId) {
        self.left(peer);
        let branch = Branch {
            eager: true,
            offers: 0,
            unmet: 0,
            withholds: false,
            round_trip: 0,
            pruned: None,
        };
        self.branches.insert(peer.clone(), branch);
    }

    /// The link to a peer ended; what it alone offered is forgotten.
    pub fn left(&mut self, peer: &DeviceId) {
        if self.branches.remove(peer).is_none() {
            return;
        }
        let due = &mut self.due;
        self.missing.retain(|key, missing| {
            missing.offers.remove(peer);
            let asked = missing.asked.as_ref().is_some_and(|asked| asked != peer);
            let stays = asked || !missing.offers.is_empty();
            if !stays {
                due.remove(&(missing.due, *key));
            }
            stays
        });
    }

    /// Whether frames are pushed to a peer. To one that does not speak of the tree they always are.
    pub fn is_eager(&self, peer: &DeviceId) -> bool {
        self.branches.get(peer).is_none_or(|branch| branch.eager)
    }

    /// How long a message to a peer and back takes.
    pub fn paced(&mut self, peer: &DeviceId, round_trip_ms: u64) {
        if let Some(branch) = self.branches.get_mut(peer) {
            branch.round_trip = round_trip_ms.min(TREE_ASK_AGAIN_MAX_MS);
        }
    }

    /// The peers that offer frames and do not send them.
    pub fn withholding(&self) -> BTreeSet<DeviceId> {
        let some = self.branches.iter().filter(|(_, branch)| branch.withholds);
        some.map(|(peer, _)| peer.clone()).collect()
    }

    /// Whether a peer may be told to push no more: there are more links than are always pushed over.
    pub fn may_prune(&self) -> bool {
        self.branches.len() > TREE_LINKS_ALL_EAGER
    }

    /// A frame is here, or is not wanted.
    pub fn got(&mut self, key: &FrameKey, from: Option<&DeviceId>) {
        let Some(missing) = self.forget(key) else {
            return;
        };
        if let Some(branch) = from
            .filter(|from| missing.asked.as_ref() == Some(from))
            .and_then(|from| self.branches.get_mut(from))
        {
            // One that keeps an offer now and then stays behind those that keep all.
            branch.unmet /= 2;
            branch.withholds &= branch.unmet > 0;
        }
    }

    /// A peer sent a frame that was refused for what the peer has used up, or may not do here: it kept its offer, and
    /// another is asked at once.
    pub fn refused(&mut self, key: &FrameKey, from: &DeviceId, now: TimeMs) {
        if let Some(missing) = self.missing.get_mut(key)
            && missing.asked.as_ref() == Some(from)
        {
            missing.asked = None;
            self.due.remove(&(missing.due, *key));
            missing.due = now;
            self.due.insert((now, *key));
        }
    }

    /// As [`Tree::refused`], for so many frames of a peer of which only the number is known: those it was asked for
    /// first.
    pub fn refused_some(&mut self, from: &DeviceId, frames: usize, now: TimeMs) {
        let asked = self.due.iter().filter(|(_, key)| {
            let missing = self.missing.get(key);
            missing.is_some_and(|missing| missing.asked.as_ref() == Some(from))
        });
        let keys: Vec<FrameKey> = asked.take(frames).map(|(_, key)| *key).collect();
        for key in keys {
            self.refused(&key, from, now);
        }
    }

    /// A frame came that another link, that of `first`, had brought before. Whether the peer is to be told to
    /// push no more. It is not where the other link is no longer eager: what two origins send at once would
    /// otherwise prune all links of a node.
    pub fn copy(&mut self, from: &DeviceId, first: &DeviceId, now: TimeMs) -> bool {
        let spare = self.may_prune() && self.branches.get(first).is_some_and(|branch| branch.eager);
        if from == first || !spare {
            return false;
        }
        let Some(branch) = self.branches.get_mut(from) else {
            return false;
        };
        // Frames in flight at the prune arrive after it; if more keep coming, a later message has undone it.
        let told = |at: TimeMs| now.since(at) < TREE_PRUNE_AGAIN_MS;
        if !branch.eager && branch.pruned.is_some_and(told) {
            return false;
        }
        branch.eager = false;
        branch.pruned = Some(now);
        true
    }

    /// A peer wants frames pushed no more.
    pub fn pruned(&mut self, by: &DeviceId) {
        if let Some(branch) = self.branches.get_mut(by) {
            branch.eager = false;
        }
    }

    /// A peer wants frames pushed.
    pub fn grafted(&mut self, by: &DeviceId) {
        if let Some(branch) = self.branches.get_mut(by) {
            branch.eager = true;
        }
    }

    /// A peer has a frame that is not here.
    pub fn offered(&mut self, by: &DeviceId, key: FrameKey, now: TimeMs) {
        let Some(branch) = self.branches.get_mut(by) else {
            return;
        };
        let most = match branch.withholds {
            true => TREE_OFFERS_OF_LIAR_MAX,
            false => TREE_OFFERS_KEPT_MAX,
        };
        if branch.offers >= most {
            return;
        }
        let due = now.plus(TREE_ASK_MS);
        let missing = self.missing.entry(key).or_insert_with(|| Missing {
            since: now,
            due,
            asked: None,
            tries: 0,
            offers: BTreeSet::new(),
        });
        self.due.insert((missing.due, key));
        if missing.asked.as_ref() != Some(by) && missing.offers.insert(by.clone()) {
            branch.offers += 1;
        }
    }

    /// When something is to be asked for next.
    pub fn next_due(&self) -> Option<TimeMs> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The frames that have been waited for long enough.
    pub fn overdue(&self, now: TimeMs, most: usize) -> Vec<FrameKey> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        due.take(most).map(|(_, key)| *key).collect()
    }

    /// Whom to ask for frames that have been waited for long enough. `busy` says that frames wait here to be
    /// judged: what is missing may be among them. At most one more link becomes eager now and then: who asks
    /// for many frames at once lacks one branch, not as many as there are frames.
    pub fn ask(&mut self, now: TimeMs, busy: bool) -> BTreeMap<DeviceId, Asked> {
        let mut asked: BTreeMap<DeviceId, Asked> = BTreeMap::new();
        for key in self.overdue(now, TREE_OFFERS_PER_MESSAGE) {
            let Some(missing) = self.missing.get_mut(&key) else {
                continue;
            };
            self.due.remove(&(missing.due, key));
            if busy && now.since(missing.since) < TREE_BUSY_MAX_MS {
                missing.due = now.plus(TREE_ASK_MS);
                self.due.insert((missing.due, key));
                continue;
            }
            if let Some(branch) = missing
                .asked
                .take()
                .and_then(|silent| self.branches.get_mut(&silent))
            {
                branch.unmet = branch.unmet.saturating_add(1);
                branch.withholds |= branch.unmet >= TREE_UNMET_MAX;
            }
            let rank = |peer: &DeviceId| {
                let branch = self.branches.get(peer);
                branch.map(|branch| (branch.unmet, !branch.eager))
            };
            let next = missing.offers.iter().min_by_key(|peer| rank(peer)).cloned();
            let Some(next) = next.filter(|_| missing.tries < TREE_TRIES_MAX) else {
                self.forget(&key);
                continue;
            };
            missing.offers.remove(&next);
            missing.tries += 1;
            let round_trip = self.branches.get(&next).map_or(0, |b| b.round_trip);
            let patience = TREE_ASK_AGAIN_MS.saturating_add(2 * round_trip);
            missing.due = now.plus(patience.min(TREE_ASK_AGAIN_MAX_MS));
            missing.asked = Some(next.clone());
            self.due.insert((missing.due, key));
            if let Some(branch) = self.branches.get_mut(&next) {
                branch.offers = branch.offers.saturating_sub(1);
                // One that did not keep its offers is no part of the tree until it keeps one.
                let may = |at: TimeMs| now.since(at) >= TREE_GRAFT_EVERY_MS;
                if !branch.eager && branch.unmet == 0 && self.grafted.is_none_or(may) {
                    self.grafted = Some(now);
                    branch.eager = true;
                }
                let entry = asked.entry(next).or_default();
                entry.graft = branch.eager;
                entry.keys.push(key);
            }
        }
        asked
    }

    fn forget(&mut self, key: &FrameKey) -> Option<Missing> {
        let missing = self.missing.remove(key)?;
        self.due.remove(&(missing.due, *key));
        for peer in &missing.offers {
            if let Some(branch) = self.branches.get_mut(peer) {
                branch.offers = branch.offers.saturating_sub(1);
            }
        }
        Some(missing)
    }
}

#[cfg(test)]
mod tests;
