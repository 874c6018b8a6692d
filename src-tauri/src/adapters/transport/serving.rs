//! HTTP/1 over one accepted connection, for both listeners: the limits of a request's head, and an end that lets a request
//! under way be answered. What is answered is the caller's business.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::doorway::Slot;
use super::socket::ByteStream;
use crate::domain::base::limits::{REQUEST_GRACE_MS, REQUEST_HEAD_MAX_BYTES, REQUEST_HEADERS_MAX};

/// How long a request that was under way at the deadline may still take.
const REQUEST_GRACE: Duration = Duration::from_millis(REQUEST_GRACE_MS);

/// Answers the requests of one connection with `answer` until it ends, or its place at the door does.
pub(super) async fn http<R>(
    stream: Box<dyn ByteStream>,
    slot: Slot,
    head_timeout: Duration,
    answer: impl Fn(Request<hyper::body::Incoming>, Slot) -> R + Send + Sync + 'static,
) where
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_headers(REQUEST_HEADERS_MAX)
        .max_buf_size(REQUEST_HEAD_MAX_BYTES);
    let (cut, expired) = (slot.cut().clone(), slot.expired().clone());
    let under_way = Arc::new(());
    let busy = Arc::clone(&under_way);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let busy = Arc::clone(&busy);
        let answered = answer(request, slot.clone());
        async move {
            let response = answered.await;
            Ok::<_, Infallible>(response.map(|body| {
                // The body keeps the request "under way" until it has been sent.
                Body::new(body.map_frame(move |frame| {
                    let _busy = &busy;
                    frame
                }))
            }))
        }
    });
    let mut serving = Box::pin(
        http.serve_connection(TokioIo::new(stream), service)
            .with_upgrades(),
    );
    tokio::select! {
       biased;
        () = cut.cancelled() => return,
        () = expired.cancelled() => {}
        _ = serving.as_mut() => return,
    }
    // Late: a request under way gets its answer first. One reference is ours, one the service's;
    // hyper alone would wait for the rest of a half-sent head.
    if Arc::strong_count(&under_way) <= 2 {
        return;
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        () = tokio::time::sleep(REQUEST_GRACE) => {}
        _ = serving.as_mut() => {}
    }
}
