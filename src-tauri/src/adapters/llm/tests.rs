//! The client against real servers on loopback that speak as models' servers do, well and badly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::*;
use crate::domain::base::limits::MODEL_REPLY_MAX_BYTES;
use crate::domain::inference::{FailureKind, Message, ToolCall, ToolSpec, Usage};
use futures_util::StreamExt as _;

const SECRET: &str = "sk-very-secret";
/// Long enough for a machine under load to answer, short enough to wait for a server that never does.
const WAIT: Duration = Duration::from_millis(400);

/// The server's action once it has read the request.
enum Act {
    /// Writes this and closes.
    Say(String),
    /// Writes this and then nothing more, with the connection open.
    Hold(String),
    /// Writes this once, then that again and again until the other side has gone.
    Endless(String, String),
}

async fn read_request(socket: &mut TcpStream) -> (String, Value) {
    let mut text = Vec::new();
    loop {
        let mut some = [0; 4_096];
        let n = socket.read(&mut some).await.unwrap();
        assert!(n > 0, "the request broke off");
        text.extend_from_slice(&some[..n]);
        let Some(at) = text.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&text[..at]).to_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length: usize = length.unwrap().trim().parse().unwrap();
        if text.len() >= at + 4 + length {
            return (head, serde_json::from_slice(&text[at + 4..]).unwrap());
        }
    }
}

async fn serve(listener: TcpListener, act: Act) -> (String, Value) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let request = read_request(&mut socket).await;
    match act {
        Act::Say(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
        }
        Act::Hold(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = socket.read(&mut [0; 16]).await;
        }
        Act::Endless(head, again) => {
            let _ = socket.write_all(head.as_bytes()).await;
            while socket.write_all(again.as_bytes()).await.is_ok() {}
        }
    }
    request
}

fn model(port: u16, provider: &str) -> Server {
    let secret = Secret::new(&Zeroizing::new(SECRET.to_owned())).unwrap();
    let patience = Patience {
        connect: Duration::from_secs(20),
        first: WAIT,
        silence: WAIT,
        total: Duration::from_secs(20),
    };
    Server::new(
        format!("{provider}/tiny").parse().unwrap(),
        Address::parse(&format!("http://127.0.0.1:{port}/v1")).unwrap(),
        speech_of(provider),
        Arc::new(move || Ok(Some(secret.clone()))),
        patience,
    )
}

/// The result of one request, and the request.
struct Came {
    pieces: Vec<Piece>,
    failure: Option<Failure>,
    head: String,
    body: Value,
}

impl Came {
    fn text(&self) -> String {
        let text = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        });
        text.collect()
    }

    fn failed(&self, kind: FailureKind, says: &str) {
        let failure = self.failure.as_ref().expect("a failure");
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.why.contains(says), "{failure}");
        assert!(!format!("{failure:?}").contains(SECRET), "{failure:?}");
    }
}

async fn ask(provider: &str, act: Act, request: InferenceRequest) -> Came {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let model = model(listener.local_addr().unwrap().port(), provider);
    let asking = async {
        let mut stream = model.infer(Arc::new(request));
        let (mut pieces, mut failure) = (Vec::new(), None);
        while let Some(item) = stream.next().await {
            assert!(failure.is_none(), "nothing follows a failure");
            match item {
                Ok(piece) => pieces.push(piece),
                Err(error) => failure = Some(error),
            }
        }
        (pieces, failure)
    };
    let ((head, body), (pieces, failure)) = tokio::join!(serve(listener, act), asking);
    Came {
        pieces,
        failure,
        head,
        body,
    }
}

async fn asked(act: Act) -> Came {
    ask("test", act, question()).await
}

fn question() -> InferenceRequest {
    InferenceRequest {
        messages: vec![Message::User("how is zone 1?".into())],
        max_output_tokens: 100,
        ..InferenceRequest::default()
    }
}

fn streamed(events: &[Value]) -> String {
    let events = events.iter().map(|event| format!("data: {event}\n\n"));
    let events: String = events.collect();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}"
    )
}

