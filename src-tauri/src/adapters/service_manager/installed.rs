//! Where a service manager looks for the file of a node, and what it says of it. It changes nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use super::units::{LABEL, WINDOWS_PLACE};
use crate::adapters::{files, system};
use crate::domain::base::limits::SMALL_FILE_MAX_BYTES;

/// The name of the unit.
pub const UNIT_NAME: &str = "clawmesh-node.service";
/// What the properties are of which systemd is asked.
const ASKED: &str = "LoadState,ActiveState,SubState,UnitFileState,StatusText,NRestarts";

/// A service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// systemd.
    Systemd,
    /// launchd.
    Launchd,
    /// The service manager of Windows.
    Windows,
}

/// What the service manager of Windows says of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Whether it runs.
    pub active: bool,
    /// Whether it starts with the machine, where that is known.
    pub enabled: Option<bool>,
    /// How it is.
    pub words: String,
}

impl Manager {
    /// The one of this machine.
    pub fn here() -> Self {
        super::here::MANAGER
    }

    /// Whether it runs on this machine.
    pub fn runs(self) -> bool {
        match self {
            Self::Systemd => Path::new("/run/systemd/system").is_dir(),
            Self::Launchd | Self::Windows => Self::here() == self,
        }
    }
}

/// The service of a node, of the system or of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Who runs it.
    pub manager: Manager,
    /// Whether the system's manager does, rather than the user's own.
    pub system: bool,
    /// The file that says how.
    pub file: PathBuf,
}

/// What its manager says of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// The file that says how it is run.
    pub file: PathBuf,
    /// Whether it runs.
    pub active: bool,
    /// Whether it is started with the machine or the session; unknown where nobody says.
    pub enabled: Option<bool>,
    /// How it is, in the manager's words; why nothing is known of it otherwise.
    pub words: String,
}

