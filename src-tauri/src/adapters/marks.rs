//! Marks: small files beside the store that say how far it has come, one inside the state directory
//! and one outside it, where a restored or copied directory does not bring its own along.
//!
//! A mark is only compared and never trusted to say more than the store. One that cannot be kept,
//! for example in a read-only home, is told once and left away.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files;
use super::paths::{self, StateDir};
use crate::domain::base::limits::MARK_FILE_MAX_BYTES;
use crate::domain::base::{DeviceId, Digest, TimeMs};
use crate::domain::continuity::{Mark, Place};

/// The environment variable that names the directory of the marks outside; `off` keeps none.
pub const MARKS_DIR_ENV: &str = "CLAWMESH_MARKS_DIR";

/// Where marks are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarkPlaces {
    /// Whether one lies in the state directory.
    pub inside: bool,
    /// The directory of those outside.
    pub outside: Option<PathBuf>,
}

impl MarkPlaces {
    /// Those of a program on this machine: the variable, else `$XDG_STATE_HOME/clawmesh`, else
    /// `~/.local/state/clawmesh`, else `/var/lib/clawmesh/marks`.
    pub fn of_machine(env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|v| !v.is_empty());
        let under = |name: &str, rest: &str| set(name).map(|dir| Path::new(&dir).join(rest));
        let outside = match set(MARKS_DIR_ENV) {
            Some(off) if off == "off" => None,
            Some(dir) => Some(PathBuf::from(dir)),
            None => under("XDG_STATE_HOME", "clawmesh")
                .or_else(|| under("HOME", ".local/state/clawmesh"))
                .or_else(|| Some(PathBuf::from("/var/lib/clawmesh/marks"))),
        };
        Self {
            inside: true,
            outside,
        }
    }
}

impl MarkPlaces {
    /// Only the one in the state directory.
    pub fn inside() -> Self {
        Self {
            inside: true,
            outside: None,
        }
    }
}

