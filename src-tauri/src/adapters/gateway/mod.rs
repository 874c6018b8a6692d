//! Gateways of AI assistants: a program that runs agents and takes questions for them over one connection. Whatever a gateway or
//! one of its agents says is text of strangers: it is cut, made fit to be shown and marked by those who use it, and nothing here
//! reads an instruction out of it. What a person has allowed is not known here.

mod found;
pub mod joined;
pub mod openclaw;
mod repeater;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::domain::base::limits::GATEWAY_WORD_MAX_BYTES;
use crate::domain::base::text::is_direction_mark;

pub use self::found::{Found, at_home};
pub use self::repeater::{Repeater, Said};

/// A question to an agent of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The agent, by its id at the gateway.
    pub agent: String,
    /// What names the conversation: questions of one are answered one after the other, and the agent remembers those before.
    pub session: String,
    /// The question.
    pub text: String,
    /// Names the question: the gateway runs what has one key once, however often it comes.
    pub key: String,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_ms: u64,
    /// What is known of an earlier time that it was asked: then it is asked only where it is not run a second time.
    pub before: Option<Before>,
}

/// An earlier time that a question was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The [`Seen::process`] that was asked: another one does not know the key.
    pub process: String,
    /// When, in milliseconds since 1970: a key is kept for some minutes after its run.
    pub at: u64,
}

/// Whether a text names an agent, a conversation or a question.
pub fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    (1..=GATEWAY_WORD_MAX_BYTES).contains(&text.len()) && text.bytes().all(plain)
}

/// A text without what does not show, its lines and tabs as they are.
fn clean(text: &str) -> String {
    let fits = |c: &char| matches!(c, '\n' | '\t') || !c.is_control() && !is_direction_mark(*c);
    text.chars().filter(fits).collect()
}

impl Ask {
    /// Whether its agent, conversation and key are such names.
    pub fn is_named(&self) -> bool {
        let mut names = [&self.agent, &self.session, &self.key].into_iter();
        names.all(|name| is_name(name))
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It was not sent; it is safe to ask elsewhere.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The gateway refused it, and ran nothing.
    #[error("refused: {0}")]
    Refused(String),
    /// It was sent; whether it had effects is not known.
    #[error("it is not known what became of it: {0}")]
    Unknown(String),
    /// The run ended with an error, or its answer cannot be used.
    #[error("failed: {0}")]
    Failed(String),
}

/// An agent of a gateway, as the gateway says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id there.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Its model, where the gateway says.
    pub model: Option<String>,
}

/// How things stand with a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It answers, and is not ready to be asked yet.
    Starting,
    /// It is not connected; it is tried for ever.
    Connecting {
        /// Why the last attempt or connection ended, if there was one.
        why: Option<String>,
    },
    /// A person must let this node in at the gateway.
    PairingRequired {
        /// The request there.
        request: String,
        /// The command that does it, on the gateway's machine.
        command: String,
    },
    /// It takes questions.
    Ready,
    /// A person turned it off here.
    Disabled,
    /// It refuses this node, or is not the one that was added; a person has to do something.
    Failed {
        /// What is wrong, and what to do.
        why: String,
    },
}

/// What is known of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How things stand.
    pub state: State,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// When it was heard last, in milliseconds since 1970.
    pub heard_at: Option<u64>,
    /// Its version.
    pub version: Option<String>,
    /// Its agents; the list is cut.
    pub agents: Vec<Agent>,
    /// How many sessions it has.
    pub sessions: Option<u64>,
    /// Names the process that was heard last: a gateway that was started again has another one, and has forgotten the keys of questions.
    pub process: Option<String>,
}

impl Seen {
    /// Nothing was heard yet.
    pub fn nothing(state: State, since: u64) -> Self {
        Self {
            state,
            since,
            heard_at: None,
            version: None,
            agents: Vec::new(),
            sessions: None,
            process: None,
        }
    }
}

/// What a connection needs that is kept elsewhere.
#[derive(Clone)]
pub struct Secrets {
    /// The seed of the key by which gateways know this node; it is not the node's own.
    pub seed: Zeroizing<[u8; 32]>,
    /// The gateway's token, as a person gave it.
    pub token: Option<Zeroizing<String>>,
    /// The token that the gateway has given to this node.
    pub device_token: Option<Zeroizing<String>>,
    /// The gateway's own id, as it was when it was first met.
    pub identity: Option<String>,
}

/// Keeps what a connection needs.
pub trait Keeper: Send + Sync {
    /// What is kept; it is asked at each attempt, so that a change counts.
    fn secrets(&self) -> BoxFuture<'_, Result<Secrets, String>>;
    /// Keeps the token that the gateway has given, or forgets it.
    fn keep_token(&self, token: Option<Zeroizing<String>>) -> BoxFuture<'_, Result<(), String>>;
    /// Keeps the gateway's own id.
    fn keep_identity(&self, identity: String) -> BoxFuture<'_, Result<(), String>>;
}

/// A gateway.
pub trait Gateway: Send + Sync {
    /// What is known of it, as it changes.
    fn seen(&self) -> watch::Receiver<Seen>;

    /// Keeps it connected until it is stopped.
    fn run(&self, stop: CancellationToken) -> BoxFuture<'_, ()>;

    /// Asks an agent. The answer comes as pieces while it is made, where the gateway tells it in pieces, and whole at the end. Where
    /// `pieces` is full the next one grows meanwhile; where nobody reads them the question goes on. Where the connection ends meanwhile
    /// the answer is waited for at the next one, as long as the gateway knows the key.
    fn ask(
        &self,
        ask: Ask,
        pieces: mpsc::Sender<String>,
    ) -> BoxFuture<'_, Result<String, AskError>>;
}
