//! Kinds of actions between real nodes: pulses, and held actions that end with whoever keeps them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals::hold::{self, HoldRequest};
use clawmesh::node::proposals::{self, Minted};
use serde_json::{Value, json};

use crate::crash::Pair;
use crate::harness::*;
use crate::main_job::{decision, draft, operator, status};
use crate::process::*;

pub const POLICY: &str = r#"
version = 1

[[rule]]
name = "ring"
capability = "actuator:mock:pump-1"
operations = ["start"]
level = "L2"
kind = "pulse"
pulse_ms = 300
safe_state = "stop"

[[rule]]
name = "water"
capability = "actuator:mock:valve-1"
operations = ["open"]
level = "L2"
kind = "held"
lease_sec = 2
deadline_sec = 600
safe_state = "close"
"#;

/// `hold` as a process of its own.
struct Holding {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Holding {
    fn of(place: &Place, id: &str) -> Self {
        let mut command = place.command();
        command.args(["hold", id, "--json", "--state-dir"]);
        command.arg(place.state()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it says next: how the action stands after a renewal, or at last the proposal.
    fn says(&mut self) -> Value {
        let line = self.lines.next().expect("it ended").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for so many renewals.
    fn renews(&mut self, times: usize) {
        for _ in 0..times {
            let said = self.says();
            assert_eq!(said["released"], false, "{said}");
            assert!(said["lapsesInMs"].as_u64().unwrap() <= 2_000, "{said}");
        }
    }

    fn code(mut self) -> i32 {
        let (status, rest) = (self.child.wait().unwrap(), self.lines.count());
        assert!(rest <= 1, "{rest} lines more");
        status.code().unwrap_or(-1)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// HoldRequest for at the centre, approved, and held there.
fn held(pair: &Pair) -> (String, Holding) {
    let draft = pair
        .centre
        .json(&["propose", VALVE, "open", "--reason", "dry"]);
    let id = draft["proposalId"].as_str().unwrap().to_owned();
    let shown = pair.centre.run(&["show", &id]);
    let said =
        "will open, while its holder is heard every 2 s, for 10 min at most, then close by itself";
    assert!(shown.out.replace("\n", " ").contains(said), "{}", shown.out);
    let mut holding = Holding::of(&pair.centre, &id);
    let standing = pair.centre.json(&["approve", &id]);
    assert_eq!(standing["status"], "executing", "{standing}");
    // Longer than two leases.
    holding.renews(7);
    assert_eq!(pair.field.moves(&id), ["open"]);
    (id, holding)
}

fn ends(pair: &Pair, id: &str, status: &str, how: &str) {
    pair.field.await_status(id, &[status]);
    assert_eq!(pair.field.moves(id), ["open", "closed"]);
    let outcome = pair.field.proposal(id).unwrap()["outcome"].clone();
    let detail = outcome["detail"].as_str().unwrap();
    assert!(detail.contains(how), "{detail}");
}

#[test]
fn a_held_action_is_kept_from_another_node_and_ends_when_it_is_let_go_or_its_holder_dies() {
    let pair = Pair::new();
    pair.field.write("policy.toml", POLICY);
    let centre = pair.start_centre(0);
    let field = pair.start_field(&centre);
    pair.connected();

    // Let go: at once, and as it should be.
    let (id, mut holding) = held(&pair);
    signal_to(holding.child.id(), "INT");
    let last = std::iter::repeat_with(|| holding.says()).find(|said| said["status"].is_string());
    assert_eq!(last.unwrap()["status"], "completed");
    assert_eq!(holding.code(), 0);
    ends(&pair, &id, "completed", "released by ada at centre after ");
    // What has ended is never taken up again.
    assert_eq!(pair.centre.run(&["hold", &id]).code, 0);

    // The process that keeps it is killed.
    let (id, holding) = held(&pair);
    // Nobody else keeps it meanwhile, also at its executor.
    pair.field
        .run(&["hold", &id])
        .fails(1, &["ACTUATOR_BUSY", "ada at centre holds it"]);
    holding.kill();
    let how = "its lease lapsed: ada at centre held it and was last heard 2000 ms before; it is in its safe state";
    ends(&pair, &id, "failed", how);

    // The node over which it is kept is killed.
    let (id, mut holding) = held(&pair);
    centre.kill();
    ends(&pair, &id, "failed", how);
    holding.child.kill().unwrap();
    holding.child.wait().unwrap();
    assert_eq!(field.stop(), 0);
}

const HEATER: &str = "actuator:heater:hall";

/// A heater that takes percents, and does not take 47.
fn heater() -> Place {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let script = place.beside("heater");
    let home = script.parent().unwrap().display().to_string();
    let text = format!(
        "#!/bin/sh\ncd {home}\ncase $1 in\n\
         set) echo $CLAWMESH_PARAM_PERCENT >> moves; [ $CLAWMESH_PARAM_PERCENT != 47 ] ;;\n\
         off) echo off >> moves ;;\nesac\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.display();
    place.write(
        "config.toml",
        &format!(
            "[[actuator]]\ncapability = \"{HEATER}\"\nsafe = \"off\"\n\
             [[actuator.operation]]\nname = \"set\"\nargv = [\"{script}\", \"set\"]\n\
             [[actuator.operation]]\nname = \"off\"\nargv = [\"{script}\", \"off\"]\n"
        ),
    );
    place.write(
        "policy.toml",
        &format!(
            "version = 1\n[[rule]]\nname = \"heat\"\ncapability = \"{HEATER}\"\noperations = [\"set\"]\n\
             level = \"L2\"\nkind = \"set\"\nsafe_state = \"off\"\ndeadline_sec = 600\n\
             [rule.params.percent]\ntype = \"integer\"\nmin = 0\nmax = 100\nmax_step = 10\nrequired = true\n\
             [[test]]\nname = \"in steps\"\nrequester = \"person\"\ntarget = \"{HEATER}\"\noperation = \"set\"\n\
             params = {{ percent = 41 }}\nnow_set = {{ percent = 30 }}\nexpect = \"deny\"\n"
        ),
    );
    place
}

#[test]
fn a_setting_is_replaced_in_steps_without_the_safe_state_between() {
    let place = heater();
    let node = place.start(&[]);
    place.enrolled();
    let wish = |percent: u32, more: &[&str]| {
        let percent = format!("percent={percent}");
        let words = ["propose", HEATER, "set", &percent, "--reason", "cold"];
        place.run(&[&words, more].concat())
    };
    let set = |percent: u32| {
        let id = wish(percent, &["--json"]).json()["proposalId"]
            .as_str()
            .unwrap()
            .to_owned();
        let standing = place.json(&["approve", &id]);
        assert_eq!(standing["status"], "executing", "{standing}");
        eventually("it is set", || {
            let text = std::fs::read_to_string(place.beside("moves")).unwrap_or_default();
            text.contains(&format!("{percent}\n")).then_some(())
        });
        id
    };
    let moves = || {
        let text = std::fs::read_to_string(place.beside("moves")).unwrap_or_default();
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let how = |id: &str, status: &str| {
        place.await_status(id, &[status]);
        let outcome = place.proposal(id).unwrap()["outcome"].clone();
        outcome["detail"].as_str().unwrap().to_owned()
    };
    let first = set(50);
    let second = set(58);
    let replaced = how(&first, "completed");
    assert!(
        replaced.contains(&format!("and then replaced by proposal {}", &second[..8])),
        "{replaced}"
    );
    // Too far at once, and the same once more.
    wish(80, &[]).fails(1, &["POLICY_DENIED", "percent is 58 now, would be 80"]);
    let same = wish(58, &["--json"]).json();
    assert_eq!(same["proposalId"], second.as_str(), "{same}");
    let third = set(55);
    how(&second, "completed");
    assert_eq!(moves(), ["off", "50", "58", "55"]);
    // One that its driver does not take ends in the safe state.
    let fails = set(47);
    how(&third, "completed");
    assert!(how(&fails, "failed").ends_with("it is in its safe state"));
    assert_eq!(moves()[4..], ["47", "off"]);

    // After a kill it is safe, and nobody knows what came of it.
    let last = set(20);
    node.kill();
    let node = place.start(&[]);
    how(&last, "unknown");
    assert_eq!(moves().last().unwrap(), "off");
    assert_eq!(node.stop(), 0);
}

pub async fn node() -> TestNode {
    let mut setup = field().trusting(key(5), "observe:T2,relay,read,plan,human");
    setup = setup.trusting(key(6), "observe:T2,relay,read,plan,human");
    setup = setup.with_operator(operator(), "L2");
    setup.policy = Some(POLICY.to_owned());
    setup.start().await
}

pub async fn wish(
    node: &TestNode,
    (target, operation): (&str, &str),
    requester: Requester,
) -> Draft {
    let mut wish = draft(node.shared(), 1).await;
    wish.action.target = target.parse().unwrap();
    wish.action.operation = operation.to_owned();
    wish.action.params.clear();
    wish.cites.clear();
    Draft { requester, ..wish }
}

pub async fn speaks(node: &TestNode, me: u8) -> Probe {
    let mut probe = Probe::open(node.address).await;
    let reply = probe
        .handshake(&key(me), MESH, |params| {
            params.insert("features".into(), json!(["sig", "proposals", "hold"]));
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    probe
}

/// A wish of device 5, approved and begun.
pub async fn begun(node: &TestNode, requester: Requester) -> Minted {
    let wish = wish(node, (VALVE, "open"), requester).await;
    let minted = proposals::mint(node.shared(), wish, key(5).id()).await;
    let minted = minted.unwrap();
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let standing = proposals::decide(node.shared(), yes).await.unwrap();
    assert_eq!(standing.status, Status::Executing);
    until("it is held by nobody yet", || async {
        node.shared().guards.lease(&VALVE.parse().unwrap())
    })
    .await;
    minted
}

pub fn renewal(minted: &Minted, counter: u64) -> Value {
    let id = &minted.signed.record().proposal_id;
    json!({"proposalId": id, "asked": {"holder": "h", "counter": counter}})
}

pub async fn ended(node: &TestNode, minted: &Minted, wanted: Status) -> String {
    until("it has ended", || async {
        (status(node.shared(), minted).await == wanted).then_some(())
    })
    .await;
    let door = clawmesh::operator::Door::new(node.shared().clone());
    let id = minted.signed.record().proposal_id.as_str().to_owned();
    door.proposal(&id).await.unwrap().outcome.unwrap().detail
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_asked_for_is_kept_by_a_person_at_its_executor_alone() {
    let node = node().await;
    let minted = begun(&node, Requester::Llm).await;
    let mut asker = speaks(&node, 5).await;
    let answer = asker.ask(hold::HOLD, renewal(&minted, 1)).await;
    assert_eq!(answer["error"]["code"], "NOT_AUTHORIZED", "{answer}");
    let id = minted.signed.record().proposal_id.clone();
    let refused = hold::by_rule(node.shared(), &id, "dry", 1).unwrap_err();
    assert_eq!(refused.code.as_str(), "NOT_AUTHORIZED");
    let door = clawmesh::operator::Door::new(node.shared().clone());
    let asked = |release| HoldRequest {
        holder: "console".into(),
        by: "ada".into(),
        counter: 1,
        release,
    };
    // Whoever may read is told by whom it is held, here and over a link; looking keeps nothing.
    let before = door.held(id.as_str()).await.unwrap();
    assert_eq!(before.holder, None);
    let held = door.hold("a", id.as_str(), asked(false)).await.unwrap();
    assert!(!held.released && held.counter == 1, "{held:?}");
    let seen = door.held(id.as_str()).await.unwrap();
    assert_eq!(seen.holder.as_deref(), Some("ada"));
    assert!(seen.lapses_in_ms <= held.lapses_in_ms && seen.ends_in_ms <= held.ends_in_ms);
    let looked = |id: Value| json!({"proposalId": id});
    let answer = asker.ask(hold::HELD, looked(json!(id))).await;
    assert_eq!(answer["payload"]["holder"], "ada", "{answer}");
    let answer = asker.ask(hold::HELD, looked(json!(7))).await;
    assert_eq!(answer["error"]["code"], "INVALID_PARAMS", "{answer}");
    assert!(
        door.hold("a", id.as_str(), asked(true))
            .await
            .unwrap()
            .released
    );
    let detail = ended(&node, &minted, Status::Completed).await;
    assert!(detail.starts_with("released by ada after "), "{detail}");
    let over = door.held(id.as_str()).await.unwrap_err();
    assert_eq!(over.code.as_str(), "CONFLICT", "{over}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_keeps_what_it_asked_for_and_nothing_else() {
    let node = node().await;
    let minted = begun(&node, Requester::Person).await;
    let (mut asker, mut other) = (speaks(&node, 5).await, speaks(&node, 6).await);
    let nothing = |holder: &str| json!({"proposalId": "nothing", "asked": {"holder": holder}});
    let answer = other.ask(hold::HOLD, renewal(&minted, 1)).await;
    assert_eq!(answer["error"]["code"], "NOT_AUTHORIZED", "{answer}");
    for (asked, code) in [(nothing("h"), "CONFLICT"), (nothing(""), "INVALID_PARAMS")] {
        let answer = asker.ask(hold::HOLD, asked).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    // A flood is refused but for a few a second, and lasts no longer for it.
    let mut taken = 0;
    for counter in (1..2_000).chain([u64::MAX]) {
        let answer = asker.ask(hold::HOLD, renewal(&minted, counter)).await;
        match answer["ok"].as_bool() {
            Some(true) => {
                taken += 1;
                let lapses = answer["payload"]["lapsesInMs"].as_u64().unwrap();
                let ends = answer["payload"]["endsInMs"].as_u64().unwrap();
                assert!(lapses <= 2_000 && ends <= 600_000, "{answer}");
            }
            _ => assert_eq!(answer["error"]["code"], "RATE_EXCEEDED", "{answer}"),
        }
    }
    assert!((10..1_000).contains(&taken), "{taken}");
    // Letting go is never one too many.
    let id = &minted.signed.record().proposal_id;
    let release = json!({"proposalId": id, "asked": {"holder": "h", "release": true}});
    let answer = asker.ask(hold::HOLD, release.clone()).await;
    assert_eq!(answer["payload"]["released"], true, "{answer}");
    let detail = ended(&node, &minted, Status::Completed).await;
    assert!(detail.starts_with("released by probe after "), "{detail}");
    let answer = asker.ask(hold::HOLD, release).await;
    assert_eq!(answer["error"]["code"], "CONFLICT", "{answer}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulse_is_back_by_itself_and_is_kept_by_nobody() {
    let node = node().await;
    let wish = wish(&node, ("actuator:mock:pump-1", "start"), Requester::Person).await;
    let minted = proposals::mint(node.shared(), wish, node.shared().own_id());
    let minted = minted.await.unwrap();
    let record = minted.signed.record();
    assert_eq!((record.kind().name(), record.run_ms), ("pulse", 300));
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes).await.unwrap();
    let asked = HoldRequest {
        holder: "h".into(),
        ..HoldRequest::default()
    };
    hold::by_session(node.shared(), &record.proposal_id, &asked).unwrap_err();
    let detail = ended(&node, &minted, Status::Completed).await;
    assert!(detail.starts_with("pulsed "), "{detail}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_keeps_what_it_asked_for_until_its_planner_rests() {
    let mut setup = field();
    setup.raw.role = Some("planner".into());
    let rule = r#"
        [[rule]]
        name = "dry soil"
        metric = "moisture"
        below = 99.0
        cooldown_sec = 600
        target = "actuator:mock:valve-1"
        operation = "open"
    "#;
    setup.raw.rule = clawmesh::node::RawConfig::parse(rule, "test").unwrap().rule;
    let condition = "[[rule.condition]]\nmetric = \"moisture\"\norigin = \"self\"\nop = \"<\"\nvalue = 99.0\nmax_age_sec = 60\n";
    let (pulse, held) = POLICY.split_at(POLICY.rfind("[[rule]]").unwrap());
    setup.policy = Some(format!("{pulse}{}{condition}", held.replace("L2", "L1")));
    let node = setup.start().await;
    let lease = || node.shared().guards.lease(&VALVE.parse().unwrap());
    let begun = until("the rule holds it", || async {
        lease().filter(|lease| lease.holder.is_some())
    })
    .await;
    assert_eq!(begun.holder.as_deref(), Some("rule \"dry soil\""));
    // Longer than two leases.
    until("it is kept", || async {
        let left = lease().expect("it is kept").ends_in_ms;
        (left + 5_000 < begun.ends_in_ms).then_some(())
    })
    .await;
    // However often proposals change, it is renewed once a round.
    until("the last renewal is a while ago", || async {
        node.shared().proposals_changed();
        lease().filter(|lease| lease.lapses_in_ms < 1_700)
    })
    .await;
    let door = clawmesh::operator::Door::new(node.shared().clone());
    let asked = clawmesh::operator::dto::PauseRequest::default();
    door.planner_pause(&asked, "ada").await.unwrap();
    let id = begun.proposal.as_str();
    let ended = until("it has lapsed", || async {
        door.proposal(id).await.unwrap().outcome
    })
    .await;
    assert_eq!(ended.status, Status::Failed);
    let how = "its lease lapsed: rule \"dry soil\" held it";
    assert!(ended.detail.contains(how), "{}", ended.detail);
    node.stop().await;
}
