//! Language models as the node uses them: which one a question goes to, and the next one where that fails before it has
//! said anything. Its words are untrusted text; what they may lead to is decided by whoever asks. It holds no key of the
//! device, no link and no actuator; models of other devices come to it through [`Mesh`].

mod asking;
mod choice;
mod ledger;
mod seen;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};

pub use self::choice::{Mesh, Offer, Wanted, Whole};
use self::ledger::Ledger;
pub use self::seen::Seen;
use self::seen::Sightings;
use self::standing::{Refusals, resting};
use super::config::models::{ModelSettings, Models, Place};
use crate::adapters::clock::SharedClock;
use crate::adapters::keystore::Credentials;
use crate::adapters::llm::{
    Address, Keys, Patience, Pieces, Secret, Server, SharedModel, Speech, variables_of,
};
use crate::adapters::random::SharedRandom;
use crate::adapters::store::{Store, StoreError};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{
    MODEL_REQUESTS_AT_ONCE, MODEL_RETRY_MS, MODEL_TURN_MS, MODEL_YIELD_MS,
};
use crate::domain::inference::breaker::Breaker;
use crate::domain::inference::budget::{Budget, Price, Spent};
use crate::domain::inference::route::{
    About, Candidate, Labels, Route, Skip, SkipKind, Skipped, plan,
};
use crate::domain::inference::{Failure, FailureKind, InferenceRequest, ModelRef, Usage};

/// Reads a variable of the environment.
pub type Variables = fn(&str) -> Option<String>;

/// A model and its settings.
pub struct Served {
    /// Its settings.
    pub settings: ModelSettings,
    /// The model.
    pub model: SharedModel,
    /// The variable of the environment that holds its key, where one does.
    pub variable: Option<&'static str>,
    /// Where its key comes from, where it is asked at a server of the configuration.
    keys: Option<Keys>,
    /// As which it is named in a route: for a model of another device, with that device.
    pub(super) name: ModelRef,
    /// The other device that has it, where one was found.
    pub(super) device: Option<DeviceId>,
    /// Whether what it uses is counted here.
    pub(super) counted: bool,
}

impl Served {
    /// A model of this process, without limits of its own and shared.
    pub fn here(model: SharedModel) -> Self {
        let name = model.name().clone();
        let settings = ModelSettings {
            place: Place::Server(Address {
                tls: false,
                host: "127.0.0.1".to_owned(),
                port: 0,
                path: String::new(),
            }),
            speech: Speech::OpenAi,
            key: format!("provider/{}", name.provider()),
            usual: false,
            private: None,
            price: Price::default(),
            budget: Budget::default(),
            at_once: MODEL_REQUESTS_AT_ONCE,
            share: true,
            model: name,
        };
        Self::new(settings, model)
    }

    /// A model and its settings.
    pub fn new(settings: ModelSettings, model: SharedModel) -> Self {
        Self {
            name: settings.model.clone(),
            device: None,
            counted: true,
            settings,
            model,
            variable: None,
            keys: None,
        }
    }

    /// A model as the configuration has it.
    pub fn of(settings: ModelSettings, credentials: Credentials, variables: Variables) -> Self {
        let variable = variable(&settings, variables);
        let keys = keys(&settings, credentials, variables);
        let model: SharedModel = match &settings.place {
            Place::Server(address) => Arc::new(Server::new(
                settings.model.clone(),
                address.clone(),
                settings.speech,
                keys.clone(),
                Patience::default(),
            )),
            Place::Device(_) => Arc::new(choice::Away::new(settings.model.clone())),
        };
        Self {
            variable,
            keys: Some(keys).filter(|_| matches!(settings.place, Place::Server(_))),
            ..Self::new(settings, model)
        }
    }
}

