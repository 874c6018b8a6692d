//! Points at which a debug build dies as in a power cut, where `CLAWMESH_CRASH` names one: tests check the state left by
//! a sudden end at each write-ahead step. A release build has none of it.
//!
//! A point is `what.when`. Every write to the store has two, by the name that it has in errors: `decide.before` is inside
//! the transaction, when all of it is done but nothing is committed; `decide.after` is on disk, but no caller has been
//! answered.

/// Ends the process here with SIGKILL, if this is the point that `CLAWMESH_CRASH` names.
#[inline]
pub fn point(what: &str, when: &str) {
    #[cfg(debug_assertions)]
    {
        if named("CLAWMESH_CRASH", what, when) {
            die();
        }
        if named("CLAWMESH_STALL", what, when) {
            STALLS.store(true, std::sync::atomic::Ordering::Release);
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = (what, when);
}

#[cfg(debug_assertions)]
static STALLS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether the runtime is to stand still from now on: in a debug build, once the point was passed that
/// `CLAWMESH_STALL` names.
#[inline]
pub fn stalls() -> bool {
    #[cfg(debug_assertions)]
    return STALLS.load(std::sync::atomic::Ordering::Acquire);
    #[cfg(not(debug_assertions))]
    false
}

#[cfg(debug_assertions)]
fn named(variable: &str, what: &str, when: &str) -> bool {
    static NAMED: std::sync::OnceLock<Vec<(&str, String)>> = std::sync::OnceLock::new();
    let named = NAMED.get_or_init(|| {
        let points = ["CLAWMESH_CRASH", "CLAWMESH_STALL"];
        let read = |name| Some((name, std::env::var(name).ok()?));
        points.into_iter().filter_map(read).collect()
    });
    let point = Some((what, when));
    let at = |(name, at): &(&str, String)| *name == variable && at.rsplit_once('.') == point;
    named.iter().any(at)
}

#[cfg(debug_assertions)]
fn die() -> ! {
    super::system::kill_self();
    std::process::abort()
}
