//! Serial ports on Windows, which gives a port to one program at a time by itself.

use std::io;
use std::path::Path;

use serial2::SerialPort;

/// Whether this may name a port, such as `COM3`.
pub fn is_port(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// Nothing to do.
///
/// # Errors
/// None.
pub fn claim_port(_: &SerialPort) -> io::Result<()> {
    Ok(())
}
