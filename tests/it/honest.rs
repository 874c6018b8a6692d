//! The command line against a node that lies and against programs that take a node's place: what is
//! printed and signed is the executor's record, and nobody but the node is shown anything secret.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::process::*;

/// Something that answers on the socket of a state directory as a node would, with what it was told.
struct Impostor {
    /// Method, path and body of everything it was asked.
    heard: Arc<Mutex<Vec<(String, String, String)>>>,
    /// What it says about the proposal, one answer after the other; the last one stays.
    answers: Arc<Mutex<Vec<Value>>>,
}

impl Impostor {
    fn at(place: &Place, answers: Vec<Value>) -> Self {
        let socket = place.state().join("node.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let run = json!({"pid": 1, "port": 9, "socket": socket});
        std::fs::write(place.state().join("run.json"), run.to_string()).unwrap();
        let made = Self {
            heard: Arc::default(),
            answers: Arc::new(Mutex::new(answers)),
        };
        let (heard, answers) = (made.heard.clone(), made.answers.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if reader.read_line(&mut head).unwrap() == 0 {
                        break;
                    }
                }
                let mut words = head.split(' ').map(str::to_owned);
                let (Some(method), Some(path)) = (words.next(), words.next()) else {
                    continue;
                };
                let long = head.lines().find_map(|l| {
                    l.to_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                });
                let mut body = vec![0; long.unwrap_or(0)];
                reader.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                let answer = match method.as_str() {
                    "GET" => {
                        let mut all = answers.lock().unwrap();
                        match all.len() {
                            1 => all[0].clone(),
                            _ => all.remove(0),
                        }
                    }
                    _ => json!({"id": path.split('/').nth(5), "status": "executing", "level": "L2",
                        "approvals": 1, "required": 1, "detail": "as you wish", "repeated": false}),
                };
                heard.lock().unwrap().push((method, path, head + &body));
                let text = answer.to_string();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                    text.len()
                );
            }
        });
        made
    }

    fn says(&self, answers: Vec<Value>) {
        *self.answers.lock().unwrap() = answers;
        self.heard.lock().unwrap().clear();
    }

    fn asked(&self, method: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let of = heard.iter().filter(|(m, ..)| m == method);
        of.map(|(_, _, all)| all.clone()).collect()
    }
}

/// A state directory whose node has ended, with the records of two of its proposals as it told them.
fn two_records(place: &Place) -> [(String, Value); 2] {
    place.enrolled();
    let node = place.field(&[]);
    let records = [3, 7].map(|seconds| {
        let id = place.propose(seconds);
        let record = place.json(&["show", &id]);
        (id, record)
    });
    assert_eq!(node.stop(), 0);
    records
}

