//! Every reader of what comes from outside, as a function of bytes. The fuzzer (`scripts/fuzz`) feeds
//! them what it makes up, `main.rs` what was kept of that. None may panic, and what is read must be
//! what was said.

use clawmesh::domain::base::canonical::{parse, to_canonical};
use clawmesh::domain::base::{MeshId, TimeMs};
use clawmesh::domain::capability::{Capability, Pattern, addresses_actuator};
use clawmesh::domain::gate::records::Carried;
use clawmesh::domain::pairing::{PairLink, Reveal, SignedVerdict, Start};
use clawmesh::domain::sync::{FrameKey, Initiator, KeySet, Keyed, answer};
use clawmesh::domain::wire::handshake::Hello;
use clawmesh::domain::wire::verify::{GoodSignatures, verify_frames};
use clawmesh::domain::wire::{Frame, Message};
use clawmesh::node::RawConfig;
use clawmesh::node::config::StaticPeer;
use clawmesh::node::presence::Presence;
use serde_json::Value;

/// A reader and its name, which is also that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every reader.
pub const TARGETS: &[Target] = &[
    ("message", message),
    ("frame", frame),
    ("hello", hello),
    ("pairing", pairing),
    ("record", record),
    ("sync", sync),
    ("canonical", canonical),
    ("policy", policy),
    ("config", config),
    ("presence", presence),
    ("names", names),
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

fn message(bytes: &[u8]) {
    match Message::parse(text(bytes)) {
        // What cannot be read is answered with a sentence, never with what came.
        Err(bad) => drop(format!("{bad:?}")),
        Ok(Message::Event { payload, .. }) => {
            let frames = payload.get("frames").and_then(Value::as_array);
            for frame in frames.into_iter().flatten() {
                let _ = Frame::parse(frame.clone());
            }
            let _ = Frame::parse(payload);
        }
        Ok(Message::Request { params, .. }) => {
            let _ = Hello::parse(&params, true);
        }
        Ok(Message::Response { .. }) => {}
    }
}

fn frame(bytes: &[u8]) {
    let Some(frame) = json(bytes).and_then(|v| Frame::parse(v).ok()) else {
        return;
    };
    let mesh = MeshId::of_name("fuzz");
    // What is passed on or stored is the same frame, to the byte that is signed.
    let content = frame.content(&mesh);
    let wire = frame.to_wire(frame.hops.saturating_add(1)).to_string();
    let again = Frame::parse(serde_json::from_str(&wire).unwrap()).unwrap();
    assert_eq!(again.content(&mesh), content);
    let stored = Frame::parse(serde_json::from_str(&frame.to_stored_text()).unwrap()).unwrap();
    assert_eq!(stored.content(&mesh), content);
    let seen =
        verify_frames(vec![frame], &mesh, |_| None, &mut GoodSignatures::default()).remove(0);
    assert_eq!(seen.unwrap().content(), content);
}

fn hello(bytes: &[u8]) {
    let Some(Value::Object(map)) = json(bytes) else {
        return;
    };
    for from_client in [true, false] {
        if let Ok(hello) = Hello::parse(&map, from_client) {
            let _ = hello.check_signature("nonce", TimeMs(1_700_000_000_000));
        }
    }
}

fn pairing(bytes: &[u8]) {
    if let Some(value) = json(bytes) {
        let _ = Start::parse(value.clone());
        let _ = Reveal::parse(value.clone());
        let _ = SignedVerdict::parse(value);
    }
    if let Ok(link) = text(bytes).parse::<PairLink>() {
        assert_eq!(link.to_string().parse::<PairLink>().unwrap(), link);
    }
}

fn record(bytes: &[u8]) {
    if let Ok(carried) = serde_json::from_slice::<Carried>(bytes) {
        let said = serde_json::to_value(&carried).unwrap();
        let again: Carried = serde_json::from_value(said).unwrap();
        assert_eq!(again, carried);
        let _ = carried.prove();
    }
}

fn some_keys(count: u8) -> KeySet {
    let mut set = KeySet::default();
    set.extend((0..count).map(|n| Keyed {
        at: TimeMs(u64::from(n) / 3),
        key: FrameKey([n; 32]),
    }));
    set
}

fn sync(bytes: &[u8]) {
    let said = text(bytes);
    let set = some_keys(200);
    let _ = answer(&set, TimeMs(0), said);
    if let Ok((mut begun, _)) = Initiator::begin(&set, TimeMs(3)) {
        let _ = begun.hear(&set, said);
    }
    let _ = FrameKey::from_text(said);
}

fn canonical(bytes: &[u8]) {
    if let Ok(value) = parse(text(bytes)) {
        let once = to_canonical(&value).unwrap();
        let again = parse(std::str::from_utf8(&once).unwrap()).unwrap();
        assert_eq!(to_canonical(&again).unwrap(), once);
    }
}

fn policy(bytes: &[u8]) {
    if let Ok(policy) = clawmesh::domain::policy::load(text(bytes)) {
        let _ = policy.run_tests();
    }
}

fn config(bytes: &[u8]) {
    if let Ok(raw) = RawConfig::parse(text(bytes), "config.toml") {
        let _ = raw.resolve(std::path::PathBuf::new());
    }
}

fn presence(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Presence>(bytes);
}

fn names(bytes: &[u8]) {
    let said = text(bytes);
    let _ = said.parse::<StaticPeer>();
    let _ = said.parse::<Pattern>();
    if let Ok(capability) = said.parse::<Capability>() {
        // Whatever is taken for an actuator here is one for the gate, however it is spelled.
        let is = capability.as_str().starts_with("actuator:");
        assert_eq!(addresses_actuator(said), is, "{said:?}");
    }
}
