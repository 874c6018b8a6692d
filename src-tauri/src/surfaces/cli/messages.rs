//! `send`, `message` and `route`: messages to agents, what became of them, and the rules by which they find a node.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::args::{MessageCommand, NodeCommand, RouteCommand, RouteExplainArgs, SendArgs};
use super::context::Context;
use super::fail::{Done, Failure};
use super::{clean, format, out};
use crate::adapters::files;
use crate::domain::base::limits::{MESSAGE_TEXT_MAX_BYTES, NAME_MAX_BYTES, ROUTES_MAX_BYTES};
use crate::domain::coordination::choose::RuleLook;
use crate::domain::coordination::message::MessageState;
use crate::operator::messages::{MessageSend, MessageView};
use crate::operator::routing::{AbleView, RouteAsk, RulesSet, RulesView, TagsChange};

/// How often a message is looked at while its answer is waited for.
const LOOK: Duration = Duration::from_millis(150);

/// What stdin has, up to a size.
fn stdin(most: usize) -> Result<String, Failure> {
    let mut text = String::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin()
        .lock()
        .take(limit)
        .read_to_string(&mut text);
    read.map_err(|e| Failure::failed(format!("stdin: {e}")))?;
    match text.len() > most {
        true => Err(Failure::failed(format!("stdin: more than {most} bytes"))),
        false => Ok(text),
    }
}

/// `send`
///
/// # Errors
/// If no node runs, the node refuses, or the message is not answered.
pub(super) async fn send(ctx: &Context, args: &SendArgs) -> Done {
    let text = match args.text.as_str() {
        "-" => stdin(MESSAGE_TEXT_MAX_BYTES)?,
        text => text.to_owned(),
    };
    let remote = ctx.remote().await?;
    let message = MessageSend {
        text,
        node: args.node.clone(),
        group: args.group.clone(),
        agent: args.agent.clone(),
        priority: args.priority,
        timeout_ms: args.timeout.map(|s| s.saturating_mul(1_000)),
        key: args.key.clone(),
        name: Some(ctx.person()),
    };
    let mut message = remote.message_send(&message).await?;
    if args.no_wait {
        if ctx.json {
            return out::json(&message);
        }
        out::line(&format!(
            "message {}  {}",
            message.id,
            message.state.as_str()
        ));
        return Ok(());
    }
    if !ctx.json {
        out::aside_line(&format!("message {}", message.id));
    }
    let (mut asked, mut waits) = (None, None);
    while !message.state.is_over() {
        tokio::time::sleep(LOOK).await;
        message = remote.message(&message.id).await?;
        if ctx.json {
            continue;
        }
        let at = message.attempts.last();
        let at = at.map(|a| {
            format!(
                "{} is asked ({})",
                format::name(&a.name),
                format::name(&a.agent)
            )
        });
        if at != asked {
            at.iter().for_each(|at| out::aside_line(at));
            asked = at;
        }
        let why = message
            .why
            .clone()
            .filter(|_| message.state == MessageState::Queued);
        if why != waits {
            why.iter()
                .for_each(|why| out::aside_line(&format!("waits: {}", clean::line(why))));
            waits = why;
        }
    }
    if ctx.json {
        out::json(&message)?;
    } else if let Some(answer) = &message.answer {
        answer.lines().for_each(out::line);
    }
    match message.state {
        MessageState::Answered => Ok(()),
        state => Err(Failure::failed(format!(
            "the message is {}: {}",
            state.as_str(),
            message.why.as_deref().unwrap_or("no reason is known")
        ))),
    }
}

/// `message …`
///
/// # Errors
/// If no node runs, there is no such message, or the node refuses.
pub(super) async fn run(ctx: &Context, command: &MessageCommand) -> Done {
    let remote = ctx.remote().await?;
    let message = match command {
        MessageCommand::List { state, find, limit } => {
            let all = remote
                .messages(state.as_deref(), find.as_deref(), *limit)
                .await?;
            if ctx.json {
                return out::json(&all);
            }
            let now = ctx.time().0;
            let rows: Vec<Vec<String>> = all.messages.iter().map(|m| row(m, now)).collect();
            let head = ["MESSAGE", "STATE", "AGE", "FROM", "NODE", "AGENT", "TEXT"];
            out::table(&head, &rows, "there is no message");
            return Ok(());
        }
        MessageCommand::Show { id } => remote.message(id).await?,
        MessageCommand::Cancel { id } => remote.message_cancel(id).await?,
        MessageCommand::Retry { id } => remote.message_again(id).await?,
    };
    if ctx.json {
        return out::json(&message);
    }
    show(&message);
    Ok(())
}

