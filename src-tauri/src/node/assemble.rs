//! Opening a state directory: lock, identity, store, books, drivers, sensors. Nothing runs yet.

mod end;
mod error;
mod identity;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

pub use self::error::OpenError;
use self::identity::{Identified, identify, open_store, resume};
use super::alerts::Alerts;
use super::answering::Answering;
use super::authority::Authority;
use super::channels::Channels;
use super::config::Config;
use super::context::alarms::Alarms;
use super::context::journal::{Journal, Needs};
use super::context::metrics::Metrics;
use super::context::tasks::Tasks;
use super::context::timekeeping::{LostReadings, Steady};
use super::context::trust::TrustBook;
use super::context::{Context, Parts};
use super::continuity::{Begin, Continuity, Footing, Ground, footing};
use super::coordinator::Coordinator;
use super::credentials::{self, Kept, Own};
use super::frame_log::tree::Tree;
use super::frame_log::{self, Frames, Held as HeldKeys, RecentFrames};
use super::gateways::Gateways;
use super::gen1::actuators::Wire;
use super::guards::{Fitter, Guards, RunStarter, moved};
use super::handles::{Handles, Inner};
use super::inference::{self, Inference, Served};
use super::leading::Leading;
use super::links::known::Known;
use super::links::{Links, Reach};
use super::mesh_models::{Elsewhere, MeshModels};
use super::messages::Messages;
use super::pairing::{Pairing, Unsettled};
use super::pause::PlannerState;
use super::peers::{Dialed, Peers};
use super::planner::Planner;
use super::planning::Drafts;
use super::policy_book::PolicyBook;
use super::proposals::Executor;
use super::protocol::Protocol;
use super::pulse::Pulse;
use super::refused;
use super::sensing::Sensors;
use super::sessions::Sessions;
use super::surroundings::Outside;
use super::wiring::{Device, Tools, Wiring};
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::{self, Around, Carrier, Hooks, Keeper, Sensor, SharedActuator};
use crate::adapters::keystore::Credentials;
use crate::adapters::marks::{Marks, place_of};
use crate::adapters::paths::{StateDir, StateLock};
use crate::adapters::store::frames;
use crate::adapters::transport::Tls;

