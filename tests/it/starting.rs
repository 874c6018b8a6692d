//! What a node does when it cannot start as it is asked to: one line, the right exit code, and
//! nothing of what was there is touched.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use clawmesh::adapters::clock::SystemClock;
use clawmesh::adapters::marks::MarkPlaces;
use clawmesh::domain::base::Code;
use clawmesh::domain::base::limits::TEXT_MAX_CHARS;
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::policy::STARTER_POLICY;
use clawmesh::node::{Node, Opened, Outside, proposals};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use serde_json::json;

use crate::harness;
use crate::process::*;

/// Every file below a directory with its content.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    place
        .run(&["start", "--port", &port])
        .fails(1, &[&format!("port {port} on 127.0.0.1"), "--port"]);
    assert!(!place.state().join("run.json").exists());
    // Nothing is left in the way of the next start.
    drop(taken);
    assert_eq!(place.start(&["--port", &port]).stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_the_state_free_for_the_next_one_in_the_same_process() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let open = |port: u16| {
        let mut raw = harness::field().raw;
        raw.port = Some(port);
        let config = raw.resolve(dir.path().join("state")).unwrap();
        let mut outside = Outside::real(Arc::new(SystemClock::default()));
        outside.marks = MarkPlaces {
            inside: true,
            outside: vec![dir.path().join("marks")],
        };
        Opened::open_in(config, outside)
    };
    // The desktop keeps hold of what it started, for signals.
    let refused = open(taken.local_addr().unwrap().port()).await.unwrap();
    let held = refused.handles.clone();
    let Err(error) = Node::start(refused, |_| axum::Router::new()).await else {
        panic!("the port is taken");
    };
    assert!(error.to_string().contains("--port"), "{error}");

    let opened = open(0).await.unwrap();
    assert_eq!(opened.handles.continuity.doubt(), None);
    assert!(held.store.read("closed", |_| Ok(())).await.is_err());
    let node = Node::start(opened, |_| axum::Router::new()).await.unwrap();
    node.stop().await;
}

#[test]
fn a_corrupt_database_is_left_as_it_is() {
    let garbage = Place::new();
    let noise: Vec<u8> = (0..10_000u32).map(|n| (n * 31 % 251) as u8).collect();
    garbage.device();
    std::fs::write(garbage.state().join("clawmesh.db"), &noise).unwrap();

    let scribbled = Place::new();
    assert_eq!(scribbled.field(&[]).stop(), 0);
    let file = scribbled.state().join("clawmesh.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100..400].fill(0xAA);
    std::fs::write(&file, &bytes).unwrap();

    let short = Place::new();
    assert_eq!(short.field(&[]).stop(), 0);
    let file = short.state().join("clawmesh.db");
    let half = std::fs::metadata(&file).unwrap().len() / 2;
    let cut = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(half).unwrap();

    for place in [garbage, scribbled, short] {
        let file = place.state().join("clawmesh.db");
        let before = std::fs::read(&file).unwrap();
        for command in [
            &["start", "--port", "0"][..],
            &["trust", "list"],
            &["audit", "verify"],
        ] {
            let said = place.run(command);
            match command[0] {
                // It also says what is not known of actuators, once in the log.
                "start" => said.fails_on_lines(5, &["look at", "clawmesh.db", "look at"]),
                _ => said.fails(5, &["clawmesh.db"]),
            };
            assert_eq!(std::fs::read(&file).unwrap(), before, "{command:?}");
        }
    }
}

#[test]
fn a_damaged_identity_is_never_replaced() {
    let place = Place::new();
    for damaged in ["{\"version\":1,\"dev", "", "{}"] {
        place.write("identity.json", damaged);
        let file = place.state().join("identity.json");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        for command in [&["start", "--port", "0"][..], &["identity"]] {
            place.run(command).fails(5, &["identity.json"]);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), damaged);
        }
    }
}

#[test]
fn two_nodes_never_share_a_state_directory() {
    let place = Place::new();
    let node = place.field(&[]);
    place
        .run(&["start", "--port", "0"])
        .fails(5, &["in use", "--state-dir"]);
    // The first one has not noticed.
    assert_eq!(place.json(&["status"])["port"], node.port());
    node.kill();
    // A crash leaves no lock behind.
    assert_eq!(place.field(&[]).stop(), 0);
}

