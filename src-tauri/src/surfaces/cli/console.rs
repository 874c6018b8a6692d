//! `console`: a one-time link that opens the console in a browser. It opens nothing by itself: on a
//! machine without a screen the link goes through a tunnel.

use super::args::ConsoleArgs;
use super::context::Context;
use super::fail::Done;
use super::{format, out};

/// `console`.
///
/// # Errors
/// If the node does not run or refuses.
pub(super) async fn run(ctx: &Context, args: &ConsoleArgs) -> Done {
    let remote = ctx.remote().await?;
    let link = remote.console_link(args.scope, &ctx.person()).await?;
    if ctx.json {
        return out::json(&link);
    }
    out::whole(&link.url);
    if !args.print {
        let port = remote.address().port();
        out::line(&format!(
            "opens the console once, within {}, with the {} scope; do not pass it on",
            format::age(ctx.now(), link.expires_at).trim_start_matches("in "),
            link.scope
        ));
        out::line(&format!(
            "from another machine: ssh -L {port}:127.0.0.1:{port} <this machine>, then open the link there"
        ));
    }
    Ok(())
}
