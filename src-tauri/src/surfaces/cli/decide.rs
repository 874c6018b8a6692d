//! Deciding and asking: approve, reject, withdraw, stop, propose.
//!
//! The signature is made here, in the person's own process: the node gets a signed decision and
//! never the key. What is signed is the record that the executor signed, checked here first, so
//! that a node in between can show nothing else than what is being agreed to.

use std::time::Duration;

use super::args::{DecideArgs, ProposalArg, ProposeArgs};
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{out, proposals, text};
use crate::domain::gate::approval::{Decision, SignedDecision, Verdict};
use crate::domain::identity::{OperatorKey, PublicKey, Signature};
use crate::domain::policy::Level;
use crate::domain::proposal::{SignedProposal, Status};
use crate::node::proposals::Standing;
use crate::operator::dto::{DraftRequest, ProposalRecordView, ProposalView};
use crate::surfaces::remote::Remote;

/// How often `--wait` looks again.
const WAIT_EVERY: Duration = Duration::from_millis(250);

/// `approve` and `reject`.
///
/// # Errors
/// If there is no operator key, the record is not its executor's, or the executor refuses.
pub async fn decide(ctx: &Context, args: &DecideArgs, verdict: Verdict) -> Done {
    let key = ctx.operator_key(args.passphrase_stdin)?;
    let remote = ctx.remote().await?;
    let view = ctx.proposal(&remote, &args.proposal).await?;
    let checked = check(&view)?;
    if verdict == Verdict::Approve {
        named(&checked, args.target.as_deref())?;
    }
    let signed = sign(&checked, verdict, args.note.clone(), &key, ctx);
    let standing = remote
        .decide(checked.record().proposal_id.as_str(), &signed)
        .await?;
    if standing.repeated && !standing.status.is_open() {
        return nothing_changed(ctx, &standing);
    }
    // Said before anything is waited for: whatever happens now, the decision has been taken.
    if !ctx.json {
        let action = proposals::action(&view.proposal);
        out::line(&format!("{}  {action}", view.proposal.id));
        out::line(&format!("{}: {}", standing.status, standing.detail));
    } else if !args.wait {
        return out::json(&standing);
    }
    if !args.wait {
        return Ok(());
    }
    let ended = wait(&remote, &view.proposal.id).await.map_err(|failure| {
        let id = text::short(&view.proposal.id);
        Failure::new(
            failure.exit,
            format!(
                "the decision was taken ({}), but how it ends is not known: {failure}; see `trace {id}`, and stop it at its executor with `stop {id}`",
                standing.status
            ),
        )
    })?;
    if ctx.json {
        out::json(&ended)?;
    }
    finish(&ended, ctx.json)
}

/// A decision about what has ended already: no success, whatever the end was.
fn nothing_changed(ctx: &Context, standing: &Standing) -> Done {
    if ctx.json {
        out::json(standing)?;
    }
    let id = text::short(standing.id.as_str());
    Err(Failure::failed(format!("{id}: {}", standing.detail)))
}

/// Whoever approves at L3 has read what will move: they name it.
fn named(proposal: &SignedProposal, target: Option<&str>) -> Done {
    let record = proposal.record();
    let wanted = record.target.as_str();
    match target {
        Some(target) if target != wanted => Err(Failure::usage(format!(
            "this proposal moves {wanted}, not {target}; nothing was signed"
        ))),
        None if record.level == Level::L3 => Err(Failure::usage(format!(
            "this proposal is L3: look at it with `show`, then name what it moves with --target {wanted}"
        ))),
        _ => Ok(()),
    }
}

/// Prints how it ended, unless that has been said; anything but the wished-for end is a failure.
fn finish(p: &ProposalView, quiet: bool) -> Done {
    let how = p
        .outcome
        .as_ref()
        .map(|o| o.detail.clone())
        .or_else(|| p.detail.clone());
    let end = format!(
        "{}: {}",
        p.status,
        how.unwrap_or_else(|| "no detail is known".to_owned())
    );
    match p.status.parse::<Status>() {
        Ok(Status::Completed | Status::Rejected) => {
            if !quiet {
                out::line(&end);
            }
            Ok(())
        }
        _ => Err(Failure::failed(format!(
            "{end}; clawmesh-node trace {} tells the story",
            text::short(&p.id)
        ))),
    }
}

