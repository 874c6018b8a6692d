//! `planner`: what the planner of the running node does, and whether it may. `ask`: a question to it.

use std::time::Duration;

use super::args::PlannerCommand;
use super::context::{Context, unique};
use super::fail::{Done, Exit, Failure};
use super::{format, out};
use crate::domain::base::limits::LATER_LOOK_MS;
use crate::node::planner::later::Later;
use crate::node::planner::{Answered, Answerer, Telling};
use crate::operator::dto::{AskRequest, PauseRequest, PlannerKind, PlannerView, StandingView};
use crate::surfaces::remote::Remote;

/// `planner …`
///
/// # Errors
/// If the node does not run or refuses.
pub(super) async fn run(ctx: &Context, command: Option<&PlannerCommand>) -> Done {
    let remote = ctx.remote().await?;
    let asked = |reason: Option<&String>| PauseRequest {
        reason: reason.cloned(),
        name: Some(ctx.person()),
    };
    let view = match command {
        None => remote.planner().await?,
        Some(PlannerCommand::Pause { reason }) => {
            remote.planner_pause(&asked(reason.as_ref())).await?
        }
        Some(PlannerCommand::Cancel { id }) => {
            let waiting = remote.planner().await?.later;
            let ids = waiting.iter().map(|l| l.id.as_str());
            let id = unique("waiting question", id, ids)?;
            remote.ask_later_cancel(&id).await?
        }
        Some(PlannerCommand::Resume) => remote.planner_resume(&asked(None)).await?,
    };
    if ctx.json {
        return out::json(&view);
    }
    print(&view, ctx.now());
    Ok(())
}

/// `ask QUESTION`: the answer goes to stdout, what is done for it to stderr.
///
/// # Errors
/// If the node does not run, refuses, or has no answer.
pub(super) async fn ask(
    ctx: &Context,
    question: &str,
    goes_on: bool,
    (private, wait): (bool, bool),
) -> Done {
    let remote = ctx.remote().await?;
    let conversation = match goes_on {
        true => Some(last_of(&remote.answered().await?, &ctx.person())?),
        false => None,
    };
    let asked = AskRequest {
        question: question.to_owned(),
        name: Some(ctx.person()),
        conversation,
        private,
        wait,
    };
    let mut each = |told: &Telling| {
        if !ctx.json {
            aside(told);
        }
    };
    let answered = last_word(&remote, &asked, &mut each).await?;
    match answered.queued {
        true => said(ctx, &waited_for(&remote, &answered).await?),
        false => said(ctx, &answered),
    }
}

/// Asks a question, and the answer in lines, for `tui`.
///
/// # Errors
/// If the node does not run, refuses, or has no answer.
#[cfg(feature = "tui")]
pub(super) async fn answer(ctx: &Context, question: &str) -> Result<Vec<String>, Failure> {
    let asked = AskRequest {
        question: question.to_owned(),
        name: Some(ctx.person()),
        ..AskRequest::default()
    };
    let answered = last_word(&ctx.remote().await?, &asked, &mut |_| {}).await?;
    let mut lines = lines(&answered);
    lines.push(by(&answered));
    Ok(lines)
}

/// Asks, and tells each step of the way to `each`; the answer.
async fn last_word(
    remote: &Remote,
    asked: &AskRequest,
    each: &mut (dyn FnMut(&Telling) + Send),
) -> Result<Answered, Failure> {
    let (mut line, mut last) = (Vec::new(), None);
    let mut sink = |bytes: &[u8]| {
        for byte in bytes {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            let whole = std::mem::take(&mut line);
            if whole.is_empty() {
                continue;
            }
            let told: Telling = serde_json::from_slice(&whole).map_err(std::io::Error::other)?;
            each(&told);
            last = Some(told);
        }
        Ok(())
    };
    remote.ask_planner(asked, &mut sink).await?;
    match last {
        Some(Telling::Answered(answered)) => Ok(*answered),
        Some(Telling::Failed { code, message }) => {
            Err(Failure::new(Exit::Failed, format!("{code}: {message}")))
        }
        _ => {
            let why = "the node ended before there was an answer";
            Err(Failure::new(Exit::NotRunning, why))
        }
    }
}

