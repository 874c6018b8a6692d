//! The desk of this node's messages: each is written down before it counts as sent, and worked on until it is over, also after
//! the node has died meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::deliver::deliver;
use super::{Course, Messages, offers, runs};
use crate::adapters::store::Class;
use crate::adapters::store::messages as rows;
use crate::domain::base::limits::{
    MESSAGE_TEXT_MAX_BYTES, MESSAGE_TIMEOUT_MAX_MS, MESSAGE_TIMEOUT_MS, MESSAGES_AT_ONCE,
    MESSAGES_OPEN_MAX, NAME_MAX_BYTES, RUN_KEPT_MS,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::domain::coordination::choose::Place;
use crate::domain::coordination::message::{Message, MessageState};
use crate::node::context::{DURABLE, Event, Severity, store_refusal};

/// How often it is looked at whether something is due.
const LOOK: Duration = Duration::from_millis(1_000);
/// How often what is over is pruned.
const PRUNE_MS: u64 = 600_000;

/// A message as its sender gives it.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// The text.
    pub text: String,
    /// The surface.
    pub source: String,
    /// Who sends it, as that surface names them.
    pub sender: String,
    /// A name that the sender gives it: a second message of one name is the first.
    pub key: Option<String>,
    /// Where it is to go.
    pub place: Place,
    /// The greater, the sooner; from -9 to 9.
    pub priority: i64,
    /// How long it may take, in milliseconds.
    pub timeout_ms: Option<u64>,
}

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

fn checked(sent: &Sent) -> Result<(), Refusal> {
    if sent.text.trim().is_empty() || sent.text.len() > MESSAGE_TEXT_MAX_BYTES {
        return Err(invalid(format!(
            "text: 1 to {MESSAGE_TEXT_MAX_BYTES} bytes"
        )));
    }
    let named = |text: &str| {
        !text.is_empty() && text.len() <= NAME_MAX_BYTES && one_line(text, NAME_MAX_BYTES) == text
    };
    let place = [
        &sent.place.node,
        &sent.place.group,
        &sent.place.agent,
        &sent.key,
    ];
    let texts = place
        .into_iter()
        .flatten()
        .chain([&sent.source, &sent.sender]);
    if !texts.into_iter().all(|text| named(text)) {
        return Err(invalid(format!(
            "node, group, agent, key, source and sender: 1 to {NAME_MAX_BYTES} bytes in one line each"
        )));
    }
    if !(-9..=9).contains(&sent.priority) {
        return Err(invalid("priority: a whole number from -9 to 9"));
    }
    match sent.timeout_ms {
        Some(ms) if !(1_000..=MESSAGE_TIMEOUT_MAX_MS).contains(&ms) => Err(invalid(format!(
            "timeoutMs: from 1000 to {MESSAGE_TIMEOUT_MAX_MS}"
        ))),
        _ => Ok(()),
    }
}

/// What came of a write.
enum Taken {
    New(Message),
    Known(Message),
    Full,
}

impl Messages {
    /// Takes a message: it is on the disk when this returns. One with a key that its sender has given before is that one.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `CONFLICT` for a key that stands for another text, `BUSY` where too many wait, or what the store says.
    pub async fn send(&self, sent: Sent) -> Result<Message, Refusal> {
        checked(&sent)?;
        let now = self.now();
        let timeout = sent.timeout_ms.unwrap_or(MESSAGE_TIMEOUT_MS);
        let message = Message {
            id: self.fresh_id()?.to_string(),
            text: sent.text,
            source: sent.source,
            sender: sent.sender,
            key: sent.key,
            place: sent.place,
            priority: sent.priority,
            created_at: now,
            expires_at: now.plus(timeout),
            state: MessageState::Queued,
            next_at: TimeMs(0),
            rule: None,
            retry: Default::default(),
            attempts: Vec::new(),
            answer: None,
            why: None,
            ended_at: None,
        };
        let text = message.text.clone();
        let write = move |c: &rusqlite::Connection| {
            if let Some(key) = &message.key
                && let Some(known) = rows::by_key(c, &message.source, &message.sender, key)?
            {
                return Ok(Taken::Known(known));
            }
            if rows::open(c)? >= MESSAGES_OPEN_MAX {
                return Ok(Taken::Full);
            }
            rows::put(c, &message)?;
            Ok(Taken::New(message))
        };
        let taken = self.store.write(DURABLE, "message", write).await;
        match taken.map_err(|e| store_refusal(&e))? {
            Taken::New(message) => {
                self.wake_soon();
                Ok(message)
            }
            Taken::Known(message) if message.text == text => Ok(message),
            Taken::Known(message) => Err(Refusal::new(
                Code::Conflict,
                format!(
                    "the key stands for the message {} with another text",
                    message.id
                ),
            )),
            Taken::Full => Err(Refusal::new(
                Code::Busy,
                format!("{MESSAGES_OPEN_MAX} messages are not over; cancel some, or wait"),
            )),
        }
    }

