//! A model of another device, asked over the link with it. What it says is untrusted text, in numbered pieces; what it
//! sends beyond what was taken ends the request, so that no device makes this node keep more than a window of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Traffic;
use crate::adapters::llm::{Model, Pieces};
use crate::domain::admission::TrustRecord;
use crate::domain::base::DeviceId;
use crate::domain::base::alike::looks;
use crate::domain::base::limits::{
    MESH_MODEL_GEN1_MS, MESH_MODEL_WINDOW_BYTES, MESH_MODEL_WINDOW_GEN1_BYTES,
    MESH_MODELS_OF_DEVICE_MAX, MODEL_FIRST_MS, MODEL_SILENCE_MS, MODEL_TOTAL_MS, NAME_MAX_BYTES,
};
use crate::domain::base::text::one_line;
use crate::domain::inference::exchange::{self, Hearing};
use crate::domain::inference::{Failure, FailureKind, InferenceRequest, ModelRef, Piece, Usage};
use crate::domain::wire::Message;
use crate::domain::wire::envelope::RemoteError;
use crate::domain::wire::handshake::Feature;
use crate::node::context::Context;
use crate::node::frame_log::Frames;
use crate::node::inference::{Mesh, Offer};
use crate::node::links::{LinkHandle, PeerInfo, Reach};

/// How much later than the other device this one gives up, in milliseconds: its answer says why.
const GRACE_MS: u64 = 5_000;

/// The models of other devices that this node reaches.
#[derive(Clone)]
pub(crate) struct Elsewhere {
    /// The links, and what devices offer.
    pub(crate) frames: Frames,
    /// Dials those with which no link is needed otherwise.
    pub(crate) reach: Arc<dyn Reach>,
    /// Where their replies come in.
    pub(crate) traffic: Arc<Traffic>,
}

/// Whether a device answers `llm.infer` on this link: one of our own kind that speaks of it, or a gen-1 node that we
/// dialed; a gen-1 node that dialed us answers nothing.
fn answers(info: &PeerInfo) -> bool {
    info.speaks(Feature::Infer) || (info.features.is_empty() && info.outbound)
}

/// The models among what a device says it offers.
fn models(capabilities: &[String]) -> impl Iterator<Item = ModelRef> {
    let named = capabilities.iter().filter_map(|c| c.strip_prefix("llm:"));
    let shown = named.filter(|text| one_line(text, NAME_MAX_BYTES) == *text);
    let models = shown.filter_map(|text| text.parse::<ModelRef>().ok());
    models
        .filter(|model| !model.is_of_mesh())
        .take(MESH_MODELS_OF_DEVICE_MAX)
}

/// The names that people gave to the devices which this node trusts, and its own.
struct Given(Vec<(DeviceId, String)>);

impl Given {
    fn of(context: &Context) -> Self {
        let own = (context.own_id().clone(), context.config.name.clone());
        let trusted = context.trust.all().into_iter().filter(TrustRecord::is_live);
        let given = trusted.filter_map(|record| Some((record.device_id, record.name?)));
        Self(given.chain([own]).collect())
    }

    /// What a device may be named by: the name that a person gave it, then what it says, where that is not taken for
    /// the name of another device.
    fn names(&self, device: &DeviceId, said: Option<&String>) -> Vec<String> {
        let own = self.0.iter().filter(|(of, _)| of == device);
        let mut names: Vec<String> = own.map(|(_, name)| name.clone()).collect();
        let shown = |said: &&String| one_line(said, NAME_MAX_BYTES) == **said;
        let mut others = self.0.iter().filter(|(of, _)| of != device);
        let free = |said: &&String| !others.any(|(_, name)| looks(name) == looks(said));
        names.extend(said.filter(shown).filter(free).cloned());
        names
    }
}

