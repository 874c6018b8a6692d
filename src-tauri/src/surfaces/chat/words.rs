//! What the bot says, in plain text: no markup is used, so nothing that others wrote can become any. Texts of others are one
//! line each, without control characters.

use serde_json::Value;

use crate::domain::base::limits::{CHAT_LINES_MAX, CHAT_MESSAGE_MAX_UNITS, CHAT_PARTS_MAX};
use crate::domain::base::quantity::{reading, span};
use crate::domain::base::text::seen;
use crate::domain::base::zone::clock;
use crate::domain::gate::ChannelKind;
use crate::domain::policy::Level;
use crate::domain::proposal::Status;
use crate::operator::dto::{FactView, ProposalView, StatusView};

/// The commands, for a person whose chat it is.
const HELP: &str = "\
/status – the node at a glance
/world [filter] – newest readings
/proposals – what waits for a decision
/approve <id> – shows the action and asks once more
/reject <id> [reason] – rejects it at once
/alerts – what stands, with a button that says you have seen it
/alerts on|off – whether new proposals are told here
/stop – emergency stop: every executor that can be reached goes to its safe states
Anything else is a question or a wish to the planner. What it asks for waits for a person.";

/// See [`HELP`].
pub(super) fn help(kind: ChannelKind) -> String {
    let line = |line: &str| match line.strip_prefix('/') {
        Some(command) => word(kind, command),
        None => line.to_owned(),
    };
    HELP.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A command as it is written in a chat of a kind: Slack keeps what begins with a slash for itself.
pub(super) fn word(kind: ChannelKind, command: &str) -> String {
    match kind {
        ChannelKind::Telegram => format!("/{command}"),
        ChannelKind::Slack => command.to_owned(),
    }
}

/// What is said of a button that does not count.
pub(super) fn gone(kind: ChannelKind) -> String {
    format!(
        "This button does not count any more. {} shows what waits.",
        word(kind, "proposals")
    )
}

/// What somebody is told whose chat this is not.
pub(super) fn stranger(kind: ChannelKind, node: &str) -> String {
    format!(
        "This chat belongs to no operator here, so nothing is shown or done. \
An operator can enroll it: clawmesh-node {kind} enroll prints a code, which is sent here as {} CODE. \
Node {} answers now; a chat is enrolled at each node that runs the bot.",
        word(kind, "start"),
        plain(node)
    )
}

/// A name or text of others, as one line.
pub(super) fn plain(text: &str) -> String {
    seen(text, 300)
}

/// An answer of others with its line breaks, each line cleaned.
pub(super) fn lines_of(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(|line| seen(line, 4_000)).collect();
    // Empty lines push nothing out of sight.
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines.join("\n")
}

/// The start of an id.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// A text in parts that a chat takes, split at line ends where there are any.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let (mut part, mut units) = (String::new(), 0);
    let close = |part: &mut String, units: &mut usize, parts: &mut Vec<String>| {
        let done = std::mem::take(part);
        *units = 0;
        if !done.trim().is_empty() {
            parts.push(done.trim_end().to_owned());
        }
    };
    for line in text.split_inclusive('\n') {
        let long: usize = line.chars().map(char::len_utf16).sum();
        if units + long > CHAT_MESSAGE_MAX_UNITS {
            close(&mut part, &mut units, &mut parts);
        }
        for c in line.chars() {
            if units + c.len_utf16() > CHAT_MESSAGE_MAX_UNITS {
                close(&mut part, &mut units, &mut parts);
            }
            part.push(c);
            units += c.len_utf16();
        }
    }
    close(&mut part, &mut units, &mut parts);
    if parts.len() > CHAT_PARTS_MAX {
        parts.truncate(CHAT_PARTS_MAX);
        if let Some(last) = parts.last_mut() {
            last.push_str("\n… the rest is not shown here; see the console");
        }
    }
    parts
}

fn params(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let pair =
        |(name, value): (&String, &Value)| format!(" {}={}", plain(name), plain(&shown(value)));
    pairs.map(pair).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn who(name: Option<&str>, id: &str) -> String {
    match name.map(plain).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} ({})", short(id)),
        None => short(id).to_owned(),
    }
}

/// Exactly what happens if it is approved.
pub(super) fn action(p: &ProposalView) -> String {
    format!(
        "{}{} on {}\nat {}, for up to {}, then {}",
        plain(&p.operation),
        params(&p.params),
        plain(&p.target),
        who(p.executor_name.as_deref(), &p.executor),
        span(p.run_ms),
        plain(&p.safe_state)
    )
}

