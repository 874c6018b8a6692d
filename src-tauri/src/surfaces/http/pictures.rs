//! Pictures of this node's cameras. A browser shows one and does nothing else with it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse as _;

use super::Api;
use super::answer::{Answered, Id, ok, query};
use crate::operator::pictures::PictureQuery;

type Door = State<Arc<Api>>;
type Asked<T> = Result<Query<T>, QueryRejection>;

/// Those that this node has.
pub(super) async fn list(State(api): Door, asked: Asked<PictureQuery>) -> Answered {
    Ok(ok(&api.door.pictures(query(asked)?).await?))
}

/// One as it was taken.
pub(super) async fn one(State(api): Door, Id(id): Id) -> Answered {
    let (about, bytes) = api.door.picture(id).await?;
    let end = about.media_type.trim_start_matches("image/");
    let name = format!(
        "inline; filename=\"{}-{}.{end}\"",
        about.camera, about.taken_at
    );
    let head = [
        (header::CONTENT_TYPE, about.media_type.clone()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'".to_owned(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((head, bytes).into_response())
}
