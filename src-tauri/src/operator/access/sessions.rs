//! Sessions of browsers: the one-time links that open one, and the sessions themselves. Both are kept
//! in memory, as hashes. A restart ends them, but for sessions of browsers of other machines, whose hashes `kept` has on disk:
//! such a session opens nowhere but at the port for other machines, and a session of this machine nowhere there.
//!
//! A session carries a scope like a token, but never the right to decide: a decision needs the
//! person's passphrase each time (see `deciding`).

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Scope, fresh};
use crate::adapters::notify::Subscription;
use crate::domain::admission::budget::Bucket;
use crate::domain::base::limits::{
    AWAY_LINK_TTL_MS, AWAY_SESSION_IDLE_MS, AWAY_SESSION_TTL_MS, AWAY_SESSIONS_MAX,
    BROWSER_FAILURE_WINDOW_MS, BROWSER_SESSION_IDLE_MS, BROWSER_SESSION_TTL_MS,
    BROWSER_SESSIONS_MAX, CLOCK_BEHIND_MAX_MS, CONSOLE_FAILURES_MAX, CONSOLE_LINK_TTL_MS,
    CONSOLE_LINKS_MAX, NAME_MAX_BYTES,
};
use crate::domain::base::text::is_plain_name;
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::node::push::Language;
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
    /// Whether it is for a browser of another machine, such as a phone; the node needs `[console]` for that.
    #[serde(default)]
    pub away: bool,
    /// Of `console.hosts` the one to use there; the first if left out.
    #[serde(default)]
    pub host: Option<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// Whether it is of a browser of another machine.
    pub away: bool,
}

/// The hash of a session's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub(super) [u8; 32]);

impl SessionId {
    /// By what people and the API name it: no part of what is compared with a cookie.
    pub fn shown(&self) -> String {
        let name = Sha256::digest(self.0);
        name.iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
impl SessionId {
    /// The key of a session by what a test calls it.
    pub fn of(name: &[u8]) -> Self {
        Self(Sha256::digest(name).into())
    }
}

impl Session {
    /// Who asks, as it is written down: the name that the link had, and of another machine which session it is.
    pub fn who(&self) -> String {
        match self.away {
            true => format!("{} (phone {})", self.name, self.id.shown()),
            false => self.name.clone(),
        }
    }

    /// Whether the presented token is this session's.
    pub fn csrf_matches(&self, presented: &str) -> bool {
        bool::from(self.csrf.as_bytes().ct_eq(presented.as_bytes()))
    }
}

/// Where a link is opened and its session used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the node's own machine, or through a tunnel to it.
    Here,
    /// At the port for other machines, from this address.
    Away(IpAddr),
}

impl Place {
    fn is_away(self) -> bool {
        matches!(self, Place::Away(_))
    }
}

struct Link {
    hash: [u8; 32],
    by: Maker,
    scope: Scope,
    name: String,
    away: bool,
    expires_at: TimeMs,
}

pub(super) struct Seat {
    pub(super) session: Session,
    pub(super) started_at: TimeMs,
    pub(super) seen_at: TimeMs,
    /// The address from which it was opened or used last, of one of another machine.
    pub(super) from: Option<IpAddr>,
    /// Where its browser hears by push, and in which language.
    pub(super) push: Option<(Subscription, Language)>,
    /// What there was about that since the node started.
    pub(super) pushes: PushNotes,
    /// Its changes of the last hour.
    pub(super) changes: Bucket,
}

/// What is known of how a session turned push on and lost it.
#[derive(Debug, Default)]
pub(super) struct PushNotes {
    /// When it was turned on within the last while.
    pub(super) turned_on: VecDeque<TimeMs>,
    /// The session, as it is shown, that gave the same place to hear at last.
    pub(super) taken_by: Option<String>,
}

impl Seat {
    pub(super) fn alive(&self, now: TimeMs) -> bool {
        // A clock that was set back must not make a session last longer.
        !self.is_ahead(now) && !self.is_over(now)
    }

