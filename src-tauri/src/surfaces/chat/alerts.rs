//! Alerts in a chat: what stands, on request; what a person is to be told, by itself; and a button that says they have seen it.

use super::buttons::Step;
use super::{Talk, talk, words};
use crate::adapters::channel::{Fault, Message};
use crate::adapters::notify::{Notice, Untold};
use crate::domain::base::limits::{CHAT_BUTTON_MS, NOTIFY_NAMED_MAX};
use crate::domain::base::quantity::span;
use crate::node::alerts::ToTell;
use crate::node::channels::Member;
use crate::operator::alerts::AlertView;

/// How many alerts have a message of their own.
const APART_MAX: usize = 5;

/// Tells persons what they are to be told, until the node ends.
pub(super) async fn watch(talk: &Talk) {
    let mut asked = talk.door.alert_tellings(talk.kind);
    while let Some(one) = asked.recv().await {
        let done = tell(talk, &one).await;
        one.answered(done);
    }
    std::future::pending().await
}

/// Tells a person in every chat that is theirs; one that heard it is enough.
async fn tell(talk: &Talk, one: &ToTell) -> Result<(), Untold> {
    let lost = |why: String| Untold::Lost(why);
    let members = talk
        .door
        .channel_members(talk.kind)
        .await
        .map_err(|refusal| lost(refusal.message))?;
    let theirs = members
        .iter()
        .filter(|m| m.name.as_deref() == Some(one.person.as_str()));
    let why = format!(
        "{} has enrolled no chat at this node; enroll one with `clawmesh-node {} enroll`",
        one.person, talk.kind
    );
    let mut done = Err(Untold::Refused(why));
    for member in theirs {
        let sent = talk
            .send(&member.account, message(talk, member, &one.notice))
            .await;
        done = match (sent, done) {
            (Ok(_), _) | (_, Ok(())) => Ok(()),
            (Err(Fault::Later(wait)), Err(_)) => Err(Untold::Later(wait)),
            (Err(fault @ (Fault::Blocked | Fault::Refused(_))), Err(_)) => {
                Err(Untold::Refused(fault.to_string()))
            }
            (Err(fault), Err(_)) => Err(lost(fault.to_string())),
        };
    }
    done
}

fn message(talk: &Talk, member: &Member, notice: &Notice) -> Message {
    let text = format!(
        "{}\n{}",
        words::plain(&notice.title),
        words::lines_of(&notice.text)
    );
    let seen = match notice.alerts.as_slice() {
        [id] if !notice.over => button(talk, member, *id),
        _ => Vec::new(),
    };
    Message {
        text,
        buttons: seen,
    }
}

/// The button that says that a person has seen an alert.
fn button(talk: &Talk, member: &Member, id: u64) -> Vec<Vec<(String, String)>> {
    let (random, now) = (&talk.door.context().random, talk.now());
    let id = id.to_string();
    let about = (member.account.as_str(), id.as_str(), "");
    let steps = [Step::Acknowledge];
    let made = talk
        .buttons
        .make(random, about, &steps, (now, now.plus(CHAT_BUTTON_MS)));
    let row: Vec<(String, String)> = made
        .into_iter()
        .map(|word| ("Acknowledge".to_owned(), word))
        .collect();
    if row.is_empty() {
        Vec::new()
    } else {
        vec![row]
    }
}

/// An alert in a line or two. Nothing private is in it.
async fn line(talk: &Talk, alert: &AlertView) -> String {
    let said = match alert.private {
        true => words::HIDDEN.to_owned(),
        false => talk::guarded(talk, &alert.message).await,
    };
    let since = span(talk.now().0.saturating_sub(alert.since));
    let seen = alert.acknowledged.as_ref();
    let seen = seen.map(|a| format!(", seen by {}", words::plain(&a.by)));
    let muted = if alert.muted.is_some() { ", muted" } else { "" };
    let (id, severity) = (alert.id, alert.severity.as_str());
    format!(
        "Alert {id} · {severity} · for {since}{}{muted}\n{said}",
        seen.unwrap_or_default()
    )
}

/// Shows what stands: those that nobody has seen each with its button, the others in one message.
pub(super) async fn show(talk: &Talk, chat: &str, member: &Member) {
    let all = match talk.door.alerts().await {
        Ok(all) => all,
        Err(refusal) => {
            talk.say(chat, Message::text(talk::sentence(&refusal)))
                .await;
            return;
        }
    };
    let (apart, others): (Vec<&AlertView>, Vec<&AlertView>) = all
        .iter()
        .partition(|a| a.acknowledged.is_none() && a.id != 0);
    for alert in apart.iter().take(APART_MAX) {
        let text = line(talk, alert).await;
        talk.say(
            chat,
            Message {
                text,
                buttons: button(talk, member, alert.id),
            },
        )
        .await;
    }
    let rest: Vec<&AlertView> = apart.into_iter().skip(APART_MAX).chain(others).collect();
    let mut lines = Vec::new();
    for alert in rest.iter().take(NOTIFY_NAMED_MAX) {
        lines.push(line(talk, alert).await);
    }
    if rest.len() > NOTIFY_NAMED_MAX {
        lines.push(format!(
            "{} more; see the console.",
            rest.len() - NOTIFY_NAMED_MAX
        ));
    }
    if all.is_empty() {
        lines.push("No alert stands.".to_owned());
    }
    let told = if member.alerts { "on" } else { "off" };
    let word = words::word(talk.kind, "alerts");
    lines.push(format!(
        "Alerts are {told}: new proposals, by themselves. Write {word} on or {word} off."
    ));
    talk.say(chat, Message::text(lines.join("\n"))).await;
}

/// Takes a person's word that they have seen an alert; what came of it, in words.
pub(super) async fn acknowledge(talk: &Talk, member: &Member, id: &str) -> String {
    match talk
        .door
        .alert_acknowledge(id, None, &talk::by(talk, member))
        .await
    {
        Ok(alert) => line(talk, &alert).await,
        Err(refusal) => talk::sentence(&refusal),
    }
}
