//! One handler per route: read the request, call the door, answer. Nothing is decided here.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;

use super::answer::{Answered, Failed, Id, body, body_or_default, ok, query};
use super::auth::Caller;
use super::{Api, assets};
use crate::domain::base::{Code, Refusal};
use crate::node::proposals::hold::HoldRequest;
use crate::operator::audit_export::Export;
use crate::operator::dto::{DraftRequest, ExplainRequest, GrantChange, Health, Why};
use crate::operator::queries::{EventQuery, FactQuery, FrameQuery, ProposalQuery};
use crate::operator::registry;
use crate::operator::series::SeriesQuery;

/// The API's description as committed; a test compares it with the types.
const OPENAPI: &str = include_str!("../../../../contract/operator.openapi.json");

type Door = State<Arc<Api>>;
type Sent = Result<Bytes, BytesRejection>;
type Asked<T> = Result<Query<T>, QueryRejection>;

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A file of the console, or what is not there.
pub(super) async fn nothing_here(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if let Some(response) = assets::serve(&method, &uri, &headers) {
        return response;
    }
    Failed::from(Refusal::new(
        Code::NotFound,
        format!("there is no {} here", short(uri.path())),
    ))
    .into_response()
}

/// The resource exists, but not for this method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let why = format!(
        "{} is not possible on {}",
        short(method.as_str()),
        short(uri.path())
    );
    Failed::from(Refusal::new(Code::UnknownMethod, why)).into_response()
}

pub(super) async fn healthz(State(api): Door) -> Response {
    let health = api.door.health();
    let mut response = ok(&health);
    if health.status == Health::Failing {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

pub(super) async fn metrics(State(api): Door) -> Answered {
    api.door.look_at_links();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &api.registry).map_err(|e| {
        Refusal::new(
            Code::InternalError,
            format!("the metrics could not be written: {e}"),
        )
    })?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

pub(super) async fn openapi() -> Answered {
    let kind = "application/json";
    Ok(([(header::CONTENT_TYPE, kind)], OPENAPI).into_response())
}

pub(super) async fn status(State(api): Door) -> Answered {
    Ok(ok(&api.door.status().await?))
}

pub(super) async fn nodes(State(api): Door) -> Answered {
    Ok(ok(&api.door.nodes()))
}

pub(super) async fn peers(State(api): Door) -> Answered {
    Ok(ok(&api.door.peers_kept().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorldAsked {
    metric: Option<String>,
    zone: Option<String>,
    origin: Option<String>,
}

pub(super) async fn world(State(api): Door, asked: Asked<WorldAsked>) -> Answered {
    let WorldAsked {
        metric,
        zone,
        origin,
    } = query(asked)?;
    Ok(ok(&api
        .door
        .facts(FactQuery {
            metric,
            zone,
            origin,
        })
        .await?))
}

pub(super) async fn meshes(State(api): Door) -> Answered {
    Ok(ok(&api.door.meshes()))
}

pub(super) async fn names(State(api): Door) -> Answered {
    Ok(ok(&api.door.names_given()))
}

pub(super) async fn give_names(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.give_names(&body(sent)?).await?))
}

pub(super) async fn mesh_policy(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.set_mesh_policy(body(sent)?).await?))
}

pub(super) async fn mesh_admit(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.admit_nearby(body(sent)?).await?))
}

