//! Places for event streams. Each kind of caller has places of its own, and one caller gets no more than
//! half of them, so that no program and no browser session can take the stream away from others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::auth::Caller;
use crate::domain::base::limits::EVENT_STREAMS_MAX;
use crate::domain::base::{Code, Refusal};
use crate::operator::browser::{Maker, SessionId};

/// Whose places a caller uses: a browser session those of who made its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Window,
    Of(Maker),
}

type Key = (Kind, Option<SessionId>);

/// The places of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<BTreeMap<Key, usize>>>);

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    key: Key,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a stream of `caller`.
    ///
    /// # Errors
    /// `BUSY` where it, or its kind, has no more.
    pub(super) fn take(&self, caller: &Caller) -> Result<Place, Refusal> {
        let key = match caller {
            Caller::Window => (Kind::Window, None),
            Caller::Owner => (Kind::Of(Maker::Owner), None),
            Caller::Token(scope) => (Kind::Of(Maker::Token(*scope)), None),
            Caller::Session(session) => (Kind::Of(session.by), Some(session.id)),
        };
        let mut taken = self.lock();
        let own = taken.get(&key).copied().unwrap_or(0);
        let kind: usize = taken
            .iter()
            .filter(|((kind, _), _)| *kind == key.0)
            .map(|(_, n)| n)
            .sum();
        if own >= EVENT_STREAMS_MAX / 2 || kind >= EVENT_STREAMS_MAX {
            return Err(Refusal::new(
                Code::Busy,
                "too many event streams of this caller are open already; close some",
            ));
        }
        taken.insert(key, own + 1);
        drop(taken);
        Ok(Place {
            places: self.clone(),
            key,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let left = taken.get(&self.key).map_or(0, |n| n.saturating_sub(1));
        match left {
            0 => drop(taken.remove(&self.key)),
            left => drop(taken.insert(self.key, left)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::operator::access::Scope;

    #[test]
    fn no_caller_takes_the_event_stream_away_from_others() {
        let places = Places::default();
        let take = |caller: Caller| -> Vec<Place> {
            std::iter::from_fn(|| places.take(&caller).ok()).collect()
        };
        let greedy = take(Caller::Token(Scope::Read));
        assert_eq!(greedy.len(), EVENT_STREAMS_MAX / 2);
        for other in [
            Caller::Token(Scope::Admin),
            Caller::Token(Scope::Operate),
            Caller::Owner,
            Caller::Window,
        ] {
            assert!(places.take(&other).is_ok(), "{other:?}");
        }
        drop(greedy);
        assert!(places.take(&Caller::Token(Scope::Read)).is_ok());
        assert!(places.lock().is_empty());
    }
}
