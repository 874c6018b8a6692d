//! Wiring: the devices of the configuration while the node runs, and how they change when the file does. Everything that a start
//! would check is checked first, then all of a change is made or nothing; a device whose table says the same is left alone. An
//! actuator is taken out only while it is idle and safe, and one that is put in is made safe as at a start. Nothing else is moved.

mod change;
pub mod check;
mod hindrances;
mod plan;
mod tools;
mod watching;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use tokio::sync::{Notify, oneshot};

use self::change::{Change, Coming, Fits};
use self::check::Checked;
use self::plan::Plan;
pub use self::plan::{ReloadOutcome, Reloaded};
pub use self::tools::Tools;
pub use self::watching::watch;
use super::config::RawConfig;
use super::config::redundant::Redundant;
use super::context::{DURABLE, Event, Severity, internal, store_refusal};
use super::gen1;
use super::guards::fitting::{Out, Spare};
use super::guards::{Fitter, moved};
use super::proposals::{Executor, left, rewired};
use super::sensing::{Sensing, Sensors};
use crate::adapters::devices::{
    Configured, Hooks, Made, Sensor, SharedActuator, SharedWay, shared_ways,
};
use crate::adapters::store::StoreError;
use crate::domain::base::limits::REFIT_WAIT_MS;
use crate::domain::base::{AuditKind, Code, Digest, Refusal};
use crate::domain::capability::Capability;

/// The devices of a running node. Clones share them.
#[derive(Clone)]
pub struct Wiring(Arc<Inner>);

struct Inner {
    executor: Executor,
    fitter: Fitter,
    sensors: Sensors,
    /// There once the node runs.
    sensing: OnceLock<Sensing>,
    tools: Tools,
    wired: Mutex<Wired>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    /// Somebody asks for one.
    asked: Notify,
}

/// A device, and what the node has of it.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its table.
    pub configured: Configured,
    /// Its sensors, as the node names them; before the node runs none.
    pub sensors: Vec<String>,
    /// How many it has.
    pub sensor_count: usize,
    /// Its actuators.
    pub actuators: Vec<Capability>,
}

impl Device {
    /// A device that was made and does not run yet.
    pub fn of(configured: Configured, made: &Made) -> Self {
        let actuators = made.actuators.iter().map(|a| a.capability().clone());
        Self {
            configured,
            sensors: Vec::new(),
            sensor_count: made.sensors.len(),
            actuators: actuators.collect(),
        }
    }
}

struct Wired {
    devices: Vec<Device>,
    redundant: Vec<Redundant>,
    /// Whether there was a file when the node was started.
    from_file: bool,
    /// The content of the file that was handled last.
    handled: Option<Digest>,
}

/// What became of the guards in the transaction.
#[derive(Default)]
enum Turn {
    /// The store did not come to it.
    #[default]
    Missed,
    Busy(Vec<String>),
    Fitted(Spare, Out),
}

impl Wiring {
    /// The devices of a node that does not run yet.
    pub fn new(
        executor: Executor,
        fitter: Fitter,
        sensors: Sensors,
        tools: Tools,
        devices: Vec<Device>,
    ) -> Self {
        let text = watching::text(&tools.dir).ok().flatten();
        let wired = Wired {
            redundant: executor.config.redundant.clone(),
            devices,
            from_file: text.is_some(),
            handled: text.as_deref().map(watching::digest),
        };
        Self(Arc::new(Inner {
            executor,
            fitter,
            sensors,
            sensing: OnceLock::new(),
            tools,
            wired: Mutex::new(wired),
            turn: tokio::sync::Mutex::default(),
            asked: Notify::new(),
        }))
    }

    fn wired(&self) -> MutexGuard<'_, Wired> {
        self.0.wired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The devices as they are configured now.
    pub fn devices(&self) -> Vec<Configured> {
        let wired = self.wired();
        wired.devices.iter().map(|d| d.configured.clone()).collect()
    }

    /// Where readings come in that others send.
    pub fn hooks(&self) -> &Hooks {
        &self.0.tools.hooks
    }

