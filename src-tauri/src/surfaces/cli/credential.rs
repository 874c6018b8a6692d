//! `credential`: secrets of providers, devices and channels. A running node is told, so that the change is in its audit
//! trail; where none runs the file is changed. A value is read from the terminal or stdin, and printed by `get --reveal` alone.

use serde::Serialize;
use serde_json::json;

use super::args::CredentialCommand;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{format, offline, out, passphrase};
use crate::adapters::keystore::{
    self, CredentialCard, Credentials, KeyError, SealedBy, credential_name, credential_secret,
};
use crate::domain::base::limits::CREDENTIAL_MAX_BYTES;
use crate::node::credentials::given_by;
use crate::node::surroundings::environment;

/// `credential …`
///
/// # Errors
/// If the name or the key cannot be used, or the state directory not be written.
pub(super) async fn run(ctx: &Context, command: &CredentialCommand) -> Done {
    match command {
        CredentialCommand::Set { name } => set(ctx, name).await,
        CredentialCommand::List => list(ctx),
        CredentialCommand::Get { name, reveal } => get(ctx, name, *reveal),
        CredentialCommand::Delete { name } => delete(ctx, name).await,
    }
}

/// The credentials of the state directory; makes the identity where there is none, as `identity` does.
///
/// # Errors
/// If the device's key cannot be had here.
pub(super) fn credentials(ctx: &Context) -> Result<Credentials, Failure> {
    ctx.dir.prepare().map_err(Failure::state)?;
    let key = keystore::load_or_create_device_key(&ctx.dir, offline::random()?, ctx.time())
        .map_err(|e| match e {
            KeyError::InKeychain { .. } => Failure::state(
                "what opens the credentials of this device is in the keychain of the desktop application: start that, and set \
                 them in its console or with this command while it runs",
            ),
            other => Failure::key(&other),
        })?;
    let service = given_by(environment);
    Credentials::new(&ctx.dir, &key, service.as_deref()).map_err(Failure::state)
}

async fn set(ctx: &Context, name: &str) -> Done {
    credential_name(name).map_err(Failure::usage)?;
    let secret = passphrase::secret(&format!("Key of {name}: "), CREDENTIAL_MAX_BYTES)?;
    credential_secret(&secret).map_err(Failure::usage)?;
    let told = match ctx.running().await? {
        Some(node) => {
            node.credential_set(name, &secret, &ctx.person()).await?;
            "the running node uses it from now on"
        }
        None => {
            let kept = credentials(ctx)?;
            kept.set(name, &secret, ctx.time())
                .map_err(Failure::state)?;
            "a node uses it from its next start on"
        }
    };
    match ctx.json {
        true => out::json(&json!({"name": name, "set": true})),
        false => {
            out::line(&format!("{name} is set; {told}"));
            Ok(())
        }
    }
}

/// A credential as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(flatten)]
    card: CredentialCard,
    /// The file that holds it.
    kept_in: String,
    /// Where the key is that opens it.
    opened_by: &'static str,
}

fn listed(ctx: &Context) -> Result<Vec<Listed>, Failure> {
    let cards = Credentials::list(&ctx.dir).map_err(Failure::state)?;
    // Asked for only where it matters: a directory of nothing has no identity.
    let in_keychain = !cards.is_empty()
        && matches!(
            keystore::load_device_key(&ctx.dir),
            Err(KeyError::InKeychain { .. })
        );
    let kept_in = ctx.dir.credentials_file().display().to_string();
    let listed = cards.into_iter().map(|card| Listed {
        opened_by: match card.sealed_by {
            SealedBy::Service => "a credential of systemd",
            SealedBy::Device if in_keychain => "the device's key, in the keychain",
            SealedBy::Device => "the device's key, identity.json",
        },
        kept_in: kept_in.clone(),
        card,
    });
    Ok(listed.collect())
}

fn list(ctx: &Context) -> Done {
    let all = listed(ctx)?;
    if ctx.json {
        return out::json(&all);
    }
    let row = |one: &Listed| {
        vec![
            one.card.name.clone(),
            since(ctx, one),
            one.kept_in.clone(),
            one.opened_by.to_owned(),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    out::table(
        &["NAME", "SET", "SEALED IN", "OPENED BY"],
        &rows,
        "no credentials; set one with `clawmesh-node credential set provider/NAME`",
    );
    Ok(())
}

fn since(ctx: &Context, one: &Listed) -> String {
    format!("{} ago", format::age(ctx.now(), one.card.set_at_ms.0))
}

fn get(ctx: &Context, name: &str, reveal: bool) -> Done {
    credential_name(name).map_err(Failure::usage)?;
    let all = listed(ctx)?;
    let Some(one) = all.into_iter().find(|one| one.card.name == name) else {
        return Err(not_set(name));
    };
    let value = match reveal {
        true => credentials(ctx)?.get(name).map_err(Failure::state)?,
        false => None,
    };
    match (value, ctx.json) {
        (Some(value), true) => out::json(&json!({"name": name, "secret": *value})),
        // To stdout alone, to be piped.
        (Some(value), false) => {
            out::whole(&value);
            Ok(())
        }
        (None, true) => out::json(&one),
        (None, false) => {
            out::facts(&[
                ("name", one.card.name.clone()),
                ("set", since(ctx, &one)),
                ("sealed in", one.kept_in.clone()),
                ("opened by", one.opened_by.to_owned()),
                ("value", "not shown; --reveal prints it".to_owned()),
            ]);
            Ok(())
        }
    }
}

async fn delete(ctx: &Context, name: &str) -> Done {
    credential_name(name).map_err(Failure::usage)?;
    let is_set = Credentials::list(&ctx.dir).map_err(Failure::state)?;
    if !is_set.iter().any(|card| card.name == name) {
        return Err(not_set(name));
    }
    match ctx.running().await? {
        Some(node) => node.credential_remove(name).await?,
        None => {
            Credentials::remove(&ctx.dir, name).map_err(Failure::state)?;
        }
    }
    match ctx.json {
        true => out::json(&json!({"name": name, "set": false})),
        false => {
            out::line(&format!(
                "{name} is forgotten; revoke it where it was given out if others may have seen it"
            ));
            Ok(())
        }
    }
}

fn not_set(name: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("{name} is not set"))
}
