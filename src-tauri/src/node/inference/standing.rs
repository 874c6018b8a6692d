//! How the models stand: which cannot be asked and why, and the tries by which that ends. A server is asked for its list
//! of models at the time its breaker names; a key that was refused is tried again when it has changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::futures::Notified;

use super::asking::Try;
use super::choice::{Wanted, away};
use super::{Inference, Inside, Served};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::MODEL_OUTPUT_TOKENS;
use crate::domain::inference::mode::{Mode, Out, OutFor, Standing};
use crate::domain::inference::route::{Skip, SkipKind};
use crate::domain::inference::{Failure, FailureKind, ModelRef, Usage};
use crate::node::config::models::Place;

/// A fingerprint that tells one key from another.
pub(super) type KeyMark = [u8; 32];

/// A key that a server did not take.
struct Refused {
    why: String,
    /// The key that was sent; none where there was none.
    key: Option<KeyMark>,
}

/// The models whose key was refused, until it changes or a person says that they are to be tried again.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeMap<ModelRef, Refused>>);

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelRef, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn why(&self, model: &ModelRef) -> Option<String> {
        self.lock().get(model).map(|refused| refused.why.clone())
    }

    /// Whether the key that was refused is not the one of now.
    fn changed(&self, served: &Served) -> bool {
        let key = self.lock().get(&served.settings.model).map(|r| r.key);
        key.is_some_and(|key| key != served.key_mark())
    }

    /// Notes how a request went that was sent with this key.
    pub(super) fn told(&self, served: &Served, failure: Option<&Failure>, key: Option<KeyMark>) {
        let model = &served.settings.model;
        match failure {
            // A refusal of another device has to be resolved there.
            Some(failure) if failure.kind == FailureKind::Unauthorized && !served.is_away() => {
                let why = failure.why.clone();
                self.lock().insert(model.clone(), Refused { why, key });
            }
            _ => {
                self.lock().remove(model);
            }
        }
    }
}

impl Served {
    /// Whether it is a model of another device.
    fn is_away(&self) -> bool {
        matches!(self.settings.place, Place::Device(_))
    }

    /// The mark of the key that it would be asked with now.
    pub(super) fn key_mark(&self) -> Option<KeyMark> {
        match (self.keys.as_ref()?)() {
            Ok(key) => key.map(|key| key.mark()),
            Err(_) => Some(KeyMark::default()),
        }
    }
}

/// The least that a question of the planner may take.
fn least() -> Usage {
    Usage {
        output_tokens: u64::from(MODEL_OUTPUT_TOKENS),
        ..Usage::default()
    }
}

/// Why a model is not asked that is left alone for so long.
pub(super) fn resting(for_ms: u64) -> Skip {
    let why = match for_ms {
        0 => "it has failed lately, and another request is trying it".to_owned(),
        ms => format!(
            "it has failed lately and is left alone for {} s more",
            ms.div_ceil(1_000)
        ),
    };
    Skip {
        kind: SkipKind::Resting,
        why,
    }
}

impl Inside {
    /// Why a model is not asked whose key was refused.
    pub(super) fn key_refused(&self, served: &Served) -> Option<Skip> {
        let why = self.refusals.why(&served.settings.model)?;
        let why = format!(
            "{why}; it is asked again when the key has changed, or after `clawmesh-node planner resume`"
        );
        let kind = SkipKind::Key;
        Some(Skip { kind, why }).filter(|_| !served.is_away())
    }

    /// Why a model cannot be asked whatever the question is.
    fn out(&self, served: &Served) -> Option<Out> {
        let settings = &served.settings;
        let (now, steady) = (self.clock.now(), self.clock.steady_ms());
        let out = |reason, why, until| {
            let model = settings.model.clone();
            Some(Out {
                model,
                reason,
                why,
                until,
            })
        };
        if served.is_away() && served.device.is_none() {
            return out(OutFor::Away, away().why, None);
        }
        if let Some(why) = self.refusals.why(&settings.model) {
            return out(OutFor::Key, why, None);
        }
        let spent = self.ledger.spent(&settings.model, now);
        if let Err(why) = settings.budget.allows(&spent, &least(), settings.price) {
            return out(OutFor::Budget, why, Some(spent.ends()));
        }
        let rest = self.provider(served).breaker(|b| b.out(steady))?;
        let seen = self.seen.of(&settings.model).error;
        let why = seen.unwrap_or_else(|| "its server has failed lately".to_owned());
        let until = TimeMs(now.0.saturating_add(rest));
        out(OutFor::Failing, why, Some(until))
    }

    /// Tries whether a model's server answers.
    async fn probe(&self, served: &Served) {
        let provider = self.provider(served);
        if provider
            .breaker(|b| b.admit(self.clock.steady_ms()))
            .is_err()
        {
            // Another request is trying it.
            return;
        }
        let mut attempt = Try::new(self, served, &provider);
        let key = served.key_mark();
        let failure = served.model.probe().await.err();
        tracing::info!(model = %served.name, failure = failure.as_ref().map(|f| f.why.as_str()), "tried");
        attempt.tell(failure.as_ref(), key);
    }
}

impl Inference {
    /// How the models of the configuration stand.
    pub fn standing(&self) -> Standing {
        let inside = &self.0;
        let out = |served: &Arc<Served>| {
            let found = inside.found(served);
            if found.is_empty() {
                return inside.out(served);
            }
            // One device that has it is enough.
            let each: Option<Vec<Out>> = found.iter().map(|one| inside.out(one)).collect();
            each.and_then(|all| all.into_iter().next())
        };
        let out = inside.served.iter().filter_map(out).collect();
        Standing::of(inside.served.len(), out)
    }

    /// Whether a model may be asked.
    pub fn answers(&self) -> bool {
        !self.is_empty() && self.standing().mode == Mode::Active
    }

    /// Ends when how the models stand may have changed.
    pub fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// Tries each server whose time has come, and each model whose refused key has changed.
    pub async fn probe_due(&self) {
        let steady = self.0.clock.steady_ms();
        self.probe(|one| {
            self.0.refusals.changed(one)
                || self.0.provider(one).breaker(|b| b.out(steady)) == Some(0)
        })
        .await;
    }

    /// Tries each model that is out now, because a person says so.
    pub async fn probe_all(&self) {
        let steady = self.0.clock.steady_ms();
        self.probe(|one| {
            let rests = self.0.provider(one).breaker(|b| {
                b.hurry(steady);
                b.out(steady)
            });
            rests.is_some() || self.0.refusals.why(&one.settings.model).is_some()
        })
        .await;
    }

    async fn probe(&self, wanted: impl Fn(&Served) -> bool) {
        let all = self.0.among(&Wanted::Chain);
        // Of the models of one server the first one tries it.
        let mut tried = Vec::new();
        let due = all.iter().filter(|one| {
            let at = self.0.provider(one);
            let due = !one.is_away() && wanted(one);
            let first = tried.iter().all(|other| !Arc::ptr_eq(other, &at));
            if due && first {
                tried.push(at);
            }
            due && (first || self.0.refusals.why(&one.settings.model).is_some())
        });
        let due: Vec<_> = due.collect();
        join_all(due.into_iter().map(|one| self.0.probe(one))).await;
    }

    /// Forgets which keys were refused: the next question tries them.
    pub fn forgive(&self) {
        self.0.refusals.lock().clear();
        self.look();
    }

    /// Has it looked at once whether a model can be asked again.
    pub fn look(&self) {
        self.0.changed.notify_one();
    }
}