/// Until when it waits, as a moment: a message stands for long, and what it says of the time has to stay true.
pub(super) fn left(p: &ProposalView, now: u64) -> String {
    let ms = p.expires_at.saturating_sub(now);
    if ms == 0 {
        return "its time has run out".to_owned();
    }
    let minute = p.expires_at / 60_000 % 1_440;
    let time = clock(u32::try_from(minute).unwrap_or_default());
    let days = p.expires_at / 86_400_000 - now / 86_400_000;
    match days {
        0 => format!("waits until {time} UTC"),
        1 => format!("waits until tomorrow, {time} UTC"),
        days => format!("waits {days} days, until {time} UTC"),
    }
}

/// What stands in the place of a text that is about private readings.
pub(super) const HIDDEN: &str = "(about private readings, not shown here; see the console)";

/// A free text of the node, unless it names the metric of a private reading: its value may be in it.
pub(super) fn guarded(text: &str, facts: &[FactView]) -> String {
    // As it is read: letters that do not show hide no name.
    let said = seen(text, usize::MAX).to_lowercase();
    let names = |f: &FactView| f.private && said.contains(&f.metric.to_lowercase());
    match facts.iter().any(names) {
        true => HIDDEN.to_owned(),
        false => plain(text),
    }
}

/// A proposal in full. `open` says for each piece of its evidence whether it may be shown here; the reason is shown only if
/// all of it may.
pub(super) fn proposal(p: &ProposalView, open: &[bool], reason: &str, now: u64) -> String {
    let mut said = format!(
        "Proposal {} · {} · {}\n",
        short(&p.id),
        p.level,
        left(p, now)
    );
    said.push_str(&action(p));
    let all_open = p.evidence.iter().zip(open).all(|(_, open)| *open);
    let by = plain(&p.requested_by.name);
    said.push_str(&format!("\nAsked for by {by}"));
    match all_open && open.len() == p.evidence.len() {
        true if !reason.is_empty() => said.push_str(&format!(": {reason}")),
        true => {}
        false => said.push_str("; the reason rests on private readings and is not shown here"),
    }
    for (evidence, open) in p.evidence.iter().zip(open) {
        let line = match open {
            true => format!(
                "\n· {}{} ({}, {} old then)",
                if evidence.interlock {
                    "for an interlock: "
                } else {
                    ""
                },
                plain(&evidence.summary),
                evidence.effective_tier,
                span(evidence.age_ms)
            ),
            false => "\n· a private reading, not shown here".to_owned(),
        };
        said.push_str(&line);
    }
    if p.evidence.iter().all(|evidence| evidence.interlock) {
        said.push_str("\n· no reading is given as evidence");
    }
    if p.tainted {
        said.push_str("\nA language model had a part in it.");
    }
    if p.quorum > 1 {
        said.push_str(&format!("\n{} persons must agree.", p.quorum));
        if p.at_node {
            said.push_str(" One is enough who gives the code shown at the executor.");
        }
    }
    said
}

/// Why a proposal stands where it stands, as the node says it.
pub(super) fn how(p: &ProposalView) -> String {
    let how = p.outcome.as_ref().map(|o| o.detail.clone());
    how.or_else(|| p.detail.clone()).unwrap_or_default()
}

/// How a proposal stands that waits no more.
pub(super) fn ended(p: &ProposalView, how: &str) -> String {
    let how = match how.is_empty() {
        true => String::new(),
        false => format!(": {how}"),
    };
    format!(
        "Proposal {} · {}{how}\n{}",
        short(&p.id),
        state(p.status),
        action(p)
    )
}

pub(super) fn state(status: Status) -> String {
    match status {
        Status::AwaitingApproval => "waits for a decision".to_owned(),
        other => other.to_string().replace('_', " "),
    }
}

/// Whether it may be approved in a chat at all.
pub(super) fn reaches(p: &ProposalView, max: Level) -> bool {
    p.level <= max
}

/// Proposals in a line each.
pub(super) fn list(all: &[ProposalView], now: u64) -> String {
    if all.is_empty() {
        return "Nothing waits for a decision and nothing is under way.".to_owned();
    }
    let line = |p: &ProposalView| {
        let stands = match p.status {
            Status::AwaitingApproval => left(p, now),
            other => state(other),
        };
        let what = format!(
            "{}{} on {}",
            plain(&p.operation),
            params(&p.params),
            plain(&p.target)
        );
        format!("{} · {} · {what} · {stands}", short(&p.id), p.level)
    };
    let lines: Vec<String> = all.iter().take(CHAT_LINES_MAX).map(line).collect();
    lines.join("\n")
}

