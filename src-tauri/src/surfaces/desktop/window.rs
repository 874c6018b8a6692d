//! The window: one, of the console's own files, that goes nowhere else. Closing it leaves the
//! application in the tray, and ends it where no tray shows us: never a process without a window or a tray.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tauri::plugin::TauriPlugin;
use tauri::webview::{DownloadEvent, NewWindowResponse};
use tauri::{AppHandle, Manager as _, WebviewUrl, WebviewWindowBuilder, WindowEvent, Wry};
use tauri_plugin_window_state::StateFlags;

use super::{Desktop, notify, system};

/// Names tried for an export before it is refused.
const NAMES_TRIED: u32 = 1_000;
/// The window's label.
const MAIN: &str = "main";

/// Keeps size and place over restarts, not whether it was shown.
pub(super) fn keep_state() -> TauriPlugin<Wry> {
    tauri_plugin_window_state::Builder::default()
        .with_state_flags(StateFlags::SIZE | StateFlags::POSITION | StateFlags::MAXIMIZED)
        .build()
}

/// Whether an address is the console's own.
fn ours(url: &tauri::Url) -> bool {
    match url.scheme() {
        "tauri" => url.host_str() == Some("localhost"),
        "http" | "https" => url.host_str() == Some("tauri.localhost"),
        "about" => url.path() == "blank",
        // What the page has made itself, to save it: without our commands, and under the page's rules.
        "blob" => ["tauri://localhost/", "http://tauri.localhost/"]
            .iter()
            .any(|page| url.path().starts_with(page)),
        _ => false,
    }
}

/// Opens the window; hidden if the application starts in the tray.
///
/// # Errors
/// If the system gives no window.
pub(super) fn open(app: &AppHandle, desktop: &Arc<Desktop>, hidden: bool) -> tauri::Result<()> {
    let saving = desktop.clone();
    let window = WebviewWindowBuilder::new(app, MAIN, WebviewUrl::App("index.html".into()))
        .title("ClawMesh")
        .inner_size(1280.0, 820.0)
        .min_inner_size(360.0, 480.0)
        .visible(!hidden)
        .on_navigation(ours)
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_download(move |view, event| saves(view.app_handle(), &saving, event))
        .build()?;
    system::watch(&window, &desktop.gestures)?;
    let (desktop, kept) = (desktop.clone(), window.clone());
    window.on_window_event(move |event| {
        if let WindowEvent::CloseRequested { api, .. } = event {
            api.prevent_close();
            // The bus is asked off this thread, which must not wait for it.
            let (asked, window) = (desktop.clone(), kept.clone());
            let _inside = desktop.runtime.enter();
            desktop.tasks.passing("close", async move {
                match asked.in_tray_now().await {
                    true => drop(window.hide()),
                    // The window stays until the node has ended, and says so.
                    false => window.app_handle().exit(0),
                }
            });
        }
    });
    Ok(())
}

/// Exports of the page go to the person's downloads, under a name that is free.
fn saves(app: &AppHandle, desktop: &Arc<Desktop>, event: DownloadEvent<'_>) -> bool {
    match event {
        DownloadEvent::Requested { url, destination } => {
            // Only what the page itself has made; nothing is fetched.
            let folder = app.path().download_dir().or_else(|_| app.path().home_dir());
            let (true, Ok(folder)) = (url.scheme() == "blob", folder) else {
                return false;
            };
            let wanted = destination.file_name().and_then(|n| n.to_str());
            let free = free_name(&folder, wanted.unwrap_or("clawmesh"));
            let made = std::fs::create_dir_all(&folder);
            if let Some(free) = free.filter(|_| made.is_ok()) {
                *destination = free;
                return true;
            }
            false
        }
        DownloadEvent::Finished { path, success, .. } => {
            let (summary, body) = match (success, path) {
                (true, Some(path)) => ("Saved", path.display().to_string()),
                (true, None) => ("Saved", "It is in your downloads.".to_owned()),
                (false, _) => ("Not saved", "The file could not be written.".to_owned()),
            };
            let told = desktop.clone();
            let _inside = desktop.runtime.enter();
            desktop.tasks.passing("saved", async move {
                notify::tell(&told, summary, &body).await;
            });
            true
        }
        _ => false,
    }
}

/// The name in the folder, with a number if it is taken.
fn free_name(folder: &Path, wanted: &str) -> Option<PathBuf> {
    let (stem, end) = match wanted.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => (stem, format!(".{end}")),
        _ => (wanted, String::new()),
    };
    let name = |n: u32| match n {
        0 => folder.join(format!("{stem}{end}")),
        n => folder.join(format!("{stem} ({n}){end}")),
    };
    (0..NAMES_TRIED).map(name).find(|path| !path.exists())
}

/// Brings the window forward.
pub(super) fn show(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(MAIN) {
        let _ = window.show();
        let _ = window.unminimize();
        let _ = window.set_focus();
    }
}

/// Whether there is a window and it is not on the screen.
pub(super) fn is_hidden(app: &AppHandle) -> bool {
    let window = app.get_webview_window(MAIN);
    window.is_some_and(|w| w.is_visible().is_ok_and(|visible| !visible))
}

/// Does what may panic in a library of the system that is missing, and says why it did not work.
///
/// # Errors
/// The reason, as text.
pub(super) fn carefully<T>(what: impl FnOnce() -> tauri::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err("a library of the system is missing (libayatana-appindicator3)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_export_overwrites_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let first = free_name(temp.path(), "a.csv").unwrap();
        std::fs::write(&first, "x").unwrap();
        let second = free_name(temp.path(), "a.csv").unwrap();
        assert_eq!(second, temp.path().join("a (1).csv"));
    }

    #[test]
    fn the_window_goes_nowhere_else() {
        for (url, good) in [
            ("tauri://localhost/approvals?id=x", true),
            ("http://tauri.localhost/", true),
            ("https://example.org/", false),
            ("http://127.0.0.1:18789/", false),
            ("file:///etc/passwd", false),
            ("data:text/html,x", false),
            ("blob:tauri://localhost/0e8c", true),
            ("blob:https://example.org/0e8c", false),
        ] {
            assert_eq!(ours(&url.parse().unwrap()), good, "{url}");
        }
    }
}