impl Mesh for Elsewhere {
    fn offers(&self) -> Vec<Offer> {
        let frames = &self.frames;
        let mut all = Vec::new();
        let given = Given::of(frames);
        let mut add = |device: &DeviceId, said: Option<&String>, capabilities: &[String]| {
            all.extend(models(capabilities).map(|model| Offer {
                device: device.clone(),
                names: given.names(device, said),
                asked: Arc::new(Remote {
                    far: self.clone(),
                    device: device.clone(),
                    model: model.clone(),
                }),
                model,
            }));
        };
        let mut linked = BTreeSet::new();
        for link in frames.links.all() {
            linked.insert(link.info.device.clone());
            let trusted = frames.trust.trusts(&link.info.device) && !link.is_parting();
            if trusted && answers(&link.info) {
                let info = &link.info;
                add(
                    &info.device,
                    info.name.as_ref(),
                    &link.offered().capabilities,
                );
            }
        }
        // Of many devices some have no link, and get one when something is to be sent to them.
        for (device, offered) in frames.known_capabilities() {
            if !linked.contains(&device) && self.reach.is_on_demand(&device) {
                add(&device, None, &offered);
            }
        }
        all
    }
}

/// A model of another device.
#[derive(Clone)]
struct Remote {
    far: Elsewhere,
    device: DeviceId,
    model: ModelRef,
}

impl Model for Remote {
    fn name(&self) -> &ModelRef {
        &self.model
    }

    fn infer(&self, request: Arc<InferenceRequest>) -> Pieces {
        let remote = self.clone();
        let talk = async move {
            match remote.begin(&request).await {
                Ok(talk) => talk.pieces(),
                Err(failure) => stream::iter([Err(failure)]).boxed(),
            }
        };
        stream::once(talk).flatten().boxed()
    }
}

impl Remote {
    async fn begin(&self, request: &InferenceRequest) -> Result<Talk, Failure> {
        let gone = || {
            let why = format!("device {} is not connected", self.device.short());
            Failure::new(FailureKind::Unreachable, why)
        };
        let far = &self.far;
        let link = far.reach.reach(&self.device).await.ok_or_else(gone)?;
        if !answers(&link.info) {
            return Err(gone());
        }
        let id = far.frames.fresh_id().map_err(|refusal| {
            let why = refusal.to_string();
            Failure::new(FailureKind::Server, why)
        })?;
        let (id, kin) = (id.to_string(), link.info.speaks(Feature::Infer));
        let params = exchange::params(&id, &self.model, request, kin)?;
        let hearing = far.traffic.hearings.open(&self.device, &id, kin);
        let most = match kin {
            true => MODEL_TOTAL_MS,
            false => MESH_MODEL_GEN1_MS,
        };
        let asked = link.clone();
        let answer = async move {
            let most = most + GRACE_MS;
            asked.request_within(exchange::INFER, &params, most).await
        };
        Ok(Talk {
            frames: far.frames.clone(),
            link,
            id,
            hearing,
            answer: Some(answer.boxed()),
            answered: None,
            kin,
            spoke: false,
            owed: 0,
            ended: false,
        })
    }
}

/// The replies that are heard now.
#[derive(Debug, Clone, Default)]
pub(super) struct Hearings(Arc<Mutex<Inboxes>>);

type Inboxes = BTreeMap<(DeviceId, String), Arc<Inbox>>;

/// The received part of a reply that was not read yet.
#[derive(Debug)]
struct Inbox {
    waits: Mutex<Waits>,
    woken: Notify,
    window: usize,
}

#[derive(Debug, Default)]
struct Waits {
    hearing: Hearing,
    texts: VecDeque<String>,
    cost: usize,
    failure: Option<Failure>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, payload: &Value) {
        let mut waits = self.lock();
        if waits.failure.is_some() {
            return;
        }
        match waits.hearing.take(payload) {
            Ok(text) => {
                waits.cost += exchange::cost(&text);
                match waits.cost <= self.window {
                    true => waits.texts.push_back(text),
                    false => {
                        let why = "the other device sends its reply faster than it is taken";
                        waits.failure = Some(Failure::new(FailureKind::BadReply, why));
                    }
                }
            }
            Err(failure) => waits.failure = Some(failure),
        }
        drop(waits);
        self.woken.notify_one();
    }

    /// The next text with what it counts, then the failure, if there is one.
    fn next(&self) -> Option<Result<(String, usize), Failure>> {
        let mut waits = self.lock();
        match waits.texts.pop_front() {
            Some(text) => {
                let cost = exchange::cost(&text);
                waits.cost -= cost;
                Some(Ok((text, cost)))
            }
            None => waits.failure.clone().map(Err),
        }
    }
}

/// A place among the replies that are heard; given back when dropped.
struct Open {
    hearings: Hearings,
    key: (DeviceId, String),
    inbox: Arc<Inbox>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.hearings.lock().remove(&self.key);
    }
}

