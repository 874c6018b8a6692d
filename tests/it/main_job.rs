//! The main job between two real nodes: a reading becomes an approved, executed, audited action.

use clawmesh::adapters::store::{audit, proposals as rows};
use clawmesh::domain::base::{Code, DraftId, Tier};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::gate::{Decision, SignedDecision};
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::{SignedProposal, Status};
use clawmesh::domain::world::Fact;
use clawmesh::node::proposals::{self, Minted};
use clawmesh::node::{Handles, planning};
use serde_json::json;

use crate::harness::*;

pub const COMMAND_CENTRE: &str = "plan,human,observe:T2,relay,read,admin";
const FIELD: &str = "observe:T2,relay,read,actuate";

fn directory() -> std::sync::Arc<tempfile::TempDir> {
    std::sync::Arc::new(tempfile::tempdir().unwrap())
}

pub fn operator() -> OperatorKey {
    OperatorKey::from_seed(&[77; 32])
}

/// A wish to water for some seconds, resting on the newest moisture reading that the node vouches for.
pub async fn draft(shared: &Handles, seconds: i64) -> Draft {
    let fact = until("there is a moisture reading and a tank level", || async {
        let at = shared.moment();
        let facts = shared
            .store
            .read("t", move |c| {
                clawmesh::adapters::store::facts::numeric(c, at)
            })
            .await
            .unwrap();
        let tank = facts.iter().any(|f| f.metric == "tank.level");
        // A reading of a device that this node does not vouch for may be there first: it proves nothing.
        let fresh = |f: &Fact| at.wall.since(f.sensed_at) < 60_000 && f.effective >= Tier::T2;
        let mut moist = facts.into_iter().filter(|f| f.metric == "moisture");
        moist.find(|f| tank && fresh(f))
    })
    .await;
    let now = shared.now();
    let params = Params::from([("durationSec".to_owned(), seconds.into())]);
    Draft {
        draft_id: DraftId::from(uuid::Uuid::new_v4()),
        action: Action::new("actuator:mock:valve-1".parse().unwrap(), "open", params).unwrap(),
        reason: "dry".into(),
        requester: Requester::Person,
        requester_name: "ada".into(),
        taint: Default::default(),
        cites: vec![fact.frame_id],
        origins: Default::default(),
        slot: None,
        led_by: None,
        created_at: now,
        expires_at: now.plus(60_000),
    }
}

pub fn decision(
    shared: &Handles,
    signed: &SignedProposal,
    key: &OperatorKey,
    verdict: Verdict,
) -> SignedDecision {
    let record = signed.record();
    Decision {
        verdict,
        mesh_id: record.mesh_id.clone(),
        executor: record.executor.clone(),
        proposal_id: record.proposal_id.clone(),
        digest: *signed.digest(),
        operator_id: key.id().clone(),
        decided_at: shared.now(),
        note: None,
        channel: None,
        at_node: None,
    }
    .sign(key)
}

pub async fn mint(node: &TestNode, seconds: i64) -> Minted {
    let draft = draft(node.shared(), seconds).await;
    proposals::mint(node.shared(), draft, node.shared().own_id())
        .await
        .unwrap()
}

