//! Several planners in one mesh: one asks, the others stand by and take over.

use clawmesh::adapters::llm::{Reply, Scripted};
use clawmesh::domain::base::{Code, DeviceId};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::Status;
use clawmesh::node::config::RawRule;
use clawmesh::node::planner::{Answered, Answerer, Telling};
use clawmesh::node::{leading, proposals};
use clawmesh::operator::access::Scope;
use clawmesh::operator::dto::AskRequest;
use clawmesh::operator::dto::{FactView, ProposalView};
use clawmesh::operator::queries::FactQuery;
use serde_json::json;

use crate::harness::{Setup, TestNode, centre, field, key, until};
use crate::levels::{AUTOMATIC, automatic, by, opened};
use crate::main_job::status;

pub(crate) const GRANTS: &str = "observe:T2,relay,read,plan,actuate,llm";

/// A rule that always wants water, as often as it may.
fn thirsty() -> RawRule {
    toml::from_str(
        r#"
        name = "always dry"
        metric = "moisture"
        below = 101
        target = "actuator:mock:valve-1"
        operation = "open"
        params = { durationSec = 1 }
        cooldown_sec = 1
        "#,
    )
    .unwrap()
}

/// Seeds of planners, the one that goes first before the other.
pub fn seeds() -> [u8; 2] {
    let mut seeds = [2, 3];
    seeds.sort_by_key(|n| key(*n).public().device_id());
    seeds
}

pub async fn started(setup: Setup, seed: u8) -> TestNode {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    Box::pin(setup.start_in(dir, Some(seed))).await
}

pub async fn owner() -> TestNode {
    let mut setup = field();
    for seed in seeds() {
        setup = setup.trusting(key(seed), GRANTS);
    }
    started(setup, 1).await
}

/// A planner that knows everybody and dials these.
pub fn planner(seed: u8, peers: &[&TestNode]) -> Setup {
    let mut setup = centre();
    setup.raw.name = Some(format!("planner-{seed}"));
    setup.raw.role = Some("planner".into());
    setup.raw.rule = vec![thirsty()];
    for other in [1, 2, 3].into_iter().filter(|n| *n != seed) {
        setup = setup.trusting(key(other), GRANTS);
    }
    for peer in peers {
        let peer = format!("{}=ws://{}||local", peer.id(), peer.address);
        setup.raw.peers.push(peer);
    }
    setup
}

pub(crate) async fn all(owner: &TestNode) -> Vec<ProposalView> {
    owner.node().door().proposals(true).await.unwrap()
}

/// Takes the proposals back that stand, and gives who asked for the next one.
async fn next_asker(owner: &TestNode) -> DeviceId {
    let known = all(owner).await.len();
    for open in owner.node().door().proposals(false).await.unwrap() {
        let _ = owner.node().door().withdraw(open.id.as_str(), None).await;
    }
    let new = until("a rule asks", || async {
        let all = all(owner).await;
        (all.len() > known).then_some(all)
    })
    .await;
    let newest = new.iter().max_by_key(|p| p.created_at).unwrap();
    newest.requested_by.device_id.clone()
}

