//! An actuator over HTTP: an operation is a fixed request, made once. A request without an answer may have been carried
//! out, also late: it is safe only when the safe request was answered after the time in which that could be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::Method;
use tokio::time::{Instant, sleep, timeout};

use super::client::{Ask, Client, NoAnswer, Ready, check_path};
use crate::adapters::devices::template::filled;
use crate::adapters::devices::value::word;
use crate::adapters::devices::{Actuator, DriverError, Position, Stands, unknown};
use crate::domain::base::Digest;
use crate::domain::base::limits::{
    HTTP_MOVING_LOOK_MS, HTTP_MOVING_LOST, HTTP_SAFE_AGAIN_MS, HTTP_SAFE_LOOK_MS,
    HTTP_SENT_MAX_BYTES,
};
use crate::domain::base::text::one_line;
use crate::domain::capability::Capability;
use crate::domain::gate::Act;

/// Characters of a state that are shown.
const STATE_SHOWN: usize = 40;

/// An operation: a request, in which `{name}` stands for a parameter.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub method: Method,
    pub path: String,
    pub content_type: &'static str,
    pub body: String,
}

impl Command {
    /// As it is, for the way to the safe state, which has no parameters.
    fn plain(&self) -> Ask {
        Ask {
            method: self.method.clone(),
            path: self.path.clone(),
            content_type: self.content_type,
            body: self.body.clone(),
        }
    }
}

/// Where an actuator says its state.
#[derive(Debug, Clone)]
pub(super) struct Feedback {
    pub path: String,
    /// Where in the JSON document that the answer is.
    pub json: Option<String>,
    /// Its text in the safe state.
    pub safe: String,
}

/// An actuator as the configuration has it, checked.
pub(super) struct Settled {
    pub capability: Capability,
    pub operations: BTreeMap<String, Command>,
    pub safe: String,
    /// Request of the safe operation.
    pub safe_command: Command,
    pub feedback: Option<Feedback>,
    /// It has a state, and where it says that is not known: nothing proves that it is safe.
    pub unproven: bool,
    pub limit: Duration,
    pub client: Client,
}

/// Whether something that was asked may come yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Everything was answered.
    Nothing,
    /// It was not answered, or called off.
    Asked,
    /// It is not waited for after that.
    Until(Instant),
}

/// See the module.
pub(super) struct HttpDriver {
    settled: Settled,
    open: Mutex<Open>,
    /// The last operation sent.
    last: Mutex<Option<String>>,
    /// What the way back needs, from when it was reserved until it is safe: neither a name that is no longer found nor a file
    /// that is gone stands in that way.
    way: Mutex<Option<Arc<Ready>>>,
}

