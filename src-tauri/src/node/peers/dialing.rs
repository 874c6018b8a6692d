//! Dialing: one attempt at one address. Addresses take turns.

use std::time::Duration;

use tokio::time::Instant;

use super::{Next, Peer, State, next, on_demand, waiting};
use crate::node::links::Link;
use crate::node::links::target::Target;
use crate::node::sessions::{DialError, dial};

/// Failures in a row after which others are asked.
const ASK_AFTER: u32 = 3;

/// Tries the next address.
pub(super) async fn run(peer: &mut Peer, failures: u32) -> Next {
    if peer.link().is_some() {
        return next(State::Connected, "a link is up");
    }
    let targets = peer.supervising.peers.targets(&peer.device);
    if !peer.supervising.trust.trusts(&peer.device) {
        return next(State::Refused, "this node does not trust it");
    }
    if !peer.is_wanted() {
        return next(State::OnDemand, on_demand::WHY);
    }
    let Some(target) = target(peer, &targets) else {
        return next(
            State::Waiting { failures },
            "it has no address; it can dial us",
        );
    };
    match attempt(peer, target).await {
        Ok(()) => {
            peer.refusals = 0;
            next(State::Connected, format!("dialed {}", target.url))
        }
        Err(DialError::Refused(why)) => {
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

fn target<'a>(peer: &Peer, targets: &'a [Target]) -> Option<&'a Target> {
    targets.get(peer.turn % targets.len().max(1))
}

async fn attempt(peer: &mut Peer, target: &Target) -> Result<(), DialError> {
    let dialed = dial(&peer.supervising, &peer.ingress, &peer.device, target).await;
    match &dialed {
        Ok(()) => peer.supervising.peers.proven(&peer.device, &target.url),
        Err(_) => {
            peer.turn = peer.turn.wrapping_add(1);
            peer.supervising
                .peers
                .lost(&peer.device, peer.supervising.now());
        }
    }
    dialed
}

/// When a device is dialed although a link is up: where it acts for us and dialed us, so that it cannot be
/// told over that link.
pub(super) fn due(peer: &mut Peer, link: &Link) -> Option<Instant> {
    if !link.info.cannot_be_told() || !peer.may_dial() {
        peer.redial = None;
        return None;
    }
    if let Some((_, due)) = peer.redial {
        return Some(due);
    }
    Some(again(peer, 0))
}

/// Tries the next address of such a device once; its own link goes on meanwhile.
pub(super) async fn beside(peer: &mut Peer) {
    let targets = peer.supervising.peers.targets(&peer.device);
    let failures = peer.redial.take().map_or(0, |(failures, _)| failures);
    let Some(target) = target(peer, &targets) else {
        return;
    };
    let Err(error) = attempt(peer, target).await else {
        return;
    };
    let (DialError::Refused(why) | DialError::Failed(why)) = error;
    tracing::info!(peer = peer.device.short(), url = %target.url, "it dialed us, and is not reached where it listens: {why}");
    again(peer, failures.saturating_add(1));
}

/// Notes when the next such attempt is due, after so many that failed.
fn again(peer: &mut Peer, failures: u32) -> Instant {
    let ms = peer.jittered(waiting::pause_ms(failures));
    let due = Instant::now() + Duration::from_millis(ms);
    peer.redial = Some((failures, due));
    due
}
