//! The questions of one connection: sent, gone on with, answered, taken back.

use serde_json::{Value, json};

use super::super::{AskError, Before};
use super::converse::{Asked, Going, Order, Talk};
use super::link::Gone;
use super::reading::{answer_of, said, text_of};
use super::runs::too_long;
use super::wording::as_text;
use crate::domain::base::limits::{GATEWAY_ANSWER_MAX_BYTES, GATEWAY_KEY_KEPT_MS};

impl Talk<'_> {
    pub(super) async fn does(&mut self, order: Order) -> Result<(), Gone> {
        match order {
            Order::Ask(ask, ticket) => {
                if self.going.contains_key(&ask.key) {
                    let why = "the same question is on its way already";
                    ticket.ends(Err(AskError::Unknown(why.to_owned())));
                    return Ok(());
                }
                let session = format!("agent:{}:clawmesh:{}", ask.agent, ask.session);
                let params = json!({
                    "sessionKey": session,
                    "message": as_text(&ask.text),
                    "idempotencyKey": ask.key,
                });
                ticket.is_sent();
                if let Some(before) = &ask.before
                    && let Err(why) = self.knows_key(before)
                {
                    ticket.ends(Err(AskError::Unknown(why.to_owned())));
                    return Ok(());
                }
                let going = Going {
                    session,
                    ticket,
                    again: ask.before.map(|_| params.clone()),
                    was_there: false,
                };
                self.going.insert(ask.key.clone(), going);
                self.asks("chat.send", params, Asked::Send(ask.key)).await
            }
            Order::Leave(key) => match self.going.remove(&key) {
                Some(going) => self.aborts(&going.session, &key).await,
                None => Ok(()),
            },
        }
    }

    /// Whether this gateway runs nothing where a question is asked that it was asked then.
    fn knows_key(&self, before: &Before) -> Result<(), &'static str> {
        if self.process.as_ref() != Some(&before.process) {
            return Err("the gateway was started again meanwhile");
        }
        let age = self.of.now().checked_sub(before.at);
        match age.is_some_and(|age| age < GATEWAY_KEY_KEPT_MS) {
            true => Ok(()),
            false => Err("it was asked so long ago that the gateway may have forgotten it"),
        }
    }

    async fn aborts(&mut self, session: &str, run: &str) -> Result<(), Gone> {
        let params = json!({"sessionKey": session, "runId": run});
        self.asks("chat.abort", params, Asked::Nothing).await
    }

    /// The gateway does not take a question. What became of one that it was asked before it may still tell.
    pub(super) fn not_sent(&mut self, key: &str, error: &Value) {
        let busy = error["code"] == "UNAVAILABLE";
        let waits = |going: &Going| busy && going.again.is_some();
        if self.going.get(key).is_some_and(waits) {
            return;
        }
        let Some(going) = self.going.remove(key) else {
            return;
        };
        let why = said(error["message"].as_str().unwrap_or("no reason given"));
        going.ticket.ends(Err(match (going.again.is_some(), busy) {
            (true, _) => AskError::Unknown(why),
            (false, true) => AskError::NotSent(why),
            (false, false) => AskError::Refused(why),
        }));
    }

    /// What the gateway did with a question: it begins, goes on, or was answered before.
    pub(super) async fn sent(&mut self, key: &str, payload: &Value) -> Result<(), Gone> {
        let Some(going) = self.going.get(key) else {
            return Ok(());
        };
        match payload["status"].as_str() {
            Some("ok" | "completed") => {
                let session = going.session.clone();
                self.asks_for_answer(key, &session).await
            }
            Some(status @ ("error" | "failed" | "timeout" | "aborted")) => {
                let why = payload["summary"].as_str().or(payload["error"].as_str());
                let why = said(why.unwrap_or(status));
                going.ticket.ends(Err(AskError::Failed(why)));
                self.going.remove(key);
                Ok(())
            }
            _ => {
                going.ticket.is_going();
                Ok(())
            }
        }
    }

    async fn asks_for_answer(&mut self, key: &str, session: &str) -> Result<(), Gone> {
        let most = GATEWAY_ANSWER_MAX_BYTES;
        let params = json!({"sessionKey": session, "limit": 50, "maxChars": most});
        let asked = Asked::History(key.to_owned());
        self.asks("chat.history", params, asked).await
    }

    pub(super) fn remembered(&mut self, key: &str, history: Option<&Value>) {
        let Some(going) = self.going.remove(key) else {
            return;
        };
        let end = match history.and_then(|history| answer_of(history, key)) {
            Some(text) if going.ticket.is(&text) => Ok(()),
            Some(_) => Err(too_long()),
            None => Err(AskError::Unknown(
                "the gateway ran this question before, and has no answer to it any more".to_owned(),
            )),
        };
        going.ticket.ends(end);
    }

    /// What happens in a run.
    pub(super) async fn chat(&mut self, event: &Value) -> Result<(), Gone> {
        let key = event["runId"].as_str().unwrap_or_default();
        let Some(going) = self.going.get(key) else {
            return Ok(());
        };
        let whole = || text_of(&event["message"]);
        let why = |otherwise: &str| said(event["errorMessage"].as_str().unwrap_or(otherwise));
        let ticket = &going.ticket;
        let end = match event["state"].as_str() {
            Some("delta") => {
                let fits = match (event["replace"] == true, event["deltaText"].as_str()) {
                    (false, Some(piece)) => ticket.adds(piece),
                    _ => whole().is_none_or(|text| ticket.is(&text)),
                };
                match fits {
                    true => return Ok(()),
                    false => {
                        ticket.ends(Err(too_long()));
                        let session = going.session.clone();
                        self.going.remove(key);
                        return self.aborts(&session, key).await;
                    }
                }
            }
            Some("final") => match whole().filter(|text| !text.trim().is_empty()) {
                Some(text) if ticket.is(&text) => Ok(()),
                Some(_) => Err(too_long()),
                // Not all that was said came over this connection.
                None if going.again.is_some() => {
                    let session = going.session.clone();
                    return self.asks_for_answer(key, &session).await;
                }
                None if ticket.has_text() => Ok(()),
                None => Err(AskError::Failed("the agent says nothing".to_owned())),
            },
            Some("error") => Err(AskError::Failed(why("the run ended with an error"))),
            Some("aborted") => Err(AskError::Failed(why("the run was ended at the gateway"))),
            _ => return Ok(()),
        };
        ticket.ends(end);
        self.going.remove(key);
        Ok(())
    }
}
