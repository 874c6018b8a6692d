//! One connection to a broker, on a thread of its own: it is dialed again whenever it ends, subscribes anew, and asks
//! whether the broker is still there.
//!
//! A message is sent on the connection that it was meant for or not at all, once: nothing is kept for the next one, and
//! nothing is said again. A broker ends the earlier connection of a client before it accepts a new one of the same name
//! (MQTT-3.1.4-2), so what arrives on the new one comes after whatever still lay on the way.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::broker::Broker;
use super::packet::{self, Heard, Hello, Incoming, Message, Reader};
use crate::adapters::devices::Keeper;
use crate::adapters::random::SharedRandom;
use crate::domain::base::Digest;
use crate::domain::base::limits::{
    MQTT_CONNECT_MS, MQTT_KEEP_ALIVE_SEC, MQTT_LOOK_MS, MQTT_PAUSE_FIRST_MS, MQTT_PAUSE_MAX_MS,
    MQTT_PING_MS, MQTT_RECENT_MAX, MQTT_SILENCE_MAX_MS, MQTT_STEADY_MS, MQTT_TOPICS_AT_ONCE,
    MQTT_UNDER_WAY_MAX, MQTT_WAITING_MAX_BYTES,
};

/// How a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// It is dialed for the first time.
    Trying,
    /// There is none, and why.
    Down(String),
    /// It stands: the how manieth.
    Up(u64),
}

/// Who is told what comes. Called by the connection's thread: it must not block.
pub(super) trait Ear: Send + Sync {
    /// A message came.
    fn heard(&self, message: Heard);

    /// The broker does not let us hear a topic.
    fn refused(&self, topic: &str);

    /// The connection stands, or ended.
    fn turned(&self, link: &Link);
}

/// What a connection is for.
pub(super) struct Plan {
    pub broker: Broker,
    pub user: Option<String>,
    /// The name of the credential.
    pub password: Option<String>,
    /// What tells this client from others of the node.
    pub purpose: String,
    /// What the broker publishes when the node is gone.
    pub will: Option<Message>,
    pub topics: Vec<String>,
    pub keeper: Arc<dyn Keeper>,
    pub ear: Arc<dyn Ear>,
}

/// Why a message was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Untold {
    /// It was not sent.
    Not(String),
    /// It was sent, or may have been, and the broker did not say that it has it.
    Maybe(String),
}

/// A message for a connection.
struct Order {
    message: Message,
    /// The connection that it is meant for.
    on: u64,
    /// Said when the broker has it, or why it was not sent. Dropped where neither is known.
    done: oneshot::Sender<Result<(), String>>,
}

/// What the thread begins with.
struct Begin {
    plan: Plan,
    orders: mpsc::Receiver<Order>,
    link: watch::Sender<Link>,
}

/// The handle of a connection. Dropped, it ends the connection.
pub(super) struct Client {
    begin: Mutex<Option<Begin>>,
    orders: mpsc::Sender<Order>,
    link: watch::Receiver<Link>,
}

impl Client {
    /// A connection that is not dialed yet.
    pub(super) fn new(plan: Plan) -> Self {
        let (orders, coming) = mpsc::channel(MQTT_UNDER_WAY_MAX);
        let (turned, link) = watch::channel(Link::Trying);
        let begin = Begin {
            plan,
            orders: coming,
            link: turned,
        };
        Self {
            begin: Mutex::new(Some(begin)),
            orders,
            link,
        }
    }

    /// Begins to dial; does nothing more when called again.
    pub(super) fn start(&self) {
        let mut begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Begin { plan, orders, link }) = begin.take() else {
            return;
        };
        let thread = std::thread::Builder::new().name("mqtt".to_owned());
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(1)
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(keep(&plan, orders, &link));
                    // A name that is still being looked up is left behind.
                    runtime.shutdown_background();
                }
                Err(error) => turn(&plan, &link, Link::Down(no_thread(&error))),
            }
        });
        if let Err(error) = started {
            tracing::error!("{}", no_thread(&error));
        }
    }

    /// How it is now, and how it becomes.
    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Sends a message on this connection and waits until the broker has it. Dropped before it was sent, it is not.
    ///
    /// # Errors
    /// [`Untold`].
    pub(super) async fn tell(&self, message: &Message, on: u64) -> Result<(), Untold> {
        let (done, told) = oneshot::channel();
        let order = Order {
            message: message.clone(),
            on,
            done,
        };
        let gone = || Untold::Not("the connection is gone".to_owned());
        self.orders.send(order).await.map_err(|_| gone())?;
        match told.await {
            Ok(told) => told.map_err(Untold::Not),
            Err(_) => Err(Untold::Maybe(
                "the connection ended before the broker acknowledged it".to_owned(),
            )),
        }
    }
}

