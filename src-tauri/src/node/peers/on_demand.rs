//! On demand: no link is needed. It waits until one is, or until something is to be sent to the device.

use super::{Next, Peer, State, next};

/// Why a link is given up, as the other side hears it.
pub(super) const NOT_NEEDED: &str = "not needed now";
/// The reason that is shown to people.
pub(super) const WHY: &str =
    "it is heard through others, and no link with it is needed until something is to be sent to it";

/// Waits for a link, or for a reason to make one.
pub(super) async fn run(peer: &mut Peer) -> Next {
    peer.supervising.peers.found(&peer.device);
    loop {
        peer.links.mark_unchanged();
        peer.targets.mark_unchanged();
        if peer.link().is_some() {
            return next(State::Connected, "a link is up");
        }
        if peer.is_wanted() {
            return next(State::Dialing { failures: 0 }, "it is needed");
        }
        tokio::select! {
            biased;
            _ = peer.links.changed() => {}
            _ = peer.targets.changed() => {}
        }
    }
}
