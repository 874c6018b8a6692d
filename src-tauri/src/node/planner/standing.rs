//! Standing questions: this task puts them into the queue when their time has come, a reading lies beyond their threshold,
//! or the situation has changed. They rest while a person pauses the planner, while no model can be asked, and while as
//! many wishes of its model wait for people as may; what comes meanwhile is not made up for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::talk::Belongs;
use super::{Rights, kept, question};
use crate::adapters::store::{facts, kv, proposals};
use crate::domain::base::limits::{PLANNER_WAITING_MAX, QUERY_DEFAULT, SLOT_LOOK_MS};
use crate::domain::base::{Digest, Refusal};
use crate::domain::plan::rules::Memory;
use crate::domain::plan::standing::{Ask, Standing};
use crate::domain::policy::Requester;
use crate::node::context::Context;
use crate::node::leading;
use crate::node::planner::Planner;
use crate::node::timetable::Timetable;

/// The state of the standing questions.
struct Asked {
    timetable: Timetable,
    memory: Memory,
    /// When what is asked every so often was looked at last, by the clock that never steps, and what the situation was
    /// when it was asked.
    looked: BTreeMap<String, (u64, Option<Digest>)>,
}

/// Asks what is configured to be asked.
pub async fn run(planner: Planner) {
    let timetable = Timetable::of_questions(&planner).await;
    let now = planner.clock.steady_ms();
    let questions = &planner.config.questions;
    let looked = questions.iter().map(|q| (q.name.clone(), (now, None)));
    let mut asked = Asked {
        timetable,
        memory: Memory::default(),
        looked: looked.collect(),
    };
    let watches = questions.iter().any(|q| q.watch().is_some());
    let mut head = planner.frames_head.subscribe();
    let mut proposals = planner.proposals_head.subscribe();
    let mut tick = tokio::time::interval(Duration::from_millis(SLOT_LOOK_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = planner.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
            changed = proposals.changed() => if changed.is_err() { return },
            changed = head.changed(), if watches => if changed.is_err() { return },
        }
        // Who else plans is not known yet; a time lasts longer.
        if !leading::settles(&planner) {
            look(&planner, &mut asked).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Looks what is to be asked now, and asks it.
async fn look(planner: &Planner, asked: &mut Asked) {
    let at_their_time = asked.timetable.due(planner, &planner.planner).await;
    if rests(planner).await {
        return;
    }
    let due: BTreeSet<String> = at_their_time.into_iter().map(|(name, _)| name).collect();
    for question in &planner.config.questions {
        let by_another = leading::asks_instead(planner, question).is_some();
        let is_due = !by_another
            && match &question.ask {
                Ask::At(_) => due.contains(&question.name),
                Ask::Beyond(_) => beyond(planner, question, &mut asked.memory).await,
                Ask::Every(ms) => {
                    let looked = asked.looked.entry(question.name.clone()).or_default();
                    changed(planner, *ms, looked).await
                }
            };
        if is_due && let Err(refusal) = ask(planner, question) {
            tracing::warn!(question = question.name, "not asked: {refusal}");
        }
    }
}

/// Whether a reading lies beyond the threshold of a question that is not quiet.
async fn beyond(context: &Context, question: &Standing, memory: &mut Memory) -> bool {
    let Some(watch) = question.watch() else {
        return false;
    };
    let (at, metrics) = (context.moment(), BTreeSet::from([watch.metric.clone()]));
    let read = move |c: &rusqlite::Connection| facts::numeric_of(c, &metrics, at);
    let facts = context.store.read_gathered("facts", read).await;
    let facts = facts.unwrap_or_else(|error| {
        tracing::error!(%error, "the planner cannot read the world");
        Vec::new()
    });
    let now = context.now();
    let hit = watch.beyond(&facts, now).next().is_some();
    hit && memory.may_fire(&question.name, None, watch.cooldown_ms, now)
}

/// Whether the time of a question that is asked every so often has come, and the situation is another one than when it
/// was asked last.
async fn changed(context: &Context, every_ms: u64, looked: &mut (u64, Option<Digest>)) -> bool {
    let now = context.clock.steady_ms();
    if now.saturating_sub(looked.0) < every_ms {
        return false;
    }
    looked.0 = now;
    let is = situation(context).await;
    let another = is.is_some() && is != looked.1;
    if another {
        looked.1 = is;
    }
    another
}

/// A digest of the situation: the readings, and which proposals are open.
async fn situation(context: &Context) -> Option<Digest> {
    let at = context.moment();
    let read = move |c: &rusqlite::Connection| {
        let mut said = String::new();
        for fact in facts::numeric(c, at)? {
            let place = (fact.origin.as_str(), &fact.metric, &fact.zone);
            said.push_str(&format!("{place:?} {:?}\n", fact.value));
        }
        for open in proposals::open_list(c, QUERY_DEFAULT)? {
            said.push_str(&format!("{} {}\n", open.id.as_str(), open.status));
        }
        Ok(Digest::of(&[said.as_bytes()]))
    };
    let read = context.store.read("situation", read).await;
    read.inspect_err(|error| tracing::error!(%error, "the situation cannot be read"))
        .ok()
}

/// Puts a standing question into the queue, unless it waits already.
///
/// # Errors
/// `BUSY` where there is no room.
pub fn ask(planner: &Planner, standing: &Standing) -> Result<(), Refusal> {
    let rights = Rights {
        propose: standing.propose,
        ..Rights::OWN
    };
    let belongs = Belongs {
        conversation: None,
        private: standing.private,
        patient: false,
    };
    let name = &standing.name;
    let (mut asked, mut told) = question(planner, &standing.text, name, name, rights, &belongs)?;
    asked.priority = standing.priority();
    super::push(planner, asked)?;
    // There is no reader of the steps; the answer is kept.
    planner.tasks.passing("standing question", async move {
        while told.recv().await.is_some() {}
    });
    Ok(())
}

/// Whether standing questions rest: a person has paused the planner, no model can be asked, or too many wishes of its model
/// wait for people.
pub(super) async fn rests(planner: &Planner) -> bool {
    let own = planner.own_id().clone();
    let read = move |c: &rusqlite::Connection| {
        let (own, told) = proposals::waiting_of(c, &own, Requester::Llm)?;
        // Anybody can say that this node asked; its own answers say what it asked for.
        let kept = kept::parsed(kv::get(c, kept::KEPT)?);
        let asked: BTreeSet<&String> = kept.iter().flat_map(|one| &one.proposals).collect();
        Ok(own + told.iter().filter(|id| asked.contains(id)).count())
    };
    let waiting = match planner.store.read_committed("wishes that wait", read).await {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::error!(%error, "how many wishes wait cannot be read");
            return true;
        }
    };
    planner.questions.wishes.store(waiting, Ordering::Relaxed);
    planner.planner.pause().is_some()
        || !planner.inference.answers()
        || waiting >= PLANNER_WAITING_MAX
}
