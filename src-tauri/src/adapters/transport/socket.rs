//! One WebSocket link that carries text messages, whole or split into a reader and a writer.
//!
//! Both halves share the stream behind a short lock that is held for one poll and never across an
//! await. The stream is erased, so TCP, TLS and the in-memory twin are one type. A slow remote makes
//! the writer wait; at most one message and one buffer are held. No compression, no binary.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_util::sync::CancellationToken;

use super::doorway::Slot;
use super::meter::{Metered, TooMuch};
use crate::adapters::system;
use crate::domain::base::DeviceId;
use crate::domain::base::canonical::Digest;
use crate::domain::base::limits::MESSAGE_MAX_BYTES;

/// The text of a message: dereferences to `str`, and a clone shares the bytes.
pub use tokio_tungstenite::tungstenite::Utf8Bytes as Text;

/// Largest message that is read at all; one between this and the limit is reported and dropped.
const READ_MAX_BYTES: usize = 2 * MESSAGE_MAX_BYTES;
/// Eagerly allocated per socket, so that an idle one stays cheap.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// How much may be fed before bytes go to the system without a flush.
const WRITE_BUFFER_BYTES: usize = 32 * 1024;
/// Longest reason a close frame can carry, in bytes (RFC 6455 §5.5).
const CLOSE_REASON_MAX_BYTES: usize = 123;
/// How long a goodbye may take before the link is dropped without it.
const CLOSE_WAIT: Duration = Duration::from_millis(1_000);

/// How long what we sent may stay unacknowledged, or unread by the peer's machine, before the system
/// takes the connection for broken.
const UNHEARD_MAX: Duration = Duration::from_secs(60);

/// Close code: the other side sent something other than text.
pub const CLOSE_UNSUPPORTED: u16 = 1003;
/// Close code: a message that is not UTF-8.
pub const CLOSE_BAD_DATA: u16 = 1007;
/// Close code: a message too big to be read at all.
pub const CLOSE_TOO_BIG: u16 = 1009;
/// Close code: a breach of the WebSocket protocol.
const CLOSE_PROTOCOL: u16 = 1002;

/// A byte stream a link can run over.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// How well a link is protected, weakest first (gen-1 §2; `identity-bound` is ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Posture {
    /// Plain WebSocket.
    Insecure,
    /// TLS whose certificate nobody checked.
    TlsUnpinned,
    /// TLS with a certificate we were told to expect.
    TlsPinned,
    /// TLS whose certificate carries the peer's device key.
    IdentityBound,
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Posture::Insecure => "insecure",
            Posture::TlsUnpinned => "tls-unpinned",
            Posture::TlsPinned => "tls-pinned",
            Posture::IdentityBound => "identity-bound",
        })
    }
}

/// How a link is protected, and which device its encryption has proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// How well.
    pub posture: Posture,
    /// The device whose key the other side has proven in the TLS handshake. Known without being
    /// `IdentityBound` where we dialed without an expected device: compare it with the hello.
    pub device: Option<DeviceId>,
    /// A value known only to the two ends of this connection.
    pub channel: Option<Channel>,
}

/// A value known only to the two ends of a connection: a signature over it is invalid on another
/// connection, which prevents relay attacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel(String);

impl Channel {
    /// Of a plain connection on one machine: the addresses of both ends, and which network of which
    /// machine they are addresses of. A man in the middle has two connections, each with other addresses
    /// or in another place: loopback addresses are the same on every machine and in every container.
    pub fn tcp(client: SocketAddr, server: SocketAddr) -> Self {
        let end = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        Self(format!(
            "tcp {} {} {}",
            end(client),
            end(server),
            Self::place()
        ))
    }

