//! Updates and what is answered to each.

use crate::adapters::channel::{Message, Place, What};
use crate::domain::base::limits::{CHAT_BUTTON_MS, CHAT_CONFIRM_MS};
use crate::domain::base::{Code, Refusal};
use crate::domain::gate::approval::Verdict;
use crate::domain::proposal::Status;
use crate::node::channels::Member;
use crate::node::context::Event;
use crate::operator::dto::ProposalView;
use crate::operator::estop::EstopRequest;
use crate::operator::queries::FactQuery;

use super::buttons::{Meaning, Pressed, Step};
use super::commands::{code_in, command};
use super::{Talk, question, words};
use crate::domain::admission::budget::Cause;

/// Answers what a member said or pressed.
pub(super) async fn to_member(talk: &Talk, place: Place, member: Member, what: What) {
    match (what, place.private) {
        (What::Said { text, forwarded }, true) => {
            said(talk, &place, &member, text.trim(), forwarded).await;
        }
        (
            What::Pressed {
                press,
                message,
                data,
            },
            true,
        ) => {
            pressed(talk, &place, &member, (&press, message, &data)).await;
        }
        (What::Said { text, .. }, false) if text.starts_with('/') => {
            let why = "Nothing is shown or decided in groups. Write to me in a private chat.";
            talk.say(&place.chat, Message::text(why)).await;
        }
        _ => {}
    }
}

/// Answers a chat that is nobody's.
pub(super) async fn to_stranger(talk: &Talk, place: Place, refusal: Refusal, what: What) {
    match (what, place.private) {
        (What::Said { text, forwarded }, true) => {
            stranger(talk, &place, text.trim(), forwarded, refusal).await;
        }
        (What::Pressed { press, .. }, _) => {
            refused(talk, &place, &refusal).await;
            // The one who pressed sees no more than that.
            let _ = talk
                .chats
                .heard(&press, "This chat is no operator's here.")
                .await;
        }
        _ => {}
    }
}

async fn refused(talk: &Talk, place: &Place, refusal: &Refusal) {
    let subject = format!("{} {}", talk.kind, place.account);
    let journal = &talk.door.context().journal;
    journal
        .refused_of(Cause::Strangers, Event::ChannelRefused, &subject, refusal)
        .await;
}

async fn stranger(talk: &Talk, place: &Place, text: &str, forwarded: bool, refusal: Refusal) {
    let refusal = match code_in(talk.kind, text).filter(|_| !forwarded) {
        None => refusal,
        Some(code) => match talk
            .door
            .channel_enter(talk.kind, &place.account, code)
            .await
        {
            Ok(member) => return welcome(talk, place, &member).await,
            Err(refusal) => refusal,
        },
    };
    refused(talk, place, &refusal).await;
    if talk.pace.answers_stranger(&place.account, talk.now()) {
        let said = match refusal.code {
            Code::NotAuthorized => words::stranger(talk.kind, &talk.door.context().config.name),
            _ => sentence(&refusal),
        };
        talk.say_now(&place.chat, &said).await;
    }
}

async fn welcome(talk: &Talk, place: &Place, member: &Member) {
    let channel = &member.channel;
    let said = format!(
        "This chat decides for operator {} now, up to {} and {} approvals an hour at each executor. It ends with: clawmesh-node channel revoke {}\n\n{}",
        member
            .name
            .as_deref()
            .map_or_else(|| channel.operator_id.short().to_owned(), words::plain),
        channel.max_level,
        channel.actions_per_hour,
        words::short(&channel.id().to_hex()),
        words::help(talk.kind)
    );
    talk.say(&place.chat, Message::text(said)).await;
}

/// A refusal as a sentence.
pub(super) fn sentence(refusal: &Refusal) -> String {
    words::plain(&refusal.message)
}

/// A free text of the node, unless it is about private readings; what is private is not known where the readings cannot be
/// read.
pub(super) async fn guarded(talk: &Talk, text: &str) -> String {
    match talk.door.facts(FactQuery::default()).await {
        Ok(facts) => words::guarded(text, &facts),
        Err(_) => words::HIDDEN.to_owned(),
    }
}

/// How a proposal stands that waits no more.
pub(super) async fn ended(talk: &Talk, p: &ProposalView) -> String {
    let how = words::how(p);
    match how.is_empty() {
        true => words::ended(p, ""),
        false => words::ended(p, &guarded(talk, &how).await),
    }
}

