//! Lines of the Linux character device (`/dev/gpiochip*`), by the `gpiocdev` crate. The kernel gives a line to one process at a
//! time and frees it when that process ends.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use gpiocdev::line::{self, EdgeDetection, Info, Value};
use gpiocdev::request::Builder;
use gpiocdev::{Chip, Error, Request};

use super::pins::{Bias, Board, Edges, Input, Output, Pin};
use crate::domain::base::limits::GPIO_EDGES_MAX;

/// The name by which `gpioinfo` shows who has a line.
const CONSUMER: &str = "clawmesh";

/// How many edges are read at once.
const AT_ONCE: usize = 16;

/// The chips of this machine.
pub(super) struct Chips;

/// A line that this process has.
struct Held {
    request: Request,
    pin: Pin,
    counts: bool,
    counted: Counted,
}

/// The edges of a line, by the numbers that the kernel gives them.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// The number of the last one.
    last: u32,
    /// All so far.
    all: u64,
}

impl Counted {
    /// One more edge. Those that the kernel had no room to keep are missing between two numbers, and count all the same.
    pub(super) fn edge(&mut self, number: u32) {
        let step = number.wrapping_sub(self.last);
        // A number that goes back is none that the kernel gives: the edge counts, and what is between does not.
        let step = if step > u32::MAX / 2 { 1 } else { step };
        self.all = self.all.saturating_add(u64::from(step));
        self.last = number;
    }

    /// All so far.
    pub(super) fn all(&self) -> u64 {
        self.all
    }
}

fn of(on: bool) -> Value {
    match on {
        true => Value::Active,
        false => Value::Inactive,
    }
}

/// A request of this line, which `how` says more of.
fn take(pin: &Pin, how: impl FnOnce(&mut Builder)) -> Result<Request, String> {
    // Asked before, for the kernel's own answers name no reason.
    let info = looked_at(pin)?;
    free(pin, &info)?;
    let mut builder = Request::builder();
    builder
        .on_chip(pin.chip.clone())
        .with_consumer(CONSUMER)
        .with_line(pin.line);
    how(&mut builder);
    if pin.active_low {
        builder.as_active_low();
    }
    if let Some(bias) = pin.bias {
        builder.with_bias(match bias {
            Bias::PullUp => line::Bias::PullUp,
            Bias::PullDown => line::Bias::PullDown,
            Bias::None => line::Bias::Disabled,
        });
    }
    builder.request().map_err(|error| {
        // Somebody may have taken it since.
        let why = looked_at(pin).and_then(|info| free(pin, &info)).err();
        why.unwrap_or_else(|| {
            format!(
                "{}; the chip may not know what is asked of the line (output, bias, edges, debounce_ms), or the kernel is older \
                 than 5.10",
                named(pin, &error)
            )
        })
    })
}

/// What the kernel says of a line; the line is not taken for it, nor changed.
fn looked_at(pin: &Pin) -> Result<Info, String> {
    let chip = Chip::from_path(&pin.chip).map_err(|error| no_chip(&pin.chip, &error))?;
    let about = chip.info();
    if let Ok(about) = &about
        && pin.line >= about.num_lines
    {
        let (path, most) = (pin.chip.display(), about.num_lines.saturating_sub(1));
        return Err(format!(
            "line {} of {path}: there is none, the chip has 0 to {most}; `gpioinfo` shows them",
            pin.line
        ));
    }
    let info = about.and_then(|_| chip.line_info(pin.line));
    info.map_err(|error| {
        format!(
            "{}: the chip does not answer; `gpiodetect` shows whether it is there",
            named(pin, &error)
        )
    })
}

/// Whether nobody has a line.
fn free(pin: &Pin, info: &Info) -> Result<(), String> {
    if !info.used {
        return Ok(());
    }
    let who = match info.consumer.is_empty() {
        true => "a driver of the kernel".to_owned(),
        false => format!("{:?}", info.consumer),
    };
    Err(format!(
        "line {} of {}: {who} has it; end that program, free the line in the device tree, or use another line (`gpioinfo` shows who \
         has which)",
        pin.line,
        pin.chip.display()
    ))
}