#[test]
fn a_gen1_state_directory_is_recognised_and_only_migrate_reads_it() {
    let place = Place::new();
    let old = place.beside("gen1");
    let key = DeviceKey::from_seed(&[42; 32]);
    let pem = SigningKey::from_bytes(&[42; 32])
        .to_pkcs8_pem(Default::default())
        .unwrap();
    let (pinned, unpinned) = (harness::key(1), harness::key(2));
    let identity =
        json!({"version": 1, "deviceId": key.id(), "privateKeyPem": *pem, "createdAtMs": 1});
    let peers = json!({"version": 1, "peers": [
        {"deviceId": pinned.id(), "displayName": "jetson", "publicKey": pinned.public().to_text(), "addedAt": "2026-01-01"},
        {"deviceId": unpinned.id(), "addedAt": "2026-01-01"},
        {"deviceId": "nonsense", "addedAt": "2026-01-01"},
    ]});
    for (name, content) in [
        ("identity/device.json", identity),
        ("mesh/trusted-peers.json", peers),
    ] {
        let file = old.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content.to_string()).unwrap();
    }
    let mesh_id = "0f0e0d0c-1111-4222-8333-444455556666";
    std::fs::write(old.join("mesh/mesh-id"), format!("{mesh_id}\n")).unwrap();
    std::fs::write(old.join("mesh/patterns.json"), "{}").unwrap();
    let before = contents(&old);
    for command in [
        &["start", "--port", "0"][..],
        &["start", "--port", "0", "--mock-actuator"],
        &["identity"],
        &["trust", "list"],
        &["audit", "verify"],
    ] {
        place
            .run_at(&old, command)
            .fails(5, &["gen-1", "clawmesh-node migrate"]);
        assert_eq!(contents(&old), before, "{command:?}");
    }
    let from = old.display().to_string();
    let done = place.json(&["migrate", "--from", &from]);
    assert_eq!(done["deviceId"], key.id().as_str());
    assert_eq!(done["meshId"], mesh_id, "{done}");
    assert_eq!(done["leftFiles"], json!(["mesh/patterns.json"]));
    // Where the mesh had a name, only the person knows it.
    let named = Place::new();
    let said = named
        .run(&["migrate", "--from", &from, "--mesh-name", "orchard"])
        .out;
    assert!(
        said.contains("orchard") && said.contains("patterns.json"),
        "{said}"
    );
    let running = named.start(&[]);
    let expected = clawmesh::domain::base::MeshId::of_name("orchard");
    assert_eq!(named.json(&["status"])["meshId"], expected.as_str());
    assert_eq!(running.stop(), 0);
    assert_eq!(contents(&old), before);
    assert_eq!(place.device(), key.id().as_str());
    let trusted = place.json(&["trust", "list"]);
    let of = |id: &str| {
        let all = trusted.as_array().unwrap();
        all.iter().find(|r| r["deviceId"] == id).cloned().unwrap()
    };
    assert_eq!(trusted.as_array().unwrap().len(), 2, "{trusted}");
    let jetson = of(pinned.id().as_str());
    assert_eq!(jetson["publicKey"], pinned.public().to_text());
    assert_eq!(jetson["name"], "jetson");
    assert_eq!(done["leftOut"][0]["deviceId"], "nonsense", "{done}");
    assert!(of(unpinned.id().as_str())["publicKey"].is_null());
    // A second migration does not overwrite what is there.
    place
        .run(&["migrate", "--from", &from])
        .fails(5, &["identity.json", "not overwritten"]);
    let running = place.start(&[]);
    assert_eq!(place.json(&["status"])["meshId"], mesh_id);
    assert_eq!(running.stop(), 0);
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    for mode in [0o770, 0o702] {
        let place = Place::new();
        std::fs::create_dir(place.state()).unwrap();
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(place.state(), mode).unwrap();
        };
        set(mode);
        for command in [&["start", "--port", "0"][..], &["identity"]] {
            place.run(command).fails(5, &["chmod 700"]);
        }
        assert!(contents(&place.state()).is_empty(), "nothing was made");
        set(0o700);
        place.device();
    }
}

#[test]
fn a_policy_whose_tests_fail_leaves_the_last_good_one_in_force() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let good = place.json(&["status"])["policy"].clone();
    assert!(good["rules"].as_u64().unwrap() > 0 && good["problem"].is_null());
    // Three metres of water where the file's own test says twenty seconds.
    let bad = STARTER_POLICY.replace("max = 20", "max = 3600").replace(
        "deadline_sec = 20                #",
        "deadline_sec = 3600              #",
    );
    assert_ne!(bad, STARTER_POLICY);
    place.write("policy.toml", &bad);
    place
        .run(&["policy", "test"])
        .fails(6, &["policy.toml", "fail"]);
    place
        .run(&["policy", "reload"])
        .fails(1, &["not longer than 20 seconds"]);
    let still = |place: &Place| {
        let status = place.json(&["status"]);
        assert_eq!(status["policy"]["digest"], good["digest"], "{status}");
        assert!(
            status["policy"]["problem"]
                .as_str()
                .unwrap()
                .contains("not longer than 20 seconds"),
            "{status}"
        );
        assert!(
            status["problems"].to_string().contains("policy.toml"),
            "{status}"
        );
        let id = place.propose(1);
        let ended = place.json(&["approve", &id, "--wait"]);
        assert_eq!(ended["status"], "completed", "{ended}");
        let long = [
            "propose",
            VALVE,
            "open",
            "durationSec=1000",
            "--reason",
            "dry",
        ];
        place.run(&long).fails(1, &["POLICY_DENIED"]);
    };
    still(&place);
    node.kill();
    let node = place.field(&[]);
    still(&place);
    // The good file again, and all is well.
    place.write("policy.toml", STARTER_POLICY);
    place.json(&["policy", "reload"]);
    assert!(place.json(&["status"])["policy"]["problem"].is_null());
    assert_eq!(node.stop(), 0);
}

