//! Answers that come piece by piece: a question's steps, a try of the models. The page is sent each piece as it comes,
//! and may leave before the end, which ends the request at the node as a closed connection would.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::domain::base::limits::{WINDOW_ANSWER_MAX_BYTES, WINDOW_LINES_MAX};
use crate::domain::base::{Code, Refusal};

/// The messages to the page, in order; `end` is the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Piece {
    /// The answer begins.
    Begun {
        /// Its status.
        status: u16,
    },
    /// More of its body.
    Text {
        /// The text.
        text: String,
    },
    /// It has ended.
    End,
}

/// The answers that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    last: u64,
    stops: BTreeMap<u64, CancellationToken>,
}

/// One of them until this is dropped.
#[derive(Debug)]
pub(super) struct Line {
    lines: Lines,
    /// Its number.
    pub(super) number: u64,
    stop: CancellationToken,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more.
    ///
    /// # Errors
    /// `BUSY` where as many are under way as may be.
    pub(super) fn begin(&self) -> Result<Line, Refusal> {
        let mut all = self.lock();
        if all.stops.len() >= WINDOW_LINES_MAX {
            let why =
                format!("{WINDOW_LINES_MAX} questions of this window are under way; stop one");
            return Err(Refusal::new(Code::Busy, why));
        }
        all.last += 1;
        let (number, stop) = (all.last, CancellationToken::new());
        all.stops.insert(number, stop.clone());
        drop(all);
        Ok(Line {
            lines: self.clone(),
            number,
            stop,
        })
    }

    /// The page does not want this one any more.
    pub(super) fn leave(&self, number: u64) {
        if let Some(stop) = self.lock().stops.get(&number) {
            stop.cancel();
        }
    }

    /// The page is gone.
    pub(super) fn leave_all(&self) {
        self.lock()
            .stops
            .values()
            .for_each(CancellationToken::cancel);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.lock().stops.remove(&self.number);
    }
}

impl Line {
    /// Asks and sends what comes; ends with the answer, with the node, or when the page leaves.
    pub(super) async fn carry(
        self,
        router: Router,
        request: Request<Body>,
        over: CancellationToken,
        told: impl Fn(Piece) -> bool,
    ) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            () = over.cancelled() => {}
            () = sent(router, request, &told) => {}
        }
        told(Piece::End);
    }
}

async fn sent(router: Router, request: Request<Body>, told: &impl Fn(Piece) -> bool) {
    let Ok(answer) = router.oneshot(request).await;
    let (parts, mut body) = answer.into_parts();
    let status = parts.status.as_u16();
    if !told(Piece::Begun { status }) {
        return;
    }
    let mut sent = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.into_data().unwrap_or_default();
        sent += bytes.len();
        // Each piece is whole lines in UTF-8.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if sent > WINDOW_ANSWER_MAX_BYTES || !told(Piece::Text { text }) {
            return;
        }
    }
}

/// A refusal as the page reads it.
pub(super) fn refused(refusal: &Refusal, body: &[u8]) -> [Piece; 3] {
    let status = StatusCode::from_u16(crate::operator::http_status(refusal.code));
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).as_u16();
    let text = String::from_utf8_lossy(body).into_owned();
    [Piece::Begun { status }, Piece::Text { text }, Piece::End]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::convert::Infallible;

    use axum::routing::get;
    use futures_util::{StreamExt as _, stream};
    use tokio::sync::mpsc;

    use super::*;

    fn request() -> Request<Body> {
        Request::builder().uri("/").body(Body::empty()).unwrap()
    }

    /// A node whose answer is what comes over the channel.
    fn node(lines: mpsc::Receiver<&'static str>) -> Router {
        let lines = Arc::new(Mutex::new(Some(lines)));
        let answer = move || {
            let lines = lines.lock().unwrap().take().unwrap();
            let all = stream::unfold(lines, |mut lines| async move {
                let line = lines.recv().await?;
                Some((Ok::<_, Infallible>(line), lines))
            });
            std::future::ready(Body::from_stream(all.boxed()))
        };
        Router::new().route("/", get(answer))
    }

    #[tokio::test]
    async fn each_piece_is_sent_as_it_comes_and_a_page_that_leaves_ends_it_at_the_node() {
        let (say, lines) = mpsc::channel(1);
        let (heard, mut hears) = mpsc::channel(8);
        let all = Lines::default();
        let line = all.begin().unwrap();
        let number = line.number;
        let told = move |piece| heard.try_send(piece).is_ok();
        let over = CancellationToken::new();
        let carried = line.carry(node(lines), request(), over, told);
        let page = async {
            assert_eq!(hears.recv().await, Some(Piece::Begun { status: 200 }));
            for text in ["one\n", "two\n"] {
                say.send(text).await.unwrap();
                let text = text.to_owned();
                assert_eq!(hears.recv().await, Some(Piece::Text { text }));
            }
            all.leave(number);
            say.closed().await;
            assert_eq!(hears.recv().await, None, "nothing follows");
        };
        tokio::join!(carried, page);
        assert!(all.lock().stops.is_empty());
    }

    #[tokio::test]
    async fn an_answer_ends_with_the_node_and_there_are_only_so_many() {
        let (_say, lines) = mpsc::channel(1);
        let (heard, mut hears) = mpsc::channel(8);
        let all = Lines::default();
        let line = all.begin().unwrap();
        let more: Vec<Line> = (1..WINDOW_LINES_MAX)
            .map(|_| all.begin().unwrap())
            .collect();
        assert_eq!(all.begin().unwrap_err().code, Code::Busy);
        drop(more);
        let over = CancellationToken::new();
        over.cancel();
        let told = move |piece| heard.try_send(piece).is_ok();
        line.carry(node(lines), request(), over, told).await;
        assert_eq!(hears.recv().await, Some(Piece::End));
        all.leave_all();
    }
}
