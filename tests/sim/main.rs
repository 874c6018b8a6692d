//! The simulator: real nodes over a simulated network, clock, disk and chance, all driven by one
//! seed. `make sim SEEDS=1000` runs many, `make sim SEED=1234` one again, `SIM_TRACE=1` tells all.

mod checks;
mod disk;
mod host;
mod life;
mod network;
mod rng;
mod world;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Instant;

thread_local! {
    /// Panics on this thread, which are all of a world's.
    pub static PANICS: Cell<u32> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|p| p.set(p.get() + 1));
            usual(info);
        }));
    });
}

/// Runs seeds and says what they showed; fails with every seed that showed something wrong.
///
/// Worlds that do not converge are a known open fault (seeds 0, 3 and 4): always printed, and a
/// failure where `convergence` says so, which `make sim` does.
fn sweep(seeds: impl Iterator<Item = u64>, convergence: bool) {
    count_panics();
    let begun = Instant::now();
    let (mut faults, mut bad) = (BTreeMap::<&str, u64>::new(), Vec::new());
    let (mut count, mut virtual_ms, mut opened, mut minted) = (0_u64, 0_u64, 0, 0);
    for seed in seeds {
        let report = life::run(seed);
        count += 1;
        virtual_ms += report.virtual_ms;
        opened += report.opened;
        minted += report.minted;
        for (kind, n) in report.faults {
            *faults.entry(kind).or_default() += n;
        }
        for wrong in &report.wrong {
            eprintln!("seed {seed}: {wrong}");
        }
        let counts = |w: &String| convergence || !w.starts_with("CONVERGE");
        if report.wrong.iter().any(counts) {
            eprintln!("again: make sim SEED={seed}");
            bad.push(report.seed);
        }
    }
    let hours = virtual_ms / 3_600_000;
    println!(
        "{count} seeds, {hours} simulated hours, {minted} proposals, {opened} movements, faults {faults:?}, {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(bad.is_empty(), "seeds that showed something wrong: {bad:?}");
    assert!(
        count < 20 || opened > 0,
        "no world moved anything: the simulator tests nothing"
    );
}

fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What `make sim` runs; without its variables there is nothing to do here.
#[test]
fn sim() {
    if wanted("SEED").is_none() && wanted("SEEDS").is_none() {
        return;
    }
    let seeds = match wanted("SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let start = wanted("START").unwrap_or(0);
            start..start + wanted("SEEDS").unwrap_or(100)
        }
    };
    sweep(seeds, true);
}

#[test]
fn a_seed_replays_exactly() {
    count_panics();
    let (first, second) = (life::run(3), life::run(3));
    assert!(
        first.digest.1 > 500,
        "{} lines are no world",
        first.digest.1
    );
    assert_eq!(first.digest, second.digest);
    assert_ne!(first.digest, life::run(0).digest);
}

macro_rules! chunks {
    ($($name:ident $start:literal;)*) => {$(
        #[test]
        fn $name() {
            sweep($start..$start + 1, false);
        }
    )*};
}

// Few on purpose: a world takes seconds in the dev profile.
chunks! { seeds_0 0; seeds_3 3; seeds_6 6; seeds_9 9; }