/// Waits until a model has answered. The node has the question: it goes on when this program ends.
async fn waited_for(remote: &Remote, queued: &Answered) -> Result<Answered, Failure> {
    let view = remote.planner().await?;
    let model = view.model.as_deref().unwrap_or("a model");
    let why = queued.why.as_deref().unwrap_or("no model can be asked now");
    out::aside_line(&format!("queued until {model} answers: {why}"));
    out::aside_line(&format!(
        "the node keeps it for a day, also if you leave; take it back with `clawmesh-node planner cancel {}`",
        format::short(&queued.id)
    ));
    loop {
        tokio::time::sleep(Duration::from_millis(LATER_LOOK_MS)).await;
        let waits = remote.planner().await?.later;
        let waits = waits.iter().any(|later| later.id == queued.id);
        let answered = remote.answered().await?.into_iter();
        match answered.into_iter().find(|a| a.id == queued.id) {
            Some(answered) if answered.answerer == Answerer::Model => return Ok(answered),
            _ if waits => {}
            _ => {
                let why = "the question waits no more and no model has answered it; `clawmesh-node events` says why";
                return Err(Failure::new(Exit::Failed, why));
            }
        }
    }
}

/// The conversation of the question that a person asked last; `answered` is newest first.
fn last_of(answered: &[Answered], person: &str) -> Result<String, Failure> {
    let mine = |a: &&Answered| a.asked_by == person && !a.standing && !a.conversation.is_empty();
    let last = answered.iter().find(mine).map(|a| a.conversation.clone());
    last.ok_or_else(|| {
        let why = format!(
            "{person} has asked nothing here that could be gone on with; ask without --continue"
        );
        Failure::new(Exit::NotFound, why)
    })
}

/// Tells on stderr what is done for a question.
fn aside(told: &Telling) {
    match told {
        Telling::Queued { behind: 0, .. } | Telling::Text { .. } => {}
        Telling::Queued { behind, .. } => {
            out::aside_line(&format!("waits behind {behind} other questions"));
        }
        Telling::Thinking { route } => out::aside_line(route),
        Telling::Tool { call, result } if result.starts_with("Refused") => {
            out::aside_line(&format!("used {call}. {result}"));
        }
        Telling::Tool { call, .. } => out::aside_line(&format!("used {call}")),
        Telling::Again { why } => out::aside_line(&format!("asked again: {why}")),
        Telling::Answered(_) | Telling::Failed { .. } => {}
    }
}

fn said(ctx: &Context, answered: &Answered) -> Done {
    if ctx.json {
        return out::json(answered);
    }
    lines(answered).iter().for_each(|text| out::line(text));
    out::aside_line(&by(answered));
    Ok(())
}

/// An answer with what it cites and asks for.
fn lines(answered: &Answered) -> Vec<String> {
    let mut lines = vec![answered.answer.clone()];
    lines.extend(answered.citations.iter().map(|citation| {
        format!(
            "  [{}] {}",
            format::short_frame(&citation.frame_id),
            citation.summary
        )
    }));
    if answered.citations_dropped > 0 {
        lines.push(format!(
            "  {} citations named no frame that was shown and were dropped",
            answered.citations_dropped
        ));
    }
    lines.extend(answered.proposals.iter().map(|proposal| {
        format!(
            "proposal {proposal} waits for a person: clawmesh-node show {}",
            format::short(proposal)
        )
    }));
    lines
}

/// Who answered, and how long it took.
fn by(answered: &Answered) -> String {
    let by = match &answered.model {
        Some(model) => format!("{model}, {}, {} tokens", answered.tier, answered.tokens),
        None => "the planner of rules".to_owned(),
    };
    let by = match &answered.answered_by {
        Some(device) => format!("{by}, at {device}"),
        None => by,
    };
    let why = answered
        .why
        .as_ref()
        .map(|why| format!(" (no model answered: {why})"));
    format!(
        "answered by {by} in {} ms{}",
        answered.took_ms,
        why.unwrap_or_default()
    )
}

/// The modes of the models, and why; nothing where there is none.
pub(super) fn brief(view: &PlannerView) -> String {
    view.mode
        .as_ref()
        .map_or_else(String::new, |_| models(view))
}

fn models(view: &PlannerView) -> String {
    match &view.mode {
        None => "none; the rules answer questions".to_owned(),
        Some(mode) if mode.why.is_empty() => mode.mode.to_string(),
        Some(mode) => format!("{}, the rules answer: {}", mode.mode, mode.why),
    }
}

