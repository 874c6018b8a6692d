//! The families that hold what is decided and done: proposals, decisions, runs, drafts, commands,
//! audit, trust, operators, single values.

use serde_json::json;

use super::*;
use crate::adapters::store::operators::SignedRevocation;
use crate::adapters::store::proposals::{Found, NewProposal};
use crate::adapters::store::{
    approvals, audit, commands, drafts, kv, operators, proposals, runs, trust,
};
use crate::domain::admission::TrustRecord;
use crate::domain::base::{DraftId, MeshId, ProposalId};
use crate::domain::gate::approval::Verdict;
use crate::domain::gate::operators::{OperatorRecord, OperatorRevocation, SignedOperator};
use crate::domain::gate::{Decision, SignedDecision};
use crate::domain::identity::{DeviceKey, OperatorKey, Signature};
use crate::domain::policy::Level;
use crate::domain::proposal::{Outcome, Status};

fn proposal_id(text: &str) -> ProposalId {
    text.parse().unwrap()
}

fn proposal(id: &str) -> NewProposal {
    NewProposal {
        id: proposal_id(id),
        executor: device(1),
        intent_key: format!("intent-{id}"),
        status: Status::AwaitingApproval,
        level: Level::L2,
        target: "actuator:pump:p1".into(),
        operation: "start".into(),
        record:
            json!({"proposalId": id, "requestedBy": {"deviceId": device(7)}, "evidence": [{"frameId": "frame-1", "origin": device(3)}], "reason": "see frame-2"})
                .to_string(),
        digest: Digest::of(&[id.as_bytes()]),
        signature: "sig".into(),
        own: true,
        created_at: TimeMs(100),
        expires_at: TimeMs(900),
        updated_at: TimeMs(100),
        draft_id: format!("draft-{id}").parse().unwrap(),
    }
}

fn mirror(id: &str) -> NewProposal {
    NewProposal {
        executor: device(2),
        own: false,
        ..proposal(id)
    }
}

fn outcome() -> Outcome {
    Outcome {
        status: Status::Completed,
        detail: "done".into(),
        started_at: TimeMs(200),
        ended_at: TimeMs(300),
        actuator_state: None,
    }
}

