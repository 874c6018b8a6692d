//! Notifications of a run that was cut short: they stay on the screen, and their buttons do nothing. What
//! is shown is written down, and the next start takes off what is still there, if the same program shows
//! notifications as did then: a number of one means nothing to another.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::system;
use crate::adapters::files;
use crate::adapters::paths::{StateDir, write_private};

/// The file with the shown notifications, in the state directory.
const FILE: &str = "desktop-notifications.json";
/// Largest file of them that is read, in bytes.
const FILE_MAX_BYTES: u64 = 16_384;
/// Most of them that are written down.
const KEPT_MAX: usize = 64;

/// What is on the screen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    /// The unique name, on the session bus, of the program that shows them.
    by: String,
    numbers: BTreeSet<u32>,
}

/// The book of what is on the screen.
#[derive(Debug, Clone)]
pub(super) struct Stale {
    file: PathBuf,
    shown: Arc<Mutex<Shown>>,
}

impl Stale {
    /// The book of a state directory; nothing is shown yet.
    pub(super) fn new(dir: &StateDir) -> Self {
        Self {
            file: dir.root().join(FILE),
            shown: Arc::default(),
        }
    }

    /// One is on the screen now, or no more.
    pub(super) async fn note(&self, number: u32, on_screen: bool) {
        let book = self.clone();
        let work = move || book.write(number, on_screen);
        let _ = tokio::task::spawn_blocking(work).await;
    }

    fn write(&self, number: u32, on_screen: bool) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if on_screen {
            if shown.numbers.len() >= KEPT_MAX {
                return;
            }
            shown.by = system::who_shows().unwrap_or_default();
            shown.numbers.insert(number);
        } else {
            shown.numbers.remove(&number);
        }
        let text = serde_json::to_vec(&*shown).unwrap_or_default();
        let written = match shown.numbers.is_empty() {
            true => std::fs::remove_file(&self.file).map_err(|e| e.to_string()),
            false => write_private(&self.file, &text).map_err(|e| e.to_string()),
        };
        if let Err(error) = written {
            tracing::debug!(%error, "what is on the screen could not be written down");
        }
    }

    /// Takes off what the run before left on the screen.
    pub(super) async fn take_off(&self) {
        let book = self.clone();
        let work = move || {
            let left = book.left();
            let _ = std::fs::remove_file(&book.file);
            let same = !left.by.is_empty() && system::who_shows() == Some(left.by);
            for number in left.numbers.into_iter().filter(|_| same) {
                system::close(number);
            }
        };
        let _ = tokio::task::spawn_blocking(work).await;
    }

    fn left(&self) -> Shown {
        let text = files::read_text(&self.file, FILE_MAX_BYTES).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_shown_is_written_down_and_goes_with_the_last_of_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let book = Stale::new(&dir);
        book.write(7, true);
        book.write(8, true);
        book.write(7, false);
        assert_eq!(Stale::new(&dir).left().numbers, BTreeSet::from([8]));
        for number in 0..1_000 {
            book.write(number, true);
        }
        assert_eq!(Stale::new(&dir).left().numbers.len(), KEPT_MAX);
        for number in 0..1_000 {
            book.write(number, false);
        }
        assert!(!temp.path().join(FILE).exists());
        for bad in ["", "{", "[1]", r#"{"by":"x","numbers":[-1]}"#] {
            std::fs::write(temp.path().join(FILE), bad).unwrap();
            assert_eq!(Stale::new(&dir).left(), Shown::default());
        }
    }
}
