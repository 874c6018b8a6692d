//! `kill -9` of real processes: nothing acknowledged is lost, nothing happens twice, what was
//! interrupted is reported as unknown with its actuator in its safe state.

use serde_json::Value;

use crate::process::*;

fn frames(place: &Place) -> u64 {
    place.json(&["status"])["frames"].as_u64().unwrap()
}

pub fn audit_is_whole(place: &Place) {
    let report = place.json(&["audit", "verify"]);
    assert_eq!(report["ok"], true, "{report}");
}

/// How often the audit trail says something about a proposal.
pub fn audited(place: &Place, id: &str, kind: &str) -> usize {
    let entries = place.json(&["audit", "show", "--limit", "1000"]);
    let entries = entries.as_array().unwrap();
    let about = |e: &&Value| e["subject"] == id && e["kind"] == kind;
    entries.iter().filter(about).count()
}

/// The outcome frames of a proposal.
pub fn outcomes(place: &Place, id: &str) -> Vec<String> {
    let frames = place.json(&["frames", "--kind", "event", "--limit", "1000"]);
    let frames = frames.as_array().unwrap();
    let data = frames.iter().map(|f| &f["frame"]["data"]);
    data.filter(|d| d["type"] == "proposal.outcome" && d["proposalId"] == id)
        .map(|d| d["status"].as_str().unwrap().to_owned())
        .collect()
}

pub fn valve(place: &Place) -> Option<String> {
    let all = crate::harness::journal(&place.state());
    let last = all.iter().rev().find(|m| m["part"] == "valve-1")?;
    Some(last["position"].as_str().unwrap().to_owned())
}

#[test]
fn killed_while_the_valve_is_open_it_reports_unknown_and_closes_it() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(20);
    let standing = place.json(&["approve", &id]);
    assert_eq!(standing["status"], "executing", "{standing}");
    eventually("the valve is open", || {
        (place.moves(&id) == ["open"]).then_some(())
    });
    let counted = frames(&place);
    node.kill();

    let node = place.field(&[]);
    let after = place.proposal(&id).unwrap();
    assert_eq!(after["status"], "unknown", "{after}");
    assert!(
        after["detail"].as_str().unwrap().contains("interrupted"),
        "{after}"
    );
    assert_eq!(after["outcome"]["actuatorState"], "closed", "{after}");
    assert_eq!(place.moves(&id), ["open"], "opened once");
    assert_eq!(place.moves("start"), ["closed"], "made safe by the start");
    assert_eq!(outcomes(&place, &id), ["unknown"]);
    assert!(
        frames(&place) >= counted,
        "frames that were counted are there"
    );
    assert_eq!(audited(&place, &id, "decision.approve"), 1);
    audit_is_whole(&place);

    // The same approval again is answered with what came of it; another decision is refused.
    let again = place.run(&["approve", &id, "--json"]);
    again.fails(1, &["nothing has changed", "it has ended: unknown"]);
    let again: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(
        (&again["status"], &again["repeated"]),
        (&"unknown".into(), &true.into()),
        "{again}"
    );
    place
        .run(&["reject", &id])
        .fails(1, &["PROPOSAL_NOT_WAITING", "unknown"]);
    assert_eq!(place.moves(&id), ["open"], "an approval is used once");
    // And the executor works on.
    let next = place.propose(1);
    place.json(&["approve", &next, "--wait"]);
    assert_eq!(place.status_of(&next), "completed");
    assert_eq!(node.stop(), 0);
}

/// The store's file, while no node has it: the counts of own frames in the order of the log.
fn own_counts(place: &Place) -> Vec<i64> {
    let conn = rusqlite::Connection::open(place.state().join("clawmesh.db")).unwrap();
    let whole: String = conn
        .query_row("PRAGMA integrity_check", [], |r| r.get(0))
        .unwrap();
    assert_eq!(whole, "ok");
    let sql = "SELECT origin_seq FROM frames WHERE link_peer IS NULL ORDER BY seq";
    let mut query = conn.prepare(sql).unwrap();
    let counts = query.query_map([], |r| r.get(0)).unwrap();
    counts.map(Result::unwrap).collect()
}

