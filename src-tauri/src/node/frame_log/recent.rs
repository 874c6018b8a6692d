//! The newest frames of the log, in memory, encoded once and shared by all links. Bounded in number and
//! in bytes; a link that has fallen behind them reads the log until it has caught up.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::encoded::Encoded;
use crate::adapters::store::frames::Inserted;
use crate::domain::admission::Admitted;
use crate::domain::base::limits::{RECENT_FRAMES_BYTES, RECENT_FRAMES_MAX};
use crate::domain::base::{DeviceId, Digest};
use crate::domain::sync::FrameKey;

/// The frames after a place of the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These frames, up to that place; those left out are not for the peer.
    Frames(Vec<Arc<Encoded>>, u64),
    /// Frames that are no longer here, or not yet: they are in the log. Everything up to the given place
    /// has been stored.
    Log(u64),
    /// Nothing yet.
    Nothing,
}

/// The text of a frame, looked up by what follows its first brace: on a link a hop count stands between.
#[derive(Debug)]
struct Members(Arc<str>);

impl Borrow<str> for Members {
    fn borrow(&self) -> &str {
        self.0.get(1..).unwrap_or_default()
    }
}

impl Hash for Members {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<str>::borrow(self).hash(state);
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<str>::borrow(self) == Borrow::<str>::borrow(other)
    }
}

impl Eq for Members {}

#[derive(Debug, Default)]
struct Kept {
    /// By their place in the log. `None` stands for one that gave way to a better-proven one, or is private.
    frames: BTreeMap<u64, Option<Arc<Encoded>>>,
    bytes: usize,
    /// The places of those that stand with a good signature, by their content.
    signed: BTreeMap<Digest, u64>,
    /// Their places by their texts. The hash has a random key, and the whole text is compared.
    texts: HashMap<Members, u64>,
    /// The keys under which those that are kept may be offered.
    keys: BTreeSet<FrameKey>,
    /// The newest place that was announced.
    newest: u64,
    /// Frames at or before this place are no longer kept.
    gone: u64,
    /// How often the store had lost frames when it was last asked.
    losses: u64,
}

impl Kept {
    fn put(&mut self, seq: u64, frame: Option<Arc<Encoded>>) {
        self.newest = self.newest.max(seq);
        if seq <= self.gone {
            return;
        }
        if let Some(frame) = &frame {
            self.bytes += frame.text.len();
            self.signed
                .extend(frame.signed.map(|content| (content, seq)));
            if frame.signed.is_some() {
                let text = Members(frame.text.clone());
                self.texts.insert(text, seq);
            }
        }
        let known_as = frame.iter().flat_map(|frame| frame.known_as());
        let known_as: Vec<FrameKey> = known_as.collect();
        if let Some(old) = self.frames.insert(seq, frame) {
            self.forget(seq, old);
        }
        self.keys.extend(known_as);
        while self.frames.len() > RECENT_FRAMES_MAX || self.bytes > RECENT_FRAMES_BYTES {
            let Some((seq, old)) = self.frames.pop_first() else {
                break;
            };
            self.gone = seq;
            self.forget(seq, old);
        }
    }