fn no_thread(error: &io::Error) -> String {
    format!("the connection to the broker has no thread: {error}")
}

fn turn(plan: &Plan, link: &watch::Sender<Link>, to: Link) {
    link.send_replace(to.clone());
    plan.ear.turned(&to);
}

/// Dials again and again until the handle is gone.
async fn keep(plan: &Plan, mut orders: mpsc::Receiver<Order>, link: &watch::Sender<Link>) {
    let random = SharedRandom::system();
    let mut pause_ms = MQTT_PAUSE_FIRST_MS;
    for number in 1.. {
        let begun = Instant::now();
        let Err(why) = serve(plan, number, &mut orders, link).await else {
            return;
        };
        let why = format!("{}: {why}", plan.broker);
        tracing::debug!("{why}");
        let stood = matches!(*link.borrow(), Link::Up(_));
        if stood && begun.elapsed() >= Duration::from_millis(MQTT_STEADY_MS) {
            pause_ms = MQTT_PAUSE_FIRST_MS;
        }
        turn(plan, link, Link::Down(why));
        // Half to one and a half times as long, so that not all nodes come at once.
        let over = Duration::from_millis(pause_ms / 2 + random.below(pause_ms));
        let rest = sleep_until(Instant::now() + over);
        if unless_gone(&mut orders, rest).await.is_none() {
            return;
        }
        pause_ms = pause_ms.saturating_mul(2).min(MQTT_PAUSE_MAX_MS);
    }
}

/// The work, while there is no connection: whoever wants to send is told so. `None` if the handle is gone.
async fn unless_gone<T>(
    orders: &mut mpsc::Receiver<Order>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            order = orders.recv() => refuse(order?),
        }
    }
}

fn refuse(order: Order) {
    // Whoever gave it may be gone.
    let _ = order.done.send(Err("the connection ended".to_owned()));
}

/// One connection from the first byte to its end; `Ok` if the handle is gone.
async fn serve(
    plan: &Plan,
    number: u64,
    orders: &mut mpsc::Receiver<Order>,
    link: &watch::Sender<Link>,
) -> Result<(), String> {
    let mut session = Session::new(number);
    session.introduce(plan)?;
    let limit = Duration::from_millis(MQTT_CONNECT_MS);
    let dialed = unless_gone(orders, timeout(limit, plan.broker.dial())).await;
    let wire = match dialed {
        None => return Ok(()),
        Some(Err(_)) => return Err("it cannot be reached in time".to_owned()),
        Some(Ok(dialed)) => dialed.map_err(|e| format!("it cannot be reached: {e}"))?,
    };
    let (mut read, mut write) = tokio::io::split(wire);
    let mut look = interval(Duration::from_millis(MQTT_LOOK_MS));
    let mut to_send = true;
    session.begin();
    loop {
        session.reader.bytes.reserve(8_192);
        let has_room = session.out.len() < MQTT_WAITING_MAX_BYTES;
        let takes = session.stands && session.waiting.len() < MQTT_UNDER_WAY_MAX;
        tokio::select! {
            got = read.read_buf(&mut session.reader.bytes), if has_room => {
                if got.map_err(|e| format!("the connection broke: {e}"))? == 0 {
                    return Err("the broker closed the connection".to_owned());
                }
                session.take(plan, link)?;
            }
            sent = send(&mut write, &mut session.out), if to_send => {
                sent.map_err(|e| format!("the connection broke: {e}"))?;
            }
            order = orders.recv(), if takes => match order {
                Some(order) => session.order(order),
                None => {
                    // After a goodbye the broker publishes no will, which does no harm and may be needed.
                    if plan.will.is_none() {
                        packet::goodbye(&mut session.out);
                    }
                    // The broker finds out in any case.
                    let _ = timeout(limit, send(&mut write, &mut session.out)).await;
                    return Ok(());
                }
            },
            _ = look.tick() => session.look()?,
        }
        to_send = !session.out.is_empty();
    }
}

