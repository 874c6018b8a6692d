//! Places for what the API works for at once: requests, requests that must not wait behind others, streams of
//! events, and other long answers, each of its own. Each kind of caller has places of its own. One program gets no more
//! than half of them and one browser session an eighth, and sessions of one scope take none from those of another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::Caller;
use crate::domain::base::limits::{
    EVENT_STREAMS_MAX, LARGE_ANSWERS_AT_ONCE, LARGE_ANSWERS_OF_ONE_KIND, LONG_ANSWERS_MAX,
    REQUESTS_AT_ONCE_MAX, URGENT_REQUESTS_AT_ONCE_MAX,
};
use crate::domain::base::{Code, Refusal};
use crate::operator::access::Scope;
use crate::operator::access::sessions::{Maker, SessionId};

/// Whose places a caller uses: a browser session those of its scope, of who made its link and of where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Window,
    Of(Maker),
    Session(Maker, Scope, bool),
}

type Key = (Kind, Option<SessionId>);

/// Places of one sort.
#[derive(Debug, Clone)]
pub(super) struct Places {
    what: &'static str,
    most: usize,
    taken: Arc<Mutex<BTreeMap<Key, usize>>>,
}

/// All places of one node.
#[derive(Debug)]
pub(super) struct Room {
    /// Streams of events.
    pub(super) streams: Places,
    /// Other answers that are still made while they are read.
    pub(super) long: Places,
    /// Turns at what takes the processor for long.
    pub(super) turns: Turns,
    requests: Places,
    urgent: Places,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            streams: Places::new("event streams", EVENT_STREAMS_MAX),
            long: Places::new("long answers", LONG_ANSWERS_MAX),
            turns: Turns::default(),
            requests: Places::new("requests", REQUESTS_AT_ONCE_MAX),
            urgent: Places::new("urgent requests", URGENT_REQUESTS_AT_ONCE_MAX),
        }
    }
}

impl Room {
    /// Takes a place for a request of `caller`, until its answer begins. What is urgent finds one of its own where
    /// other requests have taken the rest.
    ///
    /// # Errors
    /// `BUSY` where there is none.
    pub(super) fn request(&self, caller: &Caller, urgent: bool) -> Result<Place, Refusal> {
        let place = self.requests.take(caller);
        match urgent {
            true => place.or_else(|_| self.urgent.take(caller)),
            false => place,
        }
    }
}

/// Turns at answers that take the processor for long, such as a thousand frames: few are made at once, and fewer for
/// one kind of caller, so that stops, decisions and renewals never wait behind a crowd of readers.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    kinds: Mutex<BTreeMap<Kind, Arc<Semaphore>>>,
}

/// A turn, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _of_kind: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(LARGE_ANSWERS_AT_ONCE)),
            kinds: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn; within one kind of caller, and then among the kinds, who came first is first. How many may
    /// wait is limited by [`Room::request`].
    pub(super) async fn wait(&self, caller: &Caller) -> Option<Turn> {
        let new = || Arc::new(Semaphore::new(LARGE_ANSWERS_OF_ONE_KIND));
        let kind = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.entry(key(caller).0).or_insert_with(new).clone()
        };
        let of_kind = kind.acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(Turn {
            _of_kind: of_kind,
            _of_all: of_all,
        })
    }
}

