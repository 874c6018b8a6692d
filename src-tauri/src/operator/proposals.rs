//! Looking at proposals: lists, one record for whoever is about to sign it, its story.

use serde_json::Value;

use super::dto::{FrameView, ProposalRecordView, ProposalView, StandingUseView, TraceView};
use super::queries::{FrameQuery, ProposalQuery, bounded};
use super::views::{proposal_view, record_of};
use super::{Answer, Door, trace};
use crate::adapters::store::proposals::{Found, ProposalRow};
use crate::adapters::store::{
    StoreError, approvals, audit, operators, proposals, standing_approvals,
};
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::wire::FrameKind;
use crate::domain::world::SignatureState;
use crate::node::proposals::OUTCOME;
use crate::node::proposals::checks::{self, ChecksView};

impl Door {
    /// The newest proposals, newest first: those that are open, or all; this node's own in any case.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn proposals(&self, all: bool) -> Answer<Vec<ProposalView>> {
        let rows = self
            .read("proposals", move |c| proposals::newest(c, !all, QUERY_MAX))
            .await?;
        Ok(self.viewed(&rows))
    }

    /// A page of proposals, newest first.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_FOUND` where the page is to follow a proposal that is not known, `INVALID_PARAMS` for
    /// a limit out of bounds, or what the store says.
    pub async fn proposals_page(&self, query: ProposalQuery) -> Answer<Vec<ProposalView>> {
        let after = match &query.before {
            None => None,
            Some(id) => {
                let row = self.proposal_row(id).await?;
                Some((row.created_at, row.id))
            }
        };
        let limit = bounded(query.limit.or(Some(QUERY_MAX)))?;
        let open_only = !query.all;
        let rows = self
            .read("proposals", move |c| match &after {
                None => proposals::list(c, open_only, limit),
                Some((at, id)) => proposals::list_after(c, open_only, (*at, id), limit),
            })
            .await?;
        Ok(self.viewed(&rows))
    }

    /// The proposals of a list; one whose record does not read hides no other.
    fn viewed(&self, rows: &[ProposalRow]) -> Vec<ProposalView> {
        let names = self.names();
        let views = rows.iter().map(|row| proposal_view(row, &names));
        let views: Vec<ProposalView> = views.filter_map(Result::ok).collect();
        let left_out = rows.len() - views.len();
        self.context().store.leave_out("proposals", left_out);
        views
    }

    /// The stored proposal with this id or unique start of one.
    pub(super) async fn proposal_row(&self, wanted: &str) -> Answer<ProposalRow> {
        let start = wanted.to_owned();
        match self
            .read("proposal", move |c| proposals::by_prefix(c, &start))
            .await?
        {
            Found::One(row) => Ok(*row),
            Found::Ambiguous(ids) => {
                let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
                Err(Refusal::new(
                    Code::ProposalAmbiguous,
                    format!(
                        "{:?} fits several proposals: {}; give more of the id",
                        shown(wanted),
                        ids.join(", ")
                    ),
                ))
            }
            Found::None => Err(Refusal::new(
                Code::ProposalNotFound,
                format!("there is no proposal {:?}", shown(wanted)),
            )),
        }
    }

    /// One proposal.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_FOUND`, `PROPOSAL_AMBIGUOUS`.
    pub async fn proposal(&self, wanted: &str) -> Answer<ProposalView> {
        proposal_view(&self.proposal_row(wanted).await?, &self.names())
    }

    /// A proposal's signed record.
    ///
    /// # Errors
    /// As [`Door::proposal`]; `UNTRUSTED_PEER` if the executor's key is not known any more.
    pub async fn proposal_record(&self, wanted: &str) -> Answer<ProposalRecordView> {
        let row = self.proposal_row(wanted).await?;
        let proposal = proposal_view(&row, &self.names())?;
        let key = if row.own {
            Some(self.handles.public_key)
        } else {
            let executor = proposal.executor.parse().ok();
            executor
                .and_then(|id: DeviceId| self.handles.trust.live(&id))
                .and_then(|r| r.public_key)
        };
        let key = key.ok_or_else(|| {
            Refusal::new(Code::UntrustedPeer, "the executor of this proposal is not trusted here, so its record cannot be checked")
        })?;
        let id = row.id.clone();
        let read = self.read("decisions", move |c| {
            let standing = standing_approvals::used_by(c, &id)?;
            let standing = standing.map(|(used, by)| {
                let known = operators::get(c, &by)?;
                Ok::<_, StoreError>(StandingUseView {
                    id: used.id.to_hex(),
                    operator_id: by.as_str().to_owned(),
                    name: known.map(|known| known.signed.record.name),
                    number: used.number,
                    of: used.of,
                })
            });
            Ok((approvals::of(c, &id)?, standing.transpose()?))
        });
        let (decisions, standing) = read.await?;
        Ok(ProposalRecordView {
            proposal,
            record: row.record,
            signature: row.signature,
            executor_key: key.to_text(),
            decisions: decisions
                .iter()
                .filter_map(|d| serde_json::to_value(d).ok())
                .collect(),
            standing,
        })
    }

    /// What stands in a waiting proposal's way now, as its executor sees it.
    ///
    /// # Errors
    /// As [`Door::proposal`]; `EXECUTOR_UNREACHABLE` while its executor cannot be asked.
    pub async fn proposal_checks(&self, wanted: &str) -> Answer<ChecksView> {
        let row = self.proposal_row(wanted).await?;
        if row.own {
            return checks::own(&self.handles, row.id).await;
        }
        let link = self
            .handles
            .reach
            .reach(&row.executor)
            .await
            .ok_or_else(|| {
                let why = format!("device {} is not connected", row.executor.short());
                Refusal::new(Code::ExecutorUnreachable, why)
            })?;
        checks::ask(&link, &row.id).await
    }

    /// A proposal's story, from reading to outcome.
    ///
    /// # Errors
    /// As [`Door::proposal`].
    pub async fn trace(&self, wanted: &str) -> Answer<TraceView> {
        let row = self.proposal_row(wanted).await?;
        let proposal = proposal_view(&row, &self.names())?;
        let id = row.id.clone();
        let (decisions, audit) = self
            .read("trace", move |c| {
                Ok((
                    approvals::of(c, &id)?,
                    audit::about(c, id.as_str(), QUERY_MAX)?,
                ))
            })
            .await?;
        let outcomes = self.outcome_frames(&proposal).await?;
        Ok(trace::assemble(
            proposal,
            &record_of(&row)?,
            &decisions,
            &audit,
            &outcomes,
            &self.names(),
        ))
    }

    async fn outcome_frames(&self, proposal: &ProposalView) -> Answer<Vec<FrameView>> {
        let query = FrameQuery {
            kind: Some(FrameKind::Event.as_str().to_owned()),
            origin: Some(proposal.executor.clone()),
            since: Some(proposal.created_at),
            limit: Some(QUERY_MAX),
            before: None,
        };
        let mut frames = self.frames(query).await?;
        // Only what the executor itself says of it counts, not what others pass on in its name.
        let of_the_executor = [SignatureState::Verified, SignatureState::FirstHand];
        let said = |f: &FrameView, name: &str| {
            let data = f.frame.get("data").and_then(|d| d.get(name));
            data.and_then(Value::as_str).map(str::to_owned)
        };
        frames.retain(|f| {
            f.origin == proposal.executor
                && of_the_executor.contains(&f.signature)
                && said(f, "type").as_deref() == Some(OUTCOME)
                && said(f, "proposalId").as_deref() == Some(proposal.id.as_str())
        });
        Ok(frames)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
