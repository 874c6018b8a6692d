//! Readings that a command of this machine prints: fixed arguments, no shell, no inherited environment, a time limit, and
//! a process group of its own that ends as a whole.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Handle;

use super::printed_by;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::point::{Meter, Point};
use crate::adapters::devices::value::{check_pointer, number};
use crate::adapters::devices::{DeviceError, Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::EXEC_OUTPUT_MAX_BYTES;

/// Which command prints a value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Printed {
    /// The program, absolute, and its arguments. No shell is involved.
    argv: Vec<String>,
    /// A JSON pointer, where it prints a JSON document.
    json: Option<String>,
}

/// A sensor that runs a command.
pub(super) struct ExecSensor {
    name: String,
    every: Option<Duration>,
    meter: Meter,
    printed: Printed,
    clock: SharedClock,
}

impl ExecSensor {
    /// A sensor, its configuration checked.
    ///
    /// # Errors
    /// [`DeviceError::Config`] naming the key.
    pub(super) fn new(
        device: &str,
        point: &Point<Printed>,
        every: Option<Duration>,
        clock: &SharedClock,
    ) -> Result<Self, DeviceError> {
        let name = point.measured.name();
        let bad = |why: String| DeviceError::Config(format!("reading {name}: {why}"));
        let printed = point.source.clone();
        let program = printed.argv.first().map(String::as_str).unwrap_or_default();
        if !Path::new(program).is_absolute() {
            return Err(bad(format!("argv: {program:?} must be an absolute path")));
        }
        if !Path::new(program).is_file() {
            return Err(bad(format!("argv: there is no program {program}")));
        }
        check_pointer(printed.json.as_deref().unwrap_or_default()).map_err(bad)?;
        Ok(Self {
            every,
            meter: Meter::new(device, point.measured.clone(), clock.steady_ms()),
            printed,
            clock: clock.clone(),
            name,
        })
    }
}

impl Sensor for ExecSensor {
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
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        // Not its arguments: a password may be among them.
        let what = self.printed.argv.first().cloned().unwrap_or_default();
        let failed = |why: String| SensorError(format!("{what}: {why}"));
        // On a thread that may block.
        let said =
            Handle::current().block_on(printed_by(&self.printed.argv, EXEC_OUTPUT_MAX_BYTES));
        let said = said.map_err(failed)?;
        let raw = number(
            &said,
            self.printed.json.as_deref(),
            EXEC_OUTPUT_MAX_BYTES - 1,
        );
        let raw = raw.map_err(|why| failed(format!("printed {why}")))?;
        self.meter.read(raw, None, self.clock.steady_ms())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::sync::Arc;

    use tokio::time::timeout;

    use super::*;
    use crate::adapters::clock::ManualClock;

    fn sensor(argv: &[&str], keys: &str) -> Result<ExecSensor, DeviceError> {
        let text = format!("metric = \"t\"\nargv = {argv:?}\n{keys}");
        let point: Point<Printed> = toml::from_str(&text).unwrap();
        let clock: SharedClock = Arc::new(ManualClock::at(TimeMs(0)));
        ExecSensor::new("d", &point, None, &clock)
    }

    async fn read(argv: &[&str], keys: &str) -> Result<f64, String> {
        let mut sensor = sensor(argv, keys).unwrap();
        let read = move || sensor.read(TimeMs(0));
        let readings = tokio::task::spawn_blocking(read).await.unwrap();
        readings.map(|readings| readings[0].value).map_err(|e| e.0)
    }

    #[tokio::test]
    async fn what_a_command_prints_is_its_reading() {
        assert_eq!(read(&["/bin/echo", "21.5"], "").await, Ok(21.5));
        let json = read(
            &["/bin/echo", r#"{"a":{"b":7}}"#],
            "json = \"/a/b\"\nscale = 2",
        );
        assert_eq!(json.await, Ok(14.0));
        // No shell reads its words, and nothing of this process's environment is there.
        let words = read(&["/bin/echo", "$HOME"], "").await.unwrap_err();
        assert_eq!(words, "/bin/echo: printed \"$HOME\" is no number");
        let home = read(&["/bin/sh", "-c", "echo ${HOME:-5}"], "").await;
        assert_eq!(home, Ok(5.0));
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why() {
        let why = read(&["/bin/sh", "-c", "echo 3; echo no bus >&2; exit 4"], "").await;
        assert!(why.unwrap_err().ends_with("exit status: 4: no bus"));
        let flood = read(
            &["/bin/sh", "-c", "head -c 100000 /dev/zero | tr '\\0' 1"],
            "",
        )
        .await;
        assert!(
            flood
                .unwrap_err()
                .ends_with("it has 4096 bytes, at most 4095 are read")
        );
        for (argv, why) in [
            (
                &["sensors"][..],
                "reading t: argv: \"sensors\" must be an absolute path",
            ),
            (&[], "reading t: argv: \"\" must be an absolute path"),
            (
                &["/no/such"],
                "reading t: argv: there is no program /no/such",
            ),
        ] {
            assert_eq!(sensor(argv, "").err().unwrap().to_string(), why);
        }
    }

    #[tokio::test]
    async fn a_command_that_leaves_something_running_is_read_and_that_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let id = dir.path().join("id");
        let script = format!("sleep 1000 & echo $! > {}; echo 9", id.display());
        assert_eq!(read(&["/bin/sh", "-c", &script], "").await, Ok(9.0));
        let left = fs::read_to_string(&id).unwrap();
        let path = format!("/proc/{}/stat", left.trim());
        // Killed at once; collected by its present parent.
        let gone = || fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "));
        let wait = async {
            while !gone() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_killed() {
        let why = read(&["/bin/sleep", "1000"], "").await.unwrap_err();
        assert_eq!(why, "/bin/sleep: did not end within 4000 ms and was killed");
    }
}
