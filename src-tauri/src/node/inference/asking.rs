//! One model asked one question: its turn, the breaker of its server, the budget, further tries while nothing was said,
//! and then its reply to the end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::ledger::{Refused, Reserved};
use super::standing::KeyMark;
use super::{Inside, Pace, Provider, Served, resting};
use crate::adapters::llm::Pieces;
use crate::domain::base::limits::{MODEL_RETRIES_MAX, MODEL_RETRY_WAIT_MAX_MS};
use crate::domain::inference::route::SkipKind;
use crate::domain::inference::{Failure, FailureKind, InferenceRequest, Piece, Usage};
use crate::node::config::models::ModelSettings;

/// Why a model did not begin to answer.
pub(super) struct Missed {
    /// As people are told.
    pub what: SkipKind,
    /// As it is shown to the asker.
    pub kind: FailureKind,
    /// The reason in a sentence.
    pub why: String,
    /// When its server wants to be asked again.
    pub retry_after_ms: Option<u64>,
}

impl Missed {
    fn new(what: SkipKind, kind: FailureKind, why: String) -> Self {
        Self {
            what,
            kind,
            why,
            retry_after_ms: None,
        }
    }
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self {
            what: SkipKind::Failed,
            kind: failure.kind,
            why: failure.why,
            retry_after_ms: failure.retry_after_ms,
        }
    }
}

/// A turn at a provider.
struct Turn {
    _one: OwnedSemaphorePermit,
    lent: Option<OwnedSemaphorePermit>,
}

/// Waits for a turn. Requests of other devices leave one to this node where a provider takes several.
async fn turn(provider: &Provider, pace: Pace, lent: bool) -> Option<Turn> {
    let acquire = async {
        let lent = match lent {
            true => Some(provider.lent.clone().acquire_owned().await.ok()?),
            false => None,
        };
        let one = provider.turns.clone().acquire_owned().await.ok()?;
        Some(Turn { _one: one, lent })
    };
    let mut acquire = pin!(acquire);
    let (soon, later) = match lent {
        true => (pace.turn, Duration::ZERO),
        false => (pace.yields, pace.turn.saturating_sub(pace.yields)),
    };
    if let Ok(turn) = timeout(soon, acquire.as_mut()).await {
        return turn;
    }
    let _pressing = (!lent).then(|| Pressing::at(provider));
    timeout(later, acquire).await.ok().flatten()
}

/// A request of this node that waits for its turn.
struct Pressing<'a>(&'a Provider);

impl<'a> Pressing<'a> {
    fn at(provider: &'a Provider) -> Self {
        provider.pressing.send_modify(|n| *n += 1);
        Self(provider)
    }
}

impl Drop for Pressing<'_> {
    fn drop(&mut self) {
        self.0.pressing.send_modify(|n| *n -= 1);
    }
}

impl Provider {
    /// What comes of it; nothing if the turn was lent and this node needs it, as there is no other.
    async fn unless_needed<T>(&self, lent: bool, what: impl Future<Output = T>) -> Option<T> {
        if !lent || self.at_once > 1 {
            return Some(what.await);
        }
        let mut pressing = self.pressing.subscribe();
        tokio::select! {
            biased;
            _ = pressing.wait_for(|n| *n > 0) => None,
            done = what => Some(done),
        }
    }
}

const NEEDED: &str = "the model is needed by its own node now";

fn needed_now() -> Missed {
    let why = NEEDED.to_owned();
    Missed::new(SkipKind::Busy, FailureKind::RateLimited, why)
}

