//! What the models can do for the planner, told when it changes: an event each time, and an alarm while a person has to
//! mend something. Here also the tries run by which a mode ends by itself.

use std::time::Duration;

use serde_json::json;

use crate::domain::base::limits::MODEL_LOOK_MS;
use crate::domain::inference::mode::{Mode, OutFor, Standing};
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Context, Event, Severity};
use crate::node::health;
use crate::node::planner::Planner;

/// Looks after the models while the node runs.
pub async fn run(planner: Planner) {
    let mut told = Mode::Active;
    loop {
        planner.inference.probe_due().await;
        let standing = planner.inference.standing();
        if standing.mode != told {
            told = standing.mode;
            tell(&planner, &standing).await;
        }
        let wait = async {
            match standing.out.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(Duration::from_millis(MODEL_LOOK_MS)).await,
            }
        };
        tokio::select! {
            biased;
            () = planner.tasks.stop().cancelled() => return,
            () = planner.inference.changed() => {}
            () = wait => {}
        }
    }
}

/// What ends it, in a sentence.
pub fn advice(standing: &Standing) -> &'static str {
    let has = |reason| standing.out.iter().any(|out| out.reason == reason);
    match standing.mode {
        Mode::Active => "",
        Mode::Observing => {
            "the models are tried by themselves; `clawmesh-node planner resume` tries them at once"
        }
        Mode::Suspended if has(OutFor::Key) => {
            "set the key with `clawmesh-node credential set NAME`, which tries it at once; after a change at the provider \
             say `clawmesh-node planner resume`"
        }
        Mode::Suspended => {
            "the budget begins again at midnight UTC; for more, raise it in config.toml and start the node again"
        }
    }
}

async fn tell(context: &Context, standing: &Standing) {
    let (mode, why) = (standing.mode, standing.why());
    let (severity, message) = match mode {
        Mode::Active => (Severity::Info, "A model can be asked again".to_owned()),
        Mode::Observing => {
            let message = format!("No model can be asked for now, the rules answer: {why}");
            (Severity::Warning, message)
        }
        Mode::Suspended => {
            let message = format!("The planner is suspended, the rules answer: {why}");
            (Severity::Warning, message)
        }
    };
    let words = (mode == Mode::Suspended).then_some(message.as_str());
    health::told(
        context,
        AlarmKind::PlannerSuspended,
        words,
        advice(standing),
    );
    let data = json!({"mode": mode, "out": standing.out, "until": standing.until});
    let journal = &context.journal;
    journal
        .record(Event::PlannerMode, severity, &message, data)
        .await;
}
