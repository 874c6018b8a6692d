//! Refused: it answered, but will not have us, or is not who it should be. Only a person can change
//! that, so attempts are rare.

use super::{Next, Peer, State};

const REST_MS: u64 = 10_000;

/// Rests, then tries once more.
pub(super) async fn run(peer: &mut Peer, why: &str) -> Next {
    let woke = peer.rest(REST_MS).await;
    peer.after(&woke, 0, State::Refused, why)
}
