//! Looking: status, peers, world, frames, events. Each asks the running node and prints a table.

use std::time::Duration;

use super::args::{EventsArgs, FramesArgs, WorldArgs};
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{clean, format, out};
use crate::domain::base::TierName;
use crate::node::context::Severity;
use crate::node::context::alarms::AlarmKind;
use crate::node::peers::PeerState;
use crate::operator::alerts::NotifyView;
use crate::operator::channels::BotView;
use crate::operator::dto::PlannerState;
use crate::operator::dto::{EventView, FactView, FrameView, PeerView, SensorView, StatusView};

/// How often `events --follow` asks for new ones.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Most events one question of `events --follow` returns.
const FOLLOW_BATCH: usize = 500;

/// `status`.
///
/// # Errors
/// If the node does not run or does not answer.
pub(super) async fn status(ctx: &Context) -> Done {
    let status = ctx.remote().await?.status().await?;
    if ctx.json {
        out::json(&status)?;
        return standing(&status);
    }
    print_status(&status, ctx.now());
    standing(&status)
}

/// Fails with [`Exit::Alarm`] while a critical alarm stands, so that scripts notice.
fn standing(status: &StatusView) -> Done {
    // A warm room is no fault of the node: whoever runs it must not start it again for that.
    let of_node = |kind: &str| AlarmKind::of_code(kind).is_none_or(AlarmKind::is_of_node);
    let critical = status
        .alarms
        .iter()
        .filter(|a| a.severity == Severity::Critical && of_node(&a.kind));
    match critical.count() {
        0 => Ok(()),
        1 => Err(Failure::new(
            Exit::Alarm,
            "a critical alarm stands; see above",
        )),
        n => Err(Failure::new(
            Exit::Alarm,
            format!("{n} critical alarms stand; see above"),
        )),
    }
}

fn sensors(all: &[SensorView], now: u64) -> String {
    let line = |s: &SensorView| match (s.failing_since, s.last_reading_at) {
        (Some(since), _) => format!(
            "{} FAILS for {}: {}",
            s.name,
            format::span(now.saturating_sub(since)),
            s.problem.as_deref().unwrap_or("no reason is known")
        ),
        (None, Some(at)) => format!(
            "{}, read {} ago",
            s.name,
            format::span(now.saturating_sub(at))
        ),
        (None, None) => format!("{}, not read yet", s.name),
    };
    let lines: Vec<String> = all.iter().map(line).collect();
    lines.join("; ")
}

fn planner(s: &StatusView) -> String {
    match s.planner.state {
        PlannerState::Off => String::new(),
        state => format!("{state}: {}", s.planner.why),
    }
}

fn print_status(s: &StatusView, now: u64) {
    let peers = match s.peers.len() {
        0 => "none connected".to_owned(),
        n => {
            let name = |p: &PeerView| {
                let who = format::who(p.display_name.as_deref(), &p.device_id);
                let posture = p
                    .posture
                    .map_or("no link".to_owned(), |posture| posture.to_string());
                format!("{who}, {posture}")
            };
            let names: Vec<String> = s.peers.iter().map(name).collect();
            let offered = s.peers.iter().filter(|p| p.pushed == Some(false)).count();
            let spread = match offered {
                0 => String::new(),
                _ => format!(
                    " (frames are pushed to {}, offered to {offered})",
                    n - offered
                ),
            };
            format!("{n} connected{spread}: {}", names.join("; "))
        }
    };
    let mesh = s.mesh_name.as_deref().or(Some("unnamed"));
    let waiting = match (s.proposals_waiting, s.drafts_waiting) {
        (0, 0) => "none".to_owned(),
        (p, 0) => format!("{p} (clawmesh-node proposals)"),
        (p, d) => format!("{p}, and {d} drafts wait for an executor that is not reachable"),
    };
    let policy = match &s.policy.problem {
        Some(why) => format!(
            "{} rules in force; the file is refused: {why}",
            s.policy.rules
        ),
        None if s.policy.rules == 0 => "no rules: every actuation is denied".to_owned(),
        None => format!(
            "{} rules, digest {}",
            s.policy.rules,
            format::short(&s.policy.digest)
        ),
    };
    out::facts(&[
        (
            "node",
            format!(
                "{}, role {}",
                format::who(Some(&s.display_name), &s.device_id),
                s.role
            ),
        ),
        ("mesh", format::who(mesh, &s.mesh_id)),
        (
            "listens",
            format!(
                "port {}, up {}, version {}",
                s.port,
                format::span(s.uptime_ms),
                s.version
            ),
        ),
        ("peers", peers),
        (
            "frames",
            format!(
                "{} stored, {} current facts, {} on disk",
                s.frames,
                s.facts,
                format::bytes(s.store_bytes)
            ),
        ),
        ("waiting", waiting),
        ("planner", planner(s)),
        ("policy", policy),
        ("models", super::planner::brief(&s.planner)),
        ("bots", bots(&s.bots, now)),
        ("tells", places(&s.places)),
        ("offers", s.capabilities.join(" ")),
        ("sensors", sensors(&s.sensors, now)),
        (
            "clock",
            if s.clock_trusted {
                "in sync".to_owned()
            } else {
                format!(
                    "not in sync: it reads {}, earlier than what this node has recorded; nothing is operated",
                    format::moment(now)
                )
            },
        ),
        (
            "demo",
            if s.demo {
                "what this node shows is a demonstration".to_owned()
            } else {
                String::new()
            },
        ),
    ]);
    for problem in &s.problems {
        out::line(&format!("problem: {problem}"));
    }
}

