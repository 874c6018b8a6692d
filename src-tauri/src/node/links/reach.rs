//! Reaching a device with which no link is needed until something is to be sent to it.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::LinkHandle;
use super::target::Target;
use crate::domain::base::{DeviceId, Refusal, TimeMs};

/// Who makes links; the rooms that send something have it, and no room below `node/peers/` knows how it is done.
pub trait Reach: Send + Sync {
    /// The link to a device. One with which none is needed otherwise is dialed now, and waited for briefly; of any other
    /// what stands is the answer.
    fn reach<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, Option<LinkHandle>>;

    /// Whether a device has no link because none is needed, and is dialed when something is to be sent to it.
    fn is_on_demand(&self, device: &DeviceId) -> bool;

    /// Something is sent to a device, or it asked for something: a link with it stays for a while.
    fn used(&self, device: &DeviceId);

    /// A device says whether a link that this node dialed is to stay.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what does not read.
    fn asked_to_keep(&self, device: &DeviceId, payload: &Value) -> Result<(), Refusal>;

    /// A device that is trusted as one of our own kind has proven its key as gen-1 nodes do, and was turned away.
    fn came_as_gen1(&self, device: &DeviceId, now: TimeMs);

    /// Where a device may be reached.
    fn targets(&self, device: &DeviceId) -> Vec<Target>;
}
