//! `alert` and `notify`: what stands, what was, what a person says about it, and where people are told.

use super::args::{AlertAckArgs, AlertCommand, AlertMuteArgs, NotifyCommand};
use super::context::Context;
use super::fail::{Done, Failure};
use super::{format, layout, out};
use crate::operator::alerts::{AlertMute, AlertNote, AlertView, NotifyTest};

/// `alert …`
///
/// # Errors
/// If no node runs, there is no such alert, or the node refuses.
pub(super) async fn run(ctx: &Context, command: Option<&AlertCommand>) -> Done {
    match command {
        None | Some(AlertCommand::List) => {
            let all = ctx.remote().await?.alerts().await?;
            list(ctx, &all, "no alert stands")
        }
        Some(AlertCommand::History { limit }) => {
            let all = ctx.remote().await?.alert_history(*limit).await?;
            list(ctx, &all, "there was no alert yet")
        }
        Some(AlertCommand::Show(arg)) => {
            let alert = ctx.remote().await?.alert(&arg.alert.to_string()).await?;
            show(ctx, &alert)
        }
        Some(AlertCommand::Ack(args)) => acknowledge(ctx, args).await,
        Some(AlertCommand::Mute(args)) => mute(ctx, args).await,
        Some(AlertCommand::Unmute(arg)) => {
            let note = AlertNote {
                name: Some(ctx.person()),
                note: None,
            };
            let alert = ctx
                .remote()
                .await?
                .alert_unmute(&arg.alert.to_string(), &note)
                .await?;
            done(ctx, &alert, "unmuted")
        }
    }
}

async fn acknowledge(ctx: &Context, args: &AlertAckArgs) -> Done {
    let note = AlertNote {
        name: Some(ctx.person()),
        note: args.note.clone(),
    };
    let alert = ctx
        .remote()
        .await?
        .alert_acknowledge(&args.alert.to_string(), &note)
        .await?;
    done(ctx, &alert, "acknowledged: nobody else is told of it")
}

async fn mute(ctx: &Context, args: &AlertMuteArgs) -> Done {
    let mute = AlertMute {
        for_ms: args.for_ms,
        name: Some(ctx.person()),
    };
    let alert = ctx
        .remote()
        .await?
        .alert_mute(&args.alert.to_string(), &mute)
        .await?;
    let until = alert.muted.as_ref().map_or(0, |m| m.until);
    done(
        ctx,
        &alert,
        &format!("muted until {}", format::moment(until)),
    )
}

fn done(ctx: &Context, alert: &AlertView, what: &str) -> Done {
    if ctx.json {
        return out::json(alert);
    }
    out::line(&format!("alert {}  {what}", alert.id));
    Ok(())
}

fn list(ctx: &Context, all: &[AlertView], none: &str) -> Done {
    if ctx.json {
        return out::json(&all);
    }
    if all.is_empty() {
        out::line(none);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all.iter().map(|a| row(a, ctx.now())).collect();
    let head = ["ALERT", "SEVERITY", "SINCE", "STATE", "WHAT"];
    out::print(&layout::table(&head, &rows, out::width()));
    Ok(())
}

fn row(alert: &AlertView, now: u64) -> Vec<String> {
    vec![
        alert.id.to_string(),
        format::code(alert.severity),
        format::age(now, alert.since),
        state(alert),
        alert.message.clone(),
    ]
}

/// Where an alert stands, in words.
fn state(alert: &AlertView) -> String {
    if let Some(at) = alert.ended_at {
        return format!(
            "over after {}",
            format::span(at.saturating_sub(alert.since))
        );
    }
    let acknowledged = alert.acknowledged.as_ref();
    let seen = acknowledged.map(|a| format!("seen by {}", format::name(&a.by)));
    let muted = alert
        .muted
        .as_ref()
        .map(|m| format!("muted until {}", format::moment(m.until)));
    match [seen, muted].into_iter().flatten().collect::<Vec<_>>() {
        none if none.is_empty() => "stands".to_owned(),
        words => words.join(", "),
    }
}

fn show(ctx: &Context, alert: &AlertView) -> Done {
    if ctx.json {
        return out::json(alert);
    }
    let acknowledged = alert.acknowledged.as_ref().map(|a| {
        let note = a
            .note
            .as_ref()
            .map(|n| format!(": {n}"))
            .unwrap_or_default();
        format!("{} at {}{note}", a.by, format::moment(a.at))
    });
    let muted = alert
        .muted
        .as_ref()
        .map(|m| format!("until {} by {}", format::moment(m.until), m.by));
    let ended = alert.ended_at.map(|at| {
        format!(
            "{}: {}",
            format::moment(at),
            alert.ended_why.as_deref().unwrap_or_default()
        )
    });
    let told = alert.told.iter().map(|t| {
        let over = if t.over { ", and that it is over" } else { "" };
        format!(
            "{} ({} times, last at {}{over})",
            t.target,
            t.times,
            format::moment(t.last)
        )
    });
    let lines = [
        ("alert", alert.id.to_string()),
        ("kind", alert.kind.clone()),
        ("severity", format::code(alert.severity)),
        ("subject", alert.subject.clone()),
        ("since", format::moment(alert.since)),
        ("what", alert.message.clone()),
        ("to do", alert.advice.clone()),
        (
            "private",
            if alert.private {
                "its words are sent to nobody".to_owned()
            } else {
                String::new()
            },
        ),
        ("acknowledged", acknowledged.unwrap_or_default()),
        ("muted", muted.unwrap_or_default()),
        ("told", told.collect::<Vec<_>>().join("; ")),
        ("over", ended.unwrap_or_default()),
    ];
    out::print(&layout::facts(&lines, out::width()));
    Ok(())
}

/// `notify …`
///
/// # Errors
/// If no node runs, there is no such place, or one was not told.
pub(super) async fn notify(ctx: &Context, command: Option<&NotifyCommand>) -> Done {
    let remote = ctx.remote().await?;
    let Some(NotifyCommand::Test { target }) = command else {
        let all = remote.notify().await?;
        if ctx.json {
            return out::json(&all);
        }
        if all.is_empty() {
            out::line("nobody is told of alerts: the configuration has no [[notify]]");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = all
            .into_iter()
            .map(|n| {
                let state = n.problem.unwrap_or_else(|| "ok".to_owned());
                let quiet = n.quiet.unwrap_or_default();
                vec![
                    n.name,
                    n.way,
                    format::span(n.after_ms),
                    format::code(n.severity),
                    quiet,
                    state,
                ]
            })
            .collect();
        let head = ["NAME", "WAY", "AFTER", "FROM", "QUIET", "STATE"];
        out::print(&layout::table(&head, &rows, out::width()));
        return Ok(());
    };
    let asked = NotifyTest {
        target: target.clone(),
        name: Some(ctx.person()),
    };
    let all = remote.notify_test(&asked).await?;
    if ctx.json {
        out::json(&all)?;
    }
    let mut wrong = 0;
    for one in &all {
        wrong += usize::from(one.problem.is_some());
        if !ctx.json {
            let how = one.problem.as_deref().unwrap_or("told");
            out::line(&format!("{}  {how}", format::name(&one.target)));
        }
    }
    match wrong {
        0 => Ok(()),
        n => Err(Failure::failed(format!(
            "{n} of {} were not told",
            all.len()
        ))),
    }
}
