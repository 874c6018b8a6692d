//! The state directory: the one place that knows file names, permissions and the lock.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::system::{Exposure, HOME_VARIABLE};
use super::{files, system};
use crate::domain::base::limits::SMALL_FILE_MAX_BYTES;

/// The environment variable that names the state directory.
pub const STATE_DIR_ENV: &str = "CLAWMESH_STATE_DIR";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Neither the variable nor a home directory is set.
    #[error("no state directory: set CLAWMESH_STATE_DIR or {HOME_VARIABLE}, or give --state-dir")]
    NoHome,
    /// Another node holds it.
    #[error(
        "{dir} is in use by another clawmesh-node ({holder}); stop it, or use another --state-dir"
    )]
    InUse {
        /// The directory.
        dir: String,
        /// The holder, from its lock file.
        holder: String,
    },
    /// Others may write to it.
    #[error("{dir} can be written by others ({}); run: {}", exposure.how, exposure.mend)]
    Open {
        /// The directory.
        dir: String,
        /// How, and what ends that.
        exposure: Exposure,
    },
    /// It belongs to a gen-1 node.
    #[error(
        "{dir} is the state of a gen-1 ClawMesh node and stays untouched; run `clawmesh-node migrate` to import its identity and trust into a new directory"
    )]
    Gen1 {
        /// The directory.
        dir: String,
    },
    /// The system refused.
    #[error("cannot {what} {path}: {source}{}", advice(path, source))]
    Io {
        /// The operation attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The OS error.
        source: io::Error,
    },
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PathError + 'a {
    move |source| PathError::Io {
        what,
        path: path.to_path_buf(),
        source,
    }
}

/// Advice on an OS error on `path`; empty where nothing is known.
fn advice(path: &Path, error: &io::Error) -> String {
    let elsewhere = "name a directory of your own with --state-dir or CLAWMESH_STATE_DIR";
    // The deepest part of the path that is there decides whether something may be made in it.
    let there = path
        .ancestors()
        .find_map(|at| fs::symlink_metadata(at).ok().map(|meta| (at, meta)));
    let shown = there.as_ref().map(|(at, _)| at.display().to_string());
    let shown = shown.unwrap_or_default();
    match (error.kind(), there) {
        (io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound, Some((_, meta)))
            if meta.is_symlink() =>
        {
            format!("; {shown} is a link to nothing: make what it leads to, or remove the link")
        }
        (io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory, Some((_, meta)))
            if !meta.is_dir() =>
        {
            format!("; {shown} is no directory: {elsewhere}")
        }
        (io::ErrorKind::PermissionDenied, Some((at, meta))) => match system::foreign_owner(&meta) {
            Some(owner) => {
                format!("; {shown} belongs to another user (number {owner}): {elsewhere}")
            }
            None => format!("; {}, or {elsewhere}", system::advice_to_own(at)),
        },
        (io::ErrorKind::ReadOnlyFilesystem, _) => {
            format!("; the place can only be read: {elsewhere}")
        }
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
            "; make room on the disk".to_owned()
        }
        _ => String::new(),
    }
}

/// A state directory; it need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

/// The hold on a state directory; released when dropped, also by a crash.
#[derive(Debug)]
pub struct StateLock {
    _files: Vec<File>,
}

