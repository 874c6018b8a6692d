//! How many files and sockets this process may have open at once.

use super::system;

use crate::domain::base::limits::{DESCRIPTORS_WANTED, UNAUTHENTICATED_SOCKETS_MAX};

/// Raises the limit to what a node wants, as far as the system allows it without asking; for the first
/// moment of a program that may run a node. Many systems begin with few and allow far more.
pub fn raise() {
    system::limit_open_files(DESCRIPTORS_WANTED);
}

/// How many sockets strangers may hold: never so many that they use up what the node itself needs.
pub fn for_strangers() -> usize {
    strangers(system::open_files_limit())
}

fn strangers(limit: Option<u64>) -> usize {
    let third = limit.map(|limit| usize::try_from(limit / 3).unwrap_or(usize::MAX));
    third.map_or(UNAUTHENTICATED_SOCKETS_MAX, |third| {
        third.clamp(1, UNAUTHENTICATED_SOCKETS_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_hold_a_third_at_most() {
        assert_eq!(strangers(None), UNAUTHENTICATED_SOCKETS_MAX);
        assert_eq!(strangers(Some(1 << 20)), UNAUTHENTICATED_SOCKETS_MAX);
        assert_eq!(strangers(Some(256)), 85);
        assert_eq!(strangers(Some(2)), 1);
    }

    #[test]
    fn the_limit_is_never_lowered() {
        let before = system::open_files_limit();
        raise();
        let after = system::open_files_limit();
        assert!(after.is_none() || after >= before);
    }
}
