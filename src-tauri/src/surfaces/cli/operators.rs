//! `operator`: the person's own key, and the people whose signatures this executor accepts.
//!
//! The key stays in the state directory of the person's client, readable by its owner only; what
//! an executor gets is the public half.

use serde_json::json;

use super::args::{KeyCommand, OperatorCommand};
use super::context::{Context, unique};
use super::fail::{Done, Failure};
use super::state::{Registry, operator_card, own_operator};
use super::{out, passphrase, text};
use crate::adapters::keystore;
use crate::operator::dto::{OperatorEnroll, OperatorView};

/// `operator key …`
fn key(ctx: &Context, command: &KeyCommand) -> Done {
    let card = match command {
        KeyCommand::Protect => {
            let typed = passphrase::ask_new("New passphrase: ")?;
            keystore::protect_operator_key(&ctx.dir, &typed)
        }
        KeyCommand::Unprotect => {
            let typed = passphrase::ask("Passphrase: ", true)?;
            keystore::unprotect_operator_key(&ctx.dir, &typed)
        }
    };
    let card = card.map_err(|e| Failure::key(&e))?;
    if ctx.json {
        return out::json(&json!({"operatorId": card.id, "protected": card.protected}));
    }
    out::line(if card.protected {
        "your operator key is under the passphrase now; there is no way back to it without"
    } else {
        "your operator key is under no passphrase now; browsers can no longer decide with it"
    });
    Ok(())
}

/// `operator …`
///
/// # Errors
/// If a key is not usable, an operator is not found, or the state directory cannot be used.
pub async fn run(ctx: &Context, command: &OperatorCommand) -> Done {
    match command {
        OperatorCommand::Init { name } => init(ctx, name.as_deref()),
        OperatorCommand::Show => show(ctx),
        OperatorCommand::Key(command) => key(ctx, command),
        other => {
            let registry = match other {
                OperatorCommand::List => Registry::look(ctx).await?,
                _ => Registry::open(ctx).await?,
            };
            let done = act(ctx, &registry, other).await;
            registry.close().await;
            done
        }
    }
}

fn init(ctx: &Context, name: Option<&str>) -> Done {
    if let Some(stored) = operator_card(&ctx.dir)? {
        return Err(Failure::failed(format!(
            "there is an operator key of {} ({}) in {} already; clawmesh-node operator show prints its public half",
            stored.name,
            stored.id.short(),
            ctx.dir.root().display()
        )));
    }
    let name = name.map_or_else(|| ctx.person(), text::line);
    own_operator(&ctx.dir, &name, ctx.time())?;
    show(ctx)
}

fn show(ctx: &Context) -> Done {
    let Some(card) = operator_card(&ctx.dir)? else {
        return Err(Failure::new(
            super::fail::Exit::NotFound,
            format!(
                "there is no operator key in {}; make one: clawmesh-node operator init",
                ctx.dir.root().display()
            ),
        ));
    };
    let (id, name, public) = (&card.id, &card.name, card.public.to_text());
    if ctx.json {
        return out::json(
            &json!({"operatorId": id, "publicKey": public, "name": name, "protected": card.protected}),
        );
    }
    out::facts(&[
        ("operator", id.to_string()),
        ("name", name.clone()),
        ("public key", public.clone()),
    ]);
    out::line(&format!(
        "Enrol it at an executor: clawmesh-node operator enroll {public} --level L2 --name \"{name}\" --state-dir <executor's>"
    ));
    Ok(())
}

async fn act(ctx: &Context, registry: &Registry, command: &OperatorCommand) -> Done {
    match command {
        OperatorCommand::Enroll {
            key,
            level,
            name,
            days,
        } => {
            let enroll = OperatorEnroll {
                public_key: key.clone(),
                name: name.clone().unwrap_or_else(|| "operator".to_owned()),
                level: level.clone(),
                days: *days,
            };
            changed(ctx, &registry.operator_enroll(&enroll).await?)
        }
        OperatorCommand::Revoke { operator } => {
            let all = registry.operator_list().await?;
            let id = unique(
                "operator",
                operator,
                all.iter().map(|o| o.operator_id.as_str()),
            )?;
            changed(ctx, &registry.operator_revoke(&id).await?)
        }
        OperatorCommand::List
        | OperatorCommand::Init { .. }
        | OperatorCommand::Show
        | OperatorCommand::Key(_) => list(ctx, &registry.operator_list().await?),
    }
}

fn standing(o: &OperatorView, now: u64) -> String {
    match (o.revoked_at, o.expires_at) {
        (Some(at), _) => format!("revoked {} ago", text::age(now, at)),
        (None, Some(at)) if at <= now => "expired".to_owned(),
        (None, Some(at)) => format!("ends {}", text::age(now, at)),
        (None, None) => "no end".to_owned(),
    }
}

fn changed(ctx: &Context, o: &OperatorView) -> Done {
    if ctx.json {
        return out::json(o);
    }
    let state = standing(o, ctx.now());
    out::line(&format!(
        "{} ({}) may approve up to {}; {state}",
        o.name, o.operator_id, o.max_level
    ));
    Ok(())
}

fn list(ctx: &Context, operators: &[OperatorView]) -> Done {
    if ctx.json {
        return out::json(&operators);
    }
    let rows: Vec<Vec<String>> = operators
        .iter()
        .map(|o| {
            vec![
                text::short(&o.operator_id),
                o.name.clone(),
                o.max_level.clone(),
                text::short(&o.issuer),
                standing(o, ctx.now()),
            ]
        })
        .collect();
    let head = ["OPERATOR", "NAME", "UP TO", "ENROLLED BY", "STANDING"];
    out::table(
        &head,
        &rows,
        "no operator is enrolled: nothing above L1 can be approved here",
    );
    Ok(())
}