/// A node that is ready to start.
pub struct Opened {
    /// The handles of its rooms.
    pub handles: Handles,
    /// Its sensors.
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
        let held =
            hold(&config, (&dir, variables), &clock, more_drivers.clone()).and_then(|held| {
                let Held {
                    lock,
                    actuators,
                    sensors,
                    devices,
                    wire,
                    own,
                    hooks,
                } = held;
                let left = moved::copied(&dir).unwrap_or_default();
                let guards =
                    Guards::start_after(actuators, &left, &clock, &alarms, &tasks, threads);
                let guards = guards.map_err(OpenError::Guards)?;
                Ok((lock, (sensors, devices), (wire, own, hooks), guards))
            });
        let (lock, (sensors, devices), (wire, own, hooks), (guards, starter, fitter)) = match held {
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
            devices,
            wire,
            own,
            hooks,
            guards: guards.clone(),
            starter,
            fitter,
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

/// A state directory that is held, and the actuators of its node.
struct Held {
    lock: StateLock,
    actuators: Vec<SharedActuator>,
    sensors: Vec<Box<dyn Sensor>>,
    devices: Vec<Device>,
    wire: Wire,
    own: Arc<Own>,
    hooks: Hooks,
}

fn hold(
    config: &Config,
    (dir, variables): (&StateDir, fn(&str) -> Option<String>),
    clock: &SharedClock,
    more: Vec<SharedActuator>,
) -> Result<Held, OpenError> {
    dir.prepare()?;
    let lock = dir.acquire_lock()?;
    let wire = Wire::default();
    let carrier: Arc<dyn Carrier> = Arc::new(wire.clone());
    let own = Arc::new(Own::of(dir.clone(), variables));
    let keeper: Arc<dyn Keeper> = own.clone();
    let hooks = Hooks::default();
    let around = Around {
        dir,
        clock,
        carrier: &carrier,
        keeper: &keeper,
        hooks: &hooks,
    };
    let (mut actuators, mut sensors, mut wired) = (more, Vec::new(), Vec::new());
    let each = devices::make_each(&config.devices, &around)?;
    for (configured, made) in config.devices.iter().zip(each) {
        wired.push(Device::of(configured.clone(), &made));
        actuators.extend(made.actuators);
        sensors.extend(made.sensors);
    }
    super::config::redundant::check(&config.redundant, &sensors, &config.models.labels)?;
    devices::not_twice(&actuators)?;
    Ok(Held {
        lock,
        actuators,
        sensors,
        devices: wired,
        wire,
        own,
        hooks,
    })
}

/// What is there before the state is read: actuators and their guards.
struct Begun {
    outside: Outside,
    sensors: Vec<Box<dyn Sensor>>,
    devices: Vec<Device>,
    wire: Wire,
    own: Arc<Own>,
    hooks: Hooks,
    guards: Guards,
    starter: RunStarter,
    fitter: Fitter,
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
        devices,
        wire,
        own,
        hooks,
        guards,
        starter,
        fitter,
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
    let offer = super::proposals::offer(&config, &guards, &policy.current());
    let service = credentials::given_by(variables);
    let credentials = Credentials::new(&dir, &key, service.as_deref())?;
    credentials::take_over(&credentials);
    own.opened(credentials.clone());
    let mut served = Inference::serve(&config.models, &credentials, variables);
    served.extend(more_models.into_iter().map(Served::here));
    let bot_credentials = credentials.clone();
    let tools = Tools {
        dir: dir.clone(),
        carrier: Arc::new(wire.clone()),
        keeper: own,
        hooks,
    };
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
        known: known.beside(offer),
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
    let answering = Answering::new(log.clone());
    let footing = Footing::new(footing::Parts {
        frames: log,
        guards,
        continuity,
        ground,
    });
    let executor = Executor::new(footing, starter, key.clone(), policy);
    let coordinator = Coordinator::new(&executor, bot_credentials.clone());
    let gateways = Gateways::new(&executor, bot_credentials.clone(), variables);
    let messages = Messages::open(mesh_models.clone(), gateways.clone()).await?;
    let drafts = Drafts::new(leading.clone(), executor.clone(), reach.clone());
    let asking = Planner::new(drafts.clone(), mesh_models.clone());
    let protocol = Protocol {
        executor: executor.clone(),
        leading: leading.clone(),
        answering: answering.clone(),
        asking: asking.clone(),
        mesh_models: mesh_models.clone(),
        messages: messages.clone(),
        other_planners: Arc::default(),
        reach: reach.clone(),
    };
    let authority = Authority::new(executor.clone(), key.clone());
    let channels = Channels::new(authority.clone(), key.clone(), bot_credentials);
    let pairing = Pairing::new(authority.clone(), key.clone(), tls.clone(), dialer.clone());
    let sessions = Sessions::new(protocol, pairing.clone(), key, tls.clone(), dialer);
    let sensing = Sensors::default();
    let alerts = Alerts::begin(executor.clone(), peers.clone(), tools.keeper.clone()).await?;
    let wiring = Wiring::new(executor.clone(), fitter, sensing.clone(), tools, devices);
    let handles = Handles::new(Inner {
        alerts,
        authority,
        channels,
        sessions,
        pairing,
        asking,
        gateways,
        coordinator,
        executor,
        drafts,
        leading,
        answering,
        planner,
        inference,
        mesh_models,
        messages,
        peers,
        reach,
        sites: super::sites::SiteBook::default(),
        nearby: Arc::default(),
        pulse: Pulse::default(),
        sensors: sensing,
        wiring,
        credentials: Kept::new(dir, credentials),
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

/// Puts what was interrupted in order, and then what may be offered to others.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn put_in_order(handles: &Handles) -> Result<(), OpenError> {
    super::proposals::recover(handles).await?;
    Ok(super::privacy::settle(handles, handles.inference.labels()).await?)
}
