//! Notifications by push to the browser of a session: turned on and off by that session alone, and gone with it. They tell; a
//! decision is signed in the page as ever.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::kept::keep;
use super::listed::OpenSession;
use super::sessions::{Browsers, Session};
use crate::adapters::notify::{BrowserKeys, Endpoint, Subscription, Untold};
use crate::domain::base::limits::{PUSH_CHANGES_MAX, PUSH_CHANGES_WINDOW_MS, PUSH_PHONES_MAX};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::node::context::{Context, Event, Severity};
use crate::node::push::{Language, Phone, Phones, Sitters};
use crate::operator::{Answer, Door};

/// Whether the browser of the session that asks hears by push, and what it needs for that.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PushView {
    /// What a browser subscribes for; absent where this session cannot hear by push.
    #[serde(default)]
    pub key: Option<String>,
    /// Why not.
    #[serde(default)]
    pub why: Option<String>,
    /// Whether it is on.
    pub on: bool,
    /// When its push service took a message last, in milliseconds since 1970.
    #[serde(default)]
    pub told_at: Option<u64>,
    /// Why the last message was not taken; where push is off, why it was ended from elsewhere.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The subscription of a browser, as it gives it.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PushSubscribe {
    /// Where its push service takes messages.
    pub endpoint: String,
    /// Its public key, base64url.
    pub p256dh: String,
    /// Its secret, base64url.
    pub auth: String,
    /// The language of the page.
    #[serde(default)]
    pub language: Language,
}

impl std::fmt::Debug for PushSubscribe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushSubscribe")
    }
}

impl PushSubscribe {
    fn read(&self) -> Result<Subscription, String> {
        let endpoint = Endpoint::parse(&self.endpoint)?;
        let keys = BrowserKeys::of(&self.p256dh, &self.auth).map_err(|e| e.to_string())?;
        // A point that is none is refused now, and not with the first message.
        keys.encrypt(b"").map_err(|e| e.to_string())?;
        Ok(Subscription { endpoint, keys })
    }
}

impl Browsers {
    fn push_of(&self, session: &Session) -> Option<Subscription> {
        let state = self.lock();
        let seat = state.seats.get(&session.id)?;
        seat.push.as_ref().map(|(push, _)| push.clone())
    }

    /// Whether this is how a session hears now.
    fn hears_so(&self, session: &Session, push: &Subscription, language: Language) -> bool {
        let state = self.lock();
        let seat = state.seats.get(&session.id);
        let now = seat.and_then(|seat| seat.push.as_ref());
        now.is_some_and(|(known, lang)| known == push && *lang == language)
    }

    /// The session, as it is shown, that has taken the place where this one heard.
    fn push_taken_by(&self, session: &Session) -> Option<String> {
        let state = self.lock();
        state.seats.get(&session.id)?.pushes.taken_by.clone()
    }

    /// Sets where the browser of a session hears; another session of the same browser hears no more: those are returned.
    fn subscribe(
        &self,
        session: &Session,
        push: Subscription,
        language: Language,
        now: TimeMs,
    ) -> Answer<Vec<Session>> {
        let mut state = self.lock();
        let gone = || Refusal::new(Code::Unauthenticated, "this session has ended");
        let own = state.seats.get_mut(&session.id).ok_or_else(gone)?;
        let turned_on = &mut own.pushes.turned_on;
        turned_on.retain(|at| now.distance(*at) < PUSH_CHANGES_WINDOW_MS);
        if turned_on.len() >= PUSH_CHANGES_MAX {
            let why = format!(
                "push was turned on {PUSH_CHANGES_MAX} times in this session within an hour; nothing is changed, try again later"
            );
            return Err(Refusal::new(Code::RateExceeded, why));
        }
        let others = state.seats.iter().filter(|(id, seat)| {
            **id != session.id && seat.push.is_some() && seat.is_worth_keeping(now)
        });
        if others.count() >= PUSH_PHONES_MAX {
            let why = format!(
                "{PUSH_PHONES_MAX} phones hear by push already; turn it off on one, or end its session in Settings"
            );
            return Err(Refusal::new(Code::RateExceeded, why));
        }
        let mut taken = Vec::new();
        for (id, seat) in &mut state.seats {
            let same = |(other, _): &(Subscription, Language)| other.endpoint == push.endpoint;
            if *id != session.id && seat.push.as_ref().is_some_and(same) {
                seat.push = None;
                seat.pushes.taken_by = Some(session.id.shown());
                taken.push(seat.session.clone());
            }
        }
        let seat = state.seats.get_mut(&session.id).ok_or_else(gone)?;
        seat.push = Some((push, language));
        seat.pushes.taken_by = None;
        seat.pushes.turned_on.push_back(now);
        state.kept.changed(true);
        Ok(taken)
    }

