//! The command line: one file per family of commands. It translates and prints; what is decided is
//! decided by the node behind `remote`, or by the pure rules that the node uses too.
//!
//! Entry points call [`main`] with the HTTP surface, which a surface may not name by itself.

mod alerts;
mod approvals;
mod args;
mod audit;
mod backup;
mod channels;
mod clean;
mod config;
mod consent;
mod console;
mod context;
mod coordinator;
mod credential;
mod decide;
mod demo;
mod device;
mod discover;
mod doctor;
mod estop;
#[cfg(test)]
mod example;
mod fail;
mod format;
mod gateway;
mod hold;
mod identity;
mod infer;
mod layout;
mod mcp;
mod meshes;
mod messages;
mod migrate;
mod models;
mod moves;
mod offline;
mod operators;
mod out;
mod pair;
mod passphrase;
mod pictures;
mod planner;
mod policy;
mod proposals;
mod record;
mod recovery;
mod registry;
mod rehearse;
mod rotate;
mod sc;
mod service;
mod shell;
mod show;
mod start;
mod trust;
#[cfg(feature = "tui")]
mod tui;
mod update;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use self::args::{Cli, Command, Global};
use self::context::Context;
use self::fail::{Done, Exit, Failure};
use crate::adapters::descriptors;
use crate::adapters::keystore::dumps;
use crate::adapters::log::{self, Form};
use crate::adapters::service_manager;
use crate::adapters::signals;
use crate::domain::gate::ChannelKind;
use crate::domain::gate::approval::Verdict;
use crate::operator::Door;

/// Builds the HTTP surface over a node.
pub type App = Box<dyn FnOnce(Door) -> axum::Router>;
/// Prepares the HTTP surface of a state directory, which the node holds by then; says why it cannot.
pub type MakeApp = fn(&Path) -> Result<App, String>;

/// Runs the command line and says how the process ends.
pub fn main(app: MakeApp) -> ExitCode {
    dumps::turn_off();
    descriptors::raise();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help and version are answers, not errors.
            out::print(&error.render().to_string());
            return end(out::arrived());
        }
        Err(error) => {
            // A service whose flags are wrong must not leave on what its last run left on.
            let left = start::refused_words(std::env::args_os().skip(1));
            let words = std::env::args_os().skip(1);
            let words: Vec<String> = words.map(|w| w.to_string_lossy().into_owned()).collect();
            let failure = Failure::usage(usage(&words, &error));
            return end(Err(left.into_iter().fold(failure, Failure::and)));
        }
    };
    if !as_service(&cli) {
        return end(carried_out(cli, app));
    }
    let work = move || carried_out(cli, app).map_or_else(|failure| told(&failure), |()| 0);
    end(service_manager::serve(signals::ask_to_end, Box::new(work)).map_err(Failure::usage))
}

/// Whether the process is a service of Windows, by what it was started with.
fn as_service(cli: &Cli) -> bool {
    matches!(&cli.command, Command::Start(args) if args.as_service)
}

fn carried_out(cli: Cli, app: MakeApp) -> Done {
    let done = listen(&cli).and_then(|()| dispatch(cli, app));
    done.and_then(|()| out::arrived())
}

fn end(done: Done) -> ExitCode {
    let code = done.map_or_else(|failure| told(&failure), |()| 0);
    out::flush();
    log::flush();
    ExitCode::from(code)
}

/// Tells a failure, and its exit code.
fn told(failure: &Failure) -> u8 {
    if !failure.message.is_empty() {
        out::error(&failure.message);
    }
    failure.more.iter().for_each(|line| out::error(line));
    failure.exit as u8
}

/// What is wrong with a command line. What stands behind `credential set NAME` may be a secret and is not repeated.
fn usage(words: &[String], error: &clap::Error) -> String {
    let secret = words.iter().any(|word| word == "credential")
        && error.kind() == clap::error::ErrorKind::UnknownArgument;
    match secret {
        true => "one word too many: a secret is never an argument, which other programs can see; change it if it was one, and give only \
                 its name: the secret is then asked for, or read from the first line of stdin (see --help)"
            .to_owned(),
        false => usage_line(&error.render().to_string()),
    }
}

/// Clap's complaint as one line: what is wrong, without the usage that follows it.
fn usage_line(rendered: &str) -> String {
    let told: Vec<&str> = rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let told = told.join(" ");
    let told = told.strip_prefix("error: ").unwrap_or(&told);
    format!("{told} (see --help)")
}

/// Sets up logging. Only nodes log without being asked; other commands speak by their output.
fn listen(cli: &Cli) -> Done {
    let runs_on = matches!(cli.command, Command::Start(_) | Command::Demo(_));
    let quiet = match cli.command {
        Command::Start(_) => "info",
        _ => "error",
    };
    let Global { log, log_json, .. } = &cli.global;
    let filter = log
        .clone()
        .or_else(|| std::env::var("CLAWMESH_LOG").ok())
        .unwrap_or_else(|| quiet.to_owned());
    let form = match log_json {
        true => Form::Json,
        false => Form::Text,
    };
    if as_service(cli) {
        // There is no terminal, and no stderr that anybody reads.
        let file = Context::new(&cli.global)?.dir.log_file();
        log::into_file(&file).map_err(|e| Failure::state(format!("{}: {e}", file.display())))?;
        log::begin(&filter, form).map_err(Failure::usage)?;
        return out::into_log();
    }
    log::begin(&filter, form).map_err(Failure::usage)?;
    match runs_on {
        true => out::never_wait(),
        false => Ok(()),
    }
}

