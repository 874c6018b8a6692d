//! The person at the window, as the toolkit sees them: real presses of buttons and keys, counted here
//! in Rust before the page hears of them. Code that signs or changes something asks here first.
//!
//! Protected against: a script in the page (injected text, a bad dependency) can call our commands but
//! cannot press a button. An approval of level L2 needs a press that was held, each press counts once,
//! and nothing is signed that is not the executor's own record with the digest that was shown.
//! Not protected against: a script that waits until the person holds a button for something else
//! could have that press; other programs of the same person can fake input (X11) or read the keychain.
//! A WebDriver presses inside the page, past the toolkit, and counts as a script. On systems other than
//! Linux no press can be seen this way yet: there what is signed needs a yes in the system's own dialog
//! (`system`), and what changes who counts here is left to the command line.

#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "no press is seen there, so none is told")
)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A press that is still down after this has lost its end, to another window or a grab.
const PRESS_MAX: Duration = Duration::from_secs(10);

/// One press of a button or key.
#[derive(Debug, Clone, Copy)]
struct Press {
    code: Code,
    began: Instant,
    ended: Option<Instant>,
    /// Whether it is one that may hold: the first button, space or enter.
    holds: bool,
    used: bool,
}

impl Press {
    /// Whether it has ended or can still be going on.
    fn told(&self, now: Instant) -> bool {
        self.ended.is_some() || now.saturating_duration_since(self.began) <= PRESS_MAX
    }
}

/// Which button or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// A button of the pointer, or a touch.
    Button(u32),
    /// A key, by its value.
    Key(u32),
}

/// The last press in the window.
#[derive(Debug, Clone, Default)]
pub(super) struct Gestures(Arc<Mutex<Option<Press>>>);

impl Gestures {
    fn lock(&self) -> MutexGuard<'_, Option<Press>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A button or key went down; the repeats of a held key are one press.
    pub(super) fn down(&self, code: Code, holds: bool, now: Instant) {
        let mut last = self.lock();
        let repeats = last.is_some_and(|p| p.code == code && p.ended.is_none());
        if !repeats {
            *last = Some(Press {
                code,
                began: now,
                ended: None,
                holds,
                used: false,
            });
        }
    }

    /// It went up.
    pub(super) fn up(&self, code: Code, now: Instant) {
        if let Some(press) = self.lock().as_mut()
            && press.code == code
            && press.ended.is_none()
        {
            press.ended = Some(now);
        }
    }

    /// Whether there was a press within the time; it may count again.
    pub(super) fn seen(&self, within: Duration, now: Instant) -> bool {
        self.lock().is_some_and(|p| {
            p.told(now) && now.saturating_duration_since(p.ended.unwrap_or(now)) <= within
        })
    }

    /// Forgets the last press: the focus went elsewhere, and its end may never be seen.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    /// Takes a press of within the time, which then counts no more.
    pub(super) fn take(&self, within: Duration, now: Instant) -> bool {
        self.take_held(Duration::ZERO, within, now)
    }

    /// Takes a press that was held at least `held`, and either still is or ended within the time.
    pub(super) fn take_held(&self, held: Duration, within: Duration, now: Instant) -> bool {
        let mut last = self.lock();
        let Some(press) = last.as_mut().filter(|p| !p.used && p.told(now)) else {
            return false;
        };
        let ended = press.ended.unwrap_or(now);
        let long = ended.saturating_duration_since(press.began) >= held;
        let fresh = now.saturating_duration_since(ended) <= within;
        let fits = long && fresh && (press.holds || held.is_zero());
        press.used |= fits;
        fits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const HOLD: Duration = Duration::from_millis(1_400);
    const WITHIN: Duration = Duration::from_secs(3);

    fn later(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn nothing_counts_before_a_press_and_a_press_counts_once() {
        let (g, t) = (Gestures::default(), Instant::now());
        assert!(!g.take(WITHIN, t) && !g.seen(WITHIN, t));
        g.down(Code::Button(1), true, t);
        g.up(Code::Button(1), later(t, 50));
        assert!(g.take(WITHIN, later(t, 100)));
        assert!(!g.take(WITHIN, later(t, 150)));
        assert!(g.seen(WITHIN, later(t, 150)), "seeing uses nothing up");
        g.down(Code::Button(1), true, later(t, 200));
        g.up(Code::Button(1), later(t, 250));
        assert!(!g.take(WITHIN, later(t, 4_000)) && !g.seen(WITHIN, later(t, 4_000)));
    }

    #[test]
    fn an_approval_needs_a_press_that_was_held() {
        let (g, t) = (Gestures::default(), Instant::now());
        g.down(Code::Button(1), true, t);
        assert!(!g.take_held(HOLD, WITHIN, later(t, 1_000)), "not yet");
        assert!(g.take_held(HOLD, WITHIN, later(t, 1_500)), "still held");
        g.down(Code::Button(3), false, later(t, 2_000));
        g.up(Code::Button(3), later(t, 9_000));
        assert!(
            !g.take_held(HOLD, WITHIN, later(t, 9_000)),
            "the wrong button"
        );
        g.down(Code::Key(0x20), true, later(t, 10_000));
        g.down(Code::Key(0x20), true, later(t, 11_000));
        g.up(Code::Key(0x20), later(t, 11_600));
        assert!(!g.take_held(HOLD, WITHIN, later(t, 15_000)), "too long ago");
        assert!(
            g.take_held(HOLD, WITHIN, later(t, 12_000)),
            "repeats are one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_press_whose_end_was_never_seen_counts_for_nothing() {
        let gestures = Gestures::default();
        let second = Duration::from_secs(1);
        gestures.down(Code::Key(0x20), true, Instant::now());
        tokio::time::advance(PRESS_MAX + second).await;
        assert!(!gestures.seen(second, Instant::now()));
        assert!(!gestures.take_held(HOLD, second, Instant::now()));
        gestures.down(Code::Button(1), true, Instant::now());
        gestures.forget();
        assert!(!gestures.seen(second, Instant::now()));
    }
}
