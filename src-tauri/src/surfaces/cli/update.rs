//! `update`: whether a newer release is offered. It looks and says how to install it, and changes nothing.

use serde_json::json;

use super::args::UpdateArgs;
use super::clean;
use super::context::Context;
use super::fail::{Done, Failure};
use super::out;
use crate::adapters::releases::{Releases, this_version};
use crate::node::RawConfig;
use crate::node::hosting;

/// `update`.
///
/// # Errors
/// If no place is known, or the release there cannot be had or is not signed with the key.
pub(super) async fn run(ctx: &Context, args: &UpdateArgs) -> Done {
    let releases = match (&args.from, &args.key) {
        (Some(from), Some(key)) => {
            Releases::new(from, key, None).map_err(|why| Failure::usage(format!("--{why}")))?
        }
        (None, None) => {
            let config = hosting::config(&ctx.dir, RawConfig::default());
            let config = config.map_err(|e| Failure::usage(e.to_string()))?;
            config.updates.ok_or_else(|| {
                Failure::usage("where releases are is not known: give --from and --key, or [updates] in config.toml")
            })?
        }
        _ => return Err(Failure::usage("--from and --key belong together")),
    };
    let here = this_version().map_err(Failure::failed)?;
    let there = releases.offered().await.map_err(Failure::failed)?;
    let newer = there > here;
    if ctx.json {
        return out::json(&json!({
            "here": here.to_string(), "offered": there.to_string(), "newer": newer, "from": releases.to_string(),
        }));
    }
    let from = clean::line(&releases.to_string());
    out::line(&match newer {
        true => format!(
            "version {there} is offered at {from}, signed with the expected key; this is {here}"
        ),
        false => format!("{here} is up to date: {from} offers {there}"),
    });
    if newer {
        out::line(
            "to install it: sh install.sh, or the package of the release (docs/install.md); make a backup before",
        );
    }
    Ok(())
}
