//! The planner that answers people: questions wait in a queue, one after the other a model answers them with the tools
//! it has, and where no model can, the planner of rules does. It may ask for actions (drafts with the taint `llm`), and has
//! no way to approve or move anything.

mod believed;
mod handle;
mod kept;
pub mod later;
mod led;
pub mod modes;
pub mod passed_on;
mod rights;
pub mod standing;
pub mod talk;
mod told;
mod tools;
mod turn;
mod wishes;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, mpsc};

pub use self::handle::Planner;
pub use self::kept::answered;
use self::kept::keep;
use self::later::Waiting;
use self::rights::Rights;
use self::talk::Belongs;
pub use self::told::{Answered, Answerer, Citation, Telling};
use self::wishes::Noted;
use super::context::Context;
use super::routing;
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    FORWARDED_MAX, MODEL_TURN_MAX_MS, QUESTION_MAX_CHARS, QUESTIONS_WAITING_MAX, TRIGGERS_MAX,
};
use crate::domain::base::text::{one_line, shown};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::plan::queue::{Priority, Pushed, Queue, Trigger};
use crate::node::context::{Event, Severity};

/// Queue of steps for the reader of an answer; a slow reader gets the answer later, or not at all.
const TOLD_MAX: usize = 64;

/// A question that waits.
#[derive(Debug)]
pub(super) struct Question {
    id: String,
    text: String,
    /// Why it is asked: by a person, as a standing question, or by another device.
    priority: Priority,
    by: String,
    account: String,
    rights: Rights,
    /// The other device that asks, where one does. What may be done for it is looked up again whenever it is done.
    device: Option<DeviceId>,
    /// Where what its model wants is noted, for a device that hears of it and asks for it itself.
    wishes: Option<Noted>,
    /// The conversation that it belongs to.
    conversation: String,
    /// Whether the person says that this is private.
    private: bool,
    asked_at: u64,
    /// Why the planner that leads did not answer it, where it was asked.
    why: Option<String>,
    asks: Asks,
    tell: mpsc::Sender<Telling>,
}

impl Question {
    /// Whether no person and no other device asks.
    fn is_standing(&self) -> bool {
        !matches!(self.priority, Priority::Operator | Priority::Device)
    }
}

/// The treatment of a question that no model can answer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// The rules answer it.
    Once,
    /// The rules answer it, and it is asked again when a model can be asked.
    Patiently,
    /// It has been answered by the rules; only a model's answer is wanted.
    Again,
}

impl Question {
    /// The rights of the asker, as of now: trust may end while a question waits.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` where nothing may.
    fn may(&self, planner: &Planner) -> Result<Rights, Refusal> {
        match &self.device {
            Some(device) => Rights::of(planner, device),
            None => Ok(self.rights),
        }
    }
}

/// The current work of the planner of questions, in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doing {
    /// The question that is being answered.
    pub question: Option<String>,
    /// The step that is being done for it.
    pub step: String,
    /// How many wait behind it.
    pub waiting: usize,
    /// Why the last one got no answer of a model.
    pub error: Option<String>,
}

/// The questions of a node.
pub struct Questions {
    /// Places for questions that another planner answers.
    passed_on: Arc<Semaphore>,
    /// Which other planner gave no answer in time.
    stalled: passed_on::Stalled,
    queue: Mutex<Queue<Question>>,
    woken: Notify,
    doing: Mutex<Doing>,
    /// Wishes of this planner's model that wait for people.
    wishes: AtomicUsize,
    /// Those that wait until a model can be asked.
    pub later: Waiting,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            passed_on: Arc::new(Semaphore::new(FORWARDED_MAX)),
            stalled: passed_on::Stalled::default(),
            queue: Mutex::default(),
            woken: Notify::default(),
            doing: Mutex::default(),
            wishes: AtomicUsize::default(),
            later: Waiting::default(),
        }
    }
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Questions({} waiting)", self.queue().len())
    }
}

