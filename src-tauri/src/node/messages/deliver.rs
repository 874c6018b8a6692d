//! One message on its way: a node is chosen and asked, what it says is heard, and another is asked where that is allowed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::runs::{self, CANCEL, Progress, RUN, RunAsk, TOLD, Told};
use super::{Asked, Messages};
use crate::adapters::store::Class;
use crate::domain::base::limits::{
    MESSAGE_ALONE_WAIT_MAX_MS, MESSAGE_ANSWER_MAX_BYTES, MESSAGE_ATTEMPTS_MAX, MESSAGE_POLL_MS,
    MESSAGE_SILENT_MS, MESSAGE_WAIT_MS, TEXT_MAX_CHARS,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::coordination::choose::Choice;
use crate::domain::coordination::message::{
    Attempt, Message, MessageState, Missed, Next, RUN_FAILED, after,
};
use crate::node::context::DURABLE;
use crate::node::routing;

/// The longest time between two looks for a node, in milliseconds.
const WAIT_MAX_MS: u64 = 30_000;

/// What a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// To run it.
    Ask,
    /// To go on with the run that it has.
    TakeUp,
    /// What became of it.
    Look,
}

/// What came of asking one node.
enum Tried {
    /// It is over, or is not this task's any more.
    Over,
    /// It gave no answer.
    Missed(Missed, String),
}

/// Works on a message until it is over or waits in the queue again, also where the disk does not take it at first.
pub(super) async fn deliver(messages: &Messages, mut message: Message, cancel: &CancellationToken) {
    let id = message.id.clone();
    let mut wait = MESSAGE_WAIT_MS;
    while let Err(refusal) = work(messages, message, cancel).await {
        tracing::warn!(message = id, "a message waits: {}", refusal.message);
        message = loop {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            wait = (wait * 2).min(WAIT_MAX_MS);
            match messages.message(&id).await {
                Ok(message) if message.state.is_over() => return,
                Ok(message) => break message,
                Err(refusal) if refusal.code == Code::NotFound => return,
                Err(_) => {}
            }
        };
    }
}

fn last(message: &Message) -> Option<Choice> {
    let last = message.attempts.last()?;
    Some(Choice {
        device: last.device.clone(),
        agent: last.agent.clone(),
    })
}

async fn work(
    messages: &Messages,
    mut message: Message,
    cancel: &CancellationToken,
) -> Result<(), Refusal> {
    let turn = messages.next_turn();
    let mut tried = BTreeSet::new();
    let mut pause = MESSAGE_POLL_MS.1;
    // One that was under way when the node ended is asked about where it was.
    let again = last(&message).filter(|_| message.state != MessageState::Queued);
    let mut again = again.map(|choice| (choice, How::Look));
    loop {
        let asked = Asked {
            text: message.text.clone(),
            source: message.source.clone(),
            sender: message.sender.clone(),
        };
        let plan = messages.plan(asked, &message.place, turn).await?;
        let (choice, how) = match again.take() {
            Some(again) => again,
            None => {
                let next = plan.order.iter().find(|c| !tried.contains(&c.device));
                let Some(choice) = next.cloned() else {
                    return waits(messages, &message, &tried, plan.order.is_empty()).await;
                };
                let attempt = Attempt {
                    device: choice.device.clone(),
                    agent: choice.agent.clone(),
                    at: messages.now(),
                    why: None,
                };
                let (rule, retry, timeout) = (plan.rule.clone(), plan.retry, plan.timeout_ms);
                let sent = move |message: &mut Message| {
                    message.state = MessageState::Sent;
                    message.rule = rule;
                    message.retry = retry;
                    message.why = None;
                    if let Some(timeout) = timeout.filter(|_| message.attempts.is_empty()) {
                        message.expires_at = message.created_at.plus(timeout);
                    }
                    message.attempts.push(attempt);
                };
                match messages.change(&message.id, DURABLE, sent).await? {
                    Some(changed) => message = changed,
                    None => return Ok(()),
                }
                (choice, How::Ask)
            }
        };
        let asked = attempt(messages, &mut message, &choice, how, cancel).await?;
        let Tried::Missed(missed, why) = asked else {
            return Ok(());
        };
        tried.insert(choice.device.clone());
        let others = plan.order.iter().any(|c| !tried.contains(&c.device));
        let full = message.attempts.len() >= MESSAGE_ATTEMPTS_MAX;
        let in_time = messages.now() < message.expires_at;
        let repeatable = choice.agent.is_without_effects();
        let next = match after(missed, message.retry, repeatable, others, in_time) {
            Next::Elsewhere if full => Next::End(MessageState::Failed),
            next => next,
        };
        let name = routing::name(messages, &choice.device);
        let failed = missed == Missed::Failed;
        let said = format!("{}{why}", if failed { RUN_FAILED } else { "" });
        let now = messages.now();
        let same = matches!(next, Next::AskAgain | Next::TakeUp);
        let note = move |message: &mut Message| {
            message.why = Some(format!("{name}: {said}"));
            if !same && let Some(last) = message.attempts.last_mut() {
                last.why = Some(said);
            }
            if let Next::End(state) = next {
                message.state = state;
                message.ended_at = Some(now);
            }
        };
        let class = match same {
            true => Class::Relaxed,
            false => DURABLE,
        };
        match messages.change(&message.id, class, note).await? {
            Some(changed) if !changed.state.is_over() => message = changed,
            Some(changed) => {
                messages.tell_unanswered(&changed).await;
                return Ok(());
            }
            None => return Ok(()),
        }
        if same {
            if how == How::TakeUp {
                let wait = tokio::time::sleep(Duration::from_millis(pause));
                cancel.run_until_cancelled(wait).await;
                pause = (pause * 2).min(MESSAGE_ALONE_WAIT_MAX_MS);
            }
            tried.remove(&choice.device);
            let how = match next {
                Next::TakeUp => How::TakeUp,
                _ => How::Look,
            };
            again = Some((choice, how));
        }
    }
}

