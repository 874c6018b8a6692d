//! An OpenClaw gateway, over its WebSocket protocol (version 4): connected for ever, asked what it has, and asked questions.
//!
//! A question has a key, which the gateway runs once. The connection may end while a run goes on there: then the same question is
//! asked again with the same key, of the same process of the gateway and before it forgets the key; otherwise it is not known what
//! became of it.

mod converse;
mod hello;
mod link;
mod questions;
mod reading;
mod runs;
mod wording;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use self::converse::{Ended, Order};
use self::runs::{Done, Run, Ticket};
use super::{Ask, AskError, Before, Gateway, Keeper, Seen, State};
use crate::adapters::clock::SharedClock;
use crate::adapters::http_client::{Address, Reach};
use crate::adapters::random::SharedRandom;
use crate::domain::base::limits::{
    GATEWAY_AGAIN_HERE_MAX_MS, GATEWAY_AGAIN_MAX_MS, GATEWAY_AGAIN_MS, GATEWAY_ASK_MAX_BYTES,
    GATEWAY_PERSON_MS, GATEWAY_QUEUE_MAX, GATEWAY_REFUSED_MS, GATEWAY_WAIT_MAX_MS,
};

/// Reads the address of a gateway: `ws://` or `wss://`, a host, perhaps a port and a path.
///
/// # Errors
/// The fault, as text.
pub fn address(url: &str) -> Result<Address, String> {
    let http = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
        (Some(rest), _) => format!("http://{rest}"),
        (_, Some(rest)) => format!("https://{rest}"),
        _ => {
            return Err(
                "the address of a gateway begins with ws:// or wss://, as in ws://127.0.0.1:18789"
                    .to_owned(),
            );
        }
    };
    Address::parse(&http).map_err(|_| {
        "the address of a gateway is ws:// or wss://, a host and perhaps a port and a path, without user, query or fragment, as in \
         ws://127.0.0.1:18789"
            .to_owned()
    })
}

/// The address as it is written.
pub fn url(address: &Address) -> String {
    let scheme = if address.tls { "wss" } else { "ws" };
    format!("{scheme}://{}{}", address.authority(), address.path)
}

/// What a gateway is made of.
pub struct Parts {
    /// Its id here, for words that tell a person what to do.
    pub id: String,
    /// Where it is.
    pub address: Address,
    /// What people read there of this node.
    pub display_name: String,
    /// Keeps its tokens.
    pub keeper: Arc<dyn Keeper>,
    /// The clock.
    pub clock: SharedClock,
    /// The source of jitter.
    pub random: SharedRandom,
}

/// An OpenClaw gateway.
pub struct OpenClaw {
    parts: Parts,
    seen: watch::Sender<Seen>,
    orders: mpsc::Sender<Order>,
    inbox: Mutex<Option<mpsc::Receiver<Order>>>,
    again: Notify,
}

impl OpenClaw {
    /// One that is not connected yet.
    pub fn new(parts: Parts) -> Self {
        let (orders, inbox) = mpsc::channel(GATEWAY_QUEUE_MAX);
        let now = parts.clock.now().0;
        let seen = Seen::nothing(State::Connecting { why: None }, now);
        Self {
            parts,
            seen: watch::channel(seen).0,
            orders,
            inbox: Mutex::new(Some(inbox)),
            again: Notify::new(),
        }
    }

    /// Tries again at once, because something that it depends on has changed.
    pub fn again(&self) {
        self.again.notify_one();
    }

    fn now(&self) -> u64 {
        self.parts.clock.now().0
    }

    /// Notes how things stand, where that is new.
    fn stands(&self, state: State) {
        let now = self.now();
        self.seen.send_if_modified(|seen| {
            if seen.state == state {
                return false;
            }
            // An attempt that fails for another reason is still the same outage.
            let same = matches!(
                (&seen.state, &state),
                (State::Connecting { .. }, State::Connecting { .. })
            );
            if !same {
                seen.since = now;
            }
            seen.state = state;
            true
        });
    }

    /// The longest pause between attempts.
    fn longest_ms(&self) -> u64 {
        match self.parts.address.reach() {
            Reach::Loopback => GATEWAY_AGAIN_HERE_MAX_MS,
            _ => GATEWAY_AGAIN_MAX_MS,
        }
    }

    /// The pause after so many attempts in vain.
    fn pause_ms(&self, failures: u32) -> u64 {
        let grown = GATEWAY_AGAIN_MS.saturating_mul(1_u64 << failures.min(16));
        let most = grown.min(self.longest_ms());
        most / 2 + self.parts.random.below(most / 2 + 1)
    }

    /// Notes how a connection ended; the pause before the next one.
    fn ended(&self, how: Ended, failures: &mut u32) -> Option<u64> {
        let pause = match how {
            Ended::Stopped => return None,
            Ended::Lost { why, was_ready } => {
                *failures = if was_ready { 0 } else { *failures + 1 };
                // One that is starting has not listened yet, or not long.
                if self.seen.borrow().state != State::Starting || *failures > 4 {
                    self.stands(State::Connecting { why: Some(why) });
                }
                self.pause_ms(*failures)
            }
            Ended::Starting(after) => {
                *failures = 0;
                self.stands(State::Starting);
                after.clamp(100, GATEWAY_AGAIN_HERE_MAX_MS)
            }
            Ended::Pairing(request) => {
                let command = match request.is_empty() {
                    true => "openclaw devices list".to_owned(),
                    false => format!("openclaw devices approve {request}"),
                };
                self.stands(State::PairingRequired { request, command });
                GATEWAY_PERSON_MS
            }
            Ended::OtherToken => GATEWAY_AGAIN_MS,
            Ended::Failed(why) => {
                self.stands(State::Failed { why });
                GATEWAY_REFUSED_MS
            }
        };
        Some(pause)
    }