impl fmt::Debug for HttpDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpDriver({})", self.settled.capability)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpDriver {
    /// The driver. A request of an earlier run of this node may still be under way.
    pub(super) fn new(settled: Settled) -> Self {
        Self {
            settled,
            open: Mutex::new(Open::Asked),
            last: Mutex::default(),
            way: Mutex::default(),
        }
    }

    fn is_after(&self, what: &str) {
        *lock(&self.last) = Some(what.to_owned());
    }

    async fn start(&self, act: Act) -> Result<(), DriverError> {
        let action = act.action();
        let operation = action.operation.as_str();
        let command = self.settled.operations.get(operation);
        let command = command.ok_or_else(|| unknown(self, operation))?;
        let texts = [command.path.as_str(), command.body.as_str()];
        let filled = filled(texts, &action.params).and_then(|[path, body]| {
            check_path(&path)?;
            match body.len() > HTTP_SENT_MAX_BYTES {
                true => Err("its body is too long".to_owned()),
                false => Ok((path, body)),
            }
        });
        let (path, body) = filled.map_err(DriverError::Failed)?;
        let ask = Ask {
            method: command.method.clone(),
            path,
            content_type: command.content_type,
            body,
        };
        // Also where this is dropped before its end.
        *lock(&self.open) = Open::Asked;
        self.is_after(operation);
        let limit = self.settled.limit;
        match timeout(limit, self.settled.client.ask(&ask)).await {
            Ok(Ok(_)) => {
                *lock(&self.open) = Open::Nothing;
                Ok(())
            }
            Ok(Err(NoAnswer::Not(why))) => {
                *lock(&self.open) = Open::Nothing;
                Err(DriverError::Failed(why))
            }
            Ok(Err(NoAnswer::Maybe(why))) => Err(DriverError::Unanswered(why)),
            Err(_) => Err(DriverError::Unanswered(self.silent())),
        }
    }

    fn silent(&self) -> String {
        let (client, sec) = (&self.settled.client, self.settled.limit.as_secs());
        format!("{client} did not answer within {sec} s")
    }

    /// Asks by what was taken for the way back, and where there is nothing of it, or the device is not there any more, by
    /// what is known now.
    async fn ask_back(&self, ask: &Ask) -> Result<Bytes, NoAnswer> {
        let way = lock(&self.way).clone();
        let client = &self.settled.client;
        let Some(way) = way else {
            return client.ask(ask).await;
        };
        match client.ask_by(ask, &way).await {
            Err(NoAnswer::Not(why)) => match client.ready().await {
                Ok(now) => client.ask_by(ask, &now).await,
                Err(_) => Err(NoAnswer::Not(why)),
            },
            answer => answer,
        }
    }

    /// The device's reported state; `None` where it is not asked.
    async fn told(&self) -> Option<Result<String, String>> {
        let feedback = self.settled.feedback.as_ref()?;
        let ask = Ask::get(&feedback.path);
        let answer = self.ask_back(&ask).await.map_err(NoAnswer::why);
        Some(answer.and_then(|bytes| {
            let said = word(&bytes, feedback.json.as_deref());
            said.ok_or_else(|| format!("{} says nothing that is read", feedback.path))
        }))
    }

    async fn secure(&self) -> Result<(), DriverError> {
        // From the first try on: until then nothing of this run was asked after it.
        let open = {
            let mut open = lock(&self.open);
            if *open == Open::Asked {
                *open = Open::Until(Instant::now() + self.settled.limit);
            }
            *open
        };
        loop {
            let begun = Instant::now();
            let told = timeout(self.settled.limit, self.secure_once()).await;
            told.unwrap_or_else(|_| Err(self.too_slow()))?;
            match open {
                Open::Until(end) if begun < end => {
                    let pause = Duration::from_millis(HTTP_SAFE_AGAIN_MS);
                    sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
                }
                _ => break,
            }
        }
        *lock(&self.open) = Open::Nothing;
        *lock(&self.way) = None;
        self.is_after(&self.settled.safe);
        Ok(())
    }

    /// Makes the safe request, and looks whether it had its effect.
    async fn secure_once(&self) -> Result<(), DriverError> {
        let ask = self.settled.safe_command.plain();
        let told = self.ask_back(&ask).await;
        told.map_err(|no| DriverError::Failed(no.why()))?;
        if self.settled.unproven {
            return Err(DriverError::Failed(format!(
                "{} was told and has answered; where it says its state does not read, so nothing proves that it is safe",
                self.settled.client
            )));
        }
        let Some(feedback) = &self.settled.feedback else {
            return Ok(());
        };
        // The caller limits the time.
        loop {
            match self.told().await {
                Some(Ok(said)) if said == feedback.safe => return Ok(()),
                Some(Err(why)) => return Err(DriverError::Failed(why)),
                _ => sleep(Duration::from_millis(HTTP_SAFE_LOOK_MS)).await,
            }
        }
    }

    /// Why making safe took too long.
    fn too_slow(&self) -> DriverError {
        DriverError::Failed(match &self.settled.feedback {
            None => self.silent(),
            Some(feedback) => format!(
                "{} did not say {:?} at {} within {} s",
                self.settled.client,
                feedback.safe,
                feedback.path,
                self.settled.limit.as_secs()
            ),
        })
    }

    /// Looks at a device that moves: resolves when it does not answer any more, is back in its safe state by itself, or has not
    /// left it in the time that it has to say so.
    async fn watch(&self) -> String {
        let Some(feedback) = &self.settled.feedback else {
            return std::future::pending().await;
        };
        let (mut away, mut missed, mut stayed) = (false, 0, 0);
        let begun = Instant::now();
        loop {
            sleep(Duration::from_millis(HTTP_MOVING_LOOK_MS)).await;
            let told = timeout(self.settled.limit, self.told()).await;
            match told.unwrap_or_else(|_| Some(Err(self.silent()))) {
                Some(Ok(said)) if said == feedback.safe => {
                    if away {
                        return "the device says that it is in its safe state".to_owned();
                    }
                    (stayed, missed) = (stayed + 1, 0);
                    if stayed >= 2 && begun.elapsed() >= self.settled.limit {
                        return format!(
                            "the device answered the start and says at {} all the same that it is in its safe state: it did not move",
                            feedback.path
                        );
                    }
                }
                Some(Ok(_)) => (away, missed) = (true, 0),
                Some(Err(why)) => {
                    missed += 1;
                    if missed >= HTTP_MOVING_LOST {
                        return why;
                    }
                }
                None => return std::future::pending().await,
            }
        }
    }
}

