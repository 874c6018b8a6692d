//! `service`: the node as a service of this machine. What is written and run is a list of steps, which `--dry-run` prints.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{ServiceArgs, ServiceCommand, ServiceInstall};
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{out, sc};
use crate::adapters::files;
use crate::adapters::paths::{STATE_DIR_ENV, StateDir};
use crate::adapters::service_manager::installed::{Manager, Service, UNIT_NAME, said};
use crate::adapters::service_manager::units::{LABEL, Run, STATE_DIR, USER};
use crate::adapters::system;
use crate::domain::base::limits::SMALL_FILE_MAX_BYTES;

/// Words of the files that this program writes; a file without them is somebody's own.
const OURS: [&str; 2] = [
    "# systemd unit of a ClawMesh node",
    "<!-- launchd job of a ClawMesh node",
];
/// Places that the unit of the system's manager hides from the node.
const HIDDEN: [&str; 4] = ["/home", "/root", "/run/user", "/tmp"];

/// `service …`
///
/// # Errors
/// If the service cannot be installed, or is not there.
pub(super) fn run(ctx: &Context, command: &ServiceCommand) -> Done {
    match command {
        ServiceCommand::Install(args) => install(ctx, args),
        ServiceCommand::Uninstall { of, dry_run } => uninstall(ctx, of, *dry_run),
        ServiceCommand::Status(of) => status(ctx, of),
    }
}

/// A step of an installation.
pub(super) enum Step {
    Make(PathBuf),
    Write(PathBuf, String),
    Remove(PathBuf),
    Run(Vec<String>),
    /// What the service does without: a failure is told.
    Try(Vec<String>),
}

fn service(of: &ServiceArgs) -> Result<Service, Failure> {
    let manager = of.manager.map_or_else(Manager::here, Manager::from);
    if manager == Manager::Windows && of.user {
        return Err(Failure::usage(
            "services of Windows are those of the machine: leave --user away, or have the Task Scheduler start `clawmesh-node start` \
             when you log on",
        ));
    }
    let always = manager == Manager::Windows;
    let system = always || of.system || !of.user && system::is_administrator();
    let found = Service::of(manager, system, |name| std::env::var_os(name));
    found.ok_or_else(|| Failure::usage("no home directory is known: set HOME, or give --system"))
}

fn install(ctx: &Context, args: &ServiceInstall) -> Done {
    let service = service(&args.of)?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(|e| Failure::failed(format!("this program does not know where it is: {e}")))?,
    };
    let program = std::path::absolute(&program).unwrap_or(program);
    let mut dir = state_dir(ctx, service.system)?;
    if service.manager == Manager::Windows && dir.is_none() {
        dir = Some(sc::usual_state_dir()?);
    }
    let run = Run {
        program: &program,
        state_dir: dir.as_deref(),
        user: args.run_as.as_deref().unwrap_or(USER),
    };
    let text = match (service.manager, service.system) {
        (Manager::Systemd, true) => run.system_unit(),
        (Manager::Systemd, false) => run.user_unit(),
        (Manager::Launchd, system) => run.launchd_job(&launchd_log(ctx, system)),
        (Manager::Windows, _) => run.windows_command(),
    };
    let text = text.map_err(Failure::usage)?;
    if service.manager == Manager::Windows {
        return sc::install(ctx, args, &service, &run, text);
    }
    let mut steps = Vec::new();
    if service.manager == Manager::Systemd && service.system {
        steps.extend(user_of(
            run.user,
            dir.as_deref().unwrap_or(Path::new(STATE_DIR)),
        ));
    }
    if let Some(folder) = service.file.parent().filter(|folder| !folder.exists()) {
        steps.push(Step::Make(folder.to_owned()));
    }
    steps.push(Step::Write(service.file.clone(), text));
    steps.extend(started(&service, !args.no_start));
    if args.dry_run {
        return shown(ctx, &steps);
    }
    hidden(&service, &program)?;
    ready(&service)?;
    owned(&service.file)?;
    steps.iter().try_for_each(taken)?;
    if ctx.json {
        return out::json(&json!({"file": service.file, "started": !args.no_start}));
    }
    let file = service.file.display();
    let done = if args.no_start {
        "installed"
    } else {
        "installed and running"
    };
    out::line(&format!(
        "the node is {done} as {file}; `clawmesh-node service status` shows it"
    ));
    if service.manager == Manager::Systemd && !service.system {
        out::line("it runs while you are logged in; to have it run always: loginctl enable-linger");
    }
    Ok(())
}

