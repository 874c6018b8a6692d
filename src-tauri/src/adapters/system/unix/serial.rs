//! Serial ports on Unix: device files, which any program may open unless the one that has it says no.

use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::termios::{ControlModes, OptionalActions, ioctl_tiocexcl, tcgetattr, tcsetattr};
use serial2::SerialPort;

/// Whether this may name a port: a whole path.
pub fn is_port(path: &Path) -> bool {
    path.is_absolute()
}

/// Keeps a port for this process: programs that lock ports see that it is taken, and the others cannot open it, those of root
/// aside. The lines of a modem are not waited for.
///
/// # Errors
/// If another program has it.
pub fn claim_port(port: &SerialPort) -> io::Result<()> {
    flock(port, FlockOperation::NonBlockingLockExclusive)?;
    ioctl_tiocexcl(port)?;
    let mut settings = tcgetattr(port)?;
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    tcsetattr(port, OptionalActions::Now, &settings)?;
    Ok(())
}
