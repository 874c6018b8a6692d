//! A serial port of this machine: opened for this process alone, and read and written with a time limit. Bytes go through
//! as they are; what they mean is the business of a kind.
//!
//! By the `serial2` crate: no system library, and `unsafe` only there.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serial2::{CharSize, FlowControl, KeepSettings, SerialPort, StopBits};

use crate::adapters::system;
use crate::domain::base::limits::{SERIAL_BAUD_MAX, SERIAL_BAUD_MIN};

/// The parity bit of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Parity {
    /// There is none.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Which port, and how it is set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wiring {
    /// As the configuration names it.
    pub path: PathBuf,
    /// Bits a second.
    pub baud: u32,
    /// The parity bit.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

impl Wiring {
    /// A port as the configuration has it.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(super) fn new(
        path: &Path,
        baud: u32,
        parity: Parity,
        stop_bits: Option<u8>,
    ) -> Result<Self, String> {
        let text = path.to_string_lossy();
        if text.is_empty() || !system::is_port(path) || text.chars().any(char::is_control) {
            return Err(
                "serial: must be the whole path of a serial port, such as /dev/ttyUSB0".to_owned(),
            );
        }
        if !(SERIAL_BAUD_MIN..=SERIAL_BAUD_MAX).contains(&baud) {
            return Err(format!(
                "baud: must be {SERIAL_BAUD_MIN} to {SERIAL_BAUD_MAX}"
            ));
        }
        let stop_bits = stop_bits.unwrap_or(1);
        if !(1..=2).contains(&stop_bits) {
            return Err("stop_bits: must be 1 or 2".to_owned());
        }
        Ok(Self {
            path: path.to_owned(),
            baud,
            parity,
            stop_bits,
        })
    }

    /// The port under the one name that it has whatever link leads to it, as far as it is there.
    pub(super) fn place(&self) -> String {
        let place = self.path.canonicalize();
        let place = place.unwrap_or_else(|_| self.path.clone());
        place.display().to_string()
    }

    /// How it is set, for people: `9600 baud, 8N1`.
    pub(super) fn set(&self) -> String {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        format!("{} baud, 8{parity}{}", self.baud, self.stop_bits)
    }

    /// How long so many characters take.
    pub(super) fn time_of(&self, characters: usize) -> Duration {
        let parity = u64::from(self.parity != Parity::None);
        let bits = 9 + parity + u64::from(self.stop_bits);
        let all = bits * u64::try_from(characters).unwrap_or(u64::MAX / 16);
        Duration::from_micros(all.saturating_mul(1_000_000) / u64::from(self.baud.max(1)))
    }
}

/// An open port. Nobody else has it meanwhile.
#[derive(Debug)]
pub(super) struct Port(SerialPort);

impl Port {
    /// Opens a port. What came in before is thrown away.
    ///
    /// # Errors
    /// Why it cannot be used, and what to do.
    pub(super) fn open(wiring: &Wiring) -> Result<Self, String> {
        let opened = Self::opened(wiring);
        opened.map_err(|error| {
            let path = wiring.path.display();
            match error.kind() {
                ErrorKind::NotFound => {
                    format!("there is no {path}: is the adapter plugged in? `ls /dev/serial/by-id` shows those that are")
                }
                ErrorKind::PermissionDenied => format!(
                    "{path}: this node's user may not open it; add the user to the group that owns it, usually dialout"
                ),
                ErrorKind::WouldBlock | ErrorKind::ResourceBusy => {
                    format!("{path}: another program has it; `fuser {path}` shows which")
                }
                _ => format!("{path}: {error}"),
            }
        })
    }

    fn opened(wiring: &Wiring) -> io::Result<Self> {
        // Set only once nobody else has it: the settings are those of everybody who has it open.
        let mut port = SerialPort::open(&wiring.path, KeepSettings)?;
        system::claim_port(&port)?;
        let mut settings = port.get_configuration()?;
        settings.set_raw();
        settings.set_baud_rate(wiring.baud)?;
        settings.set_char_size(CharSize::Bits8);
        settings.set_flow_control(FlowControl::None);
        settings.set_parity(match wiring.parity {
            Parity::None => serial2::Parity::None,
            Parity::Even => serial2::Parity::Even,
            Parity::Odd => serial2::Parity::Odd,
        });
        settings.set_stop_bits(match wiring.stop_bits {
            2 => StopBits::Two,
            _ => StopBits::One,
        });
        let set = port.set_configuration(&settings);
        set.map_err(|error| {
            let why = format!("it cannot be set to {}: {error}", wiring.set());
            io::Error::other(why)
        })?;
        port.discard_buffers()?;
        Ok(Self(port))
    }

    /// Reads what has come, and waits so long for the first byte.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if nothing came; anything else, and the port is of no use any more.
    pub(super) fn read(&mut self, room: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.0.set_read_timeout(whole_ms(limit))?;
        match self.0.read(room) {
            Ok(0) => Err(io::Error::other("it was unplugged")),
            // Told to be ready and then is not: as if nothing had come.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            read => read,
        }
    }

    /// Writes a part of these bytes, and waits so long until it can.
    ///
    /// # Errors
    /// As [`Port::read`].
    pub(super) fn write(&mut self, bytes: &[u8], limit: Duration) -> io::Result<usize> {
        self.0.set_write_timeout(whole_ms(limit))?;
        match self.0.write(bytes) {
            Ok(0) => Err(io::Error::other("it takes nothing")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            written => written,
        }
    }
}

/// In whole milliseconds, none of them nothing.
fn whole_ms(limit: Duration) -> Duration {
    let ms = limit.as_micros().div_ceil(1_000).max(1);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(all(test, target_os = "linux"))]
pub(super) mod tests;
