//! Opening a state directory: lock, identity, store, books, drivers, sensors. Nothing runs yet.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::authority::Authority;
use super::config::Config;
use super::context::alarms::Alarms;
use super::context::journal::{Journal, Needs};
use super::context::metrics::Metrics;
use super::context::tasks::Tasks;
use super::context::timekeeping::{LostReadings, Steady};
use super::context::trust::TrustBook;
use super::context::{Context, Parts};
use super::continuity::{Begin, Continuity, Footing, Ground, footing, next_seq};
use super::credentials::{Kept, Own};
use super::frame_log::tree::Tree;
use super::frame_log::{self, Frames, Held as HeldKeys, RecentFrames, Stamper};
use super::gen1::actuators::Wire;
use super::guards::{Cut, Guards, Starter};
use super::handles::{Handles, Inner};
use super::inference::{self, Inference, Served};
use super::leading::Leading;
use super::links::known::Known;
use super::links::{Links, Reach};
use super::mesh_models::{Elsewhere, MeshModels};
use super::pairing::{Pairing, Unsettled};
use super::pause::PlannerState;
use super::peers::{Dialed, Peers};
use super::planner::Planner;
use super::planning::Drafts;
use super::policy_book::PolicyBook;
use super::proposals::Executor;
use super::protocol::Protocol;
use super::refused;
use super::sensing::Sensors;
use super::sessions::Sessions;
use super::surroundings::Outside;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::{
    self, Around, Carrier, DeviceError, Keeper, Sensor, SharedActuator,
};
use crate::adapters::files;
use crate::adapters::keystore::{Credentials, DeviceKeys, KeyError};
use crate::adapters::marks::{Marks, place_of};
use crate::adapters::paths::{PathError, StateDir, StateLock};
use crate::adapters::random::{NoRandom, SharedRandom};
use crate::adapters::store::{Engine, Store, StoreError, StoreOptions, frames};
use crate::adapters::transport::{BrowserCertificate, Tls, TlsError, TransportError};
use crate::domain::base::limits::{FRAME_FUTURE_MAX_MS, SAFE_AT_START_MS, SMALL_FILE_MAX_BYTES};
use crate::domain::base::{Hlc, MeshId, TimeMs};
use crate::domain::identity::DeviceKey;

/// Why a node could not start. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The identity cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port cannot be listened on.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An actuator has no guard.
    #[error("an actuator's guard cannot start: {0}; nothing was started")]
    Guards(std::io::Error),
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// A file of the state directory does not hold what it should.
    #[error("{file}: {why}")]
    File {
        /// Which file.
        file: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// It was refused, and an actuator is not confirmed to be in its safe state.
    #[error("{cause}; and {}", left.join("; "))]
    Unsafe {
        /// Why it was refused.
        cause: Box<OpenError>,
        /// What is not safe and what to do, a sentence each.
        left: Vec<String>,
    },
}

impl OpenError {
    /// Why the start was refused, whatever else is to be told.
    pub fn cause(&self) -> &OpenError {
        match self {
            OpenError::Unsafe { cause, .. } => cause.cause(),
            other => other,
        }
    }

    /// As itself, with what is not safe.
    #[must_use]
    pub fn leaving(self, left: Vec<String>) -> Self {
        match left.is_empty() {
            true => self,
            false => OpenError::Unsafe {
                cause: Box::new(self),
                left,
            },
        }
    }
}

/// A node that is ready to start.
pub struct Opened {
    /// The handles of its rooms.
    pub handles: Handles,
    /// What it senses with.
    pub sensors: Vec<Box<dyn Sensor>>,
    /// Its hold on the state directory.
    pub lock: StateLock,
    /// How it speaks TLS where it listens.
    pub(super) tls: Tls,
}

/// Where the policy lives.
pub(super) fn policy_file(context: &Context) -> PathBuf {
    StateDir::at(&context.config.state_dir).policy_file()
}

impl Opened {
    /// Opens the state directory named in the configuration and takes its lock.
    ///
    /// # Errors
    /// [`OpenError`], with nothing changed but what a first start creates.
    pub async fn open(config: Config, clock: SharedClock) -> Result<Opened, OpenError> {
        Self::open_in(config, Outside::real(clock)).await
    }

