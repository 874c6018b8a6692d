//! The way into a chat: a surface that runs a bot hears here what it is to tell. Where none runs, nobody is told that way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::adapters::notify::{Notice, Notifier, Telling, Untold};
use crate::domain::base::limits::NOTIFY_CHAT_QUEUE;
use crate::domain::gate::ChannelKind;

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

/// Where the surface listens, for each kind of bot.
#[derive(Debug, Clone, Default)]
pub(super) struct Ear(Arc<Mutex<BTreeMap<ChannelKind, mpsc::Sender<ToTell>>>>);

impl Ear {
    /// What is to be told from now on; who listened before hears nothing more.
    pub(super) fn listen(&self, kind: ChannelKind) -> mpsc::Receiver<ToTell> {
        let (tell, told) = mpsc::channel(NOTIFY_CHAT_QUEUE);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(kind, tell);
        told
    }
}

/// A person in the chats of this node's bot of a kind.
#[derive(Debug)]
pub(super) struct InChat {
    pub ear: Ear,
    pub kind: ChannelKind,
    pub person: String,
}

impl Notifier for InChat {
    fn tell<'a>(&'a self, notice: &'a Notice) -> Telling<'a> {
        Box::pin(async move {
            let none = || {
                let kind = self.kind;
                Untold::Lost(format!(
                    "this node answers no {} bot now: none runs here (--{kind}), or another node answers it",
                    kind.title()
                ))
            };
            let tell = self
                .ear
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&self.kind)
                .cloned();
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
