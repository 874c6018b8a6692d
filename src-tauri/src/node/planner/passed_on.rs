//! Questions that another planner answers: this node passes what it is asked on to the planner that leads, where a model
//! answers there, and asks every moment what has been told; where that one goes away the question is answered here. What
//! it tells is its word (`believed.rs`). A question of another device leads to no proposal of the node that answers it: what
//! its model wants goes back with the answer, and whoever asked asks for it in the name of their own node, if that may
//! (`wishes.rs`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::believed::{believed, cut};
use super::tools::submit;
use super::wishes::{Noted, checked, too_many};
use super::{Answered, Answerer, Asks, Question, Rights, Telling, answer_here, ask_for, keep};
use crate::domain::admission::Grant;
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    BUDGET_COMMANDS_PER_HOUR, FORWARDED_LOOK_MS, FORWARDED_MAX, FORWARDED_POLL_MS,
    FORWARDED_REST_MS, FORWARDED_STALLED_MS, LED_NAME_MAX_CHARS, MODEL_TURN_MAX_MS,
    MODEL_WISHES_MAX, NAME_MAX_BYTES, QUESTIONS_WAITING_MAX, TEXT_MAX_CHARS,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::plan::reply::Wish;
use crate::domain::wire::envelope::RemoteError;
use crate::domain::wire::handshake::Feature;
use crate::node::context::Event;
use crate::node::links::LinkHandle;
use crate::node::planner::Planner;
use crate::node::{leading, routing};

/// Asks the planner at the other end: `{question, by, wishes?}` → `{id}`.
pub const ASK: &str = "planner.ask";
/// What has been told of a question since it was last asked: `{id}` → `{told, ended, wishes?}`, each as
/// [`Telling`]; wishes come with the answer of a model, where they were asked for.
pub const TOLD: &str = "planner.told";

/// A question of a neighbour that is answered here.
struct Open {
    told: mpsc::Receiver<Telling>,
    /// The wishes of its model, where the asker takes them.
    wishes: Option<Noted>,
    /// When its asker last asked how it stands.
    looked: u64,
}

/// The questions of neighbours that are answered here. One whose asker stops polling is taken back.
#[derive(Default)]
pub struct Forwarded(Mutex<BTreeMap<(DeviceId, String), Open>>);

impl Forwarded {
    fn open(&self, now: u64) -> MutexGuard<'_, BTreeMap<(DeviceId, String), Open>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, one| now.saturating_sub(one.looked) < FORWARDED_REST_MS);
        open
    }
}

fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    let found = params.get(name).and_then(Value::as_str);
    found.ok_or_else(|| Refusal::new(Code::InvalidParams, format!("{name} must be a text")))
}

/// A neighbour asks.
///
/// # Errors
/// `NOT_AUTHORIZED` without the grant `read`, `OVER_BUDGET`, `BUSY`, or as [`ask`](super::ask).
pub async fn asked(
    planner: &Planner,
    link: &LinkHandle,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let device = &link.info.device;
    Rights::of(planner, device)?;
    if !planner.budgets.command(device, planner.now()) {
        let why = format!("more than {BUDGET_COMMANDS_PER_HOUR} commands and questions in an hour");
        return Err(Refusal::new(Code::OverBudget, why));
    }
    let (question, by) = (text(params, "question")?, text(params, "by")?);
    let name = routing::name(planner, device);
    let by = format!("{} at {name}", one_line(by, NAME_MAX_BYTES));
    let now = planner.clock.steady_ms();
    let full = {
        let open = planner.forwarded.open(now);
        let of_device = open.keys().filter(|(d, _)| d == device).count();
        of_device >= QUESTIONS_WAITING_MAX || open.len() >= FORWARDED_MAX
    };
    if full {
        let why = "as many questions of yours, or of others, are being answered as may be";
        return Err(Refusal::new(Code::Busy, why));
    }
    let hears =
        link.info.speaks(Feature::Wishes) && params.get("wishes") == Some(&Value::Bool(true));
    let wishes = hears.then(Noted::default);
    let (id, told) = ask_for(planner, device, question, &by, wishes.clone())?;
    let new = Open {
        told,
        wishes,
        looked: now,
    };
    let mut open = planner.forwarded.open(now);
    open.insert((device.clone(), id.clone()), new);
    Ok(json!({"id": id}))
}

