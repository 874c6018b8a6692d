//! The programs: their names and the hashes of their tokens in the store, and in memory what each did since the node began.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{
    MCP_ALL_AT_ONCE_MAX, MCP_ALL_PROPOSALS_PER_HOUR_MAX, MCP_AT_ONCE_MAX, MCP_CALLS_KEPT,
    MCP_CLIENTS_MAX, MCP_NAME_MAX_BYTES, MCP_PER_MINUTE_MAX, MCP_PROPOSALS_PER_HOUR_MAX,
};
use crate::domain::base::{AuditKind, Code, Digest, Refusal, TimeMs};
use crate::node::context::rate::PerMinute;
use crate::node::context::{DURABLE, Event, Severity, internal, store_refusal};
use crate::operator::access::fresh;
use crate::operator::{Answer, Door};

/// Where the list lies.
const KEPT: &str = "mcp.clients";
/// The prefix of a token, by which scanners for leaked secrets recognise it.
const PREFIX: &str = "cmc_";
const HOUR_MS: u64 = 3_600_000;

/// A new program.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpAdd {
    /// Its name: small letters, digits and `-`.
    pub name: String,
    /// Who adds it, where nobody is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A program that was added.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct McpAdded {
    /// Its name.
    pub name: String,
    /// Its token; it is shown this once.
    pub token: String,
}

impl fmt::Debug for McpAdded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "McpAdded({}, secret)", self.name)
    }
}

/// A call of a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct McpCallView {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The tool.
    pub tool: String,
    /// Why it was refused; absent where it was answered.
    #[serde(default)]
    pub refused: Option<String>,
}

/// A program.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct McpClientView {
    /// Its name.
    pub name: String,
    /// When it was given a token, in milliseconds since 1970; absent for one of this machine that `clawmesh-node mcp` speaks for.
    #[serde(default)]
    pub added_at: Option<u64>,
    /// When it was heard last since the node began, in milliseconds since 1970.
    #[serde(default)]
    pub heard_at: Option<u64>,
    /// What it says it is, and its version.
    #[serde(default)]
    pub says: Option<String>,
    /// How many tools it called since the node began.
    pub calls: u64,
    /// How many of its messages were refused since then.
    pub refused: u64,
    /// Its last calls, newest first.
    pub recent: Vec<McpCallView>,
}

/// What is kept of a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    name: String,
    token_sha256: String,
    added_at: u64,
}

/// A program that has proven who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: String,
}

#[derive(Debug)]
struct Seen {
    heard_at: TimeMs,
    says: Option<String>,
    calls: u64,
    refused: u64,
    recent: VecDeque<McpCallView>,
    rate: PerMinute,
    places: Arc<Semaphore>,
    wishes: Recently,
}

/// When actions were asked for within the last hour, by the machine's uptime.
#[derive(Debug, Default)]
struct Recently(VecDeque<u64>);

impl Recently {
    /// Whether there are fewer than so many.
    fn has_room(&mut self, most: usize, uptime_ms: u64) -> bool {
        let over = |at: &u64| uptime_ms.saturating_sub(*at) >= HOUR_MS;
        while self.0.front().is_some_and(over) {
            self.0.pop_front();
        }
        self.0.len() < most
    }
}

impl Seen {
    fn new(now: TimeMs) -> Self {
        Self {
            heard_at: now,
            says: None,
            calls: 0,
            refused: 0,
            recent: VecDeque::new(),
            rate: PerMinute::default(),
            places: Arc::new(Semaphore::new(MCP_AT_ONCE_MAX)),
            wishes: Recently::default(),
        }
    }
}

/// The programs of a running node.
#[derive(Debug)]
pub struct Clients {
    seen: Mutex<BTreeMap<String, Seen>>,
    wishes: Mutex<Recently>,
    places: Arc<Semaphore>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            wishes: Mutex::default(),
            places: Arc::new(Semaphore::new(MCP_ALL_AT_ONCE_MAX)),
        }
    }
}

fn busy(code: Code, why: impl Into<String>) -> Refusal {
    Refusal::new(code, why)
}

/// Checks the name of a program.
///
/// # Errors
/// `INVALID_PARAMS`.
fn checked(name: &str) -> Answer<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match (1..=MCP_NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::InvalidParams,
            format!("name: 1 to {MCP_NAME_MAX_BYTES} small letters, digits and -"),
        )),
    }
}

