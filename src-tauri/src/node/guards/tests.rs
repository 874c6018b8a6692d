//! What a guard promises, on threads where it matters and on a paused clock where time does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fitting;
mod kinds;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::*;
use crate::adapters::clock::{Clock, SystemClock};
use crate::adapters::devices::{Actuator, DriverError, Position};
use crate::domain::base::{DeviceId, Tier};
use crate::domain::capability::{Action, Params};
use crate::domain::gate::{Act, ActuationRuling, ExecutionRequest, actuation};
use crate::domain::identity::DeviceKey;
use crate::domain::policy::{Class, Kind, Level, Terms};
use crate::node::context::alarms::AlarmKind;
use crate::node::context::tasks::Tasks;

const PUMP: &str = "actuator:pump:main";

/// A pump that a test breaks.
#[derive(Debug, Default)]
struct Pump {
    said: Mutex<Vec<String>>,
    told: tokio::sync::Notify,
    hangs: AtomicU64,
    takes_ms: AtomicU64,
    fails_to_stop: AtomicI64,
    cannot_arm: AtomicU64,
    lost: tokio::sync::Notify,
}

impl Pump {
    fn note(&self, what: &str) {
        self.said.lock().unwrap().push(what.to_owned());
        self.told.notify_waiters();
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    async fn heard(&self, what: &str, times: usize) {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.said().iter().filter(|s| *s == what).count() >= times {
                return;
            }
            told.await;
        }
    }
}

struct PumpDriver(Arc<Pump>, Capability);

impl Actuator for PumpDriver {
    fn capability(&self) -> &Capability {
        &self.1
    }

    fn operations(&self) -> Vec<String> {
        vec!["start".into(), "stop".into()]
    }

    fn arm<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        let armed = match self.0.cannot_arm.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(DriverError::Failed("no process is left".into())),
        };
        Box::pin(std::future::ready(armed))
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        Box::pin(async move {
            self.0.note(&act.action().operation);
            let takes = Duration::from_millis(self.0.takes_ms.load(Ordering::Relaxed));
            tokio::time::sleep(takes).await;
            match self.0.hangs.load(Ordering::Relaxed) {
                0 => Ok(()),
                1 => std::future::pending().await,
                _ => panic!("a driver's fault"),
            }
        })
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move {
            if self.0.fails_to_stop.fetch_sub(1, Ordering::Relaxed) > 0 {
                self.0.note("failed to stop");
                return Err(DriverError::Failed("relay busy".into()));
            }
            self.0.note("stop");
            Ok(())
        })
    }

    fn lost(&self) -> BoxFuture<'_, String> {
        Box::pin(async {
            self.0.lost.notified().await;
            "the broker was lost".to_owned()
        })
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let position = self.0.said().last().cloned().unwrap_or_default();
        Box::pin(async move { Ok(Position { position }) })
    }
}

/// The simulated clock: virtual time, plus time the machine slept.
#[derive(Debug)]
struct Virtual {
    begun: tokio::time::Instant,
    slept_ms: AtomicU64,
}

impl Clock for Virtual {
    fn now(&self) -> TimeMs {
        TimeMs(1_000_000 + self.steady_ms())
    }

    fn steady_ms(&self) -> u64 {
        let ran = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        ran + self.slept_ms.load(Ordering::Relaxed)
    }
}

struct Bench {
    kind: Kind,
    replaces: Option<ProposalId>,
    id: &'static str,
    asker: DeviceId,
    class: Class,
    guards: Guards,
    pump: Arc<Pump>,
    alarms: Arc<Alarms>,
    tasks: Tasks,
    clock: SharedClock,
    fitter: Fitter,
}

impl Bench {
    fn new(clock: SharedClock, threads: bool) -> Self {
        Self::with(Arc::default(), clock, threads)
    }

    fn with(pump: Arc<Pump>, clock: SharedClock, threads: bool) -> Self {
        let (alarms, tasks) = (Arc::new(Alarms::default()), Tasks::new());
        let driver = PumpDriver(pump.clone(), PUMP.parse().unwrap());
        let drivers: Vec<SharedActuator> = vec![Arc::new(driver)];
        let begun = Guards::start_after(drivers, &[], &clock, &alarms, &tasks, threads);
        let (guards, _, fitter) = begun.unwrap();
        Self {
            kind: Kind::Timed,
            replaces: None,
            id: "0123456789abcdef0123456789abcdef",
            asker: DeviceKey::from_seed(&[8; 32]).id().clone(),
            class: Class::OwnRules,
            guards,
            pump,
            alarms,
            tasks,
            clock,
            fitter,
        }
    }

    fn target(&self) -> Capability {
        PUMP.parse().unwrap()
    }

    /// A run of so many milliseconds, permitted now.
    fn run(&self, run_ms: u64) -> Run {
        self.run_of("start", run_ms)
    }

