//! The pictures that this node's cameras took: files of its state directory that only its owner reads, as many of each camera and
//! as many bytes as its configuration says, the oldest given up for the next. What a picture is called here is what is in it: its
//! SHA-256. A file that is no such picture is left alone and not told of.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::files;
use super::paths::{StateDir, make_private_dir, write_private};
use crate::domain::base::limits::{
    CAMERA_BYTES_MAX, CAMERAS_MAX, PICTURE_ID_MIN_CHARS, PICTURES_KEPT_MAX,
};
use crate::domain::base::{Digest, TimeMs};

/// What a picture is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
}

impl Format {
    /// What these bytes begin as, whatever comes behind.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            _ => None,
        }
    }

    /// The end of a file's name.
    pub fn end(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// How many pictures of one camera are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The most.
    pub count: usize,
    /// The most bytes of all of them.
    pub bytes: u64,
}

/// A picture that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The SHA-256 of its bytes, in lowercase hex.
    pub id: String,
    /// The camera.
    pub camera: String,
    /// When it was taken.
    pub taken: TimeMs,
    /// How large it is.
    pub bytes: u64,
    /// What it is written in.
    pub format: Format,
}

impl Picture {
    fn file_name(&self) -> String {
        format!("{:013}-{}.{}", self.taken.0, self.id, self.format.end())
    }

    /// The picture of a file's name; none where that is no name of one.
    fn of(camera: &str, name: &str, bytes: u64) -> Option<Self> {
        let (stem, end) = name.rsplit_once('.')?;
        let format = [Format::Jpeg, Format::Png]
            .into_iter()
            .find(|format| format.end() == end)?;
        let (taken, id) = stem.split_once('-')?;
        let digits = taken.len() == 13 && taken.bytes().all(|b| b.is_ascii_digit());
        let taken = taken.parse().ok().filter(|_| digits)?;
        Digest::from_hex(id)?;
        Some(Self {
            id: id.to_owned(),
            camera: camera.to_owned(),
            taken: TimeMs(taken),
            bytes,
            format,
        })
    }
}

