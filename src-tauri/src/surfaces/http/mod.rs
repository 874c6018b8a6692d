//! The HTTP surface: health, metrics, the operator API over the door, and the console's files. It authenticates,
//! translates and calls; it decides nothing. The router also works in-process through tower's
//! `oneshot`, which is how a desktop window will use it.

mod alerts;
mod answer;
mod assets;
mod auth;
mod away;
#[cfg(test)]
mod away_tests;
mod changes;
mod channels;
mod completions;
mod connections;
mod console;
mod gateways;
mod handlers;
mod hooks;
mod mcp;
mod messages;
mod models;
#[cfg(test)]
mod models_tests;
mod pictures;
mod places;
mod push;
mod standing;
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
mod share_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use prometheus_client::registry::Registry;

use self::handlers as h;
use self::places::Room;
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::HTTP_BODY_MAX_BYTES;
use crate::operator::Door;
use crate::operator::access::deciding::PassphraseGate;
use crate::operator::access::guesses::Guesses;
use crate::operator::access::sessions::Browsers;
use crate::operator::access::{API_ROOT, Scope, Tokens};
use crate::operator::enrolling::EnrolRequests;
use crate::operator::mcp::Clients;
use crate::operator::models::Trials;
use crate::operator::routes::{self, Route, Verb};

/// The state of every handler.
pub(crate) struct Api {
    pub(crate) door: Door,
    tokens: Tokens,
    browsers: Arc<Browsers>,
    guesses: Guesses,
    passphrases: PassphraseGate,
    enrolling: EnrolRequests,
    registry: Registry,
    room: Room,
    connections: connections::Connections,
    trials: Trials,
    completions: completions::Completions,
    mcp: Clients,
}

/// A router over the table of routes: each handler stands under the method and path of its route, behind
/// the check of its scope.
struct Bound {
    api: Arc<Api>,
    router: Router<Arc<Api>>,
}

impl Bound {
    fn on<B, A, T: 'static>(self, route: Route<B, A>, handler: impl Handler<T, Arc<Api>>) -> Self {
        let method = match route.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        };
        let asked = auth::Asked::of(&route);
        self.under(
            &format!("{API_ROOT}{}", route.path),
            asked,
            on(method, handler),
        )
    }

    fn under(self, path: &str, asked: auth::Asked, method: MethodRouter<Arc<Api>>) -> Self {
        let check = from_fn_with_state((self.api.clone(), asked), auth::scoped);
        let router = self.router.route(path, method.route_layer(check));
        Self { router, ..self }
    }
}

/// Routes about the mesh, its nodes and their world.
fn mesh_routes(bound: Bound) -> Bound {
    bound
        .on(routes::STATUS, h::status)
        .on(routes::NODES, h::nodes)
        .on(routes::PEERS, h::peers)
        .on(routes::MESHES, h::meshes)
        .on(routes::NAMES, h::names)
        .on(routes::NAME_GIVE, h::give_names)
        .on(routes::MESH_POLICY_SET, h::mesh_policy)
        .on(routes::MESH_ADMIT, h::mesh_admit)
        .on(routes::TOPOLOGY, h::topology)
        .on(routes::SERIES, h::series)
        .on(routes::WORLD, h::world)
        .on(routes::FRAMES, h::frames)
        .on(routes::FRAME, h::frame)
        .on(routes::ACTUATORS, h::actuators)
        .on(routes::DEVICES, h::devices)
        .on(routes::DEVICE_LOOK, h::device_look)
        .on(routes::PICTURES, pictures::list)
        .on(routes::PICTURE, pictures::one)
        .on(routes::DEVICES_RELOAD, models::devices_reload)
        .on(routes::TWIN, h::twin)
        .on(routes::TWIN_PLAN, h::twin_plan)
        .on(routes::PLANNER, h::planner)
        .on(routes::PLANNER_PAUSE, console::planner_pause)
        .on(routes::PLANNER_RESUME, console::planner_resume)
        .on(routes::ASK, console::ask)
        .on(routes::INFER, console::infer)
        .on(routes::LATER, console::ask_later)
        .on(routes::LATER_CANCEL, console::ask_later_cancel)
        .on(routes::ANSWERED, h::answered)
        .on(routes::MODELS, models::models)
        .on(routes::MODELS_EXPLAIN, models::explain)
        .on(routes::MODELS_TRY, models::try_models)
        .on(routes::MCP_CLIENTS, mcp::list)
        .on(routes::MCP_ADD, mcp::add)
        .on(routes::MCP_REMOVE, mcp::remove)
        .on(routes::GATEWAYS, gateways::list)
        .on(routes::GATEWAYS_FOUND, gateways::found)
        .on(routes::GATEWAY_ADD, gateways::add)
        .on(routes::GATEWAY_CHANGE, gateways::change)
        .on(routes::GATEWAY_REMOVE, gateways::remove)
        .on(routes::CREDENTIALS, models::credentials)
        .on(routes::CREDENTIAL_SET, models::credential_set)
        .on(routes::CREDENTIAL_REMOVE, models::credential_remove)
}

