//! What a record moves, in words: exactly what a person agrees to.

use super::clean;
use super::record::{NAME_SHOWN_CHARS, TEXT_SHOWN_CHARS};
use crate::domain::policy::Kind;
use crate::domain::proposal::ProposalRecord;

/// What a record moves, and each step of a sequence.
pub(super) fn moves(r: &ProposalRecord, with: &str) -> Vec<(&'static str, String)> {
    let kind = r.kind();
    let then = match &kind {
        Kind::Sequence { .. } => {
            "then each of its actuators goes to its safe state by itself, the last one first"
                .to_owned()
        }
        _ => format!(
            "then {} by itself",
            clean::visible(&r.safe_state, NAME_SHOWN_CHARS)
        ),
    };
    let moves = format!(
        "{} will {}{with}, {}, {then}",
        clean::visible(r.target.as_str(), TEXT_SHOWN_CHARS),
        clean::visible(&r.operation, NAME_SHOWN_CHARS),
        kind.lasts(r.run_ms),
    );
    let steps = kind.steps().iter().enumerate();
    let steps = steps.map(|(n, step)| {
        let said = clean::visible(&step.in_words(), TEXT_SHOWN_CHARS);
        let rule = clean::visible(&step.rule, NAME_SHOWN_CHARS);
        ("step", format!("{}. {said}; rule \"{rule}\"", n + 1))
    });
    std::iter::once(("moves", moves)).chain(steps).collect()
}
