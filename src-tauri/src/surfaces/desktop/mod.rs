//! The desktop application: a window around the console, the node inside the process, the tray, native
//! notifications, the keychain. It hosts and shows; what happens is decided behind the operator door.
//!
//! `host` runs the node and `operator_key` keeps the key of this desktop's person; `bridge` joins the page to
//! the node and `lines` brings answers piece by piece, `decide` signs on a press that `gesture` saw. `summary` is what `tray` and `notify` show,
//! `actions` what a person does there, `stop` what an emergency stop came to. `window` is the window,
//! `watcher` knows whether a tray shows us, `link` reads addresses that lead here, `stage` is what the window says around the node's life,
//! `stale` what a run that was cut short left on the screen, `settings` what it was told, `autostart` its start with the session, `update` newer versions of it and `installed` how it came here, `demo` the demonstration beside it. The entry point hands in the HTTP
//! surface, which a surface may not name by itself.

mod actions;
mod autostart;
mod bridge;
mod commands;
mod decide;
mod demo;
mod gesture;
mod host;
mod icon;
mod installed;
mod lines;
mod link;
mod notify;
mod operator_key;
mod settings;
mod stage;
mod stale;
mod stop;
mod summary;
mod system;
mod tray;
mod update;
mod watcher;
mod window;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Parser as _;
use sha2::{Digest as _, Sha256};
use tauri::ipc::Channel;
use tauri::{AppHandle, RunEvent};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub use self::host::{App, MakeApp};

use self::autostart::Autostart;
use self::bridge::Bridge;
use self::demo::Demo;
use self::gesture::Gestures;
use self::host::Host;
use self::settings::{Args, Settings};
use self::stage::Desk;
use self::stale::Stale;
use self::stop::{Stopped, Unstopped};
use self::summary::Summary;
use self::update::Updates;
use self::watcher::Watcher;
use crate::adapters::descriptors;
use crate::adapters::keystore::dumps;
use crate::adapters::log::{self, Form};
use crate::adapters::paths::StateDir;
use crate::adapters::signals::Signals;
use crate::domain::base::limits::{
    TRAY_ASK_MS, TRAY_GRACE_MS, TRAY_LOOK_MS, WINDOW_END_MS, WINDOW_FAREWELL_MS,
};
use crate::node::context::tasks::Tasks;
use crate::node::ending::Ending;
use crate::node::hosting;

/// Said where no tray shows us.
const NO_TRAY: &str = "No tray on this desktop: closing the window ends ClawMesh.";

/// Said of an address that leads nowhere; what it was is not repeated.
const BAD_LINK: &str = "A link to ClawMesh was not understood, and was not followed.";

/// Messages that the page is sent without asking.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum DeskTold {
    /// The desktop around it.
    Desk {
        /// As it is now.
        desk: Box<Desk>,
    },
    /// A place to go to.
    Goto {
        /// A path of the console.
        path: String,
    },
    /// The result of an emergency stop from outside the page.
    Stop {
        /// Who answered and who did not.
        stopped: Stopped,
    },
}

/// Everything that lives as long as the application.
pub(crate) struct Desktop {
    host: Arc<Host>,
    tasks: Tasks,
    runtime: tokio::runtime::Handle,
    gestures: Gestures,
    bridge: Bridge,
    settings: Mutex<Settings>,
    autostart: Option<Autostart>,
    told: Mutex<Told>,
    stops: Unstopped,
    demo: Demo,
    tray: AtomicBool,
    watcher: Watcher,
    silent: AtomicBool,
    /// Notifications that are shown and listened to.
    shown: TaskTracker,
    stale: Stale,
    updates: Updates,
}

/// Messages that the page has been sent, and those to send when it is there.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    page: Option<Channel<DeskTold>>,
    goto: Option<String>,
    /// The result of a stop, until a person has closed it.
    stop: Option<Stopped>,
}

