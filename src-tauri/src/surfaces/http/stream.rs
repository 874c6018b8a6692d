//! The event stream: Server-Sent Events that follow the store. The live channels only wake it, so a
//! slow client lags but never misses an event, and a client that comes back resumes by number.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::Api;
use super::answer::{Failed, query};
use super::auth::Caller;
use super::places::Place;
use crate::domain::base::{Code, Refusal};
use crate::operator::dto::ProposalView;
use crate::operator::queries::EventQuery;

/// Events read from the store at once.
const PAGE: usize = 200;
/// How often a quiet stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often a stream looks whether its session still lives.
const CHECK_EVERY: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamAsked {
    since: Option<u64>,
}

/// One client's place in the stream.
struct Follower {
    api: Arc<Api>,
    /// The number of the last event sent.
    seen: u64,
    /// The revision of each proposal as last sent.
    revisions: BTreeMap<String, u64>,
    ready: VecDeque<Event>,
    events: broadcast::Receiver<u64>,
    proposals: watch::Receiver<u64>,
    caller: Caller,
    _place: Place,
}

pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
    asked: Result<Query<StreamAsked>, QueryRejection>,
) -> Result<Response, Failed> {
    let resumed = headers
        .get("last-event-id")
        .map(|v| v.to_str().ok().and_then(|t| t.trim().parse::<u64>().ok()));
    let since = match resumed {
        Some(Some(seq)) => Some(seq),
        Some(None) => {
            return Err(Refusal::new(
                Code::InvalidParams,
                "Last-Event-ID must be an event's number",
            )
            .into());
        }
        None => query(asked)?.since,
    };
    if method == Method::HEAD {
        // The head alone takes no place.
        let head = [(header::CONTENT_TYPE, "text/event-stream")];
        return Ok(head.into_response());
    }
    let place = api.room.streams.take(&caller)?;
    let follower = Follower::start(api, caller, since, place).await?;
    let alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    Ok(Sse::new(follower.follow())
        .keep_alive(alive)
        .into_response())
}

impl Follower {
    async fn start(
        api: Arc<Api>,
        caller: Caller,
        since: Option<u64>,
        place: Place,
    ) -> Result<Self, Refusal> {
        let context = api.door.context();
        // Listen first, read then: nothing falls between the two.
        let (events, mut proposals) = (context.journal.listen(), api.door.proposal_changes());
        proposals.mark_unchanged();
        let seen = match since {
            Some(seq) => seq,
            None => {
                let newest = EventQuery {
                    limit: Some(1),
                    ..EventQuery::default()
                };
                api.door.events(newest).await?.last().map_or(0, |e| e.seq)
            }
        };
        let mut follower = Self {
            seen,
            revisions: BTreeMap::new(),
            ready: VecDeque::new(),
            events,
            proposals,
            caller,
            _place: place,
            api,
        };
        follower.read_proposals(since.is_some()).await?;
        follower.read_events().await?;
        Ok(follower)
    }

    fn follow(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut follower| async move {
            loop {
                if let Some(event) = follower.ready.pop_front() {
                    return Some((Ok(event), follower));
                }
                if !follower.wait().await {
                    return None;
                }
            }
        })
    }

    /// Waits for news and reads them; `false` when the stream is over.
    async fn wait(&mut self) -> bool {
        let api = self.api.clone();
        if !self.allowed() {
            return false;
        }
        let before = self.seen;
        if self.read_events().await.is_err() {
            return false;
        }
        if self.seen != before {
            return true;
        }
        let read = tokio::select! {
            () = api.door.context().tasks.stop().cancelled() => return false,
            () = tokio::time::sleep(CHECK_EVERY) => return self.allowed(),
            heard = self.events.recv() => match heard {
                // A lagging client reads the store, as everybody does.
                Ok(_) | Err(RecvError::Lagged(_)) => self.read_events().await,
                Err(RecvError::Closed) => return false,
            },
            changed = self.proposals.changed() => match changed {
                Ok(()) => self.read_proposals(true).await,
                Err(_) => return false,
            },
        };
        if let Err(refusal) = &read {
            tracing::warn!("an event stream ends: {refusal}");
        }
        read.is_ok()
    }

    /// Whether the caller may still look: the streams of a session end with it.
    fn allowed(&self) -> bool {
        match &self.caller {
            Caller::Token(_) | Caller::Window | Caller::Owner => true,
            Caller::Session(session) => {
                let now = self.api.door.context().now();
                self.api.browsers.alive(&session.id, now)
            }
        }
    }

    async fn read_events(&mut self) -> Result<(), Refusal> {
        let page = EventQuery {
            since: Some(self.seen),
            limit: Some(PAGE),
            kind: None,
        };
        for event in self.api.door.events(page).await? {
            self.seen = self.seen.max(event.seq);
            self.ready.push_back(written(
                Event::default().id(event.seq.to_string()).event("event"),
                &event,
            )?);
        }
        Ok(())
    }

    /// Sends proposals whose revision is news to this client; `ended` ones too if it asks.
    async fn read_proposals(&mut self, ended: bool) -> Result<(), Refusal> {
        let open: Vec<String> = self
            .api
            .door
            .proposals(false)
            .await?
            .into_iter()
            .map(|p| p.id)
            .collect();
        for proposal in self.api.door.proposals(true).await?.into_iter().rev() {
            let news = self
                .revisions
                .insert(proposal.id.clone(), proposal.revision)
                != Some(proposal.revision);
            if news && (ended || open.contains(&proposal.id)) {
                self.push_proposal(&proposal)?;
            }
        }
        Ok(())
    }

    fn push_proposal(&mut self, proposal: &ProposalView) -> Result<(), Refusal> {
        self.ready
            .push_back(written(Event::default().event("proposal"), proposal)?);
        Ok(())
    }
}

fn written(event: Event, data: &impl serde::Serialize) -> Result<Event, Refusal> {
    event.json_data(data).map_err(|e| {
        Refusal::new(
            Code::InternalError,
            format!("an event could not be written: {e}"),
        )
    })
}