impl Service {
    /// The service of the system's manager, or of the user's own; none where no home is known.
    pub fn of(
        manager: Manager,
        system: bool,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Option<Self> {
        let set = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let file = match (manager, system) {
            (Manager::Systemd, true) => Path::new("/etc/systemd/system").join(UNIT_NAME),
            (Manager::Systemd, false) => set("XDG_CONFIG_HOME")
                .or_else(|| set("HOME").map(|home| home.join(".config")))?
                .join("systemd/user")
                .join(UNIT_NAME),
            (Manager::Launchd, true) => {
                Path::new("/Library/LaunchDaemons").join(format!("{LABEL}.plist"))
            }
            // No file: the place in the registry.
            (Manager::Windows, true) => PathBuf::from(WINDOWS_PLACE),
            (Manager::Windows, false) => return None,
            (Manager::Launchd, false) => set("HOME")?
                .join("Library/LaunchAgents")
                .join(format!("{LABEL}.plist")),
        };
        Some(Self {
            manager,
            system,
            file,
        })
    }

    /// What the domain of launchd is called that runs it.
    pub fn domain(&self) -> String {
        match self.system {
            true => "system".to_owned(),
            false => format!("gui/{}", system::user_number().unwrap_or_default()),
        }
    }

    /// The command line that asks its manager.
    pub fn asks(&self, words: &[&str]) -> Vec<String> {
        let head: &[&str] = match (self.manager, self.system) {
            (Manager::Systemd, true) => &["systemctl"],
            (Manager::Systemd, false) => &["systemctl", "--user"],
            (Manager::Launchd, _) => &["launchctl"],
            (Manager::Windows, _) => &["sc.exe"],
        };
        head.iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect()
    }

    /// What its manager says of it; none where it is not installed.
    pub fn state(&self) -> Option<ServiceState> {
        if self.manager == Manager::Windows {
            return super::here::registered().map(|said| ServiceState {
                file: self.file.clone(),
                active: said.active,
                enabled: said.enabled,
                words: said.words,
            });
        }
        // A file that is there and does not read is installed all the same.
        let there = match files::read_text(&self.file, SMALL_FILE_MAX_BYTES) {
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
            Ok(_) => true,
        };
        if !there {
            return None;
        }
        let state = |active, enabled, words: String| ServiceState {
            file: self.file.clone(),
            active,
            enabled,
            words,
        };
        let property = format!("--property={ASKED}");
        let job = format!("{}/{LABEL}", self.domain());
        let asked = match self.manager {
            Manager::Systemd => self.asks(&["show", UNIT_NAME, &property]),
            Manager::Launchd | Manager::Windows => self.asks(&["print", &job]),
        };
        Some(match said(&asked) {
            Err(why) => state(false, None, why),
            Ok(text) if self.manager == Manager::Launchd => {
                let active = text.lines().any(|line| line.trim() == "state = running");
                let words = if active {
                    "running"
                } else {
                    "loaded, not running"
                };
                state(active, Some(true), words.to_owned())
            }
            Ok(text) => {
                let (active, enabled, words) = of_systemd(&text);
                state(active, Some(enabled), words)
            }
        })
    }
}

/// Whether it runs, whether it is enabled, and how it is, by the properties that systemd shows.
fn of_systemd(text: &str) -> (bool, bool, String) {
    let of = |name: &str| {
        let mut found = text.lines().filter_map(|line| line.split_once('='));
        found
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    };
    let mut words = format!("{} ({})", of("ActiveState"), of("SubState"));
    if of("LoadState") != "loaded" {
        words.push_str("; systemd has not read its file: systemctl daemon-reload");
    }
    if !matches!(of("NRestarts"), "" | "0") {
        words.push_str(&format!("; started again {} times", of("NRestarts")));
    }
    if !of("StatusText").is_empty() {
        words.push_str(&format!("; {}", of("StatusText")));
    }
    let enabled = of("UnitFileState").starts_with("enabled");
    (of("ActiveState") == "active", enabled, words)
}

/// Runs a command to its end; what it printed, or why it failed.
///
/// # Errors
/// One sentence with the command.
pub fn said(command: &[String]) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let shown = command.join(" ");
    let mut child = Command::new(program);
    let output = child.args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{shown}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            // Programs of Windows complain on stdout.
            let why = [output.stderr, output.stdout]
                .map(|said| String::from_utf8_lossy(&said).into_owned());
            let mut why = why.iter().flat_map(|said| said.lines().map(str::trim));
            let why = why.find(|line| !line.is_empty());
            let status = output.status.to_string();
            Err(format!("{shown}: {}", why.unwrap_or(&status)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_manager_has_its_place() {
        let env = |name: &str| (name == "HOME").then(|| OsString::from("/home/ada"));
        let file = |manager, system| Service::of(manager, system, env).unwrap().file;
        for (manager, system, wanted) in [
            (
                Manager::Systemd,
                true,
                "/etc/systemd/system/clawmesh-node.service",
            ),
            (
                Manager::Systemd,
                false,
                "/home/ada/.config/systemd/user/clawmesh-node.service",
            ),
            (
                Manager::Launchd,
                true,
                "/Library/LaunchDaemons/io.clawmesh.node.plist",
            ),
            (
                Manager::Launchd,
                false,
                "/home/ada/Library/LaunchAgents/io.clawmesh.node.plist",
            ),
        ] {
            assert_eq!(file(manager, system), Path::new(wanted));
        }
        assert!(Service::of(Manager::Systemd, false, |_| None).is_none());
    }

    #[test]
    fn what_systemd_shows_is_told() {
        let text = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nStatusText=listens on [::]:18789\nNRestarts=2\n";
        let (active, enabled, words) = of_systemd(text);
        assert!(active && enabled);
        assert_eq!(
            words,
            "active (running); started again 2 times; listens on [::]:18789"
        );
        let (active, enabled, words) = of_systemd("LoadState=not-found\nActiveState=inactive\n");
        assert!(
            !active && !enabled && words.contains("daemon-reload"),
            "{words}"
        );
    }
}
