//! The protocol of one connection: the introduction, the subscriptions, and each message until it is acknowledged. No
//! socket: `connection.rs` has it.
//!
//! A broker that breaks the protocol ends the connection, as does one that leaves a message unacknowledged for too
//! long.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::connection::{Link, Plan, turn};
use super::packet::{self, Heard, Hello, Incoming, Message, Reader};
use crate::domain::base::Digest;
use crate::domain::base::limits::{
    MQTT_CONNECT_MS, MQTT_KEEP_ALIVE_SEC, MQTT_PING_MS, MQTT_RECENT_MAX, MQTT_SILENCE_MAX_MS,
    MQTT_TOPICS_AT_ONCE,
};

/// A message for a connection.
pub(super) struct Order {
    pub message: Message,
    /// The connection that it is meant for.
    pub on: u64,
    /// Said when the broker has it, or why it was not sent. Dropped where neither is known.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// Tells the sender that it was not sent.
pub(super) fn refuse(order: Order) {
    // The sender may be gone.
    let _ = order.done.send(Err("the connection ended".to_owned()));
}

/// The state of a connection.
pub(super) struct Session {
    number: u64,
    pub reader: Reader,
    /// Bytes to be sent.
    pub out: BytesMut,
    /// Whether the broker has accepted us.
    connected: bool,
    /// Whether the broker has accepted us and our subscriptions.
    pub stands: bool,
    next_id: u16,
    /// Topics whose subscription the broker has not answered.
    subscribing: BTreeMap<u16, Vec<String>>,
    /// Messages that the broker has not acknowledged, and since when.
    pub waiting: BTreeMap<u16, (Instant, oneshot::Sender<Result<(), String>>)>,
    /// Numbers of messages that came.
    recent: VecDeque<u16>,
    begun: Instant,
    heard: Instant,
    asked: Instant,
}

impl Session {
    pub(super) fn new(number: u64) -> Self {
        let now = Instant::now();
        Self {
            number,
            reader: Reader::default(),
            out: BytesMut::new(),
            connected: false,
            stands: false,
            next_id: 0,
            subscribing: BTreeMap::new(),
            waiting: BTreeMap::new(),
            recent: VecDeque::new(),
            begun: now,
            heard: now,
            asked: now,
        }
    }

    /// The socket is open: from here the broker's answers are waited for.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        (self.begun, self.heard, self.asked) = (now, now, now);
    }

    pub(super) fn introduce(&mut self, plan: &Plan) -> Result<(), String> {
        let device = plan.keeper.device()?;
        let name = Digest::of(&[device.as_str().as_bytes(), plan.purpose.as_bytes()]).to_hex();
        // At most 23 bytes, which every broker takes.
        let client = format!("cm-{}", name.get(..20).unwrap_or(&name));
        let secret = match &plan.password {
            Some(name) => Some(plan.keeper.password(name)?),
            None => None,
        };
        let hello = Hello {
            client: &client,
            user: plan.user.as_deref(),
            password: secret.as_ref().map(|secret| secret.as_str()),
            will: plan.will.as_ref(),
            keep_alive_sec: MQTT_KEEP_ALIVE_SEC,
        };
        packet::hello(&hello, &mut self.out);
        Ok(())
    }

    /// Reads what has come.
    pub(super) fn take(&mut self, plan: &Plan, link: &watch::Sender<Link>) -> Result<(), String> {
        self.heard = Instant::now();
        while let Some(incoming) = self.reader.next().map_err(|e| e.to_string())? {
            if matches!(incoming, Incoming::Connected(_)) == self.connected {
                return Err(match self.connected {
                    true => "the broker accepted the connection twice".to_owned(),
                    false => {
                        "the broker said something before it accepted the connection".to_owned()
                    }
                });
            }
            match incoming {
                Incoming::Connected(0) => {
                    self.connected = true;
                    for topics in plan.topics.chunks(MQTT_TOPICS_AT_ONCE) {
                        let id = self.id()?;
                        packet::subscribe(topics, id, &mut self.out);
                        self.subscribing.insert(id, topics.to_vec());
                    }
                    self.stand(plan, link);
                }
                Incoming::Connected(why) => return Err(refusal(why)),
                Incoming::Subscribed(id, answers) => {
                    let topics = self.subscribing.remove(&id).unwrap_or_default();
                    if topics.is_empty() || answers.len() != topics.len() {
                        return Err(
                            "the broker answered a subscription that was not made".to_owned()
                        );
                    }
                    let refused = topics.iter().zip(answers).filter(|(_, answer)| *answer > 1);
                    refused.for_each(|(topic, _)| plan.ear.refused(topic));
                    self.stand(plan, link);
                }
                Incoming::Message(message) => self.message(plan, message),
                Incoming::Arrived(id) => {
                    if let Some((_, done)) = self.waiting.remove(&id) {
                        // The waiting caller may be gone.
                        let _ = done.send(Ok(()));
                    }
                }
                Incoming::Pong => {}
            }
        }
        Ok(())
    }

