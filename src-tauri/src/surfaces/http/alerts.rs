//! Alerts over HTTP.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::Api;
use super::answer::{Answered, Id, body, body_or_default, ok, query};
use super::auth::Caller;
use super::console::by;
use crate::operator::alerts::{AlertMute, AlertNote, NotifyTest};

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;
type Who = Extension<Caller>;

pub(super) async fn list(State(api): Door) -> Answered {
    Ok(ok(&api.door.alerts().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryAsked {
    before: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn history(
    State(api): Door,
    asked: Result<Query<HistoryAsked>, QueryRejection>,
) -> Answered {
    let HistoryAsked { before, limit } = query(asked)?;
    Ok(ok(&api.door.alert_history(before, limit).await?))
}

pub(super) async fn one(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.alert(&id).await?))
}

pub(super) async fn acknowledge(
    State(api): Door,
    Extension(caller): Who,
    Id(id): Id,
    sent: Sent,
) -> Answered {
    let asked: AlertNote = body_or_default(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api
        .door
        .alert_acknowledge(&id, asked.note, &by)
        .await?))
}

pub(super) async fn mute(
    State(api): Door,
    Extension(caller): Who,
    Id(id): Id,
    sent: Sent,
) -> Answered {
    let asked: AlertMute = body(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api.door.alert_mute(&id, asked.for_ms, &by).await?))
}

pub(super) async fn unmute(
    State(api): Door,
    Extension(caller): Who,
    Id(id): Id,
    sent: Sent,
) -> Answered {
    let asked: AlertNote = body_or_default(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api.door.alert_unmute(&id, &by).await?))
}

pub(super) async fn places(State(api): Door) -> Answered {
    Ok(ok(&api.door.notify_places()))
}

pub(super) async fn test(State(api): Door, Extension(caller): Who, sent: Sent) -> Answered {
    let asked: NotifyTest = body_or_default(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api
        .door
        .notify_test(asked.target.as_deref(), &by)
        .await?))
}
