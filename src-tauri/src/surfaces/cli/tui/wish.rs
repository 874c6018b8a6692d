//! What there is to see, to ask for and to wish for.

use std::sync::Arc;

use super::super::record::Checked;
use crate::adapters::keystore::Passphrase;
use crate::domain::gate::approval::Verdict;

/// The views, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    /// Proposals that wait or are under way.
    Approvals,
    /// Live readings.
    World,
    /// Devices and links.
    Nodes,
    /// What happened.
    Events,
    /// The planner.
    Planner,
}

impl Tab {
    /// All of them.
    pub(super) const ALL: [Tab; 5] = [
        Tab::Approvals,
        Tab::World,
        Tab::Nodes,
        Tab::Events,
        Tab::Planner,
    ];

    /// Its name on the screen.
    pub(super) fn name(self) -> &'static str {
        match self {
            Tab::Approvals => "Approvals",
            Tab::World => "World",
            Tab::Nodes => "Nodes",
            Tab::Events => "Events",
            Tab::Planner => "Planner",
        }
    }

    /// The one after it, or before it; round and round.
    pub(super) fn beside(self, forward: bool) -> Tab {
        let here = Tab::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        let step = if forward { 1 } else { Tab::ALL.len() - 1 };
        Tab::ALL[(here + step) % Tab::ALL.len()]
    }
}

/// A decision that is about to be signed.
#[derive(Debug)]
pub(super) struct Signing {
    /// The record that was shown.
    pub checked: Arc<Checked>,
    /// The decision.
    pub verdict: Verdict,
    /// The person's note.
    pub note: Option<String>,
}

/// What the person wants from the node.
#[derive(Debug)]
pub(super) enum Wish {
    /// To see a proposal.
    Look(String),
    /// To decide; with the passphrase once it was asked for.
    Sign(Signing, Option<Passphrase>),
    /// To stop a run.
    Stop(String),
    /// To stop everything.
    Estop(Option<String>),
    /// To make the planner rest.
    Pause(Option<String>),
    /// To let it go on.
    Resume,
    /// To ask it.
    Ask(String),
}

/// What the line at the bottom asks for.
#[derive(Debug)]
pub(super) enum Asking {
    /// Rows that hold this text are shown.
    Filter,
    /// A command.
    Command,
    /// The word that approves.
    Word(Arc<Checked>),
    /// Why it is rejected; may stay empty.
    Reason(Arc<Checked>),
    /// The passphrase of the person's key.
    Passphrase(Signing),
    /// Whether everything is to be stopped.
    Estop,
}
