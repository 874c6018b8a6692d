//! `service` on Windows: the steps for the service manager of Windows, which programs of the system carry out. It compiles on every system, so that
//! `--dry-run --manager windows` prints them anywhere.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::ServiceInstall;
use super::context::Context;
use super::fail::{Done, Failure};
use super::out;
use super::service::{Step, not_there, ready, shown, taken};
use crate::adapters::service_manager::installed::Service;
use crate::adapters::service_manager::units::{
    Run, WINDOWS_ACCOUNT, WINDOWS_NAME, WINDOWS_PLACE, WINDOWS_STATE_DIR,
};
use crate::adapters::system;

/// Who may use the state directory: the system, the administrators, and the service's account, by its number.
const KEEPERS: [&str; 3] = ["*S-1-5-18", "*S-1-5-32-544", system::SERVICE_ACCOUNT];

/// The state directory of the service where none is named.
pub(super) fn usual_state_dir() -> Result<PathBuf, Failure> {
    let data = std::env::var_os("ProgramData").filter(|data| !data.is_empty());
    let data = data.unwrap_or_else(|| r"C:\ProgramData".into());
    Ok(Path::new(&data).join(WINDOWS_STATE_DIR))
}

fn run(words: &[&str]) -> Step {
    Step::Run(command(words))
}

/// A command line whose program is the system's own, by its whole path: another one of this name lies in no folder before it.
fn command(words: &[&str]) -> Vec<String> {
    let root = std::env::var_os("SystemRoot").filter(|root| !root.is_empty());
    let root = root.unwrap_or_else(|| r"C:\Windows".into());
    let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
    let program = format!(r"{}\System32\{program}", root.to_string_lossy());
    let arguments = arguments.iter().map(|word| (*word).to_owned());
    std::iter::once(program).chain(arguments).collect()
}

/// The state directory for the service's account, the service, and its start.
pub(super) fn install(
    ctx: &Context,
    args: &ServiceInstall,
    service: &Service,
    how: &Run<'_>,
    started_by: String,
) -> Done {
    if args.run_as.is_some() {
        return Err(Failure::usage(format!(
            "on Windows the node runs as {WINDOWS_ACCOUNT}, an account of its own: leave --run-as away"
        )));
    }
    let dir = how.state_dir.unwrap_or(Path::new(WINDOWS_STATE_DIR));
    let shown_dir = dir.display().to_string();
    let start = if args.no_start { "demand" } else { "auto" };
    let mut steps = Vec::new();
    if !dir.is_dir() {
        steps.push(Step::Make(dir.to_owned()));
    }
    steps.extend(registration(&shown_dir, &started_by, start));
    if !args.no_start {
        // It waits until the node serves.
        steps.push(run(&["net.exe", "start", WINDOWS_NAME]));
    }
    if args.dry_run {
        return shown(ctx, &steps);
    }
    hidden(how.program)?;
    ready(service)?;
    if service.state().is_some() {
        return Err(Failure::failed(
            "the service is installed already: `clawmesh-node service uninstall` first, which leaves its state directory as it is; \
             nothing was changed",
        ));
    }
    if dir.is_dir()
        && let Ok(Some(exposure)) = system::others_may_write(dir)
    {
        return Err(Failure::failed(format!(
            "{shown_dir} is there and others may write to it ({}): look whose it is, and move it away; nothing was changed",
            exposure.how
        )));
    }
    steps.iter().try_for_each(taken)?;
    if ctx.json {
        return out::json(
            &json!({"file": service.file, "stateDir": dir, "started": !args.no_start}),
        );
    }
    let done = if args.no_start {
        "installed"
    } else {
        "installed and runs"
    };
    out::line(&format!(
        "the node is {done} as the service {WINDOWS_NAME}; its state is {shown_dir}; `clawmesh-node service status` shows it"
    ));
    Ok(())
}

/// The directory for the service's account alone, and the service as its manager is to know it.
fn registration(dir: &str, started_by: &str, start: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rights = vec!["icacls.exe", dir, "/inheritance:r", "/q"];
    let granted = KEEPERS.map(|who| format!("{who}:(OI)(CI)F"));
    for who in &granted {
        rights.extend(["/grant:r", who]);
    }
    steps.push(run(&rights));
    steps.push(run(&[
        "icacls.exe",
        dir,
        "/setowner",
        "*S-1-5-32-544",
        "/t",
        "/q",
    ]));
    steps.push(run(&[
        "sc.exe",
        "create",
        WINDOWS_NAME,
        "binPath=",
        started_by,
        "start=",
        start,
        "obj=",
        WINDOWS_ACCOUNT,
        "DisplayName=",
        "ClawMesh node",
    ]));
    steps.push(run(&[
        "reg.exe",
        "add",
        WINDOWS_PLACE,
        "/v",
        "Description",
        "/d",
        "Joins sensors, actuators and AI gateways of this machine to a ClawMesh mesh.",
        "/f",
    ]));
    // At a shutdown of the machine the manager waits as long; its own limit may be ten seconds.
    steps.push(run(&[
        "reg.exe",
        "add",
        WINDOWS_PLACE,
        "/v",
        "PreshutdownTimeout",
        "/t",
        "REG_DWORD",
        "/d",
        "100000",
        "/f",
    ]));
    let restart = [
        "sc.exe",
        "failure",
        WINDOWS_NAME,
        "reset=",
        "3600",
        "actions=",
        "restart/1000/restart/5000/restart/30000",
    ];
    steps.push(Step::Try(command(&restart)));
    steps
}

/// Refuses a program that the account of the service cannot read.
fn hidden(program: &Path) -> Done {
    let shown = program.display().to_string();
    match shown.to_lowercase().contains(r":\users\") {
        false => Ok(()),
        true => Err(Failure::failed(format!(
            "the program is {shown}, where the service's account sees nothing: copy it to a folder below C:\\Program Files first, \
             and run that one; nothing was changed"
        ))),
    }
}

/// Ends the node in order, and takes the service away.
pub(super) fn uninstall(ctx: &Context, service: &Service, dry_run: bool) -> Done {
    let stop = run(&["net.exe", "stop", WINDOWS_NAME]);
    let delete = run(&["sc.exe", "delete", WINDOWS_NAME]);
    if dry_run {
        return shown(ctx, &[stop, delete]);
    }
    let state = service.state().ok_or_else(|| not_there(service))?;
    ready(service)?;
    if state.active {
        taken(&stop)?;
    }
    taken(&delete)?;
    if ctx.json {
        return out::json(&json!({"file": service.file, "installed": false}));
    }
    out::line(&format!(
        "the service {WINDOWS_NAME} is removed and the node has ended; its state directory is left as it is"
    ));
    Ok(())
}
