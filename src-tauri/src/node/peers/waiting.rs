//! Waiting: not connected, the next attempt comes soon. Longer after each failure, and never at the
//! same moment as everybody else's.

use super::{Next, Peer, State, next, on_demand};

const FIRST_MS: u64 = 250;
const LONGEST_MS: u64 = 30_000;

/// Rests, then dials if there is where to.
pub(super) async fn run(peer: &mut Peer, failures: u32, why: &str) -> Next {
    if !peer.is_wanted() {
        return next(State::OnDemand, on_demand::WHY);
    }
    let ms = pause_ms(failures);
    // Without an address only the peer itself can make a link; looking now and then is enough.
    let ms = if peer.may_dial() { ms } else { LONGEST_MS };
    let woke = peer.rest(ms).await;
    peer.after(&woke, failures, State::Waiting { failures }, why)
}

/// How long to wait after so many failures.
pub(super) fn pause_ms(failures: u32) -> u64 {
    FIRST_MS
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_MS)
}
