//! The way into a chat: a surface that runs a bot hears here what it is to tell. Where none runs, nobody is told that way.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::adapters::notify::{Notice, Notifier, Telling, Untold};
use crate::domain::base::limits::NOTIFY_CHAT_QUEUE;

/// What a chat is to tell a person.
#[derive(Debug)]
pub struct ToTell {
    /// The person's name.
    pub person: String,
    /// What they are told.
    pub notice: Notice,
    answer: oneshot::Sender<Result<(), Untold>>,
}

impl ToTell {
    /// Says whether they were told.
    pub fn answered(self, done: Result<(), Untold>) {
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(done);
    }
}

/// Where the surface listens.
#[derive(Debug, Clone, Default)]
pub(super) struct Ear(Arc<Mutex<Option<mpsc::Sender<ToTell>>>>);

impl Ear {
    /// What is to be told from now on; who listened before hears nothing more.
    pub(super) fn listen(&self) -> mpsc::Receiver<ToTell> {
        let (tell, told) = mpsc::channel(NOTIFY_CHAT_QUEUE);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
        told
    }
}

/// A person in the chats of this node's bot.
#[derive(Debug)]
pub(super) struct InChat {
    pub ear: Ear,
    pub person: String,
}

impl Notifier for InChat {
    fn tell<'a>(&'a self, notice: &'a Notice) -> Telling<'a> {
        Box::pin(async move {
            let none = || {
                Untold::Lost("this node answers no bot now: none runs here (--telegram), or another node answers it".to_owned())
            };
            let tell = self
                .ear
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let tell = tell.ok_or_else(none)?;
            let (answer, answered) = oneshot::channel();
            let one = ToTell {
                person: self.person.clone(),
                notice: notice.clone(),
                answer,
            };
            tell.try_send(one).map_err(|_| none())?;
            answered.await.unwrap_or_else(|_| Err(none()))
        })
    }
}
