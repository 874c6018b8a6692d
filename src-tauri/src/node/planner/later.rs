//! Questions that wait until a language model can be asked: the rules have answered them meanwhile, and their asker wants
//! the answer of a model. They are on disk before that is said, asked again by themselves in their order, and given up
//! after a day. The answer takes the place of that of the rules.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::kept::{KEPT, parsed};
use super::talk::in_events;
use super::{Answered, Answerer, Asks, Question, Rights, Telling, begin, passed_on};
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{
    LATER_LOOK_MS, LATER_MAX, LATER_MS, LATER_OF_ONE_MAX, LATER_TRIES_MAX, LATER_TRY_AGAIN_MAX_MS,
    LATER_TRY_AGAIN_MS, TEXT_MAX_CHARS,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal};
use crate::domain::inference::route::{About, SkipKind, Skipped};
use crate::domain::plan::queue::Priority;
use crate::node::context::{DURABLE, Event, Severity, store_refusal};
use crate::node::planner::Planner;

/// Where they lie.
const LATER: &str = "planner.later";

/// A question that waits until a model can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Later {
    /// The question's id; its answer has the same.
    pub id: String,
    /// The question.
    pub question: String,
    /// Who asked.
    pub asked_by: String,
    /// Who that is known to be.
    pub account: String,
    /// The conversation that it belongs to.
    pub conversation: String,
    /// Whether it, or what came before it, is private.
    pub private: bool,
    /// When it was asked, in milliseconds since 1970.
    pub asked_at: u64,
    /// When it is given up, in milliseconds since 1970.
    pub expires_at: u64,
    /// Why no model answered last.
    pub why: String,
    /// How often it has been asked again.
    pub tries: u32,
    /// Whether a standing question asked, whose name is in `asked_by`.
    #[serde(default)]
    pub standing: bool,
}

impl Later {
    /// The rights of the asker, as of now.
    fn rights(&self, planner: &Planner) -> Rights {
        let asking = planner
            .config
            .questions
            .iter()
            .find(|q| q.name == self.asked_by);
        Rights {
            propose: !self.standing || asking.is_some_and(|q| q.propose),
            ..Rights::OWN
        }
    }
}

/// Those of a node.
#[derive(Debug, Default)]
pub struct Waiting {
    list: Mutex<Vec<Later>>,
    /// Held over a change, so that disk and memory say the same.
    changing: tokio::sync::Mutex<()>,
    woken: Notify,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<Later>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that wait, in the order in which they are asked.
    pub fn all(&self) -> Vec<Later> {
        self.lock().clone()
    }
}

/// Has an answered question asked again when a model can be asked.
///
/// # Errors
/// `NOT_FOUND` for none that is kept, `CONFLICT` for one that a model answered, `BUSY` where too many wait, or what the
/// store says.
pub async fn again(planner: &Planner, id: &str, account: &str) -> Result<(), Refusal> {
    let kept = super::answered(planner).await?;
    let one = kept.into_iter().find(|a| a.id == id);
    let one = one.ok_or_else(|| {
        let why = "no answered question with this id is kept; ask it again";
        Refusal::new(Code::NotFound, why)
    })?;
    if one.answerer == Answerer::Model {
        return Err(Refusal::new(Code::Conflict, "a model has answered it"));
    }
    if planner
        .questions
        .later
        .lock()
        .iter()
        .any(|l| l.id == one.id)
    {
        return Ok(());
    }
    put(planner, &one, account).await?;
    changed(planner, |_| {}, Some((&one.id, true))).await
}

/// Puts a question that the rules answered among those that wait; on disk before this returns.
///
/// # Errors
/// As [`again`].
pub(super) async fn put(planner: &Planner, one: &Answered, account: &str) -> Result<(), Refusal> {
    if let Some(why) = no_model_ever(planner, one) {
        return Err(Refusal::new(Code::Conflict, why));
    }
    let later = Later {
        id: one.id.clone(),
        question: one.question.clone(),
        asked_by: one.asked_by.clone(),
        account: account.to_owned(),
        conversation: one.conversation.clone(),
        private: !one.private.is_empty(),
        asked_at: one.asked_at,
        expires_at: planner.now().0.saturating_add(LATER_MS),
        why: one_line(one.why.as_deref().unwrap_or_default(), TEXT_MAX_CHARS),
        tries: 0,
        standing: one.standing,
    };
    let (asked, by) = (
        in_events(&later.question, later.private),
        later.asked_by.clone(),
    );
    let data = json!({"question": later.id, "expiresAt": later.expires_at, "why": later.why});
    let add = |all: &mut Vec<Later>| {
        if all.iter().any(|l| l.id == later.id) {
            return Ok(());
        }
        let own = all.iter().filter(|l| l.account == later.account).count();
        if all.len() >= LATER_MAX || own >= LATER_OF_ONE_MAX {
            let why = format!(
                "{LATER_MAX} questions, and {LATER_OF_ONE_MAX} of one asker, may wait for a model; take one back with \
                 `clawmesh-node planner cancel ID`"
            );
            return Err(Refusal::new(Code::Busy, why));
        }
        all.push(later);
        Ok(())
    };
    try_change(planner, add, None).await?;
    let message = format!("A question of {by} waits until a model can be asked: {asked}");
    let journal = &planner.journal;
    journal
        .record(Event::PlannerQueued, Severity::Info, &message, data)
        .await;
    planner.questions.later.woken.notify_one();
    Ok(())
}

