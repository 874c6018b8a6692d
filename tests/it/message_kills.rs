//! Messages to agents of gateways while the nodes that ask them are killed: each is answered, and no gateway runs one twice.

use std::collections::BTreeMap;

use crate::gateway_stub::{Gateway, TOKEN};
use crate::process::{Place, Running, eventually};

fn config(place: &Place, text: &str) {
    place.write("config.toml", text);
}

/// A node with this gateway, ready to be asked.
fn with_gateway(place: &Place, url: &str) -> Running {
    let node = place.start(&[]);
    let args = ["gateway", "add", url, "--name", "home"];
    let said = place.typing(&place.state(), &args, &format!("{TOKEN}\n"));
    assert_eq!(said.code, 0, "{said:?}");
    ready(place);
    node
}

fn ready(place: &Place) {
    eventually("its gateway is ready", || {
        let all = place.json(&["gateway", "list"]);
        (all[0]["state"] == "ready").then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_while_an_agent_of_its_gateway_works_a_node_has_the_answer_and_nothing_ran_twice() {
    let gateway = Gateway::start().await;
    gateway.now().holds = true;
    let own = gateway.clone();
    let done = tokio::task::spawn_blocking(move || {
        let place = Place::new();
        config(&place, "name = 'desk'\n");
        let node = with_gateway(&place, &own.url());
        let send = ["send", "--no-wait", "--agent", "home/main", "hello"];
        let id = place.json(&send)["id"].as_str().unwrap().to_owned();
        let state = |wanted: &str| {
            eventually(&format!("the message is {wanted}"), || {
                let message = place.json(&["message", "show", &id]);
                (message["state"] == wanted).then_some(message)
            })
        };
        state("running");
        eventually("its agent is asked", || {
            (own.now().asked == 1).then_some(())
        });
        node.kill();
        own.ends_runs();
        let node = place.start(&[]);
        let message = state("answered");
        assert_eq!(message["answer"], "the shed is warm", "{message}");
        assert_eq!(own.now().ran.len(), 1);

        // A gateway that was started again does not know the run: it is not asked for a second one.
        let id = place.json(&send)["id"].as_str().unwrap().to_owned();
        eventually("its agent is asked", || {
            (own.now().ran.len() == 2).then_some(())
        });
        node.kill();
        own.restarts();
        let _node = place.start(&[]);
        let message = eventually("the message is over", || {
            let message = place.json(&["message", "show", &id]);
            message["endedAt"].is_number().then_some(message)
        });
        assert_eq!(message["state"], "unclear", "{message}");
        assert_eq!(own.now().ran.len(), 2);
    });
    done.await.unwrap();
    assert_eq!(gateway.now().wrong, Vec::<String>::new());
}

/// How many messages, after how many of them something is killed, and how many there are to kill: the desk is one of them where another
/// program is unlikely to take its port meanwhile.
fn size() -> (usize, usize, usize) {
    match std::env::var_os("CLAWMESH_LONG") {
        Some(_) => (1_000, 25, 4),
        None => (40, 5, 3),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nodes_that_are_killed_in_turn_answer_every_message_once() {
    let (count, each, victims) = size();
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let gateway = Gateway::start().await;
        gateway.now().works = std::time::Duration::from_millis(150);
        gateways.push(gateway);
    }
    let own = gateways.clone();
    let done = tokio::task::spawn_blocking(move || {
        let desk = Place::new();
        let places: Vec<Place> = own.iter().map(|_| Place::new()).collect();
        config(&desk, "name = 'desk'\nmesh_name = 'test'\n");
        for place in &places {
            let trust = ["trust", "add", &place.device(), "--grant", "read"];
            assert_eq!(desk.run(&trust).code, 0);
            let trust = ["trust", "add", &desk.device(), "--grant", "llm,read"];
            assert_eq!(place.run(&trust).code, 0);
        }
        let mut desk_runs = Some(desk.start(&[]));
        let port = desk_runs.as_ref().unwrap().port();
        let mut nodes = BTreeMap::new();
        for (i, place) in places.iter().enumerate() {
            let text = format!(
                "name = 'node{i}'\nmesh_name = 'test'\npeers = [\"{}=ws://127.0.0.1:{port}||local\"]\n[messages]\nshare_agents = [\"home/*\"]\n",
                desk.device()
            );
            config(place, &text);
            nodes.insert(i, with_gateway(place, &own[i].url()));
        }
        let rules = desk.beside("rules.toml");
        let text = "version = 1\n[[rule]]\nname = \"all\"\nagent = \"home/main\"\nstrategy = \"least-busy\"\n";
        std::fs::write(&rules, text).unwrap();
        let set = desk.run(&["route", "set", rules.to_str().unwrap()]);
        assert_eq!(set.code, 0, "{set:?}");
        let counts = |state: &str| {
            let all = desk.json(&["message", "list", "--limit", "1"]);
            all["counts"][state].as_u64().unwrap_or_default()
        };
        eventually("each node would answer", || {
            let told = desk.json(&["route", "explain", "x"]);
            (told["order"].as_array()?.len() == places.len()).then_some(())
        });
        let mut victim = 0;
        for n in 0..count {
            let (key, text) = (format!("k{n}"), format!("message {n}"));
            let said = desk.run(&[
                "send",
                "--no-wait",
                "--key",
                &key,
                "--timeout",
                "3600",
                &text,
            ]);
            assert_eq!(said.code, 0, "{said:?}");
            if n % each != each - 1 {
                continue;
            }
            eprintln!(
                "{n}: {} answered, {} unclear",
                counts("answered"),
                counts("unclear")
            );
            match victim % victims {
                3 => {
                    desk_runs.take().unwrap().kill();
                    let again = desk.start(&["--port", &port.to_string()]);
                    desk_runs = Some(again);
                }
                i => {
                    nodes.remove(&i).unwrap().kill();
                    nodes.insert(i, places[i].start(&[]));
                }
            }
            victim += 1;
        }
        let total = u64::try_from(count).unwrap();
        eventually("every message is over", || {
            let over = ["answered", "failed", "unclear", "expired", "cancelled"];
            (over.iter().map(|state| counts(state)).sum::<u64>() == total).then_some(())
        });
        assert_eq!(counts("answered"), total);
        drop((nodes, desk_runs));
    });
    done.await.unwrap();
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    for gateway in &gateways {
        let now = gateway.now();
        let mut keys: Vec<&String> = now.ran.iter().map(|(key, _, _)| key).collect();
        let ran = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), ran, "a gateway ran one twice");
        assert_eq!(now.wrong, Vec::<String>::new());
        for (_, _, text) in &now.ran {
            *runs.entry(text.clone()).or_default() += 1;
        }
    }
    let twice: Vec<_> = runs.iter().filter(|(_, n)| **n > 1).collect();
    assert_eq!((runs.len(), twice.len()), (count, 0), "{twice:?}");
}
