//! Nodes find each other without an address, and nobody else gets in by that.

use std::time::{Duration, Instant};

use crate::avahi::{self, Avahi};
use crate::lab::*;

fn at(event: &serde_json::Value) -> u64 {
    event["time"].as_u64().unwrap()
}

#[test]
fn needs_root_and_iproute2_two_that_trust_each_other_connect_with_no_addresses() {
    let Some(mut lab) = Lab::new("discovery of two nodes", 2) else {
        return;
    };
    lab.befriend_all();
    let ids: Vec<String> = lab.hosts.iter_mut().map(Host::device).collect();
    lab.hosts[0].start(&[]);
    lab.hosts[1].start(&[]);
    let started = Instant::now();
    until("both are connected", || {
        let up = |i: usize, j: usize| lab.hosts[i].connected().contains(&ids[j]);
        (up(0, 1) && up(1, 0)).then_some(())
    });
    let took = started.elapsed();
    // A link may come before the sighting.
    until("both have seen the other", || {
        let seen = lab.hosts.iter().all(|h| !h.events("peer.seen").is_empty());
        seen.then_some(())
    });
    for (i, other) in [(0, 1), (1, 0)] {
        let seen = at(&lab.hosts[i].events("peer.seen")[0]);
        let up = at(&lab.hosts[i].events("peer.connect")[0]);
        let begun = at(&lab.hosts[i].events("startup")[0]);
        eprintln!(
            "MEASURED: node {i}: start to sighting {} ms, sighting to connected {} ms",
            seen.saturating_sub(begun),
            i128::from(up) - i128::from(seen)
        );
        let peers = lab.hosts[i].json(&["peers"]);
        let peer = peers
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p["deviceId"] == *ids[other])
            .unwrap()
            .clone();
        assert_eq!(peer["posture"], "identity-bound", "{peer}");
    }
    eprintln!(
        "MEASURED: second node started to both connected: {} ms",
        took.as_millis()
    );
}

