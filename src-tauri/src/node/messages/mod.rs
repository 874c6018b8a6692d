//! Messages to agents: taken from people and programs of this node, written down, sent to a node that can answer, and answered
//! once. An agent is this node's language model or an agent of one of its gateways, here or on another node. What an agent says
//! is text: it asks for no action and decides none.

mod agents;
mod answers;
mod deliver;
mod desk;
mod offers;
mod profile;
mod runs;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::answers::{asked, cancelled, told};
pub use self::desk::{Sent, run};
pub use self::offers::{OFFER, heard};
pub use self::runs::{CANCEL, RUN, TOLD};
use super::context::rate::PerMinute;
use super::context::{DURABLE, store_refusal};
use super::frame_log::Frames;
use super::gateways::Gateways;
use super::mesh_models::MeshModels;
use super::routing;
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::coordination::choose::{Candidate, Place, Plan, choose};
use crate::domain::coordination::routes::{Incoming, Routes};
use crate::domain::wire::handshake::Feature;

/// Where the text of the rules lies.
const ROUTES: &str = "routing.rules";

/// The room of messages. A clone is the same one.
#[derive(Clone)]
pub struct Messages(Arc<Inside>);

struct Inside {
    models: MeshModels,
    gateways: Gateways,
    routes: RwLock<Rules>,
    runs: runs::Runs,
    own: profile::Own,
    /// What other nodes say that they answer with.
    told: Mutex<BTreeMap<DeviceId, offers::Told>>,
    /// How often each says so.
    offer_rates: Mutex<BTreeMap<DeviceId, Arc<PerMinute>>>,
    /// Messages of this node that are under way, and what takes them back.
    under_way: Mutex<BTreeMap<String, Course>>,
    /// Told when a message may look for a node.
    due: Notify,
    turn: AtomicU64,
    /// Held while rules are asked.
    planning: tokio::sync::Mutex<()>,
    /// Whether messages that wait are to look for a node again.
    awake: AtomicBool,
}

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Their text, as it was given.
    pub text: String,
    /// The rules.
    pub routes: Arc<Routes>,
}

/// A message as rules are asked about it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The text.
    pub text: String,
    /// The surface.
    pub source: String,
    /// Who sent it.
    pub sender: String,
}

/// A message that is under way.
#[derive(Debug, Clone, Default)]
struct Course {
    /// The node that is asked.
    device: Option<DeviceId>,
    /// What its agent has said so far.
    text: String,
    /// Takes it back.
    cancel: CancellationToken,
}

impl std::ops::Deref for Messages {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.0.models.frames
    }
}

