//! Calls of the commands to a running node: one method for each route that they need.

use serde_json::json;

use super::{Asked, Remote, Sink};
use crate::domain::gate::SignedDecision;
use crate::node::pairing::PairingView;
use crate::node::planner::Answered;
use crate::node::proposals::Standing;
use crate::node::proposals::hold;
use crate::node::wiring::Reloaded;
use crate::operator::actuators::ActuatorView;
use crate::operator::devices::{DeviceLook, DeviceSensorView, DeviceView};
use crate::operator::dto::{AskRequest, PauseRequest, PlannerView};
use crate::operator::dto::{
    AuditReport, AuditView, DraftRequest, DraftView, EventView, ExplainRequest, ExplainView,
    FactView, FrameView, GrantChange, IssuerView, NodeView, OperatorEnroll, OperatorView, PeerView,
    PolicyState, PolicyView, ProposalRecordView, ProposalView, StatusView, TraceView, TrustAdd,
    TrustRecordView, Why,
};
use crate::operator::estop::{EstopReport, EstopRequest, EstopView};
use crate::operator::inference::InferRequest;
use crate::operator::meshes::{Admittance, MeshPolicyChange, MeshView};
use crate::operator::pairing::{PairDecision, PairStart};
use crate::operator::routes;
use crate::operator::stopping::StopView;

impl Remote {
    /// The node at a glance.
    ///
    /// # Errors
    /// As every call here: [`RemoteError`], `Refused` with the node's own code.
    pub async fn status(&self) -> Asked<StatusView> {
        self.read(routes::STATUS).await
    }

