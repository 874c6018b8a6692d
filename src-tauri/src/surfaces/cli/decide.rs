//! Deciding and asking: approve, reject, withdraw, stop, propose.
//!
//! The signature is made here, in the person's own process: the node gets a signed decision and
//! never the key. A decision prints the record that the executor signed, checked here, takes the
//! person's word for it, and signs the digest of those very bytes: the record is fetched once.

use std::time::Duration;

use super::args::{DecideArgs, ProposalArg, ProposeArgs};
use super::context::{Context, proposal};
use super::fail::{Done, Exit, Failure};
use super::record::{self, Checked};
use super::{consent, format, out};
use crate::domain::capability::params_of;
use crate::domain::gate::NodeCode;
use crate::domain::gate::approval::{Decision, SignedDecision, Verdict};
use crate::domain::identity::OperatorKey;
use crate::domain::proposal::Status;
use crate::node::proposals::Standing;
use crate::operator::dto::{DraftRequest, DraftState, ProposalView};
use crate::surfaces::remote::Remote;

/// How often `--wait` looks again.
const WAIT_EVERY: Duration = Duration::from_millis(250);

/// `approve` and `reject`.
///
/// # Errors
/// If there is no operator key, the record is not its executor's, the person does not say yes, or the
/// executor refuses.
pub(super) async fn decide(ctx: &Context, args: &DecideArgs, verdict: Verdict) -> Done {
    ctx.operator_card()?;
    let checked = record::fetch(ctx, &args.proposal).await?;
    checked.fit_to_sign()?;
    let shown = |width| format!("{}\n", checked.text(ctx.now(), width));
    if !ctx.json {
        out::print(&shown(out::width()));
    } else if consent::can_ask() {
        out::aside(&shown(out::width_aside()));
    }
    if args.at_node && (verdict == Verdict::Reject || !checked.record().at_node) {
        return Err(Failure::usage(
            "no code is asked for about this: only a yes to a proposal whose rule says at_node takes one; nothing was signed",
        ));
    }
    consent::take(args, verdict, &checked)?;
    let key = ctx.operator_key(args.passphrase_stdin)?;
    let code = args.at_node.then(consent::code).transpose()?;
    let signed = sign(&checked, verdict, (args.note.clone(), code), &key, ctx);
    let id = checked.record().proposal_id.as_str();
    let remote = ctx.remote().await?;
    let standing = remote.decide(id, &signed).await?;
    if standing.repeated && !standing.status.is_open() {
        return nothing_changed(ctx, &standing);
    }
    // Said before anything is waited for: whatever happens now, the decision has been taken.
    if !ctx.json {
        out::line(&format!("{}: {}", standing.status, standing.detail));
    } else if !args.wait {
        return out::json(&standing);
    }
    if !args.wait {
        return Ok(());
    }
    let ended = wait(&remote, id).await.map_err(|failure| {
        let id = checked.short();
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
    let id = format::short(standing.id.as_str());
    Err(Failure::failed(format!("{id}: {}", standing.detail)))
}

/// Prints how it ended, unless that has been said; anything but the wished-for end is a failure.
pub(super) fn finish(p: &ProposalView, quiet: bool) -> Done {
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
    match p.status {
        Status::Completed | Status::Rejected => {
            if !quiet {
                out::line(&end);
            }
            Ok(())
        }
        _ => Err(Failure::failed(format!(
            "{end}; clawmesh-node trace {} tells the story",
            format::short(&p.id)
        ))),
    }
}

async fn wait(remote: &Remote, id: &str) -> Result<ProposalView, Failure> {
    let mut tick = tokio::time::interval(WAIT_EVERY);
    loop {
        tick.tick().await;
        let view = remote.proposal(id).await?.proposal;
        if !view.status.is_open() {
            return Ok(view);
        }
    }
}

/// The decision about a record, signed here by the person's key.
pub(super) fn sign(
    checked: &Checked,
    verdict: Verdict,
    (note, at_node): (Option<String>, Option<NodeCode>),
    key: &OperatorKey,
    ctx: &Context,
) -> SignedDecision {
    let record = checked.record();
    Decision {
        verdict,
        mesh_id: record.mesh_id.clone(),
        executor: record.executor.clone(),
        proposal_id: record.proposal_id.clone(),
        digest: *checked.signed.digest(),
        operator_id: key.id().clone(),
        decided_at: ctx.time(),
        note,
        channel: None,
        at_node,
    }
    .sign(key)
}

/// `withdraw`.
///
/// # Errors
/// If there is no such proposal, or it can no longer be taken back.
pub(super) async fn withdraw(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    let standing = remote.withdraw(proposal(&arg.proposal)?).await?;
    if ctx.json {
        return out::json(&standing);
    }
    out::line(&format!(
        "{}  {}: {}",
        standing.id, standing.status, standing.detail
    ));
    Ok(())
}

/// `stop`. Needs no key and no approval: stopping is always allowed.
///
/// # Errors
/// If nothing runs under this proposal, its executor is not connected, or its actuator is not
/// confirmed to be in its safe state.
pub(super) async fn stop(ctx: &Context, arg: &ProposalArg) -> Done {
    let remote = ctx.remote().await?;
    // The id goes as it was given: the node finds what runs without its store.
    let wanted = proposal(&arg.proposal)?;
    let view = remote.stop(wanted).await?;
    let id = view.proposal.as_ref().map_or(wanted, |p| p.id.as_str());
    let stopped = &view.stopped;
    let said = format!("{id}  stopped; {}", stopped.detail);
    match (stopped.safe, ctx.json) {
        (_, true) => out::json(&view)?,
        (true, false) => out::line(&said),
        (false, false) => {}
    }
    match stopped.safe {
        true => Ok(()),
        false => Err(Failure::failed(said)),
    }
}

/// `propose`.
///
/// # Errors
/// If no executor offers the target, or the executor refuses.
pub(super) async fn propose(ctx: &Context, args: &ProposeArgs) -> Done {
    let request = DraftRequest {
        target: args.action.target.clone(),
        operation: args.action.operation.clone(),
        params: params_of(args.action.params.iter().cloned()).map_err(Failure::usage)?,
        reason: args.reason.clone(),
        name: ctx.person(),
        cites: args.cites.clone(),
        executor: args.executor.clone(),
        zone: args.zone.clone(),
    };
    let draft = ctx.remote().await?.propose(&request).await?;
    if ctx.json {
        return out::json(&draft);
    }
    let detail = draft.detail.unwrap_or_default();
    let status = format::code(draft.status);
    match &draft.proposal_id {
        Some(id) => {
            let since = draft
                .standing_since
                .map(|since| format!("; it stands since {}", format::moment(since)))
                .unwrap_or_default();
            let said = format!("proposal {id}: {status} {detail}{since}");
            out::line(said.trim_end());
            out::line(&format!(
                "look at it: clawmesh-node show {}",
                format::short(id)
            ));
            Ok(())
        }
        None if matches!(draft.status, DraftState::Refused | DraftState::Expired) => {
            Err(Failure::new(Exit::Failed, format!("{status}: {detail}")))
        }
        None => {
            out::line(&format!("draft {}: {status} {detail}", draft.draft_id));
            Ok(())
        }
    }
}
