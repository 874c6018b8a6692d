//! `approvals`: standing approvals, given, listed and revoked.
//!
//! As with a decision, the signature is made here, in the person's own process, over exactly what was printed.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Number, Value};

use super::args::{ApprovalsCommand, AskedBy, GiveArgs, RevokeArgs};
use super::context::{Context, unique};
use super::fail::{Done, Exit, Failure};
use super::{consent, format, layout, out};
use crate::adapters::random::SharedRandom;
use crate::domain::base::number::all_plain;
use crate::domain::base::zone::{minute_of_day, zone_minutes, zone_shown};
use crate::domain::base::{DeviceId, Digest, TimeMs};
use crate::domain::gate::StandingApproval;
use crate::domain::gate::standing_approval::{Allowed, StandingEnd};
use crate::domain::policy::Requester;
use crate::node::proposals::standing_approvals::{ApprovalView, StandingState};
use crate::operator::standing_approvals::ApprovalsView;
use crate::surfaces::remote::Remote;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// `approvals …`
///
/// # Errors
/// If no node runs, nothing is found, the person does not say yes, or the executor refuses.
pub(super) async fn run(ctx: &Context, command: Option<&ApprovalsCommand>) -> Done {
    match command {
        None => list(ctx, false).await,
        Some(ApprovalsCommand::List { all }) => list(ctx, *all).await,
        Some(ApprovalsCommand::Give(args)) => give(ctx, args).await,
        Some(ApprovalsCommand::Revoke(args)) => revoke(ctx, args).await,
    }
}

async fn list(ctx: &Context, all: bool) -> Done {
    let mut view = ctx.remote().await?.standing().await?;
    view.list
        .retain(|one| all || one.state != StandingState::Ended);
    if ctx.json {
        return out::json(&view);
    }
    for executor in &view.unknown {
        let short = format::short(executor);
        out::error(&format!(
            "executor {short} did not answer; what it was given is not listed"
        ));
    }
    if all && view.left_out > 0 {
        let left_out = view.left_out;
        out::aside_line(&format!("{left_out} more were given and are not listed"));
    }
    if view.list.is_empty() {
        out::line("no standing approval counts here; give one with `approvals give`");
        return Ok(());
    }
    let zone = local_zone();
    let rows: Vec<Vec<String>> = view
        .list
        .iter()
        .map(|one| row(one, ctx.now(), zone))
        .collect();
    let head = ["ID", "BY", "WHAT", "AT", "USED", "UNTIL", "STATE"];
    out::print(&layout::table(&head, &rows, out::width()));
    Ok(())
}

fn row(one: &ApprovalView, now: u64, zone: i32) -> Vec<String> {
    let why = one.why.as_deref().map(|why| format!(": {why}"));
    vec![
        one.id.chars().take(8).collect(),
        one.name
            .as_deref()
            .map_or_else(|| format::short(&one.operator_id), format::name),
        format!("{}, up to {}", one.summary, format::span(one.run_max_ms)),
        format::who(one.executor_name.as_deref(), &one.executor),
        format!("{} of {}", one.used, one.uses_max),
        when(one.valid_until, now, zone),
        format!("{}{}", format::code(one.state), why.unwrap_or_default()),
    ]
}

async fn give(ctx: &Context, args: &GiveArgs) -> Done {
    let card = ctx.operator_card()?;
    let remote = ctx.remote().await?;
    let known = remote.standing().await?;
    let (now, zone) = (ctx.time(), local_zone());
    let mesh = known.mesh_id.parse();
    let mut askers: Vec<AskedBy> = args.askers.clone();
    if askers.is_empty() {
        // A program with a session of a person could ask in that person's name; only who says so lets it.
        askers = vec![AskedBy::Rules];
    }
    let moment = |text: &str| moment(text, now, zone).map_err(Failure::usage);
    let approval = StandingApproval {
        version: 1,
        mesh_id: mesh.map_err(|_| Failure::failed("the node does not say which mesh it is of"))?,
        executor: executor(&remote, args, &known).await?,
        operator_id: card.id.clone(),
        target: args
            .target
            .parse()
            .map_err(|e| Failure::usage(format!("target: {e}")))?,
        operation: args.operation.clone(),
        params: params(&args.params)?,
        askers: askers.into_iter().map(requester).collect(),
        run_max_ms: span(&args.run).ok_or_else(|| {
            Failure::usage(format!(
                "--for {:?} is no time; write 90s, 10m or 2h",
                args.run
            ))
        })?,
        uses_max: args.uses,
        valid_from: args.from.as_deref().map_or(Ok(now), moment)?,
        valid_until: moment(&args.until)?,
        given_at: now,
        nonce: nonce()?,
        note: args.note.clone(),
    };
    approval
        .check_form()
        .map_err(|refusal| Failure::usage(refusal.message))?;
    let shown = |width| text(&approval, now.0, zone, width);
    if !ctx.json {
        out::print(&shown(out::width()));
    } else if consent::can_ask() {
        out::aside(&shown(out::width_aside()));
    }
    consent::to_sign(args.yes, "approve exactly this ahead of time")?;
    let key = ctx.operator_key(args.passphrase_stdin)?;
    let given = remote.standing_give(&approval.sign(&key)).await?;
    if ctx.json {
        return out::json(&given);
    }
    out::line(&format!(
        "given: standing approval {}; it ends with `approvals revoke {}`",
        given.id,
        given.id.get(..8).unwrap_or(&given.id)
    ));
    Ok(())
}

