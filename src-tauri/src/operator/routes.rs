//! The operator API as one table: under which method and path a route is asked, which scope it needs, and
//! the shapes of its body and its answer. The HTTP surface builds its router from it, the client of a
//! running node asks by it, and the API's description is written from it.

use std::marker::PhantomData;

use super::access::Scope;
use super::access::deciding::{DecideRequest, EndedView, SessionView};
use super::access::listed::OpenSession;
use super::access::push::{PushSubscribe, PushView};
use super::access::sessions::{LinkRequest, LinkView};
use super::actuators::ActuatorView;
use super::alerts::{AlertMute, AlertNote, AlertView, NotifyTest, NotifyTested, NotifyView};
use super::channels::{ChannelCode, ChannelGive, ChannelOffer, ChannelsView};
use super::devices::{DeviceLook, DeviceSensorView, DeviceView};
use super::dto::{AskRequest, LaterRequest, PauseRequest, PlannerView};
use super::dto::{
    AuditReport, AuditView, DraftRequest, DraftView, EventView, ExplainRequest, ExplainView,
    FactView, FrameView, GrantChange, GrantTableView, IssuerView, NodeView, OperatorEnroll,
    OperatorView, PeerView, PolicyState, PolicyView, ProposalRecordView, ProposalView, StatusView,
    TraceView, TrustAdd, TrustRecordView, Why,
};
use super::enrolling::{EnrolAsk, EnrolRequestView};
use super::estop::{EstopReport, EstopRequest, EstopView};
use super::gateways::{GatewayAdd, GatewayChange, GatewayFound, GatewayView};
use super::inference::InferRequest;
use super::mcp::{McpAdd, McpAdded, McpClientView};
use super::meshes::{Admittance, MeshPolicyChange, MeshView};
use super::messages::{MessageSend, MessageView, MessagesView};
use super::models::{
    CredentialSet, CredentialView, ModelsView, RouteRequest, RouteView, TryRequest,
};
use super::names::NamesView;
use super::pairing::{PairDecision, PairStart};
use super::pictures::PictureView;
use super::routing::{AbleView, RouteAsk, RoutedView, RulesSet, RulesView, TagsChange, TagsView};
use super::series::SeriesView;
use super::standing_approvals::{ApprovalsView, StandingEndRequest, StandingRequest};
use super::stopping::StopView;
use super::topology::TopologyView;
use super::twin::TwinView;
use crate::domain::gate::{SignedChannelEnd, SignedDecision, SignedStanding, SignedStandingEnd};
use crate::domain::policy::TestResult;
use crate::node::naming::Names;
use crate::node::pairing::PairingView;
use crate::node::planner::Answered;
use crate::node::proposals::Standing;
use crate::node::proposals::checks::ChecksView;
use crate::node::proposals::hold::{HeldView, HoldRequest, HoldView};
use crate::node::proposals::standing_approvals::ApprovalView;
use crate::node::wiring::Reloaded;

/// How a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `DELETE`.
    Delete,
}

/// A route with a body of shape `B` and an answer of shape `A`; `()` is no body.
#[derive(Debug)]
pub struct Route<B, A> {
    /// How it is asked.
    pub verb: Verb,
    /// Where, below [`super::access::API_ROOT`].
    pub path: &'static str,
    /// The scope it needs, of a token or a browser session.
    pub scope: Scope,
    shapes: PhantomData<fn(B) -> A>,
}

impl<B, A> Route<B, A> {
    const fn new(verb: Verb, path: &'static str, scope: Scope) -> Self {
        Self {
            verb,
            path,
            scope,
            shapes: PhantomData,
        }
    }

    /// The same route, asked by who has another scope.
    pub const fn as_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }
}

/// An answer of Server-Sent Events.
#[derive(Debug)]
pub struct Stream;
/// An answer of JSON lines.
#[derive(Debug)]
pub struct Lines;
/// An answer that is an SVG image.
#[derive(Debug)]
pub struct Drawing;
/// An answer that is a picture of a camera.
#[derive(Debug)]
pub struct Photo;
/// The answer that describes all others.
#[derive(Debug)]
pub struct Description;

