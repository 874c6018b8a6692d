//! Keys that were made in a browser and wait for an administrator: the person and the administrator
//! compare the same pictures, then the administrator enrols the key like any other.
//!
//! A request is only a wish: it lives in memory, for minutes, and grants nothing. The pictures come
//! from the key and a number that the node picks after it has seen the key, so nobody can search for
//! a key whose pictures are those of another.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::fresh;
use super::{Answer, Door};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    ENROL_REQUEST_TTL_MS, ENROL_REQUESTS_MAX, ENROL_REQUESTS_OF_ONE_MAX, NAME_MAX_BYTES,
};
use crate::domain::base::text::is_plain_name;
use crate::domain::base::{Code, OperatorId, Refusal, TimeMs};
use crate::domain::identity::PublicKey;
use crate::domain::pairing::ShortString;
use crate::node::context::{Event, Severity};
use crate::node::pairing::PairEmoji;

/// A key that a browser made and would like to decide with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrolAsk {
    /// The person's name.
    pub name: String,
    /// The public half, base64url.
    pub public_key: String,
}

/// A key that waits for an administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnrolRequestView {
    /// The id that the operator would have.
    pub operator_id: String,
    /// The person's name, as they gave it.
    pub name: String,
    /// The public half, base64url.
    pub public_key: String,
    /// Who asked: the name of the browser session or the token.
    pub from: String,
    /// Seven pictures to compare with those at the person's browser.
    pub emoji: Vec<PairEmoji>,
    /// The same as a number.
    pub digits: String,
    /// When it was asked, in milliseconds since 1970.
    pub asked_at: u64,
    /// When it is forgotten, in milliseconds since 1970.
    pub expires_at: u64,
}

/// The keys that wait at one node.
#[derive(Default)]
pub struct EnrolRequests(Mutex<VecDeque<Waiting>>);

/// A key that waits, and which session or program asked.
struct Waiting {
    view: EnrolRequestView,
    seat: String,
}

impl EnrolRequests {
    fn alive(&self, now: TimeMs) -> MutexGuard<'_, VecDeque<Waiting>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The distance, so that a clock set back does not make one last longer.
        waiting.retain(|r| now.distance(TimeMs(r.view.asked_at)) < ENROL_REQUEST_TTL_MS);
        waiting
    }

    /// Everything that waits, oldest first.
    pub fn all(&self, now: TimeMs) -> Vec<EnrolRequestView> {
        self.alive(now).iter().map(|r| r.view.clone()).collect()
    }

    /// Takes a request in. Asked again with the same key and name, it is the one that waits already. A session or program has room
    /// for a few of its own, of which the oldest gives way, so that none takes it from others.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a name or key that is none; `RATE_EXCEEDED` while too many wait.
    pub fn ask(
        &self,
        asked: &EnrolAsk,
        (from, seat): (&str, &str),
        now: TimeMs,
    ) -> Answer<EnrolRequestView> {
        let bad = |why: String| Refusal::new(Code::InvalidParams, why);
        let name = asked.name.trim();
        if name.len() > NAME_MAX_BYTES || !is_plain_name(name) {
            return Err(bad(format!(
                "name: a name has 1 to {NAME_MAX_BYTES} bytes and no characters that do not show"
            )));
        }
        let key = PublicKey::from_text(asked.public_key.trim())
            .map_err(|e| bad(format!("publicKey: {e}")))?;
        let id = key.operator_id();
        let mut waiting = self.alive(now);
        let all = waiting.iter().map(|r| &r.view);
        if let Some(known) = all.clone().find(|r| r.operator_id == id.as_str()) {
            if known.name == name {
                return Ok(known.clone());
            }
            return Err(bad(format!(
                "publicKey: this key waits already, under the name {}",
                known.name
            )));
        }
        while waiting.iter().filter(|r| r.seat == seat).count() >= ENROL_REQUESTS_OF_ONE_MAX
            && let Some(oldest) = waiting.iter().position(|r| r.seat == seat)
        {
            waiting.remove(oldest);
        }
        if waiting.len() >= ENROL_REQUESTS_MAX {
            return Err(Refusal::new(
                Code::RateExceeded,
                format!("{ENROL_REQUESTS_MAX} keys wait for an administrator already; try later"),
            ));
        }
        let nonce = fresh()
            .map_err(|_| Refusal::new(Code::InternalError, "the system gives no random bytes"))?;
        let shown = ShortString::of_key(&key, nonce.as_bytes());
        let view = EnrolRequestView {
            operator_id: id.to_string(),
            name: name.to_owned(),
            public_key: key.to_text(),
            from: from.to_owned(),
            emoji: shown.emoji().into_iter().map(PairEmoji::from).collect(),
            digits: shown.digits(),
            asked_at: now.0,
            expires_at: now.plus(ENROL_REQUEST_TTL_MS).0,
        };
        waiting.push_back(Waiting {
            view: view.clone(),
            seat: seat.to_owned(),
        });
        Ok(view)
    }

    /// Forgets a request; `None` if it does not wait any more.
    pub fn take(&self, id: &str, now: TimeMs) -> Option<EnrolRequestView> {
        let mut waiting = self.alive(now);
        let at = waiting.iter().position(|r| r.view.operator_id == id)?;
        waiting.remove(at).map(|r| r.view)
    }
}

