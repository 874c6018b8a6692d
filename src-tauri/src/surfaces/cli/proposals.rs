//! Reading proposals: the list, and the story of one. One in full is in `record`, deciding in `decide`.

use serde_json::Value;

use super::args::ProposalArg;
use super::context::{Context, proposal};
use super::fail::Done;
use super::{format, out};
use crate::domain::proposal::Status;
use crate::operator::dto::{ProposalView, TraceStep, TraceView};

/// `proposals`.
///
/// # Errors
/// If the node does not run or does not answer.
pub(super) async fn list(ctx: &Context, all: bool) -> Done {
    let proposals = ctx.remote().await?.proposals(all).await?;
    if ctx.json {
        return out::json(&proposals);
    }
    let now = ctx.now();
    let rows: Vec<Vec<String>> = proposals.iter().map(|p| row(p, now)).collect();
    let head = [
        "ID", "STATUS", "LEVEL", "AGE", "EXPIRES", "EXECUTOR", "ACTION", "WHY",
    ];
    let nothing = if all {
        "there are no proposals"
    } else {
        "nothing waits for a decision (--all shows those that have ended)"
    };
    out::table(&head, &rows, nothing);
    Ok(())
}

fn row(p: &ProposalView, now: u64) -> Vec<String> {
    let waiting = p.status == Status::AwaitingApproval;
    vec![
        format::short(&p.id),
        p.status.to_string(),
        format!("{}{}", p.level, if p.tainted { " llm" } else { "" }),
        format::age(now, p.created_at),
        if waiting {
            format::age(now, p.expires_at)
        } else {
            "-".to_owned()
        },
        format::who(p.executor_name.as_deref(), &p.executor),
        action(p),
        format::cut(
            p.detail
                .as_deref()
                .filter(|_| !waiting)
                .unwrap_or(&p.reason),
            80,
        ),
    ]
}

/// The action in words: target, operation, parameters.
fn action(p: &ProposalView) -> String {
    let params = format::pairs(&p.params);
    format!("{} {} {params}", p.target, p.operation)
        .trim_end()
        .to_owned()
}

/// `trace`.
///
/// # Errors
/// If there is no such proposal, or the node does not answer.
pub(super) async fn trace(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    let trace = remote.trace(proposal(&arg.proposal)?).await?;
    if ctx.json {
        return out::json(&trace);
    }
    print_trace(&trace);
    Ok(())
}

/// Who took a step. The node names devices; what it gives as a bare id gets its name here.
fn actor(p: &ProposalView, s: &TraceStep) -> String {
    let person = s.data.get("operator").and_then(Value::as_str);
    if s.actor == p.executor {
        format::who(p.executor_name.as_deref(), &s.actor)
    } else if s.data.get("operatorId").and_then(Value::as_str) == Some(&s.actor) {
        format::who(person, &s.actor)
    } else {
        format::cut(&s.actor, 64)
    }
}

fn print_trace(trace: &TraceView) {
    let p = &trace.proposal;
    out::line(&format!("{}  {}  {}", p.id, action(p), p.status));
    let start = trace.steps.first().map_or(0, |s| s.time);
    let rows: Vec<Vec<String>> = trace
        .steps
        .iter()
        .map(|s| {
            vec![
                format::moment(s.time),
                format!("+{}", format::span(s.time.saturating_sub(start))),
                s.stage.clone(),
                actor(p, s),
                s.message.clone(),
            ]
        })
        .collect();
    out::table(
        &["TIME", "AFTER", "STEP", "WHO", "WHAT"],
        &rows,
        "nothing is known of its story",
    );
}
