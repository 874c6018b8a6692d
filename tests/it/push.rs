//! Phones that hear by push, at a real node with a real port for phones and a strict push service: what they are told, that nothing
//! private is in it, and that it ends with the session.

use serde_json::{Value, json};

use crate::phone::{Authority, configured_with, link};
use crate::process::*;
use crate::push_service::{Browser, PushService};

const API: &str = "/api/operator/v1";

/// A phone with a session.
struct Phone<'a> {
    authority: &'a Authority,
    port: u16,
    headers: Vec<String>,
}

impl<'a> Phone<'a> {
    fn open(place: &Place, authority: &'a Authority, more: &[&str]) -> Self {
        let (port, path) = link(place, more);
        let (answer, _) = authority.ask(port, "GET", &path, &[]);
        let cookie = answer.split("set-cookie: ").nth(1).unwrap();
        let cookie = cookie.split(';').next().unwrap();
        let mut phone = Self {
            authority,
            port,
            headers: vec![
                format!("cookie: {cookie}"),
                format!("origin: https://localhost:{port}"),
            ],
        };
        let session = phone.asks("GET", "/session", &Value::Null).1;
        let csrf = session["csrf"].as_str().unwrap();
        phone.headers.push(format!("x-clawmesh-csrf: {csrf}"));
        phone
    }

