//! What a guard promises of pulses, held runs and settings, on a paused clock.

use super::*;
use crate::domain::gate::lease::{Keeper, Source, Wish};

fn set() -> Kind {
    Kind::Set {
        max_step: Default::default(),
        min_interval_ms: 0,
    }
}

fn keeper(n: u8) -> Keeper {
    let device = DeviceKey::from_seed(&[n; 32]).id().clone();
    Keeper::new(Source::Device(device), "t", "laptop")
}

fn run_id() -> ProposalId {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pulse_lasts_its_time_from_when_the_driver_is_told() {
    let mut bench = Bench::new(paused(), false);
    bench.kind = Kind::Pulse;
    bench.safe().await;
    let run = bench.run(500);
    // What comes before takes longer than the pulse.
    tokio::time::sleep(Duration::from_millis(900)).await;
    let begun = bench.guards.steady_ms();
    let ended = bench.begin(run).await.unwrap();
    assert_eq!(ended.status, Status::Completed, "{ended:?}");
    assert_eq!(ended.detail, "pulsed 500 ms and is back in its safe state");
    assert_eq!(bench.guards.steady_ms() - begun, 500);
    assert_eq!(bench.pump.said(), ["stop", "start", "stop"]);
    // A start command that hangs makes it no longer.
    bench.pump.hangs.store(1, Ordering::Relaxed);
    let begun = bench.guards.steady_ms();
    let ended = bench.begin(bench.run(500)).await.unwrap();
    assert_eq!(ended.status, Status::Failed, "{ended:?}");
    assert_eq!(bench.guards.steady_ms() - begun, 500);
    assert_eq!(bench.pump.said().last().unwrap(), "stop");
}

#[tokio::test(start_paused = true)]
async fn a_setting_takes_the_place_of_another_and_one_that_fails_ends_in_the_safe_state() {
    let mut bench = Bench::new(paused(), false);
    bench.kind = set();
    bench.safe().await;
    let first = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 1).await;
    bench.replaces = Some(run_id());
    let second = bench.begin(bench.run(5_000));
    let first = first.await.unwrap();
    assert_eq!(first.status, Status::Completed, "{first:?}");
    assert!(
        first
            .detail
            .contains("and then replaced by proposal 01234567"),
        "{first:?}"
    );
    bench.pump.heard("start", 2).await;
    assert_eq!(
        bench.pump.said(),
        ["stop", "start", "start"],
        "without the safe state between"
    );
    // The second one's own deadline ends it.
    let begun = bench.guards.steady_ms();
    let second = second.await.unwrap();
    assert_eq!(second.status, Status::Completed, "{second:?}");
    assert!(bench.guards.steady_ms() - begun <= 5_000);
    assert_eq!(bench.pump.said(), ["stop", "start", "start", "stop"]);

    // One whose leave has lapsed, and an action of another kind, change nothing.
    bench.replaces = None;
    let first = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 3).await;
    bench.replaces = Some(run_id());
    let late = bench.run(600_000);
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    let late = bench.begin(late).await.unwrap();
    assert!(late.detail.contains("lapsed"), "{late:?}");
    bench.kind = Kind::Timed;
    let timed = bench.begin(bench.run(1_000)).await.unwrap();
    assert!(timed.detail.contains("set by another action"), "{timed:?}");
    bench.kind = set();
    assert_eq!(bench.pump.said().len(), 5);
    // One that fails ends in the safe state.
    bench.pump.hangs.store(2, Ordering::Relaxed);
    let fails = bench.begin(bench.run(600_000)).await.unwrap();
    assert_eq!(fails.status, Status::Failed, "{fails:?}");
    assert!(
        fails.detail.ends_with("it is in its safe state"),
        "{fails:?}"
    );
    assert_eq!(first.await.unwrap().status, Status::Completed);
    assert_eq!(bench.pump.said()[5..], ["start", "stop"]);
    bench.pump.hangs.store(0, Ordering::Relaxed);

    // A stop ends whichever is set, and one that comes after it does not begin.
    bench.replaces = None;
    let first = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 5).await;
    bench.replaces = Some(run_id());
    let run = bench.run(600_000);
    let by = "ada".to_owned();
    bench.guards.secure(&bench.target(), Cut::Stopped { by });
    let second = bench.guards.run(run).unwrap();
    assert!(first.await.unwrap().detail.contains("ada stopped it"));
    assert_eq!(second.await.unwrap().status, Status::Failed);
    assert_eq!(bench.pump.said()[7..], ["start", "stop"]);
}