#[test]
fn a_proposal_is_found_by_id_prefix_draft_intent_and_evidence() {
    let (_dir, c) = conn();
    for id in ["aa-1", "aa-2", "b"] {
        proposals::insert(&c, &proposal(id)).unwrap();
    }
    proposals::upsert_mirror(&c, &mirror("bb"), 3, None, None).unwrap();
    let row = proposals::get(&c, &proposal_id("aa-1")).unwrap().unwrap();
    assert_eq!(
        (row.status, row.level, row.revision, row.own),
        (Status::AwaitingApproval, Level::L2, 1, true)
    );
    assert_eq!(
        (row.record, row.digest),
        (proposal("aa-1").record, proposal("aa-1").digest)
    );
    let found = |prefix: &str| match proposals::by_prefix(&c, prefix).unwrap() {
        Found::None => vec![],
        Found::One(row) => vec![row.id.to_string()],
        Found::Ambiguous(ids) => ids.iter().map(|i| i.to_string()).collect(),
    };
    assert_eq!(found("aa-2"), ["aa-2"]);
    assert_eq!(found("aa"), ["aa-1", "aa-2"]);
    assert_eq!(found("b"), ["b"], "a full id is never ambiguous");
    assert_eq!(found("x"), [""; 0]);
    assert_eq!(found(""), [""; 0]);
    let draft = |id: &str| {
        let id = format!("draft-{id}").parse::<DraftId>().unwrap();
        proposals::by_draft(&c, &id, &device(7)).unwrap()
    };
    assert_eq!(draft("b").unwrap().id.as_str(), "b");
    assert_eq!(draft("bb"), None, "a mirror is nobody's own");
    let id = "draft-b".parse::<DraftId>().unwrap();
    let of_another = proposals::by_draft(&c, &id, &device(8)).unwrap();
    assert_eq!(of_another, None, "a draft's id belongs to its device");
    let open_on = |target: &str| proposals::open_on(&c, &device(1), target).unwrap();
    assert!(open_on("actuator:pump:p2").is_empty());
    let open = open_on("actuator:pump:p1");
    assert!(open.iter().any(|r| r.id.as_str() == "b") && open.iter().all(|r| r.own));
    assert_eq!(
        proposals::citing(&c, &frame_id(1), &device(3))
            .unwrap()
            .len(),
        4
    );
    assert_eq!(proposals::citing(&c, &frame_id(1), &device(4)).unwrap(), []);
    assert_eq!(
        proposals::citing(&c, &frame_id(2), &device(3))
            .unwrap()
            .len(),
        0,
        "a mention is no evidence"
    );
    assert_eq!(proposals::open_list(&c, 10).unwrap().len(), 4);
    assert_eq!(proposals::own_open(&c, 10).unwrap().len(), 3);
    assert_eq!(proposals::waiting_count(&c).unwrap(), 3);
    let all = proposals::list(&c, false, 10).unwrap();
    for (n, row) in all.iter().enumerate() {
        let after = proposals::list_after(&c, false, (row.created_at, &row.id), 10).unwrap();
        assert_eq!(after[..], all[n + 1..], "the rest of the list");
    }
    // However many others have, this node's own are among the newest.
    let newest = proposals::newest(&c, true, 1).unwrap();
    let own: Vec<bool> = newest.iter().map(|row| row.own).collect();
    assert_eq!((own.len(), own.contains(&true)), (2, true));
    // Of one moment and read page by page, none is left out and none comes twice.
    for page in [1, 2, 3, 10] {
        let all = proposals::own_open_all(&c, page).unwrap();
        let ids: Vec<&str> = all.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["aa-1", "aa-2", "b"], "{page} at a time");
    }
}

#[test]
fn one_open_proposal_per_intent() {
    let (_dir, c) = conn();
    let twin = NewProposal {
        intent_key: "intent-a".into(),
        ..proposal("b")
    };
    proposals::insert(&c, &proposal("a")).unwrap();
    assert!(proposals::insert(&c, &twin).is_err());
    assert!(
        proposals::insert(&c, &proposal("a")).is_err(),
        "nor twice the same id"
    );
    let (from, to) = (Status::AwaitingApproval, Status::Rejected);
    assert!(proposals::transition(&c, &proposal_id("a"), from, to, TimeMs(5), None).unwrap());
    proposals::insert(&c, &twin).unwrap();
}

#[test]
fn a_proposal_moves_only_from_where_it_stands_and_counts_up() {
    let (_dir, c) = conn();
    proposals::insert(&c, &proposal("a")).unwrap();
    let id = proposal_id("a");
    let step =
        |from, to, reason| proposals::transition(&c, &id, from, to, TimeMs(200), reason).unwrap();
    assert!(!step(Status::Approved, Status::Executing, None));
    assert!(step(
        Status::AwaitingApproval,
        Status::Approved,
        Some("yes")
    ));
    assert!(
        !step(Status::AwaitingApproval, Status::Rejected, None),
        "decided only once"
    );
    assert_eq!(proposals::executing_on(&c, "actuator:pump:p1").unwrap(), []);
    assert!(step(Status::Approved, Status::Executing, None));
    assert_eq!(
        proposals::executing_on(&c, "actuator:pump:p1").unwrap(),
        std::slice::from_ref(&id)
    );
    proposals::set_outcome(&c, &id, &outcome()).unwrap();
    assert!(step(Status::Executing, Status::Completed, None));
    let row = proposals::get(&c, &id).unwrap().unwrap();
    assert_eq!(
        (row.status, row.revision, row.updated_at),
        (Status::Completed, 4, TimeMs(200))
    );
    assert_eq!(row.reason.as_deref(), Some("yes"));
    assert_eq!(
        serde_json::from_str::<Outcome>(&row.outcome.unwrap()).unwrap(),
        outcome()
    );
    assert!(proposals::set_outcome(&c, &proposal_id("nobody"), &outcome()).is_err());
    assert_eq!(
        proposals::own_changed_since(&c, TimeMs(200), false)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        proposals::own_changed_since(&c, TimeMs(201), false)
            .unwrap()
            .len(),
        0
    );
    proposals::insert(&c, &proposal("b")).unwrap();
    assert_eq!(
        proposals::own_changed_since(&c, TimeMs(201), true)
            .unwrap()
            .len(),
        1,
        "open ones always"
    );
}