/// Takes back each second, and at once when a link ends, what devices ask that have gone or may not read here any more,
/// and those whose asker has stopped polling.
pub async fn run(planner: Planner) {
    let mut links = planner.links.watch();
    let mut tick = tokio::time::interval(Duration::from_millis(FORWARDED_LOOK_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let stays = |device: &DeviceId| {
        planner.links.get(device).is_some() && Rights::of(&planner, device).is_ok()
    };
    loop {
        tokio::select! {
            biased;
            () = planner.tasks.stop().cancelled() => return,
            changed = links.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
        let mut open = planner.forwarded.open(planner.clock.steady_ms());
        open.retain(|(device, _), _| stays(device));
    }
}

/// A neighbour asks what has been told.
///
/// # Errors
/// `NOT_AUTHORIZED` without the grant `read`, `UNKNOWN_TARGET` for a question that is none of its own, or was taken back.
pub fn told(
    planner: &Planner,
    link: &LinkHandle,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    Rights::of(planner, &link.info.device)?;
    let id = text(params, "id")?.to_owned();
    let now = planner.clock.steady_ms();
    let key = (link.info.device.clone(), id);
    let mut open = planner.forwarded.open(now);
    let Some(one) = open.get_mut(&key) else {
        return Err(Refusal::new(
            Code::UnknownTarget,
            "no such question is being answered",
        ));
    };
    one.looked = now;
    let mut told: Vec<Telling> = Vec::new();
    while let Ok(next) = one.told.try_recv() {
        // Each replaces the one before.
        if matches!(
            (told.last(), &next),
            (Some(Telling::Text { .. }), Telling::Text { .. })
        ) {
            told.pop();
        }
        told.push(next);
    }
    let ended = told.last().is_some_and(is_last) || one.told.is_closed() && one.told.is_empty();
    let of_model =
        matches!(told.last(), Some(Telling::Answered(a)) if a.answerer == Answerer::Model);
    let wishes = one.wishes.as_ref().filter(|_| of_model).map(Noted::told);
    let mut wishes = wishes.unwrap_or_default();
    // Those that were noted before the pause go nowhere either, and that is said before the answer.
    if let Some(pause) = planner.planner.pause().filter(|_| !wishes.is_empty()) {
        wishes.clear();
        let refused = Telling::Tool {
            call: "propose".to_owned(),
            result: format!("Refused: {}", pause.refusal()),
        };
        told.insert(told.len() - 1, refused);
    }
    if ended {
        open.remove(&key);
    }
    let mut answer = json!({"told": told, "ended": ended});
    if !wishes.is_empty() {
        answer["wishes"] = Value::Array(wishes);
    }
    Ok(answer)
}

fn is_last(telling: &Telling) -> bool {
    matches!(telling, Telling::Answered(_) | Telling::Failed { .. })
}

/// The link to the planner that answers instead of this one. What is private here is asked of nobody else.
pub(super) fn leader(planner: &Planner, question: &str) -> Option<LinkHandle> {
    if planner.inference.labels().text(question).is_private() {
        return None;
    }
    let leader = leading::before(planner).filter(|l| l.lease.answers)?;
    let link = planner.links.get(&leader.device)?;
    link.info.speaks(Feature::Lease).then_some(link)
}

/// Whether a planner gave no answer in time a moment ago.
pub(super) fn rests(planner: &Planner, link: &LinkHandle) -> bool {
    let now = planner.clock.steady_ms();
    planner.questions.stalled.rests(&link.info.device, now)
}

/// The planner that leads and gave no answer in time to a question lately: nothing is passed on to it for a while.
#[derive(Debug, Default)]
pub(super) struct Stalled(Mutex<Option<(DeviceId, u64)>>);

impl Stalled {
    fn last(&self) -> MutexGuard<'_, Option<(DeviceId, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, device: &DeviceId, now: u64) {
        *self.last() = Some((device.clone(), now));
    }

    /// Whether nothing is passed on to this device now.
    fn rests(&self, device: &DeviceId, now: u64) -> bool {
        let last = self.last();
        let last = last.as_ref().filter(|(stalled, _)| stalled == device);
        last.is_some_and(|(_, at)| now.saturating_sub(*at) < FORWARDED_STALLED_MS)
    }
}

/// Why a question was not answered there.
struct NoAnswer {
    why: String,
    /// Whether nothing was heard in time.
    stalled: bool,
}

impl From<String> for NoAnswer {
    fn from(why: String) -> Self {
        Self {
            why,
            stalled: false,
        }
    }
}

impl From<RemoteError> for NoAnswer {
    fn from(error: RemoteError) -> Self {
        Self {
            why: one_line(&error.message, TEXT_MAX_CHARS),
            stalled: error.code == Code::Timeout.as_str(),
        }
    }
}

/// Has a question answered there, and here where that fails. What its answer leads to is done to the end once it has come:
/// a question is answered there or here, and none whose answer was not heard in time leads to a wish.
pub(super) async fn pass_on(planner: Planner, link: LinkHandle, mut question: Question) {
    let name = routing::name(&planner, &link.info.device);
    let limit = Duration::from_millis(MODEL_TURN_MAX_MS);
    let heard = tokio::time::timeout(limit, hear(&planner, &link, &name, &question));
    let heard = tokio::select! {
        biased;
        () = planner.tasks.stop().cancelled() => return,
        () = question.tell.closed() => return,
        heard = heard => heard,
    };
    let failed = match heard {
        Ok(Ok(heard)) => return take(&planner, &question, (&link.info.device, &name), heard).await,
        Ok(Err(failed)) => failed,
        Err(_) => NoAnswer {
            why: format!("it gave no answer within {} s", limit.as_secs()),
            stalled: true,
        },
    };
    if failed.stalled {
        let now = planner.clock.steady_ms();
        planner.questions.stalled.note(&link.info.device, now);
    }
    let why = format!("{name}, which leads, did not answer: {}", failed.why);
    let again = Telling::Again { why: why.clone() };
    let _ = question.tell.try_send(again);
    question.why = Some(why);
    answer_here(&planner, question);
}

/// The answer of the planner that leads, and what it wants.
struct Heard {
    answered: Answered,
    wants: Vec<Value>,
}

/// Passes a question on and tells what is told of it, up to its answer.
async fn hear(
    planner: &Planner,
    link: &LinkHandle,
    name: &str,
    question: &Question,
) -> Result<Heard, NoAnswer> {
    let no_reply = || "its reply does not read".to_owned();
    let mut params = json!({"question": question.text, "by": question.by});
    let hears = link.info.speaks(Feature::Wishes) && question.rights.propose;
    if hears {
        params["wishes"] = json!(true);
    }
    let taken = link.request(ASK, &params).await?;
    let id = taken.get("id").and_then(Value::as_str);
    let params = json!({"id": id.ok_or_else(no_reply)?});
    let route = format!("{name} leads and is asked");
    let _ = question.tell.try_send(Telling::Thinking { route });
    loop {
        let mut answer = link.request(TOLD, &params).await?;
        let told = answer.get("told").cloned().unwrap_or_default();
        let told: Vec<Telling> = serde_json::from_value(told).map_err(|_| no_reply())?;
        for telling in told {
            match telling {
                Telling::Queued { .. } => {}
                Telling::Failed { message, .. } => {
                    return Err(one_line(&message, TEXT_MAX_CHARS).into());
                }
                Telling::Answered(answered)
                    if question.asks != Asks::Once && answered.answerer == Answerer::Rules =>
                {
                    let why = answered.why.unwrap_or_default();
                    let why = one_line(&why, TEXT_MAX_CHARS);
                    return Err(format!("its rules answered: {why}").into());
                }
                Telling::Answered(answered) => {
                    let of_model = answered.answerer == Answerer::Model;
                    let leader = &link.info.device;
                    let answered = believed(planner, (leader, name), question, *answered).await;
                    let answered = answered.map_err(|refusal| refusal.message)?;
                    let wants = match answer.get_mut("wishes").map(Value::take) {
                        Some(Value::Array(wants)) if hears && of_model => wants,
                        _ => Vec::new(),
                    };
                    return Ok(Heard { answered, wants });
                }
                step => {
                    let _ = question.tell.try_send(cut(step));
                }
            }
        }
        if answer.get("ended") == Some(&Value::Bool(true)) {
            return Err("it ended without an answer".to_owned().into());
        }
        tokio::time::sleep(Duration::from_millis(FORWARDED_POLL_MS)).await;
    }
}

/// Keeps and tells the answer, and asks for what the planner that gave it wants. The answer is on disk before that: a
/// question that led to a wish is not asked again, whatever happens meanwhile.
async fn take(
    planner: &Planner,
    question: &Question,
    (leader, name): (&DeviceId, &str),
    heard: Heard,
) {
    let Heard {
        mut answered,
        wants,
    } = heard;
    let kept = keep(planner, answered.clone()).await;
    if let Err(error) = &kept {
        tracing::error!(%error, "an answer could not be kept");
    }
    if !wants.is_empty() {
        let model = answered.model.as_deref().unwrap_or("model");
        // The name is this node's word, and so first.
        let model = format!("{name}: {}", one_line(model, LED_NAME_MAX_CHARS));
        let by = (leader, model.as_str());
        let new = of_leader(planner, question, by, &wants, kept.is_ok()).await;
        if !new.is_empty() {
            answered.proposals.extend(new);
            if let Err(error) = keep(planner, answered.clone()).await {
                tracing::error!(%error, "what an answer led to could not be kept");
            }
        }
    }
    let last = Telling::Answered(Box::new(answered));
    let _ = question.tell.send(last).await;
}

/// What the planner that answered wants, as far as this node asks for it: the proposals that came of it. Whoever asked is
/// told of each.
async fn of_leader(
    planner: &Planner,
    question: &Question,
    (leader, model): (&DeviceId, &str),
    wants: &[Value],
    kept: bool,
) -> Vec<String> {
    let mut proposed = Vec::new();
    for (n, told) in wants.iter().take(MODEL_WISHES_MAX + 1).enumerate() {
        let wish = match n < MODEL_WISHES_MAX {
            false => Err(too_many()),
            true => wish_of(planner, question, leader, told, kept).await,
        };
        let (call, result) = match wish {
            Ok(wish) => {
                let call = format!("propose {}", wish.action.summary());
                let (result, id) = submit(planner, wish, model, Some(leader.clone())).await;
                proposed.extend(id.filter(|id| !proposed.contains(id)));
                (call, result)
            }
            Err(refusal) => {
                // One that got as far as an executor has its event there.
                let cause = Cause::Device(leader.clone());
                let (journal, event) = (&planner.journal, Event::WishRefused);
                journal
                    .refused_of(cause, event, leader.as_str(), &refusal)
                    .await;
                ("propose".to_owned(), format!("Refused: {refusal}"))
            }
        };
        let _ = question.tell.try_send(Telling::Tool { call, result });
    }
    proposed
}

/// A wish of the planner that answered, where it and whoever asked may have one now: trust may have ended meanwhile.
async fn wish_of(
    planner: &Planner,
    question: &Question,
    leader: &DeviceId,
    told: &Value,
    kept: bool,
) -> Result<Wish, Refusal> {
    let no = |why: &str| Refusal::new(Code::NotAuthorized, why);
    if !kept {
        let why = "the answer that it came with could not be kept";
        return Err(Refusal::new(Code::StorageFailed, why));
    }
    if question.tell.is_closed() || planner.tasks.stop().is_cancelled() {
        let why = "whoever asked has taken the question back, or the node ends";
        return Err(Refusal::new(Code::NotFound, why));
    }
    let record = planner.trust.live(leader);
    if !record.is_some_and(|r| r.grants.has(Grant::Plan)) {
        return Err(no("the planner that answered may not plan here any more"));
    }
    if !question.may(planner)?.propose {
        return Err(no("whoever asked may not ask for actions"));
    }
    if let Some(pause) = planner.planner.pause() {
        return Err(pause.refusal());
    }
    checked(planner, planner.inference.labels(), told).await
}