impl Door {
    /// A browser asks that its key be enrolled.
    ///
    /// # Errors
    /// As [`EnrolRequests::ask`]; `CONFLICT` for a key that is enrolled or was revoked here.
    pub async fn enrol_ask(
        &self,
        waiting: &EnrolRequests,
        asked: &EnrolAsk,
        from: (&str, &str),
        cause: Cause,
    ) -> Answer<EnrolRequestView> {
        if let Ok(key) = PublicKey::from_text(asked.public_key.trim()) {
            let id: OperatorId = key.operator_id();
            let known = self.operators().await?;
            if let Some(known) = known
                .iter()
                .find(|o| o.operator_id == id.as_str() && (o.counts || o.revoked_at.is_some()))
            {
                let how = match known.revoked_at {
                    Some(_) => "was revoked here; make a new one",
                    None => "is enrolled here already",
                };
                return Err(Refusal::new(
                    Code::Conflict,
                    format!("this key of {} {how}", known.name),
                ));
            }
        }
        let view = waiting.ask(asked, from, self.handles.now())?;
        let message = format!("{} asks to be enrolled as an operator", view.name);
        let data = json!({"operatorId": view.operator_id, "name": view.name, "from": view.from});
        self.handles
            .journal
            .caused(cause, Event::OperatorAsked, Severity::Info, &message, data)
            .await;
        Ok(view)
    }

    /// An administrator does not want a key that waits.
    ///
    /// # Errors
    /// `NOT_FOUND` if it does not wait any more.
    pub async fn enrol_refuse(
        &self,
        waiting: &EnrolRequests,
        id: &str,
    ) -> Answer<EnrolRequestView> {
        let view = waiting.take(id, self.handles.now()).ok_or_else(|| {
            Refusal::new(
                Code::NotFound,
                "no key waits under that id; it was decided, or ten minutes have passed",
            )
        })?;
        let message = format!("{} was not enrolled as an operator", view.name);
        let data = json!({"operatorId": view.operator_id, "name": view.name});
        self.handles
            .journal
            .record(Event::OperatorDeclined, Severity::Info, &message, data)
            .await;
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::domain::identity::OperatorKey;

    const T: TimeMs = TimeMs(1_000_000_000);

    fn asked(seed: u8, name: &str) -> EnrolAsk {
        EnrolAsk {
            name: name.to_owned(),
            public_key: OperatorKey::from_seed(&[seed; 32]).public().to_text(),
        }
    }

    #[test]
    fn a_key_waits_once_for_ten_minutes_and_is_taken_once() {
        let waiting = EnrolRequests::default();
        let view = waiting.ask(&asked(1, " ada "), ("ada", "ada"), T).unwrap();
        assert_eq!((view.name.as_str(), view.emoji.len()), ("ada", 7));
        let again = waiting
            .ask(&asked(1, "ada"), ("mallory", "mallory"), T.plus(1))
            .unwrap();
        assert_eq!((again.digits, again.from), (view.digits, view.from));
        // A second request cannot change the name.
        assert!(waiting.ask(&asked(1, "mallory"), ("m", "m"), T).is_err());
        assert_eq!(waiting.all(T).len(), 1);
        let end = T.plus(ENROL_REQUEST_TTL_MS);
        assert_eq!(waiting.all(TimeMs(end.0 - 1)).len(), 1);
        assert!(waiting.all(end).is_empty());
        let view = waiting.ask(&asked(2, "ben"), ("ben", "ben"), T).unwrap();
        assert!(waiting.take(&view.operator_id, T).is_some());
        assert!(waiting.take(&view.operator_id, T).is_none());
    }

    #[test]
    fn the_pictures_are_of_this_request_and_cannot_be_searched_for() {
        let first = EnrolRequests::default()
            .ask(&asked(1, "a"), ("a", "a"), T)
            .unwrap();
        let second = EnrolRequests::default()
            .ask(&asked(1, "a"), ("a", "a"), T)
            .unwrap();
        assert_ne!(first.digits, second.digits);
    }

    #[test]
    fn what_is_no_name_or_no_key_is_said_and_the_list_is_bounded() {
        let waiting = EnrolRequests::default();
        for name in [
            "",
            " ",
            "a\nb",
            "a\u{202e}b",
            "ada\u{200b}",
            &"x".repeat(NAME_MAX_BYTES + 1),
        ] {
            let refusal = waiting.ask(&asked(1, name), ("a", "a"), T).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidParams, "{name:?}");
        }
        let no_key = EnrolAsk {
            name: "a".to_owned(),
            public_key: "AAAA".to_owned(),
        };
        assert!(waiting.ask(&no_key, ("a", "a"), T).is_err());
        // One that asks again and again has room for a few, and takes none from another.
        for seed in 1..20 {
            waiting.ask(&asked(seed, "a"), ("a", "a"), T).unwrap();
        }
        let left = waiting.all(T);
        assert_eq!(left.len(), ENROL_REQUESTS_OF_ONE_MAX);
        let newest = asked(19, "a").public_key;
        assert_eq!(left.last().unwrap().public_key, newest);
        for n in left.len()..ENROL_REQUESTS_MAX {
            let seed = u8::try_from(n + 100).unwrap();
            let seat = n.to_string();
            waiting.ask(&asked(seed, "a"), ("a", &seat), T).unwrap();
        }
        let refusal = waiting.ask(&asked(99, "a"), ("b", "b"), T).unwrap_err();
        assert_eq!(refusal.code, Code::RateExceeded);
    }
}
