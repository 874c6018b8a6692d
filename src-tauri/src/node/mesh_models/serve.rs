//! Answering a request of another device out of a model that is shared here. A request holds one of few places, and
//! gives it back when its reply ends, when it is taken back, when its link or the trust in its device ends, when the
//! device takes too little of the reply for a while, and after a time at the latest. A reply is read to its end whether
//! or not the device takes it, and waits here meanwhile: a slow device holds no model.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::share::Lent;
use super::{MeshModels, may};
use crate::adapters::llm::Pieces;
use crate::domain::base::limits::{
    MESH_MODEL_CHUNK_MAX_BYTES, MESH_MODEL_GEN1_MS, MESH_MODEL_STALL_MS, MESH_MODEL_WINDOW_BYTES,
    MODEL_PIECES_WAITING_MAX, MODEL_REPLY_MAX_BYTES, MODEL_TOTAL_MS,
};
use crate::domain::base::number::whole;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::inference::budget::{most_of, tokens_of};
use crate::domain::inference::exchange::{self, Asked};
use crate::domain::inference::route::About;
use crate::domain::inference::{ModelRef, Piece, Usage};
use crate::domain::wire::handshake::Feature;
use crate::domain::wire::{Message, Reply};
use crate::node::context::Context;
use crate::node::inference::Wanted;
use crate::node::links::LinkHandle;

/// The requests of other devices that are answered now.
#[derive(Debug, Clone, Default)]
pub(super) struct Serving(Arc<Mutex<Running>>);

type Running = BTreeMap<(DeviceId, String), Run>;

/// One of them.
#[derive(Debug, Clone)]
struct Run {
    cancel: CancellationToken,
    /// Credit that is left for sending; none towards a gen-1 node.
    window: Option<Arc<Window>>,
}

/// The most bytes that may be sent to a device and not acknowledged.
#[derive(Debug)]
struct Window {
    left: Semaphore,
    /// Bytes that were sent and not acknowledged.
    untaken: AtomicUsize,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            left: Semaphore::new(MESH_MODEL_WINDOW_BYTES),
            untaken: AtomicUsize::new(0),
        }
    }
}

