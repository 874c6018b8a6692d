//! The gateways of this node: saved, connected for ever while they are enabled, told of, and asked. What a gateway or an agent of it
//! says is text of strangers (taint `llm`): it is handed on as data, and nothing here makes a draft or a decision of it.

mod keeping;
mod saved;
mod telling;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::keeping::{Keeping, off, own_name, token_name};
use self::saved::Saved;
use super::context::{Context, DURABLE, Event, Severity, store_refusal};
use crate::adapters::discovery;
use crate::adapters::gateway::openclaw::{self, OpenClaw};
use crate::adapters::gateway::{Ask, AskError, Gateway, Seen, State, at_home};
use crate::adapters::http_client::Reach;
use crate::adapters::keystore::{Credentials, credential_secret};
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{GATEWAY_URL_MAX_BYTES, GATEWAYS_MAX};
use crate::domain::base::{AuditKind, Code, Refusal};

/// The name of the gateway whose agents are those of claw-mesh that have joined this node.
pub const JOINED: &str = "claw-mesh";

/// A gateway to add.
pub struct Added {
    /// Its address; absent for the one that OpenClaw of this user and machine is configured for.
    pub url: Option<String>,
    /// Its name; its host where none is given.
    pub name: Option<String>,
    /// Its token; where none is given, the one of OpenClaw's configuration, for the gateway that this names alone.
    pub token: Option<Zeroizing<String>>,
    /// A person knows that token and texts go over a network unencrypted.
    pub insecure: bool,
}

/// A change of a gateway.
#[derive(Debug, Default)]
pub struct Changed {
    /// Its new name.
    pub name: Option<String>,
    /// Whether it is connected.
    pub enabled: Option<bool>,
}

/// How a gateway stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its id here.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// When it was added, in milliseconds since 1970.
    pub added_at: u64,
    /// What is known of it.
    pub seen: Seen,
}

/// A gateway that was found; nothing proves what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearby {
    /// Its address.
    pub url: String,
    /// What it is called, or the file that names it.
    pub name: String,
    /// Whether it was found in the configuration of OpenClaw on this machine.
    pub here: bool,
    /// Whether its token was found too.
    pub has_token: bool,
}

/// How long announcements on the LAN are waited for.
const LISTENS: Duration = Duration::from_secs(2);

struct Live {
    saved: Saved,
    gateway: Option<Arc<dyn Gateway>>,
    openclaw: Option<Arc<OpenClaw>>,
    stop: CancellationToken,
    /// Since when it is turned off, in milliseconds since 1970.
    off_since: u64,
}

impl Live {
    fn status(&self) -> Status {
        let seen = match &self.gateway {
            Some(gateway) => gateway.seen().borrow().clone(),
            None => Seen::nothing(State::Disabled, self.off_since),
        };
        Status {
            id: self.saved.id.clone(),
            name: self.saved.name.clone(),
            url: self.saved.url.clone(),
            added_at: self.saved.added_at,
            seen,
        }
    }
}

struct Inner {
    context: Context,
    credentials: Credentials,
    variables: fn(&str) -> Option<String>,
    all: Mutex<BTreeMap<String, Live>>,
    changing: tokio::sync::Mutex<()>,
    looking: tokio::sync::Mutex<()>,
}

/// The gateways of a node.
#[derive(Clone)]
pub struct Gateways(Arc<Inner>);

impl std::fmt::Debug for Gateways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gateways({})", self.lock().len())
    }
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

fn unknown(gateway: &str) -> Refusal {
    let shown = crate::domain::base::text::one_line(gateway, 64);
    let why = format!("there is no gateway {shown}: see `clawmesh-node gateway list`");
    Refusal::new(Code::NotFound, why)
}

fn unkept(why: String) -> Refusal {
    Refusal::new(Code::StorageFailed, why)
}