    /// Begins to read the sensors: those of the devices in their order, then further ones.
    pub async fn begin(&self, sensors: Vec<Box<dyn Sensor>>) {
        let executor = &self.0.executor;
        let redundant = self.wired().redundant.clone();
        let sensing = Sensing::new(executor, &self.0.sensors, &redundant);
        let mut names = sensing.begin(sensors).await.into_iter();
        for device in &mut self.wired().devices {
            device.sensors = names.by_ref().take(device.sensor_count).collect();
        }
        // A node begins once.
        let _ = self.0.sensing.set(sensing);
    }

    /// Asks for the file to be read again soon; returns at once, on any thread.
    pub fn ask(&self) {
        self.0.asked.notify_one();
    }

    /// Reads the configuration again and makes its devices the node's. Goes on to its end also where nobody waits for it.
    ///
    /// # Errors
    /// `CONFLICT` for a node that was not started from a directory's configuration, and whatever the store says; nothing was
    /// changed then. A mistake in the file is no error: the answer has it.
    pub async fn reload(&self, by: &str) -> Result<Reloaded, Refusal> {
        let (tell, told) = oneshot::channel();
        let (wiring, by) = (self.clone(), by.to_owned());
        self.0.executor.tasks.passing("device reload", async move {
            let done = wiring.turn(&by, true).await;
            // Whoever asked may have stopped waiting.
            let _ = tell.send(done);
        });
        told.await
            .unwrap_or_else(|_| Err(internal("the devices were not read again")))
    }

    /// One reading of the file. With `tells` a refusal becomes an event.
    async fn turn(&self, by: &str, tells: bool) -> Result<Reloaded, Refusal> {
        let inner = &self.0;
        let _turn = inner.turn.lock().await;
        let Some(flags) = inner.executor.config.flags.clone() else {
            let why = "this node was not started from a configuration file, so there is none to read again";
            return Err(Refusal::new(Code::Conflict, why));
        };
        if inner.sensing.get().is_none() {
            let why = "the node is just starting; try again in a moment";
            return Err(Refusal::new(Code::Busy, why));
        }
        watching::settled(&inner.tools.dir).await;
        let (read, checked) = self.checked(*flags).await;
        let report = match checked {
            Err(mistakes) => Reloaded::mistaken(mistakes),
            Ok(checked) => self.change(by, checked).await?,
        };
        if read.is_some() && report.busy.is_empty() {
            let mut wired = self.wired();
            wired.handled = read;
            wired.from_file = true;
        }
        if report.outcome == ReloadOutcome::Refused && tells {
            self.tell_refused(by, &report).await;
        }
        Ok(report)
    }

    /// Reads and checks the file; the content that was read, and what came of it.
    async fn checked(&self, flags: RawConfig) -> (Option<Digest>, Result<Checked, Vec<String>>) {
        let (tools, executor) = (self.0.tools.clone(), self.0.executor.clone());
        let (from_file, has_devices) = {
            let wired = self.wired();
            (wired.from_file, !wired.devices.is_empty())
        };
        let look = move || {
            let file = tools.dir.config_file();
            let shown = file.display();
            let text = match watching::text(&tools.dir) {
                Ok(Some(text)) if text.trim().is_empty() && from_file && has_devices => {
                    // As a program leaves it that is just writing it.
                    let why = "it is empty; a file that means no devices has at least a comment";
                    let read = Some(watching::digest(&text));
                    return (read, Err(vec![format!("{shown}: {why}")]));
                }
                Ok(Some(text)) => text,
                Ok(None) if from_file => {
                    return (
                        None,
                        Err(vec![format!(
                            "{shown}: there is no such file any more; put it back"
                        )]),
                    );
                }
                Ok(None) => String::new(),
                Err(error) => return (None, Err(vec![format!("{shown}: {error}")])),
            };
            let around = tools.around(&executor.clock);
            let labels = &executor.config.models.labels;
            let checked = check::whole(&text, flags, labels, &around);
            (Some(watching::digest(&text)), checked)
        };
        let done = self.0.executor.work(look).await;
        done.unwrap_or_else(|| {
            let why = "a device's driver panicked while it was made; the log has the place";
            (None, Err(vec![why.to_owned()]))
        })
    }

