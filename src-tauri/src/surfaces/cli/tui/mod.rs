//! `tui`: the node in a terminal, for SSH. It asks the running node over its own API, once a second, and shows what
//! came; what a person decides is checked and signed as `approve` and `reject` do it.

mod acts;
mod draw;
mod news;
mod screen;
mod sheet;
mod state;
#[cfg(test)]
mod tests;
mod views;
mod wish;

use std::io::IsTerminal as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _, OptionFuture};
use futures_util::stream::FuturesUnordered;

use self::acts::Done as ActDone;
use self::news::News;
use self::screen::Screen;
use self::state::App;
use self::wish::Wish;
use super::context::Context;
use super::fail::{Done, Failure};
use crate::adapters::signals::TerminalEnds;

/// How often the node is asked and ages are drawn again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Requests of the person that are under way at the same time.
const ACTS_MAX: usize = 8;

/// `tui`.
///
/// # Errors
/// If there is no terminal, no node runs, or the terminal cannot be drawn on.
pub(in crate::surfaces::cli) async fn run(ctx: &Context) -> Done {
    if ctx.json {
        return Err(Failure::usage(
            "tui draws on a terminal and prints no JSON; use status, world, nodes or events with --json",
        ));
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "tui needs a terminal for its input and its output; over SSH: ssh -t HOST clawmesh-node tui",
        ));
    }
    // Before the screen is taken: without a node there is nothing to show.
    ctx.remote().await?;
    let unusable = |e: std::io::Error| Failure::failed(format!("the terminal cannot be used: {e}"));
    let mut ended = TerminalEnds::listen().map_err(unusable)?;
    let mut screen = Screen::take().map_err(unusable)?;
    let done = follow(ctx, &mut screen, &mut ended).await;
    drop(screen);
    done.map_err(unusable)
}

/// Shows and obeys until the person leaves.
async fn follow(
    ctx: &Context,
    screen: &mut Screen,
    ended: &mut TerminalEnds,
) -> std::io::Result<()> {
    let mut app = App::new(ctx.person());
    let mut acts: FuturesUnordered<BoxFuture<'_, ActDone>> = FuturesUnordered::new();
    let mut asking: Option<BoxFuture<'_, Result<News, String>>> = None;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        screen.draw(&app, ctx.now())?;
        tokio::select! {
            biased;
            () = ended.come() => return Ok(()),
            key = screen.next() => {
                let Some(key) = key else { return Ok(()) };
                obey(ctx, &mut app, &mut acts, key);
                // What was typed meanwhile, so that a held key costs one drawing.
                while let Some(key) = screen.waiting() {
                    obey(ctx, &mut app, &mut acts, key);
                }
                if app.over() {
                    return Ok(());
                }
                if app.take_hurry() && asking.is_none() {
                    asking = Some(news::ask(ctx, app.tab()).boxed());
                }
            }
            Some(done) = acts.next(), if !acts.is_empty() => {
                app.done(done);
                if asking.is_none() {
                    asking = Some(news::ask(ctx, app.tab()).boxed());
                }
            }
            Some(news) = OptionFuture::from(asking.as_mut()), if asking.is_some() => {
                asking = None;
                app.hear(news);
            }
            _ = tick.tick() => {
                if asking.is_none() {
                    asking = Some(news::ask(ctx, app.tab()).boxed());
                }
            }
        }
    }
}

/// One event of the terminal, and what the person wishes by it.
fn obey<'a>(
    ctx: &'a Context,
    app: &mut App,
    acts: &mut FuturesUnordered<BoxFuture<'a, ActDone>>,
    key: screen::Input,
) {
    let Some(wish) = app.input(key) else { return };
    match wish {
        // A stop never waits behind what else was asked.
        wish if acts.len() < ACTS_MAX || matches!(wish, Wish::Estop(_) | Wish::Stop(_)) => {
            acts.push(acts::perform(ctx, wish).boxed());
        }
        _ => app.say_bad("eight requests are under way; wait for their answers".to_owned()),
    }
}
