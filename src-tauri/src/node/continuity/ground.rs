//! The state directory under a running node: whether it is the one the node was started on, with its store whole.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::adapters::paths::StateDir;
use crate::adapters::system::{self, FileId};

const LOST_ADVICE: &str =
    "stop this node, put the directory or a backup of it back in its place, and start again";
const LOG_ADVICE: &str = "stop this node (not with kill -9) and start it again; what it has acknowledged is written into the database \
                          meanwhile. Let nothing remove the files beside the database of a running node";

/// The state directory a node was started on.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Where it is.
    pub dir: StateDir,
    /// Without it nothing can be said: in the simulator there is no directory.
    first: Option<Marks>,
    /// How long the database has been, in bytes: it never becomes shorter. [`u64::MAX`] once it did.
    longest: Arc<AtomicU64>,
}

/// What has become of what a node stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// What happened.
    pub why: String,
    /// Whether the database is in its place and only what lies beside it is not.
    pub of_log: bool,
}

impl Loss {
    /// What helps.
    pub fn advice(&self) -> &'static str {
        match self.of_log {
            true => LOG_ADVICE,
            false => LOST_ADVICE,
        }
    }
}

impl Ground {
    /// The directory as it is now, its store in it.
    pub fn of(dir: &StateDir) -> Self {
        Self {
            dir: dir.clone(),
            first: Marks::of(dir).ok(),
            longest: Arc::default(),
        }
    }

    /// What has become of it, if it is not there any more.
    pub fn lost(&self) -> Option<Loss> {
        let first = self.first.as_ref()?;
        let shown = self.dir.root().display();
        let after = "what happens from now on is lost at the next start";
        let loss = |why: String| Some(Loss { why, of_log: false });
        // Read before the file is looked at, as it may grow meanwhile.
        let longest = self.longest.load(Ordering::Relaxed);
        let now = match Marks::of(&self.dir) {
            Ok(now) => now,
            Err(error) => {
                return loss(format!(
                    "the state directory {shown} is gone ({error}); {after}"
                ));
            }
        };
        if (now.root, now.database) != (first.root, first.database) {
            return loss(format!(
                "the state directory {shown} is another one than at the start; {after}"
            ));
        }
        self.longest
            .fetch_max(now.database_bytes, Ordering::Relaxed);
        if now.database_bytes < longest {
            self.longest.store(u64::MAX, Ordering::Relaxed);
            let database = self.dir.database();
            return loss(format!(
                "the database {} was cut short while this node runs; {after}",
                database.display()
            ));
        }
        let beside = self.dir.files_of_database();
        let mut each = beside.iter().zip(first.beside.iter().zip(now.beside));
        let (file, _) = each.find(|(_, (was, is))| was.is_some_and(|was| Some(was) != *is))?;
        Some(Loss {
            why: format!(
                "{} is gone or another file than at the start; {after}",
                file.display()
            ),
            of_log: true,
        })
    }
}

/// What makes the state directory this one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marks {
    root: FileId,
    database: FileId,
    database_bytes: u64,
    /// As long as the node runs these stay; nobody but the last to close the database removes them.
    beside: [Option<FileId>; 2],
}

impl Marks {
    fn of(dir: &StateDir) -> io::Result<Self> {
        let database = std::fs::metadata(dir.database())?;
        let beside = dir.files_of_database();
        Ok(Self {
            root: system::file_id(dir.root())?,
            database: system::file_id(&dir.database())?,
            database_bytes: database.len(),
            beside: beside.map(|file| system::file_id(&file).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_database_that_was_cut_short_is_not_whole_again_by_growing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let [log, index] = dir.files_of_database();
        for file in [&dir.database(), &log, &index] {
            fs::write(file, [7; 8_192]).unwrap();
        }
        let ground = Ground::of(&dir);
        assert_eq!(ground.lost(), None);
        let database = fs::File::options().write(true).open(dir.database());
        let database = database.unwrap();
        // The log may become shorter, the database only longer.
        fs::write(&log, "").unwrap();
        database.set_len(12_288).unwrap();
        assert_eq!(ground.lost(), None);
        for bytes in [4_096, 16_384] {
            database.set_len(bytes).unwrap();
            let loss = ground.clone().lost().unwrap();
            assert!(loss.why.contains("cut short") && !loss.of_log, "{loss:?}");
        }
    }

    #[test]
    fn a_file_beside_the_database_that_is_another_one_is_told_until_its_own_is_back() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let [log, index] = dir.files_of_database();
        for file in [&dir.database(), &log, &index] {
            fs::write(file, "x").unwrap();
        }
        let (ground, away) = (Ground::of(&dir), temp.path().join("away"));
        for file in [log, index] {
            fs::rename(&file, &away).unwrap();
            assert!(ground.lost().unwrap().of_log);
            fs::write(&file, "x").unwrap();
            let loss = ground.lost().unwrap();
            let name = file.display().to_string();
            assert!(loss.of_log && loss.why.contains(&name), "{loss:?}");
            fs::rename(&away, &file).unwrap();
            assert_eq!(ground.lost(), None);
        }
    }
}
