//! The end of what was opened and never ran.

use std::time::Duration;

use super::{Opened, refused};
use crate::domain::base::limits::SAFE_AT_START_MS;
use crate::node::guards::Cut;

impl Opened {
    /// Ends what was opened and never ran, so that it can be opened again at once: actuators safe, guards ended, the
    /// identity released, the store closed. Returns what is not confirmed to be safe, a sentence each.
    pub async fn give_up(self) -> Vec<String> {
        let handles = self.handles;
        let within = Duration::from_millis(SAFE_AT_START_MS);
        let mut left = handles.guards.secure_all(Cut::Shutdown, within).await;
        left.retain(|secured| !secured.safe);
        left.extend(crate::node::proposals::left::standing(&handles));
        let left: Vec<String> = left.iter().map(refused::in_words).collect();
        for sentence in &left {
            tracing::error!("{sentence}");
        }
        handles.tasks.shut_down().await;
        handles.continuity.release();
        handles.store.clone().close().await;
        drop(self.lock);
        left
    }
}