/// Where a model's key comes from: a credential that was set, else, for the provider's own server, the usual variables.
fn keys(settings: &ModelSettings, credentials: Credentials, variables: Variables) -> Keys {
    let (name, usual) = (settings.key.clone(), settings.usual);
    let named = variables_of(settings.model.provider());
    Arc::new(move || {
        let kept = credentials.get(&name).map_err(|e| e.to_string())?;
        if let Some(kept) = kept {
            let bad = |why| format!("the credential {name} cannot be used: {why}");
            return Secret::new(&kept).map(Some).map_err(bad);
        }
        for variable in named.iter().filter(|_| usual) {
            let set = variables(variable).filter(|text| !text.trim().is_empty());
            if let Some(text) = set {
                let bad = |why| format!("{variable} cannot be used: {why}");
                return Secret::new(&text.into()).map(Some).map_err(bad);
            }
        }
        Ok(None)
    })
}

/// The variable that a model's key is read from, where it is set.
fn variable(settings: &ModelSettings, variables: Variables) -> Option<&'static str> {
    let set = |name: &str| variables(name).is_some_and(|text| !text.trim().is_empty());
    let named = variables_of(settings.model.provider()).iter().copied();
    named.filter(|_| settings.usual).find(|name| set(name))
}

/// How long it waits.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Before the first further try.
    pub retry: Duration,
    /// For a turn at a provider that has as many requests under way as it may.
    pub turn: Duration,
    /// Before the only request that a provider takes ends for it, where that is another device's.
    pub yields: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry: Duration::from_millis(MODEL_RETRY_MS),
            turn: Duration::from_millis(MODEL_TURN_MS),
            yields: Duration::from_millis(MODEL_YIELD_MS),
        }
    }
}

/// The parts it is made of.
pub struct Needs {
    /// The models, in the order in which they are asked.
    pub served: Vec<Served>,
    /// Whether those of this machine come before others.
    pub edge_first: bool,
    /// Whether models of other devices are asked that none of these names.
    pub use_mesh: bool,
    /// What is private.
    pub labels: Labels,
    /// Where it is written what was used.
    pub store: Store,
    /// The clock.
    pub clock: SharedClock,
    /// The source of jitter.
    pub random: SharedRandom,
    /// How long it waits.
    pub pace: Pace,
}

/// See the module. A clone is the same one.
#[derive(Clone)]
pub struct Inference(Arc<Inside>);

struct Inside {
    served: Vec<Arc<Served>>,
    edge_first: bool,
    use_mesh: bool,
    mesh: OnceLock<Arc<dyn Mesh>>,
    labels: Labels,
    providers: Mutex<BTreeMap<String, Arc<Provider>>>,
    ledger: Ledger,
    seen: Sightings,
    refusals: Refusals,
    /// Told when how the models stand may have changed.
    changed: Notify,
    clock: SharedClock,
    random: SharedRandom,
    pace: Pace,
}

/// State that the models of one server share.
struct Provider {
    breaker: Mutex<Breaker>,
    turns: Arc<Semaphore>,
    /// The turns that requests of other devices may have: one fewer, so that one is left for this node.
    lent: Arc<Semaphore>,
    /// How many requests of this node have waited for a turn for a while. A lent one ends then where there is one alone.
    pressing: watch::Sender<usize>,
    at_once: usize,
}

impl Provider {
    fn new(at_once: usize) -> Self {
        Self {
            breaker: Mutex::default(),
            turns: Arc::new(Semaphore::new(at_once)),
            lent: Arc::new(Semaphore::new(at_once.saturating_sub(1).max(1))),
            pressing: watch::Sender::new(0),
            at_once,
        }
    }

