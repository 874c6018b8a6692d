//! Marks: small files beside the store that say how far it has come, one inside the state directory
//! and one outside it, where a restored or copied directory does not bring its own along.
//!
//! A mark is only compared and never trusted to say more than the store. The one outside lies in the
//! first folder of a list that can be written, and stays there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::paths::{self, StateDir};
use super::{files, system};
use crate::domain::base::limits::{MARK_FILE_MAX_BYTES, MARKS_WAITING_MAX};
use crate::domain::base::{DeviceId, Digest, TimeMs};
use crate::domain::continuity::{Mark, Place};

/// The environment variable that names the directory of the marks outside; `off` keeps none.
pub const MARKS_DIR_ENV: &str = "CLAWMESH_MARKS_DIR";

/// Where marks are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarkPlaces {
    /// Whether one lies in the state directory.
    pub inside: bool,
    /// The folders in which those outside may lie, the best first; where none is named, none is kept.
    pub outside: Vec<PathBuf>,
}

impl MarkPlaces {
    /// Those of a program on this machine: the variable alone if it is set, else the places of this system
    /// ([`system::mark_folders`]).
    pub fn of_machine(env: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| env(name).filter(|v| !v.is_empty());
        let outside = match set(MARKS_DIR_ENV) {
            Some(off) if off == "off" => Vec::new(),
            Some(dir) => vec![PathBuf::from(dir)],
            None => {
                let mut all = system::mark_folders(set);
                all.dedup();
                all
            }
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
            outside: Vec::new(),
        }
    }
}

/// The marks of one state directory.
#[derive(Debug)]
pub struct Marks {
    inside: Option<PathBuf>,
    /// Where the mark outside may lie, the best first.
    outside: Vec<PathBuf>,
    /// Folders that were named and lie in the state directory: a copy takes along what is in them.
    within: Vec<PathBuf>,
    /// Where it lies.
    chosen: OnceLock<PathBuf>,
    /// Held while a node runs with this identity on this machine.
    lock: Mutex<Option<File>>,
    /// The last mark written.
    last: Mutex<Option<Mark>>,
    /// Held while the mark outside is written, however long that takes.
    writing: Mutex<()>,
    waiting: AtomicUsize,
}