/// Messages to agents, and their rules.
fn message_routes(bound: Bound) -> Bound {
    bound
        .on(routes::MESSAGES, messages::list)
        .on(routes::MESSAGE_SEND, messages::send)
        .on(routes::MESSAGE, messages::one)
        .on(routes::MESSAGE_CANCEL, messages::cancel)
        .on(routes::MESSAGE_AGAIN, messages::again)
        .on(routes::ABILITIES, messages::abilities)
        .on(routes::TAG, messages::tag)
        .on(routes::ROUTING, messages::routing)
        .on(routes::ROUTING_SET, messages::routing_set)
        .on(routes::ROUTING_EXPLAIN, messages::explain)
}

/// Events, proposals, policy and the audit trail.
fn action_routes(bound: Bound) -> Bound {
    bound
        .on(routes::ALERTS, alerts::list)
        .on(routes::ALERT_HISTORY, alerts::history)
        .on(routes::ALERT, alerts::one)
        .on(routes::ALERT_ACKNOWLEDGE, alerts::acknowledge)
        .on(routes::ALERT_MUTE, alerts::mute)
        .on(routes::ALERT_UNMUTE, alerts::unmute)
        .on(routes::NOTIFY, alerts::places)
        .on(routes::NOTIFY_TEST, alerts::test)
        .on(routes::EVENTS, h::events)
        .on(routes::STREAM, stream::stream)
        .on(routes::PROPOSALS, h::proposals)
        .on(routes::PROPOSAL, h::proposal)
        .on(routes::PROPOSAL_RECORD, h::proposal_record)
        .on(routes::PROPOSAL_CHECKS, h::proposal_checks)
        .on(routes::PROPOSAL_TRACE, h::trace)
        .on(routes::PROPOSAL_DECIDE, h::decide)
        .on(routes::PROPOSAL_WITHDRAW, h::withdraw)
        .on(routes::PROPOSAL_STOP, h::stop)
        .on(routes::STANDING, standing::list)
        .on(routes::STANDING_GIVE, standing::give)
        .on(routes::STANDING_END, standing::end)
        .on(routes::STANDING_VOID, standing::void)
        .on(routes::CHANNELS, channels::list)
        .on(routes::CHANNEL_OFFER, channels::offer)
        .on(routes::CHANNEL_GIVE, channels::give)
        .on(routes::CHANNEL_END, channels::end)
        .on(routes::CHANNEL_VOID, channels::void)
        .on(routes::PROPOSAL_HOLD, h::hold)
        .on(routes::PROPOSAL_HELD, h::held)
        .on(routes::DRAFTS, h::drafts)
        .on(routes::PROPOSE, h::propose)
        .on(routes::POLICY, h::policy)
        .on(routes::POLICY_RELOAD, h::policy_reload)
        .on(routes::POLICY_TESTS, h::policy_tests)
        .on(routes::POLICY_EXPLAIN, h::explain)
        .on(routes::AUDIT, h::audit)
        .on(routes::AUDIT_VERIFY, h::audit_verify)
        .on(routes::AUDIT_EXPORT, h::audit_export)
}