    /// The status and the body of an answer.
    fn asks(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let headers: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        let path = format!("{API}{path}");
        let (answer, _) = self
            .authority
            .send(self.port, method, &path, &headers, &body);
        let status = answer[9..12].parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let start = body.find(['{', '[']).unwrap_or(0);
        let end = body.rfind(['}', ']']).map_or(0, |at| at + 1);
        let body = body.get(start..end).unwrap_or_default();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn hears_at(&self, service: &PushService, browser: &Browser) {
        let (status, said) = self.asks("POST", "/push", &service.subscribe(browser));
        assert_eq!((status, &said["on"]), (200, &json!(true)), "{said}");
    }
}

fn started(place: &Place, authority: &Authority, service: &PushService, more: &str) -> Running {
    authority.certify(place, "localhost", 2099);
    let ca = authority.file(place);
    let port = service.port;
    configured_with(
        place,
        &format!("push_services = [\"localhost:{port}\"]\npush_ca = {ca:?}\n{more}"),
    );
    place.field(&[])
}

fn events(place: &Place, kind: &str) -> usize {
    let all = place.json(&["events", "--kind", kind]);
    all.as_array().unwrap().len()
}

#[test]
#[allow(
    clippy::too_many_lines,
    reason = "one phone from its first message to its last"
)]
fn a_phone_hears_of_what_waits_and_what_is_wrong_until_its_session_ends() {
    let (place, authority) = (Place::new(), Authority::new());
    let service = PushService::start(authority.server("localhost"));
    let node = started(&place, &authority, &service, "");
    place.enrolled();
    let phone = Phone::open(&place, &authority, &["--name", "ada"]);
    // What no browser would send, and what is no public service, is refused with words.
    for (endpoint, word) in [
        ("https://192.168.1.1/x", "no public push service"),
        ("http://fcm.googleapis.com/x", "https://"),
        ("https://localhost/x", "no public push service"),
    ] {
        let mut wrong = service.subscribe(&Browser::new(9));
        wrong["endpoint"] = endpoint.into();
        let (status, said) = phone.asks("POST", "/push", &wrong);
        assert!(status == 400 && said.to_string().contains(word), "{said}");
    }
    phone.hears_at(&service, &Browser::new(1));
    let (status, said) = phone.asks("POST", "/push/test", &Value::Null);
    assert_eq!(status, 200, "{said}");
    assert!(said["toldAt"].is_u64(), "{said}");
    let test = service.hears("a test that ada asked for");
    assert_eq!(
        (&test["kind"], &test["lang"]),
        (&json!("test"), &json!("de"))
    );

    // A proposal, at once; nothing in it decides.
    let id = place.propose(3);
    let said = service.hears(&id);
    assert_eq!(said["kind"], "proposal");
    assert_eq!(said["proposal"], id);
    assert_eq!(said["urgency"], "high");
    assert!(
        said["text"]
            .as_str()
            .unwrap()
            .contains("open on actuator:mock:valve-1"),
        "{said}"
    );
    place.json(&["reject", &id, "--note", "wet"]);
    let over = eventually("it hears that it waits no more", || {
        let got = service.got();
        got.into_iter()
            .find(|m| m["kind"] == "over" && m["proposal"] == id)
    });
    assert_eq!(
        over["topic"], said["topic"],
        "it takes the place of the other"
    );

    // One that still waits when the node is started again.
    let stays = place.propose(4);
    service.hears(&stays);

    // An alarm.
    place.run(&["estop", "--reason", "smoke"]);
    let alarm = service.hears("smoke");
    assert_eq!(
        (&alarm["kind"], &alarm["severity"]),
        (&json!("alert"), &json!("critical"))
    );

    let sessions = place.json(&["console", "sessions"]);
    assert_eq!(sessions[0]["push"], true, "{sessions}");
    let shown = place.run(&["console", "sessions"]);
    assert!(shown.out.contains("push"), "{shown:?}");
    let file = std::fs::read_to_string(place.state().join("away-sessions.json")).unwrap();
    assert!(file.contains("secret-1"), "it is on the disk");
    for shown in [
        sessions.to_string(),
        place.log(),
        phone.asks("GET", "/push", &Value::Null).1.to_string(),
    ] {
        assert!(
            !shown.contains("secret-1"),
            "who knows the address can write there: {shown}"
        );
    }
    // It outlasts a restart of the node, which repeats nothing, and ends with its session.
    assert_eq!(node.stop(), 0);
    let node = place.field(&[]);
    let (port, _) = link(&place, &[]);
    let phone = Phone { port, ..phone };
    let cookie = phone.headers[0].split_once('=').unwrap().1.to_owned();
    let phone = Phone {
        headers: vec![
            format!("cookie: __Host-clawmesh_{port}={cookie}"),
            format!("origin: https://localhost:{port}"),
            phone.headers[2].clone(),
        ],
        ..phone
    };
    let (status, said) = phone.asks("POST", "/push/test", &Value::Null);
    assert_eq!(status, 200, "{said}");
    eventually("the node has looked who is to be told", || {
        let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).out).ok()?;
        (status["uptimeMs"].as_u64()? > 3_000).then_some(())
    });
    let about = |m: &&Value| m["kind"] == "proposal" && m["proposal"] == stays;
    assert_eq!(service.got().iter().filter(about).count(), 1, "told once");
    let id = sessions[0]["id"].as_str().unwrap();
    place.json(&["console", "end", id]);
    let before = service.asked();
    let tried = place.run(&["notify", "test"]);
    let said = format!("{}{}", tried.out, tried.err);
    assert!(said.contains("no phone has push turned on"), "{tried:?}");
    assert_eq!(service.asked(), before);
    let file = std::fs::read_to_string(place.state().join("away-sessions.json")).unwrap();
    assert!(!file.contains("secret-1"), "{file}");
    assert_eq!(service.wrong(), [""; 0]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_push_service_that_fails_or_sends_on_costs_no_other_phone_and_gone_ends_the_subscription() {
    let (place, authority) = (Place::new(), Authority::new());
    let service = PushService::start(authority.server("localhost"));
    let more = "[privacy]\nmetrics = [\"moisture\"]\n[[alert]]\nname = \"wet bed\"\nmetric = \"moisture\"\nabove = 0\nclear = -1\n";
    let node = started(&place, &authority, &service, more);
    let phone = Phone::open(&place, &authority, &["--name", "ada"]);
    let other = Phone::open(&place, &authority, &["--name", "bob", "--scope", "read"]);
    phone.hears_at(&service, &Browser::new(1));
    other.hears_at(&service, &Browser::new(2));
    // Of what is private they hear that there is something.
    let said = service.hears("an alert about");
    assert!(!said.to_string().contains("wet bed"), "{said}");
    eventually("both have heard", || {
        (service.got().len() >= 2).then_some(())
    });
    let test = |phone: &Phone<'_>| phone.asks("POST", "/push/test", &Value::Null);
    for (answer, code, word) in [
        (
            "307 Temporary Redirect\r\nlocation: https://127.0.0.1/",
            422,
            "not followed",
        ),
        (
            "429 Too Many Requests\r\nretry-after: 3600",
            429,
            "takes nothing more for",
        ),
    ] {
        service.answers(answer);
        let (status, said) = test(&phone);
        assert!(
            status == code && said.to_string().contains(word),
            "{status} {said}"
        );
        assert!(!said.to_string().contains("secret-1"), "{said}");
    }
    let asked = service.asked();
    let (status, said) = test(&phone);
    assert!(
        status == 429 && service.asked() == asked,
        "it is left alone: {said}"
    );
    let sessions = place.json(&["console", "sessions"]);
    assert!(
        sessions.to_string().contains("takes nothing more for"),
        "{sessions}"
    );
    assert_eq!(test(&other).0, 200, "the other phone hears");

    service.answers("410 Gone");
    let (status, _) = test(&other);
    assert_eq!(status, 422);
    eventually("the subscription has ended", || {
        let on = other.asks("GET", "/push", &Value::Null).1["on"] == false;
        (on && events(&place, "push.ended") == 1).then_some(())
    });
    let file = std::fs::read_to_string(place.state().join("away-sessions.json")).unwrap();
    assert!(
        !file.contains("secret-2") && file.contains("secret-1"),
        "{file}"
    );
    // On again, and off by the phone itself.
    other.hears_at(&service, &Browser::new(3));
    let (status, said) = other.asks("POST", "/push/off", &Value::Null);
    assert_eq!((status, &said["on"]), (200, &json!(false)));
    assert_eq!(test(&other).0, 409);
    let told = service.got();
    assert!(
        told.iter().all(|m| !m.to_string().contains("moisture")),
        "{told:?}"
    );
    assert_eq!(service.wrong(), [""; 0]);
    assert_eq!(node.stop(), 0);
}