/// The person's name with the channel, as others read it.
pub(super) fn by(talk: &Talk, member: &Member) -> String {
    let name = member.name.as_deref().map(words::plain);
    let name = name.unwrap_or_else(|| member.channel.operator_id.short().to_owned());
    format!("{name} through {}", talk.kind)
}

async fn said(talk: &Talk, place: &Place, member: &Member, text: &str, forwarded: bool) {
    let chat = &place.chat;
    if forwarded {
        let why = "A forwarded message is no command and no question of yours. Write it yourself.";
        talk.say(chat, Message::text(why)).await;
        return;
    }
    // A code alone is entered as one that follows its word.
    let found = match code_in(talk.kind, text) {
        Some(code) => Some(("start".to_owned(), code)),
        None => command(talk.kind, text),
    };
    let Some((command, rest)) = found else {
        return question::question(talk, place, member, text).await;
    };
    let answer = match command.as_str() {
        "start" | "enroll" if !rest.is_empty() => {
            match talk
                .door
                .channel_enter(talk.kind, &place.account, rest)
                .await
            {
                Ok(member) => return welcome(talk, place, &member).await,
                Err(refusal) => sentence(&refusal),
            }
        }
        "start" | "help" => words::help(talk.kind),
        "status" => status(talk).await,
        "world" => world(talk, rest).await,
        "proposals" => return proposals(talk, place, member).await,
        "approve" => return ask_once_more(talk, place, member, rest).await,
        "reject" => reject(talk, place, rest).await,
        "alerts" if rest.is_empty() => return super::alerts::show(talk, chat, member).await,
        "alerts" => alerts(talk, place, member, rest).await,
        other => format!(
            "/{} is no command here.\n\n{}",
            words::plain(other),
            words::help(talk.kind)
        ),
    };
    talk.say(chat, Message::text(answer)).await;
}

async fn status(talk: &Talk) -> String {
    let latch = talk.door.estop_state().latch;
    let latch = latch.map(|latch| format!("{}: {}", latch.by, latch.reason));
    let facts = talk.door.facts(FactQuery::default()).await;
    match (talk.door.status().await, facts) {
        (Ok(status), Ok(facts)) => words::status(&status, latch.as_deref(), &facts),
        (Err(refusal), _) | (_, Err(refusal)) => sentence(&refusal),
    }
}

async fn world(talk: &Talk, filter: &str) -> String {
    match talk.door.facts(FactQuery::default()).await {
        Ok(facts) => words::world(&facts, filter),
        Err(refusal) => sentence(&refusal),
    }
}

async fn alerts(talk: &Talk, place: &Place, member: &Member, rest: &str) -> String {
    let on = match rest {
        "on" => true,
        "off" => false,
        _ => {
            let now = if member.alerts { "on" } else { "off" };
            let word = words::word(talk.kind, "alerts");
            return format!("Alerts are {now}. Write {word} on or {word} off.");
        }
    };
    match talk
        .door
        .channel_alerts(talk.kind, &place.account, on)
        .await
    {
        Ok(()) if on => "New proposals are told here.".to_owned(),
        Ok(()) => format!(
            "New proposals are not told here any more; {} lists them.",
            words::word(talk.kind, "proposals")
        ),
        Err(refusal) => sentence(&refusal),
    }
}

/// Stops everything; what came of it, in words.
pub(super) async fn stopped(talk: &Talk, member: &Member, reason: &str) -> String {
    let reason = match reason.is_empty() {
        true => "asked for in a chat".to_owned(),
        false => words::plain(reason),
    };
    let asked = EstopRequest {
        reason: Some(reason),
        ..Default::default()
    };
    let by = by(talk, member);
    let cause = Cause::Session(by.clone());
    let report = talk.door.estop_of(&cause, &asked, &by).await;
    let mut said = match report.complete {
        true => "EMERGENCY STOP: every executor known here is latched and safe.".to_owned(),
        false => {
            "EMERGENCY STOP was asked for, and NOT every executor is known to be safe:".to_owned()
        }
    };
    for executor in &report.executors {
        let name = executor.name.as_deref().map(words::plain);
        let name = name.unwrap_or_else(|| words::short(&executor.device_id).to_owned());
        let unsafe_ones = executor.actuators.iter().filter(|a| !a.safe).count();
        let how = match (executor.latched, unsafe_ones) {
            (true, 0) => "latched, safe".to_owned(),
            (true, n) => format!("latched, {n} actuators NOT confirmed safe"),
            (false, _) => {
                let why = executor.problem.as_deref().unwrap_or("not latched");
                format!("NOT confirmed: {}", words::plain(why))
            }
        };
        said.push_str(&format!("\n{name}: {how}"));
    }
    said.push_str("\nIt is released at each node itself.");
    said
}