    /// Forgets where the browser of a session hears, by its shown id; whether it did.
    fn unsubscribe(&self, session: &str) -> bool {
        let mut state = self.lock();
        let mut seats = state.seats.iter_mut();
        let found = seats.find(|(id, seat)| seat.push.is_some() && id.shown() == session);
        let Some((_, seat)) = found else { return false };
        seat.push = None;
        state.kept.changed(true);
        true
    }
}

/// The sessions as those who send by push know them.
struct Seated {
    browsers: Arc<Browsers>,
    context: Context,
}

impl Sitters for Seated {
    fn phones(&self) -> Vec<Phone> {
        let now = self.context.now();
        let state = self.browsers.lock();
        let alive = state.seats.iter().filter(|(_, seat)| seat.alive(now));
        let phones = alive.filter_map(|(id, seat)| {
            let (subscription, language) = seat.push.clone()?;
            Some(Phone {
                session: id.shown(),
                person: seat.session.name.clone(),
                language,
                subscription,
                ends_at: seat.ends_at(),
            })
        });
        phones.collect()
    }

    fn forget<'a>(&'a self, phones: &'a Phones, session: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if self.browsers.unsubscribe(session) {
                // What could not be written is later; until then the service says again that it has gone.
                drop(keep(&self.context, phones, &self.browsers).await);
            }
        })
    }
}

impl Door {
    /// Has those who send by push know these sessions.
    pub fn tells_phones_of(&self, browsers: &Arc<Browsers>) {
        self.handles.alerts.phones().are_known_by(Arc::new(Seated {
            browsers: browsers.clone(),
            context: self.context().clone(),
        }));
    }

    /// Whether the browser of a session hears by push, and what it needs for that.
    pub async fn push_state(&self, browsers: &Browsers, session: Option<&Session>) -> PushView {
        let none = |why: String| PushView {
            key: None,
            why: Some(why),
            on: false,
            told_at: None,
            problem: None,
        };
        let Some(session) = session.filter(|session| session.away) else {
            return none(
                "push goes to phones that have opened the console by a link of `clawmesh-node console --phone`"
                    .to_owned(),
            );
        };
        let key = match self.handles.alerts.phones().public_key().await {
            Ok(key) => key,
            Err(why) => return none(format!("the key for push cannot be had: {why}")),
        };
        let on = browsers.push_of(session).is_some();
        let fared = self.handles.alerts.phones().fared(&session.id.shown());
        let taken = browsers.push_taken_by(session).map(|by| {
            format!("push is off here because session {by} turned it on for the same browser; turn it on here again if that was not you")
        });
        PushView {
            key: Some(key),
            why: None,
            on,
            told_at: fared.taken_at.filter(|_| on).map(|at| at.0),
            problem: if on { fared.problem } else { taken },
        }
    }

