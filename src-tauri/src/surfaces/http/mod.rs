//! The HTTP surface: health, metrics, the operator API over the door, and the console's files. It authenticates,
//! translates and calls; it decides nothing. The router also works in-process through tower's
//! `oneshot`, which is how a desktop window will use it.

mod answer;
mod auth;
mod console;
mod handlers;
mod places;
mod site;
mod stream;

#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod enrol_tests;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use prometheus_client::registry::Registry;

use self::handlers as h;
use self::places::Places;
use crate::domain::base::limits::HTTP_BODY_MAX_BYTES;
use crate::operator::Door;
use crate::operator::access::{API_ROOT, Scope, Tokens};
use crate::operator::browser::Browsers;
use crate::operator::console::PassphraseGate;
use crate::operator::enrolling::EnrolRequests;

/// What every handler works with.
pub(crate) struct Api {
    pub(crate) door: Door,
    tokens: Tokens,
    browsers: Browsers,
    passphrases: PassphraseGate,
    enrolling: EnrolRequests,
    registry: Registry,
    streams: Places,
}

type Routes = Vec<(&'static str, MethodRouter<Arc<Api>>)>;

/// Looking.
fn read() -> Routes {
    vec![
        ("/status", get(h::status)),
        ("/nodes", get(h::nodes)),
        ("/peers", get(h::peers)),
        ("/topology", get(h::topology)),
        ("/meshes", get(h::meshes)),
        ("/names", get(h::names)),
        ("/series", get(h::series)),
        ("/world", get(h::world)),
        ("/frames", get(h::frames)),
        ("/frames/{id}", get(h::frame)),
        ("/actuators", get(h::actuators)),
        ("/twin", get(h::twin)),
        ("/twin/plans/{id}", get(h::twin_plan)),
        ("/planner", get(h::planner)),
        ("/events", get(h::events)),
        ("/stream", get(stream::stream)),
        ("/proposals", get(h::proposals)),
        ("/proposals/{id}", get(h::proposal)),
        ("/proposals/{id}/record", get(h::proposal_record)),
        ("/proposals/{id}/trace", get(h::trace)),
        ("/proposals/{id}/checks", get(h::proposal_checks)),
        ("/drafts", get(h::drafts)),
        ("/policy", get(h::policy)),
        ("/policy/tests", get(h::policy_tests)),
        ("/policy/explain", post(h::explain)),
        ("/audit", get(h::audit)),
        ("/audit/verify", get(h::audit_verify)),
        ("/audit/export", get(h::audit_export)),
        ("/trust", get(h::trust)),
        ("/trust/{id}", get(h::trust_one)),
        ("/operators", get(h::operators)),
        ("/operators/requests", get(console::enrol_requests)),
        ("/operators/issuers", get(h::issuers)),
        ("/grants", get(h::grant_table)),
        ("/estop", get(console::estop_state)),
        ("/session", get(console::session)),
        ("/session/end", post(console::end)),
        ("/console/link", post(console::link)),
        ("/openapi.json", get(h::openapi)),
    ]
}

/// Deciding and asking.
fn operate() -> Routes {
    vec![
        ("/proposals/{id}/decision", post(h::decide)),
        ("/proposals/{id}/withdraw", post(h::withdraw)),
        ("/proposals/{id}/stop", post(h::stop)),
        ("/drafts", post(h::propose)),
        ("/console/decide", post(console::decide)),
        ("/operators/requests", post(console::enrol_ask)),
        ("/estop", post(console::estop)),
        ("/planner/pause", post(console::planner_pause)),
        ("/planner/resume", post(console::planner_resume)),
    ]
}

/// Changing who is trusted and what is allowed.
fn admin() -> Routes {
    vec![
        ("/policy/reload", post(h::policy_reload)),
        ("/names", post(h::give_names)),
        ("/meshes/policy", post(h::mesh_policy)),
        ("/meshes/admit", post(h::mesh_admit)),
        ("/estop/release", post(console::estop_release)),
        ("/trust", post(h::trust_add)),
        ("/trust/{id}", delete(h::trust_remove)),
        ("/trust/{id}/grant", post(h::trust_grant)),
        ("/trust/{id}/ungrant", post(h::trust_ungrant)),
        ("/trust/{id}/revoke", post(h::trust_revoke)),
        ("/operators", post(h::operator_enroll)),
        ("/operators/requests/{id}", delete(console::enrol_refuse)),
        ("/operators/{id}/revoke", post(h::operator_revoke)),
        ("/operators/persons/{id}/revoke", post(h::person_revoke)),
        ("/operators/issuers/{id}/accept", post(h::issuer_accept)),
        ("/operators/issuers/{id}/remove", post(h::issuer_remove)),
        ("/pairing", get(h::pairing).delete(h::pair_cancel)),
        ("/pairing/window", post(h::pair_open)),
        ("/pairing/start", post(h::pair_start)),
        ("/pairing/decision", post(h::pair_decide)),
    ]
}

fn scoped(api: &Arc<Api>, scope: Scope, root: &str, routes: Routes) -> Router<Arc<Api>> {
    let router = routes
        .into_iter()
        .fold(Router::new(), |router, (path, method)| {
            router.route(&format!("{root}{path}"), method)
        });
    router.route_layer(from_fn_with_state((api.clone(), scope), auth::scoped))
}

/// The router of a node.
pub fn app(door: Door, tokens: Tokens) -> Router {
    let registry = door.context().metrics.registry();
    let api = Arc::new(Api {
        door,
        tokens,
        browsers: Browsers::default(),
        passphrases: PassphraseGate::default(),
        enrolling: EnrolRequests::default(),
        registry,
        streams: Places::default(),
    });
    Router::new()
        .route("/healthz", get(h::healthz))
        .route("/console/open", get(console::open))
        .merge(scoped(
            &api,
            Scope::Read,
            "",
            vec![("/metrics", get(h::metrics))],
        ))
        .merge(scoped(&api, Scope::Read, API_ROOT, read()))
        .merge(scoped(&api, Scope::Operate, API_ROOT, operate()))
        .merge(scoped(&api, Scope::Admin, API_ROOT, admin()))
        .fallback(h::nothing_here)
        .method_not_allowed_fallback(h::wrong_method)
        .layer(DefaultBodyLimit::max(HTTP_BODY_MAX_BYTES))
        .layer(from_fn(auth::guard))
        .with_state(api)
}
