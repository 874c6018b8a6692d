//! Records what the guards did, after they did it: log lines and events. Nothing waits for it.

use rusqlite::Connection;
use serde_json::json;

use super::moved;
use super::{Guards, Report};
use crate::adapters::store::Class;
use crate::node::context::{Context, Event, Severity};

/// Records reports until the node ends.
pub async fn run(context: Context, guards: Guards) {
    let Some(mut reports) = guards.reports() else {
        return;
    };
    loop {
        let report = tokio::select! {
            biased;
            () = context.tasks.stop().cancelled() => return,
            report = reports.recv() => report,
        };
        let Some(report) = report else { return };
        record(&context, &guards, report).await;
    }
}

async fn record(context: &Context, guards: &Guards, report: Report) {
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
            let view = guards.view(&target);
            if view.is_some_and(|view| view.safe && !view.running) {
                let (s, is) = (guards.clone(), target.clone());
                let over = move |c: &Connection| {
                    moved::end(c, |moved| moved.target == is && moved.is_in(&s))
                };
                // If this is lost, the next start makes it safe and notes it then.
                let noted = context
                    .store
                    .write(Class::Relaxed, "safe again", over)
                    .await;
                guards.moved_changes();
                if let Err(error) = noted {
                    tracing::warn!(%error, "that {target} is safe again could not be stored");
                }
            }
            let safe = guards.safe_in_words(&target);
            let message = format!("{safe}, after {tries} attempts");
            tracing::warn!(actuator = %target, "{message}");
            let data = json!({"target": target, "tries": tries});
            (Event::ActuatorSafe, Severity::Warning, message, data)
        }
    };
    let journal = &context.journal;
    journal.record(event, severity, &message, data).await;
}
