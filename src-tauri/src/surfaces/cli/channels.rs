//! `telegram`, `slack` and `channel`: a channel key is given here, listed and revoked.
//!
//! As with a decision, the signature is made here, in the person's own process, over exactly what was printed.

use super::args::{BotCommand, ChannelCommand, ChannelRevokeArgs, EnrollArgs};
use super::context::{Context, unique};
use super::fail::{Done, Exit, Failure};
use super::{consent, format, layout, out};
use crate::domain::base::Digest;
use crate::domain::gate::{Channel, ChannelEnd, ChannelKind};
use crate::domain::identity::PublicKey;
use crate::operator::channels::{BotView, ChannelGive, ChannelView, ChannelsView};

const DAY_MS: u64 = 86_400_000;

/// `telegram …` and `slack …`
///
/// # Errors
/// If no node runs, the person does not say yes, or the node refuses.
pub(super) async fn bot(ctx: &Context, kind: ChannelKind, command: &BotCommand) -> Done {
    match command {
        BotCommand::Enroll(args) => enroll(ctx, kind, args).await,
    }
}

/// `channel …`
///
/// # Errors
/// If no node runs, nothing is found, or the node refuses.
pub(super) async fn channel(ctx: &Context, command: Option<&ChannelCommand>) -> Done {
    match command {
        None | Some(ChannelCommand::List) => list(ctx).await,
        Some(ChannelCommand::Revoke(args)) => revoke(ctx, args).await,
    }
}

async fn enroll(ctx: &Context, kind: ChannelKind, args: &EnrollArgs) -> Done {
    let card = ctx.operator_card()?;
    let remote = ctx.remote().await?;
    let offer = remote.channel_offer().await?;
    let odd = || Failure::failed("the node's answer does not read");
    let now = ctx.time();
    let channel = Channel {
        version: 1,
        mesh_id: offer.mesh_id.parse().map_err(|_| odd())?,
        kind,
        node: offer.node.parse().map_err(|_| odd())?,
        operator_id: card.id.clone(),
        channel_key: PublicKey::from_text(&offer.channel_key).map_err(|_| odd())?,
        max_level: args.level.parse().map_err(Failure::usage)?,
        actions_per_hour: args.rate,
        own_wishes: args.own_wishes,
        given_at: now,
        valid_until: now.plus(u64::from(args.days) * DAY_MS),
        nonce: offer.nonce,
    };
    channel
        .check_form()
        .map_err(|refusal| Failure::usage(refusal.message))?;
    let shown = |width| text(&channel, &card.name, width);
    if !ctx.json {
        out::print(&shown(out::width()));
    } else if consent::can_ask() {
        out::aside(&shown(out::width_aside()));
    }
    consent::to_sign(
        args.yes,
        "sign exactly this, so that the chat can decide for you",
    )?;
    let key = ctx.operator_key(args.passphrase_stdin)?;
    let give = ChannelGive {
        given: channel.sign(&key),
        operator_key: card.public.to_text(),
    };
    let made = remote.channel_give(&give).await?;
    if ctx.json {
        return out::json(&made);
    }
    let bot = made.bot.as_ref().and_then(|bot| bot.name.as_deref());
    let to = bot.map_or_else(
        || "the bot of this node".to_owned(),
        |name| format!("@{}", format::name(name)),
    );
    out::line(&match kind {
        ChannelKind::Telegram => {
            format!("Send this to {to} in a private chat: /start {}", made.code)
        }
        ChannelKind::Slack => {
            format!("Send this to {to} in a direct message: start {}", made.code)
        }
    });
    out::line(&format!(
        "It counts once, within {}. Channel {} ends with `channel revoke {}`",
        format::span(made.valid_ms),
        made.channel.id,
        made.channel.id.get(..8).unwrap_or(&made.channel.id)
    ));
    match &made.bot {
        None => out::aside_line(&match kind {
            ChannelKind::Telegram => "no Telegram bot runs at this node now: set its token with `credential set channel/telegram` and start the node with --telegram".to_owned(),
            ChannelKind::Slack => "no Slack app runs at this node now: set its tokens with `credential set channel/slack` and `credential set channel/slack-app`, and start the node with --slack".to_owned(),
        }),
        Some(bot) => {
            if let Some(problem) = &bot.problem {
                out::aside_line(&format!("the bot cannot be reached now: {problem}"));
            }
            for line in beside(bot) {
                out::aside_line(&line);
            }
        }
    }
    Ok(())
}

/// What the other nodes of a bot mean for a channel at this one.
fn beside(bot: &BotView) -> Vec<String> {
    if bot.others.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = bot.others.iter().map(|o| format::name(&o.name)).collect();
    vec![
        "this node takes the bot from the one that answers now, until the code is entered; it may take half a minute".to_owned(),
        format!(
            "the bot runs at {} too: enroll there as well, so that the chat goes on when this node is away",
            names.join(", ")
        ),
    ]
}

