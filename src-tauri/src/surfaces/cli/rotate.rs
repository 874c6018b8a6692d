//! `identity rotate`: a new identity for this machine, in a directory of its own. A device's id is its key, so that the new one
//! is another device: it takes along what a person wrote and the secrets, sealed anew, and nothing that the old key signed. The
//! old directory stays as it is.

use std::path::Path;

use serde_json::json;

use super::args::IdentityCommand;
use super::context::Context;
use super::fail::{Done, Failure};
use super::offline::{Offline, random};
use super::out;
use crate::adapters::files;
use crate::adapters::keystore::{self, Credentials};
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::BACKUP_FILE_MAX_BYTES;
use crate::domain::base::text::one_line;
use crate::node::credentials::given_by;
use crate::node::surroundings::environment;

/// What a person wrote, which goes along as it is. The person's own key is theirs and stays valid.
const TAKEN: [&str; 7] = [
    "config.toml",
    "policy.toml",
    "site.toml",
    "names.json",
    "mesh-id",
    "operator-key.json",
    "model-token",
];

/// `identity rotate`
///
/// # Errors
/// If the node runs, an actuator is not seen safe, a stop is latched, or the new directory is used.
pub(super) async fn run(ctx: &Context, command: &IdentityCommand) -> Done {
    let IdentityCommand::Rotate { to } = command;
    let to = StateDir::at(&std::path::absolute(to).map_err(Failure::failed)?);
    unused(to.root())?;
    let offline = Offline::open_existing(ctx).await?;
    let done = made(ctx, &offline, &to).await;
    offline.close().await;
    done
}

fn unused(to: &Path) -> Done {
    match std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        true => Err(Failure::state(format!(
            "{} is not empty; a new identity is made in an empty or new directory",
            to.display()
        ))),
        false => Ok(()),
    }
}

async fn made(ctx: &Context, offline: &Offline, to: &StateDir) -> Done {
    // A new directory knows of no actuator that was left moving and of no stop: neither is to be got rid of like this.
    if let Some(moved) = offline.left().await?.first() {
        let words = moved.in_words();
        return Err(Failure::failed(format!(
            "{words}: it was not seen safe since. Start the node so that it makes it safe, or \
             look at it and run `clawmesh-node state safe`; nothing was made"
        )));
    }
    if offline.stopped().await? {
        return Err(Failure::failed(
            "the emergency stop is latched at this node: release it first (`clawmesh-node estop release`); nothing was made",
        ));
    }
    if offline.doubt(ctx).await?.is_some() {
        return Err(Failure::failed(
            "the node doubts its state, and does not operate: `clawmesh-node state confirm` first; nothing was made",
        ));
    }
    let trusted: Vec<String> = offline.trusted().await?;
    let old = keystore::load_device_key(&ctx.dir).map_err(|e| Failure::key(&e))?;
    let old = old.ok_or_else(|| Failure::state("this directory has no identity"))?;
    to.prepare().map_err(Failure::state)?;
    let service = given_by(environment);
    let seed = zeroize::Zeroizing::new(random()?);
    // The key last. Where this is cut off, the old directory has everything, and the new one, which is not empty, is refused.
    for name in TAKEN {
        match files::read(&ctx.dir.root().join(name), BACKUP_FILE_MAX_BYTES) {
            Ok(bytes) => to
                .write_private(&to.root().join(name), &zeroize::Zeroizing::new(bytes))
                .map_err(Failure::state)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::state(format!("{name}: {error}"))),
        }
    }
    let from = Credentials::new(&ctx.dir, &old, service.as_deref()).map_err(Failure::state)?;
    let left_out = from
        .sealed_anew_in(to, &seed, service.as_deref())
        .map_err(Failure::state)?;
    let new = keystore::create_device_key(to, &seed, ctx.time()).map_err(|e| Failure::key(&e))?;
    told(
        ctx,
        to,
        (old.id().as_str(), new.id().as_str()),
        &trusted,
        &left_out,
    )
}

fn told(
    ctx: &Context,
    to: &StateDir,
    (old, new): (&str, &str),
    trusted: &[String],
    left_out: &[String],
) -> Done {
    let shown = to.root().display();
    if ctx.json {
        return out::json(&json!({
            "oldDeviceId": old, "deviceId": new, "stateDir": shown.to_string(),
            "pairWith": trusted, "credentialsLeftOut": left_out,
        }));
    }
    out::line(&format!("{shown} has a new identity: device {new}"));
    for name in left_out {
        out::line(&format!(
            "{name} does not open and was left out: set it there again"
        ));
    }
    out::line("What is left to do, in this order:");
    let pair = match trusted.is_empty() {
        true => "pair it with the devices that are to know it".to_owned(),
        false => format!("pair it with each of: {}", trusted.join(", ")),
    };
    for step in [
        format!(
            "start it: clawmesh-node start --state-dir {shown} (a service: `service install --state-dir {shown}`)"
        ),
        format!("{pair} (clawmesh-node pair, at both)"),
        "enrol the people who approve here: clawmesh-node operator enroll".to_owned(),
        format!(
            "end the old one, at a device with admin: clawmesh-node trust revoke {old} --for-good"
        ),
    ] {
        out::line(&format!("- {step}"));
    }
    out::line(&format!(
        "The counts of the policy (runs and minutes a day) begin anew. {} is left as it is, with its readings and audit trail; \
         never start it again.",
        ctx.dir.root().display()
    ));
    Ok(())
}

/// A device as it is named in what is left to do.
pub(super) fn named(id: &str, name: Option<&str>) -> String {
    let short = id.get(..12).unwrap_or(id);
    match name {
        Some(name) => format!("{} ({short})", one_line(name, 64)),
        None => short.to_owned(),
    }
}
