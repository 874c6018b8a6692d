//! `start`: configuration in, a running node out, and a graceful end.
//!
//! A signal ends the node gracefully; the same one again, a second later, at once. While the node
//! listens, `run.json` in the state directory says where, for the other commands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::args::StartArgs;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{MakeApp, format, offline, out};
use crate::adapters::clock::{SharedClock, SystemClock};
use crate::adapters::log::{self, Form};
use crate::adapters::paths::StateDir;
use crate::adapters::service_manager;
use crate::adapters::signals::Signals;
use crate::adapters::system::has_terminal;
use crate::node::config::ConfigError;
use crate::node::ending::Ending;
use crate::node::hosting::{self, BootError};
use crate::node::{Config, Node, Opened, Outside, RawConfig, refused};

/// `start`.
///
/// # Errors
/// If the configuration is wrong, the state directory cannot be used or the port is taken.
pub(super) async fn run(ctx: &Context, args: &StartArgs, app: MakeApp) -> Done {
    let mut config = settings(ctx, args).await?;
    let mut hearing = None;
    loop {
        match once(ctx, args, app, &config, &mut hearing).await? {
            Ended::Done => return Ok(()),
            Ended::Again { port, why } => {
                // The node may have been given another name meanwhile.
                config = settings(ctx, args).await?;
                // Peers know the port, also one that the system chose.
                config.port = port;
                if let Some(flags) = &mut config.flags {
                    flags.port = Some(port);
                }
                if ctx.json {
                    out::json_line(&json!({"restarting": why}))?;
                } else {
                    out::line(&why);
                }
            }
        }
    }
}

/// The configuration of a directory that can be started on. Where there is none, whatever an earlier
/// run left moving is made safe before that is said.
async fn settings(ctx: &Context, args: &StartArgs) -> Result<Config, Failure> {
    let config = config(&ctx.dir, args.to_raw()).and_then(|config| {
        hosting::prepare(&ctx.dir, &config).map_err(Failure::state)?;
        Ok(config)
    });
    match config {
        Ok(config) => Ok(config),
        Err(failure) => {
            let left = refused::make_safe(&ctx.dir, Vec::new(), &clock()).await;
            Err(left.into_iter().fold(failure, Failure::and))
        }
    }
}

