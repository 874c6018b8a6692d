//! Newer releases: looked for once a day where the configuration says where, and told by an alarm. Nothing is ever installed by a node.

use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::adapters::releases::{Releases, this_version};
use crate::adapters::store::{Class, StoreError, kv};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{RELEASE_LOOK_AGAIN_MS, RELEASE_LOOK_EVERY_MS};
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Context, Event, Severity};

/// Where the last look lies.
const LOOKED: &str = "updates.looked";

/// What the last look found, on disk: a node that is started again and again does not ask each time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Looked {
    at: TimeMs,
    /// Where; another place is looked at anew.
    from: String,
    version: Version,
}

/// Looks once a day until the node ends, where the configuration says where.
pub(super) fn begin(context: &Context) {
    let Some(releases) = context.config.updates.clone() else {
        return;
    };
    let (stop, of) = (context.tasks.stop().clone(), context.clone());
    context.tasks.passing("updates", async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = run(of, releases) => {}
        }
    });
}

/// The newer version that the last look found, where the configuration says that one is looked for. Nobody is asked by this.
pub async fn newer(context: &Context) -> Option<Version> {
    let from = context.config.updates.as_ref()?.to_string();
    let here = this_version().ok()?;
    let last = last_look(context).await.filter(|l| l.from == from)?;
    (last.version > here).then_some(last.version)
}

async fn run(context: Context, releases: Releases) {
    let here = match this_version() {
        Ok(here) => here,
        Err(error) => return tracing::error!(%error, "no newer release is looked for"),
    };
    let from = releases.to_string();
    let mut last = last_look(&context).await.filter(|l| l.from == from);
    if let Some(looked) = &last {
        tell(&context, &here, looked).await;
    }
    loop {
        let due = last.as_ref().is_none_or(|looked| {
            // A clock that was set back makes it no longer than a day.
            let ago = context.now().0.checked_sub(looked.at.0);
            ago.is_none_or(|ago| ago >= RELEASE_LOOK_EVERY_MS)
        });
        if due {
            match releases.offered().await {
                Ok(version) => {
                    let at = context.now();
                    let from = from.clone();
                    let looked = Looked { at, from, version };
                    keep(&context, &looked).await;
                    tell(&context, &here, &looked).await;
                    last = Some(looked);
                }
                Err(error) => tracing::warn!(%error, "no newer release could be looked for"),
            }
        }
        tokio::time::sleep(Duration::from_millis(RELEASE_LOOK_AGAIN_MS)).await;
    }
}

async fn last_look(context: &Context) -> Option<Looked> {
    let read = |c: &rusqlite::Connection| kv::get(c, LOOKED);
    let bytes = context.store.read("last look for a release", read).await;
    // What does not read is looked for again.
    bytes
        .ok()
        .flatten()
        .and_then(|b| serde_json::from_slice(&b).ok())
}

async fn keep(context: &Context, looked: &Looked) {
    let text = json!(looked).to_string();
    let write = move |c: &rusqlite::Connection| kv::put(c, LOOKED, text.as_bytes());
    let written: Result<(), StoreError> = context
        .store
        .write(Class::Relaxed, "last look for a release", write)
        .await;
    if let Err(error) = written {
        tracing::warn!(%error, "that a release was looked for is not on disk");
    }
}

async fn tell(context: &Context, here: &Version, looked: &Looked) {
    let (kind, there) = (AlarmKind::UpdateOffered, &looked.version);
    if there <= here {
        context.alarms.clear(kind, "");
        return;
    }
    let message = format!("version {there} is offered; this node is {here}");
    let advice = "read what is new, make a backup, and install it: docs/install.md";
    if context
        .alarms
        .raise(kind, "", &message, advice, context.now())
    {
        let data =
            json!({"version": there.to_string(), "here": here.to_string(), "from": looked.from});
        let journal = &context.journal;
        journal
            .record(Event::UpdateOffered, Severity::Info, &message, data)
            .await;
    }
}
