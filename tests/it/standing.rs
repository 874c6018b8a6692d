//! Standing questions: what a planner's model is asked without a person, and who goes before it.

use clawmesh::adapters::llm::{Reply, Scripted};
use clawmesh::domain::base::limits::{PLANNER_WAITING_MAX, TRIGGERS_MAX};
use clawmesh::domain::inference::FailureKind;
use clawmesh::domain::plan::standing::{Ask, Standing};
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::Status;
use clawmesh::node::config::questions::RawQuestion;
use clawmesh::node::planner::{Answered, Answerer, Telling, standing};
use clawmesh::node::proposals;
use clawmesh::operator::access::Scope;
use clawmesh::operator::dto::AskRequest;
use serde_json::{Value, json};

use crate::harness::*;
use crate::leading::{owner, planner, seeds, stands_by_for, started};
use crate::levels::{AUTOMATIC, by};

fn says(text: &str) -> Reply {
    Reply::text(&json!({"step": "answer", "text": text, "cites": []}).to_string())
}

fn model(replies: impl IntoIterator<Item = Reply>) -> Scripted {
    Scripted::new("test/model".parse().unwrap(), replies)
}

/// A planner with the simulated kit, this model and these standing questions.
async fn planning(model: &Scripted, questions: &[&str]) -> TestNode {
    let mut setup = field();
    setup.raw.role = Some("planner".into());
    // Its own rule, which it would have without one, asks for nothing here.
    setup.raw.rule = vec![
        toml::from_str(
            "name = 'never'\nmetric = 'none'\nbelow = 0\ntarget = 'actuator:mock:valve-1'\noperation = 'open'",
        )
        .unwrap(),
    ];
    let read = |text: &&str| toml::from_str::<RawQuestion>(text).unwrap();
    setup.raw.question = questions.iter().map(read).collect();
    let long = AUTOMATIC.replace("max = 5\n", "max = 50\n");
    setup.policy = Some(long.replace("deadline_sec = 5", "deadline_sec = 50"));
    setup.model = Some(model.clone());
    setup.start().await
}

fn named(name: &str) -> Standing {
    Standing {
        name: name.to_owned(),
        text: "How is it?".to_owned(),
        ask: Ask::Every(60_000),
        private: false,
        propose: true,
    }
}

/// A person asks and is answered.
async fn person(node: &TestNode) -> Answered {
    let asked = AskRequest {
        question: "How is the moisture?".to_owned(),
        ..AskRequest::default()
    };
    let door = node.node().door();
    let mut told = door.ask_planner(&asked, "ana", "ana").unwrap();
    let mut last = None;
    while let Some(telling) = told.recv().await {
        last = Some(telling);
    }
    match last {
        Some(Telling::Answered(answered)) => *answered,
        other => panic!("no answer: {other:?}"),
    }
}

async fn kept(node: &TestNode, by: &str) -> Vec<Answered> {
    let mut all = node.node().door().answered(Scope::Operate).await.unwrap();
    all.retain(|a| a.asked_by == by);
    all
}

