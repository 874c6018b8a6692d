//! Agents of claw-mesh that have joined this node: kept over a restart, looked at, and asked as the agents of a gateway named
//! `claw-mesh`. What an agent says is text of strangers. It must not know how agents reach this node.

mod asking;
pub mod tokens;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

pub use self::asking::moment;
use self::tokens::Maker;
use super::context::{Context, DURABLE, store_refusal};
use crate::adapters::gateway::{Agent, Seen, State, is_name, joined};
use crate::adapters::keystore::{Credentials, KeyError};
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{
    JOINED_MAX, JOINED_SILENT_MS, JOINED_WORD_MAX_BYTES, JOINED_WORDS_MAX,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal, TimeMs};

/// The agent that stands for whichever of them is free.
pub const ANY: &str = "any";
/// Where the list lies.
const KEPT: &str = "coordinator.nodes";

/// What an agent says that it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Its system.
    pub os: String,
    /// Its processor.
    pub arch: String,
    /// Whether it has a graphics processor.
    pub gpu: bool,
    /// Its memory.
    pub memory_gb: u64,
    /// Its tags.
    pub tags: Option<Vec<String>>,
    /// What it found on its path.
    pub skills: Option<Vec<String>>,
}

/// An agent that wants to join.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Joining {
    /// Its name.
    pub name: String,
    /// Host and port where it waits for messages.
    pub endpoint: String,
    /// What it can do.
    pub capabilities: Option<Capabilities>,
}

/// How an agent says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It takes messages.
    Online,
    /// It has much to do.
    Busy,
    /// It takes none.
    Offline,
}

/// An agent as it is told of.
#[derive(Debug, Clone)]
pub struct View {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub endpoint: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How it is.
    pub status: Status,
    /// When it was heard last.
    pub heard_at: TimeMs,
}

/// Who asks something of the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The owner.
    Admin,
    /// The agent of this id.
    Agent(String),
}

/// What is kept of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Saved {
    id: String,
    name: String,
    endpoint: String,
    capabilities: Capabilities,
    registration: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    saved: Saved,
    status: Status,
    /// Whether somebody answers at its address.
    there: bool,
    /// How often in a row it did not answer well.
    missed: u32,
    /// When it was heard last, by the clock that only goes on.
    heard: u64,
    heard_at: TimeMs,
    under_way: u32,
}

impl Entry {
    fn new(saved: Saved, there: bool, context: &Context) -> Self {
        Self {
            saved,
            status: Status::Online,
            there,
            missed: 0,
            heard: context.clock.steady_ms(),
            heard_at: context.now(),
            under_way: 0,
        }
    }

    fn status(&self, now: u64) -> Status {
        match self.there && now.saturating_sub(self.heard) <= JOINED_SILENT_MS {
            true => self.status,
            false => Status::Offline,
        }
    }

    /// Its name as an agent of the gateway.
    fn agent(&self) -> &str {
        match is_name(&self.saved.name) && self.saved.name != ANY {
            true => &self.saved.name,
            false => &self.saved.id,
        }
    }
}

struct Inner {
    context: Context,
    credentials: Credentials,
    /// Whether agents may be at addresses of one's own.
    private: bool,
    maker: OnceLock<Maker>,
    all: Mutex<BTreeMap<String, Entry>>,
    changing: tokio::sync::Mutex<()>,
    seen: watch::Sender<Seen>,
    turn: std::sync::atomic::AtomicUsize,
    /// Which agent had which question.
    had: Mutex<VecDeque<(String, String)>>,
}

/// The agents that have joined. A clone is the same one.
#[derive(Clone)]
pub struct Coordinator(Arc<Inner>);

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coordinator({})", self.lock().len())
    }
}

fn damaged(error: &serde_json::Error) -> StoreError {
    let why = format!("the list of agents that joined does not read: {error}");
    Refusal::new(Code::StorageFailed, why).into()
}

fn read(c: &rusqlite::Connection) -> Result<Vec<Saved>, StoreError> {
    match kv::get(c, KEPT)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| damaged(&e)),
        None => Ok(Vec::new()),
    }
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

fn unkept(error: &KeyError) -> Refusal {
    Refusal::new(Code::StorageFailed, error.to_string())
}

fn fits(word: &str) -> bool {
    word.len() <= JOINED_WORD_MAX_BYTES && one_line(word, JOINED_WORD_MAX_BYTES) == word
}

