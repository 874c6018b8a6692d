//! The terminal: taken for the length of the program, given back however it ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use tokio::sync::mpsc;

use super::draw;
use super::state::App;

/// How long the reader of the keyboard waits before it looks whether the program has ended.
const READ_FOR: Duration = Duration::from_millis(100);
/// Keys that wait for the program; the reader waits beyond that.
const KEYS_MAX: usize = 256;

/// What the terminal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// The window has another size.
    Resized,
}

/// The terminal, in raw mode on its alternate screen.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    keys: mpsc::Receiver<Input>,
    over: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal. A panic gives it back before its message is printed.
    ///
    /// # Errors
    /// If it cannot be put in raw mode.
    pub(super) fn take() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let over = Arc::new(AtomicBool::new(false));
        let (to, keys) = mpsc::channel(KEYS_MAX);
        let ended = over.clone();
        tokio::task::spawn_blocking(move || read(&to, &ended));
        Ok(Self {
            terminal,
            keys,
            over,
        })
    }

    /// The next input; `None` where the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<Input> {
        self.keys.recv().await
    }

    /// An input that has come already.
    pub(super) fn waiting(&mut self) -> Option<Input> {
        self.keys.try_recv().ok()
    }

    /// Draws the program as it stands.
    ///
    /// # Errors
    /// If the terminal does not take it.
    pub(super) fn draw(&mut self, app: &App, now: u64) -> io::Result<()> {
        self.terminal.draw(|frame| draw::all(frame, app, now))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        ratatui::restore();
    }
}

/// Reads the keyboard until the program has ended or the terminal is gone.
fn read(to: &mpsc::Sender<Input>, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        match event::poll(READ_FOR) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let input = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Input::Key(key),
            Ok(Event::Resize(..)) => Input::Resized,
            Ok(_) => continue,
            Err(_) => return,
        };
        if to.blocking_send(input).is_err() {
            return;
        }
    }
}
