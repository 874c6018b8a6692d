//! The gate by itself: who must have agreed to what, and how long a permit is good.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::domain::base::MeshId;
use crate::domain::gate::approval::{Decision, Known, Subject, verify};
use crate::domain::gate::at_node::Codes;
use crate::domain::gate::{NodeCode, OperatorRecord, SignedOperator};
use crate::domain::identity::{DeviceKey, OperatorKey};
use crate::domain::policy::Class;

const NOW: TimeMs = TimeMs(1_000_000);
const DIGEST: Digest = Digest([7; 32]);

fn executor() -> DeviceKey {
    DeviceKey::from_seed(&[1; 32])
}

fn proposal() -> ProposalId {
    "00000000000000000000000000000001".parse().unwrap()
}

fn open_valve() -> Action {
    Action {
        target: "actuator:mock:valve-1".parse().unwrap(),
        operation: "open".into(),
        params: crate::domain::capability::Params::default(),
    }
}

/// What is asked of the gate, and by what rule.
#[derive(Clone)]
struct Asked {
    level: Level,
    quorum: u32,
    at_node: bool,
    taint: BTreeSet<Taint>,
    sources: BTreeSet<EvidenceSource>,
    by_gen1: bool,
    now_at_node: bool,
    now_level: Level,
    now_quorum: u32,
    standing: Result<(), String>,
}

fn asked(level: Level, quorum: u32) -> Asked {
    Asked {
        level,
        quorum,
        at_node: false,
        taint: BTreeSet::new(),
        sources: [EvidenceSource::Sensor].into(),
        by_gen1: false,
        now_at_node: false,
        now_level: level,
        now_quorum: quorum,
        standing: Err("no".into()),
    }
}

impl Asked {
    fn rule(&self, votes: &[VerifiedApproval]) -> ActuationRuling {
        let (own, action, id) = (executor().id().clone(), open_valve(), proposal());
        let request = ExecutionRequest {
            proposal_id: &id,
            digest: &DIGEST,
            executor: &own,
            own: &own,
            asked_by: &own,
            action: &action,
            level: self.level,
            quorum: self.quorum,
            at_node: self.at_node,
            run_ms: 10_000,
            taint: &self.taint,
            sources: &self.sources,
            by_gen1: self.by_gen1,
            replaces: None,
            expires_at: NOW.plus(60_000),
        };
        let terms = Terms {
            rule: "test".into(),
            class: Class::OwnRules,
            level: self.now_level,
            quorum: self.now_quorum,
            at_node: self.now_at_node,
            kind: Kind::Timed,
            deadline_ms: 20_000,
            run_ms: 15_000,
            safe_state: "close".into(),
            fresh_for_ms: None,
            tier: Some(Tier::T2),
            min_tier: Tier::T2,
            standing: self.standing.clone(),
            checks: Vec::new(),
        };
        rule(&request, &terms, votes, true, NOW)
    }

    /// How many are needed and have agreed, or `None` where it may begin.
    fn short_of(&self, votes: &[VerifiedApproval]) -> Option<(u32, u32)> {
        match self.rule(votes) {
            ActuationRuling::Allow(_) => None,
            ActuationRuling::NeedsApproval { required, have } => Some((required, have)),
            ActuationRuling::Refuse(refusal) => panic!("{refusal}"),
        }
    }
}

/// A yes or no of the n-th person, who may decide up to this level.
fn vote(n: u8, level: Level, verdict: Verdict) -> VerifiedApproval {
    let (key, own, id, mesh) = (
        OperatorKey::from_seed(&[50 + n; 32]),
        executor(),
        proposal(),
        MeshId::of_name("test"),
    );
    let record = OperatorRecord {
        operator_id: key.id().clone(),
        public_key: *key.public(),
        name: format!("person {n}"),
        max_level: level,
        person: None,
        issuer: own.id().clone(),
        issued_at: TimeMs(0),
        expires_at: None,
    };
    let decision = Decision {
        verdict,
        mesh_id: mesh.clone(),
        executor: own.id().clone(),
        proposal_id: id.clone(),
        digest: DIGEST,
        operator_id: key.id().clone(),
        decided_at: NOW,
        note: None,
        channel: None,
        at_node: None,
    };
    let subject = Subject {
        mesh_id: &mesh,
        executor: own.id(),
        proposal_id: &id,
        digest: &DIGEST,
        level: Level::L2,
        asked_by: own.id(),
        led_by: None,
        origins: &[],
        created_at: NOW,
        expires_at: NOW.plus(60_000),
    };
    let known = Known {
        operator: &SignedOperator::issue(record, &own),
        person: key.id(),
        issuer_key: Some(own.public()),
        revoked: false,
    };
    verify(&decision.sign(&key), &subject, &known, NOW).unwrap()
}