impl Window {
    /// Waits until this much may be sent.
    async fn pay(&self, bytes: usize) {
        let cost = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(paid) = self.left.acquire_many(cost).await {
            paid.forget();
            self.untaken.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    /// This much was taken; `false` if that is more than was sent.
    fn taken(&self, bytes: usize) -> bool {
        let less = |untaken: usize| untaken.checked_sub(bytes);
        let counted = self
            .untaken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        let counted = counted.is_ok();
        if counted {
            self.left.add_permits(bytes);
        }
        counted
    }
}

impl Serving {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn cancel(&self, device: &DeviceId, id: &str) -> bool {
        let running = self.lock();
        let run = running.get(&(device.clone(), id.to_owned()));
        let under_way = run.filter(|run| !run.cancel.is_cancelled());
        under_way.map(|run| run.cancel.cancel()).is_some()
    }

    pub(super) fn taken(&self, device: &DeviceId, payload: &Value) -> Result<(), Refusal> {
        let wrong = |why: &str| {
            let why = format!("{}: {why}", exchange::TAKEN);
            Err(Refusal::new(Code::InvalidParams, why))
        };
        let bytes = payload.get("bytes").and_then(whole);
        let Some(bytes) = bytes.and_then(|n| usize::try_from(n).ok()) else {
            return wrong("bytes must be a whole number");
        };
        let id = payload.get("requestId").and_then(Value::as_str);
        let running = self.lock();
        // A late acknowledgement of a request that has just ended is no fault.
        let run = running.get(&(device.clone(), id.unwrap_or_default().to_owned()));
        let Some(window) = run.and_then(|run| run.window.as_ref()) else {
            return Ok(());
        };
        match window.taken(bytes) {
            true => Ok(()),
            false => wrong("more than was sent"),
        }
    }

    /// Takes a place for a request.
    fn place(&self, context: &Context, link: &LinkHandle, id: &str) -> Result<Place, Refusal> {
        let (device, kin) = (&link.info.device, link.info.speaks(Feature::Infer));
        let busy = |why: String| Err(Refusal::new(Code::LlmBusy, why));
        let at_once = context.config.models.lending.at_once;
        // One device leaves a place to others where there are several; a gen-1 node asks one thing at a time.
        let own_most = if kin { (at_once - 1).max(1) } else { 1 };
        let mut running = self.lock();
        let own = running.keys().filter(|(of, _)| of == device);
        let own: Vec<&String> = own.map(|(_, id)| id).collect();
        if own.len() >= own_most || own.iter().any(|known| *known == id) {
            return busy(format!(
                "already serving inference request {}",
                own.first().map_or("", |id| id.as_str())
            ));
        }
        if running.len() >= at_once {
            return busy(format!(
                "{at_once} requests of devices are answered already"
            ));
        }
        let run = Run {
            cancel: CancellationToken::new(),
            window: kin.then(Arc::default),
        };
        let key = (device.clone(), id.to_owned());
        running.insert(key.clone(), run.clone());
        Ok(Place {
            serving: self.clone(),
            key,
            run,
        })
    }
}

/// The place of a request; given back when dropped.
struct Place {
    serving: Serving,
    key: (DeviceId, String),
    run: Run,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.serving.lock().remove(&self.key);
    }
}

/// See [`super::infer`].
pub(super) fn begin(
    mesh_models: &MeshModels,
    link: &LinkHandle,
    rpc: &str,
    params: &Map<String, Value>,
) -> Result<(), Refusal> {
    let asked = Asked::parse(params)?;
    if !mesh_models.inference.shares(&asked.model) {
        return Err(Refusal::new(
            Code::LlmModelUnavailable,
            format!("model is not served by this node: {}", asked.model),
        ));
    }
    let models = &mesh_models.traffic;
    let place = models.serving.place(mesh_models, link, &asked.id)?;
    let most = most_of(&asked.request);
    let lent = models
        .shares
        .reserve(mesh_models, &link.info.device, most)?;
    mesh_models.reach.used(&link.info.device);
    let serving = Request {
        mesh_models: mesh_models.clone(),
        link: link.clone(),
        rpc: rpc.to_owned(),
        asked,
        place,
        lent,
    };
    mesh_models.tasks.passing("model for a peer", serving.run());
    Ok(())
}

/// A request under way.
struct Request {
    mesh_models: MeshModels,
    link: LinkHandle,
    rpc: String,
    asked: Asked,
    place: Place,
    lent: Lent,
}

impl Request {
    async fn run(mut self) {
        self.mesh_models
            .traffic
            .shares
            .keep(&self.mesh_models)
            .await;
        let (mesh_models, link, cancel) = (
            self.mesh_models.clone(),
            self.link.clone(),
            self.place.run.cancel.clone(),
        );
        let most = match link.info.speaks(Feature::Infer) {
            true => MODEL_TOTAL_MS,
            false => MESH_MODEL_GEN1_MS,
        };
        let reply = tokio::select! {
            biased;
            () = link.stop.cancelled() => return,
            () = mesh_models.tasks.stop().cancelled() => {
                Refusal::new(Code::LlmModelUnavailable, "the node is ending").into()
            }
            () = cancel.cancelled() => Reply::Ok(exchange::cancelled(&self.asked.id)),
            told = timeout(Duration::from_millis(most), self.tell()) => match told {
                Ok(Ok(usage)) => Reply::Ok(exchange::finished(&self.asked.id, &usage)),
                Ok(Err(refusal)) => refusal.into(),
                Err(_) => {
                    let why = format!("no whole reply within {} s", most / 1_000);
                    Refusal::new(Code::LlmTimeout, why).into()
                }
            },
        };
        if let Reply::Refused { refusal, .. } = &reply {
            mesh_models.metrics.refused(refusal.code);
            tracing::info!(peer = link.info.device.short(), model = %self.asked.model, "{refusal}");
        }
        let text = reply.to_text(&self.rpc);
        // The place is free before the device can hear that it is.
        drop(self.place);
        drop(self.lent);
        mesh_models.traffic.shares.keep(&mesh_models).await;
        let stall = Duration::from_millis(MESH_MODEL_STALL_MS);
        within(&link, stall, link.send_words(text)).await;
    }