fn read(c: &rusqlite::Connection) -> Result<Vec<Kept>, StoreError> {
    let bytes = kv::get(c, KEPT)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

fn write(c: &rusqlite::Connection, all: &[Kept]) -> Result<(), StoreError> {
    kv::put(c, KEPT, &serde_json::to_vec(all).unwrap_or_default())
}

/// What came of a change of the list.
enum Changed {
    Done,
    Not(Refusal),
}

impl Clients {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of<T>(&self, client: &Client, now: TimeMs, with: impl FnOnce(&mut Seen) -> T) -> T {
        let mut all = self.all();
        let oldest = || all.iter().min_by_key(|(_, seen)| seen.heard_at);
        if all.len() >= 2 * MCP_CLIENTS_MAX
            && !all.contains_key(&client.name)
            && let Some(oldest) = oldest().map(|(name, _)| name.clone())
        {
            all.remove(&oldest);
        }
        let seen = all
            .entry(client.name.clone())
            .or_insert_with(|| Seen::new(now));
        seen.heard_at = now;
        with(seen)
    }

    /// A place for a message of a program, until its answer has begun.
    ///
    /// # Errors
    /// `RATE_EXCEEDED`, or `BUSY` where too many are answered.
    pub fn admit(
        &self,
        client: &Client,
        now: TimeMs,
    ) -> Answer<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        self.of(client, now, |seen| {
            let own = match seen.rate.admits(MCP_PER_MINUTE_MAX, now) {
                false => {
                    let why = format!("more than {MCP_PER_MINUTE_MAX} messages in a minute");
                    Err(busy(Code::RateExceeded, why))
                }
                true => seen.places.clone().try_acquire_owned().map_err(|_| {
                    let why = format!("{MCP_AT_ONCE_MAX} messages of this program are answered");
                    busy(Code::Busy, why)
                }),
            };
            let both = own.and_then(|own| {
                let place = self.places.clone().try_acquire_owned();
                let why = "too many messages of other programs are answered";
                Ok((own, place.map_err(|_| busy(Code::Busy, why))?))
            });
            seen.refused += u64::from(both.is_err());
            both
        })
    }

    /// Notes what a program says it is.
    pub fn says(&self, client: &Client, now: TimeMs, what: String) {
        self.of(client, now, |seen| seen.says = Some(what));
    }

    /// Notes a call.
    pub fn called(&self, client: &Client, now: TimeMs, tool: &str, refused: Option<String>) {
        self.of(client, now, |seen| {
            seen.calls += 1;
            seen.refused += u64::from(refused.is_some());
            seen.recent.truncate(MCP_CALLS_KEPT - 1);
            seen.recent.push_front(McpCallView {
                at: now.0,
                tool: tool.to_owned(),
                refused,
            });
        });
    }

    /// Takes a wish out of the share of an hour, and out of that of all programs.
    ///
    /// # Errors
    /// `RATE_EXCEEDED`.
    pub fn may_wish(&self, client: &Client, now: TimeMs, uptime_ms: u64) -> Answer<()> {
        let mut all = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        self.of(client, now, |seen| {
            let refused = |most: usize, of: &str| {
                let why = format!("{of} may ask for {most} actions in an hour");
                Err(busy(Code::RateExceeded, why))
            };
            if !seen.wishes.has_room(MCP_PROPOSALS_PER_HOUR_MAX, uptime_ms) {
                return refused(MCP_PROPOSALS_PER_HOUR_MAX, "a program");
            }
            if !all.has_room(MCP_ALL_PROPOSALS_PER_HOUR_MAX, uptime_ms) {
                return refused(MCP_ALL_PROPOSALS_PER_HOUR_MAX, "all programs together");
            }
            seen.wishes.0.push_back(uptime_ms);
            all.0.push_back(uptime_ms);
            Ok(())
        })
    }

    fn view(&self, name: String, added_at: Option<u64>) -> McpClientView {
        let all = self.all();
        let seen = all.get(&name);
        McpClientView {
            added_at,
            heard_at: seen.map(|seen| seen.heard_at.0),
            says: seen.and_then(|seen| seen.says.clone()),
            calls: seen.map_or(0, |seen| seen.calls),
            refused: seen.map_or(0, |seen| seen.refused),
            recent: seen.map_or_else(Vec::new, |seen| seen.recent.iter().cloned().collect()),
            name,
        }
    }
}

impl Door {
    /// Whose token this is.
    ///
    /// # Errors
    /// What the store says.
    pub async fn mcp_client(&self, token: &str) -> Answer<Option<Client>> {
        if !token.starts_with(PREFIX) {
            return Ok(None);
        }
        let hash = Digest::of(&[token.as_bytes()]).to_hex();
        let all = self.read("mcp clients", read).await?;
        let found = all.into_iter().find(|kept| kept.token_sha256 == hash);
        Ok(found.map(|kept| Client { name: kept.name }))
    }

