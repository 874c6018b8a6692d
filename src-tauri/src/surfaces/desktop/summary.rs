//! The node at a glance, for what is small: the tray and the notifications. It follows the node's own
//! news, gathers them for a moment and reads through the door; it decides nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::host::{Host, Running};
use super::stop::{Stopped, Unstopped};
use crate::domain::base::limits::{TRAY_NODES_MAX, TRAY_SETTLE_MS};
use crate::domain::base::text::one_line;
use crate::domain::proposal::Status;
use crate::operator::Answer;
use crate::operator::dto::PlannerKind;
use crate::operator::dto::ProposalView;

/// How often it is read without news: links fall silent without an event.
const AGAIN: Duration = Duration::from_secs(3);
/// Longest text of a line, in characters.
const LINE_CHARS: usize = 64;

/// The urgency of the state, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Mood {
    /// No node runs, or its emergency stop is latched.
    #[default]
    Stopped,
    /// All is well.
    Healthy,
    /// A proposal waits for a person.
    NeedsYou,
    /// Something is wrong.
    Problem,
    /// An emergency stop was asked for, and not all is stopped.
    NotStopped,
}

/// A node of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeLine {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: &'static str,
}

/// A proposal that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its id.
    pub id: String,
    /// The digest of its record as it is shown.
    pub digest: String,
    /// What will physically happen.
    pub title: String,
    /// Where.
    pub place: String,
    /// Who must agree.
    pub level: String,
    /// Why it was asked for.
    pub reason: String,
}

/// The node at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Summary {
    /// What matters most.
    pub mood: Mood,
    /// The mesh or node by name; empty while no node runs.
    pub name: String,
    /// Why the mood is what it is.
    pub why: String,
    /// Whether the emergency stop is latched here.
    pub latched: bool,
    /// What the last emergency stop left undone, if it did.
    pub unstopped: Option<String>,
    /// Whether the planner of this node rests; absent where there is none.
    pub planner_rests: Option<bool>,
    /// The nodes, this one first; no more than a tray holds.
    pub nodes: Vec<NodeLine>,
    /// Nodes beyond those.
    pub more_nodes: usize,
    /// What waits, the most urgent first.
    pub waiting: Vec<Waiting>,
}

/// The effect of a proposal, in words.
pub(super) fn title(p: &ProposalView) -> String {
    let device = p.target.rsplit(':').next().unwrap_or(&p.target);
    let span = match p.run_ms {
        0 => String::new(),
        ms if ms < 120_000 => format!(" for {} s", ms.div_ceil(1_000)),
        ms => format!(" for {} min", ms.div_ceil(60_000)),
    };
    let steps = p.kind.as_ref().map_or(&[][..], |kind| kind.steps());
    let steps: Vec<String> = steps
        .iter()
        .map(|step| format!("{} {}", step.action.operation, step.action.target))
        .collect();
    let steps = match steps.is_empty() {
        true => String::new(),
        false => format!(": {}", steps.join(", ")),
    };
    one_line(
        &format!("{} {device}{span}{steps}", p.operation),
        LINE_CHARS,
    )
}

async fn look(running: &Running) -> Answer<Summary> {
    let door = &running.door;
    let status = door.status().await?;
    let topology = door.topology().await?;
    let mut open = door.proposals(false).await?;
    open.retain(|p| p.status == Status::AwaitingApproval);
    open.sort_by(|a, b| b.level.cmp(&a.level).then(a.expires_at.cmp(&b.expires_at)));
    let name_of = |id: &str| {
        let node = topology.nodes.iter().find(|n| n.device_id == id);
        let name = node.and_then(|n| n.name.clone());
        one_line(
            &name.unwrap_or_else(|| id.chars().take(8).collect()),
            LINE_CHARS,
        )
    };
    let waiting: Vec<Waiting> = open
        .iter()
        .map(|p| Waiting {
            id: p.id.clone(),
            digest: p.digest.clone(),
            title: title(p),
            place: name_of(&p.executor),
            level: p.level.to_string(),
            reason: one_line(&p.reason, 160),
        })
        .collect();
    let mut known: Vec<_> = topology
        .nodes
        .iter()
        .filter(|n| n.own || n.trusted)
        .collect();
    known.sort_by_key(|n| (!n.own, !n.connected, name_of(&n.device_id)));
    let nodes = known.iter().take(TRAY_NODES_MAX).map(|n| NodeLine {
        name: name_of(&n.device_id),
        state: match () {
            () if n.estop => "emergency stop",
            () if n.own => "this node",
            () if n.connected => "connected",
            () if n.fresh => "heard from",
            () => "offline",
        },
    });
    let latched = door.estop_state().latched;
    let lost = known
        .iter()
        .filter(|n| !n.own && !n.connected && !n.fresh)
        .count();
    let problem = status.problems.first().map(|p| one_line(p, LINE_CHARS));
    let problem = problem.or_else(|| (lost > 0).then(|| format!("{lost} of our nodes offline")));
    let (mood, why) = match (latched, problem, waiting.len()) {
        (true, _, _) => (Mood::Stopped, "emergency stop".to_owned()),
        (_, _, n @ 1..) => (Mood::NeedsYou, format!("{n} waiting for you")),
        (_, Some(problem), _) => (Mood::Problem, problem),
        _ => (Mood::Healthy, "all is well".to_owned()),
    };
    let planner = door.planner();
    let planner_rests = (planner.kind != PlannerKind::None).then(|| planner.pause.is_some());
    let name = status.mesh_name.unwrap_or(status.display_name);
    Ok(Summary {
        mood,
        name: one_line(&name, LINE_CHARS),
        why,
        latched,
        unstopped: None,
        planner_rests,
        nodes: nodes.collect(),
        more_nodes: known.len().saturating_sub(TRAY_NODES_MAX),
        waiting,
    })
}