    async fn live(&self, mut inbox: mpsc::Receiver<Order>, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let how = self.connection(&mut inbox, &stop).await;
            let Some(pause) = self.ended(how, &mut failures) else {
                return;
            };
            let until = sleep(Duration::from_millis(pause));
            tokio::pin!(until);
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.again.notified() => break,
                    // Whoever asks now is told at once, by the end of the ticket.
                    order = inbox.recv() => if order.is_none() { return },
                    () = &mut until => break,
                }
            }
        }
    }

    async fn asked(&self, mut ask: Ask, pieces: mpsc::Sender<String>) -> Result<String, AskError> {
        let not_sent = |why: &str| Err(AskError::NotSent(why.to_owned()));
        if !ask.is_named() {
            return not_sent(
                "agent, conversation and key are 1 to 128 letters, digits and -_.@ each",
            );
        }
        if ask.text.trim().is_empty() || ask.text.len() > GATEWAY_ASK_MAX_BYTES {
            return not_sent("a question has 1 byte to 64 KiB");
        }
        let until = Instant::now() + Duration::from_millis(ask.timeout_ms.min(GATEWAY_WAIT_MAX_MS));
        let mut run = Run::default();
        loop {
            if ask.before.is_some() {
                self.ready(until).await?;
            } else if self.seen.borrow().state != State::Ready {
                return not_sent("the gateway is not ready");
            }
            let process = self.seen.borrow().process.clone();
            let at = self.now();
            match self.asked_here(Arc::new(run), &ask, &pieces, until).await {
                Done::Ended(done) => return done,
                Done::CutOff(error @ AskError::NotSent(_), _) if ask.before.is_none() => {
                    return Err(error);
                }
                Done::CutOff(error, was_going) => {
                    // Until the connection was heard last the gateway has not ended the run.
                    let heard = self.seen.borrow().heard_at.filter(|_| was_going);
                    let before = match (ask.before.take(), process) {
                        (Some(before), _) => before,
                        (None, Some(process)) => Before { process, at },
                        (None, None) => return Err(error),
                    };
                    ask.before = Some(Before {
                        at: heard.unwrap_or(before.at).max(before.at),
                        ..before
                    });
                }
            }
            run = Run::again();
        }
    }

    /// Waits until the gateway takes questions.
    async fn ready(&self, until: Instant) -> Result<(), AskError> {
        let mut seen = self.seen.subscribe();
        let ready = async {
            seen.wait_for(|seen| seen.state == State::Ready)
                .await
                .is_ok()
        };
        let ready = tokio::select! {
            biased;
            () = self.orders.closed() => false,
            ready = timeout_at(until, ready) => ready.unwrap_or(false),
        };
        match ready {
            true => Ok(()),
            false => Err(AskError::Unknown(
                "the gateway did not come back to say what became of it".to_owned(),
            )),
        }
    }

    /// Asks over one connection.
    async fn asked_here(
        &self,
        run: Arc<Run>,
        ask: &Ask,
        pieces: &mpsc::Sender<String>,
        until: Instant,
    ) -> Done {
        let mut leaving = Leaving {
            orders: &self.orders,
            key: Some(ask.key.clone()),
        };
        let order = Order::Ask(ask.clone(), Ticket(run.clone()));
        if let Err(error) = self.orders.try_send(order) {
            leaving.key = None;
            let why = match error {
                mpsc::error::TrySendError::Full(_) => "too many questions wait for the gateway",
                mpsc::error::TrySendError::Closed(_) => "the gateway is removed",
            };
            let why = why.to_owned();
            return Done::Ended(Err(match ask.before {
                None => AskError::NotSent(why),
                Some(_) => AskError::Unknown(why),
            }));
        }
        let (mut told, mut open) = (0, true);
        loop {
            let news = run.news(told);
            if open && !news.piece.is_empty() {
                told += news.piece.len();
                match timeout_at(until, pieces.send(news.piece)).await {
                    Ok(sent) => open = sent.is_ok(),
                    Err(_) => open = false,
                }
                continue;
            }
            if let Some(done) = news.done {
                leaving.key = None;
                return done;
            }
            if timeout_at(until, run.changed()).await.is_err() {
                return run.news(told).done.unwrap_or_else(|| {
                    let why = "no answer in its time".to_owned();
                    Done::Ended(Err(AskError::Unknown(why)))
                });
            }
        }
    }
}

/// Takes a question back whose answer nobody waits for any more.
struct Leaving<'a> {
    orders: &'a mpsc::Sender<Order>,
    key: Option<String>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            // Where there is no place it goes on at the gateway.
            let _ = self.orders.try_send(Order::Leave(key));
        }
    }
}

impl Gateway for OpenClaw {
    fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    fn run(&self, stop: CancellationToken) -> BoxFuture<'_, ()> {
        let inbox = self
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Box::pin(async move {
            if let Some(inbox) = inbox {
                self.live(inbox, stop).await;
            }
        })
    }

    fn ask(
        &self,
        ask: Ask,
        pieces: mpsc::Sender<String>,
    ) -> BoxFuture<'_, Result<String, AskError>> {
        Box::pin(self.asked(ask, pieces))
    }
}