    /// Asks the model and passes its reply on.
    async fn tell(&mut self) -> Result<Usage, Refusal> {
        let wanted = Wanted::Shared(self.asked.model.clone());
        let request = std::mem::take(&mut self.asked.request);
        // The private labels of this node are about its own data; the question is the device's.
        let inference = self.mesh_models.inference.clone();
        let (_, pieces) = inference.ask_of(&wanted, request, &About::public()).await;
        let waiting = Waiting::default();
        let mut out = Out {
            mesh_models: &self.mesh_models,
            link: &self.link,
            id: &self.asked.id,
            window: self.place.run.window.as_deref(),
            patience: Patience::default(),
        };
        let model = &self.asked.model;
        let read = async {
            let ended = hear(pieces, &waiting, &mut self.lent, model).await;
            waiting.end();
            // Pieces that came before a failure are sent before it.
            Ok(ended)
        };
        let (ended, ()) = tokio::try_join!(read, out.pass(&waiting))?;
        ended
    }
}

/// Reads a reply to its end, and counts it. The model is let go when this returns.
async fn hear(
    mut pieces: Pieces,
    waiting: &Waiting,
    lent: &mut Lent,
    model: &ModelRef,
) -> Result<Usage, Refusal> {
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|failure| {
            tracing::info!(%model, "{failure}");
            lent.failed();
            exchange::refusal_of(&failure)
        })?;
        match piece {
            Piece::Text(text) => {
                lent.saw(tokens_of(text.len()));
                if !waiting.push(&text) {
                    let why = "the reply is larger than allowed";
                    return Err(Refusal::new(Code::LlmModelUnavailable, why));
                }
            }
            Piece::Call(_) => {}
            Piece::End(usage) => {
                lent.ended(&usage);
                return Ok(usage);
            }
        }
    }
    Err(Refusal::new(
        Code::LlmModelUnavailable,
        "the model stopped without an end",
    ))
}

/// Text of a model that was not sent to the device yet.
#[derive(Debug, Default)]
struct Waiting {
    texts: Mutex<Texts>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Texts {
    all: VecDeque<String>,
    bytes: usize,
    ended: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a text; `false` for a reply that is too large. Where many wait, they are joined.
    fn push(&self, text: &str) -> bool {
        let mut texts = self.lock();
        texts.bytes += text.len();
        if texts.bytes > MODEL_REPLY_MAX_BYTES {
            return false;
        }
        let many = texts.all.len() >= MODEL_PIECES_WAITING_MAX;
        for piece in exchange::pieces(text) {
            let room = |last: &&mut String| last.len() + piece.len() <= MESH_MODEL_CHUNK_MAX_BYTES;
            match texts.all.back_mut().filter(room).filter(|_| many) {
                Some(last) => last.push_str(piece),
                None => texts.all.push_back(piece.to_owned()),
            }
        }
        drop(texts);
        self.more.notify_one();
        true
    }

    fn end(&self) {
        self.lock().ended = true;
        self.more.notify_one();
    }

    /// The next text; none after the last one.
    async fn next(&self) -> Option<String> {
        loop {
            {
                let mut texts = self.lock();
                if let Some(text) = texts.all.pop_front() {
                    return Some(text);
                }
                if texts.ended {
                    return None;
                }
            }
            self.more.notified().await;
        }
    }
}

/// How long a device may still let this node wait. Whoever takes a quarter of a window has all of it again, so that
/// nobody holds a place with a trickle.
#[derive(Debug)]
struct Patience {
    left: Duration,
    sent: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            left: Duration::from_millis(MESH_MODEL_STALL_MS),
            sent: 0,
        }
    }
}

impl Patience {
    fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= MESH_MODEL_WINDOW_BYTES / 4 {
            *self = Self::default();
        }
    }
}

/// The way of a reply to its device.
struct Out<'a> {
    mesh_models: &'a MeshModels,
    link: &'a LinkHandle,
    id: &'a str,
    window: Option<&'a Window>,
    patience: Patience,
}

impl Out<'_> {
    /// Passes on what waits, to the end.
    async fn pass(&mut self, waiting: &Waiting) -> Result<(), Refusal> {
        let mut seq = 0;
        while let Some(piece) = waiting.next().await {
            self.piece(seq, &piece).await?;
            seq += 1;
        }
        Ok(())
    }

    async fn piece(&mut self, seq: u64, piece: &str) -> Result<(), Refusal> {
        if !may(self.mesh_models, &self.link.info.device) {
            return Err(Refusal::new(Code::NotAuthorized, "the grant llm is gone"));
        }
        let slow = || {
            let sec = MESH_MODEL_STALL_MS / 1_000;
            Refusal::new(
                Code::LlmBackpressure,
                format!("too little of the reply was taken for {sec} s"),
            )
        };
        let (began, cost) = (Instant::now(), exchange::cost(piece));
        let event = exchange::chunk(self.id, seq, piece);
        let text = Message::event(exchange::CHUNK, &event);
        let send = async {
            if let Some(window) = self.window {
                window.pay(cost).await;
            }
            self.link.send_words(text).await
        };
        match within(self.link, self.patience.left, send).await {
            Some(true) => {
                self.patience.waited(began.elapsed());
                self.patience.sent(cost);
                Ok(())
            }
            _ => Err(slow()),
        }
    }
}

/// The result within this time; `None` also if the link ends.
async fn within<T>(link: &LinkHandle, time: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = link.stop.cancelled() => None,
        done = timeout(time, what) => done.ok(),
    }
}
