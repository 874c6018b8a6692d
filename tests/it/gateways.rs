//! OpenClaw gateways of a real node, at a strict stub: let in by a person, asked, restarted, refused, changed and removed.

use clawmesh::adapters::gateway::{Ask, AskError, Before};
use clawmesh::operator::gateways::{GatewayChange, GatewayState, GatewayView};
use serde_json::json;
use tokio::sync::mpsc;

use crate::gateway_stub::{Gateway, TOKEN};
use crate::harness::{TestNode, centre, until};
use crate::process::{Place, eventually};

async fn node() -> TestNode {
    Box::pin(centre().start()).await
}

async fn add(node: &TestNode, gateway: &Gateway, token: Option<&str>) -> String {
    let asked = json!({"url": gateway.url(), "name": "Mac Studio", "token": token});
    let asked = serde_json::from_value(asked).unwrap();
    let added = node.node().door().gateway_add(asked, "ana").await.unwrap();
    assert_eq!(added.name, "Mac Studio");
    added.id
}

async fn stands(node: &TestNode, state: GatewayState) -> GatewayView {
    until(&format!("the gateway is {state:?}"), || async {
        let all = node.node().door().gateways();
        all.into_iter().find(|one| one.state == state)
    })
    .await
}

fn ask(session: &str, text: &str, key: &str) -> Ask {
    Ask {
        agent: "main".to_owned(),
        session: session.to_owned(),
        text: text.to_owned(),
        key: key.to_owned(),
        timeout_ms: 100_000,
        before: None,
    }
}

