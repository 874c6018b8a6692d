//! Rules with a schedule: one time leads to at most one wish and at most one run.

use std::collections::BTreeMap;

use clawmesh::domain::base::limits::{SLOT_AGE_MAX_MS, SLOT_AHEAD_MAX_MS, SLOT_MS};
use clawmesh::domain::base::{Code, TimeMs};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals;

use crate::harness::*;
use crate::levels::{AUTOMATIC, automatic, by, opened};
use crate::main_job::{decision, mint, operator, status};
use crate::process::{Place, Running, eventually};

/// The wish of a schedule at the time of it that came last, to open the valve for so long.
async fn at(node: &TestNode, slot: TimeMs, seconds: i64) -> Draft {
    let slot = TimeMs(slot.0 - slot.0 % SLOT_MS);
    let mut wish = by(node, Requester::Rules).await;
    wish.action
        .params
        .insert("durationSec".into(), seconds.into());
    Draft {
        cites: Vec::new(),
        slot: Some(slot),
        ..wish
    }
}

async fn refused(node: &TestNode, wish: Draft) -> Code {
    let own = node.shared().own_id();
    let minted = proposals::mint(node.shared(), wish, own).await;
    minted.unwrap_err().code
}

#[tokio::test(flavor = "multi_thread")]
async fn one_time_leads_to_one_run_however_many_planners_ask() {
    let node = automatic().await;
    let now = node.shared().now();
    let first = at(&node, now, 1).await;
    let own = node.shared().own_id().clone();
    let minted = proposals::mint(node.shared(), first, &own).await.unwrap();
    assert_eq!(minted.status, Status::Executing);
    until("it completes", || async {
        (status(node.shared(), &minted).await == Status::Completed).then_some(())
    })
    .await;
    for slot in [now, TimeMs(now.0 - SLOT_MS)] {
        let second = at(&node, slot, 2).await;
        assert_eq!(refused(&node, second).await, Code::CommandExpired);
    }
    assert_eq!(opened(&node), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_past_ahead_or_made_up_beside_evidence_asks_for_nothing() {
    let node = automatic().await;
    let now = node.shared().now();
    let past = at(&node, TimeMs(now.0 - SLOT_AGE_MAX_MS - 1), 1).await;
    assert_eq!(refused(&node, past).await, Code::CommandExpired);
    let ahead = at(&node, now.plus(SLOT_AHEAD_MAX_MS + SLOT_MS), 1).await;
    assert_eq!(refused(&node, ahead).await, Code::ClockUntrusted);
    // A time does not stand in for the age of what is cited, and serves rules alone.
    let odd = Draft {
        slot: Some(TimeMs(now.0 - now.0 % SLOT_MS + 1)),
        ..at(&node, now, 1).await
    };
    assert_eq!(refused(&node, odd).await, Code::InvalidParams);
    let citing = Draft {
        slot: Some(now),
        ..by(&node, Requester::Rules).await
    };
    assert_eq!(refused(&node, citing).await, Code::InvalidParams);
    for requester in [Requester::Llm, Requester::Person] {
        let wish = Draft {
            requester,
            ..at(&node, now, 1).await
        };
        assert_eq!(refused(&node, wish).await, Code::InvalidParams);
    }
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_weakens_no_demand_for_evidence() {
    let node = field().start().await;
    let wish = at(&node, node.shared().now(), 1).await;
    assert_eq!(refused(&node, wish).await, Code::EvidenceMissing);
    let told = at(&node, node.shared().now(), 1).await.to_wire();
    assert!(told["draft"].get("slot").is_none(), "{told}");
    assert!(told["slot"].is_u64(), "{told}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_since_is_not_done_again_when_a_person_approves() {
    let mut setup = field().with_operator(operator(), "L2");
    setup.policy = Some(AUTOMATIC.replace(r#"level = "L1""#, r#"level = "L2""#));
    let node = setup.start().await;
    let own = node.shared().own_id().clone();
    let wish = at(&node, node.shared().now(), 1).await;
    let waits = proposals::mint(node.shared(), wish, &own).await.unwrap();
    assert_eq!(waits.status, Status::AwaitingApproval);
    // Meanwhile a person has it done.
    let done = mint(&node, 2).await;
    let approve = |signed| decision(node.shared(), signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), approve(&done.signed))
        .await
        .unwrap();
    until("it completes", || async {
        (status(node.shared(), &done).await == Status::Completed).then_some(())
    })
    .await;
    let refused = proposals::decide(node.shared(), approve(&waits.signed)).await;
    assert_eq!(refused.unwrap_err().code, Code::CommandExpired);
    assert_eq!(opened(&node), 1);
    node.stop().await;
}

/// The configuration of a node that plans and acts, with a rule for every minute for each name.
fn every_minute(names: &[&str]) -> String {
    let rule = |(n, name): (usize, &&str)| {
        format!(
            "[[rule]]\nname = '{name}'\nat = '* * * * *'\ntarget = 'actuator:mock:valve-1'\noperation = 'open'\n\
             params = {{ durationSec = {} }}\n",
            n + 1
        )
    };
    names.iter().enumerate().map(rule).collect()
}

fn planner(place: &Place) -> Running {
    place.start(&[
        "--role",
        "planner",
        "--mesh-name",
        "test",
        "--mock-actuator",
    ])
}

fn fired(place: &Place) -> BTreeMap<(String, u64), usize> {
    let events = place.json(&["events", "--limit", "1000"]);
    let mut all = BTreeMap::new();
    for event in events.as_array().unwrap() {
        let data = &event["data"];
        if event["kind"] == "rule.fired" {
            let rule = data["rule"].as_str().unwrap().to_owned();
            *all.entry((rule, data["slot"].as_u64().unwrap()))
                .or_default() += 1;
        }
    }
    all
}

#[test]
fn killed_and_started_again_it_asks_for_no_time_twice() {
    let place = Place::new();
    let asked = |name: &str| fired(&place).keys().any(|(rule, _)| rule == name);
    let mut names = vec!["first"];
    for next in ["second", "third"] {
        place.write("config.toml", &every_minute(&names));
        let last = *names.last().unwrap();
        let node = planner(&place);
        eventually("the newest rule asks", || asked(last).then_some(()));
        node.kill();
        names.push(next);
    }
    place.write("config.toml", &every_minute(&names));
    let node = planner(&place);
    // The rules are looked at in their order.
    eventually("the last rule asks", || asked("third").then_some(()));
    let all = fired(&place);
    assert!(all.values().all(|times| *times == 1), "{all:?}");
    assert_eq!(node.stop(), 0);
}
