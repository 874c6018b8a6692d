//! What the commands ask a running node about alerts.

use super::{Asked, Remote};
use crate::operator::alerts::{
    AlertMute, AlertNote, AlertView, NotifyTest, NotifyTested, NotifyView,
};
use crate::operator::routes;

impl Remote {
    /// The alerts that stand.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn alerts(&self) -> Asked<Vec<AlertView>> {
        self.read(routes::ALERTS).await
    }

    /// Alerts, newest first, those that are over too.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn alert_history(&self, limit: usize) -> Asked<Vec<AlertView>> {
        let limit = limit.to_string();
        self.find(routes::ALERT_HISTORY, &[("limit", Some(&limit))])
            .await
    }

    /// One alert.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn alert(&self, id: &str) -> Asked<AlertView> {
        self.of(routes::ALERT, id).await
    }

    /// Acknowledges an alert.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn alert_acknowledge(&self, id: &str, note: &AlertNote) -> Asked<AlertView> {
        self.send_to(routes::ALERT_ACKNOWLEDGE, id, note).await
    }

    /// Mutes an alert.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn alert_mute(&self, id: &str, mute: &AlertMute) -> Asked<AlertView> {
        self.send_to(routes::ALERT_MUTE, id, mute).await
    }

    /// Unmutes an alert.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn alert_unmute(&self, id: &str, note: &AlertNote) -> Asked<AlertView> {
        self.send_to(routes::ALERT_UNMUTE, id, note).await
    }

    /// The places where people are told of alerts.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn notify(&self) -> Asked<Vec<NotifyView>> {
        self.read(routes::NOTIFY).await
    }

    /// Has places told a test.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn notify_test(&self, asked: &NotifyTest) -> Asked<Vec<NotifyTested>> {
        self.send(routes::NOTIFY_TEST, asked).await
    }
}
