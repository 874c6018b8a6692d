//! What was found, written down for somebody who helps: no secret, no text of people, and no file of the directory as it is.
//! What is written is chosen part by part; then everything in it is compared with every secret that this machine knows.

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::Finding;
use crate::adapters::keystore::{self, Credentials};
use crate::adapters::paths::StateDir;
use crate::adapters::system;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{BUNDLE_FILES_MAX, SMALL_FILE_MAX_BYTES};
use crate::node::config::shown::Shown;
use crate::node::credentials::given_by;
use crate::operator::dto::{EventView, PeerView, StatusView};

/// What stands in the place of a secret.
const GONE: &str = "[redacted]";
/// Words in the names of members and variables that hold secrets.
const TELLING: [&str; 7] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "api_key",
];
/// Files of the directory with secrets in the open or sealed.
const HOLDERS: [&str; 5] = [
    "identity.json",
    "operator-key.json",
    "tokens.json",
    "model-token",
    "demo-passphrase",
];
/// The shortest text that is looked for as a secret: shorter ones would blot out words.
const SHORTEST: usize = 4;

/// What a running node has told.
#[derive(Debug, Default)]
pub struct Told {
    /// Itself.
    pub status: Option<StatusView>,
    /// Its peers.
    pub peers: Vec<PeerView>,
    /// Its newest events.
    pub events: Vec<EventView>,
}

/// Every secret that this machine knows of a directory.
pub struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// Those of a directory and of the environment.
    pub fn of(dir: &StateDir, variables: &[(String, String)]) -> Self {
        let mut all = Vec::new();
        for name in HOLDERS {
            let read = keystore::read_secret(&dir.root().join(name), SMALL_FILE_MAX_BYTES);
            let Ok(Some(text)) = read else { continue };
            match serde_json::from_str::<Value>(&text) {
                Ok(value) => secret_members(&value, false, &mut all),
                Err(_) => all.push(Zeroizing::new(text.trim().to_owned())),
            }
        }
        let key = keystore::load_device_key(dir).ok().flatten();
        let service = given_by(crate::node::surroundings::environment);
        if let Some(key) = key
            && let Ok(opened) = Credentials::new(dir, &key, service.as_deref())
        {
            let cards = Credentials::list(dir).unwrap_or_default();
            let secrets = cards.iter().filter_map(|card| opened.get(&card.name).ok());
            all.extend(secrets.flatten());
        }
        let telling = variables.iter().filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name.ends_with("key") || TELLING.iter().any(|word| name.contains(word))
        });
        all.extend(telling.map(|(_, value)| Zeroizing::new(value.clone())));
        all.retain(|secret| secret.len() >= SHORTEST);
        // The longest first, so that no rest of one stays where another is part of it.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(all)
    }

    /// The text without any of them, and without what stands before the host in an address.
    fn out_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), GONE);
            }
        }
        without_user(&text)
    }

    /// The value without any of them.
    pub fn redact(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.out_of(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.redact(item)).collect(),
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| {
                    let value = match is_telling(&name) && value.is_string() {
                        true => Value::String(GONE.to_owned()),
                        false => self.redact(value),
                    };
                    (self.out_of(&name), value)
                });
                Value::Object(members.collect())
            }
            other => other,
        }
    }
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|word| name.contains(word))
}

/// The texts of members that are named as secrets are, and all texts below such a member.
fn secret_members(value: &Value, below: bool, all: &mut Vec<Zeroizing<String>>) {
    match value {
        Value::String(text) if below => all.push(Zeroizing::new(text.clone())),
        Value::Array(items) => items
            .iter()
            .for_each(|item| secret_members(item, below, all)),
        Value::Object(members) => {
            for (name, value) in members {
                let secret = is_telling(name)
                    || ["sealed", "read", "operate", "admin"].contains(&name.as_str());
                secret_members(value, below || secret, all);
            }
        }
        _ => {}
    }
}

/// The text with `://USER:PASSWORD@` cut down to its host.
fn without_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || c == '"');
        let authority = after.get(..end.unwrap_or(after.len())).unwrap_or_default();
        rest = match authority.rfind('@') {
            Some(at) => {
                out.push_str(GONE);
                after.get(at..).unwrap_or_default()
            }
            None => after,
        };
    }
    out + rest
}

