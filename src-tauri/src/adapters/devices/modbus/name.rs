//! The addresses that the name of a device stands for. The resolver of the system has no time limit, so a thread of
//! its own asks it: one that hangs does not hold up the way to the safe state.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

type Answer = io::Result<Vec<SocketAddr>>;

/// A host and a port.
pub(super) struct Name {
    name: String,
    lookup: Arc<dyn Fn(&str) -> Answer + Send + Sync>,
    /// The last addresses resolved.
    last: Vec<SocketAddr>,
    /// An answer that has not come in time.
    asked: Option<Receiver<Answer>>,
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.name).finish()
    }
}

impl Name {
    /// A name that the system knows.
    pub(super) fn new(name: &str) -> Self {
        Self::by(name, |name| Ok(name.to_socket_addrs()?.collect()))
    }

    fn by(name: &str, lookup: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            lookup: Arc::new(lookup),
            last: Vec::new(),
            asked: None,
        }
    }

    /// Its addresses; the last ones, where the resolver does not answer within `wait`.
    ///
    /// # Errors
    /// Why it has no address.
    pub(super) fn places(&mut self, wait: Duration) -> Result<Vec<SocketAddr>, String> {
        if let Ok(place) = self.name.parse() {
            return Ok(vec![place]);
        }
        let named = |why: String| format!("{}: {why}", self.name);
        let late = self.asked.as_ref().map(Receiver::try_recv);
        let hangs = matches!(late, Some(Err(TryRecvError::Empty)));
        if let Some(Ok(Ok(places))) = late {
            self.last = places;
        }
        // It is waited for once, and asked again when it has answered.
        let asked = match self.asked.take() {
            Some(asked) if hangs && !self.last.is_empty() => {
                self.asked = Some(asked);
                return Ok(self.last.clone());
            }
            Some(asked) if hangs => asked,
            _ => self.ask().map_err(|e| named(e.to_string()))?,
        };
        match asked.recv_timeout(wait) {
            Ok(Ok(places)) => {
                self.last.clone_from(&places);
                Ok(places)
            }
            Ok(Err(error)) => Err(named(error.to_string())),
            Err(RecvTimeoutError::Disconnected) => Err(named("nothing asks for it".to_owned())),
            Err(RecvTimeoutError::Timeout) => {
                self.asked = Some(asked);
                match self.last.is_empty() {
                    true => Err(named(
                        "nothing answers what address this name stands for".to_owned(),
                    )),
                    false => Ok(self.last.clone()),
                }
            }
        }
    }

    fn ask(&self) -> io::Result<Receiver<Answer>> {
        let (answer, asked) = sync_channel(1);
        let (name, lookup) = (self.name.clone(), self.lookup.clone());
        let thread = std::thread::Builder::new().name("modbus name".to_owned());
        // The last who waits may be gone.
        thread.spawn(move || drop(answer.send(lookup(&name))))?;
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::SyncSender;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn at(port: u16) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([127, 0, 0, 1], port))]
    }

    /// A name whose resolver answers when it is told to, and how often it was asked.
    fn name() -> (Name, SyncSender<Answer>, Arc<AtomicUsize>) {
        let (tell, told) = sync_channel::<Answer>(8);
        let (told, count) = (Mutex::new(told), Arc::new(AtomicUsize::new(0)));
        let asked = count.clone();
        let lookup = move |_: &str| {
            asked.fetch_add(1, Ordering::SeqCst);
            let told = told.lock().unwrap().recv();
            told.unwrap_or_else(|_| Err(io::ErrorKind::NotFound.into()))
        };
        (Name::by("plc:502", lookup), tell, count)
    }

    #[test]
    fn where_the_resolver_hangs_the_last_addresses_are_taken() {
        let (mut name, tell, count) = name();
        tell.send(Ok(at(1))).unwrap();
        assert_eq!(name.places(LONG), Ok(at(1)));
        assert_eq!(name.places(Duration::ZERO), Ok(at(1)));
        // It is not waited for again, and no second thread hangs.
        assert_eq!(name.places(LONG), Ok(at(1)));
        tell.send(Ok(at(2))).unwrap();
        tell.send(Ok(at(3))).unwrap();
        while name.places(LONG) != Ok(at(3)) {
            std::thread::yield_now();
        }
        assert_eq!(count.load(Ordering::SeqCst), 3);
        // An answer that there is no such name is one.
        tell.send(Err(io::ErrorKind::NotFound.into())).unwrap();
        name.places(LONG).unwrap_err();
    }

    #[test]
    fn a_name_that_was_never_known_is_an_error_until_it_is() {
        let (mut name, tell, _) = name();
        let why = name.places(Duration::ZERO).unwrap_err();
        assert!(why.starts_with("plc:502: nothing answers"), "{why}");
        // The answer to the first may have come before it is looked for.
        tell.send(Ok(at(1))).unwrap();
        tell.send(Ok(at(1))).unwrap();
        assert_eq!(name.places(LONG), Ok(at(1)));
    }

    #[test]
    fn an_address_is_no_name() {
        let nobody = |_: &str| Err(io::ErrorKind::NotFound.into());
        let mut name = Name::by("127.0.0.1:1", nobody);
        assert_eq!(name.places(Duration::ZERO), Ok(at(1)));
    }
}