    /// Turns push on for the browser of a session.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a subscription that does not read or goes to no public push service; `NOT_AUTHORIZED` for a session of
    /// this machine; `RATE_EXCEEDED` while too many phones hear, or where this session turned it on too often; whatever the disk says.
    pub async fn push_on(
        &self,
        browsers: &Arc<Browsers>,
        session: Option<&Session>,
        asked: &PushSubscribe,
    ) -> Answer<PushView> {
        let state = self.push_state(browsers, session).await;
        let Some(session) = session.filter(|_| state.key.is_some()) else {
            let why = state.why.unwrap_or_default();
            return Err(Refusal::new(Code::NotAuthorized, why));
        };
        let bad = |why: String| Refusal::new(Code::InvalidParams, why);
        let push = asked.read().map_err(bad)?;
        let own = self.handles.alerts.phones().own_services();
        own.admit(&push.endpoint).map_err(bad)?;
        let service = push.endpoint.authority();
        if browsers.hears_so(session, &push, asked.language) {
            return Ok(state);
        }
        let again = browsers.push_of(session).as_ref() == Some(&push);
        let now = self.handles.now();
        let taken = browsers.subscribe(session, push, asked.language, now)?;
        let kept = self.keep_sessions(browsers).await;
        for other in taken {
            let (name, by) = (&other.name, session.id.shown());
            let message = format!(
                "A phone of {name} is told nothing by push any more: session {by} of {} hears there now",
                session.name
            );
            let why = json!({"why": "taken over", "by": by});
            self.push_event(Event::PushEnded, &message, &other, why)
                .await;
        }
        kept?;
        if !again {
            self.handles.alerts.phones().is_new(&session.id.shown());
            let message = format!(
                "A phone of {} is told by push, through {service}",
                session.name
            );
            self.push_event(
                Event::PushBegan,
                &message,
                session,
                json!({"service": service}),
            )
            .await;
        }
        Ok(self.push_state(browsers, Some(session)).await)
    }

