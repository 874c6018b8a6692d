//! What people elsewhere read of alerts. Nothing that is private leaves: of an alert about a private reading they read its number.

use std::collections::BTreeSet;

use super::telling::About;
use crate::adapters::notify::Notice;
use crate::domain::alerts::escalation::Due;
use crate::domain::base::limits::{NOTIFY_NAMED_MAX, NOTIFY_TEXT_MAX_CHARS};
use crate::domain::base::quantity::span;
use crate::domain::base::text::{cut, seen};
use crate::domain::base::{Severity, TimeMs};
use crate::node::context::alarms::AlarmKind;

/// The metrics of private readings, in small letters; `None` where they could not be looked up, so that everything counts as
/// private.
pub(super) type Private = Option<BTreeSet<String>>;

/// Whether the words of an alert may leave this machine.
fn is_open(about: &About, private: &Private) -> bool {
    let new = &about.row.new;
    // As it is read: letters that do not show hide no name.
    let said = format!("{} {} {}", new.subject, new.message, new.advice);
    let said = seen(&said, usize::MAX).to_lowercase();
    let names = |all: &BTreeSet<String>| all.iter().any(|metric| said.contains(metric));
    !new.private && private.as_ref().is_some_and(|all| !names(all))
}

/// A line about an alert.
fn line(about: &About, private: &Private, now: TimeMs) -> String {
    let (row, id) = (&about.row, about.row.id);
    match (is_open(about, private), about.due, &row.ended) {
        (false, Due::Over, _) => format!("alert {id} is over; look at the console"),
        (false, ..) => format!("an alert about {id}, look at the console"),
        (true, Due::Over, Some((at, why))) => {
            let lasted = span(at.since(row.new.since));
            format!(
                "over after {lasted}: {} ({})",
                seen(&row.new.message, 300),
                seen(why, 200)
            )
        }
        (true, ..) => {
            let again = match about.due {
                Due::Again => format!(" (for {} now)", span(now.since(row.new.since))),
                _ => String::new(),
            };
            format!("{}{again}", seen(&row.new.message, 400))
        }
    }
}

/// What a place is told of one alert.
pub(super) fn one(node: &str, about: &About, private: &Private, now: TimeMs) -> Notice {
    let (row, over) = (&about.row, about.due == Due::Over);
    let mut text = line(about, private, now);
    if !over && is_open(about, private) && !row.new.advice.is_empty() {
        text.push_str(&format!("\n{}", seen(&row.new.advice, 400)));
    }
    if row.id != 0 && is_open(about, private) {
        text.push_str(&format!("\nAlert {}", row.id));
    }
    let what = match (over, row.new.severity) {
        (true, _) => "over",
        (false, severity) => severity.as_str(),
    };
    Notice {
        title: format!("{}: {what}", seen(node, 100)),
        text: cut(&text, NOTIFY_TEXT_MAX_CHARS),
        severity: row.new.severity,
        over,
        alerts: (row.id != 0).then_some(row.id).into_iter().collect(),
        proposal: (about.key.0 == AlarmKind::ProposalWaits).then(|| about.key.1.clone()),
    }
}

/// What a place is told of many at once.
pub(super) fn many(node: &str, all: &[About], private: &Private, now: TimeMs) -> Notice {
    let over = all.iter().all(|a| a.due == Due::Over);
    let named = all.iter().take(NOTIFY_NAMED_MAX);
    let mut lines: Vec<String> = named
        .map(|about| format!("· {}", cut(&line(about, private, now), 120)))
        .collect();
    if all.len() > NOTIFY_NAMED_MAX {
        lines.push(format!(
            "… and {} more; look at the console",
            all.len() - NOTIFY_NAMED_MAX
        ));
    }
    let what = if over { "alerts are over" } else { "alerts" };
    Notice {
        title: format!("{}: {} {what}", seen(node, 100), all.len()),
        text: cut(&lines.join("\n"), NOTIFY_TEXT_MAX_CHARS),
        severity: all
            .iter()
            .map(|a| a.row.new.severity)
            .max()
            .unwrap_or(Severity::Warning),
        over,
        alerts: all.iter().map(|a| a.row.id).filter(|id| *id != 0).collect(),
        proposal: None,
    }
}