    /// Makes the devices of a checked configuration the node's.
    async fn change(&self, by: &str, checked: Checked) -> Result<Reloaded, Refusal> {
        let executor = &self.0.executor;
        let Checked { config, made } = checked;
        let (before, redundant) = {
            let wired = self.wired();
            (wired.devices.clone(), wired.redundant != config.redundant)
        };
        let old: Vec<Configured> = before.iter().map(|d| d.configured.clone()).collect();
        let plan = Plan::of(&old, &config.devices);
        let (added, removed, changed) = plan.names(&old, &config.devices);
        let mut report = Reloaded {
            outcome: ReloadOutcome::Unchanged,
            added,
            removed,
            changed,
            unchanged: plan.same.len(),
            redundant,
            restart: plan::restart_keys(&executor.config, &config),
            mistakes: Vec::new(),
            busy: Vec::new(),
        };
        if plan.is_empty() && !redundant {
            return Ok(report);
        }
        if config.models.labels != executor.config.models.labels {
            // A device must not begin to be read under labels that do not hold any more.
            let why = "[privacy] has changed as well, which takes a restart: nothing was changed; restart the node, or change the devices alone";
            return Ok(Reloaded::mistaken(vec![why.to_owned()]));
        }
        let (mut coming, mut actuators) = (Vec::new(), Vec::new());
        for (at, made) in made.into_iter().enumerate() {
            let Some(configured) = config.devices.get(at).filter(|_| plan.put_in.contains(&at))
            else {
                continue;
            };
            let device = Device::of(configured.clone(), &made);
            actuators.extend(made.actuators);
            let sensors = made.sensors;
            coming.push(Coming { device, sensors });
        }
        let change = Change {
            plan,
            config,
            coming,
            before,
        };
        report.busy = hindrances::of_policy(executor, change.coming());
        if !report.busy.is_empty() {
            report.outcome = ReloadOutcome::Refused;
            return Ok(report);
        }
        let fits = Fits {
            out: change.out().flat_map(|d| d.actuators.clone()).collect(),
            shared: shared_ways(change.coming(), change.staying()),
            tables: rewired::tables(&change.config.devices),
        };
        match self.fit(by, &report, fits, actuators).await? {
            Turn::Missed => Err(internal("the store did not take the change of the devices")),
            Turn::Busy(busy) => {
                report.busy = busy;
                report.outcome = ReloadOutcome::Refused;
                Ok(report)
            }
            Turn::Fitted(spare, out) => {
                executor.proposals_changed();
                self.follow(change, spare, out).await;
                report.outcome = ReloadOutcome::Applied;
                self.tell_applied(by, &report).await;
                Ok(report)
            }
        }
    }

    /// Puts the guards in their places, in the transaction by which no action begins meanwhile.
    async fn fit(
        &self,
        by: &str,
        report: &Reloaded,
        fits: Fits,
        actuators: Vec<SharedActuator>,
    ) -> Result<Turn, Refusal> {
        let executor = &self.0.executor;
        let left = executor.store.read("moved actuators", moved::all).await;
        let left = left.map_err(|e| store_refusal(&e))?;
        let mut touched = fits.out.clone();
        touched.extend(actuators.iter().map(|a| a.capability().clone()));
        let spare = self.0.fitter.prepare(actuators, &left).map_err(|e| {
            let why =
                format!("the system gives no thread for an actuator: {e}; nothing was changed");
            Refusal::new(Code::Busy, why)
        })?;
        let done = Arc::<Mutex<Turn>>::default();
        let (slot, wiring) = (done.clone(), self.clone());
        let Fits {
            out,
            shared,
            tables,
        } = fits;
        let detail = json!({
            "by": by, "added": report.added, "removed": report.removed, "changed": report.changed,
            "unchanged": report.unchanged, "redundant": report.redundant,
        });
        let changes = touched.clone();
        let write = move |c: &Connection| {
            let executor = &wiring.0.executor;
            // Should what is written here be lost, what was asked for of the devices before must not reach those that come.
            executor.running.unsettle(&changes);
            let turn = wiring.fit_now(c, (&out, &shared), spare);
            let is_done = matches!(turn, Ok(Turn::Fitted(..)));
            if !is_done {
                executor.running.settle(&changes);
            }
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = turn?;
            if !is_done {
                return Ok(());
            }
            rewired::keep(c, &tables)?;
            let journal = &executor.journal;
            journal.audit(c, AuditKind::DevicesReloaded, "devices", detail)
        };
        let written = executor.store.write(DURABLE, "refit", write).await;
        let turn = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        match (written, turn) {
            (Err(error), Turn::Fitted(spare, out)) => {
                // The guards are in their places; what follows must not be left half done.
                tracing::error!(%error, "a change of the devices is not on disk; nothing begins at them until it is");
                let later = hindrances::settle_later(self.clone(), touched);
                executor.tasks.passing("unsettled devices", later);
                Ok(Turn::Fitted(spare, out))
            }
            (Err(error), _) => Err(store_refusal(&error)),
            (Ok(()), turn) => {
                if matches!(turn, Turn::Fitted(..)) {
                    executor.running.settle(&touched);
                }
                Ok(turn)
            }
        }
    }

