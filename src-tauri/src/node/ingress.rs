//! Ingress: link → verify → admit → store, top to bottom, in batches.
//!
//! Receives from every link's reader; sends to the ledger. The queue is bounded in frames and in
//! bytes; when it is full the readers wait and so stop reading their sockets. Nothing is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::context::{Context, store_refusal};
use super::continuity::{self, Footing};
use super::frame_log;
use super::links::LinkHandle;
use super::links::credit::{Taken, cost_kib};
use super::presence;
use crate::adapters::store::Class;
use crate::adapters::store::frames::{Displaced, Inserted};
use crate::domain::admission::budget::Cause;
use crate::domain::admission::{Admitted, Generation, TrustView, admit, admit_own, admit_unproven};
use crate::domain::base::limits::{INGRESS_BATCH_MAX, INGRESS_QUEUE_MAX};
use crate::domain::base::{Code, DeviceId, FrameId, MeshId, Refusal, TimeMs};
use crate::domain::identity::PublicKey;
use crate::domain::wire::Frame;
use crate::domain::wire::verify::{GoodSignatures, verify_frames};
use crate::node::context::Event;

/// Memory that frames waiting for ingress may take, in kibibytes.
const WAITING_MAX_KIB: usize = 32 * 1_024;

/// Frames that are judged where they come in; more of them are judged on a thread for such work, which
/// takes longer to reach than these take.
const JUDGED_AT_ONCE_MAX: usize = 2;

/// How long ingress waits before it tries a failed store again.
const RETRY: Duration = Duration::from_secs(1);

/// The resources of waiting frames: memory here, credit at their sender.
struct Hold {
    _memory: OwnedSemaphorePermit,
    /// Where the frames were paid for with credit.
    _credit: Option<Arc<Taken>>,
    /// Its other end hears when they are stored.
    _stored: Option<oneshot::Sender<()>>,
}

struct Item {
    peer: DeviceId,
    /// Whether the peer had proven itself where the frame came in.
    proven: bool,
    frame: Frame,
    hold: Arc<Hold>,
}

/// The way in for links.
#[derive(Clone)]
pub struct Ingress {
    queue: mpsc::Sender<Item>,
    memory: Arc<Semaphore>,
}

impl Ingress {
    /// Starts the ingress task.
    pub fn start(footing: &Footing) -> Ingress {
        let (queue, inbox) = mpsc::channel(INGRESS_QUEUE_MAX);
        let task = run(footing.clone(), inbox);
        footing.tasks.essential("ingress", task);
        Ingress {
            queue,
            memory: Arc::new(Semaphore::new(WAITING_MAX_KIB)),
        }
    }

    /// Whether frames wait to be judged and stored.
    pub fn is_busy(&self) -> bool {
        self.memory.available_permits() < WAITING_MAX_KIB
    }

    /// Hands in the frames of one message, waiting while the queue is full. `bytes` is the message's
    /// size.
    pub async fn offer(&self, link: &LinkHandle, frames: Vec<Frame>, bytes: usize) {
        let credit = Some(Taken::new(link, bytes));
        self.take(link, frames, bytes, true, credit, None).await;
    }

    /// As [`Ingress::offer`], of frames that were not paid for with credit. What is returned ends when they have been
    /// stored or refused.
    pub async fn offer_free(
        &self,
        link: &LinkHandle,
        frames: Vec<Frame>,
        bytes: usize,
    ) -> oneshot::Receiver<()> {
        let (stored, ends) = oneshot::channel();
        let stored = Some(stored);
        self.take(link, frames, bytes, true, None, stored).await;
        ends
    }

    /// As [`Ingress::offer`], of what somebody at an address of the peer has answered without having
    /// proven to be it.
    pub async fn offer_unproven(&self, link: &LinkHandle, frames: Vec<Frame>, bytes: usize) {
        let credit = Some(Taken::new(link, bytes));
        self.take(link, frames, bytes, false, credit, None).await;
    }