impl Questions {
    fn queue(&self) -> MutexGuard<'_, Queue<Question>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut Doing)) {
        change(&mut self.doing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Wishes of this planner's model that waited for people when they were last counted.
    pub fn wishes(&self) -> usize {
        self.wishes.load(Ordering::Relaxed)
    }

    /// The work that is going on now.
    pub fn doing(&self) -> Doing {
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        Doing {
            waiting: self.queue().len(),
            ..doing.clone()
        }
    }
}

/// Asks a question, in the name of `by`, which the asker may have chosen; `account` is who it is known to be. Another
/// planner answers where one leads. What is told of it comes over the channel; whoever drops that end takes the question
/// back.
///
/// # Errors
/// `INVALID_PARAMS` for no question, one that is too long, or what is no conversation, `BUSY` where too many wait.
pub fn ask(
    planner: &Planner,
    text: &str,
    by: &str,
    account: &str,
    belongs: &Belongs,
) -> Result<mpsc::Receiver<Telling>, Refusal> {
    let (question, told) = question(planner, text, by, account, Rights::OWN, belongs)?;
    begin(planner, question)?;
    Ok(told)
}

/// Has a question answered: by the planner that leads, or here.
fn begin(planner: &Planner, mut question: Question) -> Result<(), Refusal> {
    // What a person calls private stays here, and what was said before in a conversation is known here alone.
    let here = question.private || question.conversation != question.id;
    let leader = (!here).then(|| passed_on::leader(planner, &question.text));
    let Some(link) = leader.flatten() else {
        return push(planner, question);
    };
    if passed_on::rests(planner, &link) {
        let leader = routing::name(planner, &link.info.device);
        let why = format!("{leader}, which leads, gave no answer in time a moment ago");
        question.why = Some(why);
        return push(planner, question);
    }
    let place = planner.questions.passed_on.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        let why = format!("{FORWARDED_MAX} questions have been passed on already");
        Refusal::new(Code::Busy, why)
    })?;
    let (id, behind) = (question.id.clone(), 0);
    let _ = question.tell.try_send(Telling::Queued { id, behind });
    let planner = planner.clone();
    let passing = passed_on::pass_on(planner.clone(), link, question);
    planner.tasks.passing("question passed on", async move {
        passing.await;
        drop(place);
    });
    Ok(())
}

/// As [`ask`], for another device and answered here in any case: the question's id, and what is told of it.
fn ask_for(
    planner: &Planner,
    device: &DeviceId,
    text: &str,
    by: &str,
    wishes: Option<Noted>,
) -> Result<(String, mpsc::Receiver<Telling>), Refusal> {
    let rights = Rights::of(planner, device)?;
    let (alone, account) = (Belongs::default(), device.as_str());
    let (mut question, told) = question(planner, text, by, account, rights, &alone)?;
    question.device = Some(device.clone());
    question.wishes = wishes;
    question.priority = Priority::Device;
    let id = question.id.clone();
    push(planner, question)?;
    Ok((id, told))
}

/// Answers a question here after all.
fn answer_here(planner: &Planner, question: Question) {
    let tell = question.tell.clone();
    if let Err(refusal) = push(planner, question) {
        let _ = tell.try_send(Telling::Failed {
            code: refusal.code.as_str().to_owned(),
            message: refusal.message,
        });
    }
}

fn question(
    context: &Context,
    text: &str,
    by: &str,
    account: &str,
    rights: Rights,
    belongs: &Belongs,
) -> Result<(Question, mpsc::Receiver<Telling>), Refusal> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > QUESTION_MAX_CHARS {
        let why = format!("a question has 1 to {QUESTION_MAX_CHARS} characters");
        return Err(Refusal::new(Code::InvalidParams, why));
    }
    let (tell, told) = mpsc::channel(TOLD_MAX);
    let id = context.fresh_id()?.to_string();
    let question = Question {
        conversation: belongs.id(&id)?,
        private: belongs.private,
        id,
        text: shown(text, QUESTION_MAX_CHARS),
        priority: Priority::Operator,
        by: by.to_owned(),
        account: account.to_owned(),
        rights,
        device: None,
        wishes: None,
        asked_at: context.now().0,
        why: None,
        asks: match belongs.patient {
            true => Asks::Patiently,
            false => Asks::Once,
        },
        tell,
    };
    Ok((question, told))
}

/// Puts a question into the queue.
fn push(planner: &Planner, question: Question) -> Result<(), Refusal> {
    let (id, tell) = (question.id.clone(), question.tell.clone());
    let trigger = Trigger {
        priority: question.priority,
        asker: question.account.clone(),
        // A standing question waits once.
        key: match question.is_standing() {
            true => question.account.clone(),
            false => id.clone(),
        },
        work: question,
    };
    let busy = |why: String| Err(Refusal::new(Code::Busy, why));
    let behind = {
        let mut queue = planner.questions.queue();
        // Questions whose asker is gone make room.
        while queue.remove(|t| t.work.tell.is_closed()).is_some() {}
        match queue.push(trigger) {
            Pushed::Waits(behind) | Pushed::Instead(behind, _) => behind,
            Pushed::Same => 0,
            Pushed::TooMany => {
                return busy(format!(
                    "{QUESTIONS_WAITING_MAX} questions of yours wait already; try again when one is answered"
                ));
            }
            Pushed::Full => return busy(format!("{TRIGGERS_MAX} questions wait already")),
        }
    };
    // There is room: nothing, or next to nothing, has been told yet.
    let _ = tell.try_send(Telling::Queued { id, behind });
    planner.questions.woken.notify_one();
    Ok(())
}

/// Starts what answers questions, those of devices too, what asks standing ones and those that wait, and what looks after
/// the models.
pub(super) fn start(planner: &Planner) {
    planner.tasks.essential("questions", run(planner.clone()));
    let of_devices = passed_on::run(planner.clone());
    planner.tasks.essential("questions of devices", of_devices);
    let later = later::run(planner.clone());
    planner.tasks.essential("questions that wait", later);
    if !planner.inference.is_empty() {
        let modes = modes::run(planner.clone());
        planner.tasks.essential("models", modes);
    }
    if planner.config.role.plans() && !planner.config.questions.is_empty() {
        let asks = standing::run(planner.clone());
        planner.tasks.essential("standing questions", asks);
    }
}