    fn run_of(&self, operation: &str, run_ms: u64) -> Run {
        let key = DeviceKey::from_seed(&[7; 32]);
        let own: &DeviceId = key.id();
        let action = Action::new(self.target(), operation, Params::new()).unwrap();
        let digest = crate::domain::base::Digest::of(&[b"record"]);
        let now = self.clock.now();
        let request = ExecutionRequest {
            proposal_id: &self.id.parse().unwrap(),
            digest: &digest,
            executor: own,
            own,
            asked_by: &self.asker,
            action: &action,
            level: Level::L1,
            quorum: 0,
            at_node: false,
            run_ms,
            taint: &BTreeSet::new(),
            sources: &BTreeSet::new(),
            by_gen1: false,
            replaces: self.replaces.as_ref(),
            expires_at: now.plus(60_000),
        };
        let terms = Terms {
            rule: "pump".into(),
            class: self.class,
            fresh_for_ms: None,
            tier: None,
            min_tier: Tier::T2,
            level: Level::L1,
            quorum: 1,
            at_node: false,
            kind: self.kind.clone(),
            deadline_ms: run_ms,
            run_ms,
            safe_state: "stop".into(),
            standing: Err("no".into()),
            checks: Vec::new(),
        };
        match actuation::rule(&request, &terms, &[], true, now) {
            ActuationRuling::Allow(permit) => Run {
                permit,
                at_steady_ms: self.guards.steady_ms(),
                seen: self.guards.orders(&[self.target()]),
                place: None,
            },
            other => panic!("{other:?}"),
        }
    }

    fn begin(&self, run: Run) -> oneshot::Receiver<Ended> {
        self.guards.run(run).unwrap()
    }

    async fn safe(&self) {
        assert_eq!(self.guards.all_safe(Duration::from_secs(600)).await, []);
    }
}

fn paused() -> SharedClock {
    Arc::new(Virtual {
        begun: tokio::time::Instant::now(),
        slept_ms: AtomicU64::new(0),
    })
}

/// A runtime all of whose threads are stuck, as a log that blocks or a loop makes them.
#[test]
fn a_stalled_runtime_delays_neither_deadline_nor_stop() {
    let stalled = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let bench = Bench::new(Arc::new(SystemClock::default()), true);
    stalled.block_on(bench.safe());
    // From here on nothing polls the main runtime; only this thread waits.
    let ended = bench.begin(bench.run(300));
    let ended = ended.blocking_recv().unwrap();
    assert_eq!(ended.status, Status::Completed, "{ended:?}");
    assert_eq!(bench.pump.said(), ["stop", "start", "stop"]);

    let ended = bench.begin(bench.run(600_000));
    let by = "ada".to_owned();
    bench.guards.secure(&bench.target(), Cut::Stopped { by });
    let ended = ended.blocking_recv().unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert!(ended.detail.contains("ada"), "{ended:?}");
    assert_eq!(bench.pump.said().last().unwrap(), "stop");
    stalled.block_on(bench.tasks.kill());
}

#[tokio::test(start_paused = true)]
async fn a_start_command_that_hangs_is_stopped_and_has_its_deadline() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    bench.pump.hangs.store(1, Ordering::Relaxed);
    let ended = bench.begin(bench.run(5_000));
    bench.pump.heard("start", 1).await;
    let ended = ended.await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert!(ended.detail.contains("5000 ms"), "{ended:?}");
    assert_eq!(bench.pump.said(), ["stop", "start", "stop"]);

    let ended = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 2).await;
    let secured = bench
        .guards
        .secure_all(Cut::EmergencyStop, Duration::from_secs(2))
        .await;
    assert!(secured[0].safe, "{secured:?}");
    assert_eq!(ended.await.unwrap().status, Status::Failed);
}

