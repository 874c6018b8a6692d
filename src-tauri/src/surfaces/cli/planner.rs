//! `planner`: what the planner of the running node does, and whether it may.

use super::args::PlannerCommand;
use super::context::Context;
use super::fail::Done;
use super::{format, out};
use crate::operator::planner::{PauseRequest, PlannerView};

/// `planner …`
///
/// # Errors
/// If the node does not run or refuses.
pub async fn run(ctx: &Context, command: Option<&PlannerCommand>) -> Done {
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
        Some(PlannerCommand::Resume) => remote.planner_resume(&asked(None)).await?,
    };
    if ctx.json {
        return out::json(&view);
    }
    print(&view, ctx.now());
    Ok(())
}

fn print(view: &PlannerView, now: u64) {
    let since = view.pause.as_ref().map(|p| p.since.0);
    let last = match (&view.last_rule, view.last_fired_at) {
        (Some(rule), Some(at)) => format!("{rule}, {} ago", format::age(now, at)),
        _ => "none since the start".to_owned(),
    };
    out::facts(&[
        ("planner", format!("{}, {} rules", view.kind, view.rules)),
        ("state", format!("{}: {}", view.state, view.why)),
        (
            "since",
            since.map_or_else(String::new, |at| format!("{} ago", format::age(now, at))),
        ),
        ("last fired", last),
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
