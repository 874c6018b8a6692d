//! Among which models one is asked: those of the configuration in their order, one that is named, or one that other
//! devices may use; and how they are tried one after the other.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::{Inside, Served, asking};
use crate::adapters::llm::{Model, Pieces, SharedModel, Speech};
use crate::domain::base::DeviceId;
use crate::domain::base::ids::reads_as_id;
use crate::domain::base::limits::{MODEL_REPLY_MAX_BYTES, MODEL_REQUESTS_AT_ONCE};
use crate::domain::inference::budget::{Budget, Price, most_of};
use crate::domain::inference::route::{About, Route, Skip, SkipKind, Skipped};
use crate::domain::inference::{
    Failure, FailureKind, InferenceRequest, MeshModel, ModelRef, Piece, Usage,
};
use crate::node::config::models::{ModelSettings, Place};

/// Which models may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those of the configuration, in their order.
    Chain,
    /// This one of the configuration; where that names none, of other devices that offer it.
    Named(ModelRef),
    /// This one of this node, if other devices may use it.
    Shared(ModelRef),
    /// Those of this node that other devices may use, in their order.
    AllShared,
}

/// A model that another device offers. What it says of itself is its word alone.
pub struct Offer {
    /// The device, proven by its link.
    pub device: DeviceId,
    /// Its names beside its id, the best one first.
    pub names: Vec<String>,
    /// The model, as that device names it.
    pub model: ModelRef,
    /// Asks it.
    pub asked: SharedModel,
}

/// How the models of other devices are found.
pub trait Mesh: Send + Sync {
    /// The models that trusted devices offer, connected ones first.
    fn offers(&self) -> Vec<Offer>;
}

/// A reply from its beginning to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// Its text.
    pub text: String,
    /// Its usage.
    pub usage: Usage,
}

/// A model of another device while none that offers it is connected.
pub(super) struct Away(ModelRef);

impl Away {
    pub(super) fn new(name: ModelRef) -> Self {
        Self(name)
    }
}

impl Model for Away {
    fn name(&self) -> &ModelRef {
        &self.0
    }

    fn infer(&self, _request: Arc<InferenceRequest>) -> Pieces {
        let failure = Failure::new(FailureKind::Unreachable, away().why);
        stream::iter([Err(failure)]).boxed()
    }
}

/// Why a model of other devices is not asked where none is found.
pub(super) fn away() -> Skip {
    Skip {
        kind: SkipKind::Away,
        why: "no connected device of this id or name offers it, or several have the name"
            .to_owned(),
    }
}

/// The offers of the device that is meant. What reads as an id is compared with ids alone, whatever devices call
/// themselves; a name or the short form of an id that several devices have means none of them.
fn of_device<'a>(offers: &'a [Offer], wanted: &MeshModel) -> Vec<&'a Offer> {
    let same = |offer: &&Offer| offer.model.same_as(&wanted.model);
    let Some(who) = &wanted.device else {
        return offers.iter().filter(same).collect();
    };
    let meant = |offer: &&Offer| match reads_as_id(who) {
        true => offer.device.as_str() == who || offer.device.short() == who,
        false => offer.names.contains(who),
    };
    let found: Vec<&Offer> = offers.iter().filter(meant).collect();
    let one = found.iter().all(|o| o.device == found[0].device);
    found.into_iter().filter(same).filter(|_| one).collect()
}

/// As which a model of another device is named in a route.
fn name_at(offer: &Offer) -> ModelRef {
    let at = |name: &str| {
        let there = offer.model.at_device(name).ok()?;
        // A name with a slash would be read as another one.
        let read = there.of_mesh().ok()?.device;
        (read.as_deref() == Some(name)).then_some(there)
    };
    let named = offer.names.iter().find_map(|name| at(name));
    let named = named.or_else(|| at(offer.device.short()));
    named.unwrap_or_else(|| offer.model.clone())
}