    /// A program of this machine that speaks through its user's own command.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a name that is none, `CONFLICT` for that of a program with a token.
    pub async fn mcp_local(&self, name: &str) -> Answer<Client> {
        checked(name)?;
        let all = self.read("mcp clients", read).await?;
        if all.iter().any(|kept| kept.name == name) {
            let why = format!(
                "{name} has a token of its own; give `clawmesh-node mcp` another name with --client"
            );
            return Err(Refusal::new(Code::Conflict, why));
        }
        Ok(Client {
            name: name.to_owned(),
        })
    }

    /// Every program that has a token or was heard since the node began.
    ///
    /// # Errors
    /// What the store says.
    pub async fn mcp_clients(&self, clients: &Clients) -> Answer<Vec<McpClientView>> {
        let kept = self.read("mcp clients", read).await?;
        let mut names: BTreeMap<String, Option<u64>> = clients
            .all()
            .keys()
            .map(|name| (name.clone(), None))
            .collect();
        names.extend(kept.into_iter().map(|k| (k.name, Some(k.added_at))));
        let views = names.into_iter();
        Ok(views
            .map(|(name, added_at)| clients.view(name, added_at))
            .collect())
    }

    /// Adds a program; its token is in the answer and nowhere else.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `CONFLICT` for a name that is taken, `BUSY` where there are too many, or what the store says.
    pub async fn mcp_add(&self, asked: &McpAdd, by: &str) -> Answer<McpAdded> {
        checked(&asked.name)?;
        let random = fresh().map_err(|error| internal(&error.to_string()))?;
        let token = format!("{PREFIX}{random}");
        let new = Kept {
            name: asked.name.clone(),
            token_sha256: Digest::of(&[token.as_bytes()]).to_hex(),
            added_at: self.handles.now().0,
        };
        let said = format!("{by} let the program {} speak MCP", new.name);
        let (name, context) = (new.name.clone(), self.handles.context.clone());
        let detail = json!({"name": format!("mcp/{name}"), "by": by});
        let data = detail.clone();
        let change = move |c: &rusqlite::Connection| {
            let mut all = read(c)?;
            if all.iter().any(|kept| kept.name == new.name) {
                let why = format!(
                    "there is a program {} already; `clawmesh-node mcp remove {}` ends its token",
                    new.name, new.name
                );
                return Ok(Changed::Not(Refusal::new(Code::Conflict, why)));
            }
            if all.len() >= MCP_CLIENTS_MAX {
                let why = format!("{MCP_CLIENTS_MAX} programs have a token; remove one first");
                return Ok(Changed::Not(busy(Code::Busy, why)));
            }
            let subject = format!("mcp/{}", new.name);
            all.push(new);
            write(c, &all)?;
            let kind = AuditKind::CredentialSet;
            context.journal.audit(c, kind, &subject, detail)?;
            Ok(Changed::Done)
        };
        self.mcp_changed(change).await?;
        let journal = &self.handles.journal;
        journal
            .record(Event::CredentialSet, Severity::Warning, &said, data)
            .await;
        Ok(McpAdded { name, token })
    }

    /// Ends the token of a program.
    ///
    /// # Errors
    /// `NOT_FOUND`, or what the store says.
    pub async fn mcp_remove(
        &self,
        clients: &Clients,
        name: &str,
        by: &str,
    ) -> Answer<Vec<McpClientView>> {
        let (gone, context) = (name.to_owned(), self.handles.context.clone());
        let detail = json!({"name": format!("mcp/{name}"), "by": by});
        let data = detail.clone();
        let change = move |c: &rusqlite::Connection| {
            let mut all = read(c)?;
            let before = all.len();
            all.retain(|kept| kept.name != gone);
            if all.len() == before {
                let why = "no program of this name has a token";
                return Ok(Changed::Not(Refusal::new(Code::NotFound, why)));
            }
            write(c, &all)?;
            let (kind, subject) = (AuditKind::CredentialRemoved, format!("mcp/{gone}"));
            context.journal.audit(c, kind, &subject, detail)?;
            Ok(Changed::Done)
        };
        self.mcp_changed(change).await?;
        clients.all().remove(name);
        let said = format!("{by} ended the token of the program {name}");
        let journal = &self.handles.journal;
        journal
            .record(Event::CredentialRemoved, Severity::Warning, &said, data)
            .await;
        self.mcp_clients(clients).await
    }

    async fn mcp_changed(
        &self,
        change: impl FnOnce(&rusqlite::Connection) -> Result<Changed, StoreError> + Send + 'static,
    ) -> Answer<()> {
        let changed = self.handles.store.write(DURABLE, "mcp clients", change);
        match changed.await.map_err(|e| store_refusal(&e))? {
            Changed::Done => Ok(()),
            Changed::Not(refusal) => Err(refusal),
        }
    }
}