#[test]
fn killed_while_readings_gather_it_keeps_what_was_shown_and_uses_no_count_again() {
    let place = Place::new();
    let node = place.field(&[]);
    let shown = eventually("there are readings", || {
        Some(frames(&place)).filter(|n| *n > 100)
    });
    node.kill();
    let before = own_counts(&place);
    let kept = u64::try_from(before.len()).unwrap();
    assert!(kept >= shown, "{kept} of {shown} that were shown");

    let node = place.field(&[]);
    eventually("there are more", || (frames(&place) > kept).then_some(()));
    assert_eq!(node.stop(), 0);
    let after = own_counts(&place);
    let (old, new) = after.split_at(before.len());
    assert_eq!(old, before);
    assert!(after.is_sorted_by(|a, b| a < b), "each count is used once");
    // Far more than can have gathered, and so been sent, before the end came.
    assert!(new[0] - old[old.len() - 1] >= 1_000_000);
}

const VALVE: &str = "actuator:mock:valve-1";

/// Starts the node without the valve that it had before.
fn without_the_valve(place: &Place) -> Running {
    let plain = ["--name", "field-1", "--mesh-name", "test"];
    place.start(&plain)
}

/// Starts the node with its valve, opens it and kills the node; the proposal.
fn killed_with_the_valve_open(place: &Place) -> String {
    let node = place.field(&[]);
    let id = place.propose(20);
    place.json(&["approve", &id]);
    eventually("the valve is open", || {
        (place.moves(&id) == ["open"]).then_some(())
    });
    node.kill();
    id
}

pub fn critical_alarms(place: &Place) -> Vec<Value> {
    let status = place.run(&["status", "--json"]);
    let said: Value = serde_json::from_str(&status.out).unwrap();
    let alarms = said["alarms"].as_array().unwrap().clone();
    assert_eq!(
        status.code,
        if alarms.is_empty() { 0 } else { 7 },
        "{status:?}"
    );
    alarms
}

#[test]
fn an_actuator_that_moved_and_is_configured_no_more_is_told_as_not_safe_until_it_is_seen() {
    let place = Place::new();
    place.enrolled();
    let id = killed_with_the_valve_open(&place);

    let node = without_the_valve(&place);
    let after = place.proposal(&id).unwrap();
    assert_eq!(after["status"], "unknown", "{after}");
    let detail = after["detail"].as_str().unwrap();
    assert!(
        detail.contains("told nothing") && !detail.contains("was brought"),
        "{detail}"
    );
    let alarms = critical_alarms(&place);
    let alarm = alarms.first().expect("an alarm");
    assert_eq!(
        (&alarm["kind"], &alarm["subject"]),
        (&"actuator.left".into(), &VALVE.into())
    );
    let halted = place.run(&["estop", "--reason", "smoke", "--json"]);
    let told: Value = serde_json::from_str(&halted.out).unwrap();
    assert_eq!(told["complete"], false, "{halted:?}");
    place.json(&["estop", "release", "--reason", "over"]);
    assert_eq!(
        node.stop(),
        7,
        "it ends with an actuator that is not confirmed safe"
    );

    // It stands over starts, until the actuator is back and safe.
    let node = without_the_valve(&place);
    assert_eq!(critical_alarms(&place).len(), 1);
    node.kill();
    let node = place.field(&[]);
    assert_eq!(critical_alarms(&place), [] as [Value; 0]);
    assert_eq!(
        place.moves("start").last().map(String::as_str),
        Some("closed")
    );
    assert_eq!(node.stop(), 0);
    let node = without_the_valve(&place);
    assert_eq!(
        critical_alarms(&place),
        [] as [Value; 0],
        "it was seen safe"
    );
    assert_eq!(node.stop(), 0);

    // Or until a person at the machine says so.
    killed_with_the_valve_open(&place);
    let node = without_the_valve(&place);
    assert_eq!(critical_alarms(&place).len(), 1);
    assert_eq!(node.stop(), 7);
    let other = place.run(&["state", "safe", "actuator:mock:valve-2", "--yes"]);
    other.fails(3, &["nothing was changed", VALVE]);
    // By the end of its name, where nothing else that was moved has it.
    let end = VALVE.rsplit(':').next().unwrap();
    let said = place.json(&["state", "safe", end, "--yes"]);
    assert_eq!(said["confirmed"], true, "{said}");
    let again = place.json(&["state", "safe", VALVE, "--yes"]);
    assert_eq!(again["confirmed"], false, "{again}");
    let node = without_the_valve(&place);
    assert_eq!(critical_alarms(&place), [] as [Value; 0]);
    audit_is_whole(&place);
    assert_eq!(node.stop(), 0);
}