/// The state directory that the service is told; none where it finds that by itself.
fn state_dir(ctx: &Context, system: bool) -> Result<Option<PathBuf>, Failure> {
    let usual = StateDir::resolve(None, |name| {
        std::env::var_os(name).filter(|_| name != STATE_DIR_ENV)
    });
    let named = match system {
        true => ctx.named.clone(),
        false => (usual.ok().as_ref() != Some(&ctx.dir)).then(|| ctx.dir.root().to_owned()),
    };
    let absolute = |dir: PathBuf| std::path::absolute(dir).map_err(Failure::failed);
    named.map(absolute).transpose()
}

fn launchd_log(ctx: &Context, system: bool) -> PathBuf {
    match system {
        true => PathBuf::from("/var/log/clawmesh-node.log"),
        false => ctx.dir.root().join("node.log"),
    }
}

/// Makes the user that the node runs as, where there is none.
fn user_of(user: &str, home: &Path) -> Option<Step> {
    let known = files::read_text(Path::new("/etc/passwd"), SMALL_FILE_MAX_BYTES * 16);
    let is_it = |line: &str| line.split(':').next() == Some(user);
    if known.unwrap_or_default().lines().any(is_it) {
        return None;
    }
    let home = home.display().to_string();
    let words = [
        "useradd",
        "--system",
        "--home-dir",
        &home,
        "--shell",
        "/usr/sbin/nologin",
        user,
    ];
    Some(Step::Run(words.map(str::to_owned).to_vec()))
}

/// How a service that is written is made known, and started.
fn started(service: &Service, start: bool) -> Vec<Step> {
    let run = |words: &[&str]| Step::Run(service.asks(words));
    let file = service.file.display().to_string();
    match (service.manager, start) {
        (Manager::Systemd, true) => vec![
            run(&["daemon-reload"]),
            run(&["enable", UNIT_NAME]),
            run(&["restart", UNIT_NAME]),
        ],
        (Manager::Systemd, false) => vec![run(&["daemon-reload"])],
        (Manager::Launchd, true) => vec![run(&["bootstrap", &service.domain(), &file])],
        (Manager::Launchd, false) | (Manager::Windows, _) => Vec::new(),
    }
}

/// Refuses a program that the unit would hide from itself.
fn hidden(service: &Service, program: &Path) -> Done {
    let systemd = service.manager == Manager::Systemd && service.system;
    match HIDDEN
        .iter()
        .find(|place| systemd && program.starts_with(place))
    {
        None => Ok(()),
        Some(place) => Err(Failure::failed(format!(
            "the program is {}, and the service sees nothing of {place}: copy it first, as in `install -m 0755 {} \
             /usr/local/bin/`, and run that one; nothing was written",
            program.display(),
            program.display()
        ))),
    }
}

/// Refuses where the manager does not run, or needs rights that are not there.
pub(super) fn ready(service: &Service) -> Done {
    let name = match service.manager {
        Manager::Systemd => "systemd",
        Manager::Launchd => "launchd",
        Manager::Windows => "the service manager of Windows",
    };
    if !service.manager.runs() {
        return Err(Failure::failed(format!(
            "{name} does not run on this machine; --dry-run prints what would be written. docs/deploy.md has a container and a \
             Nomad job"
        )));
    }
    match service.system && !system::is_administrator() {
        true if service.manager == Manager::Windows => Err(Failure::failed(
            "a service needs an administrator: open a terminal with \"Run as administrator\"; nothing was changed",
        )),
        true => Err(Failure::failed(
            "a service of the system needs root: run it with sudo, or give --user for one of your own",
        )),
        false => Ok(()),
    }
}

/// Refuses to replace or remove a file that somebody else wrote.
fn owned(file: &Path) -> Done {
    match files::read_text(file, SMALL_FILE_MAX_BYTES) {
        Ok(text) if !OURS.iter().any(|ours| text.contains(ours)) => Err(Failure::failed(format!(
            "{} is there and is none of this program's: move it away, or go on with it; nothing was changed",
            file.display()
        ))),
        _ => Ok(()),
    }
}

