//! Limits of cameras and of the pictures that are kept.

/// Largest picture that is taken where nothing is said, in bytes.
pub const CAMERA_BYTES: u64 = 4_000_000;
/// Largest picture that may be taken, in bytes.
pub const CAMERA_BYTES_MAX: u64 = 16_000_000;
/// Most pixels of a picture; a command that prints more is told to print fewer.
pub const CAMERA_PIXELS_MAX: u64 = 17_000_000;
/// Longest side of a picture, in pixels.
pub const CAMERA_SIDE_MAX: u32 = 8_192;
/// Most memory that a decoder may take for one picture, in bytes.
pub const CAMERA_DECODE_MAX_BYTES: u64 = 150_000_000;
/// How often a picture is taken where nothing is said, in milliseconds.
pub const CAMERA_EVERY_MS: u64 = 60_000;
/// Shortest time between two pictures, in milliseconds.
pub const CAMERA_EVERY_MIN_MS: u64 = 1_000;
/// Largest thumbnail as it is told, in bytes.
pub const THUMBNAIL_MAX_BYTES: usize = 4_096;
/// How many pictures of a camera are kept where nothing is said.
pub const PICTURES_KEPT: usize = 100;
/// Most pictures of a camera that may be kept.
pub const PICTURES_KEPT_MAX: usize = 5_000;
/// How many megabytes of pictures of a camera are kept where nothing is said.
pub const PICTURES_MB: u64 = 100;
/// Most megabytes of pictures of a camera that may be kept.
pub const PICTURES_MB_MAX: u64 = 100_000;
/// Most cameras of which pictures are listed.
pub const CAMERAS_MAX: usize = 256;
/// Fewest characters of a picture's id that stand for it.
pub const PICTURE_ID_MIN_CHARS: usize = 8;
/// Most pictures that are listed at once where nothing is said.
pub const PICTURES_LISTED: usize = 100;