#[test]
fn killed_right_after_the_approval_it_acts_at_most_once() {
    let rounds = match std::env::var_os("CLAWMESH_LONG") {
        Some(_) => 200,
        None => 8,
    };
    let place = Place::new();
    place.enrolled();
    let policy = clawmesh::domain::policy::STARTER_POLICY;
    let policy = policy.replace("runs_per_hour = 60", "runs_per_hour = 1000");
    place.write("policy.toml", &policy);
    let mut node = place.field(&[]);
    let mut ended = Vec::new();
    for round in 0..rounds {
        let id = place.propose(1);
        let digest = place.proposal(&id).unwrap()["digest"].clone();
        let standing = place.json(&["approve", &id]);
        assert_eq!(standing["status"], "executing", "round {round}: {standing}");
        let counted = frames(&place);
        let mut random = [0u8; 2];
        getrandom::fill(&mut random).unwrap();
        // The moment of the kill is what is tried here; nothing is waited for.
        let millis = u64::from(u16::from_le_bytes(random)) % 401;
        crate::process::pause(std::time::Duration::from_millis(millis));
        node.kill();
        node = place.field(&[]);
        let place = &place;
        let status = place.await_status(&id, &["completed", "failed", "unknown"]);
        let opened = place.moves(&id).iter().filter(|p| *p == "open").count();
        let told = format!("round {round}, killed after {millis} ms, {status}");
        assert!(opened <= 1, "{told}: opened {opened} times");
        assert_ne!(valve(place).as_deref(), Some("open"), "{told}");
        assert_eq!(place.proposal(&id).unwrap()["digest"], digest, "{told}");
        assert_eq!(audited(place, &id, "decision.approve"), 1, "{told}");
        assert_eq!(outcomes(place, &id), [status.as_str()], "{told}");
        assert!(frames(place) >= counted, "{told}");
        ended.push((id, status));
    }
    audit_is_whole(&place);
    for (id, status) in &ended {
        assert_eq!(&place.status_of(id), status, "an end stays");
        let opened = place.moves(id).iter().filter(|p| *p == "open").count();
        assert!(opened <= 1, "{id}");
    }
    node.kill();
}

#[test]
fn killed_while_a_proposal_waits_it_still_waits() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(1);
    let before = place.proposal(&id).unwrap();
    let counted = frames(&place);
    node.kill();
    place
        .run(&["approve", &id])
        .fails(4, &["start it", "clawmesh-node start"]);

    let node = place.field(&[]);
    let after = place.proposal(&id).unwrap();
    for same in ["status", "digest", "expiresAt", "evidence", "params"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert_eq!(after["status"], "awaiting_approval");
    assert!(frames(&place) >= counted);
    assert!(place.moves(&id).is_empty(), "nothing moved meanwhile");
    place.measured();
    let ended = place.json(&["approve", &id, "--wait"]);
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(place.moves(&id), ["open", "closed"]);
    audit_is_whole(&place);
    assert_eq!(node.stop(), 0);
}

/// A command centre and a field node that trust each other; the person sits at the centre.
pub struct Pair {
    pub centre: Place,
    pub field: Place,
}