impl Hearings {
    fn lock(&self) -> MutexGuard<'_, Inboxes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, device: &DeviceId, id: &str, kin: bool) -> Open {
        let inbox = Arc::new(Inbox {
            waits: Mutex::default(),
            woken: Notify::new(),
            window: match kin {
                true => MESH_MODEL_WINDOW_BYTES,
                false => MESH_MODEL_WINDOW_GEN1_BYTES,
            },
        });
        let key = (device.clone(), id.to_owned());
        self.lock().insert(key.clone(), inbox.clone());
        Open {
            hearings: self.clone(),
            key,
            inbox,
        }
    }

    pub(super) fn heard(&self, device: &DeviceId, payload: &Value) {
        let id = payload.get("requestId").and_then(Value::as_str);
        let inbox = id.and_then(|id| {
            let open = self.lock();
            open.get(&(device.clone(), id.to_owned())).cloned()
        });
        if let Some(inbox) = inbox {
            inbox.take(payload);
        }
    }
}

/// A request under way. Dropped before its end, it is taken back.
struct Talk {
    frames: Frames,
    link: LinkHandle,
    id: String,
    hearing: Open,
    answer: Option<BoxFuture<'static, Result<Value, RemoteError>>>,
    answered: Option<Result<Usage, Failure>>,
    kin: bool,
    spoke: bool,
    /// Bytes that were taken and not acknowledged yet.
    owed: usize,
    ended: bool,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Talk({})", self.id)
    }
}

impl Talk {
    fn pieces(self) -> Pieces {
        stream::unfold(self, |mut talk| async move {
            if talk.ended {
                return None;
            }
            let item = talk.next().await;
            // An answer ends a request at the other device too; what else ends it is told by dropping this.
            talk.ended = match &item {
                Ok(Piece::End(_)) => true,
                Ok(_) => false,
                Err(_) => {
                    talk.take_back();
                    true
                }
            };
            Some((item, talk))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Piece, Failure> {
        loop {
            match self.hearing.inbox.next() {
                Some(Ok((text, cost))) => {
                    self.took(cost);
                    self.spoke = true;
                    // An empty piece says nothing.
                    if !text.is_empty() {
                        return Ok(Piece::Text(text));
                    }
                    continue;
                }
                Some(Err(failure)) => return Err(failure),
                None => {}
            }
            if let Some(answered) = self.answered.take() {
                return answered.map(Piece::End);
            }
            let ms = match self.spoke {
                true => MODEL_SILENCE_MS,
                false => MODEL_FIRST_MS,
            };
            let inbox = self.hearing.inbox.clone();
            let Some(answer) = self.answer.as_mut() else {
                let why = "the reply ended without an end";
                return Err(Failure::new(FailureKind::BadReply, why));
            };
            let news = async {
                tokio::select! {
                    biased;
                    () = inbox.woken.notified() => None,
                    answer = answer => Some(answer),
                }
            };
            match timeout(Duration::from_millis(ms), news).await {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    self.answer = None;
                    let device = format!("device {}", self.link.info.device.short());
                    self.answered = Some(match answer {
                        Ok(answer) => exchange::read_finished(&answer),
                        Err(e) => Err(exchange::failure_of(&device, &e.code, &e.message)),
                    });
                }
                Err(_) => {
                    let why = format!(
                        "device {} sent nothing of its reply for {} s",
                        self.link.info.device.short(),
                        ms / 1_000
                    );
                    return Err(Failure::new(FailureKind::Timeout, why));
                }
            }
        }
    }

    /// Tells the other device what was taken, in one message now and then.
    fn took(&mut self, cost: usize) {
        self.owed += cost;
        if self.kin && self.owed >= MESH_MODEL_WINDOW_BYTES / 4 {
            let taken = json!({"requestId": self.id, "bytes": self.owed});
            if self.link.tell(Message::event(exchange::TAKEN, &taken)) {
                self.owed = 0;
            }
        }
    }

    fn take_back(&mut self) {
        if self.answer.take().is_none() || self.link.stop.is_cancelled() {
            return;
        }
        let (link, params) = (self.link.clone(), json!({"requestId": self.id}));
        self.frames.tasks.passing("model cancel", async move {
            // The answer is ignored: the reply is no longer waited for.
            let _ = link.request(exchange::CANCEL, &params).await;
        });
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if !self.ended {
            self.take_back();
        }
    }
}
