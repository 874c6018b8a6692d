//! The sites of this node's `site.toml`: read on request, and read again only after a file has changed.
//! A broken file stops nothing: what is wrong is kept beside what there is. It knows no reading.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::adapters::{files, system};
use crate::domain::base::Digest;
use crate::domain::base::limits::{SITE_FILE_MAX_BYTES, SITE_PLAN_MAX_BYTES};
use crate::domain::site::{self, Problem, Site};

/// A plan as it is served.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// The text of its file.
    pub text: Arc<str>,
    /// The hash of it.
    pub digest: Digest,
}

/// The sites and plans that were read.
#[derive(Debug, Default)]
pub struct Sites {
    /// Whether there is a file at all.
    pub present: bool,
    /// The sites; none if anything is wrong.
    pub sites: Vec<Site>,
    /// The faults of the files.
    pub problems: Vec<Problem>,
    /// The plans, by their path.
    pub drawings: BTreeMap<String, Drawing>,
}

/// Size and time of change of a file; `None` if there is no file.
type Stamp = Option<(SystemTime, u64, u64)>;

struct Kept {
    stamps: Vec<(PathBuf, Stamp)>,
    sites: Arc<Sites>,
}

/// The sites as last read.
#[derive(Default)]
pub struct SiteBook {
    kept: Mutex<Option<Kept>>,
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    let id = system::file_id(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), id.number))
}

impl SiteBook {
    /// The sites of the `site.toml` in `dir`, read anew if it or a plan has changed. It blocks for as
    /// long as the disk takes; one reads at a time.
    pub fn look(&self, dir: &Path, file: &Path) -> Arc<Sites> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref()
            && kept.stamps.iter().all(|(path, was)| stamp(path) == *was)
        {
            return kept.sites.clone();
        }
        // Stamps come first: what changes while it is read is read once more.
        let mut stamps = vec![(file.to_path_buf(), stamp(file))];
        let sites = Arc::new(read(dir, file, &mut stamps));
        *kept = Some(Kept {
            stamps,
            sites: sites.clone(),
        });
        sites
    }
}

fn read(dir: &Path, file: &Path, stamps: &mut Vec<(PathBuf, Stamp)>) -> Sites {
    let text = match text(file, SITE_FILE_MAX_BYTES) {
        Ok(Some(text)) => text,
        Ok(None) => return Sites::default(),
        Err(why) => {
            return Sites {
                present: true,
                problems: vec![Problem {
                    line: 0,
                    key: String::new(),
                    why,
                }],
                ..Sites::default()
            };
        }
    };
    let mut drawings = BTreeMap::new();
    let mut plan_of = |path: &str| {
        let place = dir.join(path);
        if !stamps.iter().any(|(known, _)| *known == place) {
            stamps.push((place.clone(), stamp(&place)));
        }
        let drawn = inside(dir, &place).and_then(|place| self::text(&place, SITE_PLAN_MAX_BYTES));
        let drawn = drawn.map_err(|why| format!("{path}: {why}"))?;
        let drawn = drawn.ok_or_else(|| {
            format!(
                "{path}: there is no such file in the state directory, {}",
                dir.display()
            )
        })?;
        let plan = site::Plan::read(&drawn).map_err(|why| format!("{path}: {why}"))?;
        let drawing = Drawing {
            digest: Digest::of(&[drawn.as_bytes()]),
            text: drawn.into(),
        };
        drawings.insert(path.to_owned(), drawing);
        Ok(plan)
    };
    let (sites, problems) = site::read(&text, &mut plan_of);
    Sites {
        present: true,
        sites,
        drawings,
        problems,
    }
}

/// The file a path leads to, if that lies in the state directory, wherever links point.
fn inside(dir: &Path, place: &Path) -> Result<PathBuf, String> {
    let real = match place.canonicalize() {
        Ok(real) => real,
        // Reported as missing where it is opened.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(place.to_path_buf()),
        Err(error) => return Err(error.to_string()),
    };
    let root = dir.canonicalize().map_err(|e| e.to_string())?;
    match real.starts_with(&root) {
        true => Ok(real),
        false => Err(
            "it is a link that leads out of the state directory; put the file itself there".into(),
        ),
    }
}

/// The text of a plain file; `None` if there is none.
fn text(file: &Path, max_bytes: u64) -> Result<Option<String>, String> {
    match files::read_text(file, max_bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
