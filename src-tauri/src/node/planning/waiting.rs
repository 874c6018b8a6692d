//! Drafts that wait for their executors: they are sent again when a link comes up.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::{Drafts, Sent, deliver, leader_trusted};
use crate::adapters::store::drafts::{self, DraftRow, DraftStatus};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::plan::Draft;
use crate::domain::policy::Requester;
use crate::node::context::{DURABLE, Event};
use crate::node::routing::{self, Place};

/// Waiting drafts that are tried again at the same time.
const RETRIES_AT_ONCE: usize = 8;

/// Sends waiting drafts again when a link comes up, and expires those whose time is over.
pub async fn retry_waiting(drafts: Drafts) {
    let mut links = drafts.links.watch();
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            biased;
            () = drafts.tasks.stop().cancelled() => return,
            changed = links.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
        let waiting = match drafts.store.read_committed("drafts", drafts::waiting).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, "waiting drafts cannot be read");
                continue;
            }
        };
        // Several at once: an executor that does not answer must not hold up the others.
        let retries =
            futures_util::stream::iter(waiting).for_each_concurrent(RETRIES_AT_ONCE, |row| {
                let drafts = &drafts;
                async move {
                    // A planner's wish waits as long as the planner rests; a person's does not.
                    let paused = drafts.planner.pause().is_some();
                    if !(paused && drafts.now() < row.expires_at && of_planner(&row)) {
                        retry(drafts, row).await;
                    }
                }
            });
        retries.await;
    }
}

/// Whether a waiting draft is a planner's.
fn of_planner(row: &DraftRow) -> bool {
    let draft = serde_json::from_str::<Draft>(&row.json);
    draft.is_ok_and(|d| matches!(d.requester, Requester::Rules | Requester::Llm))
}

/// Delivers a draft to the executor it waits for. Earlier versions did not write down which.
async fn again(
    drafts: &Drafts,
    draft: &Draft,
    executor: Option<&DeviceId>,
) -> Result<Sent, Refusal> {
    match executor {
        Some(executor) => deliver(drafts, draft, executor).await,
        None => {
            let executor = routing::executor_of(drafts, draft, &Place::default()).await?;
            deliver(drafts, draft, &executor).await
        }
    }
}

async fn retry(drafts: &Drafts, mut row: DraftRow) {
    let now = drafts.now();
    let draft = serde_json::from_str::<Draft>(&row.json)
        .ok()
        .filter(|d| now < d.expires_at);
    let result = match &draft {
        None => Err(Refusal::new(
            Code::CommandExpired,
            "the executor did not come back in time",
        )),
        Some(draft) => match leader_trusted(drafts, draft) {
            Ok(()) => again(drafts, draft, row.executor.as_ref()).await,
            Err(refusal) => Err(refusal),
        },
    };
    match result {
        Ok(sent) => {
            row.status = DraftStatus::Delivered;
            row.proposal_id = sent.proposal().cloned();
        }
        Err(refusal)
            if [
                Code::ExecutorUnreachable,
                Code::Timeout,
                Code::UnknownTarget,
            ]
            .contains(&refusal.code) =>
        {
            return;
        }
        Err(refusal) => {
            row.status = if draft.is_none() {
                DraftStatus::Expired
            } else {
                DraftStatus::Refused
            };
            drafts
                .journal
                .refused(Event::DraftRefused, row.id.as_str(), &refusal)
                .await;
            row.code = Some(refusal.code.as_str().to_owned());
            row.message = Some(refusal.message);
        }
    }
    if let Err(error) = drafts
        .store
        .write(DURABLE, "draft", move |c| drafts::put(c, &row))
        .await
    {
        tracing::error!(%error, "a draft's state could not be stored");
    }
}
