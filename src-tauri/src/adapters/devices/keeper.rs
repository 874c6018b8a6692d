//! Requests of a device to its node, before the node has been read as a whole: an actuator is made safe first of
//! all.

use zeroize::Zeroizing;

use crate::domain::base::DeviceId;

/// Tells who the node is, and the passwords of its devices. May read files: for threads that may block.
pub trait Keeper: Send + Sync {
    /// The node's own id.
    ///
    /// # Errors
    /// Why it is not known, in a sentence without a full stop.
    fn device(&self) -> Result<DeviceId, String>;

    /// The password under this name, as a person set it.
    ///
    /// # Errors
    /// Why there is none, in a sentence without a full stop.
    fn password(&self, name: &str) -> Result<Zeroizing<String>, String>;
}
