//! Sessions of browsers: the one-time links that open one, and the sessions themselves. Both are kept
//! in memory only, as hashes: a restart ends them, and the disk holds none.
//!
//! A session carries a scope like a token, but never the right to decide: a decision needs the
//! person's passphrase each time (see `deciding`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Scope, fresh};
use crate::domain::base::limits::{
    BROWSER_FAILURE_WINDOW_MS, BROWSER_SESSION_IDLE_MS, BROWSER_SESSION_TTL_MS,
    BROWSER_SESSIONS_MAX, CLOCK_BEHIND_MAX_MS, CONSOLE_FAILURES_MAX, CONSOLE_LINK_TTL_MS,
    CONSOLE_LINKS_MAX, NAME_MAX_BYTES,
};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::operator::Answer;

/// What a client of this machine asks for: a link that opens the console in a browser.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkRequest {
    /// What the session may do; at most what the token that asks may. `operate` if left out.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// The person's name, shown in the console.
    #[serde(default)]
    pub name: Option<String>,
}

/// A one-time link to the console.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// Where to point the browser: good once, and not for long. It is a secret until it is used.
    pub url: String,
    /// What the session may do.
    pub scope: Scope,
    /// When the link ends, in milliseconds since 1970.
    pub expires_at: u64,
}

/// Who made a link. Each has links and sessions of its own, which no other can push out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Maker {
    /// A program with the token of this scope.
    Token(Scope),
    /// A program of the node's own user, on the local socket.
    Owner,
}

/// Who a session belongs to and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its key in memory: the hash of its cookie.
    pub id: SessionId,
    /// Who made the link that opened it.
    pub by: Maker,
    /// What it may do.
    pub scope: Scope,
    /// The person's name.
    pub name: String,
    /// What every change must carry besides the cookie.
    pub csrf: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_at: TimeMs,
}

/// The hash of a session's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId([u8; 32]);

#[cfg(test)]
impl SessionId {
    /// The key of a session by what a test calls it.
    pub fn of(name: &[u8]) -> Self {
        Self(Sha256::digest(name).into())
    }
}

impl Session {
    /// Whether the presented token is this session's.
    pub fn csrf_matches(&self, presented: &str) -> bool {
        bool::from(self.csrf.as_bytes().ct_eq(presented.as_bytes()))
    }
}

struct Link {
    hash: [u8; 32],
    by: Maker,
    scope: Scope,
    name: String,
    expires_at: TimeMs,
}

struct Seat {
    session: Session,
    started_at: TimeMs,
    seen_at: TimeMs,
}

impl Seat {
    fn alive(&self, now: TimeMs) -> bool {
        let (began, seen) = (self.started_at, self.seen_at);
        // A clock that was set back must not make a session last longer.
        now.plus(CLOCK_BEHIND_MAX_MS) >= seen
            && now.since(began) < BROWSER_SESSION_TTL_MS
            && now.since(seen) < BROWSER_SESSION_IDLE_MS
    }
}

#[derive(Default)]
struct State {
    links: VecDeque<Link>,
    seats: BTreeMap<SessionId, Seat>,
    failures: VecDeque<TimeMs>,
}

/// The links and sessions of one node.
#[derive(Default)]
pub struct Browsers(Mutex<State>);

/// Why a link did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It was used, has ended, or never was.
    #[error("this link has been used or has expired")]
    Unknown,
    /// As before, and too many others failed just now.
    #[error("too many links have failed to open; wait a minute")]
    TooMany,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn no_random() -> Refusal {
    Refusal::new(Code::InternalError, "the system gives no random bytes")
}