    /// Takes a message back. What an agent has done by then stays done.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` for one that is over, or what the store says.
    pub async fn cancel(&self, id: &str, by: &str) -> Result<Message, Refusal> {
        // It may be sent again between two looks.
        for _ in 0..3 {
            let (now, why) = (self.now(), format!("{by} took it back"));
            let cancelled = self
                .change(id, DURABLE, move |message| {
                    message.state = MessageState::Cancelled;
                    message.why = Some(why);
                    message.ended_at = Some(now);
                })
                .await?;
            if let Some(message) = cancelled {
                if let Some(course) = self.course().get(id) {
                    course.cancel.cancel();
                }
                return Ok(message);
            }
            let message = self.message(id).await?;
            if message.state.is_over() {
                let why = format!("the message is {} already", message.state.as_str());
                return Err(Refusal::new(Code::Conflict, why));
            }
        }
        let why = "the message was sent again meanwhile; try once more";
        Err(Refusal::new(Code::Conflict, why))
    }

    /// Sends a message once more that is over and was not answered; its time begins anew.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` for one that was answered or is under way, `BUSY`, or what the store says.
    pub async fn send_again(&self, id: &str) -> Result<Message, Refusal> {
        let (of, now) = (id.to_owned(), self.now());
        let write = move |c: &rusqlite::Connection| {
            let Some(mut message) = rows::get(c, &of)? else {
                return Ok(None);
            };
            if !message.state.may_be_sent_again() {
                let why = format!("the message is {}", message.state.as_str());
                return Ok(Some(Err(Refusal::new(Code::Conflict, why))));
            }
            if rows::open(c)? >= MESSAGES_OPEN_MAX {
                let why = format!("{MESSAGES_OPEN_MAX} messages are not over");
                return Ok(Some(Err(Refusal::new(Code::Busy, why))));
            }
            let timeout = message.expires_at.since(message.created_at).max(1_000);
            message.expires_at = now.plus(timeout);
            message.state = MessageState::Queued;
            message.next_at = TimeMs(0);
            message.why = None;
            message.ended_at = None;
            rows::put(c, &message)?;
            Ok(Some(Ok(message)))
        };
        let written = self.store.write(DURABLE, "message", write).await;
        let message = written
            .map_err(|e| store_refusal(&e))?
            .unwrap_or_else(|| Err(none()))?;
        self.wake_soon();
        Ok(message)
    }

    /// One message.
    ///
    /// # Errors
    /// `NOT_FOUND`, or what the store says.
    pub async fn message(&self, id: &str) -> Result<Message, Refusal> {
        let of = id.to_owned();
        let read = self
            .store
            .read_committed("message", move |c| rows::get(c, &of));
        read.await.map_err(|e| store_refusal(&e))?.ok_or_else(none)
    }

    /// Changes a message that is not over; `None` if there is none, or it is over.
    pub(super) async fn change(
        &self,
        id: &str,
        class: Class,
        change: impl FnOnce(&mut Message) + Send + 'static,
    ) -> Result<Option<Message>, Refusal> {
        let of = id.to_owned();
        let write = move |c: &rusqlite::Connection| rows::change(c, &of, change);
        let changed = self.store.write(class, "message", write).await;
        changed.map_err(|e| store_refusal(&e))
    }

    /// Tells people that a message is over and was not answered.
    pub(super) async fn tell_unanswered(&self, message: &Message) {
        let why = message.why.as_deref().unwrap_or("no reason is known");
        let state = message.state.as_str();
        let said = format!("A message of {} is {state}: {why}", message.sender);
        let data = json!({"message": message.id, "state": state});
        self.journal
            .record(Event::MessageUnanswered, Severity::Warning, &said, data)
            .await;
    }

