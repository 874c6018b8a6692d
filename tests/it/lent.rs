//! Models between devices that lie about who they are, hold what they use, or take it back.

use clawmesh::domain::inference::route::About;
use clawmesh::domain::inference::{FailureKind, InferenceRequest, Message};
use clawmesh::node::config::models::RawModel;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::inference::Wanted;
use clawmesh::operator::Door;
use serde_json::{Value, json};

use crate::harness::*;
use crate::model_server::{Server, Step, say};

/// A device of our own kind that offers `ollama/x` and calls itself so.
async fn called(node: &TestNode, n: u8, name: &str) -> Probe {
    let mut probe = Probe::open(node.address).await;
    let hello = probe
        .handshake(&key(n), MESH, |params| {
            params.insert("features".into(), json!(["sig", "infer"]));
            params.insert("displayName".into(), json!(name));
            params.insert("capabilities".into(), json!(["llm:ollama/x"]));
        })
        .await;
    assert_eq!(hello["ok"], true, "{hello}");
    until("its model is known", || async {
        let short = key(n).id().short().to_owned();
        let known = node.shared().inference.elsewhere();
        let known = |name: &str| {
            let name = format!("mesh/{name}/ollama/x");
            known.iter().any(|model| model.to_string() == name)
        };
        (known(&short) || known(name)).then_some(())
    })
    .await;
    probe
}

fn question() -> InferenceRequest {
    InferenceRequest {
        messages: vec![Message::User("the bedroom is warm".into())],
        max_output_tokens: 100,
        ..InferenceRequest::default()
    }
}

