//! Messages to agents between real nodes: written down, routed, answered once, and moved where a node dies.

use clawmesh::adapters::gateway::{AskError, Repeater};
use clawmesh::domain::coordination::message::MessageState;
use clawmesh::node::config::messages::RawMessages;
use clawmesh::operator::Door;
use clawmesh::operator::messages::{MessageQuery, MessageSend, MessageView};
use clawmesh::operator::routing::{RouteAsk, RulesSet, TagsChange};
use serde_json::json;

use crate::bad_peers::kin;
use crate::harness::*;
use crate::model_server::{Server, Step, say};
use crate::process::{Place, eventually};

/// A node that answers messages of the desk with the model of this server.
async fn answerer(name: &str, seed: u8, server: &Server) -> TestNode {
    let mut setup = centre().trusting(key(1), "llm,read");
    setup.kin = true;
    setup.raw.name = Some(name.into());
    setup.raw.model = vec![server.model(true)];
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    setup.start_in(dir, Some(seed)).await
}

/// The node whose messages they are, linked with these.
async fn desk_in(dir: std::sync::Arc<tempfile::TempDir>, nodes: &[&TestNode]) -> TestNode {
    let mut setup = centre().trusting(key(11), "read").trusting(key(12), "read");
    setup.kin = true;
    setup.raw.name = Some("desk".into());
    let peer = |node: &&TestNode| format!("{}=ws://{}||local", node.id(), node.address);
    setup.raw.peers = nodes.iter().map(peer).collect();
    let desk = setup.start_in(dir, Some(1)).await;
    name_device(&desk, &key(11), Some("one")).await;
    name_device(&desk, &key(12), Some("two")).await;
    desk
}

async fn desk(nodes: &[&TestNode]) -> TestNode {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let desk = desk_in(dir, nodes).await;
    let answer = nodes.iter().filter(|node| {
        !node.shared().inference.is_empty() || !node.shared().gateways.all().is_empty()
    });
    offered(&desk, answer.count()).await;
    desk
}

fn door(node: &TestNode) -> Door {
    Door::new(node.shared().clone())
}

/// Waits until so many nodes would take a message.
async fn offered(desk: &TestNode, count: usize) {
    until("the nodes offer their agents", || async {
        let ask = RouteAsk {
            text: "x".into(),
            ..RouteAsk::default()
        };
        (door(desk).routing_explain(&ask).await.unwrap().order.len() == count).then_some(())
    })
    .await;
}

fn text(text: &str) -> MessageSend {
    MessageSend {
        text: text.into(),
        ..MessageSend::default()
    }
}

async fn over(desk: &TestNode, id: &str) -> MessageView {
    until("the message is over", || async {
        let message = door(desk).message(id).await.unwrap();
        message.state.is_over().then_some(message)
    })
    .await
}