/// Whether this may be the name of a camera, and so of a folder: small letters, digits and `-`.
pub fn is_camera(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// The pictures of a state directory.
#[derive(Debug, Clone)]
pub struct Pictures(PathBuf);

impl Pictures {
    /// Those of this state directory.
    pub fn of(dir: &StateDir) -> Self {
        Self(dir.pictures_dir())
    }

    /// Keeps a picture, and gives up as many of the oldest of its camera as that takes.
    ///
    /// # Errors
    /// If it is larger than all that may be kept, or the disk does not take it.
    pub fn keep(
        &self,
        camera: &str,
        taken: TimeMs,
        format: Format,
        bytes: &[u8],
        kept: Kept,
    ) -> io::Result<Picture> {
        if !is_camera(camera) {
            return Err(io::Error::other("this is no name of a camera"));
        }
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if kept.count == 0 || size > kept.bytes {
            return Err(io::Error::other(format!(
                "it has {size} bytes, and at most {} are kept of this camera",
                kept.bytes
            )));
        }
        let folder = self.0.join(camera);
        make_private_dir(&self.0).map_err(io::Error::other)?;
        make_private_dir(&folder).map_err(io::Error::other)?;
        let picture = Picture {
            id: Digest::of(&[bytes]).to_hex(),
            camera: camera.to_owned(),
            taken,
            bytes: size,
            format,
        };
        let mut all = self.of_camera(camera)?;
        // The same picture again is one picture, taken now.
        all.retain(|other| {
            other.id != picture.id || other.file_name() == picture.file_name() || {
                fs::remove_file(folder.join(other.file_name())).is_err()
            }
        });
        let mut sum: u64 = all.iter().map(|other| other.bytes).sum();
        while all.len() >= kept.count || sum.saturating_add(size) > kept.bytes {
            let Some(oldest) = all.pop() else { break };
            fs::remove_file(folder.join(oldest.file_name()))?;
            sum = sum.saturating_sub(oldest.bytes);
        }
        let file = folder.join(picture.file_name());
        write_private(&file, bytes).map_err(io::Error::other)?;
        Ok(picture)
    }

    /// The pictures of one camera, newest first.
    fn of_camera(&self, camera: &str) -> io::Result<Vec<Picture>> {
        let folder = match fs::read_dir(self.0.join(camera)) {
            Ok(folder) => folder,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        // Twice as many: what was left half written is passed over.
        for entry in folder.take(2 * PICTURES_KEPT_MAX) {
            let entry = entry?;
            let Ok(about) = entry.metadata() else {
                continue;
            };
            let name = entry.file_name();
            let name = name.to_str().filter(|_| about.is_file());
            all.extend(name.and_then(|name| Picture::of(camera, name, about.len())));
        }
        all.sort_by(|a, b| (b.taken, &b.id).cmp(&(a.taken, &a.id)));
        Ok(all)
    }

    /// The pictures that are kept, newest first; of one camera or of all.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(&self, camera: Option<&str>) -> io::Result<Vec<Picture>> {
        if let Some(camera) = camera {
            return match is_camera(camera) {
                true => self.of_camera(camera),
                false => Ok(Vec::new()),
            };
        }
        let folders = match fs::read_dir(&self.0) {
            Ok(folders) => folders,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for folder in folders.take(CAMERAS_MAX) {
            let name = folder?.file_name();
            if let Some(camera) = name.to_str().filter(|name| is_camera(name)) {
                all.extend(self.of_camera(camera)?);
            }
        }
        all.sort_by(|a, b| (b.taken, &b.id).cmp(&(a.taken, &a.id)));
        Ok(all)
    }

    /// A picture by its id or the beginning of it, with its bytes, which are checked to be those of its name; `None` where there is
    /// none, or where several begin so.
    ///
    /// # Errors
    /// What the system says, or that the file is not what its name says any more.
    pub fn open(&self, id: &str) -> io::Result<Option<(Picture, Vec<u8>)>> {
        let hex = id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !hex || !(PICTURE_ID_MIN_CHARS..=64).contains(&id.len()) {
            return Ok(None);
        }
        let mut found: Vec<Picture> = self.list(None)?;
        found.retain(|picture| picture.id.starts_with(id));
        let Some(first) = found.first() else {
            return Ok(None);
        };
        if found.iter().any(|other| other.id != first.id) {
            return Ok(None);
        }
        let file = self.0.join(&first.camera).join(first.file_name());
        let bytes = files::read(&file, CAMERA_BYTES_MAX)?;
        if Digest::of(&[&bytes]).to_hex() != first.id {
            return Err(damaged(&file));
        }
        Ok(Some((first.clone(), bytes)))
    }
}

fn damaged(file: &Path) -> io::Error {
    io::Error::other(format!(
        "{} is not what it was when it was taken: its SHA-256 is another one",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROOM: Kept = Kept {
        count: 3,
        bytes: 100,
    };

    fn pictures(temp: &tempfile::TempDir) -> Pictures {
        Pictures::of(&StateDir::at(temp.path()))
    }

    fn keep(pictures: &Pictures, camera: &str, at: u64, bytes: &[u8]) -> io::Result<Picture> {
        pictures.keep(camera, TimeMs(at), Format::Jpeg, bytes, ROOM)
    }

    #[test]
    fn the_oldest_of_a_camera_is_given_up_for_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let all = pictures(&temp);
        assert_eq!(all.list(None).unwrap(), []);
        let other = keep(&all, "door", 1, b"other").unwrap();
        for at in 2..8_u8 {
            keep(&all, "gate", u64::from(at), &[at; 10]).unwrap();
        }
        let times = |camera: &str| -> Vec<u64> {
            let list = all.list(Some(camera)).unwrap();
            list.iter().map(|picture| picture.taken.0).collect()
        };
        assert_eq!(times("gate"), [7, 6, 5], "three of them");
        keep(&all, "gate", 8, &[8; 85]).unwrap();
        assert_eq!(times("gate"), [8, 7], "a hundred bytes");
        let why = keep(&all, "gate", 9, &[9; 101]).unwrap_err().to_string();
        assert!(why.contains("101 bytes, and at most 100"), "{why}");
        assert_eq!(times("gate"), [8, 7], "nothing was given up for it");
        // One camera's share is no other's.
        assert_eq!(times("door"), [1]);
        assert_eq!(all.list(None).unwrap().last(), Some(&other));
    }

    #[test]
    fn the_same_picture_is_one() {
        let temp = tempfile::tempdir().unwrap();
        let all = pictures(&temp);
        keep(&all, "gate", 1, b"same").unwrap();
        let again = keep(&all, "gate", 2, b"same").unwrap();
        keep(&all, "gate", 2, b"same").unwrap();
        assert_eq!(all.list(None).unwrap(), [again]);
    }

    #[test]
    fn a_picture_is_found_by_its_id_or_its_beginning_and_checked() {
        let temp = tempfile::tempdir().unwrap();
        let all = pictures(&temp);
        let one = keep(&all, "gate", 1, b"one").unwrap();
        assert_eq!(one.id, Digest::of(&[b"one"]).to_hex());
        let (found, bytes) = all.open(&one.id).unwrap().unwrap();
        assert_eq!((found, &*bytes), (one.clone(), &b"one"[..]));
        assert!(all.open(&one.id[..8]).unwrap().is_some());
        for id in [
            "",
            &one.id[..7],
            "../gate",
            &one.id.to_uppercase(),
            &"0".repeat(64),
        ] {
            assert_eq!(all.open(id).unwrap(), None, "{id}");
        }
        let file = temp.path().join("pictures/gate").join(one.file_name());
        fs::write(&file, b"two").unwrap();
        let why = all.open(&one.id).unwrap_err().to_string();
        assert!(why.contains("its SHA-256 is another one"), "{why}");
        // What is no picture is left alone.
        fs::write(file.with_file_name("notes.txt"), "x").unwrap();
        fs::write(temp.path().join("pictures/readme"), "x").unwrap();
        assert_eq!(all.list(None).unwrap().len(), 1);
    }

    #[test]
    fn a_camera_has_no_name_that_leads_elsewhere() {
        let temp = tempfile::tempdir().unwrap();
        let all = pictures(&temp);
        for name in ["", "..", "a/b", "Gate", "a b", &"a".repeat(65)] {
            assert!(!is_camera(name));
            keep(&all, name, 1, b"x").unwrap_err();
            assert_eq!(all.list(Some(name)).unwrap(), []);
        }
    }
}
