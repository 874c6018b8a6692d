//! Limits of what is private.

/// Devices that may have the private readings of a node.
pub const PRIVATE_DEVICES_MAX: usize = 16;
/// Zones, and metrics, that a configuration labels private.
pub const PRIVATE_LABELS_MAX: usize = 256;
/// Private frames in one message to a device.
pub const PRIVATE_FRAMES_MAX: usize = 64;
/// Text of the frames in one such message, in bytes; one frame in any case.
pub const PRIVATE_MESSAGE_BYTES: usize = 65_536;
/// Private frames that are sent again on a new link: the device may have lost what it took last.
pub const PRIVATE_AGAIN: u64 = 64;
/// How long a node waits before it sends private frames again that a device did not take, in milliseconds.
pub const PRIVATE_RETRY_MS: u64 = 10_000;
/// Older readings that are looked through in one transaction when what is private changes.
pub const PRIVATE_LOOKED_AT_ONCE: usize = 2_000;
