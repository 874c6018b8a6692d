//! Agents and clients of claw-mesh at a real node: an agent joins, answers, is found again after a restart, and dies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::process::{Place, eventually};

/// What an agent is like now.
#[derive(Default)]
struct Inside {
    token: String,
    /// It takes a message and breaks the connection.
    breaks: bool,
    gone: bool,
    had: Vec<String>,
    wrong: Vec<String>,
}

/// An agent as strict as the one of claw-mesh.
#[derive(Clone)]
struct Agent {
    inside: Arc<Mutex<Inside>>,
    at: SocketAddr,
}

impl Agent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let agent = Self {
            inside: Arc::default(),
            at: listener.local_addr().unwrap(),
        };
        let serving = agent.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if serving.now().gone {
                    return;
                }
                // Whoever asked may have left.
                let _ = serving.serve(socket.unwrap());
            }
        });
        agent
    }

    fn now(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// From here on nobody takes connections at its address.
    fn ends(&self) {
        self.now().gone = true;
        drop(TcpStream::connect(self.at));
    }

    fn serve(&self, mut socket: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(socket.try_clone()?);
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
                length = bytes.parse().unwrap();
            }
            head.push(line);
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        let Some(first) = head.first() else {
            return Ok(());
        };
        let answer = if first.starts_with("GET /healthz ") {
            json!({"status": "ok"})
        } else {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let mut now = self.now();
            let known = ["id", "content", "source", "target_node", "created_at"];
            let keys = asked.as_object().unwrap().keys();
            let strange = keys.filter(|key| !known.contains(&key.as_str()));
            now.wrong.extend(strange.cloned().collect::<Vec<_>>());
            let bearer = format!("authorization: bearer {}", now.token);
            if !head.iter().any(|line| line.to_lowercase() == bearer) {
                now.wrong.push("not its token".to_owned());
            }
            let content = asked["content"].as_str().unwrap().to_owned();
            now.had.push(content.clone());
            if now.breaks {
                return Ok(());
            }
            json!({"message_id": asked["id"], "node_id": "", "response": format!("echo: {content}\u{1b}[31m")})
        };
        let body = answer.to_string();
        write!(
            socket,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// Where the coordinator of the node that was started last listens.
fn port(place: &Place, starts: usize) -> SocketAddr {
    eventually("the coordinator listens", || {
        let log = place.log();
        let mut at = log.lines().filter_map(|line| {
            let (_, at) = line.split_once("the claw-mesh coordinator listens on ")?;
            at.split_whitespace().next()?.parse().ok()
        });
        at.nth(starts - 1)
    })
}

struct Client {
    at: SocketAddr,
    token: String,
}

impl Client {
    fn asks(&self, what: &str, body: Option<Value>) -> (u16, Value) {
        self.asks_with(
            what,
            &format!("authorization: Bearer {}\r\n", self.token),
            body,
        )
    }

    fn asks_with(&self, what: &str, headers: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut socket = TcpStream::connect(self.at).unwrap();
        write!(
            socket,
            "{what} HTTP/1.1\r\nhost: {}\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.at,
            body.len()
        )
        .unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let code = text.split(' ').nth(1).unwrap().parse().unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        (code, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn status(&self, id: &str) -> String {
        let (code, node) = self.asks(&format!("GET /api/v1/nodes/{id}"), None);
        assert_eq!(code, 200, "{node}");
        node["status"].as_str().unwrap().to_owned()
    }
}

fn error(why: &str) -> Value {
    json!({"error": why})
}

#[test]
fn an_agent_of_claw_mesh_joins_answers_is_known_after_a_kill_and_is_not_asked_twice() {
    let place = Place::new();
    place.write("config.toml", "[coordinator]\nallow_private = true\n");
    let token = || place.run(&["coordinator", "token"]).out.trim().to_owned();
    let start = || place.start(&["--coordinator", "127.0.0.1:0"]);
    let node = start();
    let mut client = Client {
        at: port(&place, 1),
        token: token(),
    };
    let agent = Agent::start();
    let joining = json!({"name": "box", "endpoint": agent.at.to_string(), "capabilities": {"os": "linux", "gpu": true}});
    let register = "POST /api/v1/nodes/register";
    let (code, said) = client.asks_with(register, "", Some(joining.clone()));
    assert_eq!(
        (code, said),
        (401, error("missing or invalid authorization header"))
    );
    let wrong = "authorization: Bearer x\r\n";
    let (code, said) = client.asks_with(register, wrong, Some(joining.clone()));
    assert_eq!((code, said), (401, error("invalid token")));
    let mut strange = joining.clone();
    strange["more"] = json!(1);
    let (code, said) = client.asks(register, Some(strange));
    assert_eq!((code, said), (400, error("invalid request body")));
    let (code, said) = client.asks(register, Some(joining));
    assert_eq!(code, 201, "{said}");
    let id = said["node_id"].as_str().unwrap().to_owned();
    let own = said["token"].as_str().unwrap().to_owned();
    agent.now().token.clone_from(&own);
    let page = format!(
        "authorization: Bearer {}\r\norigin: http://evil.example\r\n",
        client.token
    );
    assert_eq!(client.asks_with("GET /api/v1/nodes", &page, None).0, 403);

    let hello = |content: &str| Some(json!({"content": content, "source": "cli"}));
    let (code, said) = client.asks("POST /api/v1/route", hello("hello"));
    assert_eq!(code, 200, "{said}");
    assert_eq!(
        (&said["node_id"], &said["response"]),
        (&json!(id), &json!("echo: hello[31m"))
    );
    // The agent's token is good for the agent alone.
    let of_agent = format!("authorization: Bearer {own}\r\n");
    let beat = format!("POST /api/v1/nodes/{id}/heartbeat");
    let online = Some(json!({"status": "online"}));
    assert_eq!(client.asks_with(&beat, &of_agent, online.clone()).0, 204);
    let other = "POST /api/v1/nodes/node-0/heartbeat";
    assert_eq!(client.asks_with(other, &of_agent, online).0, 403);
    assert_eq!(
        client
            .asks_with("POST /api/v1/route", &of_agent, hello("x"))
            .0,
        403
    );

    // Killed, the node knows it without being told again.
    node.kill();
    let node = start();
    client.at = port(&place, 2);
    eventually("the agent is online again", || {
        (client.status(&id) == "online").then_some(())
    });
    let (code, said) = client.asks(&format!("POST /api/v1/route/{id}"), hello("again"));
    assert_eq!(
        (code, &said["response"]),
        (200, &json!("echo: again[31m")),
        "{said}"
    );

    // What it may have acted on is not sent a second time.
    agent.now().breaks = true;
    let (code, said) = client.asks("POST /api/v1/route", hello("open the door"));
    let why = said["error"].as_str().unwrap_or_default();
    assert!(
        code == 502 && why.contains("it is not known what became of"),
        "{code} {said}"
    );
    assert_eq!(agent.now().had, ["hello", "again", "open the door"]);
    agent.ends();
    eventually("the agent is offline", || {
        (client.status(&id) == "offline").then_some(())
    });
    let (code, said) = client.asks("POST /api/v1/route", hello("anybody?"));
    assert_eq!((code, said), (503, error("no online nodes available")));
    assert_eq!(agent.now().wrong, Vec::<String>::new());

    let rotated = place.run(&["coordinator", "token", "--rotate"]).out;
    assert_eq!(client.asks("GET /api/v1/nodes", None).0, 401);
    client.token = rotated.trim().to_owned();
    assert_eq!(client.asks("GET /api/v1/nodes", None).0, 200);
    assert_eq!(
        client.asks(&format!("DELETE /api/v1/nodes/{id}"), None).0,
        204
    );
    assert_eq!(client.asks("GET /api/v1/nodes", None).1, json!([]));
    assert_eq!(node.stop(), 0);
}
