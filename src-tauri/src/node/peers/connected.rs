//! Connected: a link is up. It is asked how it does now and then, which also tells how long a round
//! trip takes and how far the clocks differ; a link that is merely quiet stays.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Next, Peer, State, dialing, next, on_demand, reach};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{PING_WAIT_PART, VIEW_IDLE_PINGS};
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;
use crate::node::context::Context;
use crate::node::links::LinkHandle;

/// A gen-1 node that dialed us gives the link up when it hears no event for 90 s (gen-1 §9).
const GEN1_SIGN_OF_LIFE_MS: u64 = 45_000;

/// Stays while the link does.
pub(super) async fn run(peer: &mut Peer) -> Next {
    let begun = Instant::now();
    let mut spare = Spare::default();
    loop {
        peer.links.mark_unchanged();
        let Some(link) = peer.link() else {
            // One that ended at once says nothing good about the next.
            peer.flaps = match begun.elapsed() < Duration::from_secs(5) {
                true => peer.flaps.saturating_add(1),
                false => 0,
            };
            return peer.after_link(peer.flaps);
        };
        let kin = link.info.speaks(Feature::Reconcile);
        let name = link.info.name.as_deref();
        peer.supervising.peers.named(&peer.device, name);
        peer.supervising.peers.arrived(&peer.device);
        if kin && !ping(&peer.supervising, &link).await && !link.stop.is_cancelled() {
            let quiet = peer.supervising.now().since(link.vitals.reading().heard_at);
            if Duration::from_millis(quiet) >= patience(&peer.supervising) {
                return next(
                    State::Suspect,
                    format!("silent for {} s, a ping was not answered", quiet / 1_000),
                );
            }
        }
        if !kin && !link.info.outbound {
            let about = json!({"gen": 1, "deviceId": peer.supervising.own_id(), "timestamp": peer.supervising.now()});
            link.send(Message::event("peer.alive", &about)).await;
        }
        let pause = if kin {
            peer.supervising.config.ping_interval_ms
        } else {
            GEN1_SIGN_OF_LIFE_MS
        };
        spare.look(peer, &link);
        let due = Instant::now() + Duration::from_millis(pause);
        if !ends(peer, &link, due).await {
            continue;
        }
        // The table follows a moment later.
        tokio::select! {
            biased;
            _ = peer.links.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}

/// A link as one that may not be needed.
#[derive(Default)]
struct Spare {
    /// Since when it is not.
    since: Option<Instant>,
    /// Of which link it was told last whether it is to stay, and what.
    told: Option<(LinkHandle, Option<bool>)>,
}

impl Spare {
    /// Ends a link that this node dialed and has not needed or used for a while. Who accepted one says whether
    /// it is needed there.
    fn look(&mut self, peer: &Peer, link: &LinkHandle) {
        let (peers, device) = (&peer.supervising.peers, &peer.device);
        let mut told = match &self.told {
            Some((of, told)) if Arc::ptr_eq(of, link) => *told,
            _ => None,
        };
        reach::tell_keep(&peer.supervising.peers, link, &mut told);
        self.told = Some((link.clone(), told));
        if !link.info.outbound || !link.info.speaks(Feature::View) || peers.keeps(device) {
            self.since = None;
            return;
        }
        let idle = Duration::from_millis(
            VIEW_IDLE_PINGS.saturating_mul(peer.supervising.config.ping_interval_ms),
        );
        let since = *self.since.get_or_insert_with(Instant::now);
        let used = peers.last_used(device);
        if since.elapsed() >= idle && used.is_none_or(|at| at.elapsed() >= idle) {
            link.close(1000, on_demand::NOT_NEEDED);
        }
    }
}

/// Waits until a link ends, no longer than `due`; whether it has ended. Dials meanwhile where the link does
/// not do.
async fn ends(peer: &mut Peer, link: &LinkHandle, due: Instant) -> bool {
    loop {
        let redial = dialing::due(peer, link);
        tokio::select! {
            biased;
            () = link.stop.cancelled() => return true,
            () = tokio::time::sleep_until(due) => return false,
            () = tokio::time::sleep_until(redial.unwrap_or(due)), if redial.is_some() => {}
            _ = peer.targets.changed() => continue,
        }
        // The end of the link does not cancel this: otherwise the peer could keep us from dialing.
        dialing::beside(peer).await;
    }
}

/// How long an answer to a ping may take.
fn patience(context: &Context) -> Duration {
    Duration::from_millis(context.config.ping_interval_ms / PING_WAIT_PART)
}

/// Asks the other side how it does; whether it answered in time.
pub(super) async fn ping(context: &Context, link: &LinkHandle) -> bool {
    let sent = Instant::now();
    let params = json!({});
    let answer = tokio::time::timeout(patience(context), link.request("mesh.ping", &params)).await;
    let Ok(Ok(answer)) = answer else { return false };
    let rtt_ms = sent.elapsed().as_secs_f64() * 1_000.0;
    let theirs = answer.get("timestamp").and_then(Value::as_u64).map(TimeMs);
    link.vitals.pinged(rtt_ms, theirs, context.now());
    true
}
