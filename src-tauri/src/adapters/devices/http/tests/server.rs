//! A device over HTTP that does what a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The device's answer to a request.
pub(super) enum Does {
    /// Answers with this status and body.
    Says(u16, String),
    /// Writes these bytes.
    Writes(Vec<u8>),
    /// Reads the request and never answers.
    Hangs,
}

/// A request, as it came.
#[derive(Debug, Clone)]
pub(super) struct Came {
    /// Method, path and body.
    pub line: String,
    /// The head of it, in small letters but for values.
    pub head: String,
}

pub(super) struct Server {
    pub url: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Server {
    /// One for which `does` decides. It ends with the test's process.
    pub(super) fn start(does: impl Fn(&str) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let (kept, does) = (came.clone(), Arc::new(does));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (kept, does) = (kept.clone(), does.clone());
                std::thread::spawn(move || serve(&socket, &kept, &*does));
            }
        });
        Self { url, came }
    }

    /// The requests so far.
    pub(super) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Method, path and body of each request so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.came().into_iter().map(|came| came.line).collect()
    }
}

fn serve(socket: &TcpStream, came: &Mutex<Vec<Came>>, does: &dyn Fn(&str) -> Does) {
    let mut reader = BufReader::new(socket);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(1..) if line.trim().is_empty() => break,
            Ok(1..) => head.push_str(&line),
            // A connection without a request.
            _ => return,
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let first = head.lines().next().unwrap_or_default();
    let first = first.trim_end_matches(" HTTP/1.1");
    let line = format!("{first} {}", String::from_utf8_lossy(&body));
    let line = line.trim_end().to_owned();
    let done = does(&line);
    came.lock().unwrap().push(Came { line, head });
    let bytes = match done {
        Does::Says(status, body) => format!(
            "HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
        Does::Writes(bytes) => bytes,
        Does::Hangs => {
            // Until the other side has gone.
            let _ = reader.read_to_end(&mut Vec::new());
            return;
        }
    };
    let mut out = socket;
    // Who asked may have gone.
    let _ = out.write_all(&bytes);
}
