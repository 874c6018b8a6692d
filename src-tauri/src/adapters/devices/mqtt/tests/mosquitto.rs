//! A real broker, mosquitto, and a client that speaks to it by hand; for tests of this folder and of whole nodes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unreachable_pub
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// How long a message may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker; killed when dropped.
pub struct Mosquitto {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

fn program() -> Option<&'static str> {
    let all = [
        "/usr/sbin/mosquitto",
        "/usr/local/sbin/mosquitto",
        "/opt/homebrew/sbin/mosquitto",
    ];
    all.into_iter()
        .find(|path| std::path::Path::new(path).exists())
}

/// Whether there is a broker on this machine; says loudly that the test does not run here if not.
pub fn is_here(what: &str) -> bool {
    if program().is_some() {
        return true;
    }
    let line = format!("SKIPPED: {what}: there is no mosquitto on this machine\n");
    eprint!("{line}");
    if let Some(file) = std::env::var_os("CLAWMESH_SKIPPED") {
        let opened = std::fs::OpenOptions::new().append(true).open(file);
        opened.unwrap().write_all(line.as_bytes()).unwrap();
    }
    false
}

impl Mosquitto {
    /// A broker that lets everybody in.
    pub fn start() -> Self {
        Self::with(|_| "allow_anonymous true\n".to_owned())
    }

    /// A broker with these settings of its listener; `settings` may write files into its folder.
    pub fn with(settings: impl Fn(&std::path::Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let more = settings(dir.path());
        loop {
            // Between this and the start another process may take it: then another one is tried.
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let conf = format!("user root\npersistence false\nlistener {port} 127.0.0.1\n{more}");
            std::fs::write(dir.path().join("conf"), conf).unwrap();
            if let Some(child) = run(dir.path()) {
                return Self { dir, port, child };
            }
        }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Kills it at once, as a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        while let Ok(None) = self.child.try_wait() {
            self.kill();
        }
        // The port may be taken for a moment by a connection of a client to itself.
        self.child = (0..1_000)
            .find_map(|_| run(self.dir.path()))
            .expect("the port is free");
    }

    /// Stops its process where it stands, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it until it listens; `None` if it ends before.
fn run(dir: &std::path::Path) -> Option<Child> {
    let mut command = Command::new(program().expect("mosquitto"));
    command.arg("-c").arg(dir.join("conf")).arg("-v");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        said.push_str(&line);
        if line.contains("running") {
            // Read on, so that it never waits for us.
            std::thread::spawn(move || lines.for_each(drop));
            return Some(child);
        }
    }
    child.wait().unwrap();
    assert!(said.contains("Address already in use"), "{said}");
    None
}

/// A message that a probe heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retained: bool,
}

/// A client that publishes and hears at QoS 0.
pub struct Probe {
    socket: TcpStream,
    heard: Receiver<Note>,
    marks: u32,
}

fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut all = vec![head];
    let mut left = body.len();
    loop {
        let seven = u8::try_from(left % 128).unwrap();
        left /= 128;
        all.push(if left > 0 { seven | 0x80 } else { seven });
        if left == 0 {
            break;
        }
    }
    all.extend_from_slice(body);
    all
}

fn text(text: &str) -> Vec<u8> {
    let mut all = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    all.extend_from_slice(text.as_bytes());
    all
}

/// One packet: its first byte and its body.
pub fn read_packet(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    socket.read_exact(&mut byte).ok()?;
    let head = byte[0];
    let (mut length, mut at) = (0, 0);
    loop {
        socket.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << at;
        at += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some((head, body))
}

impl Probe {
    /// Connects and hears these topics.
    pub fn new(broker: &Mosquitto, topics: &[&str]) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (name, mark) = (format!("probe-{port}"), format!("mark/{port}/#"));
        let hello = [&text("MQTT")[..], &[4, 2, 0, 0], &text(&name)].concat();
        socket.write_all(&packet(0x10, &hello)).unwrap();
        let (_, answer) = read_packet(&mut socket).unwrap();
        assert_eq!(answer, [0, 0], "the probe is let in");
        let mut all = vec![0, 1];
        for topic in topics.iter().chain(&[mark.as_str()]) {
            all.extend(text(topic));
            all.push(0);
        }
        socket.write_all(&packet(0x82, &all)).unwrap();
        let (say, heard) = sync_channel(100_000);
        let mut reading = socket.try_clone().unwrap();
        // Retained messages may come before the answer.
        loop {
            let (head, body) = read_packet(&mut reading).unwrap();
            if head == 0x90 {
                break;
            }
            let _ = say.send(note(head, &body));
        }
        std::thread::spawn(move || {
            while let Some((head, body)) = read_packet(&mut reading) {
                if head >> 4 == 3 && say.send(note(head, &body)).is_err() {
                    return;
                }
            }
        });
        Self {
            socket,
            heard,
            marks: 0,
        }
    }

    pub fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) {
        self.send(0x30, topic, payload.as_ref());
    }

    /// Publishes a message that the broker keeps.
    pub fn retain(&mut self, topic: &str, payload: &str) {
        self.send(0x31, topic, payload.as_bytes());
    }

    fn send(&mut self, head: u8, topic: &str, payload: &[u8]) {
        let body = [&text(topic), payload].concat();
        self.socket.write_all(&packet(head, &body)).unwrap();
    }

    /// The next message.
    pub fn next(&self) -> Note {
        self.heard.recv_timeout(PATIENCE).expect("a message")
    }

    /// Every message that has come so far, as `topic payload`.
    pub fn all(&mut self) -> Vec<String> {
        self.marks += 1;
        let port = self.socket.local_addr().unwrap().port();
        let mark = format!("mark/{port}/{}", self.marks);
        self.publish(&mark, "");
        let mut all = Vec::new();
        loop {
            let note = self.next();
            if note.topic == mark {
                return all;
            }
            if !note.topic.starts_with("mark/") {
                let kept = if note.retained { " (retained)" } else { "" };
                let said = String::from_utf8_lossy(&note.payload).into_owned();
                all.push(format!("{} {said}{kept}", note.topic));
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn note(head: u8, body: &[u8]) -> Note {
    assert_eq!(head & 0b110, 0, "a probe hears at QoS 0");
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    Note {
        topic: String::from_utf8(body[2..2 + length].to_vec()).unwrap(),
        payload: body[2 + length..].to_vec(),
        retained: head & 1 != 0,
    }
}
