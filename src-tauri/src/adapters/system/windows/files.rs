//! Files: numbers, access lists, and opening without following or waiting.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io;
use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsHandle;
use std::path::{Component, Path, PathBuf, Prefix};

use winapi_util::Handle;
use winapi_util::file::{information, typ};

use super::rights;
use crate::adapters::system::sddl::{READ, WRITE};
use crate::adapters::system::{Disk, Exposure, FileId};

/// An output of this process, or what stands for one.
pub use std::os::windows::io::AsHandle as Stream;

/// Opens a link itself, not what it leads to (`FILE_FLAG_OPEN_REPARSE_POINT`).
const NO_FOLLOW: u32 = 0x0020_0000;
/// Opens a folder too (`FILE_FLAG_BACKUP_SEMANTICS`).
const FOLDERS: u32 = 0x0200_0000;
/// A pipe in the place of a file learns who this is and can act as nobody (`SECURITY_IDENTIFICATION`).
const IDENTIFY: u32 = 0x0001_0000;
/// A directory with a path of so many letters may have files with longer ones than old functions take.
const LONG_CHARS: usize = 180;
/// Others may read and write what is open, and neither rename nor delete it.
const STAYS: u32 = 0x1 | 0x2;

/// What an error says to do where the system refused to let `path` be used.
pub fn advice_to_own(path: &Path) -> String {
    format!("allow yourself to use {}", path.display())
}

/// A directory by a path that every function of the system takes, for it and for what is in it. Those that SQLite uses end at 260
/// letters, unless the path is whole and says so (`\\?\`).
pub fn long_path(path: &Path) -> PathBuf {
    let Ok(whole) = std::path::absolute(path) else {
        return path.to_owned();
    };
    let text = whole.as_os_str();
    if text.encode_wide().count() < LONG_CHARS {
        return path.to_owned();
    }
    match whole.components().next() {
        Some(Component::Prefix(prefix)) => match prefix.kind() {
            Prefix::Disk(_) => [OsStr::new(r"\\?\"), text]
                .into_iter()
                .collect::<OsString>()
                .into(),
            Prefix::UNC(..) => {
                let rest: Vec<u16> = text.encode_wide().skip(2).collect();
                let rest = OsString::from_wide(&rest);
                [OsStr::new(r"\\?\UNC\"), &rest]
                    .into_iter()
                    .collect::<OsString>()
                    .into()
            }
            _ => whole,
        },
        _ => whole,
    }
}

/// A file of its own on the same output.
///
/// # Errors
/// If the system has no handle left.
pub fn copy_of(target: &impl AsHandle) -> io::Result<File> {
    Ok(File::from(target.as_handle().try_clone_to_owned()?))
}

/// What tells the file that a path leads to from all others.
///
/// # Errors
/// The OS error.
pub fn file_id(path: &Path) -> io::Result<FileId> {
    id_of(&Handle::from_path_any(path)?)
}

/// As [`file_id`], of an entry of a folder; a link is not followed.
///
/// # Errors
/// The OS error.
pub fn entry_id(entry: &DirEntry) -> io::Result<FileId> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(NO_FOLLOW | FOLDERS);
    id_of(&Handle::from_file(options.open(entry.path())?))
}

fn id_of(handle: &Handle) -> io::Result<FileId> {
    let about = information(handle)?;
    Ok(FileId {
        volume: about.volume_serial_number(),
        number: about.file_index(),
    })
}

/// How many names a file has.
///
/// # Errors
/// The OS error.
pub fn names_of(path: &Path) -> io::Result<u64> {
    Ok(information(&Handle::from_path_any(path)?)?.number_of_links())
}

/// What is made with these options is its owner's alone: it takes the access list of its folder, which
/// [`make_private_dir`] has made.
pub fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Lets everybody read a file. It has the access list of its folder, which says so where managers look for files.
///
/// # Errors
/// None.
pub fn for_all(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Takes the rights of others on a file away, if they have any.
///
/// # Errors
/// What the system said.
pub fn restrict(_file: &File, path: &Path) -> io::Result<()> {
    match rights::of_others(path, READ | WRITE)? {
        None => Ok(()),
        Some(_) => rights::take_from_others(path, false),
    }
}

/// Makes a directory that only its owner, the system and the administrators may enter, with its parents. One that is
/// there stays as it is.
///
/// # Errors
/// What the system said.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    fs::create_dir(dir)?;
    rights::take_from_others(dir, true)
}

/// How others may change what is in a directory, if they may.
///
/// # Errors
/// The OS error.
pub fn others_may_write(dir: &Path) -> io::Result<Option<Exposure>> {
    rights::of_others(dir, WRITE)
}

/// How others may use a file that is open, if they may.
///
/// # Errors
/// The OS error.
pub fn others_may_read(_file: &File, path: &Path) -> io::Result<Option<Exposure>> {
    rights::of_others(path, READ | WRITE)
}

/// The number of the user who owns a file, if that is not the one of this process: users have none here.
pub fn foreign_owner(_meta: &fs::Metadata) -> Option<u32> {
    None
}

/// The rights on a file, as far as its attributes tell.
pub fn rights(meta: &fs::Metadata) -> String {
    match meta.permissions().readonly() {
        true => "read-only".to_owned(),
        false => "as its folder".to_owned(),
    }
}

/// Refuses what is no file on a disk: a console, a pipe, a device.
fn on_disk(file: File) -> io::Result<File> {
    match typ(&file)?.is_disk() {
        true => Ok(file),
        false => Err(io::Error::other("it is no plain file")),
    }
}

/// Opens for reading, and waits for nobody, whatever it is.
///
/// # Errors
/// The OS error.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).security_qos_flags(IDENTIFY);
    on_disk(options.open(path)?)
}

/// Opens for reading and writing, or makes the file. A link is not followed.
///
/// # Errors
/// The OS error.
pub fn open_or_make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.custom_flags(NO_FOLLOW).security_qos_flags(IDENTIFY);
    on_disk(options.open(path)?)
}

/// Opens a file that is there for writing, and cuts it to nothing. A link is not followed.
///
/// # Errors
/// The OS error.
pub fn open_to_write(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    options.custom_flags(NO_FOLLOW).security_qos_flags(IDENTIFY);
    let file = on_disk(options.open(path)?)?;
    // Only now: opening a link and cutting it would be one step.
    match file.metadata()?.is_file() {
        true => file.set_len(0).map(|()| file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Opens the file of a lock, or makes it. Nobody can rename or delete it while it is open.
///
/// # Errors
/// The OS error.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    on_disk(options.share_mode(STAYS).open(path)?)
}

/// A directory, to be locked beside the lock file in it, which may be deleted; none where a lock file cannot be.
///
/// # Errors
/// None.
pub fn lock_folder(_dir: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Has the name of a file on the disk: that it was made or renamed. NTFS writes down changes of names in the order in
/// which they come, and flushing a file flushes that log.
///
/// # Errors
/// The OS error.
pub fn sync_name(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => file.sync_all(),
        // It was removed: there is nothing to flush it by.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The disk that a path is on.
///
/// # Errors
/// The OS error.
pub fn disk(path: &Path) -> io::Result<Disk> {
    // The system asks for a folder.
    let folder = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(path),
    };
    let said = fs4::statvfs(folder)?;
    Ok(Disk {
        free: said.available_space(),
        whole: said.total_space(),
        read_only: false,
    })
}