fn nonce() -> Result<String, Failure> {
    let id = SharedRandom::system().uuid();
    id.map(|id| id.simple().to_string())
        .map_err(|e| Failure::failed(e.to_string()))
}

fn requester(by: AskedBy) -> Requester {
    match by {
        AskedBy::Rules => Requester::Rules,
        AskedBy::Person => Requester::Person,
    }
}

/// The executor that is meant: as it is named, or the only one that offers the actuator.
async fn executor(
    remote: &Remote,
    args: &GiveArgs,
    known: &ApprovalsView,
) -> Result<DeviceId, Failure> {
    let found = match args.executor.as_deref() {
        Some("self") => Ok(known.own.clone()),
        Some(named) => {
            let nodes = remote.nodes().await?;
            let called = nodes
                .iter()
                .find(|n| n.display_name.as_deref() == Some(named));
            match called {
                Some(node) => Ok(node.device_id.clone()),
                None => unique("device", named, nodes.iter().map(|n| n.device_id.as_str())),
            }
        }
        None => {
            let offered = remote.actuators().await?;
            let offer = offered.iter().filter(|a| a.target == args.target);
            let executors: Vec<&String> = offer
                .flat_map(|a| std::iter::once(&a.device_id).chain(&a.also_offered_by))
                .collect();
            match executors.as_slice() {
                [one] => Ok((*one).clone()),
                [] => Err(Failure::new(
                    Exit::NotFound,
                    format!(
                        "no executor known here offers {}; name it with --executor",
                        args.target
                    ),
                )),
                _ => Err(Failure::usage(format!(
                    "several executors offer {}; name one with --executor",
                    args.target
                ))),
            }
        }
    };
    found?
        .parse()
        .map_err(|_| Failure::failed("the executor has no device id"))
}

/// One value, or a number within bounds: `60..600`.
fn params(given: &[(String, Value)]) -> Result<BTreeMap<String, Allowed>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in given {
        let bounds = value.as_str().and_then(|text| text.split_once(".."));
        let number = |text: &str| serde_json::from_str::<Number>(text.trim()).ok();
        let bounds = bounds.and_then(|(min, max)| Some((number(min)?, number(max)?)));
        let allowed = match bounds {
            Some((min, max)) => Allowed::Range { min, max },
            None => Allowed::Value {
                is: all_plain(value.clone()),
            },
        };
        if all.insert(name.clone(), allowed).is_some() {
            return Err(Failure::usage(format!("parameter {name} is given twice")));
        }
    }
    Ok(all)
}

/// What is about to be signed, as people read it.
fn text(approval: &StandingApproval, now: u64, zone: i32, width: usize) -> String {
    let askers: Vec<String> = approval.askers.iter().map(ToString::to_string).collect();
    let begins = match approval.valid_from.0 > now {
        true => when(approval.valid_from.0, now, zone),
        false => "now".to_owned(),
    };
    let lines = [
        ("standing approval", approval.summary()),
        ("executor", approval.executor.as_str().to_owned()),
        ("asked for by", askers.join(" or ")),
        (
            "each use",
            format!("up to {}", format::span(approval.run_max_ms)),
        ),
        ("uses", approval.uses_max.to_string()),
        ("from", begins),
        ("until", when(approval.valid_until.0, now, zone)),
        ("note", approval.note.clone().unwrap_or_default()),
    ];
    layout::facts(&lines, width)
}

