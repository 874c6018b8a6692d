//! What the commands ask a running node: one method for each route that they need.

use hyper::Method;

use super::{Asked, Remote, Sink, escaped, with};
use crate::domain::gate::SignedDecision;
use crate::node::pairing::PairingView;
use crate::node::proposals::Standing;
use crate::operator::access::Scope;
use crate::operator::actuators::ActuatorView;
use crate::operator::browser::{LinkRequest, LinkView};
use crate::operator::dto::{
    AuditReport, AuditView, DraftRequest, DraftView, EventView, ExplainRequest, ExplainView,
    FactView, FrameView, GrantChange, IssuerView, NodeView, OperatorEnroll, OperatorView, PeerView,
    PolicyState, PolicyView, ProposalRecordView, ProposalView, StatusView, TraceView, TrustAdd,
    TrustRecordView, Why,
};
use crate::operator::estop::{EstopReport, EstopRequest, EstopView};
use crate::operator::meshes::{Admittance, MeshPolicyChange, MeshView};
use crate::operator::pairing::{PairDecision, PairStart};
use crate::operator::planner::{PauseRequest, PlannerView};
use crate::operator::stopping::StopView;

impl Remote {
    /// The node at a glance.
    ///
    /// # Errors
    /// As every call here: [`RemoteError`], `Refused` with the node's own code.
    pub async fn status(&self) -> Asked<StatusView> {
        self.get("/status").await
    }

