//! Newer versions of this application: offered, and installed by a person's press alone. What is offered is what the signed list
//! of a release says ([`Releases`]), asked at the place of `[updates]` of the node's configuration, else at that of the build
//! (`plugins.updates` of `tauri.conf.json`). Nobody is asked without a press, but by the node where `[updates]` is set.
//!
//! An AppImage is replaced where it lies. Other packages belong to a package manager, whose command is said, or to the system's
//! installer, which is started after the node has ended in order.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};
use tauri::AppHandle;

use super::Desktop;
use super::host::Running;
use super::installed::{By, Installed, command};
use super::system;
use crate::adapters::paths::{StateDir, make_private_dir};
use crate::adapters::releases::package::Offer;
use crate::adapters::releases::{Releases, this_version};
use crate::domain::base::limits::{UPDATE_LOOK_FIRST_MS, UPDATE_LOOK_LAST_MS};
use crate::node::updates;

/// The folder in the state directory for packages that the system installs.
const FOLDER: &str = "updates";
/// Where updates stand, for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Update {
    /// The version that runs.
    here: String,
    /// Where releases are asked for.
    from: String,
    #[serde(flatten)]
    now: Now,
}

/// Where the newest version stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "camelCase")]
enum Now {
    /// Nobody was asked.
    #[default]
    Unasked,
    /// It is being asked for.
    Looking,
    /// Nothing newer is offered.
    Newest,
    /// A newer one is offered.
    #[serde(rename_all = "camelCase")]
    Offered { version: String, by: By },
    /// It is being brought.
    #[serde(rename_all = "camelCase")]
    Bringing { version: String, megabytes: usize },
    /// It is installed, or ready to be by the command or the installer.
    #[serde(rename_all = "camelCase")]
    Ready {
        version: String,
        by: By,
        command: Option<String>,
    },
    /// Something failed; nothing was installed.
    Failed { why: String },
}

/// What the page asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Step {
    /// Look whether a newer version is offered.
    Look,
    /// Bring and install the version that was shown.
    Install {
        /// That version.
        version: String,
    },
    /// End in order, and go on with what was installed.
    Restart,
}

impl Step {
    /// What is asked in a window of the system's own before it, where no press is seen.
    pub(super) fn question(&self) -> Option<String> {
        match self {
            Self::Look => None,
            Self::Install { version } => {
                let version: String = version.chars().take(32).collect();
                Some(format!("Fetch and install ClawMesh {version}?"))
            }
            Self::Restart => Some("End ClawMesh and its node, and install the update?".to_owned()),
        }
    }
}

/// The updates of this application.
pub(super) struct Updates {
    installed: Installed,
    of_build: Option<Releases>,
    state: Mutex<State>,
    /// Held by the step that is going on.
    one: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    now: Now,
    /// A package for the installer.
    file: Option<PathBuf>,
    /// Whether a person wants to go on with what was installed.
    go_on: bool,
}

/// `plugins.updates` of the build's configuration.
#[derive(Debug, Default, Deserialize)]
struct OfBuild {
    #[serde(default)]
    from: String,
    #[serde(default)]
    key: String,
}

impl Updates {
    /// Those of this build; without a place and a key in it only `[updates]` says where to ask.
    pub(super) fn of_build(config: &tauri::Config) -> Self {
        let said = config.plugins.0.get("updates").cloned().unwrap_or_default();
        let said: OfBuild = serde_json::from_value(said).unwrap_or_default();
        let of_build = match said.from.is_empty() {
            true => None,
            false => Releases::new(&said.from, &said.key, None)
                .inspect_err(|why| tracing::error!("the place of updates in this build: {why}"))
                .ok(),
        };
        Self {
            installed: Installed::here(),
            of_build,
            state: Mutex::default(),
            one: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to ask: as the node's configuration says, else as the build does.
    fn releases(&self, running: Option<&Running>) -> Option<Releases> {
        let of_node = running.and_then(|r| r.door.context().config.updates.clone());
        of_node.or_else(|| self.of_build.clone())
    }

    /// How it stands, for the page; nothing where no place is known.
    pub(super) fn shown(&self, running: Option<&Running>) -> Option<Update> {
        let from = self.releases(running)?.to_string();
        let here = env!("CARGO_PKG_VERSION").to_owned();
        let now = self.state().now.clone();
        Some(Update { here, from, now })
    }

    fn offered(&self, version: &Version) -> Now {
        let (version, by) = (version.to_string(), self.installed.by());
        Now::Offered { version, by }
    }

    async fn look(&self, releases: &Releases) -> Result<Now, String> {
        let here = this_version()?;
        let newer = releases.newer(self.installed.package(), &here);
        Ok(match newer.await? {
            Some(offer) => self.offered(&offer.version),
            None => Now::Newest,
        })
    }

    /// The package to install: what is offered now, which must be the version that the person was shown.
    async fn wanted(&self, releases: &Releases, version: &str) -> Result<Offer, String> {
        let here = this_version()?;
        let newer = releases.newer(self.installed.package(), &here);
        let offer = newer.await?;
        offer
            .filter(|offer| offer.version.to_string() == version)
            .ok_or_else(|| format!("{releases} does not offer {version} any more; look again"))
    }

    async fn install(
        &self,
        desktop: &Arc<Desktop>,
        releases: &Releases,
        version: String,
    ) -> Result<Now, String> {
        let by = self.installed.by();
        if by == By::Source {
            return Err("this program was built from the source: build the new one, or install a package of the release".to_owned());
        }
        let offer = self.wanted(releases, &version).await?;
        let (to, permissions) = match &self.installed {
            Installed::AppImage(file) => {
                let old = std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()));
                (file.clone(), Some(old?.permissions()))
            }
            _ => (place(desktop.host.dir(), &offer.name).await?, None),
        };
        let (told, of) = (desktop.clone(), version.clone());
        let progress = Box::new(move |bytes: usize| told.brought(&of, bytes / 1_000_000));
        releases
            .bring_package(&offer, &to, permissions, progress)
            .await?;
        let command = match by {
            By::Command => Some(command(self.installed.package(), &to)),
            _ => None,
        };
        if by == By::Image {
            let opened = Command::new("/usr/bin/open").arg(&to).spawn();
            opened.map_err(|e| format!("{} cannot be opened: {e}", to.display()))?;
        }
        self.state().file = Some(to);
        Ok(Now::Ready {
            version,
            by,
            command,
        })
    }

