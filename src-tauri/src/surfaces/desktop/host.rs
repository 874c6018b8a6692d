//! The node inside the application: opened, started, started again when it asks for that, and ended in
//! time. Where it stands is a [`Stage`] that the window follows; nothing here knows of the window.
//!
//! The identity lies in the system's keychain, or in an owner-only file if it does already or a person
//! chooses so when there is no keychain; `operator_key` keeps the key of this desktop's person. Whatever happens
//! to the node, and be it a panic, [`Host::ended`] comes: an exit never waits for nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::operator_key::{self, Home};
use super::stage::{Choice, Stage};
use crate::adapters::clock::{Clock as _, SharedClock, SystemClock};
use crate::adapters::keystore::keychain::Keychain;
use crate::adapters::keystore::{FileKeys, KeyError, NamedOperatorKey};
use crate::adapters::marks::MarkPlaces;
use crate::adapters::paths::{PathError, StateDir};
use crate::adapters::transport::TransportError;
use crate::domain::base::{Code, Refusal};
use crate::node::ending::Ending;
use crate::node::{Config, Node, OpenError, Opened, Outside, RawConfig, hosting, refused};
use crate::operator::{Answer, Door};

/// Builds the HTTP surface over a node.
pub type App = Box<dyn FnOnce(Door) -> Router + Send>;
/// Prepares the HTTP surface of a state directory, which the node holds by then; says why it cannot.
pub type MakeApp = fn(&Path) -> Result<App, String>;

/// Ports tried above the usual one when that is taken.
const PORTS_TRIED: u16 = 9;

/// A node that runs.
#[derive(Clone)]
pub(super) struct Running {
    /// The API and what lies behind it.
    pub router: Router,
    /// The door.
    pub door: Door,
    /// Cancelled when this run ends.
    pub over: CancellationToken,
}

/// The host of the node.
pub(super) struct Host {
    dir: StateDir,
    app: MakeApp,
    keychain: Keychain,
    stage: watch::Sender<Stage>,
    running: watch::Sender<Option<Running>>,
    choices: (mpsc::Sender<Choice>, AsyncMutex<mpsc::Receiver<Choice>>),
    end: CancellationToken,
    ended: CancellationToken,
    home: Mutex<Home>,
    nobody: Mutex<Option<String>>,
    built: RwLock<Option<Router>>,
    ending: Ending,
}

/// How a run ended.
enum Ended {
    Asked,
    Again,
}

impl Host {
    /// A host for a state directory, with the system's keychain; nothing runs yet.
    pub(super) fn new(dir: StateDir, app: MakeApp) -> Arc<Self> {
        Self::with(dir, app, Keychain::system())
    }

