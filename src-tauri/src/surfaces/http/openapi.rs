//! The API's description, from one table of routes and the shapes of the door. `contract.rs` compares
//! it with the committed copy; a test beside the router checks the table against it. Built for tests only.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::domain::policy::TestResult;
use crate::node::pairing::PairingView;
use crate::node::proposals::Standing;
use crate::node::proposals::checks::ChecksView;
use crate::operator::access::{API_ROOT, Scope};
use crate::operator::pairing::{PairDecision, PairStart};
use crate::operator::{
    actuators, browser, console, dto, enrolling, estop, meshes, names, planner, series, stopping,
    topology, twin,
};

#[derive(OpenApi)]
#[openapi(components(schemas(
    dto::StatusView,
    dto::AlarmView,
    dto::HealthView,
    dto::NodeView,
    dto::PeerView,
    dto::FactView,
    dto::FrameView,
    dto::EventView,
    dto::ProposalView,
    dto::ProposalRecordView,
    dto::TraceView,
    dto::DraftView,
    dto::DraftRequest,
    dto::PolicyView,
    dto::PolicyState,
    dto::ExplainRequest,
    dto::ExplainView,
    dto::AuditView,
    dto::AuditReport,
    dto::TrustRecordView,
    dto::ShareView,
    dto::TrustAdd,
    dto::GrantChange,
    dto::OperatorView,
    dto::IssuerView,
    dto::GrantTableView,
    dto::GrantWorstView,
    dto::PresetView,
    dto::WordsView,
    dto::OperatorEnroll,
    dto::Why,
    dto::ErrorBody,
    browser::LinkRequest,
    browser::LinkView,
    console::SessionView,
    console::EndedView,
    console::DecideRequest,
    enrolling::EnrolAsk,
    enrolling::EnrolRequestView,
    estop::EstopRequest,
    estop::EstopView,
    estop::EstopReport,
    series::SeriesView,
    stopping::StopView,
    topology::TopologyView,
    actuators::ActuatorView,
    twin::TwinView,
    crate::node::names::Names,
    names::NamesView,
    planner::PlannerView,
    planner::PauseRequest,
    TestResult,
    meshes::MeshView,
    meshes::MeshPolicyChange,
    meshes::Admittance,
    Standing,
    ChecksView,
    PairingView,
    PairStart,
    PairDecision,
)))]
struct Schemas;

/// One route of the operator API.
pub struct Route {
    /// `get`, `post` or `delete`.
    pub method: &'static str,
    /// Below the API's root.
    pub path: &'static str,
    /// The scope it needs, of a token or a browser session.
    pub scope: Scope,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What may be asked, by name and type.
    query: &'static [(&'static str, &'static str)],
    /// The shape of its body.
    body: Option<&'static str>,
    /// The shape of its answer; `[X]` is a list of `X`.
    answer: &'static str,
}

const fn get(path: &'static str, answer: &'static str, summary: &'static str) -> Route {
    Route {
        method: "get",
        path,
        scope: Scope::Read,
        summary,
        query: &[],
        body: None,
        answer,
    }
}

const fn post(
    scope: Scope,
    path: &'static str,
    body: Option<&'static str>,
    answer: &'static str,
    summary: &'static str,
) -> Route {
    Route {
        method: "post",
        path,
        scope,
        summary,
        query: &[],
        body,
        answer,
    }
}

const fn asked(route: Route, query: &'static [(&'static str, &'static str)]) -> Route {
    Route { query, ..route }
}

