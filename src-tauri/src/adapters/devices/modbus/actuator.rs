//! An actuator of a device: an action is one write, said once; the way to the safe state is a write that is read
//! back, again and again until it holds.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::link::{Beat, Link, Urgency};
use super::socket::Fault;
use super::value::Form;
use super::wire::{Ask, Span};
use crate::adapters::devices::{Actuator, DriverError, Position, Stands, unknown};
use crate::domain::base::Digest;
use crate::domain::base::limits::{
    MODBUS_ARMED_MS, MODBUS_BEATS_LOST, MODBUS_LOOK_MS, MODBUS_MOVING_LOOK_MS, MODBUS_NAME_MS,
};
use crate::domain::capability::{Capability, Params};
use crate::domain::gate::Act;

/// The parameter that the node itself acts on.
const DURATION: &str = "durationSec";

/// The value an operation writes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    /// Always these words.
    Fixed(Vec<u16>),
    /// The value of a parameter.
    From(From),
}

/// A value from a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct From {
    /// Which one.
    pub param: String,
    /// The parameter is the number in the register times this.
    pub scale: f64,
    /// Plus this.
    pub offset: f64,
    /// The least and the most that the parameter may be.
    pub bounds: [f64; 2],
    /// How the number lies in the registers.
    pub form: Form,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    /// Its name.
    pub name: String,
    /// Where it writes.
    pub span: Span,
    /// By the function that writes several.
    pub many: bool,
    /// Its value.
    pub written: Written,
}

impl Operation {
    fn ask(&self, words: Vec<u16>) -> Ask {
        Ask::Write {
            span: self.span,
            words,
            many: self.many,
        }
    }

    /// The registers it writes with these parameters.
    fn words(&self, params: &Params) -> Result<Vec<u16>, String> {
        let own = match &self.written {
            Written::Fixed(_) => None,
            Written::From(from) => Some(from.param.as_str()),
        };
        let strange = params
            .keys()
            .find(|name| *name != DURATION && Some(name.as_str()) != own);
        if let Some(name) = strange {
            return Err(format!(
                "{} has no parameter {name:?}; leave it out",
                self.name
            ));
        }
        match &self.written {
            Written::Fixed(words) => Ok(words.clone()),
            Written::From(from) => from.words(params),
        }
    }
}

impl From {
    fn words(&self, params: &Params) -> Result<Vec<u16>, String> {
        let From { param, bounds, .. } = self;
        let bad = |why: String| format!("parameter {param}: {why}");
        let given = params
            .get(param)
            .ok_or_else(|| bad("is missing".to_owned()))?;
        let value = match given {
            Value::Bool(is) => Some(f64::from(u8::from(*is))),
            Value::Number(number) => number.as_f64(),
            _ => None,
        };
        let value = value.ok_or_else(|| bad(format!("{given} is no number")))?;
        let [least, most] = *bounds;
        if !(least..=most).contains(&value) {
            return Err(bad(format!("{value} is beyond {least} to {most}")));
        }
        let raw = (value - self.offset) / self.scale;
        let raw = if self.form.is_whole() {
            raw.round()
        } else {
            raw
        };
        self.form.words(raw).map_err(bad)
    }
}

/// Where the device says that it is in its safe state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Feedback {
    /// Where.
    pub span: Span,
    /// How the number lies there.
    pub form: Form,
    /// The number in the safe state.
    pub value: f64,
    /// How far from it still counts.
    pub tolerance: f64,
    /// How long it may take to get there.
    pub within: Duration,
}

/// An actuator, its configuration checked.
pub(super) struct Mover {
    /// Its name.
    pub capability: Capability,
    /// Which actuator of the device it is.
    pub number: usize,
    /// The connection.
    pub link: Link,
    /// Its operations.
    pub operations: Vec<Operation>,
    /// The one that is its safe state, and what that writes.
    pub safe: (Operation, Vec<u16>),
    /// Where the device tells; without one what was written is read back.
    pub feedback: Option<Feedback>,
    /// Heartbeat while it is away from its safe state.
    pub beat: Option<Beat>,
    /// Whether a write may still be on its way of which nothing is known: one of an earlier process, or one that was not
    /// answered.
    pub doubtful: Mutex<bool>,
    /// Whether the last action wrote what the safe state is.
    pub stays: AtomicBool,
}