/// Whose places a caller uses.
fn key(caller: &Caller) -> Key {
    match caller {
        Caller::Window => (Kind::Window, None),
        Caller::Owner => (Kind::Of(Maker::Owner), None),
        Caller::Token(scope) => (Kind::Of(Maker::Token(*scope)), None),
        Caller::Session(session) => {
            let kind = Kind::Session(session.by, session.scope, session.away);
            (kind, Some(session.id))
        }
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    key: Key,
}

impl Places {
    fn new(what: &'static str, most: usize) -> Self {
        let taken = Arc::default();
        Self { what, most, taken }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for `caller`.
    ///
    /// # Errors
    /// `BUSY` where it, or its kind, has no more.
    pub(super) fn take(&self, caller: &Caller) -> Result<Place, Refusal> {
        let key = key(caller);
        let share = match key.1 {
            Some(_) => self.most / 8,
            None => self.most / 2,
        };
        let mut taken = self.lock();
        let own = taken.get(&key).copied().unwrap_or(0);
        let kind: usize = taken
            .iter()
            .filter(|((kind, _), _)| *kind == key.0)
            .map(|(_, n)| n)
            .sum();
        if own >= share || kind >= self.most {
            let why = format!(
                "too many {} of this caller are open already; close some",
                self.what
            );
            return Err(Refusal::new(Code::Busy, why));
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
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::super::tests::{code, house, read};
    use super::*;
    use crate::domain::base::TimeMs;
    use crate::operator::access::sessions::Session;
    use crate::operator::access::{API_ROOT, AtTheWindow};
    use crate::operator::routes;

    #[test]
    fn no_caller_takes_the_event_stream_away_from_others() {
        let room = Room::default();
        let places = &room.streams;
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

    #[tokio::test]
    async fn a_crowd_of_readers_leaves_a_turn_for_every_other_caller() {
        use futures_util::FutureExt as _;
        let turns = Turns::default();
        let reader = Caller::Token(Scope::Read);
        let mut held: Vec<Turn> = Vec::new();
        while let Some(Some(turn)) = turns.wait(&reader).now_or_never() {
            held.push(turn);
        }
        assert_eq!(held.len(), LARGE_ANSWERS_OF_ONE_KIND);
        let mut crowd: Vec<_> = (0..30).map(|_| Box::pin(turns.wait(&reader))).collect();
        for waiting in &mut crowd {
            assert!(waiting.now_or_never().is_none());
        }
        let own = turns.wait(&Caller::Owner).now_or_never().flatten();
        assert!(own.is_some(), "the readers have all turns");
    }

    #[test]
    fn sessions_that_only_look_take_no_stream_from_those_that_decide() {
        let room = Room::default();
        let session = |n: u8, scope: Scope| {
            Caller::Session(Session {
                id: SessionId::of(&[n]),
                by: Maker::Owner,
                scope,
                name: "guest".into(),
                csrf: String::new(),
                expires_at: TimeMs(u64::MAX),
                away: false,
            })
        };
        let mut taken = Vec::new();
        for n in 0..16 {
            let guest = session(n, Scope::Read);
            let more = std::iter::from_fn(|| room.streams.take(&guest).ok());
            taken.extend(more);
            assert!(taken.len() <= (usize::from(n) + 1) * EVENT_STREAMS_MAX / 8);
        }
        assert_eq!(taken.len(), EVENT_STREAMS_MAX);
        for other in [session(99, Scope::Admin), Caller::Owner] {
            assert!(room.streams.take(&other).is_ok(), "{other:?}");
        }
    }

    #[test]
    fn what_is_urgent_finds_a_place_where_other_requests_and_streams_have_taken_theirs() {
        let room = Room::default();
        let caller = Caller::Owner;
        let mut taken: Vec<Place> =
            std::iter::from_fn(|| room.request(&caller, false).ok()).collect();
        assert_eq!(taken.len(), REQUESTS_AT_ONCE_MAX / 2);
        taken.extend(std::iter::from_fn(|| room.streams.take(&caller).ok()));
        taken.extend(std::iter::from_fn(|| room.long.take(&caller).ok()));
        assert!(room.request(&caller, true).is_ok());
        let refused = room.request(&caller, false).unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        assert!(refused.message.contains("requests"), "{refused}");
        drop(taken);
        assert!(room.request(&caller, false).is_ok());
    }

    #[tokio::test]
    async fn long_answers_beyond_their_places_are_refused_and_short_ones_are_not() {
        let house = house().await;
        let app = house.app();
        let ask = async |path: &str| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = format!("{API_ROOT}{path}").parse().unwrap();
            request.extensions_mut().insert(AtTheWindow);
            app.clone().oneshot(request).await.unwrap()
        };
        let mut open = Vec::new();
        for _ in 0..LONG_ANSWERS_MAX / 2 {
            open.push(ask(routes::AUDIT_EXPORT.path).await);
        }
        assert!(open.iter().all(|answer| answer.status().is_success()));
        let (status, refused) = read(ask(routes::AUDIT_EXPORT.path).await).await;
        assert_eq!(
            (status.as_u16(), code(&refused)),
            (503, "BUSY"),
            "{refused}"
        );
        assert!(ask(routes::STATUS.path).await.status().is_success());
        open.pop();
        assert!(ask(routes::AUDIT_EXPORT.path).await.status().is_success());
    }
}