#[test]
fn needs_root_and_iproute2_and_avahi_a_third_party_sees_both() {
    let what = "avahi sees our nodes";
    if let Some(why) = avahi::hindrance() {
        return skipped(what, &why);
    }
    let Some(mut lab) = Lab::new(what, 3) else {
        return;
    };
    let ids: Vec<String> = lab.hosts.iter_mut().take(2).map(Host::device).collect();
    lab.hosts[0].start(&["--role", "field"]);
    lab.hosts[1].start(&[]);
    let third = Avahi::start(&lab.hosts[2]);
    let (seen, took) = until("avahi-browse shows both", || {
        let said = third.browse(&lab.hosts[2]);
        ids.iter()
            .all(|id| said.contains(&format!("deviceId={id}")))
            .then_some(said)
    });
    eprintln!(
        "MEASURED: avahi-browse showed both after {} ms",
        took.as_millis()
    );
    let resolved = |id: &str| {
        let lines = seen
            .lines()
            .filter(|l| l.starts_with('=') && l.contains(id));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = resolved(&ids[0]);
    let found = |word: &str| first.iter().any(|l| l.contains(word));
    for word in [
        ";10.77.0.1;18789;",
        "\"role=field\"",
        "\"name=node-0\"",
        "\"meshId=",
        "\"version=",
    ] {
        assert!(found(word), "{word} in {first:?}");
    }
    assert!(!found("pairing="), "{first:?}");
    assert!(
        resolved(&ids[1])
            .iter()
            .any(|l| l.contains(";10.77.0.2;18789;")),
        "{seen}"
    );
}

#[test]
fn needs_root_and_iproute2_one_that_leaves_is_gone_long_before_its_record_ends() {
    let Some(mut lab) = Lab::new("a graceful leave", 2) else {
        return;
    };
    lab.befriend_all();
    let ids: Vec<String> = lab.hosts.iter_mut().map(Host::device).collect();
    // The one that stays has the lower id: it is the one that dials.
    let (stays, goes) = if ids[0] < ids[1] { (0, 1) } else { (1, 0) };
    for host in &mut lab.hosts {
        host.start(&[]);
    }
    until("it is seen and connected", || {
        let up = lab.hosts[stays].connected().contains(&ids[goes]);
        // A link may come before the sighting: what was never seen cannot go.
        (up && lab.hosts[stays].sees(&ids[goes]).is_some()).then_some(())
    });
    let asked = Instant::now();
    assert_eq!(lab.hosts[goes].stop(), Some(0));
    let ended = asked.elapsed();
    until("it is gone", || {
        lab.hosts[stays].sees(&ids[goes]).is_none().then_some(())
    });
    let took = asked.elapsed();
    eprintln!(
        "MEASURED: stopped in {} ms, gone {} ms after it was told to stop",
        ended.as_millis(),
        took.as_millis()
    );
    // Without a word of its end it would be listed for two minutes: longer than is waited for here.

    // One that is killed says nothing: it is asked when the link breaks.
    lab.hosts[goes].start(&[]);
    until("it is seen and connected again", || {
        let up = lab.hosts[stays].connected().contains(&ids[goes]);
        // A link may come before the sighting: what was never seen cannot go.
        (up && lab.hosts[stays].sees(&ids[goes]).is_some()).then_some(())
    });
    let killed = Instant::now();
    lab.hosts[goes].kill();
    until("it is gone too", || {
        lab.hosts[stays].sees(&ids[goes]).is_none().then_some(())
    });
    eprintln!(
        "MEASURED: gone {} ms after it was killed",
        killed.elapsed().as_millis()
    );
    let back = Instant::now();
    lab.hosts[goes].start(&[]);
    until("it is connected again", || {
        lab.hosts[stays]
            .connected()
            .contains(&ids[goes])
            .then_some(())
    });
    eprintln!(
        "MEASURED: connected again {} ms after it was started again",
        back.elapsed().as_millis()
    );
    // Less than the other would wait before it dials: the sight of it is enough. Both are told by one clock.
    let last = |kind: &str| lab.hosts[stays].events(kind).iter().map(at).max().unwrap();
    let dialed = last("peer.connect").saturating_sub(last("peer.seen"));
    assert!(dialed < 2_500, "dialed after {dialed} ms");
}

#[test]
fn needs_root_and_iproute2_strangers_and_other_meshes_are_listed_and_kept_out() {
    let Some(mut lab) = Lab::new("strangers and other meshes", 3) else {
        return;
    };
    let ids: Vec<String> = lab.hosts.iter_mut().map(Host::device).collect();
    // 0 and 1 are of one mesh and do not trust each other; 0 and 2 do, and are of two meshes.
    lab.befriend(0, 2);
    lab.hosts[0].start(&[]);
    lab.hosts[1].start(&[]);
    lab.hosts[2].start(&["--mesh-name", "elsewhere"]);
    let (stranger, _) = until("0 sees 1", || lab.hosts[0].sees(&ids[1]));
    assert_eq!(
        (&stranger["trusted"], &stranger["own"]),
        (&false.into(), &true.into())
    );
    let (foreign, _) = until("0 sees 2", || lab.hosts[0].sees(&ids[2]));
    assert_eq!(
        (&foreign["trusted"], &foreign["own"]),
        (&true.into(), &false.into())
    );
    assert_eq!(foreign["policy"], "never");
    until("2 sees 0", || lab.hosts[2].sees(&ids[0]));
    let (said, _) = until("0 says why it leaves 2 alone", || {
        let events = lab.hosts[0].events("mesh.seen");
        events
            .first()
            .map(|e| e["message"].as_str().unwrap().to_owned())
    });
    assert!(said.contains("another mesh (elsewhere)"), "{said}");
    // Longer than the higher id waits before it dials: whoever wanted to has dialed by now.
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        for host in &lab.hosts {
            assert!(host.connected().is_empty(), "{} is connected", host.name);
        }
    }
    // Somebody insists, with the address in hand: both sides say why not.
    lab.hosts[2].stop();
    let peer = format!("{}=ws://10.77.0.1:{PORT}||lan", ids[0]);
    lab.hosts[2].start(&["--mesh-name", "elsewhere", "--peer", &peer]);
    let about = |host: &Host, kind: &str| {
        let events = host.events(kind);
        events
            .iter()
            .map(|e| e["message"].as_str().unwrap().to_owned())
            .find(|m| m.to_lowercase().contains("mesh"))
    };
    let (accepting, _) = until("the accepting side says so", || {
        about(&lab.hosts[0], "peer.refused")
    });
    let (dialing, _) = until("the dialing side says so", || {
        about(&lab.hosts[2], "peer.state")
    });
    eprintln!("accepting: {accepting}\ndialing: {dialing}");
    assert!(lab.hosts[0].connected().is_empty());
}

#[test]
fn needs_root_and_iproute2_the_operator_api_answers_its_own_machine_only() {
    let Some(mut lab) = Lab::new("the operator API from another machine", 2) else {
        return;
    };
    lab.hosts[0].start(&[]);
    let path = "/api/operator/v1/status";
    for own in ["127.0.0.1", "[::1]", "localhost"] {
        assert_eq!(
            lab.hosts[0].http(&format!("http://{own}:{PORT}/healthz")),
            200,
            "{own}"
        );
        assert_eq!(
            lab.hosts[0].http(&format!("http://{own}:{PORT}{path}")),
            401,
            "{own}: a token is needed"
        );
    }
    for outer in ["10.77.0.1", "[fd77::1]", "[::ffff:10.77.0.1]"] {
        for path in ["/healthz", path, "/metrics", "/nowhere"] {
            let url = format!("http://{outer}:{PORT}{path}");
            assert_eq!(lab.hosts[1].http(&url), 403, "{url}");
        }
    }
    // Without discovery nobody else can even connect.
    lab.hosts[0].stop();
    lab.hosts[0].start(&["--no-discovery"]);
    assert_eq!(
        lab.hosts[0].http(&format!("http://127.0.0.1:{PORT}/healthz")),
        200
    );
    assert_eq!(
        lab.hosts[1].http(&format!("http://10.77.0.1:{PORT}/healthz")),
        0
    );
    // Where peers come by one address of the LAN, this machine still reaches its node.
    lab.hosts[0].stop();
    lab.hosts[0].start(&["--no-discovery", "--host", "10.77.0.1"]);
    let status = lab.hosts[0].json(&["status"]);
    assert_eq!(status["port"], PORT, "{status}");
    let outer = format!("http://10.77.0.1:{PORT}/healthz");
    assert_eq!(lab.hosts[1].http(&outer), 403, "reached, and told so");
}

