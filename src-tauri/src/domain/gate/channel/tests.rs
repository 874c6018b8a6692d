//! Decisions through channels: what the executor takes them for, and each reason for which it does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::domain::base::ProposalId;
use crate::domain::gate::approval::{Known, VerifiedApproval, verify, verify_through};
use crate::domain::gate::records::{Carried, Record};
use crate::domain::gate::{OperatorRecord, SignedDecision, SignedOperator};
use crate::domain::identity::DeviceKey;

const NOW: TimeMs = TimeMs(1_767_268_800_000);
const HOUR: u64 = 3_600_000;

fn device(n: u8) -> DeviceKey {
    DeviceKey::from_seed(&[n; 32])
}

fn hand(n: u8) -> OperatorKey {
    OperatorKey::from_seed(&[n; 32])
}

fn phone() -> OperatorKey {
    hand(90)
}

fn channel() -> Channel {
    Channel {
        version: 1,
        mesh_id: MeshId::of_name("m"),
        kind: ChannelKind::Telegram,
        node: device(2).id().clone(),
        operator_id: hand(50).id().clone(),
        channel_key: *phone().public(),
        max_level: Level::L2,
        actions_per_hour: 3,
        own_wishes: true,
        given_at: TimeMs(NOW.0 - HOUR),
        valid_until: NOW.plus(HOUR),
        nonce: "0123456789abcdef".into(),
    }
}

fn through() -> Through {
    Through {
        ended: false,
        node_trusted: true,
        used: 0,
    }
}

/// What an executor is asked to take for ana's word.
struct Case {
    given: SignedChannel,
    signer: OperatorKey,
    through: Option<Through>,
    verdict: Verdict,
    level: Level,
    operator_level: Level,
    asked_by: DeviceKey,
    led_by: Option<DeviceId>,
    origins: Vec<DeviceId>,
    executor: DeviceKey,
    operator: OperatorKey,
    revoked: bool,
}

impl Case {
    fn of(channel: Channel) -> Self {
        Self {
            given: channel.sign(&hand(50)),
            signer: phone(),
            through: Some(through()),
            verdict: Verdict::Approve,
            level: Level::L2,
            operator_level: Level::L3,
            asked_by: device(1),
            led_by: None,
            origins: Vec::new(),
            executor: device(1),
            operator: hand(50),
            revoked: false,
        }
    }

    fn signed(&self) -> SignedDecision {
        Decision {
            verdict: self.verdict,
            mesh_id: MeshId::of_name("m"),
            executor: self.executor.id().clone(),
            proposal_id: "p1".parse::<ProposalId>().unwrap(),
            digest: Digest([7; 32]),
            operator_id: self.operator.id().clone(),
            decided_at: NOW,
            note: None,
            channel: Some(Box::new(self.given.clone())),
            at_node: None,
        }
        .sign(&self.signer)
    }

    fn taken(&self) -> Result<VerifiedApproval, Code> {
        let record = OperatorRecord {
            operator_id: hand(50).id().clone(),
            public_key: *hand(50).public(),
            name: "ana".into(),
            person: None,
            max_level: self.operator_level,
            issuer: self.executor.id().clone(),
            issued_at: TimeMs(NOW.0 - 2 * HOUR),
            expires_at: None,
        };
        let own = &self.executor;
        let operator = SignedOperator::issue(record, own);
        let known = Known {
            operator: &operator,
            person: &operator.record.operator_id,
            issuer_key: Some(own.public()),
            revoked: self.revoked,
        };
        let proposal = "p1".parse::<ProposalId>().unwrap();
        let (mesh, digest) = (MeshId::of_name("m"), Digest([7; 32]));
        let subject = Subject {
            mesh_id: &mesh,
            executor: self.executor.id(),
            proposal_id: &proposal,
            digest: &digest,
            level: self.level,
            asked_by: self.asked_by.id(),
            led_by: self.led_by.as_ref(),
            origins: &self.origins.iter().collect::<Vec<_>>(),
            created_at: NOW,
            expires_at: NOW.plus(HOUR),
        };
        let signed = self.signed();
        let taken = match &self.through {
            None => verify(&signed, &subject, &known, NOW),
            some => verify_through(&signed, &subject, &known, some.as_ref(), NOW),
        };
        taken.map_err(|refusal| refusal.code)
    }
}

