//! Keeping a held action going, here or at its executor, letting it go, and who does.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Answer, Door};
use crate::domain::base::{Code, DeviceId, ProposalId, Refusal};
use crate::domain::gate::lease;
use crate::domain::wire::handshake::Feature;
use crate::node::links::LinkHandle;
use crate::node::proposals::hold::{self, HeldView, HoldRequest, HoldView};

impl Door {
    /// Renews or releases a held action. What runs here is found in memory; one at another executor is kept over the link to
    /// it, which that executor takes from the device that asked for it. `seat` tells programs and sessions at this door apart.
    ///
    /// # Errors
    /// `CONFLICT` if it does not run, `ACTUATOR_BUSY` while somebody else holds it, `NOT_AUTHORIZED` if it is not this node's to keep,
    /// `RATE_EXCEEDED`, `EXECUTOR_UNREACHABLE`.
    pub async fn hold(&self, seat: &str, wanted: &str, asked: HoldRequest) -> Answer<HoldView> {
        hold::within(&self.handles, seat, &asked)?;
        if let Some((id, _)) = self.handles.running.find(wanted) {
            return hold::by_session(&self.handles, &id, &asked);
        }
        let row = self.proposal_row(wanted).await?;
        match row.own {
            true => Err(lease::ended(&row.id)),
            false => self.hold_elsewhere(&row.executor, &row.id, &asked).await,
        }
    }

    async fn hold_elsewhere(
        &self,
        executor: &DeviceId,
        id: &ProposalId,
        asked: &HoldRequest,
    ) -> Answer<HoldView> {
        let link = self.holding_executor(executor).await?;
        let asked = json!({"proposalId": id, "asked": asked});
        read(link.request(hold::HOLD, &asked).await?)
    }

    /// Who holds an action and how long it goes on, as its executor says. Looking keeps nothing.
    ///
    /// # Errors
    /// `CONFLICT` if it does not run or is not held, `EXECUTOR_UNREACHABLE`.
    pub async fn held(&self, wanted: &str) -> Answer<HeldView> {
        if let Some((id, _)) = self.handles.running.find(wanted) {
            return hold::look(&self.handles, &id);
        }
        let row = self.proposal_row(wanted).await?;
        if row.own {
            return Err(lease::ended(&row.id));
        }
        let link = self.holding_executor(&row.executor).await?;
        let asked = json!({"proposalId": row.id});
        read(link.request(hold::HELD, &asked).await?)
    }

    async fn holding_executor(&self, executor: &DeviceId) -> Answer<LinkHandle> {
        let short = executor.short();
        let link = self.handles.reach.reach(executor).await.ok_or_else(|| {
            let why =
                format!("executor {short} is not connected; the action ends when its lease lapses");
            Refusal::new(Code::ExecutorUnreachable, why)
        })?;
        if !link.info.speaks(Feature::Hold) {
            let why =
                format!("executor {short} runs an earlier version, which has no held actions");
            return Err(Refusal::new(Code::DeliveryFailed, why));
        }
        Ok(link)
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Answer<T> {
    serde_json::from_value(answer).map_err(|e| {
        let why = format!("the executor's answer does not read: {e}");
        Refusal::new(Code::InternalError, why)
    })
}
