//! What is looked at again when a proposal acts: who asked, and where its evidence came from, as the
//! executor trusts them at that moment. Minting has looked before; time has passed since.

use super::record::{Evidence, ProposalRecord};
use crate::domain::admission::{Grant, Grants};
use crate::domain::base::limits::SLOT_AHEAD_MAX_MS;
use crate::domain::base::{Code, DeviceId, Tier, TimeMs};
use crate::domain::policy::{Check, EvidenceView, Requester};
use crate::domain::wire::FrameKind;

/// What the executor knows of a device now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is the executor itself.
    Own,
    /// It is trusted, with these grants.
    Trusted(Grants),
    /// Its trust has been revoked.
    Revoked,
    /// It is not, or no longer, in the trust store.
    Stranger,
}

/// A check with the code of its refusal, should it have failed.
pub type Coded = (Code, Check);

const ASK_AGAIN: &str = "this one cannot act any more, a new proposal is needed";

fn check(name: &str, code: Code, result: Result<String, String>) -> Coded {
    let passed = result.is_ok();
    let detail = result.unwrap_or_else(|why| format!("{why}; {ASK_AGAIN}"));
    let check = Check {
        name: name.to_owned(),
        passed,
        detail,
    };
    (code, check)
}

/// Whether a device may ask for an action as this kind of asker.
///
/// # Errors
/// The code and why not.
pub fn may_ask(device: &DeviceId, kind: Requester, known: &Known) -> Result<(), (Code, String)> {
    let id = device.short();
    match known {
        Known::Own => Ok(()),
        Known::Revoked => Err((
            Code::UntrustedPeer,
            format!("the trust in device {id}, which asked, has been revoked"),
        )),
        Known::Stranger => Err((
            Code::UntrustedPeer,
            format!("device {id}, which asked, is not trusted here"),
        )),
        Known::Trusted(grants) if !grants.has(Grant::Plan) => Err((
            Code::NotAuthorized,
            format!("device {id}, which asked, does not hold plan"),
        )),
        Known::Trusted(grants) if kind == Requester::Person && !grants.has(Grant::Human) => Err((
            Code::NotAuthorized,
            format!("device {id} asks in the name of a person, and does not hold human"),
        )),
        Known::Trusted(_) => Ok(()),
    }
}

/// Who asked, who led to it, and where every cited frame came from, as of now.
pub fn look_again(record: &ProposalRecord, known: &dyn Fn(&DeviceId) -> Known) -> Vec<Coded> {
    let by = &record.requested_by;
    let asker = may_ask(&by.device_id, by.kind, &known(&by.device_id));
    let mut checks = vec![match asker {
        Ok(()) => check("asker", Code::UntrustedPeer, Ok(by.kind.to_string())),
        Err((code, why)) => check("asker", code, Err(why)),
    }];
    let revoked = record
        .evidence
        .iter()
        .find(|e| !e.interlock && known(&e.origin) == Known::Revoked);
    checks.push(check(
        "origins",
        Code::UntrustedPeer,
        match revoked {
            None => Ok("none of them has been revoked".to_owned()),
            Some(e) => Err(format!(
                "{} came from device {}, whose trust has been revoked since",
                e.summary,
                e.origin.short()
            )),
        },
    ));
    if let Some(leader) = &record.led_by {
        let result = match known(leader) {
            Known::Revoked => Err(format!(
                "device {}, whose planner or model led to this, is trusted no longer",
                leader.short()
            )),
            _ => Ok("it has not been revoked".to_owned()),
        };
        checks.push(check("led by", Code::UntrustedPeer, result));
    }
    checks
}

/// Whether what was cited is still what its origin says; `replaced` is the first that is not.
pub fn unchanged(replaced: Option<&Evidence>) -> Coded {
    let result = match replaced {
        None => Ok("as they were".to_owned()),
        Some(e) => Err(format!(
            "{} is not what device {} itself says under this id, as is known now",
            e.summary,
            e.origin.short()
        )),
    };
    check("cited frames", Code::EvidenceMissing, result)
}