    /// Has the desk look at what is due.
    pub(super) fn wake_soon(&self) {
        self.0.due.notify_one();
    }

    /// Has every message that waits look for a node again.
    pub(super) fn wake(&self) {
        self.0.awake.store(true, Ordering::Release);
        self.wake_soon();
    }
}

fn none() -> Refusal {
    Refusal::new(Code::NotFound, "there is no message of this id")
}

/// Works on the messages of this node until it stops.
pub async fn run(messages: Messages) {
    messages
        .tasks
        .essential("message offers", offers::run(messages.clone()));
    if let Err(error) = runs::recover(&messages).await {
        tracing::error!("runs that were cut off are not told from those under way: {error}");
    }
    let left = messages
        .store
        .read("messages under way", rows::under_way)
        .await;
    match left {
        Ok(left) => left
            .into_iter()
            .for_each(|message| begin(&messages, message)),
        Err(error) => tracing::error!("messages that were under way are not taken up: {error}"),
    }
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pruned = None;
    loop {
        tokio::select! {
            biased;
            () = messages.tasks.stop().cancelled() => return,
            () = messages.0.due.notified() => {}
            _ = tick.tick() => {}
        }
        if let Err(error) = look(&messages).await {
            tracing::warn!("messages wait: {}", error.message);
        }
        let uptime = messages.clock.steady_ms();
        if pruned.is_none_or(|at| uptime.saturating_sub(at) > PRUNE_MS) {
            pruned = Some(uptime);
            let before = TimeMs(messages.now().0.saturating_sub(RUN_KEPT_MS));
            let prune = move |c: &rusqlite::Connection| rows::prune(c, before);
            if let Err(error) = messages
                .store
                .write(Class::Relaxed, "messages", prune)
                .await
            {
                tracing::warn!("messages that are over are not pruned: {error}");
            }
        }
    }
}

/// Begins what is due, and ends what waited too long.
async fn look(messages: &Messages) -> Result<(), Refusal> {
    let now = messages.now();
    if messages.0.awake.swap(false, Ordering::AcqRel) {
        let woken = messages
            .store
            .write(Class::Relaxed, "messages", rows::wake)
            .await;
        woken.map_err(|e| store_refusal(&e))?;
    }
    let read = move |c: &rusqlite::Connection| rows::overdue(c, now, MESSAGES_AT_ONCE);
    let overdue = messages.store.read_committed("messages", read).await;
    let overdue = overdue.map_err(|e| store_refusal(&e))?;
    if !overdue.is_empty() {
        messages.wake_soon();
    }
    for message in overdue {
        // One that has just been begun is ended by its own task.
        if messages.course().contains_key(&message.id) {
            continue;
        }
        let expire = move |message: &mut Message| {
            let waited = message.why.take();
            let waited = waited.unwrap_or_else(|| "no node took it in time".to_owned());
            message.why = Some(waited);
            message.state = MessageState::Expired;
            message.ended_at = Some(now);
        };
        if let Some(message) = messages.change(&message.id, DURABLE, expire).await? {
            messages.tell_unanswered(&message).await;
        }
    }
    let free = MESSAGES_AT_ONCE.saturating_sub(messages.course().len());
    if free == 0 {
        return Ok(());
    }
    // Some of those that are due may have been begun.
    let read = move |c: &rusqlite::Connection| rows::due(c, now, 2 * MESSAGES_AT_ONCE);
    let due = messages.store.read_committed("messages", read).await;
    let due = due.map_err(|e| store_refusal(&e))?;
    let new: Vec<Message> = {
        let course = messages.course();
        let new = due.into_iter().filter(|m| !course.contains_key(&m.id));
        new.take(free).collect()
    };
    new.into_iter().for_each(|message| begin(messages, message));
    Ok(())
}

/// Begins to work on a message.
fn begin(messages: &Messages, message: Message) {
    let course = Course::default();
    let id = message.id.clone();
    messages.course().insert(id.clone(), course.clone());
    let room = messages.clone();
    let task = Box::pin(async move {
        tokio::select! {
            biased;
            () = room.tasks.stop().cancelled() => {}
            () = deliver(&room, message, &course.cancel) => {}
        }
        room.course().remove(&id);
        room.wake_soon();
    });
    messages.tasks.passing("message", task);
}
