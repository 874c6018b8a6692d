//! Readings that a command of this machine prints: fixed arguments, no shell, no inherited environment, a time limit, and
//! a process group of its own that ends as a whole.

use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use serde::Deserialize;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::command::{Group, LAST_WORDS_MS, listen};
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::point::{Meter, Point};
use crate::adapters::devices::value::{check_pointer, number};
use crate::adapters::devices::{DeviceError, Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{EXEC_OUTPUT_MAX_BYTES, EXEC_READING_MS};
use crate::domain::base::text::one_line;

/// Longest part of what a failing command says that is shown, in characters.
const SAID_MAX_CHARS: usize = 120;

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
        let said = Handle::current().block_on(run(&self.printed.argv));
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

/// Becomes the command, beside a watcher that ends the process group where the pipe on its input ends: so also when this
/// process is killed.
const WATCHED: &str = r#"
exec 3<&0 </dev/null
(read -r x <&3; kill -s KILL -- "-$$") >/dev/null 2>&1 &
exec 3<&-
unset PWD OLDPWD SHLVL
exec "$@"
"#;

/// The output of a command, at most [`EXEC_OUTPUT_MAX_BYTES`] of it. Nothing that it began goes on after it.
async fn run(argv: &[String]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", WATCHED, "reading"])
        .args(argv)
        .env_clear()
        .envs([
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
        ])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    // Held until the group was ended.
    let _alive = child.stdin.take();
    let (output, mut said) = (child.stdout.take(), Vec::new());
    let mut group = Group::of(child).map_err(|e| e.to_string())?;
    let ended = {
        let mut listening = pin!(listen(output, &mut said).fuse());
        let ended = {
            let mut watching = pin!(group.watch(Duration::from_millis(EXEC_READING_MS)));
            tokio::select! {
                biased;
                ended = &mut watching => ended,
                () = &mut listening => watching.await,
            }
        };
        // It is not collected yet, so its group number is not reused.
        group.kill();
        if !listening.is_terminated() {
            // Processes that left the group may keep the pipe open.
            let _ = timeout(Duration::from_millis(LAST_WORDS_MS), listening).await;
        }
        ended
    };
    match ended.map_err(|e| e.to_string())? {
        None => Err(format!(
            "did not end within {EXEC_READING_MS} ms and was killed"
        )),
        Some(ended) => match ended.complaint() {
            Some(complaint) => Err(one_line(&complaint, SAID_MAX_CHARS)),
            None => Ok(said),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::sync::Arc;

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