    /// The run of this machine and the network namespace of this process, as Linux names them; empty
    /// where the system does not say.
    fn place() -> &'static str {
        static PLACE: LazyLock<String> = LazyLock::new(|| {
            let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            let network = std::fs::read_link("/proc/self/ns/net");
            let network = network.map(|name| name.to_string_lossy().into_owned());
            format!(
                "{} {}",
                boot.unwrap_or_default().trim(),
                network.unwrap_or_default()
            )
        });
        &PLACE
    }

    /// Of a TLS connection: keying material that only its two ends can export (RFC 9266).
    pub fn tls(exported: &[u8; 32]) -> Self {
        Self(format!("tls {}", Digest(*exported).to_hex()))
    }

    /// Of a connection without a network, by a name that both ends know.
    pub fn named(name: &str) -> Self {
        Self(format!("named {name}"))
    }

    /// As a signature takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Protection {
    /// None at all.
    pub const PLAIN: Protection = Protection {
        posture: Posture::Insecure,
        device: None,
        channel: None,
    };

    /// TLS with a proven device, or with nothing proven.
    pub fn tls(device: Option<DeviceId>) -> Self {
        let posture = match device {
            Some(_) => Posture::IdentityBound,
            None => Posture::TlsUnpinned,
        };
        Self {
            posture,
            device,
            channel: None,
        }
    }

    /// The same over this connection.
    #[must_use]
    pub fn over(mut self, channel: Option<Channel>) -> Self {
        self.channel = channel;
        self
    }
}

/// An event on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A text message within the limit.
    Text(Text),
    /// A message above `MESSAGE_MAX_BYTES`, already discarded: answer `TOO_LARGE` and go on.
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
    /// The other side ended the link.
    Closed {
        /// Its close code, if it gave one.
        code: Option<u16>,
        /// Its reason; may be empty.
        reason: String,
    },
}

/// Why a link failed.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The link has already ended.
    #[error("the link has ended; dial again to go on")]
    Ended,
    /// The other side sent a binary message; the link was closed with 1003.
    #[error("the peer sent a binary message, which the mesh does not use; closed with 1003")]
    Binary,
    /// The other side sent a message too big to read, or too big for one that has not
    /// authenticated; the link was closed with 1009.
    #[error(
        "the peer sent a message of at least {bytes} bytes, more than may be read; closed with 1009"
    )]
    FarTooLarge {
        /// The size seen so far or announced, in bytes.
        bytes: usize,
    },
    /// We were about to send a message above the limit.
    #[error(
        "a message of {bytes} bytes exceeds the limit of {MESSAGE_MAX_BYTES} bytes; send less at once"
    )]
    OutgoingTooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
    /// The stream broke or the other side broke the protocol.
    #[error("the link failed: {0}; dial again to go on")]
    Failed(#[source] Box<WsError>),
}

struct Shared {
    stream: Mutex<WebSocketStream<Metered>>,
    /// Cancelled once the link is over, from either end.
    ended: CancellationToken,
    protection: Protection,
    /// Pings of ours that the other side has answered.
    pongs: watch::Sender<u64>,
    /// Keeps the connection's place at the door until the link is dropped.
    _slot: Option<Slot>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, WebSocketStream<Metered>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, WsError>>> {
        Pin::new(&mut *self.lock()).poll_next(cx)
    }

    async fn send(&self, message: Message) -> Result<(), WsError> {
        poll_fn(|cx| Pin::new(&mut *self.lock()).poll_ready(cx)).await?;
        Pin::new(&mut *self.lock()).start_send(message)
    }

    async fn flush(&self) -> Result<(), WsError> {
        poll_fn(|cx| Pin::new(&mut *self.lock()).poll_flush(cx)).await
    }

    /// Says goodbye and reads off what is still under way, so that the system does not throw the
    /// goodbye away with a reset. Bounded in time; failures do not matter any more.
    async fn finish(&self, code: u16, reason: &str) {
        self.ended.cancel();
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: shorten(reason).into(),
        };
        let goodbye = async {
            self.send(Message::Close(Some(frame))).await.ok();
            self.flush().await.ok();
            self.drain().await;
        };
        tokio::time::timeout(CLOSE_WAIT, Box::pin(goodbye))
            .await
            .ok();
    }

    async fn drain(&self) {
        poll_fn(|cx| Pin::new(self.lock().get_mut()).poll_shutdown(cx))
            .await
            .ok();
        let mut waste = [0_u8; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut waste);
            let read =
                poll_fn(|cx| Pin::new(self.lock().get_mut()).poll_read(cx, &mut buffer)).await;
            if read.is_err() || buffer.filled().is_empty() {
                return;
            }
        }
    }
}

/// One WebSocket that carries text messages.
pub struct Socket {
    reader: SocketReader,
    writer: SocketWriter,
}

/// The receiving half of a [`Socket`].
pub struct SocketReader {
    shared: Arc<Shared>,
}

/// The sending half of a [`Socket`].
pub struct SocketWriter {
    shared: Arc<Shared>,
}

