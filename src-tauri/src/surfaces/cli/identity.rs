//! `identity`: this device's id, public key and name. The secret key is never printed.

use serde_json::json;

use super::context::Context;
use super::fail::{Done, Failure};
use super::{offline, out, start};
use crate::adapters::{files, keystore};
use crate::domain::base::limits::RUN_FILE_MAX_BYTES;
use crate::node::naming;

/// `identity`; makes the identity if there is none, so that it can be trusted before its first start.
///
/// # Errors
/// If the state directory or the key file cannot be used.
pub(super) fn run(ctx: &Context) -> Done {
    ctx.dir.prepare().map_err(Failure::state)?;
    let key = keystore::load_or_create_device_key(&ctx.dir, offline::random()?, ctx.time())
        .map_err(Failure::state)?;
    let name = name(ctx)?;
    let public = key.public().to_text();
    if ctx.json {
        return out::json(&json!({"deviceId": key.id(), "publicKey": public, "displayName": name}));
    }
    out::facts(&[
        ("device", key.id().to_string()),
        ("short", key.id().short().to_owned()),
        ("public key", public),
        ("name", name),
        ("state", ctx.dir.root().display().to_string()),
    ]);
    Ok(())
}

/// The node's name: of its last run, else of its configuration, else the usual one.
fn name(ctx: &Context) -> Result<String, Failure> {
    let last = files::read_text(&ctx.dir.run_file(), RUN_FILE_MAX_BYTES)
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|run| run.get("name")?.as_str().map(str::to_owned));
    if let Some(name) = last {
        return Ok(name);
    }
    let configured = start::raw_config(&ctx.dir)?.unwrap_or_default();
    let named = naming::fill_in(&ctx.dir, configured).map_err(Failure::state)?;
    Ok(named.name.unwrap_or_else(|| "clawmesh-node".to_owned()))
}
