//! Acting: decisions, drafts, withdrawals, and changes of policy, trust and operators on a running
//! node. The rules themselves live in the node and below; here a wish finds its way to them.

use std::collections::BTreeSet;

use serde_json::json;

use super::dto::{
    DraftRequest, DraftState, DraftView, GrantChange, PolicyState, TrustAdd, TrustRecordView,
};
use super::{Answer, Door, registry};
use crate::adapters::paths::StateDir;
use crate::domain::admission::TrustRecord;
use crate::domain::base::limits::DRAFT_TTL_MS;
use crate::domain::base::{Code, DeviceId, DraftId, FrameId, Refusal, Taint};
use crate::domain::capability::Action;
use crate::domain::gate::SignedDecision;
use crate::domain::plan::Draft;
use crate::domain::policy::Requester;
use crate::domain::proposal::Status;
use crate::node::authority;
use crate::node::context::store_refusal;
use crate::node::context::{Event, Severity};
use crate::node::gen1::parting;
use crate::node::planning::{self, Sent, Stood};
use crate::node::proposals::{self, Standing};
use crate::node::routing::Place;

/// The answer to a wish that equals a proposal which stands already.
fn standing_words(stood: &Stood) -> String {
    let id = stood.id.as_str();
    match stood.status {
        Status::AwaitingApproval => {
            format!(
                "this wish already waits as {id}; its reason and evidence stay those of the first"
            )
        }
        status => format!("this wish is already under way as {id} ({status}); nothing was added"),
    }
}

/// A cited frame: its id, and the device that made it where that is said.
fn cite(text: &str) -> Answer<(FrameId, Option<DeviceId>)> {
    let (id, origin) = match text.rsplit_once('@') {
        Some((id, device)) if device.parse::<DeviceId>().is_ok() => (id, device.parse().ok()),
        _ => (text, None),
    };
    let id = id.parse().map_err(|e| bad(format!("cites: {e}")))?;
    Ok((id, origin))
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

/// Who asks for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A person.
    Person,
    /// A model, or a program that may be one.
    Model,
}

impl Asker {
    fn requester(self) -> Requester {
        match self {
            Self::Person => Requester::Person,
            Self::Model => Requester::Llm,
        }
    }

    fn taint(self) -> BTreeSet<Taint> {
        match self {
            Self::Person => BTreeSet::new(),
            Self::Model => [Taint::Llm].into(),
        }
    }
}

impl Door {
    /// Takes a decision to the executor: this node, or over the executor's link. Nothing is queued:
    /// a decision that cannot be delivered now was not taken.
    ///
    /// # Errors
    /// The executor's refusal; `EXECUTOR_UNREACHABLE` if it is not connected.
    pub async fn decide(&self, wanted: &str, signed: SignedDecision) -> Answer<Standing> {
        let row = self.proposal_row(wanted).await?;
        if row.id != signed.decision.proposal_id {
            return Err(bad(format!(
                "the decision is about proposal {}, the address names {}",
                signed.decision.proposal_id.short(),
                row.id.short()
            )));
        }
        if row.own {
            return proposals::decide(&self.handles, signed).await;
        }
        let executor = &signed.decision.executor;
        let link = self.handles.reach.reach(executor).await.ok_or_else(|| {
            Refusal::new(
                Code::ExecutorUnreachable,
                format!(
                    "executor {} is not connected; nothing was decided, try again when it is back",
                    executor.short()
                ),
            )
        })?;
        let answer = link
            .request("proposals.decide", &json!({"decision": signed}))
            .await?;
        serde_json::from_value(answer).map_err(|e| {
            Refusal::new(
                Code::InternalError,
                format!("the executor's answer does not read: {e}"),
            )
        })
    }

    /// Takes one of this node's waiting proposals back.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_WAITING`; `WRONG_EXECUTOR` for a proposal of another executor.
    pub async fn withdraw(&self, wanted: &str, reason: Option<String>) -> Answer<Standing> {
        let row = self.proposal_row(wanted).await?;
        let why = reason.unwrap_or_else(|| "withdrawn by an operator".to_owned());
        if why.chars().count() > crate::domain::base::limits::TEXT_MAX_CHARS {
            return Err(bad("the reason is too long"));
        }
        proposals::withdraw(&self.handles, row.id, why).await
    }

    /// Sends a person's wish to the executor that owns the target.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `TARGET_AMBIGUOUS` with the choice where several executors offer the target, or
    /// the executor's refusal.
    pub async fn propose(&self, wish: DraftRequest) -> Answer<DraftView> {
        self.propose_as(wish, Asker::Person).await
    }

