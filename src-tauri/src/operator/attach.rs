//! How a surface inside the process joins a node: [`Node::serve`] starts a node under its HTTP surface,
//! [`Node::attach`] runs another surface, such as a chat, as a task of the node. Either is given the
//! [`Door`] and nothing else.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::Door;
use crate::domain::base::limits::{SURFACE_PAUSE_MAX_MS, SURFACE_PAUSE_MIN_MS, SURFACE_STEADY_MS};
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Context, Event, Severity};
use crate::node::{Node, OpenError, Opened};

impl Node {
    /// Starts a node on an opened state directory under the HTTP surface that `app` builds over its door.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn serve(
        opened: Opened,
        app: impl FnOnce(Door) -> Router,
    ) -> Result<Node, OpenError> {
        let node = Box::pin(Node::start(opened, |handles| {
            app(Door::new(handles.clone()))
        }))
        .await?;
        node.door().stop_later_again();
        Ok(node)
    }

    /// The node's door.
    pub fn door(&self) -> Door {
        Door::new(self.shared().clone())
    }

    /// Runs a surface until it returns or the node stops; at the stop it is dropped where it waits.
    ///
    /// A surface that panics costs the node nothing else: it is started again after a pause that grows from
    /// [`SURFACE_PAUSE_MIN_MS`] to [`SURFACE_PAUSE_MAX_MS`], and the alarm `surface.failing` stands until it
    /// has run for [`SURFACE_STEADY_MS`] or has returned.
    pub fn attach<T>(&self, name: &'static str, surface: impl FnMut(Door) -> T + Send + 'static)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        self.door().attach(name, surface);
    }
}

impl Door {
    /// As [`Node::attach`], for what is given the door while the node starts.
    pub fn attach<T>(&self, name: &'static str, surface: impl FnMut(Door) -> T + Send + 'static)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let door = self.clone();
        let stop = self.context().tasks.stop().clone();
        let task = async move {
            let kept = keep(name, &door, surface);
            tokio::select! {
                () = stop.cancelled() => {}
                () = kept => {}
            }
        };
        self.context().tasks.passing(name, task);
    }
}

/// Runs a surface, again after each panic, until it returns.
async fn keep<T>(name: &'static str, door: &Door, mut surface: impl FnMut(Door) -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    let context = door.context();
    let mut pause_ms = SURFACE_PAUSE_MIN_MS;
    loop {
        let run = async { surface(door.clone()).await };
        let mut run = Box::pin(AssertUnwindSafe(run).catch_unwind());
        let soon = timeout(Duration::from_millis(SURFACE_STEADY_MS), &mut run).await;
        let ended = match soon {
            Ok(ended) => ended,
            Err(_) => {
                context.alarms.clear(AlarmKind::SurfaceFailing, name);
                pause_ms = SURFACE_PAUSE_MIN_MS;
                run.await
            }
        };
        if ended.is_ok() {
            context.alarms.clear(AlarmKind::SurfaceFailing, name);
            return;
        }
        failed(context, name).await;
        sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = pause_ms.saturating_mul(2).min(SURFACE_PAUSE_MAX_MS);
    }
}

/// Tells that a surface panicked.
async fn failed(context: &Context, name: &str) {
    let message = format!("the surface {name} failed and is started again");
    let advice = "the log has the panic; the node itself goes on";
    let new = context.alarms.raise(
        AlarmKind::SurfaceFailing,
        name,
        &message,
        advice,
        context.now(),
    );
    if new {
        let data = json!({"surface": name});
        let journal = &context.journal;
        journal
            .record(Event::SurfaceFailed, Severity::Warning, &message, data)
            .await;
    }
}