/// Every route of the operator API.
pub const ROUTES: &[Route] = &[
    get("/status", "StatusView", "The node at a glance."),
    get(
        "/nodes",
        "[NodeView]",
        "Every device of the mesh that this node knows.",
    ),
    get(
        "/peers",
        "[PeerView]",
        "Every peer, connected or not, with its state and why.",
    ),
    get(
        "/meshes",
        "[MeshView]",
        "The meshes seen on the LAN, their nodes there, and how devices of ours join.",
    ),
    get(
        "/names",
        "NamesView",
        "What this device and its mesh are called, and whether that can be changed here.",
    ),
    post(
        Scope::Admin,
        "/names",
        Some("Names"),
        "NamesView",
        "Name this device or its mesh; the node starts again at once.",
    ),
    post(
        Scope::Admin,
        "/meshes/policy",
        Some("MeshPolicyChange"),
        "[MeshView]",
        "Sets what happens when a trusted device of a mesh is seen.",
    ),
    post(
        Scope::Admin,
        "/meshes/admit",
        Some("Admittance"),
        "[MeshView]",
        "Lets a device in that the join policy asks about.",
    ),
    get(
        "/topology",
        "TopologyView",
        "Every node and link known to the mesh, each with the age of what is known.",
    ),
    asked(
        get(
            "/series",
            "SeriesView",
            "One metric over time, thinned to minima and maxima, with gaps; `metric` is required.",
        ),
        &[
            ("metric", "string"),
            ("zone", "string"),
            ("origin", "string"),
            ("from", "integer"),
            ("to", "integer"),
            ("points", "integer"),
        ],
    ),
    asked(
        get(
            "/world",
            "[FactView]",
            "The newest value of each metric, zone and origin.",
        ),
        &[
            ("metric", "string"),
            ("zone", "string"),
            ("origin", "string"),
        ],
    ),
    asked(
        get("/frames", "[FrameView]", "Stored frames, newest first."),
        &[
            ("kind", "string"),
            ("origin", "string"),
            ("since", "integer"),
            ("before", "integer"),
            ("limit", "integer"),
        ],
    ),
    get(
        "/frames/{id}",
        "FrameView",
        "One stored frame; where several origins use its id, the best proven.",
    ),
    get(
        "/actuators",
        "[ActuatorView]",
        "Every actuator known here: where it stands, what moves it, what became of it last.",
    ),
    get(
        "/twin",
        "TwinView",
        "Sites with their zones and assets, as site.toml places them, or what is wrong with it.",
    ),
    asked(
        get(
            "/twin/plans/{id}",
            "drawing",
            "The plan of a site, an SVG image; `v` is its version and changes nothing.",
        ),
        &[("v", "string")],
    ),
    get("/planner", "PlannerView", "The planner of this node."),
    post(
        Scope::Operate,
        "/planner/pause",
        Some("PauseRequest"),
        "PlannerView",
        "Make the planner of this node rest until it is let go on, also over a restart.",
    ),
    post(
        Scope::Operate,
        "/planner/resume",
        Some("PauseRequest"),
        "PlannerView",
        "Let the planner of this node go on.",
    ),
    asked(
        get(
            "/events",
            "[EventView]",
            "Events after a number, or the newest; oldest first.",
        ),
        &[
            ("since", "integer"),
            ("kind", "string"),
            ("limit", "integer"),
        ],
    ),
    asked(
        get(
            "/stream",
            "stream",
            "Events and proposals as they come (Server-Sent Events); resume by Last-Event-ID or since.",
        ),
        &[("since", "integer")],
    ),
    asked(
        get(
            "/proposals",
            "[ProposalView]",
            "Open proposals, or all, newest first; of more than fit, those that follow the id `before`.",
        ),
        &[
            ("all", "boolean"),
            ("before", "string"),
            ("limit", "integer"),
        ],
    ),
    get(
        "/proposals/{id}",
        "ProposalView",
        "One proposal, by id or unique start of one.",
    ),
    get(
        "/proposals/{id}/record",
        "ProposalRecordView",
        "The record its executor signed, for whoever is about to decide.",
    ),
    get(
        "/proposals/{id}/checks",
        "ChecksView",
        "What stands in its way now, as its executor sees it, which is asked.",
    ),
    get(
        "/proposals/{id}/trace",
        "TraceView",
        "Its story from reading to outcome.",
    ),
    post(
        Scope::Operate,
        "/proposals/{id}/decision",
        Some("SignedDecision"),
        "Standing",
        "Take a person's signed decision to the executor.",
    ),
    post(
        Scope::Operate,
        "/proposals/{id}/withdraw",
        Some("Why"),
        "Standing",
        "Take a waiting proposal back.",
    ),
    post(
        Scope::Operate,
        "/proposals/{id}/stop",
        None,
        "StopView",
        "Stop its running action: the actuator goes to its safe state, and the answer says whether it has.",
    ),
    get("/drafts", "[DraftView]", "Drafts of this node."),
    post(
        Scope::Operate,
        "/drafts",
        Some("DraftRequest"),
        "DraftView",
        "Ask for an action.",
    ),
    get("/policy", "PolicyView", "The policy in force."),
    post(
        Scope::Admin,
        "/policy/reload",
        None,
        "PolicyState",
        "Read the policy file again.",
    ),
    get(
        "/policy/tests",
        "[TestResult]",
        "How the tests in the policy in force come out, run now.",
    ),
    post(
        Scope::Read,
        "/policy/explain",
        Some("ExplainRequest"),
        "ExplainView",
        "What the policy says of an action now.",
    ),
    asked(
        get(
            "/audit",
            "[AuditView]",
            "Audit entries after a number, or the newest; oldest first.",
        ),
        &[("since", "integer"), ("limit", "integer")],
    ),
    get(
        "/audit/verify",
        "AuditReport",
        "Check the audit chain from its first entry.",
    ),
    get(
        "/audit/export",
        "lines",
        "The whole audit chain as JSON lines that anybody can check: `clawmesh-node audit verify --file`.",
    ),
    get(
        "/trust",
        "[TrustRecordView]",
        "Every trust record, revoked ones too.",
    ),
    post(
        Scope::Admin,
        "/trust",
        Some("TrustAdd"),
        "TrustRecordView",
        "Trust a device.",
    ),
    get("/trust/{id}", "TrustRecordView", "One trust record."),
    Route {
        method: "delete",
        path: "/trust/{id}",
        scope: Scope::Admin,
        summary: "Forget a device.",
        query: &[],
        body: None,
        answer: "TrustRecordView",
    },
    post(
        Scope::Admin,
        "/trust/{id}/grant",
        Some("GrantChange"),
        "TrustRecordView",
        "Give a device more grants.",
    ),
    post(
        Scope::Admin,
        "/trust/{id}/ungrant",
        Some("GrantChange"),
        "TrustRecordView",
        "Take grants away from a device.",
    ),
    post(
        Scope::Admin,
        "/trust/{id}/revoke",
        None,
        "TrustRecordView",
        "End the trust in a device.",
    ),
    get("/operators", "[OperatorView]", "Every operator known here."),
    post(
        Scope::Admin,
        "/operators",
        Some("OperatorEnroll"),
        "OperatorView",
        "Make a person known as an operator.",
    ),
    get(
        "/operators/requests",
        "[EnrolRequestView]",
        "Keys made in browsers that wait for an administrator.",
    ),
    post(
        Scope::Operate,
        "/operators/requests",
        Some("EnrolAsk"),
        "EnrolRequestView",
        "Ask that a key made in a browser be enrolled.",
    ),
    Route {
        method: "delete",
        scope: Scope::Admin,
        ..get(
            "/operators/requests/{id}",
            "EnrolRequestView",
            "Forget a key that waits.",
        )
    },
    post(
        Scope::Admin,
        "/operators/{id}/revoke",
        Some("Why"),
        "OperatorView",
        "End one operator key.",
    ),
    post(
        Scope::Admin,
        "/operators/persons/{id}/revoke",
        Some("Why"),
        "[OperatorView]",
        "End every key of a person.",
    ),
    get(
        "/operators/issuers",
        "[IssuerView]",
        "Devices whose operators are accepted here, and those that could be.",
    ),
    post(
        Scope::Admin,
        "/operators/issuers/{id}/accept",
        None,
        "IssuerView",
        "Let the operators of another device count here.",
    ),
    post(
        Scope::Admin,
        "/operators/issuers/{id}/remove",
        None,
        "IssuerView",
        "Let the operators of another device count here no more.",
    ),
    get(
        "/grants",
        "GrantTableView",
        "What presets and grants can do at worst.",
    ),
    get(
        "/session",
        "SessionView",
        "Who asks, what they may do, and whether they can decide from here.",
    ),
    post(
        Scope::Read,
        "/session/end",
        None,
        "EndedView",
        "End the browser session that asks.",
    ),
    post(
        Scope::Read,
        "/console/link",
        Some("LinkRequest"),
        "LinkView",
        "Make a one-time link that opens the console in a browser; with a token only.",
    ),
    post(
        Scope::Operate,
        "/console/decide",
        Some("DecideRequest"),
        "Standing",
        "Decide a proposal with the passphrase of the person's key at this node.",
    ),
    get(
        "/estop",
        "EstopView",
        "Whether the emergency stop is latched at this node.",
    ),
    post(
        Scope::Operate,
        "/estop",
        Some("EstopRequest"),
        "EstopReport",
        "Emergency stop: every executor that can be reached goes to its safe states and latches.",
    ),
    post(
        Scope::Admin,
        "/estop/release",
        Some("EstopRequest"),
        "EstopView",
        "Release the emergency stop at this node, with a reason.",
    ),
    get("/openapi.json", "any", "This description."),
    Route {
        scope: Scope::Admin,
        ..get(
            "/pairing",
            "PairingView",
            "Pairing on this node: the window with its secret, the pairing under way, how the last one ended.",
        )
    },
    Route {
        method: "delete",
        scope: Scope::Admin,
        ..get(
            "/pairing",
            "PairingView",
            "Close the window and end the pairing under way.",
        )
    },
    post(
        Scope::Admin,
        "/pairing/window",
        None,
        "PairingView",
        "Let others ask to be paired with, for five minutes and three tries.",
    ),
    post(
        Scope::Admin,
        "/pairing/start",
        Some("PairStart"),
        "PairingView",
        "Ask another node to pair.",
    ),
    post(
        Scope::Admin,
        "/pairing/decision",
        Some("PairDecision"),
        "PairingView",
        "Say whether the strings are the same, and what the other node may do here.",
    ),
];