    /// Goes on with what was installed, where a person wanted that; the last thing that this process does.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn go_on(&self, dir: &StateDir) -> Result<(), String> {
        let state = self.state();
        let (true, Some(file)) = (state.go_on, &state.file) else {
            return Ok(());
        };
        let mut command = match self.installed.by() {
            By::Us => {
                let mut command = Command::new(file);
                command.arg("--state-dir").arg(dir.root());
                command
            }
            By::Installer => {
                let windows = std::env::var_os("SystemRoot").unwrap_or("C:\\Windows".into());
                let mut command =
                    Command::new(PathBuf::from(windows).join("System32\\msiexec.exe"));
                command.arg("/i").arg(file);
                command
            }
            By::Command | By::Image | By::Source => return Ok(()),
        };
        let started = system::take_over(&mut command);
        started.map_err(|e| format!("{} cannot be started: {e}", file.display()))
    }
}

/// Where a package is brought to that the system installs, with no older one beside it.
async fn place(dir: &StateDir, name: &str) -> Result<PathBuf, String> {
    let folder = dir.root().join(FOLDER);
    let to = folder.join(name);
    let made = tokio::task::spawn_blocking(move || {
        make_private_dir(&folder).map_err(|e| e.to_string())?;
        let entries = std::fs::read_dir(&folder).map_err(|e| e.to_string())?;
        for old in entries.flatten() {
            let _ = std::fs::remove_file(old.path());
        }
        std::path::absolute(&folder).map_err(|e| e.to_string())
    });
    made.await.map_err(|e| e.to_string())??;
    std::path::absolute(&to).map_err(|e| e.to_string())
}

impl Desktop {
    fn update_is(&self, now: Now) {
        self.updates.state().now = now;
        self.tell();
    }

    /// So much of a package is here; told once for each megabyte.
    fn brought(&self, version: &str, megabytes: usize) {
        let now = Now::Bringing {
            version: version.to_owned(),
            megabytes,
        };
        if self.updates.state().now != now {
            self.update_is(now);
        }
    }
}

/// Takes a step; one at a time.
///
/// # Errors
/// Why it could not be begun, or failed.
pub(super) async fn take(
    app: &AppHandle,
    desktop: &Arc<Desktop>,
    step: Step,
) -> Result<(), String> {
    let updates = &desktop.updates;
    let Ok(_one) = updates.one.try_lock() else {
        return Err("an update is being looked for or brought already".to_owned());
    };
    let running = desktop.host.running();
    let releases = updates
        .releases(running.as_ref())
        .ok_or("no place is known where newer versions are")?;
    drop(running);
    let done = match step {
        Step::Look => {
            desktop.update_is(Now::Looking);
            updates.look(&releases).await
        }
        Step::Install { version } => {
            desktop.brought(&version, 0);
            updates.install(desktop, &releases, version).await
        }
        Step::Restart => {
            let ready = updates.state().file.is_some();
            if !ready {
                return Err("nothing was installed that could be started".to_owned());
            }
            updates.state().go_on = true;
            app.exit(0);
            return Ok(());
        }
    };
    match done {
        Ok(now) => desktop.update_is(now),
        Err(why) => {
            tracing::warn!("no update: {why}");
            desktop.update_is(Now::Failed { why });
        }
    }
    Ok(())
}

/// Shows what the node's own look found, while nobody has asked here.
pub(super) async fn follow(desktop: Arc<Desktop>) {
    let mut wait = Duration::from_millis(UPDATE_LOOK_FIRST_MS);
    loop {
        tokio::select! {
            () = desktop.host.ended().cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(Duration::from_millis(UPDATE_LOOK_LAST_MS));
        let Some(running) = desktop.host.running() else {
            continue;
        };
        let Some(version) = updates::newer(running.door.context()).await else {
            continue;
        };
        let now = desktop.updates.offered(&version);
        let quiet = desktop.updates.state().now == Now::Unasked;
        if quiet {
            desktop.update_is(now);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_page_reads_one_flat_object() {
        let update = Update {
            here: "0.1.0".to_owned(),
            from: "https://example.org".to_owned(),
            now: Now::Offered {
                version: "0.2.0".to_owned(),
                by: By::Us,
            },
        };
        let text = serde_json::to_value(&update).unwrap();
        assert_eq!(
            text,
            serde_json::json!({"here": "0.1.0", "from": "https://example.org", "is": "offered", "version": "0.2.0", "by": "us"})
        );
        let step: Step =
            serde_json::from_str(r#"{"step": "install", "version": "0.2.0"}"#).unwrap();
        assert!(step.question().unwrap().contains("0.2.0"));
    }
}
