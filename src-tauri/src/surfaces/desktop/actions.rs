//! Actions of a person outside the page, in the tray or a notification: each act translates and calls the
//! node's door, and what it came to is told where it will be seen.

use std::sync::Arc;
use std::time::Duration;

use tauri::AppHandle;

use super::host::Running;
use super::stage::Stage;
use super::stop::Stopped;
use super::tray::Chosen;
use super::{Desktop, decide, notify, window};
use crate::domain::base::limits::WINDOW_STOP_MS;
use crate::operator::Answer;
use crate::operator::dto::PauseRequest;
use crate::operator::estop::EstopRequest;

impl Desktop {
    /// Does what a person chose in the tray or a notification.
    pub(crate) fn chosen(self: &Arc<Self>, app: &AppHandle, what: Chosen) {
        match what {
            Chosen::Open => window::show(app),
            Chosen::Review(id) => {
                self.go(format!("/approvals?id={id}"));
                window::show(app);
            }
            Chosen::Reject(id, digest) => self.reject(app.clone(), id, digest),
            Chosen::Pause(rest) => self.planner(rest),
            Chosen::Stop => self.stop_all(app.clone()),
            Chosen::Unstopped => {
                if let Some(stopped) = self.stops.now() {
                    self.show_stop(stopped);
                }
                window::show(app);
            }
            Chosen::Quit => app.exit(0),
        }
    }

    fn reject(self: &Arc<Self>, app: AppHandle, id: String, digest: String) {
        let desktop = self.clone();
        let _inside = self.runtime.enter();
        self.tasks.passing("reject", async move {
            if let Err(refusal) = decide::reject(&desktop.host, id.clone(), digest).await {
                // The page can say more, and ask for a passphrase.
                desktop.go(format!("/approvals?id={id}"));
                window::show(&app);
                let summary = "The proposal was not rejected";
                notify::tell(&desktop, summary, &refusal.message).await;
            }
        });
    }

    fn planner(self: &Arc<Self>, rest: bool) {
        let desktop = self.clone();
        let _inside = self.runtime.enter();
        self.tasks.passing("planner", async move {
            let done = match (desktop.host.now(), rest) {
                (Ok(running), true) => {
                    let asked = PauseRequest {
                        reason: Some("chosen in the tray".to_owned()),
                        ..PauseRequest::default()
                    };
                    running.door.planner_pause(&asked, "the desktop").await
                }
                (Ok(running), false) => running.door.planner_resume("the desktop").await,
                (Err(refusal), _) => Err(refusal),
            };
            if let Err(refusal) = done {
                let summary = "The planner was not changed";
                notify::tell(&desktop, summary, &refusal.message).await;
            }
        });
    }

    fn stop_all(self: &Arc<Self>, app: AppHandle) {
        let desktop = self.clone();
        let _inside = self.runtime.enter();
        self.tasks.passing("emergency stop", async move {
            let asked = EstopRequest {
                reason: Some("pressed in the tray".to_owned()),
                ..Default::default()
            };
            let stopped = match desktop.soon().await {
                Ok(running) => Stopped::reported(running.door.estop(&asked, "the desktop").await),
                Err(refusal) => Stopped::refused(refusal.message),
            };
            desktop.stops.take(&stopped);
            // Anything short of complete is shown before anything is waited for.
            if !stopped.complete() {
                desktop.show_stop(stopped.clone());
                window::show(&app);
            }
            let told = notify::alarm(&desktop, stopped.summary(), &stopped.body()).await;
            if stopped.complete() && !told {
                desktop.show_stop(stopped);
                window::show(&app);
            }
        });
    }

    /// The node, which is waited for a moment if it is just starting.
    async fn soon(&self) -> Answer<Running> {
        let starting = *self.host.stages().borrow() == Stage::Starting;
        if starting && self.host.running().is_none() {
            let mut stages = self.host.stages();
            let runs = stages.wait_for(|stage| *stage != Stage::Starting);
            let limit = Duration::from_millis(WINDOW_STOP_MS);
            let _ = tokio::time::timeout(limit, runs).await;
        }
        self.host.now()
    }
}