impl Browsers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one-time code for a session of `scope`, and when it ends.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a name that is none; `INTERNAL_ERROR` without random bytes.
    pub fn link(
        &self,
        by: Maker,
        scope: Scope,
        name: &str,
        now: TimeMs,
    ) -> Answer<(String, TimeMs)> {
        let name = name.trim();
        if name.is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
            return Err(Refusal::new(
                Code::InvalidParams,
                "name: a name has 1 to 128 bytes and no control characters",
            ));
        }
        let code = fresh().map_err(|_| no_random())?;
        let expires_at = now.plus(CONSOLE_LINK_TTL_MS);
        let mut state = self.lock();
        state.links.retain(|l| l.expires_at > now);
        let own = state.links.iter().filter(|l| l.by == by).count();
        let oldest = state.links.iter().position(|l| l.by == by);
        if own >= CONSOLE_LINKS_MAX
            && let Some(oldest) = oldest
        {
            state.links.remove(oldest);
        }
        state.links.push_back(Link {
            hash: hash(&code),
            by,
            scope,
            name: name.to_owned(),
            expires_at,
        });
        Ok((code, expires_at))
    }

    /// Uses a code up: the cookie of the new session, and the session.
    ///
    /// A good code opens whatever failed before: guessing 256 bits is hopeless, and a page that
    /// fires bad codes at this machine must not lock its operator out.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(&self, code: &str, now: TimeMs) -> Result<(String, Session), NotOpened> {
        let cookie = fresh().map_err(|_| NotOpened::Random)?;
        let csrf = fresh().map_err(|_| NotOpened::Random)?;
        let mut state = self.lock();
        state.links.retain(|l| l.expires_at > now);
        let presented = hash(code);
        let Some(at) = state.links.iter().position(|l| l.hash == presented) else {
            return Err(state.failed(now));
        };
        let Some(link) = state.links.remove(at) else {
            return Err(NotOpened::Unknown);
        };
        state.make_room(link.by, now);
        let session = Session {
            id: SessionId(hash(&cookie)),
            by: link.by,
            scope: link.scope,
            name: link.name,
            csrf,
            expires_at: now.plus(BROWSER_SESSION_TTL_MS),
        };
        let seat = Seat {
            session: session.clone(),
            started_at: now,
            seen_at: now,
        };
        state.seats.insert(session.id, seat);
        Ok((cookie, session))
    }

    /// The live session of a cookie, which counts as used now.
    pub fn session(&self, cookie: &str, now: TimeMs) -> Option<Session> {
        let id = SessionId(hash(cookie));
        let mut state = self.lock();
        if !state.seats.get(&id)?.alive(now) {
            state.seats.remove(&id);
            return None;
        }
        let seat = state.seats.get_mut(&id)?;
        seat.seen_at = now.max(seat.seen_at);
        Some(seat.session.clone())
    }

    /// Whether a session still lives; asking does not count as use.
    pub fn alive(&self, id: &SessionId, now: TimeMs) -> bool {
        self.lock().seats.get(id).is_some_and(|s| s.alive(now))
    }

    /// Ends a session; `false` if it had ended.
    pub fn end(&self, id: &SessionId) -> bool {
        self.lock().seats.remove(id).is_some()
    }
}

impl State {
    fn failed(&mut self, now: TimeMs) -> NotOpened {
        self.failures
            .retain(|t| now.distance(*t) < BROWSER_FAILURE_WINDOW_MS);
        if self.failures.len() >= CONSOLE_FAILURES_MAX {
            return NotOpened::TooMany;
        }
        self.failures.push_back(now);
        NotOpened::Unknown
    }

