//! A trusted device floods: it uses up a share of its own, is told so and shown, and takes nothing from
//! anybody else.

use clawmesh::adapters::store::{events, facts, frames, proposals, records, usage};
use clawmesh::domain::admission::budget::{Cause, Share};
use clawmesh::domain::base::limits::{
    BUDGET_EVENTS_PER_MINUTE, BUDGET_MINTED_PER_HOUR, BUDGET_MIRRORS, BUDGET_ORIGINS,
    BUDGET_RECORDS, BUDGET_STOPS_PER_HOUR, REFUSALS_PER_MINUTE,
};
use clawmesh::domain::base::{Code, DeviceId, DraftId, MeshId, TimeMs};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::gate::records::{DeviceRevocation, Record};
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::{Requester, STARTER_POLICY};
use clawmesh::domain::proposal::{ProposalRecord, SignedProposal};
use clawmesh::node::Handles;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::proposals as wishes;
use serde_json::{Value, json};

use crate::bad_frames::frame_of;
use crate::bad_peers::refusals;
use crate::harness::{MESH, Probe, Setup, TestNode, field, key, until};
use crate::main_job::{decision, draft, mint, operator};

const PEER: &str = "observe:T2,relay,read,plan,actuate";

pub async fn node() -> TestNode {
    let setup = field().trusting(key(1), "observe:T2,relay,read,admin");
    setup.trusting(key(2), PEER).start().await
}

