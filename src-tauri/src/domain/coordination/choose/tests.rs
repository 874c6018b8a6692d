//! Tests of which node is chosen.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::domain::coordination::profile::{Gpu, GpuVendor, Skill, SkillKind};

fn node(name: &str, in_flight: u32) -> Candidate {
    let bytes = Digest::of(&[name.as_bytes()]).to_hex();
    let mut profile = Profile {
        os: "linux".into(),
        arch: "x86_64".into(),
        ..Profile::default()
    };
    if name == "mac" {
        profile.os = "macos".into();
        profile.skills = vec![Skill {
            name: "xcode".into(),
            kind: SkillKind::Tool,
        }];
    }
    if name == "box" {
        profile.tags = ["fast".to_owned()].into();
        profile.gpus = vec![Gpu {
            vendor: GpuVendor::Nvidia,
            name: "x".into(),
        }];
    }
    Candidate {
        device: bytes.parse().unwrap(),
        name: name.into(),
        profile,
        agents: vec![AgentRef::model(), "home/main".parse().unwrap()],
        in_flight,
        latency_ms: Some(u64::from(in_flight)),
        away: None,
    }
}

fn nodes() -> Vec<Candidate> {
    vec![node("mac", 2), node("box", 1), node("vps", 0)]
}

fn names(plan: &Plan, candidates: &[Candidate]) -> Vec<String> {
    let name = |choice: &Choice| {
        let mut all = candidates.iter();
        all.find(|c| c.device == choice.device)
            .unwrap()
            .name
            .clone()
    };
    plan.order.iter().map(name).collect()
}

fn from_ada(text: &str) -> Incoming<'_> {
    Incoming {
        text,
        source: "cli",
        sender: "ada",
    }
}

fn routes(rules: &str) -> Routes {
    Routes::parse(&format!(
        "version = 1\n{rules}\n[[group]]\nname = \"builders\"\nnode = {{ tags = [\"fast\"] }}\n"
    ))
    .unwrap()
}

#[test]
fn the_first_rule_with_a_node_decides_and_the_others_say_why_not() {
    let routes = routes(
        "[[rule]]\nname = \"ios\"\nmessage = { words = [\"ios\"] }\nnode = { os = \"macos\", skills = [\"xcode\"] }\nretry = \"always\"\n\
         [[rule]]\nname = \"gpu\"\nnode = { gpu = true, tags = [\"fast\"], group = \"builders\" }\nagent = \"main\"\n",
    );
    let mut all = nodes();
    let plan = choose(
        &routes,
        &from_ada("an ios build"),
        &Place::default(),
        &all,
        0,
    );
    assert_eq!(
        (plan.rule.as_deref(), plan.retry),
        (Some("ios"), Retry::Always)
    );
    assert_eq!(names(&plan, &all), ["mac"]);
    assert_eq!(plan.order[0].agent, AgentRef::model());
    let plan = choose(&routes, &from_ada("hello"), &Place::default(), &all, 0);
    assert_eq!(plan.rule.as_deref(), Some("gpu"));
    assert_eq!(plan.order[0].agent.to_string(), "home/main");
    assert!(plan.looks[0].why_not.as_ref().unwrap().contains("word"));
    let looks = &plan.looks[1].nodes;
    assert!(
        looks[0].why_not.as_ref().unwrap().contains("builders"),
        "{looks:?}"
    );
    // A node that cannot be asked is not: the next rule, and then everybody.
    all[1].away = Some("it is not connected".into());
    let plan = choose(&routes, &from_ada("hello"), &Place::default(), &all, 0);
    assert_eq!(plan.rule, None);
    assert_eq!(names(&plan, &all), ["vps", "mac"]);
    assert_eq!(plan.looks[1].why_not.as_deref(), Some("no node fits"));
}

#[test]
fn the_sender_says_where_and_the_rules_are_not_asked() {
    let routes = routes("[[rule]]\nname = \"all\"\nnode = { name = [\"vps\"] }\n");
    let all = nodes();
    let to = |node: Option<&str>, group: Option<&str>, agent: Option<&str>| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let place = Place {
            node: owned(node),
            group: owned(group),
            agent: owned(agent),
        };
        let plan = choose(&routes, &from_ada("x"), &place, &all, 0);
        assert_eq!(plan.looks.len(), 1);
        names(&plan, &all)
    };
    assert_eq!(to(Some("mac"), None, None), ["mac"]);
    assert_eq!(to(Some(all[0].device.as_str()), None, None), ["mac"]);
    assert_eq!(to(None, Some("builders"), None), ["box"]);
    assert_eq!(to(None, None, Some("main")).len(), 3);
    assert_eq!(to(Some("mac"), None, Some("nope")), Vec::<String>::new());
}

#[test]
fn each_strategy_chooses_as_it_is_called() {
    let mut all = nodes();
    all.push(node("two", 0));
    let first = |rules: &str, turn: u64, all: &[Candidate]| {
        let plan = choose(&routes(rules), &from_ada("x"), &Place::default(), all, turn);
        names(&plan, all)[0].clone()
    };
    let of = |strategy: &str| format!("[[rule]]\nname = \"a\"\nstrategy = \"{strategy}\"\n");
    let count = |rules: &str, turns: u64| {
        let mut count = std::collections::BTreeMap::new();
        for turn in 0..turns {
            *count.entry(first(rules, turn, &all)).or_insert(0) += 1;
        }
        count
    };
    // Those with nothing under way share evenly.
    let busy = count(&of("least-busy"), 40);
    assert_eq!(busy.keys().collect::<Vec<_>>(), ["two", "vps"]);
    let even = count(&of("round-robin"), 40);
    assert!(
        even.len() == 4 && even.values().all(|n| *n == 10),
        "{even:?}"
    );
    let weights = format!(
        "{}weights = {{ mac = 3, box = 1, vps = 0, two = 0 }}\n",
        of("weighted")
    );
    let weighted = count(&weights, 40);
    assert_eq!(
        (weighted["mac"], weighted["box"], weighted.len()),
        (30, 10, 2)
    );
    assert_eq!(count(&of("sticky"), 40).len(), 1);
    all.retain(|c| c.name != first(&of("sticky"), 0, &nodes()));
    all[0].latency_ms = None;
    let quick = first(&of("latency"), 0, &all);
    let least = all
        .iter()
        .min_by_key(|c| c.latency_ms.unwrap_or(u64::MAX))
        .unwrap();
    assert_eq!(quick, least.name);
}
