//! A port over a pseudo-terminal, and its other end for the tests of the kinds that use one.
#![allow(clippy::unwrap_used)]
use std::fs::File;
use std::io::{Read as _, Write as _};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;

/// The other end of a port: a pseudo-terminal. Dropped, the port is unplugged.
pub(in crate::adapters::devices) struct Far {
    file: File,
    pub path: PathBuf,
}

impl Far {
    pub(in crate::adapters::devices) fn new() -> Self {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let path = ptsname(&far, Vec::new()).unwrap();
        fcntl_setfl(&far, OFlags::NONBLOCK).unwrap();
        Self {
            file: far.into(),
            path: path.into_string().unwrap().into(),
        }
    }

    /// What has come; nothing also while nobody has the port open.
    pub(in crate::adapters::devices) fn read(&mut self) -> Vec<u8> {
        let mut room = [0; 1024];
        match self.file.read(&mut room) {
            Ok(come) if come > 0 => room[..come].to_vec(),
            _ => {
                std::thread::park_timeout(Duration::from_micros(500));
                Vec::new()
            }
        }
    }

    pub(in crate::adapters::devices) fn write(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
    }
}

pub(in crate::adapters::devices) fn wiring(path: &Path) -> Wiring {
    Wiring::new(path, 115_200, Parity::None, None).unwrap()
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn bytes_go_through_as_they_are_and_one_has_the_port_at_a_time() {
    let mut far = Far::new();
    let mut port = Port::open(&wiring(&far.path)).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(port.write(&all, SOON).unwrap(), 256);
    let mut come = Vec::new();
    while come.len() < 256 {
        come.extend(far.read());
    }
    assert_eq!(come, all);
    far.write(&all);
    let (mut back, mut room) = (Vec::<u8>::new(), [0; 256]);
    while back.len() < 256 {
        let come = port.read(&mut room, SOON).unwrap();
        back.extend(&room[..come]);
    }
    assert_eq!(back, all);
    let taken = Port::open(&wiring(&far.path)).unwrap_err();
    assert!(taken.contains("another program has it"), "{taken}");
    drop(port);
    Port::open(&wiring(&far.path)).unwrap();
}

#[test]
fn silence_and_an_unplugged_adapter_are_told_apart() {
    let far = Far::new();
    let path = far.path.clone();
    let mut port = Port::open(&wiring(&path)).unwrap();
    let silent = port
        .read(&mut [0; 8], Duration::from_millis(5))
        .unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::TimedOut);
    drop(far);
    let gone = port.read(&mut [0; 8], SOON).unwrap_err();
    assert_ne!(gone.kind(), ErrorKind::TimedOut, "{gone}");
    drop(port);
    let none = Port::open(&wiring(&path)).unwrap_err();
    assert!(none.contains("is the adapter plugged in"), "{none}");
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(Port::open(&wiring(file.path())).is_err());
    // A pseudo-terminal has no parity, as some converters.
    let far = Far::new();
    let even = Wiring::new(&far.path, 9_600, Parity::Even, None).unwrap();
    let odd = Port::open(&even).unwrap_err();
    assert!(odd.contains("cannot be set to 9600 baud, 8E1"), "{odd}");
}

#[test]
fn a_character_takes_its_bits() {
    let at = |baud, parity, stop| Wiring::new(Path::new("/dev/x"), baud, parity, Some(stop));
    let one = at(9_600, Parity::None, 1).unwrap();
    assert_eq!(one.time_of(960).as_millis(), 1_000);
    assert_eq!(one.set(), "9600 baud, 8N1");
    let other = at(1_200, Parity::Even, 2).unwrap();
    assert_eq!(other.time_of(100).as_millis(), 1_000);
    assert_eq!(other.set(), "1200 baud, 8E2");
    for (made, why) in [
        (at(0, Parity::None, 1), "baud: must be"),
        (at(9_600, Parity::None, 3), "stop_bits: must be 1 or 2"),
        (
            Wiring::new(Path::new("ttyUSB0"), 9_600, Parity::None, None),
            "the whole path of a serial port",
        ),
    ] {
        let told = made.unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}