pub async fn stands_by_for(node: &TestNode, leader: &DeviceId) {
    until("it stands by", || async {
        let before = leading::before(&node.shared().leading);
        before.is_some_and(|l| l.device == *leader).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_planner_asks_and_the_other_takes_over_when_it_dies() {
    let owner = owner().await;
    let [first, second] = seeds();
    let a = started(planner(first, &[&owner]), first).await;
    let b = started(planner(second, &[&owner, &a]), second).await;
    stands_by_for(&b, &a.id()).await;
    until("the first leads", || async {
        a.shared().leading.epoch().filter(|e| *e > 0)
    })
    .await;
    let leader = a.id();
    for _ in 0..4 {
        assert_eq!(next_asker(&owner).await, leader);
    }
    a.stop().await;
    assert_eq!(next_asker(&owner).await, b.id());
    assert!(b.shared().leading.epoch().is_some());
    let from_b = all(&owner).await;
    let from_b = from_b.iter().filter(|p| p.requested_by.device_id != leader);
    assert!(from_b.count() < 3, "it asked while the other led");
    owner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_leads_and_asks_for_nothing_only_delays_the_other() {
    let owner = owner().await;
    let [first, second] = seeds();
    // What the field node measures is worth nothing to the one that leads: its rule never fires.
    let mut silent = planner(first, &[&owner]);
    let (_, grants) = &mut silent.trusts[0];
    *grants = "observe:T1,relay,read,plan,actuate,llm";
    let a = started(silent, first).await;
    let b = started(planner(second, &[&owner, &a]), second).await;
    stands_by_for(&b, &a.id()).await;
    assert_eq!(next_asker(&owner).await, b.id());
    // While a person pauses the one that leads, the other rests as well: the pause is meant for the task.
    a.node()
        .door()
        .planner_pause(&Default::default(), "ana")
        .await
        .unwrap();
    until("the pause is heard", || async {
        leading::before(&b.shared().leading).filter(|l| l.lease.paused)
    })
    .await;
    for open in owner.node().door().proposals(false).await.unwrap() {
        let _ = owner.node().door().withdraw(open.id.as_str(), None).await;
    }
    until("the other says for whom it waits, and why", || async {
        let why = b.node().door().planner().why;
        (why.contains("has paused it") && why.contains("always dry")).then_some(())
    })
    .await;
    // What was held back is not lost when the pause is over.
    a.node().door().planner_resume("ana").await.unwrap();
    assert_eq!(next_asker(&owner).await, b.id());
    owner.stop().await;
}

/// A wish that waits for a person is none that somebody has asked for instead: this node's own may need none.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_silences_no_rule_that_needs_none() {
    let [first, second] = seeds();
    let named = format!("level = \"L1\"\nfrom = [\"{}\"]", key(second).id());
    let mut setup = field();
    for seed in seeds() {
        setup = setup.trusting(key(seed), GRANTS);
    }
    let person = r#"
        [[rule]]
        name = "others"
        capability = "actuator:mock:valve-1"
        operations = ["open"]
        level = "L2"
        safe_state = "close"
        deadline_sec = 5
        duration_param = "durationSec"
        [rule.params.durationSec]
        type = "integer"
        min = 1
        max = 5
    "#;
    setup.policy = Some(AUTOMATIC.replace("level = \"L1\"", &named) + person);
    let owner = started(setup, 1).await;
    let a = started(planner(first, &[&owner]), first).await;
    let leader = a.id();
    until("the leader's wish waits", || async {
        let all = all(&owner).await;
        let mut its = all.iter().filter(|p| p.requested_by.device_id == leader);
        its.any(|p| p.status == Status::AwaitingApproval)
            .then_some(())
    })
    .await;
    let b = started(planner(second, &[&owner, &a]), second).await;
    stands_by_for(&b, &leader).await;
    let before = opened(&owner);
    until("the rule of the other acts", || async {
        (opened(&owner) > before + 1).then_some(())
    })
    .await;
    owner.stop().await;
}

/// Two field nodes have an actuator of the same name, and the rule means each of them.
#[tokio::test(flavor = "multi_thread")]
async fn wishes_for_two_places_wait_side_by_side() {
    let [first, second] = seeds();
    let [one, other] = [1, 4];
    let mut owners = Vec::new();
    for n in [one, other] {
        let mut setup = field();
        for seed in seeds() {
            setup = setup.trusting(key(seed), GRANTS);
        }
        owners.push(started(setup, n).await);
    }
    let places: Vec<&TestNode> = owners.iter().collect();
    let with = |seed, peers: &[&TestNode]| planner(seed, peers).trusting(key(other), GRANTS);
    // What the field nodes measure is worth nothing to the one that leads: it asks for nothing.
    let mut silent = with(first, &places);
    for (device, grants) in &mut silent.trusts {
        if owners.iter().any(|o| o.id() == device.public().device_id()) {
            *grants = "observe:T1,relay,read,plan,actuate,llm";
        }
    }
    let a = started(silent, first).await;
    let b = started(with(second, &[places[0], places[1], &a]), second).await;
    stands_by_for(&b, &a.id()).await;
    for owner in &owners {
        for open in owner.node().door().proposals(false).await.unwrap() {
            let _ = owner.node().door().withdraw(open.id.as_str(), None).await;
        }
    }
    let asked = async |owner: &TestNode| {
        let all = all(owner).await;
        all.iter().filter(|p| p.status.is_open()).count()
    };
    until("it asks at both", || async {
        (asked(&owners[0]).await > 0 && asked(&owners[1]).await > 0).then_some(())
    })
    .await;
    for owner in owners {
        owner.stop().await;
    }
}

/// A planner that is its own executor, with a rule that may act without a person.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_not_lead_holds_no_rule_back() {
    let other = field()
        .trusting(key(1), "read,relay")
        .start_in(std::sync::Arc::new(tempfile::tempdir().unwrap()), Some(2));
    let other = other.await;
    // The same wish, as a rule's, minted by another executor and waiting there.
    let mut setup = planner(1, &[&other]);
    setup.raw.mock_sensor = Some(true);
    setup.raw.mock_actuator = Some(true);
    setup.policy = Some(AUTOMATIC.to_owned());
    for (device, grants) in &mut setup.trusts {
        *grants = match device.public().device_id() == other.id() {
            true => "observe:T2,relay,read,actuate",
            false => "plan",
        };
    }
    let wish = by(&other, Requester::Rules).await;
    let own = other.id();
    let stands = proposals::mint(other.shared(), wish, &own).await.unwrap();
    assert_eq!(stands.status, Status::AwaitingApproval);
    let node = started(setup, 1).await;
    until("the other's proposal is known", || async {
        let all = all(&node).await;
        all.iter()
            .any(|p| p.executor == other.id().as_str())
            .then_some(())
    })
    .await;
    let before = opened(&node);
    until("the rule acts all the same", || async {
        (opened(&node) > before + 1).then_some(())
    })
    .await;
    node.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_leads_to_one_action_of_rules_however_many_planners_fire_on_it() {
    let node = automatic().await;
    let first = by(&node, Requester::Rules).await;
    // The same reading, as a second planner cites it: some time later, with other parameters.
    let mut second = Draft {
        draft_id: "second".parse().unwrap(),
        ..first.clone()
    };
    second.action.params.insert("durationSec".into(), 2.into());
    let person = Draft {
        draft_id: "person".parse().unwrap(),
        requester: Requester::Person,
        ..second.clone()
    };
    let own = node.shared().own_id().clone();
    let minted = proposals::mint(node.shared(), first, &own).await.unwrap();
    assert_eq!(minted.status, Status::Executing);
    until("it completes", || async {
        (status(node.shared(), &minted).await == Status::Completed).then_some(())
    })
    .await;
    let refused = proposals::mint(node.shared(), second, &own).await;
    assert_eq!(refused.unwrap_err().code, Code::EvidenceStale);
    // A person may cite what they like: they look at it themselves.
    proposals::mint(node.shared(), person, &own).await.unwrap();
    // Nor is there a second one out of a reading that is not held here.
    let mut unseen = by(&node, Requester::Rules).await;
    unseen.cites = vec!["never-came".parse().unwrap()];
    unseen.origins.clear();
    let citing_none = Draft {
        cites: Vec::new(),
        draft_id: "none".parse().unwrap(),
        ..unseen.clone()
    };
    for unfounded in [unseen, citing_none] {
        let refused = proposals::mint(node.shared(), unfounded, &own).await;
        assert_eq!(refused.unwrap_err().code, Code::EvidenceMissing);
    }
    // And with a later reading the rule's wish is one again.
    let later = by(&node, Requester::Rules).await;
    proposals::mint(node.shared(), later, &own).await.unwrap();
    until("it opened twice", || async {
        (opened(&node) == 2).then_some(())
    })
    .await;
    node.stop().await;
}

pub(crate) fn model(replies: impl IntoIterator<Item = Reply>) -> Scripted {
    Scripted::new("test/model".parse().unwrap(), replies)
}

pub(crate) fn says(step: &serde_json::Value) -> Reply {
    Reply::text(&step.to_string())
}

/// The first moisture that the node knows of.
pub(crate) async fn measured(node: &TestNode) -> FactView {
    until("a reading is there", || async {
        let facts = node.node().door().facts(FactQuery::default()).await;
        let facts = facts.unwrap();
        facts.into_iter().find(|f| f.metric == "moisture")
    })
    .await
}

pub(crate) fn begin(node: &TestNode, question: &str) -> tokio::sync::mpsc::Receiver<Telling> {
    let asked = AskRequest {
        question: question.to_owned(),
        ..AskRequest::default()
    };
    node.node()
        .door()
        .ask_planner(&asked, "ana", "ana")
        .unwrap()
}

pub(crate) async fn answered(mut told: tokio::sync::mpsc::Receiver<Telling>) -> Answered {
    let mut last = None;
    while let Some(telling) = told.recv().await {
        last = Some(telling);
    }
    match last {
        Some(Telling::Answered(answered)) => *answered,
        other => panic!("no answer: {other:?}"),
    }
}

/// A planner with a model, and a node with a reading that asks it; the planner gives the node these grants.
pub(crate) async fn asking(model: &Scripted, grants: &'static str) -> (TestNode, TestNode) {
    asking_as(grants, |leader| leader.model = Some(model.clone())).await
}

/// As [`asking`], of a planner that is as told.
pub(crate) async fn asking_as(
    grants: &'static str,
    change: impl FnOnce(&mut Setup),
) -> (TestNode, TestNode) {
    let [first, _] = seeds();
    let mut setup = planner(first, &[]);
    setup.raw.rule = Vec::new();
    setup.trusts[0].1 = grants;
    change(&mut setup);
    let leader = Box::pin(started(setup, first)).await;
    let mut asker = field().trusting(key(first), GRANTS);
    asker.raw.inference.private_metrics = vec!["tank.level".to_owned()];
    let peer = format!("{}=ws://{}||local", leader.id(), leader.address);
    asker.raw.peers.push(peer);
    let asker = Box::pin(started(asker, 1)).await;
    until("the asker hears of the planner", || async {
        leading::before(&asker.shared().leading).filter(|l| l.lease.answers)
    })
    .await;
    until("the planner has a reading", || async {
        let world = leader
            .node()
            .door()
            .facts(Default::default())
            .await
            .unwrap();
        world.iter().any(|f| f.metric == "moisture").then_some(())
    })
    .await;
    (leader, asker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_reaches_the_planner_that_leads_and_only_what_is_known_is_cited() {
    let query = json!({"step": "query_world", "metric": "moisture"});
    let end = json!({"step": "answer", "text": "It is dry.", "cites": ["r1", "made-up"]});
    let model = model([says(&query), says(&end), says(&end)]);
    let (leader, asker) = asking(&model, GRANTS).await;
    let said = answered(begin(&asker, "How is the moisture?")).await;
    assert_eq!(
        (said.answerer, said.answer.as_str()),
        (Answerer::Model, "It is dry.")
    );
    assert!(said.answered_by.is_some());
    assert_eq!((said.citations.len(), said.citations_dropped), (1, 1));
    let kept = asker.node().door().answered(Scope::Operate).await.unwrap();
    assert_eq!(kept[0].answer, "It is dry.");
    // What is private here is asked of nobody else.
    let asked = model.asked().len();
    let private = answered(begin(&asker, "How is the tank.level?")).await;
    assert_eq!(
        (private.answerer, private.answered_by),
        (Answerer::Rules, None)
    );
    // So is what a person calls private, and what goes on with a conversation that is known here.
    assert_eq!(said.conversation, said.id);
    for (conversation, private) in [(None, true), (Some(said.conversation), false)] {
        let asked = AskRequest {
            question: "And the moisture now?".to_owned(),
            conversation,
            private,
            ..AskRequest::default()
        };
        let door = asker.node().door();
        let here = answered(door.ask_planner(&asked, "ana", "ana").unwrap()).await;
        assert_eq!((here.answerer, here.answered_by), (Answerer::Rules, None));
    }
    assert_eq!(model.asked().len(), asked);
    leader.stop().await;
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_no_model_is_asked() {
    let model = model([says(
        &json!({"step": "answer", "text": "Paid for.", "cites": []}),
    )]);
    let (leader, asker) = asking(&model, "observe:T2,relay,read").await;
    let said = answered(begin(&asker, "How is the moisture?")).await;
    assert_eq!(said.answerer, Answerer::Rules, "{said:?}");
    assert!(model.asked().is_empty());
    leader.stop().await;
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_goes_away_in_the_middle_costs_a_question_nothing_but_its_model() {
    let model = model([Reply::hang()]);
    let (leader, asker) = asking(&model, GRANTS).await;
    let told = begin(&asker, "How is the moisture?");
    until("the model is asked", || async {
        (!model.asked().is_empty()).then_some(())
    })
    .await;
    leader.stop().await;
    let said = answered(told).await;
    assert_eq!((said.answerer, said.answered_by), (Answerer::Rules, None));
    assert!(said.why.unwrap().contains("leads"));
    asker.stop().await;
}