fn answer(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Say(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

fn delta(text: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}}]})
}

#[tokio::test]
async fn a_reply_streams_and_says_what_it_took() {
    let text = streamed(&[
        json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": null}}]}),
        delta("It is "),
        delta("dry."),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
    ]);
    let came = asked(Act::Say(format!("{text}data: [DONE]\n\n"))).await;
    assert_eq!(came.failure, None);
    assert_eq!(came.text(), "It is dry.");
    let usage = Usage {
        input_tokens: 7,
        output_tokens: 3,
        cut: false,
    };
    assert_eq!(came.pieces.last(), Some(&Piece::End(usage)));
    assert!(came.head.starts_with("post /v1/chat/completions"));
    assert!(
        came.head
            .contains(&format!("authorization: bearer {SECRET}"))
    );
    assert_eq!(came.body["max_tokens"], 100);
    assert_eq!(came.body["messages"][0]["content"], "how is zone 1?");
}

#[tokio::test]
async fn tool_calls_come_whole_from_fragments() {
    let part = |index: u32, part: Value| {
        let mut call = part;
        call["index"] = json!(index);
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    };
    let text = streamed(&[
        part(
            0,
            json!({"id": "a", "function": {"name": "query_world", "arguments": ""}}),
        ),
        part(0, json!({"function": {"arguments": "{\"zone\":"}})),
        part(1, json!({"id": "b", "function": {"name": "read"}})),
        part(0, json!({"function": {"arguments": "\"zone-1\"}"}})),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    ]);
    let mut request = question();
    request.messages.push(Message::Assistant {
        text: String::new(),
        calls: vec![ToolCall {
            id: "z".into(),
            name: "read".into(),
            arguments: "{}".into(),
        }],
    });
    request.messages.push(Message::Tool {
        call_id: "z".into(),
        text: "21".into(),
    });
    request.tools.push(ToolSpec {
        name: "query_world",
        description: "reads",
        parameters: json!({"type": "object"}),
    });
    request.schema = Some(json!({"type": "object"}));
    // The server closes without saying that it is done.
    let came = ask("openai", Act::Say(text), request).await;
    assert_eq!(came.failure, None);
    let call = |id: &str, name: &str, arguments: &str| {
        Piece::Call(ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
        })
    };
    assert_eq!(
        came.pieces,
        [
            call("a", "query_world", "{\"zone\":\"zone-1\"}"),
            call("b", "read", "{}"),
            Piece::End(Usage::default()),
        ]
    );
    assert_eq!(came.body["max_completion_tokens"], 100);
    assert_eq!(came.body["tools"][0]["function"]["name"], "query_world");
    assert_eq!(came.body["messages"][1]["tool_calls"][0]["id"], "z");
    assert_eq!(came.body["messages"][2]["tool_call_id"], "z");
    assert_eq!(came.body["response_format"]["type"], "json_schema");
}