    fn breaker<T>(&self, f: impl FnOnce(&mut Breaker) -> T) -> T {
        f(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A model as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelState {
    /// Which model.
    #[cfg_attr(test, schema(value_type = String))]
    pub model: ModelRef,
    /// Its server.
    pub url: String,
    /// Whether that is on this machine.
    pub local: bool,
    /// Whether it may see private data.
    pub sees_private: bool,
    /// What it has used today.
    pub spent: Spent,
    /// Most tokens a day, where there is a limit.
    pub tokens_per_day: Option<u64>,
    /// Most money a day, in millionths, where there is a limit.
    pub micros_per_day: Option<u64>,
    /// Why it cannot be asked now, where it cannot.
    pub unfit: Option<Skip>,
    /// Whether it has a price; without one it costs nothing as far as is known.
    pub priced: bool,
    /// The credential that holds its key, where one is set.
    pub key: String,
    /// The variable of the environment that holds its key, where one does and no credential is set.
    pub variable: Option<String>,
    /// How it did when it was asked last, since this node started.
    pub seen: Seen,
}

impl Inference {
    /// Begins with what was used before.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn open(needs: Needs) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Inside {
            // A node without models begins without a look into its store.
            ledger: match needs.served.is_empty() {
                true => Ledger::empty(needs.store),
                false => Ledger::open(needs.store).await?,
            },
            seen: Sightings::default(),
            refusals: Refusals::default(),
            changed: Notify::new(),
            served: needs.served.into_iter().map(Arc::new).collect(),
            edge_first: needs.edge_first,
            use_mesh: needs.use_mesh,
            mesh: OnceLock::new(),
            labels: needs.labels,
            providers: Mutex::default(),
            clock: needs.clock,
            random: needs.random,
            pace: needs.pace,
        })))
    }

    /// The models of a configuration, each with the client of its server.
    pub fn serve(models: &Models, credentials: &Credentials, variables: Variables) -> Vec<Served> {
        let all = models.all.iter().cloned();
        all.map(|settings| Served::of(settings, credentials.clone(), variables))
            .collect()
    }

    /// Whether there is any model.
    pub fn is_empty(&self) -> bool {
        self.0.served.is_empty()
    }

    /// What is private.
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }

    /// The cost of a reply of a model, in millionths.
    pub fn cost(&self, model: &ModelRef, usage: &Usage) -> u64 {
        let served = self.0.served.iter().find(|s| s.settings.model == *model);
        served.map_or(0, |s| s.settings.price.of(usage))
    }

    /// Every configured model, in the order in which they are asked.
    pub fn models(&self) -> Vec<ModelState> {
        let state = |served: &Arc<Served>| {
            // Of a model of other devices, how the first one stands that offers it.
            let found = self.0.found(served).into_iter().next();
            let one = found.as_ref().unwrap_or(served);
            let candidate = self.0.candidate(one, &Usage::default());
            let settings = &served.settings;
            ModelState {
                url: settings.place.to_string(),
                local: candidate.local,
                sees_private: candidate.sees_private(),
                spent: self.0.ledger.spent(&settings.model, self.0.clock.now()),
                tokens_per_day: settings.budget.tokens,
                micros_per_day: settings.budget.micros,
                unfit: candidate.unfit,
                priced: settings.price != Price::default(),
                key: settings.key.clone(),
                variable: served.variable.map(str::to_owned),
                seen: self.0.seen.of(&settings.model),
                model: settings.model.clone(),
            }
        };
        let mut all: Vec<ModelState> = self.0.served.iter().map(state).collect();
        if self.0.edge_first {
            all.sort_by_key(|one| !one.local);
        }
        all
    }

    /// The models that may be asked such a question now, in order.
    pub fn chain(&self, about: &About) -> Vec<ModelRef> {
        let all = self.0.among(&Wanted::Chain);
        let (order, _) = self.0.plan(&all, about, &Usage::default());
        let names = order.into_iter().map(|index| all[index].name.clone());
        names.collect()
    }

    /// The route that a question would take now; sends no request.
    pub fn explain(&self, about: &About) -> Route {
        let all = self.0.among(&Wanted::Chain);
        let (order, skipped) = self.0.plan(&all, about, &Usage::default());
        let first = order.first().map(|index| &all[*index]);
        Route {
            chosen: first.map(|s| s.name.clone()),
            local: first.is_some_and(|s| s.settings.local()),
            private: about.what().to_vec(),
            skipped,
            ..Route::default()
        }
    }

    /// Asks the first model of the configuration that may and can answer. Returns once it has begun to, with the way
    /// taken and its reply; where none does, the reply is a failure. To cancel, drop the future or the reply.
    pub async fn ask(&self, request: InferenceRequest, about: &About) -> (Route, Pieces) {
        self.ask_of(&Wanted::Chain, request, about).await
    }

    /// As [`Inference::ask`], of the models that are wanted.
    pub async fn ask_of(
        &self,
        wanted: &Wanted,
        request: InferenceRequest,
        about: &About,
    ) -> (Route, Pieces) {
        let mut asking = choice::Asking::new(&self.0, wanted, request, about);
        match asking.next().await {
            Ok(pieces) => (asking.route, pieces),
            Err(failure) => (asking.route, stream::iter([Err(failure)]).boxed()),
        }
    }

    /// As [`Inference::ask_of`], to the end of the reply: a model that fails while nothing of its reply was shown is
    /// followed by the next one.
    pub async fn ask_whole(
        &self,
        wanted: &Wanted,
        request: InferenceRequest,
        about: &About,
    ) -> (Route, Result<Whole, Failure>) {
        let mut asking = choice::Asking::new(&self.0, wanted, request, about);
        let whole = asking.whole().await;
        (asking.route, whole)
    }
}

