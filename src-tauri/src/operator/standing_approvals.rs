//! Standing approvals at the door: taken to the executor that they name, this node or another one, and listed.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::deciding::PassphraseGate;
use super::{Answer, Door};
use crate::adapters::keystore::{NamedOperatorKey, Passphrase};
use crate::domain::admission::budget::Cause;
use crate::domain::base::{Code, DeviceId, Digest, OperatorId, Refusal, TimeMs};
use crate::domain::capability::offers_actuator;
use crate::domain::gate::standing_approval::{Allowed, StandingEnd};
use crate::domain::gate::{SignedStanding, SignedStandingEnd, StandingApproval};
use crate::domain::policy::Requester;
use crate::domain::wire::handshake::Feature;
use crate::node::links::LinkHandle;
use crate::node::proposals::standing_approvals::{
    self as node, ApprovalView, END, GIVE, LIST, Listed, StandingOffer,
};

/// A standing approval that a person gives from a browser or the window. Never shown: it holds a passphrase.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandingRequest {
    /// The executor, a device id.
    pub executor: String,
    /// The actuator.
    pub target: String,
    /// What it does.
    pub operation: String,
    /// Its parameters by name: `{"is": value}` or `{"min": least, "max": most}`; an action has each of these and no other.
    #[serde(default)]
    #[cfg_attr(test, schema(value_type = Object))]
    pub params: BTreeMap<String, Allowed>,
    /// Whose wishes begin by it.
    #[cfg_attr(test, schema(value_type = Vec<Requester>))]
    pub askers: BTreeSet<Requester>,
    /// The longest that one use may run, in milliseconds.
    pub run_max_ms: u64,
    /// How often it may be used.
    pub uses_max: u32,
    /// From when it counts, in milliseconds since 1970; now where it is left out.
    #[serde(default)]
    pub valid_from: Option<u64>,
    /// Until when it counts, in milliseconds since 1970.
    pub valid_until: u64,
    /// What the person says about it.
    #[serde(default)]
    pub note: Option<String>,
    /// The passphrase of the person's key at this node.
    #[serde(default)]
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub passphrase: Option<Passphrase>,
}

/// A standing approval that a person ends from a browser or the window. Never shown: it holds a passphrase.
#[derive(Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandingEndRequest {
    /// The executor, a device id.
    pub executor: String,
    /// The standing approval.
    pub id: String,
    /// What the person says about it.
    #[serde(default)]
    pub note: Option<String>,
    /// The passphrase of the person's key at this node.
    #[serde(default)]
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub passphrase: Option<Passphrase>,
}

/// What a client needs to sign a standing approval, beside what the person says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalsView {
    /// The mesh, which a standing approval names.
    pub mesh_id: String,
    /// This node.
    pub own: String,
    /// What was given to this executor and to those that are linked now.
    pub list: Vec<ApprovalView>,
    /// What may be approved ahead of time, as the policies of the executors that answered have it.
    pub allowed: Vec<StandingOffer>,
    /// The executors that answered, this node first.
    pub answered: Vec<String>,
    /// How many others were given to them that are not in the list.
    #[serde(default)]
    pub left_out: u64,
    /// Executors that were asked and did not answer, or are of an earlier version.
    pub unknown: Vec<String>,
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

fn device(text: &str) -> Answer<DeviceId> {
    text.parse().map_err(|e| bad(format!("executor: {e}")))
}

fn digest(text: &str) -> Answer<Digest> {
    Digest::from_hex(text).ok_or_else(|| bad("the id of a standing approval has 64 hex digits"))
}

impl Door {
    /// Takes a standing approval to the executor that it names. Nothing is queued: one that cannot be delivered now was not
    /// given.
    ///
    /// # Errors
    /// The executor's refusal; `EXECUTOR_UNREACHABLE` if it is not connected, `NOT_SUPPORTED` if it does not know them.
    pub async fn standing_give(&self, signed: SignedStanding) -> Answer<ApprovalView> {
        let executor = signed.approval.executor.clone();
        if executor == *self.handles.own_id() {
            return node::give(&self.handles, Cause::Own, signed).await;
        }
        let answer = self.at_executor(&executor, GIVE, json!({"standing": signed}));
        self.read_view(&executor, answer.await?)
    }

