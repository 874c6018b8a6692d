//! Where a device is, and the open way to it: a connection of its own, or a serial line that it shares.

use std::time::Duration;

use super::line::{Rank, Seat, Station};
use super::name::Name;
use super::socket::{Fault, Socket};
use super::wire::Ask;
use crate::adapters::devices::port::Wiring;
use crate::domain::base::limits::MODBUS_NAME_MS;

/// Where a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Host and port, or the path of a serial port.
    pub address: String,
    /// The serial port, where it is one.
    pub wiring: Option<Wiring>,
    /// The number by which it answers.
    pub unit: u8,
    /// The longest that one answer may take.
    pub limit: Duration,
}

/// A way to the device that is open.
pub(super) enum Way {
    Socket(Socket),
    Station(Station),
}

impl Way {
    /// Opens one, over the line where there is a seat at one.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(super) fn open(
        place: &Place,
        seat: Option<&Seat>,
        name: &mut Name,
        rank: Rank,
    ) -> Result<Self, String> {
        let Place {
            address,
            unit,
            limit,
            ..
        } = place;
        if let Some(seat) = seat {
            return Station::on(seat.line(), *unit, *limit, rank).map(Self::Station);
        }
        let places = name.places(Duration::from_millis(MODBUS_NAME_MS))?;
        Socket::connect(address, &places, *limit).map(Self::Socket)
    }

    /// Whether it can be used: one that the device has closed, or on which something came late, is of no use.
    pub(super) fn is_good(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.is_quiet(),
            Self::Station(station) => station.is_open(),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// The [`Fault`].
    pub(super) fn ask(
        &mut self,
        ask: &Ask,
        transaction: u16,
        unit: u8,
        rank: Rank,
    ) -> Result<Vec<u16>, Fault> {
        match self {
            Self::Socket(socket) => socket.ask(ask, transaction, unit),
            Self::Station(station) => station.ask(ask, rank),
        }
    }
}
