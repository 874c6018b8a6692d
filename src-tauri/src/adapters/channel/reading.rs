//! What a Bot API server says, read: untrusted JSON into closed types.

use serde_json::Value;

use super::api::later;
use super::{BotName, Fault, Place, Update, What};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::CHAT_TEXT_MAX_CHARS;
use crate::domain::base::text::{cut, one_line};

/// The result of an answer, or why there is none. `about` names the server in words.
pub(super) fn result(status: u16, body: &[u8], about: &str) -> Result<Value, Fault> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let field = |name: &str| answer.as_ref().and_then(|a| a.get(name));
    if status == 200 && field("ok").and_then(Value::as_bool) == Some(true) {
        let odd = || Fault::Lost(format!("{about} answers without a result"));
        return field("result").cloned().ok_or_else(odd);
    }
    let code = field("error_code").and_then(Value::as_u64);
    let code = code.and_then(|code| u16::try_from(code).ok());
    let why = field("description").and_then(Value::as_str);
    let why = one_line(why.unwrap_or_default(), 200);
    Err(match code.unwrap_or(status) {
        401 | 404 => Fault::Token(format!(
            "{about} does not take the token; make a new one with @BotFather and set it with `clawmesh-node credential set channel/telegram`"
        )),
        403 => Fault::Blocked,
        409 => Fault::Conflict,
        429 => {
            let after = field("parameters").and_then(|p| p.get("retry_after"));
            later(after.and_then(Value::as_u64).unwrap_or(1))
        }
        400 => Fault::Refused(why),
        other => Fault::Lost(format!("{about} answers {other} {why}")),
    })
}

pub(super) fn bot(result: &Value) -> Option<BotName> {
    let name = result.get("username")?.as_str()?;
    Some(BotName {
        id: result.get("id")?.as_i64()?.to_string(),
        name: one_line(name, 64),
    })
}

/// The updates of an answer; one without a number is left out.
pub(super) fn updates(result: &Value) -> Vec<Update> {
    let list = result.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all: Vec<Update> = list.iter().filter_map(update).collect();
    all.sort_by_key(|update| update.id);
    all
}

fn update(value: &Value) -> Option<Update> {
    let id = value.get("update_id")?.as_i64()?;
    let read = match (value.get("message"), value.get("callback_query")) {
        (Some(message), _) => said(message),
        (None, Some(press)) => pressed(press),
        (None, None) => None,
    };
    let (place, what) = match read {
        Some((place, what)) => (Some(place), what),
        None => (None, What::Other),
    };
    // A press does not say when it was made.
    let date = value.get("message").and_then(|message| message.get("date"));
    let sent_at = date
        .and_then(Value::as_u64)
        .map(|s| TimeMs(s.saturating_mul(1_000)));
    Some(Update {
        id,
        sent_at,
        place,
        what,
    })
}

fn place(from: &Value, chat: &Value) -> Option<Place> {
    let account = from.get("id")?.as_i64()?;
    let bot = from.get("is_bot").and_then(Value::as_bool) == Some(true);
    let chat_id = chat.get("id")?.as_i64()?;
    let private = chat.get("type").and_then(Value::as_str) == Some("private");
    Some(Place {
        account: account.to_string(),
        chat: chat_id.to_string(),
        // In a private chat both have the same number.
        private: private && chat_id == account && !bot,
    })
}

fn said(message: &Value) -> Option<(Place, What)> {
    let place = place(message.get("from")?, message.get("chat")?)?;
    let passed_on = ["forward_origin", "forward_date", "via_bot"];
    let what = match message.get("text").and_then(Value::as_str) {
        Some(text) => What::Said {
            text: cut(text, CHAT_TEXT_MAX_CHARS),
            forwarded: passed_on.iter().any(|name| message.get(name).is_some()),
        },
        None => What::Other,
    };
    Some((place, what))
}

fn pressed(press: &Value) -> Option<(Place, What)> {
    let message = press.get("message")?;
    let place = place(press.get("from")?, message.get("chat")?)?;
    let what = What::Pressed {
        press: cut(press.get("id")?.as_str()?, 128),
        message: message.get("message_id")?.as_i64()?,
        data: cut(press.get("data")?.as_str()?, 64),
    };
    Some((place, what))
}
