//! Messages recorded from real gen-1 nodes, with their real signatures.

use std::collections::HashMap;

use clawmesh::domain::base::{Code, DeviceId, TimeMs};
use clawmesh::domain::gate::forward::{self, Forwarded};
use clawmesh::domain::wire::Frame;
use clawmesh::domain::wire::handshake::Hello;
use serde_json::{Map, Value};

struct Exchange {
    time: TimeMs,
    tag: String,
    params: Map<String, Value>,
    reply: Option<Value>,
}

/// Every request of a method, with the reply it got.
fn exchanges(text: &str, method: &str) -> Vec<Exchange> {
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let replies: HashMap<&str, &Value> = lines
        .iter()
        .map(|l| &l["frame"])
        .filter(|f| f["type"] == "res")
        .map(|f| (f["id"].as_str().unwrap(), f))
        .collect();
    lines
        .iter()
        .filter(|l| l["frame"]["method"] == method)
        .map(|l| Exchange {
            time: TimeMs(l["t"].as_u64().unwrap()),
            tag: l["tag"].as_str().unwrap_or_default().to_owned(),
            params: l["frame"]["params"].as_object().unwrap().clone(),
            reply: replies
                .get(l["frame"]["id"].as_str().unwrap())
                .map(|r| (*r).clone()),
        })
        .collect()
}

const HANDSHAKES: &str = include_str!("../fixtures/gen1/handshake.jsonl");
const FORWARDS: &str = include_str!("../fixtures/gen1/forward.jsonl");
const LINK: &str = include_str!("../fixtures/gen1/planner-field-link.jsonl");

#[test]
fn real_gen1_signatures_verify_and_forgeries_do_not() {
    let (mut good, mut bad) = (0, 0);
    for exchange in exchanges(HANDSHAKES, "mesh.connect") {
        let Ok(hello) = Hello::parse(&exchange.params, true) else {
            continue;
        };
        let nonce = hello.nonce.clone();
        let checked = hello.check_signature(&nonce, exchange.time);
        match exchange.tag.as_str() {
            "badsig" | "stale" => {
                assert_eq!(
                    checked.unwrap_err().code,
                    Code::AuthFailed,
                    "{}",
                    exchange.tag
                );
                bad += 1;
            }
            tag if tag.starts_with("impostor") => {
                // The gen-1 node let this one in.
                let refusal = checked.unwrap_err();
                assert!(refusal.message.contains("not the hash"), "{refusal}");
                bad += 1;
            }
            _ => {
                assert_eq!(checked, Ok(()), "{}", exchange.tag);
                good += 1;
            }
        }
        let Some(payload) = exchange
            .reply
            .as_ref()
            .and_then(|r| r["payload"].as_object())
        else {
            continue;
        };
        let server = Hello::parse(payload, false).unwrap();
        assert_eq!(
            server.check_signature(hello.client_nonce.as_deref().unwrap(), exchange.time),
            Ok(())
        );
        assert_eq!(server.mesh_id, hello.mesh_id.or(server.mesh_id.clone()));
        good += 1;
    }
    assert!(good >= 8 && bad >= 3, "good {good}, bad {bad}");
}

#[test]
fn the_gate_refuses_with_the_gen1_codes_in_the_gen1_order() {
    let own: DeviceId = "1abd1246848cef60ebaf965f6994aa4c22fb4fb796a3152c787c1ef6d14021e0"
        .parse()
        .unwrap();
    let (mut same, mut stricter, mut drafts) = (0, 0, 0);
    for exchange in exchanges(FORWARDS, "mesh.message.forward") {
        let theirs = exchange.reply.unwrap();
        let ours = forward::check(&exchange.params, &own, exchange.time);
        if theirs["ok"] == false {
            let code = theirs["error"]["code"].as_str().unwrap();
            assert_eq!(
                ours.unwrap_err().code.as_str(),
                code,
                "{:?}",
                exchange.params
            );
            same += 1;
            continue;
        }
        match ours {
            // What passed all seven becomes a draft; the channel message goes nowhere.
            Ok(Forwarded::Actuation(asked)) => {
                assert!(asked.action.target.is_actuator());
                drafts += 1;
            }
            Ok(Forwarded::Message { channel, .. }) => assert_eq!(channel, "telegram"),
            Ok(Forwarded::Intent(_)) => panic!("no recorded command is only words"),
            Err(refusal) => {
                let expected = [
                    Code::TrustMetadataRequired,
                    Code::InvalidCommandEnvelope,
                    Code::CommandExpired,
                    Code::ActuationDeclarationRequired,
                ];
                assert!(
                    expected.contains(&refusal.code),
                    "{refusal}: {:?}",
                    exchange.params
                );
                stricter += 1;
            }
        }
    }
    assert_eq!((same, stricter, drafts), (15, 6, 5));
}

#[test]
fn recorded_frames_read_and_pass_unchanged() {
    let (mut frames, mut refused) = (0, 0);
    for line in LINK.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["frame"]["event"] != "context.frame" {
            continue;
        }
        let sent = line["frame"]["payload"].clone();
        // The recording ends with what somebody sent to confuse the gen-1 node; it took everything.
        let confusing =
            sent["hops"].as_i64().is_some_and(|h| h < 0) || sent["kind"] == "not-a-kind";
        if confusing {
            assert_eq!(Frame::parse(sent).unwrap_err().code, Code::InvalidFrame);
            refused += 1;
            continue;
        }
        let frame = Frame::parse(sent.clone()).unwrap();
        assert_eq!(frame.to_wire(frame.hops), sent);
        assert_eq!(
            frame.taint.is_empty(),
            !matches!(sent["kind"].as_str(), Some("inference" | "agent_response"))
        );
        frames += 1;
    }
    assert!(frames > 50 && refused > 0, "{frames} {refused}");
}
