//! Readings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::devices;
use super::server::{Does, Server};
use crate::adapters::devices::{Reading, Sensor};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::HTTP_ANSWER_MAX_BYTES;

/// Reads a sensor as the node does, on a thread that may block.
async fn read(sensor: Box<dyn Sensor>) -> (Box<dyn Sensor>, Result<Vec<Reading>, String>) {
    let reading = tokio::task::spawn_blocking(move || {
        let mut sensor = sensor;
        let read = sensor.read(TimeMs(0)).map_err(|e| e.to_string());
        (sensor, read)
    });
    reading.await.unwrap()
}

async fn why(url: &str, more: &str) -> String {
    let mut made = devices(url, more);
    read(made.sensors.remove(0)).await.1.unwrap_err()
}

#[tokio::test]
async fn readings_of_one_document_are_one_request() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Server::start(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        Does::Says(
            200,
            format!("{{\"soil\":[{{\"m\":{}}}],\"t\":\"{n}\"}}", 200 + n),
        )
    });
    let readings = "every_ms = 60000\nreading = [{ metric = \"m\", path = \"/all?x=1\", json = \"/soil/0/m\", scale = 0.1 }, \
                    { metric = \"t\", path = \"/all?x=1\", json = \"/t\", unit = \"Cel\" }]";
    let mut made = devices(&server.url, readings);
    let (t, m) = (made.sensors.remove(1), made.sensors.remove(0));
    let (m, first) = read(m).await;
    let (_, other) = read(t).await;
    assert_eq!(first.unwrap()[0].value.to_string(), "20");
    assert_eq!(other.unwrap()[0].value.to_string(), "0");
    // The same answer is not taken twice.
    let (m, second) = read(m).await;
    assert_eq!(second.unwrap()[0].value.to_string(), "20.1");
    assert_eq!(m.meter().unwrap().last().unwrap().raw.to_string(), "201");
    assert_eq!(server.lines(), ["GET /all?x=1", "GET /all?x=1"]);
}

#[tokio::test]
async fn what_is_no_good_answer_is_told_and_shown() {
    let server = Server::start(|line| match line.split(['/', '?']).nth(1).unwrap() {
        "text" => Does::Says(200, "wet".to_owned()),
        "missing" => Does::Says(404, "7".to_owned()),
        "moved" => Does::Says(302, "7".to_owned()),
        "secret" => Does::Says(401, "7".to_owned()),
        "broken" => Does::Says(500, "7".to_owned()),
        "large" => Does::Says(200, "7".repeat(HTTP_ANSWER_MAX_BYTES + 1)),
        "long" => Does::Writes([b"HTTP/1.1 200 x\r\na: ", &[b'x'; 1 << 20][..]].concat()),
        "cut" => Does::Writes(b"HTTP/1.1 200 x\r\ncontent-length: 50\r\n\r\n7".to_vec()),
        _ => Does::Writes(b"\x00\x01garbage\r\n\r\n".to_vec()),
    });
    for (path, words) in [
        ("text", "/text: \"wet\" is no number"),
        ("missing", "has no such path (status 404"),
        ("moved", "sends on to another place (status 302"),
        ("secret", "does not let this node in (status 401"),
        ("broken", "failed with status 500"),
        ("large", "answers with more than 65536 bytes"),
        ("long", "broke the connection off"),
        ("cut", "broke off in its answer"),
        ("garbage", "broke the connection off"),
    ] {
        let reading = format!("reading = [{{ metric = \"m\", path = \"/{path}\" }}]");
        let told = why(&server.url, &reading).await;
        assert!(
            told.contains(words) && told.contains(&server.url),
            "{path}: {told}"
        );
    }
    // Each was asked for once: nothing is tried again by itself, and nothing is followed.
    assert_eq!(server.lines().len(), 9);
    let gone = why(
        "http://127.0.0.1:1",
        "reading = [{ metric = \"m\", path = \"/\" }]",
    )
    .await;
    assert!(
        gone.starts_with("http://127.0.0.1:1 cannot be reached: "),
        "{gone}"
    );
}

#[tokio::test]
async fn a_device_is_told_who_asks_and_no_error_says_it() {
    let server = Server::start(|_| Does::Says(200, "7".to_owned()));
    let reading = "reading = [{ metric = \"m\", path = \"/\" }]";
    for (login, header) in [
        (
            "user = \"ada\"\npassword = \"device/shed\"\n",
            "authorization: Basic YWRhOmdyZWVu",
        ),
        ("token = \"device/shed\"\n", "authorization: Bearer green"),
    ] {
        let mut made = devices(&server.url, &format!("{login}{reading}"));
        read(made.sensors.remove(0)).await.1.unwrap();
        let came = server.came().pop().unwrap();
        assert!(came.head.contains(header), "{came:?}");
    }
    let told = why(&server.url, &format!("token = \"device/none\"\n{reading}")).await;
    assert!(
        told.contains("there is no credential device/none"),
        "{told}"
    );
    assert_eq!(server.came().len(), 2);
}