async fn proposals(talk: &Talk, place: &Place, member: &Member) {
    let all = match talk.door.proposals(false).await {
        Ok(all) => all,
        Err(refusal) => {
            talk.say(&place.chat, Message::text(sentence(&refusal)))
                .await;
            return;
        }
    };
    let list = words::list(&all, talk.now().0);
    talk.say(&place.chat, Message::text(list)).await;
    let waiting = all.iter().filter(|p| p.status == Status::AwaitingApproval);
    for p in waiting.take(5) {
        let message = whole(talk, member, p).await;
        talk.say(&place.chat, message).await;
    }
}

/// Which of its evidence may be shown in a chat: what is stored here and not private.
async fn open(talk: &Talk, p: &ProposalView) -> Vec<bool> {
    let mut all = Vec::with_capacity(p.evidence.len());
    for evidence in &p.evidence {
        let id = format!("{}@{}", evidence.frame_id, evidence.origin);
        all.push(talk.door.frame(&id).await.is_ok_and(|frame| !frame.private));
    }
    all
}

/// A proposal that waits, in full, with its buttons.
pub(super) async fn whole(talk: &Talk, member: &Member, p: &ProposalView) -> Message {
    let now = talk.now();
    let reason = match p.reason.trim().is_empty() {
        true => String::new(),
        false => guarded(talk, &p.reason).await,
    };
    let mut text = words::proposal(p, &open(talk, p).await, &reason, now.0);
    let reaches = words::reaches(p, member.channel.max_level);
    let (steps, names): (&[Step], &[&str]) = match reaches {
        true => (&[Step::Ask, Step::Reject], &["Approve…", "Reject"]),
        false => {
            text.push_str(&format!(
                "\nUp to {} can be approved here; approve this one with your own key.",
                member.channel.max_level
            ));
            (&[Step::Reject], &["Reject"])
        }
    };
    let until = now
        .plus(CHAT_BUTTON_MS)
        .min(crate::domain::base::TimeMs(p.expires_at));
    Message {
        text,
        buttons: buttons(talk, member, p, (steps, names), until),
    }
}

fn buttons(
    talk: &Talk,
    member: &Member,
    p: &ProposalView,
    (steps, names): (&[Step], &[&str]),
    until: crate::domain::base::TimeMs,
) -> Vec<Vec<(String, String)>> {
    let random = &talk.door.context().random;
    let about = (member.account.as_str(), p.id.as_str(), p.digest.as_str());
    let made = talk.buttons.make(random, about, steps, (talk.now(), until));
    let row: Vec<(String, String)> = names
        .iter()
        .map(|name| (*name).to_owned())
        .zip(made)
        .collect();
    match row.is_empty() {
        true => Vec::new(),
        false => vec![row],
    }
}

/// The last question before an approval, with the exact action.
fn once_more(talk: &Talk, member: &Member, p: &ProposalView) -> Message {
    let until = talk.now().plus(CHAT_CONFIRM_MS);
    let text = format!(
        "Approve exactly this?\n{}\nProposal {} · {} · {}",
        words::action(p),
        words::short(&p.id),
        p.level,
        words::left(p, talk.now().0)
    );
    let steps = [Step::Approve, Step::Back];
    Message {
        text,
        buttons: buttons(talk, member, p, (&steps, &["Yes, approve", "Back"]), until),
    }
}

async fn waiting(talk: &Talk, wanted: &str) -> Result<ProposalView, String> {
    if wanted.is_empty() || wanted.contains(char::is_whitespace) {
        return Err(format!(
            "Write the start of a proposal's id after it; {} lists them.",
            words::word(talk.kind, "proposals")
        ));
    }
    let p = talk.door.proposal(wanted).await;
    let p = p.map_err(|refusal| sentence(&refusal))?;
    match p.status {
        Status::AwaitingApproval => Ok(p),
        _ => Err(ended(talk, &p).await),
    }
}

