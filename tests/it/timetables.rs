//! Schedules while the planner is paused, over steps of the clock, and with two planners that live.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clawmesh::adapters::clock::{Clock, SystemClock};
use clawmesh::domain::base::TimeMs;
use clawmesh::domain::base::limits::SLOT_MS;
use clawmesh::domain::proposal::Status;
use clawmesh::node::config::RawRule;
use clawmesh::node::routing;
use clawmesh::node::timetable::Timetable;

use crate::harness::{Setup, TestNode, field, key, until};
use crate::leading::{GRANTS, all, measured, model, planner, seeds, stands_by_for, started};
use crate::levels::{AUTOMATIC, opened};

const HOUR_MS: u64 = 60 * SLOT_MS;

/// A clock that shows the time that the test sets; its steady time goes on.
#[derive(Debug)]
struct Set(AtomicU64, SystemClock);

impl Set {
    /// At the beginning of an hour.
    fn new() -> Arc<Self> {
        let system = SystemClock::default();
        let now = system.now().0;
        Arc::new(Self(AtomicU64::new(now - now % HOUR_MS), system))
    }

    fn minutes(&self, n: i64) {
        let step = n * i64::try_from(SLOT_MS).unwrap();
        let now = self.0.load(Ordering::SeqCst).checked_add_signed(step);
        self.0.store(now.unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Set {
    fn now(&self) -> TimeMs {
        TimeMs(self.0.load(Ordering::SeqCst))
    }

    fn steady_ms(&self) -> u64 {
        self.1.steady_ms()
    }
}

/// A rule for every minute but the first of an hour, in which the nodes start.
fn every_minute() -> RawRule {
    toml::from_str(
        r#"
        name = "water"
        at = "1-59 * * * *"
        target = "actuator:mock:valve-1"
        operation = "open"
        params = { durationSec = 1 }
        "#,
    )
    .unwrap()
}

/// The times that have come by this table.
async fn due(node: &TestNode, table: &mut Timetable) -> usize {
    let shared = node.shared();
    table.due(shared, &shared.planner).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_came_in_a_pause_or_before_a_step_back_is_not_asked_for_again() {
    let clock = Set::new();
    let mut setup = field();
    setup.clock = clock.clone();
    // It plans nothing by itself: the test looks at the time.
    setup.raw.rule = vec![every_minute()];
    setup.model = Some(model([]));
    let node = setup.start().await;
    let door = node.node().door();
    let mut table = Timetable::of_rules(node.shared()).await;
    assert_eq!(due(&node, &mut table).await, 0);
    clock.minutes(1);
    assert_eq!(due(&node, &mut table).await, 1);
    assert_eq!(due(&node, &mut table).await, 0);
    clock.minutes(1);
    door.planner_pause(&Default::default(), "ana")
        .await
        .unwrap();
    assert_eq!(due(&node, &mut table).await, 0);
    // A node that starts anew in the same minute has not forgotten it.
    let mut table = Timetable::of_rules(node.shared()).await;
    assert_eq!(due(&node, &mut table).await, 0);
    door.planner_resume("ana").await.unwrap();
    assert_eq!(due(&node, &mut table).await, 0, "it is not made up for");
    let mut table = Timetable::of_rules(node.shared()).await;
    assert_eq!(due(&node, &mut table).await, 0, "it is not made up for");
    clock.minutes(1);
    assert_eq!(due(&node, &mut table).await, 1);
    // Back over all of them, and through them again.
    clock.minutes(-2);
    for _ in 0..3 {
        assert_eq!(due(&node, &mut table).await, 0);
        clock.minutes(1);
    }
    assert_eq!(due(&node, &mut table).await, 1, "a new time comes");
    // Those that a step ahead leaves out are not made up for.
    clock.minutes(60);
    assert_eq!(due(&node, &mut table).await, 1);
    assert_eq!(due(&node, &mut table).await, 0);
    node.stop().await;
}

/// One that has the rule, dials these and has this clock.
fn with_rule(seed: u8, peers: &[&TestNode], clock: &Arc<Set>) -> Setup {
    let mut setup = planner(seed, peers);
    setup.raw.rule = vec![every_minute()];
    setup.clock = clock.clone();
    setup
}

/// Returns when the valve has been opened so often, by as many proposals, and has closed again.
async fn runs(owner: &TestNode, n: usize) {
    until(&format!("run {n} is over"), || async {
        let all = all(owner).await;
        let over = all.iter().filter(|p| p.status == Status::Completed).count();
        (over == n).then_some(())
    })
    .await;
    assert_eq!((opened(owner), all(owner).await.len()), (n, n));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_planners_that_live_ask_for_one_run_a_time_and_the_second_goes_on_alone() {
    let clock = Set::new();
    let [first, second] = seeds();
    let mut setup = field();
    for seed in seeds() {
        setup = setup.trusting(key(seed), GRANTS);
    }
    let from = seeds().map(|n| format!("\"{}\"", key(n).id())).join(", ");
    let named = format!("level = \"L1\"\nfrom = [{from}]");
    let policy = AUTOMATIC.replace("level = \"L1\"", &named);
    // A step of the clock makes no reading too old.
    setup.policy = Some(policy.replace("max_age_sec = 60", "max_age_sec = 3600"));
    setup.clock = clock.clone();
    let owner = started(setup, 1).await;
    measured(&owner).await;
    let a = started(with_rule(first, &[&owner], &clock), first).await;
    let b = started(with_rule(second, &[&owner, &a], &clock), second).await;
    stands_by_for(&b, &a.id()).await;
    for planner in [&a, &b] {
        until("the valve is known there", || async {
            let offers = routing::offers(planner.shared());
            let mut all = offers.values().flatten();
            all.any(|c| c == "actuator:mock:valve-1").then_some(())
        })
        .await;
    }
    for n in 1..=3 {
        clock.minutes(1);
        runs(&owner, n).await;
    }
    // A step back brings no time again; the next new one is asked for.
    clock.minutes(-1);
    clock.minutes(2);
    runs(&owner, 4).await;
    let asked = |node: &TestNode| {
        let door = node.node().door();
        async move {
            let events = door.events(Default::default()).await.unwrap();
            let fired = events.into_iter().filter(|e| e.kind == "rule.fired");
            let slots: Vec<u64> = fired.map(|e| e.data["slot"].as_u64().unwrap()).collect();
            let once: BTreeSet<u64> = slots.iter().copied().collect();
            assert_eq!(
                once.len(),
                slots.len(),
                "a time was asked for twice: {slots:?}"
            );
            slots.len()
        }
    };
    asked(&b).await;
    assert!(asked(&a).await >= 3);
    a.stop().await;
    until("the second leads", || async {
        b.shared().leading.epoch().filter(|e| *e > 0)
    })
    .await;
    clock.minutes(1);
    runs(&owner, 5).await;
    assert!(asked(&b).await >= 1);
    b.stop().await;
    owner.stop().await;
}