    /// A frame that was at a place is there no longer.
    fn forget(&mut self, seq: u64, old: Option<Arc<Encoded>>) {
        let Some(old) = old else { return };
        self.bytes -= old.text.len();
        for key in old.known_as() {
            self.keys.remove(&key);
        }
        let stands = self.frames.get(&seq).and_then(Option::as_ref);
        if let Some(content) = old.signed
            && stands.is_none_or(|now| now.signed != old.signed)
        {
            self.signed.remove(&content);
            self.texts.remove(old.text.get(1..).unwrap_or_default());
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct RecentFrames(Mutex<Kept>);

impl RecentFrames {
    /// Takes in what was stored of a batch, and what it changed of frames stored before. The order of two
    /// batches that do not change each other's frames does not matter.
    pub fn stored(&self, batch: &[Admitted], inserted: &[Inserted]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (admitted, one) in batch.iter().zip(inserted) {
            let (Inserted::Stored(seq) | Inserted::Proven(seq) | Inserted::Instead { seq, .. }) =
                one
            else {
                continue;
            };
            if let Inserted::Instead { of, .. } = one {
                for old in of {
                    kept.put(old.seq, None);
                }
            }
            // Private frames do not go to every link.
            let public = admitted.frame().private.is_none();
            kept.put(*seq, public.then(|| Arc::new(Encoded::of(admitted))));
        }
    }

    /// Where the store has lost frames since this was last called, none counts as held here any more: a peer
    /// that brings one back must find it taken.
    pub fn after_losses(&self, losses: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.losses != losses {
            kept.losses = losses;
            kept.signed.clear();
            kept.texts.clear();
            kept.keys.clear();
        }
    }

    /// Whether a frame of this content is among them, with a good signature of its origin: no copy of it
    /// can be better proven.
    pub fn holds(&self, content: &Digest) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.signed.contains_key(content)
    }

    /// The frame of this text, if it is among them with a good signature: the text without its first brace.
    pub fn find(&self, members: &str) -> Option<Arc<Encoded>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.frames.get(kept.texts.get(members)?)?.clone()
    }

    /// The link over which the frame of this content came, if it is among them with a good signature.
    pub fn brought_by(&self, content: &Digest) -> Option<DeviceId> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = kept.signed.get(content)?;
        kept.frames.get(seq)?.as_ref()?.link_peer.clone()
    }

