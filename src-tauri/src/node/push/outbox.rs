//! What waits to be sent to phones: one task sends each phone one message at a time, so that a push service that hangs holds up
//! its own phone alone. What was not taken is tried again, later and later, until it is worth nothing any more.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Phone, Phones, Post, words};
use crate::adapters::notify::{Letter, Undelivered, send};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    PUSH_ALERT_TTL_MS, PUSH_ENDS_LOOK_MS, PUSH_ENDS_SOON_MS, PUSH_RETRY_MAX_MS, PUSH_RETRY_MIN_MS,
    PUSH_WAITING_MAX,
};
use crate::node::context::{Event, Severity};

/// A message that waits.
struct Waiting {
    /// What it takes the place of.
    tag: String,
    letter: Letter,
    /// When it is worth nothing any more.
    until: Instant,
    heard: Option<oneshot::Sender<Result<(), Undelivered>>>,
}

/// The messages of one phone.
struct Pending {
    phone: Phone,
    waiting: Vec<Waiting>,
    rests_until: Option<Instant>,
    failures: u32,
    busy: bool,
}

/// A try that has ended.
struct Tried {
    session: String,
    sent: Waiting,
    done: Result<(), Undelivered>,
}

/// The phones with messages that wait.
#[derive(Default)]
struct Outbox(BTreeMap<String, Pending>);

fn answer(waiting: &mut Waiting, done: &Result<(), Undelivered>) {
    if let Some(heard) = waiting.heard.take() {
        // Whoever asked may have stopped waiting.
        let _ = heard.send(done.clone());
    }
}

impl Outbox {
    /// Puts a message behind those of its phone, in the place of one about the same. A phone whose service rests is told when that
    /// ends, and who asks hears so at once.
    fn put(&mut self, phone: Phone, mut new: Waiting, at: Instant) {
        let one = self.0.entry(phone.session.clone()).or_insert(Pending {
            phone: phone.clone(),
            waiting: Vec::new(),
            rests_until: None,
            failures: 0,
            busy: false,
        });
        if one.phone.subscription != phone.subscription {
            // What another service said counts for this one no more.
            (one.rests_until, one.failures) = (None, 0);
        }
        one.phone = phone;
        if let Some(until) = one.rests_until.filter(|until| *until > at) {
            answer(&mut new, &Err(Undelivered::Later(until - at)));
        }
        one.waiting.retain(|old| old.tag != new.tag);
        one.waiting.push(new);
        if one.waiting.len() > PUSH_WAITING_MAX {
            one.waiting.remove(0);
        }
    }

    /// The message of each phone that is to be sent now.
    fn due(&mut self, at: Instant) -> Vec<(Phone, Waiting)> {
        let mut due = Vec::new();
        self.0.retain(|_, one| {
            one.waiting.retain(|waiting| waiting.until > at);
            one.busy || !one.waiting.is_empty()
        });
        for one in self.0.values_mut() {
            let rests = one.rests_until.is_some_and(|until| until > at);
            if !one.busy && !rests && !one.waiting.is_empty() {
                one.busy = true;
                due.push((one.phone.clone(), one.waiting.remove(0)));
            }
        }
        due
    }

    /// When the next phone that rests is to be tried.
    fn next(&self) -> Option<Instant> {
        let resting = self
            .0
            .values()
            .filter(|one| !one.busy && !one.waiting.is_empty());
        resting.filter_map(|one| one.rests_until).min()
    }

    /// Takes up how a try ended: what may still arrive waits again.
    fn tried(&mut self, tried: Tried, at: Instant) {
        let Tried {
            session,
            mut sent,
            done,
        } = tried;
        answer(&mut sent, &done);
        let Some(one) = self.0.get_mut(&session) else {
            return;
        };
        one.busy = false;
        let pause_ms = match done {
            Ok(()) | Err(Undelivered::Refused(_)) => {
                (one.failures, one.rests_until) = (0, None);
                return;
            }
            Err(Undelivered::Gone) => {
                self.0.remove(&session);
                return;
            }
            Err(Undelivered::Later(wait)) => wait,
            Err(Undelivered::Lost(_)) => {
                let ms = PUSH_RETRY_MIN_MS.saturating_mul(1 << one.failures.min(12));
                Duration::from_millis(ms.min(PUSH_RETRY_MAX_MS))
            }
        };
        one.failures = one.failures.saturating_add(1);
        one.rests_until = Some(at + pause_ms);
        // A newer one about the same counts.
        if one.waiting.iter().all(|other| other.tag != sent.tag) {
            one.waiting.insert(0, sent);
        }
    }

