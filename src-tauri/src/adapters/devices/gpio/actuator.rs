//! A line that is switched: taken in its safe state when the node starts, and held from then on, so that no other program can
//! have it. It is safe when it reads so.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::pins::{Board, Output, Pin};
use crate::adapters::devices::{Actuator, DriverError, Position, Stands, unknown};
use crate::domain::base::Digest;
use crate::domain::base::limits::{GPIO_LIMIT_MS, GPIO_LOST_LOOK_MS};
use crate::domain::capability::Capability;
use crate::domain::gate::Act;

/// The parameter that the node itself acts on.
const DURATION: &str = "durationSec";

/// An operation: on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Does {
    /// Its name.
    pub name: String,
    /// Whether it switches on.
    pub on: bool,
}

/// An actuator, its configuration checked.
pub(super) struct LineDriver {
    /// Its name.
    pub capability: Capability,
    /// The line.
    pub pin: Pin,
    /// Its operations.
    pub operations: Vec<Does>,
    /// The one that is its safe state.
    pub safe: Does,
    /// The board that has the line.
    pub board: Arc<dyn Board>,
    /// The line, once it is held.
    pub held: Arc<Mutex<Option<Box<dyn Output>>>>,
    /// Held by what is being done: nothing is done beside it, and nothing that was called off comes later.
    pub work: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for LineDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineDriver({})", self.capability)
    }
}

/// The line, if it is held.
type Line = Option<Box<dyn Output>>;

impl LineDriver {
    /// Does something with the line on a thread that may block: behind a line may be a slow bus. Dropped before its turn it
    /// is not done.
    async fn with<T: Send + 'static>(
        &self,
        with: impl FnOnce(&mut Line) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let limit = Duration::from_millis(GPIO_LIMIT_MS);
        let turn = timeout(limit, self.work.clone().lock_owned()).await;
        let turn =
            turn.map_err(|_| DriverError::Failed("what was done before has not ended".to_owned()))?;
        let held = self.held.clone();
        let doing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            with(&mut held.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match timeout(limit, doing).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(DriverError::Unanswered(error.to_string())),
            Err(_) => Err(DriverError::Unanswered(format!(
                "the line did not answer within {GPIO_LIMIT_MS} ms"
            ))),
        }
    }

    async fn is_on(&self) -> Result<bool, DriverError> {
        let looked = self.with(|line| match line {
            Some(line) => line.is_on().map_err(DriverError::Failed),
            None => Err(DriverError::Failed(
                "the line is not held yet; it is taken when it is made safe".to_owned(),
            )),
        });
        looked.await
    }

    async fn start(&self, act: Act) -> Result<(), DriverError> {
        let action = act.action();
        let operation = self.operations.iter().find(|o| o.name == action.operation);
        let on = operation
            .ok_or_else(|| unknown(self, &action.operation))?
            .on;
        if let Some(param) = action.params.keys().find(|name| *name != DURATION) {
            return Err(DriverError::Failed(format!(
                "it has no parameter {param:?}"
            )));
        }
        let setting = self.with(move |line| match line {
            // What went wrong may have gone wrong after it was switched.
            Some(line) => line.set(on).map_err(DriverError::Unanswered),
            None => Err(DriverError::Failed("the line is not held".to_owned())),
        });
        setting.await
    }

    async fn secure(&self) -> Result<(), DriverError> {
        let (board, pin, safe) = (self.board.clone(), self.pin.clone(), self.safe.on);
        let securing = self.with(move |line| {
            let told = |line: &mut Box<dyn Output>| {
                line.set(safe)?;
                line.is_on()
            };
            // One that does not obey any more is taken anew: the chip may have been away.
            let again = match line.as_mut().map(told) {
                Some(Ok(on)) if on == safe => return Ok(()),
                Some(Ok(_)) => return Err(stays(safe)),
                Some(Err(_)) | None => {
                    *line = None;
                    board.output(&pin, safe)
                }
            };
            let mut taken = again.map_err(DriverError::Failed)?;
            let on = taken.is_on();
            *line = Some(taken);
            match on.map_err(DriverError::Failed)? {
                on if on == safe => Ok(()),
                _ => Err(stays(safe)),
            }
        });
        securing.await
    }

    /// Where it is, as far as it can be told without taking the line.
    async fn position(&self) -> Result<String, DriverError> {
        let (board, pin) = (self.board.clone(), self.pin.clone());
        let looked = self.with(move |line| match line {
            Some(line) => line.is_on().map(Some).map_err(DriverError::Failed),
            None => board.look(&pin).map(|()| None).map_err(DriverError::Failed),
        });
        Ok(match looked.await? {
            Some(on) => self.name_of(on),
            None => "free, and taken when the node starts".to_owned(),
        })
    }

    /// Waits until the line cannot be reached any more.
    async fn watch(&self) -> String {
        loop {
            sleep(Duration::from_millis(GPIO_LOST_LOOK_MS)).await;
            if let Err(error) = self.is_on().await {
                return error.to_string();
            }
        }
    }

    fn name_of(&self, on: bool) -> String {
        let named = self.operations.iter().find(|o| o.on == on);
        let word = if on { "on" } else { "off" };
        named.map_or_else(|| word.to_owned(), |o| o.name.clone())
    }
}

fn stays(safe: bool) -> DriverError {
    let (safe, is) = if safe { ("on", "off") } else { ("off", "on") };
    DriverError::Failed(format!("it was switched {safe} and reads {is}"))
}

impl Actuator for LineDriver {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn safe_operation(&self) -> Option<String> {
        Some(self.safe.name.clone())
    }

    fn operations(&self) -> Vec<String> {
        self.operations.iter().map(|o| o.name.clone()).collect()
    }

    fn safe_way(&self) -> Option<Digest> {
        let high = self.safe.on != self.pin.active_low;
        let told = serde_json::to_vec(&(&self.pin.chip, self.pin.line, high)).ok()?;
        Some(Digest::of(&[&told]))
    }

    fn arm<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            match self.is_on().await? {
                on if on == self.safe.on => Ok(()),
                on => Err(DriverError::Astray(self.name_of(on))),
            }
        }
        .boxed()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        self.start(act).boxed()
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.secure().boxed()
    }

    fn safe_limit(&self) -> Duration {
        Duration::from_millis(2 * GPIO_LIMIT_MS + 500)
    }

    fn lost(&self) -> BoxFuture<'_, String> {
        self.watch().boxed()
    }

    fn stands(&self) -> BoxFuture<'_, Stands> {
        async move {
            match self.is_on().await {
                Ok(on) if on == self.safe.on => Stands::Safe,
                Ok(on) => Stands::Away(self.name_of(on)),
                Err(_) => Stands::Untold,
            }
        }
        .boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        async move {
            Ok(Position {
                position: self.position().await?,
            })
        }
        .boxed()
    }
}
