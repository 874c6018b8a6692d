//! Suspect: the link is up and silent. It gets a few more chances before it is given up.

use super::connected::ping;
use super::{Next, Peer, State, next};

/// Pings that may stay without an answer, each for its whole waiting time.
const CHANCES: u32 = 2;

/// Asks again; gives the link up when nothing comes.
pub(super) async fn run(peer: &mut Peer) -> Next {
    for _ in 0..CHANCES {
        let Some(link) = peer.link() else {
            return peer.after_link(0);
        };
        let heard = link.vitals.reading().heard_at;
        if ping(&peer.supervising, &link).await || link.vitals.reading().heard_at > heard {
            return next(State::Connected, "it answers again");
        }
    }
    if let Some(link) = peer.link() {
        link.close(1001, "silent for too long");
    }
    next(
        State::Waiting { failures: 0 },
        "it was silent for too long and the link was given up",
    )
}