/// Puts a message back into the queue until a node may take it.
async fn waits(
    messages: &Messages,
    message: &Message,
    tried: &BTreeSet<DeviceId>,
    nobody: bool,
) -> Result<(), Refusal> {
    // The longer it has waited, the more rarely; whatever changes which node may take it wakes it.
    let waited = messages.now().since(message.created_at);
    let most = if nobody {
        MESSAGE_ALONE_WAIT_MAX_MS
    } else {
        WAIT_MAX_MS
    };
    let wait = (waited / 2).clamp(MESSAGE_WAIT_MS, most);
    let jitter = messages.random.bytes::<2>().map_or(0, u16::from_be_bytes);
    let wait = wait + wait / 4 * u64::from(jitter) / u64::from(u16::MAX);
    let at = messages.now().plus(wait);
    let asked = !tried.is_empty();
    let back = move |message: &mut Message| {
        message.state = MessageState::Queued;
        message.next_at = at;
        if nobody && !asked {
            message.why =
                Some("no node that may take it is there; `route explain` says why".to_owned());
        }
    };
    messages.change(&message.id, Class::Relaxed, back).await?;
    Ok(())
}

/// Whether a refusal of a request leaves open whether it was carried out.
fn leaves_open(code: Code) -> bool {
    matches!(
        code,
        Code::Timeout | Code::ExecutorUnreachable | Code::DeliveryFailed
    )
}

async fn request(
    messages: &Messages,
    device: &DeviceId,
    method: &str,
    params: &Value,
) -> Result<Value, Refusal> {
    let link = messages.links.get(device).filter(|l| !l.is_parting());
    let Some(link) = link else {
        return Err(Refusal::new(
            Code::ExecutorUnreachable,
            "it is not connected",
        ));
    };
    Ok(link.request(method, params).await?)
}

/// How a run stands at the node that has it.
async fn look(
    messages: &Messages,
    device: &DeviceId,
    run: &str,
    from: usize,
) -> Result<Told, Refusal> {
    if device == messages.own_id() {
        return runs::look(messages, device, run, from).await;
    }
    let answer = request(messages, device, TOLD, &json!({"id": run, "from": from})).await?;
    serde_json::from_value(answer).map_err(|e| {
        let why = format!("its answer does not read: {e}");
        Refusal::new(Code::Timeout, why)
    })
}

/// Asks one node, or asks it again what became of the message.
async fn attempt(
    messages: &Messages,
    message: &mut Message,
    choice: &Choice,
    how: How,
    cancel: &CancellationToken,
) -> Result<Tried, Refusal> {
    let (device, run) = (&choice.device, message.run_id());
    if let Some(course) = messages.course().get_mut(&message.id) {
        course.device = Some(device.clone());
        course.text.clear();
    }
    if how != How::Look {
        let ask = RunAsk {
            id: run.clone(),
            key: message.run_key(),
            agent: choice.agent.clone(),
            text: message.text.clone(),
            session: format!("{}:{}", message.source, message.sender),
            timeout_ms: message.expires_at.since(messages.now()).max(1),
        };
        let own = device == messages.own_id();
        let linked = own || messages.links.get(device).is_some();
        let asked = match own {
            true => runs::begin(messages, device, ask).await,
            false => {
                let ask = serde_json::to_value(&ask).unwrap_or_default();
                request(messages, device, RUN, &ask).await.map(drop)
            }
        };
        match asked {
            Ok(()) if how == How::TakeUp => {}
            Ok(()) => {
                if !reaches(messages, message, MessageState::Accepted).await? {
                    return Ok(Tried::Over);
                }
            }
            // It has run something of it, whatever it says now.
            Err(refusal) if how == How::TakeUp => {
                return Ok(Tried::Missed(Missed::Silent, shown(&refusal.message)));
            }
            // Whether it was taken is asked of it below.
            Err(refusal) if linked && !own && leaves_open(refusal.code) => {}
            Err(refusal) => return Ok(Tried::Missed(Missed::NotTaken, shown(&refusal.message))),
        }
    }
    let hear = hear(messages, message, choice, &run);
    let heard = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        heard = hear => Some(heard?),
    };
    if let Some(Tried::Missed(Missed::Silent, _)) | None = heard
        && (heard.is_none() || messages.now() >= message.expires_at)
    {
        take_back(messages, device, &run).await;
    }
    Ok(heard.unwrap_or(Tried::Over))
}

