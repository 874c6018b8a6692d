//! The commands that the page in the window can call, and no others; each is named in
//! `capabilities/window.json`. They translate and call.

use std::sync::Arc;
use std::time::Duration;

use tauri::ipc::{Channel, Response};
use tauri::{AppHandle, State};
use tokio::time::Instant;

use super::bridge::{self, Asked, Told};
use super::decide::{self, Decided};
use super::gesture::Gestures;
use super::lines::Piece;
use super::settings::Settings;
use super::stage::{Choice, Stage};
use super::system;
use super::update::{self, Step};
use super::{DeskTold, Desktop, demo};
use crate::domain::base::limits::WINDOW_PRESS_MS;

type Here<'a> = State<'a, Arc<Desktop>>;

/// The refusal of a command without a person's press.
const NEEDS_PRESS: &str = "this needs a press by the person at the window; press the button again";

/// Refuses what does not come with a press of the person; the press counts no more after it.
fn pressed(gestures: &Gestures) -> Result<(), String> {
    let within = Duration::from_millis(WINDOW_PRESS_MS);
    match !system::SEEN || gestures.take(within, Instant::now()) {
        true => Ok(()),
        false => Err(NEEDS_PRESS.to_owned()),
    }
}

/// Carries one request to the node.
#[tauri::command]
pub(super) async fn request(desktop: Here<'_>, asked: Asked) -> Result<Response, ()> {
    Ok(desktop.bridge.ask(asked).await)
}

/// Begins the event stream of this page.
#[tauri::command]
pub(super) async fn follow(
    desktop: Here<'_>,
    since: Option<u64>,
    page: Channel<Told>,
) -> Result<u64, String> {
    let begun = desktop.bridge.follow(since, page).await;
    begun.map_err(|refusal| refusal.message)
}

/// The page has taken batches of its stream.
#[tauri::command]
pub(super) fn heard(desktop: Here<'_>, stream: u64, count: u64) {
    desktop.bridge.heard(stream, count);
}

/// Begins a request whose answer comes piece by piece. On the threads of the runtime, which begin the task.
#[tauri::command]
pub(super) async fn listen(
    desktop: Here<'_>,
    asked: Asked,
    page: Channel<Piece>,
) -> Result<u64, ()> {
    Ok(desktop.bridge.listen(asked, page))
}

/// The page does not want such an answer any more.
#[tauri::command]
pub(super) fn leave(desktop: Here<'_>, number: u64) {
    desktop.bridge.leave(number);
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
        Ok(standing) => bridge::answered(&standing),
        Err(refusal) => bridge::refused(&refusal),
    })
}

/// A person chose how to go on where the node could not start.
#[tauri::command]
pub(super) fn choose(app: AppHandle, desktop: Here<'_>, choice: Choice) -> Result<(), String> {
    pressed(&desktop.gestures)?;
    let stage = desktop.host.stages().borrow().clone();
    match (stage, choice) {
        // The keychain is asked once per process.
        (Stage::Keychain { absent: true, .. }, Choice::Retry) => app.request_restart(),
        (Stage::Keychain { file_possible, .. }, Choice::File) if !file_possible => {}
        _ => desktop.host.choose(choice),
    }
    Ok(())
}

/// Ends the application.
#[tauri::command]
pub(super) fn quit(app: AppHandle, desktop: Here<'_>) -> Result<(), String> {
    pressed(&desktop.gestures)?;
    app.exit(0);
    Ok(())
}

/// A person has closed what an emergency stop came to.
#[tauri::command]
pub(super) fn stop_seen(desktop: Here<'_>) -> Result<(), String> {
    pressed(&desktop.gestures)?;
    desktop.stop_seen();
    Ok(())
}

/// A change of this desktop's settings; absent members stay as they are.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default)]
    autostart: Option<bool>,
    #[serde(default)]
    settings: Option<Settings>,
}

/// Changes the settings of this desktop.
#[tauri::command]
pub(super) async fn configure(desktop: Here<'_>, change: Change) -> Result<(), String> {
    pressed(&desktop.gestures)?;
    let desktop = Arc::clone(&desktop);
    let work = move || desktop.configure(change.autostart, change.settings);
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| e.to_string())?
}

/// Looks for a newer version of this application, installs it, or starts it. Where no press is seen, what changes the
/// machine asks in a window of the system's own.
#[tauri::command]
pub(super) async fn update(app: AppHandle, desktop: Here<'_>, step: Step) -> Result<(), String> {
    pressed(&desktop.gestures)?;
    if let (false, Some(question)) = (system::SEEN, step.question())
        && !system::confirmed(question).await
    {
        return Err("nothing was installed: it needs a yes in the system's own dialog".to_owned());
    }
    update::take(&app, &desktop, step).await
}

/// Starts the demonstration farm in a window of its own, beside this one.
#[tauri::command]
pub(super) async fn try_demo(desktop: Here<'_>) -> Result<(), String> {
    pressed(&desktop.gestures)?;
    demo::open(&desktop).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_script_alone_starts_and_ends_nothing() {
        let gestures = Gestures::default();
        pressed(&gestures).unwrap_err();
        gestures.down(
            crate::surfaces::desktop::gesture::Code::Button(1),
            true,
            Instant::now(),
        );
        gestures.up(
            crate::surfaces::desktop::gesture::Code::Button(1),
            Instant::now(),
        );
        pressed(&gestures).unwrap();
        pressed(&gestures).unwrap_err();
    }
}
