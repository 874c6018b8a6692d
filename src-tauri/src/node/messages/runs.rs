//! Runs of the agents of this node, for messages of this node and of others. A run is written down before its agent is asked, so
//! that it is begun once, whatever is sent twice and whenever the node dies; its outcome is kept for who asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Messages;
use super::agents::of_agent;
use crate::adapters::gateway::Before;
use crate::adapters::store::messages::{self as rows, Begun, RunState};
use crate::domain::base::limits::{
    MESSAGE_ANSWER_MAX_BYTES, MESSAGE_SLICE_MAX_BYTES, MESSAGE_TEXT_MAX_BYTES,
    MESSAGE_TIMEOUT_MAX_MS, NAME_MAX_BYTES, RUNS_AT_ONCE, RUNS_OF_DEVICE_MAX,
    RUNS_OF_DEVICE_PER_HOUR,
};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::coordination::choose::{AgentRef, MODEL_AGENT};
use crate::node::context::{DURABLE, store_refusal};

/// Has an agent run a message: `{id, key, agent, text, timeoutMs}` → `{}`, once it is written down.
pub const RUN: &str = "message.run";
/// How a run stands: `{id, from}` → [`Told`], with its text from that byte on.
pub const TOLD: &str = "message.told";
/// Ends a run: `{id}` → `{}`.
pub const CANCEL: &str = "message.cancel";

const HOUR_MS: u64 = 3_600_000;

/// What is asked of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunAsk {
    /// The run.
    pub id: String,
    /// What a gateway knows it by.
    pub key: String,
    /// The agent.
    pub agent: AgentRef,
    /// The text.
    pub text: String,
    /// What names the conversation at a gateway; those of different devices are never one.
    #[serde(default)]
    pub session: String,
    /// How long it may take.
    pub timeout_ms: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Progress {
    /// The agent works on it.
    Running,
    /// It answered.
    Answered,
    /// It ended with an error.
    Failed,
    /// Nothing was run.
    NotRun,
    /// The node ended meanwhile.
    Interrupted,
}

/// What is told of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    /// How far it has come.
    pub state: Progress,
    /// What the agent said, from the byte that was asked for.
    #[serde(default)]
    pub text: String,
    /// How many bytes it has said in all.
    #[serde(default)]
    pub length: usize,
    /// Why it has no answer.
    #[serde(default)]
    pub why: Option<String>,
    /// Whether it is taken up where [`RUN`] comes again: only for one that is interrupted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// A run that is under way.
#[derive(Debug, Default)]
pub(super) struct Live {
    text: Mutex<String>,
    cancel: CancellationToken,
}

impl Live {
    pub(super) fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the agent says next; `false` where it is too much.
    pub(super) fn says(&self, piece: &str) -> bool {
        let mut text = self.text();
        let fits = text.len() + piece.len() <= MESSAGE_ANSWER_MAX_BYTES;
        if fits {
            text.push_str(piece);
        }
        fits
    }
}

type Key = (DeviceId, String);

/// The runs under way.
#[derive(Debug, Default)]
pub(super) struct Runs {
    live: Mutex<BTreeMap<Key, Arc<Live>>>,
    begun: Mutex<BTreeMap<DeviceId, VecDeque<u64>>>,
}

impl Runs {
    fn live(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.live().len()).unwrap_or(u32::MAX)
    }

    fn get(&self, key: &Key) -> Option<Arc<Live>> {
        self.live().get(key).cloned()
    }

    /// Takes a place; `None` where the run is under way.
    fn place(&self, key: &Key, own: bool) -> Result<Option<Arc<Live>>, Refusal> {
        let busy = |why: String| Err(Refusal::new(Code::Busy, why));
        let mut live = self.live();
        if live.contains_key(key) {
            return Ok(None);
        }
        let of_device = live.keys().filter(|(device, _)| *device == key.0).count();
        if !own && of_device >= RUNS_OF_DEVICE_MAX {
            return busy(format!(
                "{RUNS_OF_DEVICE_MAX} messages of yours are answered already"
            ));
        }
        if live.len() >= RUNS_AT_ONCE {
            return busy(format!("{RUNS_AT_ONCE} messages are answered already"));
        }
        let new = Arc::new(Live::default());
        live.insert(key.clone(), new.clone());
        Ok(Some(new))
    }

    fn end(&self, key: &Key) {
        self.live().remove(key);
    }

    /// Takes a run out of a device's share of an hour.
    fn admits(&self, device: &DeviceId, now: u64) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, at| {
            at.back()
                .is_some_and(|last| now.saturating_sub(*last) < HOUR_MS)
        });
        let of = begun.entry(device.clone()).or_default();
        while of
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= HOUR_MS)
        {
            of.pop_front();
        }
        let room = of.len() < RUNS_OF_DEVICE_PER_HOUR;
        if room {
            of.push_back(now);
        }
        room
    }
}

