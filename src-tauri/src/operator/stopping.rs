//! Stopping one action, here or at its executor, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dto::ProposalView;
use super::{Answer, Door};
use crate::adapters::store::proposals::ProposalRow;
use crate::domain::admission::budget::Cause;
use crate::domain::base::{Code, Refusal};
use crate::node::proposals::{self, Stopped};

/// How long an answer waits for the proposal as the store has it now.
const PROPOSAL_WAIT: Duration = Duration::from_secs(1);

/// What a stop came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StopView {
    /// The proposal as it stands now; left out where the store does not answer.
    #[serde(flatten)]
    pub proposal: Option<ProposalView>,
    /// What was done.
    pub stopped: Stopped,
}

impl Door {
    /// Stops a running action for whom `by` names, here or over its executor's link: the actuator goes to its safe state.
    ///
    /// # Errors
    /// `CONFLICT` if it does not run; `EXECUTOR_UNREACHABLE`: then stop it at the node itself.
    pub async fn stop(&self, wanted: &str, by: &str) -> Answer<StopView> {
        self.stop_of(Cause::Own, wanted, by).await
    }

    /// As [`Door::stop`], on somebody's account: one that repeats is recorded within its share.
    ///
    /// # Errors
    /// As [`Door::stop`].
    pub async fn stop_of(&self, cause: Cause, wanted: &str, by: &str) -> Answer<StopView> {
        let here = |id: String| {
            let cause = cause.clone();
            async move { proposals::stop_of(&self.handles, cause, &id, by).await }
        };
        // Actions that run here are found in memory, so a disk that does not answer delays no stop.
        let stopped = match here(wanted.to_owned()).await {
            Ok(stopped) => stopped,
            Err(_) => {
                let row = self.proposal_row(wanted).await?;
                match row.own {
                    true => here(row.id.as_str().to_owned()).await?,
                    false => self.stop_elsewhere(&row, by).await?,
                }
            }
        };
        let proposal = tokio::time::timeout(PROPOSAL_WAIT, self.proposal(wanted)).await;
        Ok(StopView {
            proposal: proposal.ok().and_then(Result::ok),
            stopped,
        })
    }

    async fn stop_elsewhere(&self, row: &ProposalRow, by: &str) -> Answer<Stopped> {
        let link = self
            .handles
            .reach
            .reach(&row.executor)
            .await
            .ok_or_else(|| {
                let why = format!(
                    "executor {} is not connected; stop it at the node itself",
                    row.executor.short()
                );
                Refusal::new(Code::ExecutorUnreachable, why)
            })?;
        // An executor of an earlier version takes no notice of who asks, and names this device.
        let asked = json!({"proposalId": row.id, "by": by});
        let answer: Value = link.request("proposals.stop", &asked).await?;
        let result = answer.get("result").cloned().unwrap_or_default();
        // An executor of an earlier version says only that it was told.
        Ok(serde_json::from_value(result).unwrap_or_else(|_| Stopped {
            target: row.target.clone(),
            safe: false,
            recorded: true,
            detail: format!(
                "its executor {} was told to stop, and does not say whether {} is in its safe state",
                row.executor.short(),
                row.target
            ),
        }))
    }
}
