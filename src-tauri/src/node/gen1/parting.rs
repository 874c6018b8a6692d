//! The end of trust in a device whose link is up. It is over at once for everything but one thing: where the
//! device acts for this node, what it moves is brought to its safe state over the link that then ends.

use std::time::Duration;

use futures_util::future::join_all;

use crate::domain::base::limits::SAFE_AFTER_TRUST_MAX_MS;
use crate::node::continuity::Footing;
use crate::node::guards::Cut;
use crate::node::links::LinkHandle;

/// The WebSocket close code for a link whose other end is no longer trusted, and the reason.
const UNTRUSTED: (u16, &str) = (1008, "no longer trusted");

/// Ends every link whose other end is no longer trusted.
pub fn part_untrusted(footing: &Footing) {
    for link in footing.links.all() {
        if !footing.trust.trusts(&link.info.device) {
            part(footing, &link);
        }
    }
}

/// Ends a link whose other end is no longer trusted. Waits for nothing: actuators behind it that may be away
/// from their safe state are ordered there, and get a moment before the link is closed.
pub fn part(footing: &Footing, link: &LinkHandle) {
    if !footing.links.part(link) {
        return;
    }
    let device = &link.info.device;
    let told = link.info.acts && link.info.outbound;
    // A start that was said before the link parted shows here already.
    let away = footing.guards.behind(device).into_iter().filter(|target| {
        let view = footing.guards.view(target);
        told && view.is_some_and(|view| view.running || !view.safe)
    });
    let why = Cut::Untrusted {
        device: device.clone(),
    };
    let orders: Vec<_> = away
        .filter_map(|target| footing.guards.secure(&target, why.clone()))
        .collect();
    let (code, reason) = UNTRUSTED;
    if orders.is_empty() {
        return link.close(code, reason);
    }
    let (guards, link) = (footing.guards.clone(), link.clone());
    footing.tasks.passing("parting", async move {
        let within = Duration::from_millis(SAFE_AFTER_TRUST_MAX_MS);
        join_all(orders.iter().map(|order| guards.settled(order, within))).await;
        link.close(code, reason);
    });
}
