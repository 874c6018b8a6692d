//! Keeps keys out of core dumps: a process that holds keys in memory leaves none, and no other program
//! of the same user may read its memory.

use crate::adapters::system;

/// Turns core dumps of this process off; for the first moment of every program that may hold a key.
pub fn turn_off() {
    system::no_dumps();
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_with_keys_leaves_no_core_dump() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

        super::turn_off();
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