    /// Removes the keys of frames that are among them.
    pub fn leave_unknown(&self, keys: &mut Vec<FrameKey>) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|key| !kept.keys.contains(key));
    }

    /// The frames after a place of the log for a peer: at most `limit` frames and `bytes` of text, one frame
    /// in any case.
    pub fn after(&self, place: u64, peer: &DeviceId, limit: usize, bytes: usize) -> Next {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if place >= kept.newest {
            return Next::Nothing;
        }
        let (mut found, mut upto, mut used) = (Vec::new(), place, 0);
        for (seq, frame) in kept.frames.range(place + 1..) {
            // A missing place has not been announced yet, or is no longer kept.
            if *seq != upto + 1 || found.len() >= limit {
                break;
            }
            if let Some(frame) = frame.as_ref().filter(|f| f.is_new_to(peer)) {
                used += frame.text.len();
                if used > bytes && !found.is_empty() {
                    break;
                }
                found.push(frame.clone());
            }
            upto = *seq;
        }
        match upto > place {
            true => Next::Frames(found, upto),
            false => Next::Log(kept.newest),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId::of_public_key(&[n; 32])
    }

    /// A frame of device 1 that device 2 brought.
    pub(crate) fn encoded(hops: u32, text: &str) -> Encoded {
        let mut key = [0; 32];
        let length = text.len().min(32);
        key[..length].copy_from_slice(&text.as_bytes()[..length]);
        Encoded {
            origin: device(1),
            link_peer: Some(device(2)),
            hops,
            text: text.into(),
            signed: None,
            key: FrameKey(key),
            reading: true,
        }
    }

    fn put(recent: &RecentFrames, seq: u64, frame: Option<Encoded>) {
        recent.0.lock().unwrap().put(seq, frame.map(Arc::new));
    }

    fn texts(next: &Next) -> Vec<&str> {
        match next {
            Next::Frames(frames, _) => frames.iter().map(|f| f.text()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_took_the_place_of_a_frame_is_sent_and_not_the_frame() {
        let recent = RecentFrames::default();
        for (seq, text) in [(1, "one"), (2, "worse copy"), (3, "displaced"), (4, "four")] {
            put(&recent, seq, Some(encoded(1, text)));
        }
        put(&recent, 2, Some(encoded(1, "proven")));
        put(&recent, 3, None);
        put(&recent, 5, Some(encoded(1, "better")));
        let next = recent.after(0, &device(3), 10, 1_000);
        assert_eq!(texts(&next), ["one", "proven", "four", "better"]);
        assert!(matches!(next, Next::Frames(_, 5)));
    }

    #[test]
    fn only_what_stands_with_a_good_signature_and_is_kept_is_held() {
        let recent = RecentFrames::default();
        let content = |n: u8| Digest::of(&[&[n]]);
        let signed = |n: u8| Encoded {
            signed: Some(content(n)),
            ..encoded(1, &format!("{{{n}}}"))
        };
        put(&recent, 1, Some(encoded(1, "unproven")));
        put(&recent, 2, Some(signed(2)));
        put(&recent, 3, Some(signed(3)));
        assert!(!recent.holds(&content(1)) && recent.holds(&content(2)));
        put(&recent, 1, Some(signed(1)));
        put(&recent, 2, Some(signed(2)));
        put(&recent, 3, None);
        assert!(recent.holds(&content(1)) && recent.holds(&content(2)));
        assert!(!recent.holds(&content(3)));
        assert_eq!(recent.0.lock().unwrap().texts.len(), 2);
        for seq in 4..=RECENT_FRAMES_MAX as u64 + 1 {
            put(&recent, seq, Some(encoded(1, "x")));
        }
        assert!(!recent.holds(&content(1)) && recent.holds(&content(2)));
        assert_eq!(recent.0.lock().unwrap().signed.len(), 1);
        assert!(recent.find("1}").is_none());
        assert_eq!(recent.find("2}").unwrap().origin, device(1));
        recent.after_losses(0);
        assert!(recent.holds(&content(2)));
        recent.after_losses(1);
        assert!(!recent.holds(&content(2)), "it may be among what was lost");
        assert!(recent.find("2}").is_none());
        let key = encoded(1, "{2}").key;
        let mut offered = vec![key];
        recent.leave_unknown(&mut offered);
        assert_eq!(offered, [key]);
    }

    #[test]
    fn a_copy_without_signature_does_not_stand_for_the_signed_frame_that_is_offered() {
        let recent = RecentFrames::default();
        let (unproven, content) = (encoded(1, "{x"), Digest::of(&[b"x"]));
        let signed = Encoded {
            signed: Some(content),
            ..unproven.clone()
        };
        let copy = Encoded {
            key: unproven.key.unsigned(),
            ..unproven
        };
        let unknown = |keys: &[FrameKey]| {
            let mut keys = keys.to_vec();
            recent.leave_unknown(&mut keys);
            keys
        };
        let both = [signed.key, copy.key];
        assert_eq!(unknown(&both), both);
        put(&recent, 1, Some(copy.clone()));
        assert_eq!(unknown(&both), [signed.key]);
        put(&recent, 1, Some(signed.clone()));
        assert_eq!(unknown(&both), []);
        assert_eq!(recent.brought_by(&content), Some(device(2)));
        put(&recent, 1, None);
        assert_eq!(unknown(&both), both);
    }

    #[test]
    fn what_a_peer_made_or_brought_is_passed_over() {
        let recent = RecentFrames::default();
        put(&recent, 1, Some(encoded(1, "x")));
        for peer in [device(1), device(2)] {
            assert_eq!(
                recent.after(0, &peer, 10, 1_000),
                Next::Frames(Vec::new(), 1)
            );
        }
        assert_eq!(texts(&recent.after(0, &device(3), 10, 1_000)), ["x"]);
        assert_eq!(recent.after(1, &device(3), 10, 1_000), Next::Nothing);
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let recent = RecentFrames::default();
        for seq in 1..=2 * RECENT_FRAMES_MAX as u64 {
            put(&recent, seq, Some(encoded(1, "x")));
        }
        assert_eq!(recent.0.lock().unwrap().frames.len(), RECENT_FRAMES_MAX);
        let newest = 2 * RECENT_FRAMES_MAX as u64;
        assert_eq!(
            recent.after(0, &device(3), 10, 1_000),
            Next::Log(newest),
            "whoever is behind reads the log"
        );
        let large = "x".repeat(RECENT_FRAMES_BYTES / 4);
        for seq in newest + 1..newest + 20 {
            put(&recent, seq, Some(encoded(1, &large)));
            assert!(recent.0.lock().unwrap().bytes <= RECENT_FRAMES_BYTES);
        }
        assert_eq!(recent.0.lock().unwrap().frames.len(), 4);
        let too_large = "x".repeat(RECENT_FRAMES_BYTES + 1);
        put(&recent, newest + 20, Some(encoded(1, &too_large)));
        let kept = recent.0.lock().unwrap();
        assert_eq!((kept.frames.len(), kept.bytes), (0, 0));
        drop(kept);
        let next = recent.after(newest + 19, &device(3), 10, 1_000);
        assert_eq!(next, Next::Log(newest + 20));
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// So many frames are stored; they are announced after so many later batches.
        Store(u8, u8),
        /// The link takes at most so many frames.
        Read(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..200_u8, 0..3_u8).prop_map(|(n, late)| Step::Store(n, late)),
            (1..=255_u8).prop_map(Step::Read),
        ];
        proptest::collection::vec(step, 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever the order in which batches are announced, and however far the link falls behind, it
        /// gets every frame that is not its own, in the order of the log, once.
        #[test]
        fn a_link_gets_every_frame(steps in steps(), mine in 2..6_u64) {
            let (recent, peer) = (RecentFrames::default(), device(3));
            let text = format!("{:1024}", "");
            let of = |seq: u64| Encoded {
                origin: if seq.is_multiple_of(mine) { device(3) } else { device(1) },
                text: format!("{seq} {text}").into(),
                ..encoded(0, "")
            };
            // The log has what was stored, the ring what was announced.
            let (mut stored, mut late) = (0_u64, Vec::new());
            let (mut cursor, mut got) = (0, Vec::new());
            let read = |cursor: &mut u64, got: &mut Vec<u64>, stored: u64, most: usize| {
                let next = recent.after(*cursor, &peer, most, 100_000);
                let seqs = |frames: Vec<Arc<Encoded>>| -> Vec<u64> {
                    let number = |f: &Arc<Encoded>| f.text().split(' ').next().unwrap().parse().unwrap();
                    frames.iter().map(number).collect()
                };
                match next {
                    Next::Frames(frames, upto) => {
                        got.extend(seqs(frames));
                        *cursor = upto;
                    }
                    Next::Log(known) => {
                        let page: Vec<u64> = (*cursor + 1..=stored)
                            .filter(|seq| !seq.is_multiple_of(mine))
                            .take(most)
                            .collect();
                        *cursor = page.last().copied().unwrap_or(known);
                        got.extend(page);
                    }
                    Next::Nothing => return false,
                }
                true
            };
            for step in steps.into_iter().chain([Step::Store(1, 0)]) {
                match step {
                    Step::Store(count, after) => {
                        let batch: Vec<u64> = (stored + 1..=stored + u64::from(count)).collect();
                        stored += u64::from(count);
                        late.push((after, batch));
                        for (wait, batch) in &mut late {
                            if *wait == 0 {
                                batch.drain(..).for_each(|seq| put(&recent, seq, Some(of(seq))));
                            }
                            *wait = wait.saturating_sub(1);
                        }
                        late.retain(|(_, batch)| !batch.is_empty());
                    }
                    Step::Read(most) => {
                        read(&mut cursor, &mut got, stored, usize::from(most));
                    }
                }
            }
            for (_, batch) in late {
                batch.into_iter().for_each(|seq| put(&recent, seq, Some(of(seq))));
            }
            while read(&mut cursor, &mut got, stored, 256) {}
            let all: Vec<u64> = (1..=stored).filter(|seq| !seq.is_multiple_of(mine)).collect();
            prop_assert_eq!(got, all);
        }
    }
}
