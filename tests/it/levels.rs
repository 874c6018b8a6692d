//! What the executor's policy makes of a wish, and what changes between the wish and the act.

use std::sync::Arc;

use clawmesh::adapters::clock::SystemClock;
use clawmesh::adapters::store::runs;
use clawmesh::domain::base::{Code, TimeMs};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::{Requester, STARTER_POLICY};
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals;

use crate::harness::*;
use crate::main_job::{decision, draft, mint, operator, status};

/// A rule of the planner waters by itself while the executor's own sensor says that the soil is not wet.
pub const AUTOMATIC: &str = r#"
version = 1
[[rule]]
name = "auto"
capability = "actuator:mock:valve-1"
operations = ["open"]
level = "L1"
safe_state = "close"
deadline_sec = 5
duration_param = "durationSec"
requesters = ["rules", "person", "llm"]
[rule.params.durationSec]
type = "integer"
min = 1
max = 5
[[rule.condition]]
metric = "moisture"
origin = "self"
op = "<"
value = 99.0
max_age_sec = 60
"#;

pub async fn automatic() -> TestNode {
    let mut setup = field().with_operator(operator(), "L2");
    setup.policy = Some(AUTOMATIC.to_owned());
    setup.start().await
}

pub async fn by(node: &TestNode, requester: Requester) -> Draft {
    Draft {
        requester,
        ..draft(node.shared(), 1).await
    }
}