#[test]
fn needs_root_and_iproute2_a_mesh_can_be_named_by_its_name() {
    let Some(mut lab) = Lab::new("join policies by name", 1) else {
        return;
    };
    lab.hosts[0].start(&[]);
    let view = lab.hosts[0].json(&["meshes", "set", MESH, "ask"]);
    let own = view.as_array().unwrap().iter().find(|m| m["own"] == true);
    assert_eq!(own.unwrap()["policy"], "ask", "{view}");
}

#[test]
fn needs_root_and_iproute2_and_avahi_what_others_announce_leads_to_no_loopback_address() {
    let what = "an announcement of loopback";
    if let Some(why) = avahi::hindrance() {
        return skipped(what, &why);
    }
    let Some(mut lab) = Lab::new(what, 2) else {
        return;
    };
    let id = "c".repeat(64);
    lab.hosts[0].trust(&id);
    lab.hosts[0].start(&[]);
    let liar = Avahi::start(&lab.hosts[1]);
    let _lies = liar.publish(&lab.hosts[1], &["127.0.0.1"], &id);
    until("the announcement is there", || {
        liar.browse(&lab.hosts[1]).contains(&id).then_some(())
    });
    // An honest record that comes later has been heard: so was the false one.
    let other = "d".repeat(64);
    let _truth = liar.publish(&lab.hosts[1], &["10.77.0.2"], &other);
    until("the honest one is seen", || lab.hosts[0].sees(&other));
    let peers = lab.hosts[0].json(&["peers"]);
    assert!(!peers.to_string().contains("127.0.0.1"), "{peers}");
    if let Some(seen) = lab.hosts[0].sees(&id) {
        assert!(!seen.to_string().contains("127.0.0.1"), "{seen}");
    }
}

#[test]
fn needs_root_and_iproute2_and_avahi_a_device_of_many_addresses_is_not_dialed_without_pause() {
    let what = "a device of many addresses";
    if let Some(why) = avahi::hindrance() {
        return skipped(what, &why);
    }
    let Some(mut lab) = Lab::new(what, 2) else {
        return;
    };
    // Nothing listens at any of them.
    let addresses: Vec<String> = (10..18).map(|n| format!("10.77.0.{n}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    for address in &addresses {
        let line = format!("{address}/24");
        run(&[
            "ip",
            "-n",
            &lab.hosts[1].namespace,
            "addr",
            "add",
            &line,
            "dev",
            "eth0",
        ]);
    }
    // No id is higher: our node is the one that dials.
    let id = "f".repeat(64);
    lab.hosts[0].trust(&id);
    lab.hosts[0].start(&[]);
    let third = Avahi::start(&lab.hosts[1]);
    let _said = third.publish(&lab.hosts[1], &addresses, &id);
    let attempts = |lab: &Lab| lab.hosts[0].log().matches("not connected").count();
    until("all addresses are seen", || {
        let seen = lab.hosts[0].sees(&id)?;
        (seen["addresses"].as_array().unwrap().len() == addresses.len()).then_some(())
    });
    let (before, deadline) = (attempts(&lab), Instant::now() + Duration::from_secs(12));
    until("a while has passed", || {
        (Instant::now() > deadline).then_some(())
    });
    let tried = attempts(&lab) - before;
    eprintln!("MEASURED: {tried} attempts in 12 s");
    assert!((1..=8).contains(&tried), "{tried} attempts in 12 s");
}

#[test]
fn needs_root_and_iproute2_only_where_a_node_listens_is_announced() {
    let Some(mut lab) = Lab::new("what is announced", 3) else {
        return;
    };
    let ids: Vec<String> = lab.hosts.iter_mut().map(Host::device).collect();
    lab.hosts[0].start(&["--host", "127.0.0.1"]);
    lab.hosts[1].start(&["--host", "10.77.0.2"]);
    lab.hosts[2].start(&[]);
    let (one, _) = until("2 sees 1", || lab.hosts[2].sees(&ids[1]));
    assert_eq!(one["addresses"], serde_json::json!(["10.77.0.2:18789"]));
    let (all, _) = until("0 sees every address of 2", || {
        let seen = lab.hosts[0].sees(&ids[2])?;
        seen["addresses"]
            .to_string()
            .contains("[fd77::3]:18789")
            .then_some(seen)
    });
    assert!(
        all["addresses"].to_string().contains("10.77.0.3:18789"),
        "{all}"
    );
    let deadline = Instant::now() + Duration::from_secs(3);
    until("a while has passed", || {
        (Instant::now() > deadline).then_some(())
    });
    assert_eq!(lab.hosts[2].sees(&ids[0]), None);
}