    async fn take(
        &self,
        link: &LinkHandle,
        frames: Vec<Frame>,
        bytes: usize,
        proven: bool,
        credit: Option<Arc<Taken>>,
        stored: Option<oneshot::Sender<()>>,
    ) {
        let Ok(memory) = self
            .memory
            .clone()
            .acquire_many_owned(cost_kib(bytes))
            .await
        else {
            return;
        };
        let hold = Arc::new(Hold {
            _memory: memory,
            _credit: credit,
            _stored: stored,
        });
        for frame in frames {
            // A closed queue means the node is stopping.
            let _ = self
                .queue
                .send(Item {
                    peer: link.info.device.clone(),
                    proven,
                    frame,
                    hold: hold.clone(),
                })
                .await;
        }
    }
}

/// A batch whose frames have been judged; what was admitted waits for the store.
#[derive(Default)]
struct Judged {
    admitted: Vec<Admitted>,
    /// On whose account each of them is.
    from: Vec<DeviceId>,
    refused: Vec<(DeviceId, Refusal)>,
    /// Keys that came with presence, of trusted devices whose key was not known.
    keys: BTreeMap<DeviceId, PublicKey>,
    _holds: Vec<Arc<Hold>>,
}

/// While one batch is being stored the next one is judged. The order of frames stays.
async fn run(footing: Footing, mut inbox: mpsc::Receiver<Item>) {
    let mut judged = Judged::default();
    let good = Arc::new(Mutex::new(GoodSignatures::default()));
    loop {
        let (next, ()) = tokio::join!(
            next_batch(&footing, &mut inbox, &good),
            keep(&footing, judged)
        );
        match next {
            Some(next) => judged = next,
            None => return,
        }
    }
}

/// Takes what waits and judges it; `None` when the node stops.
async fn next_batch(
    footing: &Footing,
    inbox: &mut mpsc::Receiver<Item>,
    good: &Arc<Mutex<GoodSignatures>>,
) -> Option<Judged> {
    let mut items = Vec::with_capacity(INGRESS_BATCH_MAX);
    tokio::select! {
       biased;
        () = footing.tasks.stop().cancelled() => return None,
        n = inbox.recv_many(&mut items, INGRESS_BATCH_MAX) => if n == 0 { return None },
    }
    let trust = footing.trust.snapshot();
    let mesh = footing.mesh.clone();
    let now = footing.now();
    let signers = footing.known_signers();
    let (inner, horizon, good) = (footing.clone(), footing.held.horizon(), good.clone());
    let few = items.len() <= JUDGED_AT_ONCE_MAX;
    let judging = move || {
        let judge = Judge {
            own: inner.own_id(),
            own_key: inner.public_key,
            horizon,
            signers: &signers,
            mesh: &mesh,
            trust: &trust,
            now,
        };
        let mut good = good.lock().unwrap_or_else(PoisonError::into_inner);
        judge.judge(items, &mut good)
    };
    // Signatures are work for the processor; the network tasks must not wait for many of them.
    if few {
        return Some(judging());
    }
    let judging = footing.work(judging);
    Some(judging.await.unwrap_or_else(|| {
        tracing::error!("a batch of frames could not be judged and was dropped");
        Judged::default()
    }))
}

fn unsigned(frame: &Frame) -> Refusal {
    Refusal::new(
        Code::FrameSignatureInvalid,
        format!(
            "frame {} came unsigned, but {} signs its frames",
            frame.frame_id.short(),
            frame.origin.short()
        ),
    )
}

fn not_ours(frame: &Frame) -> Refusal {
    let (id, origin) = (frame.frame_id.short(), frame.origin.short());
    let why = format!("frame {id} of {origin} is private and was not to be sent here");
    Refusal::new(Code::NotAuthorized, why)
}

/// The trust and limits that frames are checked against.
struct Judge<'a, T> {
    own: &'a DeviceId,
    own_key: PublicKey,
    horizon: TimeMs,
    signers: &'a BTreeSet<DeviceId>,
    mesh: &'a MeshId,
    trust: &'a T,
    now: TimeMs,
}

