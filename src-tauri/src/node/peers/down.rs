//! Down: nobody we asked can reach it. It is tried rarely; what wakes it early is a link from it or a
//! sign of it on the LAN.

use super::{Next, Peer, State};

const REST_MS: u64 = 60_000;
const FIRST_REST_MS: u64 = 10_000;
/// Failures up to which the rest is still short: a restart takes no longer.
const SHORT_UNTIL: u32 = 8;

/// Rests, then tries once more.
pub(super) async fn run(peer: &mut Peer, failures: u32, why: &str) -> Next {
    let ms = match failures < SHORT_UNTIL {
        true => FIRST_REST_MS,
        false => REST_MS,
    };
    let woke = peer.rest(ms).await;
    peer.after(&woke, failures, State::Down { failures }, why)
}