/// Whether what a rule asked for is asked for still: the reading that it fired on, which it cites first, was sensed after
/// the actuator last began to do the same, for an earlier one says nothing of what that has changed; or the actuator has
/// not done the same since the time of the schedule. Two planners that fire on one reading, or at one time, so lead to
/// one action.
pub fn since_last_run(
    by: Requester,
    slot: Option<TimeMs>,
    evidence: &[Evidence],
    minted_at: TimeMs,
    last: Option<TimeMs>,
) -> Coded {
    if let Some(slot) = slot {
        let result = match last {
            Some(last) if last.plus(SLOT_AHEAD_MAX_MS) >= slot => {
                Err("the actuator has done this since the time of the schedule".to_owned())
            }
            _ => Ok("not done since the time of the schedule".to_owned()),
        };
        return check("since the last run", Code::CommandExpired, result);
    }
    let fired_on = evidence.first().filter(|e| !e.interlock);
    let sensed = fired_on.map(|e| TimeMs(minted_at.0.saturating_sub(e.age_ms)));
    let result = match (by, sensed, last) {
        (Requester::Rules, Some(sensed), Some(last)) if sensed < last => Err(format!(
            "the reading that the rule fired on is {} s older than the last time the actuator did this, and says nothing of what that has changed",
            last.since(sensed).div_ceil(1_000)
        )),
        _ => Ok("the evidence knows of it".to_owned()),
    };
    check("since the last run", Code::EvidenceStale, result)
}

/// What a piece of evidence weighs now: as old as it has become, and never above what its origin may
/// claim today.
pub fn weigh(
    evidence: &Evidence,
    minted_at: TimeMs,
    known: &dyn Fn(&DeviceId) -> Known,
    now: TimeMs,
) -> EvidenceView {
    let most = match known(&evidence.origin) {
        Known::Own => Tier::T3,
        Known::Trusted(grants) if evidence.kind == FrameKind::HumanInput => {
            if grants.has(Grant::Human) {
                Tier::T3
            } else {
                Tier::T1
            }
        }
        Known::Trusted(grants) => grants.observe().unwrap_or(Tier::T0),
        Known::Stranger => Tier::T1,
        Known::Revoked => Tier::T0,
    };
    EvidenceView {
        origin: evidence.origin.clone(),
        effective: evidence.effective_tier.min(most),
        age_ms: evidence.age_ms.saturating_add(now.since(minted_at)),
        signature: evidence.signature,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::domain::base::Digest;
    use crate::domain::world::SignatureState;

    fn trusted(grants: &str) -> Known {
        Known::Trusted(grants.parse().unwrap())
    }

    #[test]
    fn who_asks_needs_plan_and_a_person_needs_human() {
        let device = DeviceId::of_public_key(&[3; 32]);
        let code = |kind, known: Known| may_ask(&device, kind, &known).err().map(|(code, _)| code);
        assert_eq!(code(Requester::Person, Known::Own), None);
        assert_eq!(code(Requester::Rules, trusted("plan")), None);
        assert_eq!(code(Requester::Person, trusted("plan,human")), None);
        let no = Some(Code::NotAuthorized);
        assert_eq!(code(Requester::Person, trusted("plan")), no);
        assert_eq!(code(Requester::Llm, trusted("read,human")), no);
        let untrusted = Some(Code::UntrustedPeer);
        assert_eq!(code(Requester::Llm, Known::Revoked), untrusted);
        assert_eq!(code(Requester::Llm, Known::Stranger), untrusted);
    }

    proptest! {
        #[test]
        fn evidence_only_ever_loses_weight(
            tier in 0usize..4, grant in 0usize..5, age in 0u64..1_000_000, waited in 0u64..10_000_000,
        ) {
            let tiers = [Tier::T0, Tier::T1, Tier::T2, Tier::T3];
            let evidence = Evidence {
                frame_id: "f".parse().unwrap(),
                content: Digest::of(&[b"x"]),
                origin: DeviceId::of_public_key(&[3; 32]),
                kind: FrameKind::Observation,
                summary: "moisture = 20".into(),
                claimed_tier: Tier::T3,
                effective_tier: tiers[tier],
                signature: SignatureState::Verified,
                taint: Default::default(),
                sensed_at: TimeMs(0),
                age_ms: age,
                interlock: false,
            };
            let known = [Known::Own, Known::Revoked, Known::Stranger, trusted("observe:T2"), trusted("read")];
            let view = weigh(&evidence, TimeMs(5), &|_| known[grant].clone(), TimeMs(5 + waited));
            prop_assert!(view.effective <= evidence.effective_tier);
            prop_assert_eq!(view.age_ms, age + waited);
            if grant == 1 {
                prop_assert_eq!(view.effective, Tier::T0);
            }
        }
    }
}