pub(super) async fn topology(State(api): Door) -> Answered {
    Ok(ok(&api.door.topology().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeriesAsked {
    metric: String,
    zone: Option<String>,
    origin: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    points: Option<usize>,
}

pub(super) async fn series(State(api): Door, asked: Asked<SeriesAsked>) -> Answered {
    let SeriesAsked {
        metric,
        zone,
        origin,
        from,
        to,
        points,
    } = query(asked)?;
    Ok(ok(&api
        .door
        .series(SeriesQuery {
            metric,
            zone,
            origin,
            from,
            to,
            points,
        })
        .await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FramesAsked {
    kind: Option<String>,
    origin: Option<String>,
    since: Option<u64>,
    before: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn frames(State(api): Door, asked: Asked<FramesAsked>) -> Answered {
    let FramesAsked {
        kind,
        origin,
        since,
        before,
        limit,
    } = query(asked)?;
    Ok(ok(&api
        .door
        .frames(FrameQuery {
            kind,
            origin,
            since,
            before,
            limit,
        })
        .await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsAsked {
    since: Option<u64>,
    kind: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn events(State(api): Door, asked: Asked<EventsAsked>) -> Answered {
    let EventsAsked { since, kind, limit } = query(asked)?;
    Ok(ok(&api
        .door
        .events(EventQuery { since, kind, limit })
        .await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProposalsAsked {
    #[serde(default)]
    all: bool,
    before: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn proposals(State(api): Door, asked: Asked<ProposalsAsked>) -> Answered {
    let ProposalsAsked { all, before, limit } = query(asked)?;
    let query = ProposalQuery { all, before, limit };
    Ok(ok(&api.door.proposals_page(query).await?))
}

pub(super) async fn proposal(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.proposal(&id).await?))
}

pub(super) async fn proposal_record(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.proposal_record(&id).await?))
}

pub(super) async fn proposal_checks(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.proposal_checks(&id).await?))
}

pub(super) async fn held(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.held(&id).await?))
}

pub(super) async fn trace(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.trace(&id).await?))
}

pub(super) async fn decide(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    Ok(ok(&api.door.decide(&id, body(sent)?).await?))
}

pub(super) async fn withdraw(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    let why: Why = body_or_default(sent)?;
    Ok(ok(&api.door.withdraw(&id, why.reason).await?))
}

pub(super) async fn stop(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
) -> Answered {
    let by = caller.who();
    let by = by.as_deref().unwrap_or("an operator of this node");
    Ok(ok(&api.door.stop_of(caller.cause(), &id, by).await?))
}

pub(super) async fn hold(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    sent: Sent,
) -> Answered {
    let mut asked: HoldRequest = body(sent)?;
    asked.by = caller.who().unwrap_or(asked.by);
    Ok(ok(&api.door.hold(&caller.seat(), &id, asked).await?))
}

pub(super) async fn drafts(State(api): Door) -> Answered {
    Ok(ok(&api.door.drafts().await?))
}

pub(super) async fn propose(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let mut asked: DraftRequest = body(sent)?;
    asked.name = caller.who().unwrap_or(asked.name);
    Ok(ok(&api.door.propose(asked).await?))
}

pub(super) async fn policy(State(api): Door) -> Answered {
    Ok(ok(&api.door.policy()))
}

pub(super) async fn explain(State(api): Door, sent: Sent) -> Answered {
    let asked: ExplainRequest = body(sent)?;
    Ok(ok(&api.door.explain(asked).await?))
}

pub(super) async fn policy_reload(State(api): Door) -> Answered {
    Ok(ok(&api.door.policy_reload().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditAsked {
    since: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn audit(State(api): Door, asked: Asked<AuditAsked>) -> Answered {
    let AuditAsked { since, limit } = query(asked)?;
    Ok(ok(&api.door.audit(since, limit).await?))
}

pub(super) async fn audit_verify(State(api): Door) -> Answered {
    Ok(ok(&api.door.audit_verify().await?))
}

/// The audit chain as a file: lines as they are read, so that a long chain takes no memory.
pub(super) async fn audit_export(State(api): Door) -> Answered {
    let desk = api.door.desk();
    let name = format!(
        "clawmesh-audit-{}-{}.jsonl",
        desk.issuer.id().short(),
        desk.now.0
    );
    let export = Export::begin(desk).await?;
    let lines = stream::try_unfold(export, |mut export| async move {
        let lines = export.next().await;
        let lines = lines.map_err(|refusal| std::io::Error::other(refusal.to_string()))?;
        Ok::<_, std::io::Error>(lines.map(|lines| (lines, export)))
    });
    let head = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((head, Body::from_stream(lines)).into_response())
}

pub(super) async fn answered(State(api): Door, Extension(caller): Extension<Caller>) -> Answered {
    Ok(ok(&api.door.answered(caller.scope()).await?))
}

pub(super) async fn twin(State(api): Door) -> Answered {
    Ok(ok(&api.door.twin().await?))
}

/// A drawing that others made: an image and nothing else. Opened by itself it runs no script, loads
/// nothing and has no origin.
pub(super) async fn twin_plan(State(api): Door, Id(id): Id) -> Answered {
    let drawing = api.door.twin_plan(&id).await?;
    let head = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "private, no-cache"),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'; style-src 'unsafe-inline'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "inline; filename=\"plan.svg\""),
    ];
    Ok((head, drawing.text.to_string()).into_response())
}

pub(super) async fn frame(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.frame(&id).await?))
}

pub(super) async fn actuators(State(api): Door) -> Answered {
    Ok(ok(&api.door.actuators().await?))
}

pub(super) async fn devices(State(api): Door) -> Answered {
    Ok(ok(&api.door.devices().await?))
}

pub(super) async fn device_look(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.look_at_device(&body(sent)?).await?))
}

pub(super) async fn planner(State(api): Door, Extension(caller): Extension<Caller>) -> Answered {
    Ok(ok(&api.door.planner_for(caller.scope())))
}

pub(super) async fn policy_tests(State(api): Door) -> Answered {
    Ok(ok(&api.door.policy_tests()))
}

pub(super) async fn trust(State(api): Door) -> Answered {
    Ok(ok(&api.door.trust().await?))
}

pub(super) async fn trust_one(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.trust_one(&id).await?))
}

pub(super) async fn trust_add(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.trust_add(&body(sent)?).await?))
}

