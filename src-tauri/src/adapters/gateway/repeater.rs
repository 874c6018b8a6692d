//! The twin for tests: a gateway that keeps what it is asked, and answers as it was told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Agent, Ask, AskError, Gateway, Seen, State};

/// What it answers to a question: the pieces, which together are the answer, or why there is none.
pub type Said = Result<Vec<String>, AskError>;

#[derive(Debug, Default)]
struct Book {
    asked: Vec<Ask>,
    will_say: VecDeque<Said>,
    said: BTreeMap<String, Said>,
}

/// Keeps what it is asked. Without anything else to say it repeats the question.
#[derive(Debug)]
pub struct Repeater {
    seen: watch::Sender<Seen>,
    book: Mutex<Book>,
}

impl Default for Repeater {
    fn default() -> Self {
        let main = Agent {
            id: "main".to_owned(),
            name: "Main".to_owned(),
            model: None,
        };
        let seen = Seen {
            agents: vec![main],
            process: Some("first".to_owned()),
            ..Seen::nothing(State::Ready, 0)
        };
        Self {
            seen: watch::channel(seen).0,
            book: Mutex::default(),
        }
    }
}

impl Repeater {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of it.
    pub fn shows(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    /// The next new question is answered like this.
    pub fn says(&self, said: Said) {
        self.book().will_say.push_back(said);
    }

    /// What it ran, oldest first: a key stands here once.
    pub fn ran(&self) -> Vec<Ask> {
        self.book().asked.clone()
    }

    fn answer(&self, ask: Ask) -> Said {
        if self.seen.borrow().state != State::Ready {
            return Err(AskError::NotSent("the gateway is not ready".to_owned()));
        }
        if !ask.is_named() {
            let why = "agent, conversation or key is no name";
            return Err(AskError::NotSent(why.to_owned()));
        }
        let process = self.seen.borrow().process.clone();
        if ask
            .before
            .as_ref()
            .is_some_and(|before| Some(&before.process) != process.as_ref())
        {
            let why = "the gateway was started again meanwhile";
            return Err(AskError::Unknown(why.to_owned()));
        }
        let mut book = self.book();
        if let Some(said) = book.said.get(&ask.key) {
            return said.clone();
        }
        let next = book.will_say.pop_front();
        let said = next.unwrap_or_else(|| Ok(vec![ask.text.clone()]));
        book.said.insert(ask.key.clone(), said.clone());
        book.asked.push(ask);
        said
    }
}

impl Gateway for Repeater {
    fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    fn run(&self, stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(async move { stop.cancelled().await })
    }

    fn ask(
        &self,
        ask: Ask,
        pieces: mpsc::Sender<String>,
    ) -> BoxFuture<'_, Result<String, AskError>> {
        Box::pin(async move {
            let said = self.answer(ask)?;
            for piece in &said {
                // Nobody may read them.
                let _ = pieces.send(piece.clone()).await;
            }
            Ok(said.concat())
        })
    }
}