fn yes(n: u8) -> VerifiedApproval {
    vote(n, Level::L3, Verdict::Approve)
}

/// The proof that somebody gave the code of a proposal with this content.
fn proof(digest: Digest) -> crate::domain::gate::AtNode {
    let (mut codes, code) = (Codes::default(), NodeCode::of_random([3; 8]));
    codes.show(proposal(), digest, code.clone(), NOW);
    codes.take(&proposal(), &digest, &code, NOW).unwrap()
}

#[test]
fn each_level_needs_its_persons_and_each_counts_once() {
    for (level, quorum, needed) in [
        (Level::L1, 0, 0),
        (Level::L2, 0, 1),
        (Level::L2, 2, 2),
        (Level::L3, 0, 2),
        (Level::L3, 3, 3),
    ] {
        let asked = asked(level, quorum);
        for persons in 0..4_u8 {
            let mut votes: Vec<_> = (0..persons).map(yes).collect();
            votes.extend(votes.clone());
            let have = u32::from(persons);
            let short = (have < needed).then_some((needed, have));
            assert_eq!(asked.short_of(&votes), short, "{level} {quorum} {persons}");
        }
        // The stricter of the record and of the policy now.
        let mut stricter = asked.clone();
        stricter.now_level = Level::L3;
        assert_eq!(stricter.short_of(&[yes(1)]), Some((needed.max(2), 1)));
        let mut stricter = asked.clone();
        stricter.now_quorum = 4;
        let four = if level == Level::L1 { 0 } else { 4 };
        assert_eq!(stricter.short_of(&[]), (four > 0).then_some((four, 0)));
        // A no of anybody ends it, also of one whose yes does not reach so far.
        let no = vote(9, Level::L0, Verdict::Reject);
        assert!(matches!(
            asked.rule(&[yes(1), yes(2), yes(3), no]),
            ActuationRuling::Refuse(_)
        ));
    }
    let weak = vote(1, Level::L2, Verdict::Approve);
    assert_eq!(asked(Level::L3, 2).short_of(&[weak, yes(2)]), Some((2, 1)));
}

#[test]
fn what_a_model_or_a_gen1_node_has_a_part_in_needs_a_person() {
    let model = |asked: &mut Asked| asked.taint = [Taint::Llm].into();
    let gen1 = |asked: &mut Asked| asked.by_gen1 = true;
    for change in [model as fn(&mut Asked), gen1] {
        let mut one = asked(Level::L1, 0);
        change(&mut one);
        assert_eq!(one.short_of(&[]), Some((1, 0)));
        assert_eq!(one.short_of(&[yes(1)]), None);
    }
}

