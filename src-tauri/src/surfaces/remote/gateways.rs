//! What the commands ask a running node about gateways of agents.

use serde_json::json;

use super::{Asked, Remote};
use crate::operator::gateways::{GatewayChange, GatewayFound, GatewayView};
use crate::operator::routes;

impl Remote {
    /// The gateways of the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn gateways(&self) -> Asked<Vec<GatewayView>> {
        self.read(routes::GATEWAYS).await
    }

    /// Gateways that the node finds.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn gateways_found(&self) -> Asked<Vec<GatewayFound>> {
        self.read(routes::GATEWAYS_FOUND).await
    }

    /// Adds a gateway.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn gateway_add(
        &self,
        (url, name): (Option<&str>, Option<&str>),
        token: Option<&str>,
        insecure: bool,
        by: &str,
    ) -> Asked<GatewayView> {
        let body =
            json!({"url": url, "name": name, "token": token, "insecure": insecure, "by": by});
        let (route, body) = (routes::GATEWAY_ADD, body.to_string().into_bytes());
        self.ask(&route, route.path, Some(body)).await
    }

    /// Renames, enables or disables a gateway.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn gateway_change(&self, id: &str, change: &GatewayChange) -> Asked<GatewayView> {
        self.send_to(routes::GATEWAY_CHANGE, id, change).await
    }

    /// Removes a gateway.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn gateway_remove(&self, id: &str) -> Asked<Vec<GatewayView>> {
        self.of(routes::GATEWAY_REMOVE, id).await
    }
}