#[test]
fn a_decision_through_a_channel_is_the_persons_up_to_its_ceiling_and_is_shown_as_such() {
    let vote = Case::of(channel()).taken().unwrap();
    assert_eq!(vote.person(), hand(50).id());
    assert_eq!(
        vote.max_level(),
        Level::L2,
        "the person's own reaches to L3"
    );
    let id: String = channel().id().to_hex().chars().take(8).collect();
    let node = device(2).id().short().to_owned();
    let words = format!("ana through telegram at node {node} (channel {id})");
    assert_eq!(vote.with_key(), words);
    // Counted apart from the person's own decisions.
    let signed = Case::of(channel()).signed();
    assert_eq!(signed.decision.counted_as(), *phone().id());
}

#[test]
fn what_nobody_gave_counts_for_nothing() {
    let refused = |case: Case, code: Code| assert_eq!(case.taken().unwrap_err(), code);
    let mut forged = Case::of(channel());
    forged.given = channel().sign(&hand(51));
    refused(forged, Code::ApprovalInvalid);
    // Raised after it was signed.
    let mut raised = Case::of(channel());
    raised.given.channel.actions_per_hour = 60;
    refused(raised, Code::ApprovalInvalid);
    // Signed with another key than the channel's, also the person's own.
    for key in [hand(91), hand(50)] {
        let mut other = Case::of(channel());
        other.signer = key;
        refused(other, Code::ApprovalInvalid);
    }
    // In the name of another person.
    let mut other = Case::of(channel());
    other.operator = hand(51);
    refused(other, Code::ApprovalInvalid);
    // An executor that does not look at channels takes none.
    let mut unseen = Case::of(channel());
    unseen.through = None;
    refused(unseen, Code::ApprovalInvalid);
    // The channel key alone is nobody's: without the record it signs for no one.
    let mut bare = Case::of(channel()).signed();
    bare.decision.channel = None;
    assert!(!bare.is_signed_by(hand(50).public()));
}

#[test]
fn its_ceiling_rate_end_time_and_node_are_the_executors_to_judge() {
    type Change = fn(&mut Case);
    let cases: [(Change, Code); 10] = [
        (|c| c.level = Level::L3, Code::OperatorLevelTooLow),
        (|c| c.through.as_mut().unwrap().used = 3, Code::RateExceeded),
        (
            |c| c.through.as_mut().unwrap().ended = true,
            Code::OperatorRevoked,
        ),
        (
            |c| c.through.as_mut().unwrap().node_trusted = false,
            Code::NotAuthorized,
        ),
        (|c| c.revoked = true, Code::OperatorRevoked),
        (
            |c| {
                let mut other = channel();
                other.given_at = NOW.plus(SIGNER_AHEAD_MAX_MS + 1);
                c.given = other.sign(&hand(50));
            },
            Code::ApprovalInvalid,
        ),
        (|c| c.operator_level = Level::L1, Code::OperatorLevelTooLow),
        (
            |c| {
                let mut other = channel();
                other.valid_until = NOW;
                c.given = other.sign(&hand(50));
            },
            Code::OperatorExpired,
        ),
        (
            |c| {
                let mut other = channel();
                other.mesh_id = MeshId::of_name("n");
                c.given = other.sign(&hand(50));
            },
            Code::WrongMesh,
        ),
        (
            |c| {
                let mut other = channel();
                other.max_level = Level::L3;
                c.given = other.sign(&hand(50));
            },
            Code::InvalidParams,
        ),
    ];
    for (at, (change, code)) in cases.into_iter().enumerate() {
        let mut case = Case::of(channel());
        change(&mut case);
        assert_eq!(case.taken().unwrap_err(), code, "{at}");
    }
    let mut at_limit = Case::of(channel());
    at_limit.through.as_mut().unwrap().used = 2;
    assert!(at_limit.taken().is_ok());
    // A no is never one too many.
    let mut no = Case::of(channel());
    (no.verdict, no.level) = (Verdict::Reject, Level::L3);
    no.through.as_mut().unwrap().used = 99;
    assert!(no.taken().is_ok());
}

