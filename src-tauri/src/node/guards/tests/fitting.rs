//! Actuators that are put in and taken out while a node runs.

use super::*;

fn pump(said: &Arc<Pump>, name: &str) -> SharedActuator {
    Arc::new(PumpDriver(said.clone(), name.parse().unwrap()))
}

fn out(bench: &Bench) -> BTreeSet<Capability> {
    BTreeSet::from([bench.target()])
}

#[tokio::test(start_paused = true)]
async fn an_idle_actuator_gives_its_place_to_another_and_no_earlier_permit_reaches_that() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let permitted = bench.run(5_000);
    let new = Arc::<Pump>::default();
    let mut spare = bench.fitter.prepare(vec![pump(&new, PUMP)], &[]).unwrap();
    let gone = bench.fitter.fit(&out(&bench), &mut spare).unwrap();
    gone.gone(Duration::from_secs(60)).await;
    assert_eq!(Arc::strong_count(&bench.pump), 1, "its driver is let go");
    assert_eq!(new.said(), [""; 0], "it has not begun");
    spare.begin();
    bench.safe().await;
    let ended = bench.begin(permitted).await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert!(
        ended
            .detail
            .contains("a change of its device in the configuration"),
        "{ended:?}"
    );
    // A new permit moves the new one, and the old one was told nothing more.
    let ended = bench.begin(bench.run(5_000)).await.unwrap();
    assert_eq!(ended.status, Status::Completed, "{ended:?}");
    assert_eq!(new.said(), ["stop", "start", "stop"]);
    assert_eq!(bench.pump.said(), ["stop"]);
    assert!(!bench.tasks.stop().is_cancelled(), "the node goes on");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_while_one_of_them_runs_or_is_not_safe() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let ended = bench.begin(bench.run(5_000));
    // Also before its guard has looked at it.
    let (new, other) = (Arc::<Pump>::default(), "actuator:pump:other");
    let coming = || vec![pump(&new, PUMP), pump(&new, other)];
    let refused = |bench: &Bench| {
        let mut spare = bench.fitter.prepare(coming(), &[]).unwrap();
        bench.fitter.fit(&out(bench), &mut spare).err().unwrap()
    };
    assert_eq!(
        refused(&bench),
        ["actuator:pump:main has been given an action"]
    );
    bench.pump.heard("start", 1).await;
    let why = refused(&bench);
    assert_eq!(
        why,
        ["actuator:pump:main is moved by proposal 0123456789ab"]
    );
    assert_eq!(ended.await.unwrap().status, Status::Completed);
    bench.pump.fails_to_stop.store(1_000, Ordering::Relaxed);
    let ended = bench.begin(bench.run(1_000)).await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    let why = refused(&bench);
    assert!(
        why[0].contains("not confirmed to be in its safe state (relay busy)"),
        "{why:?}"
    );
    // Those that found no place have gone without a word to their actuators.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(new.said(), [""; 0]);
    assert_eq!(Arc::strong_count(&new), 1);
    assert!(!bench.guards.has(&other.parse().unwrap()));
    assert!(!bench.tasks.stop().is_cancelled(), "the node goes on");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_there_is_put_in_over_no_other() {
    let bench = Bench::new(paused(), false);
    bench.safe().await;
    let new = Arc::<Pump>::default();
    let mut spare = bench.fitter.prepare(vec![pump(&new, PUMP)], &[]).unwrap();
    let why = bench
        .fitter
        .fit(&BTreeSet::new(), &mut spare)
        .err()
        .unwrap();
    assert_eq!(why, ["actuator:pump:main is there already"]);
}

#[test]
fn a_guard_that_is_dismissed_ends_its_thread_and_not_the_node() {
    let waits = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let bench = Bench::new(Arc::new(SystemClock::default()), true);
    waits.block_on(async {
        bench.safe().await;
        let mut spare = bench.fitter.prepare(Vec::new(), &[]).unwrap();
        let gone = bench.fitter.fit(&out(&bench), &mut spare).unwrap();
        gone.gone(Duration::from_secs(60)).await;
        assert_eq!(Arc::strong_count(&bench.pump), 1);
        assert!(!bench.guards.has(&bench.target()));
        assert!(
            bench
                .guards
                .secure(&bench.target(), Cut::Shutdown)
                .is_none()
        );
        assert!(!bench.tasks.stop().is_cancelled());
        bench.tasks.kill().await;
    });
}