    /// Every device of the mesh that the node knows.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn nodes(&self) -> Asked<Vec<NodeView>> {
        self.read(routes::NODES).await
    }

    /// The connected peers.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn peers(&self) -> Asked<Vec<PeerView>> {
        self.read(routes::PEERS).await
    }

    /// The newest value of each metric, zone and origin.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn world(
        &self,
        metric: Option<&str>,
        zone: Option<&str>,
        origin: Option<&str>,
    ) -> Asked<Vec<FactView>> {
        self.find(
            routes::WORLD,
            &[("metric", metric), ("zone", zone), ("origin", origin)],
        )
        .await
    }

    /// Stored frames, newest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn frames(
        &self,
        kind: Option<&str>,
        origin: Option<&str>,
        limit: usize,
    ) -> Asked<Vec<FrameView>> {
        let limit = limit.to_string();
        self.find(
            routes::FRAMES,
            &[("kind", kind), ("origin", origin), ("limit", Some(&limit))],
        )
        .await
    }

    /// Events after a number, or the newest; oldest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn events(
        &self,
        since: Option<u64>,
        kind: Option<&str>,
        limit: usize,
    ) -> Asked<Vec<EventView>> {
        let (since, limit) = (since.map(|s| s.to_string()), limit.to_string());
        self.find(
            routes::EVENTS,
            &[
                ("since", since.as_deref()),
                ("kind", kind),
                ("limit", Some(&limit)),
            ],
        )
        .await
    }

    /// Open proposals, or all, newest first, however many there are.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn proposals(&self, all: bool) -> Asked<Vec<ProposalView>> {
        let all = all.then_some("true");
        let mut listed: Vec<ProposalView> = Vec::new();
        loop {
            let before = listed.last().map(|p| p.id.clone());
            let asked = [("all", all), ("before", before.as_deref())];
            let mut page: Vec<ProposalView> = self.find(routes::PROPOSALS, &asked).await?;
            // A page is cut by its bytes as well, so only an empty one is the last.
            page.retain(|p| listed.iter().rev().all(|known| known.id != p.id));
            if page.is_empty() {
                return Ok(listed);
            }
            listed.append(&mut page);
        }
    }

    /// A proposal with the record its executor signed.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn proposal(&self, id: &str) -> Asked<ProposalRecordView> {
        self.of(routes::PROPOSAL_RECORD, id).await
    }

    /// A proposal without its record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn proposal_view(&self, id: &str) -> Asked<ProposalView> {
        self.of(routes::PROPOSAL, id).await
    }

    /// A proposal's story.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trace(&self, id: &str) -> Asked<TraceView> {
        self.of(routes::PROPOSAL_TRACE, id).await
    }

    /// Takes a signed decision to the executor.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn decide(&self, id: &str, signed: &SignedDecision) -> Asked<Standing> {
        self.send_to(routes::PROPOSAL_DECIDE, id, signed).await
    }

    /// Takes a waiting proposal back.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn withdraw(&self, id: &str) -> Asked<Standing> {
        self.send_to(routes::PROPOSAL_WITHDRAW, id, &Why::default())
            .await
    }

    /// Stops a proposal's running action.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn stop(&self, id: &str) -> Asked<StopView> {
        self.of(routes::PROPOSAL_STOP, id).await
    }

    /// Keeps a proposal's held action going, or lets it go.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn hold(&self, id: &str, asked: &hold::HoldRequest) -> Asked<hold::HoldView> {
        self.send_to(routes::PROPOSAL_HOLD, id, asked).await
    }

    /// Drafts of the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn drafts(&self) -> Asked<Vec<DraftView>> {
        self.read(routes::DRAFTS).await
    }

    /// Asks for an action.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn propose(&self, wish: &DraftRequest) -> Asked<DraftView> {
        self.send(routes::PROPOSE, wish).await
    }

    /// The policy in force.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy(&self) -> Asked<PolicyView> {
        self.read(routes::POLICY).await
    }

    /// Makes the node read its policy file again.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy_reload(&self) -> Asked<PolicyState> {
        self.read(routes::POLICY_RELOAD).await
    }

    /// The ruling of the node's policy on an action now.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy_explain(&self, asked: &ExplainRequest) -> Asked<ExplainView> {
        self.send(routes::POLICY_EXPLAIN, asked).await
    }

    /// Audit entries after a number, or the newest; oldest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn audit(&self, since: Option<u64>, limit: usize) -> Asked<Vec<AuditView>> {
        let (since, limit) = (since.map(|s| s.to_string()), limit.to_string());
        self.find(
            routes::AUDIT,
            &[("since", since.as_deref()), ("limit", Some(&limit))],
        )
        .await
    }

    /// Checks the audit chain.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn audit_verify(&self) -> Asked<AuditReport> {
        self.read(routes::AUDIT_VERIFY).await
    }

    /// Every trust record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust(&self) -> Asked<Vec<TrustRecordView>> {
        self.read(routes::TRUST).await
    }

    /// One trust record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_show(&self, id: &str) -> Asked<TrustRecordView> {
        self.of(routes::TRUST_ONE, id).await
    }

    /// Trusts a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_add(&self, add: &TrustAdd) -> Asked<TrustRecordView> {
        self.send(routes::TRUST_ADD, add).await
    }

    /// Pairing on the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pairing(&self) -> Asked<PairingView> {
        self.read(routes::PAIRING).await
    }

    /// Lets others ask to be paired with.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_open(&self) -> Asked<PairingView> {
        self.read(routes::PAIR_OPEN).await
    }

    /// Closes the window and ends the pairing under way.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_cancel(&self) -> Asked<PairingView> {
        self.read(routes::PAIR_CANCEL).await
    }

    /// Asks another node to pair.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_start(&self, wish: &PairStart) -> Asked<PairingView> {
        self.send(routes::PAIR_START, wish).await
    }

    /// Says what the person says.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_decide(&self, decision: &PairDecision) -> Asked<PairingView> {
        self.send(routes::PAIR_DECIDE, decision).await
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_remove(&self, id: &str) -> Asked<TrustRecordView> {
        self.of(routes::TRUST_REMOVE, id).await
    }

    /// Gives a device more grants.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_grant(&self, id: &str, grants: &str) -> Asked<TrustRecordView> {
        let change = GrantChange {
            grants: grants.to_owned(),
        };
        self.send_to(routes::TRUST_GRANT, id, &change).await
    }

    /// Takes grants away from a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_ungrant(&self, id: &str, grants: &str) -> Asked<TrustRecordView> {
        let change = GrantChange {
            grants: grants.to_owned(),
        };
        self.send_to(routes::TRUST_UNGRANT, id, &change).await
    }

    /// Ends the trust in a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_revoke(&self, id: &str) -> Asked<TrustRecordView> {
        self.of(routes::TRUST_REVOKE, id).await
    }

    /// The meshes on the LAN.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn meshes(&self) -> Asked<Vec<MeshView>> {
        self.read(routes::MESHES).await
    }

    /// Sets a mesh's join policy.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn set_mesh_policy(&self, change: &MeshPolicyChange) -> Asked<Vec<MeshView>> {
        self.send(routes::MESH_POLICY_SET, change).await
    }

    /// Lets a device in that the join policy asks about.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn admit_nearby(&self, wish: &Admittance) -> Asked<Vec<MeshView>> {
        self.send(routes::MESH_ADMIT, wish).await
    }

    /// Whether the node is stopped.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop_state(&self) -> Asked<EstopView> {
        self.read(routes::ESTOP).await
    }

    /// Stops every executor that the node can reach.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop(&self, asked: &EstopRequest) -> Asked<EstopReport> {
        self.send(routes::ESTOP_ENGAGE, asked).await
    }

    /// Releases the stop at the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop_release(&self, asked: &EstopRequest) -> Asked<EstopView> {
        self.send(routes::ESTOP_RELEASE, asked).await
    }

    /// Every operator known to the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operators(&self) -> Asked<Vec<OperatorView>> {
        self.read(routes::OPERATORS).await
    }

    /// Makes a person known as an operator.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operator_enroll(&self, enroll: &OperatorEnroll) -> Asked<OperatorView> {
        self.send(routes::OPERATOR_ENROLL, enroll).await
    }

    /// Ends an operator's key.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operator_revoke(&self, id: &str, reason: Option<&str>) -> Asked<OperatorView> {
        let why = Why {
            reason: reason.map(str::to_owned),
        };
        self.send_to(routes::OPERATOR_REVOKE, id, &why).await
    }

    /// Ends every key of a person.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn person_revoke(&self, id: &str) -> Asked<Vec<OperatorView>> {
        self.send_to(routes::PERSON_REVOKE, id, &Why::default())
            .await
    }

    /// Devices whose operators are accepted at the node, and those that could be.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn issuers(&self) -> Asked<Vec<IssuerView>> {
        self.read(routes::ISSUERS).await
    }

    /// Lets the operators of another device count at the node, or no more.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn issuer_change(&self, id: &str, accept: bool) -> Asked<IssuerView> {
        let route = match accept {
            true => routes::ISSUER_ACCEPT,
            false => routes::ISSUER_REMOVE,
        };
        self.of(route, id).await
    }

    /// The planner of the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn planner(&self) -> Asked<PlannerView> {
        self.read(routes::PLANNER).await
    }

    /// Keeps a secret at the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn credential_set(&self, name: &str, secret: &str, by: &str) -> Asked<()> {
        let body = json!({"name": name, "secret": secret, "by": by}).to_string();
        let route = routes::CREDENTIAL_SET;
        let set = self.ask(&route, route.path, Some(body.into_bytes()));
        set.await.map(drop)
    }

    /// Has the node forget a secret.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn credential_remove(&self, name: &str) -> Asked<()> {
        self.of(routes::CREDENTIAL_REMOVE, name).await.map(drop)
    }

    /// Makes the planner rest.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn planner_pause(&self, asked: &PauseRequest) -> Asked<PlannerView> {
        self.send(routes::PLANNER_PAUSE, asked).await
    }

    /// Asks the planner; what it tells goes to `sink` as JSON lines.
    ///
    /// # Errors
    /// As [`Remote::audit_export`].
    pub async fn ask_planner(&self, asked: &AskRequest, sink: &mut Sink<'_>) -> Asked<()> {
        self.stream(routes::ASK, Some(asked), sink).await
    }

    /// The questions that were answered last, newest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn answered(&self) -> Asked<Vec<Answered>> {
        self.read(routes::ANSWERED).await
    }

    /// Asks a model; what it tells goes to `sink` as JSON lines.
    ///
    /// # Errors
    /// As [`Remote::audit_export`].
    pub async fn infer(&self, asked: &InferRequest, sink: &mut Sink<'_>) -> Asked<()> {
        self.stream(routes::INFER, Some(asked), sink).await
    }

    /// Lets the planner go on.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn planner_resume(&self, asked: &PauseRequest) -> Asked<PlannerView> {
        self.send(routes::PLANNER_RESUME, asked).await
    }

    /// Takes a question back that waits until a model can be asked.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn ask_later_cancel(&self, id: &str) -> Asked<PlannerView> {
        self.of(routes::LATER_CANCEL, id).await
    }

    /// Every actuator the node knows of.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn actuators(&self) -> Asked<Vec<ActuatorView>> {
        self.read(routes::ACTUATORS).await
    }

    /// The devices of the node's configuration.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn devices(&self) -> Asked<Vec<DeviceView>> {
        self.read(routes::DEVICES).await
    }

    /// Makes the node read its configuration file again for its devices.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn reload_devices(&self) -> Asked<Reloaded> {
        self.read(routes::DEVICES_RELOAD).await
    }

    /// How a sensor is when it is looked at now.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn look_at_device(&self, sensor: &str) -> Asked<DeviceSensorView> {
        let sensor = sensor.to_owned();
        self.send(routes::DEVICE_LOOK, &DeviceLook { sensor }).await
    }

    /// The whole audit chain, as lines that go to `sink` as they come.
    ///
    /// # Errors
    /// As [`Remote::status`], or whatever the sink says.
    pub async fn audit_export(&self, sink: &mut Sink<'_>) -> Asked<()> {
        self.stream(routes::AUDIT_EXPORT, None, sink).await
    }
}
