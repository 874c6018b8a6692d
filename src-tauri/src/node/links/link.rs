//! One link: four lanes out, requests with answers, credit, and what is known of its health.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::credit::Credit;
use super::offers::{Offered, Other};
use super::room::{Outgoing, Room};
use super::vitals::Vitals;
use crate::adapters::transport::Posture;
use crate::domain::base::limits::{
    LINK_BULK_MAX, LINK_OUTBOX_MAX, LINK_WANTED_MAX, LINK_WORDS_MAX, PEER_REQUEST_TIMEOUT_MS,
    PEER_REQUESTS_MAX,
};
use crate::domain::base::{Code, DeviceId, TimeMs};
use crate::domain::sync::FrameKey;
use crate::domain::wire::Message;
use crate::domain::wire::envelope::RemoteError;
use crate::domain::wire::handshake::{Feature, Hello};
use crate::node::context::rate::PerMinute;

/// The other end of a link.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// The device, proven by the handshake.
    pub device: DeviceId,
    /// Its name, as it says.
    pub name: Option<String>,
    /// Its role, as it says.
    pub role: Option<String>,
    /// What it said it offers when the link began; [`Link::offered`] has what it offers now.
    pub(super) offered: Offered,
    /// Whether it had that grant when the link began.
    pub may_actuate: bool,
    /// The additions both sides speak; empty towards a gen-1 node.
    pub features: BTreeSet<Feature>,
    /// Whether we dialed it.
    pub outbound: bool,
    /// Whether it acts for this node: a gen-1 node behind an actuator of ours.
    pub acts: bool,
    /// The transport label.
    pub label: Option<String>,
    /// How the link is protected.
    pub posture: Posture,
    /// When it was connected.
    pub connected_at: TimeMs,
}

impl PeerInfo {
    /// The other end according to a checked [`Hello`].
    pub fn new(
        hello: &Hello,
        outbound: bool,
        label: Option<String>,
        posture: Posture,
        now: TimeMs,
    ) -> Self {
        Self {
            device: hello.device_id.clone(),
            name: hello.display_name.clone(),
            role: hello.role.clone(),
            offered: Offered::of(hello.capabilities.clone(), true),
            may_actuate: true,
            features: hello.features.clone(),
            outbound,
            acts: false,
            label,
            posture,
            connected_at: now,
        }
    }

    /// The same of a device that acts for this node, or does not.
    #[must_use]
    pub fn acting(mut self, acts: bool) -> Self {
        self.acts = acts;
        self
    }

    /// Whether it acts for this node and dialed it: over such a link it cannot be told.
    pub fn cannot_be_told(&self) -> bool {
        self.acts && !self.outbound
    }

    /// The same with the actuators withheld, unless the device may offer any.
    #[must_use]
    pub fn entitled(mut self, may_actuate: bool) -> Self {
        self.may_actuate = may_actuate;
        let claims = self.offered.claims().cloned().collect();
        self.offered = Offered::of(claims, may_actuate);
        self
    }

    /// Whether the other end is one of our own kind rather than a gen-1 node.
    pub fn speaks(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Its name for people, or the start of its id.
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.device.short())
    }
}

/// The place of a request that waits for its answer; given back when dropped.
struct Place<'a> {
    link: &'a Link,
    id: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waiting = self.link.waiting.lock();
        waiting
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.id);
    }
}

type Waiting = HashMap<String, oneshot::Sender<Result<Value, RemoteError>>>;

/// The receiving ends of a link's lanes, for its writer and its feeder.
#[derive(Debug)]
pub struct Lanes {
    /// Answers and credit: what the other side waits for.
    pub answers: mpsc::Receiver<Outgoing>,
    /// Our own requests and events.
    pub control: mpsc::Receiver<Outgoing>,
    /// Pieces of replies of models.
    pub words: mpsc::Receiver<Outgoing>,
    /// Frames.
    pub bulk: mpsc::Receiver<Outgoing>,
    /// Frames the other side turned out to lack.
    pub wanted: mpsc::Receiver<Vec<FrameKey>>,
}

