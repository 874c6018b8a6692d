//! One connection from its first message to its end: this node is let in, the gateway says who it is and what it has, and questions
//! go back and forth.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::super::{Ask, Secrets, State, is_name};
use super::OpenClaw;
use super::hello::{self, Challenge, Refused, Shown};
use super::link::{Gone, Link};
use super::reading::{agents, said, sessions};
use super::runs::{Ticket, too_long};
use crate::domain::base::limits::{
    GATEWAY_ANSWER_MS, GATEWAY_FIRST_MAX_BYTES, GATEWAY_LOOK_MS, GATEWAY_RUNS_MAX,
};
use crate::domain::base::text::seen as shown_in_a_line;

/// What the connection is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Ask a question.
    Ask(Ask, Ticket),
    /// Nobody waits for the answer to this question any more.
    Leave(String),
}

/// How a connection ended.
pub(super) enum Ended {
    /// This node wants it.
    Stopped,
    /// It broke off, or never stood.
    Lost { why: String, was_ready: bool },
    /// The gateway is not ready; the pause, in milliseconds.
    Starting(u64),
    /// A person must let this node in; the request there.
    Pairing(String),
    /// The token that the gateway gave is forgotten, and the other one is tried.
    OtherToken,
    /// A person has to do something.
    Failed(String),
}

impl From<Gone> for Ended {
    fn from(gone: Gone) -> Self {
        Self::Lost {
            why: gone.in_words(),
            was_ready: false,
        }
    }
}

/// What a request was for.
#[derive(Debug)]
pub(super) enum Asked {
    Health,
    Agents,
    Sessions,
    Send(String),
    History(String),
    Nothing,
}

/// A question that the gateway has.
pub(super) struct Going {
    pub(super) session: String,
    pub(super) ticket: Ticket,
    /// What asks it once more, for one that was asked before this connection: the gateway tells what becomes of it.
    pub(super) again: Option<Value>,
    /// Whether it was there when the gateway was last asked what it has.
    pub(super) was_there: bool,
}

/// A connection that is let in.
pub(super) struct Talk<'a> {
    pub(super) of: &'a OpenClaw,
    link: Link,
    pub(super) process: Option<String>,
    asked: BTreeMap<String, Asked>,
    pub(super) going: BTreeMap<String, Going>,
}

impl OpenClaw {
    /// One connection.
    pub(super) async fn connection(
        &self,
        inbox: &mut mpsc::Receiver<Order>,
        stop: &CancellationToken,
    ) -> Ended {
        let entered = async {
            let secrets = match self.parts.keeper.secrets().await {
                Ok(secrets) => secrets,
                Err(why) => return Err(Ended::Failed(why)),
            };
            let mut link = Link::open(&self.parts.address).await?;
            let tick = self.enter(&mut link, &secrets).await?;
            self.knows(&mut link, &secrets).await?;
            Ok((link, tick))
        };
        let entered = tokio::select! {
            biased;
            () = stop.cancelled() => return Ended::Stopped,
            entered = entered => entered,
        };
        let (link, tick) = match entered {
            Ok(entered) => entered,
            Err(ended) => return ended,
        };
        let mut talk = Talk {
            of: self,
            link,
            process: self.seen.borrow().process.clone(),
            asked: BTreeMap::new(),
            going: BTreeMap::new(),
        };
        let gone = talk.goes_on(inbox, stop, tick).await;
        // What the gateway runs goes on there; that one message was too large is the end of the one question it can belong to.
        let only = talk.going.len() == 1;
        for going in talk.going.values() {
            match &gone {
                Some(Gone::TooLarge) if only => going.ticket.ends(Err(too_long())),
                Some(gone) => going.ticket.is_cut_off(&gone.in_words()),
                None => going.ticket.is_cut_off("the node ends this connection"),
            }
        }
        match gone {
            Some(gone) => Ended::Lost {
                why: gone.in_words(),
                was_ready: true,
            },
            None => {
                talk.link.close().await;
                Ended::Stopped
            }
        }
    }

