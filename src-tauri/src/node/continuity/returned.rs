//! Frames of our own that peers bring back: what the power took from the store, or what another state
//! with this identity has signed.

use serde_json::Value;

use super::PRESENCE;
use super::{Footing, doubt};
use crate::adapters::store::frames::Inserted;
use crate::adapters::store::{StoreError, cases, proposals};
use crate::domain::admission::Admitted;
use crate::domain::base::limits::FRAME_FUTURE_MAX_MS;
use crate::domain::base::{ProposalId, TimeMs};
use crate::domain::continuity::{Doubt, Returned, proves};
use crate::domain::proposal::{Outcome, end};
use crate::node::context::DURABLE;

/// Looks at frames of our own that peers brought and that the store did not have.
pub async fn heard_back(footing: &Footing, admitted: &[Admitted], inserted: &[Inserted]) {
    for (one, how) in admitted.iter().zip(inserted) {
        let ours = one.frame().origin == *footing.own_id();
        if ours && matches!(how, Inserted::Stored(_) | Inserted::Instead { .. }) {
            returned(footing, one).await;
        }
    }
}

async fn returned(footing: &Footing, admitted: &Admitted) {
    let (frame, now) = (admitted.frame(), footing.now());
    // A time that has not come yet is no sign of life.
    let at = match frame.timestamp > now.plus(FRAME_FUTURE_MAX_MS) {
        true => TimeMs(0),
        false => frame.timestamp,
    };
    let data = frame.data();
    let kind = data.get("type").and_then(Value::as_str);
    let outcome = (kind == Some("proposal.outcome"))
        .then(|| outcome_in(data))
        .flatten();
    let mut unknown_outcome = false;
    if let Some((id, outcome)) = outcome {
        match settle(footing, id, outcome).await {
            Ok(unknown) => unknown_outcome = unknown,
            Err(error) => {
                tracing::error!(%error, "an outcome that came back could not be compared")
            }
        }
    }
    let entries = match kind {
        Some(PRESENCE) => data.get("auditEntries").and_then(Value::as_u64),
        _ => None,
    };
    let frame = Returned {
        seq: frame.seq,
        at,
        entries,
        unknown_outcome,
    };
    if let Some((fault, why)) = proves(
        &frame,
        &footing.continuity.beginning,
        footing.continuity.lost(footing),
    ) {
        doubt(
            footing,
            Doubt {
                fault,
                why,
                at: now,
            },
        )
        .await;
    }
}

fn outcome_in(data: &serde_json::Map<String, Value>) -> Option<(ProposalId, Outcome)> {
    let id = data.get("proposalId")?.as_str()?.parse().ok()?;
    let outcome = serde_json::from_value(Value::Object(data.clone())).ok()?;
    Some((id, outcome))
}

/// Takes over an outcome that this node signed and does not know: a proposal that still waits has been
/// executed already. Returns whether it was unknown.
async fn settle(footing: &Footing, id: ProposalId, outcome: Outcome) -> Result<bool, StoreError> {
    let s = footing.clone();
    let (unknown, moved) = footing
        .store
        .write(DURABLE, "outcome that came back", move |c| {
            let Some(row) = proposals::get(c, &id)?.filter(|row| row.own) else {
                return Ok((true, false));
            };
            if row.outcome.is_some() {
                return Ok((false, false));
            }
            let case = cases::case_of(c, &row)?;
            let Ok(step) = end::acted_before(&case, &outcome) else {
                return Ok((true, false));
            };
            s.journal.step(c, &step, None)?;
            Ok((true, true))
        })
        .await?;
    if moved {
        footing.proposals_changed();
    }
    Ok(unknown)
}
