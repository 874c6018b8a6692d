//! The readings of a device over HTTP: each takes a number from an answer. Those of one path share its answers, so that ten
//! readings of one document are one request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::client::{Ask, Client, NoAnswer};
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::point::Meter;
use crate::adapters::devices::value::number;
use crate::adapters::devices::{Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{HTTP_ANSWER_MAX_BYTES, HTTP_READING_MS};

/// The last content read at one path.
pub(super) struct Page {
    client: Client,
    path: String,
    clock: SharedClock,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// How many times it was read.
    number: u64,
    at_ms: u64,
    answer: Option<Result<Bytes, String>>,
}

impl Page {
    pub(super) fn new(client: Client, path: &str, clock: SharedClock) -> Self {
        Self {
            client,
            path: path.to_owned(),
            clock,
            last: Mutex::default(),
        }
    }

    /// An answer that is younger than `fresh_ms` and later than the one of this number, or else one that is read now; on
    /// a thread that may block.
    fn after(&self, used: u64, fresh_ms: u64) -> (u64, Result<Bytes, String>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let age_ms = self.clock.steady_ms().saturating_sub(last.at_ms);
        if last.number > used
            && age_ms < fresh_ms
            && let Some(answer) = &last.answer
        {
            return (last.number, answer.clone());
        }
        let asked = Handle::current().block_on(self.read());
        last.number += 1;
        last.at_ms = self.clock.steady_ms();
        last.answer = Some(asked.clone());
        (last.number, asked)
    }

    async fn read(&self) -> Result<Bytes, String> {
        let ask = Ask::get(&self.path);
        let limit = Duration::from_millis(HTTP_READING_MS);
        match timeout(limit, self.client.ask(&ask)).await {
            Ok(answer) => answer.map_err(NoAnswer::why),
            Err(_) => Err(format!(
                "{} has not answered within {HTTP_READING_MS} ms",
                self.client
            )),
        }
    }
}

/// One reading.
pub(super) struct HttpSensor {
    pub name: String,
    pub every: Option<Duration>,
    /// How old an answer may be that another reading asked for, in milliseconds.
    pub fresh_ms: u64,
    pub meter: Meter,
    pub page: Arc<Page>,
    /// Where in the JSON document that the answer is.
    pub json: Option<String>,
    /// The answer that it took last.
    pub used: u64,
    pub clock: SharedClock,
}

impl Sensor for HttpSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn interval(&self) -> Option<Duration> {
        self.every
    }

    fn untold(&mut self) {
        self.meter.untold();
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let (number_of, answer) = self.page.after(self.used, self.fresh_ms);
        self.used = number_of;
        let answer = answer.map_err(SensorError)?;
        let raw = number(&answer, self.json.as_deref(), HTTP_ANSWER_MAX_BYTES);
        let path = &self.page.path;
        let raw = raw.map_err(|why| SensorError(format!("{}{path}: {why}", self.page.client)))?;
        self.meter.read(raw, None, self.clock.steady_ms())
    }
}
