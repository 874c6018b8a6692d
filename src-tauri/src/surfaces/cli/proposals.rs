//! Reading proposals: the list, and the story of one. One in full is in `record`, deciding in `decide`.

use super::args::ProposalArg;
use super::context::{Context, proposal};
use super::fail::Done;
use super::look::cut;
use super::{out, text};
use crate::operator::dto::{ProposalView, TraceView};

/// `proposals`.
///
/// # Errors
/// If the node does not run or does not answer.
pub async fn list(ctx: &Context, all: bool) -> Done {
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
    let waiting = p.status == "awaiting_approval";
    vec![
        text::short(&p.id),
        p.status.clone(),
        format!("{}{}", p.level, if p.tainted { " llm" } else { "" }),
        text::age(now, p.created_at),
        if waiting {
            text::age(now, p.expires_at)
        } else {
            "-".to_owned()
        },
        text::short(&p.executor),
        action(p),
        cut(
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
    let params = text::pairs(&p.params);
    format!("{} {} {params}", p.target, p.operation)
        .trim_end()
        .to_owned()
}

/// `trace`.
///
/// # Errors
/// If there is no such proposal, or the node does not answer.
pub async fn trace(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    let trace = remote.trace(proposal(&arg.proposal)?).await?;
    if ctx.json {
        return out::json(&trace);
    }
    print_trace(&trace);
    Ok(())
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
                text::moment(s.time),
                format!("+{}", text::span(s.time.saturating_sub(start))),
                s.stage.clone(),
                cut(&s.actor, 24),
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