    /// As [`Opened::open`], with everything outside the node given.
    ///
    /// # Errors
    /// As [`Opened::open`].
    pub async fn open_in(config: Config, outside: Outside) -> Result<Opened, OpenError> {
        let Outside {
            clock,
            random,
            keys,
            dialer,
            engine,
            threads,
            marks,
            drivers: more_drivers,
            sensors: more_sensors,
            models,
            variables,
        } = outside;
        let dir = StateDir::at(&config.state_dir);
        let (tasks, alarms) = (Tasks::new(), Arc::new(Alarms::default()));
        // Every actuator is made safe before anything else, also where the rest cannot be opened.
        let abandoned = tasks.kill_on_drop();
        let held = hold(&config, &dir, &clock, more_drivers.clone()).and_then(|held| {
            let Held {
                lock,
                actuators,
                sensors,
                wire,
                own,
            } = held;
            let guards = Guards::start(actuators, &clock, &alarms, &tasks, threads);
            let (guards, starter) = guards.map_err(OpenError::Guards)?;
            Ok((lock, sensors, (wire, own), guards, starter))
        });
        let (lock, sensors, (wire, own), guards, starter) = match held {
            Ok(held) => held,
            Err(error) => {
                drop(abandoned);
                let left = refused::make_safe(&dir, more_drivers, &clock).await;
                return Err(error.leaving(left));
            }
        };
        let begun = Begun {
            outside: Outside {
                clock,
                random,
                keys,
                dialer,
                engine,
                threads,
                marks,
                drivers: Vec::new(),
                sensors: more_sensors,
                models,
                variables,
            },
            sensors,
            wire,
            own,
            guards: guards.clone(),
            starter,
            alarms,
            tasks,
        };
        match assemble(config, dir.clone(), begun).await {
            Ok((handles, sensors, tls)) => {
                abandoned.disarm();
                Ok(Opened {
                    handles,
                    sensors,
                    lock,
                    tls,
                })
            }
            Err(error) => {
                let left = refused::made_safe(&dir, &guards).await;
                Err(error.leaving(left))
            }
        }
    }
}

impl Opened {
    /// Ends what was opened and never ran, so that it can be opened again at once: actuators safe,
    /// guards ended, the identity released, the store closed. Returns what is not confirmed to be safe, a
    /// sentence each.
    pub async fn give_up(self) -> Vec<String> {
        let handles = self.handles;
        let within = Duration::from_millis(SAFE_AT_START_MS);
        let mut left = handles.guards.secure_all(Cut::Shutdown, within).await;
        left.retain(|secured| !secured.safe);
        left.extend(super::proposals::left::standing(&handles));
        let left: Vec<String> = left.iter().map(refused::in_words).collect();
        for sentence in &left {
            tracing::error!("{sentence}");
        }
        handles.tasks.shut_down().await;
        handles.continuity.release();
        handles.store.clone().close().await;
        drop(self.lock);
        left
    }
}

/// A state directory that is held, and the actuators of its node.
struct Held {
    lock: StateLock,
    actuators: Vec<SharedActuator>,
    sensors: Vec<Box<dyn Sensor>>,
    wire: Wire,
    own: Arc<Own>,
}

fn hold(
    config: &Config,
    dir: &StateDir,
    clock: &SharedClock,
    more: Vec<SharedActuator>,
) -> Result<Held, OpenError> {
    dir.prepare()?;
    let lock = dir.acquire_lock()?;
    let wire = Wire::default();
    let carrier: Arc<dyn Carrier> = Arc::new(wire.clone());
    let own = Arc::new(Own::of(dir.clone()));
    let keeper: Arc<dyn Keeper> = own.clone();
    let around = Around {
        dir,
        clock,
        carrier: &carrier,
        keeper: &keeper,
    };
    let made = devices::make(&config.devices, &around)?;
    let mut actuators = more;
    actuators.extend(made.actuators);
    devices::not_twice(&actuators)?;
    Ok(Held {
        lock,
        actuators,
        sensors: made.sensors,
        wire,
        own,
    })
}

