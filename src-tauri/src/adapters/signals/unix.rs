//! The signals of Linux, macOS and their kin.

use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Asked, Heard};

/// How a person ends a node.
pub(super) const HOW_TO_END: &str = "end the node with Ctrl-C or SIGTERM";

/// Asks this process to end, as its service manager does.
pub(super) fn ask_to_end() {
    // It cannot fail for a process that sends it to itself.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
}

/// Which numbers ask for the end. Some differ between systems.
#[cfg(target_os = "linux")]
const ENDS: &[(i32, Asked)] = &[
    (2, Asked::Interrupt),
    (15, Asked::Terminate),
    (1, Asked::Hangup),
    (3, Asked::Quit),
    (24, Asked::ProcessorLimit),
    (30, Asked::PowerFails),
    (REALTIME_MIN + 3, Asked::PowerFails),
];
#[cfg(not(target_os = "linux"))]
const ENDS: &[(i32, Asked)] = &[
    (2, Asked::Interrupt),
    (15, Asked::Terminate),
    (1, Asked::Hangup),
    (3, Asked::Quit),
    (24, Asked::ProcessorLimit),
];

/// The first realtime signal that the C library leaves to programs (signal(7)), and the last.
#[cfg(target_os = "linux")]
const REALTIME_MIN: i32 = 34;
#[cfg(target_os = "linux")]
const REALTIME_MAX: i32 = 64;

/// Heard and ignored.
#[cfg(target_os = "linux")]
const IGNORED: &[(i32, &str)] = &[
    (5, "SIGTRAP"),
    (10, "SIGUSR1"),
    (12, "SIGUSR2"),
    (14, "SIGALRM"),
    (16, "SIGSTKFLT"),
    (20, "SIGTSTP (Ctrl-Z)"),
    (21, "SIGTTIN"),
    (22, "SIGTTOU"),
    (25, "SIGXFSZ (file size limit)"),
    (26, "SIGVTALRM"),
    (27, "SIGPROF"),
    (29, "SIGIO"),
];
#[cfg(not(target_os = "linux"))]
const IGNORED: &[(i32, &str)] = &[
    (5, "SIGTRAP"),
    (14, "SIGALRM"),
    (18, "SIGTSTP (Ctrl-Z)"),
    (21, "SIGTTIN"),
    (22, "SIGTTOU"),
    (25, "SIGXFSZ (file size limit)"),
    (26, "SIGVTALRM"),
    (27, "SIGPROF"),
    (30, "SIGUSR1"),
    (31, "SIGUSR2"),
];

/// Every signal that is heard.
pub(super) struct Ears(Vec<(Signal, Heard)>);

impl Ears {
    /// Hears what asks for the end.
    pub(super) fn open() -> io::Result<Self> {
        let mut ears = Vec::new();
        for &(number, asked) in ENDS {
            let kind = SignalKind::from_raw(number);
            if asked == Asked::Hangup && was_ignored(kind) {
                continue;
            }
            ears.push((signal(kind)?, Heard::Asks(asked)));
        }
        Ok(Self(ears))
    }

    /// Hears what would stop or kill the process by accident, so that it does not.
    pub(super) fn and_ignore(mut self) -> io::Result<Self> {
        let ignored = IGNORED.iter().copied();
        #[cfg(target_os = "linux")]
        let ignored = ignored.chain(
            (REALTIME_MIN..=REALTIME_MAX)
                .filter(|n| ENDS.iter().all(|(end, _)| end != n))
                .map(|n| (n, "a realtime signal")),
        );
        for (number, name) in ignored {
            let ear = signal(SignalKind::from_raw(number))?;
            self.0.push((ear, Heard::Ignored(name)));
        }
        Ok(self)
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Heard {
        std::future::poll_fn(|cx| {
            for (ear, heard) in &mut self.0 {
                if ear.poll_recv(cx).is_ready() {
                    return Poll::Ready(*heard);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that end a program on a terminal, which is given back first.
#[derive(Debug)]
pub struct TerminalEnds {
    term: Signal,
    hup: Signal,
}

impl TerminalEnds {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system lets us hear no signals.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one.
    pub async fn come(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.hup.recv() => {}
        }
    }
}

/// Whether a signal was ignored when this process began. Only Linux says so without `unsafe`.
fn was_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status, kind.as_raw_value())
}

fn ignored_in(status: &str, number: i32) -> bool {
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|m| u128::from_str_radix(m.trim(), 16).ok());
    let bit = u32::try_from(number - 1).ok();
    let bit = bit.and_then(|n| 1_u128.checked_shl(n));
    mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_read_from_the_mask() {
        let status = "Name:\tx\nSigBlk:\tffff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(ignored_in(status, 1) && ignored_in(status, 13));
        assert!(!ignored_in(status, 2) && !ignored_in("", 1));
    }
}
