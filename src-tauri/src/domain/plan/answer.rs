//! What the planner of rules answers to a question of a person: the readings that the question names,
//! and what waits for a decision. It understands words, not sentences, says so, and never acts.

use std::fmt::Write as _;

use super::situation::words;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::INTENT_CITATIONS_MAX;
use crate::domain::base::quantity;
use crate::domain::base::text::one_line;
use crate::domain::world::Fact;

/// Longest name of a reading that is repeated, in characters.
const NAME_CHARS: usize = 60;

/// An open proposal as an answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Its id.
    pub id: String,
    /// What would happen, for people.
    pub summary: String,
}

/// An answer and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<'a> {
    /// For people.
    pub message: String,
    /// The readings named in it.
    pub cites: Vec<&'a Fact>,
}

/// Answers a question from what is known at a moment.
pub fn answer<'a>(question: &str, facts: &'a [Fact], open: &[Open], now: TimeMs) -> Answer<'a> {
    let asked = words(question);
    let names = |text: &str| asked.contains(&text.to_lowercase());
    let by_metric = facts.iter().any(|f| names(&f.metric));
    let by_zone = facts.iter().any(|f| f.zone.as_deref().is_some_and(names));
    let fits = |f: &&Fact| {
        (!by_metric || names(&f.metric)) && (!by_zone || f.zone.as_deref().is_some_and(names))
    };
    let mut cites: Vec<&Fact> = facts.iter().filter(fits).collect();
    let found = cites.len();
    cites.truncate(INTENT_CITATIONS_MAX);
    let mut message = String::new();
    for fact in &cites {
        let zone = fact.zone.as_deref().unwrap_or("no zone");
        // A text in memory takes every write.
        let _ = writeln!(
            message,
            "{} in {}: {} ({} old, {})",
            one_line(&fact.metric, NAME_CHARS),
            one_line(zone, NAME_CHARS),
            quantity::reading(&fact.value.into(), fact.unit.as_deref()),
            quantity::span(now.since(fact.sensed_at)),
            fact.effective,
        );
    }
    match found.saturating_sub(cites.len()) {
        _ if found == 0 => message.push_str("No readings are known here.\n"),
        0 => {}
        more => {
            let readings = if more == 1 { "reading" } else { "readings" };
            let _ = writeln!(message, "And {more} more {readings}.");
        }
    }
    match open {
        [] => message.push_str("No proposal waits for a person.\n"),
        open => {
            let first = open.first().map_or("", |p| p.summary.as_str());
            let _ = writeln!(
                message,
                "{} proposals are open, the newest: {first}.",
                open.len()
            );
        }
    }
    message.push_str(
        "This planner follows rules: it looks up the words of a question and does nothing on request.",
    );
    Answer { message, cites }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::base::{DeviceId, Digest, SignatureState, Tier};

    fn fact(metric: &str, zone: &str, value: f64) -> Fact {
        Fact {
            metric: metric.to_owned(),
            zone: Some(zone.to_owned()),
            origin: DeviceId::of_public_key(&[1; 32]),
            value,
            unit: Some("%".to_owned()),
            frame_id: "f".parse().unwrap(),
            content: Digest::of(&[b"f"]),
            claimed: Tier::T2,
            effective: Tier::T2,
            signature: SignatureState::Verified,
            taint: BTreeSet::new(),
            sensed_at: TimeMs(1_000),
            received_at: TimeMs(1_000),
            private: false,
        }
    }

    #[test]
    fn a_question_is_answered_with_the_readings_it_names() {
        let facts = [
            fact("moisture", "zone-1", 12.5),
            fact("moisture", "zone-2", 40.0),
            fact("temp", "zone-1", 21.0),
        ];
        let now = TimeMs(5_000);
        let one = answer("What is the moisture in Zone-1?", &facts, &[], now);
        assert_eq!(one.cites, [&facts[0]]);
        assert!(one.message.contains("12.5%") && one.message.contains("4 s old"));
        assert_eq!(answer("zone-1", &facts, &[], now).cites.len(), 2);
        // Nothing it knows is named: everything is shown.
        assert_eq!(answer("How are you?", &facts, &[], now).cites.len(), 3);
        let open = [Open {
            id: "p".into(),
            summary: "open valve".into(),
        }];
        assert!(answer("", &[], &open, now).message.contains("open valve"));
    }
}
