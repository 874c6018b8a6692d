//! The pictures of this node's cameras, at the node that has them: which there are, and each as it was taken.

use std::io;

use serde::{Deserialize, Serialize};

use super::{Answer, Door};
use crate::adapters::paths::StateDir;
use crate::adapters::pictures::{Picture, Pictures};
use crate::domain::base::limits::{PICTURE_ID_MIN_CHARS, PICTURES_KEPT_MAX, PICTURES_LISTED};
use crate::domain::base::{Code, Refusal};

/// A picture that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PictureView {
    /// What it is called: the SHA-256 of its bytes.
    pub id: String,
    /// The camera.
    pub camera: String,
    /// When it was taken, in milliseconds since 1970.
    pub taken_at: u64,
    /// How large it is.
    pub bytes: u64,
    /// Its media type: `image/jpeg` or `image/png`.
    pub media_type: String,
}

impl From<Picture> for PictureView {
    fn from(picture: Picture) -> Self {
        Self {
            id: picture.id,
            camera: picture.camera,
            taken_at: picture.taken.0,
            bytes: picture.bytes,
            media_type: picture.format.media_type().to_owned(),
        }
    }
}

/// Which pictures.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureQuery {
    /// Of this camera alone.
    pub camera: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl PictureQuery {
    /// The pictures of a state directory that it asks for, newest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(&self, dir: &StateDir) -> io::Result<Vec<PictureView>> {
        let mut all = Pictures::of(dir).list(self.camera.as_deref())?;
        all.truncate(self.limit.unwrap_or(PICTURES_LISTED).min(PICTURES_KEPT_MAX));
        Ok(all.into_iter().map(PictureView::from).collect())
    }
}

/// A picture of a state directory with its bytes.
///
/// # Errors
/// `NOT_FOUND`, or that the file does not read or was changed.
pub fn picture_of(dir: &StateDir, id: &str) -> Answer<(PictureView, Vec<u8>)> {
    let found = Pictures::of(dir).open(id).map_err(|e| failed(&e))?;
    let (picture, bytes) = found.ok_or_else(|| {
        let why = format!(
            "no picture begins like that here, or several do: an id, or its first {PICTURE_ID_MIN_CHARS} characters or more; a picture \
             is kept by the node that took it, until newer ones take its place"
        );
        Refusal::new(Code::NotFound, why)
    })?;
    Ok((picture.into(), bytes))
}

fn failed(error: &io::Error) -> Refusal {
    Refusal::new(Code::InternalError, format!("the pictures: {error}"))
}

impl Door {
    /// The pictures that this node has, newest first.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn pictures(&self, query: PictureQuery) -> Answer<Vec<PictureView>> {
        let dir = StateDir::at(&self.context().state_dir());
        let listed = self.context().work(move || query.of(&dir)).await;
        let cut = || Err(io::Error::other("listing them was cut off"));
        listed.unwrap_or_else(cut).map_err(|e| failed(&e))
    }

    /// A picture as it was taken.
    ///
    /// # Errors
    /// As [`picture_of`].
    pub async fn picture(&self, id: String) -> Answer<(PictureView, Vec<u8>)> {
        let dir = StateDir::at(&self.context().state_dir());
        let read = self.context().work(move || picture_of(&dir, &id)).await;
        let cut = || Err(failed(&io::Error::other("reading it was cut off")));
        read.unwrap_or_else(cut)
    }
}
