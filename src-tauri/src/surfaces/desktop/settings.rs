//! Settings of the desktop application: its command line, and `desktop.json` in the state directory,
//! which a person may write, by hand or in the window's settings. A wrong file is named in the window,
//! the usual settings apply, and it is never written over.

use std::path::{Path, PathBuf};

use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::adapters::files;
use crate::adapters::paths::StateDir;

/// The settings file in the state directory.
const FILE: &str = "desktop.json";
/// Largest settings file, in bytes.
const SETTINGS_MAX_BYTES: u64 = 16_384;

/// The command line.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "clawmesh",
    version,
    about = "ClawMesh on the desktop: the console's window around a node"
)]
pub(super) struct Args {
    /// The state directory; else CLAWMESH_STATE_DIR, else ~/.clawmesh
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Start in the tray without opening the window
    #[arg(long)]
    pub hidden: bool,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
    /// Where to go in the window: an address as clawmesh://approvals
    #[arg(value_name = "LINK")]
    pub link: Option<String>,
    /// What to log, as in RUST_LOG
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// `desktop.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Whether proposals are told by notifications; they are if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<bool>,
    /// When notifications are silent, in local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_hours: Option<SilentHours>,
}

/// From one time of day to another, perhaps over midnight; both as `HH:MM`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SilentHours {
    /// The first silent minute.
    pub from: String,
    /// The first minute that is not.
    pub to: String,
}

impl Settings {
    /// The settings of a state directory, and what is wrong with its file.
    pub(crate) fn read(dir: &StateDir) -> (Self, Option<String>) {
        let path = dir.root().join(FILE);
        match Self::load(&path) {
            Ok(settings) => (settings, None),
            Err(why) => {
                let said = format!("{}: {why}; the usual settings apply", path.display());
                (Self::default(), Some(said))
            }
        }
    }

    fn load(path: &Path) -> Result<Self, String> {
        let text = match files::read_text(path, SETTINGS_MAX_BYTES) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(e.to_string()),
        };
        let settings: Self = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(hours) = &self.silent_hours {
            for at in [&hours.from, &hours.to] {
                minute(at).ok_or_else(|| format!("silentHours: {at:?} is not a time as HH:MM"))?;
            }
        }
        Ok(())
    }

    /// Keeps these in a state directory.
    ///
    /// # Errors
    /// What is wrong with a time, with the file that is there, or what the system said.
    pub(crate) fn write(&self, dir: &StateDir) -> Result<(), String> {
        self.check()?;
        let path = dir.root().join(FILE);
        Self::load(&path)
            .map_err(|why| format!("{}: {why}; mend it or take it away first", path.display()))?;
        let text = serde_json::to_vec_pretty(self).map_err(|e| e.to_string())?;
        dir.write_private(&path, &text).map_err(|e| e.to_string())
    }

    /// Whether notifications are silent at a minute of the local day.
    pub(crate) fn silent_at(&self, now: u32) -> bool {
        if self.notifications == Some(false) {
            return true;
        }
        let hours = self.silent_hours.as_ref();
        let Some((from, to)) = hours.and_then(|h| Some((minute(&h.from)?, minute(&h.to)?))) else {
            return false;
        };
        match from <= to {
            true => (from..to).contains(&now),
            false => now >= from || now < to,
        }
    }
}

/// The minute of the day that `HH:MM` names.
fn minute(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |t: &str| match t.len() {
        2 if t.bytes().all(|b| b.is_ascii_digit()) => t.parse::<u32>().ok(),
        _ => None,
    };
    let (h, m) = (number(hours)?, number(minutes)?);
    (h < 24 && m < 60).then_some(h * 60 + m)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn silent_hours_may_span_midnight() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let file = temp.path().join("desktop.json");
        std::fs::write(&file, r#"{"silentHours":{"from":"22:00","to":"07:30"}}"#).unwrap();
        let (settings, wrong) = Settings::read(&dir);
        assert_eq!(wrong, None);
        let at = |h: u32, m: u32| settings.silent_at(h * 60 + m);
        assert!(at(22, 0) && at(3, 0) && at(7, 29));
        assert!(!at(7, 30) && !at(21, 59));
    }

    #[test]
    fn a_wrong_file_is_named_and_not_fatal() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        assert_eq!(Settings::read(&dir), (Settings::default(), None));
        for bad in [
            "{",
            r#"{"silentHour":1}"#,
            r#"{"silentHours":{"from":"25:00","to":"07:00"}}"#,
        ] {
            std::fs::write(temp.path().join("desktop.json"), bad).unwrap();
            let (settings, wrong) = Settings::read(&dir);
            assert_eq!(settings, Settings::default());
            assert!(wrong.unwrap().contains("desktop.json"));
        }
    }

    #[test]
    fn what_is_chosen_is_kept_and_a_wrong_file_is_not_written_over() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let hours = |from: &str, to: &str| SilentHours {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        let chosen = Settings {
            notifications: Some(true),
            silent_hours: Some(hours("22:00", "07:00")),
        };
        chosen.write(&dir).unwrap();
        assert_eq!(Settings::read(&dir), (chosen.clone(), None));
        for bad in ["24:00", "7:00", "+7:00", "", "12:60", "noon"] {
            let wrong = Settings {
                silent_hours: Some(hours(bad, "07:00")),
                ..chosen.clone()
            };
            wrong.write(&dir).unwrap_err();
        }
        assert_eq!(Settings::read(&dir).0, chosen);
        let file = temp.path().join(FILE);
        std::fs::write(&file, "{\"mine\": 1}").unwrap();
        assert!(chosen.write(&dir).unwrap_err().contains("mend it"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"mine\": 1}");
    }
}