#[tokio::test]
async fn the_speech_of_anthropic_is_spoken_too() {
    let text = streamed(&[
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Dry."}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "read", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 4}}),
        json!({"type": "message_stop"}),
    ]);
    let mut request = question();
    request
        .messages
        .insert(0, Message::System("Be short.".into()));
    for id in ["x", "y"] {
        request.messages.push(Message::Tool {
            call_id: id.into(),
            text: "1".into(),
        });
    }
    let came = ask("anthropic", Act::Say(text), request).await;
    assert_eq!(
        (came.failure.as_ref(), came.text().as_str()),
        (None, "Dry.")
    );
    assert!(
        matches!(&came.pieces[1], Piece::Call(c) if c.id == "t1" && c.arguments == "{\"a\":1}")
    );
    let usage = Usage {
        input_tokens: 9,
        output_tokens: 4,
        cut: true,
    };
    assert_eq!(came.pieces[2], Piece::End(usage));
    assert!(came.head.contains(&format!("x-api-key: {SECRET}")));
    assert!(came.head.starts_with("post /v1/messages"));
    assert_eq!(came.body["system"], "Be short.");
    assert_eq!(came.body["messages"].as_array().unwrap().len(), 1);
    assert_eq!(
        came.body["messages"][0]["content"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let body = json!({
        "choices": [{"message": {"content": "Dry."}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    });
    let came = asked(answer(
        "200 OK",
        "content-type: application/json\r\n",
        &body.to_string(),
    ))
    .await;
    assert_eq!(
        (came.failure.as_ref(), came.text().as_str()),
        (None, "Dry.")
    );
    assert!(matches!(came.pieces[1], Piece::End(usage) if usage.cut && usage.output_tokens == 2));
}

#[tokio::test]
async fn each_refusal_says_what_to_do_and_no_key() {
    let says = format!(r#"{{"error": {{"message": "bad key {SECRET}"}}}}"#);
    for (status, kind, hint) in [
        (
            "401 Unauthorized",
            FailureKind::Unauthorized,
            "credential set provider/test",
        ),
        ("402 Payment Required", FailureKind::Refused, "account"),
        ("403 Forbidden", FailureKind::Refused, "rights"),
        ("404 Not Found", FailureKind::Refused, "no model tiny"),
        ("422 Unprocessable", FailureKind::Refused, "status 422"),
        ("500 Internal Server Error", FailureKind::Server, "its log"),
        ("503 Service Unavailable", FailureKind::Server, "status 503"),
        ("302 Found", FailureKind::Refused, "not followed"),
    ] {
        let came = asked(answer(status, "", &says)).await;
        came.failed(kind, hint);
        let why = came.failure.unwrap().why;
        assert!(
            status.starts_with("302") || why.contains("bad key [key]"),
            "{why}"
        );
    }
    let came = asked(answer("500 Broken", "", &"x".repeat(100_000))).await;
    came.failed(FailureKind::Server, "status 500");
    assert!(came.failure.unwrap().why.len() < 1_000);
}

#[tokio::test]
async fn a_server_that_takes_no_more_says_when_it_will() {
    let came = asked(answer("429 Too Many", "retry-after: 2.5\r\n", "slow down")).await;
    came.failed(FailureKind::RateLimited, "slow down");
    assert_eq!(came.failure.unwrap().retry_after_ms, Some(2_500));
    for odd in ["-1", "NaN", "1e300", "Sun, 29 Nov 2026 10:00:00 GMT"] {
        let came = asked(answer(
            "429 Too Many",
            &format!("retry-after: {odd}\r\n"),
            "",
        ))
        .await;
        assert_eq!(came.failure.unwrap().retry_after_ms, None);
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_left() {
    let before = asked(Act::Hold(String::new())).await;
    before.failed(FailureKind::Timeout, "has not begun to answer");
    let head = asked(Act::Hold(streamed(&[]))).await;
    head.failed(FailureKind::Timeout, "has not begun to answer");
    let middle = asked(Act::Hold(streamed(&[delta("It ")]))).await;
    middle.failed(FailureKind::Timeout, "fell silent");
    assert_eq!(middle.text(), "It ");
    let alive = Act::Endless(streamed(&[]), ": still here\n\n".to_owned());
    let alive = asked(alive).await.failure.unwrap();
    // It says nothing for ever: by time or by size it ends.
    let ends = [FailureKind::Timeout, FailureKind::BadReply];
    assert!(ends.contains(&alive.kind), "{alive}");
}

#[tokio::test]
async fn a_reply_that_breaks_off_has_not_ended() {
    let came = asked(Act::Say(streamed(&[delta("It ")]))).await;
    came.failed(FailureKind::Unreachable, "broke off");
    assert_eq!(came.text(), "It ");
    let half = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nff\r\nda";
    let came = asked(Act::Say(half.to_owned())).await;
    came.failed(FailureKind::Unreachable, "broke off");
    let came = asked(Act::Say(String::new())).await;
    came.failed(FailureKind::Unreachable, "broke the connection off");
}

#[tokio::test]
async fn what_is_no_reply_is_said_to_be_none() {
    for (body, says) in [
        ("data: {\"choices\": [\n\n", "no reply"),
        ("data: 7\n\n", "no reply"),
        (
            "data: {\"error\": {\"message\": \"out of memory\"}}\n\n",
            "out of memory",
        ),
        ("", "sent no reply"),
    ] {
        let came = asked(Act::Say(format!("{}{body}", streamed(&[])))).await;
        let failure = came.failure.expect("a failure");
        assert!(failure.why.contains(says), "{failure}");
        assert!(
            [FailureKind::BadReply, FailureKind::Server].contains(&failure.kind),
            "{failure:?}"
        );
    }
    let page = asked(answer("200 OK", "content-type: text/html\r\n", "<html>")).await;
    page.failed(FailureKind::BadReply, "web page");
    let odd = asked(answer("200 OK", "content-type: application/json\r\n", "{}")).await;
    odd.failed(FailureKind::BadReply, "no reply");
    let noise = asked(Act::Say("SSH-2.0-OpenSSH_9.2\r\n".to_owned())).await;
    assert!(noise.failure.is_some());
}

#[tokio::test]
async fn a_reply_without_measure_ends_at_the_limit() {
    let large = delta(&"x".repeat(1_000));
    let came = asked(Act::Endless(streamed(&[]), format!("data: {large}\n\n"))).await;
    came.failed(FailureKind::BadReply, "larger than");
    assert!(came.text().len() <= MODEL_REPLY_MAX_BYTES);
    let one = asked(Act::Say(streamed(&[delta(&"x".repeat(1_048_576))]))).await;
    one.failed(FailureKind::BadReply, "larger than");
    let line = asked(Act::Endless(streamed(&[]), "data: x".repeat(1_000))).await;
    line.failed(FailureKind::BadReply, "larger than");
    let calls: Vec<_> = (0..1_000)
        .map(|i| json!({"choices": [{"delta": {"tool_calls": [{"index": i, "function": {"name": "x"}}]}}]}))
        .collect();
    let calls = asked(Act::Say(streamed(&calls))).await;
    calls.failed(FailureKind::BadReply, "tools at once");
}

#[tokio::test]
async fn whoever_stops_reading_ends_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let model = model(listener.local_addr().unwrap().port(), "test");
    let head = streamed(&[delta("It ")]);
    let asking = async {
        let mut stream = model.infer(Arc::new(question()));
        let first = stream.next().await;
        assert_eq!(first, Some(Ok(Piece::Text("It ".into()))));
    };
    // The server ends only once the other side has gone.
    tokio::join!(serve(listener, Act::Hold(head)), asking);
}

#[tokio::test]
async fn nobody_there_is_said_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = model(listener.local_addr().unwrap().port(), "test");
    drop(listener);
    let said: Vec<_> = gone.infer(Arc::new(question())).collect().await;
    let failure = said[0].as_ref().unwrap_err();
    assert_eq!((said.len(), failure.kind), (1, FailureKind::Unreachable));
    assert!(failure.why.contains("is it running?"), "{failure}");
}

#[tokio::test]
async fn a_key_is_not_sent_where_anybody_could_read_it() {
    let secret = Secret::new(&Zeroizing::new(SECRET.to_owned())).unwrap();
    assert_eq!(format!("{secret:?}"), "Secret");
    let model = Server::new(
        "openai/x".parse().unwrap(),
        Address::parse("http://api.example.org/v1").unwrap(),
        Speech::OpenAi,
        Arc::new(move || Ok(Some(secret.clone()))),
        Patience::default(),
    );
    let said: Vec<_> = model.infer(Arc::new(question())).collect().await;
    let failure = said[0].as_ref().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(failure.why.contains("https://"), "{failure}");
    for bad in ["", " \n", "two words", "a\r\nx-evil: 1", "schl\u{fc}ssel"] {
        assert!(
            Secret::new(&Zeroizing::new(bad.to_owned())).is_err(),
            "{bad:?}"
        );
    }
}