#[test]
fn a_node_whose_channel_is_for_wishes_of_others_approves_none_of_its_own() {
    let parts: [fn(&mut Case); 3] = [
        |case| case.led_by = Some(device(2).id().clone()),
        |case| case.asked_by = device(2),
        // It feeds the reading that makes another node's rule ask.
        |case| case.origins = vec![device(3).id().clone(), device(2).id().clone()],
    ];
    for part in parts {
        for (own_wishes, at_itself) in [(true, false), (false, false), (false, true)] {
            let mut channel = channel();
            channel.own_wishes = own_wishes;
            let mut case = Case::of(channel);
            part(&mut case);
            if at_itself {
                case.executor = device(2);
            }
            let right = match own_wishes || at_itself {
                true => Ok(()),
                false => Err(Code::SelfVouched),
            };
            assert_eq!(case.taken().map(drop), right);
        }
    }
}

#[test]
fn the_end_of_a_channel_is_proven_by_who_says_it() {
    let key = hand(50);
    let end = ChannelEnd {
        mesh_id: MeshId::of_name("m"),
        channel: channel().id(),
        operator_id: key.id().clone(),
        issuer: key.public().device_id(),
        ended_at: NOW,
        note: None,
    };
    let signed = end.clone().sign(&key);
    let record = |end: ChannelEnd| Record::ChannelEnd {
        end,
        signature: signed.signature,
    };
    let carried = |key: &OperatorKey, end| Carried {
        key: *key.public(),
        record: record(end),
    };
    assert!(carried(&key, end.clone()).prove().is_some());
    assert!(carried(&hand(51), end.clone()).prove().is_none());
    let mut altered = end.clone();
    altered.channel = Digest([1; 32]);
    assert!(carried(&key, altered).prove().is_none());
    // In the name of another key.
    let mut other = end;
    other.issuer = hand(51).public().device_id();
    assert!(carried(&key, other).prove().is_none());
}

#[test]
fn a_decision_without_a_channel_reads_and_signs_as_it_did() {
    let mut plain = Case::of(channel()).signed().decision;
    plain.channel = None;
    let text = serde_json::to_string(&plain).unwrap();
    assert!(!text.contains("channel"), "{text}");
    let read: Decision = serde_json::from_str(&text).unwrap();
    assert_eq!(read, plain);
    let with = Case::of(channel()).signed();
    let read: SignedDecision = serde_json::from_value(serde_json::json!(with)).unwrap();
    assert_eq!(read, with);
    assert!(read.is_signed_by(hand(50).public()));
}

#[test]
fn a_channel_of_a_kind_that_is_not_known_does_not_read_and_the_reason_names_it() {
    let mut later = serde_json::json!(Case::of(channel()).signed());
    for kind in ChannelKind::ALL {
        later["decision"]["channel"]["channel"]["kind"] = serde_json::json!(kind.to_string());
        let read: SignedDecision = serde_json::from_value(later.clone()).unwrap();
        assert_eq!(read.decision.channel.unwrap().channel.kind, kind);
    }
    later["decision"]["channel"]["channel"]["kind"] = serde_json::json!("fax");
    let why = serde_json::from_value::<SignedDecision>(later).unwrap_err();
    assert!(why.to_string().contains("unknown variant `fax`"), "{why}");
}
