//! Updates on their way to an answer. An emergency stop of a member waits behind nothing: neither behind answers that a
//! server holds up, nor behind a crowd of strangers, nor behind the member's own messages.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::pace::Pause;
use super::{KIND, Talk, problem, talk as answers, well};
use crate::adapters::channel::{Fault, Place, Update, What};
use crate::domain::base::Refusal;
use crate::domain::base::limits::{
    CHAT_BUSY_MAX, CHAT_PAUSE_MAX_MS, CHAT_PAUSE_MIN_MS, CHAT_STRANGERS_BUSY_MAX, CHAT_WAITING_MAX,
};
use crate::node::channels::{Bot, Member};

/// An update that is read, by who is behind it.
enum Lane {
    /// A member.
    Member(Place, Member, What),
    /// A chat that is nobody's, and why.
    Stranger(Place, Refusal, What),
}

/// A member's own private wish that everything is stopped.
async fn stop_of(talk: &Talk, update: &Update) -> Option<(Place, Member, String)> {
    let place = update.place.as_ref().filter(|place| place.private)?;
    let What::Said { text, forwarded } = &update.what else {
        return None;
    };
    let (command, reason) = answers::command(text.trim());
    if *forwarded || command != "/stop" {
        return None;
    }
    let member = talk.door.channel_member(KIND, &place.account).await.ok()?;
    Some((place.clone(), member, reason.to_owned()))
}

/// Where an update goes; none for what is not read: a flood, and what says not who is behind it.
async fn lane(talk: &Talk, update: Update) -> Option<Lane> {
    let place = update.place?;
    let account = place.account.as_str();
    match talk.door.channel_member(KIND, account).await {
        Ok(member) if talk.pace.reads(account, talk.now()) => {
            Some(Lane::Member(place, member, update.what))
        }
        Ok(_) => {
            tracing::warn!("a member of the Telegram bot writes too often; a message is not read");
            None
        }
        Err(refusal) => talk
            .pace
            .reads_stranger(account, talk.now())
            .then(|| Lane::Stranger(place, refusal, update.what)),
    }
}

/// Stops everything, and only then takes the update: one that a crash cuts off comes again, and stopping twice is stopping.
async fn stop(talk: &Talk, update: Update, place: Place, member: Member, reason: String) {
    let said = answers::stopped(talk, &member, &reason).await;
    if take(talk, &update).await {
        talk.say_now(&place.chat, &said).await;
    }
}

/// Takes updates and answers them, each once: that one was taken is on disk before it is answered, but for a stop. The server
/// forgets those that were asked for; it is not asked again before each stop among them is done. Ends where the server does
/// not take the token any more.
pub(super) async fn poll(talk: &Talk) {
    let mut pause = Pause::default();
    let mut next = loop {
        match talk.door.channel_next_update(KIND, &talk.bot.id).await {
            Ok(next) => break next,
            Err(refusal) => tracing::error!("the updates of the bot cannot be counted: {refusal}"),
        }
        tokio::time::sleep(Duration::from_millis(CHAT_PAUSE_MAX_MS)).await;
    };
    let ask = |from: i64, wait: Duration| {
        let chats = talk.chats.clone();
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            chats.updates(from).await
        })
    };
    let mut asked = ask(next, Duration::ZERO);
    let mut stopping = FuturesUnordered::new();
    let mut strangers = FuturesUnordered::new();
    let mut busy = FuturesUnordered::new();
    let mut waiting = VecDeque::new();
    loop {
        while busy.len() < CHAT_BUSY_MAX
            && let Some((place, member, what)) = waiting.pop_front()
        {
            busy.push(answers::to_member(talk, place, member, what));
        }
        let answer = tokio::select! {
            answer = &mut asked => answer,
            Some(()) = busy.next() => continue,
            Some(()) = strangers.next() => continue,
        };
        let wait = match answer {
            Ok(updates) => {
                if !matches!(talk.door.channel_bot(), Some(Bot { problem: None, .. })) {
                    well(&talk.door, &talk.bot);
                }
                pause = Pause::default();
                // The server numbers: a bot that was quiet for long may get lower numbers than before.
                if let Some(last) = updates.iter().map(|update| update.id).max() {
                    next = last.saturating_add(1);
                }
                let mut new = false;
                for update in updates {
                    if let Some((place, member, reason)) = stop_of(talk, &update).await {
                        stopping.push(stop(talk, update, place, member, reason));
                        continue;
                    }
                    if !take(talk, &update).await {
                        continue;
                    }
                    new = true;
                    match lane(talk, update).await {
                        None => {}
                        Some(Lane::Member(..)) if waiting.len() >= CHAT_WAITING_MAX => {
                            tracing::warn!(
                                "a message to the Telegram bot is not answered: too many wait"
                            );
                        }
                        Some(Lane::Member(place, member, what)) => {
                            waiting.push_back((place, member, what));
                        }
                        Some(Lane::Stranger(place, refusal, what)) => {
                            if strangers.len() < CHAT_STRANGERS_BUSY_MAX {
                                strangers.push(answers::to_stranger(talk, place, refusal, what));
                            }
                        }
                    }
                }
                while stopping.next().await.is_some() {}
                // A server that has nothing new and does not wait for it is not asked without a pause.
                match new {
                    true => Duration::ZERO,
                    false => Duration::from_millis(CHAT_PAUSE_MIN_MS),
                }
            }
            Err(fault) => {
                problem(&talk.door, Some(talk.bot.name.clone()), fault.to_string());
                if matches!(fault, Fault::Token(_)) {
                    return;
                }
                pause.after(&fault)
            }
        };
        asked = ask(next, wait);
    }
}

/// Whether an update is new here. One that cannot be written down is not answered: it may come again.
async fn take(talk: &Talk, update: &Update) -> bool {
    let taken = talk.door.channel_take_update(KIND, &talk.bot.id, update.id);
    match taken.await {
        Ok(new) => new,
        Err(refusal) => {
            tracing::error!("an update of the bot is not answered: {refusal}");
            false
        }
    }
}