/// Why nobody answers; the probe is not asked meanwhile.
async fn nobody(node: &TestNode, probe: &mut Probe, wanted: &Wanted, about: &About) -> FailureKind {
    let (inference, asked) = (&node.shared().inference, question());
    let asking = inference.ask_whole(wanted, asked, about);
    let heard = async {
        loop {
            let message = probe.receive().await.unwrap_or(Value::Null);
            assert_ne!(message["method"], "llm.infer", "{message}");
        }
    };
    tokio::select! {
        (_, told) = asking => told.unwrap_err().kind,
        () = heard => unreachable!("it listens for ever"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_calls_itself_by_the_id_of_another_gets_nothing_that_is_meant_for_it() {
    let meant = format!("mesh/{}/ollama/x", key(5).id());
    let mut setup = centre().trusting(key(5), "read").trusting(key(2), "read");
    setup.raw.model = vec![RawModel {
        name: meant.clone(),
        private: Some(true),
        ..RawModel::default()
    }];
    let node = setup.start().await;
    let mut evil = called(&node, 2, key(5).id().as_str()).await;
    let private = About::private("zone bedroom");
    let kind = nobody(&node, &mut evil, &Wanted::Chain, &private).await;
    assert_eq!(kind, FailureKind::Unreachable);
    let named = |name: String| Wanted::Named(name.parse().unwrap());
    let short = format!("mesh/{}/ollama/x", key(5).id().short());
    for wanted in [named(meant), named(short)] {
        nobody(&node, &mut evil, &wanted, &About::public()).await;
    }
    // Nor is it shown as the other one.
    let link = node.shared().links.get(key(2).id()).unwrap();
    assert_eq!(link.info.name, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_says_the_name_which_a_person_gave_another_is_not_found_by_it() {
    let node = centre()
        .trusting(key(5), "read")
        .trusting(key(2), "read")
        .start()
        .await;
    name_device(&node, &key(5), Some("hub")).await;
    let mut evil = called(&node, 2, "hub").await;
    let hub = Wanted::Named("mesh/hub/ollama/x".parse().unwrap());
    nobody(&node, &mut evil, &hub, &About::public()).await;
    // The device itself is found by the name that it was given, whatever it says.
    name_device(&node, &key(2), Some("shed")).await;
    let known = node.shared().inference.elsewhere();
    assert_eq!(known[0].to_string(), "mesh/shed/ollama/x");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_private_in_a_schema_goes_to_no_model_that_may_not_see_it() {
    let server = Server::start([say(&["leaked"])]).await;
    let mut setup = centre();
    setup.raw.inference.private_zones = vec!["bedroom".into()];
    setup.raw.model = vec![RawModel {
        private: Some(false),
        ..server.model(false)
    }];
    let node = setup.start().await;
    let door = Door::new(node.shared().clone());
    let schema = json!({"properties": {"t": {"description": "the bedroom is 31 C"}}});
    let asked = InferenceRequest {
        messages: vec![Message::User("hi".into())],
        schema: Some(schema),
        max_output_tokens: 100,
        ..InferenceRequest::default()
    };
    let (route, told) = door.infer_whole(&Wanted::Chain, asked).await;
    assert_eq!(told.unwrap_err().kind, FailureKind::NoModel);
    assert_eq!(route.private, ["zone bedroom"]);
    assert!(server.asked().is_empty());
    node.stop().await;
}

/// A node that shares the model of this server, which takes one request at a time.
async fn sharing(server: &Server, tokens: Option<u64>) -> TestNode {
    let mut setup = centre().trusting(key(2), "llm, read");
    setup.raw.inference.peer_tokens_per_day = tokens;
    setup.raw.model = vec![RawModel {
        at_once: Some(1),
        ..server.model(true)
    }];
    setup.start().await
}

async fn begin(probe: &mut Probe, id: &str) {
    let params = json!({
        "requestId": id, "model": "ollama/x", "maxTokens": 1_000,
        "messages": [{"role": "user", "content": "hi"}],
    });
    let request = json!({"type": "req", "id": id, "method": "llm.infer", "params": params});
    probe.send(request.to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_takes_nothing_of_a_reply_does_not_hold_the_model() {
    let long = vec!["x".repeat(1_000); 200];
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let server = Server::start([say(&long), say(&["own"])]).await;
    let node = sharing(&server, None).await;
    let mut probe = called(&node, 2, "slow").await;
    begin(&mut probe, "r1").await;
    probe.hear("llm.chunk").await;
    let (inference, about) = (&node.shared().inference, About::public());
    let (_, told) = inference
        .ask_whole(&Wanted::Chain, question(), &about)
        .await;
    assert_eq!(told.unwrap().text, "own");
    assert_eq!(node.shared().mesh_models.serving(), 1, "it still waits");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_taken_back_while_the_model_thinks_counts_as_the_most_it_may_take() {
    let server = Server::start([vec![Step::Wait], say(&["again"])]).await;
    let node = sharing(&server, Some(1_500)).await;
    let mut probe = called(&node, 2, "cheap").await;
    begin(&mut probe, "r1").await;
    until("the model thinks", || async {
        (server.open() == 1).then_some(())
    })
    .await;
    probe.ask("llm.cancel", json!({"requestId": "r1"})).await;
    assert_eq!(
        probe.answer("r1").await["payload"]["finishReason"],
        "cancelled"
    );
    begin(&mut probe, "r2").await;
    let answer = probe.answer("r2").await;
    assert_eq!(answer["error"]["code"], "OVER_BUDGET", "{answer}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_says_the_name_of_another_is_told_until_it_has_a_name_of_its_own() {
    let node = centre()
        .trusting(key(5), "read")
        .trusting(key(2), "read")
        .start()
        .await;
    name_device(&node, &key(5), Some("pump")).await;
    let told = || {
        let all = node.shared().alarms.list().into_iter();
        let mut alike = all.filter(|alarm| alarm.kind == AlarmKind::NamesAlike);
        alike.next().map(|alarm| alarm.message)
    };
    // The same letters, and such as look the same.
    for name in ["pump", "\u{440}ump"] {
        let evil = called(&node, 2, name).await;
        let message = until("it is told", || async { told() }).await;
        let both = [key(2), key(5)].map(|key| key.id().short().to_owned());
        assert!(both.iter().all(|id| message.contains(id)), "{message}");
        name_device(&node, &key(2), Some("shed")).await;
        until("the alarm ends", || async {
            told().is_none().then_some(())
        })
        .await;
        drop(evil);
        name_device(&node, &key(2), None).await;
    }
    node.stop().await;
}
