//! Keeps keys out of core dumps: a process that holds keys in memory leaves none, and no other program
//! of the same user may read its memory.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Turns core dumps of this process off; for the first moment of every program that may hold a key.
pub fn turn_off() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Lowering one's own limit is always allowed.
    let _ = setrlimit(Resource::Core, none);
    // A kernel that hands dumps to a program ignores the limit, but not this.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn a_process_with_keys_leaves_no_core_dump() {
        turn_off();
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
