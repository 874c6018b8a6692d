//! Lines to a terminal, pipe or file by a thread of its own, so that no task ever waits for a reader.
//!
//! The queue is bounded in bytes. Lines that do not fit, or that the other end does not take (a
//! closed pipe, a full disk), are dropped and counted. A terminal that stands still, by Ctrl-S or
//! because the process is in the background, stops this thread alone. It keeps no order with other
//! outputs. A file of its own is begun anew when it is full; what was in it stays beside it until the next time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::system;
use crate::domain::base::limits::{LOG_QUEUE_MAX_BYTES, LOG_RETRY_MS};

/// An output that never makes its caller wait. Clones share it.
#[derive(Clone)]
pub struct Lines(Arc<Inner>);

struct Inner {
    queue: Mutex<Queue>,
    /// There is something to write.
    more: Condvar,
    /// Everything is written.
    idle: Condvar,
    lost: AtomicU64,
    /// How many of the lost have been told.
    told: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines that wait and of the one being written.
    bytes: usize,
    writing: bool,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lines({} lost)", self.lost())
    }
}

impl Lines {
    /// Lines to a copy of a descriptor, written by a thread called `name`. When lines were lost and
    /// the output flows again, `again` is called on that thread with their number.
    ///
    /// # Errors
    /// If the system has no descriptor or thread left.
    pub fn to(
        target: impl system::Stream,
        name: &str,
        again: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        Self::over(Output::of(system::copy_of(&target)?), name, again)
    }

    /// Lines at the end of a file of at most so many bytes, as [`Lines::to`].
    ///
    /// # Errors
    /// If the file cannot be made or written, or the system has no thread left.
    pub fn to_file(
        path: &Path,
        max_bytes: u64,
        name: &str,
        again: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        Self::over(Output::to(path, max_bytes)?, name, again)
    }

