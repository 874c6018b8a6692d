//! A look at the bytes of a picture, which may be anything: what they are, how large the picture is, and a thumbnail of it. All
//! within limits, for a picture of a few bytes can claim to be of any size.

use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use crate::adapters::pictures::Format;
use crate::domain::base::limits::{
    CAMERA_DECODE_MAX_BYTES, CAMERA_PIXELS_MAX, CAMERA_SIDE_MAX, THUMBNAIL_MAX_BYTES,
};

/// What was seen of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// What it is written in.
    pub format: Format,
    /// Its size in pixels.
    pub width: u32,
    /// See `width`.
    pub height: u32,
    /// A small JPEG of it, as a `data:` URL.
    pub thumbnail: String,
}

/// Longest side of a thumbnail in pixels and its quality, each tried until one is small enough.
const TRIES: [(u32, u8); 6] = [
    (160, 60),
    (128, 55),
    (112, 45),
    (96, 35),
    (64, 30),
    (32, 20),
];

/// Looks at a picture.
///
/// # Errors
/// Why these bytes are no picture that is taken.
pub(super) fn look(bytes: &[u8]) -> Result<Seen, String> {
    let format = Format::of(bytes).ok_or_else(|| match bytes.is_empty() {
        true => "nothing came".to_owned(),
        false => "what came is neither JPEG nor PNG".to_owned(),
    })?;
    let broken = |error: image::ImageError| format!("the picture does not read: {error}");
    let (width, height) = reader(bytes, format).into_dimensions().map_err(broken)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > CAMERA_PIXELS_MAX || width.max(height) > CAMERA_SIDE_MAX {
        return Err(format!(
            "the picture is {width} x {height}; at most {} million pixels and {CAMERA_SIDE_MAX} a side are taken",
            CAMERA_PIXELS_MAX / 1_000_000
        ));
    }
    // One at a time: a picture takes much more room than its file.
    static ROOM: Mutex<()> = Mutex::new(());
    let _room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = reader(bytes, format).decode().map_err(broken)?;
    Ok(Seen {
        format,
        width,
        height,
        thumbnail: thumbnail(&whole)?,
    })
}

fn reader(bytes: &[u8], format: Format) -> ImageReader<Cursor<&[u8]>> {
    let format = match format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(CAMERA_SIDE_MAX);
    limits.max_image_height = Some(CAMERA_SIDE_MAX);
    limits.max_alloc = Some(CAMERA_DECODE_MAX_BYTES);
    reader.limits(limits);
    reader
}

/// A small JPEG of a picture. It has none of what cameras write beside it, such as the place.
fn thumbnail(whole: &DynamicImage) -> Result<String, String> {
    for (side, quality) in TRIES {
        let small = match whole.width().max(whole.height()) > side {
            true => whole.thumbnail(side, side),
            false => whole.clone(),
        };
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode_image(&small.into_rgb8())
            .map_err(|error| format!("no thumbnail can be made of the picture: {error}"))?;
        let text = format!("data:image/jpeg;base64,{}", STANDARD.encode(&bytes));
        if text.len() <= THUMBNAIL_MAX_BYTES {
            return Ok(text);
        }
    }
    Err("no thumbnail of the picture is small enough".to_owned())
}