impl Actuator for HttpDriver {
    fn capability(&self) -> &Capability {
        &self.settled.capability
    }

    fn safe_operation(&self) -> Option<String> {
        Some(self.settled.safe.clone())
    }

    fn operations(&self) -> Vec<String> {
        self.settled.operations.keys().cloned().collect()
    }

    fn safe_way(&self) -> Option<Digest> {
        let safe = &self.settled.safe_command;
        let place = self.settled.client.to_string();
        let way = (place, safe.method.as_str(), &safe.path, &safe.body);
        let told = serde_json::to_vec(&way).ok()?;
        Some(Digest::of(&[&told]))
    }

    fn arm<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            let looked = timeout(self.settled.limit, async {
                let ready = Arc::new(self.settled.client.ready().await?);
                *lock(&self.way) = Some(ready.clone());
                match self.told().await {
                    Some(told) => told.map(Some),
                    None => self.settled.client.reach(&ready).await.map(|()| None),
                }
            });
            let looked = looked.await.unwrap_or_else(|_| Err(self.silent()));
            match (looked.map_err(DriverError::Failed)?, &self.settled.feedback) {
                (Some(said), Some(feedback)) if said != feedback.safe => {
                    Err(DriverError::Astray(one_line(&said, STATE_SHOWN)))
                }
                _ => Ok(()),
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
        // A request under way is waited for, and the safe request made once more.
        self.settled.limit * 2 + Duration::from_millis(HTTP_SAFE_AGAIN_MS + 500)
    }

    fn lost(&self) -> BoxFuture<'_, String> {
        self.watch().boxed()
    }

    fn stands(&self) -> BoxFuture<'_, Stands> {
        async move {
            let Some(feedback) = &self.settled.feedback else {
                return Stands::Untold;
            };
            match timeout(self.settled.limit, self.told()).await {
                Ok(Some(Ok(said))) if said == feedback.safe => Stands::Safe,
                Ok(Some(Ok(said))) => Stands::Away(one_line(&said, STATE_SHOWN)),
                _ => Stands::Untold,
            }
        }
        .boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        async move {
            let told = timeout(self.settled.limit, self.told()).await;
            let position = match told.unwrap_or_else(|_| Some(Err(self.silent()))) {
                Some(said) => one_line(&said.map_err(DriverError::Failed)?, STATE_SHOWN),
                None => match &*lock(&self.last) {
                    Some(last) => format!("after {last}"),
                    None => "not known".to_owned(),
                },
            };
            Ok(Position { position })
        }
        .boxed()
    }
}