pub(super) async fn trust_remove(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.trust_remove(&id).await?))
}

pub(super) async fn trust_grant(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    let change: GrantChange = body(sent)?;
    Ok(ok(&api.door.trust_grant(&id, &change).await?))
}

pub(super) async fn trust_ungrant(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    let change: GrantChange = body(sent)?;
    Ok(ok(&api.door.trust_ungrant(&id, &change).await?))
}

pub(super) async fn trust_revoke(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.trust_revoke(&id).await?))
}

pub(super) async fn operators(State(api): Door) -> Answered {
    Ok(ok(&api.door.operators().await?))
}

pub(super) async fn operator_enroll(State(api): Door, sent: Sent) -> Answered {
    let enrolled = api.door.operator_enroll(&body(sent)?).await?;
    // One that waited waits no more.
    let now = api.door.context().now();
    drop(api.enrolling.take(&enrolled.operator_id, now));
    Ok(ok(&enrolled))
}

pub(super) async fn operator_revoke(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    let why: Why = body_or_default(sent)?;
    Ok(ok(&api
        .door
        .operator_revoke(&id, why.reason.as_deref())
        .await?))
}

pub(super) async fn person_revoke(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    let why: Why = body_or_default(sent)?;
    Ok(ok(&api
        .door
        .person_revoke(&id, why.reason.as_deref())
        .await?))
}

pub(super) async fn issuers(State(api): Door) -> Answered {
    Ok(ok(&api.door.issuers().await?))
}

pub(super) async fn issuer_accept(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.issuer_accept(&id).await?))
}

pub(super) async fn issuer_remove(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.issuer_remove(&id).await?))
}

pub(super) async fn grant_table() -> Answered {
    Ok(ok(&registry::grant_table()))
}

pub(super) async fn pairing(State(api): Door) -> Answered {
    Ok(ok(&api.door.pairing()))
}

pub(super) async fn pair_open(State(api): Door) -> Answered {
    Ok(ok(&api.door.pair_open().await?))
}

pub(super) async fn pair_cancel(State(api): Door) -> Answered {
    Ok(ok(&api.door.pair_cancel().await))
}

pub(super) async fn pair_start(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.pair_start(&body(sent)?).await?))
}

pub(super) async fn pair_decide(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.pair_decide(&body(sent)?)?))
}