/// Tells a node that its run is not wanted any more.
async fn take_back(messages: &Messages, device: &DeviceId, run: &str) {
    match device == messages.own_id() {
        true => runs::cancel(messages, device, run),
        // One that is not there ends its run by its time.
        false => drop(request(messages, device, CANCEL, &json!({"id": run})).await),
    }
}

fn shown(text: &str) -> String {
    one_line(text, TEXT_MAX_CHARS)
}

/// Notes that a message has come further; `false` if it is over.
async fn reaches(
    messages: &Messages,
    message: &mut Message,
    state: MessageState,
) -> Result<bool, Refusal> {
    let further = move |message: &mut Message| message.state = state;
    match messages
        .change(&message.id, Class::Relaxed, further)
        .await?
    {
        Some(changed) => *message = changed,
        None => return Ok(false),
    }
    Ok(true)
}

/// Hears a node to the end of its run.
async fn hear(
    messages: &Messages,
    message: &mut Message,
    choice: &Choice,
    run: &str,
) -> Result<Tried, Refusal> {
    let (mut text, mut heard_at) = (String::new(), messages.clock.steady_ms());
    let (mut wait, most) = MESSAGE_POLL_MS;
    let mut whole = false;
    loop {
        let now = messages.clock.steady_ms();
        if messages.now() >= message.expires_at {
            return Ok(Tried::Missed(
                Missed::Silent,
                "it gave no answer in time".to_owned(),
            ));
        }
        match look(messages, &choice.device, run, text.len()).await {
            Ok(told) => {
                heard_at = messages.clock.steady_ms();
                let new = !told.text.is_empty();
                text.push_str(&told.text);
                if text.len() > MESSAGE_ANSWER_MAX_BYTES {
                    take_back(messages, &choice.device, run).await;
                    let why = format!("its answer has more than {MESSAGE_ANSWER_MAX_BYTES} bytes");
                    return Ok(Tried::Missed(Missed::Failed, why));
                }
                if new && let Some(course) = messages.course().get_mut(&message.id) {
                    course.text.clone_from(&text);
                }
                let why = shown(&told.why.unwrap_or_default());
                match told.state {
                    // What was said on the way need not be how the answer begins.
                    Progress::Answered if !whole && !text.is_empty() => {
                        whole = true;
                        text.clear();
                        continue;
                    }
                    Progress::Running => {
                        let before = message.state != MessageState::Running;
                        if before && !reaches(messages, message, MessageState::Running).await? {
                            return Ok(Tried::Over);
                        }
                    }
                    Progress::Answered if text.len() >= told.length => {
                        return answered(messages, message, text).await;
                    }
                    Progress::Answered if new => continue,
                    Progress::Answered => {
                        let why =
                            "it says that it answered and does not give the answer".to_owned();
                        return Ok(Tried::Missed(Missed::Interrupted, why));
                    }
                    Progress::Failed => return Ok(Tried::Missed(Missed::Failed, why)),
                    Progress::NotRun => return Ok(Tried::Missed(Missed::NotRun, why)),
                    Progress::Interrupted if told.again => {
                        return Ok(Tried::Missed(Missed::Left, why));
                    }
                    Progress::Interrupted => return Ok(Tried::Missed(Missed::Interrupted, why)),
                }
                wait = if new {
                    MESSAGE_POLL_MS.0
                } else {
                    (wait * 2).min(most)
                };
            }
            // It says that it never began it.
            Err(refusal)
                if refusal.code == Code::NotFound && message.state == MessageState::Sent =>
            {
                let why = "it did not take the message".to_owned();
                return Ok(Tried::Missed(Missed::NotTaken, why));
            }
            Err(refusal) => {
                if now.saturating_sub(heard_at) >= MESSAGE_SILENT_MS {
                    let why = format!("no word of it: {}", shown(&refusal.message));
                    return Ok(Tried::Missed(Missed::Silent, why));
                }
                wait = (wait * 2).min(most);
            }
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

async fn answered(
    messages: &Messages,
    message: &mut Message,
    text: String,
) -> Result<Tried, Refusal> {
    let now: TimeMs = messages.now();
    let end = move |message: &mut Message| {
        message.state = MessageState::Answered;
        message.answer = Some(text);
        message.why = None;
        message.ended_at = Some(now);
    };
    messages.change(&message.id, DURABLE, end).await?;
    Ok(Tried::Over)
}
