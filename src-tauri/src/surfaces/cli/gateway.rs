//! `gateway`: the OpenClaw gateways of the running node. A token is read from the terminal or stdin, or from the configuration of
//! OpenClaw of whoever runs the command; it is never an argument.

use zeroize::Zeroizing;

use super::args::GatewayCommand;
use super::context::Context;
use super::fail::{Done, Failure};
use super::{format, out, passphrase};
use crate::adapters::gateway::at_home;
use crate::domain::base::limits::CREDENTIAL_MAX_BYTES;
use crate::node::surroundings::environment;
use crate::operator::gateways::{GatewayChange, GatewayState, GatewayView};

/// `gateway …`
///
/// # Errors
/// If no node runs, or the node refuses.
pub(super) async fn run(ctx: &Context, command: &GatewayCommand) -> Done {
    let by = Some(ctx.person());
    match command {
        GatewayCommand::Add {
            url,
            name,
            no_token,
            insecure,
        } => {
            let wanted = (url.as_deref(), name.as_deref());
            add(ctx, wanted, *no_token, *insecure).await
        }
        GatewayCommand::List => {
            let all = ctx.remote().await?.gateways().await?;
            list(ctx, &all)
        }
        GatewayCommand::Show { gateway } => {
            let all = ctx.remote().await?.gateways().await?;
            let one = all
                .iter()
                .find(|one| one.id == *gateway)
                .or_else(|| all.iter().find(|one| one.name == *gateway));
            match one {
                Some(one) => show(ctx, one),
                None => Err(Failure::usage(format!(
                    "there is no gateway {gateway}: see `clawmesh-node gateway list`"
                ))),
            }
        }
        GatewayCommand::Rename { gateway, name } => {
            let change = GatewayChange {
                name: Some(name.clone()),
                enabled: None,
                by,
            };
            changed(ctx, gateway, &change).await
        }
        GatewayCommand::Enable { gateway } | GatewayCommand::Disable { gateway } => {
            let change = GatewayChange {
                name: None,
                enabled: Some(matches!(command, GatewayCommand::Enable { .. })),
                by,
            };
            changed(ctx, gateway, &change).await
        }
        GatewayCommand::Remove { gateway } => {
            let left = ctx.remote().await?.gateway_remove(gateway).await?;
            if ctx.json {
                return out::json(&left);
            }
            out::line(&format!(
                "{gateway} is removed, and its tokens are forgotten"
            ));
            Ok(())
        }
        GatewayCommand::Discover => discover(ctx).await,
    }
}

async fn add(
    ctx: &Context,
    (url, name): (Option<&str>, Option<&str>),
    no_token: bool,
    insecure: bool,
) -> Done {
    let remote = ctx.remote().await?;
    // OpenClaw may be set up for another user than the node's: whoever runs this command.
    let home = at_home(environment).filter(|home| url.is_none_or(|url| url == home.url));
    let (url, token): (Option<String>, Option<Zeroizing<String>>) = match home {
        Some(home) if home.token.is_some() || url.is_none() => (Some(home.url), home.token),
        _ => (url.map(str::to_owned), None),
    };
    let token = match token {
        None if !no_token && url.is_some() => {
            let prompt = "Token of the gateway (empty if it has none): ";
            passphrase::perhaps(prompt, CREDENTIAL_MAX_BYTES)?
        }
        token if !no_token => token,
        _ => None,
    };
    let token = token.as_ref().map(|token| token.as_str());
    let added = remote
        .gateway_add((url.as_deref(), name), token, insecure, &ctx.person())
        .await?;
    show(ctx, &added)?;
    if !ctx.json {
        out::aside(&format!(
            "`clawmesh-node gateway show {}` tells how it stands",
            added.id
        ));
    }
    Ok(())
}

async fn changed(ctx: &Context, gateway: &str, change: &GatewayChange) -> Done {
    let now = ctx.remote().await?.gateway_change(gateway, change).await?;
    show(ctx, &now)
}

/// A state in words.
fn words(state: GatewayState) -> &'static str {
    match state {
        GatewayState::Starting => "starting",
        GatewayState::Connecting => "connecting",
        GatewayState::PairingRequired => "pairing required",
        GatewayState::Ready => "ready",
        GatewayState::Disabled => "disabled",
        GatewayState::Failed => "failed",
    }
}

fn list(ctx: &Context, all: &[GatewayView]) -> Done {
    if ctx.json {
        return out::json(&all);
    }
    let now = ctx.time().0;
    let rows = all.iter().map(|one| {
        vec![
            one.name.clone(),
            one.id.clone(),
            words(one.state).to_owned(),
            one.version.clone().unwrap_or_else(|| "-".to_owned()),
            one.agents.len().to_string(),
            one.sessions
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            one.heard_at
                .map_or_else(|| "never".to_owned(), |at| format::age(now, at)),
            one.url.clone(),
        ]
    });
    let head = [
        "NAME", "ID", "STATE", "VERSION", "AGENTS", "SESSIONS", "HEARD", "ADDRESS",
    ];
    let nothing = "this node has no gateway; `clawmesh-node gateway discover` looks for some, `gateway add` adds one";
    out::table(&head, &rows.collect::<Vec<_>>(), nothing);
    Ok(())
}

fn show(ctx: &Context, one: &GatewayView) -> Done {
    if ctx.json {
        return out::json(one);
    }
    out::line(&format!("name      {}", one.name));
    out::line(&format!("id        {}", one.id));
    out::line(&format!("address   {}", one.url));
    let since = format::age(ctx.time().0, one.since);
    out::line(&format!("state     {}, since {since}", words(one.state)));
    if let Some(why) = &one.why {
        out::line(&format!("why       {why}"));
    }
    if let Some(command) = &one.command {
        out::line(&format!("approve   {command}"));
        out::aside("run it on the gateway's machine; it is tried again by itself");
    }
    if let Some(version) = &one.version {
        out::line(&format!("version   OpenClaw {version}"));
    }
    if let Some(sessions) = one.sessions {
        out::line(&format!("sessions  {sessions}"));
    }
    for agent in &one.agents {
        let model = agent.model.as_deref().unwrap_or("-");
        out::line(&format!(
            "agent     {} ({}), model {model}",
            agent.id, agent.name
        ));
    }
    Ok(())
}

async fn discover(ctx: &Context) -> Done {
    let mut found = ctx.remote().await?.gateways_found().await?;
    // OpenClaw may be set up for whoever runs this command, and not for the node's user.
    if let Some(home) = at_home(environment)
        && found.iter().all(|one| one.url != home.url)
    {
        found.push(crate::operator::gateways::GatewayFound {
            name: home.place.display().to_string(),
            has_token: home.token.is_some(),
            url: home.url,
            here: true,
            added: None,
        });
    }
    if ctx.json {
        return out::json(&found);
    }
    let rows = found.iter().map(|one| {
        vec![
            one.url.clone(),
            one.name.clone(),
            if one.here { "this machine" } else { "the LAN" }.to_owned(),
            if one.has_token { "found" } else { "-" }.to_owned(),
            one.added.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let head = ["ADDRESS", "SAYS", "WHERE", "TOKEN", "ADDED AS"];
    let nothing = "no gateway was found on this machine or the LAN; `clawmesh-node gateway add ws://HOST:PORT` takes any address";
    out::table(&head, &rows.collect::<Vec<_>>(), nothing);
    Ok(())
}