impl Socket {
    /// Takes a stream on which the upgrade is already done. `cut` ends the link from outside.
    pub async fn new(
        stream: Box<dyn ByteStream>,
        role: Role,
        protection: Protection,
        cut: &CancellationToken,
        slot: Option<Slot>,
    ) -> Socket {
        let stream = Metered::new(stream);
        let stream = WebSocketStream::from_raw_socket(stream, role, Some(config())).await;
        Socket::wrap(stream, protection, cut, slot)
    }

    /// Takes a stream that already speaks WebSocket (see [`config`]).
    pub(super) fn wrap(
        stream: WebSocketStream<Metered>,
        protection: Protection,
        cut: &CancellationToken,
        slot: Option<Slot>,
    ) -> Socket {
        let shared = Arc::new(Shared {
            stream: Mutex::new(stream),
            ended: cut.child_token(),
            protection,
            pongs: watch::channel(0).0,
            _slot: slot,
        });
        Socket {
            reader: SocketReader {
                shared: Arc::clone(&shared),
            },
            writer: SocketWriter { shared },
        }
    }

    /// How the link is protected.
    pub fn protection(&self) -> &Protection {
        &self.reader.shared.protection
    }

    /// See [`SocketReader::trusted`].
    pub fn trusted(&mut self) {
        self.reader.trusted();
    }

    /// See [`SocketReader::recv`].
    pub async fn recv(&mut self) -> Result<Received, SocketError> {
        self.reader.recv().await
    }

    /// Feeds one message and flushes it; see [`SocketWriter::feed`].
    pub async fn send(&mut self, text: impl Into<Text>) -> Result<(), SocketError> {
        self.writer.feed(text).await?;
        self.writer.flush().await
    }

    /// See [`SocketWriter::close`].
    pub async fn close(self, code: u16, reason: &str) {
        self.writer.close(code, reason).await;
    }

    /// One half for a reader task and one for a writer task.
    pub fn split(self) -> (SocketReader, SocketWriter) {
        (self.reader, self.writer)
    }
}

impl SocketReader {
    /// The other side has proven itself: from now on messages of full size are read. Until then one
    /// above `STRANGER_MESSAGE_MAX_BYTES` ends the link with 1009.
    pub fn trusted(&mut self) {
        self.shared.lock().get_mut().trust();
    }

    /// Counts up with every ping of ours that is answered, as long as messages are received.
    pub fn pongs(&self) -> watch::Receiver<u64> {
        self.shared.pongs.subscribe()
    }

    /// Waits for the next message. Pings are answered here, so keep calling it. Cancel-safe.
    ///
    /// # Errors
    /// After an error, or after [`Received::Closed`], the link is over.
    pub async fn recv(&mut self) -> Result<Received, SocketError> {
        let shared = &self.shared;
        loop {
            let next = tokio::select! {
               biased;
                () = shared.ended.cancelled() => return Err(SocketError::Ended),
                next = poll_fn(|cx| shared.poll_next(cx)) => next,
            };
            match next {
                Some(Ok(Message::Text(text))) if text.len() > MESSAGE_MAX_BYTES => {
                    return Ok(Received::TooLarge { bytes: text.len() });
                }
                Some(Ok(Message::Text(text))) => return Ok(Received::Text(text)),
                Some(Ok(Message::Pong(_))) => shared.pongs.send_modify(|n| *n += 1),
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(_))) => {
                    shared.finish(CLOSE_UNSUPPORTED, "text messages only").await;
                    return Err(SocketError::Binary);
                }
                Some(Ok(Message::Close(frame))) => return Ok(self.farewell(frame).await),
                Some(Err(error)) => return Err(self.fail(error).await),
                None => return Ok(self.farewell(None).await),
            }
        }
    }

    /// Ends our side after the other side closed: the answer was queued by the read.
    async fn farewell(&self, frame: Option<CloseFrame>) -> Received {
        self.shared.ended.cancel();
        tokio::time::timeout(CLOSE_WAIT, self.shared.flush())
            .await
            .ok();
        match frame {
            Some(frame) => Received::Closed {
                code: Some(frame.code.into()),
                reason: frame.reason.to_string(),
            },
            None => Received::Closed {
                code: None,
                reason: String::new(),
            },
        }
    }

    async fn fail(&self, error: WsError) -> SocketError {
        match error {
            WsError::Capacity(CapacityError::MessageTooLong { size, .. }) => {
                self.shared.finish(CLOSE_TOO_BIG, "message too big").await;
                SocketError::FarTooLarge { bytes: size }
            }
            WsError::Utf8(_) => {
                self.shared
                    .finish(CLOSE_BAD_DATA, "text is not UTF-8")
                    .await;
                SocketError::Failed(Box::new(error))
            }
            WsError::Io(ref cause) => {
                let much = cause.get_ref().and_then(|inner| inner.downcast_ref());
                if let Some(&TooMuch { bytes }) = much {
                    self.shared
                        .finish(CLOSE_TOO_BIG, "authenticate first")
                        .await;
                    return SocketError::FarTooLarge {
                        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
                    };
                }
                self.shared.ended.cancel();
                SocketError::Failed(Box::new(error))
            }
            other => {
                self.shared.finish(CLOSE_PROTOCOL, "protocol error").await;
                SocketError::Failed(Box::new(other))
            }
        }
    }
}

