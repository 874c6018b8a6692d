//! The API's description, from the table of routes and the shapes of the door. `contract.rs` compares it
//! with the committed copy. Built for tests only.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::domain::base::limits::{
    CHANNEL_ACTIONS_PER_HOUR_MAX, NAME_MAX_BYTES, PASSPHRASE_MAX_BYTES, PASSPHRASE_MIN_CHARS,
    QUERY_MAX, SERIES_POINTS_MAX, STANDING_MAX_MS, STANDING_USES_MAX, TEXT_MAX_CHARS,
};
use crate::domain::policy::TestResult;
use crate::node::pairing::PairingView;
use crate::node::proposals::Standing;
use crate::node::proposals::checks::ChecksView;
use crate::node::proposals::standing_approvals::ApprovalView;
use crate::operator::access::API_ROOT;
use crate::operator::pairing::{PairDecision, PairStart};
use crate::operator::routes::{self, Described, Verb};
use crate::operator::{
    access, actuators, alerts, channels, devices, dto, enrolling, estop, gateways, mcp, meshes,
    messages, models, names, pictures, routing, series, standing_approvals, stopping, topology,
    twin,
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
    routing::AbleView,
    routing::TagsChange,
    routing::TagsView,
    messages::MessageSend,
    messages::MessageView,
    messages::MessagesView,
    messages::AttemptView,
    routing::RouteAsk,
    routing::RoutedView,
    routing::ChoiceView,
    routing::RuleView,
    routing::RulesView,
    routing::RulesSet,
    alerts::AlertView,
    alerts::AlertNote,
    alerts::AlertMute,
    alerts::NotifyView,
    alerts::NotifyTest,
    alerts::NotifyTested,
    channels::ChannelsView,
    channels::ChannelOffer,
    channels::ChannelGive,
    channels::ChannelCode,
    access::listed::OpenSession,
    access::push::PushSubscribe,
    access::push::PushView,
    access::sessions::LinkRequest,
    access::sessions::LinkView,
    access::deciding::SessionView,
    access::deciding::EndedView,
    access::deciding::DecideRequest,
    enrolling::EnrolAsk,
    enrolling::EnrolRequestView,
    estop::EstopRequest,
    estop::EstopView,
    estop::EstopReport,
    series::SeriesView,
    standing_approvals::StandingRequest,
    standing_approvals::StandingEndRequest,
    standing_approvals::ApprovalsView,
    ApprovalView,
    stopping::StopView,
    topology::TopologyView,
    actuators::ActuatorView,
    devices::DeviceView,
    devices::DeviceLook,
    pictures::PictureView,
    crate::node::wiring::Reloaded,
    twin::TwinView,
    crate::node::naming::Names,
    names::NamesView,
    dto::PlannerView,
    dto::PauseRequest,
    dto::AskRequest,
    dto::LaterRequest,
    crate::operator::inference::InferRequest,
    crate::operator::inference::Inferred,
    crate::node::planner::Answered,
    crate::node::planner::Telling,
    models::ModelsView,
    models::RouteRequest,
    models::RouteView,
    models::TryRequest,
    models::Tried,
    models::CredentialSet,
    models::CredentialView,
    TestResult,
    gateways::GatewayAdd,
    gateways::GatewayAgent,
    gateways::GatewayChange,
    gateways::GatewayFound,
    gateways::GatewayState,
    gateways::GatewayView,
    mcp::McpAdd,
    mcp::McpAdded,
    mcp::McpCallView,
    mcp::McpClientView,
    meshes::MeshView,
    meshes::MeshPolicyChange,
    meshes::Admittance,
    Standing,
    crate::node::proposals::hold::HoldRequest,
    crate::node::proposals::hold::HoldView,
    crate::node::proposals::hold::HeldView,
    ChecksView,
    PairingView,
    PairStart,
    PairDecision,
)))]
struct Schemas;

/// The shape of a type by its name.
fn shape(name: &str) -> Value {
    match name.strip_prefix("Vec<").and_then(|n| n.strip_suffix('>')) {
        Some(item) => json!({"type": "array", "items": shape(item)}),
        None if name == "Description" => json!({"type": "object"}),
        None => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

fn operation(route: &Described) -> Value {
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
        "Stream" => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        "Lines" => json!({"application/x-ndjson": {"schema": {"type": "string"}}}),
        "Photo" => json!({
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
        }),
        "Drawing" => json!({"image/svg+xml": {"schema": {"type": "string"}}}),
        answer => json!({"application/json": {"schema": shape(answer)}}),
    };
    let mut op = json!({
        "summary": route.summary.trim(),
        "description": format!("Needs the {} scope.", route.scope),
        "security": [{"bearer": []}, {"session": []}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": good},
            "default": {"description": "Refused.", "content": {"application/json": {"schema": shape("ErrorBody")}}},
        },
    });
    let body = route.body;
    if body != "()" {
        let content = json!({"application/json": {"schema": shape(body)}});
        op["requestBody"] = json!({"required": !matches!(body, "Why" | "LinkRequest" | "PauseRequest" | "AlertNote" | "NotifyTest"), "content": content});
    }
    op
}

/// A method as OpenAPI writes it.
pub(super) fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::Post => "post",
        Verb::Delete => "delete",
    }
}