    /// Is let in; how often the gateway is heard at least, in milliseconds.
    async fn enter(&self, link: &mut Link, secrets: &Secrets) -> Result<u64, Ended> {
        let first = link.first().await?;
        let small = first.to_string().len() <= GATEWAY_FIRST_MAX_BYTES;
        let challenge = Challenge::of(&first).filter(|_| small);
        let challenge = challenge.ok_or_else(|| {
            Ended::Failed(
                "what answers at this address is no OpenClaw gateway: look at the address"
                    .to_owned(),
            )
        })?;
        let shown = match secrets.device_token {
            Some(_) => Shown::Own,
            None => Shown::Given,
        };
        let params = hello::connect((&challenge, secrets), shown, &self.parts.display_name);
        let id = link.ask("connect", params).await?;
        let answer = link.answer(&id).await?;
        if answer["ok"] != true {
            return Err(self.refused(&answer["error"], shown).await);
        }
        let hello = &answer["payload"];
        if !hello::is_ours(&hello["protocol"]) {
            return Err(Ended::Failed(hello::protocol(&hello["protocol"])));
        }
        let version = hello["server"]["version"].as_str();
        let version = version.map(|version| shown_in_a_line(version, 40));
        let process = hello["server"]["bootId"].as_str();
        let process = process.filter(|id| is_name(id)).map(str::to_owned);
        let now = self.now();
        self.seen.send_modify(|seen| {
            seen.version = version;
            seen.process = process;
            seen.heard_at = Some(now);
        });
        if let Some(token) = hello["auth"]["deviceToken"].as_str() {
            let token = Zeroizing::new(token.to_owned());
            if secrets.device_token.as_ref() != Some(&token) {
                self.keeps(Some(token)).await;
            }
        }
        let tick = hello["policy"]["tickIntervalMs"].as_u64();
        Ok(tick.unwrap_or(30_000).clamp(1_000, 120_000))
    }

    async fn keeps(&self, token: Option<Zeroizing<String>>) {
        if let Err(error) = self.parts.keeper.keep_token(token).await {
            tracing::warn!(gateway = %self.parts.id, "the token of the gateway is not kept: {error}");
        }
    }

    async fn refused(&self, error: &Value, shown: Shown) -> Ended {
        match hello::refused(error, shown, &self.parts.id) {
            Refused::Starting(after) => Ended::Starting(after),
            Refused::Pairing(request) => Ended::Pairing(request),
            Refused::Failed(why) => Ended::Failed(why),
            Refused::OwnToken => {
                self.keeps(None).await;
                Ended::OtherToken
            }
            Refused::Lost(why) => Ended::Lost {
                why,
                was_ready: false,
            },
        }
    }

    /// Has the gateway say who it is and which agents it has; only then it is asked anything else.
    async fn knows(&self, link: &mut Link, secrets: &Secrets) -> Result<(), Ended> {
        let id = link.ask("gateway.identity.get", json!({})).await?;
        let answer = link.answer(&id).await?;
        if answer["error"]["code"] == "UNAVAILABLE" {
            let after = answer["error"]["retryAfterMs"].as_u64();
            return Err(Ended::Starting(after.unwrap_or(500)));
        }
        let is_id = |id: &&str| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let identity = answer["payload"]["deviceId"].as_str().filter(is_id);
        match (&secrets.identity, identity) {
            (Some(known), Some(identity)) if known == identity => {}
            (None, Some(identity)) => {
                let kept = self.parts.keeper.keep_identity(identity.to_owned()).await;
                kept.map_err(Ended::Failed)?;
            }
            (Some(_), _) => {
                return Err(Ended::Failed(
                    "another gateway answers at this address than the one that was added: remove it and add it again if that is right"
                        .to_owned(),
                ));
            }
            (None, None) => {
                return Err(Ended::Failed(
                    "the gateway does not say who it is (gateway.identity.get): update OpenClaw"
                        .to_owned(),
                ));
            }
        }
        let id = link.ask("agents.list", json!({})).await?;
        let answer = link.answer(&id).await?;
        if answer["ok"] != true {
            let error = &answer["error"];
            if error["code"] == "UNAVAILABLE" {
                let after = error["retryAfterMs"].as_u64();
                return Err(Ended::Starting(after.unwrap_or(500)));
            }
            let why = said(error["message"].as_str().unwrap_or_default());
            return Err(Ended::Failed(format!(
                "the gateway does not list its agents: {why}"
            )));
        }
        let listed = agents(&answer["payload"]);
        self.seen.send_modify(|seen| seen.agents = listed);
        self.stands(State::Ready);
        Ok(())
    }
}