impl Gateways {
    /// None yet.
    pub fn new(
        context: &Context,
        credentials: Credentials,
        variables: fn(&str) -> Option<String>,
    ) -> Self {
        Self(Arc::new(Inner {
            context: context.clone(),
            credentials,
            variables,
            all: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Live>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects those that are saved and enabled.
    pub async fn begin(&self) {
        match self.0.context.store.read("gateways", saved::read).await {
            Ok(all) => all.into_iter().for_each(|one| self.live(one)),
            Err(error) => tracing::error!("gateways are not connected: {error}"),
        }
    }

    /// Makes a gateway what is saved of it.
    fn live(&self, saved: Saved) {
        let stop = self.0.context.tasks.stop().child_token();
        let openclaw = match (saved.enabled, openclaw::address(&saved.url)) {
            (true, Ok(address)) => Some(Arc::new(OpenClaw::new(openclaw::Parts {
                id: saved.id.clone(),
                address,
                display_name: format!("ClawMesh {}", self.0.context.config.name),
                keeper: Arc::new(Keeping {
                    id: saved.id.clone(),
                    context: self.0.context.clone(),
                    credentials: self.0.credentials.clone(),
                }),
                clock: self.0.context.clock.clone(),
                random: self.0.context.random.clone(),
            }))),
            _ => None,
        };
        let gateway = openclaw.clone().map(|one| one as Arc<dyn Gateway>);
        self.holds(saved, gateway, openclaw, stop);
    }

    fn holds(
        &self,
        saved: Saved,
        gateway: Option<Arc<dyn Gateway>>,
        openclaw: Option<Arc<OpenClaw>>,
        stop: CancellationToken,
    ) {
        if let Some(gateway) = gateway.clone() {
            let tasks = &self.0.context.tasks;
            let seen = gateway.seen();
            let (until, of) = (stop.clone(), saved.id.clone());
            let telling = telling::run(self.clone(), of, seen, stop.clone());
            tasks.passing("gateway events", telling);
            tasks.passing("gateway", async move { gateway.run(until).await });
        }
        let id = saved.id.clone();
        let live = Live {
            saved,
            gateway,
            openclaw,
            stop,
            off_since: self.0.context.now().0,
        };
        if let Some(before) = self.lock().insert(id, live) {
            before.stop.cancel();
        }
    }

    /// Takes a gateway that is not saved, such as a twin.
    pub fn take(&self, id: &str, gateway: Arc<dyn Gateway>) {
        let saved = Saved {
            id: id.to_owned(),
            name: id.to_owned(),
            url: String::new(),
            enabled: true,
            added_at: self.0.context.now().0,
            identity: None,
        };
        let stop = self.0.context.tasks.stop().child_token();
        self.holds(saved, Some(gateway), None, stop);
    }

    /// Every gateway, by id.
    pub fn all(&self) -> Vec<Status> {
        self.lock().values().map(Live::status).collect()
    }

    /// One of them, by its id or name.
    pub fn one(&self, gateway: &str) -> Option<Status> {
        self.with(gateway, Live::status)
    }

    fn with<T>(&self, gateway: &str, look: impl FnOnce(&Live) -> T) -> Option<T> {
        let all = self.lock();
        let named = || all.values().find(|live| live.saved.name == gateway);
        all.get(gateway).or_else(named).map(look)
    }

    /// Asks an agent of a gateway, which is named by its id or name. See [`Gateway::ask`].
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        gateway: &str,
        ask: Ask,
        pieces: mpsc::Sender<String>,
    ) -> Result<String, AskError> {
        let not_sent = |why: &str| AskError::NotSent(why.to_owned());
        let found = self.with(gateway, |live| live.gateway.clone());
        let found = found.ok_or_else(|| not_sent("there is no such gateway"))?;
        let found = found.ok_or_else(|| not_sent("the gateway is disabled"))?;
        found.ask(ask, pieces).await
    }

    /// The credential of a gateway has changed: one that waits tries again at once.
    pub fn credential_changed(&self, name: &str) {
        let all = self.lock();
        let is = |live: &&Live| token_name(&live.saved.id) == name;
        all.values()
            .filter(is)
            .filter_map(|live| live.openclaw.as_ref())
            .for_each(|one| one.again());
    }

    /// Gateways on this machine and, where the node looks there at all, on the LAN. One look at a time.
    pub async fn found(&self) -> Vec<Nearby> {
        let _turn = self.0.looking.lock().await;
        let variables = self.0.variables;
        let home = tokio::task::spawn_blocking(move || at_home(variables)).await;
        let here = home.ok().flatten().map(|home| Nearby {
            name: home.place.display().to_string(),
            has_token: home.token.is_some(),
            url: home.url,
            here: true,
        });
        let mut found: Vec<Nearby> = here.into_iter().collect();
        if self.0.context.config.discovery {
            match discovery::gateways(LISTENS).await {
                Ok(all) => found.extend(all.into_iter().map(|one| Nearby {
                    url: one.url,
                    name: one.name,
                    here: false,
                    has_token: false,
                })),
                Err(error) => tracing::info!("{error}"),
            }
        }
        found
    }

    /// Adds a gateway and connects it.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for an address, name or token that cannot be used, `CONFLICT` for one that is there, `BUSY` where there are
    /// too many, `NOT_FOUND` where none is named and none configured, `STORAGE_FAILED`.
    pub async fn add(&self, new: Added, by: &str) -> Result<Status, Refusal> {
        let _turn = self.0.changing.lock().await;
        let variables = self.0.variables;
        let home = tokio::task::spawn_blocking(move || at_home(variables)).await;
        let home = home.ok().flatten();
        let url = match (&new.url, &home) {
            (Some(url), _) => url.trim().to_owned(),
            (None, Some(home)) => home.url.clone(),
            (None, None) => {
                let why = "OpenClaw is not set up for the user of this node: name the gateway's address, as in ws://127.0.0.1:18789";
                return Err(Refusal::new(Code::NotFound, why));
            }
        };
        if url.len() > GATEWAY_URL_MAX_BYTES {
            return Err(bad(format!("url: at most {GATEWAY_URL_MAX_BYTES} bytes")));
        }
        let address = openclaw::address(&url).map_err(|why| bad(format!("url: {why}")))?;
        if !address.tls && address.reach() != Reach::Loopback && !new.insecure {
            return Err(bad(
                "url: ws:// to another machine sends the token and every text unencrypted. Use wss://, or an SSH tunnel to \
                 ws://127.0.0.1; where the network itself is encrypted (WireGuard, Tailscale), say so with --insecure",
            ));
        }
        let url = openclaw::url(&address);
        let name = saved::named(new.name.as_deref().unwrap_or(&address.host))?;
        let of_home = home
            .filter(|home| home.url == url)
            .and_then(|home| home.token);
        let token = new.token.filter(|token| !token.is_empty()).or(of_home);
        if let Some(token) = &token {
            credential_secret(token).map_err(|why| bad(format!("token: {why}")))?;
        }
        let all = self.read().await?;
        saved::is_free(&name, None, &all)?;
        if let Some(same) = all.iter().find(|one| one.url == url) {
            let why = format!("{} ({}) has this address already", same.name, same.id);
            return Err(Refusal::new(Code::Conflict, why));
        }
        if all.len() >= GATEWAYS_MAX {
            let why = format!("there are {GATEWAYS_MAX} gateways; remove one first");
            return Err(Refusal::new(Code::Busy, why));
        }
        let one = Saved {
            id: saved::id_of(&name, &all),
            name,
            url,
            enabled: true,
            added_at: self.0.context.now().0,
            identity: None,
        };
        self.forget(&one.id).await?;
        if let Some(token) = token {
            let (credentials, kept) = (self.0.credentials.clone(), token_name(&one.id));
            let now = self.0.context.now();
            off(move || credentials.set(&kept, &token, now))
                .await
                .map_err(unkept)?;
        }
        let said = format!("{by} added the gateway {} ({})", one.name, one.url);
        let kinds = (AuditKind::GatewayAdded, Event::GatewayAdded);
        let new = one.clone();
        self.written(kinds, &one, (by, &said), move |all| all.push(new))
            .await?;
        let id = one.id.clone();
        self.live(one);
        self.one(&id).ok_or_else(|| unknown(&id))
    }

    /// Renames, enables or disables a gateway.
    ///
    /// # Errors
    /// `NOT_FOUND`, `INVALID_PARAMS`, `CONFLICT` for a name that is taken, `STORAGE_FAILED`.
    pub async fn change(
        &self,
        gateway: &str,
        change: Changed,
        by: &str,
    ) -> Result<Status, Refusal> {
        let _turn = self.0.changing.lock().await;
        let all = self.read().await?;
        let before = found(&all, gateway)?;
        let mut one = before.clone();
        if let Some(name) = &change.name {
            one.name = saved::named(name)?;
            saved::is_free(&one.name, Some(&one.id), &all)?;
        }
        one.enabled = change.enabled.unwrap_or(one.enabled);
        if one == before {
            return self.one(&one.id).ok_or_else(|| unknown(gateway));
        }
        let mut did = Vec::new();
        if one.name != before.name {
            let (old, new) = (&before.name, &one.name);
            did.push(format!("renamed the gateway {old} to {new}"));
        }
        if one.enabled != before.enabled {
            let how = if one.enabled { "enabled" } else { "disabled" };
            did.push(format!("{how} the gateway {}", one.name));
        }
        let said = format!("{by} {}", did.join(" and "));
        let kinds = (AuditKind::GatewayChanged, Event::GatewayChanged);
        let new = one.clone();
        self.written(kinds, &one, (by, &said), move |all| {
            for kept in all.iter_mut().filter(|kept| kept.id == new.id) {
                // Its identity may have been kept meanwhile.
                (kept.name, kept.enabled) = (new.name.clone(), new.enabled);
            }
        })
        .await?;
        let id = one.id.clone();
        if one.enabled == before.enabled {
            if let Some(live) = self.lock().get_mut(&id) {
                live.saved.name = one.name;
            }
        } else {
            telling::is_over(&self.0.context, &one.id);
            self.live(one);
        }
        self.one(&id).ok_or_else(|| unknown(gateway))
    }

    /// Removes a gateway, with its tokens.
    ///
    /// # Errors
    /// `NOT_FOUND`, `STORAGE_FAILED`.
    pub async fn remove(&self, gateway: &str, by: &str) -> Result<(), Refusal> {
        let _turn = self.0.changing.lock().await;
        let one = found(&self.read().await?, gateway)?;
        let said = format!("{by} removed the gateway {} ({})", one.name, one.url);
        let kinds = (AuditKind::GatewayRemoved, Event::GatewayRemoved);
        let id = one.id.clone();
        self.written(kinds, &one, (by, &said), move |all| {
            all.retain(|kept| kept.id != id);
        })
        .await?;
        if let Some(live) = self.lock().remove(&one.id) {
            live.stop.cancel();
        }
        telling::is_over(&self.0.context, &one.id);
        self.forget(&one.id).await
    }

    async fn read(&self) -> Result<Vec<Saved>, Refusal> {
        let read = self.0.context.store.read("gateways", saved::read).await;
        read.map_err(|error| store_refusal(&error))
    }

    /// Forgets the tokens of an id.
    async fn forget(&self, id: &str) -> Result<(), Refusal> {
        let names = [token_name(id), own_name(id)];
        let dir = StateDir::at(&self.0.context.state_dir());
        let forgotten = off(move || {
            for name in names {
                Credentials::remove(&dir, &name)?;
            }
            Ok(())
        });
        forgotten.await.map_err(unkept)
    }

    async fn written(
        &self,
        (kind, event): (AuditKind, Event),
        one: &Saved,
        (by, said): (&str, &str),
        change: impl FnOnce(&mut Vec<Saved>) + Send + 'static,
    ) -> Result<(), Refusal> {
        let context = &self.0.context;
        let detail = json!({"gateway": one.id, "name": one.name, "url": one.url, "by": by});
        let (inside, data, subject) = (context.clone(), detail.clone(), one.id.clone());
        let write = move |c: &rusqlite::Connection| {
            let mut all = saved::read(c)?;
            change(&mut all);
            saved::write(c, &all)?;
            inside.journal.audit(c, kind, &subject, detail)
        };
        let stored = context.store.write(DURABLE, "gateways", write).await;
        stored.map_err(|error| store_refusal(&error))?;
        context
            .journal
            .record(event, Severity::Info, said, data)
            .await;
        Ok(())
    }
}

fn found(all: &[Saved], gateway: &str) -> Result<Saved, Refusal> {
    let by_id = all.iter().find(|one| one.id == gateway);
    let found = by_id.or_else(|| all.iter().find(|one| one.name == gateway));
    found.cloned().ok_or_else(|| unknown(gateway))
}
