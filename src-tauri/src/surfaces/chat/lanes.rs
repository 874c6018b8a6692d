//! Updates on their way to an answer. An emergency stop of a member waits behind nothing: neither behind answers that a
//! server holds up, nor behind a crowd of strangers, nor behind the member's own messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::commands::command;
use super::pace::Pause;
use super::{Talk, problem, stops, talk as answers};
use crate::adapters::channel::{Fault, Place, Update, What};
use crate::adapters::crash;
use crate::domain::base::Refusal;
use crate::domain::base::limits::{
    ANSWERING_CONFLICT_MS, ANSWERING_CONTACT_MS, ANSWERING_SHORT_POLL_MS, CHAT_BUSY_MAX,
    CHAT_PAUSE_MIN_MS, CHAT_POLL_MS, CHAT_STRANGERS_BUSY_MAX, CHAT_WAITING_MAX,
};
use crate::node::channels::{Bot, Member};
use crate::node::context::tasks::TaskSet;

/// An update that is read: where, by which member, and what; for a chat that is nobody's why.
type Read = (Place, Result<Box<Member>, Refusal>, What);

/// Why a bot is not polled any more.
pub(super) enum Ended {
    /// The server does not take the token.
    Token,
    /// Another node may have begun to answer, or somebody else polls.
    Lost,
}

/// An update that was taken, and is answered once the server has forgotten it.
enum Taken {
    /// A stop that was carried out: where, and what is said of it.
    Stopped(Place, String),
    /// Anything else.
    Other(Update),
}

/// A member's own private wish that everything is stopped.
async fn stop_of(talk: &Talk, update: &Update) -> Option<(Place, Member, String)> {
    let place = update.place.as_ref().filter(|place| place.private)?;
    let What::Said { text, forwarded } = &update.what else {
        return None;
    };
    let (word, reason) = command(talk.kind, text.trim())?;
    if *forwarded || word != "stop" {
        return None;
    }
    let member = talk
        .door
        .channel_member(talk.kind, &place.account)
        .await
        .ok()?;
    Some((place.clone(), member, reason.to_owned()))
}

/// Carries an emergency stop out, if an update is one. Whoever answers the bot says so.
pub(super) async fn stop_unanswered(talk: &Talk, update: &Update) {
    if let Some((_, member, reason)) = stop_of(talk, update).await {
        stops::carry_out(talk, (update.id, update.sent_at), &member, &reason).await;
    }
}

/// What is read of an update; nothing of a flood, and of what says not who is behind it.
async fn read(talk: &Talk, update: Update) -> Option<Read> {
    let place = update.place?;
    let (account, now) = (place.account.as_str(), talk.now());
    let member = talk.door.channel_member(talk.kind, account).await;
    let reads = match &member {
        Ok(_) => talk.pace.reads(account, now),
        Err(_) => talk.pace.reads_stranger(account, now),
    };
    if !reads && member.is_ok() {
        let title = talk.kind.title();
        tracing::warn!("a member of the {title} bot writes too often; a message is not read");
    }
    reads.then_some((place, member.map(Box::new), update.what))
}

/// Stops everything, and only then takes the update: one that a crash cuts off comes again, and then stops no more than before.
async fn stop(
    talk: &Talk,
    update: Update,
    place: Place,
    member: Member,
    reason: String,
) -> Option<Taken> {
    let said = stops::carry_out(talk, (update.id, update.sent_at), &member, &reason).await;
    let new = take(talk, &update).await;
    new.then_some(Taken::Stopped(place, said))
}

/// Takes the updates of an answer, stops first.
async fn taken(talk: &Talk, updates: Vec<Update>) -> Vec<Taken> {
    let mut stopping = FuturesUnordered::new();
    let mut others = Vec::new();
    for update in updates {
        match stop_of(talk, &update).await {
            Some((place, member, reason)) => {
                stopping.push(stop(talk, update, place, member, reason));
            }
            None => others.push(update),
        }
    }
    let mut all = Vec::new();
    while let Some(stopped) = stopping.next().await {
        all.extend(stopped);
    }
    // Side by side, so that the store syncs once for all of them: a stop may stand behind a crowd.
    let news = join_all(others.iter().map(|update| take(talk, update))).await;
    let new = others.into_iter().zip(news).filter(|(_, new)| *new);
    all.extend(new.map(|(update, _)| Taken::Other(update)));
    all
}

