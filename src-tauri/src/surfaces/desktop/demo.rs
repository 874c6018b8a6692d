//! The demonstration farm beside this window: a program of its own with a window and a tray of its own.
//! It ends when that window is quit, not with this one. Asked for again while it runs, its window comes
//! forward. One that ends with an error says so here.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::process::{Child, Command};

use super::{Desktop, notify};
use crate::adapters::files;
use crate::adapters::paths::{PathError, StateDir};
use crate::adapters::system;
use crate::domain::base::text::one_line;

/// The file with its stderr, in our state directory.
const LOG: &str = "demo.log";
/// How much of its end is read, in bytes.
const TAIL_BYTES: u64 = 2_048;
/// Longest sentence of it that is shown, in characters.
const SAID_CHARS: usize = 300;
/// The prefix of a note about it.
const FAILED: &str = "The demo farm ended with an error";

/// The demonstration that this window has started.
#[derive(Debug, Default)]
pub(super) struct Demo(Arc<AtomicBool>);

/// Says that it runs no more.
struct Runs(Arc<AtomicBool>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Where it keeps its state: beside ours.
fn place(dir: &StateDir) -> PathBuf {
    let name = dir.root().file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    dir.root().with_file_name(format!("{name}-demo"))
}

fn beside(name: &str) -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    Ok(program.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Starts it, or brings its window forward if it runs already.
///
/// # Errors
/// Why it cannot be started, as a sentence.
pub(super) async fn open(desktop: &Arc<Desktop>) -> Result<(), String> {
    let dir = place(desktop.host.dir());
    let mine = desktop.demo.0.load(Ordering::Acquire);
    if mine || is_held(&dir).await {
        let mut command = Command::new(beside("clawmesh")?);
        command.arg("--state-dir").arg(&dir);
        watch(desktop, start(command, Stdio::null())?, None);
        return Ok(());
    }
    let log = desktop.host.dir().root().join(LOG);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let said = system::for_owner(&mut options).open(&log);
    let said = said.map_err(|e| format!("{}: {e}", log.display()))?;
    let mut command = Command::new(beside("clawmesh-node")?);
    command.args(["demo", "--window", "--state-dir"]).arg(&dir);
    // Set before anybody can ask again.
    if desktop.demo.0.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let runs = Runs(desktop.demo.0.clone());
    let child = start(command, said.into())?;
    watch(desktop, child, Some((log, runs)));
    Ok(())
}

/// Whether a node runs on that directory; a missing directory is free.
async fn is_held(dir: &Path) -> bool {
    let dir = StateDir::at(dir);
    let asked = tokio::task::spawn_blocking(move || {
        dir.root().exists() && matches!(dir.acquire_lock(), Err(PathError::InUse { .. }))
    });
    asked.await.unwrap_or(false)
}

fn start(mut command: Command, stderr: Stdio) -> Result<Child, String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    // Its own group: what ends this window by its terminal does not end the other.
    system::in_own_group(&mut command);
    let program = command.as_std().get_program().display().to_string();
    command.spawn().map_err(|e| format!("{program}: {e}"))
}

/// Waits for its end, so that it leaves no dead process behind, and tells of an error.
fn watch(desktop: &Arc<Desktop>, mut child: Child, demo: Option<(PathBuf, Runs)>) {
    let told = desktop.clone();
    let _inside = desktop.runtime.enter();
    desktop.tasks.passing("demo", async move {
        let ended = child.wait().await;
        let Some((log, runs)) = demo else { return };
        drop(runs);
        if ended.is_ok_and(|status| status.success()) {
            return;
        }
        let said = tail(&log).unwrap_or_default();
        let what = match said.is_empty() {
            true => format!("{FAILED}."),
            false => format!("{FAILED}: {said}"),
        };
        told.note(what.clone());
        notify::tell(&told, FAILED, &what).await;
    });
}

/// The last line of a file.
fn tail(path: &Path) -> Option<String> {
    let mut file = files::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|l| !l.trim().is_empty())?;
    Some(one_line(line.trim(), SAID_CHARS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn it_lives_beside_us_and_its_last_word_is_found() {
        let dir = StateDir::at(Path::new("/home/ada/.clawmesh"));
        assert_eq!(place(&dir), Path::new("/home/ada/.clawmesh-demo"));
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join(LOG);
        assert_eq!(tail(&file), None);
        std::fs::write(&file, format!("{}\nerror: no port\n\n", "x".repeat(9_000))).unwrap();
        assert_eq!(tail(&file).unwrap(), "error: no port");
        std::fs::write(&file, b"\xff\xfe\x1b[31mred".repeat(1_000)).unwrap();
        assert!(tail(&file).unwrap().chars().count() <= SAID_CHARS + 1);
    }

    #[tokio::test]
    async fn a_directory_that_is_in_use_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        assert!(!is_held(&temp.path().join("none")).await);
        let dir = StateDir::at(&temp.path().join("state"));
        dir.prepare().unwrap();
        let lock = dir.acquire_lock().unwrap();
        assert!(is_held(dir.root()).await);
        drop(lock);
        assert!(!is_held(dir.root()).await);
    }
}