impl Talk<'_> {
    /// Until the connection is gone; `None` where this node ends it.
    async fn goes_on(
        &mut self,
        inbox: &mut mpsc::Receiver<Order>,
        stop: &CancellationToken,
        tick: u64,
    ) -> Option<Gone> {
        let mut look = Instant::now();
        loop {
            let silent = self.link.heard + Duration::from_millis(tick * 2 + GATEWAY_ANSWER_MS);
            let takes = self.going.len() < GATEWAY_RUNS_MAX;
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                next = self.link.next() => match next {
                    Ok(message) => self.heard(&message).await,
                    Err(gone) => Err(gone),
                },
                order = inbox.recv(), if takes => match order {
                    Some(order) => self.does(order).await,
                    None => return None,
                },
                () = sleep_until(look) => {
                    look = Instant::now() + Duration::from_millis(GATEWAY_LOOK_MS);
                    self.looks().await
                }
                () = sleep_until(silent) => Err(Gone::Lost("the gateway is silent".to_owned())),
            };
            if let Err(gone) = step {
                return Some(gone);
            }
        }
    }

    pub(super) async fn asks(
        &mut self,
        method: &str,
        params: Value,
        what: Asked,
    ) -> Result<(), Gone> {
        if self.asked.len() > 4 * GATEWAY_RUNS_MAX {
            return Err(Gone::Lost("the gateway does not answer".to_owned()));
        }
        let id = self.link.ask(method, params).await?;
        self.asked.insert(id, what);
        Ok(())
    }

    async fn looks(&mut self) -> Result<(), Gone> {
        self.asks("health", json!({}), Asked::Health).await?;
        self.asks("agents.list", json!({}), Asked::Agents).await?;
        self.asks("sessions.list", json!({"limit": 1}), Asked::Sessions)
            .await?;
        // What is told of a run while there is no connection is not told again.
        let going = self.going.iter_mut();
        let again = going.filter_map(|(key, going)| {
            let was_there = std::mem::replace(&mut going.was_there, true);
            let params = going.again.clone().filter(|_| was_there)?;
            Some((key.clone(), params))
        });
        for (key, params) in again.collect::<Vec<_>>() {
            self.asks("chat.send", params, Asked::Send(key)).await?;
        }
        Ok(())
    }

    async fn heard(&mut self, message: &Value) -> Result<(), Gone> {
        let now = self.of.now();
        self.of.seen.send_if_modified(|seen| {
            let news = seen
                .heard_at
                .is_none_or(|at| now.saturating_sub(at) > 5_000);
            seen.heard_at = Some(now);
            news
        });
        match message["type"].as_str() {
            Some("res") => self.answered(message).await,
            Some("event") => match message["event"].as_str() {
                Some("shutdown") => Err(Gone::Closes),
                Some("chat") => self.chat(&message["payload"]).await,
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn answered(&mut self, message: &Value) -> Result<(), Gone> {
        let id = message["id"].as_str().unwrap_or_default();
        let Some(asked) = self.asked.remove(id) else {
            return Ok(());
        };
        let (ok, payload) = (message["ok"] == true, &message["payload"]);
        match asked {
            Asked::Agents if ok => {
                let listed = agents(payload);
                self.of.seen.send_if_modified(|seen| {
                    let news = seen.agents != listed;
                    seen.agents = listed;
                    news
                });
            }
            Asked::Sessions if ok => {
                let count = sessions(payload);
                self.of.seen.send_if_modified(|seen| {
                    let news = seen.sessions != count;
                    seen.sessions = count;
                    news
                });
            }
            Asked::Send(key) if ok => return self.sent(&key, payload).await,
            Asked::Send(key) => self.not_sent(&key, &message["error"]),
            Asked::History(key) => self.remembered(&key, ok.then_some(payload)),
            _ => {}
        }
        Ok(())
    }
}