impl fmt::Debug for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mover").field(&self.capability).finish()
    }
}

impl Mover {
    fn doubt(&self, is: bool) {
        *self.doubtful.lock().unwrap_or_else(PoisonError::into_inner) = is;
    }

    fn is_doubtful(&self) -> bool {
        *self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> Duration {
        self.link.place().limit
    }

    fn within(&self) -> Duration {
        self.feedback
            .as_ref()
            .map_or(Duration::ZERO, |feedback| feedback.within)
    }

    async fn ask(&self, ask: Ask, urgency: Urgency) -> Result<Vec<u16>, DriverError> {
        let is_write = ask.is_write();
        let said = self.link.ask(ask, urgency).await;
        said.map_err(|fault| match fault {
            Fault::Unsent(why) | Fault::Refused { why, .. } => DriverError::Failed(why),
            Fault::Unanswered(why) if is_write => {
                DriverError::Unanswered(format!("{why}; whether it was done is not known"))
            }
            Fault::Unanswered(why) => DriverError::Failed(why),
        })
    }

    /// Checks that the way back can be reached, and begins the beat.
    async fn ready(&self) -> Result<(), DriverError> {
        let words = self.look(Urgency::Action).await?;
        if !self.is_safe(&words) {
            return Err(DriverError::Astray(self.shown(&words)));
        }
        let Some(beat) = &self.beat else {
            return Ok(());
        };
        let first = Ask::Write {
            span: beat.span,
            words: vec![beat.fixed.unwrap_or_default()],
            many: false,
        };
        self.ask(first, Urgency::Action).await?;
        self.link
            .beat(self.number, beat, Duration::from_millis(MODBUS_ARMED_MS));
        Ok(())
    }

    async fn start(&self, act: Act) -> Result<(), DriverError> {
        let action = act.action();
        let operation = self.operations.iter().find(|o| o.name == action.operation);
        let operation = operation.ok_or_else(|| unknown(self, &action.operation))?;
        let words = operation
            .words(&action.params)
            .map_err(DriverError::Failed)?;
        if operation.name == self.safe.0.name {
            return self.secure().await;
        }
        if let Some(beat) = &self.beat {
            let most = Duration::from_millis(act.run_ms().saturating_add(MODBUS_ARMED_MS));
            self.link.beat(self.number, beat, most);
        }
        let stays = operation.span == self.safe.0.span && words == self.safe.1;
        self.stays.store(stays, Ordering::Relaxed);
        // Dropped before it is known what came of it, it stays in doubt.
        let before = self.is_doubtful();
        self.doubt(true);
        let said = self.ask(operation.ask(words), Urgency::Action).await;
        if !matches!(said, Err(DriverError::Unanswered(_))) {
            self.doubt(before);
        }
        said.map(drop)
    }

    /// The words that tell whether it is in its safe state.
    async fn look(&self, urgency: Urgency) -> Result<Vec<u16>, DriverError> {
        let span = match &self.feedback {
            Some(feedback) => feedback.span,
            None => self.safe.0.span,
        };
        self.ask(Ask::Read(span), urgency).await
    }

    /// Whether these are the words of the safe state.
    fn is_safe(&self, words: &[u16]) -> bool {
        match &self.feedback {
            None => *words == *self.safe.1,
            Some(feedback) => {
                let found = feedback.form.number(words);
                found.is_some_and(|found| (found - feedback.value).abs() <= feedback.tolerance)
            }
        }
    }

    /// Where words that were read are, in words.
    fn shown(&self, words: &[u16]) -> String {
        let (span, form) = match &self.feedback {
            Some(feedback) => (feedback.span, Some(feedback.form)),
            None => (self.safe.0.span, None),
        };
        match form.and_then(|form| form.number(words)) {
            Some(number) => format!("{span} is {number}"),
            None => format!("{span} is {words:?}"),
        }
    }

    /// Writes the safe value and reads it back until it holds.
    async fn once_safe(&self) -> Result<(), DriverError> {
        let (operation, words) = &self.safe;
        self.ask(operation.ask(words.clone()), Urgency::Safety)
            .await?;
        let over = Instant::now() + self.within();
        loop {
            let found = self.look(Urgency::Safety).await?;
            if self.is_safe(&found) {
                return Ok(());
            }
            let pause = Duration::from_millis(MODBUS_LOOK_MS);
            if Instant::now() + pause > over {
                let shown = self.shown(&found);
                let why = format!("{} was written and accepted, and {shown}", operation.name);
                return Err(DriverError::Failed(why));
            }
            sleep(pause).await;
        }
    }

    async fn secure(&self) -> Result<(), DriverError> {
        // From here on the device may stop it by itself.
        self.link.rest(self.number);
        self.once_safe().await?;
        if self.is_doubtful() {
            // A write that was not answered may reach the device behind this one, on its old connection.
            sleep(self.limit()).await;
            self.once_safe().await?;
            self.doubt(false);
        }
        Ok(())
    }

    /// Resolves, with why, when an actuator that was moved does not stand any more where it was moved to, or cannot be read: its
    /// device may have started again, or somebody else has written to it.
    async fn changed(&self) -> String {
        let (mut moved, mut missed, mut stayed) = (None, 0, 0);
        let begun = Instant::now();
        if self.feedback.is_none() && self.stays.load(Ordering::Relaxed) {
            moved = Some(self.safe.1.clone());
        }
        loop {
            sleep(Duration::from_millis(MODBUS_MOVING_LOOK_MS)).await;
            let words = match self.look(Urgency::Action).await {
                Ok(words) => words,
                Err(fault) => {
                    missed += 1;
                    if missed >= MODBUS_BEATS_LOST {
                        return format!("where it stands cannot be read: {fault}");
                    }
                    continue;
                }
            };
            missed = 0;
            let away = !self.is_safe(&words);
            let stays = match (&self.feedback, &moved) {
                // What the device tells may follow later, and differ while it moves.
                (Some(_), None) => true,
                (Some(_), Some(_)) | (None, None) => away,
                (None, Some(before)) => *before == words,
            };
            if !stays {
                let shown = self.shown(&words);
                return format!("it does not stand where it was moved to: {shown}");
            }
            if away {
                moved = Some(words);
                continue;
            }
            stayed += 1;
            if self.feedback.is_some() && stayed >= 2 && begun.elapsed() >= self.within() {
                let shown = self.shown(&words);
                return format!("the write was accepted and it did not move: {shown}");
            }
        }
    }

    async fn position(&self) -> Result<Position, DriverError> {
        let words = self.look(Urgency::Action).await?;
        let position = match self.is_safe(&words) {
            true => self.safe.0.name.clone(),
            false => {
                let there = |o: &&Operation| {
                    let same = o.span == self.safe.0.span && self.feedback.is_none();
                    same && o.written == Written::Fixed(words.clone())
                };
                let named = self.operations.iter().find(there);
                named.map_or_else(|| self.shown(&words), |o| o.name.clone())
            }
        };
        Ok(Position { position })
    }
}

impl Actuator for Mover {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn safe_operation(&self) -> Option<String> {
        Some(self.safe.0.name.clone())
    }

