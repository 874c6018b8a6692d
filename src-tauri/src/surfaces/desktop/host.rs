//! The node inside the application: opened, started, started again when it asks for that, and ended in
//! time. Where it stands is a [`Stage`] that the window follows; nothing here knows of the window.
//!
//! The identity lies in the system's keychain, or in an owner-only file if it does already or a person
//! chooses so when there is no keychain. With a new identity the person gets an operator key in the
//! same place, enrolled at this node.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::stage::{Choice, Stage};
use crate::adapters::clock::{Clock as _, SystemClock};
use crate::adapters::keystore::keychain::Keychain;
use crate::adapters::keystore::{self, FileKeys, KeyError, NamedOperatorKey};
use crate::adapters::paths::{PathError, StateDir};
use crate::adapters::random::SharedRandom;
use crate::adapters::transport::TransportError;
use crate::domain::base::{Code, Refusal};
use crate::node::{Config, Node, OpenError, Opened, Outside, RawConfig, Shared, boot};
use crate::operator::dto::OperatorEnroll;
use crate::operator::{Answer, Door};

/// Builds the HTTP surface over a node.
pub type App = Box<dyn FnOnce(&Shared) -> Router + Send>;
/// Prepares the HTTP surface of a state directory, which the node holds by then; says why it cannot.
pub type MakeApp = fn(&Path) -> Result<App, String>;

/// Ports tried above the usual one when somebody else has that.
const PORTS_TRIED: u16 = 9;

/// A node that runs.
#[derive(Clone)]
pub struct Running {
    /// The API and what lies behind it.
    pub router: Router,
    /// The door.
    pub door: Door,
    /// Cancelled when this run ends.
    pub over: CancellationToken,
}

/// The host of the node.
pub struct Host {
    dir: StateDir,
    app: MakeApp,
    keychain: Keychain,
    stage: watch::Sender<Stage>,
    running: watch::Sender<Option<Running>>,
    choices: (mpsc::Sender<Choice>, AsyncMutex<mpsc::Receiver<Choice>>),
    end: CancellationToken,
    ended: CancellationToken,
    home: Mutex<Home>,
    built: RwLock<Option<Router>>,
}

/// Where new keys are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Keychain,
    File,
}

/// How a run ended.
enum Ended {
    Asked,
    Again,
}