#[test]
fn without_any_good_policy_everything_is_denied() {
    for bad in [
        "version = 1\n[[rul",
        "version = 7\n",
        "version = 1\nfoo = 1\n",
    ] {
        let place = Place::new();
        place.write("policy.toml", bad);
        let node = place.field(&[]);
        let status = place.json(&["status"]);
        assert_eq!(status["policy"]["rules"], 0, "{status}");
        assert!(status["policy"]["problem"].is_string(), "{status}");
        assert!(
            status["problems"].to_string().contains("policy.toml"),
            "{status}"
        );
        let wish = ["propose", VALVE, "open", "durationSec=1", "--reason", "dry"];
        place.run(&wish).fails(1, &["POLICY_DENIED"]);
        assert!(harness::journal(&place.state()).is_empty());
        node.kill();
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let id = "a".repeat(64);
    let peer = |rest: &str| format!("{id}={rest}");
    let wan = peer("ws://198.51.100.7:18789||relay");
    let vpn = peer("ws://198.51.100.7:18789||vpn");
    let no_url = peer("");
    let ftp = peer("ftp://127.0.0.1:1||local");
    let tls = peer("wss://127.0.0.1:1|abc|local");
    let short_id = "abc=ws://127.0.0.1:1||local".to_owned();
    let no_id = "ws://127.0.0.1:1||local".to_owned();
    let label = peer("ws://127.0.0.1:1||moon");
    let cases: [(&[&str], &str); 13] = [
        (&["--prot", "1"], "--prot"),
        (&["--port", "70000"], "70000"),
        (&["--role", "king"], "king"),
        (&["--host", "nowhere"], "nowhere"),
        (&["--sensor-interval", "1"], "sensor_interval_ms"),
        (&["--peer", &wan], "relay"),
        (&["--peer", &vpn], "vpn"),
        (&["--peer", &no_url], "peer"),
        (&["--peer", &ftp], "ftp"),
        (&["--peer", &tls], "fingerprint"),
        (&["--peer", &short_id], "abc"),
        (&["--peer", &no_id], "peer"),
        (&["--peer", &label], "moon"),
    ];
    let place = Place::new();
    for (flags, word) in cases {
        let line = [&["start"], flags].concat();
        place.run(&line).fails(2, &[word]);
    }
    assert!(
        !place.state().exists(),
        "a refused command line makes nothing"
    );
    // What is wrong in the file is told line by line: where and what, what stands there, what to do.
    for (text, at, there) in [
        (
            "nmae = 'x'\n",
            "config.toml, line 1: unknown field `nmae`",
            "1 | nmae = 'x'",
        ),
        (
            "name = 'x'\nport = 'x'\n",
            "config.toml, line 2:",
            "2 | port = 'x'",
        ),
        ("[store]\nmax = 1\n", "config.toml, line 2:", "2 | max = 1"),
        ("port = = 1\n", "config.toml, line 1:", "1 | port = = 1"),
    ] {
        place.write("config.toml", text);
        place
            .run(&["start", "--port", "0"])
            .fails_on_lines(2, &[at, there, "mend that line"]);
        assert!(!place.state().join("identity.json").exists());
    }
    {
        place.write("config.toml", "role = 'king'\n");
        place
            .run(&["start", "--port", "0"])
            .fails_on_lines(2, &["role: unknown role \"king\"", "config.toml"]);
        assert!(!place.state().join("identity.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_behind_what_the_node_has_lived_through_operates_nothing() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let first = harness::field().start_in(dir.clone(), Some(1)).await;
    let wish = crate::main_job::draft(first.shared(), 1).await;
    proposals::mint(first.shared(), wish.clone(), first.shared().own_id())
        .await
        .unwrap();
    first.stop().await;

    let mut setup = harness::field();
    setup.clock = Arc::new(SystemClock::with_offset(-3_600_000));
    let behind = setup.start_in(dir.clone(), Some(1)).await;
    let draft = crate::main_job::draft(behind.shared(), 2).await;
    let refusal = proposals::mint(behind.shared(), draft, behind.shared().own_id())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::ClockUntrusted, "{refusal}");
    assert!(harness::journal(behind.state().root()).is_empty());
    behind.stop().await;

    // With the right time again it works, and nothing has been lost.
    let again = harness::field().start_in(dir, Some(1)).await;
    let draft = crate::main_job::draft(again.shared(), 3).await;
    proposals::mint(again.shared(), draft, again.shared().own_id())
        .await
        .unwrap();
    let open = again
        .shared()
        .store
        .read("t", |c| {
            clawmesh::adapters::store::proposals::open_list(c, 10)
        })
        .await
        .unwrap();
    assert_eq!(open.len(), 2);
    again.stop().await;
}

#[test]
fn a_full_store_refuses_writes_and_keeps_everything() {
    let place = Place::new();
    place.enrolled();
    place.write("config.toml", "[store]\nmax_bytes = 400000\n");
    let fast = ["--host-sensor", "--sensor-interval", "50"];
    let flags = |node: &Place| {
        node.start(
            &[
                &[
                    "--role",
                    "field",
                    "--mesh-name",
                    "test",
                    "--mock-sensor",
                    "--mock-actuator",
                ],
                &fast[..],
            ]
            .concat(),
        )
    };
    let node = flags(&place);
    let kept = place.propose(1);
    let mut trusted = BTreeSet::new();
    let (name, mut round, mut refused) = ("n".repeat(128), 0u8, 0);
    eventually("the store is full", || {
        round += 1;
        let id = harness::key(round).id().to_string();
        let said = place.run(&["trust", "add", &id, "--name", &name]);
        if said.code == 0 {
            trusted.insert(id);
            refused = 0;
        } else {
            said.fails(1, &["STORAGE_FULL", "store.max_bytes"]);
            refused += 1;
        }
        (refused == 3).then_some(())
    });
    let known = |place: &Place| -> BTreeSet<String> {
        let listed = place.json(&["trust", "list"]);
        let all = listed.as_array().unwrap().iter();
        all.map(|r| r["deviceId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(known(&place), trusted, "exactly what was acknowledged");
    // A wish is a larger write: with no room for it, it is refused and no proposal is shown.
    let padding = "the soil is dry ".repeat(TEXT_MAX_CHARS / 16 - 1);
    let world = place.json(&["world", "--metric", "moisture"]);
    let cite = world[0]["frameId"].as_str().unwrap();
    let wish = [
        "propose",
        VALVE,
        "open",
        "durationSec=2",
        "--cite",
        cite,
        "--reason",
        &padding,
    ];
    place.run(&wish).fails(1, &["STORAGE_FULL"]);
    let shown = place.json(&["proposals", "--all"]);
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    // A decision may still find room. If it does not, it leaves no trace and nothing moves.
    let decided = place.run(&["approve", &kept, "--note", &padding]);
    if decided.code != 0 {
        decided.fails(1, &["STORAGE_FULL"]);
        assert_eq!(place.status_of(&kept), "awaiting_approval");
        assert!(place.moves(&kept).is_empty(), "nothing moved");
    }
    assert_eq!(place.json(&["audit", "verify"])["ok"], true);
    // By now the full store may be an alarm, which `status` ends with.
    let said = place.run(&["status", "--json"]);
    assert!([0, 7].contains(&said.code), "{said:?}");
    let status: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let counted = status["frames"].as_u64().unwrap();
    assert!(status["problems"].to_string().contains("full"), "{status}");
    node.kill();

    // Room again: everything that was acknowledged is there, and work goes on.
    place.write("config.toml", "[store]\nmax_bytes = 100000000\n");
    let node = flags(&place);
    assert_eq!(known(&place), trusted, "nothing acknowledged was lost");
    assert!(place.json(&["status"])["frames"].as_u64().unwrap() >= counted);
    eventually("there are fresh readings", || {
        let world = place.json(&["world", "--metric", "tank.level"]);
        (world[0]["ageMs"].as_u64()? < 5_000).then_some(())
    });
    place.run(&["approve", &kept, "--wait"]);
    let ended = place.proposal(&kept).unwrap();
    let ends = ["completed", "unknown"];
    let end = match decided.code {
        0 => ends.contains(&ended["status"].as_str().unwrap()),
        _ => ended["status"] == "completed",
    };
    assert!(end, "{ended}");
    let opened = place.moves(&kept).iter().filter(|p| *p == "open").count();
    assert!(opened <= 1, "{ended}");
    assert_eq!(place.json(&["audit", "verify"])["ok"], true);
    node.kill();
}
