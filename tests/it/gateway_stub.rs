//! An OpenClaw gateway for tests, as strict as the real one where a client could go wrong: closed lists of keys and names, a nonce that
//! is signed, tokens, pairing, scopes, questions that run once a key. It is down, booting or another one when a test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_async};

pub const TOKEN: &str = "gw-secret-5f2a";
const NONCE: &str = "c82b4b65-e3c1-4180-a2bb-5971ee5c891c";
const AT: u64 = 1_796_105_152_459;
/// The names that a client may have.
const CLIENTS: [&str; 5] = [
    "cli",
    "gateway-client",
    "node-host",
    "openclaw-tui",
    "webchat",
];

/// What it is like now.
pub struct Inside {
    pub token: String,
    pub device: String,
    pub protocol: u64,
    /// Its port takes connections and drops them.
    pub down: bool,
    /// How many connections are refused because it boots.
    pub boots: u64,
    /// Whether devices have to be let in by a person.
    pub pairs: bool,
    pub paired: BTreeSet<String>,
    /// Runs do not end until it is told otherwise.
    pub holds: bool,
    /// The answer to questions; a word is one piece.
    pub says: String,
    /// What it ran: key, session, text.
    pub ran: Vec<(String, String, String)>,
    /// What the client did wrong.
    pub wrong: Vec<String>,
    /// How clients were let in.
    pub let_in: Vec<String>,
    pub aborted: Vec<String>,
    /// How often it was asked, also what it had run before.
    pub asked: u64,
    /// How often it was started.
    pub starts: u64,
    /// How long it works on an answer.
    pub works: Duration,
    done: BTreeMap<String, String>,
    going: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Gateway {
    inside: Arc<Mutex<Inside>>,
    again: Arc<watch::Sender<u64>>,
    /// What every client hears of runs.
    told: broadcast::Sender<Value>,
    pub address: SocketAddr,
}

type Socket = WebSocketStream<TcpStream>;

impl Gateway {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inside = Inside {
            token: TOKEN.to_owned(),
            device: "6d".repeat(32),
            protocol: 4,
            down: false,
            boots: 0,
            pairs: false,
            paired: BTreeSet::new(),
            holds: false,
            says: "the shed is warm".to_owned(),
            ran: Vec::new(),
            wrong: Vec::new(),
            let_in: Vec::new(),
            aborted: Vec::new(),
            asked: 0,
            starts: 1,
            works: Duration::ZERO,
            done: BTreeMap::new(),
            going: BTreeSet::new(),
        };
        let own = Self {
            inside: Arc::new(Mutex::new(inside)),
            again: Arc::new(watch::channel(0).0),
            told: broadcast::channel(1_024).0,
            address: listener.local_addr().unwrap(),
        };
        let serving = own.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                if !serving.now().down {
                    let (one, ends) = (serving.clone(), serving.again.subscribe());
                    tokio::spawn(async move { one.serve(socket, ends).await });
                }
            }
        });
        own
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub fn now(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// Ends every connection as a network does; what runs goes on.
    pub fn cuts(&self) {
        self.again.send_modify(|n| *n += 1);
    }

    /// Ends every connection as a restart does; what ran before is forgotten.
    pub fn restarts(&self) {
        {
            let mut now = self.now();
            now.starts += 1;
            now.done.clear();
            now.going.clear();
        }
        self.again.send_modify(|n| *n += 1);
    }

    async fn serve(&self, socket: TcpStream, mut ends: watch::Receiver<u64>) {
        let Ok(mut socket) = accept_async(socket).await else {
            return;
        };
        let challenge = json!({"nonce": NONCE, "ts": AT, "capabilities": []});
        event(&mut socket, "connect.challenge", challenge).await;
        let mut entered = false;
        let mut told = self.told.subscribe();
        loop {
            let message = tokio::select! {
                Ok(run) = told.recv(), if entered => {
                    event(&mut socket, "chat", run).await;
                    continue;
                }
                _ = ends.changed() => {
                    event(&mut socket, "shutdown", json!({"reason": "restart"})).await;
                    close(&mut socket, 1012, "service restart").await;
                    return;
                }
                message = socket.next() => message,
            };
            let Some(Ok(Message::Text(text))) = message else {
                return;
            };
            let asked: Value = serde_json::from_str(&text).unwrap();
            let (id, method) = (asked["id"].clone(), asked["method"].as_str().unwrap());
            assert_eq!(asked["type"], "req", "{asked}");
            let answer = match (entered, method) {
                (false, "connect") => self.enters(&asked["params"]),
                (false, _) => {
                    self.now().wrong.push(format!("{method} before connect"));
                    close(&mut socket, 1008, "connect first").await;
                    return;
                }
                (true, "chat.send") => self.sends(&asked["params"]),
                (true, method) => self.answers(method, &asked["params"]),
            };
            let refused = answer.is_err();
            let answer = match answer {
                Ok(payload) => json!({"type": "res", "id": id, "ok": true, "payload": payload}),
                Err(error) => json!({"type": "res", "id": id, "ok": false, "error": error}),
            };
            say(&mut socket, &answer).await;
            if method == "connect" {
                entered = !refused;
                if refused {
                    close(&mut socket, 1008, "refused").await;
                    return;
                }
            }
            if method == "chat.send" && !refused {
                // As the real one does for some methods: a second answer under the same id.
                say(&mut socket, &answer).await;
                if answer["payload"]["status"] == "started" {
                    let (own, params) = (self.clone(), asked["params"].clone());
                    tokio::spawn(async move { own.runs(&params).await });
                }
            }
        }
    }

    fn enters(&self, params: &Value) -> Result<Value, Value> {
        let mut now = self.now();
        if now.boots > 0 {
            now.boots -= 1;
            let mut error = error("UNAVAILABLE", "the gateway starts", "STARTING");
            error["retryAfterMs"] = json!(100);
            return Err(error);
        }
        let id = match checked(params) {
            Ok(id) => id,
            Err(what) => {
                now.wrong.push(format!("{what}: {params}"));
                return Err(error("INVALID_REQUEST", &what, "INVALID"));
            }
        };
        let auth = &params["auth"];
        let given = auth["deviceToken"].as_str().or(auth["token"].as_str());
        let given = given.unwrap_or_default();
        let (least, most) = (
            params["minProtocol"].as_u64().unwrap(),
            params["maxProtocol"].as_u64().unwrap(),
        );
        if !(least..=most).contains(&now.protocol) {
            let mut error = error("INVALID_REQUEST", "protocol mismatch", "PROTOCOL_MISMATCH");
            error["details"]["expectedProtocol"] = json!(now.protocol);
            return Err(error);
        }
        let own = format!("device-token-{}", &id[..8]);
        let how = match given {
            "" => {
                return Err(error(
                    "INVALID_REQUEST",
                    "token missing",
                    "AUTH_TOKEN_MISSING",
                ));
            }
            given if auth["deviceToken"].is_string() && given == own => "device-token",
            given if auth["token"].is_string() && given == now.token => "token",
            _ => {
                return Err(error(
                    "INVALID_REQUEST",
                    "token mismatch",
                    "AUTH_TOKEN_MISMATCH",
                ));
            }
        };
        if now.pairs && !now.paired.contains(&id) {
            now.paired.insert(String::from("asks:") + &id);
            let mut error = error("NOT_PAIRED", "pairing required", "PAIRING_REQUIRED");
            error["details"]["requestId"] = json!("req-7c1f");
            return Err(error);
        }
        now.let_in.push(how.to_owned());
        Ok(json!({
            "type": "hello-ok",
            "protocol": now.protocol,
            "server": {"version": "2026.9.6", "connId": "c1", "bootId": format!("b{}", now.starts)},
            "features": {"methods": [], "events": []},
            "snapshot": {"presence": [], "health": {}, "stateVersion": {}, "uptimeMs": 1},
            "auth": {"method": how, "role": "operator", "scopes": ["operator.read", "operator.write"], "deviceToken": own},
            "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000},
        }))
    }

    /// Lets every device in that has asked.
    pub fn approves(&self) {
        let mut now = self.now();
        let asked: Vec<String> = now
            .paired
            .iter()
            .filter_map(|id| id.strip_prefix("asks:"))
            .map(str::to_owned)
            .collect();
        now.paired.extend(asked);
    }

    fn answers(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let mut now = self.now();
        Ok(match method {
            "gateway.identity.get" => json!({"deviceId": now.device, "publicKey": "AAAA"}),
            "health" => json!({"ok": true}),
            "agents.list" => {
                json!({"defaultId": "main", "mainKey": "main", "scope": "per-sender", "agents": [
                    {"id": "main", "name": "Ma\u{202e}in", "model": {"primary": "stub/one"}},
                    {"id": "no name\n"},
                    {"id": "coder"},
                ]})
            }
            "sessions.list" => json!({"count": 1, "totalCount": 7, "sessions": []}),
            "chat.abort" => {
                let run = params["runId"].as_str().unwrap().to_owned();
                now.aborted.push(run);
                json!({"ok": true})
            }
            "chat.history" => {
                let each = now.done.iter().map(|(run, text)| {
                    let content = json!([{"type": "text", "text": text}]);
                    json!({"role": "assistant", "content": content, "__openclaw": {"runId": run}})
                });
                json!({"messages": each.collect::<Vec<_>>()})
            }
            other => {
                now.wrong.push(format!("method {other}"));
                return Err(error("INVALID_REQUEST", "unknown method", "UNKNOWN_METHOD"));
            }
        })
    }

    fn sends(&self, params: &Value) -> Result<Value, Value> {
        let mut now = self.now();
        let text = |name: &str| params[name].as_str().unwrap_or_default().to_owned();
        let (key, session) = (text("idempotencyKey"), text("sessionKey"));
        now.asked += 1;
        if session.starts_with("agent:nobody:") {
            return Err(error(
                "INVALID_REQUEST",
                "Agent \"nobody\" no longer exists",
                "",
            ));
        }
        if now.done.contains_key(&key) {
            return Ok(json!({"runId": key, "status": "ok"}));
        }
        if !now.going.insert(key.clone()) {
            return Ok(json!({"runId": key, "status": "in_flight"}));
        }
        now.ran.push((key.clone(), session, text("message")));
        Ok(json!({"runId": key, "status": "started"}))
    }

    /// Says the answer in pieces, then whole, also where whoever asked has left.
    async fn runs(&self, params: &Value) {
        let key = params["idempotencyKey"].as_str().unwrap();
        let session = &params["sessionKey"];
        let (says, holds, works, starts) = {
            let now = self.now();
            (now.says.clone(), now.holds, now.works, now.starts)
        };
        let tell = |state: &str, more: Value| {
            let mut about = json!({"runId": key, "sessionKey": session, "seq": 1, "state": state});
            let more = more.as_object().unwrap().clone();
            about.as_object_mut().unwrap().extend(more);
            // There may be nobody who hears it.
            let _ = self.told.send(about);
        };
        for piece in says.split_inclusive(' ').take(50) {
            tell("delta", json!({"deltaText": piece}));
        }
        if holds {
            return;
        }
        tokio::time::sleep(works).await;
        self.finishes(key, &says, starts);
        let content = json!([{"type": "text", "text": says}]);
        tell(
            "final",
            json!({"message": {"role": "assistant", "content": content}}),
        );
    }

    fn finishes(&self, key: &str, says: &str, starts: u64) {
        let mut now = self.now();
        if now.starts == starts && now.going.remove(key) {
            now.done.insert(key.to_owned(), says.to_owned());
        }
    }

    /// Ends the runs that it holds; of the answer itself it says nothing more.
    pub fn ends_runs(&self) {
        let (going, says, starts) = {
            let now = self.now();
            (now.going.clone(), now.says.clone(), now.starts)
        };
        for key in going {
            self.finishes(&key, &says, starts);
            // There may be nobody who hears it.
            let _ = self
                .told
                .send(json!({"runId": key, "seq": 2, "state": "final"}));
        }
    }
}

