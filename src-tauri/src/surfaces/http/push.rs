//! Push to the browser of a session, over HTTP: each session turns its own on and off.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;

use super::Api;
use super::answer::{Answered, body, ok};
use super::auth::Caller;

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;
type Who = Extension<Caller>;

pub(super) async fn state(State(api): Door, Extension(caller): Who) -> Answered {
    Ok(ok(&api
        .door
        .push_state(&api.browsers, caller.session())
        .await))
}

pub(super) async fn on(State(api): Door, Extension(caller): Who, sent: Sent) -> Answered {
    let asked = body(sent)?;
    let (browsers, session) = (&api.browsers, caller.session());
    Ok(ok(&api.door.push_on(browsers, session, &asked).await?))
}

pub(super) async fn off(State(api): Door, Extension(caller): Who) -> Answered {
    Ok(ok(&api
        .door
        .push_off(&api.browsers, caller.session())
        .await?))
}

pub(super) async fn test(State(api): Door, Extension(caller): Who) -> Answered {
    Ok(ok(&api
        .door
        .push_test(&api.browsers, caller.session())
        .await?))
}
