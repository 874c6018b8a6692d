//! When the bot of this node may answer: it waits until nobody else does, looks at the server for another that polls, and says
//! nothing once it has lost the bot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pace::Pause;
use super::{Talk, lanes, problem};
use crate::adapters::channel::{BotName, Chats, Done, Fault, Message, Update};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{ANSWERING_LOOK_MS, ANSWERING_SHORT_POLL_MS};
use crate::domain::router::answering::Stand;
use crate::node::answering;
use crate::node::channels::Bot;

/// A service through which nothing is said but while this node answers.
pub(super) struct InTurn {
    pub(super) chats: Arc<dyn Chats>,
    pub(super) answering: answering::Bot,
}

impl InTurn {
    fn silent(&self) -> Result<(), Fault> {
        match self.answering.speaks() {
            true => Ok(()),
            false => Err(Fault::Silent),
        }
    }
}

impl Chats for InTurn {
    fn bot(&self) -> Done<'_, BotName> {
        self.chats.bot()
    }

    fn updates(&self, from: i64, wait: Duration) -> Done<'_, Vec<Update>> {
        self.chats.updates(from, wait)
    }

    fn send<'a>(&'a self, chat: &'a str, message: &'a Message) -> Done<'a, i64> {
        Box::pin(async move {
            self.silent()?;
            self.chats.send(chat, message).await
        })
    }

    fn edit<'a>(&'a self, chat: &'a str, id: i64, message: &'a Message) -> Done<'a, ()> {
        Box::pin(async move {
            self.silent()?;
            self.chats.edit(chat, id, message).await
        })
    }

    fn heard<'a>(&'a self, press: &'a str, text: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            self.silent()?;
            self.chats.heard(press, text).await
        })
    }

    fn others(&self) -> Option<u64> {
        self.chats.others()
    }

    fn leave(&self) {
        self.chats.leave();
    }
}

/// Why the bot is looked at.
enum Why {
    /// This node begins to answer if nobody else does.
    Begins,
    /// A device says that it answers, and it is time to see.
    Checks(DeviceId),
}

/// What was seen of the bot's server.
enum Seen {
    /// Nobody else polls.
    Free,
    /// Somebody else does.
    Taken,
    /// The token is not taken.
    Token,
    /// Another node began meanwhile.
    Over,
}

/// Waits until this node answers. `false` where the server does not take the token any more.
pub(super) async fn begins(talk: &Talk) -> bool {
    let answering = talk.door.answering(talk.kind);
    let mut changes = answering.changes();
    let mut counted = None::<Instant>;
    loop {
        if counted.is_none_or(|at| at.elapsed() > Duration::from_secs(60))
            && let Ok(members) = talk.door.channel_members(talk.kind).await
        {
            answering.serves(members.len());
            counted = Some(Instant::now());
        }
        let stand = answering.stand();
        says(talk, &stand);
        let why = match (&stand, answering.to_check()) {
            (Stand::Holds, _) => return true,
            (Stand::First, _) => Some(Why::Begins),
            (_, Some(holder)) => Some(Why::Checks(holder)),
            _ => None,
        };
        let Some(why) = why else {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            continue;
        };
        match (look(talk, &why).await, why) {
            (Seen::Token, _) => return false,
            (Seen::Free, why) => {
                if let Why::Checks(holder) = why {
                    answering.doubt(&holder);
                }
                if answering.stand() == Stand::First {
                    let epoch = answering.takes();
                    tracing::info!(
                        "this node answers the bot {} (epoch {epoch})",
                        talk.bot.name
                    );
                    says(talk, &Stand::Holds);
                    return true;
                }
            }
            (Seen::Taken, Why::Checks(holder)) => answering.checked(&holder),
            (Seen::Taken, Why::Begins) => {
                tracing::warn!(
                    "another program polls the bot {}: this node leaves it alone for a while",
                    talk.bot.name
                );
                answering.rests();
            }
            (Seen::Over, _) => {}
        }
        talk.chats.leave();
    }
}

/// Notes for people why this node does not answer.
fn says(talk: &Talk, stand: &Stand) {
    let answering = talk.door.answering(talk.kind);
    let why = match stand {
        Stand::Holds => None,
        Stand::By(device) => Some(format!("stands by: {} answers", answering.name(device))),
        Stand::Waits(device) => Some(format!(
            "stands by: {} begins to answer",
            answering.name(device)
        )),
        Stand::Listens => Some("listens whether another node answers".to_owned()),
        Stand::Rests => Some(
            "stands by: another program polls this bot; it looks again within a minute".to_owned(),
        ),
        Stand::First => Some("looks whether somebody else polls this bot".to_owned()),
    };
    let bot = Bot {
        name: Some(talk.bot.name.clone()),
        problem: None,
        stands_by: why,
    };
    talk.door.channel_bot_is(talk.kind, bot);
}

/// Looks at the server for so long that another that polls is seen: by its conflict with this node's own request, or because an
/// update goes that this node has not confirmed. Nothing is confirmed or answered; an emergency stop is carried out.
async fn look(talk: &Talk, why: &Why) -> Seen {
    let answering = talk.door.answering(talk.kind);
    if answering.alone() || matches!(why, Why::Begins) && answering.is_handed() {
        return Seen::Free;
    }
    let second = Duration::from_secs(1);
    let window = Duration::from_millis(ANSWERING_LOOK_MS);
    let (mut since, mut conflicts, mut pause) = (Instant::now(), 0, Pause::default());
    let (mut waiting, mut stopped) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let left = window.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Seen::Free;
        }
        let stand = answering.stand();
        let still = match why {
            Why::Begins => stand == Stand::First,
            // One that ceases and goes first of those that wait may begin again before the look is over.
            Why::Checks(holder) => {
                matches!(&stand, Stand::By(of) | Stand::Waits(of) if of == holder)
            }
        };
        if !still {
            return Seen::Over;
        }
        let wait = Duration::from_millis(ANSWERING_SHORT_POLL_MS).min(left + second);
        match talk
            .chats
            .updates(0, Duration::from_secs(wait.as_secs()))
            .await
        {
            Ok(updates) => {
                answering.is_well(true);
                talk.door.channel_bot_heard(talk.kind);
                let now: BTreeSet<i64> = updates.iter().map(|update| update.id).collect();
                if !waiting.is_subset(&now) {
                    return Seen::Taken;
                }
                waiting = now;
                for update in &updates {
                    if stopped.insert(update.id) {
                        lanes::stop_unanswered(talk, update).await;
                    }
                }
                match talk.chats.others() {
                    Some(0) => return Seen::Free,
                    Some(_) => return Seen::Taken,
                    None => {}
                }
                // One who polls is not waited for where the server answers at once.
                tokio::time::sleep(second.min(left)).await;
            }
            Err(Fault::Conflict) => {
                conflicts += 1;
                if conflicts > 1 {
                    return Seen::Taken;
                }
                tokio::time::sleep(second).await;
            }
            Err(fault) => {
                problem(talk, fault.to_string());
                if matches!(fault, Fault::Token(_)) {
                    return Seen::Token;
                }
                answering.is_well(matches!(fault, Fault::Later(_)));
                tokio::time::sleep(pause.after(&fault)).await;
                since = Instant::now();
            }
        }
    }
}