fn no_chip(chip: &Path, error: &Error) -> String {
    let path = chip.display();
    let kind = match error {
        Error::Os(number) => io::Error::from_raw_os_error(number.0).kind(),
        _ => ErrorKind::Other,
    };
    match kind {
        ErrorKind::NotFound => {
            format!(
                "there is no {path}: `gpiodetect` shows the chips; one on a bus may be unplugged"
            )
        }
        ErrorKind::PermissionDenied => format!(
            "{path}: this node's user may not open it; add the user to the group that owns it, usually gpio"
        ),
        _ => format!("{path}: {error}"),
    }
}

/// Why a line does not do what it is told, with the chip where that is gone.
fn failed(pin: &Pin, error: &Error) -> String {
    match Chip::from_path(&pin.chip) {
        Ok(_) => named(pin, error),
        Err(gone) => format!("{}: {}", named(pin, error), no_chip(&pin.chip, &gone)),
    }
}

fn named(pin: &Pin, error: &impl Display) -> String {
    format!("line {} of {}: {error}", pin.line, pin.chip.display())
}

impl Held {
    fn new(request: Request, pin: &Pin, counts: bool) -> Self {
        Self {
            request,
            pin: pin.clone(),
            counts,
            counted: Counted::default(),
        }
    }

    fn value(&self) -> Result<bool, String> {
        let value = self.request.value(self.pin.line);
        let value = value.map_err(|error| failed(&self.pin, &error))?;
        Ok(value == Value::Active)
    }

    /// Takes the edges that the kernel has kept. The crate's own reader gives one edge of several that it reads at once, and
    /// would leave the last ones of a burst uncounted until the next.
    fn take_edges(&mut self) -> Result<(), Error> {
        let size = self.request.edge_event_u64_size();
        let mut room = vec![0_u64; size.saturating_mul(AT_ONCE)];
        for _ in 0..GPIO_EDGES_MAX / AT_ONCE {
            if !self.request.has_edge_event()? {
                break;
            }
            let read = self.request.read_edge_events_into_slice(&mut room)?;
            let read = room.get(..read).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            for edge in read.chunks(size) {
                let edge = self.request.edge_event_from_slice(edge)?;
                self.counted.edge(edge.line_seqno);
            }
        }
        Ok(())
    }
}

impl Output for Held {
    fn set(&mut self, on: bool) -> Result<(), String> {
        let set = self.request.set_value(self.pin.line, of(on));
        set.map(drop).map_err(|error| failed(&self.pin, &error))
    }

    fn is_on(&mut self) -> Result<bool, String> {
        self.value()
    }
}

impl Input for Held {
    fn is_on(&mut self) -> Result<bool, String> {
        self.value()
    }

    fn edges(&mut self) -> Result<u64, String> {
        if self.counts {
            let taken = self.take_edges();
            taken.map_err(|error| failed(&self.pin, &error))?;
            // A chip that went away has no edges either, and says so only here.
            self.value()?;
        }
        Ok(self.counted.all())
    }
}

impl Board for Chips {
    fn look(&self, pin: &Pin) -> Result<(), String> {
        let info = looked_at(pin)?;
        free(pin, &info)
    }

    fn output(&self, pin: &Pin, on: bool) -> Result<Box<dyn Output>, String> {
        let request = take(pin, |builder| {
            builder.as_output(of(on));
        })?;
        Ok(Box::new(Held::new(request, pin, false)))
    }

    fn input(
        &self,
        pin: &Pin,
        edges: Option<Edges>,
        debounce_ms: u64,
    ) -> Result<Box<dyn Input>, String> {
        let request = take(pin, |builder| {
            builder.as_input();
            if let Some(edges) = edges {
                builder.with_edge_detection(match edges {
                    Edges::Rising => EdgeDetection::RisingEdge,
                    Edges::Falling => EdgeDetection::FallingEdge,
                    Edges::Both => EdgeDetection::BothEdges,
                });
            }
            if debounce_ms > 0 {
                builder.with_debounce_period(Duration::from_millis(debounce_ms));
            }
        })?;
        Ok(Box::new(Held::new(request, pin, edges.is_some())))
    }
}
