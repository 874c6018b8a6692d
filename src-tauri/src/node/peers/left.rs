//! Left: the peer said goodbye, so it is not missed. It comes back by itself, or is looked for rarely.

use super::{Next, Peer, State};

const REST_MS: u64 = 5_000;

/// Rests, then looks whether it is back.
pub(super) async fn run(peer: &mut Peer) -> Next {
    peer.supervising
        .peers
        .lost(&peer.device, peer.supervising.now());
    let woke = peer.rest(REST_MS).await;
    peer.after(&woke, 0, State::Left, "it said goodbye")
}