/// What a node has before its state is read: its actuators and their guards.
struct Begun {
    outside: Outside,
    sensors: Vec<Box<dyn Sensor>>,
    wire: Wire,
    own: Arc<Own>,
    guards: Guards,
    starter: Starter,
    alarms: Arc<Alarms>,
    tasks: Tasks,
}

/// Opens identity, store and books, and puts everything together.
#[allow(
    clippy::too_many_lines,
    reason = "one part of the node after the other"
)]
async fn assemble(
    config: Config,
    dir: StateDir,
    begun: Begun,
) -> Result<(Handles, Vec<Box<dyn Sensor>>, Tls), OpenError> {
    let Begun {
        outside,
        mut sensors,
        wire,
        own,
        guards,
        starter,
        alarms,
        tasks,
    } = begun;
    let Outside {
        clock,
        random,
        keys,
        dialer,
        engine,
        threads,
        marks,
        drivers: _,
        sensors: more_sensors,
        models: more_models,
        variables,
    } = outside;
    let now = clock.now();
    let identified = dir.identity_file().exists();
    let identity = identify(&config, &dir, keys, &random, threads, now);
    let store = open_store(&dir, config.store_max_bytes, engine, threads);
    // At a first start there is no store before there is an identity.
    let (identity, store) = match identified {
        true => tokio::join!(identity, store),
        false => (Ok(identity.await?), store.await),
    };
    let (Identified { key, mesh, tls }, store) = (identity?, store?);
    let mesh = match &config.mesh {
        Some(_) => mesh,
        None => super::pairing::settled(&store, &dir, mesh)
            .await
            .map_err(|error| match error {
                Unsettled::File(error) => OpenError::from(error),
                Unsettled::Store(error) => OpenError::from(error),
            })?,
    };
    super::naming::settle(&store, &dir, &config).await?;
    let marks = Marks::new(&dir, key.id(), &marks);
    let (stamper, first_seq) = resume(&store, key.id().clone(), marks.used(), now).await?;
    let continuity = Continuity::begin(Begin {
        store: &store,
        device: key.id(),
        marks,
        place: place_of(&dir),
        run: random.uuid()?.to_string(),
        first_seq,
        now,
    })
    .await?;
    let steady_ms = clock.steady_ms();
    let steady = store
        .read("steady time", move |c| Steady::resume(c, now, steady_ms))
        .await?;
    let (known, mesh_floor, horizon, traffic) = store
        .read("what peers are known for", |c| {
            use super::naming::mesh_floor;
            let models = super::mesh_models::Traffic::load(c)?;
            Ok((Known::load(c)?, mesh_floor(c)?, frames::horizon(c)?, models))
        })
        .await?;
    let policy = PolicyBook::default();
    policy.open(&store, &dir.policy_file()).await?;
    let trust = TrustBook::default();
    trust.reload(&store).await?;
    let ground = Ground::of(&dir);
    sensors.extend(more_sensors);
    let mut capabilities = config.capabilities.clone();
    capabilities.extend(guards.capabilities());
    let shared_models = config.models.all.iter().filter_map(|m| m.offered());
    capabilities.extend(shared_models);
    let credentials = Credentials::new(&dir, &key)?;
    own.opened(credentials.clone());
    let mut served = Inference::serve(&config.models, &credentials, variables);
    served.extend(more_models.into_iter().map(Served::here));
    let kept = Kept::new(dir.clone(), credentials);
    let inference = Inference::open(inference::Needs {
        served,
        edge_first: config.models.edge_first,
        use_mesh: config.models.use_mesh,
        labels: config.models.labels.clone(),
        store: store.clone(),
        clock: clock.clone(),
        random: random.clone(),
        pace: inference::Pace::default(),
    })
    .await?;
    let (key, metrics) = (Arc::new(key), Arc::new(Metrics::default()));
    let budgets = Arc::new(super::context::budgets::Budgets::default());
    let journal = Journal::new(Needs {
        store: store.clone(),
        clock: clock.clone(),
        key: key.clone(),
        budgets: budgets.clone(),
        metrics: metrics.clone(),
        alarms: alarms.clone(),
        tasks: tasks.clone(),
    });
    let context = Context::new(Parts {
        own: key.id().clone(),
        public_key: *key.public(),
        mesh,
        config,
        store,
        clock,
        random,
        threads,
        started_at: now,
        journal,
        alarms,
        budgets,
        metrics,
        trust,
        tasks,
        lost: LostReadings::beginning(!continuity.ended_well(), steady.at(steady_ms)),
        steady,
    });
    let log = Frames::new(frame_log::Parts {
        context,
        key: frame_log::Signer::new(key.clone()),
        links: Links::default(),
        known: known.beside(capabilities, guards.capabilities()),
        held: HeldKeys::new(horizon.map(|h| h.time), mesh_floor),
        recent: RecentFrames::default(),
        tree: Tree::default(),
        stamper,
        frames_head: watch::channel(0).0,
        private_head: watch::channel(0).0,
        proposals_head: watch::channel(0).0,
    });
    let (peers, planner) = (Arc::<Peers>::default(), Arc::<PlannerState>::default());
    let reach: Arc<dyn Reach> = Arc::new(Dialed {
        frames: log.clone(),
        peers: peers.clone(),
    });
    let mesh_models = MeshModels {
        frames: log.clone(),
        inference: inference.clone(),
        reach: reach.clone(),
        traffic: Arc::new(traffic),
    };
    let leading = Leading::new(log.clone(), inference.clone(), planner.clone());
    let footing = Footing::new(footing::Parts {
        frames: log,
        guards,
        continuity,
        ground,
    });
    let executor = Executor::new(footing, starter, key.clone(), policy);
    let drafts = Drafts::new(leading.clone(), executor.clone(), reach.clone());
    let asking = Planner::new(drafts.clone(), mesh_models.clone());
    let protocol = Protocol {
        executor: executor.clone(),
        leading: leading.clone(),
        asking: asking.clone(),
        mesh_models: mesh_models.clone(),
        other_planners: Arc::default(),
        reach: reach.clone(),
    };
    let authority = Authority::new(executor.clone(), key.clone());
    let (own_key, own_tls) = (key.clone(), tls.clone());
    let pairing = Pairing::new(authority.clone(), own_key, own_tls, dialer.clone());
    let sessions = Sessions::new(protocol, pairing.clone(), key, tls.clone(), dialer);
    let handles = Handles::new(Inner {
        authority,
        sessions,
        pairing,
        asking,
        executor,
        drafts,
        leading,
        planner,
        inference,
        mesh_models,
        peers,
        reach,
        sites: super::sites::SiteBook::default(),
        nearby: Arc::default(),
        sensors: Sensors::default(),
        credentials: kept,
    });
    wire.belongs_to(&handles);
    handles.inference.reach(Arc::new(Elsewhere {
        frames: handles.frames.clone(),
        reach: handles.reach.clone(),
        traffic: handles.mesh_models.traffic.clone(),
    }));
    super::continuity::tell(&handles).await?;
    handles.nearby.load(&handles).await?;
    super::pause::resume_state(&handles, &handles.planner).await?;
    super::planner::later::load(&handles.asking).await?;
    super::naming::tell(&handles).await?;
    Ok((handles, sensors, tls))
}