impl Messages {
    /// The room, with the rules that are kept.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn open(models: MeshModels, gateways: Gateways) -> Result<Self, StoreError> {
        let kept = models
            .store
            .read("routing rules", |c| kv::get(c, ROUTES))
            .await?;
        let own = profile::Own::load(&models.store).await?;
        let text = kept.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.unwrap_or_default();
        let routes = match text.is_empty() {
            true => Routes::default(),
            // A later version may have written what this one does not know.
            false => Routes::parse(&text).unwrap_or_else(|why| {
                tracing::error!("the routing rules that are kept cannot be used: {why}");
                Routes::default()
            }),
        };
        let routes = Arc::new(routes);
        Ok(Self(Arc::new(Inside {
            models,
            gateways,
            routes: RwLock::new(Rules { text, routes }),
            runs: runs::Runs::default(),
            own,
            told: Mutex::default(),
            offer_rates: Mutex::default(),
            under_way: Mutex::default(),
            due: Notify::new(),
            turn: AtomicU64::new(0),
            planning: tokio::sync::Mutex::default(),
            awake: AtomicBool::new(false),
        })))
    }

    /// The rules in force.
    pub fn rules(&self) -> Rules {
        let rules = self.0.routes.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    /// Puts other rules in force, if those that are replaced are still `instead_of`.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for rules that do not read or whose tests fail, `CONFLICT`, or what the store says.
    pub async fn set_rules(&self, text: String, instead_of: Option<&str>) -> Result<(), Refusal> {
        let routes = Routes::parse(&text).map_err(|why| Refusal::new(Code::InvalidParams, why))?;
        let was = instead_of.map(str::to_owned);
        let bytes = text.clone().into_bytes();
        let write = move |c: &rusqlite::Connection| {
            let kept = kv::get(c, ROUTES)?.unwrap_or_default();
            if was.is_some_and(|was| was.as_bytes() != kept) {
                return Ok(false);
            }
            kv::put(c, ROUTES, &bytes)?;
            Ok(true)
        };
        let written = self.store.write(DURABLE, "routing rules", write).await;
        if !written.map_err(|e| store_refusal(&e))? {
            let why = "the rules were changed meanwhile; look at them again";
            return Err(Refusal::new(Code::Conflict, why));
        }
        let routes = Arc::new(routes);
        *self
            .0
            .routes
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Rules { text, routes };
        self.wake();
        Ok(())
    }

    /// Where a message of this moment would go, and why.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` where it cannot be worked out.
    pub async fn explain(&self, text: Asked, place: &Place) -> Result<Plan, Refusal> {
        let turn = self.0.turn.load(Ordering::Relaxed);
        self.plan(text, place, turn).await
    }

    /// Rules take the processor a while: one message after the other, off the network's threads.
    async fn plan(&self, asked: Asked, place: &Place, turn: u64) -> Result<Plan, Refusal> {
        let failed = || Refusal::new(Code::InternalError, "the rules could not be asked");
        let _turn = self.0.planning.lock().await;
        let candidates = self.candidates(&asked.text);
        let (routes, place) = (self.rules().routes, place.clone());
        let work = move || {
            let message = Incoming {
                text: &asked.text,
                source: &asked.source,
                sender: &asked.sender,
            };
            choose(&routes, &message, &place, &candidates, turn)
        };
        self.work(work).await.ok_or_else(failed)
    }

    /// The next turn of those that fit equally.
    fn next_turn(&self) -> u64 {
        self.0.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn course(&self) -> MutexGuard<'_, BTreeMap<String, Course>> {
        self.0
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What an agent has said so far to a message that is under way.
    pub fn so_far(&self, id: &str) -> Option<String> {
        self.course().get(id).map(|course| course.text.clone())
    }

    /// How many messages of this node each device has under way.
    fn own_under_way(&self) -> BTreeMap<DeviceId, u32> {
        let mut count = BTreeMap::new();
        for course in self.course().values() {
            if let Some(device) = &course.device {
                *count.entry(device.clone()).or_insert(0) += 1;
            }
        }
        count
    }

    /// The nodes that messages of this node may go to, and those that could be asked if they were there.
    fn candidates(&self, text: &str) -> Vec<Candidate> {
        let own = self.own_id();
        let counts = self.own_under_way();
        let private = self.0.models.inference.labels().text(text).is_private();
        let told = self
            .0
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut all = vec![Candidate {
            device: own.clone(),
            name: routing::name(self, own),
            profile: self.own_profile(),
            agents: self.own_agents(),
            in_flight: self.0.runs.count(),
            latency_ms: Some(0),
            away: None,
        }];
        for record in self.trust.all().into_iter().filter(|r| r.is_live()) {
            let device = &record.device_id;
            if device == own {
                continue;
            }
            let link = self.links.get(device).filter(|l| !l.is_parting());
            let said = told.get(device);
            let away = match &link {
                None => Some("it is not connected"),
                Some(link) if !link.info.speaks(Feature::Messages) => {
                    Some("its version answers no messages")
                }
                Some(_) if private => {
                    Some("the message names something private, which stays on this node")
                }
                Some(_) => None,
            };
            let ours = counts.get(device).copied().unwrap_or_default();
            let rtt = link.as_ref().and_then(|l| l.vitals.reading().rtt_ms);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time of milliseconds"
            )]
            let latency_ms = rtt.map(|ms| ms.max(0.0).round() as u64);
            all.push(Candidate {
                name: routing::name(self, device),
                profile: said.map(|s| s.profile.clone()).unwrap_or_default(),
                agents: said.map(|s| s.agents.clone()).unwrap_or_default(),
                in_flight: said.map_or(0, |s| s.in_flight).max(ours),
                latency_ms,
                away: away.map(str::to_owned),
                device: device.clone(),
            });
        }
        all
    }
}