    /// Turns push off for the browser of a session.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub async fn push_off(
        &self,
        browsers: &Arc<Browsers>,
        session: Option<&Session>,
    ) -> Answer<PushView> {
        if let Some(session) = session
            && browsers.unsubscribe(&session.id.shown())
        {
            self.keep_sessions(browsers).await?;
            let message = format!(
                "A phone of {} is told nothing by push any more",
                session.name
            );
            self.push_event(
                Event::PushEnded,
                &message,
                session,
                json!({"why": "turned off"}),
            )
            .await;
        }
        Ok(self.push_state(browsers, session).await)
    }

    /// Tells the browser of a session a test.
    ///
    /// # Errors
    /// `CONFLICT` where push is off; `RATE_EXCEEDED` beyond a few in a minute; `DELIVERY_FAILED` with why its push service did not
    /// take it.
    pub async fn push_test(
        &self,
        browsers: &Browsers,
        session: Option<&Session>,
    ) -> Answer<PushView> {
        let Some(session) = session.filter(|session| browsers.push_of(session).is_some()) else {
            let why = "push is off for this browser; turn it on first";
            return Err(Refusal::new(Code::Conflict, why));
        };
        let shown = session.id.shown();
        let told = self.handles.alerts.test_phone(&shown, &session.name).await;
        told.map_err(|why| {
            let code = match why {
                Untold::Later(_) => Code::RateExceeded,
                _ => Code::DeliveryFailed,
            };
            Refusal::new(code, format!("the test was not sent: {why}"))
        })?;
        Ok(self.push_state(browsers, Some(session)).await)
    }

    async fn push_event(
        &self,
        event: Event,
        message: &str,
        session: &Session,
        mut data: serde_json::Value,
    ) {
        data["session"] = session.id.shown().into();
        data["name"] = session.name.clone().into();
        self.handles
            .journal
            .record(event, Severity::Info, message, data)
            .await;
    }

    /// Says of each session whether its browser hears by push, and how that goes.
    pub fn with_push(&self, mut sessions: Vec<OpenSession>) -> Vec<OpenSession> {
        for one in sessions.iter_mut().filter(|one| one.push) {
            one.push_problem = self.handles.alerts.phones().fared(&one.id).problem;
        }
        sessions
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Scope;
    use super::super::sessions::{Maker, Place};
    use super::*;
    use crate::domain::admission::budget::Bucket;

    const T: TimeMs = TimeMs(1_000_000_000);
    const POINT: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

    fn asked(endpoint: &str, p256dh: &str) -> PushSubscribe {
        PushSubscribe {
            endpoint: endpoint.to_owned(),
            p256dh: p256dh.to_owned(),
            auth: "BTBZMqHH6r4Tts7J_aSIgg".to_owned(),
            language: Language::De,
        }
    }

    fn opened(browsers: &Browsers) -> Session {
        let away = Place::Away("192.0.2.7".parse().unwrap());
        let link = browsers.link(Maker::Owner, Scope::Read, "ada", true, T);
        browsers.open(&link.unwrap().0, away, T).unwrap().1
    }

    #[test]
    fn what_is_no_subscription_is_refused_and_none_is_shown() {
        let good = asked("https://push.example/secret", POINT);
        assert!(good.read().is_ok());
        assert!(!format!("{good:?} {:?}", good.read()).contains("secret"));
        let off = format!("BA{}", "A".repeat(85));
        for bad in [
            asked("http://push.example/secret", POINT),
            asked("https://push.example/secret", &off),
            asked("https://push.example/secret", "x"),
        ] {
            assert!(!bad.read().unwrap_err().contains("secret"));
        }
    }

    #[test]
    fn a_browser_hears_once_and_there_is_room_for_so_many() {
        let browsers = Browsers::default();
        let push = |n: usize| {
            asked(&format!("https://push.example/{n}"), POINT)
                .read()
                .unwrap()
        };
        let (first, again) = (opened(&browsers), opened(&browsers));
        browsers
            .subscribe(&first, push(0), Language::De, T)
            .unwrap();
        // The same browser with a new link.
        let taken = browsers.subscribe(&again, push(0), Language::De, T);
        assert_eq!(taken.unwrap(), std::slice::from_ref(&first));
        let by = browsers.push_taken_by(&first);
        assert_eq!(by, Some(again.id.shown()), "and it can say why");
        assert!(browsers.hears_so(&again, &push(0), Language::De));
        assert!(!browsers.hears_so(&again, &push(0), Language::En));
        assert!(browsers.push_of(&first).is_none() && browsers.push_of(&again).is_some());
        assert!(browsers.end(&again.id));
        let gone = browsers.subscribe(&again, push(0), Language::De, T);
        assert_eq!(gone.unwrap_err().code, Code::Unauthenticated);
        browsers
            .subscribe(&first, push(1), Language::De, T)
            .unwrap();
        let full = |n: usize| {
            let mut state = browsers.lock();
            let seat = &state.seats[&first.id];
            let (session, at) = (seat.session.clone(), seat.seen_at);
            for other in 0..n {
                let id = super::super::sessions::SessionId::of(&[u8::try_from(other).unwrap()]);
                let seat = super::super::sessions::Seat {
                    session: Session {
                        id,
                        ..session.clone()
                    },
                    started_at: at,
                    seen_at: at,
                    from: None,
                    push: Some((push(100 + other), Language::En)),
                    pushes: super::super::sessions::PushNotes::default(),
                    changes: Bucket::new(at),
                };
                state.seats.insert(id, seat);
            }
        };
        full(PUSH_PHONES_MAX);
        let refused = browsers.subscribe(&first, push(2), Language::De, T);
        assert_eq!(refused.unwrap_err().code, Code::RateExceeded);
        assert!(browsers.unsubscribe(&first.id.shown()));
        assert!(!browsers.unsubscribe(&first.id.shown()));
    }

    #[test]
    fn a_session_turns_it_on_so_often_and_no_more() {
        let browsers = Browsers::default();
        let session = opened(&browsers);
        let again = |n: usize, at: TimeMs| {
            let push = asked(&format!("https://push.example/{n}"), POINT);
            browsers.subscribe(&session, push.read().unwrap(), Language::De, at)
        };
        for n in 0..PUSH_CHANGES_MAX {
            // Off and on again counts like on elsewhere.
            browsers.unsubscribe(&session.id.shown());
            again(n, T).unwrap();
        }
        let before = browsers.lock().kept.clone();
        assert_eq!(again(99, T).unwrap_err().code, Code::RateExceeded);
        assert_eq!(browsers.lock().kept, before, "nothing is to be written");
        assert!(again(99, T.plus(PUSH_CHANGES_WINDOW_MS)).is_ok());
    }
}