/// Who a node is.
struct Identified {
    key: DeviceKey,
    mesh: MeshId,
    tls: Tls,
}

async fn identify(
    config: &Config,
    dir: &StateDir,
    keys: Arc<dyn DeviceKeys>,
    random: &SharedRandom,
    threads: bool,
    now: TimeMs,
) -> Result<Identified, OpenError> {
    let (home, fresh) = (dir.clone(), random.bytes()?);
    let key = match threads {
        // A keychain may wait for a person, and must not be opened on an async thread.
        true => tokio::task::spawn_blocking(move || keys.load_or_create(&home, fresh, now))
            .await
            .map_err(|_| StoreError::Closed)??,
        false => keys.load_or_create(&home, fresh, now)?,
    };
    let mesh = match &config.mesh {
        Some(mesh) => mesh.clone(),
        None => kept_mesh_id(dir, random)?,
    };
    let tls = Tls::new(&key, &browser_certificate(dir)?)?;
    Ok(Identified { key, mesh, tls })
}

async fn open_store(
    dir: &StateDir,
    max_bytes: Option<u64>,
    engine: Engine,
    threads: bool,
) -> Result<Store, OpenError> {
    let file = dir.database();
    let options = StoreOptions {
        max_bytes,
        expected: dir.has_had_store(),
    };
    let open = move || {
        let store = Store::open_on(&file, options, engine)?;
        // So is the first connection that reads.
        store.read_blocking("open the store", |_| Ok(()))?;
        Ok::<_, StoreError>(store)
    };
    let store = match threads {
        true => tokio::task::spawn_blocking(open)
            .await
            .map_err(|_| StoreError::Closed)??,
        false => open()?,
    };
    Ok(store)
}

