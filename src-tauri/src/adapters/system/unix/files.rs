//! Files: permission bits, numbers, and opening without waiting.

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, statvfs};

use crate::adapters::system::{Disk, Exposure, FileId};

/// An output of this process, or what stands for one.
pub use std::os::fd::AsFd as Stream;

/// What an error says to do where the system refused to let `path` be used.
pub fn advice_to_own(path: &Path) -> String {
    format!("allow yourself to use {} (chmod u+rwx)", path.display())
}

/// A directory by a path that every function of the system takes: each does here.
pub fn long_path(path: &Path) -> PathBuf {
    path.to_owned()
}

/// A file of its own on the same output.
///
/// # Errors
/// If the system has no descriptor left.
pub fn copy_of(target: &impl AsFd) -> io::Result<File> {
    Ok(File::from(target.as_fd().try_clone_to_owned()?))
}

/// What tells the file that a path leads to from all others.
///
/// # Errors
/// The OS error.
pub fn file_id(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|meta| id_of(&meta))
}

/// As [`file_id`], of an entry of a folder; a link is not followed.
///
/// # Errors
/// The OS error.
pub fn entry_id(entry: &DirEntry) -> io::Result<FileId> {
    entry.metadata().map(|meta| id_of(&meta))
}

fn id_of(meta: &fs::Metadata) -> FileId {
    FileId {
        volume: meta.dev(),
        number: meta.ino(),
    }
}

/// How many names a file has.
///
/// # Errors
/// The OS error.
pub fn names_of(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|meta| meta.nlink())
}

/// What is made with these options is its owner's alone.
pub fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Lets everybody read a file.
///
/// # Errors
/// The OS error.
pub fn for_all(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o644))
}

/// Takes the rights of others on a file away, if they have any.
///
/// # Errors
/// The OS error.
pub fn restrict(file: &File, _path: &Path) -> io::Result<()> {
    match mode(&file.metadata()?) & 0o077 {
        0 => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(0o600)),
    }
}

/// Makes a directory that only its owner may enter, with its parents. One that is there stays as it is.
///
/// # Errors
/// The OS error.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn mode(meta: &fs::Metadata) -> u32 {
    meta.permissions().mode() & 0o777
}

/// How others may change what is in a directory, if they may.
///
/// # Errors
/// The OS error.
pub fn others_may_write(dir: &Path) -> io::Result<Option<Exposure>> {
    let mode = mode(&fs::metadata(dir)?);
    Ok((mode & 0o022 != 0).then(|| Exposure {
        how: format!("mode {mode:o}"),
        mend: format!("chmod 700 {}", dir.display()),
    }))
}

/// How others may use a file that is open, if they may.
///
/// # Errors
/// The OS error.
pub fn others_may_read(file: &File, path: &Path) -> io::Result<Option<Exposure>> {
    let mode = mode(&file.metadata()?);
    Ok((mode & 0o077 != 0).then(|| Exposure {
        how: format!("mode {mode:o}"),
        mend: format!("chmod 600 {}", path.display()),
    }))
}

/// The number of the user who owns a file, if that is not the one of this process.
pub fn foreign_owner(meta: &fs::Metadata) -> Option<u32> {
    let owner = meta.uid();
    (owner != rustix::process::geteuid().as_raw()).then_some(owner)
}

/// The rights on a file, as the system writes them.
pub fn rights(meta: &fs::Metadata) -> String {
    format!("{:o}", meta.permissions().mode() & 0o7777)
}

fn opened(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, mode)?))
}

/// Opens for reading, and waits for nobody, whatever it is.
///
/// # Errors
/// The OS error.
pub fn open_plain(path: &Path) -> io::Result<File> {
    opened(path, OFlags::RDONLY, Mode::empty())
}

/// Opens for reading and writing, or makes the file for its owner alone. A link is not followed.
///
/// # Errors
/// The OS error.
pub fn open_or_make(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW;
    opened(path, flags, Mode::RUSR | Mode::WUSR)
}

/// Opens a file that is there for writing, and cuts it to nothing. A link is not followed.
///
/// # Errors
/// The OS error.
pub fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW;
    opened(path, flags, Mode::empty())
}

/// Opens the file of a lock, or makes it for its owner alone.
///
/// # Errors
/// The OS error.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // Opening for both never blocks, on any kind of file.
    for_owner(&mut options).open(path)
}

/// A directory, to be locked beside the lock file in it, which may be deleted; none where a lock file cannot be.
///
/// # Errors
/// The OS error.
pub fn lock_folder(dir: &Path) -> io::Result<Option<File>> {
    File::open(dir).map(Some)
}

/// Has the name of a file on the disk: that it was made, renamed or removed.
///
/// # Errors
/// The OS error.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all())
}

/// The disk that a path is on.
///
/// # Errors
/// The OS error.
pub fn disk(path: &Path) -> io::Result<Disk> {
    let said = statvfs(path)?;
    Ok(Disk {
        free: said.f_bavail.saturating_mul(said.f_frsize),
        whole: said.f_blocks.saturating_mul(said.f_frsize),
        read_only: said.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}
