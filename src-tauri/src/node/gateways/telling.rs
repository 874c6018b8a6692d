//! Tells what becomes of a gateway: events when it is ready, lost, waits for a person or refuses this node, and an alarm while it is
//! lost for long.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::{Gateways, JOINED};
use crate::adapters::gateway::{Seen, State};
use crate::domain::base::limits::GATEWAY_LOST_MS;
use crate::node::context::alarms::AlarmKind;
use crate::node::context::rate::PerMinute;
use crate::node::context::{Context, Event, Severity};

/// Events about one gateway in a minute; one that comes and goes more often is not told more often.
const TOLD_PER_MINUTE_MAX: u32 = 6;

impl Gateways {
    /// Which process of a gateway would be asked now, by its id or name.
    pub fn process(&self, gateway: &str) -> Option<String> {
        let found = self.with(gateway, |live| live.gateway.clone())??;
        found.seen().borrow().process.clone()
    }
}

/// What is told of a state: the event, how bad it is, and the words after the gateway's name.
fn news(before: &State, seen: &Seen) -> Option<(Event, Severity, String)> {
    let was_ready = *before == State::Ready;
    match &seen.state {
        State::Ready => {
            let version = seen.version.as_deref().unwrap_or("of unknown version");
            let agents = match seen.agents.len() {
                1 => "1 agent".to_owned(),
                n => format!("{n} agents"),
            };
            let words = format!("is ready: OpenClaw {version}, {agents}");
            Some((Event::GatewayReady, Severity::Info, words))
        }
        State::PairingRequired { command, .. } => {
            let words =
                format!("waits for a person to let this node in: `{command}` on its machine");
            Some((Event::GatewayPairing, Severity::Warning, words))
        }
        State::Failed { why } => {
            let words = format!("cannot be used: {why}");
            Some((Event::GatewayRefused, Severity::Warning, words))
        }
        State::Connecting { why } if was_ready => {
            let why = why.as_deref().unwrap_or("the connection ended");
            let words = format!("is lost: {why}");
            Some((Event::GatewayLost, Severity::Warning, words))
        }
        State::Starting if was_ready => {
            let words = "is lost: it starts again".to_owned();
            Some((Event::GatewayLost, Severity::Warning, words))
        }
        State::Connecting { .. } | State::Starting | State::Disabled => None,
    }
}

/// Ends the alarm of a gateway; it may not stand.
pub(super) fn is_over(context: &Context, id: &str) -> bool {
    context.alarms.clear(AlarmKind::GatewayLost, id)
}

/// Tells until it is stopped.
pub(super) async fn run(
    gateways: Gateways,
    id: String,
    mut seen: watch::Receiver<Seen>,
    stop: CancellationToken,
) {
    // Agents that joined are no gateway that comes and goes.
    if id == JOINED {
        return;
    }
    let context = gateways.0.context.clone();
    let (mut before, told) = (State::Connecting { why: None }, PerMinute::default());
    let mut lost_at = Some(tokio::time::Instant::now());
    loop {
        let now = seen.borrow_and_update().clone();
        let name = gateways.one(&id).map_or_else(|| id.clone(), |one| one.name);
        if now.state != before {
            let words = news(&before, &now);
            if let Some((event, severity, words)) = words
                && told.admits(TOLD_PER_MINUTE_MAX, context.now())
            {
                let message = format!("The gateway {name} {words}");
                let data = json!({"gateway": id, "name": name});
                context
                    .journal
                    .record(event, severity, &message, data)
                    .await;
            }
            let is_away = matches!(
                now.state,
                State::Connecting { .. } | State::Starting | State::Failed { .. }
            );
            lost_at = match is_away {
                true => lost_at.or_else(|| Some(tokio::time::Instant::now())),
                false => None,
            };
            if !is_away && is_over(&context, &id) {
                let message = format!("The gateway {name} is there again");
                let data = json!({"alarm": AlarmKind::GatewayLost.as_str(), "subject": id});
                let journal = &context.journal;
                journal
                    .record(Event::AlarmOver, Severity::Info, &message, data)
                    .await;
            }
            before = now.state.clone();
        }
        let standing = context.alarms.stands(AlarmKind::GatewayLost, &id);
        let due = lost_at.map(|at| at + Duration::from_millis(GATEWAY_LOST_MS));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = seen.changed() => if changed.is_err() { return },
            () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() && !standing => {
                let message = format!("The gateway {name} has not been ready for a minute or longer");
                let advice = format!("see `clawmesh-node gateway show {id}` for the reason; disable or remove it where it is not used");
                context.alarms.raise(AlarmKind::GatewayLost, &id, &message, &advice, context.now());
                tracing::warn!(gateway = %id, "{message}");
            }
        }
    }
}