pub(super) fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

/// Begins a run; nothing is begun twice.
///
/// # Errors
/// `NOT_AUTHORIZED` or `UNKNOWN_TARGET` for an agent that does not answer this device, `BUSY`, `OVER_BUDGET`, or what the store says.
pub(super) async fn begin(
    messages: &Messages,
    device: &DeviceId,
    ask: RunAsk,
) -> Result<(), Refusal> {
    let own = device == messages.own_id();
    let agents = match own {
        true => messages.own_agents(),
        false => messages.agents_for(device),
    };
    if !agents.contains(&ask.agent) {
        let why = match agents.is_empty() {
            true => "no agent of this node answers messages of this device".to_owned(),
            false => format!(
                "the agent {} does not answer messages of this device",
                ask.agent
            ),
        };
        return Err(Refusal::new(Code::UnknownTarget, why));
    }
    if ask.text.is_empty() || ask.text.len() > MESSAGE_TEXT_MAX_BYTES {
        return Err(invalid(format!(
            "text must have 1 to {MESSAGE_TEXT_MAX_BYTES} bytes"
        )));
    }
    let id = |id: &str| !id.is_empty() && id.len() <= NAME_MAX_BYTES;
    if !id(&ask.id) || !id(&ask.key) {
        return Err(invalid(format!(
            "id and key must have 1 to {NAME_MAX_BYTES} bytes"
        )));
    }
    let key = (device.clone(), ask.id.clone());
    if !own && !messages.0.runs.admits(device, messages.clock.steady_ms()) {
        let why = format!("more than {RUNS_OF_DEVICE_PER_HOUR} messages in an hour");
        return Err(Refusal::new(Code::OverBudget, why));
    }
    let Some(live) = messages.0.runs.place(&key, own)? else {
        return Ok(());
    };
    let (run, of, agent, now) = (
        ask.id.clone(),
        device.clone(),
        ask.agent.to_string(),
        messages.now(),
    );
    let gateway = ask.agent.gateway.as_deref();
    let process = gateway.and_then(|gateway| messages.0.gateways.process(gateway));
    let is_known = process.is_some();
    let begun = messages
        .store
        .write(DURABLE, "message run", move |c| {
            rows::begin_run(c, &of, &run, (&agent, process.as_deref()), now)
        })
        .await;
    let before = match begun {
        Ok(Begun::Anew) => None,
        Ok(Begun::TakenUp { process, began_at }) => Some(Before {
            process,
            at: began_at.0,
        }),
        // It was begun before, and is over.
        Ok(Begun::Known) => {
            messages.0.runs.end(&key);
            return Ok(());
        }
        Err(error) => {
            messages.0.runs.end(&key);
            return Err(store_refusal(&error));
        }
    };
    let is_known = is_known || before.is_some();
    let task = Box::pin(carry_out(
        messages.clone(),
        key,
        ask,
        (before, is_known),
        live,
    ));
    messages.tasks.passing("run of an agent", task);
    Ok(())
}

/// `is_known` says that it is known which process of a gateway is asked.
async fn carry_out(
    messages: Messages,
    key: Key,
    ask: RunAsk,
    (before, is_known): (Option<Before>, bool),
    live: Arc<Live>,
) {
    let limit = Duration::from_millis(ask.timeout_ms.min(MESSAGE_TIMEOUT_MAX_MS));
    let end = tokio::select! {
        biased;
        () = live.cancel.cancelled() => cut_off(&ask, "it was taken back"),
        () = messages.tasks.stop().cancelled() => match is_known {
            true => RunState::Left("the node ended".to_owned()),
            false => cut_off(&ask, "the node ended"),
        },
        end = tokio::time::timeout(limit, of_agent(&messages, &key.0, &ask, before, &live)) => {
            end.unwrap_or_else(|_| cut_off(&ask, "it gave no answer in time"))
        }
    };
    let (device, id) = key.clone();
    let now = messages.now();
    let written = messages
        .store
        .write(DURABLE, "message run", move |c| {
            rows::end_run(c, &device, &id, &end, now)
        })
        .await;
    if let Err(error) = written {
        tracing::error!("the outcome of a message is not written down: {error}");
    }
    messages.0.runs.end(&key);
}