/// Until when, and what ends it.
fn until(view: &PlannerView, now: u64) -> String {
    let Some(mode) = view.mode.as_ref().filter(|m| !m.advice.is_empty()) else {
        return String::new();
    };
    match mode.until {
        Some(at) => format!("{}; {}", format::age(now, at.max(now + 1_000)), mode.advice),
        None => mode.advice.clone(),
    }
}

fn print(view: &PlannerView, now: u64) {
    let since = view.pause.as_ref().map(|p| p.since.0);
    let last = match (&view.last_rule, view.last_fired_at) {
        (Some(rule), Some(at)) => format!("{rule}, {} ago", format::age(now, at)),
        _ => "none since the start".to_owned(),
    };
    let rules = if view.rules == 1 { "rule" } else { "rules" };
    let plans = match view.kind {
        PlannerKind::None => view.kind.to_string(),
        PlannerKind::Rules => format!("{} {rules}", view.rules),
    };
    out::facts(&[
        ("planner", plans),
        ("state", format!("{}: {}", view.state, view.why)),
        (
            "since",
            since.map_or_else(String::new, |at| format!("{} ago", format::age(now, at))),
        ),
        ("last fired", last),
        ("models", models(view)),
        ("until", until(view, now)),
        (
            "gen-1 leader",
            view.leader.as_ref().map_or_else(String::new, |l| {
                let name = if l.own {
                    Some("this node")
                } else {
                    l.name.as_deref()
                };
                format!("{}, {}", format::who(name, &l.device_id), l.role)
            }),
        ),
    ]);
    triggers(view, now);
    if !view.later.is_empty() {
        out::line("");
        out::line("Questions that are asked again when a model can be asked:");
        let row = |l: &Later| {
            vec![
                format::short(&l.id),
                l.question.clone(),
                l.asked_by.clone(),
                format::age(now, l.asked_at),
                format::age(now, l.expires_at),
                l.why.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = view.later.iter().map(row).collect();
        let head = ["ID", "QUESTION", "ASKED BY", "AGE", "GIVEN UP", "WHY"];
        out::table(&head, &rows, "");
    }
    if view.others.is_empty() {
        return;
    }
    out::line("");
    out::line("Proposals of gen-1 planners, decided and executed by their own nodes, not here:");
    let rows: Vec<Vec<String>> = view
        .others
        .iter()
        .map(|p| {
            vec![
                format::short(&p.id),
                p.status.clone(),
                p.level.clone(),
                p.summary.clone(),
                format::who(p.from_name.as_deref(), &p.from),
                format::age(now, p.heard_at),
            ]
        })
        .collect();
    let head = ["ID", "STATUS", "LEVEL", "SUMMARY", "PLANNER", "AGE"];
    out::table(&head, &rows, "");
}

/// The planner's scheduled rules and standing questions.
fn triggers(view: &PlannerView, now: u64) {
    let next = |at: Option<u64>| match at {
        Some(at) => format!("{}, in {}", format::moment(at), format::age(at, now)),
        None => String::new(),
    };
    if !view.schedules.is_empty() {
        out::line("");
        let rows = view.schedules.iter();
        let rows = rows.map(|s| {
            let last = s.last_at.map(format::moment).unwrap_or_default();
            let asks = match (&s.left_to, &view.pause) {
                (Some(leader), _) => format!("left to {leader}"),
                (None, Some(_)) => "paused".to_owned(),
                (None, None) => "this node".to_owned(),
            };
            vec![s.rule.clone(), s.at.clone(), next(s.next_at), last, asks]
        });
        let head = ["RULE", "AT", "NEXT", "LAST", "ASKS"];
        out::table(&head, &rows.collect::<Vec<_>>(), "");
    }
    if !view.questions.is_empty() {
        out::line("");
        let row = |q: &StandingView| {
            let may = match q.propose {
                true => "may propose",
                false => "answers only",
            };
            let (name, when) = (q.name.clone(), q.when.clone());
            vec![name, when, next(q.next_at), may.to_owned(), q.text.clone()]
        };
        let rows: Vec<Vec<String>> = view.questions.iter().map(row).collect();
        out::table(&["QUESTION", "WHEN", "NEXT", "MODEL", "TEXT"], &rows, "");
    }
}