async fn running(desk: &TestNode, id: &str) -> MessageView {
    until("its agent works on it", || async {
        let message = door(desk).message(id).await.unwrap();
        (message.state == MessageState::Running).then_some(message)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_sends_a_message_to_its_node_and_a_long_answer_comes_whole() {
    let long = "längere Antwort ".repeat(10_000);
    let (one, two) = (
        Server::start([]).await,
        Server::start([say(&[&long])]).await,
    );
    let one_node = answerer("one", 11, &one).await;
    let two_node = answerer("two", 12, &two).await;
    let desk = desk(&[&one_node, &two_node]).await;
    let rules = "version = 1\n[[rule]]\nname = \"long\"\nmessage = { prefix = \"/long\" }\nnode = { name = [\"two\"] }\n\
                 [[test]]\nmessage = \"/long x\"\nrule = \"long\"\n";
    let set = |text: &str, instead_of: Option<&str>| RulesSet {
        text: text.into(),
        instead_of: instead_of.map(str::to_owned),
        try_only: false,
        name: None,
    };
    let set_rules = door(&desk)
        .routing_set(set(rules, Some("")), "ada")
        .await
        .unwrap();
    assert_eq!((set_rules.rules.len(), set_rules.tests), (1, 1));
    let wrong = rules.replace("/long x", "short");
    let refused = door(&desk)
        .routing_set(set(&wrong, None), "ada")
        .await
        .unwrap_err();
    assert!(refused.message.contains("test 1"), "{refused}");
    let stale = door(&desk)
        .routing_set(set("version = 1", Some("")), "bo")
        .await;
    assert_eq!(stale.unwrap_err().code.as_str(), "CONFLICT");

    let sent = MessageSend {
        key: Some("k1".into()),
        ..text("/long story")
    };
    let first = door(&desk)
        .message_send(sent.clone(), "cli", "ada")
        .await
        .unwrap();
    let again = door(&desk)
        .message_send(sent.clone(), "cli", "ada")
        .await
        .unwrap();
    assert_eq!(first.id, again.id, "one message of one key");
    let other = MessageSend {
        text: "else".into(),
        ..sent
    };
    let refused = door(&desk)
        .message_send(other, "cli", "ada")
        .await
        .unwrap_err();
    assert_eq!(refused.code.as_str(), "CONFLICT");
    let message = over(&desk, &first.id).await;
    assert_eq!(message.state, MessageState::Answered, "{message:?}");
    assert_eq!(message.answer.as_deref(), Some(long.as_str()));
    assert_eq!(message.rule.as_deref(), Some("long"));
    assert_eq!(message.attempts.len(), 1);
    assert_eq!(message.attempts[0].name, "two");
    assert_eq!((one.asked().len(), two.asked().len()), (0, 1));
    let found = MessageQuery {
        text: Some("antwort".into()),
        state: Some("answered".into()),
        ..MessageQuery::default()
    };
    assert_eq!(door(&desk).messages(found).await.unwrap().messages.len(), 1);
    for node in [desk, one_node, two_node] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_node_dies_its_message_is_answered_by_the_next_and_a_restart_of_the_desk_loses_nothing()
 {
    let waits = || vec![Step::Say("half of it".into()), Step::Wait];
    let (one, two) = (
        Server::start([waits()]).await,
        Server::start([say(&["whole"])]).await,
    );
    let one_node = answerer("one", 11, &one).await;
    let two_node = answerer("two", 12, &two).await;
    let desk = desk(&[&one_node, &two_node]).await;
    let rules = RulesSet {
        text: "version = 1\n[[rule]]\nname = \"first\"\nnode = { name = [\"one\"] }\n[[rule]]\nname = \"then\"\n".into(),
        instead_of: None,
        try_only: false,
        name: None,
    };
    door(&desk).routing_set(rules, "ada").await.unwrap();
    let sent = door(&desk)
        .message_send(text("hello"), "cli", "ada")
        .await
        .unwrap();
    let half = until("half of the answer is there", || async {
        let message = door(&desk).message(&sent.id).await.unwrap();
        message.answer.clone().map(|_| message)
    })
    .await;
    assert_eq!(half.answer.as_deref(), Some("half of it"));
    // The desk ends and begins again: it asks the node what became of it, and does not ask it twice.
    let dir = desk.stop().await;
    let desk = desk_in(dir, &[&one_node, &two_node]).await;
    running(&desk, &sent.id).await;
    assert_eq!(one.asked().len(), 1);
    one_node.stop().await;
    let message = over(&desk, &sent.id).await;
    assert_eq!(message.answer.as_deref(), Some("whole"), "{message:?}");
    assert_eq!(message.rule.as_deref(), Some("then"));
    let names: Vec<&str> = message.attempts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    assert!(message.attempts[0].why.is_some());
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
    for node in [desk, two_node] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_waits_for_a_node_is_taken_back_or_expires_and_is_sent_again() {
    let server = Server::start([say(&["at last"])]).await;
    let desk = desk(&[]).await;
    let send = async |timeout_ms: Option<u64>| {
        let message = MessageSend {
            timeout_ms,
            ..text("anybody?")
        };
        door(&desk)
            .message_send(message, "cli", "ada")
            .await
            .unwrap()
    };
    let (taken_back, short) = (send(None).await, send(Some(1_000)).await);
    until("it says that it waits", || async {
        let message = door(&desk).message(&taken_back.id).await.unwrap();
        message.why.filter(|why| why.contains("no node"))
    })
    .await;
    let cancelled = door(&desk)
        .message_cancel(&taken_back.id, "ada")
        .await
        .unwrap();
    assert_eq!(cancelled.state, MessageState::Cancelled);
    let refused = door(&desk).message_cancel(&taken_back.id, "ada").await;
    assert_eq!(refused.unwrap_err().code.as_str(), "CONFLICT");
    let expired = over(&desk, &short.id).await;
    assert_eq!(expired.state, MessageState::Expired);
    // A node comes: what was sent again is answered there.
    let node = answerer("late", 11, &server).await;
    let dir = desk.stop().await;
    let desk = desk_in(dir, &[&node]).await;
    offered(&desk, 1).await;
    let again = door(&desk).message_again(&short.id).await.unwrap();
    assert_eq!(again.state, MessageState::Queued);
    let answered = over(&desk, &short.id).await;
    assert_eq!(answered.answer.as_deref(), Some("at last"), "{answered:?}");
    let refused = door(&desk).message_again(&short.id).await;
    assert_eq!(refused.unwrap_err().code.as_str(), "CONFLICT");
    for node in [desk, node] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_answers_a_device_without_the_grant_or_tells_it_of_runs_of_others() {
    let server = Server::start([vec![Step::Wait]]).await;
    let mut setup = centre().trusting(key(1), "llm").trusting(key(2), "read");
    setup.kin = true;
    setup.raw.model = vec![server.model(true)];
    let node = setup.start().await;
    let ask =
        json!({"id": "m.1", "key": "m", "agent": "model", "text": "hello", "timeoutMs": 60_000});
    let mut stranger = kin(&node, 2).await;
    let answer = stranger.ask("message.run", ask.clone()).await;
    assert_eq!(answer["error"]["code"], "NOT_AUTHORIZED", "{answer}");
    let mut friend = kin(&node, 1).await;
    for (what, code) in [
        (json!({"agent": "home/main"}), "UNKNOWN_TARGET"),
        (json!({"agent": "x"}), "INVALID_PARAMS"),
        (json!({"text": ""}), "INVALID_PARAMS"),
        (json!({"text": "x".repeat(65_537)}), "INVALID_PARAMS"),
        (json!({"id": "x".repeat(129)}), "INVALID_PARAMS"),
        (json!({"timeoutMs": -1}), "INVALID_PARAMS"),
    ] {
        let mut bad = ask.clone();
        for (name, value) in what.as_object().unwrap() {
            bad[name] = value.clone();
        }
        let answer = friend.ask("message.run", bad).await;
        assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
    }
    for _ in 0..3 {
        let answer = friend.ask("message.run", ask.clone()).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    until("its model is asked", || async {
        (server.open() == 1).then_some(())
    })
    .await;
    assert_eq!(server.asked().len(), 1, "begun once");
    let told = friend
        .ask("message.told", json!({"id": "m.1", "from": 9_999}))
        .await;
    assert_eq!(told["payload"]["state"], "running", "{told}");
    let told = stranger
        .ask("message.told", json!({"id": "m.1", "from": 0}))
        .await;
    assert_eq!(told["error"]["code"], "NOT_FOUND", "{told}");
    stranger.ask("message.cancel", json!({"id": "m.1"})).await;
    let told = friend.ask("message.told", json!({"id": "m.1"})).await;
    assert_eq!(told["payload"]["state"], "running", "{told}");
    friend.ask("message.cancel", json!({"id": "m.1"})).await;
    until("the model is let go", || async {
        (server.open() == 0).then_some(())
    })
    .await;
    // What it says of its own agents is bounded.
    let many: Vec<&str> = std::iter::repeat_n("model", 65).collect();
    friend
        .event("message.offer", json!({"agents": many, "inFlight": 0}))
        .await;
    until("the offer is refused", || async {
        let events = door(&node).events(Default::default()).await.unwrap();
        events
            .into_iter()
            .find(|e| e.kind == "event.refused" && e.message.contains("agents"))
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_a_gateway_answers_where_it_is_shared_and_what_it_may_have_done_is_not_done_again()
 {
    let mut setup = centre().trusting(key(1), "llm,read");
    setup.kin = true;
    setup.raw.messages = Some(RawMessages {
        share_agents: vec!["home/*".into()],
    });
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let node = setup.start_in(dir, Some(11)).await;
    let (home, other) = (
        std::sync::Arc::new(Repeater::default()),
        std::sync::Arc::new(Repeater::default()),
    );
    node.shared().gateways.take("home", home.clone());
    node.shared().gateways.take("other", other.clone());
    let desk = desk(&[&node]).await;
    let send = async |agent: &str, text: &str| {
        let message = MessageSend {
            agent: Some(agent.into()),
            text: text.into(),
            ..MessageSend::default()
        };
        door(&desk)
            .message_send(message, "cli", "ada")
            .await
            .unwrap()
            .id
    };
    let answered = over(&desk, &send("home/main", "hello").await).await;
    assert_eq!(answered.answer.as_deref(), Some("hello"), "{answered:?}");
    let ran = home.ran();
    assert_eq!(ran.len(), 1);
    let session = &ran[0].session;
    assert!(session.starts_with("cli-ada-"), "{session}");
    let ask = RouteAsk {
        agent: Some("other/main".into()),
        ..RouteAsk::default()
    };
    let route = door(&desk).routing_explain(&ask).await.unwrap();
    assert!(route.order.is_empty(), "it is not shared: {route:?}");

    home.says(Err(AskError::Unknown("the connection ended".into())));
    let id = send("home/main", "open the door").await;
    let unclear = over(&desk, &id).await;
    assert_eq!(unclear.state, MessageState::Unclear, "{unclear:?}");
    assert_eq!((unclear.attempts.len(), home.ran().len()), (1, 2));
    // A person sends it again: the gateway knows it by its key, and runs it no second time.
    door(&desk).message_again(&id).await.unwrap();
    let again = over(&desk, &id).await;
    assert_eq!(
        (again.attempts.len(), home.ran().len()),
        (2, 2),
        "{again:?}"
    );
    assert!(other.ran().is_empty());
    for node in [desk, node] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_while_its_model_answers_a_node_answers_the_message_once_it_is_back() {
    let cut = vec![Step::Say("half".into()), Step::Wait];
    let server = Server::start([cut, say(&["whole"])]).await;
    let asked = server.clone();
    let done = tokio::task::spawn_blocking(move || {
        let place = Place::new();
        let config = format!(
            "name = 'desk'\n[[model]]\nname = 'ollama/x'\nurl = '{}'\n",
            asked.url
        );
        place.write("config.toml", &config);
        let node = place.start(&[]);
        let sent = place.json(&["send", "--no-wait", "--key", "k", "hello"]);
        let id = sent["id"].as_str().unwrap().to_owned();
        eventually("its model is asked", || {
            (asked.asked().len() == 1).then_some(())
        });
        node.kill();
        let _node = place.start(&[]);
        let again = place.json(&["send", "--no-wait", "--key", "k", "hello"]);
        assert_eq!(again["id"], id.as_str(), "one message of one key");
        let message = eventually("it is answered", || {
            let message = place.json(&["message", "show", &id]);
            (message["state"] == "answered").then_some(message)
        });
        assert_eq!(message["answer"], "whole", "{message}");
        assert_eq!(asked.asked().len(), 2);
    });
    done.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_agents_shows_what_it_can_do_to_those_that_may_read_and_to_nobody_else() {
    let mut setup = centre().trusting(key(1), "read");
    setup.kin = true;
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let node = setup.start_in(dir, Some(11)).await;
    let desk = desk(&[&node]).await;
    let seen = || async {
        let all = door(&desk).abilities();
        let node = all
            .into_iter()
            .find(|one| one.device_id == node.id().as_str());
        node.unwrap().profile
    };
    let change = |add: &[&str]| TagsChange {
        add: add.iter().map(|tag| (*tag).to_owned()).collect(),
        remove: Vec::new(),
    };
    door(&node).tag(change(&["fast"])).await.unwrap();
    let profile = until("the tag is seen", || async {
        let profile = seen().await;
        profile.tags.contains("fast").then_some(profile)
    })
    .await;
    assert_eq!(profile.os, std::env::consts::OS);
    trust(node.shared(), &key(1), "relay").await;
    until("nothing is seen any more", || async {
        (seen().await == Default::default()).then_some(())
    })
    .await;
    let refused = door(&node).tag(change(&["Not a tag"])).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "INVALID_PARAMS");
    // Tags are kept over a restart.
    let dir = node.stop().await;
    let node = centre().start_in(dir, Some(11)).await;
    let own = door(&node)
        .abilities()
        .into_iter()
        .find(|one| one.own)
        .unwrap();
    assert!(own.profile.tags.contains("fast"), "{own:?}");
    for node in [desk, node] {
        node.stop().await;
    }
}
