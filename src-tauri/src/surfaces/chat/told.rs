//! Proposals that are told of by themselves: each once to every chat that wants to hear, and kept up to date until they are
//! decided, wherever that was.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Talk, talk};
use crate::adapters::channel::{Fault, Message};
use crate::domain::base::limits::{CHAT_LOOK_MS, CHAT_TOLD_MAX};
use crate::domain::proposal::Status;
use crate::operator::dto::ProposalView;

/// Which proposals were told where.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeMap<(String, String), Shown>>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shown {
    /// The messages about it, newest last; a few.
    messages: Vec<i64>,
    /// The line about how long it waits, as it stands there.
    left: String,
}

const MESSAGES_MAX: usize = 4;

impl Told {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<(String, String), Shown>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a message shows a proposal.
    pub(super) fn shows(&self, account: &str, proposal: &str, message: i64) {
        self.with(|all| {
            let key = (account.to_owned(), proposal.to_owned());
            if all.len() >= CHAT_TOLD_MAX && !all.contains_key(&key) {
                return;
            }
            let shown = all.entry(key).or_default();
            shown.messages.retain(|id| *id != message);
            shown.messages.push(message);
            if shown.messages.len() > MESSAGES_MAX {
                shown.messages.remove(0);
            }
        });
    }
}

/// Tells of new proposals and of their ends.
pub(super) async fn watch(talk: &Talk) {
    let mut changes = talk.door.proposal_changes();
    let mut tick = tokio::time::interval(Duration::from_millis(CHAT_LOOK_MS));
    loop {
        look(talk).await;
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
        talk.door.channel_members().await,
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
            if talk
                .told
                .with(|all| all.contains_key(&key) || all.len() >= CHAT_TOLD_MAX)
            {
                continue;
            }
            let message = talk::whole(talk, member, p).await;
            // In a private chat account and chat have the same number.
            match talk.send(&member.account, message).await {
                Ok(id) => talk.told.shows(&member.account, &p.id, id),
                // The others do not wait for this one; the next look tries again.
                Err(Fault::Later(_)) => break,
                Err(fault) => {
                    tracing::warn!("a proposal was not told in a chat: {fault}");
                    // Told once, whether or not it arrived: /proposals lists it.
                    talk.told.with(|all| all.insert(key, Shown::default()));
                }
            }
        }
    }
    let known: Vec<((String, String), Shown)> = talk
        .told
        .with(|all| all.iter().map(|(k, s)| (k.clone(), s.clone())).collect());
    for ((account, proposal), shown) in known {
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
                later |= matches!(changed, Err(Fault::Later(_)));
            }
        }
        if later {
            continue;
        }
        let key = (account, proposal);
        talk.told.with(|all| match p.status.is_open() {
            true => {
                if let Some(shown) = all.get_mut(&key) {
                    shown.left = text;
                }
            }
            false => {
                all.remove(&key);
            }
        });
    }
}
