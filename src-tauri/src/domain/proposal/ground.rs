//! What stands for and against acting on a proposal now, as its executor sees it, and the rule over it. The checks that
//! people are shown are the same points, without anything being written.

use super::record::{ProposalRecord, SignedProposal};
use super::standing::Coded;
use crate::domain::base::{Code, DeviceId, ProposalId, Refusal, TimeMs};
use crate::domain::gate::{ActuationRuling, ExecutionRequest, VerifiedApproval, actuation};
use crate::domain::policy::{Check, Ruling, Terms};

/// See the module. Loaded in the transaction that rules on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// This node.
    pub own: DeviceId,
    /// The refusal of the emergency stop that is latched on disk.
    pub stop_stored: Option<Refusal>,
    /// The refusal of the one that is latched in memory, which may not be on disk yet.
    pub stop_held: Option<Refusal>,
    /// Whether the node may operate: its state is the one it last ran with, and in place.
    pub in_place: Result<(), Refusal>,
    /// The proposal that acts on the target now.
    pub busy: Option<ProposalId>,
    /// The setting of the target in force, which it would replace and against which `ruling` has judged it.
    pub replaces: Option<ProposalId>,
    /// Whether a gen-1 node acts on the target.
    pub by_gen1: bool,
    /// Whether the gen-1 node that would act can be told what the record says; as it is where none acts.
    pub told: Result<(), Refusal>,
    /// Whether the target is confirmed to be in its safe state, or moving.
    pub safe: Result<(), Refusal>,
    /// Whether the clock is not behind what was recorded.
    pub clock_trusted: bool,
    /// Who asked, and where the evidence came from, as of now.
    pub looked: Vec<Coded>,
    /// What the policy says now.
    pub ruling: Ruling,
}

/// One thing that may stand in the way.
struct Point {
    name: &'static str,
    shown: String,
    refusal: Option<Refusal>,
}

impl Point {
    fn of(name: &'static str, fine: &str, result: &Result<(), Refusal>) -> Self {
        let refusal = result.as_ref().err().cloned();
        Self {
            name,
            shown: refusal
                .as_ref()
                .map_or_else(|| fine.to_owned(), |r| r.message.clone()),
            refusal,
        }
    }
}

impl Ground {
    /// What may stand in the way before the policy is asked, in the order in which it does.
    fn points(&self, record: &ProposalRecord) -> Vec<Point> {
        let latched = self.stop_stored.as_ref().or(self.stop_held.as_ref());
        let stop = latched.map_or(Ok(()), |refusal| Err(refusal.clone()));
        let mut points = vec![
            Point::of("emergency stop", "not latched", &stop),
            Point::of("state", "the one this node last ran with", &self.in_place),
            self.free(record),
        ];
        if record.gen1.is_some() || self.by_gen1 {
            points.push(Point::of("gen-1 node", "it can be told", &self.told));
        }
        points.push(Point::of("safe state", "confirmed, or moving", &self.safe));
        points
    }

    fn free(&self, record: &ProposalRecord) -> Point {
        match &self.busy {
            Some(other) if *other != record.proposal_id => Point {
                name: "free",
                shown: format!("busy with proposal {}", other.short()),
                refusal: Some(Refusal::new(
                    Code::ActuatorBusy,
                    format!(
                        "{} is busy with proposal {}; decide again when it has ended",
                        record.target,
                        other.short()
                    ),
                )),
            },
            _ => Point {
                name: "free",
                shown: "nothing else moves it".to_owned(),
                refusal: None,
            },
        }
    }

    /// The policy's terms, if nothing stands in the way.
    fn terms(&self, record: &ProposalRecord) -> Result<&Terms, Refusal> {
        let hindered = self.points(record).into_iter().find_map(|p| p.refusal);
        if let Some(refusal) = hindered {
            return Err(refusal);
        }
        if let Some((code, check)) = self.looked.iter().find(|(_, check)| !check.passed) {
            return Err(Refusal::new(*code, check.detail.clone()));
        }
        match &self.ruling {
            Ruling::Deny(denial) => Err(Refusal::new(denial.code, denial.message.clone())),
            Ruling::Allow(terms) if terms.safe_state != record.safe_state => Err(Refusal::new(
                Code::PolicyDenied,
                format!(
                    "the policy has changed since: the action would end with {}, the proposal says {}; a new proposal is needed",
                    terms.safe_state, record.safe_state
                ),
            )),
            Ruling::Allow(terms) if terms.kind != record.kind() => Err(Refusal::new(
                Code::PolicyDenied,
                format!(
                    "the policy has changed since: the action would be {}, the proposal says {}, or their limits differ; a new proposal is needed",
                    terms.kind,
                    record.kind()
                ),
            )),
            Ruling::Allow(terms) => Ok(terms),
        }
    }
}

/// Asks the gate about a record with the votes it has.
///
/// # Errors
/// What stands in the way.
pub fn rule(
    signed: &SignedProposal,
    ground: &Ground,
    votes: &[VerifiedApproval],
    now: TimeMs,
) -> Result<ActuationRuling, Refusal> {
    let record = signed.record();
    let terms = ground.terms(record)?;
    let action = record.action();
    let request = ExecutionRequest {
        proposal_id: &record.proposal_id,
        digest: signed.digest(),
        executor: &record.executor,
        own: &ground.own,
        asked_by: &record.requested_by.device_id,
        action: &action,
        level: record.level,
        quorum: record.quorum,
        at_node: record.at_node,
        run_ms: record.run_ms,
        taint: &record.taint,
        sources: &record.sources(),
        by_gen1: ground.by_gen1 || record.gen1.is_some(),
        replaces: ground.replaces.as_ref(),
        expires_at: record.expires_at,
    };
    Ok(actuation::rule(
        &request,
        terms,
        votes,
        ground.clock_trusted,
        now,
    ))
}

/// Every check that [`rule`] makes, passed and failed, with `place` of the evidence among them, and what stands in the
/// way, in a sentence.
pub fn checks(
    record: &ProposalRecord,
    ground: &Ground,
    place: Check,
) -> (Vec<Check>, Option<String>) {
    let check = |name: &str, passed: bool, detail: String| Check {
        name: name.to_owned(),
        passed,
        detail,
    };
    let points = ground.points(record).into_iter();
    let mut all: Vec<Check> = points
        .map(|p| check(p.name, p.refusal.is_none(), p.shown))
        .collect();
    let clock = match ground.clock_trusted {
        true => "not behind what was recorded",
        false => "behind what was recorded; set it",
    };
    all.push(check("clock", ground.clock_trusted, clock.to_owned()));
    all.extend(ground.looked.iter().map(|(_, check)| check.clone()));
    all.push(place);
    let denied = match &ground.ruling {
        Ruling::Allow(terms) => {
            all.extend(terms.checks.iter().cloned());
            None
        }
        Ruling::Deny(denial) => {
            all.extend(denial.checks.iter().cloned());
            Some(denial.message.clone())
        }
    };
    let failed = all.iter().find(|c| !c.passed);
    let failed = failed.map(|c| format!("{}: {}", c.name, c.detail));
    let stands = ground.terms(record).err().map(|refusal| refusal.message);
    (all, denied.or(failed).or(stands))
}
