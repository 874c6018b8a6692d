//! One connection to a broker, on a thread of its own: it is dialed again whenever it ends, subscribes anew, and asks
//! whether the broker is still there.
//!
//! A message is sent on the connection that it was meant for or not at all, once: nothing is kept for the next one, and
//! nothing is said again. A broker ends the earlier connection of a client before it accepts a new one of the same name
//! (MQTT-3.1.4-2), so what arrives on the new one comes after whatever still lay on the way.

use std::future::Future;
use std::io;
use std::sync::mpsc::{SendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::broker::Broker;
use super::packet::{self, Heard, Message};
use super::session::{Order, Session, refuse};
use crate::adapters::devices::Keeper;
use crate::adapters::random::SharedRandom;
use crate::domain::base::limits::{
    MQTT_CONNECT_MS, MQTT_LOOK_MS, MQTT_PAUSE_FIRST_MS, MQTT_PAUSE_MAX_MS, MQTT_STEADY_MS,
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

/// The configuration of a connection.
pub(super) struct Plan {
    pub broker: Broker,
    pub user: Option<String>,
    /// The name of the credential.
    pub password: Option<String>,
    /// Tells this client from others of the node.
    pub purpose: String,
    /// Published by the broker when the node is gone.
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

/// The state the thread begins with.
struct Begin {
    plan: Plan,
    orders: mpsc::Receiver<Order>,
    link: watch::Sender<Link>,
}

/// The handle of a connection. Dropped, it ends the connection.
pub(super) struct Client {
    /// Until it has begun.
    begin: Mutex<Option<Box<Begin>>>,
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
            begin: Mutex::new(Some(Box::new(begin))),
            orders,
            link,
        }
    }

    /// Begins to dial; does nothing more when called again, unless it could not begin.
    pub(super) fn start(&self) {
        self.start_by(run);
    }

    fn start_by(&self, run: impl FnOnce(Box<Begin>) -> Result<(), (Box<Begin>, io::Error)>) {
        let mut begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ready) = begin.take() else {
            return;
        };
        if let Err((ready, error)) = run(ready) {
            let why = format!("the connection to the broker has no thread: {error}");
            turn(&ready.plan, &ready.link, Link::Down(why));
            *begin = Some(ready);
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

/// Keeps a connection on a thread of its own. Returns the state if it could not begin.
fn run(ready: Box<Begin>) -> Result<(), (Box<Begin>, io::Error)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Err((ready, error)),
    };
    // Handed over when the thread is there: what a thread that cannot be made holds is lost.
    let (give, given) = sync_channel::<(Runtime, Box<Begin>)>(1);
    let thread = std::thread::Builder::new().name("mqtt".to_owned());
    let made = thread.spawn(move || {
        let Ok((runtime, begin)) = given.recv() else {
            return;
        };
        let Begin { plan, orders, link } = *begin;
        runtime.block_on(keep(&plan, orders, &link));
        // A name that is still being looked up is left behind.
        runtime.shutdown_background();
    });
    let (error, runtime, ready) = match made {
        Err(error) => (error, runtime, ready),
        Ok(_) => match give.send((runtime, ready)) {
            Ok(()) => return Ok(()),
            Err(SendError((runtime, ready))) => (io::ErrorKind::BrokenPipe.into(), runtime, ready),
        },
    };
    // To drop it would wait, which is not allowed here.
    runtime.shutdown_background();
    Err((ready, error))
}

/// Says how the connection is now.
pub(super) fn turn(plan: &Plan, link: &watch::Sender<Link>, to: Link) {
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

/// The work, while there is no connection: senders are told so. `None` if the handle is gone.
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
    let wire = match unless_gone(orders, plan.broker.dial(limit)).await {
        None => return Ok(()),
        Some(dialed) => dialed.map_err(|e| format!("it cannot be reached: {e}"))?,
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
                Some(order) => session.order(order)?,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::Passwords;
    use super::*;

    struct Deaf;

    impl Ear for Deaf {
        fn heard(&self, _: Heard) {}
        fn refused(&self, _: &str) {}
        fn turned(&self, _: &Link) {}
    }

    #[tokio::test]
    async fn a_thread_that_could_not_be_made_is_tried_again() {
        let client = Client::new(Plan {
            broker: Broker::read("mqtt://127.0.0.1:1", None).unwrap(),
            user: None,
            password: None,
            purpose: "readings".to_owned(),
            will: None,
            topics: Vec::new(),
            keeper: Arc::new(Passwords),
            ear: Arc::new(Deaf),
        });
        let mut link = client.link();
        for _ in 0..2 {
            client.start_by(|ready| Err((ready, io::Error::other("too many"))));
            let why = "the connection to the broker has no thread: too many";
            assert_eq!(*link.borrow_and_update(), Link::Down(why.to_owned()));
        }
        client.start();
        let dialed = |link: &Link| matches!(link, Link::Down(why) if why.contains("reached"));
        link.wait_for(dialed).await.unwrap();
    }
}
