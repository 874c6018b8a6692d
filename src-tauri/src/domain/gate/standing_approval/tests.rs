//! Standing approvals: what is signed, who may give and end one, and on what it is a vote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Number, json};

use super::*;
use crate::domain::gate::approval::Verdict;
use crate::domain::gate::{OperatorRecord, SignedOperator};
use crate::domain::identity::DeviceKey;

const NOW: TimeMs = TimeMs(1_767_268_800_000);
const HOUR: u64 = 3_600_000;

fn device(n: u8) -> DeviceKey {
    DeviceKey::from_seed(&[n; 32])
}

fn ana() -> OperatorKey {
    OperatorKey::from_seed(&[50; 32])
}

fn operator(key: &OperatorKey, level: Level, issuer: u8) -> SignedOperator {
    let record = OperatorRecord {
        operator_id: key.id().clone(),
        public_key: *key.public(),
        name: "ana".into(),
        person: None,
        max_level: level,
        issuer: device(issuer).id().clone(),
        issued_at: TimeMs(NOW.0 - HOUR),
        expires_at: None,
    };
    SignedOperator::issue(record, &device(issuer))
}

fn approval() -> StandingApproval {
    let range = Allowed::Range {
        min: 60.into(),
        max: 600.into(),
    };
    let gear = Allowed::Value { is: json!("low") };
    StandingApproval {
        version: 1,
        mesh_id: MeshId::of_name("m"),
        executor: device(1).id().clone(),
        operator_id: ana().id().clone(),
        target: "actuator:pump:main".parse().unwrap(),
        operation: "start".into(),
        params: [("durationSec".into(), range), ("gear".into(), gear)].into(),
        askers: [Requester::Rules, Requester::Person].into(),
        run_max_ms: 600_000,
        uses_max: 3,
        valid_from: NOW,
        valid_until: NOW.plus(6 * HOUR),
        given_at: NOW,
        nonce: "0123456789abcdef".into(),
        note: None,
    }
}

fn action(params: Value) -> Action {
    let params = params.as_object().unwrap().clone().into_iter().collect();
    Action::new("actuator:pump:main".parse().unwrap(), "start", params).unwrap()
}

/// The state of the executor.
struct Place {
    mesh: MeshId,
    own: DeviceKey,
    operator: SignedOperator,
    issuer: DeviceKey,
    revoked: bool,
    void_before: TimeMs,
}

impl Place {
    fn new() -> Self {
        Self {
            mesh: MeshId::of_name("m"),
            own: device(1),
            operator: operator(&ana(), Level::L2, 1),
            issuer: device(1),
            revoked: false,
            void_before: TimeMs(0),
        }
    }

    fn at(&self) -> Executor<'_> {
        Executor {
            mesh_id: &self.mesh,
            own: self.own.id(),
            void_before: self.void_before,
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            operator: &self.operator,
            person: &self.operator.record.operator_id,
            issuer_key: Some(self.issuer.public()),
            revoked: self.revoked,
        }
    }

    fn admits(&self, signed: &SignedStanding, now: TimeMs) -> Result<(), Code> {
        admit(signed, &self.at(), &self.known(), now).map_err(|r| r.code)
    }
}

/// A wish that the approval is for, as it may be changed.
struct Wished {
    action: Action,
    run_ms: u64,
    level: Level,
    requester: Requester,
    asked_by: DeviceKey,
    led_by: Option<DeviceId>,
    taint: BTreeSet<Taint>,
    sources: BTreeSet<EvidenceSource>,
}

impl Wished {
    fn new() -> Self {
        Self {
            action: action(json!({"durationSec": 600, "gear": "low"})),
            run_ms: 600_000,
            level: Level::L2,
            requester: Requester::Rules,
            asked_by: device(1),
            led_by: None,
            taint: BTreeSet::new(),
            sources: [EvidenceSource::Sensor].into(),
        }
    }

    fn votes(&self, place: &Place, used: u32, now: TimeMs) -> Result<VerifiedApproval, Refusal> {
        let wish = Wish {
            digest: &Digest([7; 32]),
            action: &self.action,
            run_ms: self.run_ms,
            level: self.level,
            requester: self.requester,
            asked_by: self.asked_by.id(),
            led_by: self.led_by.as_ref(),
            taint: &self.taint,
            sources: &self.sources,
        };
        let signed = approval().sign(&ana());
        vote(&signed, used, &place.at(), &place.known(), &wish, now)
    }
}