/// How a run stands that is not waited for any more.
fn cut_off(ask: &RunAsk, why: &str) -> RunState {
    match ask.agent.is_without_effects() {
        true => RunState::NotRun(why.to_owned()),
        false => RunState::Interrupted(why.to_owned()),
    }
}

/// The part of a text from a byte on, cut between characters.
fn slice(text: &str, from: usize) -> String {
    let end = from.saturating_add(MESSAGE_SLICE_MAX_BYTES).min(text.len());
    let whole = |at: &usize| text.is_char_boundary(*at);
    let (Some(from), Some(end)) = ((from..=text.len()).find(whole), (0..=end).rev().find(whole))
    else {
        return String::new();
    };
    text.get(from..end.max(from)).unwrap_or_default().to_owned()
}

/// How a run stands, with its text from a byte on.
///
/// # Errors
/// `NOT_FOUND` where this device has begun none of this id, or what the store says.
pub(super) async fn look(
    messages: &Messages,
    device: &DeviceId,
    id: &str,
    from: usize,
) -> Result<Told, Refusal> {
    let key = (device.clone(), id.to_owned());
    let running = |live: &Live| {
        let text = live.text();
        Told {
            state: Progress::Running,
            text: slice(&text, from),
            length: text.len(),
            why: None,
            again: false,
        }
    };
    if let Some(live) = messages.0.runs.get(&key) {
        return Ok(running(&live));
    }
    let (of, run) = key;
    let read = messages
        .store
        .read_committed("message run", move |c| rows::run(c, &of, &run));
    let state = read.await.map_err(|e| store_refusal(&e))?;
    let ended = |state: Progress, why: String| Told {
        state,
        text: String::new(),
        length: 0,
        why: Some(why),
        again: false,
    };
    Ok(match state {
        None => return Err(Refusal::new(Code::NotFound, "no such run was begun here")),
        Some(RunState::Running) => Told {
            state: Progress::Running,
            text: String::new(),
            length: 0,
            why: None,
            again: false,
        },
        Some(RunState::Answered(answer)) => Told {
            state: Progress::Answered,
            text: slice(&answer, from),
            length: answer.len(),
            why: None,
            again: false,
        },
        Some(RunState::Failed(why)) => ended(Progress::Failed, why),
        Some(RunState::NotRun(why)) => ended(Progress::NotRun, why),
        Some(RunState::Interrupted(why)) => ended(Progress::Interrupted, why),
        Some(RunState::Left(why)) => Told {
            again: true,
            ..ended(Progress::Interrupted, why)
        },
    })
}

/// Ends a run that is under way.
pub(super) fn cancel(messages: &Messages, device: &DeviceId, id: &str) {
    let key = (device.clone(), id.to_owned());
    if let Some(live) = messages.0.runs.get(&key) {
        live.cancel.cancel();
    }
}

/// Ends the runs that were under way when the node ended before.
///
/// # Errors
/// What the store says.
pub(super) async fn recover(messages: &Messages) -> Result<(), crate::adapters::store::StoreError> {
    let (now, why) = (messages.now(), "the node ended while it was run");
    let ended = messages
        .store
        .write(DURABLE, "message runs", move |c| {
            rows::interrupt_runs(c, MODEL_AGENT, why, now)
        })
        .await?;
    if ended > 0 {
        tracing::warn!("{ended} runs of agents were cut off when the node ended before");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_cut_between_characters_and_many_make_the_whole() {
        let text = "é".repeat(MESSAGE_SLICE_MAX_BYTES);
        let mut whole = String::new();
        while whole.len() < text.len() {
            let next = slice(&text, whole.len());
            assert!(!next.is_empty() && next.len() <= MESSAGE_SLICE_MAX_BYTES);
            whole.push_str(&next);
        }
        assert_eq!(whole, text);
        assert_eq!(slice("abc", 3), "");
        assert_eq!(slice("abc", 99), "");
        assert_eq!(slice("é", 1), "");
    }
}
