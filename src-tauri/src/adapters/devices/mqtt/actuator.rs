//! An actuator behind a broker: an operation is a fixed message, sent once and acknowledged by the broker.
//!
//! It is safe when the broker has its safe message and, where it says its state, when it has said since that it is.
//! A message of an earlier connection cannot come after that (`connection.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::broker::Broker;
use super::connection::{Client, Ear, Link, Plan, Untold};
use super::packet::{Heard, Message};
use crate::adapters::devices::template::filled;
use crate::adapters::devices::value::word;
use crate::adapters::devices::{Actuator, DriverError, Keeper, Position, Stands, unknown};
use crate::domain::base::Digest;
use crate::domain::base::limits::MQTT_SENT_MAX_BYTES;
use crate::domain::base::text::one_line;
use crate::domain::capability::Capability;
use crate::domain::gate::Act;

/// Characters of a state that are shown.
const STATE_SHOWN: usize = 40;

/// An operation: where and what is published. `{name}` in the payload stands for a parameter.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub topic: String,
    pub payload: String,
}

/// Where an actuator says its state.
#[derive(Debug, Clone)]
pub(super) struct Feedback {
    pub topic: String,
    /// Where in the JSON document that the message is.
    pub json: Option<String>,
    /// Its text in the safe state.
    pub safe: String,
}

/// An actuator as the configuration has it, checked.
pub(super) struct Settled {
    pub capability: Capability,
    pub operations: BTreeMap<String, Command>,
    pub safe: String,
    /// The message of the safe operation.
    pub safe_message: Message,
    pub feedback: Option<Feedback>,
    pub limit: Duration,
    pub broker: Broker,
    pub user: Option<String>,
    pub password: Option<String>,
    pub keeper: Arc<dyn Keeper>,
}

/// The actuator's reports on this connection.
#[derive(Debug, Clone, Default)]
struct Said {
    /// How many messages have come that the broker had not kept from some earlier time.
    count: u64,
    text: Option<String>,
    /// Whether the broker does not let us hear it.
    refused: bool,
}

/// Hears the state.
struct StateEar {
    json: Option<String>,
    said: watch::Sender<Said>,
}

impl Ear for StateEar {
    fn heard(&self, message: Heard) {
        if message.retained {
            return;
        }
        let text = message.payload.ok();
        let text = text.and_then(|bytes| word(&bytes, self.json.as_deref()));
        self.said.send_modify(|said| {
            said.count += 1;
            said.text = text;
        });
    }

    fn refused(&self, _: &str) {
        self.said.send_modify(|said| said.refused = true);
    }

    fn turned(&self, link: &Link) {
        if !matches!(link, Link::Up(_)) {
            self.said.send_modify(|said| {
                (said.text, said.refused) = (None, false);
            });
        }
    }
}

/// See the module.
pub(super) struct MqttDriver {
    settled: Settled,
    client: Client,
    link: watch::Receiver<Link>,
    said: watch::Receiver<Said>,
    /// The last operation, and the connection on which it was told to act.
    last: Mutex<(Option<String>, u64)>,
}

impl fmt::Debug for MqttDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MqttDriver({})", self.settled.capability)
    }
}

impl MqttDriver {
    /// The driver; it dials when it is made safe for the first time.
    pub(super) fn new(settled: Settled) -> Self {
        let (said, heard) = watch::channel(Said::default());
        let feedback = settled.feedback.as_ref();
        let ear = StateEar {
            json: feedback.and_then(|feedback| feedback.json.clone()),
            said,
        };
        let client = Client::new(Plan {
            broker: settled.broker.clone(),
            user: settled.user.clone(),
            password: settled.password.clone(),
            purpose: settled.capability.to_string(),
            will: Some(settled.safe_message.clone()),
            topics: feedback.map(|f| f.topic.clone()).into_iter().collect(),
            keeper: settled.keeper.clone(),
            ear: Arc::new(ear),
        });
        Self {
            link: client.link(),
            client,
            settled,
            said: heard,
            last: Mutex::default(),
        }
    }

    /// The connection that stands now.
    fn up(&self) -> Result<u64, String> {
        match &*self.link.borrow() {
            Link::Up(number) => Ok(*number),
            Link::Down(why) => Err(why.clone()),
            Link::Trying => Err(format!("{} is not connected yet", self.settled.broker)),
        }
    }

    /// As [`MqttDriver::up`]; the first connection is waited for.
    async fn once_tried(&self) -> Result<u64, String> {
        self.client.start();
        let mut link = self.link.clone();
        // An error means that the connection's thread is gone, which the link says.
        let _ = link.wait_for(|link| *link != Link::Trying).await;
        self.up()
    }

    fn is_after(&self, what: &str, on: Option<u64>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.0 = Some(what.to_owned());
        last.1 = on.unwrap_or(last.1);
    }