impl Host {
    /// A host for a state directory; nothing runs yet.
    pub fn new(dir: StateDir, app: MakeApp) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(1);
        Arc::new(Self {
            dir,
            app,
            keychain: Keychain::system(),
            stage: watch::channel(Stage::Starting).0,
            running: watch::channel(None).0,
            choices: (sender, AsyncMutex::new(receiver)),
            end: CancellationToken::new(),
            ended: CancellationToken::new(),
            home: Mutex::new(Home::Keychain),
            built: RwLock::new(None),
        })
    }

    /// The state directory.
    pub fn dir(&self) -> &StateDir {
        &self.dir
    }

    /// The stages as they come.
    pub fn stages(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// The running node as it comes and goes.
    pub fn runs(&self) -> watch::Receiver<Option<Running>> {
        self.running.subscribe()
    }

    /// The node, if it runs now.
    pub fn running(&self) -> Option<Running> {
        self.running.borrow().clone()
    }

    /// The node that runs now.
    ///
    /// # Errors
    /// `BUSY` if none does.
    pub fn now(&self) -> Answer<Running> {
        self.running()
            .ok_or_else(|| Refusal::new(Code::Busy, "the node in this window does not run now"))
    }

    /// What a person chose; a second choice while the first is being tried is dropped.
    pub fn choose(&self, choice: Choice) {
        let _ = self.choices.0.try_send(choice);
    }

    /// Tells the node to end; [`Host::ended`] says when it has.
    pub fn end(&self) {
        self.end.cancel();
    }

    /// Cancelled once nothing runs any more.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// The person's key. May wait for the keychain, and so for a person.
    ///
    /// # Errors
    /// `KEY_UNPROTECTED` never; `CONFLICT` with the reason if the key cannot be had from here.
    pub async fn operator_key(&self) -> Answer<NamedOperatorKey> {
        let (keychain, dir) = (self.keychain.clone(), self.dir.clone());
        let opening = tokio::task::spawn_blocking(move || keychain.operator_key(&dir)).await;
        let lost = |_| Refusal::new(Code::InternalError, "the key could not be opened");
        opening.map_err(lost)?.map_err(|error| match error {
            KeyError::Locked { .. } => Refusal::new(
                Code::KeyUnprotected,
                "your key is under a passphrase; decide on the proposal's page, which asks for it",
            ),
            KeyError::NoOperatorKey { .. } => {
                Refusal::new(Code::NotFound, "there is no operator key on this desktop")
            }
            other => Refusal::new(Code::Conflict, other.to_string()),
        })
    }

    /// Runs the node until the application ends; a failure is shown and tried again when asked.
    pub async fn run(self: Arc<Self>) {
        let mut port = None;
        let mut run = 0;
        while !self.end.is_cancelled() {
            run += 1;
            self.stage.send_replace(Stage::Starting);
            let stage = match Box::pin(self.once(&mut port, run)).await {
                Ok(Ended::Asked) => break,
                Ok(Ended::Again) => continue,
                Err(stage) => stage,
            };
            if let Stage::Failed { why } | Stage::Keychain { why, .. } = &stage {
                tracing::warn!("the node does not run: {why}");
            }
            self.stage.send_replace(stage);
            let mut choices = self.choices.1.lock().await;
            tokio::select! {
                () = self.end.cancelled() => break,
                choice = choices.recv() => {
                    let home = match choice {
                        Some(Choice::File) => Home::File,
                        _ => Home::Keychain,
                    };
                    *self.home.lock().unwrap_or_else(PoisonError::into_inner) = home;
                }
            }
        }
        self.stage.send_replace(Stage::Ending);
        self.ended.cancel();
    }

    fn home(&self) -> Home {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn once(&self, port: &mut Option<u16>, run: u64) -> Result<Ended, Stage> {
        let flags = RawConfig {
            port: *port,
            ..RawConfig::default()
        };
        let config = boot::config(&self.dir, flags).map_err(failed)?;
        boot::prepare(&self.dir, &config).map_err(failed)?;
        let chosen = port.is_some()
            || boot::raw_config(&self.dir)
                .ok()
                .flatten()
                .is_some_and(|raw| raw.port.is_some());
        let first = !self.dir.identity_file().exists();
        let node = self.start(config, chosen).await?;
        let run_file = match boot::RunFile::write(&self.dir, &node, SystemClock::default().now()) {
            Ok(written) => written,
            Err(error) => {
                node.stop().await;
                return Err(failed(error));
            }
        };
        let door = Door::new(node.shared().clone());
        if first && let Err(error) = self.enrol(&door).await {
            tracing::warn!("no operator key was made for this desktop: {error}");
        }
        let router = self
            .built
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let over = CancellationToken::new();
        self.running.send_replace(router.map(|router| Running {
            router,
            door,
            over: over.clone(),
        }));
        self.stage.send_replace(Stage::Running {
            name: node.shared().config.name.clone(),
            device_id: node.shared().own_id().to_string(),
            run,
        });
        tracing::info!(address = %node.address(), "the node runs in this window");
        let fell = tokio::select! {
            () = self.end.cancelled() => false,
            () = node.stopped() => true,
        };
        over.cancel();
        self.running.send_replace(None);
        let again = node.restart_reason().filter(|_| fell);
        if !fell {
            self.stage.send_replace(Stage::Ending);
        }
        *port = Some(node.address().port());
        node.stop().await;
        run_file.withdraw();
        match (fell, again) {
            (false, _) => Ok(Ended::Asked),
            (true, Some(why)) => {
                tracing::info!("{why}");
                Ok(Ended::Again)
            }
            (true, None) => Err(failed(
                "the node ended by itself because one of its tasks ended; the log says which",
            )),
        }
    }

    /// Starts the node; on one of the next ports if the usual one is taken and nobody chose it.
    async fn start(&self, config: Config, chosen: bool) -> Result<Node, Stage> {
        let usual = config.port;
        let mut next = (1..=PORTS_TRIED).map_while(|n| usual.checked_add(n));
        let mut config = config;
        loop {
            match Box::pin(self.start_on(config.clone())).await {
                Ok(node) => return Ok(node),
                Err(OpenError::Transport(TransportError::PortInUse { .. })) if !chosen => {
                    let taken = config.port;
                    config.port = next.next().unwrap_or(0);
                    tracing::warn!(taken, "somebody else has the port; trying {}", config.port);
                    if taken == 0 {
                        return Err(failed("no port of this machine can be listened on"));
                    }
                }
                Err(error) => return Err(stage_of(&error)),
            }
        }
    }

    async fn start_on(&self, config: Config) -> Result<Node, OpenError> {
        let mut outside = Outside::real(Arc::new(SystemClock::default()));
        outside.keys = match self.home() {
            Home::Keychain => Arc::new(self.keychain.clone()),
            Home::File => Arc::new(FileKeys),
        };
        let opened = Opened::open_in(config, outside).await?;
        let app = (self.app)(self.dir.root()).map_err(|why| OpenError::File {
            file: self.dir.tokens_file().display().to_string(),
            why,
        })?;
        Node::start(opened, |shared| {
            let router = app(shared);
            *self.built.write().unwrap_or_else(PoisonError::into_inner) = Some(router.clone());
            router
        })
        .await
    }

    /// Makes the key of the person at this desktop, where the identity went, and enrols it here.
    async fn enrol(&self, door: &Door) -> Result<(), String> {
        if !door
            .operators()
            .await
            .map_err(|e| e.to_string())?
            .is_empty()
        {
            return Ok(());
        }
        let random = SharedRandom::system();
        let fresh = random.bytes().map_err(|e| e.to_string())?;
        let (keychain, dir, home) = (self.keychain.clone(), self.dir.clone(), self.home());
        let now = SystemClock::default().now();
        let made = tokio::task::spawn_blocking(move || {
            if let Some(card) = keystore::operator_card(&dir)? {
                return Ok((card.public, card.name));
            }
            let person = std::env::var("USER").unwrap_or_default();
            let person = crate::domain::base::text::one_line(person.trim(), 64);
            let person = match person.is_empty() {
                true => "operator".to_owned(),
                false => person,
            };
            let named = match home {
                Home::Keychain => keychain.create_operator_key(&dir, &person, fresh, now)?,
                Home::File => keystore::create_operator_key(&dir, &person, fresh, now)?,
            };
            Ok::<_, KeyError>((*named.key.public(), named.name))
        });
        let made = made.await.map_err(|e| e.to_string())?;
        let (public, name) = made.map_err(|e| e.to_string())?;
        let enroll = OperatorEnroll {
            public_key: public.to_text(),
            name,
            level: "L2".to_owned(),
            days: None,
        };
        let enrolled = door.operator_enroll(&enroll).await;
        enrolled.map(drop).map_err(|e| e.to_string())
    }
}

fn failed(why: impl std::fmt::Display) -> Stage {
    Stage::Failed {
        why: why.to_string(),
    }
}

fn stage_of(error: &OpenError) -> Stage {
    match error {
        OpenError::Key(KeyError::Keychain { why, absent, fresh }) => Stage::Keychain {
            why: why.clone(),
            file_possible: *fresh,
            absent: *absent,
        },
        OpenError::Path(PathError::InUse { dir, holder }) => failed(format!(
            "{dir} is in use by another ClawMesh node ({holder}). Stop that one, or start this window with another --state-dir."
        )),
        other => failed(other),
    }
}
