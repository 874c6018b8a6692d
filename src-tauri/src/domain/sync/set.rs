//! The ordered set of what a node holds.

use std::collections::BTreeMap;

use negentropy::{Bound, Error, Id, Item, NegentropyStorageBase};

use super::FrameKey;
use crate::domain::base::TimeMs;

/// A frame's place in the order all nodes agree on: its origin's timestamp, then its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keyed {
    /// When its origin says it was made.
    pub at: TimeMs,
    /// Which frame it is.
    pub key: FrameKey,
}

/// A set of frames, ordered and without duplicates.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    items: Vec<Item>,
}

impl KeySet {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds frames, in any order.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Keyed>) {
        let before = self.items.len();
        self.items.extend(
            more.into_iter()
                .map(|k| Item::with_timestamp_and_id(k.at.0, Id::from_byte_array(k.key.0))),
        );
        if self.items.len() > before {
            // Adaptive: what is added is mostly newer than what was there.
            self.items.sort();
            self.items.dedup();
        }
    }

    /// Takes a frame out.
    pub fn remove(&mut self, gone: Keyed) {
        let item = Item::with_timestamp_and_id(gone.at.0, Id::from_byte_array(gone.key.0));
        if let Ok(at) = self.items.binary_search(&item) {
            self.items.remove(at);
        }
    }

    /// Takes many frames out, in one pass.
    pub fn remove_all(&mut self, gone: &[Keyed]) {
        let item = |k: &Keyed| Item::with_timestamp_and_id(k.at.0, Id::from_byte_array(k.key.0));
        let mut gone: Vec<Item> = gone.iter().map(item).collect();
        gone.sort_unstable();
        self.items.retain(|item| gone.binary_search(item).is_err());
    }

    /// Forgets what is not newer than `horizon`.
    pub fn forget_until(&mut self, horizon: TimeMs) {
        let from = self.start(horizon);
        self.items.drain(..from);
    }

    /// When the frames were made that may have these keys, as far as they are in the set.
    pub fn times(&self, keys: &[FrameKey]) -> Times {
        let heads = keys.iter().map(|key| (key.head(), Vec::new()));
        let mut times = Times(heads.collect());
        for item in &self.items {
            let head = FrameKey(item.id.to_bytes()).head();
            if let Some(times) = times.0.get_mut(&head) {
                times.push(TimeMs(item.timestamp));
            }
        }
        times
    }

    /// The part that is newer than `since`.
    pub fn newer_than(&self, since: TimeMs) -> Part<'_> {
        Part(self.items.get(self.start(since)..).unwrap_or_default())
    }

    fn start(&self, since: TimeMs) -> usize {
        match since.0 {
            0 => 0,
            since => self.items.partition_point(|item| item.timestamp <= since),
        }
    }
}

/// When frames were made, by the number of their ids.
#[derive(Debug, Clone, Default)]
pub struct Times(BTreeMap<i64, Vec<TimeMs>>);

impl Times {
    /// When those with this number were made.
    pub fn of(&self, head: i64) -> &[TimeMs] {
        self.0.get(&head).map_or(&[], Vec::as_slice)
    }
}

/// A part of a [`KeySet`] at its new end.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a>(&'a [Item]);

impl NegentropyStorageBase for Part<'_> {
    fn size(&self) -> Result<usize, Error> {
        Ok(self.0.len())
    }

    fn get_item(&self, i: usize) -> Result<Option<Item>, Error> {
        Ok(self.0.get(i).copied())
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        cb: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let range = self.0.get(begin..end).ok_or(Error::BadRange)?;
        for (offset, item) in range.iter().enumerate() {
            if !cb(*item, begin + offset)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &Bound) -> usize {
        let range = self.0.get(first..last).unwrap_or_default();
        first + range.partition_point(|item| *item < value.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pruned_is_taken_out_in_one_pass() {
        let keyed = |n: u8| Keyed {
            at: TimeMs(u64::from(n / 2)),
            key: FrameKey([n; 32]),
        };
        let mut set = KeySet::default();
        set.extend((0..10).map(keyed));
        set.remove_all(&[keyed(3), keyed(9), keyed(30), keyed(0)]);
        let left: Vec<u8> = set.items.iter().map(|item| item.id.to_bytes()[0]).collect();
        assert_eq!(left, [1, 2, 4, 5, 6, 7, 8]);
    }
}
