//! The desktop application: a window around the console, the node inside the process, the tray, native
//! notifications, the keychain. It hosts and shows; what happens is decided behind the operator door.
//!
//! `host` runs the node, `carrier` joins the page to it, `decide` signs on a press that `gesture` saw,
//! `picture` is what `tray` and `notify` show, `window` is the window, `stage` what it says around the
//! node's life, `settings` what it was told. The entry point hands in the HTTP surface, which a surface
//! may not name by itself.

mod carrier;
mod commands;
mod decide;
mod gesture;
mod host;
mod icon;
mod notify;
mod person;
mod picture;
mod settings;
mod stage;
mod tray;
mod window;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Parser as _;
use sha2::{Digest as _, Sha256};
use tauri::ipc::Channel;
use tauri::{AppHandle, RunEvent};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

pub use self::host::{App, MakeApp};

use self::carrier::Carrier;
use self::gesture::Gestures;
use self::host::Host;
use self::picture::Picture;
use self::settings::{Args, Settings};
use self::stage::Desk;
use self::tray::Chosen;
use crate::adapters::paths::StateDir;
use crate::node::runtime::Tasks;
use crate::operator::estop::EstopRequest;
use crate::operator::planner::PauseRequest;

/// What the page is told without asking.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum DeskTold {
    /// The desktop around it.
    Desk {
        /// As it is now.
        desk: Desk,
    },
    /// A place to go to.
    Goto {
        /// A path of the console.
        path: String,
    },
}

/// Everything that lives as long as the application.
pub(crate) struct Desktop {
    host: Arc<Host>,
    tasks: Tasks,
    runtime: tokio::runtime::Handle,
    gestures: Gestures,
    carrier: Carrier,
    settings: Settings,
    told: Mutex<Told>,
    tray: AtomicBool,
    silent: AtomicBool,
}

/// What the page has been told, and what it is to be told when it is there.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    page: Option<Channel<DeskTold>>,
    goto: Option<String>,
}