#[tokio::test(start_paused = true)]
async fn the_safe_operation_itself_lasts_no_time_and_is_done_however_long_it_takes() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    bench.pump.takes_ms.store(3_000, Ordering::Relaxed);
    let run = bench.run_of("stop", 0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = bench.begin(run).await.unwrap();
    assert_eq!(ended.status, Status::Completed, "{ended:?}");
    assert_eq!(ended.detail, "stop actuator:pump:main done");
    // Made safe, acted on, and confirmed by the driver's own way to the safe state.
    assert_eq!(bench.pump.said(), ["stop", "stop", "stop"]);
    // One that hangs has failed, and the safe state is pursued all the same.
    bench.pump.hangs.store(1, Ordering::Relaxed);
    let ended = bench.begin(bench.run_of("stop", 0)).await.unwrap();
    assert_eq!(ended.status, Status::Failed, "{ended:?}");
    assert!(
        ended.detail.ends_with("it is in its safe state"),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_device_is_lost_ends_and_is_made_safe() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let ended = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 1).await;
    bench.pump.lost.notify_one();
    let ended = ended.await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert!(ended.detail.contains("the broker was lost"), "{ended:?}");
    assert_eq!(bench.pump.said(), ["stop", "start", "stop"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_permit() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let run = bench.run(4_000);
    let permitted = bench.guards.steady_ms();
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    let ended = bench.begin(run).await.unwrap();
    assert_eq!(ended.status, Status::Completed, "{ended:?}");
    assert!(bench.guards.steady_ms() - permitted < 4_300);
    // One that comes after its whole time does not move at all.
    let run = bench.run(2_000);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let ended = bench.begin(run).await.unwrap();
    assert!(ended.detail.contains("lapsed"), "{ended:?}");
    assert_eq!(bench.pump.said(), ["stop", "start", "stop"]);
}

#[tokio::test(start_paused = true)]
async fn the_safe_state_is_pursued_until_it_is_reached_and_nothing_starts_before() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let ended = bench.begin(bench.run(1_000));
    bench.pump.fails_to_stop.store(12, Ordering::Relaxed);
    let ended = ended.await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert!(ended.detail.contains("still being tried"), "{ended:?}");
    let view = bench.guards.view(&bench.target()).unwrap();
    assert!(!view.safe && view.proposal.is_some(), "{view:?}");
    assert!(bench.alarms.stands(AlarmKind::ActuatorUnsafe, PUMP));
    let refused = bench.begin(bench.run(1_000)).await.unwrap();
    assert!(refused.detail.contains("safe state"), "{refused:?}");
    // A stop tries at once and says that it has not been reached.
    let stop = Cut::Stopped { by: "ada".into() };
    let order = bench.guards.secure(&bench.target(), stop).unwrap();
    let secured = bench
        .guards
        .settled(&order, Duration::from_millis(50))
        .await;
    assert_eq!(secured.problem.as_deref(), Some("relay busy"));
    bench.safe().await;
    assert!(!bench.alarms.stands(AlarmKind::ActuatorUnsafe, PUMP));
    let starts = bench.pump.said().iter().filter(|s| *s == "start").count();
    assert_eq!(starts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_few_failed_attempts_are_an_overrun() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let ended = bench.begin(bench.run(1_000));
    bench.pump.fails_to_stop.store(4, Ordering::Relaxed);
    let ended = ended.await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert!(
        ended.detail.contains("overran by") && ended.detail.contains("it is in its safe state"),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_suspend_an_overdue_run_ends_at_once_as_overrun() {
    let clock = Arc::new(Virtual {
        begun: tokio::time::Instant::now(),
        slept_ms: AtomicU64::new(0),
    });
    let bench = Bench::new(clock.clone(), false);
    bench.safe().await;
    let ended = bench.begin(bench.run(60_000));
    bench.pump.heard("start", 1).await;
    let before = tokio::time::Instant::now();
    clock.slept_ms.fetch_add(3_600_000, Ordering::Relaxed);
    let ended = ended.await.unwrap();
    assert!(before.elapsed() < Duration::from_millis(300));
    assert_eq!(ended.status, Status::Failed);
    assert!(ended.detail.contains("overran by 35"), "{ended:?}");
    assert_eq!(bench.pump.said().last().unwrap(), "stop");
}

#[tokio::test(start_paused = true)]
async fn at_its_start_a_guard_pursues_the_safe_state_too() {
    let pump = Arc::new(Pump::default());
    pump.fails_to_stop.store(9, Ordering::Relaxed);
    let bench = Bench::with(pump, paused(), false);
    let left = bench.guards.all_safe(Duration::from_secs(5)).await;
    assert_eq!(left[0].problem.as_deref(), Some("relay busy"));
    assert!(bench.alarms.stands(AlarmKind::ActuatorUnsafe, PUMP));
    bench.safe().await;
    assert_eq!(bench.alarms.list(), []);
}

#[tokio::test(start_paused = true)]
async fn without_a_reserved_way_back_nothing_starts() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    bench.pump.cannot_arm.store(1, Ordering::Relaxed);
    let ended = bench.begin(bench.run(1_000)).await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert!(ended.detail.contains("no process is left"), "{ended:?}");
    assert!(!bench.pump.said().contains(&"start".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_order_that_comes_before_the_movement_keeps_it_from_beginning() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let run = bench.run(1_000);
    bench.guards.secure_each(&Cut::EmergencyStop);
    let ended = bench.begin(run).await.unwrap();
    assert!(ended.detail.contains("emergency stop"), "{ended:?}");
    assert!(!bench.pump.said().contains(&"start".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_costs_its_run_and_no_guard() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    bench.pump.hangs.store(2, Ordering::Relaxed);
    let ended = bench.begin(bench.run(1_000)).await.unwrap();
    assert!(ended.detail.contains("panicked"), "{ended:?}");
    bench.pump.hangs.store(0, Ordering::Relaxed);
    let ended = bench.begin(bench.run(1_000)).await.unwrap();
    assert_eq!(ended.status, Status::Completed, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_node_makes_safe_what_moves() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let ended = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 1).await;
    assert!(bench.tasks.shut_down().await);
    assert!(ended.await.unwrap().detail.contains("shut down"));
    assert_eq!(bench.pump.said(), ["stop", "start", "stop"]);
}
