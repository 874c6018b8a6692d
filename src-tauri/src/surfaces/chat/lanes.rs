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

/// An update that is read: where, by which member, and what; for a chat that is nobody's why.
type Read = (Place, Result<Box<Member>, Refusal>, What);

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

/// What is read of an update; nothing of a flood, and of what says not who is behind it.
async fn read(talk: &Talk, update: Update) -> Option<Read> {
    let place = update.place?;
    let (account, now) = (place.account.as_str(), talk.now());
    let member = talk.door.channel_member(KIND, account).await;
    let reads = match &member {
        Ok(_) => talk.pace.reads(account, now),
        Err(_) => talk.pace.reads_stranger(account, now),
    };
    if !reads && member.is_ok() {
        tracing::warn!("a member of the Telegram bot writes too often; a message is not read");
    }
    reads.then_some((place, member.map(Box::new), update.what))
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
                    match read(talk, update).await {
                        None => {}
                        Some((place, Err(refusal), what)) => {
                            let full = strangers.len() >= CHAT_STRANGERS_BUSY_MAX;
                            let answer = answers::to_stranger(talk, place, refusal, what);
                            strangers.extend((!full).then_some(answer));
                        }
                        Some((place, Ok(member), what)) => match waiting.len() {
                            0..CHAT_WAITING_MAX => waiting.push_back((place, *member, what)),
                            _ => tracing::warn!(
                                "a message to the Telegram bot is not answered: too many wait"
                            ),
                        },
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