/// Asks one model, for another device where it is lent; its reply once it has begun.
pub(super) async fn begin(
    inside: &Arc<Inside>,
    served: &Arc<Served>,
    request: &Arc<InferenceRequest>,
    most: &Usage,
    lent: bool,
) -> Result<Pieces, Missed> {
    let provider = inside.provider(served);
    let Some(turn) = turn(&provider, inside.pace, lent).await else {
        let why = format!(
            "{} requests are under way there, as many as at_once allows",
            served.settings.at_once
        );
        return Err(Missed::new(SkipKind::Busy, FailureKind::RateLimited, why));
    };
    let mut tries = 0;
    loop {
        let begun = inside.clock.steady_ms();
        let asked = once(inside, served, &provider, request, most);
        let asked = provider.unless_needed(lent, asked).await;
        match asked.unwrap_or_else(|| Err(needed_now())) {
            Ok((stream, first, reserved)) => {
                let first_ms = inside.clock.steady_ms().saturating_sub(begun);
                let reply = Reply {
                    inside: inside.clone(),
                    provider,
                    stream,
                    first: Some(first),
                    reserved,
                    served: served.clone(),
                    begun,
                    first_ms,
                    ended: false,
                    turn: Some(turn),
                };
                return Ok(reply.pieces());
            }
            Err(missed) => {
                let next = wait_before_next(inside, &missed, tries);
                // Another device has tried again itself.
                let Some(wait) = next.filter(|_| served.device.is_none()) else {
                    return Err(missed);
                };
                tries += 1;
                sleep(wait).await;
            }
        }
    }
}

/// How long to wait before the same model is tried again, if it is.
fn wait_before_next(inside: &Inside, missed: &Missed, tries: u32) -> Option<Duration> {
    let passes = matches!(
        missed.kind,
        FailureKind::Unreachable | FailureKind::RateLimited | FailureKind::Server
    );
    if missed.what != SkipKind::Failed || !passes || tries >= MODEL_RETRIES_MAX {
        return None;
    }
    let usual = inside.pace.retry.saturating_mul(1 << tries);
    let asked = missed.retry_after_ms.map(Duration::from_millis);
    if asked.is_some_and(|wait| wait > Duration::from_millis(MODEL_RETRY_WAIT_MAX_MS)) {
        return None;
    }
    let usual_ms = u64::try_from(usual.as_millis()).unwrap_or(u64::MAX);
    let jitter = Duration::from_millis(inside.random.below(usual_ms / 2 + 1));
    Some(usual.max(asked.unwrap_or_default()) + jitter)
}

/// A try that ends without being told as well or badly leaves the breaker free for the next one.
pub(super) struct Try<'a> {
    inside: &'a Inside,
    served: &'a Served,
    provider: &'a Provider,
    told: bool,
}

impl<'a> Try<'a> {
    pub(super) fn new(inside: &'a Inside, served: &'a Served, provider: &'a Provider) -> Self {
        Self {
            inside,
            served,
            provider,
            told: false,
        }
    }

    /// How it went, with the key that was sent.
    pub(super) fn tell(&mut self, failure: Option<&Failure>, key: Option<KeyMark>) {
        self.told = true;
        self.inside.refusals.told(self.served, failure, key);
        self.inside.tell(self.served, self.provider, failure);
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.provider.breaker(super::Breaker::withdrawn);
        }
    }
}

impl Inside {
    /// Notes how a reply went that came to its end.
    fn answered(&self, served: &Served, begun: u64, first_ms: u64) {
        let took_ms = self.clock.steady_ms().saturating_sub(begun);
        // Of models that no configuration names nothing is kept.
        if served.counted {
            let model = &served.settings.model;
            self.seen
                .answered(model, self.clock.now(), first_ms, took_ms);
        }
    }

    /// Tells the breaker how a request to a model's server went.
    fn tell(&self, served: &Served, provider: &Provider, failure: Option<&Failure>) {
        if let Some(failure) = failure.filter(|_| served.counted) {
            self.seen
                .failed(&served.settings.model, self.clock.now(), failure);
        }
        let (now, jitter) = (self.clock.steady_ms(), self.random.below(u64::MAX));
        provider.breaker(|breaker| match failure {
            Some(failure) => breaker.failed(failure, now, jitter),
            None => breaker.succeeded(),
        });
        self.changed.notify_one();
    }
}

