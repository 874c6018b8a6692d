//! How the API answers: JSON always, also when it refuses; and how it reads what it is sent.

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::base::limits::HTTP_BODY_MAX_BYTES;
use crate::domain::base::number::all_plain;
use crate::domain::base::text::type_in_words;
use crate::domain::base::{Code, Refusal, canonical};
use crate::operator::dto::{ErrorBody, ErrorView};
use crate::operator::http_status;

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Failed(Refusal);

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

/// The result of a handler.
pub(super) type Answered = Result<Response, Failed>;

/// An answer as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let kind = [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (status, kind, bytes).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A good answer.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Refusal { code, message } = self.0;
        let status =
            StatusCode::from_u16(http_status(code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(
            status,
            &ErrorBody {
                error: ErrorView {
                    code: code.as_str().to_owned(),
                    message,
                },
            },
        )
    }
}

/// Takes a request's body in.
///
/// # Errors
/// `TOO_LARGE`, or `INVALID_PARAMS` where it broke off.
pub(super) async fn received(body: Body) -> Result<Bytes, Failed> {
    let body = Limited::new(body, HTTP_BODY_MAX_BYTES);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(too_large()),
        Err(e) => Err(unreadable(&e.to_string())),
    }
}

fn too_large() -> Failed {
    let why = format!("a request body may have {HTTP_BODY_MAX_BYTES} bytes at most");
    Failed(Refusal::new(Code::TooLarge, why))
}

fn unreadable(why: &str) -> Failed {
    let why = format!("the body could not be read: {why}");
    Failed(Refusal::new(Code::InvalidParams, why))
}

/// Reads a request's body.
///
/// # Errors
/// `TOO_LARGE`, `INVALID_JSON` with line and column, `INVALID_PARAMS` naming the member.
pub(super) fn body<T: DeserializeOwned>(bytes: Result<Bytes, BytesRejection>) -> Result<T, Failed> {
    read(bytes, |error| type_in_words(&error.to_string()))
}

/// As [`body`], of what holds a secret, perhaps in the wrong place: a refusal says where it is wrong, and no word of it.
///
/// # Errors
/// As [`body`].
pub(super) fn secret_body<T: DeserializeOwned>(
    bytes: Result<Bytes, BytesRejection>,
    form: &str,
) -> Result<T, Failed> {
    read(bytes, |error| {
        let (line, column) = (error.line(), error.column());
        format!("line {line}, column {column}: it must be {form}, and nothing else")
    })
}

fn read<T: DeserializeOwned>(
    bytes: Result<Bytes, BytesRejection>,
    why: impl Fn(&serde_json::Error) -> String,
) -> Result<T, Failed> {
    let bytes = bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => unreadable(&rejection.to_string()),
    })?;
    let read = serde_json::from_slice(&bytes).or_else(|error| {
        // Other programs write whole numbers as `10.0`.
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let again = canonical::parse(text).ok().filter(|_| error.is_data());
        again
            .and_then(|value| serde_json::from_value(all_plain(value)).ok())
            .ok_or(error)
    });
    read.map_err(|e| {
        let code = if e.is_data() {
            Code::InvalidParams
        } else {
            Code::InvalidJson
        };
        Failed(Refusal::new(code, format!("the body: {}", why(&e))))
    })
}

/// As [`body`], where no body at all means the default.
///
/// # Errors
/// As [`body`].
pub(super) fn body_or_default<T: DeserializeOwned + Default>(
    bytes: Result<Bytes, BytesRejection>,
) -> Result<T, Failed> {
    match bytes {
        Ok(bytes) if bytes.is_empty() => Ok(T::default()),
        other => body(other),
    }
}

/// The `{id}` of a request's path. What cannot be read is refused as everything else is.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(e) => Err(Failed(Refusal::new(
                Code::InvalidParams,
                format!("the path: {}", e.body_text()),
            ))),
        }
    }
}

/// Reads a request's query.
///
/// # Errors
/// `INVALID_PARAMS` naming what is wrong.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Failed> {
    query.map(|Query(q)| q).map_err(|e| {
        Failed(Refusal::new(
            Code::InvalidParams,
            format!("the query: {}", type_in_words(&e.body_text())),
        ))
    })
}
