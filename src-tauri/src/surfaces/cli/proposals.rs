//! Reading proposals: the list, one in full, and its story. Deciding is in `decide`.

use super::args::ProposalArg;
use super::context::Context;
use super::fail::Done;
use super::look::{cut, tier};
use super::{out, text};
use crate::domain::proposal::Evidence;
use crate::operator::dto::{ProposalRecordView, ProposalView, TraceView};

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
pub fn action(p: &ProposalView) -> String {
    let params = text::pairs(&p.params);
    format!("{} {} {params}", p.target, p.operation)
        .trim_end()
        .to_owned()
}

/// `show`.
///
/// # Errors
/// If there is no such proposal, or the node does not answer.
pub async fn show(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    let view = ctx.proposal(&remote, &arg.proposal).await?;
    if ctx.json {
        return out::json(&view);
    }
    print_proposal(&view, ctx.now());
    Ok(())
}

/// Everything a person should see before deciding.
pub fn print_proposal(view: &ProposalRecordView, now: u64) {
    let p = &view.proposal;
    let moves = format!(
        "{} will {}{}, for {}, then {} by itself",
        p.target,
        p.operation,
        if text::pairs(&p.params).is_empty() {
            String::new()
        } else {
            format!(" ({})", text::pairs(&p.params))
        },
        text::span(p.run_ms),
        p.safe_state,
    );
    let taint = if p.tainted {
        "llm: a model had a part in this; only a person can let it act"
    } else {
        ""
    };
    let place = if p.own { "this node" } else { "another node" };
    let expires = if p.status == "awaiting_approval" {
        format!(
            "{} ({})",
            text::moment(p.expires_at),
            text::age(now, p.expires_at)
        )
    } else {
        text::moment(p.expires_at)
    };
    let asker = serde_json::to_value(p.requested_by.kind)
        .map(|v| text::value(&v))
        .unwrap_or_default();
    out::facts(&[
        ("proposal", p.id.clone()),
        ("status", p.status.clone()),
        ("detail", p.detail.clone().unwrap_or_default()),
        ("moves", moves),
        ("why", p.reason.clone()),
        (
            "asked by",
            format!(
                "{} ({asker}) on device {}",
                p.requested_by.name,
                p.requested_by.device_id.short()
            ),
        ),
        (
            "needs",
            format!(
                "{}: {} operator(s); rule \"{}\" of the executor's policy",
                p.level, p.quorum, p.rule
            ),
        ),
        ("taint", taint.to_owned()),
        ("executor", format!("{} ({place})", p.executor)),
        (
            "minted",
            format!(
                "{} ({} ago)",
                text::moment(p.created_at),
                text::age(now, p.created_at)
            ),
        ),
        ("expires", expires),
        ("digest", p.digest.clone()),
    ]);
    if let Some(outcome) = &p.outcome {
        let took = text::span(outcome.ended_at.since(outcome.started_at));
        out::facts(&[
            (
                "outcome",
                format!("{}: {} (after {took})", outcome.status, outcome.detail),
            ),
            (
                "actuator",
                outcome.actuator_state.clone().unwrap_or_default(),
            ),
        ]);
    }
    out::line("");
    let rows: Vec<Vec<String>> = p.evidence.iter().map(|e| evidence_row(e, now)).collect();
    let head = [
        "EVIDENCE",
        "SAYS",
        "AGE THEN",
        "AGE NOW",
        "ORIGIN",
        "TIER",
        "SIGNATURE",
    ];
    out::table(&head, &rows, "it rests on no evidence");
}

fn evidence_row(e: &Evidence, now: u64) -> Vec<String> {
    let signature = serde_json::to_value(e.signature)
        .map(|v| text::value(&v))
        .unwrap_or_default();
    vec![
        text::short(e.frame_id.as_str()),
        e.summary.clone(),
        text::span(e.age_ms),
        text::age(now, e.sensed_at.0),
        e.origin.short().to_owned(),
        tier(
            &e.claimed_tier.to_string(),
            &e.effective_tier.to_string(),
            !e.taint.is_empty(),
        ),
        signature,
    ]
}

/// `trace`.
///
/// # Errors
/// If there is no such proposal, or the node does not answer.
pub async fn trace(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    let id = ctx.proposal(&remote, &arg.proposal).await?.proposal.id;
    let trace = remote.trace(&id).await?;
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
                text::short(&s.actor),
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
