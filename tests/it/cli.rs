//! The command line as other programs rely on it: names, fields, exit codes, one line on stderr.

use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::key;
use crate::process::*;

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn strings(value: &Value) -> Vec<&str> {
    let all = value.as_array().unwrap();
    all.iter().map(|v| v.as_str().unwrap()).collect()
}

fn mode(place: &Place, file: &str) -> u32 {
    let meta = std::fs::metadata(place.state().join(file)).unwrap();
    meta.permissions().mode() & 0o777
}

#[test]
fn identity_is_three_fields_running_or_not_and_never_the_secret() {
    let place = Place::new();
    let before = place.json(&["identity"]);
    assert_eq!(keys(&before), ["deviceId", "displayName", "publicKey"]);
    let public =
        clawmesh::domain::identity::PublicKey::from_text(before["publicKey"].as_str().unwrap())
            .unwrap();
    assert_eq!(
        before["deviceId"],
        public.device_id().as_str(),
        "the id is the hash of the key"
    );
    assert_eq!(mode(&place, "identity.json"), 0o600);
    assert_eq!(mode(&place, ""), 0o700);
    let node = place.field(&[]);
    let running = place.json(&["identity"]);
    assert_eq!(running["deviceId"], before["deviceId"]);
    assert_eq!(running["publicKey"], before["publicKey"]);
    assert_eq!(running["displayName"], "field-1");
    let file = std::fs::read_to_string(place.state().join("identity.json")).unwrap();
    let stored: Value = serde_json::from_str(&file).unwrap();
    let secret = stored
        .as_object()
        .unwrap()
        .iter()
        .find(|(k, _)| k.to_lowercase().contains("secret") || k.to_lowercase().contains("priv"))
        .unwrap()
        .1;
    let plain = place.run(&["identity"]);
    for said in [plain.out.as_str(), &running.to_string(), &place.log()] {
        assert!(!said.contains(secret.as_str().unwrap()));
    }
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_bare_start_with_the_flags_of_the_contract_shows_in_status() {
    let place = Place::new();
    let peer = format!("{}=ws://127.0.0.1:18789||local", key(9).id());
    let node = place.start(&[
        "--name",
        "field-1",
        "--role",
        "field",
        "--mesh-name",
        "demo",
        "--port",
        "0",
        "--no-discovery",
        "--mock-sensor",
        "--mock-actuator",
        "--peer",
        &peer,
    ]);
    let status = place.json(&["status"]);
    assert!(status["frames"].is_u64() && status["uptimeMs"].is_u64());
    assert_eq!(status["peers"], serde_json::json!([]));
    assert_eq!(status["port"], node.port());
    assert_eq!(status["displayName"], "field-1");
    assert_eq!(status["role"], "field");
    assert_eq!(status["meshName"], "demo");
    assert_eq!(status["deviceId"], place.device());
    assert!(strings(&status["capabilities"]).contains(&VALVE));
    eventually("frames are counted", || {
        place.json(&["status"])["frames"]
            .as_u64()
            .filter(|n| *n > 0)
    });
    let (code, body) = node.http("GET", "/healthz", &[]);
    assert_eq!(code, 200, "{body}");
    let run: Value =
        serde_json::from_str(&std::fs::read_to_string(place.state().join("run.json")).unwrap())
            .unwrap();
    assert_eq!(run["port"], node.port());
    assert_eq!(node.stop(), 0);
    assert!(!place.state().join("run.json").exists());
    place
        .run(&["status"])
        .fails(4, &["no node runs", "clawmesh-node start"]);
}

#[test]
#[allow(clippy::too_many_lines, reason = "one life, told step by step")]
fn proposals_have_the_fields_of_the_contract_and_prefixes_must_be_unique() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    assert_eq!(place.json(&["proposals"]), serde_json::json!([]));
    // 17 different wishes: two of them begin with the same hexadecimal digit.
    let ids: Vec<String> = (1..=17).map(|seconds| place.propose(seconds)).collect();
    let listed = place.json(&["proposals"]);
    assert_eq!(listed.as_array().unwrap().len(), 17);
    for p in listed.as_array().unwrap() {
        for field in [
            "id",
            "status",
            "level",
            "target",
            "operation",
            "params",
            "executor",
            "createdAt",
            "expiresAt",
            "evidence",
        ] {
            assert!(!p[field].is_null(), "{field} is missing: {p}");
        }
        assert_eq!(
            (&p["status"], &p["level"], &p["operation"]),
            (&"awaiting_approval".into(), &"L2".into(), &"open".into())
        );
        assert_eq!(p["target"], VALVE);
        assert_eq!(p["executor"], place.device());
        assert!(p["expiresAt"].as_u64() > p["createdAt"].as_u64());
        let evidence = &p["evidence"][0];
        assert_eq!(evidence["origin"], place.device(), "{evidence}");
        for field in [
            "frameId",
            "ageMs",
            "claimedTier",
            "effectiveTier",
            "signature",
        ] {
            assert!(!evidence[field].is_null(), "{field}: {evidence}");
        }
    }
    // The same list in pages.
    let tokens = std::fs::read_to_string(place.state().join("tokens.json")).unwrap();
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let bearer = format!("authorization: Bearer {}", tokens["read"].as_str().unwrap());
    let page = |query: &str| {
        let path = format!("/api/operator/v1/proposals?{query}");
        let (status, body) = node.http("GET", &path, &[&bearer]);
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let mut paged: Vec<Value> = Vec::new();
    loop {
        let before = paged
            .last()
            .map(|p| format!("&before={}", p["id"].as_str().unwrap()));
        let (_, more) = page(&format!("limit=6{}", before.unwrap_or_default()));
        let more = more.as_array().unwrap();
        assert!(more.len() <= 6);
        if more.is_empty() {
            break;
        }
        paged.extend(more.iter().cloned());
    }
    let ids_of = |list: &[Value]| -> Vec<Value> { list.iter().map(|p| p["id"].clone()).collect() };
    assert_eq!(ids_of(&paged), ids_of(listed.as_array().unwrap()));
    assert_eq!(page("limit=100000").0, 400);
    assert_eq!(page("before=00000000-dead").0, 404);
    let twice = ids
        .iter()
        .find(|a| ids.iter().filter(|b| b[..1] == a[..1]).count() > 1)
        .unwrap();
    place
        .run(&["approve", &twice[..1]])
        .fails(3, &["give more of the id"]);
    for wrong in ["zzzz", "", "00000000-0000-0000-0000-000000000000"] {
        place.run(&["approve", wrong]).fails(3, &["proposal"]);
    }
    assert!(crate::harness::journal(&place.state()).is_empty());
    // A prefix that fits one approves exactly that one.
    let chosen = &ids[0];
    let others = |n: usize| ids[1..].iter().any(|i| i[..n] == chosen[..n]);
    let length = (1..=36).find(|n| !others(*n)).unwrap();
    let standing = place.json(&["approve", &chosen[..length], "--note", "looks dry"]);
    assert_eq!(standing["id"], chosen.as_str());
    assert_eq!(standing["status"], "executing");
    let rejected = place.json(&["reject", &ids[1], "--note", "wet enough"]);
    assert_eq!(rejected["status"], "rejected");
    let withdrawn = place.json(&["withdraw", &ids[2]]);
    assert_eq!(withdrawn["status"], "withdrawn");
    place.await_status(chosen, &["completed"]);
    let open = place.json(&["proposals"]);
    assert_eq!(open.as_array().unwrap().len(), 14, "only open ones");
    let all = place.json(&["proposals", "--all"]);
    assert_eq!(all.as_array().unwrap().len(), 17);
    let trace = place.json(&["trace", chosen]);
    let stages: Vec<&str> = trace["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["stage"].as_str().unwrap())
        .collect();
    for stage in ["reading", "minted", "decision", "executing", "outcome"] {
        assert!(stages.contains(&stage), "{stage} is missing: {stages:?}");
    }
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_person_who_is_not_enrolled_decides_nothing() {
    let place = Place::new();
    let node = place.field(&[]);
    let id = place.propose(1);
    place
        .run(&["approve", &id])
        .fails(1, &["no operator key", "operator init"]);
    let mine = place.operator();
    assert_eq!(mode(&place, "operator-key.json"), 0o600);
    place
        .run(&["approve", &id])
        .fails(1, &["OPERATOR_UNKNOWN", "operator enroll"]);
    let enrolled = place.json(&[
        "operator", "enroll", &mine, "--level", "L2", "--name", "ada",
    ]);
    let operator = enrolled["operatorId"].as_str().unwrap().to_owned();
    place.json(&["operator", "revoke", &operator[..12]]);
    place.run(&["approve", &id]).fails(1, &["OPERATOR_REVOKED"]);
    assert_eq!(place.status_of(&id), "awaiting_approval");
    assert!(crate::harness::journal(&place.state()).is_empty());
    assert_eq!(node.stop(), 0);
}

#[test]
fn trust_works_the_same_stopped_and_running() {
    let place = Place::new();
    let mut node = None;
    for round in [1, 2] {
        let n = |i: u8| key(round * 10 + i);
        let id = |i: u8| n(i).id().to_string();
        let grants = |record: &Value| strings(&record["grants"]).join(",");
        let presets = [
            ("field", "observe:T2,relay,read,estop,actuate"),
            (
                "command-center",
                "observe:T2,human,plan,relay,read,llm,estop",
            ),
            ("viewer", "read"),
            ("gen1", "observe:T2,plan,relay,read"),
        ];
        for (i, (preset, expected)) in (1u8..).zip(presets) {
            let record = place.json(&["trust", "add", &id(i), "--as", preset, "--name", preset]);
            let (mut have, mut want): (Vec<_>, Vec<_>) = (
                strings(&record["grants"]),
                expected.split(',').collect::<Vec<_>>(),
            );
            have.sort_unstable();
            want.sort_unstable();
            assert_eq!(have, want, "{preset}");
            assert_eq!(record["name"], preset);
            assert!(record["publicKey"].is_null());
        }
        let plain = place.json(&["trust", "add", &id(5)]);
        let gen1 = place.json(&["trust", "show", &id(4)]);
        assert_eq!(grants(&plain), grants(&gen1), "no flag is gen1");
        let pinned = place.json(&[
            "trust",
            "add",
            &id(6),
            "--public-key",
            &n(6).public().to_text(),
            "--grant",
            "observe:T3",
        ]);
        assert_eq!(grants(&pinned), "observe:T3", "--grant alone, no preset");
        assert_eq!(pinned["publicKey"], n(6).public().to_text());
        let more = place.json(&["trust", "grant", &id(6), "plan,read"]);
        assert_eq!(strings(&more["grants"]).len(), 3, "{more}");
        let less = place.json(&["trust", "revoke", &id(6), "plan"]);
        assert!(!grants(&less).contains("plan"), "{less}");
        let shown = place.json(&["trust", "show", &id(6)[..20]]);
        assert_eq!(grants(&shown), grants(&less));

        place
            .run(&[
                "trust",
                "add",
                &id(7),
                "--public-key",
                &n(8).public().to_text(),
            ])
            .fails(1, &["PUBLIC_KEY_MISMATCH"]);
        place
            .run(&["trust", "add", "abc"])
            .fails(1, &["INVALID_PARAMS"]);
        place
            .run(&["trust", "add", &id(7), "--as", "king"])
            .fails(1, &["king"]);
        place
            .run(&["trust", "add", &id(7), "--grant", "fly"])
            .fails(1, &["fly"]);
        place
            .run(&["trust", "show", &id(7)])
            .fails(3, &["trusted device"]);
        place
            .run(&["trust", "remove", &id(7)])
            .fails(3, &["trusted device"]);

        place.json(&["trust", "remove", &id(5)]);
        let listed = place.json(&["trust", "list"]);
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), 5 * usize::from(round));
        assert!(listed.iter().all(|r| r["deviceId"] != id(5).as_str()));
        if round == 1 {
            node = Some(place.field(&[]));
        }
    }
    let node = node.unwrap();
    node.kill();
    let kept = place.json(&["trust", "list"]);
    assert_eq!(
        kept.as_array().unwrap().len(),
        10,
        "acknowledged is durable"
    );
    assert_eq!(place.json(&["audit", "verify"])["ok"], true);
}

#[test]
fn operators_are_made_shown_enrolled_listed_and_revoked() {
    let place = Place::new();
    place
        .run(&["operator", "show"])
        .fails(3, &["operator init"]);
    let made = place.json(&["operator", "init", "--name", "ada"]);
    assert_eq!(
        keys(&made),
        ["name", "operatorId", "protected", "publicKey"]
    );
    assert_eq!(place.json(&["operator", "show"]), made);
    place
        .run(&["operator", "init"])
        .fails(1, &["already", "operator show"]);
    let public = made["publicKey"].as_str().unwrap();
    let mut node = None;
    for running in [false, true] {
        if running {
            node = Some(place.field(&[]));
        }
        let other = clawmesh::domain::identity::OperatorKey::from_seed(&[u8::from(running); 32]);
        let text = other.public().to_text();
        // The second key has another name: a known one, also of somebody revoked, is asked about.
        let name = if running { "bob north" } else { "bob" };
        if running {
            let again = [
                "operator", "enroll", &text, "--level", "L2", "--name", "Bob ",
            ];
            place
                .run(&again)
                .fails(1, &["known here already", "--person"]);
        }
        let enrolled = place.json(&[
            "operator", "enroll", &text, "--level", "L2", "--name", name, "--days", "3",
        ]);
        assert_eq!(enrolled["operatorId"], other.id().as_str());
        assert_eq!(enrolled["maxLevel"], "L2");
        let (from, to) = (
            enrolled["issuedAt"].as_u64().unwrap(),
            enrolled["expiresAt"].as_u64().unwrap(),
        );
        assert_eq!(to - from, 3 * 86_400_000);
        for (line, word) in [
            (&["operator", "enroll", "nokey", "--level", "L2"][..], "key"),
            (&["operator", "enroll", public, "--level", "L9"], "L9"),
            (
                &[
                    "operator", "enroll", public, "--level", "L2", "--days", "4000",
                ],
                "days",
            ),
        ] {
            place.run(line).fails(1, &[word]);
        }
        let revoked = place.json(&["operator", "revoke", other.id().as_str()]);
        assert!(revoked["revokedAt"].is_u64());
        // A revoked key never comes back.
        let again = place.run(&["operator", "enroll", &text, "--level", "L2"]);
        again.fails(1, &["revoked"]);
        let listed = place.json(&["operator", "list"]);
        let same = |o: &&Value| o["operatorId"] == other.id().as_str();
        let found = listed.as_array().unwrap().iter().find(same).cloned();
        assert!(found.unwrap()["revokedAt"].is_u64());
        place
            .run(&["operator", "revoke", "ffff"])
            .fails(3, &["operator"]);
    }
    assert_eq!(node.unwrap().stop(), 0);
}

#[test]
fn policy_is_shown_tested_and_explained_without_a_node() {
    let place = Place::new();
    place
        .run(&["policy", "show"])
        .fails(3, &["policy.toml", "policy starter"]);
    let starter = place.run(&["policy", "starter"]);
    assert_eq!(starter.out, clawmesh::domain::policy::STARTER_POLICY);
    place.write("policy.toml", &starter.out);
    let shown = place.json(&["policy", "show"]);
    assert_eq!(shown["rules"].as_array().unwrap().len(), 3);
    let tested = place.json(&["policy", "test"]);
    assert_eq!(
        (&tested["passed"], &tested["failed"]),
        (&6.into(), &0.into())
    );
    let explain = |more: &[&str]| {
        let fixed = ["policy", "explain", VALVE, "open"];
        place.json(&[&fixed, more].concat())
    };
    let yes = explain(&["durationSec=10"]);
    assert_eq!(
        (&yes["ruling"], &yes["level"]),
        (&"allow".into(), &"L2".into())
    );
    let model = explain(&["durationSec=10", "--requester", "llm"]);
    assert_eq!(model["level"], "L2");
    let no = explain(&["durationSec=1000"]);
    assert_eq!(
        (&no["ruling"], &no["code"]),
        (&"deny".into(), &"POLICY_DENIED".into())
    );
    assert!(!no["checks"].as_array().unwrap().is_empty());
    let node = place.field(&[]);
    assert_eq!(place.json(&["status"])["policy"]["digest"], shown["digest"]);
    let broken = starter.out.replace("max = 20", "max = 5");
    place.write("other.toml", &broken);
    let other = place.state().join("other.toml").display().to_string();
    place
        .run(&["policy", "test", &other])
        .fails(6, &["tests fail", "other.toml"]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn audit_verify_sees_one_altered_byte_and_a_missing_end() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(1);
    place.json(&["reject", &id]);
    let live = place.json(&["audit", "verify"]);
    assert_eq!(live["ok"], true);
    assert_eq!(node.stop(), 0);
    let good = place.json(&["audit", "verify"]);
    assert!(good["entries"].as_u64() >= live["entries"].as_u64());
    assert!(good["entries"].as_u64().unwrap() >= 3, "{good}");
    let database = place.state().join("clawmesh.db");
    let kept = std::fs::read(&database).unwrap();
    let last = good["entries"].as_u64().unwrap();
    let alter = |sql: &str| {
        std::fs::write(&database, &kept).unwrap();
        let conn = Connection::open(&database).unwrap();
        assert_eq!(conn.execute(sql, []).unwrap(), 1, "{sql}");
        conn.close().unwrap();
    };
    let altered = "altered";
    for (sql, word) in [
        (
            "UPDATE audit SET json = substr(json, 1, 20) || 'x' || substr(json, 22) WHERE seq = 2",
            altered,
        ),
        ("UPDATE audit SET json = json || ' ' WHERE seq = 1", altered),
        (
            "UPDATE audit SET signature = (SELECT signature FROM audit WHERE seq = 1) WHERE seq = 2",
            "signed",
        ),
        ("DELETE FROM audit WHERE seq = 2", "missing"),
        (
            "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
            "the chain ends",
        ),
    ] {
        alter(sql);
        place.run(&["audit", "verify"]).fails(6, &[word]);
        let report = place.run(&["audit", "verify", "--json"]);
        report.fails(6, &[word]);
        let report: Value = serde_json::from_str(&report.out).unwrap();
        assert_eq!(report["ok"], false, "{sql}");
        assert!(!report["faults"].as_array().unwrap().is_empty());
    }
    alter("UPDATE audit SET json = json WHERE seq = 1");
    assert_eq!(place.json(&["audit", "verify"])["entries"], last);
    // A node that runs on an altered trail says so too.
    alter("UPDATE audit SET json = json || ' ' WHERE seq = 1");
    let node = place.field(&[]);
    place.run(&["audit", "verify"]).fails(6, &["altered"]);
    node.kill();
}

#[test]
fn every_listing_has_json_and_unknown_flags_are_errors() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&["--host-sensor"]);
    let id = place.propose(2);
    place.json(&["trust", "add", key(4).id().as_str()]);
    for line in [
        &["identity"][..],
        &["status"],
        &["peers"],
        &["world"],
        &["frames"],
        &["events"],
        &["proposals"],
        &["proposals", "--all"],
        &["show", &id],
        &["trace", &id],
        &["policy", "show"],
        &["policy", "test"],
        &["policy", "explain", VALVE, "open", "durationSec=1"],
        &["audit", "verify"],
        &["audit", "show"],
        &["trust", "list"],
        &["operator", "list"],
        &["operator", "show"],
    ] {
        let value = place.json(line);
        assert!(
            value.as_array().is_none_or(|a| !a.is_empty()) || line == ["peers"],
            "{line:?} is empty"
        );
        let plain = place.run(line);
        assert_eq!((plain.code, plain.err.as_str()), (0, ""), "{plain:?}");
        assert!(!plain.out.trim().is_empty(), "{line:?}");
        let wrong = [line, &["--colour"]].concat();
        place.run(&wrong).fails(2, &["--colour"]);
    }
    place.run(&["aprove", &id]).fails(2, &["aprove"]);
    place.run(&["approve"]).fails(2, &["PROPOSAL"]);
    place
        .run(&["frames", "--limit", "many"])
        .fails(2, &["many"]);
    let world = place.json(&["world"]);
    let metrics: Vec<&str> = world
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["metric"].as_str().unwrap())
        .collect();
    assert!(
        metrics.contains(&"moisture") && metrics.iter().any(|m| m.contains("cpu")),
        "{metrics:?}"
    );
    assert_eq!(node.stop(), 0);
}