/// Answers what is asked, one after the other. A standing question and one of another device make room for a person's at once:
/// what it was answered so far is dropped, and it is asked again afterwards.
async fn run(planner: Planner) {
    loop {
        let next = planner.questions.queue().pop();
        let Some(trigger) = next else {
            tokio::select! {
                biased;
                () = planner.tasks.stop().cancelled() => return,
                () = planner.questions.woken.notified() => {}
            }
            continue;
        };
        let question = &trigger.work;
        let rests = question.is_standing() && standing::rests(&planner).await;
        if question.tell.is_closed() || rests {
            continue;
        }
        planner
            .questions
            .set(|doing| doing.question = Some(one_line(&question.text, 80)));
        let limit = std::time::Duration::from_millis(MODEL_TURN_MAX_MS);
        let answering = tokio::time::timeout(limit, guarded(&planner, question));
        let goes_first = tokio::select! {
            biased;
            () = planner.tasks.stop().cancelled() => return,
            () = question.tell.closed() => false,
            () = person_waits(&planner), if question.priority != Priority::Operator => true,
            answered = answering => {
                tell(&planner, question, answered).await;
                false
            }
        };
        planner.questions.set(|doing| {
            doing.question = None;
            doing.step.clear();
        });
        if goes_first {
            planner.questions.queue().put_back(trigger);
        }
    }
}

/// Returns when a person waits for an answer.
async fn person_waits(planner: &Planner) {
    while !planner.questions.queue().has_person() {
        planner.questions.woken.notified().await;
    }
}

/// Keeps and tells the answer, or why there is none.
async fn tell(
    planner: &Planner,
    question: &Question,
    answered: Result<Result<Answered, Refusal>, tokio::time::error::Elapsed>,
) {
    let answered = answered.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", MODEL_TURN_MAX_MS / 1_000);
        Err(Refusal::new(Code::Timeout, why))
    });
    let last = match answered {
        Ok(mut answered) => {
            if question.asks == Asks::Patiently && answered.answerer == Answerer::Rules {
                match later::put(planner, &answered, &question.account).await {
                    Ok(()) => answered.queued = true,
                    Err(refusal) => {
                        let why = answered.why.take().unwrap_or_default();
                        let why = format!("{why}; it is not asked again: {}", refusal.message);
                        answered.why = Some(why.trim_start_matches("; ").to_owned());
                    }
                }
            }
            // Of another device it is kept there: nobody's questions push out those of this node's persons.
            if question.device.is_none()
                && let Err(error) = keep(planner, answered.clone()).await
            {
                tracing::error!(%error, "an answer could not be kept");
            }
            let message = talk::was_asked(question, &answered);
            let data = json!({
                "question": question.id, "answerer": answered.answerer, "model": answered.model,
                "proposals": answered.proposals,
            });
            let (journal, event, severity) =
                (&planner.journal, Event::PlannerAsked, Severity::Info);
            match question.device.clone().map(Cause::Device) {
                Some(cause) => journal.caused(cause, event, severity, &message, data).await,
                None => journal.record(event, severity, &message, data).await,
            }
            Telling::Answered(Box::new(answered))
        }
        Err(refusal) => Telling::Failed {
            code: refusal.code.as_str().to_owned(),
            message: refusal.message,
        },
    };
    // Who reads nothing any more has gone.
    let _ = question.tell.send(last).await;
}

/// As [`answer`]; a fault of the program costs this answer alone.
async fn guarded(planner: &Planner, question: &Question) -> Result<Answered, Refusal> {
    let answering = AssertUnwindSafe(answer(planner, question)).catch_unwind();
    answering.await.unwrap_or_else(|_| {
        let why = "answering failed by a fault of the program; its log says where";
        Err(Refusal::new(Code::InternalError, why))
    })
}

/// The answer of a model, or where none answers that of the rules, which says why.
async fn answer(planner: &Planner, question: &Question) -> Result<Answered, Refusal> {
    let mut why = question.why.clone();
    if question.may(planner)?.model && !planner.inference.is_empty() {
        match turn::of_model(planner, question).await {
            Ok(answered) => {
                planner.questions.set(|doing| doing.error = None);
                return Ok(answered);
            }
            Err(failure) => {
                let failed = failure.to_string();
                planner
                    .questions
                    .set(|doing| doing.error = Some(failed.clone()));
                why = Some(failed);
            }
        }
    }
    question.may(planner)?;
    if question.asks == Asks::Again {
        let why = why.unwrap_or_else(|| "no language model is configured".to_owned());
        return Err(Refusal::new(Code::LlmBusy, why));
    }
    turn::of_rules(planner, question, why).await
}