    /// Whether its time was up at `at`.
    pub(super) fn is_over(&self, at: TimeMs) -> bool {
        let (ttl, idle) = self.lasts();
        at.since(self.started_at) >= ttl || at.since(self.seen_at) >= idle
    }

    /// How long it lasts at most, and unused.
    fn lasts(&self) -> (u64, u64) {
        match self.session.away {
            true => (AWAY_SESSION_TTL_MS, AWAY_SESSION_IDLE_MS),
            false => (BROWSER_SESSION_TTL_MS, BROWSER_SESSION_IDLE_MS),
        }
    }

    /// When it ends if it is not used before.
    pub(super) fn ends_at(&self) -> TimeMs {
        let (ttl, idle) = self.lasts();
        self.started_at.plus(ttl).min(self.seen_at.plus(idle))
    }

    /// Whether it was used at a time that the clock has not reached.
    fn is_ahead(&self, now: TimeMs) -> bool {
        now.plus(CLOCK_BEHIND_MAX_MS) < self.seen_at
    }

    /// Whether it is of use now or later: one of another machine waits for a clock that starts years behind.
    pub(super) fn is_worth_keeping(&self, now: TimeMs) -> bool {
        self.alive(now) || self.session.away && self.is_ahead(now)
    }
}

#[derive(Default)]
pub(super) struct State {
    links: VecDeque<Link>,
    pub(super) seats: BTreeMap<SessionId, Seat>,
    failures: VecDeque<TimeMs>,
    /// What is on disk of the sessions of other machines: how many changes of theirs there have been, and how many are written.
    pub(super) kept: super::kept::Noted,
}

/// The links and sessions of one node.
#[derive(Default)]
pub struct Browsers {
    state: Mutex<State>,
    /// Held while the file of `kept` is written.
    writing: Mutex<()>,
    /// Whether a list that the disk did not take is written again later.
    pub(super) written_later: AtomicBool,
}

/// Why a link did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It was used, has ended, or never was.
    #[error("this link has been used or has expired")]
    Unknown,
    /// As before, and too many others failed just now.
    #[error("too many links have failed to open; wait a minute")]
    TooMany,
    /// As many phones as may have a session.
    #[error("as many phones as may have a session already; end one of them")]
    Full,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The second token of a session, made of its cookie and telling nothing of it.
fn csrf_of(cookie: &str) -> String {
    let hash = Sha256::new().chain_update(b"clawmesh csrf\0");
    URL_SAFE_NO_PAD.encode(hash.chain_update(cookie).finalize())
}

fn no_random() -> Refusal {
    Refusal::new(Code::InternalError, "the system gives no random bytes")
}

impl Browsers {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
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
        away: bool,
        now: TimeMs,
    ) -> Answer<(String, TimeMs)> {
        let name = name.trim();
        if name.len() > NAME_MAX_BYTES || !is_plain_name(name) {
            return Err(Refusal::new(
                Code::InvalidParams,
                "name: a name has 1 to 128 bytes and no characters that do not show",
            ));
        }
        let code = fresh().map_err(|_| no_random())?;
        let expires_at = now.plus(match away {
            true => AWAY_LINK_TTL_MS,
            false => CONSOLE_LINK_TTL_MS,
        });
        let mut state = self.lock();
        if away && !state.has_room_away(by, now) {
            let why = format!(
                "{AWAY_SESSIONS_MAX} phones have a session already; end one: clawmesh-node console sessions, then clawmesh-node console end ID"
            );
            return Err(Refusal::new(Code::RateExceeded, why));
        }
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
            away,
            expires_at,
        });
        Ok((code, expires_at))
    }

    /// Uses a code up: the cookie of the new session, and the session.
    ///
    /// A good code opens whatever failed before: guessing 256 bits is hopeless, and a page that
    /// fires bad codes at this machine must not lock its operator out. A code opens only where it was made for, and
    /// is not used up elsewhere.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(
        &self,
        code: &str,
        place: Place,
        now: TimeMs,
    ) -> Result<(String, Session), NotOpened> {
        let cookie = fresh().map_err(|_| NotOpened::Random)?;
        let mut state = self.lock();
        state.links.retain(|l| l.expires_at > now);
        let presented = hash(code);
        let away = place.is_away();
        let fits = |l: &Link| l.hash == presented && l.away == away;
        let Some(at) = state.links.iter().position(fits) else {
            // Elsewhere guesses are counted by address, and count for nobody here.
            return Err(match away {
                true => NotOpened::Unknown,
                false => state.failed(now),
            });
        };
        // A phone that is there is never put out by another; the link stays good until there is room.
        let by = state.links.get(at).map(|link| link.by);
        if away && !by.is_some_and(|by| state.has_room_away(by, now)) {
            return Err(NotOpened::Full);
        }
        let Some(link) = state.links.remove(at) else {
            return Err(NotOpened::Unknown);
        };
        if !away {
            state.make_room(link.by, now);
        }
        let session = Session {
            id: SessionId(hash(&cookie)),
            by: link.by,
            scope: link.scope,
            name: link.name,
            csrf: csrf_of(&cookie),
            expires_at: now.plus(match away {
                true => AWAY_SESSION_TTL_MS,
                false => BROWSER_SESSION_TTL_MS,
            }),
            away,
        };
        let seat = Seat {
            session: session.clone(),
            started_at: now,
            seen_at: now,
            from: match place {
                Place::Away(from) => Some(from),
                Place::Here => None,
            },
            push: None,
            pushes: PushNotes::default(),
            changes: Bucket::new(now),
        };
        state.seats.insert(session.id, seat);
        state.kept.changed(away);
        Ok((cookie, session))
    }

    /// The live session of a cookie at the place where it counts, which counts as used now.
    pub fn session(&self, cookie: &str, place: Place, now: TimeMs) -> Option<Session> {
        let id = SessionId(hash(cookie));
        let mut state = self.lock();
        let seat = state.seats.get_mut(&id)?;
        if seat.session.away != place.is_away() {
            return None;
        }
        if !seat.alive(now) {
            // Once its end is seen it has ended, whatever the clock says later.
            if !seat.is_worth_keeping(now) {
                state.seats.remove(&id);
                state.kept.changed(place.is_away());
            }
            return None;
        }
        seat.seen_at = now.max(seat.seen_at);
        if let Place::Away(from) = place {
            seat.from = Some(from);
        }
        // What is on disk has no cookie to make it of.
        seat.session.csrf = csrf_of(cookie);
        let (session, seen) = (seat.session.clone(), seat.seen_at);
        state.kept.used(session.away, seen);
        Some(session)
    }

    /// Whether a session still lives; asking does not count as use.
    pub fn alive(&self, id: &SessionId, now: TimeMs) -> bool {
        self.lock().seats.get(id).is_some_and(|s| s.alive(now))
    }

    /// Ends a session; `false` if it had ended.
    pub fn end(&self, id: &SessionId) -> bool {
        let mut state = self.lock();
        let ended = state.seats.remove(id);
        if let Some(seat) = &ended {
            state.kept.changed(seat.session.away);
        }
        ended.is_some()
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

    /// Whether one more browser of another machine may have a session by a link of this maker.
    fn has_room_away(&mut self, by: Maker, now: TimeMs) -> bool {
        let kept = &mut self.kept;
        self.seats.retain(|_, seat| {
            let keeps = seat.is_worth_keeping(now);
            kept.changed(!keeps && seat.session.away);
            keeps
        });
        let of_maker = |s: &&Seat| s.session.by == by && s.session.away;
        self.seats.values().filter(of_maker).count() < AWAY_SESSIONS_MAX
    }

    /// Ends the session of this machine that was unused for longest, where a maker has as many as it may.
    fn make_room(&mut self, by: Maker, now: TimeMs) {
        self.seats.retain(|_, seat| seat.is_worth_keeping(now));
        loop {
            let of_maker = |s: &Seat| s.session.by == by && !s.session.away;
            let own = self.seats.iter().filter(|(_, s)| of_maker(s));
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