#[test]
fn the_api_answers_only_with_a_token_and_no_web_page() {
    let place = Place::new();
    let node = place.field(&["--log", "trace"]);
    assert_eq!(mode(&place, "tokens.json"), 0o600);
    assert_eq!(mode(&place, "node.sock"), 0o600);
    let text = std::fs::read_to_string(place.state().join("tokens.json")).unwrap();
    let tokens: Value = serde_json::from_str(&text).unwrap();
    let bearer = |scope: &str| format!("Authorization: Bearer {}", tokens[scope].as_str().unwrap());
    let (read, operate) = (bearer("read"), bearer("operate"));
    let status = "/api/operator/v1/status";
    assert_eq!(node.http("GET", status, &[&read]).0, 200);
    for without in [
        &[][..],
        &["Authorization: Bearer wrong"],
        &["Authorization: Bearer "],
        &["Authorization: Basic YTpi"],
    ] {
        let (code, body) = node.http("GET", status, without);
        assert_eq!(code, 401, "{without:?}: {body}");
        assert!(body.contains("UNAUTHENTICATED"), "{body}");
    }
    for (foreign, path) in [
        ("Origin: https://evil.example", status),
        ("Origin: null", status),
        ("Origin: https://evil.example", "/metrics"),
        ("Host: evil.example", status),
    ] {
        assert_eq!(
            node.http("GET", path, &[&read, foreign]).0,
            403,
            "{foreign}"
        );
    }
    // A token to look with changes nothing; one to operate with does not administer.
    let reload = "/api/operator/v1/policy/reload";
    for token in [&read, &operate] {
        let (code, body) = node.http("POST", reload, &[token, "Content-Length: 0"]);
        assert_eq!(code, 403, "{body}");
    }
    assert_eq!(node.http("GET", "/metrics", &[]).0, 401);
    assert_eq!(node.http("GET", "/metrics", &[&read]).0, 200);
    place.json(&["proposals"]);
    let (log, seen) = (place.log(), node.seen_by_others());
    assert!(log.contains("starter policy"), "this is its log: {log}");
    for scope in ["read", "operate", "admin"] {
        let token = tokens[scope].as_str().unwrap();
        assert!(token.len() >= 32);
        assert!(!log.contains(token), "the {scope} token is in the log");
        assert!(!seen.contains(token), "others can see the {scope} token");
    }
    assert_eq!(node.stop(), 0);
}