/// The limits that a page has to know before it asks.
fn limits() -> Value {
    json!({
        "nameBytes": NAME_MAX_BYTES,
        "passphraseMinChars": PASSPHRASE_MIN_CHARS,
        "passphraseBytes": PASSPHRASE_MAX_BYTES,
        "textChars": TEXT_MAX_CHARS,
        "pageRows": QUERY_MAX,
        "seriesPoints": SERIES_POINTS_MAX,
        "standingUses": STANDING_USES_MAX,
        "standingMs": STANDING_MAX_MS,
    })
}

/// The OpenAPI document.
pub(super) fn document() -> Value {
    let mut document = serde_json::to_value(Schemas::openapi()).unwrap_or_default();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::ALL {
        let path = format!("{}{}", API_ROOT, route.path);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method(route.verb)] = operation(route);
    }
    document["info"] = json!({
        "title": "ClawMesh operator API",
        "version": env!("CARGO_PKG_VERSION"),
        "license": {"name": "MIT"},
    });
    document["paths"] = Value::Object(paths);
    document["x-limits"] = limits();
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {
            "type": "apiKey", "in": "cookie", "name": "clawmesh_<port>",
            "description": "Set by the one-time link of `clawmesh-node console`. Whatever is not GET also needs X-ClawMesh-Csrf from GET /session.",
        },
    });
    let schemas = &mut document["components"]["schemas"];
    schemas["SignedDecision"] = signed_decision();
    schemas["SignedStanding"] = signed_standing();
    schemas["SignedStandingEnd"] = signed_standing_end();
    schemas["SignedChannel"] = signed_channel();
    schemas["SignedChannelEnd"] = signed_channel_end();
    schemas["ChannelGive"]["properties"]["given"] = shape("SignedChannel");
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
                    "note": text, "channel": shape("SignedChannel"), "atNode": text,
                },
            },
        },
    })
}

/// As [`signed_decision`], of a standing approval.
fn signed_standing() -> Value {
    let (text, number) = (
        json!({"type": "string"}),
        json!({"type": "integer", "format": "int64"}),
    );
    json!({
        "type": "object",
        "required": ["approval", "signature"],
        "properties": {
            "signature": {"type": "string", "description": "Ed25519, base64url without padding."},
            "approval": {
                "type": "object",
                "required": ["version", "meshId", "executor", "operatorId", "target", "operation", "params", "askers",
                    "runMaxMs", "usesMax", "validFrom", "validUntil", "givenAt", "nonce"],
                "properties": {
                    "version": {"type": "integer", "enum": [1]},
                    "meshId": text, "executor": text, "operatorId": text, "target": text, "operation": text,
                    "params": {"type": "object", "description": "By name: {\"is\": value} or {\"min\": least, \"max\": most}."},
                    "askers": {
                        "type": "array", "items": {"type": "string", "enum": ["rules", "person"]},
                        "description": "In this order.",
                    },
                    "runMaxMs": number, "usesMax": number, "validFrom": number, "validUntil": number, "givenAt": number,
                    "nonce": text, "note": text,
                },
            },
        },
    })
}

/// As [`signed_decision`], of the end of a standing approval.
fn signed_standing_end() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["end", "signature"],
        "properties": {
            "signature": {"type": "string", "description": "Ed25519, base64url without padding."},
            "end": {
                "type": "object",
                "required": ["meshId", "executor", "approval", "operatorId", "endedAt"],
                "properties": {
                    "meshId": text, "executor": text, "approval": text, "operatorId": text,
                    "endedAt": {"type": "integer", "format": "int64"},
                    "note": text,
                },
            },
        },
    })
}

/// As [`signed_decision`], of a channel.
fn signed_channel() -> Value {
    let (text, number) = (
        json!({"type": "string"}),
        json!({"type": "integer", "format": "int64"}),
    );
    json!({
        "type": "object",
        "required": ["channel", "signature"],
        "properties": {
            "signature": {"type": "string", "description": "Ed25519, base64url without padding."},
            "channel": {
                "type": "object",
                "required": ["version", "meshId", "kind", "node", "operatorId", "channelKey", "maxLevel", "actionsPerHour",
                    "ownWishes", "givenAt", "validUntil", "nonce"],
                "properties": {
                    "version": {"type": "integer", "enum": [1]},
                    "kind": {"type": "string", "enum": ["telegram", "slack"]},
                    "meshId": text, "node": text, "operatorId": text, "channelKey": text, "nonce": text,
                    "maxLevel": {"type": "string", "enum": ["L0", "L1", "L2"]},
                    "actionsPerHour": {"type": "integer", "minimum": 1, "maximum": CHANNEL_ACTIONS_PER_HOUR_MAX},
                    "ownWishes": {"type": "boolean"},
                    "givenAt": number, "validUntil": number,
                },
            },
        },
    })
}

/// As [`signed_decision`], of the end of a channel.
fn signed_channel_end() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["end", "key", "signature"],
        "properties": {
            "signature": {"type": "string", "description": "Ed25519, base64url without padding."},
            "key": {"type": "string", "description": "The public key that signed, base64url without padding."},
            "end": {
                "type": "object",
                "required": ["meshId", "channel", "operatorId", "issuer", "endedAt"],
                "properties": {
                    "meshId": text, "channel": text, "operatorId": text, "issuer": text,
                    "endedAt": {"type": "integer", "format": "int64"},
                    "note": text,
                },
            },
        },
    })
}

/// The document as the committed file has it.
pub(super) fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}
