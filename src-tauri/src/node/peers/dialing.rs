//! Dialing: one attempt at one address. Addresses take turns.

use super::{Next, Peer, State, next};
use crate::node::sessions::{DialError, dial};

/// Failures in a row after which others are asked.
const ASK_AFTER: u32 = 3;

/// Tries the next address.
pub(super) async fn run(peer: &mut Peer, failures: u32) -> Next {
    if peer.link().is_some() {
        return next(State::Connected, "a link is up");
    }
    let targets = peer.shared.peers.targets(&peer.device);
    if !peer.shared.trust.trusts(&peer.device) {
        return next(State::Refused, "this node does not trust it");
    }
    let Some(target) = targets.get(peer.turn % targets.len().max(1)) else {
        return next(
            State::Waiting { failures },
            "it has no address; it can dial us",
        );
    };
    match dial(&peer.shared, &peer.ingress, &peer.device, target).await {
        Ok(()) => {
            peer.refusals = 0;
            peer.shared.peers.proven(&peer.device, &target.url);
            next(State::Connected, format!("dialed {}", target.url))
        }
        Err(DialError::Refused(why)) => {
            peer.turn = peer.turn.wrapping_add(1);
            peer.refusals += 1;
            // Anybody can announce an address for a device, so one refusal says nothing of the others.
            if peer.refusals < targets.len() {
                tracing::info!(peer = peer.device.short(), url = %target.url, "refused; trying its next address: {why}");
                return next(State::Dialing { failures }, why);
            }
            peer.refusals = 0;
            next(State::Refused, why)
        }
        Err(DialError::Failed(why)) => {
            peer.turn = peer.turn.wrapping_add(1);
            peer.refusals = 0;
            let failures = failures.saturating_add(1);
            tracing::info!(peer = peer.device.short(), url = %target.url, failures, "not connected: {why}");
            match failures < ASK_AFTER {
                true => next(State::Waiting { failures }, why),
                false => next(State::Unreachable { failures }, why),
            }
        }
    }
}