impl Pair {
    pub fn new() -> Self {
        let (centre, field) = (Place::new(), Place::new());
        let (c, f) = (centre.device(), field.device());
        centre.json(&["trust", "add", &f, "--as", "field", "--name", "field-1"]);
        field.json(&["trust", "add", &c, "--as", "command-center"]);
        let key = centre.operator();
        field.json(&["operator", "enroll", &key, "--level", "L2"]);
        Self { centre, field }
    }

    pub fn start_centre(&self, port: u16) -> Running {
        let port = port.to_string();
        let flags = [
            "--name",
            "centre",
            "--mesh-name",
            "test",
            "--no-discovery",
            "--port",
            &port,
        ];
        self.centre.start(&flags)
    }

    pub fn start_field(&self, centre: &Running) -> Running {
        let peer = format!(
            "{}=ws://127.0.0.1:{}||local",
            self.centre.device(),
            centre.port()
        );
        self.field.field(&["--peer", &peer])
    }

    pub fn connected(&self) {
        eventually("the two are connected", || {
            let peers = self.centre.json(&["peers"]);
            let linked = |p: &Value| p["state"] == "connected";
            peers.as_array().unwrap().iter().any(linked).then_some(())
        });
    }
}

#[test]
fn a_killed_centre_shows_the_proposal_again_and_disturbs_no_action() {
    let pair = Pair::new();
    let centre = pair.start_centre(0);
    let port = centre.port();
    let field = pair.start_field(&centre);
    pair.connected();
    let id = pair.field.propose(3);
    pair.centre.await_status(&id, &["awaiting_approval"]);
    let before = pair.centre.proposal(&id).unwrap();
    centre.kill();

    let centre = pair.start_centre(port);
    let after = pair.centre.proposal(&id).unwrap();
    assert_eq!(after["digest"], before["digest"]);
    assert_eq!(after["status"], "awaiting_approval");
    pair.connected();
    let standing = pair.centre.json(&["approve", &id]);
    assert_eq!(standing["status"], "executing", "{standing}");
    eventually("the valve is open", || {
        (pair.field.moves(&id) == ["open"]).then_some(())
    });
    centre.kill();

    // The executor ends its action by itself, and the centre hears of it when it is back.
    pair.field.await_status(&id, &["completed"]);
    assert_eq!(pair.field.moves(&id), ["open", "closed"]);
    let centre = pair.start_centre(port);
    pair.centre.await_status(&id, &["completed"]);
    audit_is_whole(&pair.centre);
    audit_is_whole(&pair.field);
    assert_eq!(field.stop(), 0);
    assert_eq!(centre.stop(), 0);
}

#[test]
fn the_centre_hears_that_a_killed_executor_does_not_know() {
    let pair = Pair::new();
    let centre = pair.start_centre(0);
    let field = pair.start_field(&centre);
    pair.connected();
    let id = pair.field.propose(20);
    pair.centre.await_status(&id, &["awaiting_approval"]);
    let standing = pair.centre.json(&["approve", &id]);
    assert_eq!(standing["status"], "executing", "{standing}");
    eventually("the valve is open", || {
        (pair.field.moves(&id) == ["open"]).then_some(())
    });
    let (here, there) = (frames(&pair.field), frames(&pair.centre));
    field.kill();
    let field = pair.start_field(&centre);
    pair.centre.await_status(&id, &["unknown"]);
    eventually("the outcome frame is at the centre", || {
        (outcomes(&pair.centre, &id) == ["unknown"]).then_some(())
    });
    assert!(frames(&pair.field) >= here && frames(&pair.centre) >= there);
    let again = pair.centre.run(&["approve", &id, "--json"]);
    assert!(!again.out.contains("executing"), "{again:?}");
    assert_eq!(pair.field.moves(&id), ["open"]);
    assert_eq!(pair.field.moves("start"), ["closed"]);
    assert_eq!((field.stop(), centre.stop()), (0, 0));
}
