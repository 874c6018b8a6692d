//! Real loopback and the in-memory twin. No sleeps: every test waits for what it expects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::domain::base::limits::MESSAGE_MAX_BYTES;
use crate::domain::identity::DeviceKey;

mod odd;
mod strangers;
mod tls;

/// The seed of the device that listens.
const SERVER: u8 = 9;
const PATIENCE: Duration = Duration::from_secs(20);

struct Site {
    addr: SocketAddr,
    doorway: Arc<Doorway>,
    incoming: mpsc::Receiver<Incoming>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn tls_of(seed: u8) -> Tls {
    let key = DeviceKey::from_seed(&[seed; 32]);
    Tls::new(&key, &BrowserCertificate::generate().unwrap()).unwrap()
}

async fn site_with(settings: Settings) -> Site {
    let listener = Listener::bind_with("127.0.0.1:0".parse().unwrap(), settings)
        .await
        .unwrap();
    let (addr, doorway) = (listener.local_addr(), listener.doorway());
    let (sockets, incoming) = mpsc::channel(1024);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let told = |Extension(Secure(secure)), ConnectInfo(from): ConnectInfo<SocketAddr>| async move {
        format!("secure={secure} from={}", from.ip())
    };
    let app = Router::new()
        .route("/healthz", get(|| async { "fine" }))
        .route("/told", get(told));
    let tls = Some(tls_of(SERVER));
    let served = listener.serve(
        app,
        Rules::default(),
        tls,
        sockets,
        tasks.clone(),
        stop.clone(),
    );
    tasks.spawn(served);
    Site {
        addr,
        doorway,
        incoming,
        tasks,
        stop,
    }
}

async fn site() -> Site {
    site_with(Settings {
        deadline: PATIENCE * 10,
        ..Settings::default()
    })
    .await
}

impl Site {
    async fn dial(&self) -> Socket {
        let url = format!("ws://{}/any/path", self.addr).parse().unwrap();
        dial(&url, &Security::Plain, PATIENCE, &CancellationToken::new())
            .await
            .unwrap()
    }
    async fn next(&mut self) -> Incoming {
        soon(self.incoming.recv()).await.unwrap()
    }
    async fn ask(&self, head: &str) -> String {
        let mut tcp = TcpStream::connect(self.addr).await.unwrap();
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(tcp.read_to_string(&mut answer)).await.ok();
        answer
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

fn upgrade(host: &str, more: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// The rules of every link, on TCP as in memory.
async fn conforms(mut near: Socket, mut far: Socket) {
    near.trusted();
    far.trusted();
    near.send("hello").await.unwrap();
    assert_eq!(
        soon(far.recv()).await.unwrap(),
        Received::Text("hello".into())
    );
    let (mut reader, mut writer) = near.split();
    for number in 0..200 {
        writer.feed(number.to_string()).await.unwrap();
    }
    writer.flush().await.unwrap();
    for number in 0..200 {
        assert_eq!(
            soon(far.recv()).await.unwrap(),
            Received::Text(number.to_string().into())
        );
    }
    let big = "x".repeat(MESSAGE_MAX_BYTES + 1);
    let refused = writer.feed(big).await.unwrap_err();
    assert!(matches!(refused, SocketError::OutgoingTooLarge { .. }));
    far.send("still here").await.unwrap();
    assert_eq!(
        soon(reader.recv()).await.unwrap(),
        Received::Text("still here".into())
    );
    let closed = async {
        let (_, got) = tokio::join!(writer.close(1000, "done"), async {
            let got = far.recv().await.unwrap();
            assert!(matches!(far.recv().await, Err(SocketError::Ended)));
            drop(far);
            got
        });
        got
    };
    assert_eq!(
        soon(closed).await,
        Received::Closed {
            code: Some(1000),
            reason: "done".into()
        }
    );
    assert!(matches!(reader.recv().await, Err(SocketError::Ended)));
}

#[tokio::test]
async fn links_conform_on_tcp_and_in_memory() {
    let (near, far) = channel::pair().await;
    conforms(near, far).await;
    let mut site = site().await;
    let near = site.dial().await;
    let incoming = site.next().await;
    assert!(incoming.origin.is_none());
    conforms(near, incoming.socket).await;
}

#[tokio::test]
async fn a_writer_waits_for_a_reader_that_does_not_read() {
    let (near, mut far) = channel::pair().await;
    far.trusted();
    let (_reader, mut writer) = near.split();
    let text = Text::from("y".repeat(10_000));
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(100), writer.feed(text.clone()))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 100, "nothing slows the writer");
    }
    let reading = async {
        for _ in 0..sent {
            let got = soon(far.recv()).await.unwrap();
            assert_eq!(got, Received::Text(text.clone()));
        }
    };
    let (flushed, ()) = tokio::join!(soon(writer.flush()), reading);
    flushed.unwrap();
}

#[tokio::test]
async fn http_and_sockets_share_the_port() {
    let mut site = site().await;
    let _link = site.dial().await;
    site.next().await;
    let answer = site
        .ask("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("fine"),
        "{answer}"
    );
}

#[tokio::test]
async fn foreign_origins_are_refused_before_the_upgrade_and_peers_by_name_are_not() {
    let site = site().await;
    let answer = site
        .ask(&upgrade("127.0.0.1", "Origin: http://evil.example\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(site.doorway.numbers().refused_origins_total, 1);
    // A peer sends no origin and may know us by a name of its DNS.
    let mut tcp = TcpStream::connect(site.addr).await.unwrap();
    tcp.write_all(upgrade("field.example", "").as_bytes())
        .await
        .unwrap();
    let mut head = [0; 12];
    soon(tcp.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
}

#[tokio::test]
async fn oversize_is_reported_and_far_oversize_closes() {
    let mut site = site().await;
    let url = format!("ws://{}/", site.addr);
    let tcp = TcpStream::connect(site.addr).await.unwrap();
    let (mut raw, _) = tokio_tungstenite::client_async(url, tcp).await.unwrap();
    let mut far = site.next().await.socket;
    far.trusted();
    let bytes = MESSAGE_MAX_BYTES + 1;
    let (sent, got) = tokio::join!(raw.send(Message::text("x".repeat(bytes))), far.recv());
    sent.unwrap();
    assert_eq!(got.unwrap(), Received::TooLarge { bytes });
    far.send("go on").await.unwrap();
    assert_eq!(
        soon(raw.next()).await.unwrap().unwrap(),
        Message::text("go on")
    );
    let work = async {
        raw.send(Message::text("x".repeat(2 * MESSAGE_MAX_BYTES + 1)))
            .await
            .ok();
        raw.next().await
    };
    let (seen, got) = tokio::join!(soon(work), soon(far.recv()));
    assert!(
        matches!(got, Err(SocketError::FarTooLarge { .. })),
        "{got:?}"
    );
    let Some(Ok(Message::Close(Some(frame)))) = seen else {
        panic!("{seen:?}")
    };
    assert_eq!(u16::from(frame.code), 1009);
}

#[tokio::test]
async fn idle_crowds_never_keep_a_peer_out() {
    let mut site = site().await;
    let trusted = site.dial().await;
    let mut kept = site.next().await;
    assert!(kept.slot.promote());
    let mut crowd = Vec::new();
    for _ in 0..600 {
        crowd.push(TcpStream::connect(site.addr).await.unwrap());
    }
    let mut upgraded = Vec::new();
    for _ in 0..600 {
        upgraded.push((site.dial().await, site.next().await));
    }
    let fresh = site.dial().await;
    let incoming = site.next().await;
    assert!(incoming.slot.promote());
    let numbers = site.doorway.numbers();
    assert_eq!(
        (numbers.open_unauthenticated, numbers.evicted_total >= 600),
        (383, true)
    );
    assert!(!upgraded[0].1.slot.promote(), "the oldest was cut");
    soon(upgraded[0].1.slot.evicted()).await;
    conforms(fresh, incoming.socket).await;
    let mut trusted = trusted;
    trusted.send("me too").await.unwrap();
    assert_eq!(
        soon(kept.socket.recv()).await.unwrap(),
        Received::Text("me too".into())
    );
}

#[tokio::test]
async fn slow_heads_and_silent_sockets_end() {
    let quick = Duration::from_millis(100);
    let settings = Settings {
        deadline: quick,
        head_timeout: PATIENCE * 10,
        ..Settings::default()
    };
    let mut site = site_with(settings).await;
    site.ask("GET / HTTP/1.1\r\nHost: 127").await;
    site.ask("").await;
    let mut silent = site.dial().await;
    let mut far = site.next().await;
    assert!(matches!(
        soon(far.socket.recv()).await,
        Err(SocketError::Ended)
    ));
    drop(far);
    assert!(soon(silent.recv()).await.is_err_or_closed());
    assert_eq!(site.doorway.numbers().expired_total, 3);
}

trait Over {
    fn is_err_or_closed(&self) -> bool;
}
impl Over for Result<Received, SocketError> {
    fn is_err_or_closed(&self) -> bool {
        matches!(self, Err(_) | Ok(Received::Closed { .. }))
    }
}

#[tokio::test]
async fn stop_ends_everything() {
    let mut site = site().await;
    let _idle = TcpStream::connect(site.addr).await.unwrap();
    let _link = site.dial().await;
    let mut far = site.next().await;
    far.slot.promote();
    site.stop.cancel();
    site.tasks.close();
    assert!(soon(far.socket.recv()).await.is_err_or_closed());
    soon(site.tasks.wait()).await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let site = site().await;
    let error = Listener::bind(site.addr).await.err().unwrap().to_string();
    assert!(
        error.contains(&site.addr.port().to_string()) && error.contains("--port"),
        "{error}"
    );
}

#[tokio::test]
async fn urls_say_what_is_wrong() {
    for (text, shown) in [
        ("ws://10.0.0.1:18789", "ws://10.0.0.1:18789"),
        ("ws://Field.local", "ws://field.local:18789"),
        ("wss://field.example", "wss://field.example:443"),
        ("WS://[FE80::1%eth0]", "ws://[fe80::1%eth0]:18789"),
        ("ws://[fe80::1%25enP8p1s0]:5", "ws://[fe80::1%enP8p1s0]:5"),
        ("ws://[fe80::1%2]:5", "ws://[fe80::1%2]:5"),
        ("http://Pi.local/x?y", "ws://pi.local:80/x?y"),
        ("https://[::1]", "wss://[::1]:443"),
    ] {
        assert_eq!(text.parse::<PeerUrl>().unwrap().to_string(), shown);
    }
    for bad in [
        "",
        "host:1",
        "ftp://h",
        "ws://",
        "ws://h:0",
        "ws://h:x",
        "ws://u@h",
        "ws://::1",
        "ws://a b",
        "ws://[fe80::1%]",
        "ws://[fe80::1%a/b]",
        "ws://[fe80::x%eth0]",
    ] {
        assert!(bad.parse::<PeerUrl>().is_err(), "{bad}");
    }
}
