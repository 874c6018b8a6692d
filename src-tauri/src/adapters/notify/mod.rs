//! Ways to tell people of alerts: a short text to one place. A way carries it and says whether it arrived; it must not know what
//! an alert is, who is told when, or what may be said.

mod noted;
mod ntfy;
mod push_service;
mod web_push;

use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::noted::Noted;
pub use self::ntfy::{Ntfy, Token, check_topic};
pub use self::push_service::{
    Endpoint, Letter, OwnServices, Subscription, Undelivered, Urgency, send,
};
pub use self::web_push::{BrowserKeys, Sender, TEXT_MAX_BYTES, Unmade};
use crate::domain::base::Severity;

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// A line that says what it is about.
    pub title: String,
    /// The text, plain.
    pub text: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whether it says that something is over.
    pub over: bool,
    /// The numbers of the alerts it is about, for a place where they can be acknowledged.
    pub alerts: Vec<u64>,
    /// The id of the proposal it is about, where it is about one.
    pub proposal: Option<String>,
}

/// Why people were not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// The place wants to be left alone for so long.
    #[error("it takes nothing more for {} s", .0.as_secs())]
    Later(Duration),
    /// It does not take it; trying again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// It cannot be reached, or its answer does not read.
    #[error("{0}")]
    Lost(String),
}

/// What a way answers with.
pub type Telling<'a> = BoxFuture<'a, Result<(), Untold>>;

/// A way to tell people.
pub trait Notifier: Send + Sync + 'static {
    /// Tells them once. The caller limits the time; one that was given up may have arrived.
    fn tell<'a>(&'a self, notice: &'a Notice) -> Telling<'a>;

    /// Whether there is nobody to tell, and nobody was to be expected.
    fn is_idle(&self) -> bool {
        false
    }
}