    fn operations(&self) -> Vec<String> {
        self.operations.iter().map(|o| o.name.clone()).collect()
    }

    fn safe_way(&self) -> Option<Digest> {
        let place = self.link.place();
        let (operation, words) = &self.safe;
        let (table, at) = (operation.span.table.to_string(), operation.span.at);
        let told = serde_json::to_vec(&(&place.address, place.unit, table, at, words)).ok()?;
        Some(Digest::of(&[&told]))
    }

    fn arm<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.ready().boxed()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        self.start(act).boxed()
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.secure().boxed()
    }

    fn safe_limit(&self) -> Duration {
        // The request under way, a name, a connection, the write and the reading, twice, and the wait between.
        let once = self.link.slowest() * 5 + self.within() + Duration::from_millis(MODBUS_NAME_MS);
        once * 2 + self.limit() + Duration::from_millis(500)
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        self.link.back().boxed()
    }

    fn lost(&self) -> BoxFuture<'_, String> {
        async {
            tokio::select! {
                why = self.link.missed(self.number) => why,
                why = self.changed() => why,
            }
        }
        .boxed()
    }

    fn stands(&self) -> BoxFuture<'_, Stands> {
        async move {
            match self.look(Urgency::Action).await {
                Ok(words) if self.is_safe(&words) => Stands::Safe,
                Ok(words) => Stands::Away(self.shown(&words)),
                Err(_) => Stands::Untold,
            }
        }
        .boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        self.position().boxed()
    }
}
