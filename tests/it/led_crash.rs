//! Two planners as real processes: the one that leads is killed while it answers a question of a person at the other.

use serde_json::json;

use crate::model_server::{Server, Step};
use crate::process::{Place, eventually};

const NEVER: &str = "[[rule]]\nname = 'never'\nmetric = 'moisture'\nbelow = -1.0\n\
    target = 'actuator:mock:valve-1'\noperation = 'open'\nparams = { durationSec = 2 }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_question_at_a_planner_that_is_killed_is_answered_by_the_one_that_was_asked() {
    let server = Server::start([vec![Step::Say("{\"step\"".into()), Step::Wait]]).await;
    tokio::task::block_in_place(|| {
        let (leader, other) = (Place::new(), Place::new());
        let model = format!(
            "[[model]]\nname = \"ollama/x\"\nurl = \"{}\"\nshare = true\n",
            server.url
        );
        leader.write("config.toml", &format!("{model}{NEVER}"));
        other.write("config.toml", NEVER);
        let ids = [leader.device(), other.device()];
        for (place, id) in [(&leader, &ids[1]), (&other, &ids[0])] {
            let said = place.run(&["trust", "add", id, "--as", "command-center"]);
            assert_eq!(said.code, 0, "{said:?}");
        }
        let start = |place: &Place, role: &str, more: &[&str]| {
            let fixed = ["--name", role, "--role", role, "--mesh-name", "test"];
            place.start(&[&fixed, more].concat())
        };
        let leading = start(&leader, "planner", &[]);
        let peer = format!("{}=ws://{}||local", ids[0], leading.address);
        let asked = start(&other, "standby-planner", &["--peer", &peer]);
        let leads = |id: &str| {
            let events = other.json(&["events", "--limit", "1000"]);
            let events = events.as_array().unwrap().iter();
            let mut led = events.filter(|e| e["kind"] == "planner.leads");
            led.any(|e| e["data"]["leader"] == id).then_some(())
        };
        eventually("the first leads", || leads(&ids[0]));
        let question = ["ask", "How is the moisture?", "--json"];
        let said = std::thread::scope(|scope| {
            let answer = scope.spawn(|| other.run(&question));
            eventually("its model is asked", || (server.open() == 1).then_some(()));
            leading.kill();
            answer.join().unwrap()
        });
        let said = said.json();
        assert_eq!(said["answerer"], "rules", "{said}");
        let why = said["why"].as_str().unwrap_or_default();
        assert!(why.contains("which leads, did not answer"), "{said}");
        assert_eq!(said["proposals"], json!([]));
        eventually("the other leads", || leads(&ids[1]));
        // The next is answered there at once, and is one of two that are kept.
        let next = other.json(&["ask", "And now?"]);
        assert_eq!(next["answerer"], "rules", "{next}");
        assert_eq!(server.asked().len(), 1);
        assert_eq!(asked.stop(), 0);
    });
}