    /// Every device of the mesh that the node knows.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn nodes(&self) -> Asked<Vec<NodeView>> {
        self.get("/nodes").await
    }

    /// The connected peers.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn peers(&self) -> Asked<Vec<PeerView>> {
        self.get("/peers").await
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
        self.get(&with(
            "/world",
            &[("metric", metric), ("zone", zone), ("origin", origin)],
        ))
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
        self.get(&with(
            "/frames",
            &[("kind", kind), ("origin", origin), ("limit", Some(&limit))],
        ))
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
        self.get(&with(
            "/events",
            &[
                ("since", since.as_deref()),
                ("kind", kind),
                ("limit", Some(&limit)),
            ],
        ))
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
            let mut page: Vec<ProposalView> = self.get(&with("/proposals", &asked)).await?;
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
        self.get(&format!("/proposals/{}/record", escaped(id)))
            .await
    }

    /// A proposal without its record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn proposal_view(&self, id: &str) -> Asked<ProposalView> {
        self.get(&format!("/proposals/{}", escaped(id))).await
    }

    /// A proposal's story.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trace(&self, id: &str) -> Asked<TraceView> {
        self.get(&format!("/proposals/{}/trace", escaped(id))).await
    }

    /// Takes a signed decision to the executor.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn decide(&self, id: &str, signed: &SignedDecision) -> Asked<Standing> {
        self.post(
            Scope::Operate,
            &format!("/proposals/{}/decision", escaped(id)),
            signed,
        )
        .await
    }

    /// Takes a waiting proposal back.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn withdraw(&self, id: &str) -> Asked<Standing> {
        self.post(
            Scope::Operate,
            &format!("/proposals/{}/withdraw", escaped(id)),
            &Why::default(),
        )
        .await
    }

    /// Stops a proposal's running action.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn stop(&self, id: &str) -> Asked<StopView> {
        self.post(
            Scope::Operate,
            &format!("/proposals/{}/stop", escaped(id)),
            &serde_json::json!({}),
        )
        .await
    }

    /// Drafts of the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn drafts(&self) -> Asked<Vec<DraftView>> {
        self.get("/drafts").await
    }

    /// Asks for an action.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn propose(&self, wish: &DraftRequest) -> Asked<DraftView> {
        self.post(Scope::Operate, "/drafts", wish).await
    }

    /// The policy in force.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy(&self) -> Asked<PolicyView> {
        self.get("/policy").await
    }

    /// Makes the node read its policy file again.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy_reload(&self) -> Asked<PolicyState> {
        self.ask(Scope::Admin, Method::POST, "/policy/reload", None)
            .await
    }

    /// What the node's policy says of an action now.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy_explain(&self, asked: &ExplainRequest) -> Asked<ExplainView> {
        self.post(Scope::Read, "/policy/explain", asked).await
    }

    /// Audit entries after a number, or the newest; oldest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn audit(&self, since: Option<u64>, limit: usize) -> Asked<Vec<AuditView>> {
        let (since, limit) = (since.map(|s| s.to_string()), limit.to_string());
        self.get(&with(
            "/audit",
            &[("since", since.as_deref()), ("limit", Some(&limit))],
        ))
        .await
    }

    /// Checks the audit chain.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn audit_verify(&self) -> Asked<AuditReport> {
        self.get("/audit/verify").await
    }

    /// Every trust record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust(&self) -> Asked<Vec<TrustRecordView>> {
        self.get("/trust").await
    }

    /// One trust record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_show(&self, id: &str) -> Asked<TrustRecordView> {
        self.get(&format!("/trust/{}", escaped(id))).await
    }

    /// Trusts a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_add(&self, add: &TrustAdd) -> Asked<TrustRecordView> {
        self.post(Scope::Admin, "/trust", add).await
    }

    /// Pairing on the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pairing(&self) -> Asked<PairingView> {
        self.ask(Scope::Admin, Method::GET, "/pairing", None).await
    }

    /// Lets others ask to be paired with.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_open(&self) -> Asked<PairingView> {
        self.ask(Scope::Admin, Method::POST, "/pairing/window", None)
            .await
    }

    /// Closes the window and ends the pairing under way.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_cancel(&self) -> Asked<PairingView> {
        self.ask(Scope::Admin, Method::DELETE, "/pairing", None)
            .await
    }

    /// Asks another node to pair.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_start(&self, wish: &PairStart) -> Asked<PairingView> {
        self.post(Scope::Admin, "/pairing/start", wish).await
    }

    /// Says what the person says.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_decide(&self, decision: &PairDecision) -> Asked<PairingView> {
        self.post(Scope::Admin, "/pairing/decision", decision).await
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_remove(&self, id: &str) -> Asked<TrustRecordView> {
        self.ask(
            Scope::Admin,
            Method::DELETE,
            &format!("/trust/{}", escaped(id)),
            None,
        )
        .await
    }

    /// Gives a device more grants.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_grant(&self, id: &str, grants: &str) -> Asked<TrustRecordView> {
        let change = GrantChange {
            grants: grants.to_owned(),
        };
        self.post(
            Scope::Admin,
            &format!("/trust/{}/grant", escaped(id)),
            &change,
        )
        .await
    }

    /// Takes grants away from a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_ungrant(&self, id: &str, grants: &str) -> Asked<TrustRecordView> {
        let change = GrantChange {
            grants: grants.to_owned(),
        };
        self.post(
            Scope::Admin,
            &format!("/trust/{}/ungrant", escaped(id)),
            &change,
        )
        .await
    }

    /// Ends the trust in a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_revoke(&self, id: &str) -> Asked<TrustRecordView> {
        self.ask(
            Scope::Admin,
            Method::POST,
            &format!("/trust/{}/revoke", escaped(id)),
            None,
        )
        .await
    }

    /// A one-time link that opens the console with `scope`, in the name of a person.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn console_link(&self, scope: Scope, name: &str) -> Asked<LinkView> {
        let asked = LinkRequest {
            scope: Some(scope),
            name: Some(name.to_owned()),
        };
        self.post(scope, "/console/link", &asked).await
    }

    /// The meshes on the LAN.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn meshes(&self) -> Asked<Vec<MeshView>> {
        self.get("/meshes").await
    }

    /// Sets a mesh's join policy.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn set_mesh_policy(&self, change: &MeshPolicyChange) -> Asked<Vec<MeshView>> {
        self.post(Scope::Admin, "/meshes/policy", change).await
    }

    /// Lets a device in that the join policy asks about.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn admit_nearby(&self, wish: &Admittance) -> Asked<Vec<MeshView>> {
        self.post(Scope::Admin, "/meshes/admit", wish).await
    }

    /// Whether the node is stopped.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop_state(&self) -> Asked<EstopView> {
        self.get("/estop").await
    }

    /// Stops every executor that the node can reach.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop(&self, asked: &EstopRequest) -> Asked<EstopReport> {
        self.post(Scope::Operate, "/estop", asked).await
    }

    /// Releases the stop at the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop_release(&self, asked: &EstopRequest) -> Asked<EstopView> {
        self.post(Scope::Admin, "/estop/release", asked).await
    }

    /// Every operator known to the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operators(&self) -> Asked<Vec<OperatorView>> {
        self.get("/operators").await
    }

    /// Makes a person known as an operator.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operator_enroll(&self, enroll: &OperatorEnroll) -> Asked<OperatorView> {
        self.post(Scope::Admin, "/operators", enroll).await
    }

    /// Ends an operator's key.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operator_revoke(&self, id: &str, reason: Option<&str>) -> Asked<OperatorView> {
        let why = Why {
            reason: reason.map(str::to_owned),
        };
        self.post(
            Scope::Admin,
            &format!("/operators/{}/revoke", escaped(id)),
            &why,
        )
        .await
    }

    /// Ends every key of a person.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn person_revoke(&self, id: &str) -> Asked<Vec<OperatorView>> {
        let path = format!("/operators/persons/{}/revoke", escaped(id));
        self.post(Scope::Admin, &path, &Why::default()).await
    }

    /// Devices whose operators are accepted at the node, and those that could be.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn issuers(&self) -> Asked<Vec<IssuerView>> {
        self.get("/operators/issuers").await
    }

    /// Lets the operators of another device count at the node, or no more.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn issuer_change(&self, id: &str, accept: bool) -> Asked<IssuerView> {
        let how = if accept { "accept" } else { "remove" };
        let path = format!("/operators/issuers/{}/{how}", escaped(id));
        self.post(Scope::Admin, &path, &()).await
    }

    /// The planner of the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn planner(&self) -> Asked<PlannerView> {
        self.get("/planner").await
    }

    /// Makes the planner rest.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn planner_pause(&self, asked: &PauseRequest) -> Asked<PlannerView> {
        self.post(Scope::Operate, "/planner/pause", asked).await
    }

    /// Lets the planner go on.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn planner_resume(&self, asked: &PauseRequest) -> Asked<PlannerView> {
        self.post(Scope::Operate, "/planner/resume", asked).await
    }

    /// Every actuator the node knows of.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn actuators(&self) -> Asked<Vec<ActuatorView>> {
        self.get("/actuators").await
    }

    /// The whole audit chain, as lines that go to `sink` as they come.
    ///
    /// # Errors
    /// As [`Remote::status`], or whatever the sink says.
    pub async fn audit_export(&self, sink: &mut Sink<'_>) -> Asked<()> {
        self.stream("/audit/export", sink).await
    }
}