fn row(message: &MessageView, now: u64) -> Vec<String> {
    let at = message.attempts.last();
    let dash = || "-".to_owned();
    let text: String = message.text.chars().take(60).collect();
    vec![
        message.id.clone(),
        message.state.as_str().to_owned(),
        format::age(now, message.created_at),
        format::name(&message.sender),
        at.map_or_else(dash, |a| format::name(&a.name)),
        at.map_or_else(dash, |a| format::name(&a.agent)),
        clean::line(&text),
    ]
}

fn show(message: &MessageView) {
    out::line(&format!("message  {}", message.id));
    out::line(&format!("state    {}", message.state.as_str()));
    if let Some(why) = &message.why {
        out::line(&format!("why      {}", clean::line(why)));
    }
    let (sender, source) = (format::name(&message.sender), format::name(&message.source));
    out::line(&format!(
        "from     {sender} ({source}), {}",
        format::moment(message.created_at)
    ));
    if let Some(rule) = &message.rule {
        out::line(&format!("rule     {}", format::name(rule)));
    }
    for attempt in &message.attempts {
        let why = attempt
            .why
            .as_deref()
            .map(|why| format!(": {}", clean::line(why)));
        let (name, agent) = (format::name(&attempt.name), format::name(&attempt.agent));
        out::line(&format!(
            "asked    {name} ({agent}){}",
            why.unwrap_or_default()
        ));
    }
    out::line(&format!("text     {}", clean::line(&message.text)));
    if let Some(answer) = &message.answer {
        out::line("");
        answer.lines().for_each(out::line);
    }
}

/// `node …`
///
/// # Errors
/// If no node runs, or it refuses.
pub(super) async fn node(ctx: &Context, command: &NodeCommand) -> Done {
    let remote = ctx.remote().await?;
    let change = match command {
        NodeCommand::List => return able(ctx, &remote.abilities().await?),
        NodeCommand::Tag { tags } => TagsChange {
            add: tags.clone(),
            remove: Vec::new(),
        },
        NodeCommand::Untag { tags } => TagsChange {
            add: Vec::new(),
            remove: tags.clone(),
        },
    };
    let view = remote.tag(&change).await?;
    if ctx.json {
        return out::json(&view);
    }
    let tags = view.tags;
    let said = match tags.is_empty() {
        true => "this node has no tags".to_owned(),
        false => format!("this node has the tags {}", tags.join(", ")),
    };
    out::line(&said);
    Ok(())
}

fn able(ctx: &Context, all: &[AbleView]) -> Done {
    if ctx.json {
        return out::json(&all);
    }
    let list = |all: Vec<String>| match all.is_empty() {
        true => "-".to_owned(),
        false => clean::line(&all.join(", ")),
    };
    let row = |node: &AbleView| {
        let profile = &node.profile;
        let machine = match profile.os.is_empty() {
            true => "-".to_owned(),
            false => format!(
                "{} {}, {} processors, {} MiB",
                profile.os, profile.arch, profile.cpus, profile.memory_mib
            ),
        };
        vec![
            format::name(&node.name),
            node.away
                .as_deref()
                .map_or_else(|| "there".to_owned(), clean::line),
            list(node.agents.clone()),
            node.in_flight.to_string(),
            clean::line(&machine),
            list(profile.gpus.iter().map(|gpu| gpu.name.clone()).collect()),
            list(
                profile
                    .skills
                    .iter()
                    .map(|skill| skill.name.clone())
                    .collect(),
            ),
            list(profile.tags.iter().cloned().collect()),
        ]
    };
    let head = [
        "NODE",
        "STATE",
        "AGENTS",
        "UNDER WAY",
        "MACHINE",
        "GPU",
        "SKILLS",
        "TAGS",
    ];
    out::table(
        &head,
        &all.iter().map(row).collect::<Vec<_>>(),
        "there is no node",
    );
    Ok(())
}

