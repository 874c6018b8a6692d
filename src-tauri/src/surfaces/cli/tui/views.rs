//! The rows of each view, from what the node said. Pure.

use super::super::clean;
use super::super::format;
use super::super::show;
use super::news::Shown;
use crate::domain::base::TierName;
use crate::domain::proposal::Status;
use crate::node::context::Severity;
use crate::node::peers::PeerState;
use crate::operator::dto::{
    EventView, FactView, NodeView, PeerView, PlannerView, ProposalView, StatusView,
};

/// How much a row asks for attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// All is well.
    Plain,
    /// It should be looked at.
    Warning,
    /// It has to be looked at.
    Critical,
}

/// A row of a view.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Tells it from the others, also after the next answer.
    pub key: String,
    /// Its cells, clean, one line each.
    pub cells: Vec<String>,
    /// How it is drawn.
    pub weight: Weight,
    /// What Enter shows of it.
    pub more: Vec<String>,
}

impl Row {
    fn new(key: String, cells: Vec<String>) -> Self {
        Self {
            key,
            cells: cells.iter().map(|cell| clean::line(cell)).collect(),
            weight: Weight::Plain,
            more: Vec::new(),
        }
    }

    /// All its cells, for the filter.
    pub(super) fn text(&self) -> String {
        self.cells.join(" ")
    }

    /// The heading of its sheet.
    pub(super) fn title(&self) -> String {
        self.cells.first().cloned().unwrap_or_default()
    }
}

/// The heading of a view's columns.
pub(super) fn head(shown: &Shown) -> &'static [&'static str] {
    match shown {
        Shown::Proposals(_) => &["ID", "STATE", "LEVEL", "ACTION", "WHY", "EXECUTOR"],
        Shown::World(_) => &["METRIC", "ZONE", "VALUE", "AGE", "TIER", "ORIGIN"],
        Shown::Nodes(..) => &["NODE", "STATE", "RTT", "ROLE", "OFFERS"],
        Shown::Events(_) => &["AGE", "EVENT", "WHAT"],
        Shown::Planner => &["PLANNER", ""],
    }
}

/// How many of its columns a view shows on a terminal of this width; Enter shows the rest.
pub(super) fn columns(shown: &Shown, width: u16) -> usize {
    match shown {
        Shown::Proposals(_) if width < 100 => 5,
        _ => head(shown).len(),
    }
}

/// What a view says where there are no rows.
pub(super) fn nothing(shown: &Shown) -> &'static str {
    match shown {
        Shown::Proposals(_) => "Nothing waits for a decision and nothing runs.",
        Shown::World(_) => "No reading is known yet.",
        Shown::Nodes(..) => "No other node is known.",
        Shown::Events(_) => "Nothing has happened yet.",
        Shown::Planner => "",
    }
}

/// The rows of a view. `since` is how long ago the node said this, in milliseconds.
pub(super) fn rows(shown: &Shown, status: &StatusView, now: u64, since: u64) -> Vec<Row> {
    match shown {
        Shown::Proposals(all) => all.iter().map(|p| proposal(p, now)).collect(),
        Shown::World(all) => all.iter().map(|f| fact(f, since)).collect(),
        Shown::Nodes(all, peers) => {
            let each = all.iter().map(|n| {
                let mut row = node(n, peers, now);
                row.more
                    .extend(ways(status, now).into_iter().filter(|_| n.own));
                row
            });
            each.collect()
        }
        Shown::Events(all) => all.iter().map(|e| event(e, now)).collect(),
        Shown::Planner => planner(&status.planner, now),
    }
}

fn proposal(p: &ProposalView, now: u64) -> Row {
    let waiting = p.status == Status::AwaitingApproval;
    let state = match waiting {
        true if p.expires_at > now => format!("waits, {}", format::span(p.expires_at - now)),
        true => "expired".to_owned(),
        false => p.status.to_string(),
    };
    let action = format!("{} {} {}", p.target, p.operation, format::pairs(&p.params));
    let detail = p.detail.as_deref().filter(|_| !waiting);
    let mut row = Row::new(
        p.id.clone(),
        vec![
            format::short(&p.id),
            state,
            format!("{}{}", p.level, if p.tainted { " llm" } else { "" }),
            action,
            detail.unwrap_or(&p.reason).to_owned(),
            format::who(p.executor_name.as_deref(), &p.executor),
        ],
    );
    if waiting {
        row.weight = Weight::Warning;
    }
    row
}

fn fact(f: &FactView, since: u64) -> Row {
    let who = format::who(f.origin_name.as_deref(), &f.origin);
    let worth = show::worth(
        show::tier(f.claimed_tier, f.effective_tier, f.tainted),
        f.private,
    );
    let value = format::reading(&f.value, f.unit.as_deref());
    let age = format::span(f.age_ms.saturating_add(since));
    let zone = f.zone.clone().unwrap_or_else(|| "-".to_owned());
    let mut row = Row::new(
        format!("{}\n{zone}\n{}", f.metric, f.origin),
        vec![
            f.metric.clone(),
            zone.clone(),
            value.clone(),
            age,
            worth.clone(),
            who.clone(),
        ],
    );
    if matches!(f.effective_tier, TierName::T0 | TierName::T1) {
        row.weight = Weight::Warning;
    }
    row.more = vec![
        format!("metric:    {}", f.metric),
        format!("zone:      {zone}"),
        format!("value:     {value}"),
        format!("sensed:    {}", format::moment(f.sensed_at)),
        format!("tier:      {worth} (claimed {})", f.claimed_tier),
        format!("signature: {}", format::code(f.signature)),
        format!("origin:    {who}"),
        format!("device:    {}", f.origin),
        format!("frame:     {}", f.frame_id),
    ];
    row
}

