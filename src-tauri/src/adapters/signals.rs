//! Signals of the system, heard on a thread of their own that waits for no runtime, log or disk of
//! the node.
//!
//! An interrupt, a request to terminate, a terminal that closes, a quit, a power failure and a used-up
//! processor limit each ask for a graceful end; systemd's pair of TERM and HUP is one request. Where no terminal can close, a
//! hangup may mean something else to its hearer. One that was ignored at the start (`nohup`) stays ignored. Only a second signal of one kind that a person
//! or the system sends, at least a second after the first, or a graceful end that takes too long, ends
//! the process at once. Every other signal whose default action stops or kills a process (Ctrl-Z, a
//! timer, a stray USR1, a realtime signal) is heard and ignored. The rest are SIGKILL and SIGSTOP, which
//! cannot be caught, and those by which the processor or the program itself reports a fault. What a system has of
//! all this is in `signals/unix.rs` and `signals/windows.rs`.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as here;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use self::here::Ears;
pub use self::here::TerminalEnds;
use crate::domain::base::limits::{END_DEADLINE_MS, PULSE_EVERY_MS, SIGNAL_AGAIN_MS};

/// The reason for a request to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Ctrl-C.
    Interrupt,
    /// The system or a person.
    Terminate,
    /// The terminal or the session has gone.
    Hangup,
    /// Ctrl-\.
    Quit,
    /// The processor time that the process may use is used up; the system kills it soon, and tells it
    /// each second until then.
    ProcessorLimit,
    /// The power fails, or a container's manager halts it.
    PowerFails,
}

const KINDS: usize = 6;

impl Asked {
    /// Whether sending it again means that its sender will not wait.
    fn insists(self) -> bool {
        !matches!(self, Asked::ProcessorLimit | Asked::PowerFails)
    }
}

/// Why the process is to end without waiting any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtOnce {
    /// The same signal came again.
    Again,
    /// The graceful end took too long.
    TooLong,
    /// The tasks of the node stand still.
    Stands,
}

/// Actions on the signals' own thread; none of it may wait for the node or its log.
pub trait Ends: Send + 'static {
    /// A first signal asks for the end; returns at once. Actuators can be made safe while the node
    /// winds down.
    fn asked(&mut self, asked: Asked);

    /// A hangup came; whether it was something else than a request to end.
    fn hung_up(&mut self) -> bool {
        false
    }

    /// A second has passed; whether the process is to end at once because what it hosts stands still.
    fn each_second(&mut self) -> bool {
        false
    }

    /// How much longer than [`END_DEADLINE_MS`] the orderly end may take.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Makes actuators safe and ends the process.
    fn at_once(&mut self, why: AtOnce) -> impl Future<Output = ()>;
}

/// Requests to end, from the moment this is made. Clones hear the same.
#[derive(Debug, Clone)]
pub struct Signals(watch::Receiver<Option<Asked>>);