#[test]
fn what_is_signed_is_one_record_and_reads_as_it_was_written() {
    let signed = approval().sign(&ana());
    let text = serde_json::to_string(&signed).unwrap();
    let read: SignedStanding = serde_json::from_str(&text).unwrap();
    assert_eq!((&read, read.approval.id()), (&signed, signed.approval.id()));
    // Numbers are numbers however they are written.
    let other = text.replace("\"max\":600", "\"max\":600.0");
    let other: SignedStanding = serde_json::from_str(&other).unwrap();
    assert!(other.is_signed_by(ana().public()) && other.approval.id() == signed.approval.id());
    for (from, to) in [
        ("\"max\":600", "\"max\":601"),
        ("\"usesMax\":3", "\"usesMax\":4"),
        ("\"low\"", "\"high\""),
        ("[\"rules\",\"person\"]", "[\"rules\"]"),
    ] {
        assert!(text.contains(from), "{from}");
        let altered: SignedStanding = serde_json::from_str(&text.replace(from, to)).unwrap();
        assert!(!altered.is_signed_by(ana().public()), "{from}");
    }
    for unknown in [
        text.replace("\"usesMax\":3", "\"usesMax\":3,\"more\":1"),
        text.replace("\"max\":600", "\"max\":600,\"is\":5"),
    ] {
        assert!(serde_json::from_str::<SignedStanding>(&unknown).is_err());
    }
    // No decision, and no end, is signed over the same bytes.
    let bytes = approval().signing_bytes();
    assert!(bytes.starts_with(b"clawmesh/standing-approval/v1\n{"));
}