impl Desktop {
    fn new(host: Arc<Host>, runtime: tokio::runtime::Handle) -> Arc<Self> {
        let (tasks, gestures) = (Tasks::new(), Gestures::default());
        let (settings, wrong) = Settings::read(host.dir());
        let desktop = Self {
            carrier: Carrier::new(host.clone(), tasks.clone(), gestures.clone()),
            host,
            tasks,
            runtime,
            gestures,
            settings,
            told: Mutex::default(),
            tray: AtomicBool::new(false),
            silent: AtomicBool::new(false),
        };
        desktop.told().notes.extend(wrong);
        Arc::new(desktop)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the application can be reached by its tray now.
    fn in_tray(&self) -> bool {
        self.tray.load(Ordering::Acquire) && tray::has_host()
    }

    fn desk(&self) -> Desk {
        Desk {
            stage: self.host.stages().borrow().clone(),
            notes: self.told().notes.clone(),
            tray: self.in_tray(),
            state_dir: self.host.dir().root().display().to_string(),
        }
    }

    /// Tells the page how things stand.
    fn tell(&self) {
        let desk = self.desk();
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

    /// Does what a person chose in the tray or a notification.
    fn chosen(self: &Arc<Self>, app: &AppHandle, what: Chosen) {
        match what {
            Chosen::Open => window::show(app),
            Chosen::Review(id) => {
                self.go(format!("/approvals?id={id}"));
                window::show(app);
            }
            Chosen::Reject(id, digest) => self.reject(app.clone(), id, digest),
            Chosen::Pause(rest) => self.planner(rest),
            Chosen::Stop => self.stop_all(),
            Chosen::Quit => app.exit(0),
        }
    }

    fn reject(self: &Arc<Self>, app: AppHandle, id: String, digest: String) {
        let desktop = self.clone();
        let _inside = self.runtime.enter();
        self.tasks.passing("reject", async move {
            if let Err(refusal) = decide::reject(&desktop.host, id.clone(), digest).await {
                // The page can say more, and ask for a passphrase.
                desktop.go(format!("/approvals?id={id}"));
                window::show(&app);
                let summary = "The proposal was not rejected".to_owned();
                notify::tell(desktop, summary, refusal.message).await;
            }
        });
    }

    fn planner(self: &Arc<Self>, rest: bool) {
        let desktop = self.clone();
        let _inside = self.runtime.enter();
        self.tasks.passing("planner", async move {
            let done = match (desktop.host.now(), rest) {
                (Ok(running), true) => {
                    let asked = PauseRequest {
                        reason: Some("chosen in the tray".to_owned()),
                        ..PauseRequest::default()
                    };
                    running.door.planner_pause(&asked, "the desktop").await
                }
                (Ok(running), false) => running.door.planner_resume("the desktop").await,
                (Err(refusal), _) => Err(refusal),
            };
            if let Err(refusal) = done {
                let summary = "The planner was not changed".to_owned();
                notify::tell(desktop, summary, refusal.message).await;
            }
        });
    }

    fn stop_all(self: &Arc<Self>) {
        let desktop = self.clone();
        let _inside = self.runtime.enter();
        self.tasks.passing("emergency stop", async move {
            let asked = EstopRequest {
                reason: Some("pressed in the tray".to_owned()),
                name: None,
            };
            let (summary, body) = match desktop.host.now() {
                Ok(running) => {
                    let report = running.door.estop(&asked, "the desktop").await;
                    let stopped = report.executors.iter().filter(|e| e.latched).count();
                    let all = report.executors.len();
                    let how = match report.complete {
                        true => "Everything is stopped",
                        false => "NOT everything is stopped",
                    };
                    (
                        how.to_owned(),
                        format!("{stopped} of {all} executors answered that they are stopped."),
                    )
                }
                Err(refusal) => ("Nothing was stopped".to_owned(), refusal.message),
            };
            notify::tell(desktop, summary, body).await;
        });
    }
}

/// Runs the desktop application and says how the process ends.
pub fn main(app: MakeApp) -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    match run(&args, app) {
        Ok(code) => code,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn listen(args: &Args) -> Result<(), String> {
    let filter = args
        .log
        .clone()
        .or_else(|| std::env::var("CLAWMESH_LOG").ok())
        .unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).map_err(|e| format!("--log {filter:?}: {e}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init()
        .map_err(|e| format!("logging cannot be set up: {e}"))
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
    let dir = StateDir::resolve(args.state_dir.as_deref(), |n| std::env::var(n).ok())
        .map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime cannot start: {e}"))?;
    tauri::async_runtime::set(runtime.handle().clone());
    let name = bus_name(&dir);
    let desktop = Desktop::new(Host::new(dir, make), runtime.handle().clone());
    let (first, set_up, hidden) = (desktop.clone(), desktop.clone(), args.hidden);
    let with_stdin = args.end_with_stdin;
    let single = tauri_plugin_single_instance::Builder::new()
        .dbus_id(name)
        .callback(|app, _, _| window::show(app))
        .build();
    let app = tauri::Builder::default()
        .plugin(single)
        .plugin(window::keep_state())
        .manage(desktop.clone())
        .invoke_handler(tauri::generate_handler![
            commands::request,
            commands::follow,
            commands::heard,
            commands::desk,
            commands::decide,
            commands::choose,
            commands::quit,
            commands::try_demo,
        ])
        .on_page_load(move |_, page| {
            if page.event() == tauri::webview::PageLoadEvent::Started {
                first.carrier.page_gone();
            }
        })
        .setup(move |app| {
            let _inside = set_up.runtime.enter();
            start(app.handle(), &set_up, hidden, with_stdin)?;
            Ok(())
        })
        .build(tauri::generate_context!("tauri.conf.json"))
        .map_err(|e| format!("the window cannot be made: {e}"))?;
    let code = app.run_return(move |app, event| on_event(app, &desktop, &event));
    // The node has ended by now; a thread that waits for the desktop must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(300));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn on_event(app: &AppHandle, desktop: &Arc<Desktop>, event: &RunEvent) {
    let RunEvent::ExitRequested { api, code, .. } = event else {
        return;
    };
    if desktop.host.ended().is_cancelled() {
        return;
    }
    // The node ends first: its actions go to their safe states, its links say goodbye.
    api.prevent_exit();
    desktop.host.end();
    let (app, desktop, code) = (app.clone(), desktop.clone(), code.unwrap_or(0));
    let _inside = desktop.runtime.enter();
    let ended = desktop.host.ended().clone();
    desktop.tasks.passing("end", async move {
        ended.cancelled().await;
        app.exit(code);
    });
}

/// Puts everything together, on the main thread.
fn start(app: &AppHandle, desktop: &Arc<Desktop>, hidden: bool, stdin: bool) -> tauri::Result<()> {
    let tasks = &desktop.tasks;
    let (pictures, seen) = watch::channel(Picture::default());
    let chosen = desktop.clone();
    match window::carefully(|| tray::build(app, move |app, what| chosen.chosen(app, what))) {
        Ok(icon) => {
            desktop.tray.store(true, Ordering::Release);
            tasks.passing("tray", tray::follow(app.clone(), icon, seen.clone()));
        }
        Err(why) => desktop.note(format!("No tray icon: {why}.")),
    }
    if !desktop.in_tray() {
        desktop.note("No tray on this desktop: closing the window ends ClawMesh.".to_owned());
    }
    window::open(app, desktop, hidden && desktop.in_tray())?;
    tasks.passing("picture", picture::follow(desktop.host.clone(), pictures));
    let shown = notify::follow(app.clone(), desktop.clone(), seen);
    tasks.passing("notifications", shown);
    tasks.passing("stages", stages(desktop.clone()));
    tasks.passing("signals", signals(app.clone(), stdin));
    tasks.passing("node", desktop.host.clone().run());
    Ok(())
}

/// Tells the page each stage of the node.
async fn stages(desktop: Arc<Desktop>) {
    let mut stages = desktop.host.stages();
    while stages.changed().await.is_ok() {
        desktop.tell();
    }
}

/// Ends the application when the system asks for it.
async fn signals(app: AppHandle, with_stdin: bool) {
    let stdin = async {
        let mut scrap = [0u8; 256];
        let mut stdin = tokio::io::stdin();
        while tokio::io::AsyncReadExt::read(&mut stdin, &mut scrap)
            .await
            .is_ok_and(|n| n > 0)
        {}
    };
    #[cfg(unix)]
    let asked = async {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    #[cfg(not(unix))]
    let asked = async { drop(tokio::signal::ctrl_c().await) };
    tokio::select! {
        () = asked => {}
        () = stdin, if with_stdin => {}
    }
    app.exit(0);
}