impl<T: TrustView> Judge<'_, T> {
    fn judge(self, items: Vec<Item>, good: &mut GoodSignatures) -> Judged {
        let Judge {
            own,
            own_key,
            horizon,
            signers,
            mesh,
            trust,
            now,
        } = self;
        let mut judged = Judged::default();
        let (mut peers, mut frames) = (Vec::new(), Vec::new());
        // Our own kind signs; who went back to gen-1 signs no more, once a person here has said so.
        let signs = |device: &DeviceId| match trust.record(device).and_then(|r| r.generation) {
            Some(generation) => generation == Generation::Clawmesh,
            None => signers.contains(device),
        };
        for item in items {
            // Own frames are in the store already, unless a crash lost them: then peers bring them back.
            let ours = item.frame.origin == *own;
            // Gen-1 peers echo our frames re-encoded; the echo is ignored.
            let kin = signs(&item.peer);
            let lost = kin && item.frame.signature.is_some() && item.frame.timestamp > horizon;
            if ours && !lost {
                continue;
            }
            let private = item.frame.private.as_ref();
            let not_for_us = private.is_some_and(|devices| ours || !devices.contains(own));
            // Unproven frames are charged to another account than the device's, also where they are refused.
            let account = match item.proven {
                true => item.peer.clone(),
                false => item.peer.at_address(),
            };
            if not_for_us {
                judged.refused.push((account, not_ours(&item.frame)));
                continue;
            }
            // Whoever left the signature out on the way would otherwise keep the proven frame out.
            if item.frame.signature.is_none() && signs(&item.frame.origin) {
                judged.refused.push((account, unsigned(&item.frame)));
                continue;
            }
            peers.push((item.peer, item.proven, account));
            frames.push(item.frame);
            judged._holds.push(item.hold);
        }
        let pinned = |id: &DeviceId| trust.record(id).and_then(|r| r.public_key);
        for frame in &frames {
            let by_id_alone =
                trust.record(&frame.origin).is_some() && pinned(&frame.origin).is_none();
            if by_id_alone && let Some(key) = presence::key_in(frame) {
                judged.keys.insert(frame.origin.clone(), key);
            }
        }
        let shown = judged.keys.clone();
        let key_of = |id: &DeviceId| match id == own {
            true => Some(own_key),
            false => pinned(id).or_else(|| shown.get(id).copied()),
        };
        for (verified, (peer, proven, account)) in verify_frames(frames, mesh, key_of, good)
            .into_iter()
            .zip(peers)
        {
            let admitted = verified.and_then(|v| match v.get().origin == *own {
                true => Ok(admit_own(v, now)),
                false if proven => admit(v, &peer, trust, now),
                false => admit_unproven(v, &peer, trust, now),
            });
            match admitted {
                Ok(admitted) => {
                    judged.admitted.push(admitted);
                    judged.from.push(account);
                }
                Err(refusal) => judged.refused.push((account, refusal)),
            }
        }
        judged
    }
}

/// Stores what was admitted and reports what was not.
async fn keep(footing: &Footing, judged: Judged) {
    let refused = judged.refused.iter().map(|(peer, _)| peer);
    footing.tree.refused(refused, footing.moment().steady);
    for (peer, refusal) in &judged.refused {
        footing
            .journal
            .refused_of(
                Cause::Device(peer.clone()),
                Event::FrameRefused,
                &subject(peer),
                refusal,
            )
            .await;
    }
    presence::learn(footing, judged.keys).await;
    let admitted: Arc<[Admitted]> = judged.admitted.into();
    let inserted = store_until_stored(footing, &admitted, &judged.from).await;
    continuity::heard_back(footing, &admitted, &inserted).await;
    for ((one, peer), admitted) in inserted.iter().zip(&judged.from).zip(admitted.iter()) {
        let frame = &admitted.frame().frame_id;
        if let Inserted::OverBudget { device, share } = one {
            footing
                .over_budget(device, *share, &share.refusal(device))
                .await;
        }
        if let Inserted::NoRoom = one {
            footing
                .journal
                .refused(Event::FrameRefused, &subject(peer), &no_room(frame))
                .await;
        }
        if let Inserted::Behind = one {
            let why = format!("frame {} is older than what this node keeps", frame.short());
            let refusal = Refusal::new(Code::FrameBehind, why);
            footing
                .journal
                .refused_of(
                    Cause::Device(peer.clone()),
                    Event::FrameDropped,
                    &subject(peer),
                    &refusal,
                )
                .await;
        }
        if let Inserted::Instead { of, .. } = one {
            for old in of {
                displaced(footing, admitted, old).await;
            }
        }
        if let Inserted::Conflict { .. } = one {
            let refusal = Refusal::new(
                Code::FrameConflict,
                format!(
                    "frame {} came with other content than the one stored; it is kept apart",
                    frame.short()
                ),
            );
            footing
                .journal
                .refused_of(
                    Cause::Device(peer.clone()),
                    Event::FrameConflict,
                    &subject(peer),
                    &refusal,
                )
                .await;
        }
    }
}