/// A parser's message without the values that it repeats, which may stand in the wrong place.
fn without_quoted(text: &str) -> String {
    let parts = text.split('"').enumerate();
    let kept = parts.map(|(i, part)| if i % 2 == 0 { part } else { "…" });
    kept.collect::<Vec<_>>().join("\"")
}

/// The bundle.
pub fn made(
    (dir, version, now): (&StateDir, &str, TimeMs),
    findings: &[Finding],
    config: &[Shown],
    told: &Told,
    secrets: &Secrets,
) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|f| {
            let message = match f.check {
                "config" | "policy" => without_quoted(&f.message),
                _ => f.message.clone(),
            };
            json!({"check": f.check, "grade": f.grade, "message": message, "advice": f.advice})
        })
        .collect();
    secrets.redact(json!({
        "about": "written by `clawmesh-node doctor --bundle`; holds no secret, no reading and no text of people",
        "madeAtMs": now,
        "version": version,
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "findings": findings,
        "config": config,
        "devices": devices(dir),
        "files": listed(dir),
        "node": told.status.as_ref().map(node),
        "peers": told.peers.iter().map(peer).collect::<Vec<_>>(),
        "events": told.events.iter().map(event).collect::<Vec<_>>(),
    }))
}

/// Kind and name of each device of the configuration, and nothing of what it is told.
fn devices(dir: &StateDir) -> Vec<Value> {
    let raw = crate::node::hosting::raw_config(dir).ok().flatten();
    let devices = raw.map(|raw| raw.devices).unwrap_or_default();
    let view = |device: &crate::adapters::devices::Configured| json!({"kind": device.kind_name(), "name": device.name()});
    devices.iter().map(view).collect()
}

fn listed(dir: &StateDir) -> Vec<Value> {
    let entries = std::fs::read_dir(dir.root())
        .into_iter()
        .flatten()
        .flatten();
    let view = |entry: std::fs::DirEntry| {
        let meta = entry.metadata().ok()?;
        Some(json!({
            "name": entry.file_name().to_string_lossy(),
            "bytes": meta.len(),
            "mode": system::rights(&meta),
        }))
    };
    entries.take(BUNDLE_FILES_MAX).filter_map(view).collect()
}

fn node(status: &StatusView) -> Value {
    let alarms = status
        .alarms
        .iter()
        .map(|alarm| json!({"kind": alarm.kind, "severity": alarm.severity, "since": alarm.since}));
    let failing = status.sensors.iter().filter(|s| s.failing_since.is_some());
    json!({
        "deviceId": status.device_id, "version": status.version, "role": status.role,
        "port": status.port, "uptimeMs": status.uptime_ms, "frames": status.frames,
        "framesPerSec": status.frames_per_sec, "storeBytes": status.store_bytes,
        "facts": status.facts, "clockTrusted": status.clock_trusted, "demo": status.demo,
        "proposalsWaiting": status.proposals_waiting, "draftsWaiting": status.drafts_waiting,
        "sensors": status.sensors.len(), "sensorsFailing": failing.count(),
        "alarms": alarms.collect::<Vec<_>>(),
    })
}

fn peer(peer: &PeerView) -> Value {
    let mut view = Map::new();
    for (name, value) in [
        ("deviceId", json!(peer.device_id)),
        ("state", json!(peer.state)),
        ("since", json!(peer.since)),
        ("posture", json!(peer.posture)),
        ("generation", json!(peer.generation)),
        ("connectedAt", json!(peer.connected_at)),
        ("heardAt", json!(peer.heard_at)),
        ("rttMs", json!(peer.rtt_ms)),
        ("skewMs", json!(peer.skew_ms)),
        ("queuedBytes", json!(peer.queued_bytes)),
        ("addresses", json!(peer.addresses.len())),
    ] {
        view.insert(name.to_owned(), value);
    }
    Value::Object(view)
}

fn event(event: &EventView) -> Value {
    json!({"seq": event.seq, "time": event.time, "kind": event.kind, "severity": event.severity})
}