impl Summary {
    /// It with what the last stop left undone, which matters more than anything else.
    fn with(mut self, left: Option<&Stopped>) -> Self {
        if let Some(stopped) = left {
            self.mood = Mood::NotStopped;
            self.why = stopped.line();
            self.unstopped = Some(stopped.line());
        }
        self
    }

    fn of_none() -> Self {
        Self {
            why: "no node runs".to_owned(),
            ..Self::default()
        }
    }
}

/// The source of summaries and their receiver.
struct Feed {
    stops: Unstopped,
    summaries: watch::Sender<Summary>,
    /// Whether the stop was latched when it was looked at last.
    latched: bool,
}

impl Feed {
    fn publish(&mut self, summary: Summary) {
        // Of a node that does not run nothing is known.
        if !summary.name.is_empty() {
            if self.latched && !summary.latched {
                self.stops.released();
            }
            self.latched = summary.latched;
        }
        let summary = summary.with(self.stops.now().as_ref());
        self.summaries.send_if_modified(|now| {
            let news = *now != summary;
            *now = summary;
            news
        });
    }
}

/// Follows the node of `host` and its emergency stops until the application ends.
pub(super) async fn follow(host: Arc<Host>, stops: Unstopped, summaries: watch::Sender<Summary>) {
    let (mut runs, mut left) = (host.runs(), stops.watch());
    let mut feed = Feed {
        stops,
        summaries,
        latched: false,
    };
    loop {
        let running = runs.borrow_and_update().clone();
        let Some(running) = running else {
            left.mark_unchanged();
            feed.publish(Summary::of_none());
            tokio::select! {
                () = host.ended().cancelled() => return,
                _ = left.changed() => continue,
                changed = runs.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
        };
        while_it_runs(&running, &mut feed, &mut left).await;
        tokio::select! {
            () = host.ended().cancelled() => return,
            changed = runs.changed() => if changed.is_err() { return },
        }
    }
}

async fn while_it_runs(
    running: &Running,
    feed: &mut Feed,
    left: &mut watch::Receiver<Option<Stopped>>,
) {
    let context = running.door.context();
    let (mut events, mut proposals) = (context.journal.listen(), running.door.proposal_changes());
    loop {
        left.mark_unchanged();
        match look(running).await {
            Ok(summary) => feed.publish(summary),
            Err(refusal) => tracing::debug!("the tray could not look at the node: {refusal}"),
        }
        tokio::select! {
            () = running.over.cancelled() => return,
            _ = left.changed() => continue,
            heard = events.recv() => if matches!(heard, Err(RecvError::Closed)) { return },
            changed = proposals.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN) => continue,
        }
        tokio::time::sleep(Duration::from_millis(TRAY_SETTLE_MS)).await;
        while events.try_recv().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::stop::tests::report;
    use super::*;

    fn named(latched: bool) -> Summary {
        Summary {
            name: "here".to_owned(),
            mood: Mood::Healthy,
            latched,
            ..Summary::default()
        }
    }

    #[test]
    fn what_a_stop_left_undone_shows_over_all_else_until_it_is_released() {
        let (summaries, seen) = watch::channel(Summary::default());
        let stops = Unstopped::default();
        let mut feed = Feed {
            stops: stops.clone(),
            summaries,
            latched: false,
        };
        feed.publish(named(false));
        assert_eq!(seen.borrow().mood, Mood::Healthy);
        let nodes = [("here", true, true), ("field", false, true)];
        stops.take(&Stopped::reported(report(&nodes)));
        feed.publish(named(true));
        let now = seen.borrow().clone();
        assert_eq!(now.mood, Mood::NotStopped);
        assert!(now.why.contains("field") && now.unstopped.is_some());
        // While the node restarts nothing is known of its latch, and nothing was released.
        feed.publish(Summary::of_none());
        assert_eq!(seen.borrow().mood, Mood::NotStopped);
        feed.publish(named(true));
        assert_eq!(seen.borrow().mood, Mood::NotStopped);
        feed.publish(named(false));
        assert_eq!(seen.borrow().mood, Mood::Healthy);
    }
}
