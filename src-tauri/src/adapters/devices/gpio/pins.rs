//! The lines of a board, as the driver needs them: an output that this process holds, and an input. `chip.rs` has those of the
//! Linux character device, and the twin here is memory.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

/// What pulls a line that nothing drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bias {
    /// A resistor of the chip to its supply.
    PullUp,
    /// A resistor of the chip to ground.
    PullDown,
    /// Nothing of the chip.
    None,
}

/// Which edges of an input are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Edges {
    /// From off to on.
    Rising,
    /// From on to off.
    Falling,
    /// Both.
    Both,
}

/// One line and how it is wired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pin {
    /// The chip, such as `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// The number of the line there.
    pub line: u32,
    /// Whether a low voltage means on.
    pub active_low: bool,
    /// What pulls it.
    pub bias: Option<Bias>,
}

/// An output, held: no other program can have the line meanwhile.
pub(super) trait Output: Send {
    /// Switches it on or off.
    ///
    /// # Errors
    /// Why not; it may have been switched all the same.
    fn set(&mut self, on: bool) -> Result<(), String>;

    /// Whether it is on.
    ///
    /// # Errors
    /// If it does not say.
    fn is_on(&mut self) -> Result<bool, String>;
}

/// An input, held.
pub(super) trait Input: Send {
    /// Whether it is on.
    ///
    /// # Errors
    /// If it does not say.
    fn is_on(&mut self) -> Result<bool, String>;

    /// How many edges there were since it is held, those that came too fast to be read one by one too.
    ///
    /// # Errors
    /// If it does not say.
    fn edges(&mut self) -> Result<u64, String>;
}

/// A board.
pub(super) trait Board: Send + Sync {
    /// Whether a line is there and free. It is neither taken nor changed: what is taken and given back may change its level.
    ///
    /// # Errors
    /// Why it could not be had, and what to do.
    fn look(&self, pin: &Pin) -> Result<(), String>;

    /// Takes a line and switches it on or off in the same moment.
    ///
    /// # Errors
    /// Why it cannot be had, and what to do.
    fn output(&self, pin: &Pin, on: bool) -> Result<Box<dyn Output>, String>;

    /// Takes a line to read it.
    ///
    /// # Errors
    /// Why it cannot be had, and what to do.
    fn input(
        &self,
        pin: &Pin,
        edges: Option<Edges>,
        debounce_ms: u64,
    ) -> Result<Box<dyn Input>, String>;
}

/// The board of this machine.
pub(super) fn here() -> Arc<dyn Board> {
    #[cfg(all(target_os = "linux", feature = "gpio"))]
    return Arc::new(super::chip::Chips);
    #[cfg(not(all(target_os = "linux", feature = "gpio")))]
    return Arc::new(Nowhere);
}

/// A program that was built without lines.
#[cfg(not(all(target_os = "linux", feature = "gpio")))]
struct Nowhere;

#[cfg(not(all(target_os = "linux", feature = "gpio")))]
impl Nowhere {
    const WHY: &str = "this program was built without GPIO; on Linux the feature `gpio` brings it";
}

#[cfg(not(all(target_os = "linux", feature = "gpio")))]
impl Board for Nowhere {
    fn look(&self, _: &Pin) -> Result<(), String> {
        Err(Self::WHY.to_owned())
    }

    fn output(&self, _: &Pin, _: bool) -> Result<Box<dyn Output>, String> {
        Err(Self::WHY.to_owned())
    }

    fn input(&self, _: &Pin, _: Option<Edges>, _: u64) -> Result<Box<dyn Input>, String> {
        Err(Self::WHY.to_owned())
    }
}