/// Why there is no model that may ever be asked a question, whatever becomes of those that cannot be asked now.
fn no_model_ever(planner: &Planner, one: &Answered) -> Option<&'static str> {
    let private = !one.private.is_empty();
    let elsewhere = !private && one.conversation == one.id;
    if elsewhere && passed_on::leader(planner, &one.question).is_some() {
        return None;
    }
    if planner.inference.is_empty() {
        return Some("no language model is configured here, so there is none to wait for");
    }
    let route = planner.inference.explain(&About::private("this question"));
    let may_see = |skipped: &Skipped| skipped.skip.kind != SkipKind::Private;
    let none = route.chosen.is_none() && !route.skipped.iter().any(may_see);
    (private && none).then_some(
        "it is private, and no model here may see that; set private = true in config.toml for one that may",
    )
}

/// Takes one back.
///
/// # Errors
/// `NOT_FOUND` for none that waits, or what the store says.
pub async fn cancel(planner: &Planner, id: &str) -> Result<(), Refusal> {
    let found = planner.questions.later.lock().iter().any(|l| l.id == id);
    if !found {
        let why = "no question with this id waits for a model";
        return Err(Refusal::new(Code::NotFound, why));
    }
    changed(planner, |all| all.retain(|l| l.id != id), Some((id, false))).await
}

/// As [`try_change`], with what is never refused.
async fn changed(
    planner: &Planner,
    change: impl FnOnce(&mut Vec<Later>),
    mark: Option<(&str, bool)>,
) -> Result<(), Refusal> {
    let change = |all: &mut Vec<Later>| {
        change(all);
        Ok(())
    };
    try_change(planner, change, mark).await
}

/// Changes the list, on disk first, and with it whether a kept answer says that its question waits.
async fn try_change(
    planner: &Planner,
    change: impl FnOnce(&mut Vec<Later>) -> Result<(), Refusal>,
    mark: Option<(&str, bool)>,
) -> Result<(), Refusal> {
    let waiting = &planner.questions.later;
    let _turn = waiting.changing.lock().await;
    let mut all = waiting.all();
    change(&mut all)?;
    let (list, mark) = (
        all.clone(),
        mark.map(|(id, queued)| (id.to_owned(), queued)),
    );
    let write = move |c: &Connection| {
        if let Some((id, queued)) = mark {
            let mut kept = parsed(kv::get(c, KEPT)?);
            for one in kept.iter_mut().filter(|one| one.id == id) {
                one.queued = queued;
            }
            kv::put(c, KEPT, json!(kept).to_string().as_bytes())?;
        }
        kv::put(c, LATER, json!(list).to_string().as_bytes())
    };
    let stored = planner
        .store
        .write(DURABLE, "questions that wait", write)
        .await;
    stored.map_err(|e| store_refusal(&e))?;
    *waiting.lock() = all;
    Ok(())
}

/// Takes up those of an earlier run; what a model answered just before that ended waits no more.
pub async fn load(planner: &Planner) -> Result<(), StoreError> {
    let read = |c: &Connection| Ok((kv::get(c, LATER)?, parsed(kv::get(c, KEPT)?)));
    let (list, kept) = planner.store.read("questions that wait", read).await?;
    let list: Vec<Later> = list
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let answered = |l: &Later| {
        let mut same = kept.iter().filter(|a| a.id == l.id);
        same.any(|a| a.answerer == Answerer::Model)
    };
    *planner.questions.later.lock() = list.into_iter().filter(|l| !answered(l)).collect();
    Ok(())
}

