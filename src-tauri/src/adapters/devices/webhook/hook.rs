//! One hook: its token, its rate, and the values that wait until the node takes them.
//!
//! A request counts as a whole: each of its values waits, or none does. Who sent it is answered once every one of them is kept.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Notify, oneshot};

use super::Knock;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::Keeper;
use crate::adapters::devices::value::{document, number, number_in};
use crate::domain::base::limits::{
    HOOK_BODY_MAX_BYTES, HOOK_BURST, HOOK_PER_SEC, HOOK_TOKEN_MIN_BYTES, HOOK_TOKEN_MS,
    HOOK_WAITING_MAX,
};
use crate::domain::base::{Code, Digest, Refusal, TimeMs};

/// By how much a sender's clock may be ahead before it tells nothing of a value's age, in milliseconds.
const CLOCKS_APART_MS: u64 = 5_000;

/// A number up to this is a time in seconds, a larger one in milliseconds.
const SECONDS_MAX: f64 = 1e11;

/// What a hook is made of.
pub(super) struct Plan {
    pub name: String,
    /// The name of the credential with the token.
    pub token: String,
    /// Whether other machines may send.
    pub remote: bool,
    /// Whether they may without TLS.
    pub plain: bool,
    /// Where the document says when it was measured.
    pub time: Option<String>,
    /// Whether every value is sent when it is measured.
    pub live: bool,
    pub keeper: Arc<dyn Keeper>,
    pub clock: SharedClock,
    pub inlets: Vec<Inlet>,
}

/// Where the values of one reading come in.
pub(super) struct Inlet {
    /// The reading, for people.
    pub reading: String,
    /// Where in the document.
    pub json: Option<String>,
    /// Tells its reader.
    pub news: Arc<Notify>,
}

/// A value that waits.
pub(super) struct Sent {
    pub raw: f64,
    /// How old it was when it came, in milliseconds, where that is known.
    pub age_ms: Option<u64>,
    /// Whether the document said when it was measured.
    pub timed: bool,
    /// When it came, on a clock that never steps.
    pub at_ms: u64,
    /// Said once it is kept, or why it is not.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// What there is of one reading.
#[derive(Default)]
struct Waiting {
    values: VecDeque<Sent>,
    /// When the newest that was taken was measured, as its sender said.
    newest: Option<TimeMs>,
    /// Why the last request was no good.
    fault: Option<String>,
}

impl Waiting {
    /// Whether a value of that time is older than one that was taken. What this node's clock has not come to, because it was
    /// set back since, orders nothing.
    fn is_past(&self, at: Option<TimeMs>, now: TimeMs) -> bool {
        let newest = self.newest.filter(|n| n.since(now) <= CLOCKS_APART_MS);
        matches!((at, newest), (Some(at), Some(newest)) if at < newest)
    }
}

/// What a body says.
struct Content {
    /// The value of each reading.
    values: Vec<Result<Option<f64>, String>>,
    /// How old they are, where that is known.
    age_ms: Option<u64>,
    /// When they were measured, where it says so.
    at: Option<TimeMs>,
}

/// How many requests are left, in thousandths.
struct Rate {
    left: u64,
    at_ms: u64,
}

/// A hook.
pub struct Hook {
    plan: Plan,
    /// The digest of the token, and when it was read.
    known: Mutex<Option<(Digest, u64)>>,
    rate: Mutex<Rate>,
    waiting: Mutex<Vec<Waiting>>,
}

/// The readings of a request that are kept, or are being kept.
#[derive(Debug)]
pub struct Kept {
    /// Those that the request had.
    pub readings: Vec<String>,
    /// Those of which it had nothing, or a value that was measured before the last one that was taken.
    pub left_out: Vec<String>,
    done: Vec<oneshot::Receiver<Result<(), String>>>,
}

impl Kept {
    /// Waits until all are kept.
    ///
    /// # Errors
    /// `STORAGE_FAILED` where one is not, `BUSY` where the hook was closed meanwhile.
    pub async fn stored(self) -> Result<(Vec<String>, Vec<String>), Refusal> {
        for done in self.done {
            match done.await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Err(Refusal::new(Code::StorageFailed, why)),
                Err(_) => {
                    let why =
                        "the hook was closed before the node had kept what came; send it again";
                    return Err(Refusal::new(Code::Busy, why));
                }
            }
        }
        Ok((self.readings, self.left_out))
    }
}

