//! What the node says: asked once a second, for the view that is shown.

use tokio::time::Instant;

use super::super::context::Context;
use super::wish::Tab;
use crate::operator::dto::{EventView, FactView, NodeView, PeerView, ProposalView, StatusView};
use crate::operator::estop::EstopView;

/// Events that are shown.
const EVENTS_SHOWN: usize = 300;

/// One answer of the node.
#[derive(Debug)]
pub(super) struct News {
    /// The node at a glance, with its planner.
    pub status: StatusView,
    /// Its emergency stop.
    pub stop: EstopView,
    /// What the shown view needs.
    pub shown: Shown,
    /// When it came.
    pub at: Instant,
}

/// What a view shows.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    /// Proposals, newest first.
    Proposals(Vec<ProposalView>),
    /// Readings.
    World(Vec<FactView>),
    /// Devices, and the links to them.
    Nodes(Vec<NodeView>, Vec<PeerView>),
    /// Events, newest first.
    Events(Vec<EventView>),
    /// The planner is part of the status.
    Planner,
}

impl Shown {
    /// The view it is for.
    pub(super) fn tab(&self) -> Tab {
        match self {
            Shown::Proposals(_) => Tab::Approvals,
            Shown::World(_) => Tab::World,
            Shown::Nodes(..) => Tab::Nodes,
            Shown::Events(_) => Tab::Events,
            Shown::Planner => Tab::Planner,
        }
    }
}

/// Asks the node. It may have ended and run again meanwhile, by another port.
///
/// # Errors
/// Why it could not be asked, as a sentence.
pub(super) async fn ask(ctx: &Context, tab: Tab) -> Result<News, String> {
    let asked = async {
        let remote = ctx.remote().await?;
        let shown = async {
            Ok(match tab {
                Tab::Approvals => Shown::Proposals(remote.proposals(false).await?),
                Tab::World => Shown::World(remote.world(None, None, None).await?),
                Tab::Nodes => Shown::Nodes(remote.nodes().await?, remote.peers().await?),
                Tab::Events => {
                    let mut events = remote.events(None, None, EVENTS_SHOWN).await?;
                    events.reverse();
                    Shown::Events(events)
                }
                Tab::Planner => Shown::Planner,
            })
        };
        let (status, stop, shown) = tokio::try_join!(remote.status(), remote.estop_state(), shown)?;
        Ok(News {
            status,
            stop,
            shown,
            at: Instant::now(),
        })
    };
    asked
        .await
        .map_err(|failure: super::super::fail::Failure| failure.message)
}