/// The ways to people that this node has: its bots, and the places that are told of alerts.
fn ways(status: &StatusView, now: u64) -> Vec<String> {
    let bots = show::bots(&status.bots, now);
    let places = show::places(&status.places);
    let said = [("bots:     ", bots), ("tells:    ", places)].into_iter();
    said.filter(|(_, text)| !text.is_empty())
        .map(|(word, text)| format!("{word}{text}"))
        .collect()
}

fn node(n: &NodeView, peers: &[PeerView], now: u64) -> Row {
    let peer = peers.iter().find(|p| p.device_id == n.device_id);
    let state = match (n.own, peer) {
        (true, _) => "this node".to_owned(),
        (false, Some(p)) => format!("{} {}", p.state, format::age(now, p.since)),
        (false, None) => "no link".to_owned(),
    };
    let rtt = peer
        .and_then(|p| p.rtt_ms)
        .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
    let name = format::who(n.display_name.as_deref(), &n.device_id);
    let role = n.role.clone().unwrap_or_else(|| "-".to_owned());
    let mut row = Row::new(
        n.device_id.clone(),
        vec![
            name,
            state.clone(),
            rtt,
            role.clone(),
            n.capabilities.join(" "),
        ],
    );
    let well = |p: &PeerView| matches!(p.state, PeerState::Connected | PeerState::OnDemand);
    if !n.own && !peer.is_some_and(well) {
        row.weight = Weight::Warning;
    }
    row.more = vec![
        format!("device:   {}", n.device_id),
        format!("state:    {state}"),
        format!("role:     {role}"),
        format!("offers:   {}", n.capabilities.join(" ")),
        format!("withheld: {}", n.withheld.join(" ")),
        format!("granted:  {}", n.grants.join(" ")),
    ];
    if let Some(p) = peer {
        row.more.extend([
            format!("why:      {}", p.reason),
            format!("reached:  {}", p.addresses.join(" ")),
            p.posture
                .map_or_else(String::new, |posture| format!("link:     {posture}")),
            p.skew_ms
                .map_or_else(String::new, |ms| format!("clock:    {ms:+} ms")),
        ]);
    }
    row
}

fn event(e: &EventView, now: u64) -> Row {
    let mut row = Row::new(
        e.seq.to_string(),
        vec![format::age(now, e.time), e.kind.clone(), e.message.clone()],
    );
    row.weight = weight(e.severity);
    let data = serde_json::to_string_pretty(&e.data).unwrap_or_default();
    row.more = vec![
        format!("{} {}", format::moment(e.time), e.kind),
        e.message.clone(),
        String::new(),
    ];
    row.more
        .extend(clean::json_safe(&data).lines().map(str::to_owned));
    row
}

/// How an event or an alarm is drawn.
pub(super) fn weight(severity: Severity) -> Weight {
    match severity {
        Severity::Critical => Weight::Critical,
        Severity::Warning => Weight::Warning,
        Severity::Info => Weight::Plain,
    }
}

fn planner(p: &PlannerView, now: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut say = |label: &str, text: String| {
        if !text.is_empty() {
            let mut row = Row::new(
                format!("{label}{}", rows.len()),
                vec![label.to_owned(), text.clone()],
            );
            row.more = vec![text];
            rows.push(row);
        }
    };
    say("state", format!("{}: {}", p.state, p.why));
    say("kind", p.kind.to_string());
    say("rules", p.rules.to_string());
    say("model", p.model.clone().unwrap_or_default());
    say("models", super::super::planner::brief(p));
    say("question", p.question.clone().unwrap_or_default());
    say("trouble", p.trouble.clone().unwrap_or_default());
    if let (Some(rule), Some(at)) = (&p.last_rule, p.last_fired_at) {
        say(
            "last fired",
            format!("{rule}, {} ago", format::age(now, at)),
        );
    }
    for s in &p.schedules {
        let next = s
            .next_at
            .map_or_else(String::new, |at| format!(", next {}", format::age(now, at)));
        say("schedule", format!("{} at {}{next}", s.rule, s.at));
    }
    for q in &p.questions {
        say("asks", format!("{} ({}): {}", q.name, q.when, q.text));
    }
    for l in &p.later {
        say(
            "waits",
            format!("{} (asked by {}): {}", l.question, l.asked_by, l.why),
        );
    }
    for o in &p.others {
        say(
            "gen-1",
            format!(
                "{} {} {} (decided at its own node)",
                o.level, o.status, o.summary
            ),
        );
    }
    rows
}

/// The keys and commands.
pub(super) fn help() -> Vec<String> {
    [
        "1–5, Tab, ← →      views",
        "↑ ↓ PgUp PgDn g G  rows",
        "Enter              open: a proposal as its executor signed it, or all of a row",
        "a  r  s            in a proposal: approve, reject, stop its run",
        "/                  show only rows that hold a text; Esc shows all",
        "!                  emergency stop of everything that can be reached",
        ":                  a command",
        "?                  this help",
        "q  Ctrl-C          leave; the node goes on",
        "",
        "Commands:",
        ":show ID           open a proposal; approve and reject there (:approve ID, :reject ID open it too)",
        ":stop ID           its actuator goes to its safe state",
        ":estop REASON      emergency stop",
        ":pause REASON      the planner rests   :resume  it goes on",
        ":ask QUESTION      ask the planner",
        ":filter TEXT       as /",
        ":quit",
        "",
        "To approve, the start of the proposal's id is typed; for L3 what it moves. Your operator key signs in this program; the node never has it.",
    ]
    .map(str::to_owned)
    .to_vec()
}
