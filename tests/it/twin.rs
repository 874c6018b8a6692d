//! Sites from `site.toml`: what the door answers, what it refuses to read, and how a plan is served.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use clawmesh::domain::site::{EXAMPLE_PLAN, EXAMPLE_SITE};
use clawmesh::operator::Door;
use clawmesh::operator::access::{API_ROOT, Scope, Tokens};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::*;

const SITE: &str = "version = 1\n[[site]]\nid = 'farm'\nname = 'Farm'\nplan = 'plan.svg'\n\
    [[site.zone]]\nid = 'bed'\nname = 'Bed'\nzone = 'zone-1'\noutline = '#bed'\n\
    metrics = [{ metric = 'tank.level', unit = '%', limits = 'policy' }]\n\
    [[site.asset]]\nid = 'v'\nname = 'V'\nkind = 'valve'\nx = 5\ny = 5\n\
    device = 'field'\nactuator = 'actuator:mock:valve-1'\n";
const PLAN: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 10 10'>\
    <script>alert(1)</script><rect id='bed' width='4' height='4' onclick='x()'/></svg>";

struct House {
    node: TestNode,
    tokens: Tokens,
}

impl House {
    async fn with(files: &[(&str, &str)]) -> Self {
        let node = field().start().await;
        let house = Self {
            node,
            tokens: Tokens::generate().unwrap(),
        };
        for (name, text) in files {
            house.write(name, text);
        }
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.node.state().root().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    async fn ask(&self, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
        let door = Door::new(self.node.shared().clone());
        let app = clawmesh::surfaces::http::app(door, self.tokens.clone());
        let token = self.tokens.of(Scope::Read);
        let request = Request::builder()
            .uri(format!("{API_ROOT}{path}"))
            .header("host", "127.0.0.1:1")
            .header("authorization", format!("Bearer {token}"));
        let answer = app
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (parts.status, parts.headers, body)
    }

    async fn twin(&self) -> Value {
        let (status, _, body) = self.ask("/twin").await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).unwrap()
    }

