//! Limits on memory held for unauthenticated peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;
use crate::domain::base::limits::STRANGER_MESSAGE_MAX_BYTES;

type Raw = WebSocketStream<TcpStream>;

async fn raw(site: &mut Site) -> (Raw, Incoming) {
    let url = format!("ws://{}/", site.addr);
    let tcp = TcpStream::connect(site.addr).await.unwrap();
    let (raw, _) = tokio_tungstenite::client_async(url, tcp).await.unwrap();
    (raw, site.next().await)
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

async fn cut(far: &mut Socket, raw: &mut Raw) {
    let (got, seen) = tokio::join!(soon(far.recv()), soon(raw.next()));
    assert!(
        matches!(got, Err(SocketError::FarTooLarge { .. })),
        "{got:?}"
    );
    let Some(Ok(Message::Close(Some(frame)))) = seen else {
        panic!("{seen:?}")
    };
    assert_eq!(u16::from(frame.code), 1009);
    assert!(matches!(far.recv().await, Err(SocketError::Ended)));
}

#[tokio::test]
async fn a_stranger_sends_small_messages_and_a_trusted_peer_large_ones() {
    let mut site = site().await;
    let (mut raw, incoming) = raw(&mut site).await;
    let mut far = incoming.socket;
    for bytes in [1, 125, 126, 65_535, STRANGER_MESSAGE_MAX_BYTES] {
        let (sent, got) = tokio::join!(raw.send(Message::text(text(bytes))), soon(far.recv()));
        sent.unwrap();
        assert_eq!(got.unwrap(), Received::Text(text(bytes).into()));
    }
    far.trusted();
    let bytes = MESSAGE_MAX_BYTES;
    let (sent, got) = tokio::join!(raw.send(Message::text(text(bytes))), soon(far.recv()));
    sent.unwrap();
    assert_eq!(got.unwrap(), Received::Text(text(bytes).into()));
}

#[tokio::test]
async fn a_strangers_large_message_ends_the_link_at_its_header() {
    let mut site = site().await;
    let (mut raw, incoming) = raw(&mut site).await;
    let mut far = incoming.socket;
    // Messages before it are still heard, also when they came with it.
    raw.feed(Message::text("before")).await.unwrap();
    raw.feed(Message::text(text(STRANGER_MESSAGE_MAX_BYTES + 1)))
        .await
        .unwrap();
    raw.flush().await.unwrap();
    assert_eq!(
        soon(far.recv()).await.unwrap(),
        Received::Text("before".into())
    );
    cut(&mut far, &mut raw).await;
}

#[tokio::test]
async fn a_strangers_header_alone_ends_the_link() {
    let mut site = site().await;
    let (mut raw, incoming) = raw(&mut site).await;
    let mut far = incoming.socket;
    // A masked text frame that announces 2 MiB, one byte at a time and no payload.
    for byte in [0x81, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 1, 2, 3, 4] {
        raw.get_mut().write_all(&[byte]).await.unwrap();
        raw.get_mut().flush().await.unwrap();
    }
    cut(&mut far, &mut raw).await;
}

#[tokio::test]
async fn a_strangers_fragments_add_up() {
    let mut site = site().await;
    let (mut raw, incoming) = raw(&mut site).await;
    let mut far = incoming.socket;
    let part = |kind, last| Message::Frame(Frame::message(text(30_000), OpCode::Data(kind), last));
    let whole = [
        part(Data::Text, false),
        Message::Ping(vec![7; 100].into()),
        part(Data::Continue, true),
    ];
    for frame in whole {
        raw.send(frame).await.unwrap();
    }
    assert_eq!(
        soon(far.recv()).await.unwrap(),
        Received::Text(text(60_000).into())
    );
    assert!(matches!(
        soon(raw.next()).await.unwrap().unwrap(),
        Message::Pong(_)
    ));
    raw.send(part(Data::Text, false)).await.unwrap();
    raw.send(part(Data::Continue, false)).await.unwrap();
    raw.send(part(Data::Continue, false)).await.unwrap();
    cut(&mut far, &mut raw).await;
}

#[tokio::test]
async fn the_limit_also_holds_over_tls_and_towards_those_we_dialed() {
    let mut site = site().await;
    let security = tls::security(2, tls::id(SERVER));
    let mut near = tls::dial_as(&site, &security).await.unwrap();
    let mut far = site.next().await.socket;
    let bytes = STRANGER_MESSAGE_MAX_BYTES + 1;
    far.trusted();
    let (sent, got) = tokio::join!(near.send(text(bytes)), soon(far.recv()));
    sent.unwrap();
    assert_eq!(got.unwrap(), Received::Text(text(bytes).into()));
    far.send(text(bytes)).await.unwrap();
    let got = soon(near.recv()).await;
    assert!(
        matches!(got, Err(SocketError::FarTooLarge { .. })),
        "{got:?}"
    );
    assert!(matches!(
        soon(far.recv()).await.unwrap(),
        Received::Closed {
            code: Some(1009),
            ..
        }
    ));
}

/// A link over a pipe: the side under test and the raw side, in their roles.
async fn over_pipe() -> (Socket, WebSocketStream<tokio::io::DuplexStream>) {
    let (near, far) = tokio::io::duplex(1 << 22);
    let never = CancellationToken::new();
    let far = Socket::new(Box::new(far), Role::Server, Protection::PLAIN, &never, None);
    let raw = WebSocketStream::from_raw_socket(near, Role::Client, None);
    (far.await, raw.await)
}

#[tokio::test]
async fn a_large_message_right_behind_the_proof_is_read_once_trust_is_given() {
    // Of every length, so that the border falls on each byte of the large message's head.
    for padding in 0..16 {
        let (mut far, mut raw) = over_pipe().await;
        // Both wait in the pipe before the first is read.
        let proof = text(16_384 - 16 + padding);
        raw.feed(Message::text(proof.clone())).await.unwrap();
        raw.feed(Message::text(text(200_000))).await.unwrap();
        raw.send(Message::text("and on")).await.unwrap();
        let got = soon(far.recv()).await.unwrap();
        assert_eq!(got, Received::Text(proof.into()));
        far.trusted();
        let got = soon(far.recv()).await.unwrap();
        assert_eq!(got, Received::Text(text(200_000).into()), "{padding}");
        let got = soon(far.recv()).await.unwrap();
        assert_eq!(got, Received::Text("and on".into()));
    }
}
