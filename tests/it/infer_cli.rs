//! `infer` and the model endpoint on a real process: words on stdout, one exit code for each end, a token of its own.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::model_server::{Server, Step, say};
use crate::process::*;

/// A node with this server as its model.
fn started(place: &Place, server: &Server) -> Running {
    let config = format!("[[model]]\nname = \"ollama/x\"\nurl = \"{}\"\n", server.url);
    std::fs::create_dir_all(place.state()).unwrap();
    std::fs::set_permissions(place.state(), std::fs::Permissions::from_mode(0o700)).unwrap();
    place.write("config.toml", &config);
    place.start(&["--name", "hub", "--mesh-name", "test"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn infer_prints_the_words_of_a_model_and_an_interrupt_takes_the_request_back() {
    let waits = vec![Step::Say("It ".into()), Step::Wait];
    let server = Server::start([say(&["It is\n", "dry."]), say(&["Yes."]), waits]).await;
    tokio::task::block_in_place(|| {
        let place = Place::new();
        let node = started(&place, &server);
        let said = place.run(&["infer", "--model", "ollama/x", "How is it?"]);
        assert_eq!(
            (said.code, said.out.as_str()),
            (0, "It is\ndry.\n"),
            "{}",
            said.err
        );
        assert!(
            said.err.contains("ollama/x, 7 tokens read, 3 written"),
            "{}",
            said.err
        );
        let told = place.json(&["infer", "Really?"]);
        assert_eq!(told["text"], "Yes.");
        assert_eq!(
            (&told["model"], &told["finishReason"]),
            (&json!("ollama/x"), &json!("stop"))
        );
        place
            .run(&["infer", "--model", "ollama/other", "hi"])
            .fails(1, &["no model of this node"]);
        let mut command = place.command();
        command.args(["infer", "--model", "ollama/x", "hi", "--state-dir"]);
        command
            .arg(place.state())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut first = [0; 3];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut first)
            .unwrap();
        assert_eq!((&first, server.open()), (b"It ", 1));
        signal_to(child.id(), "INT");
        assert_eq!(child.wait().unwrap().code(), Some(1));
        eventually("the model is let go", || (server.open() == 0).then_some(()));
        assert_eq!(node.stop(), 0);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_model_endpoint_opens_with_the_token_that_the_command_prints() {
    let server = Server::start([say(&["dry"]), say(&["still dry"])]).await;
    tokio::task::block_in_place(|| {
        let place = Place::new();
        let node = started(&place, &server);
        let body = json!({"model": "ollama/x", "messages": [{"role": "user", "content": "hi"}]});
        let ask = |node: &Running, token: &str| {
            let bearer = format!("Authorization: Bearer {token}");
            let (code, answer) = node.send(
                "POST",
                "/v1/chat/completions",
                &[&bearer],
                &body.to_string(),
            );
            (
                code,
                serde_json::from_str::<Value>(&answer).unwrap_or_default(),
            )
        };
        assert_eq!(ask(&node, "none").0, 401);
        let token = place.run(&["model", "token"]).out.trim().to_owned();
        let file = std::fs::metadata(place.state().join("model-token")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let (code, answer) = ask(&node, &token);
        assert_eq!(
            (code, &answer["choices"][0]["message"]["content"]),
            (200, &json!("dry"))
        );
        assert_eq!(node.stop(), 0);
        // It stands in the settings of other programs, and stays.
        let node = place.start(&["--name", "hub", "--mesh-name", "test"]);
        assert_eq!(place.json(&["model", "token"])["token"], json!(token));
        assert_eq!(ask(&node, &token).0, 200);
        let new = place
            .run(&["model", "token", "--new"])
            .out
            .trim()
            .to_owned();
        assert_eq!((ask(&node, &token).0, new == token), (401, false));
        let (code, list) = node.http(
            "GET",
            "/v1/models",
            &[&format!("Authorization: Bearer {new}")],
        );
        assert!(code == 200 && list.contains("\"ollama/x\""), "{list}");
        let log = place.log();
        assert!(!log.contains(&token) && !log.contains(&new));
        assert_eq!(node.stop(), 0);
    });
}