    /// Takes a person's word that a standing approval ends to its executor.
    ///
    /// # Errors
    /// As [`Door::standing_give`].
    pub async fn standing_end(&self, id: &str, signed: SignedStandingEnd) -> Answer<ApprovalView> {
        if digest(id)? != signed.end.approval {
            return Err(bad(
                "the signed word is about another standing approval than the address names",
            ));
        }
        let executor = signed.end.executor.clone();
        if executor == *self.handles.own_id() {
            return node::end(&self.handles, Cause::Own, signed).await;
        }
        let answer = self.at_executor(&executor, END, json!({"end": signed}));
        self.read_view(&executor, answer.await?)
    }

    /// Ends a standing approval of this executor, as its administrator.
    ///
    /// # Errors
    /// `NOT_FOUND`, or what the store says.
    pub async fn standing_void(&self, id: &str, why: Option<String>) -> Answer<ApprovalView> {
        let why = why.unwrap_or_else(|| "ended by an administrator".to_owned());
        if why.chars().count() > crate::domain::base::limits::TEXT_MAX_CHARS {
            return Err(bad("the reason is too long"));
        }
        node::void(&self.handles, digest(id)?, why).await
    }

    /// What was given to this executor, and to those that are linked now.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn standing(&self) -> Answer<ApprovalsView> {
        let links = self.handles.links.all().into_iter();
        // One of an earlier version has none.
        let links: Vec<LinkHandle> = links
            .filter(|l| l.offered().claims().any(|c| offers_actuator(c)))
            .filter(|l| l.info.speaks(Feature::Standing))
            .collect();
        let others = links.iter().map(|link| self.listed(link));
        let (own, others) = tokio::join!(node::list(&self.handles), join_all(others));
        let own = own?;
        let mut view = ApprovalsView {
            mesh_id: self.handles.mesh.as_str().to_owned(),
            own: self.handles.own_id().as_str().to_owned(),
            list: own.list,
            left_out: own.left_out,
            allowed: node::offers(&self.handles),
            answered: vec![self.handles.own_id().as_str().to_owned()],
            unknown: Vec::new(),
        };
        for (link, listed) in links.iter().zip(others) {
            let executor = link.info.device.as_str().to_owned();
            match listed {
                Ok((listed, allowed)) => {
                    view.list.extend(listed.list);
                    view.left_out = view.left_out.saturating_add(listed.left_out);
                    view.allowed.extend(allowed);
                    view.answered.push(executor);
                }
                Err(_) => view.unknown.push(executor),
            }
        }
        let names = self.names();
        let named = |id: &str| names.get(&id.parse::<DeviceId>().ok()?).cloned();
        for one in &mut view.list {
            one.executor_name = named(&one.executor);
        }
        for one in &mut view.allowed {
            one.executor_name = named(&one.executor);
        }
        Ok(view)
    }

    async fn listed(&self, link: &LinkHandle) -> Answer<(Listed, Vec<StandingOffer>)> {
        let answer = link.request(LIST, &json!({})).await?;
        // An earlier version leaves nothing out.
        let left_out = answer.get("leftOut").and_then(Value::as_u64);
        let list = answer.get("standing").cloned().unwrap_or_default();
        let mut list: Vec<ApprovalView> = read(list)?;
        // One that does not say for what it takes any is asked for none from here.
        let allowed = answer.get("allowed").cloned();
        let mut allowed: Vec<StandingOffer> = allowed.map_or_else(|| Ok(Vec::new()), read)?;
        // What an executor says is about itself.
        for one in &mut list {
            one.executor = link.info.device.as_str().to_owned();
        }
        for one in &mut allowed {
            one.executor = link.info.device.as_str().to_owned();
        }
        let listed = Listed {
            list,
            left_out: left_out.unwrap_or_default(),
        };
        Ok((listed, allowed))
    }

    async fn at_executor(&self, executor: &DeviceId, method: &str, params: Value) -> Answer<Value> {
        let short = executor.short();
        let link = self.handles.reach.reach(executor).await.ok_or_else(|| {
            let why = format!(
                "executor {short} is not connected; nothing was changed, try again when it is back"
            );
            Refusal::new(Code::ExecutorUnreachable, why)
        })?;
        if !link.info.speaks(Feature::Standing) {
            let why = format!(
                "executor {short} runs an earlier version, which knows no standing approvals"
            );
            return Err(Refusal::new(Code::UnknownMethod, why));
        }
        Ok(link.request(method, &params).await?)
    }

    fn read_view(&self, executor: &DeviceId, answer: Value) -> Answer<ApprovalView> {
        let view: ApprovalView = read(answer)?;
        Ok(ApprovalView {
            executor: executor.as_str().to_owned(),
            executor_name: self.names().get(executor).cloned(),
            ..view
        })
    }

    /// Gives a standing approval as the person whose key lies at this node, who proves it with the passphrase.
    ///
    /// # Errors
    /// As [`Door::console_decide`] and [`Door::standing_give`].
    pub async fn console_standing(
        &self,
        gate: &PassphraseGate,
        mut asked: StandingRequest,
    ) -> Answer<ApprovalView> {
        let passphrase = asked.passphrase.take();
        self.standing_with(asked, self.unlock_with(gate, passphrase))
            .await
    }

    /// Gives a standing approval with the key that `unlock` gives, which is asked once everything else has been checked.
    ///
    /// # Errors
    /// What `unlock` says; what a standing approval is refused with.
    pub async fn standing_with(
        &self,
        asked: StandingRequest,
        unlock: impl Future<Output = Answer<NamedOperatorKey>>,
    ) -> Answer<ApprovalView> {
        let now = self.handles.now();
        let nonce = self.handles.fresh_id()?;
        let mut approval = StandingApproval {
            version: 1,
            mesh_id: self.handles.mesh.clone(),
            executor: device(&asked.executor)?,
            // Of whoever signs; known once the key is open.
            operator_id: OperatorId::of_public_key(&[0; 32]),
            target: asked
                .target
                .parse()
                .map_err(|e| bad(format!("target: {e}")))?,
            operation: asked.operation,
            params: asked.params,
            askers: asked.askers,
            run_max_ms: asked.run_max_ms,
            uses_max: asked.uses_max,
            valid_from: asked.valid_from.map_or(now, TimeMs),
            valid_until: TimeMs(asked.valid_until),
            given_at: now,
            nonce: nonce.to_string(),
            note: asked.note.filter(|note| !note.trim().is_empty()),
        };
        approval.check_form()?;
        let key = unlock.await?;
        approval.operator_id = key.key.id().clone();
        let signed = approval.sign(&key.key);
        // The key is wiped before anything else happens.
        drop(key);
        self.standing_give(signed).await
    }

    /// Ends a standing approval as the person whose key lies at this node, who proves it with the passphrase.
    ///
    /// # Errors
    /// As [`Door::console_decide`] and [`Door::standing_end`].
    pub async fn console_standing_end(
        &self,
        gate: &PassphraseGate,
        mut asked: StandingEndRequest,
    ) -> Answer<ApprovalView> {
        let passphrase = asked.passphrase.take();
        self.standing_end_with(asked, self.unlock_with(gate, passphrase))
            .await
    }

    /// As [`Door::standing_with`], for the end of one.
    ///
    /// # Errors
    /// As [`Door::standing_end`].
    pub async fn standing_end_with(
        &self,
        asked: StandingEndRequest,
        unlock: impl Future<Output = Answer<NamedOperatorKey>>,
    ) -> Answer<ApprovalView> {
        let (executor, approval) = (device(&asked.executor)?, digest(&asked.id)?);
        let key = unlock.await?;
        let end = StandingEnd {
            mesh_id: self.handles.mesh.clone(),
            executor,
            approval,
            operator_id: key.key.id().clone(),
            ended_at: self.handles.now(),
            note: asked.note.filter(|note| !note.trim().is_empty()),
        };
        let signed = end.sign(&key.key);
        drop(key);
        self.standing_end(&asked.id, signed).await
    }
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Answer<T> {
    serde_json::from_value(answer).map_err(|e| {
        Refusal::new(
            Code::InternalError,
            format!("the executor's answer does not read: {e}"),
        )
    })
}