async fn answered(node: &TestNode, by: &str) -> Answered {
    until("it is answered", || async { kept(node, by).await.pop() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_rests_while_no_model_can_be_asked_and_says_so() {
    let model = model([
        Reply::fail(FailureKind::Unauthorized, "the key is wrong"),
        says("To the machine."),
    ]);
    let never = "name = 'far'\ntext = 'How is it?'\nevery_min = 10000";
    let node = planning(&model, &[never]).await;
    let why = || node.node().door().planner().why;
    assert!(!why().contains("standing questions rest"), "{}", why());
    assert_eq!(person(&node).await.answerer, Answerer::Rules);
    let says_why = why().contains("standing questions rest") && why().contains("the key is wrong");
    assert!(says_why, "{}", why());
    let idle = || async {
        let doing = node.shared().asking.questions.doing();
        (doing.waiting == 0 && doing.question.is_none()).then_some(())
    };
    standing::ask(&node.shared().asking, &named("hourly")).unwrap();
    until("it is taken up", idle).await;
    // One after the other: it is done with before a person's.
    assert_eq!(person(&node).await.answerer, Answerer::Rules);
    until("all is answered", idle).await;
    assert!(kept(&node, "hourly").await.is_empty(), "it was answered");

    node.node().door().planner_resume("ana").await.unwrap();
    standing::ask(&node.shared().asking, &named("hourly")).unwrap();
    assert_eq!(answered(&node, "hourly").await.answer, "To the machine.");
    assert_eq!(model.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_goes_before_a_standing_question_that_is_being_answered() {
    let model = model([Reply::hang(), says("To you."), says("To the machine.")]);
    let node = planning(&model, &[]).await;
    standing::ask(&node.shared().asking, &named("hourly")).unwrap();
    until("the model is asked", || async {
        (model.open() == 1).then_some(())
    })
    .await;
    let answer = person(&node).await;
    assert_eq!(
        (answer.answer.as_str(), answer.standing),
        ("To you.", false)
    );
    let after = answered(&node, "hourly").await;
    assert_eq!(
        (after.answer.as_str(), after.standing),
        ("To the machine.", true)
    );
    assert_eq!(after.answerer, Answerer::Model);
    assert_eq!((model.asked().len(), model.open()), (3, 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_triggers_pile_up_nowhere_and_delay_no_person() {
    let model = model([Reply::hang(), says("To you.")]).then_always(Reply::hang());
    let node = planning(&model, &[]).await;
    standing::ask(&node.shared().asking, &named("first")).unwrap();
    until("the model is asked", || async {
        (model.open() == 1).then_some(())
    })
    .await;
    let tasks = || node.shared().tasks.tracker().len();
    let before = tasks();
    let mut refused = 0;
    for n in 0..1_000 {
        let name = format!("question {}", n % 100);
        refused += usize::from(standing::ask(&node.shared().asking, &named(&name)).is_err());
    }
    assert_eq!(node.shared().asking.questions.doing().waiting, TRIGGERS_MAX);
    assert_eq!(refused, 10 * (100 - TRIGGERS_MAX));
    assert_eq!(person(&node).await.answer, "To you.");
    until("what was not taken leaves nothing behind", || async {
        (tasks() <= before + TRIGGERS_MAX).then_some(())
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_asks_the_model_whose_wish_waits_for_a_person() {
    let wish = json!({
        "step": "propose", "target": "actuator:mock:valve-1", "operation": "open",
        "params": ["durationSec=2"], "reason": "dry", "cites": ["r1"],
    });
    let model = model([Reply::text(&wish.to_string()), says("I asked for water.")]);
    let question = "name = 'dry'\ntext = 'Is water needed?'\nmetric = 'moisture'\nbelow = 101\ncooldown_sec = 86400";
    let node = planning(&model, &[question]).await;
    let answer = answered(&node, "dry").await;
    assert_eq!(answer.proposals.len(), 1);
    let door = node.node().door();
    let all = door.proposals(true).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(
        all[0].status,
        Status::AwaitingApproval,
        "L1 is for rules alone"
    );
    assert_eq!(all[0].requested_by.kind, Requester::Llm);
    assert_eq!(
        model.asked().len(),
        2,
        "it is quiet until its cooldown has passed"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_asks_and_who_may_not_propose_does_not() {
    let wish = json!({
        "step": "propose", "target": "actuator:mock:valve-1", "operation": "open",
        "params": ["durationSec=2"], "reason": "dry", "cites": [],
    });
    let model = model([Reply::text(&wish.to_string())]).then_always(says("I may not."));
    let question = "name = 'minute'\ntext = 'How is it?'\nat = '* * * * *'\npropose = false";
    let node = planning(&model, &[question]).await;
    assert_eq!(answered(&node, "minute").await.answer, "I may not.");
    let all = node.node().door().proposals(true).await.unwrap();
    assert!(all.is_empty(), "{all:?}");
    node.stop().await;
}

/// Whether a standing question is dropped: the model is asked by the person after it alone.
async fn dropped(node: &TestNode, model: &Scripted) -> bool {
    let before = model.asked().len();
    standing::ask(&node.shared().asking, &named("hourly")).unwrap();
    until("it is taken", || async {
        (node.shared().asking.questions.doing().waiting == 0).then_some(())
    })
    .await;
    person(node).await;
    model.asked().len() == before + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn it_rests_while_people_have_enough_to_decide_and_goes_on_by_itself() {
    let model = model([]).then_always(says("So."));
    let node = planning(&model, &[]).await;
    let own = node.shared().own_id().clone();
    let mut ids = Vec::new();
    for seconds in 1..=PLANNER_WAITING_MAX {
        let mut wish = by(&node, Requester::Llm).await;
        wish.draft_id = format!("wish-{seconds}").parse().unwrap();
        let seconds = Value::from(i64::try_from(seconds).unwrap());
        wish.action.params.insert("durationSec".into(), seconds);
        let minted = proposals::mint(node.shared(), wish, &own).await.unwrap();
        ids.push(minted.signed.record().proposal_id.clone());
    }
    assert!(dropped(&node, &model).await);
    let why = node.node().door().planner().why;
    assert!(why.contains("10 wishes of its model wait"), "{why}");
    let door = node.node().door();
    door.withdraw(ids[0].as_str(), None).await.unwrap();
    standing::ask(&node.shared().asking, &named("hourly")).unwrap();
    assert_eq!(answered(&node, "hourly").await.answer, "So.");
    let why = node.node().door().planner().why;
    assert!(!why.contains("wait"), "{why}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_person_pauses_the_planner_it_rests() {
    let model = model([]).then_always(says("So."));
    let node = planning(&model, &[]).await;
    let door = node.node().door();
    door.planner_pause(&Default::default(), "ana")
        .await
        .unwrap();
    assert!(dropped(&node, &model).await);
    door.planner_resume("ana").await.unwrap();
    standing::ask(&node.shared().asking, &named("hourly")).unwrap();
    answered(&node, "hourly").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_planners_the_one_that_leads_asks() {
    let owner = owner().await;
    let [first, second] = seeds();
    let question = || {
        let text = "name = 'dry'\ntext = 'Is water needed?'\nmetric = 'moisture'\nbelow = 101\ncooldown_sec = 1";
        toml::from_str::<RawQuestion>(text).unwrap()
    };
    let models = [first, second].map(|_| model([]).then_always(says("No.")));
    let [mut a, mut b] = [planner(first, &[&owner]), planner(second, &[&owner])];
    a.raw.question = vec![question()];
    a.model = Some(models[0].clone());
    let a = started(a, first).await;
    b.raw.question = vec![question()];
    b.model = Some(models[1].clone());
    b.raw
        .peers
        .push(format!("{}=ws://{}||local", a.id(), a.address));
    let b = started(b, second).await;
    stands_by_for(&b, &a.id()).await;
    until("the first has asked often", || async {
        (models[0].asked().len() > 4).then_some(())
    })
    .await;
    assert_eq!(models[1].asked().len(), 0);
    a.stop().await;
    until("the second takes over", || async {
        (!models[1].asked().is_empty()).then_some(())
    })
    .await;
    b.stop().await;
    owner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_machines_leave_room_for_those_to_persons() {
    let model = model([]).then_always(says("So."));
    let node = planning(&model, &[]).await;
    person(&node).await;
    for n in 0..60 {
        let name = format!("question {n}");
        standing::ask(&node.shared().asking, &named(&name)).unwrap();
        answered(&node, &name).await;
    }
    assert_eq!(kept(&node, "ana").await.len(), 1);
    let private = Standing {
        private: true,
        ..named("private")
    };
    standing::ask(&node.shared().asking, &private).unwrap();
    let said = answered(&node, "private").await;
    assert!(!said.private.is_empty(), "{said:?}");
    node.stop().await;
}