    fn make_room(&mut self, by: Maker, now: TimeMs) {
        self.seats.retain(|_, seat| seat.alive(now));
        loop {
            let own = self.seats.iter().filter(|(_, s)| s.session.by == by);
            if own.clone().count() < BROWSER_SESSIONS_MAX {
                return;
            }
            let oldest = own.min_by_key(|(_, s)| s.seen_at);
            let Some(id) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.seats.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const T: TimeMs = TimeMs(1_000_000_000);

    fn seated(browsers: &Browsers, now: TimeMs) -> (String, Session) {
        let (code, _) = browsers
            .link(Maker::Owner, Scope::Operate, "ada", now)
            .unwrap();
        browsers.open(&code, now).unwrap()
    }

    #[test]
    fn a_code_opens_one_session_once_and_only_in_time() {
        let browsers = Browsers::default();
        let (code, ends) = browsers.link(Maker::Owner, Scope::Read, "ada", T).unwrap();
        assert_eq!(ends, T.plus(CONSOLE_LINK_TTL_MS));
        assert_eq!(browsers.open("x", T).unwrap_err(), NotOpened::Unknown);
        let (cookie, session) = browsers.open(&code, T).unwrap();
        assert_eq!((session.scope, session.name.as_str()), (Scope::Read, "ada"));
        assert_eq!(browsers.open(&code, T).unwrap_err(), NotOpened::Unknown);
        assert_eq!(browsers.session(&cookie, T).unwrap(), session);
        assert!(browsers.session(&code, T).is_none());
        let (late, ends) = browsers.link(Maker::Owner, Scope::Read, "ada", T).unwrap();
        assert_eq!(browsers.open(&late, ends).unwrap_err(), NotOpened::Unknown);
        assert!(browsers.link(Maker::Owner, Scope::Read, "a\nb", T).is_err());
    }

    #[test]
    fn a_session_ends_by_age_by_idleness_by_a_clock_set_back_and_by_hand() {
        let browsers = Browsers::default();
        let (cookie, _) = seated(&browsers, T);
        assert!(
            browsers
                .session(&cookie, T.plus(BROWSER_SESSION_IDLE_MS))
                .is_none()
        );
        let (cookie, session) = seated(&browsers, T);
        let mut now = T;
        while now < T.plus(BROWSER_SESSION_TTL_MS) {
            assert!(browsers.session(&cookie, now).is_some(), "{now:?}");
            now = now.plus(BROWSER_SESSION_IDLE_MS - 1);
        }
        assert!(!browsers.alive(&session.id, now));
        let (cookie, _) = seated(&browsers, T);
        assert!(
            browsers
                .session(&cookie, TimeMs(T.0 - CLOCK_BEHIND_MAX_MS - 1))
                .is_none()
        );
        let (cookie, session) = seated(&browsers, T);
        assert!(browsers.end(&session.id) && !browsers.end(&session.id));
        assert!(browsers.session(&cookie, T).is_none());
    }

    #[test]
    fn links_and_sessions_are_bounded() {
        let browsers = Browsers::default();
        let first = browsers.link(Maker::Owner, Scope::Read, "a", T).unwrap().0;
        for _ in 0..CONSOLE_LINKS_MAX {
            browsers.link(Maker::Owner, Scope::Read, "a", T).unwrap();
        }
        assert!(browsers.open(&first, T).is_err());
        // Another maker's links are no part of that.
        let other = Maker::Token(Scope::Read);
        let theirs = browsers.link(other, Scope::Read, "a", T).unwrap().0;
        for _ in 0..2 * CONSOLE_LINKS_MAX {
            browsers.link(Maker::Owner, Scope::Read, "a", T).unwrap();
        }
        let (theirs, _) = browsers.open(&theirs, T).unwrap();
        let (oldest, _) = seated(&browsers, T);
        let (kept, _) = seated(&browsers, T);
        for n in 1..BROWSER_SESSIONS_MAX as u64 {
            assert!(browsers.session(&kept, T.plus(n)).is_some());
            seated(&browsers, T.plus(n));
        }
        assert!(browsers.session(&oldest, T.plus(99)).is_none());
        assert!(browsers.session(&kept, T.plus(99)).is_some());
        assert!(browsers.session(&theirs, T.plus(99)).is_some());
        assert_eq!(browsers.lock().seats.len(), BROWSER_SESSIONS_MAX + 1);
    }

    #[test]
    fn failures_are_counted_and_a_good_code_opens_all_the_same() {
        let browsers = Browsers::default();
        let (code, _) = browsers.link(Maker::Owner, Scope::Read, "a", T).unwrap();
        for _ in 0..CONSOLE_FAILURES_MAX {
            assert_eq!(browsers.open("x", T).unwrap_err(), NotOpened::Unknown);
        }
        assert_eq!(browsers.open("x", T).unwrap_err(), NotOpened::TooMany);
        assert!(browsers.open(&code, T).is_ok());
        let later = T.plus(BROWSER_FAILURE_WINDOW_MS);
        assert_eq!(browsers.open("x", later).unwrap_err(), NotOpened::Unknown);
    }

    #[test]
    fn a_csrf_token_is_of_one_session() {
        let browsers = Browsers::default();
        let (a, b) = (seated(&browsers, T).1, seated(&browsers, T).1);
        assert!(a.csrf_matches(&a.csrf) && !a.csrf_matches(&b.csrf) && !a.csrf_matches(""));
    }
}
