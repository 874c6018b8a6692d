//! `operator`: the person's own key, and the people whose signatures this executor accepts.
//!
//! The key stays in the state directory of the person's client, readable by its owner only; what
//! an executor gets is the public half.

use serde_json::json;

use super::args::{IssuerCommand, KeyCommand, OperatorCommand};
use super::context::{Context, unique};
use super::fail::{Done, Failure};
use super::offline::{operator_card, own_operator};
use super::registry::Registry;
use super::{clean, consent, format, out, passphrase};
use crate::adapters::keystore;
use crate::domain::gate::persons::folded;
use crate::operator::dto::{IssuerView, OperatorEnroll, OperatorView};

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
pub(super) async fn run(ctx: &Context, command: &OperatorCommand) -> Done {
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
    let name = name.map_or_else(|| ctx.person(), clean::line);
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
            person,
            days,
        } => {
            let enroll = OperatorEnroll {
                public_key: key.clone(),
                name: match (name, person) {
                    (Some(name), _) => name.clone(),
                    (None, Some(_)) => String::new(),
                    (None, None) => "operator".to_owned(),
                },
                person: person.clone(),
                level: level.clone(),
                days: *days,
            };
            changed(ctx, &registry.operator_enroll(&enroll).await?)
        }
        OperatorCommand::Revoke {
            person: Some(person),
            ..
        } => {
            let ended = registry
                .person_revoke(&find_person(&registry.operator_list().await?, person)?)
                .await?;
            if ctx.json {
                return out::json(&ended);
            }
            ended.iter().try_for_each(|o| changed(ctx, o))
        }
        OperatorCommand::Revoke { operator, .. } => {
            let all = registry.operator_list().await?;
            let id = unique(
                "operator",
                operator.as_deref().unwrap_or_default(),
                all.iter().map(|o| o.operator_id.as_str()),
            )?;
            changed(ctx, &registry.operator_revoke(&id).await?)
        }
        OperatorCommand::Issuer(command) => issuer(ctx, registry, command).await,
        OperatorCommand::List
        | OperatorCommand::Init { .. }
        | OperatorCommand::Show
        | OperatorCommand::Key(_) => list(ctx, &registry.operator_list().await?),
    }
}

/// The id of a person by their name, or by a start of their id.
fn find_person(all: &[OperatorView], wanted: &str) -> Result<String, Failure> {
    let named = all
        .iter()
        .find(|o| folded(&o.name) == folded(wanted))
        .map(|o| o.person.clone());
    match named {
        Some(person) => Ok(person),
        None => unique("person", wanted, all.iter().map(|o| o.person.as_str())),
    }
}

async fn issuer(ctx: &Context, registry: &Registry, command: &IssuerCommand) -> Done {
    let all = registry.issuers().await?;
    let find = |wanted: &str| unique("device", wanted, all.iter().map(|i| i.device_id.as_str()));
    let done = match command {
        IssuerCommand::List => return issuers(ctx, &all),
        IssuerCommand::Remove { device } => registry.issuer_change(&find(device)?, false).await?,
        IssuerCommand::Accept { device, yes } => {
            let id = find(device)?;
            let found = all.iter().find(|i| i.device_id == id);
            let who = format::who(found.and_then(|i| i.name.as_deref()), &id);
            let names = found.map(|i| i.names.join(", ")).unwrap_or_default();
            let names = if names.is_empty() {
                "nobody yet"
            } else {
                &names
            };
            consent::to_change(
                *yes,
                &format!(
                    "The operators that {who} vouches for, now or later, may approve actions of this executor that other devices ask for. \
                     Now: {names}."
                ),
            )?;
            registry.issuer_change(&id, true).await?
        }
    };
    if ctx.json {
        return out::json(&done);
    }
    let name = format::name(done.name.as_deref().unwrap_or("unnamed"));
    out::line(&format!(
        "{name} ({}): {}",
        done.device_id,
        accepted(ctx, &done)
    ));
    Ok(())
}

fn accepted(ctx: &Context, i: &IssuerView) -> String {
    match (i.accepted_at, i.carried, i.issues) {
        (None, _, _) => "not accepted here".to_owned(),
        (Some(_), _, false) => {
            "accepted, but holds no admin grant: its operators do not count".to_owned()
        }
        (Some(_), true, true) => {
            "carried over by the update, no person has accepted it: accept or remove it".to_owned()
        }
        (Some(at), false, true) => format!("accepted {} ago", format::age(ctx.now(), at)),
    }
}

fn issuers(ctx: &Context, all: &[IssuerView]) -> Done {
    if ctx.json {
        return out::json(&all);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|i| {
            vec![
                format::who(i.name.as_deref(), &i.device_id),
                accepted(ctx, i),
                i.names.join(", "),
            ]
        })
        .collect();
    out::table(
        &["DEVICE", "STANDING", "VOUCHES FOR"],
        &rows,
        "no other device may vouch for operators here; those enrolled at this node count",
    );
    Ok(())
}

fn standing(o: &OperatorView, now: u64) -> String {
    if !o.counts && o.revoked_at.is_none() {
        return "not accepted here".to_owned();
    }
    match (o.revoked_at, o.expires_at) {
        (Some(at), _) => format!("revoked {} ago", format::age(now, at)),
        (None, Some(at)) if at <= now => "expired".to_owned(),
        (None, Some(at)) => format!("ends {}", format::age(now, at)),
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
        format::name(&o.name),
        o.operator_id,
        o.max_level
    ));
    Ok(())
}

fn list(ctx: &Context, operators: &[OperatorView]) -> Done {
    if ctx.json {
        return out::json(&operators);
    }
    let own = keystore::device_public_key(&ctx.dir).ok().flatten();
    let own = own.map(|key| key.device_id().as_str().to_owned());
    let issuer_name = |o: &OperatorView| match own.as_deref() == Some(&o.issuer) {
        true => Some("this node".to_owned()),
        false => o.issuer_name.clone(),
    };
    let rows: Vec<Vec<String>> = operators
        .iter()
        .map(|o| {
            vec![
                format::who(Some(&o.name), &o.operator_id),
                format::short(&o.person),
                o.max_level.to_string(),
                format::who(issuer_name(o).as_deref(), &o.issuer),
                standing(o, ctx.now()),
            ]
        })
        .collect();
    let head = ["OPERATOR", "PERSON", "UP TO", "ENROLLED BY", "STANDING"];
    out::table(
        &head,
        &rows,
        "no operator is enrolled: nothing above L1 can be approved here",
    );
    Ok(())
}
