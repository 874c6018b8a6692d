//! `state confirm` and `clock confirm`: what a person at the machine says where the node itself cannot
//! know which copy of its state is the real one, or whether its clock is right. The node is stopped
//! meanwhile; what was said is on record.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use serde_json::json;

use super::args::{ClockCommand, StateCommand};
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::offline::Offline;
use super::{format, out};
use crate::domain::capability::Capability;
use crate::node::guards::moved::{self, Moved};

/// `state …`
///
/// # Errors
/// If the node runs, there is no state, or the person does not say yes.
pub(super) async fn state(ctx: &Context, command: &StateCommand) -> Done {
    let offline = Offline::open_existing(ctx).await?;
    let done = match command {
        StateCommand::Confirm { yes } => confirm_state(ctx, &offline, *yes).await,
        StateCommand::Safe { capability, yes } => {
            confirm_safe(ctx, &offline, capability, *yes).await
        }
    };
    offline.close().await;
    done
}

async fn confirm_safe(ctx: &Context, offline: &Offline, capability: &str, yes: bool) -> Done {
    let left = offline.left().await?;
    let target = named(capability, &left)?;
    let of_it = left.iter().filter(|moved| moved.target == target);
    let of_it: Vec<String> = of_it.map(Moved::in_words).collect();
    if let Some(other) = left.first().filter(|_| of_it.is_empty()) {
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "this node has not left {target} away from its safe state, but {}; nothing was changed",
                other.target
            ),
        ));
    }
    if left.is_empty() {
        if ctx.json {
            return out::json(&json!({"confirmed": false, "target": target}));
        }
        out::line(&format!(
            "this node has not left {target} away from its safe state; nothing was changed"
        ));
        return Ok(());
    }
    if !yes {
        agreed(&format!(
            "This node moved {target} and did not see it safe again:\n  {}\nHave you seen that each of them is in its safe state?",
            of_it.join("\n  ")
        ))?;
    }
    offline.confirm_safe(&target).await?;
    moved::write_copy(&ctx.dir, &offline.left().await?).map_err(Failure::state)?;
    if ctx.json {
        return out::json(&json!({"confirmed": true, "target": target}));
    }
    out::line(&format!("{target} counts as safe; this is on record"));
    Ok(())
}

/// The actuator that a person means: by its whole name, or by the end of one that was moved, where one alone has it.
fn named(text: &str, left: &[Moved]) -> Result<Capability, Failure> {
    let whole = text.parse::<Capability>();
    let end = format!(":{}", text.to_lowercase());
    let fits = |target: &&Capability| target.as_str().ends_with(&end);
    let found: BTreeSet<&Capability> = left
        .iter()
        .map(|moved| &moved.target)
        .filter(fits)
        .collect();
    let is_left = |target: &Capability| left.iter().any(|moved| moved.target == *target);
    let mut each = found.iter();
    match (whole, each.next(), each.next()) {
        (Ok(target), ..) if is_left(&target) => Ok(target),
        (_, Some(one), None) => Ok((*one).clone()),
        (_, Some(_), Some(_)) => {
            let all: Vec<&str> = found.iter().map(|target| target.as_str()).collect();
            let why = format!("{text:?} fits {}; give more of the name", all.join(" and "));
            Err(Failure::new(Exit::NotFound, why))
        }
        (Ok(target), None, _) => Ok(target),
        (Err(e), None, _) => Err(Failure::usage(format!("{text:?} is no capability: {e}"))),
    }
}

async fn confirm_state(ctx: &Context, offline: &Offline, yes: bool) -> Done {
    let Some(doubt) = offline.doubt(ctx).await? else {
        if ctx.json {
            return out::json(&json!({"confirmed": false, "doubt": null}));
        }
        out::line("nothing is in doubt about this state; nothing was changed");
        return Ok(());
    };
    if !yes {
        let question = format!(
            "{}\nNoticed {}. Go on only if no other copy of this node is in use, here or on another machine. \
             Proposals that are open in this state become void.\nIs this the state to go on with?",
            crate::node::continuity::sentence(&doubt),
            format::moment(doubt.at.0)
        );
        agreed(&question)?;
    }
    let confirmed = offline.confirm_state(ctx).await?;
    if ctx.json {
        let superseded = confirmed.superseded;
        return out::json(&json!({"confirmed": true, "doubt": doubt, "superseded": superseded}));
    }
    out::line(&format!(
        "this is the state of the node from now on; {} open proposals are void; it operates again when it is started",
        confirmed.superseded
    ));
    Ok(())
}

/// `clock …`
///
/// # Errors
/// As [`state`].
pub(super) async fn clock(ctx: &Context, command: &ClockCommand) -> Done {
    let ClockCommand::Confirm { yes } = command;
    let offline = Offline::open_existing(ctx).await?;
    let done = confirm_clock(ctx, &offline, *yes).await;
    offline.close().await;
    done
}

async fn confirm_clock(ctx: &Context, offline: &Offline, yes: bool) -> Done {
    let (mark, now) = (offline.recorded().await?, ctx.time());
    if mark <= now {
        if ctx.json {
            return out::json(&json!({"confirmed": false, "recorded": mark, "now": now}));
        }
        out::line("the clock is not behind anything this node has recorded; nothing was changed");
        return Ok(());
    }
    if !yes {
        let question = format!(
            "This machine's clock says {}. The node has recorded {}, which then was wrong.\nIs the clock right now?",
            format::moment(now.0),
            format::moment(mark.0)
        );
        agreed(&question)?;
    }
    let righted = offline.confirm_clock(now).await?;
    if ctx.json {
        return out::json(
            &json!({"confirmed": true, "recorded": mark, "now": now, "ahead": righted}),
        );
    }
    out::line(&format!(
        "the clock counts as right; the node operates again when it is started. Of what was recorded ahead of it {} \
         open proposals and {} waiting drafts are ended, {} readings dropped, and {} runs count as having ended now",
        righted.proposals_expired, righted.drafts_expired, righted.readings_dropped, righted.runs
    ));
    Ok(())
}

/// Asks a person at the terminal; only a yes goes on.
fn agreed(question: &str) -> Done {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask at; say --yes if you are sure",
        ));
    }
    let mut stderr = std::io::stderr().lock();
    let asked = write!(stderr, "{question} (yes/no) ").and_then(|()| stderr.flush());
    asked.map_err(|e| Failure::failed(format!("the question cannot be shown: {e}")))?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().take(64).read_line(&mut answer);
    read.map_err(|e| Failure::failed(format!("the answer could not be read: {e}")))?;
    match answer.trim() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was changed")),
    }
}