#[cfg(test)]
pub(super) mod twin {
    //! A board that is memory.

    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, MutexGuard};

    use super::*;

    /// One line.
    #[derive(Debug, Default, Clone)]
    pub(in crate::adapters::devices::gpio) struct Line {
        /// Whether its voltage is high.
        pub high: bool,
        /// Whether somebody holds it.
        pub held: bool,
        /// The voltages that it was given.
        pub set: Vec<bool>,
        /// How often it rose and fell.
        pub rose: u64,
        pub fell: u64,
        /// What goes wrong with it.
        pub fault: Option<String>,
        /// Whether it takes what is set and does not do it.
        pub stuck: bool,
    }

    /// The board; what it holds is shared by its copies.
    #[derive(Debug, Default, Clone)]
    pub(in crate::adapters::devices::gpio) struct Twin(Arc<Mutex<BTreeMap<u32, Line>>>);

    impl Twin {
        pub(in crate::adapters::devices::gpio) fn lines(
            &self,
        ) -> MutexGuard<'_, BTreeMap<u32, Line>> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(in crate::adapters::devices::gpio) fn line(&self, line: u32) -> Line {
            self.lines().entry(line).or_default().clone()
        }

        /// What hangs on an input makes it high or low.
        pub(in crate::adapters::devices::gpio) fn drive(&self, line: u32, high: bool) {
            let mut lines = self.lines();
            let line = lines.entry(line).or_default();
            match (line.high, high) {
                (false, true) => line.rose += 1,
                (true, false) => line.fell += 1,
                _ => {}
            }
            line.high = high;
        }

        fn take(&self, pin: &Pin) -> Result<Held, String> {
            let mut lines = self.lines();
            let line = lines.entry(pin.line).or_default();
            if let Some(fault) = &line.fault {
                return Err(fault.clone());
            }
            if std::mem::replace(&mut line.held, true) {
                return Err("another program has it".to_owned());
            }
            Ok(Held {
                board: self.clone(),
                pin: pin.clone(),
                edges: None,
                from: (line.rose, line.fell),
            })
        }
    }

    struct Held {
        board: Twin,
        pin: Pin,
        edges: Option<Edges>,
        from: (u64, u64),
    }

    impl Held {
        fn with<T>(&self, with: impl FnOnce(&mut Line) -> T) -> Result<T, String> {
            let mut lines = self.board.lines();
            let line = lines.entry(self.pin.line).or_default();
            match &line.fault {
                Some(fault) => Err(fault.clone()),
                None => Ok(with(line)),
            }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            self.board.lines().entry(self.pin.line).or_default().held = false;
        }
    }

    impl Output for Held {
        fn set(&mut self, on: bool) -> Result<(), String> {
            let high = on != self.pin.active_low;
            self.with(|line| {
                line.set.push(high);
                line.high = if line.stuck { line.high } else { high };
            })
        }

        fn is_on(&mut self) -> Result<bool, String> {
            self.with(|line| line.high)
                .map(|high| high != self.pin.active_low)
        }
    }

    impl Input for Held {
        fn is_on(&mut self) -> Result<bool, String> {
            self.with(|line| line.high)
                .map(|high| high != self.pin.active_low)
        }

        fn edges(&mut self) -> Result<u64, String> {
            let (rose, fell) = self.with(|line| (line.rose, line.fell))?;
            let (rose, fell) = (rose - self.from.0, fell - self.from.1);
            let (on, off) = if self.pin.active_low {
                (fell, rose)
            } else {
                (rose, fell)
            };
            Ok(match self.edges {
                Some(Edges::Rising) => on,
                Some(Edges::Falling) => off,
                Some(Edges::Both) => on + off,
                None => 0,
            })
        }
    }

    impl Board for Twin {
        fn look(&self, pin: &Pin) -> Result<(), String> {
            match self.line(pin.line) {
                Line {
                    fault: Some(fault), ..
                } => Err(fault),
                Line { held: true, .. } => Err("another program has it".to_owned()),
                _ => Ok(()),
            }
        }

        fn output(&self, pin: &Pin, on: bool) -> Result<Box<dyn Output>, String> {
            let mut held = self.take(pin)?;
            held.set(on)?;
            Ok(Box::new(held))
        }

        fn input(&self, pin: &Pin, edges: Option<Edges>, _: u64) -> Result<Box<dyn Input>, String> {
            let mut held = self.take(pin)?;
            held.edges = edges;
            Ok(Box::new(held))
        }
    }
}
