//! `device discover`: what devices at a broker offer, as tables of a configuration. Readings can be written into it; what moves is printed
//! in comments for a person to decide, and never written.

use super::args::DiscoverArgs;
use super::clean;
use super::config::own;
use super::context::Context;
use super::fail::{Done, Failure};
use super::out;
use super::start;
use crate::adapters::devices::{Discovered, Listen};
use crate::node::config::edit;
use crate::node::hosting;
use crate::operator::device_check::Bench;

/// `device discover`.
///
/// # Errors
/// If the broker cannot be heard, or the readings cannot be written into the configuration.
pub(super) async fn run(ctx: &Context, args: &DiscoverArgs) -> Done {
    let listen = Listen {
        broker: args.broker.clone(),
        ca: args.ca.clone(),
        user: args.user.clone(),
        password: args.password.clone(),
        plain: args.plain,
        prefix: args.prefix.clone(),
        seconds: args.seconds,
    };
    if !ctx.json {
        let (place, seconds) = (&listen.broker, listen.seconds);
        out::aside_line(&clean::line(&format!(
            "listening at {place} for {seconds} s"
        )));
    }
    let bench = Bench::of(&ctx.dir);
    let found = bench.discover(&listen).await.map_err(Failure::failed)?;
    let tables = found.reading_tables(&args.name, &listen);
    let written = match args.write && !tables.is_empty() {
        true => Some(write(ctx, &bench, &tables)?),
        false => None,
    };
    if ctx.json {
        let actuators = found.actuator_tables(&args.name, &listen);
        return out::json(&serde_json::json!({
            "found": found, "tables": tables, "actuatorTables": actuators, "written": written,
        }));
    }
    print(&found, &tables, args, &listen);
    if let Some(file) = written {
        out::aside_line(&format!(
            "{} readings are written into {file}; a running node takes them by itself",
            found.readings.len()
        ));
    }
    Ok(())
}

fn print(found: &Discovered, tables: &str, args: &DiscoverArgs, listen: &Listen) {
    let both = [tables, &found.actuator_tables(&args.name, listen)].map(str::to_owned);
    for text in both.iter().filter(|text| !text.is_empty()) {
        text.lines().for_each(|line| out::line(&clean::line(line)));
        out::line("");
    }
    for unfit in &found.unfit {
        let line = format!("# not taken: {}: {}", unfit.what, unfit.why);
        out::line(&clean::line(&line));
    }
    if found.beyond > 0 {
        let many = found.beyond;
        out::line(&format!("# {many} messages were too many or too large"));
    }
    if found.readings.is_empty() && found.actuators.is_empty() {
        out::aside_line(
            "nothing is offered there that a node could read or tell; devices have to keep (retain) their discovery messages",
        );
    }
}

/// Writes the readings behind everything else, if a node would start with them.
fn write(ctx: &Context, bench: &Bench, tables: &str) -> Result<String, Failure> {
    own(ctx)?;
    ctx.dir.prepare().map_err(Failure::state)?;
    let named = ctx.dir.config_file();
    let file = std::fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
    let before = hosting::text(&ctx.dir).map_err(|e| start::failed(&ctx.dir, &e))?;
    let before = before.unwrap_or_default();
    let after = edit::append(&before, &named.display().to_string(), tables);
    let after = after.map_err(|e| Failure::usage(e).and("nothing was written"))?;
    let mistakes = bench.mistakes(&after, &named);
    if !mistakes.is_empty() {
        let failure =
            Failure::usage("the readings do not fit to those that there are; nothing was written");
        return Err(mistakes.into_iter().fold(failure, Failure::and));
    }
    let written = ctx.dir.write_private(&file, after.as_bytes());
    written.map_err(Failure::state)?;
    Ok(file.display().to_string())
}