/// The lock beside a mark, for its owner alone: any process that can open it can hold the lock.
fn open_lock(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = system::for_owner(&mut options).open(path)?;
    // Earlier versions made it readable for everybody.
    system::restrict(&file, path)?;
    Ok(file)
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Marks {
    /// The marks of `device`, whose state lies in `dir`; reads none yet.
    pub fn new(dir: &StateDir, device: &DeviceId, places: &MarkPlaces) -> Self {
        let root = real(dir.root());
        let files = places
            .outside
            .iter()
            .map(|folder| folder.join(format!("{device}.json")));
        let (within, outside) = files.partition(|file| real(file).starts_with(&root));
        Self {
            inside: places.inside.then(|| dir.mark_file()),
            outside,
            within,
            chosen: OnceLock::new(),
            lock: Mutex::default(),
            last: Mutex::default(),
            writing: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whether any are kept.
    pub fn kept(&self) -> bool {
        self.inside.is_some() || !self.off()
    }

    /// Whether none outside was asked for.
    fn off(&self) -> bool {
        self.outside.is_empty() && self.within.is_empty()
    }

    /// The file of the mark outside: where there is one, else where one can be written.
    fn place(&self) -> Option<&PathBuf> {
        if let Some(chosen) = self.chosen.get() {
            return Some(chosen);
        }
        let all = &self.outside;
        let has_one = |file: &&PathBuf| file.symlink_metadata().is_ok();
        let found = all.iter().find(has_one);
        let found = found.or_else(|| all.iter().find(|file| can_be_written(file)))?;
        Some(self.chosen.get_or_init(|| found.clone()))
    }

    /// The mark in the state directory.
    pub fn inside(&self) -> Option<Mark> {
        self.inside.as_deref().and_then(read)
    }

    /// The mark outside it. One that an earlier version kept in a folder within the state directory
    /// counts until there is another.
    pub fn outside(&self) -> Option<Mark> {
        match self.place().filter(|file| file.symlink_metadata().is_ok()) {
            Some(file) => read(file),
            None => self.within.iter().find_map(|file| read(file)),
        }
    }

    /// Up to which count both marks say that frames of this identity may have been made.
    pub fn used(&self) -> u64 {
        let marks = [self.inside(), self.outside()];
        let counts = marks.into_iter().flatten().filter_map(|mark| mark.seq);
        counts.max().unwrap_or(0)
    }

    /// Claims the identity on this machine until [`Marks::release`]; `false` if another process holds it.
    /// Where there is no place for a lock nothing is known, which is no refusal.
    pub fn claim(&self) -> bool {
        let Some(path) = self.place() else {
            return true;
        };
        let open = || {
            paths::make_private_dir(path.parent()?).ok()?;
            open_lock(&path.with_extension("lock")).ok()
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

    /// Writes both marks; whether one outside is kept. Where it is, the one inside names no run: that is
    /// said outside, where a copy does not bring it along, and need not be written twice at each start.
    ///
    /// # Errors
    /// As [`Marks::write_outside`]; nothing is written then.
    pub fn write(&self, mark: &Mark) -> Result<bool, String> {
        let outside = self.write_outside(mark)?;
        self.put_inside(mark, outside);
        Ok(outside)
    }

    /// As [`Marks::write`], at the start of a run: where one outside is kept, one inside that names no run
    /// stays as it is.
    ///
    /// # Errors
    /// As [`Marks::write_outside`]; nothing is written then.
    pub fn begin(&self, mark: &Mark) -> Result<bool, String> {
        let outside = self.write_outside(mark)?;
        let stands = |old: Mark| old.device == mark.device && old == old.clone().without_run();
        if !outside || !self.inside().is_some_and(stands) {
            self.put_inside(mark, outside);
        }
        Ok(outside)
    }

    fn put_inside(&self, mark: &Mark, outside: bool) {
        let Some(path) = &self.inside else { return };
        let mark = mark.clone();
        let mark = if outside { mark.without_run() } else { mark };
        told(path, put(path, &mark));
    }

    /// Writes the mark outside, if it is newer than the last; whether one is kept there.
    ///
    /// # Errors
    /// Why it cannot be written, if one is to be kept.
    pub fn write_outside(&self, mark: &Mark) -> Result<bool, String> {
        if self.off() {
            return Ok(false);
        }
        // Writes that hang do not gather.
        let behind = self.waiting.fetch_add(1, Ordering::Relaxed);
        let written = match behind < MARKS_WAITING_MAX {
            true => self.put_outside(mark),
            false => Err("an earlier write has not come back".to_owned()),
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        written.map(|()| true)
    }

    fn put_outside(&self, mark: &Mark) -> Result<(), String> {
        let _turn = held(&self.writing);
        if self.last().is_some_and(|last| last.entries > mark.entries) {
            return Ok(());
        }
        let Some(path) = self.place() else {
            let all = self.outside.iter().chain(&self.within);
            let folders = all.filter_map(|file| Some(file.parent()?.display().to_string()));
            return Err(match self.outside.is_empty() {
                true => format!(
                    "{} lies in the state directory, and a copy would take it along",
                    folders.collect::<Vec<_>>().join(", ")
                ),
                false => format!(
                    "none of {} can be written",
                    folders.collect::<Vec<_>>().join(", ")
                ),
            });
        };
        let folder = path.parent().map_or(Ok(()), paths::make_private_dir);
        let written = folder.and_then(|()| put(path, mark));
        written.map_err(|error| error.to_string())?;
        *held(&self.last) = Some(mark.clone());
        Ok(())
    }

    /// The last mark written.
    pub fn last(&self) -> Option<Mark> {
        held(&self.last).clone()
    }
}

/// A path without links in the part of it that is there.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|part| {
        let found = fs::canonicalize(part).ok()?;
        Some(found.join(path.strip_prefix(part).ok()?))
    });
    there.unwrap_or_else(|| path.to_path_buf())
}

/// Whether a file can be written in the folder of a mark.
fn can_be_written(file: &Path) -> bool {
    let probe = file.with_extension(format!("probe-{}", std::process::id()));
    let folder = file.parent().map_or(Ok(()), paths::make_private_dir);
    let written = folder.and_then(|()| paths::write_private(&probe, b"probe"));
    // It is there only to see whether it can be.
    let _ = fs::remove_file(&probe);
    written.is_ok()
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
        seq: None,
    };
    told(&path, put(&path, &mark));
}

fn put(path: &Path, mark: &Mark) -> Result<(), paths::PathError> {
    let mut text = serde_json::to_vec(mark).unwrap_or_default();
    text.push(b'\n');
    paths::write_private(path, &text)
}

/// Says once in this process that the mark in the state directory cannot be kept.
fn told(path: &Path, written: Result<(), paths::PathError>) {
    static TOLD: std::sync::Once = std::sync::Once::new();
    if let Err(error) = &written {
        TOLD.call_once(|| tracing::warn!("{} cannot be kept: {error}", path.display()));
    }
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
    let inode = system::file_id(root).map_or(0, |id| id.number);
    let machine = system::machine_id()
        .map(|id| id.trim().chars().take(64).collect::<String>())
        .filter(|id| !id.is_empty());
    Place {
        path: path.display().to_string(),
        inode,
        machine,
    }
}

#[cfg(test)]
mod tests;
