//! What devices say they offer: remembered, so that a wish for it waits while they are away, and told of where they may not.

use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{LINK_OFFERS_PER_MINUTE, NAME_MAX_BYTES};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal};
use crate::node::context::{Context, Event};
use crate::node::frame_log::Frames;
use crate::node::links::offers::{OFFERS, Offered};
use crate::node::links::{LinkHandle, PeerInfo};
use serde_json::Value;

/// Most actuators that a refusal names.
const WITHHELD_SHOWN: usize = 5;

/// Takes what the other end of a link offers from now on.
///
/// # Errors
/// `INVALID_PARAMS` for what does not read, `RATE_EXCEEDED` where it is said too often.
pub(super) async fn changed(
    frames: &Frames,
    link: &LinkHandle,
    payload: &Value,
) -> Result<(), Refusal> {
    if !link.offering.admits(LINK_OFFERS_PER_MINUTE, frames.now()) {
        return Err(Refusal::new(
            Code::RateExceeded,
            format!("{OFFERS}: more than {LINK_OFFERS_PER_MINUTE} in a minute"),
        ));
    }
    let may = frames.may_actuate(&link.info.device);
    if let Some(offered) = link.offers(payload, may)? {
        heard(frames, link, &offered).await;
    }
    Ok(())
}

/// Remembers what the other end offers, and tells of what it may not.
pub(crate) async fn heard(frames: &Frames, link: &LinkHandle, offered: &Offered) {
    let claims: Vec<String> = offered.claims().cloned().collect();
    frames.remember_offer(&link.info.device, &claims).await;
    tell_withheld(frames, &link.info, &offered.withheld).await;
}

/// Says that a device offers actuators and may not, once for each of its links and changes.
async fn tell_withheld(context: &Context, info: &PeerInfo, withheld: &[String]) {
    if withheld.is_empty() {
        return;
    }
    let some: Vec<String> = withheld
        .iter()
        .take(WITHHELD_SHOWN)
        .map(|c| one_line(c, NAME_MAX_BYTES))
        .collect();
    let refusal = Refusal::new(
        Code::NotAuthorized,
        format!(
            "{} says it has {} actuators ({}), but is not trusted with `actuate`: nothing is sent to it for \
             them. If they are its own: clawmesh-node trust grant {} actuate",
            info.shown(),
            withheld.len(),
            some.join(", "),
            info.device.short()
        ),
    );
    context
        .journal
        .refused_of(
            Cause::Device(info.device.clone()),
            Event::CapabilityRefused,
            info.device.as_str(),
            &refusal,
        )
        .await;
}