#[test]
fn a_node_that_lies_is_not_believed_and_nothing_is_signed() {
    let place = Place::new();
    let [(id, honest), (other, otherwise)] = two_records(&place);
    assert_eq!(honest["verification"]["executor"], "own", "{honest}");
    let mut lying = honest.clone();
    lying["proposal"]["target"] = "actuator:mock:harmless".into();
    lying["proposal"]["params"]["durationSec"] = 1.into();
    lying["proposal"]["level"] = "L1".into();
    lying["proposal"]["reason"] = "nothing\u{1b}[2J to see".into();
    lying["proposal"]["evidence"] = json!([]);
    let node = Impostor::at(&place, vec![lying.clone()]);
    let shown = place.run(&["show", &id]);
    assert_eq!(shown.code, 0, "{shown:?}");
    for word in [
        VALVE,
        "durationSec=3",
        "L2:",
        "moisture",
        "otherwise than its executor",
    ] {
        assert!(shown.out.contains(word), "{word:?} is missing: {shown:?}");
    }
    for lie in ["harmless", "durationSec=1)", "to see"] {
        assert!(!shown.out.contains(lie), "{lie:?} is shown: {shown:?}");
    }
    let told = place.json(&["show", &id]);
    assert_eq!(told["proposal"]["target"], VALVE);
    assert_eq!(told["proposal"]["params"]["durationSec"], 3);
    assert_eq!(told["proposal"]["level"], "L2");
    let differs = told["verification"]["differsFromNode"].to_string();
    assert!(
        differs.contains("target") && differs.contains("params"),
        "{told}"
    );
    let said = place.run(&["approve", &id]);
    said.fails(
        1,
        &[
            "other content than the executor signed",
            "target",
            "nothing was signed",
        ],
    );

    // An altered record, and the record of another proposal.
    let mut altered = honest.clone();
    let text = honest["record"]
        .as_str()
        .unwrap()
        .replace("durationSec\":3", "durationSec\":9");
    assert_ne!(text, honest["record"].as_str().unwrap());
    altered["record"] = text.into();
    node.says(vec![altered]);
    place
        .run(&["approve", &id])
        .fails(1, &["not signed by its executor"]);
    place
        .run(&["show", &id])
        .fails(1, &["not signed by its executor"]);
    node.says(vec![otherwise]);
    let said = place.run(&["reject", &id]);
    said.fails(1, &["the node answered with another proposal", &other]);

    // A record of an executor that nobody here knows.
    let foreign = Place::new();
    let [(strange, record), _] = two_records(&foreign);
    node.says(vec![record]);
    let shown = place.run(&["show", &strange]);
    assert!(shown.out.contains("not verified here"), "{shown:?}");
    let said = place.run(&["approve", &strange]);
    said.fails(1, &["not verified here", "nothing was signed"]);
    assert_eq!(node.asked("POST"), Vec::<String>::new());
}

#[test]
fn what_is_signed_is_what_was_printed_and_only_with_the_persons_word() {
    let place = Place::new();
    let [(id, honest), (_, otherwise)] = two_records(&place);
    let digest = honest["proposal"]["digest"].as_str().unwrap().to_owned();
    let node = Impostor::at(&place, vec![honest.clone()]);
    let typed = |args: &[&str]| place.as_typed(&place.state(), args);
    let unasked = typed(&["approve", &id]);
    unasked.fails(
        2,
        &["nothing was signed", "no terminal", "--digest", "--yes"],
    );
    assert!(
        unasked.out.contains(VALVE),
        "it prints what it asks about: {unasked:?}"
    );
    typed(&["approve", &id, "--digest", "1234"]).fails(2, &["8 to 64 hex digits"]);
    let wrong = if digest.starts_with('0') { "1" } else { "0" };
    let wrong = format!("{wrong}{}", &digest[1..12]);
    let said = typed(&["reject", &id, "--digest", &wrong]);
    said.fails(1, &["the digest of this record is", "nothing was signed"]);
    assert_eq!(node.asked("POST"), Vec::<String>::new());

    // The node changes its mind after the first look: it is not looked at again.
    node.says(vec![honest, otherwise]);
    let said = typed(&["approve", &id, "--digest", &digest[..8].to_uppercase()]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&digest), "{said:?}");
    let sent = node.asked("POST");
    assert_eq!((node.asked("GET").len(), sent.len()), (1, 1), "{sent:?}");
    assert!(sent[0].contains(&digest), "{sent:?}");
    assert!(
        !sent[0].to_lowercase().contains("authorization"),
        "{sent:?}"
    );
}

/// Listens on a port and keeps everything that anybody sends there.
fn eavesdropper(port: u16) -> Arc<Mutex<Vec<u8>>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let keep = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0; 8_192];
            let n = stream.read(&mut first).unwrap_or(0);
            keep.lock().unwrap().extend_from_slice(&first[..n]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    heard
}

fn tokens(place: &Place) -> Vec<String> {
    let text = std::fs::read_to_string(place.state().join("tokens.json")).unwrap();
    let tokens: Value = serde_json::from_str(&text).unwrap();
    ["read", "operate", "admin"]
        .map(|s| tokens[s].as_str().unwrap().to_owned())
        .to_vec()
}

