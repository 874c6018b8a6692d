//! Channels over HTTP.

use std::sync::Arc;

use axum::extract::State;

use super::Api;
use super::answer::{Answered, Id, body, body_or_default, ok};
use crate::operator::dto::Why;

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;

pub(super) async fn list(State(api): Door) -> Answered {
    Ok(ok(&api.door.channels().await?))
}

pub(super) async fn offer(State(api): Door) -> Answered {
    Ok(ok(&api.door.channel_offer()?))
}

pub(super) async fn give(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.channel_give(body(sent)?).await?))
}

pub(super) async fn end(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    Ok(ok(&api.door.channel_end(&id, body(sent)?).await?))
}

pub(super) async fn void(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    let why: Why = body_or_default(sent)?;
    Ok(ok(&api.door.channel_void(&id, why.reason).await?))
}
