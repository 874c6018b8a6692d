//! `hold`: keeps a held action going until Ctrl-C, which lets it go, or its end.

use std::time::Duration;

use super::args::ProposalArg;
use super::context::{Context, proposal};
use super::fail::{Done, Failure};
use super::{decide, format, out, record};
use crate::domain::policy::Kind;
use crate::node::proposals::hold::{HoldRequest, HoldView};
use crate::surfaces::remote::{Remote, RemoteError};

/// How often it looks whether the action has begun or ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// `hold`.
///
/// # Errors
/// If it is no held action, nobody here may keep it, or it ends otherwise than by being let go.
pub(super) async fn run(ctx: &Context, arg: &ProposalArg) -> Done {
    let checked = record::fetch(ctx, proposal(&arg.proposal)?).await?;
    let id = checked.record().proposal_id.as_str().to_owned();
    let Kind::Held { lease_ms } = checked.record().kind() else {
        return Err(Failure::failed(format!(
            "proposal {} is no held action: it is {}, and ends by itself",
            checked.short(),
            checked.record().kind()
        )));
    };
    let remote = ctx.remote().await?;
    let mut asked = HoldRequest {
        holder: format!("cli-{}-{}", std::process::id(), ctx.now()),
        by: ctx.person(),
        counter: 0,
        release: false,
    };
    let let_go = tokio::signal::ctrl_c();
    tokio::pin!(let_go);
    let mut next = Duration::ZERO;
    let (mut told, mut heard) = (false, true);
    loop {
        tokio::select! {
            biased;
            _ = &mut let_go => {
                if !told {
                    return Err(Failure::failed("it was not held"));
                }
                asked.release = true;
                remote.hold(&id, &asked).await?;
                return finish(ctx, &remote, &id).await;
            }
            () = tokio::time::sleep(next) => {}
        }
        if !remote.proposal(&id).await?.proposal.status.is_open() {
            return finish(ctx, &remote, &id).await;
        }
        asked.counter = asked.counter.saturating_add(1);
        match remote.hold(&id, &asked).await {
            Ok(held) => {
                asked.counter = asked.counter.max(held.counter);
                say(ctx, &id, &held, &mut told)?;
                (heard, next) = (true, Duration::from_millis(lease_ms / 3));
            }
            // It has not begun, or has just ended, which is looked at next.
            Err(RemoteError::Refused { code, .. }) if code == "CONFLICT" && !told => {
                next = LOOK_EVERY
            }
            Err(error) if told => {
                if heard {
                    out::aside(&format!("not renewed, trying again: {error}\n"));
                }
                (heard, next) = (false, LOOK_EVERY);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn say(ctx: &Context, id: &str, held: &HoldView, told: &mut bool) -> Done {
    if ctx.json {
        out::json_line(held)?;
    } else if !*told {
        out::line(&format!(
            "{}  held; Ctrl-C lets it go, and it ends {} after this stops, in {} in any case",
            format::short(id),
            format::span(held.lapses_in_ms),
            format::span(held.ends_in_ms)
        ));
    }
    *told = true;
    out::arrived()
}

/// Waits for its end, and tells it.
async fn finish(ctx: &Context, remote: &Remote, id: &str) -> Done {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let view = remote.proposal(id).await?.proposal;
        if !view.status.is_open() {
            if ctx.json {
                out::json_line(&view)?;
            }
            return decide::finish(&view, ctx.json);
        }
    }
}