#[test]
fn whoever_takes_the_port_of_a_killed_node_never_sees_a_token() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let (port, tokens) = (node.port(), tokens(&place));
    node.kill();
    let heard = eavesdropper(port);
    place.run(&["status"]).fails(4, &["no node runs"]);
    place.run(&["approve", "abcd"]).fails(4, &["no node runs"]);
    assert_eq!(
        place.run(&["trust", "list"]).code,
        0,
        "works without a node"
    );
    assert!(heard.lock().unwrap().is_empty());

    // The note of a node without a socket, while another program holds the directory.
    let run = json!({"pid": 1, "port": port, "host": "127.0.0.1"});
    std::fs::write(place.state().join("run.json"), run.to_string()).unwrap();
    let lock = std::fs::File::open(place.state().join("lock")).unwrap();
    lock.try_lock().unwrap();
    place
        .run(&["status"])
        .fails(4, &["no TLS with the other side"]);
    place
        .run(&["console", "--scope", "admin"])
        .fails(4, &["no TLS"]);
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0], 0x16, "the start of a TLS handshake");
    let heard = String::from_utf8_lossy(&heard);
    for token in &tokens {
        assert!(!heard.contains(token.as_str()));
    }
    assert!(!heard.contains("HTTP"), "{heard}");
}

#[test]
fn tokens_are_new_at_every_start_and_the_note_goes_before_the_port() {
    let place = Place::new();
    let node = place.field(&[]);
    let before = tokens(&place);
    let status = "/api/operator/v1/status";
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    assert_eq!(node.http("GET", status, &[&bearer(&before[2])]).0, 200);
    let (address, note) = (node.address, place.state().join("run.json"));
    let gone = std::thread::spawn(move || {
        eventually("the port is closed", || TcpStream::connect(address).err());
        note.exists()
    });
    assert_eq!(node.stop(), 0);
    assert!(!gone.join().unwrap(), "the note outlived the port");
    assert!(!place.state().join("node.sock").exists());
    let node = place.field(&[]);
    let after = tokens(&place);
    assert!(before.iter().all(|t| !after.contains(t)));
    assert_eq!(node.http("GET", status, &[&bearer(&before[2])]).0, 401);
    assert_eq!(node.http("GET", status, &[&bearer(&after[0])]).0, 200);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_directory_with_too_long_a_path_for_a_socket_works_by_the_port_after_a_proof() {
    let place = Place::new();
    let deep: PathBuf = place.state().join("d".repeat(60)).join("e".repeat(60));
    let said = place.run_at(&deep, &["operator", "init", "--name", "ada"]);
    assert_eq!(said.code, 0, "{said:?}");
    let node = place.start_at(
        &deep,
        &["--mock-sensor", "--mock-actuator", "--role", "field"],
    );
    let run = std::fs::read_to_string(deep.join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    assert!(run["socket"].is_null(), "{run}");
    let status = place.run_at(&deep, &["status", "--json"]).json();
    assert_eq!(status["port"], node.port());
    let link = place
        .run_at(&deep, &["console", "--scope", "admin", "--json"])
        .json();
    assert_eq!(link["scope"], "admin");
    // The same directory with the identity of another device: nobody is told anything.
    let identity = deep.join("identity.json");
    let own = std::fs::read_to_string(&identity).unwrap();
    let other = Place::new();
    other.device();
    std::fs::copy(other.state().join("identity.json"), &identity).unwrap();
    let said = place.run_at(&deep, &["status"]);
    said.fails(4, &["answered where", "was expected"]);
    std::fs::write(&identity, own).unwrap();
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_name_that_hides_something_is_written_out() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    place.propose(3);
    let cite = place.json(&["world", "--metric", "moisture"])[0]["frameId"].clone();
    let reason = "dry\u{202e}; safe\n\u{1b}[2Jexpires: never";
    let draft = place.json(&[
        "propose",
        VALVE,
        "open",
        "durationSec=4",
        "--reason",
        reason,
        "--cite",
        cite.as_str().unwrap(),
    ]);
    let id = draft["proposalId"].as_str().unwrap();
    let shown = place.run(&["show", id]).out;
    assert!(
        shown.contains("dry\\u{202e}; safe\\n\\u{1b}[2Jexpires: never"),
        "{shown}"
    );
    assert_eq!(node.stop(), 0);
}