#[tokio::test(start_paused = true)]
async fn a_setting_takes_no_place_but_of_the_one_that_its_step_was_measured_from() {
    let mut bench = Bench::new(paused(), false);
    bench.kind = set();
    bench.safe().await;
    let set = |bench: &mut Bench, id, replaces: Option<&str>| {
        (bench.id, bench.replaces) = (id, replaces.map(|id| id.parse().unwrap()));
        bench.begin(bench.run(600_000))
    };
    // The second lapses behind a slow driver; the third, a step further, was judged as if it were in force.
    bench.pump.takes_ms.store(6_000, Ordering::Relaxed);
    let first = set(&mut bench, "first", None);
    bench.pump.heard("start", 1).await;
    let second = set(&mut bench, "second", Some("first"));
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    let third = set(&mut bench, "third", Some("second"));
    let second = second.await.unwrap();
    assert!(second.detail.contains("lapsed"), "{second:?}");
    let third = third.await.unwrap();
    assert_eq!(third.status, Status::Failed);
    assert!(
        third
            .detail
            .contains("proposal second, which is not in force"),
        "{third:?}"
    );
    let fourth = set(&mut bench, "fourth", None).await.unwrap();
    assert!(fourth.detail.contains("from the safe state"), "{fourth:?}");
    assert_eq!(bench.pump.said(), ["stop", "start"]);
    // From the safe state none begins that was to take a place.
    let by = "ada".to_owned();
    bench.guards.secure(&bench.target(), Cut::Stopped { by });
    assert!(first.await.unwrap().detail.contains("ada stopped it"));
    let late = set(&mut bench, "late", Some("first")).await.unwrap();
    assert!(
        late.detail
            .contains("proposal first, which is not in force"),
        "{late:?}"
    );
    assert_eq!(bench.pump.said(), ["stop", "start", "stop"]);
}

#[tokio::test(start_paused = true)]
async fn a_held_run_ends_when_its_holder_falls_silent_or_lets_go_and_at_its_deadline() {
    let mut bench = Bench::new(paused(), false);
    bench.kind = Kind::Held { lease_ms: 2_000 };
    bench.class = Class::PeerPerson;
    bench.safe().await;
    let keep = |bench: &Bench, wish| bench.guards.keep(&run_id(), &keeper(8), wish);
    keep(&bench, Wish::Keep(1)).unwrap_err();

    // Renewed a few times, then never again.
    let begun = bench.guards.steady_ms();
    let ended = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 1).await;
    for counter in 1..=5 {
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        keep(&bench, Wish::Keep(counter)).unwrap();
    }
    let ended = ended.await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    let how = "its lease lapsed: laptop held it and was last heard 2000 ms before; it is in its safe state";
    assert!(ended.detail.ends_with(how), "{ended:?}");
    let lasted = bench.guards.steady_ms() - begun;
    assert!((11_500..11_900).contains(&lasted), "{lasted}");
    keep(&bench, Wish::Keep(9)).unwrap_err();

    // Let go.
    let ended = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 2).await;
    keep(&bench, Wish::Keep(1)).unwrap();
    assert!(keep(&bench, Wish::Release).unwrap().released);
    let ended = ended.await.unwrap();
    assert_eq!(ended.status, Status::Completed, "{ended:?}");
    assert!(
        ended.detail.starts_with("released by laptop after "),
        "{ended:?}"
    );

    // Kept on and on: its deadline comes all the same, also while the start command hangs.
    for hangs in [0, 1] {
        bench.pump.hangs.store(hangs, Ordering::Relaxed);
        let begun = bench.guards.steady_ms();
        let mut ended = bench.begin(bench.run(10_000));
        let mut counter = 0;
        let ended = loop {
            counter += 1;
            // It takes none before it has begun and after it has ended.
            let _ = keep(&bench, Wish::Keep(counter));
            tokio::select! {
                ended = &mut ended => break ended.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        };
        let lasted = bench.guards.steady_ms() - begun;
        assert!((10_000..10_300).contains(&lasted), "{lasted}");
        let status = [Status::Completed, Status::Failed][usize::from(hangs == 1)];
        assert_eq!(ended.status, status, "{ended:?}");
    }
    bench.pump.hangs.store(0, Ordering::Relaxed);

    // A machine that slept: the lease is over at once, whatever is said now.
    let slept = Arc::new(Virtual {
        begun: tokio::time::Instant::now(),
        slept_ms: AtomicU64::new(0),
    });
    let mut bench = Bench::new(slept.clone(), false);
    bench.kind = Kind::Held { lease_ms: 2_000 };
    bench.class = Class::PeerPerson;
    bench.safe().await;
    let ended = bench.begin(bench.run(600_000));
    bench.pump.heard("start", 1).await;
    slept.slept_ms.fetch_add(3_600_000, Ordering::Relaxed);
    keep(&bench, Wish::Keep(1)).unwrap_err();
    let ended = ended.await.unwrap();
    assert!(ended.detail.contains("overran by 35"), "{ended:?}");
}
