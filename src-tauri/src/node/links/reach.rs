//! Reaching a device with which no link is needed until something is to be sent to it.

use futures_util::future::BoxFuture;

use super::LinkHandle;
use crate::domain::base::DeviceId;

/// Who makes links; the rooms that send something have it, and no room below `node/peers/` knows how it is done.
pub trait Reach: Send + Sync {
    /// The link to a device. One with which none is needed otherwise is dialed now, and waited for briefly; of any other
    /// what stands is the answer.
    fn reach<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, Option<LinkHandle>>;

    /// Whether a device has no link because none is needed, and is dialed when something is to be sent to it.
    fn is_on_demand(&self, device: &DeviceId) -> bool;

    /// Something is sent to a device, or it asked for something: a link with it stays for a while.
    fn used(&self, device: &DeviceId);
}