/// Whether what an agent says of itself has the size that it may have.
fn is_bounded(name: &str, endpoint: &str, capabilities: &Capabilities) -> bool {
    let lists = [&capabilities.tags, &capabilities.skills];
    let mut lists = lists.into_iter().flatten();
    let words = [name, endpoint, &capabilities.os, &capabilities.arch];
    words.into_iter().all(fits)
        && lists.all(|list| list.len() <= JOINED_WORDS_MAX && list.iter().all(|word| fits(word)))
}

impl Coordinator {
    /// Nobody yet.
    pub fn new(context: &Context, credentials: Credentials) -> Self {
        let private = context.config.coordinator.as_ref();
        let private = private.is_some_and(|c| c.allow_private);
        Self(Arc::new(Inner {
            context: context.clone(),
            credentials,
            private,
            maker: OnceLock::new(),
            all: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            seen: watch::channel(Seen::nothing(State::Ready, context.now().0)).0,
            turn: std::sync::atomic::AtomicUsize::new(0),
            had: Mutex::default(),
        }))
    }

    /// Takes up what is kept, and makes tokens where there are none.
    ///
    /// # Errors
    /// `STORAGE_FAILED` where what is kept does not read.
    pub async fn begin(&self) -> Result<(), Refusal> {
        let context = &self.0.context;
        let random = || {
            let bytes = context.random.bytes::<32>();
            bytes.map_err(|e| Refusal::new(Code::InternalError, e.to_string()))
        };
        let (first, second, now) = (random()?, random()?, context.now());
        let credentials = self.0.credentials.clone();
        let maker = off(move || {
            tokens::admin(&credentials, first, now, false)?;
            Maker::open(&credentials, second, now)
        });
        let maker = maker.await?;
        // It is begun again after a fault, with the same key.
        let _ = self.0.maker.set(maker);
        let all = context.store.read("agents that joined", read).await;
        let all = all.map_err(|e| store_refusal(&e))?;
        let entries = all.into_iter().map(|saved| {
            let entry = Entry::new(saved, false, context);
            (entry.saved.id.clone(), entry)
        });
        *self.lock() = entries.collect();
        self.tells();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.0.context.clock.steady_ms()
    }

    /// Tells the rules which agents can be asked.
    fn tells(&self) {
        let now = self.now();
        let mut agents: Vec<Agent> = {
            let all = self.lock();
            let there = all.values().filter(|e| e.status(now) != Status::Offline);
            let agent = |e: &Entry| Agent {
                id: e.agent().to_owned(),
                name: e.saved.name.clone(),
                model: None,
            };
            there.map(agent).collect()
        };
        if !agents.is_empty() {
            let any = Agent {
                id: ANY.to_owned(),
                name: "whichever is free".to_owned(),
                model: None,
            };
            agents.insert(0, any);
        }
        self.0.seen.send_if_modified(|seen| {
            let changed = seen.agents != agents;
            seen.agents = agents;
            changed
        });
    }