#[test]
fn one_with_the_code_is_enough_where_record_and_policy_say_so_and_nowhere_else() {
    let mut may = asked(Level::L3, 2);
    (may.at_node, may.now_at_node) = (true, true);
    let there = || yes(1).at_the_node(&proof(DIGEST));
    assert_eq!(may.short_of(&[]), Some((2, 0)));
    assert_eq!(may.short_of(&[yes(1)]), Some((2, 1)), "without the code");
    let ActuationRuling::Allow(permit) = may.rule(&[there()]) else {
        panic!("with the code one is enough");
    };
    assert_eq!(permit.approved_by().len(), 1);
    assert!(permit.approved_by()[0].ends_with("with the code shown at the node)"));
    // The code of other content.
    let other = yes(1).at_the_node(&proof(Digest([8; 32])));
    assert!(!other.is_at_node());
    assert_eq!(may.short_of(&[other]), Some((2, 1)));
    // A person who may not decide at L3, and a no.
    let weak = vote(1, Level::L2, Verdict::Approve).at_the_node(&proof(DIGEST));
    assert_eq!(may.short_of(std::slice::from_ref(&weak)), Some((2, 0)));
    assert_eq!(
        may.short_of(&[weak, yes(2)]),
        Some((2, 1)),
        "the code is of who may not"
    );
    let no = vote(1, Level::L3, Verdict::Reject).at_the_node(&proof(DIGEST));
    assert!(matches!(may.rule(&[no]), ActuationRuling::Refuse(_)));
    let changes: [fn(&mut Asked); 4] = [
        |asked| asked.at_node = false,
        |asked| asked.now_at_node = false,
        |asked| asked.quorum = 3,
        |asked| asked.now_quorum = 3,
    ];
    for change in changes {
        let mut not = may.clone();
        change(&mut not);
        assert!(not.short_of(&[there()]).is_some_and(|(_, have)| have == 1));
    }
    // It takes the place of one person at L3, and of nobody at L2.
    let mut two = asked(Level::L2, 2);
    (two.at_node, two.now_at_node) = (true, true);
    assert_eq!(two.short_of(&[there()]), Some((2, 1)));
}

#[test]
fn a_permit_is_kept_from_where_nobody_who_is_marked_keeps_it() {
    let grounds = |taint: &[Taint], sources: &[EvidenceSource]| {
        let mut one = asked(Level::L2, 1);
        one.taint = taint.iter().copied().collect();
        one.sources = sources.iter().copied().collect();
        let ActuationRuling::Allow(permit) = one.rule(&[yes(1)]) else {
            panic!("one person is enough");
        };
        let marked = Entitled::of(Class::OwnRules, true, executor().id());
        (
            *permit.kept_from() == marked,
            permit.grounds.sources.clone(),
        )
    };
    use EvidenceSource::{Human, Llm, Sensor};
    assert_eq!(grounds(&[], &[Sensor]), (false, [Sensor, Human].into()));
    assert_eq!(
        grounds(&[Taint::Llm], &[Sensor]),
        (true, [Sensor, Human].into())
    );
    assert_eq!(grounds(&[], &[Llm]), (true, [Llm, Human].into()));
    assert_eq!(grounds(&[Taint::Llm], &[Llm]), (true, [Llm, Human].into()));
}

#[test]
fn a_permit_is_good_for_a_short_time_by_both_clocks() {
    let of = |kind: Kind, operation: &str| {
        let ActuationRuling::Allow(mut permit) = asked(Level::L1, 0).rule(&[]) else {
            panic!("it is automatic");
        };
        assert_eq!(permit.run_ms(), 10_000);
        permit.kind = kind;
        operation.clone_into(&mut permit.action.operation);
        permit.run_ms = PERMIT_TTL_MS / 2;
        permit
    };
    let until = NOW.plus(PERMIT_TTL_MS);
    let used = |permit: Permit, at: TimeMs, waited: u64| {
        permit.consume(at, waited).map(|act| act.run_ms())
    };
    let run = PERMIT_TTL_MS / 2;
    // A run is not begun later than it would have lasted; the safe operation and a pulse may.
    for (kind, operation, most) in [
        (Kind::Timed, "open", run),
        (Kind::Timed, "close", PERMIT_TTL_MS),
        (Kind::Pulse, "open", PERMIT_TTL_MS),
    ] {
        assert_eq!(used(of(kind.clone(), operation), until, most), Some(run));
        assert_eq!(used(of(kind.clone(), operation), until, most + 1), None);
        assert_eq!(used(of(kind.clone(), operation), until.plus(1), 0), None);
    }
    let steps = Kind::Sequence { steps: Vec::new() };
    assert_eq!(
        used(of(steps, "open"), NOW, 0),
        None,
        "a sequence moves nothing itself"
    );
}
