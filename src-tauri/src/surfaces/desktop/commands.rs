//! What the page in the window can ask of the application: these commands and no others, each named in
//! `capabilities/window.json`. They translate and call.

use std::process::Stdio;
use std::sync::Arc;

use tauri::ipc::{Channel, Response};
use tauri::{AppHandle, State};

use super::carrier::{self, Asked, Told};
use super::decide::{self, Decided};
use super::stage::{Choice, Stage};
use super::{DeskTold, Desktop};
use crate::domain::base::{Code, Refusal};

type Here<'a> = State<'a, Arc<Desktop>>;

/// Carries one request to the node.
#[tauri::command]
pub(super) async fn request(desktop: Here<'_>, asked: Asked) -> Result<Response, ()> {
    Ok(desktop.carrier.ask(asked).await)
}

/// Begins the event stream of this page.
#[tauri::command]
pub(super) async fn follow(
    desktop: Here<'_>,
    since: Option<u64>,
    page: Channel<Told>,
) -> Result<u64, String> {
    let begun = desktop.carrier.follow(since, page).await;
    begun.map_err(|refusal| refusal.message)
}

/// The page has taken batches of its stream.
#[tauri::command]
pub(super) fn heard(desktop: Here<'_>, stream: u64, count: u64) {
    desktop.carrier.heard(stream, count);
}

/// The page has loaded and wants to be told about the desktop around it.
#[tauri::command]
pub(super) fn desk(desktop: Here<'_>, page: Channel<DeskTold>) {
    desktop.page_listens(page);
}

/// Decides a proposal as the person at the window.
#[tauri::command]
pub(super) async fn decide(desktop: Here<'_>, asked: Decided) -> Result<Response, ()> {
    let decided = decide::by_press(&desktop.host, &desktop.gestures, asked).await;
    Ok(match decided {
        Ok(standing) => carrier::answered(&standing),
        Err(refusal) => carrier::refused(&refusal),
    })
}

/// A person chose how to go on where the node could not start.
#[tauri::command]
pub(super) fn choose(app: AppHandle, desktop: Here<'_>, choice: Choice) {
    let stage = desktop.host.stages().borrow().clone();
    match (stage, choice) {
        // What answered for the keychain is asked once per process.
        (Stage::Keychain { absent: true, .. }, Choice::Retry) => app.request_restart(),
        (Stage::Keychain { file_possible, .. }, Choice::File) if !file_possible => {}
        _ => desktop.host.choose(choice),
    }
}

/// Ends the application.
#[tauri::command]
pub(super) fn quit(app: AppHandle) {
    app.exit(0);
}

/// Starts the demonstration farm in a window of its own, beside this one.
#[tauri::command]
pub(super) fn try_demo(desktop: Here<'_>) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let node = program.with_file_name(format!("clawmesh-node{}", std::env::consts::EXE_SUFFIX));
    let root = desktop.host.dir().root();
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let dir = root.with_file_name(format!("{name}-demo"));
    let started = std::process::Command::new(&node)
        .args(["demo", "--window", "--state-dir"])
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let why = |e| Refusal::new(Code::NotFound, format!("{}: {e}", node.display())).message;
    started.map(drop).map_err(why)
}
