//! The API of a claw-mesh coordinator on a port of its own, as clients and agents of claw-mesh know it: their routes, shapes and
//! words. It has its own tokens, which open nothing else. It translates and calls; it decides nothing.

mod answers;
mod guard;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, mpsc};

use self::answers as a;
use crate::adapters::transport::{Listener, Rules};
use crate::domain::base::limits::COORDINATOR_WAITING_MAX;
use crate::operator::Door;

/// How long it is until a port that is taken is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The state of every handler.
struct Api {
    door: Door,
    open_reading: bool,
    waiting: Semaphore,
}

/// Serves it where the configuration says so.
pub fn attach(door: &Door) {
    if door.context().config.coordinator.is_some() {
        door.attach("coordinator", run);
    }
}

/// The router of a node.
fn app(door: Door, open_reading: bool) -> Router {
    let api = Arc::new(Api {
        door,
        open_reading,
        waiting: Semaphore::new(COORDINATOR_WAITING_MAX),
    });
    Router::new()
        .route("/api/v1/nodes/register", post(a::register))
        .route("/api/v1/nodes", get(a::nodes))
        .route("/api/v1/nodes/{id}", get(a::node).delete(a::remove))
        .route("/api/v1/nodes/{id}/heartbeat", post(a::heartbeat))
        .route("/api/v1/route", post(a::route))
        .route("/api/v1/route/{id}", post(a::route_to))
        .layer(from_fn_with_state(api.clone(), guard::authorized))
        .route("/healthz", get(a::healthz))
        .fallback(a::nothing_here)
        .method_not_allowed_fallback(a::nothing_here)
        .layer(axum::middleware::from_fn(guard::from_programs))
        .with_state(api)
}

/// Serves it until the node ends.
async fn run(door: Door) {
    let Some(config) = door.context().config.coordinator.clone() else {
        return;
    };
    let mut told = String::new();
    loop {
        let why = match door.coordinator_begin().await {
            Ok(()) => match Listener::bind(config.listen).await {
                Ok(listener) => {
                    let address = listener.local_addr();
                    tracing::info!("the claw-mesh coordinator listens on {address}");
                    // Nobody takes WebSockets here.
                    let (sockets, _) = mpsc::channel(1);
                    let tasks = &door.context().tasks;
                    let app = app(door.clone(), config.open_reading);
                    let (tracker, stop) = (tasks.tracker().clone(), tasks.stop().clone());
                    let served =
                        listener.serve(app, Rules::default(), None, sockets, tracker, stop);
                    return served.await;
                }
                Err(error) => format!("coordinator.listen: {error}"),
            },
            Err(refusal) => refusal.message,
        };
        if why != told {
            tracing::error!("the claw-mesh coordinator is not served: {why}");
            told = why;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