/// The marks of one state directory.
#[derive(Debug)]
pub struct Marks {
    inside: Option<PathBuf>,
    outside: Option<PathBuf>,
    /// Held while a node runs with this identity on this machine.
    lock: Mutex<Option<File>>,
    /// What was written last.
    last: Mutex<Option<Mark>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Marks {
    /// The marks of `device`, whose state lies in `dir`; reads nothing yet.
    pub fn new(dir: &StateDir, device: &DeviceId, places: &MarkPlaces) -> Self {
        Self {
            inside: places.inside.then(|| dir.mark_file()),
            outside: places
                .outside
                .as_ref()
                .map(|marks| marks.join(format!("{device}.json"))),
            lock: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// Whether any are kept.
    pub fn kept(&self) -> bool {
        self.inside.is_some() || self.outside.is_some()
    }

    /// The mark in the state directory.
    pub fn inside(&self) -> Option<Mark> {
        self.inside.as_deref().and_then(read)
    }

    /// The mark outside it.
    pub fn outside(&self) -> Option<Mark> {
        self.outside.as_deref().and_then(read)
    }

    /// Claims the identity on this machine until [`Marks::release`]; `false` if another process holds it.
    /// Where there is no place for a lock nothing is known, which is no refusal.
    pub fn claim(&self) -> bool {
        let Some(path) = &self.outside else {
            return true;
        };
        let open = || {
            paths::make_private_dir(path.parent()?).ok()?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(path.with_extension("lock")).ok()
        };
        let Some(file) = open() else { return true };
        match file.try_lock() {
            Ok(()) => {
                *held(&self.lock) = Some(file);
                true
            }
            Err(fs::TryLockError::WouldBlock) => false,
            Err(fs::TryLockError::Error(_)) => true,
        }
    }

    /// Lets go of the identity.
    pub fn release(&self) {
        *held(&self.lock) = None;
    }

    /// Writes both marks; whether the one outside is kept.
    pub fn write(&self, mark: &Mark) -> bool {
        if let Some(path) = &self.inside {
            told(path, put(path, mark));
        }
        self.write_outside(mark)
    }

    /// Writes the mark outside, if it is newer than the last; whether it is kept.
    pub fn write_outside(&self, mark: &Mark) -> bool {
        let Some(path) = &self.outside else {
            return false;
        };
        let mut last = held(&self.last);
        if last.as_ref().is_some_and(|l| l.entries > mark.entries) {
            return true;
        }
        let written = path
            .parent()
            .map_or(Ok(()), paths::make_private_dir)
            .and_then(|()| put(path, mark));
        let kept = told(path, written);
        if kept {
            *last = Some(mark.clone());
        }
        kept
    }

    /// What was written last.
    pub fn last(&self) -> Option<Mark> {
        held(&self.last).clone()
    }
}

/// Notes inside a state directory that it has a store now, where nothing is noted yet.
pub fn note_store(dir: &StateDir, device: &DeviceId, now: TimeMs) {
    let path = dir.mark_file();
    if path.exists() {
        return;
    }
    let mark = Mark {
        device: device.clone(),
        run: None,
        next: None,
        entries: 0,
        head: Digest([0; 32]),
        place: place_of(dir),
        at: now,
    };
    told(&path, put(&path, &mark));
}

fn put(path: &Path, mark: &Mark) -> Result<(), paths::PathError> {
    let mut text = serde_json::to_vec(mark).unwrap_or_default();
    text.push(b'\n');
    paths::write_private(path, &text)
}

/// Says once in this process that marks cannot be kept.
fn told(path: &Path, written: Result<(), paths::PathError>) -> bool {
    static TOLD: std::sync::Once = std::sync::Once::new();
    if let Err(error) = &written {
        TOLD.call_once(|| {
            tracing::warn!(
                "{} cannot be kept, so a restored or copied state directory may go unnoticed ({error}); \
                 name a directory that can be written in {MARKS_DIR_ENV}, or `off`",
                path.display()
            );
        });
    }
    written.is_ok()
}

/// A mark; `None` if there is none that reads.
fn read(path: &Path) -> Option<Mark> {
    let text = match files::read(path, MARK_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("{} does not read: {error}", path.display());
            return None;
        }
    };
    let mark = serde_json::from_slice(&text);
    mark.inspect_err(|error| tracing::warn!("{} does not read: {error}", path.display()))
        .ok()
}

/// Where a state directory lies now.
pub fn place_of(dir: &StateDir) -> Place {
    let root = dir.root();
    let path = fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf());
    #[cfg(unix)]
    let inode = {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(root).map_or(0, |meta| meta.ino())
    };
    #[cfg(not(unix))]
    let inode = 0;
    let machine = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|file| files::read_text(Path::new(file), MARK_FILE_MAX_BYTES).ok())
        .map(|id| id.trim().chars().take(64).collect::<String>())
        .filter(|id| !id.is_empty());
    Place {
        path: path.display().to_string(),
        inode,
        machine,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn mark(dir: &StateDir, entries: u64) -> Mark {
        Mark {
            device: DeviceId::of_public_key(&[1; 32]),
            run: Some("r".into()),
            next: None,
            entries,
            head: Digest([7; 32]),
            place: place_of(dir),
            at: TimeMs(1),
        }
    }

    #[test]
    fn marks_are_read_back_never_go_backwards_and_are_not_needed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(&temp.path().join("state"));
        dir.prepare().unwrap();
        let places = MarkPlaces {
            inside: true,
            outside: Some(temp.path().join("marks")),
        };
        let first = mark(&dir, 3);
        let marks = Marks::new(&dir, &first.device, &places);
        assert_eq!((marks.inside(), marks.outside()), (None, None));
        assert!(marks.write(&first));
        assert_eq!(marks.inside(), Some(first.clone()));
        assert!(marks.write_outside(&mark(&dir, 2)));
        assert_eq!(marks.outside(), Some(first.clone()));
        // Another process with this identity.
        assert!(marks.claim());
        let other = Marks::new(&dir, &first.device, &places);
        assert!(!other.claim());
        marks.release();
        assert!(other.claim());
        // A place where nothing can be written is no fault.
        fs::write(temp.path().join("file"), "").unwrap();
        let places = MarkPlaces {
            inside: false,
            outside: Some(temp.path().join("file/marks")),
        };
        let nowhere = Marks::new(&dir, &first.device, &places);
        assert!(nowhere.claim() && !nowhere.write(&first) && nowhere.outside().is_none());
        // Nor is what is no mark.
        fs::write(dir.mark_file(), "{").unwrap();
        assert_eq!(marks.inside(), None);
    }

    #[test]
    fn the_place_of_marks_comes_from_the_environment() {
        let places = |set: &[(&str, &str)]| {
            let env = |name: &str| {
                let found = set.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            MarkPlaces::of_machine(env).outside
        };
        let home = ("HOME", "/h");
        assert_eq!(places(&[home, (MARKS_DIR_ENV, "/m")]), Some("/m".into()));
        assert_eq!(places(&[home, (MARKS_DIR_ENV, "off")]), None);
        assert_eq!(
            places(&[home, ("XDG_STATE_HOME", "/s")]),
            Some("/s/clawmesh".into())
        );
        assert_eq!(places(&[home]), Some("/h/.local/state/clawmesh".into()));
        assert_eq!(places(&[]), Some("/var/lib/clawmesh/marks".into()));
    }
}
