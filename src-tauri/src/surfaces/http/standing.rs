//! Standing approvals over HTTP.

use std::sync::Arc;

use axum::extract::State;

use super::Api;
use super::answer::{Answered, Id, body, body_or_default, ok};
use crate::operator::dto::Why;
use crate::operator::standing_approvals::{StandingEndRequest, StandingRequest};

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;

pub(super) async fn list(State(api): Door) -> Answered {
    Ok(ok(&api.door.standing().await?))
}

pub(super) async fn give(State(api): Door, sent: Sent) -> Answered {
    Ok(ok(&api.door.standing_give(body(sent)?).await?))
}

pub(super) async fn end(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    Ok(ok(&api.door.standing_end(&id, body(sent)?).await?))
}

pub(super) async fn void(State(api): Door, Id(id): Id, sent: Sent) -> Answered {
    let why: Why = body_or_default(sent)?;
    Ok(ok(&api.door.standing_void(&id, why.reason).await?))
}

/// With the person's key at this node, which the passphrase opens for this one signature.
pub(super) async fn console_give(State(api): Door, sent: Sent) -> Answered {
    let asked: StandingRequest = body(sent)?;
    let given = api.door.console_standing(&api.passphrases, asked);
    Ok(ok(&given.await?))
}

/// As [`console_give`], for the end of one.
pub(super) async fn console_end(State(api): Door, sent: Sent) -> Answered {
    let asked: StandingEndRequest = body(sent)?;
    let ended = api.door.console_standing_end(&api.passphrases, asked);
    Ok(ok(&ended.await?))
}