/// Readings that may be shown, those that fit a filter.
pub(super) fn world(all: &[FactView], filter: &str) -> String {
    let wanted = filter.trim().to_lowercase();
    let fits = |f: &&FactView| {
        let parts = [
            Some(f.metric.as_str()),
            f.zone.as_deref(),
            f.origin_name.as_deref(),
        ];
        let mut parts = parts.into_iter().flatten();
        wanted.is_empty() || parts.any(|part| part.to_lowercase().contains(&wanted))
    };
    let line = |f: &FactView| {
        let zone = f.zone.as_deref().map(|zone| format!(" in {}", plain(zone)));
        format!(
            "{}{}: {} ({}, {} old, from {})",
            plain(&f.metric),
            zone.unwrap_or_default(),
            plain(&reading(&f.value, f.unit.as_deref())),
            serde_json::json!(f.effective_tier)
                .as_str()
                .unwrap_or_default(),
            span(f.age_ms),
            who(f.origin_name.as_deref(), &f.origin)
        )
    };
    let open = all.iter().filter(|f| !f.private);
    let mut lines: Vec<String> = open.filter(fits).take(CHAT_LINES_MAX).map(line).collect();
    if lines.is_empty() {
        lines.push(match wanted.is_empty() {
            true => "No reading is known that may be shown here.".to_owned(),
            false => format!(
                "No reading that may be shown here fits {:?}.",
                plain(&wanted)
            ),
        });
    }
    if all.iter().any(|f| f.private) {
        lines.push("Private readings are not shown here.".to_owned());
    }
    lines.join("\n")
}

/// The node at a glance.
pub(super) fn status(s: &StatusView, stopped: Option<&str>, facts: &[FactView]) -> String {
    let mut said = format!(
        "{} ({}), {} in mesh {}\n{} linked, {} proposals wait",
        plain(&s.display_name),
        short(&s.device_id),
        plain(&s.role),
        plain(s.mesh_name.as_deref().unwrap_or_else(|| short(&s.mesh_id))),
        s.peers.len(),
        s.proposals_waiting
    );
    if let Some(why) = stopped {
        said.push_str(&format!("\nEMERGENCY STOP is latched: {}", plain(why)));
    }
    match s.problems.is_empty() {
        true => said.push_str("\nNo problems are known."),
        false => {
            for problem in s.problems.iter().take(10) {
                said.push_str(&format!("\n! {}", guarded(problem, facts)));
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_long_text_is_split_at_lines_and_none_is_too_long() {
        let text: String = (0..400)
            .map(|n| format!("line {n} 🌱 with words\n"))
            .collect();
        let parts = split(&text);
        assert!(parts.len() > 1 && parts.len() <= CHAT_PARTS_MAX);
        for part in &parts {
            assert!(part.encode_utf16().count() <= 4_096);
            assert!(part.starts_with("line "), "{part}");
        }
        assert_eq!(parts.join("\n"), text.trim_end());
        // One line without an end, and far too much.
        let parts = split(&"🌱".repeat(100_000));
        assert_eq!(parts.len(), CHAT_PARTS_MAX);
        assert!(parts.iter().all(|p| p.encode_utf16().count() <= 4_096));
        assert!(split(" \n ").is_empty());
    }

    #[test]
    fn texts_of_others_stay_in_their_line() {
        assert_eq!(plain("a\nb\u{202e}c\u{7}"), "a bc");
        assert_eq!(plain("do\u{200b}se      it"), "dose it");
        assert_eq!(lines_of("a\n\n\n\n \u{2800}\nb"), "a\n\nb");
        assert_eq!(lines_of("a\u{7}\nb"), "a\nb");
    }

    #[test]
    fn a_free_text_that_names_a_private_metric_is_not_shown() {
        let fact = |metric: &str, private: bool| {
            let told = serde_json::json!({
                "metric": metric, "zone": "bed", "value": 1, "unit": null, "origin": "a", "originName": null, "frameId": "f",
                "sensedAt": 0, "ageMs": 0, "claimedTier": "T2", "effectiveTier": "T2", "signature": "verified", "tainted": false,
                "private": private,
            });
            serde_json::from_value::<FactView>(told).unwrap()
        };
        let facts = [fact("tank.level", true), fact("moisture", false)];
        assert_eq!(guarded("interlock: Tank.Level is 4.2", &facts), HIDDEN);
        assert_eq!(guarded("moisture is\n12", &facts), "moisture is 12");
        assert_eq!(
            guarded("Tank.\u{200b}Level is 4.2", &facts),
            HIDDEN,
            "hidden letters"
        );
        let all = world(&facts, "");
        assert!(
            all.contains("moisture in bed") && !all.contains("tank"),
            "{all}"
        );
        assert!(all.contains("Private readings are not shown"));
    }
}