impl SocketWriter {
    /// Queues one message; it leaves with the next [`flush`](Self::flush) at the latest. Waits while
    /// the other side does not take what was sent.
    ///
    /// # Errors
    /// A message above the limit is refused and the link goes on; any other error ends it.
    pub async fn feed(&mut self, text: impl Into<Text>) -> Result<(), SocketError> {
        let text = text.into();
        if text.len() > MESSAGE_MAX_BYTES {
            return Err(SocketError::OutgoingTooLarge { bytes: text.len() });
        }
        self.until_ended(self.shared.send(Message::Text(text)))
            .await
    }

    /// Queues a WebSocket ping, which every WebSocket answers by itself (RFC 6455 §5.5.2).
    ///
    /// # Errors
    /// The link has ended or broke.
    pub async fn ping(&mut self) -> Result<(), SocketError> {
        self.until_ended(self.shared.send(Message::Ping(Default::default())))
            .await
    }

    /// Sends what was fed, and waits until the system has taken it.
    ///
    /// # Errors
    /// The link has ended or broke.
    pub async fn flush(&mut self) -> Result<(), SocketError> {
        self.until_ended(self.shared.flush()).await
    }

    /// Ends the link with a WebSocket close code and a reason (cut at 123 bytes). Takes at most a
    /// second; also works after the link was cut from outside. The reader half returns `Ended`.
    pub async fn close(self, code: u16, reason: &str) {
        self.shared.finish(code, reason).await;
    }

    async fn until_ended(
        &self,
        work: impl Future<Output = Result<(), WsError>>,
    ) -> Result<(), SocketError> {
        let done = tokio::select! {
           biased;
            () = self.shared.ended.cancelled() => return Err(SocketError::Ended),
            done = work => done,
        };
        done.map_err(|error| {
            self.shared.ended.cancel();
            SocketError::Failed(Box::new(error))
        })
    }
}

/// Has the system find out when the other machine is gone, also on a link where nothing is said.
pub(super) fn keep_alive(stream: &TcpStream) {
    let settings = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&settings) {
        tracing::debug!(%error, "keepalive not set");
    }
    // Unacknowledged data would otherwise be repeated for a quarter of an hour.
    if let Err(error) = system::unheard_at_most(stream, UNHEARD_MAX) {
        tracing::debug!(%error, "no limit for what is not acknowledged");
    }
}

/// The WebSocket settings every link uses.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(READ_MAX_BYTES)
        .max_message_size(Some(READ_MAX_BYTES))
        .max_frame_size(Some(READ_MAX_BYTES))
}

fn shorten(reason: &str) -> &str {
    let mut end = reason.len().min(CLOSE_REASON_MAX_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_plain_channel_is_of_one_run_of_one_machine_and_one_network() {
        let (client, server) = ("127.0.0.1:4000", "127.0.0.1:7000");
        let named = |of: &str| of.parse::<SocketAddr>().unwrap();
        let channel = Channel::tcp(named(client), named(server));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let network = std::fs::read_link("/proc/self/ns/net").unwrap();
        let network = network.display().to_string();
        for part in [client, server, boot.trim(), network.as_str()] {
            assert!(
                !part.is_empty() && channel.as_str().contains(part),
                "{part}"
            );
        }
    }
}
