//! Frames that wait for a peer that is slower than their arrival: of readings and of what nodes say of themselves
//! only the newest of each key, in the order in which the keys began to wait; before them what is said
//! once, such as outcomes and people's words. Only places in the log are kept, not the frames.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde_json::Value;

use crate::adapters::store::frames::StoredFrame;
use crate::domain::base::SignatureState;
use crate::domain::base::limits::{GEN1_WAITING_KEYS_MAX, GEN1_WAITING_SAID_MAX};
use crate::domain::wire::FrameKind;

/// Frames that may be on their way when a link breaks; they are sent again on the next one.
const UNCONFIRMED: usize = 16;

/// The key under which a newer frame replaces an older one.
type Key = (String, &'static str, String);

/// The frame of a key that waits: its place, and how well it is proven.
type Turn = (Key, u64, SignatureState);

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// Frames that nothing replaces, oldest first.
    said: VecDeque<u64>,
    /// The newest frame of each key, by when the key began to wait.
    turns: BTreeMap<u64, Turn>,
    turn_of: HashMap<Key, u64>,
    next_turn: u64,
    /// All places that wait.
    places: BTreeSet<u64>,
    /// The last places that were sent and are not confirmed.
    sent: VecDeque<u64>,
}

impl Newest {
    /// Takes a frame in; of the same key only this one waits from now on, unless the one that waits is
    /// better proven. Beyond the limits what has
    /// waited longest is left out: the peer would not have kept it either.
    pub(super) fn add(&mut self, stored: &StoredFrame) {
        let seq = stored.seq;
        let Some(key) = key(stored) else {
            if self.said.len() >= GEN1_WAITING_SAID_MAX
                && let Some(oldest) = self.said.pop_front()
            {
                self.places.remove(&oldest);
            }
            self.said.push_back(seq);
            self.places.insert(seq);
            return;
        };
        if let Some(waits) = self.turn_of.get(&key).and_then(|t| self.turns.get_mut(t)) {
            if stored.signature <= waits.2 {
                self.places.remove(&waits.1);
                self.places.insert(seq);
                (waits.1, waits.2) = (seq, stored.signature);
            }
            return;
        }
        self.places.insert(seq);
        if self.turns.len() >= GEN1_WAITING_KEYS_MAX {
            self.take_turn();
        }
        self.next_turn += 1;
        self.turn_of.insert(key.clone(), self.next_turn);
        self.turns
            .insert(self.next_turn, (key, seq, stored.signature));
    }

    fn take_turn(&mut self) -> Option<u64> {
        let (_, (key, seq, _)) = self.turns.pop_first()?;
        self.turn_of.remove(&key);
        self.places.remove(&seq);
        Some(seq)
    }

    /// The place of the frame that is due, which waits no longer.
    pub(super) fn next(&mut self) -> Option<u64> {
        let seq = match self.said.pop_front() {
            Some(seq) => {
                self.places.remove(&seq);
                seq
            }
            None => self.take_turn()?,
        };
        if self.sent.len() >= UNCONFIRMED {
            self.sent.pop_front();
        }
        self.sent.push_back(seq);
        Some(seq)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The place up to which nothing waits any more and everything has arrived by now, when the log was
    /// read up to `read`.
    pub(super) fn done_up_to(&self, read: u64) -> u64 {
        let open = self.places.first().into_iter().chain(&self.sent);
        open.min()
            .map_or(read, |seq| seq.saturating_sub(1).min(read))
    }
}

/// The replacement key of the frame; `None` for a frame that is never replaced.
fn key(stored: &StoredFrame) -> Option<Key> {
    let members: &[&str] = match stored.kind {
        FrameKind::Observation => &["zone", "metric"],
        FrameKind::CapabilityUpdate => &["type"],
        _ => return None,
    };
    let frame: Value = serde_json::from_str(&stored.json).ok()?;
    let parts = members.iter().map(|name| frame["data"][name].to_string());
    let parts: Vec<String> = parts.collect();
    let origin = stored.origin.as_str().to_owned();
    Some((origin, stored.kind.as_str(), parts.join(" ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::base::{DeviceId, Digest, SignatureState, Tier, TimeMs};

    fn frame(seq: u64, kind: FrameKind, data: &str) -> StoredFrame {
        StoredFrame {
            seq,
            content: Digest::of(&[data.as_bytes()]),
            origin: DeviceId::of_public_key(&[1; 32]),
            frame_id: format!("f{seq}").parse().unwrap(),
            kind,
            claimed_at: TimeMs(seq),
            time: TimeMs(seq),
            received_at: TimeMs(seq),
            hlc: None,
            origin_seq: None,
            claimed_tier: Tier::T2,
            effective_tier: Tier::T2,
            signed: false,
            signature: SignatureState::FirstHand,
            tainted: false,
            hops: 0,
            link_peer: None,
            ahead: false,
            private: false,
            json: format!("{{\"data\":{data}}}"),
        }
    }

    #[test]
    fn the_newest_of_each_key_goes_after_what_is_said_once() {
        let mut waiting = Newest::default();
        let a = r#"{"zone":"a","metric":"m"}"#;
        let b = r#"{"zone":"b","metric":"m"}"#;
        for seq in 1..=50 {
            waiting.add(&frame(seq, FrameKind::Observation, a));
        }
        waiting.add(&frame(51, FrameKind::Observation, b));
        waiting.add(&frame(52, FrameKind::Observation, a));
        waiting.add(&frame(53, FrameKind::Event, "{}"));
        waiting.add(&frame(54, FrameKind::HumanInput, "{}"));
        assert_eq!(waiting.done_up_to(54), 50);
        let order: Vec<u64> = std::iter::from_fn(|| waiting.next()).collect();
        assert_eq!(order, [53, 54, 52, 51]);
        assert!(waiting.is_empty());
        // The last ones may be lost with the link.
        assert_eq!(waiting.done_up_to(54), 50);
        for seq in 55..55 + UNCONFIRMED as u64 {
            waiting.add(&frame(seq, FrameKind::Event, "{}"));
            waiting.next();
        }
        assert_eq!(waiting.done_up_to(100), 54);
    }

    #[test]
    fn a_worse_proven_frame_takes_no_better_ones_turn() {
        let mut waiting = Newest::default();
        let of = |seq, signature| StoredFrame {
            signature,
            ..frame(seq, FrameKind::Observation, r#"{"zone":"a","metric":"m"}"#)
        };
        waiting.add(&of(1, SignatureState::Unverifiable));
        waiting.add(&of(2, SignatureState::FirstHand));
        waiting.add(&of(3, SignatureState::Unverifiable));
        assert_eq!((waiting.next(), waiting.next()), (Some(2), None));
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Newest::default();
        for n in 0..2 * GEN1_WAITING_KEYS_MAX {
            let data = format!(r#"{{"zone":"{n}","metric":"m"}}"#);
            waiting.add(&frame(n as u64 + 1, FrameKind::Observation, &data));
        }
        for n in 0..2 * GEN1_WAITING_SAID_MAX {
            waiting.add(&frame(1_000_000 + n as u64, FrameKind::Event, "{}"));
        }
        let count = std::iter::from_fn(|| waiting.next()).count();
        assert_eq!(count, GEN1_WAITING_KEYS_MAX + GEN1_WAITING_SAID_MAX);
    }
}
