//! A package of the desktop application: which one of a release fits, and bringing it to this disk. It gets its name there only
//! after all of it was written out and has the sum of the signed list; until then, and where anything fails, what was there stays.

use std::fs::Permissions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::fetch::{Landing, Sink};
use super::{Releases, one};
use crate::adapters::system;
use crate::domain::base::limits::{RELEASE_BRING_MAX_MS, RELEASE_PACKAGE_MAX_BYTES};

/// What a file is called while it is brought.
const PART: (&str, &str) = (".clawmesh-update-", ".part");
/// A part that nothing was written to for so long is of a run that was cut short.
const PART_OLD: Duration = Duration::from_secs(86_400);

/// The kinds of packages of the desktop application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// One file that runs, on Linux.
    AppImage,
    /// Of Debian and its kin.
    Deb,
    /// Of Fedora and its kin.
    Rpm,
    /// Of Windows.
    Msi,
    /// Of macOS.
    Dmg,
}

impl Package {
    /// How a package's name begins and ends for a kind of machine, around the version; the bundler names them.
    fn name(self, machine: &str) -> (&'static str, &'static str) {
        let arm = machine == "aarch64";
        match self {
            Self::AppImage if arm => ("clawmesh_", "_aarch64.AppImage"),
            Self::AppImage => ("clawmesh_", "_amd64.AppImage"),
            Self::Deb if arm => ("clawmesh_", "_arm64.deb"),
            Self::Deb => ("clawmesh_", "_amd64.deb"),
            Self::Rpm if arm => ("clawmesh-", "-1.aarch64.rpm"),
            Self::Rpm => ("clawmesh-", "-1.x86_64.rpm"),
            Self::Msi if arm => ("ClawMesh_", "_arm64_en-US.msi"),
            Self::Msi => ("ClawMesh_", "_x64_en-US.msi"),
            Self::Dmg if arm => ("ClawMesh_", "_aarch64.dmg"),
            Self::Dmg => ("ClawMesh_", "_x64.dmg"),
        }
    }
}

/// A package that a release offers, as its signed list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The version that its name says.
    pub version: Version,
    /// Its name.
    pub name: String,
    sum: String,
}

impl Releases {
    /// The package of a kind for this kind of machine, where one newer than `here` is offered.
    ///
    /// # Errors
    /// If the list cannot be had, is not signed with the key, or has no such package.
    pub async fn newer(&self, of: Package, here: &Version) -> Result<Option<Offer>, String> {
        let offer = offer(&self.list().await?, of, std::env::consts::ARCH)?;
        Ok((offer.version > *here).then_some(offer))
    }

    /// Brings a package to `to`, whose folder is there, with the permissions given; `told` is told how many bytes are there so far.
    ///
    /// # Errors
    /// If it cannot be had, is not what the list says, or the disk refuses it.
    pub async fn bring_package(
        &self,
        offer: &Offer,
        to: &Path,
        permissions: Option<Permissions>,
        told: Box<dyn Fn(usize) + Send + Sync>,
    ) -> Result<(), String> {
        let part = part_beside(to).await?;
        let mut landing = Landing {
            file: File::from_std(part.reopen().map_err(|e| kept(to, &e))?),
            sum: Sha256::new(),
            told,
        };
        self.land(offer, &mut landing).await?;
        let Landing { mut file, sum, .. } = landing;
        // What the disk refused of the last piece is told here, and nowhere later.
        file.flush().await.map_err(|e| kept(to, &e))?;
        let sum: String = sum.finalize().iter().map(|b| format!("{b:02x}")).collect();
        if sum != offer.sum {
            return Err(format!(
                "{} is not what the signed list says (cut off, or changed); nothing was installed",
                offer.name
            ));
        }
        file.sync_all().await.map_err(|e| kept(to, &e))?;
        let to = to.to_path_buf();
        let put = tokio::task::spawn_blocking(move || put(part, &to, permissions));
        put.await.map_err(|e| e.to_string())?
    }

    async fn land(&self, offer: &Offer, landing: &mut Landing) -> Result<(), String> {
        let wait = Duration::from_millis(RELEASE_BRING_MAX_MS);
        let mut sink = Sink::file(landing, RELEASE_PACKAGE_MAX_BYTES);
        let brought = tokio::time::timeout(wait, self.bring(&offer.name, &mut sink)).await;
        brought.map_err(|_| format!("{} did not come within {} s", offer.name, wait.as_secs()))?
    }
}

fn offer(list: &str, of: Package, machine: &str) -> Result<Offer, String> {
    let (begin, end) = of.name(machine);
    let listed = one(list, begin, end, &format!("{begin}VERSION{end}"))?;
    if listed.name.contains(['/', '\\']) {
        return Err(format!("{}: no name of a file", listed.name));
    }
    Ok(Offer {
        version: listed.version,
        name: listed.name.to_owned(),
        sum: listed.sum.to_ascii_lowercase(),
    })
}

fn kept(to: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be written: {error}", to.display())
}

/// A file of its own beside `to`, which is gone with what is returned; what earlier runs left is swept.
async fn part_beside(to: &Path) -> Result<NamedTempFile, String> {
    let to = to.to_path_buf();
    let made = tokio::task::spawn_blocking(move || {
        let folder = to.parent().unwrap_or(Path::new("/"));
        sweep(folder);
        let mut name = tempfile::Builder::new();
        name.prefix(PART.0).suffix(PART.1);
        name.tempfile_in(folder).map_err(|e| kept(&to, &e))
    });
    made.await.map_err(|e| e.to_string())?
}

fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|n| n.starts_with(PART.0) && n.ends_with(PART.1));
        let old = || {
            let changed = entry.metadata().and_then(|m| m.modified()).ok();
            changed
                .and_then(|at| at.elapsed().ok())
                .is_some_and(|ago| ago > PART_OLD)
        };
        if ours && old() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Gives the file its name, over what had it.
fn put(part: NamedTempFile, to: &PathBuf, permissions: Option<Permissions>) -> Result<(), String> {
    if let Some(permissions) = permissions {
        let set = part.as_file().set_permissions(permissions);
        set.map_err(|e| kept(to, &e))?;
    }
    part.persist(to).map_err(|e| kept(to, &e.error))?;
    system::sync_name(to).map_err(|e| kept(to, &e))?;
    Ok(())
}

#[cfg(test)]
#[path = "package_tests.rs"]
mod tests;