fn dispatch(cli: Cli, app: MakeApp) -> Done {
    match &cli.command {
        Command::Completions { shell } => return shell::completions(*shell),
        Command::Man { dir } => return shell::man(dir),
        _ => {}
    }
    let ctx = Context::new(&cli.global)?;
    let mut builder = if matches!(cli.command, Command::Start(_)) {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format!("the runtime cannot start: {e}")))?;
    let done = runtime.block_on(run(&ctx, cli.command, app));
    // A read of stdin cannot be called off; waiting for it would keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

async fn run(ctx: &Context, command: Command, app: MakeApp) -> Done {
    match command {
        Command::Start(args) => Box::pin(start::run(ctx, &args, app)).await,
        Command::Demo(args) => Box::pin(demo::run(ctx, &args)).await,
        Command::Identity { command: None } => identity::run(ctx),
        Command::Identity {
            command: Some(command),
        } => rotate::run(ctx, &command).await,
        Command::Status => show::status(ctx).await,
        Command::Peers => show::peers(ctx).await,
        Command::World(args) => show::world(ctx, &args).await,
        Command::Frames(args) => show::frames(ctx, &args).await,
        Command::Events(args) => show::events(ctx, &args).await,
        Command::Proposals { all } => proposals::list(ctx, all).await,
        Command::Show(arg) => record::show(ctx, &arg.proposal).await,
        Command::Approve(args) => decide::decide(ctx, &args, Verdict::Approve).await,
        Command::Reject(args) => decide::decide(ctx, &args, Verdict::Reject).await,
        Command::Approvals { command } => approvals::run(ctx, command.as_ref()).await,
        Command::Alert { command } => alerts::run(ctx, command.as_ref()).await,
        Command::Notify { command } => alerts::notify(ctx, command.as_ref()).await,
        Command::Telegram(command) => channels::bot(ctx, ChannelKind::Telegram, &command).await,
        Command::Slack(command) => channels::bot(ctx, ChannelKind::Slack, &command).await,
        Command::Channel { command } => channels::channel(ctx, command.as_ref()).await,
        Command::Withdraw(arg) => decide::withdraw(ctx, &arg).await,
        Command::Hold(arg) => hold::run(ctx, &arg).await,
        Command::Stop(arg) => decide::stop(ctx, &arg).await,
        Command::Meshes { command } => meshes::run(ctx, command.as_ref()).await,
        Command::Estop(args) => estop::run(ctx, &args).await,
        Command::Ask {
            question,
            goes_on,
            private,
            wait,
        } => planner::ask(ctx, &question, goes_on, (private, wait)).await,
        Command::Infer(args) => infer::run(ctx, &args).await,
        Command::Planner { command } => planner::run(ctx, command.as_ref()).await,
        Command::Propose(args) => decide::propose(ctx, &args).await,
        Command::Trace(arg) => proposals::trace(ctx, &arg).await,
        Command::Policy(command) => policy::run(ctx, &command).await,
        Command::Rehearse(args) => rehearse::run(ctx, &args).await,
        Command::Audit(command) => audit::run(ctx, &command).await,
        Command::Backup { file } => backup::backup(ctx, &file).await,
        Command::Restore { file } => backup::restore(ctx, &file).await,
        Command::State(command) => recovery::state(ctx, &command).await,
        Command::Clock(command) => recovery::clock(ctx, &command).await,
        Command::Trust(command) => trust::run(ctx, &command).await,
        Command::Pair(args) => Box::pin(pair::run(ctx, &args)).await,
        Command::Operator(command) => operators::run(ctx, &command).await,
        Command::Console(args) => console::run(ctx, &args).await,
        #[cfg(feature = "tui")]
        Command::Tui => Box::pin(tui::run(ctx)).await,
        Command::Coordinator(command) => coordinator::run(ctx, &command),
        Command::Gateway(command) => Box::pin(gateway::run(ctx, &command)).await,
        Command::Mcp { command, client } => {
            Box::pin(mcp::run(ctx, command.as_ref(), &client)).await
        }
        Command::Send(args) => Box::pin(messages::send(ctx, &args)).await,
        Command::Message(command) => messages::run(ctx, &command).await,
        Command::Node(command) => messages::node(ctx, &command).await,
        Command::Route(command) => messages::route(ctx, &command).await,
        Command::Model(command) => models::run(ctx, &command).await,
        Command::Device(command) => Box::pin(device::run(ctx, &command)).await,
        Command::Update(args) => Box::pin(update::run(ctx, &args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(ctx, &args)).await,
        Command::Service(command) => service::run(ctx, &command),
        Command::Config(command) => config::run(ctx, &command),
        Command::Credential(command) => credential::run(ctx, &command).await,
        Command::Migrate { from, mesh_name } => {
            migrate::run(ctx, from.as_deref(), mesh_name.as_deref()).await
        }
        Command::Completions { .. } | Command::Man { .. } => Err(Failure::new(
            Exit::Failed,
            "this command has been answered before",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_secret_on_the_command_line_is_not_repeated() {
        let words = ["credential", "set", "provider/x", "s3cret"].map(str::to_owned);
        let line = std::iter::once("clawmesh-node").chain(words.iter().map(String::as_str));
        let error = Cli::try_parse_from(line).unwrap_err();
        let said = usage(&words, &error);
        assert!(!said.contains("s3cret") && said.contains("stdin"), "{said}");
    }

    #[test]
    fn a_usage_error_is_one_line_that_names_the_flag() {
        for line in [
            &["clawmesh-node", "status", "--colour"][..],
            &["clawmesh-node", "approve"],
        ] {
            let error = Cli::try_parse_from(line).unwrap_err();
            let said = usage_line(&error.render().to_string());
            assert!(!said.contains('\n') && !said.starts_with("error"), "{said}");
            assert!(
                said.contains("--colour") || said.contains("<PROPOSAL>"),
                "{said}"
            );
        }
    }
}
