//! `start`: configuration in, a running node out, and a graceful end.
//!
//! The first signal ends the node gracefully, a second one at once. While the node listens,
//! `run.json` in the state directory says where, for the other commands.

use std::sync::Arc;

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::args::StartArgs;
use super::context::Context;
use super::fail::{Done, Failure};
use super::{MakeApp, out, state};
use crate::adapters::clock::SystemClock;
use crate::adapters::paths::StateDir;
use crate::node::boot::{self, BootError};
use crate::node::config::ConfigError;
use crate::node::{Config, Node, Opened, RawConfig};

/// `start`.
///
/// # Errors
/// If the configuration is wrong, the state directory cannot be used or the port is taken.
pub async fn run(ctx: &Context, args: &StartArgs, app: MakeApp) -> Done {
    let config = config(&ctx.dir, args.to_raw())?;
    boot::prepare(&ctx.dir, &config).map_err(Failure::state)?;
    let mut config = config;
    let mut signals = None;
    loop {
        match once(ctx, args, app, &config, &mut signals).await? {
            Ended::Done => return Ok(()),
            Ended::Again { port, why } => {
                // The node may have been given another name meanwhile.
                config = self::config(&ctx.dir, args.to_raw())?;
                // Peers know the port, also one that the system chose.
                config.port = port;
                if ctx.json {
                    out::json_line(&json!({"restarting": why}))?;
                } else {
                    out::line(&why);
                }
            }
        }
    }
}

/// How one run of the node ended.
enum Ended {
    /// Somebody asked for it.
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
    signals: &mut Option<Signals>,
) -> Result<Ended, Failure> {
    let opened = Opened::open(config.clone(), Arc::new(SystemClock::default()))
        .await
        .map_err(|e| state::failure(&e))?;
    let app = app(ctx.dir.root()).map_err(Failure::state)?;
    // From here on a request to end is heeded, and never cuts off what the start itself does.
    let signals = match signals {
        Some(listening) => listening,
        None => signals.insert(Signals::listen()?),
    };
    let node = Node::start(opened, app)
        .await
        .map_err(|e| state::failure(&e))?;
    let address = node.address();
    let (name, id) = (
        node.shared().config.name.clone(),
        node.shared().own_id().clone(),
    );
    let run_file = match boot::RunFile::write(&ctx.dir, &node, ctx.time()) {
        Ok(written) => written,
        Err(error) => {
            node.stop().await;
            return Err(Failure::state(error));
        }
    };
    if ctx.json {
        out::json_line(&json!({"listening": address, "deviceId": id, "pid": std::process::id()}))?;
    } else {
        out::line(&format!("{name} ({}) listens on {address}", id.short()));
    }
    let fell = wait_for_end(&node, signals, args.end_with_stdin).await?;
    let again = node.restart_reason().filter(|_| fell);
    run_file.withdraw();
    let ended = tokio::select! {
        () = node.stop() => true,
        second = signals.next() => { second?; false }
    };
    if !ended {
        out::error("stopped at once: a second signal came before everything had ended");
        std::process::exit(130);
    }
    if let Some(why) = again {
        let port = address.port();
        return Ok(Ended::Again { port, why });
    }
    if fell {
        return Err(Failure::failed(
            "the node ended by itself because one of its tasks ended; its log says which",
        ));
    }
    Ok(Ended::Done)
}

/// Waits for a signal, the end of stdin or the node's own end; says whether it was the last.
async fn wait_for_end(
    node: &Node,
    signals: &mut Signals,
    end_with_stdin: bool,
) -> Result<bool, Failure> {
    tokio::select! {
        got = signals.next() => got.map(|()| false),
        () = stdin_closed(), if end_with_stdin => Ok(false),
        () = node.stopped() => Ok(true),
    }
}

async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut scrap = [0u8; 256];
    while stdin.read(&mut scrap).await.is_ok_and(|n| n > 0) {}
}

/// What asks this process to end, heard from the moment this is made.
pub struct Signals {
    #[cfg(unix)]
    heard: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    /// Listens from now on: a signal that comes before anybody waits for it is kept.
    ///
    /// # Errors
    /// If the system lets us hear no signals.
    pub fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let hear = |kind| signal(kind).map_err(deaf);
            let heard = [
                hear(SignalKind::interrupt())?,
                hear(SignalKind::terminate())?,
                hear(SignalKind::hangup())?,
            ];
            Ok(Self { heard })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for Ctrl-C or a request of the system to end.
    ///
    /// # Errors
    /// If the system lets us hear no signals.
    pub async fn next(&mut self) -> Result<(), Failure> {
        #[cfg(unix)]
        {
            let [interrupt, terminate, hangup] = &mut self.heard;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            Ok(())
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.map_err(deaf)
    }
}

fn deaf(error: std::io::Error) -> Failure {
    Failure::failed(format!("signals cannot be heard: {error}"))
}

/// Waits for Ctrl-C or a request of the system to end.
///
/// # Errors
/// If the system lets us hear no signals.
pub async fn signal() -> Result<(), Failure> {
    Signals::listen()?.next().await
}

/// The configuration: the file of the state directory, if there is one, under the flags.
///
/// # Errors
/// If a key or value is wrong, naming it.
pub fn config(dir: &StateDir, flags: RawConfig) -> Result<Config, Failure> {
    boot::config(dir, flags).map_err(|e| failed(dir, &e))
}

/// The configuration file of a state directory, if there is one.
///
/// # Errors
/// If it cannot be read or has an unknown key.
pub fn raw_config(dir: &StateDir) -> Result<Option<RawConfig>, Failure> {
    boot::raw_config(dir).map_err(|e| failed(dir, &e))
}

fn failed(dir: &StateDir, error: &BootError) -> Failure {
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