/// The bots of a node: who answers each, and how its server was reached last.
pub(super) fn bots(all: &[BotView], now: u64) -> String {
    let one = |bot: &BotView| {
        let name = bot.name.as_deref().map_or("not reached yet", |name| name);
        let who = match (&bot.answered_by, &bot.stands_by) {
            (Some(who), _) => format!("{} answers", format::name(who)),
            (None, Some(why)) => clean::line(why),
            (None, None) => "nobody answers".to_owned(),
        };
        let heard = bot.heard_at.map_or_else(
            || "its server has not answered since the start".to_owned(),
            |at| format!("its server answered {}", format::age(now, at)),
        );
        let failed = match (bot.failed_at, &bot.failed_why) {
            (Some(at), Some(why)) => {
                format!(
                    ", last trouble {}: {}",
                    format::age(now, at),
                    clean::line(why)
                )
            }
            _ => String::new(),
        };
        format!(
            "{} {}: {who}, {heard}{failed}",
            bot.kind,
            format::name(name)
        )
    };
    all.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The places where people are told of alerts.
pub(super) fn places(all: &[NotifyView]) -> String {
    let one = |place: &NotifyView| {
        let how = match &place.problem {
            Some(why) => format!(", FAILS: {}", clean::line(why)),
            None => String::new(),
        };
        format!(
            "{} ({}){how}",
            format::name(&place.name),
            clean::line(&place.way)
        )
    };
    all.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `peers`.
///
/// # Errors
/// If the node does not run or does not answer.
pub(super) async fn peers(ctx: &Context) -> Done {
    let peers = ctx.remote().await?.peers().await?;
    if ctx.json {
        return out::json(&peers);
    }
    let rows: Vec<Vec<String>> = peers.iter().map(|p| peer_row(p, ctx.now())).collect();
    let head = [
        "PEER", "ROLE", "STATE", "SINCE", "LINK", "RTT", "CLOCK", "KIND", "KEPT", "GRANTS",
    ];
    out::table(
        &head,
        &rows,
        "no peer is connected, and none is configured or trusted",
    );
    let well = [PeerState::Connected, PeerState::OnDemand];
    for p in peers.iter().filter(|p| !well.contains(&p.state)) {
        let who = format::who(p.display_name.as_deref(), &p.device_id);
        let due = p.next_attempt_at.map_or_else(String::new, |at| {
            format!(
                "; next attempt in {}",
                format::span(at.saturating_sub(ctx.now()))
            )
        });
        out::line(&format!("{who} is {}: {}{due}", p.state, p.reason));
    }
    Ok(())
}

fn peer_row(p: &PeerView, now: u64) -> Vec<String> {
    let none = || "-".to_owned();
    let direction = if p.outbound { "to" } else { "from" };
    let label = p.transport_label.as_ref().map(|label| format!(" {label}"));
    let label = label.unwrap_or_default();
    let posture = p.posture.as_ref();
    let offered = match p.pushed {
        Some(false) => ", frames offered",
        _ => "",
    };
    vec![
        format::who(p.display_name.as_deref(), &p.device_id),
        p.role.clone().unwrap_or_else(none),
        p.state.to_string(),
        format::age(now, p.since),
        posture.map_or_else(none, |posture| {
            format!("{direction} it{label}, {posture}{offered}")
        }),
        p.rtt_ms.map_or_else(none, |ms| format!("{ms:.1} ms")),
        p.skew_ms.map_or_else(none, |ms| format!("{ms:+} ms")),
        p.generation.map_or_else(none, |kind| kind.to_string()),
        p.kept_bytes.map_or_else(none, format::bytes),
        p.grants.join(" "),
    ]
}

/// `world`.
///
/// # Errors
/// If the node does not run or does not answer.
pub(super) async fn world(ctx: &Context, args: &WorldArgs) -> Done {
    let remote = ctx.remote().await?;
    let mut facts = remote
        .world(args.metric.as_deref(), args.zone.as_deref(), None)
        .await?;
    facts.retain(|f| args.origin.as_deref().is_none_or(|o| is_from(f, o)));
    if ctx.json {
        return out::json(&facts);
    }
    let rows: Vec<Vec<String>> = facts.iter().map(fact_row).collect();
    let head = [
        "METRIC",
        "ZONE",
        "VALUE",
        "AGE",
        "TIER",
        "ORIGIN",
        "SIGNATURE",
    ];
    out::table(&head, &rows, "nothing is known yet");
    Ok(())
}

fn is_from(f: &FactView, origin: &str) -> bool {
    f.origin.starts_with(origin) || f.origin_name.as_deref() == Some(origin)
}

fn fact_row(f: &FactView) -> Vec<String> {
    vec![
        f.metric.clone(),
        f.zone.clone().unwrap_or_else(|| "-".to_owned()),
        format::reading(&f.value, f.unit.as_deref()),
        format::span(f.age_ms),
        worth(tier(f.claimed_tier, f.effective_tier, f.tainted), f.private),
        format::who(f.origin_name.as_deref(), &f.origin),
        format::code(f.signature),
    ]
}

/// A tier as people read it: the claim, what we vouch for where that differs, and the taint.
pub(super) fn tier(claimed: TierName, effective: TierName, tainted: bool) -> String {
    let shown = if claimed == effective {
        effective.to_string()
    } else {
        format!("{claimed}→{effective}")
    };
    if tainted {
        format!("{shown} llm")
    } else {
        shown
    }
}

/// A tier, and whether what has it is private.
pub(super) fn worth(tier: String, private: bool) -> String {
    match private {
        true => format!("{tier} private"),
        false => tier,
    }
}

/// `frames`.
///
/// # Errors
/// If the node does not run or does not answer.
pub(super) async fn frames(ctx: &Context, args: &FramesArgs) -> Done {
    let remote = ctx.remote().await?;
    let frames = remote
        .frames(args.kind.as_deref(), args.origin.as_deref(), args.limit)
        .await?;
    if ctx.json {
        return out::json(&frames);
    }
    let rows: Vec<Vec<String>> = frames.iter().map(frame_row).collect();
    let head = [
        "SEQ",
        "FRAME",
        "KIND",
        "ORIGIN",
        "AGE",
        "TIER",
        "SIGNATURE",
        "DATA",
    ];
    out::table(&head, &rows, "no frames are stored");
    Ok(())
}

fn frame_row(f: &FrameView) -> Vec<String> {
    let data = f.frame.get("data").map(format::pairs).unwrap_or_default();
    let ahead = if f.ahead { " (clock ahead)" } else { "" };
    vec![
        f.seq.to_string(),
        format::short_frame(&f.frame_id),
        f.kind.as_str().to_owned(),
        format::who(f.origin_name.as_deref(), &f.origin),
        format!("{}{ahead}", format::span(f.age_ms)),
        worth(tier(f.claimed_tier, f.effective_tier, f.tainted), f.private),
        format::code(f.signature),
        format::cut(&data, 60),
    ]
}

/// `events`, with `--follow` until the reader goes away or the process is interrupted.
///
/// # Errors
/// If the node does not run or stops answering.
pub(super) async fn events(ctx: &Context, args: &EventsArgs) -> Done {
    let remote = ctx.remote().await?;
    let mut events = remote
        .events(None, args.kind.as_deref(), args.limit)
        .await?;
    // Numbers run upwards, and people read downwards.
    events.sort_by_key(|e| e.seq);
    if ctx.json && !args.follow {
        return out::json(&events);
    }
    if !args.follow {
        let rows: Vec<Vec<String>> = events.iter().map(|e| event_row(e, ctx.now())).collect();
        out::table(&["SEQ", "AGE", "KIND", "WHAT"], &rows, "no events yet");
        return Ok(());
    }
    let mut seen = 0;
    let mut tick = tokio::time::interval(FOLLOW_EVERY);
    loop {
        for event in &events {
            print_event(ctx, event)?;
            seen = seen.max(event.seq);
        }
        out::arrived()?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = tick.tick() => {}
        }
        events = remote
            .events(Some(seen), args.kind.as_deref(), FOLLOW_BATCH)
            .await?;
        events.sort_by_key(|e| e.seq);
    }
}

fn print_event(ctx: &Context, event: &EventView) -> Result<(), Failure> {
    if ctx.json {
        return out::json_line(event);
    }
    let mark = if event.severity == Severity::Info {
        ""
    } else {
        " !"
    };
    out::line(&format!(
        "{} {}{mark}  {}",
        format::moment(event.time),
        event.kind,
        event.message
    ));
    Ok(())
}

fn event_row(e: &EventView, now: u64) -> Vec<String> {
    let mark = if e.severity == Severity::Info {
        ""
    } else {
        " !"
    };
    vec![
        e.seq.to_string(),
        format::age(now, e.time),
        format!("{}{mark}", e.kind),
        e.message.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_shows_claim_and_verdict_where_they_differ() {
        assert_eq!(tier(TierName::T2, TierName::T2, false), "T2");
        assert_eq!(tier(TierName::T3, TierName::T1, false), "T3→T1");
        assert_eq!(tier(TierName::T0, TierName::T0, true), "T0 llm");
    }
}