#[test]
fn a_mirror_takes_only_news_and_never_touches_what_is_ours() {
    let (_dir, c) = conn();
    let take = |new: &NewProposal, revision| {
        proposals::upsert_mirror(&c, new, revision, Some(&outcome()), Some("why")).unwrap()
    };
    let done = NewProposal {
        status: Status::Completed,
        ..mirror("m")
    };
    assert!(take(&mirror("m"), 2));
    assert!(!take(&done, 2) && !take(&done, 1), "not newer");
    assert!(take(&done, 3));
    let row = proposals::get(&c, &proposal_id("m")).unwrap().unwrap();
    assert_eq!(
        (row.status, row.revision, row.own),
        (Status::Completed, 3, false)
    );
    assert!(
        !take(
            &NewProposal {
                executor: device(3),
                ..done.clone()
            },
            9
        ),
        "another executor"
    );
    assert!(
        !take(
            &NewProposal {
                digest: Digest([9; 32]),
                ..done.clone()
            },
            9
        ),
        "another record"
    );
    proposals::insert(&c, &proposal("a")).unwrap();
    assert!(
        !take(
            &NewProposal {
                executor: device(1),
                ..proposal("a")
            },
            99
        ),
        "ours"
    );
    let moved = proposals::transition(
        &c,
        &proposal_id("m"),
        Status::Completed,
        Status::Failed,
        TimeMs(1),
        None,
    );
    assert!(!moved.unwrap(), "only its executor moves it");
}

#[test]
fn runs_are_started_once_and_counted() {
    let (_dir, c) = conn();
    for id in ["a", "b"] {
        proposals::insert(&c, &proposal(id)).unwrap();
    }
    let start = |id: &str, at| {
        runs::start(
            &c,
            &proposal_id(id),
            "rule",
            "pump",
            "start",
            TimeMs(at),
            1_000,
        )
    };
    start("a", 100).unwrap();
    assert!(start("a", 200).is_err(), "a proposal runs once");
    runs::end(&c, &proposal_id("a"), TimeMs(350), Status::Completed).unwrap();
    runs::end(&c, &proposal_id("a"), TimeMs(999), Status::Failed).unwrap();
    start("b", 400).unwrap();
    let rows = runs::since(&c, TimeMs(0)).unwrap();
    assert_eq!(
        (rows[0].ended_at, rows[0].outcome.as_deref()),
        (Some(TimeMs(350)), Some("completed"))
    );
    assert_eq!((rows[1].ended_at, rows[1].planned_ms), (None, 1_000));
    assert_eq!(
        runs::since(&c, TimeMs(300)).unwrap().len(),
        2,
        "the first was still under way"
    );
    assert_eq!(runs::since(&c, TimeMs(360)).unwrap().len(), 1);
    assert_eq!(
        runs::total(&c, "rule", "pump", TimeMs(0)).unwrap(),
        runs::Total { runs: 2, ms: 1_250 }
    );
    assert_eq!(
        runs::total(&c, "other", "pump", TimeMs(0)).unwrap(),
        runs::Total::default()
    );
}

fn decision(key: &OperatorKey, verdict: Verdict) -> SignedDecision {
    let decision = Decision {
        verdict,
        mesh_id: MeshId::of_name("test"),
        executor: device(1),
        proposal_id: proposal_id("a"),
        digest: Digest([1; 32]),
        operator_id: key.id().clone(),
        decided_at: TimeMs(5),
        note: None,
        channel: None,
        at_node: None,
    };
    decision.sign(key)
}