/// A route as the API's description tells of it.
#[cfg(test)]
#[derive(Debug)]
pub struct Described {
    /// How it is asked.
    pub verb: Verb,
    /// Where.
    pub path: &'static str,
    /// Which scope it needs.
    pub scope: Scope,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What may be asked, by name and type.
    pub query: &'static [(&'static str, &'static str)],
    /// The name of its body's type.
    pub body: &'static str,
    /// The name of its answer's type.
    pub answer: &'static str,
}

macro_rules! routes {
    ($(
        #[doc = $summary:literal]
        $name:ident: $verb:ident $path:literal $(? [$($key:ident: $kind:ident),+])?, $scope:ident,
        $body:ty => $answer:ty;
    )+) => {
        $(
            #[doc = $summary]
            pub const $name: Route<$body, $answer> = Route::new(Verb::$verb, $path, Scope::$scope);
        )+

        /// Every route.
        #[cfg(test)]
        pub const ALL: &[Described] = &[$(Described {
            verb: Verb::$verb,
            path: $path,
            scope: Scope::$scope,
            summary: $summary,
            query: &[$($((stringify!($key), stringify!($kind))),+)?],
            body: stringify!($body),
            answer: stringify!($answer),
        }),+];
    };
}

routes! {
    /// The node at a glance.
    STATUS: Get "/status", Read, () => StatusView;
    /// Every device of the mesh that this node knows.
    NODES: Get "/nodes", Read, () => Vec<NodeView>;
    /// Every peer, connected or not, with its state and why.
    PEERS: Get "/peers", Read, () => Vec<PeerView>;
    /// The meshes seen on the LAN, their nodes there, and how devices of ours join.
    MESHES: Get "/meshes", Read, () => Vec<MeshView>;
    /// What this device and its mesh are called, and whether that can be changed here.
    NAMES: Get "/names", Read, () => NamesView;
    /// Name this device or its mesh; the node starts again at once.
    NAME_GIVE: Post "/names", Admin, Names => NamesView;
    /// Sets what happens when a trusted device of a mesh is seen.
    MESH_POLICY_SET: Post "/meshes/policy", Admin, MeshPolicyChange => Vec<MeshView>;
    /// Lets a device in that the join policy asks about.
    MESH_ADMIT: Post "/meshes/admit", Admin, Admittance => Vec<MeshView>;
    /// Every node and link known to the mesh, each with the age of what is known.
    TOPOLOGY: Get "/topology", Read, () => TopologyView;
    /// One metric over time, thinned to minima and maxima, with gaps; `metric` is required.
    SERIES: Get "/series"
        ? [metric: string, zone: string, origin: string, from: integer, to: integer, points: integer],
        Read, () => SeriesView;
    /// The newest value of each metric, zone and origin.
    WORLD: Get "/world" ? [metric: string, zone: string, origin: string], Read, () => Vec<FactView>;
    /// Stored frames, newest first.
    FRAMES: Get "/frames"
        ? [kind: string, origin: string, since: integer, before: integer, limit: integer],
        Read, () => Vec<FrameView>;
    /// One stored frame; where several origins use its id, the best proven.
    FRAME: Get "/frames/{id}", Read, () => FrameView;
    /// Every actuator known here: where it stands, what moves it, what became of it last.
    ACTUATORS: Get "/actuators", Read, () => Vec<ActuatorView>;
    /// The devices of this node's configuration: what each measures and moves, and how that is now.
    DEVICES: Get "/devices", Read, () => Vec<DeviceView>;
    /// Has a sensor of this node looked at now, and says how it is then; nothing is moved.
    DEVICE_LOOK: Post "/devices/look", Read, DeviceLook => DeviceSensorView;
    /// Read the configuration file again and change the devices of the running node to those in it, all or none.
    DEVICES_RELOAD: Post "/devices/reload", Admin, () => Reloaded;
    /// The pictures of this node's cameras that it keeps, newest first; of one camera or of all, 100 where nothing is said.
    PICTURES: Get "/pictures" ? [camera: string, limit: integer], Read, () => Vec<PictureView>;
    /// A picture as it was taken, by its SHA-256 or the first 8 characters of it or more.
    PICTURE: Get "/pictures/{id}", Read, () => Photo;
    /// Sites with their zones and assets, as site.toml places them, or what is wrong with it.
    TWIN: Get "/twin", Read, () => TwinView;
    /// The plan of a site, an SVG image; `v` is its version and changes nothing.
    TWIN_PLAN: Get "/twin/plans/{id}" ? [v: string], Read, () => Drawing;
    /// The planner of this node.
    PLANNER: Get "/planner", Read, () => PlannerView;
    /// Make the planner of this node pause until it is resumed, also over a restart.
    PLANNER_PAUSE: Post "/planner/pause", Operate, PauseRequest => PlannerView;
    /// Resume the planner of this node.
    PLANNER_RESUME: Post "/planner/resume", Operate, PauseRequest => PlannerView;
    /// Ask the planner of this node; what it does and its answer come as JSON lines, empty ones while nothing happens.
    ASK: Post "/planner/ask", Operate, AskRequest => Lines;
    /// Ask a question that the rules answered again when a model can be asked.
    LATER: Post "/planner/later", Operate, LaterRequest => PlannerView;
    /// Take a question back that waits until a model can be asked.
    LATER_CANCEL: Delete "/planner/later/{id}", Operate, () => PlannerView;
    /// Asks a language model of this node or of the mesh, as lines of JSON; what it says starts nothing.
    INFER: Post "/models/infer", Operate, InferRequest => Lines;
    /// The questions that were answered last, newest first.
    ANSWERED: Get "/planner/answered", Read, () => Vec<Answered>;
    /// Messages to agents, newest first; `state` may name several with commas.
    MESSAGES: Get "/messages" ? [state: string, text: string, before: integer, beforeId: string, limit: integer], Operate, () => MessagesView;
    /// Send a message to an agent; it is on the disk when this answers.
    MESSAGE_SEND: Post "/messages", Operate, MessageSend => MessageView;
    /// One message, with what its agent has said so far.
    MESSAGE: Get "/messages/{id}", Operate, () => MessageView;
    /// Take a message back; what an agent has done by then stays done.
    MESSAGE_CANCEL: Delete "/messages/{id}", Operate, () => MessageView;
    /// Send a message once more that was not answered.
    MESSAGE_AGAIN: Post "/messages/{id}/again", Operate, () => MessageView;
    /// This node and the devices it trusts, with the agents and abilities that each tells of.
    ABILITIES: Get "/abilities", Read, () => Vec<AbleView>;
    /// Give this node tags and take others away; answered with those it has then.
    TAG: Post "/abilities/tags", Admin, TagsChange => TagsView;
    /// The rules by which messages find a node.
    ROUTING: Get "/routing", Operate, () => RulesView;
    /// Put other rules in force, or only try them and their tests.
    ROUTING_SET: Post "/routing", Admin, RulesSet => RulesView;
    /// Where a message would go, and why; nothing is sent.
    ROUTING_EXPLAIN: Post "/routing/explain", Operate, RouteAsk => RoutedView;
    /// The language models of this node: how each is, what it used today, what decides between them.
    MODELS: Get "/models", Read, () => ModelsView;
    /// Which model a question would go to now and why; nobody is asked.
    MODELS_EXPLAIN: Post "/models/explain", Read, RouteRequest => RouteView;
    /// Try the models with a short text; the way taken and the answer come as JSON lines.
    MODELS_TRY: Post "/models/try", Admin, TryRequest => Lines;
    /// The names under which keys of providers are kept; never a key.
    CREDENTIALS: Get "/credentials", Read, () => Vec<CredentialView>;
    /// Keep a key of a provider; it never comes back.
    CREDENTIAL_SET: Post "/credentials", Admin, CredentialSet => Vec<CredentialView>;
    /// Forget a key of a provider; the `/` of its name is written `%2F`.
    CREDENTIAL_REMOVE: Delete "/credentials/{id}", Admin, () => Vec<CredentialView>;
    /// Programs that speak MCP with this node, and what each called last.
    MCP_CLIENTS: Get "/mcp/clients", Read, () => Vec<McpClientView>;
    /// Let a program speak MCP with this node; the answer has its token, this once.
    MCP_ADD: Post "/mcp/clients", Admin, McpAdd => McpAdded;
    /// End the token of a program.
    MCP_REMOVE: Delete "/mcp/clients/{id}", Admin, () => Vec<McpClientView>;
    /// The gateways of agents of this node, and how each stands.
    GATEWAYS: Get "/gateways", Read, () => Vec<GatewayView>;
    /// Gateways that OpenClaw's configuration names on this machine or that announce themselves on the LAN; nothing proves them.
    GATEWAYS_FOUND: Get "/gateways/found", Read, () => Vec<GatewayFound>;
    /// Add a gateway and connect it; its token never comes back.
    GATEWAY_ADD: Post "/gateways", Admin, GatewayAdd => GatewayView;
    /// Rename, enable or disable a gateway.
    GATEWAY_CHANGE: Post "/gateways/{id}", Admin, GatewayChange => GatewayView;
    /// Remove a gateway and forget its tokens.
    GATEWAY_REMOVE: Delete "/gateways/{id}", Admin, () => Vec<GatewayView>;
    /// The alerts that stand, the worst first, with who acknowledged or muted each.
    ALERTS: Get "/alerts", Read, () => Vec<AlertView>;
    /// Alerts, those that are over too, newest first; of more than fit, those that follow the number `before`.
    ALERT_HISTORY: Get "/alerts/history" ? [before: integer, limit: integer], Read, () => Vec<AlertView>;
    /// One alert.
    ALERT: Get "/alerts/{id}", Read, () => AlertView;
    /// Say that a person has seen an alert: nobody else is told of it.
    ALERT_ACKNOWLEDGE: Post "/alerts/{id}/acknowledge", Operate, AlertNote => AlertView;
    /// Have nobody told of an alert for a while.
    ALERT_MUTE: Post "/alerts/{id}/mute", Operate, AlertMute => AlertView;
    /// End the mute of an alert.
    ALERT_UNMUTE: Post "/alerts/{id}/unmute", Operate, AlertNote => AlertView;
    /// The places where people are told of alerts.
    NOTIFY: Get "/notify", Read, () => Vec<NotifyView>;
    /// Tell one of them, or all, a test.
    NOTIFY_TEST: Post "/notify/test", Operate, NotifyTest => Vec<NotifyTested>;
    /// Events after a number, or the newest; oldest first.
    EVENTS: Get "/events" ? [since: integer, kind: string, limit: integer],
        Read, () => Vec<EventView>;
    /// Events and proposals as they come (Server-Sent Events); resume by Last-Event-ID or since.
    STREAM: Get "/stream" ? [since: integer], Read, () => Stream;
    /// Open proposals, or all, newest first; of more than fit, those that follow the id `before`.
    PROPOSALS: Get "/proposals" ? [all: boolean, before: string, limit: integer],
        Read, () => Vec<ProposalView>;
    /// One proposal, by id or unique start of one.
    PROPOSAL: Get "/proposals/{id}", Read, () => ProposalView;
    /// The record its executor signed, for whoever is about to decide.
    PROPOSAL_RECORD: Get "/proposals/{id}/record", Read, () => ProposalRecordView;
    /// What stands in its way now, as its executor sees it, which is asked.
    PROPOSAL_CHECKS: Get "/proposals/{id}/checks", Read, () => ChecksView;
    /// Its story from reading to outcome.
    PROPOSAL_TRACE: Get "/proposals/{id}/trace", Read, () => TraceView;
    /// Take a person's signed decision to the executor.
    PROPOSAL_DECIDE: Post "/proposals/{id}/decision", Operate, SignedDecision => Standing;
    /// Take a waiting proposal back.
    PROPOSAL_WITHDRAW: Post "/proposals/{id}/withdraw", Operate, Why => Standing;
    /// Stop its running action: the actuator goes to its safe state, and the answer says whether it has.
    PROPOSAL_STOP: Post "/proposals/{id}/stop", Operate, () => StopView;
    /// Standing approvals of this executor and of those that are linked now.
    STANDING: Get "/approvals", Read, () => ApprovalsView;
    /// Take a standing approval, which a person has signed, to the executor that it names.
    STANDING_GIVE: Post "/approvals", Operate, SignedStanding => ApprovalView;
    /// Take a person's signed word that a standing approval ends to its executor.
    STANDING_END: Post "/approvals/{id}/end", Operate, SignedStandingEnd => ApprovalView;
    /// End a standing approval of this executor, as its administrator.
    STANDING_VOID: Post "/approvals/{id}/void", Admin, Why => ApprovalView;
    /// The channels whose keys this node holds, and its bots.
    CHANNELS: Get "/channels", Read, () => ChannelsView;
    /// What the record of a new channel takes from this node; nothing is kept.
    CHANNEL_OFFER: Get "/channels/offer", Operate, () => ChannelOffer;
    /// Give this node a channel that a person has signed; the answer has the code that is entered in the chat.
    CHANNEL_GIVE: Post "/channels", Operate, ChannelGive => ChannelCode;
    /// Take a person's signed word that a channel ends.
    CHANNEL_END: Post "/channels/{id}/end", Operate, SignedChannelEnd => ChannelsView;
    /// End a channel of this node, as its administrator.
    CHANNEL_VOID: Post "/channels/{id}/void", Admin, Why => ChannelsView;
    /// Keep its held action going for one more lease, or let it go.
    PROPOSAL_HOLD: Post "/proposals/{id}/hold", Operate, HoldRequest => HoldView;
    /// Who holds its held action now and how long it goes on, as its executor says, which is asked.
    PROPOSAL_HELD: Get "/proposals/{id}/hold", Read, () => HeldView;
    /// Drafts of this node.
    DRAFTS: Get "/drafts", Read, () => Vec<DraftView>;
    /// Ask for an action.
    PROPOSE: Post "/drafts", Operate, DraftRequest => DraftView;
    /// The policy in force.
    POLICY: Get "/policy", Read, () => PolicyView;
    /// Read the policy file again.
    POLICY_RELOAD: Post "/policy/reload", Admin, () => PolicyState;
    /// How the tests in the policy in force come out, run now.
    POLICY_TESTS: Get "/policy/tests", Read, () => Vec<TestResult>;
    /// What the policy says of an action now.
    POLICY_EXPLAIN: Post "/policy/explain", Read, ExplainRequest => ExplainView;
    /// Audit entries after a number, or the newest; oldest first.
    AUDIT: Get "/audit" ? [since: integer, limit: integer], Read, () => Vec<AuditView>;
    /// Check the audit chain from its first entry.
    AUDIT_VERIFY: Get "/audit/verify", Read, () => AuditReport;
    /// The whole audit chain as JSON lines that anybody can check: `clawmesh-node audit verify --file`.
    AUDIT_EXPORT: Get "/audit/export", Read, () => Lines;
    /// Every trust record, revoked ones too.
    TRUST: Get "/trust", Read, () => Vec<TrustRecordView>;
    /// Trust a device.
    TRUST_ADD: Post "/trust", Admin, TrustAdd => TrustRecordView;
    /// One trust record.
    TRUST_ONE: Get "/trust/{id}", Read, () => TrustRecordView;
    /// Forget a device.
    TRUST_REMOVE: Delete "/trust/{id}", Admin, () => TrustRecordView;
    /// Give a device more grants.
    TRUST_GRANT: Post "/trust/{id}/grant", Admin, GrantChange => TrustRecordView;
    /// Take grants away from a device.
    TRUST_UNGRANT: Post "/trust/{id}/ungrant", Admin, GrantChange => TrustRecordView;
    /// End the trust in a device.
    TRUST_REVOKE: Post "/trust/{id}/revoke", Admin, () => TrustRecordView;
    /// Every operator known here.
    OPERATORS: Get "/operators", Read, () => Vec<OperatorView>;
    /// Make a person known as an operator.
    OPERATOR_ENROLL: Post "/operators", Admin, OperatorEnroll => OperatorView;
    /// Keys made in browsers that wait for an administrator.
    ENROL_REQUESTS: Get "/operators/requests", Read, () => Vec<EnrolRequestView>;
    /// Ask that a key made in a browser be enrolled.
    ENROL_ASK: Post "/operators/requests", Operate, EnrolAsk => EnrolRequestView;
    /// Forget a key that waits.
    ENROL_REFUSE: Delete "/operators/requests/{id}", Admin, () => EnrolRequestView;
    /// End one operator key.
    OPERATOR_REVOKE: Post "/operators/{id}/revoke", Admin, Why => OperatorView;
    /// End every key of a person.
    PERSON_REVOKE: Post "/operators/persons/{id}/revoke", Admin, Why => Vec<OperatorView>;
    /// Devices whose operators are accepted here, and those that could be.
    ISSUERS: Get "/operators/issuers", Read, () => Vec<IssuerView>;
    /// Let the operators of another device count here.
    ISSUER_ACCEPT: Post "/operators/issuers/{id}/accept", Admin, () => IssuerView;
    /// Let the operators of another device count here no more.
    ISSUER_REMOVE: Post "/operators/issuers/{id}/remove", Admin, () => IssuerView;
    /// What presets and grants can do at worst.
    GRANTS: Get "/grants", Read, () => GrantTableView;
    /// Who asks, what they may do, and whether they can decide from here.
    SESSION: Get "/session", Read, () => SessionView;
    /// End the browser session that asks.
    SESSION_END: Post "/session/end", Read, () => EndedView;
    /// The sessions of browsers that are open, of this machine and of others.
    SESSIONS: Get "/sessions", Operate, () => Vec<OpenSession>;
    /// End a session of a browser, which may not do more than who ends it; the answer has those that are left.
    SESSION_END_ONE: Post "/sessions/{id}/end", Operate, () => Vec<OpenSession>;
    /// Whether the browser of the session that asks hears by push, and the key that it subscribes for.
    PUSH: Get "/push", Read, () => PushView;
    /// Have the browser of the session that asks told of alerts and proposals by push.
    PUSH_ON: Post "/push", Read, PushSubscribe => PushView;
    /// Have it told nothing by push any more.
    PUSH_OFF: Post "/push/off", Read, () => PushView;
    /// Tell it a test; a few in a minute.
    PUSH_TEST: Post "/push/test", Read, () => PushView;
    /// Make a one-time link that opens the console in a browser; with a token only.
    CONSOLE_LINK: Post "/console/link", Read, LinkRequest => LinkView;
    /// Decide a proposal with the passphrase of the person's key at this node.
    CONSOLE_DECIDE: Post "/console/decide", Operate, DecideRequest => Standing;
    /// Give a standing approval with the passphrase of the person's key at this node.
    CONSOLE_STANDING: Post "/console/approvals", Operate, StandingRequest => ApprovalView;
    /// End a standing approval with the passphrase of the person's key at this node.
    CONSOLE_STANDING_END: Post "/console/approvals/end", Operate, StandingEndRequest => ApprovalView;
    /// Whether the emergency stop is latched at this node.
    ESTOP: Get "/estop", Read, () => EstopView;
    /// Emergency stop: every executor that can be reached goes to its safe states and latches.
    ESTOP_ENGAGE: Post "/estop", Operate, EstopRequest => EstopReport;
    /// Release the emergency stop at this node, with a reason.
    ESTOP_RELEASE: Post "/estop/release", Admin, EstopRequest => EstopView;
    /// This description.
    OPENAPI: Get "/openapi.json", Read, () => Description;
    /// Pairing on this node: the window with its secret, the pairing under way, how the last one ended.
    PAIRING: Get "/pairing", Admin, () => PairingView;
    /// Close the window and end the pairing under way.
    PAIR_CANCEL: Delete "/pairing", Admin, () => PairingView;
    /// Let others ask to be paired with, for five minutes and three tries.
    PAIR_OPEN: Post "/pairing/window", Admin, () => PairingView;
    /// Ask another node to pair.
    PAIR_START: Post "/pairing/start", Admin, PairStart => PairingView;
    /// Say whether the strings are the same, and what the other node may do here.
    PAIR_DECIDE: Post "/pairing/decision", Admin, PairDecision => PairingView;
}
