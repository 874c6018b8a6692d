//! Records what the guards did, after they did it: log lines and events. Nothing waits for it.

use rusqlite::Connection;
use serde_json::json;

use super::Report;
use super::moved;
use crate::adapters::store::Class;
use crate::node::context::{Event, Severity};
use crate::node::shared::Shared;

/// Records reports until the node ends.
pub async fn run(shared: Shared) {
    let Some(mut reports) = shared.guards.reports() else {
        return;
    };
    loop {
        let report = tokio::select! {
            biased;
            () = shared.tasks.stop().cancelled() => return,
            report = reports.recv() => report,
        };
        let Some(report) = report else { return };
        record(&shared, report).await;
    }
}

async fn record(shared: &Shared, report: Report) {
    let (event, severity, message, data) = match report {
        Report::Started {
            id,
            target,
            message,
        } => {
            let data = json!({"proposalId": id, "target": target});
            (Event::ActionStarted, Severity::Info, message, data)
        }
        Report::Unsafe { target, why } => {
            tracing::error!(actuator = %target, "the actuator is not confirmed safe: {why}");
            let message = format!(
                "{target} could not be brought to its safe state: {why}; it is being tried again"
            );
            let data = json!({"target": target});
            (Event::ActuatorUnsafe, Severity::Critical, message, data)
        }
        Report::SafeAgain { target, tries } => {
            let view = shared.guards.view(&target);
            if view.is_some_and(|view| view.safe && !view.running) {
                let (s, is) = (shared.clone(), target.clone());
                let over = move |c: &Connection| {
                    moved::end(c, |moved| moved.target == is && moved.is_in(&s.guards))
                };
                // If this is lost, the next start makes it safe and notes it then.
                let noted = shared.store.write(Class::Relaxed, "safe again", over).await;
                shared.guards.moved_changes();
                if let Err(error) = noted {
                    tracing::warn!(%error, "that {target} is safe again could not be stored");
                }
            }
            let safe = shared.guards.safe_in_words(&target);
            let message = format!("{safe}, after {tries} attempts");
            tracing::warn!(actuator = %target, "{message}");
            let data = json!({"target": target, "tries": tries});
            (Event::ActuatorSafe, Severity::Warning, message, data)
        }
    };
    let journal = &shared.journal;
    journal.record(event, severity, &message, data).await;
}
