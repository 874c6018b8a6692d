//! The outgoing half of a link: answers first, then our own messages, then frames; one flush for many.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::adapters::transport::SocketWriter;
use crate::node::links::LinkHandle;

/// How long a peer may leave our writes unread before the link is given up.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// Messages written before the socket is flushed.
const FLUSH_EVERY: usize = 64;

/// The queues a writer empties, most urgent first.
pub struct Queues {
    /// Answers and credit.
    pub answers: mpsc::Receiver<String>,
    /// Our own requests and events.
    pub control: mpsc::Receiver<String>,
    /// Frames.
    pub bulk: mpsc::Receiver<String>,
}

impl Queues {
    async fn next(&mut self) -> Option<String> {
        tokio::select! {
            biased;
            text = self.answers.recv() => text,
            text = self.control.recv() => text,
            text = self.bulk.recv() => text,
        }
    }

    fn try_next(&mut self) -> Option<String> {
        let first = self.answers.try_recv().or_else(|_| self.control.try_recv());
        first.or_else(|_| self.bulk.try_recv()).ok()
    }
}

/// Writes until the link ends, then says goodbye.
pub async fn run(mut writer: SocketWriter, mut queues: Queues, link: LinkHandle) {
    loop {
        let next = tokio::select! {
            biased;
            () = link.stop.cancelled() => break,
            next = queues.next() => next,
        };
        let Some(first) = next else { break };
        let writing = write_some(&mut writer, first, &mut queues);
        match tokio::time::timeout(WRITE_STALL_MAX, writing).await {
            Ok(true) => {}
            Ok(false) => {
                link.close(1001, "write failed");
                break;
            }
            Err(_) => {
                tracing::warn!(
                    peer = link.info.device.short(),
                    "the peer did not read for {} s; the link is given up",
                    WRITE_STALL_MAX.as_secs()
                );
                link.close(1013, "nothing was read");
                break;
            }
        }
    }
    link.stop.cancel();
    // Answers that are ready still belong to the link, such as the refusal it ends with.
    while let Ok(text) = queues.answers.try_recv() {
        let sent = tokio::time::timeout(Duration::from_secs(1), writer.feed(text)).await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    let (code, reason) = link.farewell().unwrap_or((1000, "bye"));
    writer.close(code, reason).await;
    link.silent.cancel();
}

/// Writes what waits, then flushes once. `false` if the socket failed.
async fn write_some(writer: &mut SocketWriter, first: String, queues: &mut Queues) -> bool {
    let mut next = Some(first);
    let mut written = 0;
    while let Some(text) = next {
        if writer.feed(text).await.is_err() {
            return false;
        }
        written += 1;
        next = match written < FLUSH_EVERY {
            true => queues.try_next(),
            false => None,
        };
    }
    writer.flush().await.is_ok()
}
