//! The twin of a model: it answers from a list and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::Notify;

use super::{Model, Pieces};
use crate::domain::inference::{
    Failure, FailureKind, InferenceRequest, ModelRef, Piece, ToolCall, Usage,
};

/// One step of a scripted reply.
#[derive(Debug, Clone)]
pub enum Step {
    /// Says a piece.
    Say(Piece),
    /// Fails; the reply ends here.
    Fail(Failure),
    /// Says nothing more until [`Scripted::go_on`] is called, once per such step.
    Wait,
    /// Says nothing more, ever.
    Hang,
    /// Says the same text again and again, without end.
    Endless(String),
}

/// A scripted reply.
#[derive(Debug, Clone, Default)]
pub struct Reply(Vec<Step>);

impl Reply {
    /// A reply of these steps.
    pub fn of(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// A text, said at once.
    pub fn text(text: &str) -> Self {
        Self(vec![Step::Say(Piece::Text(text.to_owned()))]).ended()
    }

    /// Calls of tools, each with its JSON arguments; their ids are `call-1`, `call-2` and so on.
    pub fn calls(calls: &[(&str, &str)]) -> Self {
        let call = |(index, (name, arguments)): (usize, &(&str, &str))| {
            Step::Say(Piece::Call(ToolCall {
                id: format!("call-{}", index + 1),
                name: (*name).to_owned(),
                arguments: (*arguments).to_owned(),
            }))
        };
        Self(calls.iter().enumerate().map(call).collect()).ended()
    }

    /// A failure instead of a reply.
    pub fn fail(kind: FailureKind, why: &str) -> Self {
        Self(vec![Step::Fail(Failure::new(kind, why))])
    }

    /// No answer at all.
    pub fn hang() -> Self {
        Self(vec![Step::Hang])
    }

    /// With an orderly end: ten tokens read, five written.
    #[must_use]
    pub fn ended(mut self) -> Self {
        let usage = Usage {
            input_tokens: 10,
            output_tokens: 5,
            cut: false,
        };
        self.0.push(Step::Say(Piece::End(usage)));
        self
    }
}

#[derive(Debug, Default)]
struct Inside {
    replies: VecDeque<Reply>,
    always: Option<Reply>,
    asked: Vec<Arc<InferenceRequest>>,
    open: usize,
}

/// See the module. A clone is the same model.
#[derive(Debug, Clone)]
pub struct Scripted {
    name: ModelRef,
    inside: Arc<Mutex<Inside>>,
    on: Arc<Notify>,
}

impl Scripted {
    /// A model that has these replies to give, one a request; then it fails.
    pub fn new(name: ModelRef, replies: impl IntoIterator<Item = Reply>) -> Self {
        let inside = Inside {
            replies: replies.into_iter().collect(),
            ..Inside::default()
        };
        Self {
            name,
            inside: Arc::new(Mutex::new(inside)),
            on: Arc::default(),
        }
    }

    /// Once the list is used up, it says this every time.
    #[must_use]
    pub fn then_always(self, reply: Reply) -> Self {
        self.lock().always = Some(reply);
        self
    }

    /// Adds a reply.
    pub fn push(&self, reply: Reply) {
        self.lock().replies.push_back(reply);
    }

    /// Everything it was asked, in order.
    pub fn asked(&self) -> Vec<Arc<InferenceRequest>> {
        self.lock().asked.clone()
    }

    /// How many of its replies are being read now: neither ended nor dropped.
    pub fn open(&self) -> usize {
        self.lock().open
    }

    /// Lets one [`Step::Wait`] pass, the one that waits or the next.
    pub fn go_on(&self) {
        self.on.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, request: Arc<InferenceRequest>) -> Reply {
        let mut inside = self.lock();
        inside.asked.push(request);
        inside.open += 1;
        let next = inside.replies.pop_front().or_else(|| inside.always.clone());
        next.unwrap_or_else(|| Reply::fail(FailureKind::Server, "the script has no more replies"))
    }
}

/// A reply that is being read.
struct Open {
    model: Scripted,
    steps: VecDeque<Step>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.model.lock().open -= 1;
    }
}

impl Model for Scripted {
    fn name(&self) -> &ModelRef {
        &self.name
    }

    fn infer(&self, request: Arc<InferenceRequest>) -> Pieces {
        let model = self.clone();
        let reply = async move {
            let steps = model.next(request).0.into();
            stream::unfold(Open { model, steps }, |mut open| async move {
                loop {
                    match open.steps.pop_front()? {
                        Step::Say(piece) => return Some((Ok(piece), open)),
                        Step::Fail(failure) => {
                            open.steps.clear();
                            return Some((Err(failure), open));
                        }
                        Step::Wait => open.model.on.notified().await,
                        Step::Hang => std::future::pending().await,
                        Step::Endless(text) => {
                            open.steps.push_front(Step::Endless(text.clone()));
                            return Some((Ok(Piece::Text(text)), open));
                        }
                    }
                }
            })
        };
        stream::once(reply).flatten().boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scripted(replies: Vec<Reply>) -> Scripted {
        Scripted::new("test/script".parse().unwrap(), replies)
    }

    #[tokio::test]
    async fn it_says_its_list_and_then_fails() {
        let model = scripted(vec![Reply::text("one"), Reply::calls(&[("read", "{}")])]);
        let first: Vec<_> = model.infer(Arc::default()).collect().await;
        assert_eq!(first[0], Ok(Piece::Text("one".into())));
        assert!(matches!(first[1], Ok(Piece::End(_))));
        let second: Vec<_> = model.infer(Arc::default()).collect().await;
        assert!(matches!(&second[0], Ok(Piece::Call(call)) if call.name == "read"));
        let third: Vec<_> = model.infer(Arc::default()).collect().await;
        assert_eq!(third[0].as_ref().unwrap_err().kind, FailureKind::Server);
        assert_eq!((model.asked().len(), model.open()), (3, 0));
    }

    #[tokio::test]
    async fn a_dropped_reply_is_cancelled_and_a_waiting_one_goes_on_when_told() {
        let steps = vec![
            Step::Say(Piece::Text("a".into())),
            Step::Wait,
            Step::Endless("b".into()),
        ];
        let model = scripted(vec![Reply::of(steps), Reply::hang()]);
        let mut pieces = model.infer(Arc::default());
        assert_eq!(model.open(), 0);
        pieces.next().await.unwrap().unwrap();
        model.go_on();
        for _ in 0..3 {
            assert_eq!(pieces.next().await, Some(Ok(Piece::Text("b".into()))));
        }
        assert_eq!(model.open(), 1);
        drop(pieces);
        assert_eq!(model.open(), 0);
    }
}
