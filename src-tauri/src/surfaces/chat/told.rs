//! Proposals that are told of by themselves: each once to every chat that wants to hear, and kept up to date until they are
//! decided, wherever that was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Talk, talk};
use crate::adapters::channel::{Fault, Message};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{CHAT_LOOK_MS, CHAT_TOLD_MAX, CHAT_TOLD_MS};
use crate::domain::proposal::Status;
use crate::node::channels::memory::Memory;
use crate::operator::dto::ProposalView;

/// Before the names under which messages are remembered.
const NAME: &str = "told ";

/// Which proposals were told where.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<State>);

/// An account and a proposal.
type Key = (String, String);

#[derive(Debug, Default)]
struct State {
    all: BTreeMap<Key, Shown>,
    /// What the store does not know yet.
    changed: BTreeSet<Key>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    /// The messages about it, newest last; a few.
    messages: Vec<i64>,
    /// What stands there, where it waits no more.
    left: String,
}

const MESSAGES_MAX: usize = 4;

impl Told {
    /// Those that were remembered.
    pub(super) fn of(remembered: &[(String, String)]) -> Self {
        let read = |(name, json): &(String, String)| {
            let (account, proposal) = name.strip_prefix(NAME)?.split_once(' ')?;
            let shown = serde_json::from_str(json).ok()?;
            Some(((account.to_owned(), proposal.to_owned()), shown))
        };
        let all = remembered.iter().filter_map(read).take(CHAT_TOLD_MAX);
        Self(Mutex::new(State {
            all: all.collect(),
            changed: BTreeSet::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store does not know yet.
    pub(super) fn changes(&self, now: TimeMs) -> Vec<Memory> {
        let mut state = self.state();
        let changed = std::mem::take(&mut state.changed).into_iter();
        let memory = |key: Key| Memory {
            name: format!("{NAME}{} {}", key.0, key.1),
            json: state
                .all
                .get(&key)
                .and_then(|shown| serde_json::to_string(shown).ok()),
            until: now.plus(CHAT_TOLD_MS),
        };
        changed.map(memory).collect()
    }

    /// Whether it was told there, or too much is kept up to date already.
    fn is_told(&self, key: &Key) -> bool {
        let state = self.state();
        state.all.contains_key(key) || state.all.len() >= CHAT_TOLD_MAX
    }

    fn all(&self) -> Vec<(Key, Shown)> {
        let state = self.state();
        let all = state.all.iter();
        all.map(|(key, shown)| (key.clone(), shown.clone()))
            .collect()
    }

    fn put(&self, key: Key, shown: Option<Shown>) {
        let mut state = self.state();
        match shown {
            Some(shown) => state.all.insert(key.clone(), shown),
            None => state.all.remove(&key),
        };
        state.changed.insert(key);
    }

    /// Notes that a message shows a proposal.
    pub(super) fn shows(&self, account: &str, proposal: &str, message: i64) {
        let key = (account.to_owned(), proposal.to_owned());
        let before = self.state().all.get(&key).cloned();
        if before.is_none() && self.is_told(&key) {
            return;
        }
        let mut shown = before.unwrap_or_default();
        shown.messages.retain(|id| *id != message);
        shown.messages.push(message);
        if shown.messages.len() > MESSAGES_MAX {
            shown.messages.remove(0);
        }
        self.put(key, Some(shown));
    }
}

/// Tells of new proposals and of their ends.
pub(super) async fn watch(talk: &Talk) {
    let mut changes = talk.door.proposal_changes();
    let mut tick = tokio::time::interval(Duration::from_millis(CHAT_LOOK_MS));
    loop {
        look(talk).await;
        talk.remember().await;
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
            }
            _ = tick.tick() => {}
        }
    }
}

async fn look(talk: &Talk) {
    let (members, open) = match (
        talk.door.channel_members(talk.kind).await,
        talk.door.proposals(false).await,
    ) {
        (Ok(members), Ok(open)) => (members, open),
        (Err(refusal), _) | (_, Err(refusal)) => {
            return tracing::warn!("proposals cannot be told in chats now: {refusal}");
        }
    };
    let waiting: Vec<&ProposalView> = open
        .iter()
        .filter(|p| p.status == Status::AwaitingApproval)
        .collect();
    for member in members.iter().filter(|member| member.alerts) {
        for p in &waiting {
            let key = (member.account.clone(), p.id.clone());
            if talk.told.is_told(&key) {
                continue;
            }
            let message = talk::whole(talk, member, p).await;
            // A private chat is named as its account is.
            match talk.send(&member.account, message).await {
                Ok(id) => {
                    talk.told.shows(&member.account, &p.id, id);
                    talk.remember().await;
                }
                // The others do not wait for this one; the next look tries again.
                Err(Fault::Later(_) | Fault::Silent) => break,
                Err(fault) => {
                    tracing::warn!("a proposal was not told in a chat: {fault}");
                    // Told once, whether or not it arrived: /proposals lists it.
                    talk.told.put(key, Some(Shown::default()));
                }
            }
        }
    }
    for ((account, proposal), shown) in talk.told.all() {
        if waiting.iter().any(|p| p.id == proposal) {
            continue;
        }
        let Ok(p) = talk.door.proposal(&proposal).await else {
            continue;
        };
        let text = talk::ended(talk, &p).await;
        let mut later = false;
        if shown.left != text {
            for id in &shown.messages {
                let changed = talk.chats.edit(&account, *id, &Message::text(&text)).await;
                later |= matches!(changed, Err(Fault::Later(_) | Fault::Silent));
            }
        }
        if later {
            continue;
        }
        let left = p.status.is_open().then_some(Shown {
            left: text.clone(),
            ..shown.clone()
        });
        if left.as_ref() != Some(&shown) {
            talk.told.put((account, proposal), left);
        }
    }
}