/// The answer, and the pieces that came before it.
async fn answer(node: &TestNode, ask: Ask) -> (Result<String, AskError>, String) {
    let (pieces, mut told) = mpsc::channel(1);
    let gateways = node.shared().gateways.clone();
    let asking = async move { gateways.ask("mac-studio", ask, pieces).await };
    let reading = async {
        let mut all = String::new();
        while let Some(piece) = told.recv().await {
            all.push_str(&piece);
        }
        all
    };
    tokio::join!(asking, reading)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_lets_the_node_in_and_a_question_runs_once() {
    let gateway = Gateway::start().await;
    (gateway.now().pairs, gateway.now().boots) = (true, 0);
    let node = node().await;
    add(&node, &gateway, Some(TOKEN)).await;
    let waits = stands(&node, GatewayState::PairingRequired).await;
    assert_eq!(
        waits.command.as_deref(),
        Some("openclaw devices approve req-7c1f")
    );
    let early = answer(&node, ask("t", "hello", "k0")).await.0;
    assert!(matches!(early, Err(AskError::NotSent(_))), "{early:?}");

    gateway.now().boots = 2;
    gateway.approves();
    stands(&node, GatewayState::Starting).await;
    let ready = stands(&node, GatewayState::Ready).await;
    let agents: Vec<_> = ready
        .agents
        .iter()
        .map(|a| (a.id.as_str(), a.name.as_str()))
        .collect();
    assert_eq!(agents, [("main", "Main"), ("coder", "coder")]);
    assert_eq!(ready.version.as_deref(), Some("2026.9.6"));
    until("its sessions are counted", || async {
        (node.node().door().gateways()[0].sessions == Some(7)).then_some(())
    })
    .await;

    let (said, pieces) = answer(&node, ask("t-1", "is the shed warm?", "k1")).await;
    assert_eq!(
        (said.as_deref(), pieces.as_str()),
        (Ok("the shed is warm"), "the shed is warm")
    );
    let again = answer(&node, ask("t-1", "is the shed warm?", "k1")).await.0;
    assert_eq!(
        again.as_deref(),
        Ok("the shed is warm"),
        "the key was run before"
    );
    // What begins like a command of the gateway reaches its agent as text.
    answer(&node, ask("t-2", "/exec rm", "k2")).await.0.unwrap();
    let session = "agent:main:clawmesh:t-1".to_owned();
    let ran = gateway.now().ran.clone();
    assert_eq!(
        ran[0],
        ("k1".to_owned(), session, "is the shed warm?".to_owned())
    );
    assert_eq!(ran[1].2, "`/exec` rm");
    assert_eq!(ran.len(), 2);
    let mut nobody = ask("t", "x", "k3");
    nobody.agent = "nobody".to_owned();
    let refused = answer(&node, nobody).await.0;
    assert!(matches!(refused, Err(AskError::Refused(_))), "{refused:?}");
    assert_eq!(gateway.now().wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_again_is_ready_again_and_so_is_a_node() {
    let gateway = Gateway::start().await;
    let mut node = node().await;
    add(&node, &gateway, Some(TOKEN)).await;
    stands(&node, GatewayState::Ready).await;
    gateway.now().holds = true;
    let asking = answer(&node, ask("t", "hello", "k1"));
    let restart = async {
        until("the question is there", || async {
            (gateway.now().ran.len() == 1).then_some(())
        })
        .await;
        gateway.now().down = true;
        gateway.restarts();
        stands(&node, GatewayState::Connecting).await;
        (gateway.now().holds, gateway.now().down) = (false, false);
    };
    let ((said, _), ()) = tokio::join!(asking, restart);
    // It has forgotten the key: it is not asked again.
    assert!(matches!(said, Err(AskError::Unknown(_))), "{said:?}");
    assert_eq!(gateway.now().asked, 1);
    stands(&node, GatewayState::Ready).await;
    assert_eq!(
        answer(&node, ask("t", "hello", "k2")).await.0.as_deref(),
        Ok("the shed is warm")
    );

    let dir = node.stop().await;
    node = Box::pin(centre().start_in(dir, None)).await;
    stands(&node, GatewayState::Ready).await;
    // The gateway's own token for this node counts from the second time on.
    assert_eq!(
        gateway.now().let_in,
        ["token", "device-token", "device-token"]
    );
    let state = std::fs::read_to_string(node.state().credentials_file()).unwrap();
    assert!(!state.contains(TOKEN) && !state.contains("device-token-"));
    assert_eq!(gateway.now().wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_while_the_connection_is_cut_is_answered_and_run_once() {
    let gateway = Gateway::start().await;
    let node = node().await;
    add(&node, &gateway, Some(TOKEN)).await;
    stands(&node, GatewayState::Ready).await;
    gateway.now().holds = true;
    for (key, ends_meanwhile) in [("k1", true), ("k2", false)] {
        let asked = gateway.now().asked;
        let asking = answer(&node, ask("t", "hello", key));
        let cut = async {
            until("the question is there", || async {
                (gateway.now().asked == asked + 1).then_some(())
            })
            .await;
            gateway.now().down = true;
            gateway.cuts();
            stands(&node, GatewayState::Connecting).await;
            if ends_meanwhile {
                gateway.ends_runs();
            }
            gateway.now().down = false;
            until("it is asked again", || async {
                (gateway.now().asked >= asked + 2).then_some(())
            })
            .await;
            gateway.ends_runs();
        };
        let ((said, _), ()) = tokio::join!(asking, cut);
        assert_eq!(said.as_deref(), Ok("the shed is warm"), "{key}");
    }
    let ran = gateway.now().ran.len();
    assert_eq!(ran, 2, "each was run once");
    assert_eq!(gateway.now().wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_refused_or_misled_is_told_what_to_do() {
    let gateway = Gateway::start().await;
    let node = node().await;
    let door = node.node().door();
    let id = add(&node, &gateway, Some("wrong")).await;
    let failed = stands(&node, GatewayState::Failed).await.why.unwrap();
    assert!(
        failed.contains("`clawmesh-node credential set gateway/mac-studio`"),
        "{failed}"
    );
    let set = json!({"name": format!("gateway/{id}"), "secret": TOKEN});
    door.credential_set(serde_json::from_value(set).unwrap(), "ana")
        .await
        .unwrap();
    stands(&node, GatewayState::Ready).await;

    gateway.now().device = "7e".repeat(32);
    gateway.restarts();
    let failed = stands(&node, GatewayState::Failed).await.why.unwrap();
    assert!(
        failed.contains("another gateway answers at this address"),
        "{failed}"
    );
    let asked = answer(&node, ask("t", "hello", "k1")).await.0;
    assert!(matches!(asked, Err(AskError::NotSent(_))), "{asked:?}");
    assert_eq!(gateway.now().ran.len(), 0);

    door.gateway_remove(&id, "ana").await.unwrap();
    gateway.now().protocol = 9;
    add(&node, &gateway, Some(TOKEN)).await;
    let failed = stands(&node, GatewayState::Failed).await.why.unwrap();
    assert!(
        failed.contains("speaks protocol 9, this node 3 to 5"),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_long_is_an_error_and_the_node_goes_on() {
    let gateway = Gateway::start().await;
    let node = node().await;
    add(&node, &gateway, Some(TOKEN)).await;
    stands(&node, GatewayState::Ready).await;
    for (key, bytes) in [("k1", 300_000), ("k2", 20_000_000)] {
        gateway.now().says = "x".repeat(bytes);
        let said = answer(&node, ask("t", "hello", key)).await.0;
        let Err(AskError::Failed(why)) = said else {
            panic!("{bytes}: {said:?}");
        };
        assert!(why.contains("longer than 256 KiB"), "{why}");
        stands(&node, GatewayState::Ready).await;
    }
    gateway.now().says = "back\u{202e}\u{7} again".to_owned();
    let said = until("it answers again", || async {
        answer(&node, ask("t", "hello", "k3")).await.0.ok()
    })
    .await;
    assert_eq!(said, "back again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_are_renamed_turned_off_and_removed_and_addresses_are_checked() {
    let gateway = Gateway::start().await;
    let node = node().await;
    let door = node.node().door();
    let id = add(&node, &gateway, Some(TOKEN)).await;
    stands(&node, GatewayState::Ready).await;
    let refused = |url: &str, name: &str| {
        let asked = json!({"url": url, "name": name, "token": TOKEN});
        let (door, asked) = (node.node().door(), serde_json::from_value(asked).unwrap());
        async move { door.gateway_add(asked, "ana").await.unwrap_err().message }
    };
    for (url, name, why) in [
        ("ws://192.168.1.7:18789", "b", "unencrypted"),
        ("ws://ana:pw@127.0.0.1:1", "b", "without user"),
        ("http://127.0.0.1:1", "b", "begins with ws://"),
        (&gateway.url(), "b", "has this address already"),
        ("ws://127.0.0.1:1", "MAC studio", "already"),
        ("ws://127.0.0.1:1", "a\u{202e}b", "characters that show"),
    ] {
        let said = refused(url, name).await;
        assert!(said.contains(why) && !said.contains("pw"), "{url}: {said}");
    }
    let change = |name: Option<&str>, enabled| GatewayChange {
        name: name.map(str::to_owned),
        enabled,
        by: None,
    };
    let renamed = door
        .gateway_change(&id, change(Some("Büro"), None), "ana")
        .await
        .unwrap();
    assert_eq!(
        (renamed.id.as_str(), renamed.name.as_str()),
        ("mac-studio", "Büro")
    );
    let off = door
        .gateway_change("Büro", change(None, Some(false)), "ana")
        .await
        .unwrap();
    assert_eq!(off.state, GatewayState::Disabled);
    let asked = answer(&node, ask("t", "hello", "k1")).await.0;
    assert!(matches!(asked, Err(AskError::NotSent(_))), "{asked:?}");
    door.gateway_change(&id, change(None, Some(true)), "ana")
        .await
        .unwrap();
    stands(&node, GatewayState::Ready).await;
    assert!(door.gateway_remove(&id, "ana").await.unwrap().is_empty());
    let kept = door.credentials().await.unwrap();
    assert!(
        kept.iter().all(|one| !one.name.contains("mac-studio")),
        "{kept:?}"
    );
    let events = door.events(Default::default()).await.unwrap();
    let kinds: Vec<String> = events.into_iter().map(|event| event.kind).collect();
    for kind in [
        "gateway.added",
        "gateway.ready",
        "gateway.changed",
        "gateway.removed",
    ] {
        assert!(kinds.iter().any(|k| k == kind), "{kind}: {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_adds_shows_and_removes_a_gateway_and_takes_its_token_from_stdin() {
    let gateway = Gateway::start().await;
    let url = gateway.url();
    let done = tokio::task::spawn_blocking(move || {
        let place = Place::new();
        let node = place.field(&[]);
        let args = ["gateway", "add", &url, "--name", "Mac"];
        let said = place.typing(&place.state(), &args, &format!("{TOKEN}\n"));
        assert!(
            said.code == 0 && said.out.contains("id        mac"),
            "{said:?}"
        );
        eventually("it is ready", || {
            let all = place.json(&["gateway", "list"]);
            (all[0]["state"] == "ready").then_some(())
        });
        let shown = place.run(&["gateway", "show", "Mac"]);
        assert!(
            shown.out.contains("agent     main (Main), model stub/one"),
            "{shown:?}"
        );
        assert!(!place.log().contains(TOKEN));
        let removed = place.run(&["gateway", "remove", "Mac"]);
        assert_eq!(removed.code, 0, "{removed:?}");
        assert_eq!(place.json(&["gateway", "list"]), json!([]));
        node.stop();
    });
    done.await.unwrap();
}

/// Against an OpenClaw of one's own, where `CLAWMESH_OPENCLAW` has its address and `CLAWMESH_OPENCLAW_TOKEN` its token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_openclaw_lets_the_node_in_and_answers_once() {
    let Ok(url) = std::env::var("CLAWMESH_OPENCLAW") else {
        return;
    };
    let token = std::env::var("CLAWMESH_OPENCLAW_TOKEN").ok();
    let node = node().await;
    let asked = json!({"url": url, "name": "Mac Studio", "token": token});
    let asked = serde_json::from_value(asked).unwrap();
    node.node().door().gateway_add(asked, "ana").await.unwrap();
    let ready = stands(&node, GatewayState::Ready).await;
    println!("{ready:?}");
    let key = format!("k-{}", ready.since);
    let (said, pieces) = answer(&node, ask("clawmesh-test", "/status hello", &key)).await;
    println!("{said:?}\n{pieces}");
    let said = said.unwrap();
    let again = answer(&node, ask("clawmesh-test", "/status hello", &key))
        .await
        .0;
    assert_eq!(again.as_deref(), Ok(said.as_str()));

    // The node ends while the agent works, and has the answer of that run when it is there again.
    let process = node.shared().gateways.process("mac-studio").unwrap();
    let mut slow = ask(
        "clawmesh-slow",
        "say it slowly",
        &format!("s-{}", ready.since),
    );
    slow.before = Some(Before {
        process,
        at: node.shared().now().0,
    });
    let (pieces, mut told) = mpsc::channel(1);
    let gateways = node.shared().gateways.clone();
    let asking = slow.clone();
    let asking = tokio::spawn(async move {
        let asked = Ask {
            before: None,
            ..asking
        };
        gateways.ask("mac-studio", asked, pieces).await
    });
    println!("the first of it: {:?}", told.recv().await);
    let dir = node.stop().await;
    asking.abort();
    let node = Box::pin(centre().start_in(dir, None)).await;
    let (said, _) = answer(&node, slow).await;
    println!("{said:?}");
    let (after, _) = answer(
        &node,
        ask("clawmesh-after", "and?", &format!("a-{}", ready.since)),
    )
    .await;
    let run = |said: &str| -> u32 {
        let mut words = said.split(' ');
        words.find_map(|word| word.parse().ok()).unwrap()
    };
    assert_eq!(run(&said.unwrap()) + 1, run(&after.unwrap()), "run once");
}