pub async fn status(shared: &Handles, minted: &Minted) -> Status {
    let id = minted.signed.record().proposal_id.clone();
    shared
        .store
        .read("t", move |c| rows::get(c, &id))
        .await
        .unwrap()
        .unwrap()
        .status
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "one life, told step by step")]
async fn a_reading_becomes_an_approved_executed_audited_action() {
    let (field_key, centre_key) = (key(1), key(2));
    let centre_dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let mut setup = centre().trusting(key(1), FIELD);
    setup.raw.role = Some("planner".into());
    let text = r#"
        [[rule]]
        name = "dry soil"
        metric = "moisture"
        below = 90.0
        cooldown_sec = 600
        target = "actuator:mock:valve-1"
        operation = "open"
        params = { durationSec = 1 }
    "#;
    setup.raw.rule = clawmesh::node::RawConfig::parse(text, "test").unwrap().rule;
    let centre = setup.start_in(centre_dir, Some(2)).await;
    let mut setup = field()
        .trusting(centre_key, COMMAND_CENTRE)
        .with_operator(operator(), "L2");
    setup.raw.peers = vec![format!("{}=ws://{}||local", centre.id(), centre.address)];
    let field_dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let field = setup.start_in(field_dir, Some(1)).await;
    assert_eq!(field.id(), *field_key.id());

    // The rule fires at the centre, the field mints, the centre mirrors.
    let row = until("the centre shows the proposal", || async {
        let open = centre
            .shared()
            .store
            .read("t", |c| rows::open_list(c, 10))
            .await
            .unwrap();
        open.into_iter().next()
    })
    .await;
    assert!(!row.own && row.executor == field.id() && row.status == Status::AwaitingApproval);
    let signature = clawmesh::domain::identity::Signature::from_text(&row.signature).unwrap();
    let signed = SignedProposal::open(&row.record, signature, field_key.public()).unwrap();
    let evidence = &signed.record().evidence;
    assert!(
        evidence
            .iter()
            .any(|e| e.summary.contains("moisture") && e.origin == field.id()),
        "{evidence:?}"
    );
    assert!(
        journal(field.state().root()).is_empty(),
        "nothing moves before a person agrees"
    );

    // Before that the person sees, at the centre, what the executor would check now.
    let door = clawmesh::operator::Door::new(centre.shared().clone());
    let asked = row.id.as_str();
    let seen = door.proposal_checks(asked).await.unwrap();
    assert!(seen.allowed, "{seen:?}");
    let has = |name: &str| {
        seen.checks
            .iter()
            .any(|c| c.name.contains(name) && c.passed)
    };
    assert!(
        has("interlock") && has("emergency stop") && has("free"),
        "{seen:?}"
    );
    clawmesh::node::proposals::estop::engage(
        field.shared(),
        "ada",
        "smoke",
        clawmesh::node::proposals::estop::Told::Always,
    )
    .await
    .unwrap();
    let seen = door.proposal_checks(asked).await.unwrap();
    let stop = seen.checks.iter().find(|c| c.name == "emergency stop");
    assert!(!seen.allowed && !stop.unwrap().passed, "{seen:?}");
    clawmesh::node::proposals::estop::release(field.shared(), None, "ada", "it was steam")
        .await
        .unwrap();

    // A person at the centre decides; the decision travels over the link.
    let link = centre.shared().links.get(&field.id()).unwrap();
    let approval = decision(centre.shared(), &signed, &operator(), Verdict::Approve);
    let standing = link
        .request("proposals.decide", &json!({"decision": approval}))
        .await
        .unwrap();
    assert_eq!(standing["status"], "executing", "{standing}");

    // It ends by itself, the outcome comes back, and the centre knows it.
    until("the centre shows it completed", || async {
        let id = row.id.clone();
        let now = centre
            .shared()
            .store
            .read("t", move |c| rows::get(c, &id))
            .await
            .unwrap()
            .unwrap();
        (now.status == Status::Completed).then_some(())
    })
    .await;
    let moves = journal(field.state().root());
    let positions: Vec<&str> = moves
        .iter()
        .map(|m| m["position"].as_str().unwrap())
        .collect();
    assert_eq!(positions, ["open", "closed"]);
    let id = row.id.clone();
    let known = centre
        .shared()
        .store
        .read("t", move |c| {
            clawmesh::adapters::store::approvals::of(c, &id)
        })
        .await
        .unwrap();
    assert_eq!(
        known[0].decision.operator_id,
        *operator().id(),
        "the centre knows who decided"
    );
    until("the outcome frame reaches the centre", || async {
        let facts = centre.shared().store.read("t", |c| {
            clawmesh::adapters::store::frames::page(
                c,
                &clawmesh::adapters::store::frames::FrameFilter {
                    kind: Some(clawmesh::domain::wire::FrameKind::Event),
                    limit: 10,
                    ..Default::default()
                },
            )
        });
        facts
            .await
            .unwrap()
            .into_iter()
            .find(|f| f.json.contains("proposal.outcome"))
    })
    .await;
    let key = *field_key.public();
    let checked = field
        .shared()
        .store
        .read("t", move |c| {
            audit::check(c, |message, signature| {
                let signature = clawmesh::domain::identity::Signature::from_text(signature);
                signature.is_ok_and(|s| key.verify_strict(message, &s))
            })
        })
        .await
        .unwrap();
    assert!(
        checked.faults.is_empty() && checked.entries >= 5,
        "{checked:?}"
    );
    field.stop().await;
    centre.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_waits_for_its_executor_and_is_delivered_when_it_is_back() {
    let centre = centre()
        .trusting(key(1), FIELD)
        .start_in(directory(), Some(2))
        .await;
    let field_dir = directory();
    let setup = |port: u16| {
        let mut setup = field().trusting(key(2), COMMAND_CENTRE);
        setup.raw.peers = vec![format!("{}=ws://127.0.0.1:{port}||local", key(2).id())];
        setup
    };
    let field = setup(centre.address.port())
        .start_in(field_dir.clone(), Some(1))
        .await;
    let wish = draft(field.shared(), 1).await;
    // Nobody is known to offer this.
    let mut elsewhere = wish.clone();
    elsewhere.action.target = "actuator:crane:boom".parse().unwrap();
    assert_eq!(
        planning::submit(&centre.shared().drafts, elsewhere)
            .await
            .unwrap_err()
            .code,
        Code::UnknownTarget
    );

    until("they are linked", || async {
        centre.shared().links.get(&field.id())
    })
    .await;
    field.stop().await;
    until("the link is down", || async {
        centre.shared().links.all().is_empty().then_some(())
    })
    .await;
    let sent = planning::submit(&centre.shared().drafts, wish.clone())
        .await
        .unwrap();
    assert!(matches!(sent, planning::Sent::Waiting(_)), "{sent:?}");

    let field = setup(centre.address.port())
        .start_in(field_dir, Some(1))
        .await;
    until("the draft became a proposal", || async {
        let open = centre
            .shared()
            .store
            .read("t", |c| rows::open_list(c, 10))
            .await
            .unwrap();
        open.into_iter().find(|row| row.draft_id == wish.draft_id)
    })
    .await;
    field.stop().await;
    centre.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_wishes_meet_in_one_proposal() {
    let field = field().start().await;
    let first = mint(&field, 1).await;
    let second = mint(&field, 1).await;
    assert!(second.repeated);
    assert_eq!(
        first.signed.record().proposal_id,
        second.signed.record().proposal_id
    );
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn approving_twice_acts_once() {
    let field = field().with_operator(operator(), "L2").start().await;
    let minted = mint(&field, 1).await;
    let approval = decision(
        field.shared(),
        &minted.signed,
        &operator(),
        Verdict::Approve,
    );
    // Twice at once, and again afterwards.
    let (a, b) = tokio::join!(
        proposals::decide(field.shared(), approval.clone()),
        proposals::decide(field.shared(), approval.clone()),
    );
    assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    until("it completes", || async {
        (status(field.shared(), &minted).await == Status::Completed).then_some(())
    })
    .await;
    let again = proposals::decide(field.shared(), approval).await.unwrap();
    assert_eq!(again.status, Status::Completed);
    let opened = journal(field.state().root())
        .iter()
        .filter(|m| m["position"] == "open")
        .count();
    assert_eq!(opened, 1);
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_proposal_never_acts() {
    let field = field().with_operator(operator(), "L2").start().await;
    let minted = mint(&field, 1).await;
    let no = decision(field.shared(), &minted.signed, &operator(), Verdict::Reject);
    assert_eq!(
        proposals::decide(field.shared(), no).await.unwrap().status,
        Status::Rejected
    );
    let yes = decision(
        field.shared(),
        &minted.signed,
        &operator(),
        Verdict::Approve,
    );
    assert_eq!(
        proposals::decide(field.shared(), yes)
            .await
            .unwrap_err()
            .code,
        Code::ProposalNotWaiting
    );
    assert!(journal(field.state().root()).is_empty());
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_signature_over_the_right_record_counts() {
    let field = field().with_operator(operator(), "L2").start().await;
    let minted = mint(&field, 1).await;
    let good = decision(
        field.shared(),
        &minted.signed,
        &operator(),
        Verdict::Approve,
    );
    let refused = async |signed: SignedDecision| {
        proposals::decide(field.shared(), signed)
            .await
            .unwrap_err()
            .code
    };

    let stranger = OperatorKey::from_seed(&[78; 32]);
    let unknown = decision(field.shared(), &minted.signed, &stranger, Verdict::Approve);
    assert_eq!(refused(unknown).await, Code::OperatorUnknown);
    // Somebody else's signature under the operator's name.
    let mut forged = decision(field.shared(), &minted.signed, &stranger, Verdict::Approve);
    forged.decision.operator_id = operator().id().clone();
    assert_eq!(refused(forged).await, Code::ApprovalInvalid);
    // A reject turned into an approve.
    let mut turned = decision(field.shared(), &minted.signed, &operator(), Verdict::Reject);
    turned.decision.verdict = Verdict::Approve;
    assert_eq!(refused(turned).await, Code::ApprovalInvalid);
    // Signed over other content, for another executor, another mesh, at another time.
    let resigned = |change: fn(&mut Decision)| {
        let mut decision = good.decision.clone();
        change(&mut decision);
        decision.sign(&operator())
    };
    let digest = resigned(|d| d.digest = clawmesh::domain::base::Digest::of(&[b"edited"]));
    assert_eq!(refused(digest).await, Code::DigestMismatch);
    let executor =
        resigned(|d| d.executor = clawmesh::domain::base::DeviceId::of_public_key(&[9; 32]));
    assert_eq!(refused(executor).await, Code::WrongExecutor);
    let mesh = resigned(|d| d.mesh_id = clawmesh::domain::base::MeshId::of_name("other"));
    assert_eq!(refused(mesh).await, Code::WrongMesh);
    let early = resigned(|d| d.decided_at = clawmesh::domain::base::TimeMs(1));
    assert_eq!(refused(early).await, Code::ApprovalInvalid);
    let nobody = resigned(|d| d.proposal_id = "no-such-proposal".parse().unwrap());
    assert_eq!(refused(nobody).await, Code::ProposalNotFound);

    assert!(
        journal(field.state().root()).is_empty(),
        "none of these moved anything"
    );
    assert_eq!(
        status(field.shared(), &minted).await,
        Status::AwaitingApproval
    );
    assert_eq!(
        proposals::decide(field.shared(), good)
            .await
            .unwrap()
            .status,
        Status::Executing
    );
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_operator_no_longer_counts() {
    use clawmesh::adapters::store::operators::{self, SignedRevocation};
    use clawmesh::domain::gate::OperatorRevocation;
    let field = field().with_operator(operator(), "L2").start().await;
    let minted = mint(&field, 1).await;
    let shared = field.shared();
    let revocation = OperatorRevocation {
        operator_id: operator().id().clone(),
        issuer: shared.own_id().clone(),
        revoked_at: shared.now(),
        reason: "left".into(),
    };
    let signed = SignedRevocation {
        signature: shared.authority.issuer().end_of_operator(&revocation),
        revocation,
    };
    shared
        .store
        .write(clawmesh::adapters::store::Class::Durable, "t", move |c| {
            operators::revoke(c, &signed)
        })
        .await
        .unwrap();
    // Enrolling the same key again does not bring it back.
    enroll(shared, &operator(), "L2").await;
    let approval = decision(shared, &minted.signed, &operator(), Verdict::Approve);
    assert_eq!(
        proposals::decide(shared, approval).await.unwrap_err().code,
        Code::OperatorRevoked
    );
    assert!(journal(field.state().root()).is_empty());
    field.stop().await;
}
