//! `estop`: stop everything that can be reached, see whether this node is stopped, release it here.

use super::args::{EstopArgs, EstopCommand};
use super::context::Context;
use super::fail::{Done, Failure};
use super::{format, out};
use crate::operator::estop::{EstopExecutor, EstopReport, EstopRequest, EstopView, StopKnown};

/// `estop …`
///
/// # Errors
/// If the node does not run, or an executor did not confirm that it is latched and safe.
pub(super) async fn run(ctx: &Context, args: &EstopArgs) -> Done {
    let remote = ctx.remote().await?;
    let asked = |reason: Option<String>| EstopRequest {
        reason,
        name: Some(ctx.person()),
        ..Default::default()
    };
    match &args.command {
        None => report(ctx, &remote.estop(&asked(args.reason.clone())).await?),
        Some(EstopCommand::Status) => state(ctx, &remote.estop_state().await?),
        Some(EstopCommand::Release { reason }) => {
            let view = remote.estop_release(&asked(Some(reason.clone()))).await?;
            released(ctx, &view)
        }
    }
}

fn released(ctx: &Context, view: &EstopView) -> Done {
    if ctx.json || view.latch.is_some() {
        return state(ctx, view);
    }
    out::line("the emergency stop is released at this node");
    Ok(())
}

fn state(ctx: &Context, view: &EstopView) -> Done {
    if ctx.json {
        return out::json(view);
    }
    out::line(&match &view.latch {
        None => "the emergency stop is not latched at this node".to_owned(),
        Some(latch) => format!(
            "the emergency stop is latched for {} by {}: {}",
            format::age(ctx.now(), latch.since.0),
            latch.by,
            latch.reason
        ),
    });
    Ok(())
}

fn row(e: &EstopExecutor) -> Vec<String> {
    let who = format::who(e.name.as_deref(), &e.device_id);
    let known = match e.known {
        StopKnown::Latched => "latched",
        StopKnown::UntilRestart => "STOPPED, NOT LATCHED",
        StopKnown::Refused => "NOT STOPPED",
        StopKnown::NoAnswer => "NO ANSWER",
        StopKnown::NotTold => "NOT TOLD",
    };
    let actuators: Vec<String> = e
        .actuators
        .iter()
        .map(|a| {
            let position = a.position.as_deref().unwrap_or("position unknown");
            let safe = if a.safe { "safe" } else { "NOT SAFE" };
            format!("{} {safe} ({position})", a.target)
        })
        .collect();
    let mut detail = actuators.join(", ");
    if detail.is_empty() && e.latched {
        detail = "it has no actuators".to_owned();
    }
    if let Some(problem) = &e.problem {
        detail = format!("{problem} {detail}").trim().to_owned();
    }
    vec![who, known.to_owned(), detail]
}

/// What each executor answered, one line each, for `tui`.
#[cfg(feature = "tui")]
pub(super) fn lines(report: &EstopReport) -> Vec<String> {
    let each = report.executors.iter();
    each.map(|e| row(e).join("  ")).collect()
}

fn report(ctx: &Context, report: &EstopReport) -> Done {
    if ctx.json {
        out::json(report)?;
    } else {
        let rows: Vec<Vec<String>> = report.executors.iter().map(row).collect();
        out::table(
            &["EXECUTOR", "STOP", "ACTUATORS"],
            &rows,
            "no executor is known",
        );
    }
    if report.complete {
        return Ok(());
    }
    Err(Failure::failed(
        "not every executor confirmed that it is latched and safe; stop those by hand",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_is_known_and_no_more() {
        let executor = |known, problem: Option<&str>| EstopExecutor {
            device_id: "ab".repeat(32),
            name: Some("field-1".to_owned()),
            own: false,
            latched: known == StopKnown::Latched,
            known,
            problem: problem.map(str::to_owned),
            actuators: Vec::new(),
        };
        let said = |known, problem| row(&executor(known, problem)).join(" | ");
        assert_eq!(
            said(StopKnown::Latched, None),
            "field-1 (abababababab) | latched | it has no actuators"
        );
        assert_eq!(
            said(StopKnown::NotTold, Some("it is not connected")),
            "field-1 (abababababab) | NOT TOLD | it is not connected"
        );
        for known in [StopKnown::NoAnswer, StopKnown::NotTold] {
            assert!(!said(known, None).to_lowercase().contains("latched"));
        }
    }
}