impl Served {
    /// A model of the configuration at the device that was found for it.
    fn at(&self, offer: &Offer) -> Arc<Self> {
        Arc::new(Self {
            settings: self.settings.clone(),
            model: offer.asked.clone(),
            name: name_at(offer),
            device: Some(offer.device.clone()),
            counted: self.counted,
            variable: None,
            keys: None,
        })
    }

    /// A model of another device that no configuration names: it sees nothing private, and is counted there alone.
    fn found(offer: &Offer) -> Arc<Self> {
        let settings = ModelSettings {
            model: name_at(offer),
            place: Place::Device(MeshModel {
                device: Some(offer.device.as_str().to_owned()),
                model: offer.model.clone(),
            }),
            speech: Speech::OpenAi,
            key: String::new(),
            usual: false,
            private: Some(false),
            price: Price::default(),
            budget: Budget::default(),
            at_once: MODEL_REQUESTS_AT_ONCE,
            share: false,
        };
        Arc::new(Self {
            name: settings.model.clone(),
            settings,
            model: offer.asked.clone(),
            device: Some(offer.device.clone()),
            counted: false,
            variable: None,
            keys: None,
        })
    }
}

impl super::Inference {
    /// Says how models of other devices are found; the first one who says it counts.
    pub fn reach(&self, mesh: Arc<dyn Mesh>) {
        let _ = self.0.mesh.set(mesh);
    }

    /// Whether other devices may use this model.
    pub fn shares(&self, model: &ModelRef) -> bool {
        !self.0.among(&Wanted::Shared(model.clone())).is_empty()
    }

    /// Whether other devices may use a model of this node.
    pub fn shares_any(&self) -> bool {
        !self.0.among(&Wanted::AllShared).is_empty()
    }

    /// The models of other devices that may be asked though no configuration names them, as `mesh/DEVICE/…`.
    pub fn elsewhere(&self) -> Vec<ModelRef> {
        let offers = match self.0.use_mesh {
            true => self.0.offers(),
            false => Vec::new(),
        };
        offers.iter().map(name_at).collect()
    }
}

impl Inside {
    fn offers(&self) -> Vec<Offer> {
        self.mesh.get().map_or_else(Vec::new, |mesh| mesh.offers())
    }

    /// The models that are wanted, in order.
    pub(super) fn among(&self, wanted: &Wanted) -> Vec<Arc<Served>> {
        match wanted {
            Wanted::Chain => {
                let all = self.served.iter();
                all.flat_map(|served| self.or_away(served)).collect()
            }
            Wanted::Shared(model) => {
                let shared = |served: &&Arc<Served>| {
                    let settings = &served.settings;
                    settings.offered().is_some() && settings.model.same_as(model)
                };
                self.served.iter().filter(shared).cloned().collect()
            }
            Wanted::AllShared => {
                let shared = |served: &&Arc<Served>| served.settings.offered().is_some();
                self.served.iter().filter(shared).cloned().collect()
            }
            Wanted::Named(model) => self.named(model),
        }
    }

    fn named(&self, model: &ModelRef) -> Vec<Arc<Served>> {
        let means = |served: &&Arc<Served>| {
            let settings = &served.settings;
            let there = match &settings.place {
                Place::Device(there) => there.model.same_as(model),
                Place::Server(_) => false,
            };
            there || settings.model.same_as(model)
        };
        let configured = self.served.iter().filter(means);
        let mut all: Vec<Arc<Served>> =
            configured.flat_map(|served| self.or_away(served)).collect();
        // A question to a named model of this node is not sent to another device when that model is down.
        if !self.use_mesh || !all.is_empty() {
            return all;
        }
        let wanted = match model.is_of_mesh() {
            true => model.of_mesh().ok(),
            false => Some(MeshModel {
                device: None,
                model: model.clone(),
            }),
        };
        let offers = self.offers();
        for offer in wanted.map_or_else(Vec::new, |wanted| of_device(&offers, &wanted)) {
            all.push(Served::found(offer));
        }
        all
    }