impl Hook {
    pub(super) fn new(plan: Plan) -> Self {
        let waiting = plan.inlets.iter().map(|_| Waiting::default()).collect();
        let rate = Rate {
            left: HOOK_BURST * 1_000,
            at_ms: plan.clock.steady_ms(),
        };
        Self {
            plan,
            known: Mutex::default(),
            rate: Mutex::new(rate),
            waiting: Mutex::new(waiting),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its path.
    pub(super) fn path(&self) -> String {
        format!("/hooks/{}", self.plan.name)
    }

    /// Tells the reader of a reading that something came.
    pub(super) fn news(&self, at: usize) -> Arc<Notify> {
        let inlet = self.plan.inlets.get(at);
        inlet.map(|inlet| inlet.news.clone()).unwrap_or_default()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of its token; one that was set anew counts within seconds.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn token(&self) -> Result<Digest, String> {
        let now_ms = self.plan.clock.steady_ms();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((digest, at_ms)) = *known
            && now_ms.saturating_sub(at_ms) < HOOK_TOKEN_MS
        {
            return Ok(digest);
        }
        *known = None;
        let token = self.plan.keeper.password(&self.plan.token)?;
        if token.len() < HOOK_TOKEN_MIN_BYTES {
            return Err(format!(
                "the token {} has fewer than {HOOK_TOKEN_MIN_BYTES} characters, so nothing is taken: set a longer one, for \
                 example with `openssl rand -hex 32 | clawmesh-node credential set {}`",
                self.plan.token, self.plan.token
            ));
        }
        let digest = Digest::of(&[token.as_bytes()]);
        *known = Some((digest, now_ms));
        Ok(digest)
    }

    /// Lets a sender pass that has the token.
    pub(super) fn admit(&self, knock: &Knock) -> Result<(), Refusal> {
        let plan = &self.plan;
        let why = match knock.near {
            true => None,
            false if !plan.remote => Some(
                "this hook takes readings of this machine only; `remote = true` in its table lets others send",
            ),
            false if !knock.secure && !plan.plain => Some(
                "this hook takes readings of other machines over https only, and the token went over the network in plain text: set another one",
            ),
            false => None,
        };
        if let Some(why) = why {
            return Err(Refusal::new(Code::NotAuthorized, why));
        }
        let now_ms = plan.clock.steady_ms();
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now_ms.saturating_sub(rate.at_ms);
        let more = since.saturating_mul(HOOK_PER_SEC);
        rate.left = rate.left.saturating_add(more).min(HOOK_BURST * 1_000);
        rate.at_ms = now_ms;
        match rate.left.checked_sub(1_000) {
            Some(left) => rate.left = left,
            None => {
                let why = format!(
                    "more than {HOOK_PER_SEC} requests a second: send several readings in one document, or more rarely"
                );
                return Err(Refusal::new(Code::RateExceeded, why));
            }
        }
        Ok(())
    }

    /// Takes what was sent, and waits until it is kept: the readings of it, and those that were left out. Whoever waits does not
    /// hold the hook open.
    ///
    /// # Errors
    /// As [`Hook::take`] and [`Kept::stored`].
    pub async fn keep(self: Arc<Self>, body: &[u8]) -> Result<(Vec<String>, Vec<String>), Refusal> {
        let kept = self.take(body)?;
        drop(self);
        kept.stored().await
    }

    /// Takes what was sent: each value waits for its reader, or none does. One that was measured before the last that was taken
    /// is left out, so that nothing old replaces what is newer.
    ///
    /// # Errors
    /// `TOO_LARGE`, `INVALID_PARAMS` where there is no value or one that is none, `BUSY` where too many wait.
    pub fn take(&self, body: &[u8]) -> Result<Kept, Refusal> {
        if body.len() > HOOK_BODY_MAX_BYTES {
            let why = format!("a hook takes {HOOK_BODY_MAX_BYTES} bytes at most");
            return Err(Refusal::new(Code::TooLarge, why));
        }
        let bad = |why: String| Refusal::new(Code::InvalidParams, why);
        let Content {
            values: found,
            age_ms,
            at,
        } = self.values(body).map_err(|why| {
            self.all_faulty(&why);
            bad(why)
        })?;
        let wrong: Vec<String> = self.faults(&found);
        if !wrong.is_empty() {
            return Err(bad(wrong.join("; ")));
        }
        let mut kept = Kept {
            readings: Vec::new(),
            left_out: Vec::new(),
            done: Vec::new(),
        };
        let mut waiting = self.waiting();
        let mut each = found.iter().zip(waiting.iter());
        if each.any(|(value, slot)| {
            matches!(value, Ok(Some(_))) && slot.values.len() >= HOOK_WAITING_MAX
        }) {
            let why = format!("{HOOK_WAITING_MAX} values wait already; send it again in a moment");
            return Err(Refusal::new(Code::Busy, why));
        }
        let (at_ms, now) = (self.plan.clock.steady_ms(), self.plan.clock.now());
        let mut past = false;
        for ((inlet, slot), value) in self.plan.inlets.iter().zip(waiting.iter_mut()).zip(found) {
            let Ok(Some(raw)) = value else {
                kept.left_out.push(inlet.reading.clone());
                continue;
            };
            if slot.is_past(at, now) {
                past = true;
                kept.left_out.push(inlet.reading.clone());
                continue;
            }
            slot.newest = at.or(slot.newest);
            let (done, told) = oneshot::channel();
            slot.fault = None;
            slot.values.push_back(Sent {
                raw,
                age_ms,
                timed: at.is_some(),
                at_ms,
                done,
            });
            kept.readings.push(inlet.reading.clone());
            kept.done.push(told);
            inlet.news.notify_one();
        }
        drop(waiting);
        if kept.readings.is_empty() && !past {
            let why = "there is none of its readings in it";
            self.all_faulty(why);
            return Err(bad(why.to_owned()));
        }
        Ok(kept)
    }

    /// The value of each reading in a body, and its age.
    fn values(&self, body: &[u8]) -> Result<Content, String> {
        let plan = &self.plan;
        let text = std::str::from_utf8(body).map_err(|_| "it is no UTF-8 text".to_owned())?;
        let is_json = plan.time.is_some() || plan.inlets.iter().any(|i| i.json.is_some());
        let whole = match is_json {
            true => document(text)?,
            false => Value::Null,
        };
        let value = |inlet: &Inlet| match &inlet.json {
            Some(pointer) => match number_in(&whole, pointer) {
                Ok(Some(odd)) if !odd.is_finite() => {
                    Err(format!("{pointer}: {odd} is no finite number"))
                }
                found => found.map_err(|why| format!("{pointer}: {why}")),
            },
            None => number(body, None, HOOK_BODY_MAX_BYTES).map(Some),
        };
        let values = plan.inlets.iter().map(value).collect();
        let now = plan.clock.now();
        let at = plan.time.as_ref();
        let at = at.and_then(|pointer| moment(whole.pointer(pointer)?));
        // One that is still to come says nothing.
        let at = at.filter(|at| at.since(now) <= CLOCKS_APART_MS);
        let age_ms = match at {
            Some(at) => Some(now.since(at)),
            None => plan.live.then_some(0),
        };
        Ok(Content { values, age_ms, at })
    }

    fn all_faulty(&self, why: &str) {
        let mut waiting = self.waiting();
        for (inlet, slot) in self.plan.inlets.iter().zip(waiting.iter_mut()) {
            slot.fault = Some(format!(
                "what was sent to {} is no good: {why}",
                self.path()
            ));
            inlet.news.notify_one();
        }
    }

    /// Notes which readings a request has wrong; says them.
    fn faults(&self, found: &[Result<Option<f64>, String>]) -> Vec<String> {
        let mut waiting = self.waiting();
        let each = self.plan.inlets.iter().zip(waiting.iter_mut()).zip(found);
        let wrong = each.filter_map(|((inlet, slot), value)| {
            let why = value.as_ref().err()?;
            slot.fault = Some(format!(
                "what was sent to {} is no good: {why}",
                self.path()
            ));
            inlet.news.notify_one();
            Some(format!("{}: {why}", inlet.reading))
        });
        wrong.collect()
    }

    /// The oldest value of a reading that waits.
    ///
    /// # Errors
    /// Why the last request was no good, where nothing waits.
    pub(super) fn next(&self, at: usize) -> Result<Option<Sent>, String> {
        let mut waiting = self.waiting();
        let Some(slot) = waiting.get_mut(at) else {
            return Ok(None);
        };
        let next = slot.values.pop_front();
        if !slot.values.is_empty()
            && let Some(inlet) = self.plan.inlets.get(at)
        {
            inlet.news.notify_one();
        }
        match (next, &slot.fault) {
            (None, Some(why)) => Err(why.clone()),
            (next, _) => Ok(next),
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hook({})", self.plan.name)
    }
}

/// The time that a document says: RFC 3339, or seconds or milliseconds since 1970.
fn moment(said: &Value) -> Option<TimeMs> {
    let of_number = |number: f64| {
        let ms = if number < SECONDS_MAX {
            number * 1_000.0
        } else {
            number
        };
        // Every double below this is a whole number of milliseconds, as far as it counts.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (0.0..SECONDS_MAX * 1_000.0)
            .contains(&ms)
            .then_some(TimeMs(ms as u64))
    };
    match said {
        Value::Number(number) => of_number(number.as_f64()?),
        Value::String(text) => match OffsetDateTime::parse(text.trim(), &Rfc3339) {
            Ok(at) => {
                let ms = at.unix_timestamp_nanos() / 1_000_000;
                u64::try_from(ms).ok().map(TimeMs)
            }
            Err(_) => of_number(text.trim().parse().ok()?),
        },
        _ => None,
    }
}