#[test]
fn whoever_approves_at_l3_names_what_will_move() {
    let place = Place::new();
    let strict = clawmesh::domain::policy::STARTER_POLICY
        .replace("level = \"L2\"", "level = \"L3\"")
        .replace("expect = \"L2\"", "expect = \"L3\"");
    place.write("policy.toml", &strict);
    let key = place.operator();
    place.json(&["operator", "enroll", &key, "--level", "L3", "--name", "ada"]);
    let node = place.field(&[]);
    let id = place.propose(3);
    place
        .run(&["approve", &id])
        .fails(2, &["L3", "--target actuator:mock:valve-1"]);
    place
        .run(&["approve", &id, "--target", "actuator:mock:pump-1"])
        .fails(2, &["valve-1", "nothing was signed"]);
    let standing = place.json(&["approve", &id, "--target", "actuator:mock:valve-1"]);
    assert_eq!(
        (
            &standing["status"],
            &standing["approvals"],
            &standing["required"]
        ),
        (&"awaiting_approval".into(), &1.into(), &2.into())
    );
    assert!(place.moves(&id).is_empty());
    node.kill();
}

#[test]
fn asking_for_the_same_again_says_so_and_a_stopped_executor_takes_no_wish() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(3);
    let wish = ["propose", VALVE, "open", "durationSec=3", "--reason", "dry"];
    let again = place.json(&wish);
    assert_eq!(
        (&again["standing"], &again["proposalId"]),
        (&Value::Bool(true), &Value::from(id.as_str())),
        "{again}"
    );
    assert_eq!(
        again["standingSince"],
        place.proposal(&id).unwrap()["createdAt"]
    );
    let said = place.run(&wish);
    assert_eq!(said.code, 0, "{said:?}");
    for words in ["this wish already waits as", id.as_str(), "it stands since"] {
        assert!(said.out.contains(words), "{words:?} is missing: {said:?}");
    }
    assert_eq!(place.json(&["proposals"]).as_array().unwrap().len(), 1);

    place.json(&["estop", "--reason", "smoke"]);
    for seconds in ["durationSec=3", "durationSec=4"] {
        let wish = ["propose", VALVE, "open", seconds, "--reason", "dry"];
        place
            .run(&wish)
            .fails(1, &["ESTOP", "smoke", "estop release"]);
    }
    assert_eq!(
        place
            .json(&["proposals", "--all"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    place.json(&["estop", "release", "--reason", "steam"]);
    assert_ne!(place.propose(4), id);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_role_where_a_preset_goes_is_told_so_and_the_other_way_round() {
    let place = Place::new();
    let id = key(4).id().to_string();
    place
        .run(&["trust", "add", &id, "--as", "planner"])
        .fails(1, &["role", "command-center"]);
    place
        .run(&["trust", "add", &id, "--as", "sensor"])
        .fails(1, &["role", "trusted as field"]);
    place
        .run(&["start", "--role", "command-center"])
        .fails(2, &["preset", "planner"]);
    assert_eq!(place.json(&["trust", "list"]), serde_json::json!([]));
}

#[test]
fn a_trusted_device_without_an_address_is_a_peer_that_is_waited_for() {
    let place = Place::new();
    let id = key(4).id().to_string();
    place.json(&["trust", "add", &id, "--name", "north"]);
    let node = place.start(&[]);
    let peers = place.json(&["peers"]);
    assert_eq!(peers[0]["deviceId"], id.as_str(), "{peers}");
    assert_eq!(
        (&peers[0]["state"], &peers[0]["displayName"]),
        (&"waiting".into(), &"north".into())
    );
    let told = place.run(&["peers"]).out;
    assert!(told.contains("has not connected since"), "{told}");
    assert!(peers[0]["since"].as_u64().unwrap() > 0, "{peers}");
    assert_eq!(node.stop(), 0);
}

#[test]
fn deciding_what_has_ended_is_no_success_and_tells_how_it_ended() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let (done, refused) = (place.propose(1), place.propose(2));
    place.json(&["approve", &done]);
    let rejected = place.json(&["reject", &refused, "--note", "wet"]);
    assert_eq!(rejected["repeated"], false, "{rejected}");
    place.await_status(&done, &["completed"]);
    place
        .run(&["approve", &done])
        .fails(1, &["nothing has changed", "it has ended: completed"]);
    place.run(&["reject", &done]).fails(
        1,
        &["PROPOSAL_NOT_WAITING", "nothing has changed", "completed"],
    );
    let again = place.run(&["reject", &refused, "--json"]);
    again.fails(1, &["nothing has changed", "rejected by ada"]);
    let again: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(
        (&again["repeated"], &again["approvals"]),
        (&true.into(), &0.into()),
        "a rejection is no approval: {again}"
    );
    place
        .run(&["approve", &refused])
        .fails(1, &["PROPOSAL_NOT_WAITING", "rejected by ada"]);
    place.run(&["stop", &done]).fails(1, &["CONFLICT", "runs"]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn an_output_that_does_not_arrive_is_a_failure() {
    let place = Place::new();
    let full = || std::fs::File::create("/dev/full").unwrap();
    for words in [&["identity"][..], &["--version"], &["completions", "bash"]] {
        let mut command = place.command();
        command.args(words).env("CLAWMESH_STATE_DIR", place.state());
        let said = command.stdout(full()).output().unwrap();
        let error = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(1), "{words:?}: {error}");
        assert!(error.contains("No space left"), "{words:?}: {error}");
    }
    // A reader that left knows that it left.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command();
    let said = command.arg("--version").stdout(writer).output().unwrap();
    assert_eq!((said.status.code(), said.stderr.len()), (Some(1), 0));
}

#[test]
fn what_people_write_is_understood_or_told_in_words() {
    use std::os::unix::ffi::OsStrExt as _;

    let place = Place::new();
    let said = |words: &[&str]| place.run(words);
    let twice = [
        "policy",
        "explain",
        "actuator:mock:valve-1",
        "open",
        "durationSec=1",
        "durationSec=2",
    ];
    let explained = |words: &[&str]| {
        place.write("policy.toml", clawmesh::domain::policy::STARTER_POLICY);
        said(words)
    };
    explained(&twice).fails(2, &["durationSec", "given twice"]);
    let odd = [
        "policy",
        "explain",
        "actuator:mock:valve-1",
        "open",
        "duration_sec=10",
    ];
    let answer = explained(&odd);
    assert!(answer.out.contains("write durationSec"), "{}", answer.out);
    said(&["estop", "--reason", " "]).fails(2, &["--reason", "say why"]);
    // A name that is no UTF-8 is a directory like any other.
    let state = place.beside("st").into_os_string();
    let state = std::path::PathBuf::from(state).join(std::ffi::OsStr::from_bytes(b"\xe4"));
    let mut command = place.command();
    let ran = command.arg("identity").env("CLAWMESH_STATE_DIR", &state);
    assert!(ran.output().unwrap().status.success());
    assert!(state.join("identity.json").exists());
    assert!(!place.beside(".clawmesh").exists());
    place.write("config.toml", "port = \"x\"\n");
    let wrong = said(&["start"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong
            .err
            .contains("expected a whole number from 0 to 65535"),
        "{}",
        wrong.err
    );
    std::fs::write(place.state().join("config.toml"), b"name = \"G\xe4rtner\"").unwrap();
    let wrong = said(&["start"]);
    assert!(
        wrong.err.contains("line 1: it is not UTF-8"),
        "{}",
        wrong.err
    );
    assert!(wrong.err.contains("Latin-1"), "{}", wrong.err);
}

#[test]
fn tables_show_names_before_ids_and_json_stays_raw() {
    let place = Place::new();
    place.enrolled();
    let stranger = key(7).id().to_string();
    let posing = format!("field-1 ({})", &place.device()[..12]);
    place.json(&["trust", "add", &stranger, "--name", &posing]);
    let node = place.field(&[]);
    let id = place.propose(1);
    let own = format!("field-1 ({})", &place.device()[..12]);
    let plain = |args: &[&str]| place.run(args).out.clone();
    let listed = plain(&["proposals"]);
    assert!(listed.contains(&own), "EXECUTOR: {listed}");
    assert!(plain(&["world"]).contains(&own), "ORIGIN");
    assert!(plain(&["frames"]).contains(&own), "ORIGIN");
    let shown = plain(&["show", &id]);
    let here = format!("this node ({})", &place.device()[..12]);
    assert!(shown.contains(&here), "evidence and asker: {shown}");
    let trusted = plain(&["trust", "list"]);
    let quoted = format!("\"{posing}\" ({})", &stranger[..12]);
    assert!(trusted.contains(&quoted), "a name is no id: {trusted}");
    assert!(plain(&["status"]).contains("clock:    in sync"));
    // For programs nothing is shortened or rounded.
    let raw = place.json(&["proposals"]);
    assert_eq!(raw[0]["executor"], place.device());
    assert_eq!(raw[0]["executorName"], "field-1");
    let record = place.json(&["trust", "show", &stranger]);
    assert_eq!(record["name"], posing);
    assert_eq!(node.stop(), 0);
}