/// Makes safe what an earlier run left moving, where a command line that cannot be parsed is a `start`; returns
/// what is not safe, a sentence each.
pub(super) fn refused_words(words: impl Iterator<Item = OsString>) -> Vec<String> {
    let Some(named) = state_dir_of(words) else {
        return Vec::new();
    };
    let env = |name: &str| std::env::var_os(name);
    let Ok(dir) = StateDir::resolve(named.as_deref(), env) else {
        return Vec::new();
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    // Errors are logged, and the command line has its own to tell.
    let _ = log::begin("error", Form::Text);
    let left = match runtime {
        Ok(runtime) => runtime.block_on(refused::make_safe(&dir, Vec::new(), &clock())),
        Err(error) => {
            let why = format!("the actuators could not be made safe: {error}");
            tracing::error!("{why}");
            vec![why]
        }
    };
    log::flush();
    left
}

/// The state directory that a `start` names, if it names one; `None` for another command.
fn state_dir_of(words: impl Iterator<Item = OsString>) -> Option<Option<PathBuf>> {
    let words: Vec<OsString> = words.collect();
    let text = |at: usize| words.get(at).and_then(|w| w.to_str()).unwrap_or_default();
    let (mut starts, mut named, mut at) = (None, None, 0);
    while at < words.len() {
        let word = text(at);
        if word == "--state-dir" || word == "--log" {
            at += 1;
            if word == "--state-dir" {
                named = words.get(at).map(PathBuf::from);
            }
        } else if let Some(path) = word.strip_prefix("--state-dir=") {
            named = Some(PathBuf::from(path));
        } else if !word.starts_with('-') && starts.is_none() {
            starts = Some(word == "start");
        }
        at += 1;
    }
    starts.filter(|starts| *starts).map(|_| named)
}

fn clock() -> SharedClock {
    Arc::new(SystemClock::default())
}

/// How one run of the node ended.
enum Ended {
    /// It was requested.
    Done,
    /// The node wants to be started again.
    Again {
        /// The port it had.
        port: u16,
        /// Why.
        why: String,
    },
}

async fn once(
    ctx: &Context,
    args: &StartArgs,
    app: MakeApp,
    config: &Config,
    hearing: &mut Option<(Signals, Ending)>,
) -> Result<Ended, Failure> {
    let mut outside = Outside::real(clock());
    outside.marks = ctx.marks();
    let opened = Opened::open_in(config.clone(), outside)
        .await
        .map_err(|e| offline::failure(&e))?;
    // From here on a request to end is heeded, and never cuts off what the start itself does.
    let heard = match hearing.take() {
        Some(hearing) => Ok(hearing),
        None => {
            let ending = match has_terminal() {
                true => Ending::default(),
                false => Ending::without_terminal(),
            };
            let signals = Signals::listen(ending.clone()).map_err(deaf);
            signals.map(|signals| (signals, ending))
        }
    };
    let app = app(ctx.dir.root()).map_err(Failure::state);
    let (app, (signals, ending)) = match app.and_then(|app| Ok((app, heard?))) {
        Ok((app, heard)) => (app, hearing.insert(heard)),
        Err(failure) => {
            let left = opened.give_up().await;
            return Err(left.into_iter().fold(failure, Failure::and));
        }
    };
    ending.concerns(Some(&opened));
    let node = Node::serve(opened, app)
        .await
        .map_err(|e| offline::failure(&e))?;
    let address = node.address();
    let (name, id) = (
        node.context().config.name.clone(),
        node.context().own_id().clone(),
    );
    let run_file = match hosting::RunFile::write(&ctx.dir, &node, ctx.time()) {
        Ok(written) => written,
        Err(error) => {
            node.stop().await;
            return Err(Failure::state(error));
        }
    };
    if ctx.json {
        out::json_line(&json!({"listening": address, "deviceId": id, "pid": std::process::id()}))?;
    } else {
        out::line(&format!(
            "{} listens on {address}",
            format::who(Some(&name), id.as_str())
        ));
    }
    service_manager::ready(&format!("listens on {address}"));
    let fell = wait_for_end(&node, signals, args.end_with_stdin).await;
    let again = node.restart_reason().filter(|_| fell);
    run_file.withdraw(&node).await;
    let stopped = node.stop().await;
    ending.concerns(None);
    let unwritten = stopped.unwritten.map(|why| {
        format!(
            "the end of the node could not be written to {} ({why}); make room there, then the next start puts in order what is missing",
            ctx.dir.root().display()
        )
    });
    let also = |failure: Failure| unwritten.iter().cloned().fold(failure, Failure::and);
    if let Some(first) = stopped.secured.first() {
        let why = first
            .problem
            .as_deref()
            .unwrap_or("no answer of its driver");
        return Err(also(Failure::new(
            Exit::Alarm,
            format!(
                "the node has ended and {} is NOT confirmed to be in its safe state ({why}); look at it now. The next start tries again",
                first.target
            ),
        )));
    }
    if let Some(why) = again {
        let port = address.port();
        return Ok(Ended::Again { port, why });
    }
    if fell {
        return Err(also(Failure::failed(
            "the node ended by itself because one of its tasks ended; its log says which",
        )));
    }
    match unwritten {
        Some(why) => Err(Failure::state(why)),
        None => Ok(Ended::Done),
    }
}

/// Waits for a signal, the end of stdin or the node's own end; says whether it was the last.
async fn wait_for_end(node: &Node, signals: &mut Signals, end_with_stdin: bool) -> bool {
    tokio::select! {
        _ = signals.asked() => false,
        () = stdin_closed(), if end_with_stdin => false,
        () = node.stopped() => true,
    }
}

async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut scrap = [0u8; 256];
    while stdin.read(&mut scrap).await.is_ok_and(|n| n > 0) {}
}

fn deaf(error: std::io::Error) -> Failure {
    Failure::failed(format!("signals cannot be heard: {error}"))
}

/// The configuration: the file of the state directory, if there is one, under the flags.
///
/// # Errors
/// If a key or value is wrong, naming it.
pub(super) fn config(dir: &StateDir, flags: RawConfig) -> Result<Config, Failure> {
    hosting::config(dir, flags).map_err(|e| failed(dir, &e))
}

/// The configuration file of a state directory, if there is one.
///
/// # Errors
/// If it cannot be read or has an unknown key.
pub(super) fn raw_config(dir: &StateDir) -> Result<Option<RawConfig>, Failure> {
    hosting::raw_config(dir).map_err(|e| failed(dir, &e))
}

/// What is wrong with a configuration, and what to do.
pub(super) fn failed(dir: &StateDir, error: &BootError) -> Failure {
    match error {
        BootError::Read { .. } | BootError::Names(_) | BootError::Path(_) => Failure::state(error),
        BootError::TooLarge { .. } => Failure::usage(error),
        BootError::Config(ConfigError::Parse { line, text, .. }) => Failure::usage(error)
            .and(format!("  {line} | {text}"))
            .and("mend that line; config.example.toml documents every key. Nothing was started"),
        // A flag beats the file, so that either may be meant.
        BootError::Config(ConfigError::Value { .. }) => match dir.config_file() {
            file if file.exists() => Failure::usage(error).and(format!(
                "mend the flag, or the key in {}. Nothing was started",
                file.display()
            )),
            _ => Failure::usage(error),
        },
    }
}