pub async fn kin(node: &TestNode, me: u8) -> Probe {
    let mut probe = Probe::open(node.address).await;
    let all = json!(["sig", "revocations", "proposals"]);
    let reply = probe
        .handshake(&key(me), MESH, |params| {
            params.insert("features".into(), all);
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    probe
}

pub fn ended(device: DeviceId, by: &DeviceKey) -> Value {
    let revocation = DeviceRevocation {
        mesh_id: MeshId::of_name(MESH),
        device_id: device,
        issuer: by.id().clone(),
        revoked_at: TimeMs(5),
    };
    json!({"key": by.public(), "record": Record::revoke_device(revocation, by)})
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_records_stop_no_real_revocation_and_go_with_the_trust() {
    let node = node().await;
    let mut liar = kin(&node, 2).await;
    let invented = key(60);
    for page in 0..4_u8 {
        let junk = (0..200).map(|n| {
            ended(
                DeviceId::of_public_key(&[page ^ 99, n].repeat(16).try_into().unwrap()),
                &invented,
            )
        });
        let junk: Vec<Value> = junk.collect();
        liar.event("records.page", json!({"records": junk})).await;
    }
    until("what is over the share is refused", || async {
        (refusals(&node, "OVER_BUDGET") >= 800 - BUDGET_RECORDS).then_some(())
    })
    .await;
    let shared = node.shared();
    let stands = || {
        shared
            .alarms
            .stands(AlarmKind::OverBudget, key(2).id().as_str())
    };
    assert!(stands(), "a person sees who it is");
    let used = |c: &rusqlite::Connection| usage::used(c, key(2).id(), Share::Records, TimeMs(0));
    assert_eq!(shared.store.read("t", used).await.unwrap(), BUDGET_RECORDS);
    the_door_tells_what_it_uses(&node).await;

    // What a trusted issuer says about a device that is known here has room all the same.
    let mut admin = kin(&node, 1).await;
    let real = ended(key(2).id().clone(), &key(1));
    admin
        .event("records.page", json!({"records": [real]}))
        .await;
    until(
        "the liar is no longer trusted, and its leavings are gone",
        || async {
            let waiting = shared.store.read("t", records::waiting).await.unwrap();
            let gone = !shared.trust.trusts(key(2).id()) && waiting.is_empty();
            (gone && !stands()).then_some(())
        },
    )
    .await;
}

/// The trust record of the second device shows each of its shares as the store counts it.
async fn the_door_tells_what_it_uses(node: &TestNode) {
    let shared = node.shared();
    let door = clawmesh::operator::Door::new(shared.clone());
    let view = door.trust_one(key(2).id().as_str()).await.unwrap();
    let of = |kind: &str| view.usage.iter().find(|u| u.kind == kind).unwrap().clone();
    let records = of("records");
    assert_eq!(
        (records.used, records.limit),
        (BUDGET_RECORDS, BUDGET_RECORDS)
    );
    assert!(records.refused >= 800 - BUDGET_RECORDS, "{records:?}");
    assert_eq!(of("mirrors").refused, 0);
    let now = shared.now();
    let stored = move |c: &rusqlite::Connection| usage::all(c, key(2).id(), now);
    for (share, used) in shared.store.read("t", stored).await.unwrap() {
        assert_eq!(of(share.code()).used, used, "{share:?}");
    }
    assert_eq!(view.usage.len(), Share::ALL.len());
    let listed = door.trust().await.unwrap();
    assert!(listed.iter().all(|r| r.usage.len() == Share::ALL.len()));
}

/// An update about a proposal that the second device says it minted.
pub fn update(of: &ProposalRecord, n: usize, status: &str) -> Value {
    let mut record = of.clone();
    record.executor = key(2).id().clone();
    record.nonce = format!("nonce-{n}");
    record.proposal_id = ProposalRecord::id_for(&record.mesh_id, &record.executor, &record.nonce);
    let signed = SignedProposal::mint(record, &key(2)).unwrap();
    let mut update = signed.to_wire();
    update["status"] = json!(status);
    update["revision"] = json!(1);
    update
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_without_end_leave_this_nodes_proposals_in_sight() {
    let node = node().await;
    let shared = node.shared();
    let own = mint(&node, 10).await.signed;
    let mut liar = kin(&node, 2).await;
    let most = usize::try_from(BUDGET_MIRRORS).unwrap();
    // Ended ones make room for each other; open ones do not.
    for n in 0..60 {
        liar.event("proposal.update", update(own.record(), n, "completed"))
            .await;
    }
    for n in 60..60 + most + 20 {
        liar.event(
            "proposal.update",
            update(own.record(), n, "awaiting_approval"),
        )
        .await;
    }
    until("the rest is refused", || async {
        (refusals(&node, "OVER_BUDGET") >= 20).then_some(())
    })
    .await;
    let used = |c: &rusqlite::Connection| usage::used(c, key(2).id(), Share::Mirrors, TimeMs(0));
    assert_eq!(shared.store.read("t", used).await.unwrap(), BUDGET_MIRRORS);
    let mut huge = own.record().clone();
    huge.reason = "x".repeat(200_000);
    liar.event("proposal.update", update(&huge, 9_999, "awaiting_approval"))
        .await;
    until("a huge one is refused", || async {
        (refusals(&node, "TOO_LARGE") >= 1).then_some(())
    })
    .await;
    // So is each text that this version would not mint: a person has to read it.
    let longer: [fn(&mut ProposalRecord); 4] = [
        |r| r.reason = "x".repeat(2_001),
        |r| r.requested_by.name = "x".repeat(2_001),
        |r| r.rule = "x".repeat(129),
        |r| r.evidence[0].summary = "x".repeat(201),
    ];
    for (n, make) in (0..).zip(longer) {
        let mut long = own.record().clone();
        make(&mut long);
        let id = 10_000 + n;
        liar.event("proposal.update", update(&long, id, "completed"))
            .await;
        until("a long text is refused", || async {
            (refusals(&node, "TOO_LARGE") >= 2 + u64::try_from(n).unwrap()).then_some(())
        })
        .await;
    }
    let list = |c: &rusqlite::Connection| proposals::own_open(c, 10);
    assert_eq!(shared.store.read("t", list).await.unwrap().len(), 1);
    // Revoked: all of it goes.
    let door = clawmesh::operator::Door::new(shared.clone());
    door.trust_revoke(key(2).id().as_str()).await.unwrap();
    assert_eq!(shared.store.read("t", used).await.unwrap(), 0);
    let facts = |c: &rusqlite::Connection| facts::count(c);
    shared.store.read("t", facts).await.unwrap();
}

/// What a device's model asks for; what it cites is the node's own fresh reading.
async fn wish_of(shared: &Handles, device: u8, seconds: i64) -> Result<(), Code> {
    let wish = Draft {
        requester: Requester::Llm,
        ..draft(shared, seconds).await
    };
    let minted = wishes::mint(shared, wish, key(device).id()).await;
    minted.map(drop).map_err(|refusal| refusal.code)
}

fn planners() -> Setup {
    field().trusting(key(2), PEER).trusting(key(3), PEER)
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_end_at_once_use_up_an_hours_share_over_a_restart_too() {
    let node = planners().start().await;
    let shared = node.shared();
    wish_of(shared, 2, 1).await.unwrap();
    // As if all but the first of an hour had ended already.
    let most = BUDGET_MINTED_PER_HOUR;
    let ended = move |c: &rusqlite::Connection| {
        let columns = "executor, intent_key, 'expired', level, target, operation, record, digest, signature,
            own, created_at, expires_at, updated_at, draft_id, requester, outcome, reason, revision";
        for n in 1..most {
            let sql = format!(
                "INSERT INTO proposals SELECT '{n}-' || id, {columns} FROM proposals WHERE status = 'awaiting_approval'"
            );
            c.execute(&sql, [])?;
        }
        Ok(())
    };
    let durable = clawmesh::adapters::store::Class::Durable;
    shared.store.write(durable, "t", ended).await.unwrap();
    assert_eq!(wish_of(shared, 2, 2).await, Err(Code::OverBudget));
    let subject = key(2).id().clone();
    assert!(
        shared
            .alarms
            .stands(AlarmKind::OverBudget, subject.as_str())
    );
    let door = clawmesh::operator::Door::new(shared.clone());
    let view = door.trust_one(subject.as_str()).await.unwrap();
    let minted = view.usage.iter().find(|u| u.kind == "minted").unwrap();
    assert_eq!((minted.used, minted.limit, minted.refused), (most, most, 1));

    let dir = node.stop().await;
    let node = planners().start_in(dir, None).await;
    let shared = node.shared();
    assert_eq!(wish_of(shared, 2, 3).await, Err(Code::OverBudget));
    // It takes nothing from others, nor from this node itself.
    wish_of(shared, 3, 4).await.unwrap();
    mint(&node, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_whose_evidence_leaves_nobody_time_to_decide_is_refused() {
    let mut setup = planners();
    // The starter policy takes readings of 900 s.
    setup.policy = Some(STARTER_POLICY.replace("min_tier = \"T2\"", "min_tier = \"T0\""));
    let node = setup.start().await;
    let shared = node.shared();
    let mut probe = Probe::connect(node.address, &key(2), MESH).await;
    let mut wishes_of = Vec::new();
    // Sent long ago, sent less long ago, and sent now with word that it was measured long ago; the second is the newest.
    for (age_ms, told_ms) in [(880_000, 0), (840_000, 0), (0, 880_000)] {
        let id = uuid::Uuid::new_v4();
        let mut old = frame_of(2, &id.to_string());
        old["timestamp"] = json!(shared.now().0 - age_ms);
        if told_ms > 0 {
            old["data"]["ageMs"] = json!(told_ms);
        }
        probe.event("context.frame", old).await;
        // It is taken in beside what is asked.
        until("the cited frame", || async {
            let id = id.into();
            let read = move |c: &rusqlite::Connection| frames::by_frame_id(c, &id);
            shared.store.read("t", read).await.unwrap()
        })
        .await;
        wishes_of.push(Draft {
            requester: Requester::Llm,
            cites: vec![id.into()],
            ..draft(shared, 1).await
        });
    }
    for stale in [&wishes_of[0], &wishes_of[2]] {
        let answer = probe.ask("proposals.draft", stale.to_wire()).await;
        assert_eq!(answer["error"]["code"], "EVIDENCE_STALE", "{answer}");
    }
    let answer = probe.ask("proposals.draft", wishes_of[1].to_wire()).await;
    assert_eq!(answer["payload"]["status"], "awaiting_approval", "{answer}");
    // A person at this node may still ask for it.
    let own = Draft {
        draft_id: DraftId::from(uuid::Uuid::new_v4()),
        requester: Requester::Person,
        ..wishes_of[0].clone()
    };
    wishes::mint(shared, own, shared.own_id()).await.unwrap();
}

async fn told(node: &TestNode, kind: &str) -> usize {
    let read = |c: &rusqlite::Connection| events::since(c, 0, 10_000);
    let all = node.shared().store.read("t", read).await.unwrap();
    all.iter().filter(|e| e.kind == kind).count()
}

/// How many events on this account were left out and will be told with their number.
fn left_out(node: &TestNode, cause: &Cause) -> u64 {
    let shared = node.shared();
    let due = shared.budgets.left_out(shared.now().plus(3_600_000));
    due.iter()
        .filter(|(of, _)| of == cause)
        .map(|(_, n)| n)
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reconnects_without_end_or_is_refused_fills_no_event_log() {
    let node = field().trusting(key(2), "read").start().await;
    let most = usize::try_from(BUDGET_EVENTS_PER_MINUTE).unwrap();
    for _ in 0..100 {
        let probe = Probe::connect(node.address, &key(2), MESH).await;
        drop(probe);
    }
    for n in 0..60 {
        let mut stranger = Probe::open(node.address).await;
        let reply = stranger.handshake(&key(100 + n), MESH, |_| {}).await;
        assert_eq!(reply["error"]["code"], "UNTRUSTED_PEER", "{reply}");
    }
    let loud = Cause::Device(key(2).id().clone());
    let counted = std::cell::Cell::new(0);
    until("all links have ended", || async {
        counted.set(counted.get() + left_out(&node, &loud));
        let told = told(&node, "peer.connect").await + told(&node, "peer.disconnect").await;
        (told >= most && counted.get() >= 100 + 100 - u64::try_from(told).unwrap()).then_some(())
    })
    .await;
    let told_of_links = told(&node, "peer.connect").await + told(&node, "peer.disconnect").await;
    // Some come free again while they are told.
    assert!(told_of_links < most + 30, "{told_of_links}");
    let refused = told(&node, "peer.refused").await;
    assert!(
        refused <= 2 * usize::try_from(REFUSALS_PER_MINUTE).unwrap(),
        "{refused}"
    );
    assert_eq!(told(&node, "startup").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_and_decisions_that_repeat_are_recorded_within_a_share() {
    let setup = field().with_operator(operator(), "L2");
    let grants = "observe:T2,relay,read,human,estop";
    let node = setup.trusting(key(2), grants).start().await;
    let shared = node.shared();
    let minted = mint(&node, 1).await;
    let no = decision(shared, &minted.signed, &operator(), Verdict::Reject);
    let mut probe = Probe::connect(node.address, &key(2), MESH).await;
    for _ in 0..100 {
        let answer = probe.ask("proposals.decide", json!({"decision": no})).await;
        assert_eq!(answer["payload"]["status"], "rejected", "{answer}");
    }
    let most = usize::try_from(BUDGET_EVENTS_PER_MINUTE).unwrap();
    let decided = told(&node, "proposal.decided").await;
    assert!(decided < 1 + most + 30, "{decided}");
    for _ in 0..40 {
        let answer = probe.ask("estop.engage", json!({"reason": "again"})).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    let engaged = told(&node, "estop.engaged").await;
    let most = 1 + usize::try_from(BUDGET_STOPS_PER_HOUR).unwrap();
    assert!((1..=most).contains(&engaged), "{engaged}");
    assert!(left_out(&node, &Cause::Device(key(2).id().clone())) >= 27);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_a_relay_invents_use_up_its_share_alone() {
    let node = node().await;
    let mut liar = kin(&node, 2).await;
    let origin = |n: u64| {
        let seed: Vec<u8> = n.to_le_bytes().repeat(4);
        DeviceId::of_public_key(&seed.try_into().unwrap())
    };
    for n in 0..BUDGET_ORIGINS + 30 {
        let mut invented = frame_of(2, &format!("f-{n}"));
        invented["sourceDeviceId"] = json!(origin(n));
        liar.event("context.frame", invented).await;
    }
    until("the rest is refused", || async {
        (refusals(&node, "OVER_BUDGET") >= 30).then_some(())
    })
    .await;
    let shared = node.shared();
    let used = |c: &rusqlite::Connection| usage::used(c, key(2).id(), Share::Origins, TimeMs(0));
    assert_eq!(shared.store.read("t", used).await.unwrap(), BUDGET_ORIGINS);
    let devices = |c: &rusqlite::Connection| {
        let sql = "SELECT count(*) FROM devices";
        Ok(c.query_row(sql, [], |r| r.get::<_, i64>(0))?)
    };
    let all = shared.store.read("t", devices).await.unwrap();
    assert!(u64::try_from(all).unwrap() <= BUDGET_ORIGINS + 3, "{all}");
}
