//! The sessions of browsers that are open: who has one, from where, and its end by a person. A session is ended by who may do
//! at least as much as it may.

use serde::{Deserialize, Serialize};

use super::Scope;
use super::sessions::{Browsers, Session, SessionId};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::operator::Answer;

/// A session that is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OpenSession {
    /// By what it is named where it is ended.
    pub id: String,
    /// The person's name, as the link had it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Whether it is of a browser of another machine, such as a phone.
    pub away: bool,
    /// When it began, in milliseconds since 1970.
    pub since: u64,
    /// When it was used last.
    pub seen_at: u64,
    /// When it ends at the latest.
    pub expires_at: u64,
    /// The address it was used from last, of IPv6 the network; of another machine's alone.
    pub from: Option<String>,
    /// Whether it is the one that asks.
    pub own: bool,
    /// Whether its browser hears by push.
    #[serde(default)]
    pub push: bool,
    /// Why the last message by push was not taken.
    #[serde(default)]
    pub push_problem: Option<String>,
}

impl Browsers {
    /// The sessions that live, the newest first; `own` is the one that asks, and one of another machine may do `most` at most now.
    pub fn list(
        &self,
        own: Option<&SessionId>,
        most: Option<Scope>,
        now: TimeMs,
    ) -> Vec<OpenSession> {
        let state = self.lock();
        let alive = state.seats.iter().filter(|(_, seat)| seat.alive(now));
        let mut all: Vec<OpenSession> = alive
            .map(|(id, seat)| OpenSession {
                id: id.shown(),
                name: seat.session.name.clone(),
                scope: match most.filter(|_| seat.session.away) {
                    Some(most) => seat.session.scope.min(most),
                    None => seat.session.scope,
                },
                away: seat.session.away,
                since: seat.started_at.0,
                seen_at: seat.seen_at.0,
                expires_at: seat.session.expires_at.0,
                from: seat.from.map(|from| from.to_string()),
                own: own == Some(id),
                push: seat.push.is_some(),
                push_problem: None,
            })
            .collect();
        all.sort_by_key(|session| std::cmp::Reverse((session.since, session.id.clone())));
        all
    }

    /// The session of this shown id, or of the one that begins so, for who may do `scope`.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_PARAMS` where several begin so; `NOT_AUTHORIZED` for one that may do more.
    pub fn to_end(&self, shown: &str, scope: Scope, now: TimeMs) -> Answer<Session> {
        let state = self.lock();
        let mut fitting = state.seats.values().filter(|seat| {
            !shown.is_empty() && seat.alive(now) && seat.session.id.shown().starts_with(shown)
        });
        let refused = |code, why: &str| Err(Refusal::new(code, why));
        match (fitting.next(), fitting.next()) {
            (Some(seat), None) if seat.session.scope > scope => refused(
                Code::NotAuthorized,
                "that session may do more than yours; end it with `clawmesh-node console end` on the machine of the node",
            ),
            (Some(seat), None) => Ok(seat.session.clone()),
            (None, _) => refused(
                Code::NotFound,
                "there is no open session of that id; it may have ended already",
            ),
            (Some(_), Some(_)) => refused(
                Code::InvalidParams,
                "several sessions begin so; write more of the id",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::sessions::{Maker, Place};
    use super::*;

    const T: TimeMs = TimeMs(1_000_000_000);

    #[test]
    fn sessions_are_listed_with_where_they_are_and_ended_by_who_may_as_much() {
        let browsers = Browsers::default();
        let away = Place::Away("192.0.2.7".parse().unwrap());
        let open = |scope, place: Place| {
            let there = place != Place::Here;
            let code = browsers
                .link(Maker::Owner, scope, "ada", there, T)
                .unwrap()
                .0;
            browsers.open(&code, place, T).unwrap().1
        };
        let (phone, here) = (open(Scope::Operate, away), open(Scope::Admin, Place::Here));
        let all = browsers.list(Some(&phone.id), None, T);
        assert_eq!(all.len(), 2);
        let of = |id: &SessionId| all.iter().find(|s| s.id == id.shown()).unwrap();
        assert_eq!(of(&phone.id).from.as_deref(), Some("192.0.2.7"));
        assert!(of(&phone.id).own && of(&phone.id).away);
        let less = browsers.list(None, Some(Scope::Read), T);
        let scope = |id: &SessionId| less.iter().find(|s| s.id == id.shown()).unwrap().scope;
        assert_eq!(
            (scope(&phone.id), scope(&here.id)),
            (Scope::Read, Scope::Admin),
            "what it may do now"
        );
        assert!(!of(&here.id).own && !of(&here.id).away && of(&here.id).from.is_none());
        let end = |id: &str, scope| browsers.to_end(id, scope, T).map_err(|r| r.code);
        let refused = end(&here.id.shown(), Scope::Operate);
        assert_eq!(refused.unwrap_err(), Code::NotAuthorized);
        assert_eq!(end(&here.id.shown(), Scope::Admin).unwrap(), here);
        assert_eq!(end(&phone.id.shown(), Scope::Operate).unwrap(), phone);
        for none in ["", "zz"] {
            assert_eq!(end(none, Scope::Admin).unwrap_err(), Code::NotFound);
        }
    }
}
