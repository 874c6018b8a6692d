//! One question on its way: what came of the answer so far, between the connection that hears it and whoever asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::AskError;
use super::super::clean;
use crate::domain::base::limits::GATEWAY_ANSWER_MAX_BYTES;

#[derive(Debug, Default)]
struct State {
    text: String,
    /// The text was changed where pieces of it were told.
    torn: bool,
    is_sent: bool,
    /// The gateway said that it runs it.
    is_going: bool,
    /// The connection is over, and with it what is known of the run.
    is_cut: bool,
    done: Option<Result<(), AskError>>,
}

/// A question on its way.
#[derive(Debug, Default)]
pub(super) struct Run {
    state: Mutex<State>,
    changed: Notify,
}

/// What is new of an answer.
pub(super) struct News {
    /// The text after what was told.
    pub piece: String,
    /// How it ended, with the whole text.
    pub done: Option<Done>,
}

/// How a question ended.
pub(super) enum Done {
    /// By what the gateway said, or because it was not asked.
    Ended(Result<String, AskError>),
    /// With the connection; whether the gateway was running it then.
    CutOff(AskError, bool),
}

impl Run {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came after so many bytes.
    pub(super) fn news(&self, told: usize) -> News {
        let state = self.state();
        let piece = match state.torn {
            true => "",
            false => state.text.get(told..).unwrap_or_default(),
        };
        let done = state.done.clone().map(|done| match done {
            Err(error) if state.is_cut => Done::CutOff(error, state.is_going),
            done => Done::Ended(done.map(|()| state.text.clone())),
        });
        News {
            piece: piece.to_owned(),
            done,
        }
    }

    /// One that is asked once more: what came of the answer comes again, so that no pieces are told.
    pub(super) fn again() -> Self {
        let state = State {
            torn: true,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            ..Self::default()
        }
    }

    /// Resolves when there may be news.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// The connection's side of a run; dropped without an end, the run has one that says what is known.
#[derive(Debug)]
pub(super) struct Ticket(pub Arc<Run>);

impl Ticket {
    /// It goes to the gateway from here on.
    pub(super) fn is_sent(&self) {
        self.0.state().is_sent = true;
    }

    /// The gateway says that it runs it.
    pub(super) fn is_going(&self) {
        self.0.state().is_going = true;
    }

    /// More of the answer; whether it still fits.
    pub(super) fn adds(&self, piece: &str) -> bool {
        let mut state = self.0.state();
        let piece = clean(piece);
        if state.text.len() + piece.len() > GATEWAY_ANSWER_MAX_BYTES {
            return false;
        }
        state.text.push_str(&piece);
        drop(state);
        self.0.changed.notify_one();
        true
    }

    /// The answer is this; whether it fits.
    pub(super) fn is(&self, text: &str) -> bool {
        let text = clean(text);
        if text.len() > GATEWAY_ANSWER_MAX_BYTES {
            return false;
        }
        let mut state = self.0.state();
        state.torn |= !text.starts_with(&state.text);
        state.text = text;
        drop(state);
        self.0.changed.notify_one();
        true
    }

    /// Whether any of the answer came.
    pub(super) fn has_text(&self) -> bool {
        !self.0.state().text.trim().is_empty()
    }

    /// It ended.
    pub(super) fn ends(&self, how: Result<(), AskError>) {
        let mut state = self.0.state();
        if state.done.is_none() {
            state.done = Some(how);
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// The connection is over.
    pub(super) fn is_cut_off(&self, why: &str) {
        let mut state = self.0.state();
        state.is_cut |= state.done.is_none();
        let error = match state.is_sent {
            true => AskError::Unknown(why.to_owned()),
            false => AskError::NotSent(why.to_owned()),
        };
        drop(state);
        self.ends(Err(error));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.is_cut_off("the connection to the gateway ended");
    }
}

/// The answer is too long.
pub(super) fn too_long() -> AskError {
    let most = GATEWAY_ANSWER_MAX_BYTES / 1_024;
    AskError::Failed(format!("the answer is longer than {most} KiB"))
}