fn shape(name: &str) -> Value {
    match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(item) => json!({"type": "array", "items": shape(item)}),
        None if name == "any" => json!({"type": "object"}),
        None => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .query
        .iter()
        .map(|(name, kind)| json!({"name": name, "in": "query", "required": route.path == "/series" && *name == "metric", "schema": {"type": kind}}))
        .collect();
    if route.path.contains("{id}") {
        parameters.push(
            json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}),
        );
    }
    let good = match route.answer {
        "stream" => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        "lines" => json!({"application/x-ndjson": {"schema": {"type": "string"}}}),
        "drawing" => json!({"image/svg+xml": {"schema": {"type": "string"}}}),
        answer => json!({"application/json": {"schema": shape(answer)}}),
    };
    let mut op = json!({
        "summary": route.summary,
        "description": format!("Needs the {} scope.", route.scope),
        "security": [{"bearer": []}, {"session": []}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": good},
            "default": {"description": "Refused.", "content": {"application/json": {"schema": shape("ErrorBody")}}},
        },
    });
    if let Some(body) = route.body {
        let content = json!({"application/json": {"schema": shape(body)}});
        op["requestBody"] = json!({"required": !matches!(body, "Why" | "LinkRequest" | "PauseRequest"), "content": content});
    }
    op
}

