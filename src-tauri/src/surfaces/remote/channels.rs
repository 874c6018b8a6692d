//! What the commands ask a running node about channels.

use super::{Asked, Remote};
use crate::domain::gate::SignedChannelEnd;
use crate::operator::channels::{ChannelCode, ChannelGive, ChannelOffer, ChannelsView};
use crate::operator::dto::Why;
use crate::operator::routes;

impl Remote {
    /// The channels of the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn channels(&self) -> Asked<ChannelsView> {
        self.read(routes::CHANNELS).await
    }

    /// What the record of a new channel takes from the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn channel_offer(&self) -> Asked<ChannelOffer> {
        self.read(routes::CHANNEL_OFFER).await
    }

    /// Gives the node a channel that was signed.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn channel_give(&self, given: &ChannelGive) -> Asked<ChannelCode> {
        self.send(routes::CHANNEL_GIVE, given).await
    }

    /// Takes the signed end of a channel to the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn channel_end(&self, id: &str, signed: &SignedChannelEnd) -> Asked<ChannelsView> {
        self.send_to(routes::CHANNEL_END, id, signed).await
    }

    /// Ends a channel of the node as its administrator.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn channel_void(&self, id: &str, why: Option<String>) -> Asked<ChannelsView> {
        self.send_to(routes::CHANNEL_VOID, id, &Why { reason: why })
            .await
    }
}
