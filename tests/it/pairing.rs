//! Two nodes come to know each other through two persons, and nobody else gets in between.

use std::net::SocketAddr;
use std::sync::Arc;

use clawmesh::adapters::clock::SystemClock;
use clawmesh::domain::base::MeshId;
use clawmesh::domain::base::limits::{
    PAIRING_TRIES, PAIRING_TRIES_TOTAL, PAIRING_WAITING_PER_ADDRESS_MAX, PAIRING_WINDOW_MS,
};
use clawmesh::domain::pairing::{Acceptor, Initiator, Persona, Reveal, Start, Verdict};
use clawmesh::node::Handles;
use clawmesh::node::pairing::{self, PairEndView, PairSessionView, PairStage, PairingView};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use crate::harness::{Probe, Setup, TestNode, centre, field, key, until};
use crate::process::{Place, Session};

fn unnamed(mut setup: Setup, name: &str) -> Setup {
    setup.raw.mesh_name = None;
    setup.raw.name = Some(name.to_owned());
    setup
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}")
}

fn pairing_of(shared: &Handles) -> PairingView {
    pairing::view(&shared.pairing, Vec::new())
}

async fn comparing(node: &TestNode) -> PairSessionView {
    until("there is something to compare", || async {
        let session = pairing_of(node.shared()).session;
        session.filter(|s| s.stage == PairStage::Comparing)
    })
    .await
}

async fn ended(node: &TestNode) -> PairEndView {
    until("the pairing has ended", || async {
        let view = pairing_of(node.shared());
        view.last.filter(|_| view.session.is_none())
    })
    .await
}

fn say(node: &TestNode, session: &PairSessionView, verdict: Verdict, preset: &str) {
    pairing::decide(&node.shared().pairing, session.id, verdict, Some(preset)).unwrap();
}

fn trusts_nobody(shared: &Handles) -> bool {
    shared.trust.all().is_empty()
}

/// Begins a pairing and waits until both persons see something.
async fn begun(a: &TestNode, b: &TestNode) -> (PairSessionView, PairSessionView) {
    pairing::open_window(&b.shared().pairing).await.unwrap();
    pairing::start(&a.shared().pairing, &url(b.address))
        .await
        .unwrap();
    let (seen_a, seen_b) = (comparing(a).await, comparing(b).await);
    let (a, b) = (seen_a.compare.as_ref(), seen_b.compare.as_ref());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.digits, b.digits);
    let names = |v: &clawmesh::node::pairing::PairCompareView| -> Vec<String> {
        v.emoji.iter().map(|e| e.name.clone()).collect()
    };
    assert_eq!(names(a), names(b));
    (seen_a, seen_b)
}

