//! What Slack says, read: untrusted JSON into closed types. Whoever writes is named by workspace and user; what is no direct
//! message of a person of the app's own workspace is nobody's.

use serde_json::Value;

use super::super::api::later;
use super::super::{Fault, Place, Update, What};
use super::BOT;
use crate::adapters::http_client::{Address, Reach};
use crate::domain::base::limits::CHAT_TEXT_MAX_CHARS;
use crate::domain::base::text::{cut, one_line};
use crate::domain::base::{Digest, TimeMs};

/// The app as Slack knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    /// Its workspace.
    pub team: String,
    /// Its user there.
    pub user: String,
    /// The name of that user.
    pub name: String,
    /// The app itself, where its token names it.
    pub app: Option<String>,
}

/// The app that a token of an app names: `xapp-1-A0123456789-…`.
pub(super) fn app_of(token: &str) -> Option<String> {
    let mut parts = token.split('-').skip(2);
    let app = parts
        .next()
        .filter(|app| app.starts_with('A') && is_id(app))?;
    parts.next().map(|_| app.to_owned())
}

/// What came over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    /// The connection stands; how many the app has, where it is said.
    Hello(Option<u64>),
    /// The connection ends; why.
    Ends(String),
    /// An update, in the envelope of this name.
    Update(String, Box<Heard>),
    /// Nothing that concerns a person; its envelope is acknowledged.
    Other(String),
    /// Nothing that reads.
    Nothing,
}

/// An update with the direct message channel it came by, and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub update: Update,
    pub user: String,
    pub room: String,
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// An id of Slack's, or nothing.
fn id<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    text(value, name).filter(|id| is_id(id))
}