impl asking::Missed {
    fn skip(&self) -> Skip {
        Skip {
            kind: self.what,
            why: self.why.clone(),
        }
    }
}

impl Inside {
    /// What the models of one server, or of one device, share. The model that is asked first decides how many requests
    /// it takes.
    fn provider(&self, served: &Served) -> Arc<Provider> {
        let settings = &served.settings;
        let key = match &served.device {
            Some(device) => format!("device {device}"),
            None => format!("{} {}", settings.model.provider(), settings.place),
        };
        let mut all = self
            .providers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Provider::new(settings.at_once));
        all.entry(key).or_insert_with(new).clone()
    }

    fn plan(&self, all: &[Arc<Served>], about: &About, most: &Usage) -> (Vec<usize>, Vec<Skipped>) {
        let all: Vec<_> = all.iter().map(|one| self.candidate(one, most)).collect();
        plan(&all, about, self.edge_first)
    }

    /// A model, with what stands against asking it now.
    fn candidate(&self, served: &Served, most: &Usage) -> Candidate {
        let settings = &served.settings;
        let steady = self.clock.steady_ms();
        let refused = self
            .provider(served)
            .breaker(|b| b.would_admit(steady))
            .err();
        let spent = self.ledger.spent(&settings.model, self.clock.now());
        let over = settings.budget.allows(&spent, most, settings.price).err();
        let over = over.map(|why| Skip {
            kind: SkipKind::Budget,
            why,
        });
        let away = matches!(settings.place, Place::Device(_)) && served.device.is_none();
        Candidate {
            model: served.name.clone(),
            local: settings.local(),
            private: settings.private,
            unfit: match away {
                true => Some(choice::away()),
                false => over
                    .or_else(|| self.key_refused(served))
                    .or(refused.map(resting)),
            },
        }
    }

    /// Why no model answers.
    fn nobody(&self, wanted: &Wanted, route: &Route, last: Option<asking::Missed>) -> Failure {
        if self.served.is_empty() && *wanted == Wanted::Chain {
            let why = "no language model is configured; start with --model PROVIDER/MODEL, or add a [[model]] to config.toml";
            return Failure::new(FailureKind::NoModel, why);
        }
        if let (Wanted::Named(model), true) = (wanted, route.skipped.is_empty()) {
            let why = format!(
                "{model} is no model of this node, and no connected device offers it; `clawmesh-node model list` shows \
                 those of this node"
            );
            return Failure::new(FailureKind::NoModel, why);
        }
        if *wanted == Wanted::AllShared && route.skipped.is_empty() && last.is_none() {
            let why = "no language model of this node is shared with other devices";
            return Failure::new(FailureKind::NoModel, why);
        }
        let only = |kind: SkipKind| route.skipped.iter().all(|s| s.skip.kind == kind);
        let kind = match &last {
            Some(missed) => missed.kind,
            None if only(SkipKind::Budget) => FailureKind::Budget,
            None if only(SkipKind::Key) => FailureKind::Unauthorized,
            None if only(SkipKind::Resting) || only(SkipKind::Away) => FailureKind::Unreachable,
            None => FailureKind::NoModel,
        };
        Failure {
            kind,
            why: route.explain(),
            retry_after_ms: last.and_then(|missed| missed.retry_after_ms),
        }
    }
}