    /// The one mistake that is told: line, key, message.
    async fn mistake(&self) -> (Value, Value, String) {
        let twin = self.twin().await;
        assert_eq!(twin["sites"], json!([]), "{twin}");
        let problems = twin["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{twin}");
        let message = problems[0]["message"].as_str().unwrap().to_owned();
        (
            problems[0]["line"].clone(),
            problems[0]["key"].clone(),
            message,
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_come_with_their_limits_and_devices_and_follow_the_file() {
    let house = House::with(&[]).await;
    let none = house.twin().await;
    assert_eq!(
        (&none["present"], &none["sites"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(none["example"]["site"], EXAMPLE_SITE);
    assert_eq!(none["example"]["plan"], EXAMPLE_PLAN);
    assert!(none["file"].as_str().unwrap().ends_with("site.toml"));

    house.write("plan.svg", PLAN);
    house.write("site.toml", SITE);
    let twin = house.twin().await;
    let site = &twin["sites"][0];
    assert_eq!(twin["problems"], json!([]), "{twin}");
    assert_eq!(
        (&site["width"], &site["name"]),
        (&json!(10.0), &json!("Farm"))
    );
    let zone = &site["zones"][0];
    assert_eq!(zone["outline"].as_array().unwrap().len(), 4);
    // The starter policy never runs the tank dry and never overfills it.
    let metric = &zone["metrics"][0];
    assert_eq!(metric["fromPolicy"], true);
    assert_eq!(
        (&metric["low"], &metric["high"]),
        (&json!(5.0), &json!(95.0))
    );
    assert_eq!(metric["rules"].as_array().unwrap().len(), 2, "{metric}");
    let device = &site["assets"][0]["device"];
    assert_eq!(device["deviceId"], house.node.id().as_str());
    // The reading is there under the names that the zone gives.
    let door = Door::new(house.node.shared().clone());
    until("the tank has been read", || async {
        let facts = door.facts(Default::default()).await.unwrap();
        let found = facts
            .iter()
            .any(|f| f.metric == "tank.level" && f.zone.as_deref() == zone["zone"].as_str());
        found.then_some(())
    })
    .await;
    let topology = json!(door.topology().await.unwrap());
    assert_eq!(topology["nodes"][0]["site"], "Farm");

    let plan = site["plan"].as_str().unwrap().to_owned();
    house.write("site.toml", &SITE.replace("'Farm'", "'Orchard'"));
    assert_eq!(house.twin().await["sites"][0]["name"], "Orchard");
    house.write("plan.svg", &PLAN.replace("width='4'", "width='7'"));
    let moved = house.twin().await;
    assert_ne!(moved["sites"][0]["plan"], plan);
    assert_eq!(
        moved["sites"][0]["zones"][0]["outline"][1],
        json!([7.0, 0.0])
    );
    std::fs::remove_file(house.path("plan.svg")).unwrap();
    let (line, key, message) = house.mistake().await;
    assert_eq!((line, key), (json!(5), json!("site.plan")));
    assert!(message.contains("no such file"), "{message}");
    house.write("plan.svg", PLAN);
    assert_eq!(house.twin().await["problems"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_served_as_an_image_that_can_do_nothing() {
    let house = House::with(&[("site.toml", SITE), ("plan.svg", PLAN)]).await;
    let path = house.twin().await["sites"][0]["plan"]
        .as_str()
        .unwrap()
        .to_owned();
    let (status, headers, body) = house.ask(&path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "image/svg+xml");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(
        headers["content-security-policy"],
        "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    );
    assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
    assert_eq!(body, PLAN.as_bytes());
    for id in ["nothing", "..", "plan.svg", "%2e%2e%2fidentity.json"] {
        let (status, headers, _) = house.ask(&format!("/twin/plans/{id}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{id}");
        assert_ne!(headers["content-type"], "image/svg+xml");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plan_leads_out_and_no_broken_file_stops_the_node() {
    let house = House::with(&[("site.toml", SITE)]).await;
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("plan.svg");
    std::fs::write(&target, PLAN).unwrap();
    let plan = house.path("plan.svg");

    symlink(&target, &plan).unwrap();
    assert!(house.mistake().await.2.contains("leads out"));
    std::fs::remove_file(&plan).unwrap();
    // A link that stays inside leads to what is no drawing.
    symlink(house.path("identity.json"), &plan).unwrap();
    let (_, _, message) = house.mistake().await;
    assert!(message.contains("no SVG drawing"), "{message}");
    assert!(!message.contains("private"), "{message}");
    std::fs::remove_file(&plan).unwrap();
    // A directory of links out.
    symlink(outside.path(), house.path("plans")).unwrap();
    house.write("site.toml", &SITE.replace("plan.svg", "plans/plan.svg"));
    assert!(house.mistake().await.2.contains("leads out"));
    for path in [
        target.to_str().unwrap(),
        "../plan.svg",
        "plans/../../plan.svg",
        "identity.json",
    ] {
        house.write("site.toml", &SITE.replace("plan.svg", path));
        let (line, key, _) = house.mistake().await;
        assert_eq!((line, key), (json!(5), json!("site.plan")), "{path}");
    }
    house.write("site.toml", SITE);
    for (bad, part) in [
        ("", "no SVG drawing"),
        ("<html/>", "no SVG"),
        (
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1",
            "no SVG drawing",
        ),
        ("<!DOCTYPE svg [<!ENTITY a 'aaaa'>]><svg/>", "xmlns"),
    ] {
        house.write("plan.svg", bad);
        let (_, key, message) = house.mistake().await;
        assert_eq!(key, "site.plan");
        assert!(message.contains(part), "{message}");
    }
    std::fs::write(&plan, [0xff, 0xfe, 0x3c]).unwrap();
    assert!(house.mistake().await.2.contains("UTF-8"));
    std::fs::write(&plan, vec![b' '; 8 * 1_048_576 + 1]).unwrap();
    assert!(house.mistake().await.2.contains("larger than"));
    std::fs::remove_file(&plan).unwrap();
    std::fs::create_dir(&plan).unwrap();
    assert!(house.mistake().await.2.contains("no plain file"));

    std::fs::write(house.path("site.toml"), vec![b'#'; 262_145]).unwrap();
    assert!(house.mistake().await.2.contains("larger than"));
    std::fs::write(house.path("site.toml"), [b'a', b'\n', 0xff]).unwrap();
    assert!(house.mistake().await.2.contains("line 2"));
    house.write("site.toml", "version = 1\nwhat is this\n");
    assert_eq!(house.mistake().await.0, json!(2));
    // All of that was one page's trouble.
    let (status, _, _) = house.ask("/status").await;
    assert_eq!(status, StatusCode::OK);
}