#[test]
fn an_operators_last_word_stands() {
    let (_dir, c) = conn();
    let (anna, ben) = (
        OperatorKey::from_seed(&[1; 32]),
        OperatorKey::from_seed(&[2; 32]),
    );
    let yes = decision(&anna, Verdict::Approve);
    assert!(
        approvals::put(&c, &yes, TimeMs(1)).is_err(),
        "about a proposal nobody knows"
    );
    proposals::insert(&c, &proposal("a")).unwrap();
    approvals::put(&c, &yes, TimeMs(1)).unwrap();
    approvals::put(&c, &decision(&ben, Verdict::Approve), TimeMs(2)).unwrap();
    let no = decision(&anna, Verdict::Reject);
    approvals::put(&c, &no, TimeMs(3)).unwrap();
    let standing = approvals::of(&c, &proposal_id("a")).unwrap();
    assert_eq!(standing, [decision(&ben, Verdict::Approve), no]);
}

#[test]
fn drafts_wait_and_then_do_not() {
    let (_dir, c) = conn();
    let mut draft = drafts::DraftRow {
        id: "d1".parse().unwrap(),
        executor: Some(device(1)),
        target: "actuator:pump:p1".into(),
        json: "{}".into(),
        status: drafts::DraftStatus::Waiting,
        code: Some("EXECUTOR_UNREACHABLE".into()),
        message: Some("away".into()),
        created_at: TimeMs(1),
        expires_at: TimeMs(2),
        proposal_id: None,
    };
    drafts::put(&c, &draft).unwrap();
    assert_eq!(drafts::waiting(&c).unwrap(), [draft.clone()]);
    assert_eq!(drafts::waiting_count(&c).unwrap(), 1);
    draft.status = drafts::DraftStatus::Delivered;
    draft.proposal_id = Some(proposal_id("p"));
    drafts::put(&c, &draft).unwrap();
    assert_eq!(
        (
            drafts::waiting(&c).unwrap().len(),
            drafts::waiting_count(&c).unwrap()
        ),
        (0, 0)
    );
    assert_eq!(drafts::list(&c, 10).unwrap(), [draft.clone()]);
    assert_eq!(drafts::get(&c, &draft.id).unwrap(), Some(draft));
}

#[test]
fn a_command_is_new_once_per_sender() {
    let (_dir, c) = conn();
    let come = |from: u8, at| {
        commands::remember(&c, &device(from), "c1", Some("key"), TimeMs(at)).unwrap()
    };
    assert!(come(1, 10));
    assert!(!come(1, 20));
    assert!(come(2, 30), "ids are the sender's own");
    commands::set_proposal(&c, &device(1), "c1", &proposal_id("p")).unwrap();
    let row = commands::get(&c, &device(1), "c1").unwrap().unwrap();
    assert_eq!(
        (row.received_at, row.proposal_id),
        (TimeMs(10), Some(proposal_id("p")))
    );
    assert_eq!(commands::prune(&c, TimeMs(30)).unwrap(), 1);
    assert!(commands::get(&c, &device(1), "c1").unwrap().is_none());
}