    /// Leaves out phones that do not hear any more.
    fn keep(&mut self, phones: &[Phone]) {
        self.0.retain(|session, one| {
            one.busy || phones.iter().any(|phone| phone.session == *session)
        });
    }
}

/// Sends until the node ends.
pub async fn run(phones: Phones) {
    let posted = {
        let mut posted = phones
            .0
            .posted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        posted.take()
    };
    let Some(mut posted) = posted else { return };
    let stop = phones.0.context.tasks.stop().clone();
    let (mut outbox, mut flying) = (Outbox::default(), FuturesUnordered::new());
    let (mut soon, mut tick) = (EndsSoon::default(), interval(PUSH_ENDS_LOOK_MS));
    loop {
        outbox.keep(&phones.of(None));
        for (phone, sent) in outbox.due(Instant::now()) {
            flying.push(attempt(phones.clone(), phone, sent));
        }
        let next = outbox.next();
        let rest = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(tried) = flying.next() => outbox.tried(tried, Instant::now()),
            Some(post) = posted.recv() => take(&phones, &mut outbox, post),
            _ = tick.tick() => {
                let now = phones.0.context.now();
                for phone in soon.look(&phones.of(None), now) {
                    outbox.put(phone.clone(), farewell(&phones, &phone), Instant::now());
                }
            }
            () = rest => {}
        }
    }
}

fn interval(ms: u64) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(Duration::from_millis(ms));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

/// Which phones were told that their session ends soon, and which end that was.
#[derive(Default)]
struct EndsSoon(BTreeMap<String, TimeMs>);

impl EndsSoon {
    /// Those that are to be told now.
    fn look(&mut self, phones: &[Phone], now: TimeMs) -> Vec<Phone> {
        let ends = |phone: &&Phone| phone.ends_at.since(now) < PUSH_ENDS_SOON_MS;
        let soon: Vec<&Phone> = phones.iter().filter(ends).collect();
        let before = std::mem::take(&mut self.0);
        self.0 = soon
            .iter()
            .map(|phone| (phone.session.clone(), phone.ends_at))
            .collect();
        let new = |phone: &&&Phone| before.get(&phone.session) != Some(&phone.ends_at);
        soon.iter()
            .filter(new)
            .map(|phone| (*phone).clone())
            .collect()
    }
}

/// What a phone is sent whose session ends soon.
fn farewell(phones: &Phones, phone: &Phone) -> Waiting {
    let context = &phones.0.context;
    Waiting {
        tag: words::SESSION.to_owned(),
        letter: words::ending(&context.config.name, phone, context.now()),
        until: Instant::now() + Duration::from_millis(PUSH_ALERT_TTL_MS),
        heard: None,
    }
}

fn take(phones: &Phones, outbox: &mut Outbox, post: Post) {
    let Post {
        phone,
        notice,
        heard,
    } = post;
    let context = &phones.0.context;
    let letter = words::letter(&context.config.name, &phone, &notice, context.now());
    let at = Instant::now();
    let waiting = Waiting {
        tag: words::tag(&notice),
        letter,
        until: at + Duration::from_millis(words::worth_ms(&notice)),
        heard: Some(heard),
    };
    outbox.put(phone, waiting, at);
}

