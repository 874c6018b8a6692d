//! One connection to a device: one request after the other, each answered within its time or the connection is
//! given up, so that a late answer is never taken for one to a later request.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::Instant;

use super::wire::{Ask, Bad, HEAD_BYTES, exception, follows, is_undone};
use crate::domain::base::limits::MODBUS_ADDRESSES_TRIED_MAX;

/// The fault of a request that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing of it left this machine.
    Unsent(String),
    /// The device refused it, and has certainly not done it.
    Refused {
        /// The exception.
        code: u8,
        /// Its meaning.
        why: String,
    },
    /// It was sent, wholly or in part, and whether it was done is not known.
    Unanswered(String),
}

impl Fault {
    /// The fault, in a sentence.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Unsent(why) | Self::Refused { why, .. } | Self::Unanswered(why) => why,
        }
    }

    /// Whether it is about one request and not about the connection.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// A connection on which nothing is open.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    limit: Duration,
}

impl Socket {
    /// Connects to a device of this name, which is at one of these places.
    ///
    /// # Errors
    /// The OS error of every address that was tried.
    pub(super) fn connect(
        address: &str,
        places: &[SocketAddr],
        limit: Duration,
    ) -> Result<Self, String> {
        let named = |e: &dyn std::fmt::Display| format!("{address}: {e}");
        let mut why = named(&"the name stands for no address");
        // Of many addresses only the first ones, so that this has an end.
        for place in places.iter().take(MODBUS_ADDRESSES_TRIED_MAX) {
            match TcpStream::connect_timeout(place, limit) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|e| named(&e))?;
                    // Dropped, it is reset: the kernel must not go on sending a request that was given up.
                    let reset = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    reset.map_err(|e| named(&e))?;
                    return Ok(Self { stream, limit });
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    why = format!("{address} does not answer");
                }
                Err(error) => why = named(&error),
            }
        }
        Err(why)
    }

    /// Whether it is still open and has no unrequested data.
    pub(super) fn is_quiet(&self) -> bool {
        let look = || {
            self.stream.set_nonblocking(true)?;
            let seen = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            seen
        };
        matches!(look(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Asks once. After any fault but a refusal the connection is of no use.
    ///
    /// # Errors
    /// The [`Fault`].
    pub(super) fn ask(&mut self, ask: &Ask, transaction: u16, unit: u8) -> Result<Vec<u16>, Fault> {
        let over = Instant::now() + self.limit;
        self.send(&ask.bytes(transaction, unit), over)?;
        let lost = |why: String| Fault::Unanswered(why);
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head, over).map_err(lost)?;
        let mut body = vec![0; follows(head, transaction, unit).map_err(lost)?];
        self.fill(&mut body, over).map_err(lost)?;
        ask.answer(&body).map_err(|bad| fault(bad, ask, unit))
    }

    fn send(&mut self, mut bytes: &[u8], over: Instant) -> Result<(), Fault> {
        let mut begun = false;
        while !bytes.is_empty() {
            let sent = self
                .left(over)
                .and_then(|left| self.stream.set_write_timeout(Some(left)))
                .and_then(|()| self.stream.write(bytes));
            match sent {
                Ok(0) => {
                    return Err(not_sent(
                        begun,
                        "the device closed the connection".to_owned(),
                    ));
                }
                Ok(sent) => {
                    begun = true;
                    bytes = bytes.get(sent..).unwrap_or_default();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(not_sent(begun, self.words(&error))),
            }
        }
        Ok(())
    }

    /// Reads as many bytes as there is room for.
    fn fill(&mut self, mut room: &mut [u8], over: Instant) -> Result<(), String> {
        while !room.is_empty() {
            let come = self
                .left(over)
                .and_then(|left| self.stream.set_read_timeout(Some(left)))
                .and_then(|()| self.stream.read(room));
            match come {
                Ok(0) => {
                    return Err("the device closed the connection before it answered".to_owned());
                }
                Ok(come) => room = room.get_mut(come..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.words(&error)),
            }
        }
        Ok(())
    }

    fn left(&self, over: Instant) -> io::Result<Duration> {
        let left = over.saturating_duration_since(Instant::now());
        // A timeout of nothing would be none.
        match left < Duration::from_millis(1) {
            true => Err(ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }

    fn words(&self, error: &io::Error) -> String {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => format!(
                "the device has not answered within {} ms",
                self.limit.as_millis()
            ),
            _ => error.to_string(),
        }
    }
}

/// The fault of a request that was answered so.
pub(super) fn fault(bad: Bad, ask: &Ask, unit: u8) -> Fault {
    match bad {
        Bad::Odd(why) => Fault::Unanswered(why),
        Bad::Exception(code) => {
            let why = exception(code, ask, unit);
            match ask.is_write() && !is_undone(code) {
                true => Fault::Unanswered(why),
                false => Fault::Refused { code, why },
            }
        }
    }
}

/// The fault of a request that was not sent as a whole.
pub(super) fn not_sent(begun: bool, why: String) -> Fault {
    match begun {
        true => Fault::Unanswered(why),
        false => Fault::Unsent(why),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_connection_that_is_given_up_is_reset() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = server.local_addr().unwrap();
        let limit = Duration::from_secs(5);
        let socket = Socket::connect("plc", &[place], limit).unwrap();
        let (mut device, _) = server.accept().unwrap();
        drop(socket);
        let end = device.read(&mut [0; 8]);
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_request_of_which_a_part_was_sent_may_have_been_done() {
        let (part, none) = (
            not_sent(true, String::new()),
            not_sent(false, String::new()),
        );
        assert!(matches!(part, Fault::Unanswered(_)) && matches!(none, Fault::Unsent(_)));
    }
}