async fn wait(remote: &Remote, id: &str) -> Result<ProposalView, Failure> {
    let mut tick = tokio::time::interval(WAIT_EVERY);
    loop {
        tick.tick().await;
        let view = remote.proposal(id).await?.proposal;
        if !view.status.parse::<Status>().is_ok_and(Status::is_open) {
            return Ok(view);
        }
    }
}

/// The record, if it is what its executor signed and what the node shows.
///
/// # Errors
/// If anything differs: then nothing is signed.
pub fn check(view: &ProposalRecordView) -> Result<SignedProposal, Failure> {
    let p = &view.proposal;
    let no = |why: String| {
        Failure::failed(format!(
            "proposal {}: {why}; nothing was signed",
            text::short(&p.id)
        ))
    };
    let key = PublicKey::from_text(&view.executor_key)
        .map_err(|e| no(format!("the executor's key is not usable ({e})")))?;
    let signature = Signature::from_text(&view.signature)
        .map_err(|e| no(format!("the executor's signature is not readable ({e})")))?;
    let signed = SignedProposal::open(&view.record, signature, &key)
        .map_err(|refusal| no(refusal.message))?;
    let record = signed.record();
    let params = serde_json::to_value(&record.params).unwrap_or_default();
    let shown_as_signed = record.proposal_id.as_str() == p.id
        && record.executor.as_str() == p.executor
        && record.target.as_str() == p.target
        && record.operation == p.operation
        && params == p.params
        && signed.digest().to_string() == p.digest;
    if shown_as_signed {
        Ok(signed)
    } else {
        Err(no(
            "the node shows other content than the executor signed".to_owned()
        ))
    }
}

fn sign(
    proposal: &SignedProposal,
    verdict: Verdict,
    note: Option<String>,
    key: &OperatorKey,
    ctx: &Context,
) -> SignedDecision {
    let record = proposal.record();
    Decision {
        verdict,
        mesh_id: record.mesh_id.clone(),
        executor: record.executor.clone(),
        proposal_id: record.proposal_id.clone(),
        digest: *proposal.digest(),
        operator_id: key.id().clone(),
        decided_at: ctx.time(),
        note,
    }
    .sign(key)
}

/// `withdraw`.
///
/// # Errors
/// If there is no such proposal, or it can no longer be taken back.
pub async fn withdraw(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    let id = ctx.proposal(&remote, &arg.proposal).await?.proposal.id;
    let standing = remote.withdraw(&id).await?;
    if ctx.json {
        return out::json(&standing);
    }
    out::line(&format!("{id}  {}: {}", standing.status, standing.detail));
    Ok(())
}

/// `stop`. Needs no key and no approval: stopping is always allowed.
///
/// # Errors
/// If nothing runs under this proposal, or its executor is not connected.
pub async fn stop(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    let id = ctx.proposal(&remote, &arg.proposal).await?.proposal.id;
    let proposal = remote.stop(&id).await?;
    if ctx.json {
        return out::json(&proposal);
    }
    out::line(&format!(
        "{id}  told to stop; {} goes to its safe state",
        proposal.target
    ));
    Ok(())
}

/// `propose`.
///
/// # Errors
/// If no executor offers the target, or the executor refuses.
pub async fn propose(ctx: &Context, args: &ProposeArgs) -> Done {
    let request = DraftRequest {
        target: args.action.target.clone(),
        operation: args.action.operation.clone(),
        params: args.action.params.iter().cloned().collect(),
        reason: args.reason.clone(),
        name: ctx.person(),
        cites: args.cites.clone(),
    };
    let draft = ctx.remote().await?.propose(&request).await?;
    if ctx.json {
        return out::json(&draft);
    }
    let detail = draft.detail.unwrap_or_default();
    match &draft.proposal_id {
        Some(id) => {
            let since = draft
                .standing_since
                .map(|since| format!("; it stands since {}", text::moment(since)))
                .unwrap_or_default();
            let said = format!("proposal {id}: {} {detail}{since}", draft.status);
            out::line(said.trim_end());
            out::line(&format!(
                "look at it: clawmesh-node show {}",
                text::short(id)
            ));
            Ok(())
        }
        None if draft.status == "refused" || draft.status == "expired" => Err(Failure::new(
            Exit::Failed,
            format!("{}: {detail}", draft.status),
        )),
        None => {
            out::line(&format!(
                "draft {}: {} {}",
                draft.draft_id, draft.status, detail
            ));
            Ok(())
        }
    }
}
