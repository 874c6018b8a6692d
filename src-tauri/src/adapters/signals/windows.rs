//! What Windows says to a process of a console or a service. A console that closes, a session that ends and a machine that
//! shuts down each give a process some seconds; the handler does not return before this process has ended, so they are not
//! cut short. Actuators are made safe in the first of them.

use std::io;
use std::task::Poll;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
    ctrl_logoff, ctrl_shutdown,
};
use tokio::sync::Notify;

use super::{Asked, Heard};

/// The service manager asks for the end of the service; kept until it is heard.
static MANAGER: Notify = Notify::const_new();

/// Asks this process to end, as its service manager does.
pub(super) fn ask_to_end() {
    MANAGER.notify_one();
}

/// How a person ends a node.
pub(super) const HOW_TO_END: &str = "end the node with Ctrl-C";

/// Everything that is heard; each asks for the end.
pub(super) struct Ears {
    interrupt: CtrlC,
    quit: CtrlBreak,
    close: CtrlClose,
    logoff: CtrlLogoff,
    shutdown: CtrlShutdown,
}

impl Ears {
    /// Hears what asks for the end.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            quit: ctrl_break()?,
            close: ctrl_close()?,
            logoff: ctrl_logoff()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// Nothing here stops or kills a process by accident.
    pub(super) fn and_ignore(self) -> io::Result<Self> {
        Ok(self)
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            () = MANAGER.notified() => Heard::Asks(Asked::Terminate),
            heard = self.of_the_console() => heard,
        }
    }

    async fn of_the_console(&mut self) -> Heard {
        std::future::poll_fn(|cx| {
            let asked = if self.interrupt.poll_recv(cx).is_ready() {
                Asked::Interrupt
            } else if self.quit.poll_recv(cx).is_ready() {
                Asked::Quit
            } else if self.close.poll_recv(cx).is_ready() || self.logoff.poll_recv(cx).is_ready() {
                // No hangup: that may mean something else to its hearer, and this console is gone.
                Asked::Terminate
            } else if self.shutdown.poll_recv(cx).is_ready() {
                Asked::PowerFails
            } else {
                return Poll::Pending;
            };
            Poll::Ready(Heard::Asks(asked))
        })
        .await
    }
}

/// What ends a program on a terminal, which is given back first.
#[derive(Debug)]
pub struct TerminalEnds {
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl TerminalEnds {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system lets us hear nothing.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// Waits for one.
    pub async fn come(&mut self) {
        tokio::select! {
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}