    /// See [`Wiring::fit`].
    fn fit_now(
        &self,
        conn: &Connection,
        (out, shared): (&BTreeSet<Capability>, &[SharedWay]),
        mut spare: Spare,
    ) -> Result<Turn, StoreError> {
        let mut busy = hindrances::now(self, conn, out, shared)?;
        if busy.is_empty() {
            let fit = || self.0.fitter.fit(out, &mut spare);
            match rewired::end_all_and(&self.0.executor, conn, out, fit)? {
                Ok(gone) => return Ok(Turn::Fitted(spare, gone)),
                Err(why) => busy = why,
            }
        }
        Ok(Turn::Busy(busy))
    }

    /// Everything that follows once the guards are in their places.
    async fn follow(&self, change: Change, spare: Spare, out: Out) {
        let Change {
            plan,
            config,
            coming,
            before,
        } = change;
        let within = Duration::from_millis(REFIT_WAIT_MS);
        let gone = plan.out.iter().filter_map(|at| before.get(*at));
        let mut touched: Vec<String> = gone.flat_map(|d| d.sensors.iter().cloned()).collect();
        let sensing = self.0.sensing.get();
        if let Some(sensing) = sensing {
            // What is put in may need a connection that only one may have.
            tokio::join!(sensing.end(&touched, within), out.gone(within));
        }
        spare.begin();
        let mut devices: Vec<Option<Device>> = config.devices.iter().map(|_| None).collect();
        for (from, to) in &plan.same {
            if let (Some(old), Some(slot)) = (before.get(*from), devices.get_mut(*to)) {
                // Its table may stand in another line now.
                let configured = config.devices.get(*to).unwrap_or(&old.configured).clone();
                *slot = Some(Device {
                    configured,
                    ..old.clone()
                });
            }
        }
        for (
            at,
            Coming {
                mut device,
                sensors,
            },
        ) in plan.put_in.iter().zip(coming)
        {
            if let Some(sensing) = sensing {
                device.sensors = sensing.begin(sensors).await;
                touched.extend(device.sensors.iter().cloned());
            }
            if let Some(slot) = devices.get_mut(*at) {
                *slot = Some(device);
            }
        }
        if let Some(sensing) = sensing {
            sensing.agree(&config.redundant, &touched).await;
        }
        {
            let mut wired = self.wired();
            wired.devices = devices.into_iter().flatten().collect();
            wired.redundant = config.redundant;
        }
        let executor = &self.0.executor;
        executor.offer_again();
        executor.judge_policy();
        gen1::actuators::meet_again(executor, &executor.guards);
        left::found_again(executor);
    }

    async fn tell_applied(&self, by: &str, report: &Reloaded) {
        let message = format!("The devices were changed by {by}: {}", report.in_words());
        let data = json!({
            "by": by, "added": report.added, "removed": report.removed, "changed": report.changed,
            "restart": report.restart,
        });
        let journal = &self.0.executor.journal;
        journal
            .record(Event::DevicesReloaded, Severity::Info, &message, data)
            .await;
    }

    async fn tell_refused(&self, by: &str, report: &Reloaded) {
        let all = || report.mistakes.iter().chain(&report.busy);
        for why in all() {
            tracing::error!("the devices were not changed: {why}");
        }
        let first = all().next().map(String::as_str).unwrap_or_default();
        let more = match all().count() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let message = format!("The devices stay as they are, {by} was refused: {first}{more}");
        let data = json!({"by": by, "mistakes": report.mistakes, "busy": report.busy});
        let journal = &self.0.executor.journal;
        journal
            .record(Event::DevicesRefused, Severity::Warning, &message, data)
            .await;
    }
}