    fn over(output: Output, name: &str, again: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::new(Inner {
            queue: Mutex::default(),
            more: Condvar::new(),
            idle: Condvar::new(),
            lost: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }));
        let inner = lines.0.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || inner.write_all(output, again))?;
        Ok(lines)
    }

    /// Queues a line, or drops and counts it; never waits for the output.
    pub fn push(&self, line: Vec<u8>) {
        let mut queue = self.0.lock();
        if queue.bytes.saturating_add(line.len()) > LOG_QUEUE_MAX_BYTES {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.0.more.notify_one();
    }

    /// Waits until everything is written, but no longer than `limit`; whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let queue = self.0.lock();
        let busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        let waited = self.0.idle.wait_timeout_while(queue, limit, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Lines that were dropped or could not be written, since the start.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Whether lines were lost and the output has not flowed again since.
    pub fn is_losing(&self) -> bool {
        self.lost() > self.0.told.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the queue for as long as the process lives.
    fn write_all(&self, mut output: Output, again: impl Fn(u64)) {
        let mut torn = false;
        loop {
            let mut queue = self.lock();
            while queue.lines.is_empty() {
                queue.writing = false;
                self.idle.notify_all();
                let woken = self.more.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
            }
            let Some(line) = queue.lines.pop_front() else {
                continue;
            };
            queue.writing = true;
            drop(queue);
            let written = match torn {
                true => output.write(b"\n").and_then(|()| output.write(&line)),
                false => output.write(&line),
            };
            torn = written.is_err();
            let mut queue = self.lock();
            queue.bytes = queue.bytes.saturating_sub(line.len());
            let room = queue.bytes < LOG_QUEUE_MAX_BYTES / 2;
            drop(queue);
            if torn {
                self.lost.fetch_add(1, Ordering::Relaxed);
            } else if room {
                // The sentence about it needs room of its own.
                let lost = self.lost.load(Ordering::Relaxed);
                let more = lost - self.told.swap(lost, Ordering::Relaxed);
                if more > 0 {
                    again(more);
                }
            }
        }
    }
}

/// Where lines go.
struct Output {
    file: File,
    full: Option<Full>,
}

/// A file that is begun anew when it is full.
struct Full {
    path: PathBuf,
    bytes: u64,
    max_bytes: u64,
}

impl Output {
    fn of(file: File) -> Self {
        Self { file, full: None }
    }

    fn to(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = appended(path)?;
        let full = Full {
            path: path.to_owned(),
            bytes: file.metadata()?.len(),
            max_bytes,
        };
        Ok(Self {
            file,
            full: Some(full),
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(full) = &mut self.full {
            let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
            if full.bytes > 0 && full.bytes.saturating_add(length) > full.max_bytes {
                // Where it cannot be put aside it is emptied: it never grows beyond its limit.
                match std::fs::rename(&full.path, full.path.with_extension("1.log")) {
                    Ok(()) => self.file = appended(&full.path)?,
                    Err(_) => self.file.set_len(0)?,
                }
                full.bytes = 0;
            }
            full.bytes = full.bytes.saturating_add(length);
        }
        write(&mut self.file, line)
    }
}

/// A file of its owner alone, to be written at its end.
fn appended(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    system::for_owner(&mut options).open(path)
}

/// Writes a whole line; waits for an output that is slow, gives up on one that is broken.
fn write(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        if system::would_stop_us(file) {
            pause();
            continue;
        }
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another program may have set the terminal or pipe we share to non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn pause() {
    std::thread::park_timeout(Duration::from_millis(LOG_RETRY_MS));
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_reader_that_stalls_costs_lines_and_time_of_nobody_and_is_told_how_many() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (said, heard) = mpsc::sync_channel(4);
        let lines = Lines::to(&writer, "test", move |n| said.send(n).unwrap()).unwrap();
        drop(writer);
        // Far more than the pipe and the queue hold together; there is no reader.
        let line = vec![b'x'; 1_000];
        for _ in 0..3 * LOG_QUEUE_MAX_BYTES / line.len() {
            lines.push(line.clone());
        }
        let lost = lines.lost();
        assert!(lost > 0 && lines.is_losing());
        assert!(!lines.flush(Duration::from_millis(1)));
        let mut some = vec![0; LOG_QUEUE_MAX_BYTES / 4 * 3];
        reader.read_exact(&mut some).unwrap();
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), lost);
        assert!(!lines.is_losing());
    }

    #[test]
    fn a_file_that_is_full_is_begun_anew_and_the_last_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.log");
        let written = |lines: &Lines, line: &str| {
            lines.push(line.as_bytes().to_vec());
            assert!(lines.flush(PATIENCE));
        };
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let lines = Lines::to_file(&path, 12, "test", |_| {}).unwrap();
        written(&lines, "one\n");
        drop(lines);
        // A later process goes on where the file ends, and counts what is in it.
        let lines = Lines::to_file(&path, 12, "test", |_| {}).unwrap();
        written(&lines, "two\n");
        assert_eq!(
            (text("node.log").as_str(), text("node.1.log").as_str()),
            ("one\ntwo\n", "")
        );
        written(&lines, "three\n");
        assert_eq!(
            (text("node.log").as_str(), text("node.1.log").as_str()),
            ("three\n", "one\ntwo\n")
        );
        // One line that is longer than the file may be is written all the same.
        written(&lines, "something long\n");
        written(&lines, "four\n");
        assert_eq!(
            (text("node.log").as_str(), text("node.1.log").as_str()),
            ("four\n", "something long\n")
        );
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn a_reader_that_is_gone_and_a_full_disk_cost_lines_alone() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let full = File::options().write(true).open("/dev/full").unwrap();
        for target in [writer.as_fd(), full.as_fd()] {
            let lines = Lines::to(target, "test", |_| {}).unwrap();
            lines.push(b"one\n".to_vec());
            lines.push(b"two\n".to_vec());
            assert!(lines.flush(PATIENCE));
            assert_eq!((lines.lost(), lines.is_losing()), (2, true));
        }
    }
}