fn uninstall(ctx: &Context, of: &ServiceArgs, dry_run: bool) -> Done {
    let service = service(of)?;
    if service.manager == Manager::Windows {
        return sc::uninstall(ctx, &service, dry_run);
    }
    let run = |words: &[&str]| Step::Run(service.asks(words));
    let job = format!("{}/{LABEL}", service.domain());
    let mut steps = vec![match service.manager {
        Manager::Systemd => run(&["disable", "--now", UNIT_NAME]),
        Manager::Launchd | Manager::Windows => run(&["bootout", &job]),
    }];
    steps.push(Step::Remove(service.file.clone()));
    if service.manager == Manager::Systemd {
        steps.push(run(&["daemon-reload"]));
    }
    if dry_run {
        return shown(ctx, &steps);
    }
    if !service.file.exists() {
        return Err(not_there(&service));
    }
    ready(&service)?;
    owned(&service.file)?;
    steps.iter().try_for_each(taken)?;
    match ctx.json {
        true => out::json(&json!({"file": service.file, "installed": false})),
        false => {
            out::line(&format!(
                "{} is removed and the node has ended; its state directory is left as it is",
                service.file.display()
            ));
            Ok(())
        }
    }
}

pub(super) fn not_there(service: &Service) -> Failure {
    let file = service.file.display();
    let why = format!(
        "no service is installed ({file} is not there); `clawmesh-node service install` does it"
    );
    Failure::new(Exit::NotFound, why)
}

fn status(ctx: &Context, of: &ServiceArgs) -> Done {
    let service = service(of)?;
    let state = service.state().ok_or_else(|| not_there(&service))?;
    if ctx.json {
        out::json(&state)?;
    } else {
        let enabled = match state.enabled {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known",
        };
        out::facts(&[
            ("file", state.file.display().to_string()),
            ("state", state.words.clone()),
            ("starts by itself", enabled.to_owned()),
        ]);
    }
    match state.active {
        true => Ok(()),
        false => Err(Failure::new(Exit::NotRunning, "the service does not run")),
    }
}

/// Prints steps as a person would do them.
pub(super) fn shown(ctx: &Context, steps: &[Step]) -> Done {
    if ctx.json {
        let view = |step: &Step| match step {
            Step::Make(path) => json!({"makeDirectory": path}),
            Step::Write(path, text) => json!({"write": path, "text": text}),
            Step::Remove(path) => json!({"remove": path}),
            Step::Run(words) | Step::Try(words) => json!({"run": words}),
        };
        return out::json(&steps.iter().map(view).collect::<Vec<_>>());
    }
    for step in steps {
        match step {
            Step::Make(path) => out::whole(&format!("# mkdir -p {}", path.display())),
            Step::Write(path, text) => {
                out::whole(&format!("# write {}", path.display()));
                out::print(text);
            }
            Step::Remove(path) => out::whole(&format!("# rm {}", path.display())),
            Step::Run(words) | Step::Try(words) => {
                out::whole(&format!("# {}", words.join(" ")));
            }
        }
    }
    Ok(())
}

pub(super) fn taken(step: &Step) -> Done {
    let failed =
        |path: &Path, e: std::io::Error| Failure::failed(format!("{}: {e}", path.display()));
    match step {
        Step::Make(path) => std::fs::create_dir_all(path).map_err(|e| failed(path, e)),
        Step::Write(path, text) => write(path, text).map_err(|e| failed(path, e)),
        Step::Remove(path) => std::fs::remove_file(path).map_err(|e| failed(path, e)),
        Step::Try(words) => {
            if let Err(why) = said(words) {
                out::error(&format!("{why}; the service is installed without it"));
            }
            Ok(())
        }
        Step::Run(words) => said(words).map(drop).map_err(|why| {
            let log = match Manager::here() {
                Manager::Windows => "node.log in the state directory of the service has its log",
                _ => "`journalctl -u clawmesh-node` (with --user for one of your own) has its log",
            };
            Failure::failed(why).and(log)
        }),
    }
}

/// A file that everybody may read, as managers want it, in one step.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    part.write_all(text.as_bytes())?;
    system::for_all(part.as_file())?;
    part.as_file().sync_all()?;
    part.persist(path)?;
    Ok(())
}