    async fn start(&self, act: Act) -> Result<(), DriverError> {
        let action = act.action();
        let operation = action.operation.as_str();
        let command = self.settled.operations.get(operation);
        let command = command.ok_or_else(|| unknown(self, operation))?;
        let failed = |why: String| DriverError::Failed(why);
        let filled = filled([&command.payload], &action.params);
        let [payload] = filled.map_err(failed)?;
        if payload.len() > MQTT_SENT_MAX_BYTES {
            return Err(failed("its message is too long".to_owned()));
        }
        let message = Message {
            topic: command.topic.clone(),
            payload: payload.into_bytes(),
        };
        let on = self.up().map_err(failed)?;
        self.is_after(operation, Some(on));
        let told = tokio::time::timeout(self.settled.limit, self.client.tell(&message, on)).await;
        match told {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Untold::Not(why))) => Err(failed(why)),
            Ok(Err(Untold::Maybe(why))) => Err(DriverError::Unanswered(why)),
            Err(_) => Err(DriverError::Unanswered(format!(
                "{} did not acknowledge it within {} s",
                self.settled.broker,
                self.settled.limit.as_secs()
            ))),
        }
    }

    async fn secure(&self) -> Result<(), DriverError> {
        let failed = |why: String| DriverError::Failed(why);
        let on = self.once_tried().await.map_err(failed)?;
        let mut said = self.said.clone();
        let before = said.borrow_and_update().count;
        let told = self.client.tell(&self.settled.safe_message, on).await;
        told.map_err(|untold| match untold {
            Untold::Not(why) | Untold::Maybe(why) => DriverError::Failed(why),
        })?;
        if let Some(feedback) = &self.settled.feedback {
            let is_safe = |said: &Said| {
                said.refused || said.count > before && said.text.as_deref() == Some(&*feedback.safe)
            };
            let gone = |_| DriverError::Failed("the connection is gone".to_owned());
            let said = said.wait_for(is_safe).await.map_err(gone)?;
            if said.refused {
                let topic = &feedback.topic;
                return Err(failed(format!(
                    "the broker does not let this user hear {topic}"
                )));
            }
        }
        self.is_after(&self.settled.safe, None);
        Ok(())
    }

    /// Why making safe took too long.
    fn too_slow(&self) -> DriverError {
        let sec = self.settled.limit.as_secs();
        let said = self.said.borrow();
        DriverError::Failed(match (&self.settled.feedback, self.up()) {
            (_, Err(why)) => why,
            (Some(feedback), Ok(_)) => {
                let text = said.text.as_deref().unwrap_or("nothing that is read");
                let (text, topic) = (one_line(text, STATE_SHOWN), &feedback.topic);
                format!(
                    "{topic} did not say {:?} within {sec} s; last it said {text:?}",
                    feedback.safe
                )
            }
            (None, Ok(_)) => format!(
                "{} did not acknowledge it within {sec} s",
                self.settled.broker
            ),
        })
    }
}

impl Actuator for MqttDriver {
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
        let safe = &self.settled.safe_message;
        let way = (self.settled.broker.to_string(), &safe.topic, &safe.payload);
        let told = serde_json::to_vec(&way).ok()?;
        Some(Digest::of(&[&told]))
    }

    fn arm<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            self.up().map_err(DriverError::Failed)?;
            match self.stands().await {
                Stands::Away(said) => Err(DriverError::Astray(said)),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        self.start(act).boxed()
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            let made = tokio::time::timeout(self.settled.limit, self.secure()).await;
            made.unwrap_or_else(|_| Err(self.too_slow()))
        }
        .boxed()
    }

    fn safe_limit(&self) -> Duration {
        self.settled.limit + Duration::from_millis(500)
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        let mut link = self.link.clone();
        let now = self.up().unwrap_or_default();
        async move {
            let other = |link: &Link| matches!(link, Link::Up(number) if *number != now);
            if link.wait_for(other).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }

    fn lost(&self) -> BoxFuture<'_, String> {
        let mut link = self.link.clone();
        let on = self.last.lock().unwrap_or_else(PoisonError::into_inner).1;
        async move {
            // An error means that the connection's thread is gone.
            match link.wait_for(|link| *link != Link::Up(on)).await.as_deref() {
                Ok(Link::Down(why)) => format!("the connection to the broker was lost ({why})"),
                _ => "the connection to the broker was lost".to_owned(),
            }
        }
        .boxed()
    }

    fn stands(&self) -> BoxFuture<'_, Stands> {
        let said = self.said.borrow().text.clone();
        let safe = self.settled.feedback.as_ref().map(|f| &f.safe);
        let stands = match (said, safe) {
            (Some(said), Some(safe)) if self.up().is_ok() => match said == **safe {
                true => Stands::Safe,
                false => Stands::Away(one_line(&said, STATE_SHOWN)),
            },
            _ => Stands::Untold,
        };
        std::future::ready(stands).boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let said = self.said.borrow().text.clone();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let position = match (said, &last.0) {
            (Some(said), _) => one_line(&said, STATE_SHOWN),
            (None, Some(last)) => format!("after {last}"),
            (None, None) => "not known".to_owned(),
        };
        std::future::ready(Ok(Position { position })).boxed()
    }
}