async fn revoke(ctx: &Context, args: &RevokeArgs) -> Done {
    let remote = ctx.remote().await?;
    let known = remote.standing().await?;
    let ids = known.list.iter().map(|one| one.id.as_str());
    let id = unique("standing approval", &args.approval, ids)?;
    let Some(one) = known.list.iter().find(|one| one.id == id) else {
        return Err(Failure::new(
            Exit::NotFound,
            "there is no such standing approval",
        ));
    };
    let ended = if args.here {
        remote.standing_void(&id, args.note.clone()).await?
    } else {
        let odd = |_| Failure::failed("the node does not say which mesh and executor it is of");
        let key = ctx.operator_key(args.passphrase_stdin)?;
        let end = StandingEnd {
            mesh_id: known.mesh_id.parse().map_err(odd)?,
            executor: one.executor.parse().map_err(odd)?,
            approval: Digest::from_hex(&id)
                .ok_or_else(|| Failure::failed("the id of the standing approval does not read"))?,
            operator_id: key.id().clone(),
            ended_at: ctx.time(),
            note: args.note.clone(),
        };
        remote.standing_end(&id, &end.sign(&key)).await?
    };
    if ctx.json {
        return out::json(&ended);
    }
    let used = format!("{} of {} uses", ended.used, ended.uses_max);
    out::line(&format!(
        "{}  {} after {used}",
        ended.id,
        ended.why.as_deref().unwrap_or("ended")
    ));
    Ok(())
}

/// A time of so many seconds, minutes, hours or days, in milliseconds.
fn span(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    let ms = match unit {
        "s" => 1_000,
        "m" | "min" => MINUTE_MS,
        "h" => 60 * MINUTE_MS,
        "d" => DAY_MS,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(ms)
}

/// The moment that a person means: so much later, or the next time that a clock shows this.
fn moment(text: &str, now: TimeMs, zone: i32) -> Result<TimeMs, String> {
    if let Some(later) = span(text) {
        return Ok(now.plus(later));
    }
    let help = || format!("{text:?} is no time; write 18:00, 18:00+02:00, or 90m, 8h, 2d from now");
    let (clock, rest) = text.split_at_checked(5).ok_or_else(help)?;
    let minute = minute_of_day(clock).ok_or_else(help)?;
    let zone = match rest {
        "" => zone,
        "Z" => 0,
        offset => zone_minutes(offset).ok_or_else(help)?,
    };
    // Minutes of UTC's day, so that all is counted from one midnight.
    let of_utc = (i64::from(minute) - i64::from(zone)).rem_euclid(1_440);
    let at = u64::try_from(of_utc).unwrap_or_default() * MINUTE_MS;
    let midnight = now.0 - now.0 % DAY_MS;
    let today = TimeMs(midnight.saturating_add(at));
    Ok(match today > now {
        true => today,
        false => today.plus(DAY_MS),
    })
}

/// A moment in a time zone, and how far it is away.
fn when(ms: u64, now: u64, zone: i32) -> String {
    let shifted = ms.saturating_add_signed(i64::from(zone) * 60_000);
    let there = format::moment(shifted);
    let shown = there.get(..16).unwrap_or(&there);
    format!("{shown} {} ({})", zone_shown(zone), format::age(now, ms))
}

/// How far the time zone of this machine is ahead of UTC, in minutes, as the system's `date` says; UTC where it does not.
fn local_zone() -> i32 {
    let said = Command::new("date").arg("+%z").output();
    let text = said.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let text = text.unwrap_or_default();
    let spaced = text
        .split_at_checked(3)
        .map(|(hours, minutes)| format!("{hours}:{minutes}"));
    spaced.and_then(|text| zone_minutes(&text)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    /// 2026-01-01 12:00 UTC.
    const NOON: TimeMs = TimeMs(1_767_268_800_000);

    #[test]
    fn times_are_read_as_people_write_them() {
        let hours = |h: u64| NOON.plus(h * 3_600_000);
        for (text, zone, is) in [
            ("90m", 0, NOON.plus(5_400_000)),
            ("2d", 0, hours(48)),
            ("18:00", 0, hours(6)),
            ("18:00", 120, hours(4)),
            ("11:00", 0, hours(23)),
            ("18:00+02:00", -300, hours(4)),
            ("18:00Z", 60, hours(6)),
            ("01:00", 120, hours(11)),
        ] {
            assert_eq!(moment(text, NOON, zone).unwrap(), is, "{text} {zone}");
        }
        for bad in ["", "18", "25:00", "18:00 CET", "5w", "m", "18:00+2"] {
            assert!(moment(bad, NOON, 0).is_err(), "{bad}");
        }
        assert_eq!(
            when(hours(6).0, NOON.0, 120),
            "2026-01-01 20:00 UTC+02:00 (in 6 h)"
        );
    }

    #[test]
    fn parameters_are_one_value_or_bounds() {
        let given = [
            ("a".to_owned(), json!("60..600")),
            ("b".to_owned(), json!(5)),
            ("c".to_owned(), json!("x..y")),
        ];
        let read = params(&given).unwrap();
        assert_eq!(read["a"].shown(), "60 to 600");
        assert_eq!(
            (read["b"].shown(), read["c"].shown()),
            ("5".into(), "x..y".into())
        );
        let twice = [("a".to_owned(), json!(1)), ("a".to_owned(), json!(2))];
        assert!(params(&twice).is_err());
    }
}