async fn connected(a: &TestNode, b: &TestNode) {
    until("the two are connected", || async {
        a.shared().links.get(&b.id())?;
        b.shared().links.get(&a.id())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_yeses_make_trust_a_link_and_the_same_after_a_restart() {
    let a = centre().start().await;
    let mut fixed = field();
    let b = field().start().await;
    fixed.raw.port = Some(b.address.port());
    let (seen_a, seen_b) = begun(&a, &b).await;
    assert_eq!(seen_a.compare.as_ref().unwrap().suggested, "field");
    say(&a, &seen_a, Verdict::Yes, "field");
    assert!(trusts_nobody(a.shared()) && trusts_nobody(b.shared()));
    say(&b, &seen_b, Verdict::Yes, "command-center");
    let (end_a, end_b) = (ended(&a).await, ended(&b).await);
    assert!(end_a.stored && end_a.complete && end_b.stored && end_b.complete);
    let of_b = a.shared().trust.live(&b.id()).unwrap();
    let of_a = b.shared().trust.live(&a.id()).unwrap();
    assert_eq!(of_b.public_key.as_ref(), Some(&b.shared().public_key));
    assert_eq!(
        of_b.grants.to_string(),
        "observe:T2,relay,read,estop,actuate"
    );
    assert!(of_a.grants.to_string().contains("plan"));
    assert!(!of_a.grants.to_string().contains("admin"));
    assert!(
        pairing_of(b.shared()).window.is_none(),
        "one pairing a window"
    );
    connected(&a, &b).await;
    // Both forget everything that is not stored.
    let (a_dir, b_dir) = (a.stop().await, b.stop().await);
    let b = fixed.start_in(b_dir, None).await;
    let a = centre().start_in(a_dir, None).await;
    connected(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_new_nodes_end_in_one_mesh() {
    let a = unnamed(centre(), "a").start().await;
    let b = unnamed(field(), "b").start().await;
    let mesh = b.shared().mesh.clone();
    assert_ne!(a.shared().mesh, mesh);
    let (seen_a, seen_b) = begun(&a, &b).await;
    assert!(
        seen_a
            .compare
            .as_ref()
            .unwrap()
            .joins
            .as_ref()
            .unwrap()
            .contains("this node joins")
    );
    say(&b, &seen_b, Verdict::Yes, "command-center");
    say(&a, &seen_a, Verdict::Yes, "field");
    assert!(ended(&a).await.restarting && !ended(&b).await.restarting);
    // The dialing one moves: it asks to be started again.
    let node = a.node.as_ref().unwrap();
    node.stopped().await;
    assert!(node.restart_reason().unwrap().contains(mesh.as_str()));
    let dir = a.stop().await;
    let a = unnamed(centre(), "a").start_in(dir, None).await;
    assert_eq!(a.shared().mesh, mesh);
    connected(&a, &b).await;
    let dir = a.stop().await;
    let a = unnamed(centre(), "a").start_in(dir, None).await;
    assert_eq!(a.shared().mesh, mesh, "it stays there");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_two_meshes_are_refused_before_anybody_compares() {
    let a = centre().start().await;
    let mut other = field();
    other.raw.mesh_name = Some("elsewhere".into());
    let b = other.start().await;
    pairing::open_window(&b.shared().pairing).await.unwrap();
    pairing::start(&a.shared().pairing, &url(b.address))
        .await
        .unwrap();
    for end in [ended(&a).await, ended(&b).await] {
        assert_eq!(end.code.as_deref(), Some("MESH_ID_MISMATCH"), "{end:?}");
        for word in [
            MeshId::of_name("elsewhere").as_str(),
            MeshId::of_name("test").as_str(),
            "--mesh-name",
        ] {
            assert!(end.message.contains(word), "{end:?}");
        }
    }
    assert!(trusts_nobody(a.shared()) && trusts_nobody(b.shared()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_from_either_side_stores_nothing() {
    for says_no in [true, false] {
        let a = centre().start().await;
        let b = field().start().await;
        let (seen_a, seen_b) = begun(&a, &b).await;
        let (yes, yes_seen, no, no_seen) = if says_no {
            (&a, &seen_a, &b, &seen_b)
        } else {
            (&b, &seen_b, &a, &seen_a)
        };
        say(yes, yes_seen, Verdict::Yes, "field");
        say(no, no_seen, Verdict::No, "field");
        for end in [ended(&a).await, ended(&b).await] {
            assert_eq!(
                (end.stored, end.code.as_deref()),
                (false, Some("PAIRING_REJECTED"))
            );
        }
        assert!(trusts_nobody(a.shared()) && trusts_nobody(b.shared()));
        let window = pairing_of(b.shared()).window.unwrap();
        assert_eq!(window.tries_left, PAIRING_TRIES_TOTAL - 1);
    }
}

fn stranger(nonce: u8, device: u8) -> (Initiator, Start) {
    Initiator::begin(masked(nonce, device), None, None)
}

fn masked(nonce: u8, device: u8) -> Persona {
    let mesh = MeshId::of_name(crate::harness::MESH);
    Persona::new(
        &[nonce; 32],
        key(device).public(),
        "mallory",
        "field",
        mesh,
        false,
    )
}

async fn knock(address: SocketAddr, start: &Start) -> (Probe, Value) {
    let mut probe = Probe::open(address).await;
    let reply = probe
        .ask("pair.start", serde_json::to_value(start).unwrap())
        .await;
    (probe, reply)
}

fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or("-")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_window_and_after_it_nobody_gets_in() {
    let clock = Arc::new(SystemClock::default());
    let mut setup = field();
    setup.clock = clock.clone();
    let b = setup.start().await;
    let start = stranger(1, 9).1;
    assert_eq!(code(&knock(b.address, &start).await.1), "NOT_AUTHORIZED");
    pairing::open_window(&b.shared().pairing).await.unwrap();
    clock.shift(i64::try_from(PAIRING_WINDOW_MS).unwrap() + 1);
    assert_eq!(code(&knock(b.address, &start).await.1), "NOT_AUTHORIZED");
    assert!(pairing_of(b.shared()).window.is_none());
    // Persons who take longer than the window have not agreed.
    let a = centre().start().await;
    let (_, seen_b) = begun(&a, &b).await;
    clock.shift(2 * i64::try_from(PAIRING_WINDOW_MS).unwrap() + 2);
    let late = pairing::decide(&b.shared().pairing, seen_b.id, Verdict::Yes, Some("field"));
    assert!(late.is_err());
    assert_eq!(ended(&b).await.code.as_deref(), Some("TIMEOUT"));
    assert_eq!(ended(&a).await.code.as_deref(), Some("TIMEOUT"));
    assert!(trusts_nobody(a.shared()) && trusts_nobody(b.shared()));
}

async fn reveal(probe: &mut Probe, reveal: &Reveal) -> Value {
    let reveal = serde_json::to_value(reveal).unwrap();
    probe.ask("pair.reveal", reveal).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_is_refused_during_a_pairing_and_guesses_have_an_end() {
    let a = centre().start().await;
    let b = field().start().await;
    begun(&a, &b).await;
    let honest = |nonce: u8| Reveal {
        persona: masked(nonce, 9),
        proof: None,
    };
    let (mut probe, reply) = knock(b.address, &stranger(1, 9).1).await;
    assert_eq!(reply["ok"], true, "{reply}");
    assert_eq!(code(&reveal(&mut probe, &honest(1)).await), "BUSY");
    pairing::cancel(&a.shared().pairing).await;
    ended(&b).await;
    // Another persona than the one committed to.
    let (mut probe, _) = knock(b.address, &stranger(2, 9).1).await;
    assert_eq!(code(&reveal(&mut probe, &honest(3)).await), "AUTH_FAILED");
    // The address has had its tries.
    let view = pairing_of(b.shared());
    let left = view.window.unwrap().tries_left;
    assert_eq!(left, PAIRING_TRIES_TOTAL - PAIRING_TRIES);
    let (mut probe, _) = knock(b.address, &stranger(4, 9).1).await;
    assert_eq!(code(&reveal(&mut probe, &honest(4)).await), "RATE_EXCEEDED");
    assert!(pairing_of(b.shared()).session.is_none() && trusts_nobody(b.shared()));
}

/// A stranger knocks until it may no more, keeps knocks waiting, and is being compared: whoever has read
/// the link off the screen is let in all the same.
#[tokio::test(flavor = "multi_thread")]
async fn knocks_of_a_stranger_do_not_close_the_window_for_who_has_the_link() {
    let a = centre().start().await;
    let b = field().start().await;
    pairing::open_window(&b.shared().pairing).await.unwrap();
    let view = pairing_of(b.shared());
    let link = view.window.unwrap().link;
    for _ in 0..2 * PAIRING_TRIES {
        knock(b.address, &stranger(1, 9).1).await;
    }
    // They hung up; one more stays and says nothing.
    let (_idle, _) = until("a stranger waits", || async {
        let knocked = knock(b.address, &stranger(1, 9).1).await;
        (knocked.1["ok"] == true).then_some(knocked)
    })
    .await;
    const { assert!(PAIRING_WAITING_PER_ADDRESS_MAX > 1) };
    pairing::start(&a.shared().pairing, &link).await.unwrap();
    let (seen_a, seen_b) = (comparing(&a).await, comparing(&b).await);
    say(&a, &seen_a, Verdict::Yes, "field");
    say(&b, &seen_b, Verdict::Yes, "command-center");
    connected(&a, &b).await;
}

/// A stranger that is being compared gives way to whoever has read the link.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_being_compared_gives_way_to_who_has_the_link() {
    let a = centre().start().await;
    let b = field().start().await;
    pairing::open_window(&b.shared().pairing).await.unwrap();
    let view = pairing_of(b.shared());
    let link = view.window.unwrap().link;
    let (mine, start) = stranger(1, 9);
    let (mut probe, reply) = knock(b.address, &start).await;
    let (_, shown) = mine
        .answered(Persona::parse(reply["payload"].clone()).unwrap())
        .unwrap();
    assert_eq!(reveal(&mut probe, &shown).await["ok"], true);
    let strangers = comparing(&b).await;
    pairing::start(&a.shared().pairing, &link).await.unwrap();
    let seen_a = comparing(&a).await;
    let seen_b = until("b compares with a", || async {
        let session = pairing_of(b.shared()).session?;
        (session.id != strangers.id && session.stage == PairStage::Comparing).then_some(session)
    })
    .await;
    let late = pairing::decide(
        &b.shared().pairing,
        strangers.id,
        Verdict::Yes,
        Some("owner"),
    );
    assert!(
        late.is_err(),
        "a yes meant for the stranger counts for nobody"
    );
    say(&a, &seen_a, Verdict::Yes, "field");
    say(&b, &seen_b, Verdict::Yes, "command-center");
    connected(&a, &b).await;
    assert!(b.shared().trust.live(key(9).id()).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_order_ends_the_pairing() {
    let b = field().start().await;
    pairing::open_window(&b.shared().pairing).await.unwrap();
    let told = async |mut probe: Probe| {
        let failed = probe.hear("pair.failed").await;
        failed["payload"]["code"].as_str().unwrap().to_owned()
    };
    let (mut probe, reply) = knock(b.address, &stranger(1, 9).1).await;
    assert_eq!(reply["ok"], true);
    probe.event("pair.verdict", json!({"verdict": "yes"})).await;
    assert_eq!(told(probe).await, "PAIRING_OUT_OF_ORDER");
    let (mut probe, _) = knock(b.address, &stranger(1, 9).1).await;
    probe
        .event("pair.reveal", json!({"x": "y".repeat(5_000)}))
        .await;
    assert_eq!(told(probe).await, "TOO_LARGE");
    // Persons were shown nothing of it.
    assert!(pairing_of(b.shared()).last.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_names_the_device_that_must_answer() {
    let a = centre().start().await;
    let b = field().start().await;
    pairing::open_window(&b.shared().pairing).await.unwrap();
    let view = pairing_of(b.shared());
    let link = view.window.unwrap().link;
    let wrong = link.replace(b.id().as_str(), key(77).id().as_str());
    pairing::start(&a.shared().pairing, &wrong).await.unwrap();
    assert_eq!(ended(&a).await.code.as_deref(), Some("PUBLIC_KEY_MISMATCH"));
    pairing::start(&a.shared().pairing, &link).await.unwrap();
    let (seen_a, seen_b) = (comparing(&a).await, comparing(&b).await);
    say(&a, &seen_a, Verdict::Yes, "field");
    say(&b, &seen_b, Verdict::Yes, "command-center");
    assert!(
        until("a has stored", || async { a.shared().trust.live(&b.id()) })
            .await
            .is_live()
    );
    connected(&a, &b).await;
}

/// Somebody on the way puts its own key in: the two persons see different things.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_its_own_keys_shows_two_different_strings() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;

    let a = centre().start().await;
    let b = field().start().await;
    pairing::open_window(&b.shared().pairing).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = url(listener.local_addr().unwrap());
    pairing::start(&a.shared().pairing, &relay).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let mut from_a = accept_async(tcp).await.unwrap();
    let mut hear = async || -> Value {
        let text = from_a.next().await.unwrap().unwrap().into_text().unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let start = Start::parse(hear().await["params"].clone()).unwrap();
    let (_, answer) = Acceptor::answer(masked(50, 66), &start).unwrap();
    let (mine, my_start) = stranger(51, 66);
    let (mut to_b, reply) = knock(b.address, &my_start).await;
    let (_, reveal) = mine
        .answered(Persona::parse(reply["payload"].clone()).unwrap())
        .unwrap();
    let reply = to_b
        .ask("pair.reveal", serde_json::to_value(&reveal).unwrap())
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    let said = json!({"type": "res", "id": "1", "ok": true, "payload": answer});
    from_a.send(Message::text(said.to_string())).await.unwrap();
    from_a.next().await.unwrap().unwrap();
    let said = json!({"type": "res", "id": "2", "ok": true, "payload": {}});
    from_a.send(Message::text(said.to_string())).await.unwrap();
    let (seen_a, seen_b) = (comparing(&a).await, comparing(&b).await);
    let (in_a, in_b) = (
        seen_a.compare.as_ref().unwrap(),
        seen_b.compare.as_ref().unwrap(),
    );
    assert_ne!(in_a.digits, in_b.digits);
    let names = |v: &clawmesh::node::pairing::PairCompareView| -> Vec<String> {
        v.emoji.iter().map(|e| e.name.clone()).collect()
    };
    assert_ne!(names(in_a), names(in_b));
    // The persons see it and say no.
    say(&a, &seen_a, Verdict::No, "field");
    say(&b, &seen_b, Verdict::No, "field");
    ended(&a).await;
    ended(&b).await;
    assert!(trusts_nobody(a.shared()) && trusts_nobody(b.shared()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_before_the_second_yes_stores_nothing() {
    let a = centre().start().await;
    let b = field().start().await;
    let (seen_a, _) = begun(&a, &b).await;
    say(&a, &seen_a, Verdict::Yes, "field");
    let dir = a.stop().await;
    assert!(!ended(&b).await.stored);
    let a = centre().start_in(dir, None).await;
    assert!(trusts_nobody(a.shared()) && trusts_nobody(b.shared()));
    let view = pairing_of(a.shared());
    assert!(view.session.is_none() && view.window.is_none() && view.last.is_none());
}

#[test]
fn two_processes_pair_by_the_command_line() {
    let (a, b) = (Place::new(), Place::new());
    let node_a = a.start(&["--name", "centre", "--role", "planner"]);
    let node_b = b.start(&["--name", "field-7", "--role", "field"]);
    let mut accepting = Session::start(&b, &["pair", "--accept", "--json"]);
    let window = accepting.step("window");
    let link = window["link"].as_str().unwrap().to_owned();
    let mut asking = Session::start(&a, &["pair", &link, "--json"]);
    asking.step("started");
    let (seen_a, seen_b) = (asking.step("compare"), accepting.step("compare"));
    assert_eq!(seen_a["compare"]["digits"], seen_b["compare"]["digits"]);
    assert_eq!(seen_a["compare"]["emoji"], seen_b["compare"]["emoji"]);
    assert_eq!(seen_a["compare"]["peer"]["name"], "field-7");
    // A slip of the finger is asked again, not taken for a no.
    asking.say("yrs");
    asking.say("");
    asking.say("Yes");
    asking.step("waiting");
    accepting.say("yes");
    accepting.step("waiting");
    let end = asking.step("paired");
    assert_eq!(
        (end["complete"].clone(), end["restarting"].clone()),
        (json!(true), json!(true))
    );
    accepting.step("paired");
    assert_eq!((asking.end(), accepting.end()), (0, 0));
    // The centre joins the field's mesh, starts again, and the two connect.
    let device = b.device();
    crate::process::eventually("the two are connected", || {
        let said = a.run(&["peers", "--json"]);
        let peers: Value = serde_json::from_str(&said.out).ok()?;
        let found = peers
            .as_array()?
            .iter()
            .any(|p| p["deviceId"] == device.as_str() && p["state"] == "connected");
        found.then_some(())
    });
    let trust = b.json(&["trust", "list"]);
    assert_eq!(
        trust[0]["grants"].as_array().unwrap().len(),
        7,
        "suggested by its role: {trust}"
    );
    drop((node_a, node_b));
}

#[test]
fn a_no_at_the_command_line_is_a_failure_at_both() {
    let (a, b) = (Place::new(), Place::new());
    let node_a = a.start(&["--mesh-name", "m"]);
    let node_b = b.start(&["--mesh-name", "m"]);
    let none = a.run(&["pair"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.err.contains("--url"), "{none:?}");
    let mut accepting = Session::start(&b, &["pair", "--accept", "--json"]);
    accepting.step("window");
    let at = format!("ws://{}", node_b.address);
    let mut asking = Session::start(&a, &["pair", "--url", &at, "--json"]);
    asking.step("started");
    asking.step("compare");
    accepting.step("compare");
    accepting.say("no");
    let failed = asking.step("failed");
    assert_eq!(failed["code"], "PAIRING_REJECTED");
    assert_eq!(asking.end(), 1);
    accepting.step("failed");
    assert_eq!(b.json(&["trust", "list"]), json!([]));

    // What is no answer even after being asked again is a no, and so is an end of the input.
    for silent in [false, true] {
        let mut asking = Session::start(&a, &["pair", "--url", &at, "--json"]);
        asking.step("started");
        asking.step("compare");
        accepting.step("window");
        accepting.step("compare");
        if silent {
            asking.hang_up();
        } else {
            for slip in ["yrs", "maybe", "yed"] {
                asking.say(slip);
            }
            asking.step("failed");
        }
        assert_eq!(asking.end(), 1);
        assert_eq!(
            accepting.step("failed")["code"],
            "PAIRING_REJECTED",
            "told as a no, silent: {silent}"
        );
        assert_eq!(b.json(&["trust", "list"]), json!([]));
    }
    assert_eq!(b.json(&["pair", "--cancel"])["step"], "cancelled");
    assert_eq!(accepting.end(), 1);
    drop((node_a, node_b));
}