impl StateDir {
    /// The directory at `root`.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The directory that was asked for: given, else from the environment, else the usual one of this system:
    /// `~/.clawmesh`, or `%LOCALAPPDATA%\ClawMesh`.
    ///
    /// # Errors
    /// [`PathError::NoHome`].
    pub fn resolve(
        given: Option<&Path>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, PathError> {
        let at = |dir: &Path| Self::at(&system::long_path(dir));
        if let Some(given) = given {
            return Ok(at(given));
        }
        let set = |name: &str| env(name).filter(|v| !v.is_empty());
        if let Some(dir) = set(STATE_DIR_ENV) {
            return Ok(at(Path::new(&dir)));
        }
        system::default_state_dir(set)
            .map(|root| at(&root))
            .ok_or(PathError::NoHome)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The log of a service whose manager keeps none, as that of Windows.
    pub fn log_file(&self) -> PathBuf {
        self.root.join("node.log")
    }

    /// The device's key.
    pub fn identity_file(&self) -> PathBuf {
        self.root.join("identity.json")
    }

    /// The key of the person who uses this directory.
    pub fn operator_key_file(&self) -> PathBuf {
        self.root.join("operator-key.json")
    }

    /// The keys of providers, sealed.
    pub fn credentials_file(&self) -> PathBuf {
        self.root.join("credentials.json")
    }

    /// Which actuators were moved and not seen safe since: a copy of what the store lists, for when that does not read.
    pub fn moved_file(&self) -> PathBuf {
        self.root.join("moved.json")
    }

    /// The passphrase of the operator key in a demo's directory.
    pub fn demo_passphrase_file(&self) -> PathBuf {
        self.root.join("demo-passphrase")
    }

    /// The store.
    pub fn database(&self) -> PathBuf {
        self.root.join("clawmesh.db")
    }

    /// The configuration.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The executor's policy.
    pub fn policy_file(&self) -> PathBuf {
        self.root.join("policy.toml")
    }

    /// Where things are: sites, zones and what stands in them.
    pub fn site_file(&self) -> PathBuf {
        self.root.join("site.toml")
    }

    /// The tokens of the operator API.
    pub fn tokens_file(&self) -> PathBuf {
        self.root.join("tokens.json")
    }

    /// The token of the model endpoint, kept over restarts.
    pub fn model_token_file(&self) -> PathBuf {
        self.root.join("model-token")
    }

    /// Where the running node says how to reach it.
    pub fn run_file(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// The socket on which the running node answers programs of its own user.
    pub fn socket_file(&self) -> PathBuf {
        self.root.join("node.sock")
    }

    /// The lock.
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The names a person gave in the console.
    pub fn names_file(&self) -> PathBuf {
        self.root.join("names.json")
    }

    /// The id of an unnamed mesh.
    pub fn mesh_id_file(&self) -> PathBuf {
        self.root.join("mesh-id")
    }

    /// The certificate and key that browsers are shown.
    pub fn browser_certificate_file(&self) -> PathBuf {
        self.root.join("tls-browser.bin")
    }

    /// The sessions of browsers of other machines: hashes, no secret.
    pub fn away_sessions_file(&self) -> PathBuf {
        self.root.join("away-sessions.json")
    }

    /// The key by which push services know this node.
    pub fn push_key_file(&self) -> PathBuf {
        self.root.join("push-key.json")
    }

    /// How far the store has come, beside the store.
    pub fn mark_file(&self) -> PathBuf {
        self.root.join("store.mark")
    }

    /// The files that lie beside the store while it is open: its log and the index of that.
    pub fn files_of_database(&self) -> [PathBuf; 2] {
        ["-wal", "-shm"].map(|end| {
            let mut file = self.database().into_os_string();
            file.push(end);
            file.into()
        })
    }

    /// Whether this directory has had a store: a note, a token or a log of one is there.
    pub fn has_had_store(&self) -> bool {
        let [log, _] = self.files_of_database();
        let log = fs::metadata(log).is_ok_and(|meta| meta.len() > 0);
        log || self.mark_file().exists() || self.tokens_file().exists()
    }

    /// The pictures of cameras.
    pub fn pictures_dir(&self) -> PathBuf {
        self.root.join("pictures")
    }

    /// The simulated kit.
    pub fn sim_dir(&self) -> PathBuf {
        self.root.join("sim")
    }

    /// Whether this is the directory of a gen-1 node and not yet one of ours.
    pub fn is_gen1(&self) -> bool {
        let gen1 = ["identity/device.json", "mesh/trusted-peers.json"]
            .iter()
            .any(|f| self.root.join(f).exists());
        gen1 && !self.identity_file().exists()
    }

    /// Makes the directory, or checks that an existing one is private and ours.
    ///
    /// # Errors
    /// [`PathError::Gen1`], [`PathError::Open`] or what the system said.
    pub fn prepare(&self) -> Result<(), PathError> {
        if self.is_gen1() {
            return Err(PathError::Gen1 {
                dir: self.root.display().to_string(),
            });
        }
        make_private_dir(&self.root)?;
        let open = system::others_may_write(&self.root);
        match open.map_err(failed("look at", &self.root))? {
            Some(exposure) => Err(PathError::Open {
                dir: self.root.display().to_string(),
                exposure,
            }),
            None => Ok(()),
        }
    }

    /// Takes the lock, so that no two nodes share the directory.
    ///
    /// # Errors
    /// [`PathError::InUse`] naming the holder.
    pub fn acquire_lock(&self) -> Result<StateLock, PathError> {
        let path = self.lock_file();
        let mut file = system::open_lock(&path).map_err(failed("open", &path))?;
        let meta = file.metadata().map_err(failed("open", &path))?;
        if !meta.is_file() {
            let no_file = std::io::Error::other("it is no plain file; move it away");
            return Err(failed("open", &path)(no_file));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(self.held()),
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        // The directory itself as well: the lock file of a running node may have been deleted.
        let root = system::lock_folder(&self.root).map_err(failed("open", &self.root))?;
        let locked = root.as_ref().map(File::try_lock);
        if matches!(locked, Some(Err(fs::TryLockError::WouldBlock))) {
            return Err(self.held());
        }
        file.set_len(0).map_err(failed("write", &path))?;
        write!(file, "{}", std::process::id()).map_err(failed("write", &path))?;
        Ok(StateLock {
            _files: [file].into_iter().chain(root).collect(),
        })
    }

    fn held(&self) -> PathError {
        let holder = self.holder();
        PathError::InUse {
            dir: self.root.display().to_string(),
            holder: if holder.is_empty() {
                "pid unknown".to_owned()
            } else {
                format!("pid {holder}")
            },
        }
    }

    fn holder(&self) -> String {
        let holder = files::read_text(&self.lock_file(), SMALL_FILE_MAX_BYTES).unwrap_or_default();
        holder.trim().to_owned()
    }

    /// As [`StateDir::acquire_lock`], by a command that is no node, which is noted with the lock.
    ///
    /// # Errors
    /// As [`StateDir::acquire_lock`].
    pub fn acquire_lock_for(&self, command: &str) -> Result<StateLock, PathError> {
        let lock = self.acquire_lock()?;
        let path = self.lock_file();
        if let Some(mut file) = lock._files.first() {
            write!(file, ", {command}").map_err(failed("write", &path))?;
        }
        Ok(lock)
    }

    /// The process and command that hold the directory, if that is no node.
    pub fn held_by_command(&self) -> Option<String> {
        let holder = self.holder();
        holder.contains(", ").then_some(holder)
    }

    /// Whether a process holds the directory; nothing is made or changed.
    pub fn in_use(&self) -> bool {
        matches!(self.hold(), Ok(None))
    }

    /// Keeps every node from taking the lock while the answer lives, without writing anything, so that
    /// it works on a read-only or full disk too; `None` if a process holds the directory.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn hold(&self) -> Result<Option<StateLock>, PathError> {
        let path = self.lock_file();
        let lock = match files::open(&path) {
            Ok(lock) => Some(lock),
            // No node can hold a lock on anything but a plain file.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Other) =>
            {
                None
            }
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let root = system::lock_folder(&self.root).map_err(failed("open", &self.root))?;
        let held: Vec<File> = lock.into_iter().chain(root).collect();
        for file in &held {
            match file.try_lock_shared() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
            }
        }
        Ok(Some(StateLock { _files: held }))
    }

    /// Whether others than its owner may write to the directory.
    pub fn is_open_to_others(&self) -> bool {
        system::others_may_write(&self.root).is_ok_and(|open| open.is_some())
    }

    /// Writes a file owner-only and as a whole: a crash leaves the old content or the new one.
    ///
    /// # Errors
    /// The OS error, naming the file.
    pub fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<(), PathError> {
        write_private(path, bytes)
    }
}

/// Makes a directory that only its owner may enter, with its parents.
///
/// # Errors
/// The OS error, naming the directory.
pub fn make_private_dir(dir: &Path) -> Result<(), PathError> {
    system::make_private_dir(dir).map_err(failed("make", dir))
}

/// Writes a file owner-only and as a whole, through a synced temporary file beside it.
///
/// # Errors
/// The OS error, naming the file.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    place(path, bytes, Lasts::PowerLoss, |temporary| {
        fs::rename(temporary, path)
    })
}