pub(super) fn is_id(id: &str) -> bool {
    (2..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The result of an answer, or why there is none. `about` names the server and `credential` the token in words.
pub(super) fn result(
    (status, retry_after): (u16, Option<u64>),
    body: &[u8],
    about: &str,
    credential: &str,
) -> Result<Value, Fault> {
    if status == 429 {
        return Err(later(retry_after.unwrap_or(1)));
    }
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let Some(answer) = answer.filter(|_| status == 200) else {
        return Err(Fault::Lost(format!("{about} answers {status}")));
    };
    if answer.get("ok").and_then(Value::as_bool) == Some(true) {
        return Ok(answer);
    }
    let why = one_line(text(&answer, "error").unwrap_or_default(), 100);
    Err(match why.as_str() {
        "" => Fault::Lost(format!("{about} answers without a result")),
        "ratelimited" | "rate_limited" => later(retry_after.unwrap_or(1)),
        "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "not_allowed_token_type"
        | "app_uninstalled" => Fault::Token(format!(
            "{about} does not take the token ({why}); make a new one at api.slack.com/apps and set it with `clawmesh-node credential set {credential}`"
        )),
        "missing_scope" | "no_permission" => {
            let needed = one_line(text(&answer, "needed").unwrap_or("another"), 100);
            Fault::Token(format!(
                "the token of {credential} lacks the scope {needed}: add it to the app as docs/slack.md says, install the app again, and set its token"
            ))
        }
        "messages_tab_disabled" => Fault::Refused(
            "nobody can write to the app: turn on its Messages tab (App Home)".to_owned(),
        ),
        "user_disabled" | "user_not_found" | "users_not_found" | "user_not_visible"
        | "cannot_dm_bot" | "channel_not_found" | "not_in_channel" | "is_archived"
        | "restricted_action" => Fault::Blocked,
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org" => Fault::Lost(format!("{about} answers {why}")),
        _ => Fault::Refused(why),
    })
}

/// The app, of an answer to `auth.test`.
pub(super) fn own(told: &Value, app: Option<String>) -> Result<Own, Fault> {
    let odd = || Fault::Lost("Slack does not say which app this is".to_owned());
    if id(told, "bot_id").is_none() {
        return Err(Fault::Token(format!(
            "the credential {BOT} is no token of an app's bot: it begins with xoxb-"
        )));
    }
    Ok(Own {
        team: id(told, "team_id").ok_or_else(odd)?.to_owned(),
        user: id(told, "user_id").ok_or_else(odd)?.to_owned(),
        name: one_line(text(told, "user").unwrap_or("app"), 64),
        app,
    })
}

/// Where a connection is made to, and the path of its request, which has a ticket in it: over TLS to a host of Slack's, or of the
/// server that the operator has named; to this machine alone where that server is on it.
pub(super) fn socket_of(url: &str, api: &Address) -> Result<(Address, String), Fault> {
    // The address is not repeated: its query opens the connection.
    let odd = || Fault::Lost("Slack names no address of its own to connect to".to_owned());
    let here = api.reach() == Reach::Loopback;
    let (scheme, rest) = match (url.strip_prefix("wss://"), url.strip_prefix("ws://")) {
        (Some(rest), _) => ("https", rest),
        (None, Some(rest)) if here => ("http", rest),
        _ => return Err(odd()),
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(at);
    let address = Address::parse(&format!("{scheme}://{authority}")).map_err(|_| odd())?;
    let under = |domain: &str| {
        let before = address.host.strip_suffix(domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let good = match here {
        true => address.reach() == Reach::Loopback,
        false => address.port == 443 && (under("slack.com") || under(&api.host)),
    };
    let plain = tail.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !good || !plain || tail.len() > 4_096 {
        return Err(odd());
    }
    let path = match tail.starts_with('/') {
        true => tail.to_owned(),
        false => format!("/{tail}"),
    };
    Ok((address, path))
}

/// What one message of a connection says.
pub(super) fn envelope(said: &str, own: &Own) -> Read {
    let Ok(said) = serde_json::from_str::<Value>(said) else {
        return Read::Nothing;
    };
    match text(&said, "type") {
        Some("hello") => return Read::Hello(said.get("num_connections").and_then(Value::as_u64)),
        Some("disconnect") => {
            return Read::Ends(one_line(text(&said, "reason").unwrap_or_default(), 64));
        }
        _ => {}
    }
    let plain =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let Some(name) = text(&said, "envelope_id").filter(plain) else {
        return Read::Nothing;
    };
    let heard = said
        .get("payload")
        .filter(|payload| match (text(payload, "api_app_id"), &own.app) {
            (Some(said), Some(own)) => said == own,
            // What names no app came over this app's own connection.
            _ => true,
        })
        .and_then(|payload| match text(&said, "type")? {
            "events_api" => message(payload, own),
            "interactive" => pressed(payload, own),
            _ => None,
        });
    match heard {
        Some(heard) => Read::Update(name.to_owned(), Box::new(heard)),
        None => Read::Other(name.to_owned()),
    }
}

/// The account of a user of the app's own workspace.
pub(super) fn account(own: &Own, user: &str) -> String {
    format!("{}:{user}", own.team)
}

/// A direct message channel.
fn is_room(channel: &str) -> bool {
    channel.starts_with('D')
}

/// Whether a field that names a workspace, where it is there, names the app's own.
fn is_own(value: &Value, name: &str, own: &Own) -> bool {
    match value.get(name) {
        None | Some(Value::Null) => true,
        Some(team) => team.as_str() == Some(&own.team),
    }
}

/// A number for what stays the same when it comes again.
fn number(parts: &[&str]) -> i64 {
    let joined = parts.join("\n");
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(&[b"slack update\n", joined.as_bytes()]).0;
    // Positive, and with room for the one after it.
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]) & (i64::MAX >> 1)).max(1)
}

fn heard(own: &Own, (user, room): (&str, &str), (id, at): (i64, &str), what: What) -> Heard {
    let account = account(own, user);
    Heard {
        update: Update {
            id,
            sent_at: seconds(at),
            place: Some(Place {
                chat: account.clone(),
                account,
                private: true,
            }),
            what,
        },
        user: user.to_owned(),
        room: room.to_owned(),
    }
}

/// A direct message that a person typed. What is edited, removed, posted by an app or said in a channel is none.
fn message(payload: &Value, own: &Own) -> Option<Heard> {
    let event = payload.get("event")?;
    if text(event, "type")? != "message" || text(event, "channel_type")? != "im" {
        return None;
    }
    let others = [
        "subtype",
        "bot_id",
        "bot_profile",
        "app_id",
        "hidden",
        "edited",
    ];
    if others.iter().any(|name| event.get(name).is_some()) {
        return None;
    }
    let (user, room) = (id(event, "user")?, id(event, "channel")?);
    let teams = is_own(event, "team", own) && is_own(event, "user_team", own);
    if id(payload, "team_id")? != own.team || !teams || user == own.user || !is_room(room) {
        return None;
    }
    let at = text(event, "ts")?;
    moment(at)?;
    let shared = |a: &Value| {
        let flags = ["is_share", "is_msg_unfurl"];
        flags
            .iter()
            .any(|name| a.get(name).and_then(Value::as_bool) == Some(true))
    };
    let attached = event.get("attachments").and_then(Value::as_array);
    let what = What::Said {
        text: decoded(text(event, "text")?),
        forwarded: attached.into_iter().flatten().any(shared),
    };
    let id = number(&["message", &own.team, room, at]);
    Some(heard(own, (user, room), (id, at), what))
}

/// A button that was pressed under a message of the app in a direct message.
fn pressed(payload: &Value, own: &Own) -> Option<Heard> {
    if text(payload, "type")? != "block_actions" {
        return None;
    }
    let by = payload.get("user")?;
    let user = id(by, "id")?;
    if id(payload.get("team")?, "id")? != own.team || !is_own(by, "team_id", own) {
        return None;
    }
    let container = payload.get("container")?;
    let room = id(container, "channel_id").filter(|room| is_room(room))?;
    let under = text(container, "message_ts")?;
    let action = payload.get("actions")?.as_array()?.first()?;
    if text(action, "type")? != "button" {
        return None;
    }
    let data = cut(text(action, "value")?, 64);
    let at = cut(text(action, "action_ts")?, 32);
    let id = number(&["press", &own.team, user, room, under, &data, &at]);
    let what = What::Pressed {
        press: format!("{room} {user}"),
        message: moment(under)?,
        data,
    };
    Some(heard(own, (user, room), (id, &at), what))
}

/// A message's time, which is its name in its channel, as a number: `1712345678.000100`.
pub(super) fn moment(at: &str) -> Option<i64> {
    let (seconds, micros) = at.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !(1..=12).contains(&seconds.len())
        || micros.len() != 6
        || !digits(seconds)
        || !digits(micros)
    {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let micros: i64 = micros.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

/// The moment that a time names.
fn seconds(at: &str) -> Option<TimeMs> {
    let micros = u64::try_from(moment(at)?).ok()?;
    Some(TimeMs(micros / 1_000))
}

/// See [`moment`].
pub(super) fn moment_text(number: i64) -> String {
    let number = number.max(0);
    format!("{}.{:06}", number / 1_000_000, number % 1_000_000)
}

/// What a person typed: links and names as they were shown, without the characters that Slack puts in their place.
fn decoded(said: &str) -> String {
    let said = cut(said, 4 * CHAT_TEXT_MAX_CHARS);
    let mut plain = String::with_capacity(said.len());
    let mut rest = said.as_str();
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(before);
        let Some((inner, next)) = after.split_once('>') else {
            rest = after;
            break;
        };
        plain.push_str(inner.split_once('|').map_or(inner, |(_, label)| label));
        rest = next;
    }
    plain.push_str(rest);
    let plain = plain
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    cut(&plain, CHAT_TEXT_MAX_CHARS)
}

/// A text for a field that Slack reads as markup.
pub(super) fn escaped(plain: &str) -> String {
    plain
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
