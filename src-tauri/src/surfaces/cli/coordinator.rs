//! `coordinator`: the token of the claw-mesh coordinator that this node serves. It lies with the credentials, which a running
//! node reads at each use.

use serde_json::json;

use super::args::CoordinatorCommand;
use super::context::Context;
use super::credential::credentials;
use super::fail::{Done, Failure};
use super::{offline, out};
use crate::node::coordinator::tokens;

/// `coordinator …`
///
/// # Errors
/// If the credentials cannot be read or written.
pub(super) fn run(ctx: &Context, command: &CoordinatorCommand) -> Done {
    let CoordinatorCommand::Token { rotate } = command;
    let kept = credentials(ctx)?;
    let token = tokens::admin(&kept, offline::random()?, ctx.time(), *rotate);
    let token = token.map_err(Failure::state)?;
    match ctx.json {
        true => out::json(&json!({"token": &*token, "rotated": rotate})),
        false => {
            out::line(&token);
            Ok(())
        }
    }
}
