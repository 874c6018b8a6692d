//! Reading files that others may have put there: plain files alone, and no more of them than allowed. A
//! pipe without a writer, a device without an end or a folder in the place of a file is an error at
//! once, never a wait. Where there is no such name the error is [`io::ErrorKind::NotFound`]; a link to
//! nothing is another error.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use zeroize::Zeroize as _;

use super::system;

/// Opens a plain file for reading.
///
/// # Errors
/// The OS error, or that it is no plain file.
pub fn open(path: &Path) -> io::Result<File> {
    let meta = match fs::metadata(path) {
        // A file that came meanwhile is none: it was not there when it was looked for.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) =>
        {
            return Err(io::Error::other("it is a link to a file that is not there"));
        }
        meta => meta?,
    };
    plain(&meta)?;
    // It may have become something else meanwhile: opening does not wait, and is looked at again.
    let file = system::open_plain(path)?;
    plain(&file.metadata()?)?;
    Ok(file)
}

/// Locks a file that is made where there is none; `None` where another process holds it. The file stays.
///
/// # Errors
/// The OS error; a link in its place is not followed.
pub fn lock_or_make(path: &Path) -> io::Result<Option<File>> {
    let file = open_or_make(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// As [`lock_or_make`], waiting while another process holds it; for locks that are held for the writing of a small file.
///
/// # Errors
/// As [`lock_or_make`].
pub fn wait_for_lock(path: &Path) -> io::Result<File> {
    let file = open_or_make(path)?;
    file.lock()?;
    Ok(file)
}

fn open_or_make(path: &Path) -> io::Result<File> {
    let file = system::open_or_make(path)?;
    plain(&file.metadata()?)?;
    Ok(file)
}

fn plain(meta: &fs::Metadata) -> io::Result<()> {
    match meta.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no plain file")),
    }
}

/// The content of a plain file of at most `max_bytes`.
///
/// # Errors
/// As [`open`], or that it is larger.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    read_opened(open(path)?, max_bytes)
}

/// As [`read`], of a file that is open already.
///
/// # Errors
/// The OS error, or that it is larger.
pub fn read_opened(file: File, max_bytes: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(max_bytes);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1));
    // One byte more than allowed shows that there is too much, however the file grows meanwhile.
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max_bytes {
        bytes.zeroize();
        let why = match max_bytes % 1024 {
            0 => format!("it is larger than {} KiB", max_bytes / 1024),
            _ => format!("it is larger than {max_bytes} bytes"),
        };
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// The beginning of a file that is open already: at most `max_bytes`.
///
/// # Errors
/// The OS error.
pub fn read_opened_up_to(file: File, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a plain file of at most `max_bytes`.
///
/// # Errors
/// As [`read`], or the first line that is not UTF-8.
pub fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    text_of(read(path, max_bytes)?)
}

/// The text that these bytes are.
///
/// # Errors
/// The first line that is not UTF-8.
pub fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let mut bytes = error.into_bytes();
        let why = not_utf8(&bytes, good);
        bytes.zeroize();
        io::Error::new(ErrorKind::InvalidData, why)
    })?;
    if text.contains('\0') {
        let why = "it holds zero bytes, as text in UTF-16 does; save it as UTF-8";
        text.zeroize();
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    // Some editors put a byte-order mark in front.
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Why bytes of which the first `good` are UTF-8 are no text, and what to do.
fn not_utf8(bytes: &[u8], good: usize) -> String {
    if [[0xff, 0xfe], [0xfe, 0xff]]
        .iter()
        .any(|mark| bytes.starts_with(mark))
    {
        return "line 1: it is UTF-16; save it as UTF-8".to_owned();
    }
    let before = bytes.get(..good).unwrap_or_default();
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let odd = bytes.get(good).copied().unwrap_or_default();
    match odd {
        // In Latin-1 these are the letters with accents.
        0xc0.. => format!(
            "line {line}: it is not UTF-8, {:?} is written as in Latin-1; save it as UTF-8",
            char::from(odd)
        ),
        _ => format!("line {line}: it is not UTF-8; save it as UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_file_of_bounded_size_is_read_and_nothing_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", at("dangling")).unwrap();
        std::os::unix::fs::symlink(at("fifo"), at("to-fifo")).unwrap();
        fs::write(at("good"), "ärger").unwrap();
        fs::write(at("bad"), b"one\ntw\xffo").unwrap();
        File::create(at("endless"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let said = |path: &Path| read_text(path, 6).unwrap_err().to_string();
        for path in [
            at("fifo"),
            at("to-fifo"),
            temp.path().into(),
            "/dev/zero".into(),
            "/dev/full".into(),
        ] {
            assert_eq!(said(&path), "it is no plain file", "{}", path.display());
        }
        assert!(said(&at("dangling")).contains("a link to a file that is not there"));
        assert_eq!(said(&at("endless")), "it is larger than 6 bytes");
        assert_eq!(
            read_text(&at("bad"), 99).unwrap_err().to_string(),
            "line 2: it is not UTF-8, 'ÿ' is written as in Latin-1; save it as UTF-8"
        );
        for (name, bytes) in [
            ("le", &b"\xff\xfea\0"[..]),
            ("be", b"\xfe\xff\0a"),
            ("plain", b"a\0b\0"),
        ] {
            fs::write(at(name), bytes).unwrap();
            assert!(said(&at(name)).contains("UTF-16"), "{name}");
        }
        fs::write(at("mark"), "\u{feff}a").unwrap();
        assert_eq!(read_text(&at("mark"), 6).unwrap(), "a");
        assert_eq!(
            read(&at("none"), 6).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(read_text(&at("good"), 6).unwrap(), "ärger");
    }
}