/// The device of a client that says everything as it must, signed.
fn checked(params: &Value) -> Result<String, String> {
    let known = [
        "minProtocol",
        "maxProtocol",
        "client",
        "role",
        "scopes",
        "caps",
        "auth",
        "locale",
        "userAgent",
        "device",
    ];
    if let Some(key) = params
        .as_object()
        .unwrap()
        .keys()
        .find(|key| !known.contains(&key.as_str()))
    {
        return Err(format!("unknown key {key}"));
    }
    let client = &params["client"];
    if !CLIENTS.contains(&client["id"].as_str().unwrap()) || client["mode"] != "backend" {
        return Err("unknown client".to_owned());
    }
    let scopes: Vec<&str> = params["scopes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
        .collect();
    if scopes != ["operator.read", "operator.write"] {
        return Err("other scopes than the least".to_owned());
    }
    let device = &params["device"];
    let public = URL_SAFE_NO_PAD
        .decode(device["publicKey"].as_str().unwrap())
        .unwrap();
    let hash = ring::digest::digest(&ring::digest::SHA256, &public);
    let id: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    if device["id"] != id || device["nonce"] != NONCE || device["signedAt"] != AT {
        return Err("device id, nonce or time".to_owned());
    }
    let auth = &params["auth"];
    let given = auth["deviceToken"]
        .as_str()
        .or(auth["token"].as_str())
        .unwrap_or_default();
    let at = AT.to_string();
    let platform = client["platform"].as_str().unwrap();
    let scopes = scopes.join(",");
    let signed = [
        "v3",
        &id,
        client["id"].as_str().unwrap(),
        "backend",
        "operator",
        &scopes,
        &at,
        given,
        NONCE,
        platform,
        "",
    ];
    let signature = URL_SAFE_NO_PAD
        .decode(device["signature"].as_str().unwrap())
        .unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &public);
    if key.verify(signed.join("|").as_bytes(), &signature).is_err() {
        return Err("the signature".to_owned());
    }
    Ok(id)
}

fn error(code: &str, message: &str, detail: &str) -> Value {
    json!({"code": code, "message": message, "details": {"code": detail}})
}

async fn say(socket: &mut Socket, message: &Value) {
    // The client may have left.
    let _ = socket.send(Message::text(message.to_string())).await;
}

async fn event(socket: &mut Socket, name: &str, payload: Value) {
    say(
        socket,
        &json!({"type": "event", "event": name, "payload": payload}),
    )
    .await;
}

async fn close(socket: &mut Socket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code: CloseCode::from(code),
        reason: reason.into(),
    };
    let _ = socket.close(Some(frame)).await;
}