#[test]
fn what_is_out_of_bounds_is_not_taken() {
    let place = Place::new();
    let changes: [fn(&mut StandingApproval); 15] = [
        |a| a.version = 2,
        |a| a.target = "sensor:soil".parse().unwrap(),
        |a| a.operation = "Start now".into(),
        |a| a.uses_max = 0,
        |a| a.uses_max = STANDING_USES_MAX + 1,
        |a| a.run_max_ms = 0,
        |a| a.run_max_ms = ACTUATION_MAX_MS + 1,
        |a| a.valid_until = a.valid_from,
        |a| a.valid_until = a.given_at.plus(STANDING_MAX_MS + 1),
        |a| a.askers.clear(),
        |a| a.askers = [Requester::Llm, Requester::Rules].into(),
        |a| a.nonce = "short".into(),
        |a| a.note = Some("x".repeat(TEXT_MAX_CHARS + 1)),
        |a| a.params = [("a b".to_owned(), Allowed::Value { is: json!(1) })].into(),
        |a| {
            let (min, max) = (2.into(), 1.into());
            a.params = [("n".to_owned(), Allowed::Range { min, max })].into();
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut changed = approval();
        change(&mut changed);
        let taken = place.admits(&changed.sign(&ana()), NOW);
        assert!(taken.is_err(), "change {n}");
    }
    place.admits(&approval().sign(&ana()), NOW).unwrap();
}

#[test]
fn it_is_given_by_an_operator_of_this_executor_a_moment_ago_or_not_at_all() {
    let signed = approval().sign(&ana());
    let place = Place::new();
    place.admits(&signed, NOW).unwrap();
    let late = NOW.plus(DECISION_VALID_MS + 1);
    assert_eq!(place.admits(&signed, late), Err(Code::ApprovalInvalid));
    let early = TimeMs(NOW.0 - SIGNER_AHEAD_MAX_MS - 1);
    assert_eq!(place.admits(&signed, early), Err(Code::ApprovalInvalid));

    let forged = approval().sign(&OperatorKey::from_seed(&[51; 32]));
    assert_eq!(place.admits(&forged, NOW), Err(Code::ApprovalInvalid));
    let with = |change: fn(&mut Place)| {
        let mut place = Place::new();
        change(&mut place);
        place.admits(&signed, NOW)
    };
    assert_eq!(
        with(|p| p.mesh = MeshId::of_name("n")),
        Err(Code::WrongMesh)
    );
    assert_eq!(with(|p| p.own = device(2)), Err(Code::WrongExecutor));
    assert_eq!(with(|p| p.revoked = true), Err(Code::OperatorRevoked));
    let low = with(|p| p.operator = operator(&ana(), Level::L1, 1));
    assert_eq!(low, Err(Code::OperatorLevelTooLow));
    // Signed before a person said which state is the right one, by any clock.
    assert_eq!(with(|p| p.void_before = NOW), Err(Code::ApprovalInvalid));
    let just = with(|p| p.void_before = TimeMs(NOW.0 - SIGNER_AHEAD_MAX_MS));
    assert_eq!(just, Err(Code::ApprovalInvalid));
    with(|p| p.void_before = TimeMs(NOW.0 - SIGNER_AHEAD_MAX_MS - 1)).unwrap();
}

#[test]
fn an_end_is_signed_by_an_operator_of_this_executor_whatever_their_level() {
    let end = |key: &OperatorKey| {
        StandingEnd {
            mesh_id: MeshId::of_name("m"),
            executor: device(1).id().clone(),
            approval: approval().id(),
            operator_id: ana().id().clone(),
            ended_at: NOW,
            note: None,
        }
        .sign(key)
    };
    let mut place = Place::new();
    place.operator = operator(&ana(), Level::L1, 1);
    let ends = |place: &Place, end| admit_end(&end, &place.at(), &place.known(), NOW);
    ends(&place, end(&ana())).unwrap();
    ends(&place, end(&OperatorKey::from_seed(&[51; 32]))).unwrap_err();
    place.revoked = true;
    ends(&place, end(&ana())).unwrap_err();
}

#[test]
fn it_is_a_vote_on_what_it_says_and_on_nothing_else() {
    let place = Place::new();
    let vote = Wished::new().votes(&place, 1, NOW).unwrap();
    assert_eq!(vote.verdict(), Verdict::Approve);
    let used = vote.by_standing().unwrap();
    assert_eq!((used.number, used.of, used.id), (2, 3, approval().id()));
    let words = vote.with_key();
    let id = short(&approval().id());
    assert_eq!(words, format!("ana (standing approval {id}, use 2 of 3)"));

    let changes: [fn(&mut Wished); 14] = [
        |w| w.action = action(json!({"durationSec": 601, "gear": "low"})),
        |w| w.action = action(json!({"durationSec": 59, "gear": "low"})),
        |w| w.action = action(json!({"durationSec": "600", "gear": "low"})),
        |w| w.action = action(json!({"durationSec": 600, "gear": "high"})),
        |w| w.action = action(json!({"durationSec": 600})),
        |w| w.action = action(json!({"durationSec": 600, "gear": "low", "force": true})),
        |w| w.action.operation = "reverse".into(),
        |w| w.run_ms = 600_001,
        |w| w.level = Level::L3,
        |w| w.requester = Requester::Llm,
        |w| w.taint = [Taint::Llm].into(),
        |w| w.sources = [EvidenceSource::Sensor, EvidenceSource::Llm].into(),
        |w| w.led_by = Some(device(9).id().clone()),
        |w| w.action.target = "actuator:pump:other".parse().unwrap(),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut wished = Wished::new();
        change(&mut wished);
        assert!(wished.votes(&place, 0, NOW).is_err(), "change {n}");
    }
    assert!(Wished::new().votes(&place, 3, NOW).is_err(), "used up");
    for outside in [TimeMs(NOW.0 - 1), NOW.plus(6 * HOUR)] {
        assert!(Wished::new().votes(&place, 0, outside).is_err());
    }
    let mut ended = Place::new();
    ended.revoked = true;
    assert!(Wished::new().votes(&ended, 0, NOW).is_err());
}

#[test]
fn a_device_vouches_for_nobody_who_approves_what_it_asks_for() {
    let mut place = Place::new();
    place.operator = operator(&ana(), Level::L2, 8);
    place.issuer = device(8);
    let mut wished = Wished::new();
    wished.votes(&place, 0, NOW).unwrap();
    wished.asked_by = device(8);
    let refused = wished.votes(&place, 0, NOW).unwrap_err();
    assert_eq!(refused.code, Code::SelfVouched);
}

proptest! {
    #[test]
    fn a_number_outside_its_bounds_is_never_taken(min in -1e6..1e6f64, more in 0.0..1e6f64, value in -3e6..3e6f64) {
        let max = min + more;
        let number = |n: f64| Number::from_f64(n).unwrap();
        let range = Allowed::Range { min: number(min), max: number(max) };
        prop_assert_eq!(range.takes(&json!(value)), min <= value && value <= max);
        let exact = Allowed::Value { is: json!(value) };
        prop_assert!(exact.takes(&json!(value)) && !exact.takes(&json!(value.to_string())));
    }
}