/// Asks them again while the node runs.
pub async fn run(planner: Planner) {
    // When the next of them may be asked, on the steady clock.
    let mut not_before = 0;
    loop {
        expire(&planner).await;
        let all = planner.questions.later.all();
        let wait = async {
            match all.is_empty() {
                false => tokio::time::sleep(Duration::from_millis(LATER_LOOK_MS)).await,
                true => std::future::pending().await,
            }
        };
        // One whose models stay away keeps none behind it waiting.
        let due = match planner.clock.steady_ms() >= not_before {
            true => all
                .iter()
                .find(|later| may_be_asked(&planner, later))
                .cloned(),
            false => None,
        };
        if let Some(later) = due {
            let pause = tokio::select! {
                biased;
                () = planner.tasks.stop().cancelled() => return,
                pause = once(&planner, later) => pause,
            };
            not_before = planner.clock.steady_ms().saturating_add(pause);
            continue;
        }
        tokio::select! {
            biased;
            () = planner.tasks.stop().cancelled() => return,
            () = planner.questions.later.woken.notified() => {}
            () = wait => {}
        }
    }
}

/// Whether a model may be asked it now, here or where another planner leads.
fn may_be_asked(planner: &Planner, later: &Later) -> bool {
    let inference = &planner.inference;
    let about = match later.private {
        true => About::private("this question"),
        false => inference.labels().text(&later.question),
    };
    let elsewhere = !later.private && later.conversation == later.id;
    !inference.chain(&about).is_empty()
        || elsewhere
            && passed_on::leader(planner, &later.question)
                .is_some_and(|link| !passed_on::rests(planner, &link))
}

/// Asks one again; how long nothing is asked after it, in milliseconds.
async fn once(planner: &Planner, later: Later) -> u64 {
    let (tell, mut told) = mpsc::channel(super::TOLD_MAX);
    let question = Question {
        id: later.id.clone(),
        text: later.question.clone(),
        priority: Priority::Operator,
        by: later.asked_by.clone(),
        account: later.account.clone(),
        rights: later.rights(planner),
        device: None,
        wishes: None,
        conversation: later.conversation.clone(),
        private: later.private,
        asked_at: later.asked_at,
        why: None,
        asks: Asks::Again,
        tell,
    };
    let mut last = begin(planner, question)
        .err()
        .map(|refusal| refusal.message);
    while let Some(telling) = told.recv().await {
        match telling {
            Telling::Answered(answered) => {
                came(planner, &later, &answered).await;
                return 0;
            }
            Telling::Failed { message, .. } => last = Some(message),
            _ => {}
        }
    }
    let why = last.unwrap_or_else(|| "it was given up".to_owned());
    let tries = later.tries.saturating_add(1);
    if tries >= LATER_TRIES_MAX {
        let why = format!("no model answered it in {tries} tries: {why}");
        gone(planner, &later, &why).await;
        return 0;
    }
    // Behind the others, which may fare better.
    let change = |all: &mut Vec<Later>| {
        if let Some(at) = all.iter().position(|l| l.id == later.id) {
            let mut one = all.remove(at);
            (one.tries, one.why) = (tries, one_line(&why, TEXT_MAX_CHARS));
            all.push(one);
        }
    };
    noted(changed(planner, change, None).await);
    LATER_TRY_AGAIN_MS
        .saturating_mul(1 << tries.min(16))
        .min(LATER_TRY_AGAIN_MAX_MS)
}

fn noted(written: Result<(), Refusal>) {
    if let Err(refusal) = written {
        tracing::error!(%refusal, "the questions that wait for a model cannot be written");
    }
}

/// A model answered; the answer is on disk.
async fn came(planner: &Planner, later: &Later, answered: &Answered) {
    noted(changed(planner, |all| all.retain(|l| l.id != later.id), None).await);
    let message = format!(
        "{} answered what {} asked earlier: {}",
        answered.model.as_deref().unwrap_or("A model"),
        later.asked_by,
        in_events(&later.question, later.private)
    );
    let data =
        json!({"question": later.id, "conversation": later.conversation, "model": answered.model});
    let journal = &planner.journal;
    journal
        .record(Event::PlannerAnswered, Severity::Info, &message, data)
        .await;
}

/// One is given up.
async fn gone(planner: &Planner, later: &Later, why: &str) {
    let change = |all: &mut Vec<Later>| all.retain(|l| l.id != later.id);
    noted(changed(planner, change, Some((&later.id, false))).await);
    let asked = in_events(&later.question, later.private);
    let message = format!(
        "A question of {} waits no more, {why}: {asked}",
        later.asked_by
    );
    let data = json!({"question": later.id, "why": why});
    let journal = &planner.journal;
    journal
        .record(Event::PlannerGivenUp, Severity::Warning, &message, data)
        .await;
}

async fn expire(planner: &Planner) {
    let now = planner.now().0;
    let over = planner.questions.later.all().into_iter();
    for later in over.filter(|l| l.expires_at <= now) {
        gone(planner, &later, "as no model could be asked for a day").await;
    }
}