    fn with(dir: StateDir, app: MakeApp, keychain: Keychain) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(1);
        Arc::new(Self {
            dir,
            app,
            keychain,
            stage: watch::channel(Stage::Starting).0,
            running: watch::channel(None).0,
            choices: (sender, AsyncMutex::new(receiver)),
            end: CancellationToken::new(),
            ended: CancellationToken::new(),
            home: Mutex::new(Home::Keychain),
            nobody: Mutex::new(None),
            built: RwLock::new(None),
            ending: Ending::default(),
        })
    }

    /// The state directory.
    pub(super) fn dir(&self) -> &StateDir {
        &self.dir
    }

    /// The stages as they come.
    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// The running node as it comes and goes.
    pub(super) fn runs(&self) -> watch::Receiver<Option<Running>> {
        self.running.subscribe()
    }

    /// The node, if it runs now.
    pub(super) fn running(&self) -> Option<Running> {
        self.running.borrow().clone()
    }

    /// The node that runs now.
    ///
    /// # Errors
    /// `BUSY` if none does.
    pub(super) fn now(&self) -> Answer<Running> {
        self.running()
            .ok_or_else(|| Refusal::new(Code::Busy, "the node in this window does not run now"))
    }

    /// A person's choices; a second one while the first is being tried is dropped.
    pub(super) fn choose(&self, choice: Choice) {
        let _ = self.choices.0.try_send(choice);
    }

    /// Tells the node to end; [`Host::ended`] says when it has.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// What a signal does about the node that runs here.
    pub(super) fn ending_by_signal(&self) -> Ending {
        self.ending.clone()
    }

    /// Cancelled once the application has been told to end.
    pub(super) fn ending(&self) -> &CancellationToken {
        &self.end
    }

    /// Cancelled once nothing runs any more.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Why the person at this desktop cannot decide yet, if that is so.
    pub(super) fn nobody(&self) -> Option<String> {
        self.nobody
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The person's key. May wait for the keychain, and so for a person.
    ///
    /// # Errors
    /// `KEY_UNPROTECTED` never; `CONFLICT` with the reason if the key cannot be had from here.
    pub(super) async fn operator_key(&self) -> Answer<NamedOperatorKey> {
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
    pub(super) async fn run(self: Arc<Self>) {
        let _over = Over(self.clone());
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
    }

    fn home(&self) -> Home {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self, flags: RawConfig) -> Result<Config, Stage> {
        let config = hosting::config(&self.dir, flags).map_err(failed)?;
        hosting::prepare(&self.dir, &config).map_err(failed)?;
        operator_key::begin(&self.dir).map_err(failed)?;
        Ok(config)
    }

    async fn once(&self, port: &mut Option<u16>, run: u64) -> Result<Ended, Stage> {
        let flags = RawConfig {
            port: *port,
            ..RawConfig::default()
        };
        let config = match self.settings(flags) {
            Ok(config) => config,
            Err(stage) => {
                let clock: SharedClock = Arc::new(SystemClock::default());
                let left = refused::make_safe(&self.dir, Vec::new(), &clock).await;
                return Err(match stage {
                    Stage::Failed { why } if !left.is_empty() => {
                        failed(format!("{why}; and {}", left.join("; ")))
                    }
                    stage => stage,
                });
            }
        };
        let chosen = port.is_some()
            || hosting::raw_config(&self.dir)
                .ok()
                .flatten()
                .is_some_and(|raw| raw.port.is_some());
        let node = self.start(config, chosen).await?;
        let run_file = match hosting::RunFile::write(&self.dir, &node, SystemClock::default().now())
        {
            Ok(written) => written,
            Err(error) => {
                node.stop().await;
                return Err(failed(error));
            }
        };
        let door = node.door();
        self.see_to_the_person(&door).await;
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
            name: node.context().config.name.clone(),
            device_id: node.context().own_id().to_string(),
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
        run_file.withdraw(&node).await;
        node.stop().await;
        self.ending.concerns(None);
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

    /// The keychain may wait for a person who has gone to end the application instead.
    async fn see_to_the_person(&self, door: &Door) {
        let finish = operator_key::finish(door, &self.keychain, &self.dir, self.home());
        let done = tokio::select! {
            () = self.end.cancelled() => return,
            done = finish => done,
        };
        let why = done.err().map(|why| {
            format!(
                "Nobody at this desktop can decide yet: {why}. The next start tries again to make the operator key."
            )
        });
        if let Some(why) = &why {
            tracing::warn!("{why}");
        }
        *self.nobody.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Starts the node; on one of the next ports if the usual one is taken and was not chosen by a person.
    async fn start(&self, config: Config, chosen: bool) -> Result<Node, Stage> {
        let usual = config.port;
        let mut next = (1..=PORTS_TRIED).map_while(|n| usual.checked_add(n));
        let mut config = config;
        loop {
            match Box::pin(self.start_on(config.clone())).await {
                Ok(node) => return Ok(node),
                Err(error) if !chosen && is_taken(&error) => {
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
        outside.marks = MarkPlaces::of_machine(|name| std::env::var_os(name));
        outside.keys = match self.home() {
            Home::Keychain => Arc::new(self.keychain.clone()),
            Home::File => Arc::new(FileKeys),
        };
        let opened = Opened::open_in(config, outside).await?;
        let app = match (self.app)(self.dir.root()) {
            Ok(app) => app,
            Err(why) => {
                let left = opened.give_up().await;
                let file = self.dir.tokens_file().display().to_string();
                return Err(OpenError::File { file, why }.leaving(left));
            }
        };
        self.ending.concerns(Some(&opened));
        let started = Node::serve(opened, |door| {
            let router = app(door);
            *self.built.write().unwrap_or_else(PoisonError::into_inner) = Some(router.clone());
            router
        })
        .await;
        if started.is_err() {
            self.ending.concerns(None);
        }
        started
    }
}

/// Says that nothing runs any more when the run is over, by its return or by a panic in it.
struct Over(Arc<Host>);

impl Drop for Over {
    fn drop(&mut self) {
        let host = &self.0;
        host.running.send_replace(None);
        if !host.end.is_cancelled() {
            host.stage.send_replace(failed(
                "the node came to a sudden end by a fault of the program, which the log shows. Quit and start ClawMesh again.",
            ));
        }
        host.ended.cancel();
    }
}

fn failed(why: impl std::fmt::Display) -> Stage {
    Stage::Failed {
        why: why.to_string(),
    }
}

fn is_taken(error: &OpenError) -> bool {
    matches!(
        error.cause(),
        OpenError::Transport(TransportError::PortInUse { .. })
    )
}

fn stage_of(error: &OpenError) -> Stage {
    match error.cause() {
        OpenError::Key(KeyError::Keychain { why, absent, fresh }) => Stage::Keychain {
            why: why.clone(),
            file_possible: *fresh,
            absent: *absent,
        },
        OpenError::Path(PathError::InUse { dir, holder }) => failed(format!(
            "{dir} is in use by another ClawMesh node ({holder}). Stop that one, or start this window with another --state-dir."
        )),
        _ => failed(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::BTreeMap;
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;
    use crate::adapters::keystore::keychain::{Vault, VaultError};
    use crate::adapters::keystore::{self, operator_card};
    use crate::domain::base::TimeMs;
    use crate::node::context::tasks::Tasks;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// What happens when the person's key is put into the keychain.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fate {
        Kept,
        Refused,
        Panics,
    }

    #[derive(Clone)]
    struct Chain(Arc<Mutex<BTreeMap<String, String>>>, Fate);

    impl Vault for Chain {
        fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, VaultError> {
            Ok(self
                .0
                .lock()
                .unwrap()
                .get(name)
                .cloned()
                .map(Zeroizing::new))
        }

        fn set(&self, name: &str, secret: &str) -> Result<(), VaultError> {
            let person = name.starts_with("operator:");
            match self.1 {
                Fate::Refused if person => Err(VaultError::Locked("closed".to_owned())),
                Fate::Panics if person => panic!("killed"),
                _ => {
                    let mut kept = self.0.lock().unwrap();
                    kept.insert(name.to_owned(), secret.to_owned());
                    Ok(())
                }
            }
        }

        fn remove(&self, name: &str) -> Result<(), VaultError> {
            self.0.lock().unwrap().remove(name);
            Ok(())
        }
    }

    struct Place {
        _temp: tempfile::TempDir,
        dir: StateDir,
        kept: Arc<Mutex<BTreeMap<String, String>>>,
    }

    fn place(config: &str) -> Place {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(&temp.path().join("state"));
        dir.prepare().unwrap();
        let text = format!("host = '127.0.0.1'\nport = 0\ndiscovery = false\n{config}");
        std::fs::write(dir.config_file(), text).unwrap();
        Place {
            _temp: temp,
            dir,
            kept: Arc::default(),
        }
    }

    impl Place {
        fn start(&self, fate: Fate) -> (Arc<Host>, Tasks) {
            let keychain = Keychain::behind(Chain(self.kept.clone(), fate));
            let host = Host::with(
                self.dir.clone(),
                |_| Ok(Box::new(|_| Router::new())),
                keychain,
            );
            let tasks = Tasks::new();
            tasks.passing("node", host.clone().run());
            (host, tasks)
        }

        /// Starts, waits until it runs, looks, and ends.
        async fn with<T>(&self, fate: Fate, look: impl AsyncFnOnce(Arc<Host>) -> T) -> T {
            let (host, _tasks) = self.start(fate);
            let mut stages = host.stages();
            let runs = stages.wait_for(|s| !matches!(s, Stage::Starting));
            let stage = tokio::time::timeout(PATIENCE, runs)
                .await
                .unwrap()
                .unwrap()
                .clone();
            assert!(matches!(stage, Stage::Running { .. }), "{stage:?}");
            let seen = look(host.clone()).await;
            host.end();
            tokio::time::timeout(PATIENCE, host.ended().cancelled())
                .await
                .unwrap();
            seen
        }

        async fn people(&self, fate: Fate) -> Vec<String> {
            self.with(fate, async |host| {
                let people = host.now().unwrap().door.operators().await.unwrap();
                people.into_iter().map(|p| p.operator_id).collect()
            })
            .await
        }
    }

    #[tokio::test]
    async fn what_the_first_start_could_not_make_a_later_one_makes_once() {
        let place = place("");
        let why = place
            .with(Fate::Refused, async |host| {
                let people = host.now().unwrap().door.operators().await.unwrap();
                assert!(people.is_empty());
                host.nobody()
            })
            .await;
        assert!(
            why.unwrap().contains("closed"),
            "it is said, not only logged"
        );
        assert!(place.dir.identity_file().exists());
        let people = place.people(Fate::Kept).await;
        let card = operator_card(&place.dir).unwrap().unwrap();
        assert_eq!(people, [card.id.to_string()]);
        assert_eq!(place.people(Fate::Kept).await, people);
        assert_eq!(
            place.kept.lock().unwrap().len(),
            2,
            "one device, one person"
        );
    }

    #[tokio::test]
    async fn a_start_cut_short_between_identity_and_person_is_finished_by_the_next() {
        let place = place("");
        let (host, _tasks) = place.start(Fate::Kept);
        let mut runs = host.runs();
        // As a kill leaves it: identity there, and the person as far as it came.
        let made = tokio::time::timeout(PATIENCE, runs.wait_for(Option::is_some));
        drop(made.await.unwrap().unwrap());
        host.end();
        host.ended().cancelled().await;
        for file in [place.dir.operator_key_file(), place.dir.database()] {
            std::fs::remove_file(file).unwrap();
        }
        place
            .kept
            .lock()
            .unwrap()
            .retain(|name, _| name.starts_with("device:"));
        assert_eq!(place.people(Fate::Kept).await.len(), 1);
        // The key is there and not enrolled.
        std::fs::remove_file(place.dir.database()).unwrap();
        let card = operator_card(&place.dir).unwrap().unwrap();
        assert_eq!(place.people(Fate::Kept).await, [card.id.to_string()]);
    }

    #[tokio::test]
    async fn a_directory_of_somebody_else_gets_nobody() {
        // Begun by the headless node: its owner has chosen who decides.
        let headless = place("");
        keystore::load_or_create_device_key(&headless.dir, [7; 32], TimeMs(1)).unwrap();
        assert!(headless.people(Fate::Kept).await.is_empty());
        let demo = place("demo = true\n");
        assert!(demo.people(Fate::Kept).await.is_empty());
        assert!(demo.people(Fate::Kept).await.is_empty());
    }

    #[tokio::test]
    async fn a_revoked_person_is_not_made_known_again() {
        let place = place("");
        let people = place.people(Fate::Kept).await;
        let id = people[0].clone();
        place
            .with(Fate::Kept, async |host| {
                let door = host.now().unwrap().door;
                door.operator_revoke(&id, None).await.unwrap();
            })
            .await;
        std::fs::remove_file(place.dir.operator_key_file()).unwrap();
        assert_eq!(place.people(Fate::Kept).await, people, "no second person");
        assert!(!place.dir.operator_key_file().exists());
    }

    #[tokio::test]
    async fn a_panic_in_the_node_lets_the_application_end() {
        let place = place("");
        let keychain = Keychain::behind(Chain(place.kept.clone(), Fate::Kept));
        let host = Host::with(place.dir.clone(), |_| panic!("a fault"), keychain);
        let tasks = Tasks::new();
        tasks.passing("node", host.clone().run());
        let ended = tokio::time::timeout(PATIENCE, host.ended().cancelled());
        ended.await.unwrap();
        let stage = host.stages().borrow().clone();
        assert!(matches!(stage, Stage::Failed { .. }), "{stage:?}");
        assert!(host.running().is_none());
        // One that only the keychain's thread had is a sentence, and the node runs.
        let place = self::place("");
        let why = place.with(Fate::Panics, async |host| host.nobody()).await;
        assert!(why.is_some());
    }
}