/// Tells that what a device had brought was not what its origin says.
async fn displaced(context: &Context, by: &Admitted, old: &Displaced) {
    let Some(brought) = &old.link_peer else {
        return;
    };
    let frame = by.frame();
    let why = format!(
        "frame {} that this device brought is not what {} itself says under this id; it is kept apart",
        frame.frame_id.short(),
        frame.origin.short()
    );
    let (cause, refusal) = (
        Cause::Device(brought.clone()),
        Refusal::new(Code::FrameConflict, why),
    );
    context.metrics.frames_conflict.inc();
    context
        .journal
        .refused_of(cause, Event::FrameConflict, &subject(brought), &refusal)
        .await;
}

/// How events name whose account something is on.
fn subject(account: &DeviceId) -> String {
    match account.is_at_address() {
        true => account.who(),
        false => account.to_string(),
    }
}

fn no_room(frame: &FrameId) -> Refusal {
    let why = format!("there is no room for frame {}", frame.short());
    Refusal::new(Code::StorageFull, why)
}

/// Stores a batch. A store that fails is tried again, however long it takes: that slows the senders
/// down and loses nothing. One that is full is tried once more, each device's frames for themselves, so
/// that what one of them sends in large frames stops nobody else; what has no room then is refused.
/// Ends without storing only when the node stops.
async fn store_until_stored(
    footing: &Footing,
    admitted: &Arc<[Admitted]>,
    from: &[DeviceId],
) -> Vec<Inserted> {
    let mut stored = Vec::with_capacity(admitted.len());
    while stored.len() < admitted.len() {
        let begun = stored.len();
        let error = match frame_log::append_from(footing, admitted.clone(), begun).await {
            Ok(more) => {
                stored.extend(more);
                continue;
            }
            Err(error) => store_refusal(&error),
        };
        footing.metrics.refused(error.code);
        let waiting = admitted.len() - begun;
        tracing::error!(code = %error.code, waiting, "frames not stored, trying again: {}", error.message);
        tokio::select! {
            biased;
            () = footing.tasks.stop().cancelled() => return stored,
            () = tokio::time::sleep(RETRY) => {}
        }
        if error.code == Code::StorageFull {
            let (rest, from) = (admitted.iter().skip(begun), from.iter().skip(begun));
            stored.extend(store_by_device(footing, rest.zip(from).collect()).await);
        }
    }
    stored
}

/// Stores what each device brought for itself; what finds no room is refused.
async fn store_by_device(
    footing: &Footing,
    admitted: Vec<(&Admitted, &DeviceId)>,
) -> Vec<Inserted> {
    let mut outcome = vec![Inserted::NoRoom; admitted.len()];
    for device in admitted
        .iter()
        .map(|(_, from)| *from)
        .collect::<BTreeSet<_>>()
    {
        let (places, part): (Vec<usize>, Vec<Admitted>) = (0..)
            .zip(&admitted)
            .filter(|(_, (_, from))| *from == device)
            .map(|(place, (one, _))| (place, (*one).clone()))
            .unzip();
        match frame_log::append(footing, part, Class::Relaxed).await {
            Ok(stored) => {
                for (place, one) in places.into_iter().zip(stored) {
                    if let Some(slot) = outcome.get_mut(place) {
                        *slot = one;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    peer = device.short(),
                    frames = places.len(),
                    "frames refused: {error}"
                );
            }
        }
    }
    outcome
}
