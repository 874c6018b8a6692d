//! The `camera` kind: pictures that a command prints, or that another program leaves in a file. The picture stays on this node; what
//! is told is its SHA-256, its size and a thumbnail.
//!
//! `look.rs` reads a picture, which may be any bytes; `adapters/pictures.rs` keeps it.

mod look;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;
use toml::Table;

use super::config::{KindKey, interval, settings};
use super::exec;
use super::point::{Meter, Point};
use super::registry::{Around, Kind, Made, Settings};
use super::{DeviceError, Reading, Sensor, SensorError};
use crate::adapters::clock::SharedClock;
use crate::adapters::files;
use crate::adapters::pictures::{Kept, Pictures, is_camera};
use crate::domain::base::limits::{
    CAMERA_BYTES, CAMERA_BYTES_MAX, CAMERA_EVERY_MIN_MS, CAMERA_EVERY_MS, PICTURES_KEPT,
    PICTURES_KEPT_MAX, PICTURES_MB, PICTURES_MB_MAX,
};
use crate::domain::base::{Digest, TimeMs};

/// Cameras.
pub(crate) const KIND: Kind = Kind {
    name: "camera",
    once: false,
    read: settings::<Camera>,
    // It moves nothing.
    rescue: |_, _| Ok(Vec::new()),
};

/// A camera as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Camera {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// The device's name, and its folder's.
    name: String,
    /// Where it looks.
    zone: Option<String>,
    /// What the reading is called.
    metric: Option<String>,
    /// The program that prints a picture, absolute, and its arguments.
    argv: Option<Vec<String>>,
    /// The file that another program leaves pictures in.
    file: Option<PathBuf>,
    /// How often a picture is taken, in milliseconds.
    every_ms: Option<u64>,
    /// The largest picture, in bytes.
    max_bytes: Option<u64>,
    /// How many pictures are kept.
    keep: Option<usize>,
    /// How many megabytes of them.
    keep_mb: Option<u64>,
    /// What is believed of the size of a picture.
    check: Option<Table>,
}

/// The reading of a camera has no keys of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Where pictures come from.
#[derive(Debug, Clone)]
enum Source {
    Command(Vec<String>),
    File(PathBuf),
}

impl Camera {
    fn source(&self) -> Result<Source, String> {
        match (&self.argv, &self.file) {
            (Some(argv), None) => {
                let program = argv.first().map(String::as_str).unwrap_or_default();
                if !Path::new(program).is_absolute() {
                    return Err(format!("argv: {program:?} must be an absolute path"));
                }
                if !Path::new(program).is_file() {
                    return Err(format!("argv: there is no program {program}"));
                }
                Ok(Source::Command(argv.clone()))
            }
            (None, Some(file)) if file.is_absolute() => Ok(Source::File(file.clone())),
            (None, Some(file)) => Err(format!("file: {} must be an absolute path", file.display())),
            _ => Err("argv or file: one of them says where pictures come from".to_owned()),
        }
    }

    fn point(&self) -> Result<Point<Nothing>, String> {
        let mut table = Table::new();
        let metric = self.metric.as_deref().unwrap_or("picture");
        table.insert("metric".to_owned(), metric.into());
        table.insert("unit".to_owned(), "By".into());
        if let Some(zone) = &self.zone {
            table.insert("zone".to_owned(), zone.as_str().into());
        }
        if let Some(check) = &self.check {
            table.insert("check".to_owned(), check.clone().into());
        }
        Point::deserialize(table).map_err(|error| error.message().to_owned())
    }

    fn kept(&self) -> Result<Kept, String> {
        let count = self.keep.unwrap_or(PICTURES_KEPT);
        if !(1..=PICTURES_KEPT_MAX).contains(&count) {
            return Err(format!("keep: must be 1 to {PICTURES_KEPT_MAX}"));
        }
        let mb = self.keep_mb.unwrap_or(PICTURES_MB);
        if !(1..=PICTURES_MB_MAX).contains(&mb) {
            return Err(format!("keep_mb: must be 1 to {PICTURES_MB_MAX}"));
        }
        let bytes = mb * 1_000_000;
        Ok(Kept { count, bytes })
    }