    fn token(&self, saved: &Saved) -> Option<Zeroizing<String>> {
        let maker = self.0.maker.get()?;
        Some(maker.token(&saved.id, saved.registration))
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// `STORAGE_FAILED` where the credentials do not read.
    pub async fn caller(&self, token: &str) -> Result<Option<Caller>, Refusal> {
        let of_agent = {
            let all = self.lock();
            let mut found = None;
            for entry in all.values() {
                let own = self.token(&entry.saved);
                if own.is_some_and(|own| tokens::same(&own, token)) {
                    found = Some(entry.saved.id.clone());
                }
            }
            found
        };
        if let Some(id) = of_agent {
            return Ok(Some(Caller::Agent(id)));
        }
        let (credentials, token) = (self.0.credentials.clone(), Zeroizing::new(token.to_owned()));
        let admin = off(move || tokens::is_admin(&credentials, &token)).await?;
        Ok(admin.then_some(Caller::Admin))
    }

    /// Takes an agent, in place of the one of its name that is at the same address or is gone; gives its id and token.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `NOT_AUTHORIZED`, `CONFLICT` for a name that another has, `BUSY`, or what the store says.
    pub async fn register(
        &self,
        by: &Caller,
        new: Joining,
    ) -> Result<(String, Zeroizing<String>), Refusal> {
        if new.name.is_empty() || new.endpoint.is_empty() {
            return Err(bad("name and endpoint are required"));
        }
        let capabilities = new.capabilities.unwrap_or_default();
        if !is_bounded(&new.name, &new.endpoint, &capabilities) {
            return Err(bad("invalid request body"));
        }
        joined::check(&new.endpoint, self.0.private)
            .await
            .map_err(bad)?;
        let _turn = self.0.changing.lock().await;
        let (now, mut all) = (self.now(), self.lock().clone());
        let before = all.values().find(|e| e.saved.name == new.name);
        if let Some(before) = before
            && before.saved.endpoint != new.endpoint
            && before.status(now) != Status::Offline
        {
            let why = "a node of this name is online at another endpoint";
            return Err(Refusal::new(Code::Conflict, why));
        }
        let before = before.map(|e| e.saved.clone());
        if let Caller::Agent(own) = by
            && before.as_ref().is_none_or(|b| b.id != *own)
        {
            let why = "the token of a node is good for that node alone";
            return Err(Refusal::new(Code::NotAuthorized, why));
        }
        if before.is_none() && all.len() >= JOINED_MAX {
            let why = format!("{JOINED_MAX} nodes are registered; remove one first");
            return Err(Refusal::new(Code::Busy, why));
        }
        let random = self.0.context.random.bytes::<16>();
        let random = random.map_err(|e| Refusal::new(Code::InternalError, e.to_string()))?;
        let random = u128::from_be_bytes(random);
        #[expect(clippy::cast_possible_truncation, reason = "half of random bits")]
        let (one, other) = (random as u64, (random >> 64) as u64);
        let saved = Saved {
            id: before.map_or_else(|| format!("node-{one:016x}"), |b| b.id),
            name: new.name,
            endpoint: new.endpoint,
            capabilities,
            registration: other,
        };
        let (id, token) = (saved.id.clone(), self.token(&saved));
        let token = token.ok_or_else(|| Refusal::new(Code::Busy, "the coordinator starts"))?;
        let entry = Entry::new(saved, true, &self.0.context);
        all.insert(id.clone(), entry.clone());
        self.keep(&all).await?;
        self.lock().insert(id.clone(), entry);
        self.tells();
        Ok((id, token))
    }

    async fn keep(&self, all: &BTreeMap<String, Entry>) -> Result<(), Refusal> {
        let all: Vec<Saved> = all.values().map(|e| e.saved.clone()).collect();
        let write = move |c: &rusqlite::Connection| {
            let text = serde_json::to_vec(&all).map_err(|e| damaged(&e))?;
            kv::put(c, KEPT, &text)
        };
        let store = &self.0.context.store;
        let written = store.write(DURABLE, "agents that joined", write).await;
        written.map_err(|e| store_refusal(&e))
    }

    /// Forgets an agent.
    ///
    /// # Errors
    /// `NOT_FOUND`, or what the store says.
    pub async fn remove(&self, id: &str) -> Result<(), Refusal> {
        let _turn = self.0.changing.lock().await;
        let mut all = self.lock().clone();
        if all.remove(id).is_none() {
            return Err(Refusal::new(Code::NotFound, "node not found"));
        }
        self.keep(&all).await?;
        self.lock().remove(id);
        self.tells();
        Ok(())
    }

    /// An agent says how it is.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub fn heard(&self, id: &str, status: Status) -> Result<(), Refusal> {
        let (now, at) = (self.now(), self.0.context.now());
        {
            let mut all = self.lock();
            let entry = all.get_mut(id);
            let entry = entry.ok_or_else(|| Refusal::new(Code::NotFound, "node not found"))?;
            (entry.status, entry.heard, entry.heard_at) = (status, now, at);
        }
        self.tells();
        Ok(())
    }

    /// Every agent, by id.
    pub fn all(&self) -> Vec<View> {
        let now = self.now();
        let view = |entry: &Entry| View {
            id: entry.saved.id.clone(),
            name: entry.saved.name.clone(),
            endpoint: entry.saved.endpoint.clone(),
            capabilities: entry.saved.capabilities.clone(),
            status: entry.status(now),
            heard_at: entry.heard_at,
        };
        self.lock().values().map(view).collect()
    }

    /// What the rules know an agent by.
    pub fn agent_of(&self, id: &str) -> Option<String> {
        self.lock().get(id).map(|e| e.agent().to_owned())
    }

    /// Which agent had a question.
    pub fn had(&self, key: &str) -> Option<String> {
        let had = self.0.had.lock().unwrap_or_else(PoisonError::into_inner);
        let found = had.iter().rev().find(|(of, _)| of == key);
        found.map(|(_, id)| id.clone())
    }
}

/// Work on the file of the credentials, off the threads of the network.
async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| unkept(&error)),
        Err(error) => Err(Refusal::new(Code::InternalError, error.to_string())),
    }
}
