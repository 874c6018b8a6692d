//! What the commands ask a running node about standing approvals.

use super::{Asked, Remote};
use crate::domain::gate::{SignedStanding, SignedStandingEnd};
use crate::node::proposals::standing_approvals::ApprovalView;
use crate::operator::dto::Why;
use crate::operator::routes;
use crate::operator::standing_approvals::ApprovalsView;

impl Remote {
    /// Standing approvals of the node and of the executors it is linked with.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn standing(&self) -> Asked<ApprovalsView> {
        self.read(routes::STANDING).await
    }

    /// Takes a signed standing approval to its executor.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn standing_give(&self, signed: &SignedStanding) -> Asked<ApprovalView> {
        self.send(routes::STANDING_GIVE, signed).await
    }

    /// Takes the signed end of a standing approval to its executor.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn standing_end(&self, id: &str, signed: &SignedStandingEnd) -> Asked<ApprovalView> {
        self.send_to(routes::STANDING_END, id, signed).await
    }

    /// Ends a standing approval of the node as its administrator.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn standing_void(&self, id: &str, why: Option<String>) -> Asked<ApprovalView> {
        self.send_to(routes::STANDING_VOID, id, &Why { reason: why })
            .await
    }
}
