//! The format: what is taken, what is refused, and that each refusal names its line and key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::domain::base::limits::{
    SITE_ASSETS_MAX, SITE_FILE_MAX_BYTES, SITE_PROBLEMS_MAX, SITE_ZONES_MAX, SITES_MAX,
};

const PLAN: &str = r##"<?xml version="1.0"?>
<!-- <svg> in a comment is none -->
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50">
  <title>a > b</title>
  <rect id="r" x="10" y="10" width="20" height="10"/>
  <circle id="c" cx="50" cy="25" r="10"/>
  <polygon id="p" points="1,2 3,4-5e0,6"/>
  <path id="l" d="m10 10h5v5H10z"/>
  <path id="curve" d="M0 0C1 1 2 2 3 3M9 9"/>
  <path id="bow" d="M10 10 A 10 10 0 0 1 30 10 L 20 30 z"/>
  <path id="two" d="M0 0h1v1zM5 5h1v1z"/>
  <g transform="translate(10,0)"><g transform="scale(2)"><rect id="moved" width="5" height="5"/></g></g>
  <g style="fill:none;transform:scale(2)"><rect id="styled" width="5" height="5"/></g>
  <g transform="scale(two)"><rect id="odd" width="5" height="5"/></g>
  <defs><rect id="hidden" width="5" height="5"/></defs>
  <rect id="mm" width="25.4mm" height="1pc"/>
  <rect id="share" width="5%" height="5"/>
  <text id="t">x</text>
  <rect id="out" x="190" y="40" width="20" height="20"/>
  <rect id="over" x="90" y="40" width="20" height="20"/>
</svg>"##;

fn plan_of(path: &str) -> Result<Plan, String> {
    match path {
        "plan.svg" => Plan::read(PLAN),
        _ => Err("there is no such file".into()),
    }
}

fn read(text: &str) -> Result<Vec<Site>, Vec<Problem>> {
    match super::read(text, &mut plan_of) {
        (sites, problems) if problems.is_empty() => Ok(sites),
        (_, problems) => Err(problems),
    }
}

const HEAD: &str = "version = 1\n[[site]]\nid = 's'\nname = 'S'\nplan = 'plan.svg'\n";

/// The mistakes of what follows line 5.
fn faults(rest: &str) -> Vec<(usize, String, String)> {
    let problems = read(&format!("{HEAD}{rest}")).unwrap_err();
    problems
        .into_iter()
        .map(|p| (p.line, p.key, p.why))
        .collect()
}

#[track_caller]
fn one(rest: &str, line: usize, key: &str, part: &str) {
    let found = faults(rest);
    assert_eq!(found.len(), 1, "{found:?}");
    let (at, on, why) = &found[0];
    assert_eq!((*at, on.as_str()), (line, key), "{why}");
    assert!(why.contains(part), "{why}");
}

#[test]
fn the_example_is_taken_as_it_is_shipped() {
    let plan = Plan::read(EXAMPLE_PLAN).unwrap();
    let (sites, problems) = super::read(EXAMPLE_SITE, &mut |_| Ok(plan.clone()));
    assert_eq!(problems, []);
    let [site] = sites.as_slice() else {
        panic!("{sites:?}")
    };
    assert_eq!((site.zones.len(), site.assets.len()), (3, 4));
    assert_eq!(site.zones[0].metrics[0].limits, Limits::Policy);
    assert_eq!(site.zones[0].outline.len(), 4);
    assert_eq!(
        site.assets[0].actuator.as_ref().unwrap().as_str(),
        "actuator:mock:valve-1"
    );
}

#[test]
fn the_example_documents_every_key() {
    for (heading, keys) in [
        ("[[site]]", "id name plan"),
        (
            "[[site.zone]]",
            "id name outline zone device metrics metric unit low high limits near stale_sec",
        ),
        (
            "[[site.asset]]",
            "id name kind x y zone device actuator sensor",
        ),
    ] {
        let from = EXAMPLE_SITE.find(heading).unwrap();
        for key in keys.split(' ') {
            assert!(
                EXAMPLE_SITE[from..].contains(&format!("{key} = ")),
                "{heading} lacks {key}"
            );
        }
    }
}