    fn sensor(&self, around: &Around<'_>) -> Result<CameraSensor, String> {
        if !is_camera(&self.name) {
            let name = &self.name;
            return Err(format!(
                "name: {name:?} must be 1 to 64 small letters, digits and '-': it is the name of its folder too"
            ));
        }
        let max_bytes = self.max_bytes.unwrap_or(CAMERA_BYTES);
        if !(1_000..=CAMERA_BYTES_MAX).contains(&max_bytes) {
            return Err(format!("max_bytes: must be 1000 to {CAMERA_BYTES_MAX}"));
        }
        let kept = self.kept()?;
        if max_bytes > kept.bytes {
            return Err("keep_mb: one picture of max_bytes has no room".to_owned());
        }
        let every_ms = self.every_ms.unwrap_or(CAMERA_EVERY_MS);
        if every_ms < CAMERA_EVERY_MIN_MS {
            return Err(format!("every_ms: must be at least {CAMERA_EVERY_MIN_MS}"));
        }
        let every = interval(Some(every_ms)).map_err(|error| error.to_string())?;
        let point = self.point()?;
        Ok(CameraSensor {
            name: format!("{} {}", self.name, point.measured.name()),
            camera: self.name.clone(),
            source: self.source()?,
            every,
            meter: Meter::new(&self.name, point.measured, around.clock.steady_ms()),
            max_bytes,
            kept,
            pictures: Pictures::of(around.dir),
            last: None,
            clock: around.clock.clone(),
        })
    }
}

impl Settings for Camera {
    fn subject(&self) -> &str {
        &self.name
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let sensor = self.sensor(around).map_err(DeviceError::Config)?;
        Ok(Made {
            sensors: vec![Box::new(sensor)],
            actuators: Vec::new(),
        })
    }
}

/// A camera.
struct CameraSensor {
    /// Its name, for people.
    name: String,
    /// The camera's name.
    camera: String,
    source: Source,
    every: Option<Duration>,
    meter: Meter,
    max_bytes: u64,
    kept: Kept,
    pictures: Pictures,
    /// The last picture of a file, and when it came.
    last: Option<(Digest, u64)>,
    clock: SharedClock,
}

impl CameraSensor {
    /// A picture, as it comes.
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let max = self.max_bytes;
        let (bytes, from) = match &self.source {
            Source::Command(argv) => {
                // Not its arguments: a password may be among them.
                let program = argv.first().cloned().unwrap_or_default();
                let most = usize::try_from(max).unwrap_or(usize::MAX).saturating_add(1);
                // On a thread that may block.
                let said = Handle::current().block_on(exec::printed_by(argv, most));
                (said.map_err(|why| format!("{program}: {why}"))?, program)
            }
            Source::File(file) => {
                let from = file.display().to_string();
                let read = files::read(file, max).map_err(|error| format!("{from}: {error}"))?;
                (read, from)
            }
        };
        match u64::try_from(bytes.len()).is_ok_and(|size| size <= max) {
            true => Ok(bytes),
            false => Err(format!(
                "{from}: a picture of more than {max} bytes came, which is the most that is taken (max_bytes)"
            )),
        }
    }

    /// Whether the picture of a file is the one that was there before.
    fn is_old(&mut self, bytes: &[u8], now_ms: u64) -> Result<bool, String> {
        let Source::File(file) = &self.source else {
            return Ok(false);
        };
        let digest = Digest::of(&[bytes]);
        match &self.last {
            Some((last, _)) if *last == digest => match self.meter.silent_ms(now_ms) {
                Some(silent_ms) => Err(format!(
                    "{}: the picture has been the same for {} s",
                    file.display(),
                    silent_ms / 1_000
                )),
                None => Ok(true),
            },
            _ => {
                self.last = Some((digest, now_ms));
                Ok(false)
            }
        }
    }

    fn take(&mut self, now: TimeMs) -> Result<Vec<Reading>, String> {
        let bytes = self.bytes()?;
        let now_ms = self.clock.steady_ms();
        if self.is_old(&bytes, now_ms)? {
            return Ok(Vec::new());
        }
        let seen = look::look(&bytes).inspect_err(|_| self.last = None)?;
        let kept = self
            .pictures
            .keep(&self.camera, now, seen.format, &bytes, self.kept);
        let picture = kept.map_err(|error| {
            self.last = None;
            format!("the picture cannot be kept: {error}; make room on the disk, or lower keep_mb")
        })?;
        #[allow(clippy::cast_precision_loss)]
        let size = picture.bytes as f64;
        let reading = self.meter.take(size, None, now_ms)?;
        Ok(Vec::from_iter(reading.map(|mut reading| {
            let about = json!({
                "sha256": picture.id,
                "bytes": picture.bytes,
                "width": seen.width,
                "height": seen.height,
                "type": picture.format.media_type(),
                "thumbnail": seen.thumbnail,
            });
            reading.extra.insert("picture".to_owned(), about);
            reading
        })))
    }
}

impl Sensor for CameraSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn interval(&self) -> Option<Duration> {
        self.every
    }

    fn untold(&mut self) {
        self.meter.untold();
        // The picture of a file is told again.
        self.last = None;
    }

    fn read(&mut self, now: TimeMs) -> Result<Vec<Reading>, SensorError> {
        self.take(now).map_err(SensorError)
    }
}