async fn once(
    inside: &Inside,
    served: &Served,
    provider: &Provider,
    request: &Arc<InferenceRequest>,
    most: &Usage,
) -> Result<(Pieces, Piece, Option<Reserved>), Missed> {
    let settings = &served.settings;
    let admitted = provider.breaker(|b| b.admit(inside.clock.steady_ms()));
    admitted
        .map_err(|ms| Missed::new(SkipKind::Resting, FailureKind::Unreachable, resting(ms).why))?;
    let mut attempt = Try::new(inside, served, provider);
    let key = served.key_mark();
    let mut reserved = match served.counted {
        true => Some(reserve(inside, settings, most).await?),
        false => None,
    };
    let mut stream = served.model.infer(request.clone());
    let silent = || {
        let why = format!(
            "{} said nothing at all; ask again, or ask otherwise",
            settings.model
        );
        Failure::new(FailureKind::BadReply, why)
    };
    let first = match stream.next().await {
        Some(Ok(Piece::End(_))) | None => Err(silent()),
        Some(first) => first,
    };
    match first {
        Ok(first) => {
            attempt.tell(None, key);
            Ok((stream, first, reserved))
        }
        Err(failure) => {
            attempt.tell(Some(&failure), key);
            if let Some(reserved) = &mut reserved {
                reserved.failed(failure.kind);
            }
            Err(failure.into())
        }
    }
}

/// Counts a request with the most it may take.
async fn reserve(
    inside: &Inside,
    settings: &ModelSettings,
    most: &Usage,
) -> Result<Reserved, Missed> {
    let terms = (settings.budget, settings.price);
    let now = inside.clock.now();
    let reserved = inside
        .ledger
        .reserve(&settings.model, terms, *most, now)
        .await;
    reserved.map_err(|refused| match refused {
        Refused::Budget(why) => Missed::new(SkipKind::Budget, FailureKind::Budget, why),
        Refused::Store(error) => {
            let why = format!("what it uses cannot be written down, so it is not asked: {error}");
            Missed::new(SkipKind::Budget, FailureKind::Budget, why)
        }
    })
}

/// A reply that has begun.
struct Reply {
    inside: Arc<Inside>,
    provider: Arc<Provider>,
    stream: Pieces,
    first: Option<Piece>,
    /// The counted usage; `None` for a model that is not counted.
    reserved: Option<Reserved>,
    served: Arc<Served>,
    /// When it was asked, on the steady clock.
    begun: u64,
    first_ms: u64,
    ended: bool,
    /// Given back with the end.
    turn: Option<Turn>,
}

impl Reply {
    /// Ends for a request of this node; that is no failure of the model.
    fn given_up(mut self) -> (Result<Piece, Failure>, Self) {
        (self.reserved, self.ended, self.turn) = (None, true, None);
        self.stream = stream::empty().boxed();
        (Err(Failure::new(FailureKind::RateLimited, NEEDED)), self)
    }

    fn pieces(self) -> Pieces {
        stream::unfold(self, |mut reply| async move {
            if reply.ended {
                return None;
            }
            let lent = reply.turn.as_ref().is_some_and(|turn| turn.lent.is_some());
            let next = match reply.first.take() {
                Some(first) => Some(Ok(first)),
                None => {
                    let next = reply.stream.next();
                    match reply.provider.unless_needed(lent, next).await {
                        Some(next) => next,
                        None => return Some(reply.given_up()),
                    }
                }
            };
            let item = match next {
                Some(Ok(Piece::End(usage))) => {
                    (reply.ended, reply.turn) = (true, None);
                    if let Some(reserved) = reply.reserved.take() {
                        reserved.end(&usage).await;
                    }
                    reply
                        .inside
                        .answered(&reply.served, reply.begun, reply.first_ms);
                    Ok(Piece::End(usage))
                }
                Some(Ok(piece)) => {
                    if let Some(reserved) = &mut reply.reserved {
                        reserved.saw(&piece);
                    }
                    Ok(piece)
                }
                broken => {
                    let broken = broken.and_then(Result::err).unwrap_or_else(|| {
                        Failure::new(FailureKind::BadReply, "the reply stopped without an end")
                    });
                    (reply.reserved, reply.ended, reply.turn) = (None, true, None);
                    reply.stream = stream::empty().boxed();
                    let (served, provider) = (&reply.served, &reply.provider);
                    reply.inside.tell(served, provider, Some(&broken));
                    Err(broken)
                }
            };
            Some((item, reply))
        })
        .boxed()
    }
}