    fn stand(&mut self, plan: &Plan, link: &watch::Sender<Link>) {
        if self.subscribing.is_empty() && !self.stands {
            self.stands = true;
            turn(plan, link, Link::Up(self.number));
        }
    }

    /// A message; one that came before under the same number is acknowledged and no more.
    fn message(&mut self, plan: &Plan, message: Heard) {
        if let Some(id) = message.id {
            packet::acknowledge(id, &mut self.out);
            let known = self.recent.contains(&id);
            if known && message.again {
                return;
            }
            if !known {
                self.recent.push_back(id);
            }
            if self.recent.len() > MQTT_RECENT_MAX {
                self.recent.pop_front();
            }
        }
        plan.ear.heard(message);
    }

    pub(super) fn order(&mut self, order: Order) -> Result<(), String> {
        if order.on != self.number {
            refuse(order);
            return Ok(());
        }
        // Called off before it was sent.
        if order.done.is_closed() {
            return Ok(());
        }
        let id = self.id()?;
        packet::publish(&order.message, id, &mut self.out);
        self.waiting.insert(id, (Instant::now(), order.done));
        Ok(())
    }

    /// A number that no message and no subscription has.
    fn id(&mut self) -> Result<u16, String> {
        for _ in 0..u16::MAX {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            let id = self.next_id;
            if !self.waiting.contains_key(&id) && !self.subscribing.contains_key(&id) {
                return Ok(id);
            }
        }
        Err("no number is free for another message".to_owned())
    }

    /// Asks whether the broker is there, and gives it up when it has said nothing for too long, or leaves a message
    /// unacknowledged: those that are under way have a limit, and beyond it no safe message could be sent.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let late = |since: Instant, ms| since.elapsed() >= Duration::from_millis(ms);
        if late(self.heard, MQTT_SILENCE_MAX_MS)
            || !self.stands && late(self.begun, MQTT_CONNECT_MS)
        {
            let sec = self.heard.elapsed().as_secs();
            return Err(format!("the broker has not answered for {sec} s"));
        }
        let oldest = self.waiting.values().map(|(since, _)| *since).min();
        if let Some(since) = oldest.filter(|since| late(*since, MQTT_SILENCE_MAX_MS)) {
            let sec = since.elapsed().as_secs();
            return Err(format!(
                "the broker has not acknowledged a message for {sec} s"
            ));
        }
        if self.stands && late(self.asked, MQTT_PING_MS) {
            self.asked = Instant::now();
            packet::ping(&mut self.out);
        }
        Ok(())
    }
}