async fn ask_once_more(talk: &Talk, place: &Place, member: &Member, wanted: &str) {
    let message = match waiting(talk, wanted).await {
        Ok(p) if words::reaches(&p, member.channel.max_level) => once_more(talk, member, &p),
        Ok(p) => whole(talk, member, &p).await,
        Err(why) => Message::text(why),
    };
    talk.say(&place.chat, message).await;
}

async fn reject(talk: &Talk, place: &Place, rest: &str) -> String {
    let (wanted, note) = rest
        .split_once(char::is_whitespace)
        .map_or((rest, ""), |(wanted, note)| (wanted, note.trim()));
    let p = match waiting(talk, wanted).await {
        Ok(p) => p,
        Err(why) => return why,
    };
    let note = (!note.is_empty()).then(|| words::plain(note));
    decided(talk, place, (&p.id, &p.digest), Verdict::Reject, note).await
}

async fn decided(
    talk: &Talk,
    place: &Place,
    about: (&str, &str),
    verdict: Verdict,
    note: Option<String>,
) -> String {
    let of = (talk.kind, place.account.as_str());
    match talk.door.channel_decide(of, about, verdict, note).await {
        Ok(standing) => format!(
            "Proposal {} · {}: {}",
            words::short(about.0),
            words::state(standing.status),
            guarded(talk, &standing.detail).await
        ),
        Err(refusal) => format!("Not done: {}", guarded(talk, &refusal.message).await),
    }
}

/// A button that is not known was pressed, as after a restart without its store, or where another node had the bot: its message
/// shows how exactly that record stands now, and nothing else happens.
async fn anew(
    talk: &Talk,
    place: &Place,
    member: &Member,
    (press, message): (&str, i64),
    (proposal, digest): (&str, &str),
) {
    let found = talk.door.proposal(proposal).await.ok();
    let Some(p) = found.filter(|p| p.digest.starts_with(digest)) else {
        let _ = talk.chats.heard(press, &words::gone(talk.kind)).await;
        return;
    };
    let why = "This button does not count any more; the message shows how it stands now.";
    let _ = talk.chats.heard(press, why).await;
    let next = match p.status {
        Status::AwaitingApproval => whole(talk, member, &p).await,
        _ => Message::text(ended(talk, &p).await),
    };
    talk.told.shows(&place.account, &p.id, message);
    talk.change(&place.chat, message, &next).await;
}

async fn pressed(
    talk: &Talk,
    place: &Place,
    member: &Member,
    (press, message, data): (&str, i64, &str),
) {
    let meaning = match talk.buttons.press(&place.account, data, talk.now()) {
        Pressed::Means(meaning) => meaning,
        Pressed::Unknown(proposal, digest) => {
            let about = (proposal.as_str(), digest.as_str());
            return anew(talk, place, member, (press, message), about).await;
        }
        Pressed::Nothing => {
            let _ = talk.chats.heard(press, &words::gone(talk.kind)).await;
            return;
        }
    };
    // Whether the press is heard changes nothing about it.
    let _ = talk.chats.heard(press, "").await;
    let Meaning {
        proposal,
        digest,
        step,
        ..
    } = meaning;
    if step == Step::Acknowledge {
        let said = super::alerts::acknowledge(talk, member, &proposal).await;
        return talk
            .change(&place.chat, message, &Message::text(said))
            .await;
    }
    let p = match talk.door.proposal(&proposal).await {
        Ok(p) if p.digest == digest => p,
        Ok(_) | Err(_) => {
            let why = "This proposal is not the one that was shown here any more.";
            return talk.change(&place.chat, message, &Message::text(why)).await;
        }
    };
    let next = match (p.status, step) {
        (Status::AwaitingApproval, Step::Ask) => once_more(talk, member, &p),
        (Status::AwaitingApproval, Step::Back) => whole(talk, member, &p).await,
        (Status::AwaitingApproval, Step::Approve | Step::Reject) => {
            let verdict = match step {
                Step::Approve => Verdict::Approve,
                _ => Verdict::Reject,
            };
            let about = (p.id.as_str(), p.digest.as_str());
            let said = decided(talk, place, about, verdict, None).await;
            Message::text(format!("{}\n{said}", words::action(&p)))
        }
        _ => Message::text(ended(talk, &p).await),
    };
    talk.told.shows(&place.account, &p.id, message);
    talk.change(&place.chat, message, &next).await;
}