#[test]
fn the_audit_chain_shows_every_kind_of_tampering() {
    let (_dir, c) = conn();
    let key = DeviceKey::from_seed(&[3; 32]);
    let verify = |message: &[u8], signature: &str| {
        Signature::from_text(signature).is_ok_and(|s| key.public().verify_strict(message, &s))
    };
    assert_eq!(audit::check(&c, verify).unwrap().faults, [""; 0]);
    for n in 1..=5 {
        let entry = json!({"subject": format!("s{}", n % 2), "n": n});
        audit::append(&c, TimeMs(n), &entry, |m| key.sign(m).to_text()).unwrap();
    }
    let good = audit::check(&c, verify).unwrap();
    assert_eq!((good.entries, good.head.seq, good.faults.len()), (5, 5, 0));
    assert_eq!(
        audit::page(&c, None, 2)
            .unwrap()
            .iter()
            .map(|e| e.seq)
            .collect::<Vec<_>>(),
        [5, 4]
    );
    assert_eq!(audit::page(&c, Some(2), 9).unwrap().len(), 1);
    assert_eq!(audit::after(&c, 3, 9).unwrap().len(), 2);
    assert_eq!(audit::about(&c, "s1", 9).unwrap().len(), 3);
    let tampering = [
        "UPDATE audit SET json = '{}' WHERE seq = 3",
        "UPDATE audit SET prev = zeroblob(32) WHERE seq = 3",
        "UPDATE audit SET signature = (SELECT signature FROM audit WHERE seq = 1) WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq >= 4",
        "DELETE FROM audit",
    ];
    for sql in tampering {
        c.execute_batch("BEGIN").unwrap();
        c.execute(sql, []).unwrap();
        assert!(
            !audit::check(&c, verify).unwrap().faults.is_empty(),
            "{sql}"
        );
        c.execute_batch("ROLLBACK").unwrap();
    }
    assert!(!audit::check(&c, |_, _| false).unwrap().faults.is_empty());
}

#[test]
fn trust_records_are_kept_whole() {
    let (_dir, c) = conn();
    let mut record = TrustRecord::new(
        device(1),
        None,
        Some("pump house".into()),
        "relay,read".parse().unwrap(),
        TimeMs(1),
    );
    trust::put(&c, &record).unwrap();
    record.revoked_at = Some(TimeMs(2));
    trust::put(&c, &record).unwrap();
    assert_eq!(trust::get(&c, &device(1)).unwrap(), Some(record.clone()));
    assert_eq!(trust::all(&c).unwrap(), [record]);
    assert!(trust::remove(&c, &device(1)).unwrap());
    assert!(!trust::remove(&c, &device(1)).unwrap());
}

#[test]
fn a_revocation_is_never_taken_back() {
    let (_dir, c) = conn();
    let issuer = DeviceKey::from_seed(&[4; 32]);
    let person = OperatorKey::from_seed(&[5; 32]);
    let record = OperatorRecord {
        operator_id: person.id().clone(),
        public_key: *person.public(),
        name: "Anna".into(),
        person: None,
        max_level: Level::L2,
        issuer: issuer.id().clone(),
        issued_at: TimeMs(1),
        expires_at: None,
    };
    let signed = SignedOperator::issue(record, &issuer);
    let end = |reason: &str| {
        let revocation = OperatorRevocation {
            operator_id: person.id().clone(),
            issuer: issuer.id().clone(),
            revoked_at: TimeMs(2),
            reason: reason.into(),
        };
        SignedRevocation {
            signature: revocation.sign(&issuer),
            revocation,
        }
    };
    assert!(
        operators::revoke(&c, &end("lost")).unwrap(),
        "it may come before the record"
    );
    assert_eq!(operators::get(&c, person.id()).unwrap(), None);
    operators::put(&c, &signed).unwrap();
    assert!(!operators::revoke(&c, &end("again")).unwrap());
    operators::put(&c, &signed).unwrap();
    let row = operators::get(&c, person.id()).unwrap().unwrap();
    assert_eq!((row.signed, row.revocation), (signed, Some(end("lost"))));
    assert_eq!(operators::all(&c).unwrap().len(), 1);
    assert!(
        c.execute("UPDATE operators SET revocation = NULL", [])
            .is_err()
    );
}

#[test]
fn values_are_kept_by_name() {
    let (_dir, c) = conn();
    assert_eq!(kv::get(&c, "a").unwrap(), None);
    kv::put(&c, "a", b"1").unwrap();
    kv::put(&c, "a", b"2").unwrap();
    assert_eq!(kv::get(&c, "a").unwrap(), Some(b"2".to_vec()));
    assert!(kv::delete(&c, "a").unwrap());
    assert!(!kv::delete(&c, "a").unwrap());
}
