//! A link spoken by hand: the real handshake and then whatever a peer cares to say.

use std::time::Duration;

use clawmesh::adapters::transport::{
    Incoming, Protection, Received, Socket, SocketReader, SocketWriter,
};
use clawmesh::domain::base::{MeshId, TimeMs};
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::wire::handshake::{Hello, Introduction};
use clawmesh::domain::wire::{Message, Reply};
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use crate::network::{self, Net};
use crate::world::{MESH, VALVE};

/// How long anything of the handshake, or a write, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who speaks, and how.
pub struct Speaker {
    pub key: DeviceKey,
    /// Its host.
    pub at: usize,
    /// Whether it speaks gen-1: in the clear and without features.
    pub gen1: bool,
    pub net: Net,
}

/// One end of a link.
pub struct Line {
    /// The node at the other end.
    pub peer: usize,
    pub reader: SocketReader,
    pub writer: SocketWriter,
}

impl Speaker {
    /// The time by a right clock.
    pub fn now(&self) -> TimeMs {
        TimeMs(network::BEGINNING_MS + self.net.trace.now_ms())
    }

    fn hello(&self, nonce: &str, client_nonce: Option<&str>) -> Map<String, Value> {
        let introduction = Introduction {
            display_name: format!("x{}", self.at),
            // The claim on a valve counts for nothing without the grant for it.
            capabilities: vec!["channel:clawmesh".into(), VALVE.into()],
            mesh_id: MeshId::of_name(MESH),
            role: "field".into(),
        };
        let mut hello = introduction.sign(&self.key, nonce, client_nonce, self.now(), None);
        if self.gen1 {
            hello.remove("features");
        }
        hello
    }

    /// Reaches a node and says hello.
    pub async fn dial(&self, to: usize) -> Option<Line> {
        tokio::time::timeout(PATIENCE, self.reach(to)).await.ok()?
    }

    async fn reach(&self, to: usize) -> Option<Line> {
        let (near, host, far) = self.net.connect(self.at, to).await.ok()?;
        let proven = (!self.gen1).then(|| self.key.id().clone());
        let (ours, theirs) = match proven {
            Some(_) => (
                Protection::tls(Some(host.device.clone())),
                Protection::tls(proven),
            ),
            None => (Protection::PLAIN, Protection::PLAIN),
        };
        network::accept(&host, Box::new(far), self.at, theirs).await;
        let cut = CancellationToken::new();
        let socket = Socket::new(Box::new(near), Role::Client, ours, &cut, None).await;
        let (mut reader, mut writer) = socket.split();
        say(
            &mut writer,
            Message::request("1", "mesh.challenge", &json!({})),
        )
        .await?;
        let nonce = answer(&mut reader, "1").await?;
        let hello = self.hello(nonce.get("nonce")?.as_str()?, Some("own-nonce"));
        say(
            &mut writer,
            Message::request("2", "mesh.connect", &Value::Object(hello)),
        )
        .await?;
        let reply = answer(&mut reader, "2").await?;
        Hello::parse(reply.as_object()?, false).ok()?;
        reader.trusted();
        Some(Line {
            peer: to,
            reader,
            writer,
        })
    }

    /// Passes the handshake of a node that dials on to the node `to`, in its name; who that is, where it
    /// was believed.
    pub async fn relay(&self, incoming: Incoming, to: usize, plain: bool) -> Option<usize> {
        let from = network::host_of(incoming.remote);
        if from == to {
            return None;
        }
        let relaying = async {
            let (near, host, far) = self.net.connect(self.at, to).await.ok()?;
            let (ours, theirs) = match plain {
                true => (Protection::PLAIN, Protection::PLAIN),
                false => (
                    Protection::tls(Some(host.device.clone())),
                    Protection::tls(Some(self.key.id().clone())),
                ),
            };
            network::accept(&host, Box::new(far), self.at, theirs).await;
            let cut = CancellationToken::new();
            let socket = Socket::new(Box::new(near), Role::Client, ours, &cut, None).await;
            let (mut there, mut to_there) = socket.split();
            let ask = Message::request("1", "mesh.challenge", &json!({}));
            say(&mut to_there, ask).await?;
            let nonce = answer(&mut there, "1").await?;
            let (mut here, mut to_here) = incoming.socket.split();
            loop {
                let Ok(Received::Text(text)) = here.recv().await else {
                    return None;
                };
                let Ok(Message::Request { id, method, params }) = Message::parse(&text) else {
                    continue;
                };
                if method == "mesh.challenge" {
                    say(&mut to_here, Reply::Ok(nonce.clone()).to_text(&id)).await?;
                } else if method == "mesh.connect" {
                    let hello = Message::request("2", "mesh.connect", &Value::Object(params));
                    say(&mut to_there, hello).await?;
                    return answer(&mut there, "2").await.map(|_| from);
                }
            }
        };
        tokio::time::timeout(PATIENCE, relaying).await.ok()?
    }

    /// Takes a link that a node has dialed.
    pub async fn welcome(&self, incoming: Incoming) -> Option<Line> {
        let peer = network::host_of(incoming.remote);
        let slot = incoming.slot;
        let (mut reader, mut writer) = incoming.socket.split();
        let greeting = async {
            loop {
                let Ok(Received::Text(text)) = reader.recv().await else {
                    return None;
                };
                let Ok(Message::Request { id, method, params }) = Message::parse(&text) else {
                    continue;
                };
                if method == "mesh.challenge" {
                    let reply = Reply::Ok(json!({"nonce": "server-nonce"}));
                    say(&mut writer, reply.to_text(&id)).await?;
                } else if method == "mesh.connect" {
                    let hello = Hello::parse(&params, true).ok()?;
                    let own = self.hello(hello.client_nonce.as_deref()?, None);
                    say(&mut writer, Reply::Ok(Value::Object(own)).to_text(&id)).await?;
                    return Some(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, greeting).await.ok()??;
        slot.promote();
        reader.trusted();
        Some(Line {
            peer,
            reader,
            writer,
        })
    }
}

/// Says one message; `None` if the other side is gone or does not take it.
pub async fn say(writer: &mut SocketWriter, text: String) -> Option<()> {
    let saying = async {
        writer.feed(text).await?;
        writer.flush().await
    };
    tokio::time::timeout(PATIENCE, saying).await.ok()?.ok()
}

async fn answer(reader: &mut SocketReader, wanted: &str) -> Option<Value> {
    loop {
        let Ok(Received::Text(text)) = reader.recv().await else {
            return None;
        };
        if let Ok(Message::Response { id, result }) = Message::parse(&text)
            && id == wanted
        {
            return result.ok();
        }
    }
}