    /// A model of other devices at each that was found for it; nothing for one of a server. One that may see private
    /// data is at the very device whose id the configuration names.
    pub(super) fn found(&self, served: &Arc<Served>) -> Vec<Arc<Served>> {
        match &served.settings.place {
            Place::Server(_) => Vec::new(),
            Place::Device(wanted) => {
                let offers = self.offers();
                let named = wanted.device.as_deref();
                let private = served.settings.private == Some(true);
                let found = of_device(&offers, wanted).into_iter();
                let found = found.filter(|o| !private || named == Some(o.device.as_str()));
                found.map(|offer| served.at(offer)).collect()
            }
        }
    }

    fn or_away(&self, served: &Arc<Served>) -> Vec<Arc<Served>> {
        let found = self.found(served);
        match found.is_empty() {
            true => vec![served.clone()],
            false => found,
        }
    }
}

/// One question on its way from model to model.
pub(super) struct Asking<'a> {
    inside: &'a Arc<Inside>,
    wanted: &'a Wanted,
    request: Arc<InferenceRequest>,
    most: Usage,
    all: Vec<Arc<Served>>,
    order: std::vec::IntoIter<usize>,
    /// The way so far.
    pub route: Route,
    begun: u64,
    last: Option<asking::Missed>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        inside: &'a Arc<Inside>,
        wanted: &'a Wanted,
        request: InferenceRequest,
        about: &About,
    ) -> Self {
        let (most, all) = (most_of(&request), inside.among(wanted));
        let (order, skipped) = inside.plan(&all, about, &most);
        Self {
            begun: inside.clock.steady_ms(),
            inside,
            wanted,
            request: Arc::new(request),
            most,
            all,
            order: order.into_iter(),
            route: Route {
                private: about.what().to_vec(),
                skipped,
                ..Route::default()
            },
            last: None,
        }
    }

    /// The reply of the next model that begins to answer.
    pub(super) async fn next(&mut self) -> Result<Pieces, Failure> {
        while let Some(index) = self.order.next() {
            let served = self.all[index].clone();
            let lent = matches!(self.wanted, Wanted::Shared(_) | Wanted::AllShared);
            let begun = asking::begin(self.inside, &served, &self.request, &self.most, lent);
            match begun.await {
                Ok(pieces) => {
                    self.route.chosen = Some(served.name.clone());
                    self.route.device = served.device.clone();
                    self.route.local = served.settings.local();
                    let now = self.inside.clock.steady_ms();
                    self.route.first_ms = now.saturating_sub(self.begun);
                    return Ok(pieces);
                }
                Err(missed) => {
                    let goes_on = missed.kind.may_fall_back();
                    self.missed(&served.name, missed);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        self.route.chosen = None;
        self.inside.changed.notify_one();
        let last = self.last.take();
        Err(self.inside.nobody(self.wanted, &self.route, last))
    }

    fn missed(&mut self, model: &ModelRef, missed: asking::Missed) {
        tracing::info!(%model, "not used: {}", missed.why);
        self.route.skipped.push(Skipped {
            model: model.clone(),
            skip: missed.skip(),
        });
        self.last = Some(missed);
    }

    /// The first reply that comes to its end.
    pub(super) async fn whole(&mut self) -> Result<Whole, Failure> {
        loop {
            let pieces = self.next().await?;
            let failure = match read(pieces).await {
                Ok(whole) => return Ok(whole),
                Err(failure) => failure,
            };
            let Some(model) = self.route.chosen.take() else {
                return Err(failure);
            };
            self.missed(&model, failure.into());
        }
    }
}

async fn read(mut pieces: Pieces) -> Result<Whole, Failure> {
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            Piece::Text(more) => text.push_str(&more),
            Piece::Call(_) => {}
            Piece::End(usage) => return Ok(Whole { text, usage }),
        }
        if text.len() > MODEL_REPLY_MAX_BYTES {
            let why = format!("the reply is longer than {MODEL_REPLY_MAX_BYTES} bytes");
            return Err(Failure::new(FailureKind::BadReply, why));
        }
    }
    let why = "the reply ended without an end";
    Err(Failure::new(FailureKind::BadReply, why))
}