/// `route …`
///
/// # Errors
/// If no node runs, a file cannot be read, or the node refuses.
pub(super) async fn route(ctx: &Context, command: &RouteCommand) -> Done {
    match command {
        RouteCommand::List => {
            let rules = ctx.remote().await?.routing().await?;
            list(ctx, &rules)
        }
        RouteCommand::Show => {
            let rules = ctx.remote().await?.routing().await?;
            if ctx.json {
                return out::json(&rules);
            }
            out::print(&rules.text);
            Ok(())
        }
        RouteCommand::Set { file } => set(ctx, file, false).await,
        RouteCommand::Test { file } => set(ctx, file, true).await,
        RouteCommand::Explain(args) => explain(ctx, args).await,
    }
}

async fn set(ctx: &Context, file: &Path, try_only: bool) -> Done {
    let text = match file.to_str() {
        Some("-") => stdin(ROUTES_MAX_BYTES)?,
        _ => files::read_text(file, u64::try_from(ROUTES_MAX_BYTES).unwrap_or(u64::MAX))
            .map_err(|e| Failure::failed(format!("{}: {e}", file.display())))?,
    };
    let rules = RulesSet {
        text,
        instead_of: None,
        try_only,
        name: Some(ctx.person()),
    };
    let rules = ctx.remote().await?.routing_set(&rules).await?;
    if ctx.json {
        return out::json(&rules);
    }
    let (count, tests) = (rules.rules.len(), rules.tests);
    let what = if try_only { "can be used" } else { "in force" };
    out::line(&format!("{count} rules {what}, {tests} tests hold"));
    Ok(())
}

fn list(ctx: &Context, rules: &RulesView) -> Done {
    if ctx.json {
        return out::json(rules);
    }
    let rows: Vec<Vec<String>> = rules
        .rules
        .iter()
        .map(|rule| {
            let state = if rule.disabled { "disabled" } else { "on" };
            vec![
                format::name(&rule.name),
                state.to_owned(),
                format::code(rule.strategy),
                format::code(rule.retry),
            ]
        })
        .collect();
    let nothing = "there are no rules: a message goes to the node with the fewest under way";
    out::table(&["RULE", "STATE", "STRATEGY", "RETRY"], &rows, nothing);
    Ok(())
}

async fn explain(ctx: &Context, args: &RouteExplainArgs) -> Done {
    let ask = RouteAsk {
        text: args.text.clone(),
        source: args.source.clone(),
        sender: match args.sender.is_empty() {
            true => ctx.person().chars().take(NAME_MAX_BYTES / 4).collect(),
            false => args.sender.clone(),
        },
        node: args.node.clone(),
        group: args.group.clone(),
        agent: args.agent.clone(),
    };
    let route = ctx.remote().await?.routing_explain(&ask).await?;
    if ctx.json {
        return out::json(&route);
    }
    let decides = match (&route.rule, route.order.is_empty()) {
        (_, true) => "no node would take it now; it would wait".to_owned(),
        (Some(rule), false) => format!("the rule {} decides", format::name(rule)),
        (None, false) => "no rule decides".to_owned(),
    };
    out::line(&decides);
    for (at, choice) in route.order.iter().enumerate() {
        let (name, agent) = (format::name(&choice.name), format::name(&choice.agent));
        out::line(&format!("  {}. {name}  {agent}", at + 1));
    }
    route.looks.iter().for_each(looked);
    Ok(())
}

fn looked(look: &RuleLook) {
    out::line("");
    let name = look.rule.as_deref().map_or_else(
        || "without a rule".to_owned(),
        |rule| format!("rule {}", format::name(rule)),
    );
    let why = look
        .why_not
        .as_deref()
        .map(|why| format!(": {}", clean::line(why)));
    out::line(&format!("{name}{}", why.unwrap_or_default()));
    for node in &look.nodes {
        let said = match (&node.why_not, &node.agent) {
            (Some(why), _) => format!("no: {}", clean::line(why)),
            (None, Some(agent)) => format!("yes, {}", format::name(agent)),
            (None, None) => "yes".to_owned(),
        };
        out::line(&format!("  {}  {said}", format::name(&node.name)));
    }
}
