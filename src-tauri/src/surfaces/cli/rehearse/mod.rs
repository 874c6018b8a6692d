//! `rehearse`: what becomes of each run that the policy allows when links, processes and sensors fail. It is played with
//! twins of the configured actuators by this program on state directories of their own: no hardware is told anything, and
//! the node's own state is only read.

mod bench;
mod cases;
mod plan;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::cases::{Came, Case};
use self::plan::{Piece, Planned, plan, policy_of};
use super::args::RehearseArgs;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::out;
use super::start::config;
use crate::adapters::devices::Configured;
use crate::adapters::signals;
use crate::domain::base::quantity::span;
use crate::domain::policy::{Offered, Policy};
use crate::node::{RawConfig, policy_book};

/// How many cases are played at a time: each is a node of its own.
const BESIDE: usize = 3;

/// One line of the report.
struct Line {
    target: String,
    operation: String,
    case: String,
    /// What came of it, or why it was not played.
    came: Result<Came, String>,
}

/// `rehearse`.
///
/// # Errors
/// If configuration or policy do not read, or an actuator did not come to its safe state in time.
pub(super) async fn run(ctx: &Context, args: &RehearseArgs) -> Done {
    let program = std::env::current_exe()
        .map_err(|e| Failure::failed(format!("this program cannot find itself: {e}")))?;
    let config = config(&ctx.dir, RawConfig::default())?;
    let offered: Vec<Offered> = config.devices.iter().flat_map(Configured::offers).collect();
    let file = ctx.dir.policy_file();
    let text = policy_book::read(&file).map_err(Failure::state)?;
    let text = text.ok_or_else(|| {
        let why = format!(
            "there is no {}: nothing may start, so there is nothing to rehearse",
            file.display()
        );
        Failure::new(Exit::NotFound, why)
    })?;
    let policy =
        Policy::parse(&text).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
    let wanted = |planned: &Planned| match (&args.actuator, planned) {
        (None, _) => true,
        (Some(name), Planned::Run(piece)) => piece.target.as_str() == name,
        (Some(name), Planned::Not { target, .. }) => target == name,
    };
    let planned: Vec<Planned> = plan(&offered, &policy).into_iter().filter(wanted).collect();
    if planned.is_empty() {
        let why = match &args.actuator {
            Some(name) => format!("this node has no actuator {name}"),
            None => "this node has no actuator, so there is nothing to rehearse".to_owned(),
        };
        return Err(Failure::new(Exit::NotFound, why));
    }
    if !ctx.json {
        out::line(
            "Nothing of this moves hardware: each case is a node of its own with a twin of the actuator.",
        );
    }
    let patience_ms = args.patience.saturating_mul(1_000);
    let mut cases = JoinSet::new();
    let lines = tokio::select! {
        lines = play(&mut cases, &program, planned, &text, patience_ms) => lines?,
        Ok(_) = signals::asked() => {
            // The nodes that are under way are killed and their directories removed.
            cases.shutdown().await;
            return Err(Failure::failed("interrupted; the nodes of the rehearsal have ended"));
        }
    };
    report(ctx, &lines)
}

/// Plays every case, some beside each other; the lines in the order of the plan.
#[expect(
    clippy::disallowed_methods,
    reason = "the command has no node; they end with the set"
)]
async fn play(
    set: &mut JoinSet<(usize, Line)>,
    program: &Path,
    planned: Vec<Planned>,
    policy: &str,
    patience_ms: u64,
) -> Result<Vec<Line>, Failure> {
    let beside = Arc::new(Semaphore::new(BESIDE));
    let mut lines: Vec<(usize, Line)> = Vec::new();
    let mut count = 0;
    for planned in planned {
        let piece = match planned {
            Planned::Run(piece) => Arc::new(*piece),
            Planned::Not {
                target,
                operation,
                why,
            } => {
                let case = "starting it".to_owned();
                lines.push((
                    count,
                    Line {
                        target,
                        operation,
                        case,
                        came: Err(why),
                    },
                ));
                count += 1;
                continue;
            }
        };
        let policy: Arc<str> = policy_of(policy, &piece.rule)
            .map_err(Failure::usage)?
            .into();
        for case in Case::all(&piece) {
            let line = line(&piece, &case);
            let place = count;
            count += 1;
            let takes = case.takes_ms(&piece);
            if takes > patience_ms {
                let why = format!("it takes {}; give it with --patience", span(takes));
                lines.push((place, line(Err(why))));
                continue;
            }
            let (program, piece, policy) = (program.to_owned(), piece.clone(), policy.clone());
            let beside = beside.clone();
            set.spawn(async move {
                // It is never closed.
                let _turn = beside.acquire().await;
                let came = case.play(&program, &piece, &policy).await;
                (place, line(came))
            });
        }
    }
    while let Some(played) = set.join_next().await {
        lines.push(played.map_err(|e| Failure::failed(format!("a case ended badly: {e}")))?);
    }
    lines.sort_by_key(|(place, _)| *place);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// A line that lacks only what came of its case.
fn line(piece: &Piece, case: &Case) -> impl FnOnce(Result<Came, String>) -> Line + use<> {
    let (target, operation) = (piece.target.to_string(), piece.operation.clone());
    let case = case.name();
    move |came| Line {
        target,
        operation,
        case,
        came,
    }
}

fn report(ctx: &Context, lines: &[Line]) -> Done {
    let bad = |line: &&Line| line.came.as_ref().is_ok_and(|came| !came.safe);
    let (unsafe_ones, unplayed) = (
        lines.iter().filter(bad).count(),
        lines.iter().filter(|line| line.came.is_err()).count(),
    );
    if ctx.json {
        let all: Vec<_> = lines
            .iter()
            .map(|line| match &line.came {
                Ok(came) => {
                    json!({"actuator": line.target, "operation": line.operation, "case": line.case,
                    "safe": came.safe, "afterMs": came.after_ms, "note": came.note})
                }
                Err(why) => {
                    json!({"actuator": line.target, "operation": line.operation, "case": line.case,
                    "notRehearsed": why})
                }
            })
            .collect();
        out::json(&json!({"cases": all, "unsafe": unsafe_ones, "notRehearsed": unplayed}))?;
    } else {
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        let head = ["ACTUATOR", "DOES", "CASE", "SAFE", "AFTER", "NOTE"];
        out::table(&head, &rows, "there was nothing to rehearse");
        out::line(
            "Left out: who may start it and when (level, hours, caps, evidence). Not shown: what the device itself does when its line is cut.",
        );
    }
    match unsafe_ones {
        0 => Ok(()),
        n => Err(Failure::new(
            Exit::Unverified,
            format!(
                "in {n} of {} cases an actuator was not in its safe state in time",
                lines.len()
            ),
        )),
    }
}

fn row(line: &Line) -> Vec<String> {
    let (safe, after, note) = match &line.came {
        Ok(came) => (
            if came.safe { "yes" } else { "NO" },
            came.after_ms
                .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
            came.note.clone(),
        ),
        Err(why) => ("-", "-".to_owned(), format!("not rehearsed: {why}")),
    };
    vec![
        line.target.clone(),
        line.operation.clone(),
        line.case.clone(),
        safe.to_owned(),
        after,
        note,
    ]
}
