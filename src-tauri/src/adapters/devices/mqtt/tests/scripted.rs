//! A broker that does as a test says.
#![allow(unreachable_pub)]

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};

use super::mosquitto::{PATIENCE, read_packet};

/// See the module. Each connection is accepted, and its subscriptions; then it is the test's.
pub struct Scripted {
    pub url: String,
    coming: Receiver<Guest>,
}

/// A client that was let in.
pub struct Guest {
    pub socket: TcpStream,
    /// The client's name.
    pub name: String,
}

impl Scripted {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let (say, coming) = sync_channel(16);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let Some((0x10, hello)) = read_packet(&mut socket) else {
                    continue;
                };
                assert_eq!(hello[..7], *b"\x00\x04MQTT\x04");
                assert_eq!(hello[7] & 2, 2, "a clean session");
                let length = usize::from(hello[11]);
                let name = String::from_utf8(hello[12..12 + length].to_vec()).unwrap();
                socket.write_all(&[0x20, 2, 0, 0]).unwrap();
                if say.send(Guest { socket, name }).is_err() {
                    return;
                }
            }
        });
        Self { url, coming }
    }

    pub fn guest(&self) -> Guest {
        self.coming.recv_timeout(PATIENCE).expect("a client")
    }
}

impl Guest {
    /// The next packet that is no question whether we are there.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        loop {
            match read_packet(&mut self.socket) {
                Some((0xc0, _)) => self.socket.write_all(&[0xd0, 0]).unwrap(),
                other => return other,
            }
        }
    }

    /// Accepts its subscription to one topic.
    pub fn subscribed(&mut self) {
        let (head, body) = self.next().unwrap();
        assert_eq!(head, 0x82);
        self.socket
            .write_all(&[0x90, 3, body[0], body[1], 1])
            .unwrap();
    }

    /// The next message of the client: its payload and its number. It is not acknowledged.
    pub fn message(&mut self) -> (String, [u8; 2]) {
        let (head, body) = self.next().unwrap();
        assert_eq!(head, 0x32, "QoS 1, not retained, never sent before");
        let at = 2 + usize::from(body[1]);
        let payload = String::from_utf8_lossy(&body[at + 2..]).into_owned();
        (payload, [body[at], body[at + 1]])
    }

    pub fn acknowledge(&mut self, id: [u8; 2]) {
        self.socket.write_all(&[0x40, 2, id[0], id[1]]).unwrap();
    }
}