/// One link.
#[derive(Debug)]
pub struct Link {
    /// The other end.
    pub info: PeerInfo,
    /// Ends the link.
    pub stop: CancellationToken,
    /// Credit for sending.
    pub credit: Credit,
    /// How it does.
    pub vitals: Vitals,
    /// Messages that wait to be written.
    pub room: Room,
    /// Rounds of reconciliation we answered.
    pub rounds: PerMinute,
    /// Wishes for frames that it was offered.
    pub asks: PerMinute,
    /// How often it said what it offers.
    pub offering: PerMinute,
    /// Messages about records it sent us.
    pub records: PerMinute,
    /// Whether all our records are on their way to it.
    pub records_going: AtomicBool,
    /// Whether private frames of it are being stored.
    pub private_going: AtomicBool,
    /// Whether a message of it is being worked on, so that nothing else is read.
    pub taking: AtomicBool,
    /// Requests of ours since somebody last took them off: they count at a gen-1 node like frames.
    pub asked: AtomicU32,
    /// Whether it asked to hear of our proposals in the gen-1 way.
    pub subscribed: AtomicBool,
    /// Tells this link from others of the same device.
    pub(super) serial: u64,
    pub(super) other: Other,
    answers: mpsc::Sender<Outgoing>,
    control: mpsc::Sender<Outgoing>,
    words: mpsc::Sender<Outgoing>,
    bulk: mpsc::Sender<Outgoing>,
    wanted: mpsc::Sender<Vec<FrameKey>>,
    waiting: Mutex<Waiting>,
    next_id: AtomicU64,
    farewell: Mutex<Option<(u16, &'static str)>>,
    leaving: AtomicBool,
    /// Whether trust in the other end is over, and nothing but the way to a safe state goes over it.
    parting: AtomicBool,
    /// Cancelled once the writer has said its last word.
    pub silent: CancellationToken,
}

/// Shared handle to a link.
pub type LinkHandle = Arc<Link>;

impl Link {
    /// A link and the ends of its lanes.
    pub(super) fn new(info: PeerInfo, stop: CancellationToken, serial: u64) -> (Arc<Link>, Lanes) {
        let (answers, answers_out) = mpsc::channel(LINK_OUTBOX_MAX);
        let (control, control_out) = mpsc::channel(LINK_OUTBOX_MAX);
        let (words, words_out) = mpsc::channel(LINK_WORDS_MAX);
        let (bulk, bulk_out) = mpsc::channel(LINK_BULK_MAX);
        let (wanted, wanted_out) = mpsc::channel(LINK_WANTED_MAX);
        let link = Arc::new(Link {
            credit: Credit::new(info.speaks(Feature::Credit)),
            vitals: Vitals::new(info.connected_at),
            room: Room::default(),
            rounds: PerMinute::default(),
            asks: PerMinute::default(),
            offering: PerMinute::default(),
            records: PerMinute::default(),
            records_going: AtomicBool::new(false),
            private_going: AtomicBool::new(false),
            taking: AtomicBool::new(false),
            asked: AtomicU32::new(0),
            subscribed: AtomicBool::new(false),
            other: Other::of(&info),
            info,
            stop,
            serial,
            answers,
            control,
            words,
            bulk,
            wanted,
            waiting: Mutex::default(),
            next_id: AtomicU64::new(1),
            farewell: Mutex::default(),
            leaving: AtomicBool::new(false),
            parting: AtomicBool::new(false),
            silent: CancellationToken::new(),
        });
        let lanes = Lanes {
            answers: answers_out,
            control: control_out,
            words: words_out,
            bulk: bulk_out,
            wanted: wanted_out,
        };
        (link, lanes)
    }

    /// Queues an answer without waiting, so that reading never depends on writing. A peer that asks
    /// and does not read the answers loses the link; `false` then and when the link has ended.
    pub fn tell(&self, text: String) -> bool {
        if self.is_parting() {
            return false;
        }
        let full = match self.room.at_once(text) {
            None => true,
            Some(message) => match self.answers.try_send(message) {
                Ok(()) => return true,
                Err(error) => matches!(error, mpsc::error::TrySendError::Full(_)),
            },
        };
        if full {
            self.close(1013, "answers are not read");
        }
        false
    }

    /// Queues a WebSocket ping, unless answers wait in great number anyway.
    pub fn ping(&self) {
        // A full lane shows by itself whether the other side reads.
        let _ = self.answers.try_send(self.room.ping());
    }

    /// Sends a message of our own, waiting while the lane is full. `false` if the link has ended.
    pub async fn send(&self, text: String) -> bool {
        let message = tokio::select! {
            biased;
            () = self.stop.cancelled() => return false,
            message = self.room.soon(text) => message,
        };
        !self.is_parting() && self.control.send(message).await.is_ok()
    }

    /// Sends frames, as soon as the other side is ready for them. `false` if the link has ended.
    pub async fn send_frames(&self, text: String) -> bool {
        self.credit.pay(text.len()).await;
        !self.is_parting() && self.bulk.send(self.room.counted(text)).await.is_ok()
    }

    /// Sends a piece of a model's reply, or the end of one, behind those before, once the writer has taken those: a
    /// reply waits where it is read and not here. `false` if the link has ended.
    pub async fn send_words(&self, text: String) -> bool {
        !self.is_parting() && self.words.send(self.room.counted(text)).await.is_ok()
    }

    /// Has the feeder send these frames too; `false` if it has too much to do already.
    pub fn want(&self, keys: Vec<FrameKey>) -> bool {
        self.wanted.try_send(keys).is_ok()
    }