/// As [`write_private`], without syncing the disk: for files that each start makes anew. After a loss of power the file
/// may be empty.
///
/// # Errors
/// The OS error, naming the file.
pub fn write_private_for_this_run(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    place(path, bytes, Lasts::Run, |temporary| {
        fs::rename(temporary, path)
    })
}

/// As [`write_private`], for a file that must not exist yet: of several that try, one succeeds.
///
/// # Errors
/// [`PathError::Io`] of kind [`io::ErrorKind::AlreadyExists`], or what else the system said.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    place(path, bytes, Lasts::PowerLoss, |temporary| {
        // A link, unlike a rename, refuses a name that is taken.
        fs::hard_link(temporary, path)?;
        fs::remove_file(temporary)
    })
}

/// The durability of a written file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasts {
    /// The process that wrote it.
    Run,
    /// The machine's power.
    PowerLoss,
}

fn place(
    path: &Path,
    bytes: &[u8],
    lasts: Lasts,
    name_it: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), PathError> {
    // Numbered, so that two writers in one process do not share a temporary file.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let turn = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("new-{}-{turn}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let written = system::for_owner(&mut options)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            match lasts {
                Lasts::Run => Ok(()),
                Lasts::PowerLoss => file.sync_all(),
            }
        });
    if let Err(error) = written.and_then(|()| name_it(&temporary)) {
        // The temporary file is worth nothing; the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return Err(failed("write", path)(error));
    }
    if lasts == Lasts::Run {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(path);
    system::sync_name(path).map_err(failed("sync", dir))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_directory_comes_from_flag_then_variable_then_home() {
        let env = |name: &str| match name {
            STATE_DIR_ENV => Some(OsString::from("/a")),
            _ => Some("/home/x".into()),
        };
        assert_eq!(
            StateDir::resolve(Some(Path::new("/b")), env)
                .unwrap()
                .root(),
            Path::new("/b")
        );
        assert_eq!(
            StateDir::resolve(None, env).unwrap().root(),
            Path::new("/a")
        );
        let home = |name: &str| (name == "HOME").then(|| OsString::from("/home/x"));
        assert_eq!(
            StateDir::resolve(None, home).unwrap().root(),
            Path::new("/home/x/.clawmesh")
        );
        assert!(StateDir::resolve(None, |_| None).is_err());
        // A name that is no UTF-8 is a name like any other.
        let odd = Path::new(OsStr::from_bytes(b"/a/\xe4"));
        let named = |name: &str| (name == STATE_DIR_ENV).then(|| odd.into());
        assert_eq!(StateDir::resolve(None, named).unwrap().root(), odd);
    }

    #[test]
    fn a_place_that_cannot_be_used_says_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        let said = |name: &str| {
            let dir = StateDir::at(&temp.path().join(name));
            dir.prepare().unwrap_err().to_string()
        };
        std::os::unix::fs::symlink("/nowhere/at/all", temp.path().join("dangling")).unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        let said = [
            said("dangling"),
            said("dangling/in"),
            said("file"),
            said("file/in"),
        ];
        for (said, what) in said.iter().zip([
            "link to nothing",
            "link to nothing",
            "no directory",
            "no directory",
        ]) {
            assert!(said.contains(what), "{said}");
        }
        let advice = |kind: io::ErrorKind| advice(Path::new("/"), &io::Error::from(kind));
        assert!(advice(io::ErrorKind::ReadOnlyFilesystem).contains("--state-dir"));
        assert!(advice(io::ErrorKind::StorageFull).contains("make room"));
    }

    #[test]
    fn two_nodes_cannot_share_it_and_others_cannot_write_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(&temp.path().join("state"));
        dir.prepare().unwrap();
        let lock = dir.acquire_lock().unwrap();
        let error = dir.acquire_lock().unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(dir.in_use());
        drop(lock);
        // To hold it nothing is written, so it can be held where nothing can be.
        let before = fs::read_to_string(dir.lock_file()).unwrap();
        let hold = dir.hold().unwrap().unwrap();
        assert!(matches!(dir.acquire_lock(), Err(PathError::InUse { .. })));
        assert_eq!(fs::read_to_string(dir.lock_file()).unwrap(), before);
        drop(hold);
        let lock = dir.acquire_lock().unwrap();
        // Its lock file may have been deleted.
        fs::remove_file(dir.lock_file()).unwrap();
        assert!(matches!(dir.acquire_lock(), Err(PathError::InUse { .. })));
        assert!(dir.in_use());
        drop(lock);
        fs::set_permissions(dir.root(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(dir.prepare().unwrap_err().to_string().contains("chmod 700"));
    }

    #[test]
    fn a_gen1_directory_is_recognised_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("identity")).unwrap();
        fs::write(temp.path().join("identity/device.json"), "{}").unwrap();
        let dir = StateDir::at(temp.path());
        assert!(dir.prepare().unwrap_err().to_string().contains("migrate"));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn private_files_are_private_and_whole() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.json");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