/// How long the server is asked to wait, and how long the whole request may take while others of the same bot are not heard:
/// one of them may have begun to look whether this node is there.
fn patience(talk: &Talk, confirms: bool) -> (Duration, Option<Duration>) {
    let unsure = !talk.door.answering(talk.kind).hears_all();
    let contact = Duration::from_millis(ANSWERING_CONTACT_MS);
    let wait = match (confirms, unsure) {
        (true, _) => 0,
        (false, true) => ANSWERING_SHORT_POLL_MS,
        (false, false) => CHAT_POLL_MS,
    };
    (Duration::from_millis(wait), unsure.then_some(contact))
}

/// What is being answered, each in a task of its own: one that is not polled while updates are taken would keep its turn at
/// the store from all others.
struct Lanes {
    strangers: TaskSet,
    busy: TaskSet,
    waiting: VecDeque<(Place, Member, What)>,
}

impl Lanes {
    fn new(talk: &Talk) -> Self {
        let tasks = &talk.door.context().tasks;
        Self {
            strangers: tasks.set("answer to a stranger"),
            busy: tasks.set("answer"),
            waiting: VecDeque::new(),
        }
    }

    fn fill(&mut self, talk: &Arc<Talk>) {
        while self.busy.count() < CHAT_BUSY_MAX
            && let Some((place, member, what)) = self.waiting.pop_front()
        {
            let talk = talk.clone();
            self.busy
                .spawn(async move { answers::to_member(&talk, place, member, what).await });
        }
    }

    /// Waits until an answer is done; for ever where none is under way.
    async fn done(&mut self) {
        tokio::select! {
            () = self.busy.ended() => {}
            () = self.strangers.ended() => {}
        }
    }

    /// An update that the server has forgotten is answered.
    async fn answer(&mut self, talk: &Arc<Talk>, taken: Taken) {
        let talk = talk.clone();
        let update = match taken {
            Taken::Stopped(place, said) => {
                self.busy
                    .spawn(async move { talk.say_now(&place.chat, &said).await });
                return;
            }
            Taken::Other(update) => update,
        };
        match read(&talk, update).await {
            Some((place, Err(refusal), what))
                if self.strangers.count() < CHAT_STRANGERS_BUSY_MAX =>
            {
                self.strangers.spawn(async move {
                    answers::to_stranger(&talk, place, refusal, what).await;
                });
            }
            None | Some((_, Err(_), _)) => {}
            Some((place, Ok(member), what)) => match self.waiting.len() {
                0..CHAT_WAITING_MAX => self.waiting.push_back((place, *member, what)),
                _ => {
                    let title = talk.kind.title();
                    tracing::warn!("a message to the {title} bot is not answered: too many wait");
                }
            },
        }
    }
}

/// Asks for the updates from a number on, after a pause.
fn ask(
    talk: &Talk,
    from: i64,
    pause: Duration,
    (wait, most): (Duration, Option<Duration>),
) -> BoxFuture<'static, Result<Vec<Update>, Fault>> {
    let chats = talk.chats.clone();
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        let asked = chats.updates(from, wait);
        let late = |_| Err(Fault::Lost("the server did not answer in time".to_owned()));
        match most {
            None => asked.await,
            Some(most) => tokio::time::timeout(most, asked).await.unwrap_or_else(late),
        }
    })
}

/// Notes for people that the server answers, and what it says of others that take the updates of the same bot.
fn is_heard(talk: &Talk) {
    talk.door.channel_bot_heard(talk.kind);
    let others = talk.chats.others().unwrap_or_default();
    let beside = (others > 0).then(|| {
        format!(
            "{others} more connections of this app are open: another program uses its tokens and gets some of the messages, \
             unless an earlier connection has only not ended yet; end that program, or give this node an app of its own"
        )
    });
    let bot = Bot {
        name: Some(talk.bot.name.clone()),
        problem: beside,
        stands_by: None,
    };
    if talk.door.channel_bot(talk.kind).as_ref() != Some(&bot) {
        talk.door.channel_bot_is(talk.kind, bot);
    }
}