/// Sends what waits. Dropped, it leaves the rest where it is.
async fn send(write: &mut (impl AsyncWrite + Unpin), out: &mut BytesMut) -> io::Result<()> {
    while !out.is_empty() {
        write.write_buf(out).await?;
    }
    write.flush().await
}

/// What is known of a connection.
struct Session {
    number: u64,
    reader: Reader,
    /// What waits to be sent.
    out: BytesMut,
    /// Whether the broker has accepted us and our subscriptions.
    stands: bool,
    next_id: u16,
    /// Topics whose subscription the broker has not answered.
    subscribing: BTreeMap<u16, Vec<String>>,
    /// Messages that the broker has not acknowledged.
    waiting: BTreeMap<u16, oneshot::Sender<Result<(), String>>>,
    /// Numbers of messages that came.
    recent: VecDeque<u16>,
    begun: Instant,
    heard: Instant,
    asked: Instant,
}

impl Session {
    fn new(number: u64) -> Self {
        let now = Instant::now();
        Self {
            number,
            reader: Reader::default(),
            out: BytesMut::new(),
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
    fn begin(&mut self) {
        let now = Instant::now();
        (self.begun, self.heard, self.asked) = (now, now, now);
    }

    fn introduce(&mut self, plan: &Plan) -> Result<(), String> {
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
    fn take(&mut self, plan: &Plan, link: &watch::Sender<Link>) -> Result<(), String> {
        self.heard = Instant::now();
        while let Some(incoming) = self.reader.next().map_err(|e| e.to_string())? {
            match incoming {
                Incoming::Connected(0) => {
                    for topics in plan.topics.chunks(MQTT_TOPICS_AT_ONCE) {
                        let id = self.id();
                        packet::subscribe(topics, id, &mut self.out);
                        self.subscribing.insert(id, topics.to_vec());
                    }
                    self.stand(plan, link);
                }
                Incoming::Connected(why) => return Err(refusal(why)),
                Incoming::Subscribed(id, answers) => {
                    let topics = self.subscribing.remove(&id).unwrap_or_default();
                    let refused = topics.iter().zip(answers).filter(|(_, answer)| *answer > 1);
                    refused.for_each(|(topic, _)| plan.ear.refused(topic));
                    self.stand(plan, link);
                }
                Incoming::Message(message) => self.message(plan, message),
                Incoming::Arrived(id) => {
                    if let Some(done) = self.waiting.remove(&id) {
                        // Whoever waited may be gone.
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

    fn order(&mut self, order: Order) {
        if order.on != self.number {
            return refuse(order);
        }
        // Called off before it was sent.
        if order.done.is_closed() {
            return;
        }
        let id = self.id();
        packet::publish(&order.message, id, &mut self.out);
        self.waiting.insert(id, order.done);
    }

    fn id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            let id = self.next_id;
            if !self.waiting.contains_key(&id) && !self.subscribing.contains_key(&id) {
                return id;
            }
        }
    }

    /// Asks whether the broker is there, and gives it up when it has said nothing for too long.
    fn look(&mut self) -> Result<(), String> {
        let late = |since: Instant, ms| since.elapsed() >= Duration::from_millis(ms);
        if late(self.heard, MQTT_SILENCE_MAX_MS)
            || !self.stands && late(self.begun, MQTT_CONNECT_MS)
        {
            let sec = self.heard.elapsed().as_secs();
            return Err(format!("the broker has not answered for {sec} s"));
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
        session.order(earlier);
        assert_eq!(told.try_recv(), Ok(Err("the connection ended".to_owned())));
        let (called_off, told) = order(7);
        drop(told);
        session.order(called_off);
        assert!(session.out.is_empty());
        let (good, mut told) = order(7);
        session.order(good);
        assert!(!session.out.is_empty());
        // It ends before the broker has said that it has it: neither is known.
        drop(session);
        assert_eq!(told.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
