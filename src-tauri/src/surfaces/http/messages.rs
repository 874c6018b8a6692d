//! Messages to agents and their rules over HTTP.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};

use super::Api;
use super::answer::{Answered, Id, body, ok, query};
use super::auth::Caller;
use super::console::by;
use crate::operator::messages::{MessageQuery, MessageSend};
use crate::operator::routing::{RouteAsk, RulesSet};

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;
type Who = Extension<Caller>;

/// The surface, as rules know it.
fn source(caller: &Caller) -> &'static str {
    match caller {
        Caller::Session(_) | Caller::Window => "console",
        Caller::Token(_) => "http",
        Caller::Owner => "cli",
    }
}

pub(super) async fn send(State(api): Door, Extension(caller): Who, sent: Sent) -> Answered {
    let asked: MessageSend = body(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api
        .door
        .message_send(asked, source(&caller), &by)
        .await?))
}

pub(super) async fn list(
    State(api): Door,
    asked: Result<Query<MessageQuery>, QueryRejection>,
) -> Answered {
    Ok(ok(&api.door.messages(query(asked)?).await?))
}

pub(super) async fn one(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.message(&id).await?))
}

pub(super) async fn cancel(State(api): Door, Extension(caller): Who, Id(id): Id) -> Answered {
    let by = by(&caller, None);
    Ok(ok(&api.door.message_cancel(&id, &by).await?))
}

pub(super) async fn again(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.message_again(&id).await?))
}

pub(super) async fn abilities(State(api): Door) -> Answered {
    Ok(ok(&api.door.abilities()))
}

pub(super) async fn tag(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.tag(body(sent)?).await?))
}

pub(super) async fn routing(State(api): Door) -> Answered {
    Ok(ok(&api.door.routing()))
}

pub(super) async fn routing_set(State(api): Door, Extension(caller): Who, sent: Sent) -> Answered {
    let asked: RulesSet = body(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api.door.routing_set(asked, &by).await?))
}

pub(super) async fn explain(State(api): Door, sent: Sent) -> Answered {
    let asked: RouteAsk = body(sent)?;
    Ok(ok(&api.door.routing_explain(&asked).await?))
}