/// What browsers are shown, made once; made anew where the file does not hold one.
fn browser_certificate(dir: &StateDir) -> Result<BrowserCertificate, OpenError> {
    let file = dir.browser_certificate_file();
    let again = |why: String| OpenError::File {
        file: file.display().to_string(),
        why: format!("{why}; make it readable, or delete it and a new one is made"),
    };
    match files::read(&file, SMALL_FILE_MAX_BYTES).map(zeroize::Zeroizing::new) {
        Ok(kept) => {
            let mode = std::fs::metadata(&file).map(|meta| meta.permissions().mode());
            let private = mode.is_ok_and(|mode| mode & 0o077 == 0);
            match BrowserCertificate::from_bytes(&kept) {
                Some(kept) if private => return Ok(kept),
                // It stands for nothing but itself: a new one costs browsers a new exception.
                _ => tracing::warn!(
                    file = %file.display(),
                    "the certificate for browsers is damaged or its key could be read by others; making a new one, which browsers will ask to accept"
                ),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(again(error.to_string())),
    }
    let made = BrowserCertificate::generate()?;
    dir.write_private(&file, &made.to_bytes())?;
    Ok(made)
}

/// The random id of an unnamed mesh, made once.
fn kept_mesh_id(dir: &StateDir, random: &SharedRandom) -> Result<MeshId, OpenError> {
    let file = dir.mesh_id_file();
    let bad = |why: String| OpenError::File {
        file: file.display().to_string(),
        why,
    };
    match files::read_text(&file, SMALL_FILE_MAX_BYTES) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|e| bad(format!("{e}; restore the file or delete it"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = MeshId::from(random.uuid()?);
            dir.write_private(&file, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(bad(error.to_string())),
    }
}

/// Puts what was interrupted in order, and then what may be offered to others.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn put_in_order(handles: &Handles) -> Result<(), OpenError> {
    super::proposals::recover(handles).await?;
    Ok(super::privacy::settle(handles, handles.inference.labels()).await?)
}

/// Continues logical time and frame counts after whatever earlier runs used: those that the store knows of, and those that
/// the marks tell of where the store was put back.
async fn resume(
    store: &Store,
    own: crate::domain::base::DeviceId,
    marked: u64,
    now: TimeMs,
) -> Result<(Stamper, u64), StoreError> {
    // As while running: what claims to lie further ahead than this does not lead.
    let believed = Hlc::new(now.plus(FRAME_FUTURE_MAX_MS), u16::MAX);
    store
        .read("own count", move |c| {
            let next = next_seq(c, &own, marked)?;
            let newest: Hlc = frames::max_hlc(c, believed)?.unwrap_or_default();
            let lived = Hlc::new(super::context::timekeeping::high_water(c)?, 0);
            Ok((Stamper::resume(newest.max(lived), next), next))
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_certificate_for_browsers_is_kept_until_it_is_no_good() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let file = dir.browser_certificate_file();
        let shown = || format!("{:?}", browser_certificate(&dir).unwrap());
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        let first = shown();
        assert_eq!((shown(), mode()), (first.clone(), 0o600));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let second = shown();
        assert_ne!(second, first, "others could read the key");
        assert_eq!((shown(), mode()), (second.clone(), 0o600));
        fs::write(&file, "damaged").unwrap();
        assert_ne!(shown(), second);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = browser_certificate(&dir).unwrap_err().to_string();
        assert!(error.contains("tls-browser.bin"), "{error}");
    }
}