/// The OpenAPI document.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Schemas::openapi()).unwrap_or_default();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = format!("{}{}", API_ROOT, route.path);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[route.method] = operation(route);
    }
    document["info"] = json!({
        "title": "ClawMesh operator API",
        "version": env!("CARGO_PKG_VERSION"),
        "license": {"name": "MIT"},
    });
    document["paths"] = Value::Object(paths);
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {
            "type": "apiKey", "in": "cookie", "name": "clawmesh_<port>",
            "description": "Set by the one-time link of `clawmesh-node console`. Whatever is not GET also needs X-ClawMesh-Csrf from GET /session.",
        },
    });
    document["components"]["schemas"]["SignedDecision"] = signed_decision();
    document
}

/// A decision is signed over its canonical JSON, so its shape is written out here, ids as texts.
fn signed_decision() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["decision", "signature"],
        "properties": {
            "signature": {"type": "string", "description": "Ed25519, base64url without padding."},
            "decision": {
                "type": "object",
                "required": ["verdict", "meshId", "executor", "proposalId", "digest", "operatorId", "decidedAt"],
                "properties": {
                    "verdict": {"type": "string", "enum": ["approve", "reject"]},
                    "meshId": text, "executor": text, "proposalId": text, "digest": text, "operatorId": text,
                    "decidedAt": {"type": "integer", "format": "int64"},
                    "note": text,
                },
            },
        },
    })
}

/// The document as the committed file has it.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}