/// Whether others of the same bot have been counted for long, one of which may be a node that does not hear this one and answers
/// too. `since` is when they were counted first.
fn yields(talk: &Talk, since: &mut Option<Instant>) -> bool {
    let counted = talk.chats.others() > Some(0);
    *since = counted.then(|| since.unwrap_or_else(Instant::now));
    let most = Duration::from_millis(ANSWERING_CONFLICT_MS);
    let answering = talk.door.answering(talk.kind);
    since.is_some_and(|since| since.elapsed() > most)
        && answering.is_shared()
        && !answering.hears_all()
}

/// Takes updates and answers them, each once. That one was taken is on disk, and the server has forgotten it, before it is
/// answered: so neither this node after a crash nor another that takes the bot over answers it again. A stop alone is carried
/// out before its update counts as taken. Each request confirms what came before it.
pub(super) async fn poll(talk: &Arc<Talk>) -> Ended {
    let answering = talk.door.answering(talk.kind);
    let mut pause = Pause::default();
    // From the first that the server has not forgotten; those that were taken before are known.
    let mut next = 0;
    let mut asked = ask(talk, next, Duration::ZERO, patience(talk, false));
    let (mut pending, mut lanes) = (Vec::new(), Lanes::new(talk));
    let (mut contact, mut conflict) = (Instant::now(), None::<Instant>);
    let mut beside = None;
    loop {
        lanes.fill(talk);
        let answer = tokio::select! {
            answer = &mut asked => answer,
            () = lanes.done() => continue,
        };
        if !answering.speaks() {
            return Ended::Lost;
        }
        let wait = match answer {
            Ok(updates) => {
                contact = Instant::now();
                (conflict, pause) = (None, Pause::default());
                answering.is_well(true);
                is_heard(talk);
                if yields(talk, &mut beside) {
                    answering.rests();
                    return Ended::Lost;
                }
                if !pending.is_empty() {
                    crash::point("chat", "confirmed");
                }
                for taken in std::mem::take(&mut pending) {
                    lanes.answer(talk, taken).await;
                }
                // The server numbers: a bot that was quiet for long may get lower numbers than before.
                if let Some(last) = updates.iter().map(|update| update.id).max() {
                    next = last.saturating_add(1);
                }
                let some = !updates.is_empty();
                pending = taken(talk, updates).await;
                // A server that has nothing new and does not wait for it is not asked without a pause.
                match some && !pending.is_empty() {
                    true => Duration::ZERO,
                    false => Duration::from_millis(CHAT_PAUSE_MIN_MS),
                }
            }
            Err(Fault::Conflict) => {
                let since = conflict.get_or_insert_with(Instant::now).elapsed();
                // Another node that looks whether this one is there is told by the next request.
                if since > Duration::from_millis(ANSWERING_CONTACT_MS) {
                    problem(talk, Fault::Conflict.to_string());
                }
                if since > Duration::from_millis(ANSWERING_CONFLICT_MS) {
                    answering.rests();
                    return Ended::Lost;
                }
                Duration::from_millis(CHAT_PAUSE_MIN_MS)
            }
            Err(fault) => {
                problem(talk, fault.to_string());
                if matches!(fault, Fault::Token(_)) {
                    return Ended::Token;
                }
                answering.is_well(matches!(fault, Fault::Later(_)));
                let away = contact.elapsed() > Duration::from_millis(ANSWERING_CONTACT_MS);
                if away && answering.is_shared() {
                    answering.lets_go();
                    return Ended::Lost;
                }
                pause.after(&fault)
            }
        };
        asked = ask(talk, next, wait, patience(talk, !pending.is_empty()));
    }
}

/// Whether an update is new here. One that cannot be written down is not answered: it may come again.
async fn take(talk: &Talk, update: &Update) -> bool {
    let taken = talk
        .door
        .channel_take_update(talk.kind, &talk.bot.id, update.id);
    match taken.await {
        Ok(new) => new,
        Err(refusal) => {
            tracing::error!("an update of the bot is not answered: {refusal}");
            false
        }
    }
}
