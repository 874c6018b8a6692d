//! Kinds of actions that last, at most once (invariant I6), as models of the rules themselves: settings that take each
//! other's place at a guard whose driver is slow, and held actions that are renewed, let go and forgotten. The store hears of
//! an end later than it comes, and the node crashes in between.
#![allow(clippy::unwrap_used, clippy::panic)]

mod holding;
mod settings;

use super::case::{Case, Step, Write};
use super::decide::begin;
use super::end::{finish, interrupted};
use super::equal::Equals;
use super::ground::{Ground, rule};
use super::model::{KEY, at, operator};
use super::{Outcome, ProposalRecord, SignedProposal, Status};
use crate::domain::base::ProposalId;
use crate::domain::gate::approval::{Known, Subject, Verdict, verify};
use crate::domain::gate::{ActuationRuling, Decision, SignedOperator, VerifiedApproval};
use crate::domain::identity::OperatorKey;
use crate::domain::policy::{Level, Ruling};

const PROPOSALS: usize = 4;

/// A proposal, and the vote by which it begins.
struct Paper {
    signed: SignedProposal,
    vote: VerifiedApproval,
}

fn paper(record: ProposalRecord) -> Paper {
    let signed = SignedProposal::mint(record, &KEY).unwrap();
    let (record, person) = (signed.record(), OperatorKey::from_seed(&[50; 32]));
    let decision = Decision {
        verdict: Verdict::Approve,
        mesh_id: record.mesh_id.clone(),
        executor: record.executor.clone(),
        proposal_id: record.proposal_id.clone(),
        digest: *signed.digest(),
        operator_id: person.id().clone(),
        decided_at: at(0),
        note: None,
        channel: None,
        at_node: None,
    };
    let subject = Subject {
        mesh_id: &record.mesh_id,
        executor: &record.executor,
        proposal_id: &record.proposal_id,
        digest: signed.digest(),
        level: record.level,
        asked_by: &record.requested_by.device_id,
        led_by: None,
        origins: &[],
        created_at: record.created_at,
        expires_at: record.expires_at,
    };
    let known = Known {
        operator: &SignedOperator::issue(operator(&person, "ana", Level::L2), &KEY),
        person: person.id(),
        issuer_key: Some(KEY.public()),
        revoked: false,
    };
    let vote = verify(&decision.sign(&person), &subject, &known, at(0)).unwrap();
    Paper { signed, vote }
}

/// What the store has of the proposals.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stored {
    status: [Status; PROPOSALS],
    ran: [bool; PROPOSALS],
    /// In the order in which they began.
    acting: Vec<usize>,
}

impl Stored {
    fn new() -> Self {
        Self {
            status: [Status::AwaitingApproval; PROPOSALS],
            ran: [false; PROPOSALS],
            acting: Vec::new(),
        }
    }

    fn case(&self, papers: &[Paper], n: usize) -> Case {
        let record = papers[n].signed.record();
        Case {
            id: record.proposal_id.clone(),
            status: self.status[n],
            expires_at: record.expires_at,
            updated_at: at(0),
            ran: self.ran[n],
            how: None,
        }
    }

    fn write(&mut self, n: usize, step: &Step) {
        for write in &step.0 {
            match write {
                Write::Move { to, .. } => self.status[n] = *to,
                Write::Run { .. } => self.ran[n] = true,
                _ => {}
            }
        }
        self.acting.retain(|other| *other != n);
        if self.status[n] == Status::Executing {
            self.acting.push(n);
        }
    }

    /// Begins one, as far as the rules let it; gives what it replaces. `ruling` is what the policy says of it beside what acts
    /// by the store.
    fn begin(
        &mut self,
        papers: &[Paper],
        n: usize,
        ruling: impl Fn(&ProposalRecord, Option<&ProposalRecord>) -> Ruling,
    ) -> Option<Option<usize>> {
        let record = papers[n].signed.record();
        let acts = self.acting.last().map(|acts| papers[*acts].signed.record());
        let (replaces, busy) = match acts {
            Some(acts) if record.may_replace(acts) => (Some(&acts.proposal_id), None),
            acts => (None, acts.map(|acts| &acts.proposal_id)),
        };
        let ground = Ground {
            own: KEY.id().clone(),
            stop_stored: None,
            stop_held: None,
            in_place: Ok(()),
            busy: busy.cloned(),
            replaces: replaces.cloned(),
            by_gen1: false,
            told: Ok(()),
            safe: Ok(()),
            clock_trusted: true,
            looked: Vec::new(),
            ruling: ruling(record, acts),
        };
        let paper = &papers[n];
        let ruling = rule(
            &paper.signed,
            &ground,
            std::slice::from_ref(&paper.vote),
            at(0),
        );
        let ActuationRuling::Allow(permit) = ruling.ok()? else {
            return None;
        };
        let case = self.case(papers, n);
        let step = begin(&case, record, &permit, &Equals::default(), at(0)).ok()?;
        self.write(n, &step);
        let is = |id: &ProposalId| {
            let mut all = papers.iter();
            all.position(|p| p.signed.record().proposal_id == *id)
        };
        Some(permit.replaces().and_then(is))
    }

    /// An outcome is written.
    fn finish(&mut self, papers: &[Paper], n: usize) -> Option<()> {
        let outcome = Outcome {
            status: Status::Completed,
            detail: String::new(),
            started_at: at(0),
            ended_at: at(0),
            actuator_state: None,
        };
        let step = finish(&self.case(papers, n), &outcome).ok()?;
        self.write(n, &step);
        Some(())
    }

    /// What a crash has interrupted is reported.
    fn start(&mut self, papers: &[Paper]) {
        for n in 0..PROPOSALS {
            let case = self.case(papers, n);
            if let Some(outcome) = interrupted(&case, "", None, at(0)) {
                self.write(n, &finish(&case, &outcome).unwrap());
            }
        }
    }
}
