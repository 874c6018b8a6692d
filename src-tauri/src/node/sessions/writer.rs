//! The outgoing half of a link: answers first, then our own messages, then the words of models, then frames; one flush
//! for many.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::adapters::transport::SocketWriter;
use crate::node::links::LinkHandle;
use crate::node::links::room::Outgoing;

/// How long a peer may leave our writes unread before the link is given up.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// How long what is being written may take after the link has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages written before the socket is flushed.
const FLUSH_EVERY: usize = 64;

/// The queues a writer empties, most urgent first.
pub(super) struct Queues {
    /// Answers and credit.
    pub answers: mpsc::Receiver<Outgoing>,
    /// Our own requests and events.
    pub control: mpsc::Receiver<Outgoing>,
    /// Pieces of replies of models.
    pub words: mpsc::Receiver<Outgoing>,
    /// Frames.
    pub bulk: mpsc::Receiver<Outgoing>,
}

impl Queues {
    async fn next(&mut self, link: &LinkHandle) -> Option<Outgoing> {
        loop {
            let text = tokio::select! {
                biased;
                text = self.answers.recv() => text,
                text = self.control.recv() => text,
                text = self.words.recv() => match text {
                    // Trust in the other end is over; what waited is not sent.
                    Some(_) if link.is_parting() => continue,
                    text => text,
                },
                text = self.bulk.recv() => match text {
                    Some(_) if link.is_parting() => continue,
                    text => text,
                },
            };
            return text;
        }
    }

    fn try_next(&mut self, link: &LinkHandle) -> Option<Outgoing> {
        let first = self.answers.try_recv().or_else(|_| self.control.try_recv());
        let rest = first.or_else(|_| match link.is_parting() {
            true => Err(mpsc::error::TryRecvError::Empty),
            false => self.words.try_recv().or_else(|_| self.bulk.try_recv()),
        });
        rest.ok()
    }
}

/// Writes until the link ends, then says goodbye.
pub(super) async fn run(mut writer: SocketWriter, mut queues: Queues, link: LinkHandle) {
    loop {
        let next = tokio::select! {
            biased;
            () = link.stop.cancelled() => break,
            next = queues.next(&link) => next,
        };
        let Some(first) = next else { break };
        let writing = write_some(&mut writer, first, &mut queues, &link);
        let written = tokio::select! {
            biased;
            written = tokio::time::timeout(WRITE_STALL_MAX, writing) => written,
            // The link has ended for another reason, while its peer takes nothing.
            () = ended_for(&link, LAST_WORDS) => break,
        };
        match written {
            Ok(Some(bytes)) => link.vitals.said(bytes),
            Ok(None) => {
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
        let Some(text) = text.into_text() else {
            continue;
        };
        let sent = tokio::time::timeout(LAST_WORDS, writer.feed(text)).await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    let (code, reason) = link.farewell().unwrap_or((1000, "bye"));
    writer.close(code, reason).await;
    link.silent.cancel();
}

/// Waits until the link has ended and some time has passed since.
async fn ended_for(link: &LinkHandle, grace: Duration) {
    link.stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// Writes what waits, then flushes once; how many bytes, or `None` if the socket failed.
async fn write_some(
    writer: &mut SocketWriter,
    first: Outgoing,
    queues: &mut Queues,
    link: &LinkHandle,
) -> Option<usize> {
    let mut next = Some(first);
    let (mut written, mut bytes) = (0, 0);
    while let Some(message) = next {
        match message.into_text() {
            Some(text) => {
                bytes += text.len();
                writer.feed(text).await.ok()?;
            }
            None => writer.ping().await.ok()?,
        }
        written += 1;
        next = match written < FLUSH_EVERY {
            true => queues.try_next(link),
            false => None,
        };
    }
    writer.flush().await.ok().map(|()| bytes)
}
