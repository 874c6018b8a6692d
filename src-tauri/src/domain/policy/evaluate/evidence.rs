//! The check of the evidence of a wish: enough of it, from an allowed origin, strong and young enough.

use super::{Class, EvidenceView, Phase, Request, Rule, Sheet};
use crate::domain::base::limits::EVIDENCE_LEFT_MIN_MS;
use crate::domain::base::{Code, DeviceId, Tier};
use crate::domain::policy::Level;

/// The evidence of a wish, weighed.
#[derive(Default)]
pub(super) struct Weighed {
    /// How long it will still be young enough, in milliseconds.
    pub(super) fresh_for_ms: Option<u64>,
    /// The weakest tier of what counts.
    pub(super) tier: Option<Tier>,
}

/// Checks what the wish rests on.
pub(super) fn evidence(
    sheet: &mut Sheet,
    rule: &Rule,
    request: &Request<'_>,
    class: Class,
    own: &DeviceId,
) -> Weighed {
    if rule.min_evidence == 0 {
        return Weighed {
            fresh_for_ms: None,
            tier: request.evidence.iter().map(|e| e.effective).min(),
        };
    }
    if request.evidence.is_empty() && rule.may_cite_nothing.contains(&request.requester) {
        let none = "it cites no reading; whoever approves it judges without one".to_owned();
        sheet.check("evidence", Code::EvidenceMissing, Ok(none));
        return Weighed::default();
    }
    let from = |e: &&EvidenceView| {
        rule.origins
            .as_ref()
            .is_none_or(|list| list.iter().any(|o| o.is(&e.origin, own)))
    };
    let named: Vec<&EvidenceView> = request.evidence.iter().filter(from).collect();
    let strong: Vec<&&EvidenceView> = named
        .iter()
        .filter(|e| e.effective >= rule.min_tier)
        .collect();
    let young = |e: &EvidenceView| rule.max_evidence_age_ms.checked_sub(e.age_ms);
    let tier = strong.iter().filter(|e| young(e).is_some());
    let tier = tier.map(|e| e.effective).min();
    let mut left: Vec<u64> = strong.iter().filter_map(|e| young(e)).collect();
    left.sort_unstable_by(|a, b| b.cmp(a));
    let fresh = left.len();
    let enough = |n: usize| n >= rule.min_evidence;
    let want = rule.min_evidence;
    let fresh_for_ms = want.checked_sub(1).and_then(|last| left.get(last).copied());
    // Another device's wish without time for a decision would end at once and come again.
    let least = match request.phase {
        Phase::Propose
            if request.from != own && !(rule.level == Level::L1 && request.is_automatic(class)) =>
        {
            EVIDENCE_LEFT_MIN_MS.min(rule.max_evidence_age_ms / 2)
        }
        _ => 0,
    };
    let (code, result) = if fresh_for_ms.is_some_and(|left| left < least) {
        (
            Code::EvidenceStale,
            Err(format!(
                "the evidence is young enough for {} s more, and a person who decides needs {} s; ask again with a newer reading",
                fresh_for_ms.unwrap_or_default() / 1_000,
                least / 1_000
            )),
        )
    } else if enough(fresh) {
        (
            Code::EvidenceMissing,
            Ok(format!("{fresh} admissible, {want} needed")),
        )
    } else if enough(strong.len()) {
        let age = rule.max_evidence_age_ms / 1_000;
        let what = match request.phase {
            Phase::Propose => "ask again with a newer reading",
            Phase::Execute => "a new proposal with a newer reading is needed",
        };
        (
            Code::EvidenceStale,
            Err(format!(
                "{fresh} of {want} pieces of evidence are younger than {age} s; {what}"
            )),
        )
    } else if enough(named.len()) {
        let have = strong.len();
        (
            Code::InsufficientTrustTier,
            Err(format!(
                "{have} of {want} pieces of evidence are {} or better",
                rule.min_tier
            )),
        )
    } else {
        (
            Code::EvidenceMissing,
            Err(format!(
                "{} of {want} pieces of evidence from an allowed origin; cite a reading that the wish rests on",
                named.len()
            )),
        )
    };
    sheet.check("evidence", code, result);
    Weighed { fresh_for_ms, tier }
}