pub fn opened(node: &TestNode) -> usize {
    journal(node.state().root())
        .iter()
        .filter(|m| m["position"] == "open")
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_counts_once_however_often_it_is_cited() {
    let mut setup = field();
    let demanding = "min_evidence = 2\nrequesters = [\"rules\"";
    setup.policy = Some(AUTOMATIC.replace("requesters = [\"rules\"", demanding));
    let node = setup.start().await;
    let mut wish = by(&node, Requester::Rules).await;
    let first = wish.cites[0].clone();
    wish.cites = vec![first; 3];
    let refused = proposals::mint(node.shared(), wish, node.shared().own_id()).await;
    assert_eq!(refused.unwrap_err().code, Code::EvidenceMissing);
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_acts_for_rules_and_never_for_a_model() {
    let node = automatic().await;
    let model = by(&node, Requester::Llm).await;
    let minted = proposals::mint(node.shared(), model, node.shared().own_id())
        .await
        .unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    assert_eq!(
        minted.signed.record().level.to_string(),
        "L2",
        "a model's wish needs a person, whatever the rule says"
    );
    // A rule that cites something a model had a part in is no better.
    let mut laundered = by(&node, Requester::Rules).await;
    laundered.taint.insert(clawmesh::domain::base::Taint::Llm);
    laundered
        .action
        .params
        .insert("durationSec".into(), 2.into());
    let minted = proposals::mint(node.shared(), laundered, node.shared().own_id())
        .await
        .unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    assert_eq!(opened(&node), 0, "nothing has moved");

    let mut rules = by(&node, Requester::Rules).await;
    rules.action.params.insert("durationSec".into(), 3.into());
    let minted = proposals::mint(node.shared(), rules, node.shared().own_id())
        .await
        .unwrap();
    assert_eq!(minted.status, Status::Executing);
    until("it completes", || async {
        (status(node.shared(), &minted).await == Status::Completed).then_some(())
    })
    .await;
    assert_eq!(opened(&node), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_cites_a_models_frame_is_tainted() {
    use clawmesh::adapters::store::Class;
    use clawmesh::domain::base::{EvidenceSource, Tier};
    use clawmesh::domain::wire::{FrameKind, FrameSpec};
    use clawmesh::node::frame_log;
    let node = automatic().await;
    let spec = FrameSpec {
        kind: FrameKind::Inference,
        data: serde_json::json!({"reasoning": "it looks dry"})
            .as_object()
            .unwrap()
            .clone(),
        sources: vec![EvidenceSource::Llm],
        tier: Tier::T0,
        taint: Default::default(),
        note: None,
    };
    let inference = frame_log::compose(node.shared(), spec).unwrap();
    let id = inference.frame().frame_id.clone();
    frame_log::append(node.shared(), vec![inference], Class::Durable)
        .await
        .unwrap();
    let mut wish = by(&node, Requester::Rules).await;
    wish.cites.push(id);
    let minted = proposals::mint(node.shared(), wish, node.shared().own_id())
        .await
        .unwrap();
    assert_eq!(
        minted.status,
        Status::AwaitingApproval,
        "citing a real reading beside it launders nothing"
    );
    assert!(!minted.signed.record().taint.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changed_since_counts_when_acting() {
    let node = field().with_operator(operator(), "L2").start().await;
    let minted = mint(&node, 1).await;
    let file = node.state().policy_file();
    std::fs::write(&file, "version = 1\n").unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    let approval = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    assert_eq!(
        proposals::decide(node.shared(), approval)
            .await
            .unwrap_err()
            .code,
        Code::PolicyDenied
    );
    // A file whose tests fail changes nothing: still denied by the one in force.
    let broken = STARTER_POLICY.replace("expect = \"L2\"", "expect = \"deny\"");
    std::fs::write(&file, broken).unwrap();
    assert!(
        node.shared()
            .reload_policy(&file)
            .await
            .unwrap_err()
            .contains("a dry zone")
    );
    let approval = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    assert_eq!(
        proposals::decide(node.shared(), approval)
            .await
            .unwrap_err()
            .code,
        Code::PolicyDenied
    );
    assert_eq!(opened(&node), 0);
    // With the rule back, the same proposal can be approved.
    std::fs::write(&file, STARTER_POLICY).unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    let approval = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    assert_eq!(
        proposals::decide(node.shared(), approval)
            .await
            .unwrap()
            .status,
        Status::Executing
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_proposal_never_acts() {
    let clock = Arc::new(SystemClock::default());
    let mut setup = field().with_operator(operator(), "L2");
    setup.clock = clock.clone();
    let node = setup.start().await;
    let minted = mint(&node, 1).await;
    let approval = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    clock.shift(31 * 60 * 1_000);
    until("it expires", || async {
        (status(node.shared(), &minted).await == Status::Expired).then_some(())
    })
    .await;
    let refusal = proposals::decide(node.shared(), approval)
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::ProposalExpired);
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_for_now_and_not_for_whenever_somebody_delivers_it() {
    let clock = Arc::new(SystemClock::default());
    let mut setup = field().with_operator(operator(), "L2");
    setup.clock = clock.clone();
    let node = setup.start().await;
    let minted = mint(&node, 1).await;
    let held = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    clock.shift(6 * 60 * 1_000);
    let refusal = proposals::decide(node.shared(), held).await.unwrap_err();
    assert_eq!(refusal.code, Code::ApprovalInvalid);
    assert!(refusal.message.contains("Decide again"), "{refusal}");
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    assert_eq!(opened(&node), 0);
    // A refusal does no harm however late it comes.
    let no = decision(node.shared(), &minted.signed, &operator(), Verdict::Reject);
    clock.shift(6 * 60 * 1_000);
    let standing = proposals::decide(node.shared(), no).await.unwrap();
    assert_eq!(standing.status, Status::Rejected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_behind_what_the_node_has_lived_through_operates_nothing() {
    let clock = Arc::new(SystemClock::default());
    let mut setup = field().with_operator(operator(), "L2");
    setup.clock = clock.clone();
    let node = setup.start().await;
    let first = mint(&node, 1).await;
    let wish = draft(node.shared(), 2).await;
    clock.shift(-3_600_000);
    let late = Draft {
        expires_at: TimeMs(u64::MAX >> 1),
        ..wish
    };
    let refusal = proposals::mint(node.shared(), late, node.shared().own_id())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::ClockUntrusted);
    let approval = decision(node.shared(), &first.signed, &operator(), Verdict::Approve);
    assert!(proposals::decide(node.shared(), approval).await.is_err());
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_action_at_a_time_and_a_stop_ends_it_safely() {
    let node = field().with_operator(operator(), "L2").start().await;
    let (first, second) = (mint(&node, 20).await, mint(&node, 19).await);
    let yes = |minted: &proposals::Minted| {
        decision(node.shared(), &minted.signed, &operator(), Verdict::Approve)
    };
    assert_eq!(
        proposals::decide(node.shared(), yes(&first))
            .await
            .unwrap()
            .status,
        Status::Executing
    );
    let busy = proposals::decide(node.shared(), yes(&second))
        .await
        .unwrap_err();
    assert_eq!(busy.code, Code::ActuatorBusy);
    assert_eq!(
        status(node.shared(), &second).await,
        Status::AwaitingApproval,
        "it can be decided again later"
    );
    until("the valve is open", || async {
        (opened(&node) == 1).then_some(())
    })
    .await;
    let (state, store) = (node.state(), node.state().database());
    let dir = node.stop().await;
    let last = journal(state.root()).pop().unwrap();
    assert_eq!(
        last["position"], "closed",
        "a graceful stop leaves nothing open"
    );
    let store = clawmesh::adapters::store::Store::open(&store, Default::default()).unwrap();
    let runs = store
        .read_blocking("t", |c| runs::since(c, TimeMs(0)))
        .unwrap();
    assert!(
        runs[0].ended_at.is_some() && runs[0].outcome.as_deref() == Some("failed"),
        "{runs:?}"
    );
    store.close().await;
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_trusted_may_stop_and_a_stop_is_at_once() {
    let node = field()
        .with_operator(operator(), "L2")
        .trusting(key(5), "read,estop")
        .trusting(key(6), "read,plan,human")
        .start()
        .await;
    let minted = mint(&node, 20).await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes).await.unwrap();
    until("the valve is open", || async {
        (opened(&node) == 1).then_some(())
    })
    .await;
    let params = serde_json::json!({"proposalId": minted.signed.record().proposal_id});
    let mut other = Probe::connect(node.address, &key(6), MESH).await;
    assert_eq!(
        other.ask("proposals.stop", params.clone()).await["error"]["code"],
        "NOT_AUTHORIZED"
    );
    let mut stopper = Probe::connect(node.address, &key(5), MESH).await;
    // The action runs from a moment after the valve moved.
    until("it takes the stop", || async {
        let stopped = proposals::stop(
            node.shared(),
            minted.signed.record().proposal_id.as_str(),
            "a test",
        )
        .await;
        stopped.is_ok().then_some(())
    })
    .await;
    until("it ended", || async {
        (status(node.shared(), &minted).await == Status::Failed).then_some(())
    })
    .await;
    assert_eq!(
        journal(node.state().root()).pop().unwrap()["position"],
        "closed"
    );
    assert_eq!(
        stopper.ask("proposals.stop", params).await["error"]["code"],
        "CONFLICT",
        "it no longer runs"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_count_runs_that_were() {
    let mut setup = field().with_operator(operator(), "L2");
    setup.policy = Some(STARTER_POLICY.replace(
        "runs_per_hour = 60\nminutes_per_day = 120",
        "runs_per_hour = 1",
    ));
    let node = setup.start().await;
    let minted = mint(&node, 1).await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes).await.unwrap();
    until("it completes", || async {
        (status(node.shared(), &minted).await == Status::Completed).then_some(())
    })
    .await;
    let wish = draft(node.shared(), 1).await;
    let refusal = proposals::mint(node.shared(), wish, node.shared().own_id())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::RateExceeded, "{refusal}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_counts_people_not_votes() {
    use clawmesh::domain::identity::OperatorKey;
    let second = OperatorKey::from_seed(&[79; 32]);
    let mut setup = field().with_operator(operator(), "L2");
    setup.policy = Some(STARTER_POLICY.replacen("level = \"L2\"", "level = \"L2\"\nquorum = 2", 1));
    let node = setup.start().await;
    enroll(node.shared(), &second, "L2").await;
    let minted = mint(&node, 1).await;
    let yes = |key: &OperatorKey| decision(node.shared(), &minted.signed, key, Verdict::Approve);
    for _ in 0..2 {
        let standing = proposals::decide(node.shared(), yes(&operator()))
            .await
            .unwrap();
        assert_eq!(
            (standing.status, standing.approvals, standing.required),
            (Status::AwaitingApproval, 1, 2)
        );
    }
    assert_eq!(opened(&node), 0, "one person twice is one person");
    let id = minted.signed.record().proposal_id.clone();
    let row = move |c: &rusqlite::Connection| clawmesh::adapters::store::proposals::get(c, &id);
    let row = node.shared().store.read("t", row).await.unwrap().unwrap();
    assert!(row.revision > 1, "those who show it hear of the first yes");
    let standing = proposals::decide(node.shared(), yes(&second))
        .await
        .unwrap();
    assert_eq!(standing.status, Status::Executing);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_below_the_level_counts_for_nothing() {
    let node = field().with_operator(operator(), "L1").start().await;
    let minted = mint(&node, 1).await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    assert_eq!(
        proposals::decide(node.shared(), yes)
            .await
            .unwrap_err()
            .code,
        Code::OperatorLevelTooLow
    );
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

/// The starter policy with its rules at L3.
fn strict() -> String {
    STARTER_POLICY
        .replace("level = \"L2\"", "level = \"L3\"")
        .replace("expect = \"L2\"", "expect = \"L3\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn l3_takes_two_people_who_may() {
    let keys = [79, 80, 81].map(|n| clawmesh::domain::identity::OperatorKey::from_seed(&[n; 32]));
    let mut setup = field();
    setup.policy = Some(strict());
    let node = setup.start().await;
    enroll(node.shared(), &keys[0], "L3").await;
    enroll(node.shared(), &keys[1], "L2").await;
    enroll(node.shared(), &keys[2], "L3").await;
    let minted = mint(&node, 1).await;
    assert_eq!(minted.signed.record().level.to_string(), "L3");
    let yes = |n: usize| decision(node.shared(), &minted.signed, &keys[n], Verdict::Approve);
    for _ in 0..2 {
        let standing = proposals::decide(node.shared(), yes(0)).await.unwrap();
        assert_eq!(
            (standing.status, standing.approvals, standing.required),
            (Status::AwaitingApproval, 1, 2)
        );
    }
    let refusal = proposals::decide(node.shared(), yes(1)).await.unwrap_err();
    assert_eq!(refusal.code, Code::OperatorLevelTooLow);
    assert_eq!(opened(&node), 0);
    let standing = proposals::decide(node.shared(), yes(2)).await.unwrap();
    assert_eq!(standing.status, Status::Executing);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_asks_for_l3_meanwhile_lets_l2_people_approve_nothing() {
    let second = clawmesh::domain::identity::OperatorKey::from_seed(&[79; 32]);
    let node = field().with_operator(operator(), "L2").start().await;
    enroll(node.shared(), &second, "L2").await;
    let minted = mint(&node, 1).await;
    let file = node.state().policy_file();
    std::fs::write(&file, strict()).unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    for key in [&operator(), &second] {
        let yes = decision(node.shared(), &minted.signed, key, Verdict::Approve);
        let standing = proposals::decide(node.shared(), yes).await.unwrap();
        assert_eq!(standing.status, Status::AwaitingApproval);
    }
    assert_eq!(opened(&node), 0, "their word does not reach L3");
    let third = clawmesh::domain::identity::OperatorKey::from_seed(&[80; 32]);
    let fourth = clawmesh::domain::identity::OperatorKey::from_seed(&[81; 32]);
    for (n, key) in [third, fourth].iter().enumerate() {
        enroll(node.shared(), key, "L3").await;
        let yes = decision(node.shared(), &minted.signed, key, Verdict::Approve);
        let standing = proposals::decide(node.shared(), yes).await.unwrap();
        let wanted = [Status::AwaitingApproval, Status::Executing][n];
        assert_eq!(standing.status, wanted);
    }
    node.stop().await;
}