    /// As [`Link::want`], waiting for the feeder. `false` if the link has ended.
    pub async fn want_soon(&self, keys: Vec<FrameKey>) -> bool {
        self.wanted.send(keys).await.is_ok()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The other side's refusal, or `BUSY`, `TIMEOUT` and `EXECUTOR_UNREACHABLE` of our own.
    pub async fn request(&self, method: &str, params: &Value) -> Result<Value, RemoteError> {
        self.request_within(method, params, PEER_REQUEST_TIMEOUT_MS)
            .await
    }

    /// As [`Link::request`], with this many milliseconds for the answer.
    ///
    /// # Errors
    /// As [`Link::request`].
    pub async fn request_within(
        &self,
        method: &str,
        params: &Value,
        ms: u64,
    ) -> Result<Value, RemoteError> {
        self.ask(method, params, false, ms).await
    }

    /// As [`Link::request`], for the way to a safe state: also on a link whose other end is trusted no
    /// longer.
    ///
    /// # Errors
    /// As [`Link::request`].
    pub async fn request_safe(&self, method: &str, params: &Value) -> Result<Value, RemoteError> {
        self.ask(method, params, true, PEER_REQUEST_TIMEOUT_MS)
            .await
    }

    async fn ask(
        &self,
        method: &str,
        params: &Value,
        safe: bool,
        ms: u64,
    ) -> Result<Value, RemoteError> {
        let own = |code: Code, message: String| RemoteError {
            code: code.as_str().to_owned(),
            message,
            detail: Value::Null,
        };
        let gone = || {
            own(
                Code::ExecutorUnreachable,
                format!("the link to {} ended", self.info.device.short()),
            )
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        let (answer, waits) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_parting() && !safe {
                return Err(gone());
            }
            if waiting.len() >= PEER_REQUESTS_MAX {
                return Err(own(
                    Code::Busy,
                    format!("{PEER_REQUESTS_MAX} requests to this peer are waiting already"),
                ));
            }
            waiting.insert(id.clone(), answer);
        }
        // The place is also freed if the caller gives up before there is an answer.
        let _place = Place {
            link: self,
            id: &id,
        };
        let deadline = Duration::from_millis(ms);
        let result = tokio::time::timeout(deadline, async {
            let text = Message::request(&id, method, params);
            let sent = match safe {
                // One for each actuator at most.
                true => self.control.send(self.room.counted(text)).await.is_ok(),
                false => self.send(text).await,
            };
            if !sent {
                return Err(gone());
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                biased;
                answer = waits => answer.unwrap_or_else(|_| Err(gone())),
                () = self.stop.cancelled() => Err(gone()),
            }
        })
        .await;
        result.unwrap_or_else(|_| {
            let sec = ms / 1_000;
            Err(own(
                Code::Timeout,
                format!(
                    "device {} did not answer within {sec} s",
                    self.info.device.short()
                ),
            ))
        })
    }

    /// Takes an answer from the other side; `false` if no request waits for it.
    pub fn answer(&self, id: &str, result: Result<Value, RemoteError>) -> bool {
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        waiting.is_some_and(|w| w.send(result).is_ok())
    }

    /// Ends the link; its writer says goodbye with this code and reason. The first reason counts.
    pub fn close(&self, code: u16, reason: &'static str) {
        self.farewell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert((code, reason));
        self.stop.cancel();
    }

    /// How the link ends: what [`Link::close`] was told.
    pub fn farewell(&self) -> Option<(u16, &'static str)> {
        *self.farewell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that this node is going, then ends the link.
    pub fn take_leave(&self, own: &DeviceId, now: TimeMs) {
        let about = json!({"gen": 1, "deviceId": own, "timestamp": now});
        if self.is_parting() || self.tell(Message::event("peer.leaving", &about)) {
            self.close(1001, "leaving");
        }
    }

    /// Trust in the other end is over: what waits for its answers gets none, and nothing is said or sent
    /// but [`Link::request_safe`]. `false` if that was so before.
    pub(super) fn part(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !self.parting.swap(true, Ordering::AcqRel);
        if first {
            waiting.clear();
        }
        first
    }

    /// Whether trust in the other end is over; see [`Links::part`](super::Links::part).
    pub fn is_parting(&self) -> bool {
        self.parting.load(Ordering::Acquire)
    }

    /// The other side said that it is going.
    pub fn mark_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Whether the other side said that it is going.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::identity::DeviceKey;

    #[tokio::test]
    async fn whoever_gives_up_on_an_answer_frees_its_place() {
        let info = PeerInfo {
            device: DeviceKey::from_seed(&[1; 32]).id().clone(),
            name: None,
            role: None,
            offered: Offered::default(),
            may_actuate: false,
            features: BTreeSet::new(),
            outbound: true,
            acts: false,
            label: None,
            posture: Posture::Insecure,
            connected_at: TimeMs(0),
        };
        let (link, lanes) = Link::new(info, CancellationToken::new(), 1);
        for _ in 0..2 * PEER_REQUESTS_MAX {
            let params = json!({});
            let asked = link.request("mesh.ping", &params);
            assert!(futures_util::poll!(std::pin::pin!(asked)).is_pending());
        }
        assert!(link.waiting.lock().unwrap().is_empty());
        drop(lanes);
    }
}