impl Desktop {
    fn new(host: Arc<Host>, runtime: tokio::runtime::Handle, updates: Updates) -> Arc<Self> {
        let (tasks, gestures) = (Tasks::new(), Gestures::default());
        let (settings, wrong) = Settings::read(host.dir());
        let stops = Unstopped::default();
        // A demonstration is for now.
        let raw = hosting::raw_config(host.dir()).ok().flatten();
        let autostart = match raw.is_some_and(|raw| raw.demo == Some(true)) {
            true => None,
            false => Autostart::here(host.dir(), &bus_name(host.dir())),
        };
        let bridge = Bridge::new(host.clone(), tasks.clone(), gestures.clone(), stops.clone());
        let desktop = Self {
            bridge,
            demo: Demo::default(),
            watcher: Watcher::new(Duration::from_millis(TRAY_ASK_MS)),
            shown: TaskTracker::new(),
            stale: Stale::new(host.dir()),
            stops,
            host,
            tasks,
            runtime,
            gestures,
            settings: Mutex::new(settings),
            autostart,
            told: Mutex::default(),
            tray: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            updates,
        };
        desktop.told().notes.extend(wrong);
        Arc::new(desktop)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Settings {
        let settings = self.settings.lock();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what was chosen for this desktop; may wait for the disk.
    fn configure(&self, start: Option<bool>, settings: Option<Settings>) -> Result<(), String> {
        if let Some(on) = start {
            let entry = self.autostart.as_ref();
            entry
                .ok_or("starting with the session is not offered here")?
                .set(on)?;
        }
        if let Some(settings) = settings {
            settings.write(self.host.dir())?;
            *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        }
        self.tell();
        Ok(())
    }

    /// Goes where an address leads. One that is not understood leads nowhere, and that is said.
    fn follow_link(&self, link: &str) {
        match link::place(link) {
            Some(path) => self.go(path),
            None => self.note(BAD_LINK.to_owned()),
        }
    }

    /// The request of a second start.
    fn started_again(&self, app: &AppHandle, argv: &[String]) {
        let link = Args::try_parse_from(argv).ok().and_then(|args| args.link);
        if let Some(link) = link {
            self.follow_link(&link);
        }
        window::show(app);
    }

    /// Whether the application can be reached by its tray, as far as is known.
    fn in_tray(&self) -> bool {
        self.tray.load(Ordering::Acquire) && self.watcher.there()
    }

    /// Whether the application can be reached by its tray now, asked on the session bus.
    async fn in_tray_now(&self) -> bool {
        self.watcher.ask().await && self.in_tray()
    }

    fn desk(&self) -> Desk {
        let notes = self.told().notes.clone();
        Desk {
            stage: self.host.stages().borrow().clone(),
            notes: self.host.nobody().into_iter().chain(notes).collect(),
            tray: self.in_tray(),
            state_dir: self.host.dir().root().display().to_string(),
            settings: self.settings(),
            autostart: self.autostart.as_ref().map(Autostart::is_on),
            update: self.updates.shown(self.host.running().as_ref()),
        }
    }

    /// Tells the page how things stand.
    fn tell(&self) {
        let desk = Box::new(self.desk());
        let mut told = self.told();
        if let Some(page) = &told.page
            && page.send(DeskTold::Desk { desk }).is_err()
        {
            told.page = None;
        }
    }

    /// A page has loaded and listens.
    fn page_listens(&self, page: Channel<DeskTold>) {
        {
            let mut told = self.told();
            if let Some(path) = told.goto.take() {
                let _ = page.send(DeskTold::Goto { path });
            }
            // A page that is loaded anew shows it again until a person has closed it.
            if let Some(stopped) = told.stop.clone() {
                let _ = page.send(DeskTold::Stop { stopped });
            }
            told.page = Some(page);
        }
        self.tell();
    }

    /// Sends the page to a place, now or once it has loaded.
    fn go(&self, path: String) {
        let mut told = self.told();
        let sent = match &told.page {
            Some(page) => page.send(DeskTold::Goto { path: path.clone() }).is_ok(),
            None => false,
        };
        if !sent {
            told.goto = Some(path);
        }
    }

    /// Shows what an emergency stop came to, now or once the page has loaded.
    fn show_stop(&self, stopped: Stopped) {
        let mut told = self.told();
        if let Some(page) = &told.page {
            let _ = page.send(DeskTold::Stop {
                stopped: stopped.clone(),
            });
        }
        told.stop = Some(stopped);
    }

    /// A person has closed what a stop came to.
    fn stop_seen(&self) {
        self.told().stop = None;
        self.stops.seen();
    }

    /// Takes a note away that is true no more.
    fn unnote(&self, what: &str) {
        let gone = {
            let notes = &mut self.told().notes;
            let before = notes.len();
            notes.retain(|n| n != what);
            before != notes.len()
        };
        if gone {
            self.tell();
        }
    }

    /// Notes what does not work on this desktop, once.
    fn note(&self, what: String) {
        tracing::warn!("{what}");
        {
            let mut told = self.told();
            if told.notes.contains(&what) {
                return;
            }
            told.notes.push(what);
        }
        self.tell();
    }

    /// Notifications cannot be shown here.
    fn no_notifications(&self, why: &str) {
        if !self.silent.swap(true, Ordering::AcqRel) {
            self.note(format!(
                "No notifications: nothing on this desktop shows them ({why})."
            ));
        }
    }
}

/// Runs the desktop application and says how the process ends.
pub fn main(app: MakeApp) -> ExitCode {
    dumps::turn_off();
    descriptors::raise();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let code = run(&args, app).unwrap_or_else(|why| {
        tracing::error!("{why}");
        ExitCode::FAILURE
    });
    log::flush();
    code
}

fn listen(args: &Args) -> Result<(), String> {
    let filter = args
        .log
        .clone()
        .or_else(|| std::env::var("CLAWMESH_LOG").ok())
        .unwrap_or_else(|| "info".to_owned());
    log::begin(&filter, Form::Text)
}

/// The name under which a window of this state directory is found by a second start: one window per
/// directory, so that a demonstration can stand beside one's own.
fn bus_name(dir: &StateDir) -> String {
    let path = std::path::absolute(dir.root()).unwrap_or_else(|_| dir.root().to_path_buf());
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let short: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("org.clawmesh.desktop.d{short}")
}

fn run(args: &Args, make: MakeApp) -> Result<ExitCode, String> {
    listen(args)?;
    let dir = StateDir::resolve(args.state_dir.as_deref(), |n| std::env::var_os(n))
        .map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime cannot start: {e}"))?;
    tauri::async_runtime::set(runtime.handle().clone());
    let name = bus_name(&dir);
    let context = tauri::generate_context!("tauri.conf.json");
    let updates = Updates::of_build(context.config());
    let desktop = Desktop::new(Host::new(dir, make), runtime.handle().clone(), updates);
    let (first, set_up, again) = (desktop.clone(), desktop.clone(), desktop.clone());
    let ending = desktop.clone();
    if let Some(link) = &args.link {
        desktop.follow_link(link);
    }
    let hidden = args.hidden && args.link.is_none();
    let with_stdin = args.end_with_stdin;
    let single = tauri_plugin_single_instance::Builder::new()
        .dbus_id(name)
        .callback(move |app, argv, _| again.started_again(app, &argv))
        .build();
    let app = tauri::Builder::default()
        .plugin(single)
        .plugin(window::keep_state())
        .manage(desktop.clone())
        .invoke_handler(tauri::generate_handler![
            commands::request,
            commands::follow,
            commands::heard,
            commands::listen,
            commands::leave,
            commands::desk,
            commands::decide,
            commands::choose,
            commands::quit,
            commands::stop_seen,
            commands::configure,
            commands::try_demo,
            commands::update,
        ])
        .on_page_load(move |_, page| {
            if page.event() == tauri::webview::PageLoadEvent::Started {
                first.bridge.page_gone();
            }
        })
        .setup(move |app| {
            let _inside = set_up.runtime.enter();
            start(app.handle(), &set_up, hidden, with_stdin)?;
            Ok(())
        })
        .build(context)
        .map_err(|e| format!("the window cannot be made: {e}"))?;
    let code = app.run_return(move |app, event| on_event(app, &desktop, &event));
    // The node has ended by now; a thread that waits for the desktop must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(300));
    ending.updates.go_on(ending.host.dir())?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn on_event(app: &AppHandle, desktop: &Arc<Desktop>, event: &RunEvent) {
    let addresses = system::addresses(event);
    if !addresses.is_empty() {
        addresses.iter().for_each(|url| desktop.follow_link(url));
        window::show(app);
    }
    let RunEvent::ExitRequested { api, code, .. } = event else {
        return;
    };
    if desktop.host.ended().is_cancelled() {
        return;
    }
    // The node ends first: its actions go to their safe states, its links say goodbye.
    api.prevent_exit();
    desktop.host.end();
    let (app, ended_of, code) = (app.clone(), desktop.clone(), code.unwrap_or(0));
    let _inside = desktop.runtime.enter();
    desktop
        .tasks
        .passing("end", async move { end(&app, &ended_of, code).await });
}

/// Waits for the node and for what is on the screen, neither for ever, and ends the application.
async fn end(app: &AppHandle, desktop: &Desktop, code: i32) {
    let limit = Duration::from_millis(WINDOW_END_MS) + desktop.host.ending_by_signal().patience();
    let ended = desktop.host.ended();
    if tokio::time::timeout(limit, ended.cancelled())
        .await
        .is_err()
    {
        tracing::error!("the node did not end in time; the application ends without it");
        ended.cancel();
    }
    desktop.shown.close();
    let limit = Duration::from_millis(WINDOW_FAREWELL_MS);
    let _ = tokio::time::timeout(limit, desktop.shown.wait()).await;
    app.exit(code);
}

/// Puts everything together, on the main thread.
fn start(app: &AppHandle, desktop: &Arc<Desktop>, hidden: bool, stdin: bool) -> tauri::Result<()> {
    let tasks = &desktop.tasks;
    let (summaries, seen) = watch::channel(Summary::default());
    let chosen = desktop.clone();
    match window::carefully(|| tray::build(app, move |app, what| chosen.chosen(app, what))) {
        Ok(icon) => {
            desktop.tray.store(true, Ordering::Release);
            tasks.passing("tray", tray::follow(app.clone(), icon, seen.clone()));
        }
        Err(why) => desktop.note(format!("No tray icon: {why}.")),
    }
    let icon = desktop.tray.load(Ordering::Acquire);
    window::open(app, desktop, hidden && icon)?;
    if icon {
        tasks.passing("tray host", tray_host(app.clone(), desktop.clone()));
    }
    let stops = desktop.stops.clone();
    tasks.passing(
        "summary",
        summary::follow(desktop.host.clone(), stops, summaries),
    );
    let shown = notify::follow(app.clone(), desktop.clone(), seen);
    tasks.passing("notifications", shown);
    tasks.passing("stages", stages(desktop.clone()));
    tasks.passing("updates", update::follow(desktop.clone()));
    let ending = desktop.host.ending_by_signal();
    tasks.passing("signals", signals(app.clone(), ending, stdin));
    tasks.passing("node", desktop.host.clone().run());
    Ok(())
}

/// Follows whether a tray shows us. A hidden window that no tray leads to comes forward after a grace,
/// in which a panel may still be starting: never a process without a window or a tray.
async fn tray_host(app: AppHandle, desktop: Arc<Desktop>) {
    let grace = Duration::from_millis(TRAY_GRACE_MS);
    let mut gone_since: Option<tokio::time::Instant> = None;
    let mut told = None;
    loop {
        let there = desktop.in_tray_now().await;
        if told != Some(there) {
            told = Some(there);
            match there {
                true => desktop.unnote(NO_TRAY),
                false => desktop.note(NO_TRAY.to_owned()),
            }
            desktop.tell();
        }
        let gone = match there {
            true => None,
            false => Some(gone_since.unwrap_or_else(tokio::time::Instant::now)),
        };
        if gone.is_some_and(|since| since.elapsed() >= grace) && window::is_hidden(&app) {
            window::show(&app);
        }
        gone_since = gone;
        tokio::select! {
            () = desktop.host.ended().cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(TRAY_LOOK_MS)) => {}
        }
    }
}

/// Tells the page each stage of the node.
async fn stages(desktop: Arc<Desktop>) {
    let mut stages = desktop.host.stages();
    while stages.changed().await.is_ok() {
        desktop.tell();
    }
}

/// Ends the application when the system asks for it.
async fn signals(app: AppHandle, ending: Ending, with_stdin: bool) {
    let stdin = async {
        let mut scrap = [0u8; 256];
        let mut stdin = tokio::io::stdin();
        while tokio::io::AsyncReadExt::read(&mut stdin, &mut scrap)
            .await
            .is_ok_and(|n| n > 0)
        {}
    };
    let asked = async {
        match Signals::listen(ending) {
            Ok(mut signals) => {
                signals.asked().await;
            }
            Err(error) => {
                tracing::error!(%error, "signals cannot be heard");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        () = asked => {}
        () = stdin, if with_stdin => {}
    }
    app.exit(0);
}