/// What is about to be signed, as people read it.
fn text(channel: &Channel, name: &str, width: usize) -> String {
    let own = match channel.own_wishes {
        true => {
            "yes: whoever takes over this node, or the chat, can ask for an action and approve it, up to this level and rate"
        }
        false => {
            "no: approvals do not count at other executors for what this node asks for, leads to or measures; --own-wishes allows it"
        }
    };
    let lines = [
        ("channel", channel.kind.to_string()),
        (
            "decides as",
            format!("{name} ({})", channel.operator_id.short()),
        ),
        ("key held by node", channel.node.as_str().to_owned()),
        ("approves up to", channel.max_level.to_string()),
        (
            "approvals an hour",
            format!("{} at each executor", channel.actions_per_hour),
        ),
        ("wishes of that node", own.to_owned()),
        ("until", format::moment(channel.valid_until.0)),
    ];
    layout::facts(&lines, width)
}

async fn list(ctx: &Context) -> Done {
    let view = ctx.remote().await?.channels().await?;
    if ctx.json {
        return out::json(&view);
    }
    for bot in &view.bots {
        let name = bot.name.as_deref().unwrap_or("not reached yet");
        let stands = match (&bot.problem, &bot.stands_by) {
            (Some(why), _) | (None, Some(why)) => format!(": {why}"),
            (None, None) if bot.name.is_some() => ": this node answers".to_owned(),
            (None, None) => String::new(),
        };
        out::line(&format!("{} bot {}{stands}", bot.kind, format::name(name)));
        for other in &bot.others {
            let holds = if other.holds { "answers, " } else { "" };
            out::line(&format!(
                "  also at {}: {holds}heard {} ago",
                format::name(&other.name),
                format::span(other.heard_ms)
            ));
        }
    }
    if view.list.is_empty() {
        out::line("this node holds no channel; give one with `telegram enroll` or `slack enroll`");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = view.list.iter().map(|one| row(one, ctx.now())).collect();
    let head = ["ID", "CHANNEL", "BY", "UP TO", "AN HOUR", "UNTIL", "STATE"];
    out::print(&layout::table(&head, &rows, out::width()));
    Ok(())
}

fn row(one: &ChannelView, now: u64) -> Vec<String> {
    let why = one.why.as_deref().map(|why| format!(": {why}"));
    let account = one.account.as_deref().map(|a| format!(" {a}"));
    vec![
        one.id.chars().take(8).collect(),
        format!("{}{}", one.kind, account.unwrap_or_default()),
        one.name
            .as_deref()
            .map_or_else(|| format::short(&one.operator_id), format::name),
        one.max_level.to_string(),
        one.actions_per_hour.to_string(),
        format::age(now, one.valid_until),
        format!("{}{}", format::code(one.state), why.unwrap_or_default()),
    ]
}

async fn revoke(ctx: &Context, args: &ChannelRevokeArgs) -> Done {
    let remote = ctx.remote().await?;
    let known = remote.channels().await?;
    let id = channel_id(&known, &args.channel)?;
    let after = if args.here {
        remote.channel_void(&id, args.note.clone()).await?
    } else {
        let odd = |_| Failure::failed("the node does not say of which mesh it is");
        let key = ctx.operator_key(args.passphrase_stdin)?;
        let held = known.list.iter().find(|one| one.id == id);
        let giver = held.and_then(|one| one.operator_id.parse().ok());
        let end = ChannelEnd {
            mesh_id: known.mesh_id.parse().map_err(odd)?,
            channel: Digest::from_hex(&id)
                .ok_or_else(|| Failure::usage("the id of the channel does not read"))?,
            operator_id: giver.unwrap_or_else(|| key.id().clone()),
            issuer: key.public().device_id(),
            ended_at: ctx.time(),
            note: args.note.clone(),
        };
        remote.channel_end(&id, &end.sign(&key)).await?
    };
    if ctx.json {
        return out::json(&after);
    }
    out::line(&format!(
        "{}  revoked; executors that are linked know it now, others when they are linked again",
        format::short(&id)
    ));
    Ok(())
}

/// The channel that is meant: one of this node by a start of its id, or any by the whole of it.
fn channel_id(known: &ChannelsView, given: &str) -> Result<String, Failure> {
    if Digest::from_hex(given).is_some() {
        return Ok(given.to_owned());
    }
    let found = unique(
        "channel",
        given,
        known.list.iter().map(|one| one.id.as_str()),
    );
    found.map_err(|failure| match failure.exit {
        Exit::NotFound => failure.and(
            "at another node than the one that holds it, give the whole id; `trace` and `audit` at an executor tell it",
        ),
        _ => failure,
    })
}