/// Trust, operators, sessions, the emergency stop and pairing.
fn people_routes(bound: Bound) -> Bound {
    bound
        .on(routes::TRUST, h::trust)
        .on(routes::TRUST_ADD, h::trust_add)
        .on(routes::TRUST_ONE, h::trust_one)
        .on(routes::TRUST_REMOVE, h::trust_remove)
        .on(routes::TRUST_GRANT, h::trust_grant)
        .on(routes::TRUST_UNGRANT, h::trust_ungrant)
        .on(routes::TRUST_REVOKE, h::trust_revoke)
        .on(routes::OPERATORS, h::operators)
        .on(routes::OPERATOR_ENROLL, h::operator_enroll)
        .on(routes::ENROL_REQUESTS, console::enrol_requests)
        .on(routes::ENROL_ASK, console::enrol_ask)
        .on(routes::ENROL_REFUSE, console::enrol_refuse)
        .on(routes::OPERATOR_REVOKE, h::operator_revoke)
        .on(routes::PERSON_REVOKE, h::person_revoke)
        .on(routes::ISSUERS, h::issuers)
        .on(routes::ISSUER_ACCEPT, h::issuer_accept)
        .on(routes::ISSUER_REMOVE, h::issuer_remove)
        .on(routes::GRANTS, h::grant_table)
        .on(routes::SESSION, console::session)
        .on(routes::SESSION_END, console::end)
        .on(routes::SESSIONS, away::sessions)
        .on(routes::SESSION_END_ONE, away::session_end)
        .on(routes::PUSH, push::state)
        .on(routes::PUSH_ON, push::on)
        .on(routes::PUSH_OFF, push::off)
        .on(routes::PUSH_TEST, push::test)
        .on(routes::CONSOLE_LINK, console::link)
        .on(routes::CONSOLE_DECIDE, console::decide)
        .on(routes::CONSOLE_STANDING, standing::console_give)
        .on(routes::CONSOLE_STANDING_END, standing::console_end)
        .on(routes::ESTOP, console::estop_state)
        .on(routes::ESTOP_ENGAGE, console::estop)
        .on(routes::ESTOP_RELEASE, console::estop_release)
        .on(routes::OPENAPI, h::openapi)
        .on(routes::PAIRING, h::pairing)
        .on(routes::PAIR_CANCEL, h::pair_cancel)
        .on(routes::PAIR_OPEN, h::pair_open)
        .on(routes::PAIR_START, h::pair_start)
        .on(routes::PAIR_DECIDE, h::pair_decide)
}

/// The router of a node.
pub fn app(door: Door, tokens: Tokens) -> Router {
    let registry = door.context().metrics.registry();
    let open_away = door.most_away().is_some();
    let dir = StateDir::at(&door.context().state_dir());
    let (epoch, lived) = door.sessions_before();
    let browsers = Arc::new(Browsers::restored(&dir, open_away, epoch, lived));
    door.tells_phones_of(&browsers);
    door.ends_old_sessions(&browsers);
    let api = Arc::new(Api {
        door,
        tokens,
        browsers,
        guesses: Guesses::default(),
        passphrases: PassphraseGate::default(),
        enrolling: EnrolRequests::default(),
        registry,
        room: Room::default(),
        connections: connections::Connections::default(),
        trials: Trials::default(),
        completions: completions::Completions::default(),
        mcp: Clients::default(),
    });
    let bound = Bound {
        api: api.clone(),
        router: Router::new(),
    };
    let bound = mcp::bound(bound);
    let bound = bound.under("/metrics", auth::Asked::by(Scope::Read), get(h::metrics));
    Router::new()
        .route("/healthz", get(h::healthz))
        .route(away::OPEN, get(console::open))
        .merge(completions::routes())
        .merge(hooks::routes())
        .merge(mcp::routes(&api))
        .merge(people_routes(action_routes(message_routes(mesh_routes(bound)))).router)
        .fallback(h::nothing_here)
        .method_not_allowed_fallback(h::wrong_method)
        .layer(DefaultBodyLimit::max(HTTP_BODY_MAX_BYTES))
        .layer(from_fn_with_state(api.clone(), auth::guard))
        .with_state(api)
}
