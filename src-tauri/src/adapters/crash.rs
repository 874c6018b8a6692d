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
    if named(what, when) {
        die();
    }
    #[cfg(not(debug_assertions))]
    let _ = (what, when);
}

#[cfg(debug_assertions)]
fn named(what: &str, when: &str) -> bool {
    static NAMED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let named = NAMED.get_or_init(|| std::env::var("CLAWMESH_CRASH").ok());
    let named = named.as_deref().and_then(|named| named.rsplit_once('.'));
    named == Some((what, when))
}

#[cfg(debug_assertions)]
fn die() -> ! {
    #[cfg(unix)]
    // Where it fails, the process aborts.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