/// A refusal in words.
fn refusal(code: u8) -> String {
    match code {
        1 => "the broker does not speak MQTT 3.1.1".to_owned(),
        2 => "the broker refuses our client id".to_owned(),
        3 => "the broker is not available".to_owned(),
        4 => "the broker refuses user and password".to_owned(),
        5 => {
            "the broker does not let this user in: look at user, password and its rules".to_owned()
        }
        other => format!("the broker refuses the connection ({other})"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::super::broker::Broker;
    use super::super::connection::Ear;
    use super::super::tests::Passwords;
    use super::*;

    fn order(on: u64) -> (Order, oneshot::Receiver<Result<(), String>>) {
        let (done, told) = oneshot::channel();
        let message = Message {
            topic: "p".to_owned(),
            payload: b"ON".to_vec(),
        };
        (Order { message, on, done }, told)
    }

    #[test]
    fn what_was_called_off_or_meant_for_an_earlier_connection_is_not_sent() {
        let mut session = Session::new(7);
        let (earlier, mut told) = order(6);
        session.order(earlier).unwrap();
        assert_eq!(told.try_recv(), Ok(Err("the connection ended".to_owned())));
        let (called_off, told) = order(7);
        drop(told);
        session.order(called_off).unwrap();
        assert!(session.out.is_empty());
        let (good, mut told) = order(7);
        session.order(good).unwrap();
        assert!(!session.out.is_empty());
        // It ends before the broker has said that it has it: neither is known.
        drop(session);
        assert_eq!(told.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    /// A session with a plan that subscribes to two topics, and what it says of the connection.
    fn subscriber() -> (Session, Plan, watch::Sender<Link>) {
        let plan = Plan {
            broker: Broker::read("mqtt://hub", None).unwrap(),
            user: None,
            password: None,
            purpose: "readings".to_owned(),
            will: None,
            topics: vec!["a".to_owned(), "b".to_owned()],
            keeper: Arc::new(Passwords),
            ear: Arc::new(Deaf),
        };
        (Session::new(1), plan, watch::Sender::new(Link::Trying))
    }

    struct Deaf;

    impl Ear for Deaf {
        fn heard(&self, _: Heard) {}
        fn refused(&self, _: &str) {}
        fn turned(&self, _: &Link) {}
    }

    const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];

    #[test]
    fn what_comes_in_the_wrong_order_ends_the_connection() {
        let answered: &[u8] = &[0x90, 4, 0, 1, 1, 1];
        for (packets, why) in [
            (vec![answered], "before it accepted"),
            (
                vec![&b"\x30\x04\x00\x01a3"[..], ACCEPTED],
                "before it accepted",
            ),
            (vec![&[0xd0, 0][..]], "before it accepted"),
            (vec![ACCEPTED, ACCEPTED], "twice"),
            (vec![ACCEPTED, answered, ACCEPTED], "twice"),
            (vec![ACCEPTED, &[0x90, 3, 0, 1, 1]], "was not made"),
            (vec![ACCEPTED, &[0x90, 5, 0, 1, 1, 1, 1]], "was not made"),
            (vec![ACCEPTED, &[0x90, 4, 0, 2, 1, 1]], "was not made"),
        ] {
            let (mut session, plan, link) = subscriber();
            session.reader.bytes.extend_from_slice(&packets.concat());
            let told = session.take(&plan, &link).unwrap_err();
            assert!(told.contains(why), "{packets:?}: {told}");
        }
        let (mut session, plan, link) = subscriber();
        session.reader.bytes.extend_from_slice(&[0x90, 3, 0, 1, 1]);
        session.take(&plan, &link).unwrap_err();
        assert_eq!(*link.borrow(), Link::Trying);
        let (mut session, plan, link) = subscriber();
        session.reader.bytes.extend_from_slice(ACCEPTED);
        session.take(&plan, &link).unwrap();
        assert_eq!(*link.borrow(), Link::Trying);
        session.reader.bytes.extend_from_slice(answered);
        session.take(&plan, &link).unwrap();
        assert_eq!(*link.borrow(), Link::Up(1));
    }

    #[test]
    fn numbers_have_an_end() {
        let mut session = Session::new(1);
        for id in 1..=u16::MAX {
            assert_eq!(session.id(), Ok(id));
            session.subscribing.insert(id, Vec::new());
        }
        assert!(session.id().is_err());
        session.subscribing.remove(&7);
        assert_eq!(session.id(), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_answers_and_acknowledges_nothing_is_given_up() {
        let (mut session, plan, link) = subscriber();
        session.reader.bytes.extend_from_slice(ACCEPTED);
        session
            .reader
            .bytes
            .extend_from_slice(&[0x90, 4, 0, 1, 1, 1]);
        session.take(&plan, &link).unwrap();
        let long = Duration::from_millis(MQTT_SILENCE_MAX_MS);
        let answers = |session: &mut Session| {
            session.reader.bytes.extend_from_slice(&[0xd0, 0]);
            session.take(&plan, &link).unwrap();
        };
        // The sender of the second one has gone: it is unacknowledged all the same.
        let (one, mut told) = order(1);
        session.order(one).unwrap();
        tokio::time::advance(long / 2).await;
        let (two, waits) = order(1);
        session.order(two).unwrap();
        drop(waits);
        session.reader.bytes.extend_from_slice(&[0x40, 2, 0, 2]);
        answers(&mut session);
        assert_eq!(told.try_recv(), Ok(Ok(())));
        tokio::time::advance(long / 2).await;
        answers(&mut session);
        session.look().unwrap();
        tokio::time::advance(long / 2).await;
        answers(&mut session);
        let why = session.look().unwrap_err();
        assert_eq!(why, "the broker has not acknowledged a message for 8 s");
    }
}
