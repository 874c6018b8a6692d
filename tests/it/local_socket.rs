//! The local socket of a real node: whatever keeps connections open, a stop finds its way in at once.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use clawmesh::domain::base::limits::{EVENT_STREAMS_MAX, LOCAL_WAITING_MAX};

use crate::harness::PATIENCE;
use crate::process::Place;

/// A program that sends this much of a request and reads only what the test reads.
fn knock(place: &Place, sent: &str) -> UnixStream {
    let mut stream = UnixStream::connect(place.state().join("node.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    stream
}

fn asking(method: &str, path: &str, more: &str) -> String {
    format!("{method} /api/operator/v1{path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n")
}

/// Reads on until these words have come.
fn reads(stream: &mut UnixStream, words: &str) -> String {
    let (mut text, mut piece) = (String::new(), [0; 4_096]);
    while !text.contains(words) {
        let got = stream.read(&mut piece).unwrap();
        assert!(got > 0, "it ended without {words:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..got]));
    }
    text
}

#[test]
fn a_stop_passes_streams_half_sent_requests_unread_answers_and_connections_that_say_nothing() {
    let place = Place::new();
    let node = place.field(&[]);
    let follow = asking("GET", "/stream", "");
    let mut streams: Vec<UnixStream> = (0..EVENT_STREAMS_MAX / 2)
        .map(|_| {
            let mut stream = knock(&place, &follow);
            reads(&mut stream, "200 OK");
            stream
        })
        .collect();
    // One too many is refused, and says why.
    let refused = reads(&mut knock(&place, &follow), "event streams");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let crowd = 2 * LOCAL_WAITING_MAX;
    let large = asking("GET", "/openapi.json", "").repeat(8);
    let unread: Vec<UnixStream> = (0..crowd).map(|_| knock(&place, &large)).collect();
    let half = asking("POST", "/drafts", "content-length: 900\r\n") + "{";
    let halves: Vec<UnixStream> = (0..crowd).map(|_| knock(&place, &half)).collect();
    let silent: Vec<UnixStream> = (0..crowd).map(|_| knock(&place, "")).collect();
    let said = place.run(&["estop", "--reason", "a crowd"]);
    assert_eq!(said.code, 0, "{said:?}");
    // Nobody had to read an answer or to go, and no stream has ended.
    for stream in &mut streams {
        reads(stream, "estop");
    }
    drop((unread, halves, silent, node));
}

#[test]
fn a_state_directory_with_umlauts_spaces_and_300_letters_serves_as_any_other() {
    let home = Place::new();
    let mut state = home.beside("Käte Müllers Gewächshaus");
    while state.as_os_str().len() < 300 {
        state.push("noch ein Stück Weg dorthin");
    }
    let place = Place::at(state.join("state"), &home);
    place.json(&["config", "init"]);
    let node = place.start(&["--no-discovery"]);
    let device = place.json(&["status"])["deviceId"].clone();
    assert!(device.is_string(), "{device}");
    // Such a path is too long for a socket, which is said; commands come by the port.
    assert!(!place.state().join("node.sock").exists());
    assert!(place.log().contains("no local socket"), "{}", place.log());
    place.json(&["estop", "--reason", "smoke"]);
    node.kill();
    let node = place.start(&["--no-discovery"]);
    let again = place.json(&["status"]);
    assert_eq!(again["deviceId"], device);
    assert_eq!(place.json(&["audit", "verify"])["ok"], true);
    assert_eq!(node.stop(), 0);
}
