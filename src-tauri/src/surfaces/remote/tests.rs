//! How a running node is found, and who is told nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

#[test]
fn what_people_type_stays_one_piece() {
    assert_eq!(escaped("a/b?c&d é"), "a%2Fb%3Fc%26d%20%C3%A9");
    assert_eq!(
        with("/world", &[("metric", Some("a&b")), ("zone", None)]),
        "/world?metric=a%26b"
    );
}

fn note(dir: &Path, text: &str) {
    std::fs::write(StateDir::at(dir).run_file(), text).unwrap();
}

#[tokio::test]
async fn no_node_is_not_an_error_but_a_broken_file_is() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Remote::connect(dir.path()).await.unwrap().is_none());
    Tokens::renew(dir.path()).unwrap();
    // A port that was free a moment ago and a socket of a run that was killed.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    note(dir.path(), &format!(r#"{{"pid":1,"port":{port}}}"#));
    assert!(Remote::connect(dir.path()).await.unwrap().is_none());
    let socket = dir.path().join("node.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let run = serde_json::json!({"port": port, "socket": socket});
    note(dir.path(), &run.to_string());
    assert!(Remote::connect(dir.path()).await.unwrap().is_none());
    note(dir.path(), "");
    assert!(Remote::connect(dir.path()).await.unwrap().is_none());
    note(dir.path(), "{");
    let error = Remote::connect(dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("run.json"), "{error}");
}

#[tokio::test]
async fn whoever_has_the_port_but_not_the_device_key_is_told_nothing() {
    use std::io::Read as _;
    let dir = tempfile::tempdir().unwrap();
    let place = StateDir::at(dir.path());
    let tokens = Tokens::renew(dir.path()).unwrap();
    keystore::create_device_key(&place, &[7; 32], crate::domain::base::TimeMs(1)).unwrap();
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    note(dir.path(), &format!(r#"{{"port":{port}}}"#));
    // While nobody holds the directory no one is even connected to.
    assert!(Remote::connect(dir.path()).await.unwrap().is_none());
    let _lock = place.acquire_lock().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut socket, _) = stranger.accept().unwrap();
        let mut first = [0; 4_096];
        let n = socket.read(&mut first).unwrap();
        first[..n].to_vec()
    });
    Remote::connect(dir.path()).await.unwrap_err();
    let heard = heard.join().unwrap();
    assert_eq!(heard[0], 0x16, "a TLS hello and nothing else");
    let heard = String::from_utf8_lossy(&heard).into_owned();
    for scope in [Scope::Read, Scope::Operate, Scope::Admin] {
        assert!(!heard.contains(tokens.of(scope)));
    }
}