/// One try.
fn attempt(phones: Phones, phone: Phone, sent: Waiting) -> BoxFuture<'static, Tried> {
    Box::pin(async move {
        let context = &phones.0.context;
        let done = match phones.key().await {
            Ok(key) => {
                let own = phones.own_services();
                let contact = phones.contact();
                let by = (&*key, contact.as_str(), context.now());
                send(&phone.subscription, &sent.letter, &own, by).await
            }
            Err(why) => Err(Undelivered::Lost(why)),
        };
        let (session, at) = (phone.session.clone(), &phone.subscription.endpoint);
        match &done {
            Ok(()) => {}
            Err(Undelivered::Gone) => {
                let message = format!(
                    "{at} says that a phone of {} does not hear by push any more",
                    phone.person
                );
                if let Some(sitters) = phones.0.sitters.get() {
                    sitters.forget(&phones, &session).await;
                }
                let data = json!({"session": session, "service": at.authority(), "why": "gone"});
                let journal = &context.journal;
                journal
                    .record(Event::PushEnded, Severity::Warning, &message, data)
                    .await;
            }
            Err(why) => tracing::warn!(session, "a phone was not told by push: {why}"),
        }
        phones.note(&session, &done);
        Tried {
            session,
            sent,
            done,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapters::notify::{BrowserKeys, Endpoint, Subscription, Urgency};
    use crate::node::push::Language;

    fn phone(session: &str) -> Phone {
        let point = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        Phone {
            session: session.to_owned(),
            person: "ada".to_owned(),
            language: Language::En,
            subscription: Subscription {
                endpoint: Endpoint::parse("https://push.example/x").unwrap(),
                keys: BrowserKeys::of(point, "BTBZMqHH6r4Tts7J_aSIgg").unwrap(),
            },
            ends_at: TimeMs(10 * PUSH_ENDS_SOON_MS),
        }
    }

    fn waiting(tag: &str, until: Instant) -> (Waiting, oneshot::Receiver<Result<(), Undelivered>>) {
        let (heard, hears) = oneshot::channel();
        let letter = Letter {
            text: tag.as_bytes().to_vec(),
            ttl_s: 60,
            urgency: Urgency::Normal,
            topic: tag.to_owned(),
        };
        let one = Waiting {
            tag: tag.to_owned(),
            letter,
            until,
            heard: Some(heard),
        };
        (one, hears)
    }

    fn ended(mut due: Vec<(Phone, Waiting)>, done: Result<(), Undelivered>) -> Tried {
        let (phone, sent) = due.remove(0);
        Tried {
            session: phone.session,
            sent,
            done,
        }
    }

    #[test]
    fn a_phone_is_told_once_that_its_session_ends_soon_and_again_if_it_ends_later() {
        let (mut soon, end) = (EndsSoon::default(), 10 * PUSH_ENDS_SOON_MS);
        let mut all = [phone("a"), phone("b")];
        all[1].ends_at = TimeMs(2 * end);
        assert!(soon.look(&all, TimeMs(end - PUSH_ENDS_SOON_MS)).is_empty());
        let now = TimeMs(end - 1_000);
        assert_eq!(soon.look(&all, now), [all[0].clone()]);
        assert!(soon.look(&all, now).is_empty());
        // It was used, and is left alone again.
        all[0].ends_at = TimeMs(2 * end);
        assert!(soon.look(&all, now).is_empty());
        assert_eq!(soon.look(&all, TimeMs(2 * end - 1)).len(), 2);
    }

    #[test]
    fn one_phone_is_told_one_message_at_a_time_and_holds_up_no_other() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        for (session, tag) in [("a", "1"), ("a", "2"), ("b", "1")] {
            outbox.put(phone(session), waiting(tag, later).0, now);
        }
        let due = outbox.due(now);
        let first: Vec<&str> = due.iter().map(|(p, _)| p.session.as_str()).collect();
        assert_eq!(first, ["a", "b"]);
        assert!(outbox.due(now).is_empty(), "both are busy");
        outbox.tried(ended(due, Ok(())), now);
        assert_eq!(outbox.due(now)[0].1.tag, "2");
    }

    #[test]
    fn what_failed_is_tried_later_and_later_until_it_is_worth_nothing_and_a_newer_one_takes_its_place()
     {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let until = now + Duration::from_secs(20);
        let (one, mut hears) = waiting("1", until);
        outbox.put(phone("a"), one, now);
        let lost = || Err(Undelivered::Lost("x".to_owned()));
        let due = outbox.due(now);
        outbox.tried(ended(due, lost()), now);
        assert_eq!(
            hears.try_recv().unwrap(),
            lost(),
            "who asked waits for one try"
        );
        let pause = Duration::from_millis(PUSH_RETRY_MIN_MS);
        assert_eq!(outbox.next(), Some(now + pause));
        assert!(outbox.due(now).is_empty());
        // One that comes meanwhile waits with it, and who asks is told at once.
        let (newer, mut hears) = waiting("1", until);
        outbox.put(phone("a"), newer, now);
        assert_eq!(hears.try_recv().unwrap(), Err(Undelivered::Later(pause)));
        let again = now + pause;
        let due = outbox.due(again);
        assert_eq!(due.len(), 1);
        outbox.tried(ended(due, lost()), again);
        assert_eq!(outbox.next(), Some(again + 2 * pause));
        assert!(outbox.due(until).is_empty(), "it is worth nothing any more");
        assert!(outbox.0.is_empty());
    }

    #[test]
    fn a_subscription_that_has_ended_takes_its_messages_along_and_they_are_bounded() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        for n in 0..40 {
            outbox.put(phone("a"), waiting(&n.to_string(), later).0, now);
        }
        assert_eq!(outbox.0["a"].waiting.len(), PUSH_WAITING_MAX);
        let due = outbox.due(now);
        outbox.tried(ended(due, Err(Undelivered::Gone)), now);
        assert!(outbox.0.is_empty());
        outbox.put(phone("b"), waiting("1", later).0, now);
        outbox.keep(&[phone("a")]);
        assert!(outbox.0.is_empty(), "the session has ended");
    }
}