#[test]
fn what_is_left_out_has_a_sensible_meaning() {
    let sites = read(&format!(
        "{HEAD}[[site.zone]]\nid = 'z'\nname = 'Z'\noutline = '#r'\nmetrics = [{{ metric = 'm' }}, {{ metric = 'n', low = 1, stale_sec = 2.5 }}]\n\
         [[site.asset]]\nid = 'a'\nname = 'A'\nkind = 'pump'\nx = 1\ny = 2.5\n"
    ))
    .unwrap();
    let zone = &sites[0].zones[0];
    assert_eq!((zone.zone.as_str(), &zone.device), ("z", &None));
    assert_eq!(
        (zone.metrics[0].limits, zone.metrics[0].stale_ms),
        (Limits::None, 60_000)
    );
    let low = Limits::Fixed {
        low: Some(1.0),
        high: None,
    };
    assert_eq!(
        (zone.metrics[1].limits, zone.metrics[1].stale_ms),
        (low, 2_500)
    );
    assert_eq!(sites[0].assets[0].at, Point { x: 1.0, y: 2.5 });
    assert_eq!(
        sites[0].view,
        View {
            x: 0.0,
            y: 0.0,
            width: 100.0,
            height: 50.0
        }
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table of cases")]
fn each_mistake_has_its_line_and_key() {
    one("color = 'red'\n", 6, "site.color", "there is no key");
    one(
        "[[site]]\nid = 's'\nname = 'T'\nplan = 'plan.svg'",
        7,
        "site.id",
        "twice",
    );
    one(
        "[[site]]\nid = 't'\nname = 'S'\nplan = 'plan.svg'",
        8,
        "site.name",
        "two sites",
    );
    one(
        "[[site]]\nid = 't'\nname = 'T'\nplan = 'gone.svg'",
        9,
        "site.plan",
        "no such file",
    );
    let zone = |rest: &str| format!("[[site.zone]]\nid = 'z'\nname = 'Z'\n{rest}\n");
    one(&zone(""), 6, "site.zone.outline", "missing");
    one(
        &zone("outline = [[0,0],[1,0],[0,51]]"),
        9,
        "site.zone.outline",
        "outside the plan",
    );
    one(
        &zone("outline = [[0,0],[1,0]]"),
        9,
        "site.zone.outline",
        "encloses nothing",
    );
    one(
        &zone("outline = [[0,0],[1,1],[2,2]]"),
        9,
        "site.zone.outline",
        "encloses nothing",
    );
    one(
        &zone("outline = [[0,0],[1,1],\n[2]]"),
        10,
        "site.zone.outline",
        "two numbers",
    );
    one(
        &zone("outline = [[0,0],[1,nan],[2,2]]"),
        9,
        "site.zone.outline",
        "two numbers",
    );
    one(
        &zone("outline = 4"),
        9,
        "site.zone.outline",
        "must be points",
    );
    one(
        &zone("outline = '#nope'"),
        9,
        "site.zone.outline",
        "no element",
    );
    one(&zone("outline = '#out'"), 9, "site.zone.outline", "outside");
    // What is drawn over the edge is a place all the same.
    read(&format!("{HEAD}{}", zone("outline = '#over'"))).unwrap();
    one(
        &zone("outline = '#r'\nmetrics = [{ metric = 'm', low = 3, high = 3 }]"),
        10,
        "site.zone.metrics.low",
        "below high",
    );
    one(
        &zone("outline = '#r'\nmetrics = [{ metric = 'm', low = 3, limits = 'policy' }]"),
        10,
        "site.zone.metrics.limits",
        "not both",
    );
    one(
        &zone("outline = '#r'\nmetrics = [{ metric = 'm', limits = 'mine' }]"),
        10,
        "site.zone.metrics.limits",
        "only be",
    );
    one(
        &zone("outline = '#r'\nmetrics = [{ metric = 'm' }, { metric = 'm' }]"),
        10,
        "site.zone.metrics.metric",
        "twice",
    );
    one(
        &zone("outline = '#r'\nmetrics = [{ metric = 'm', stale_sec = 0 }]"),
        10,
        "site.zone.metrics.stale_sec",
        "from 1",
    );
    one(
        &zone("outline = '#r'\nmetrics = 'm'"),
        10,
        "site.zone.metrics",
        "list of tables",
    );
    let asset = |rest: &str| {
        format!("[[site.asset]]\nid = 'a'\nname = 'A'\nkind = 'pump'\nx = 1\ny = 1\n{rest}\n")
    };
    one(
        &asset("").replace("x = 1", "x = 101"),
        10,
        "site.asset.x",
        "outside",
    );
    one(
        &asset("").replace("pump", "rocket"),
        9,
        "site.asset.kind",
        "there are valve",
    );
    one(&asset("zone = 'z'"), 12, "site.asset.zone", "no zone");
    one(
        &asset("actuator = 'sensor:x'"),
        12,
        "site.asset.actuator",
        "no actuator",
    );
    one(
        &asset("actuator = 'x'"),
        12,
        "site.asset.actuator",
        "no capability",
    );
    one(&asset("device = ''"), 12, "site.asset.device", "1 to");
    one(
        &asset("").replace("'a'", "'../a'"),
        7,
        "site.asset.id",
        "letters",
    );
    one("[[site.zone]\n", 6, "", "");
    one(
        "[[site.asset]]\nid = 'a'\nid = 'b'\n",
        8,
        "",
        "duplicate key",
    );
}

#[test]
fn mistakes_do_not_hide_each_other() {
    let found = faults(
        "what = 1\n[[site.zone]]\nid = 'z'\nname = ''\noutline = '#nope'\n[[site.asset]]\nid = 'a'\nname = 'A'\nkind = 'x'\nx = 'left'\ny = 1\n",
    );
    let at: Vec<_> = found
        .iter()
        .map(|(line, key, _)| (*line, key.as_str()))
        .collect();
    let wanted = [
        (6, "site.what"),
        (9, "site.zone.name"),
        (10, "site.zone.outline"),
        (14, "site.asset.kind"),
        (15, "site.asset.x"),
    ];
    assert_eq!(at, wanted);
    let many = "[[site.asset]]\n".repeat(100);
    assert_eq!(faults(&many).len(), SITE_PROBLEMS_MAX);
}

#[test]
fn a_mistake_in_one_site_spoils_that_one_alone() {
    let text = format!("{HEAD}[[site]]\nid = 't'\nname = 'T'\nplan = 'gone.svg'\n");
    let (sites, problems) = super::read(&text, &mut plan_of);
    assert_eq!(
        sites.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(),
        ["s"]
    );
    assert_eq!((problems.len(), problems[0].key.as_str()), (1, "site.plan"));
    let (sites, problems) = super::read(&format!("odd = 1\n{HEAD}"), &mut plan_of);
    assert_eq!((sites.len(), problems.len()), (0, 1));
}

#[test]
fn a_file_says_its_version_and_names_a_site() {
    for (text, key) in [
        ("", "site"),
        ("version = 2\nsite = []", "site"),
        ("[[site]]\n", "version"),
    ] {
        let found = read(text).unwrap_err();
        assert!(found.iter().any(|p| p.key == key), "{text:?}: {found:?}");
    }
}

#[test]
fn no_path_leads_out_of_the_state_directory() {
    for good in ["plan.svg", "plans/north.svg", "a.SVG", "..svg"] {
        assert_eq!(plan_path(good), Ok(good));
    }
    for bad in [
        "",
        "/etc/plan.svg",
        "../plan.svg",
        "a/../../plan.svg",
        "./plan.svg",
        "a//b.svg",
        "a\\b.svg",
        "file:plan.svg",
        "http://x/plan.svg",
        "identity.json",
        "plan.svg/",
        "a\nb.svg",
        "a\0b.svg",
        &format!("{}.svg", "x".repeat(200)),
    ] {
        assert!(plan_path(bad).is_err(), "{bad:?}");
    }
    let text = HEAD.replace("plan.svg", "../plan.svg");
    let found = read(&text).unwrap_err();
    assert_eq!((found[0].line, found[0].key.as_str()), (5, "site.plan"));
}

#[test]
fn sizes_and_counts_are_bounded() {
    let large = format!(
        "{HEAD}#{}",
        " ".repeat(usize::try_from(SITE_FILE_MAX_BYTES).unwrap())
    );
    assert!(read(&large).unwrap_err()[0].why.contains("larger"));
    let zones: String = (0..=SITE_ZONES_MAX)
        .map(|n| format!("[[site.zone]]\nid = 'z{n}'\nname = 'Z'\noutline = '#r'\n"))
        .collect();
    one(&zones, 2, "site.zone", "more than");
    let assets: String = (0..=SITE_ASSETS_MAX)
        .map(|n| format!("[[site.asset]]\nid = 'a{n}'\nname = 'A'\nkind = 'pump'\nx = 1\ny = 1\n"))
        .collect();
    one(&assets, 2, "site.asset", "more than");
    let sites: String = (0..SITES_MAX)
        .map(|n| format!("[[site]]\nid = 't{n}'\nname = 'T{n}'\nplan = 'plan.svg'\n"))
        .collect();
    let found = faults(&sites);
    assert!(found[0].2.contains("more than"), "{found:?}");
    let points = "[1,1],".repeat(501);
    let rest = format!("[[site.zone]]\nid = 'z'\nname = 'Z'\noutline = [{points}]\n");
    one(&rest, 9, "site.zone.outline", "at most 500");
    assert!(
        Plan::read(&" ".repeat(8 * 1_048_576 + 1))
            .unwrap_err()
            .contains("larger")
    );
    let deep = format!("{}{}", PLAN.replace("</svg>", ""), "<g>".repeat(1_100));
    let deep = format!("{deep}{}</svg>", "</g>".repeat(1_100));
    assert!(Plan::read(&deep).unwrap_err().contains("deeper"));
    let deepest = "<g>".repeat(300_000);
    let deepest = format!("{}{deepest}", PLAN.replace("</svg>", ""));
    assert!(Plan::read(&deepest).is_err());
    let many = format!(
        "{}{}</svg>",
        PLAN.replace("</svg>", ""),
        "<g/>".repeat(500_000)
    );
    assert!(Plan::read(&many).unwrap_err().contains("limit"));
}

#[test]
fn outlines_come_from_the_plan_where_they_can() {
    let plan = Plan::read(PLAN).unwrap();
    let corners = |id: &str| -> Vec<(f64, f64)> {
        plan.outline(id)
            .unwrap()
            .iter()
            .map(|p| (p.x, p.y))
            .collect()
    };
    assert_eq!(
        corners("r"),
        [(10.0, 10.0), (30.0, 10.0), (30.0, 20.0), (10.0, 20.0)]
    );
    assert_eq!(corners("p"), [(1.0, 2.0), (3.0, 4.0), (-5.0, 6.0)]);
    assert_eq!(
        corners("l"),
        [(10.0, 10.0), (15.0, 10.0), (15.0, 15.0), (10.0, 15.0)]
    );
    let circle = plan.outline("c").unwrap();
    assert!(
        circle
            .iter()
            .all(|p| ((p.x - 50.0).hypot(p.y - 25.0) - 10.0).abs() < 1e-9)
    );
    assert_eq!(
        corners("moved"),
        [(10.0, 0.0), (20.0, 0.0), (20.0, 10.0), (10.0, 10.0)]
    );
    assert_eq!(
        corners("mm"),
        [(0.0, 0.0), (96.0, 0.0), (96.0, 16.0), (0.0, 16.0)]
    );
    assert_eq!(corners("curve"), [(0.0, 0.0), (3.0, 3.0)]);
    // Half a circle around (20, 10) and a point below it.
    let bow = plan.outline("bow").unwrap();
    let (last, arc) = bow.split_last().unwrap();
    assert_eq!((last.x, last.y), (20.0, 30.0));
    assert!(arc.len() > 4 && arc.len() < 100, "{}", arc.len());
    assert!(
        arc.iter()
            .all(|p| ((p.x - 20.0).hypot(p.y - 10.0) - 10.0).abs() < 0.01)
    );
    for (id, why) in [
        ("two", "one piece"),
        ("styled", "style"),
        ("odd", "does not read"),
        ("hidden", "elsewhere"),
        ("share", "plan units"),
        ("t", "no outline"),
        ("gone", "no element"),
    ] {
        let error = plan.outline(id).unwrap_err();
        assert!(error.contains(why), "{id}: {error}");
    }
}

#[test]
fn curves_that_would_take_endless_corners_are_refused() {
    let plan = |view: &str, path: &str| {
        Plan::read(&format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='{view}'><path id='z' d='{path}'/></svg>"
        ))
        .and_then(|plan| plan.outline("z"))
        .unwrap_err()
    };
    for (view, path) in [
        ("0 0 1 1", "M0 0C1e9 1e9 2e9 -1e9 3e9 3e9"),
        ("0 0 1e-5 1e-5", "M0 0C1e9 1e9 2e9 -1e9 3e9 3e9"),
        ("0 0 100 100", "M0 0C1e150 1e150 2e150 -1e150 3e150 3e150"),
        ("0 0 100 100", "M0 0Q1e300 1e308 3 3L 1 1"),
    ] {
        let why = plan(view, path);
        assert!(why.contains("far outside"), "{why}");
    }
    assert!(plan("0 0 1e-200 1e-200", "M0 0L1 1").contains("too small"));
    let many = format!("M0 0{}", "C1 9 9 1 5 5".repeat(100_000));
    assert!(plan("0 0 10 10", &many).contains("more than 500"));
}

#[test]
fn what_is_no_plan_says_why_and_where() {
    let svg = |rest: &str| format!("<svg xmlns=\"http://www.w3.org/2000/svg\" {rest}");
    for (text, why) in [
        (String::new(), "no SVG drawing"),
        ("plain words".into(), "no SVG drawing"),
        ("<html></html>".into(), "no SVG drawing"),
        ("<svg viewBox='0 0 1 1'/>".into(), "xmlns"),
        (svg("/>"), "viewBox"),
        (svg("viewBox='0 0 1'/>"), "four numbers"),
        (svg("viewBox='0 0 0 1'/>"), "more than 0"),
        (svg("viewBox='0 0 inf 1'/>"), "four numbers"),
        (svg("viewBox='0 0 1e400 1'/>"), "four numbers"),
        (svg("width='100%' height='7'/>"), "a width and a height"),
        (
            svg("width='100' height='100' viewBox='0 0 200 100'/>"),
            "another shape",
        ),
        (svg("viewBox='0 0 1 1'>\n<g>"), "never closed"),
        (svg("viewBox='0 0 1 1'>\n\n</g></svg>"), "line 3: "),
        (svg("viewBox='0 0 1 1'/><svg/>"), "line 1: "),
        (svg("viewBox='0 0 1 1'><g a=b></g></svg>"), "line 1: "),
        (svg("viewBox='0 0 1 1'><!-- </svg>"), "line 1: "),
    ] {
        let error = Plan::read(&text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    Plan::read(&svg("width='100%' height='300' viewBox='0,0,200,100'/>")).unwrap();
    // Illustrator declares namespaces as entities; a size in millimetres is one in pixels.
    let drawn = "<!DOCTYPE svg [<!ENTITY ns 'http://www.w3.org/2000/svg'>]>\n<svg xmlns='&ns;' width='254mm' height='480'/>";
    let view = Plan::read(drawn).unwrap().view;
    assert_eq!((view.width.round(), view.height), (960.0, 480.0));
    // Entities that grow without end are refused.
    let grown: String = (1..20)
        .map(|n| format!("<!ENTITY e{n} '{}'>", format!("&e{};", n - 1).repeat(20)))
        .collect();
    let bomb = format!(
        "<!DOCTYPE svg [<!ENTITY e0 'x'>{grown}]>{}",
        svg("viewBox='0 0 1 1'>&e19;</svg>")
    );
    assert!(Plan::read(&bomb).unwrap_err().contains("name others"));
    let large = format!(
        "<!DOCTYPE svg [<!ENTITY a '{}'>]>{}{}</svg>",
        "a".repeat(100_000),
        svg("viewBox='0 0 1 1'>"),
        "&a;".repeat(20_000)
    );
    assert!(Plan::read(&large).unwrap_err().contains("too large"));
    Plan::read(&format!(
        "<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"x\">{}",
        svg("viewBox='0 0 1 1'/>")
    ))
    .unwrap();
}

proptest! {
    #[test]
    fn no_text_breaks_the_readers(text in "\\PC{0,200}", head in any::<bool>()) {
        let _ = read(&if head { format!("{HEAD}{text}") } else { text.clone() });
        let _ = Plan::read(&text);
        let _ = Plan::read(&PLAN.replace("<title>", &text));
        let _ = plan_path(&text);
    }

    #[test]
    fn no_cut_and_no_change_breaks_the_readers(
        at in 0..EXAMPLE_PLAN.len(), len in 0usize..40, put in "[<>\"'/= \\[\\]{}#a-z0-9.,\\n-]{0,12}",
    ) {
        for whole in [EXAMPLE_SITE, EXAMPLE_PLAN, PLAN] {
            let (from, to) = (at.min(whole.len()), (at + len).min(whole.len()));
            let mut bytes = whole.as_bytes().to_vec();
            bytes.splice(from..to, put.bytes());
            let text = String::from_utf8_lossy(&bytes);
            if let Err(problems) = read(&text) {
                let lines = text.lines().count() + 1;
                prop_assert!(!problems.is_empty() && problems.len() <= SITE_PROBLEMS_MAX);
                prop_assert!(problems.iter().all(|p| p.line <= lines && !p.why.is_empty()));
                prop_assert!(problems.is_sorted_by_key(|p| p.line));
            }
            let _ = Plan::read(&text);
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(
        corners in prop::collection::vec((0.0..=100.0f64, 0.0..=50.0f64), 3..40), low in -1e6..1e6f64, width in 0.001..1e6f64,
    ) {
        let points: Vec<String> = corners.iter().map(|(x, y)| format!("[{x:?}, {y:?}]")).collect();
        let text = format!(
            "{HEAD}[[site.zone]]\nid = 'z'\nname = 'Z'\noutline = [{}]\nmetrics = [{{ metric = 'm', low = {low:?}, high = {:?} }}]\n",
            points.join(", "), low + width
        );
        match read(&text) {
            Ok(sites) => {
                let zone = &sites[0].zones[0];
                let back: Vec<(f64, f64)> = zone.outline.iter().map(|p| (p.x, p.y)).collect();
                prop_assert_eq!(back, corners);
                prop_assert_eq!(zone.metrics[0].limits, Limits::Fixed { low: Some(low), high: Some(low + width) });
            }
            // Corners drawn at random may lie in one line.
            Err(problems) => prop_assert!(problems.iter().all(|p| p.why.contains("encloses nothing")), "{:?}", problems),
        }
    }

    #[test]
    fn a_path_that_is_taken_stays_inside(text in "[./a-z\\\\:]{0,20}(\\.svg)?") {
        if let Ok(path) = plan_path(&text) {
            let parts: Vec<_> = std::path::Path::new(path).components().collect();
            prop_assert!(parts.iter().all(|p| matches!(p, std::path::Component::Normal(_))));
        }
    }
}
