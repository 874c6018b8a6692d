//! The stages of the window before, around and after the node, as the page is
//! told them, and what else the window has to say. No stage is an empty screen.

use serde::Serialize;

use super::settings::Settings;
use super::update::Update;

/// Where the node inside this process stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "camelCase")]
pub(crate) enum Stage {
    /// It is being started.
    Starting,
    /// The keychain does not open: a person has to choose.
    #[serde(rename_all = "camelCase")]
    Keychain {
        /// What the keychain said.
        why: String,
        /// Whether there is no key yet, so that an owner-only file may hold it.
        file_possible: bool,
        /// Whether nothing answers for a keychain.
        absent: bool,
    },
    /// It cannot start, or ended by itself.
    Failed {
        /// Why, and what to do.
        why: String,
    },
    /// It runs.
    #[serde(rename_all = "camelCase")]
    Running {
        /// Its name.
        name: String,
        /// Its device id.
        device_id: String,
        /// Counts the runs of this process: with a new one everything is read again.
        run: u64,
    },
    /// The application is ending.
    Ending,
}

/// The state of the desktop, for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Desk {
    /// Where the node stands.
    #[serde(flatten)]
    pub stage: Stage,
    /// What does not work on this desktop and why; one sentence each.
    pub notes: Vec<String>,
    /// Whether closing the window leaves the application in the tray.
    pub tray: bool,
    /// The state directory, for people.
    pub state_dir: String,
    /// What was chosen for this desktop.
    pub settings: Settings,
    /// Whether it starts with the session; absent where that is not offered.
    pub autostart: Option<bool>,
    /// Newer versions of this application; absent where no place is known to ask.
    pub update: Option<Update>,
}

/// A person's choice on the page that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Choice {
    /// Try again, with the keychain.
    Retry,
    /// Keep the keys in owner-only files.
    File,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_page_reads_one_flat_object() {
        let desk = Desk {
            stage: Stage::Keychain {
                why: "closed".to_owned(),
                file_possible: true,
                absent: false,
            },
            notes: Vec::new(),
            tray: true,
            state_dir: "/x".to_owned(),
            settings: Settings::default(),
            autostart: Some(false),
            update: None,
        };
        let text = serde_json::to_value(&desk).unwrap();
        assert_eq!(text["stage"], "keychain");
        assert_eq!(text["filePossible"], true);
        assert_eq!(text["stateDir"], "/x");
    }
}