impl Signals {
    /// Listens from now on; signals that come before a call to wait are kept.
    ///
    /// # Errors
    /// If the system lets us hear no signals, or has no thread left.
    pub fn listen(ends: impl Ends) -> io::Result<Self> {
        let (tell, heard) = watch::channel(None);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                runtime.block_on(async {
                    match Ears::open().and_then(Ears::and_ignore) {
                        Ok(ears) => {
                            drop(ready.send(Ok(())));
                            ears.follow(&tell, ends).await;
                        }
                        Err(error) => drop(ready.send(Err(error))),
                    }
                });
            })?;
        let gone = |_| io::Error::other("the thread that hears signals has ended");
        started.recv().map_err(gone)??;
        Ok(Self(heard))
    }

    /// Waits until something asks the process to end.
    pub async fn asked(&mut self) -> Asked {
        // Copied out at once: what is borrowed from the channel must not live across the wait below.
        let heard = self.0.wait_for(Option::is_some).await.map(|asked| *asked);
        match heard {
            Ok(asked) => asked.unwrap_or(Asked::Terminate),
            // The thread lives as long as the process; without it nothing can be heard any more.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Asks this process to end in order, on behalf of a service manager that sends no signals: that of Windows.
pub fn ask_to_end() {
    here::ask_to_end();
}

/// Waits until something asks the process to end, on the caller's runtime: for a command that tidies
/// up before it goes.
///
/// # Errors
/// If the system lets us hear no signals.
pub async fn asked() -> io::Result<Asked> {
    let mut ears = Ears::open()?;
    loop {
        if let Heard::Asks(asked) = ears.next().await {
            return Ok(asked);
        }
    }
}

/// One signal.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(windows, expect(dead_code, reason = "nothing is ignored there"))]
enum Heard {
    Asks(Asked),
    Ignored(&'static str),
}

impl Ears {
    async fn follow(mut self, tell: &watch::Sender<Option<Asked>>, mut ends: impl Ends) {
        let mut turns = Turns::default();
        let mut second = tokio::time::interval(Duration::from_millis(PULSE_EVERY_MS));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                heard = self.next() => match heard {
                    Heard::Asks(Asked::Hangup) if ends.hung_up() => continue,
                    Heard::Asks(asked) => Some(asked),
                    Heard::Ignored(name) => {
                        tracing::info!("{name} is ignored; {}", here::HOW_TO_END);
                        continue;
                    }
                },
                () = passed(turns.end_by) => None,
                _ = second.tick() => match ends.each_second() {
                    true => return ends.at_once(AtOnce::Stands).await,
                    false => continue,
                },
            };
            match turns.take(asked, Instant::now(), ends.patience()) {
                Turn::First(asked) => {
                    ends.asked(asked);
                    tell.send_replace(Some(asked));
                }
                Turn::Nothing => {}
                Turn::AtOnce(why) => return ends.at_once(why).await,
            }
        }
    }
}

/// The requests so far.
#[derive(Debug, Default)]
struct Turns {
    first: [Option<Instant>; KINDS],
    end_by: Option<Instant>,
}

/// The effect of one more signal.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    First(Asked),
    Nothing,
    AtOnce(AtOnce),
}

impl Turns {
    /// `None` is the passing of the deadline.
    fn take(&mut self, asked: Option<Asked>, now: Instant, patience: Duration) -> Turn {
        let Some(asked) = asked else {
            return Turn::AtOnce(AtOnce::TooLong);
        };
        let again = Duration::from_millis(SIGNAL_AGAIN_MS);
        let Some(first) = self.first.get_mut(asked as usize) else {
            return Turn::Nothing;
        };
        match *first {
            Some(first) if asked.insists() && now.duration_since(first) >= again => {
                return Turn::AtOnce(AtOnce::Again);
            }
            Some(_) => return Turn::Nothing,
            None => *first = Some(now),
        }
        match self.end_by {
            Some(_) => Turn::Nothing,
            None => {
                self.end_by = Some(now + patience + Duration::from_millis(END_DEADLINE_MS));
                Turn::First(asked)
            }
        }
    }
}

async fn passed(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_signal_again_after_a_second_ends_at_once() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let mut take = |asked, ms| turns.take(Some(asked), at(ms), Duration::ZERO);
        assert_eq!(take(Asked::Terminate, 0), Turn::First(Asked::Terminate));
        assert_eq!(take(Asked::Hangup, 0), Turn::Nothing, "systemd's pair");
        assert_eq!(take(Asked::Terminate, SIGNAL_AGAIN_MS - 1), Turn::Nothing);
        assert_eq!(take(Asked::Interrupt, 2 * SIGNAL_AGAIN_MS), Turn::Nothing);
        let again = Turn::AtOnce(AtOnce::Again);
        assert_eq!(take(Asked::Terminate, 2 * SIGNAL_AGAIN_MS), again);
        assert_eq!(turns.end_by, Some(at(END_DEADLINE_MS)));
        assert_eq!(
            turns.take(None, start, Duration::ZERO),
            Turn::AtOnce(AtOnce::TooLong)
        );
        // The system repeats this one each second by itself.
        let (mut turns, limit) = (Turns::default(), Asked::ProcessorLimit);
        assert_eq!(
            turns.take(Some(limit), at(0), Duration::ZERO),
            Turn::First(limit)
        );
        assert_eq!(
            turns.take(Some(limit), at(2 * SIGNAL_AGAIN_MS), Duration::ZERO),
            Turn::Nothing
        );
    }
}