    /// As [`Door::propose`], for who asks.
    pub(super) async fn propose_as(&self, wish: DraftRequest, asker: Asker) -> Answer<DraftView> {
        let now = self.handles.now();
        let target = wish
            .target
            .parse()
            .map_err(|e| bad(format!("target: {e}")))?;
        let action =
            Action::new(target, &wish.operation, wish.params).map_err(|e| bad(e.to_string()))?;
        let cites = wish.cites.iter().map(|text| cite(text));
        let cites = cites.collect::<Answer<Vec<(FrameId, Option<DeviceId>)>>>()?;
        let origins = cites
            .iter()
            .filter_map(|(id, origin)| Some((id.clone(), origin.clone()?)));
        let draft = Draft {
            draft_id: DraftId::from(self.handles.fresh_id()?),
            action,
            reason: wish.reason,
            requester: asker.requester(),
            requester_name: wish.name,
            taint: asker.taint(),
            origins: origins.collect(),
            slot: None,
            led_by: None,
            cites: cites.into_iter().map(|(id, _)| id).collect(),
            created_at: now,
            expires_at: now.plus(DRAFT_TTL_MS),
        };
        let mut view = DraftView {
            draft_id: draft.draft_id.as_str().to_owned(),
            status: DraftState::Proposed,
            proposal_id: None,
            standing: false,
            standing_since: None,
            target: wish.target,
            detail: None,
            created_at: draft.created_at.0,
            expires_at: draft.expires_at.0,
        };
        let place = Place {
            executor: wish.executor,
            zone: wish.zone,
        };
        match planning::submit_to(&self.handles.drafts, draft, &place).await? {
            Sent::Proposed(id) => view.proposal_id = Some(id.as_str().to_owned()),
            Sent::Stood(stood) => {
                view.proposal_id = Some(stood.id.as_str().to_owned());
                view.standing = true;
                view.standing_since = Some(stood.since.0);
                view.detail = Some(standing_words(&stood));
            }
            Sent::Waiting(refusal) => {
                view.status = DraftState::Waiting;
                view.detail = Some(refusal.to_string());
            }
        }
        Ok(view)
    }

    /// Reads the policy file again.
    ///
    /// # Errors
    /// `POLICY_INVALID` with the reason; the policy in force stays.
    pub async fn policy_reload(&self) -> Answer<PolicyState> {
        let file = StateDir::at(&self.handles.config.state_dir).policy_file();
        self.handles
            .reload_policy(&file)
            .await
            .map_err(|why| Refusal::new(Code::PolicyInvalid, why))?;
        Ok(self.policy_state())
    }

    /// Trusts a device.
    ///
    /// # Errors
    /// As [`registry::trust_add`].
    pub async fn trust_add(&self, add: &TrustAdd) -> Answer<TrustRecordView> {
        let record = registry::trust_add(&self.desk(), add).await?;
        self.trust_changed(Event::TrustAdded, &record).await
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// As [`registry::trust_remove`].
    pub async fn trust_remove(&self, id: &str) -> Answer<TrustRecordView> {
        let record = registry::trust_remove(&self.desk(), id).await?;
        self.trust_changed(Event::TrustRemoved, &record).await
    }

    /// Gives a device more grants.
    ///
    /// # Errors
    /// As [`registry::trust_grant`].
    pub async fn trust_grant(&self, id: &str, change: &GrantChange) -> Answer<TrustRecordView> {
        let record = registry::trust_grant(&self.desk(), id, &change.grants).await?;
        self.trust_changed(Event::TrustGranted, &record).await
    }

    /// Takes grants away from a device.
    ///
    /// # Errors
    /// As [`registry::trust_ungrant`].
    pub async fn trust_ungrant(&self, id: &str, change: &GrantChange) -> Answer<TrustRecordView> {
        let record = registry::trust_ungrant(&self.desk(), id, &change.grants).await?;
        self.trust_changed(Event::TrustUngranted, &record).await
    }

    /// Ends the trust in a device.
    ///
    /// # Errors
    /// As [`registry::trust_revoke`].
    pub async fn trust_revoke(&self, id: &str) -> Answer<TrustRecordView> {
        let record = registry::trust_revoke(&self.desk(), id).await?;
        self.trust_changed(Event::TrustRevoked, &record).await
    }

    /// The running node takes the change up; a link that is no longer trusted ends.
    async fn trust_changed(&self, event: Event, record: &TrustRecord) -> Answer<TrustRecordView> {
        let s = &self.handles;
        s.trust
            .reload(&s.store)
            .await
            .map_err(|e| store_refusal(&e))?;
        let untrusted = s.trust.live(&record.device_id).is_none();
        parting::part_untrusted(s);
        authority::look_again(&s.authority).await;
        if untrusted {
            proposals::drop_of(s, &record.device_id).await;
        } else {
            proposals::drop_unentitled(s, &record.device_id).await;
        }
        let message = format!("Trust in {}: {}", record.label(), event.kind());
        let data = json!({"deviceId": record.device_id, "grants": record.grants});
        s.journal
            .record(event, Severity::Info, &message, data)
            .await;
        self.trust_seen(record).await
    }
}
