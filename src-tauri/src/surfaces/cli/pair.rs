//! `pair`: two nodes come to trust each other. One person lets others ask (`--accept`), the other one
//! asks (`--url`, or the text of the link); both compare and say yes. The node does the work; here its
//! state is watched, shown, and answered.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use super::args::PairArgs;
use super::context::Context;
use super::fail::{Done, Failure, exit_of};
use super::{clean, format, out};
use crate::adapters::signals;
use crate::domain::admission::{Preset, worst};
use crate::domain::base::limits::PAIR_ASKS_MAX;
use crate::node::pairing::{Nearby, PairEndView, PairSessionView, PairStage, PairingView};
use crate::operator::pairing::{PairDecision, PairStart};
use crate::surfaces::remote::Remote;

/// How often the node is asked how far the pairing is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Input = Lines<BufReader<Stdin>>;

/// `pair`.
///
/// # Errors
/// If the node does not run, the other side is not reached, or anybody says no.
pub(super) async fn run(ctx: &Context, args: &PairArgs) -> Done {
    if let Some(preset) = &args.preset {
        preset
            .parse::<Preset>()
            .map_err(|e| Failure::usage(format!("--as: {e}")))?;
        super::trust::warn_of_admin(Some(preset), None, args.yes)?;
    }
    let remote = ctx.remote().await?;
    if args.cancel {
        let view = remote.pair_cancel().await?;
        return said(ctx, "cancelled", &view, "pairing is closed");
    }
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let before = remote.pairing().await?;
    let seen = before.last.as_ref().map_or(0, |end| end.id);
    if args.accept {
        let view = remote.pair_open().await?;
        opened(ctx, &view)?;
    } else {
        let target = match args.target.as_ref().or(args.url.as_ref()) {
            Some(target) => target.clone(),
            None => pick(&before.nearby, &mut input).await?,
        };
        let view = remote.pair_start(&PairStart { target }).await?;
        said(ctx, "started", &view.session, "reaching the other node …")?;
    }
    let followed = tokio::select! {
        followed = follow(ctx, args, &remote, &mut input, seen) => followed,
        Ok(_) = signals::asked() => Err(Failure::failed("interrupted; the pairing is cancelled")),
    };
    if followed.is_err() {
        // The window must not outlive the person who watches it; a node that is gone has none.
        let _ = remote.pair_cancel().await;
    }
    followed
}

fn said(ctx: &Context, step: &str, data: &impl serde::Serialize, human: &str) -> Done {
    if ctx.json {
        return out::json_line(&json!({"step": step, "data": data}));
    }
    out::line(human);
    Ok(())
}

fn opened(ctx: &Context, view: &PairingView) -> Done {
    let Some(window) = &view.window else {
        return Err(Failure::failed("the window closed as soon as it was open"));
    };
    said(
        ctx,
        "window",
        window,
        "pairing is open for 5 minutes and 3 tries; at the other node run:",
    )?;
    if !ctx.json {
        out::whole(&format!("  clawmesh-node pair '{}'", window.link));
        if window.link.contains("url=ws://127.") {
            out::line(
                "this node listens on this machine only; for other machines start it with --host 0.0.0.0",
            );
        }
    }
    Ok(())
}

/// Lets the person pick a node nearby.
async fn pick(nearby: &[Nearby], input: &mut Input) -> Result<String, Failure> {
    let open: Vec<&Nearby> = nearby.iter().filter(|n| n.pairing).collect();
    if open.is_empty() {
        return Err(Failure::usage(
            "no node nearby is open for pairing; run `clawmesh-node pair --accept` beside it, or give --url ws://host:port or its link",
        ));
    }
    let rows: Vec<Vec<String>> = open
        .iter()
        .enumerate()
        .map(|(n, node)| {
            vec![
                (n + 1).to_string(),
                format::who(Some(&node.name), &node.device),
                node.url.clone(),
            ]
        })
        .collect();
    out::table(&["#", "NODE", "URL"], &rows, "");
    out::line("which one?");
    let line = answer(input).await?;
    let chosen = line
        .parse::<usize>()
        .ok()
        .and_then(|n| open.get(n.checked_sub(1)?));
    chosen
        .map(|n| n.url.clone())
        .ok_or_else(|| Failure::usage(format!("{line:?} is none of the numbers")))
}

async fn answer(input: &mut Input) -> Result<String, Failure> {
    match input.next_line().await {
        Ok(Some(line)) => Ok(line.trim().to_lowercase()),
        Ok(None) => Err(Failure::failed(
            "nobody answered: stdin has ended; the pairing is cancelled",
        )),
        Err(e) => Err(Failure::failed(format!("stdin cannot be read: {e}"))),
    }
}

/// Watches the node until the pairing has ended.
async fn follow(
    ctx: &Context,
    args: &PairArgs,
    remote: &Remote,
    input: &mut Input,
    mut seen: u64,
) -> Done {
    let mut asked = 0;
    loop {
        let view = remote.pairing().await?;
        if let Some(end) = view.last.as_ref().filter(|end| end.id > seen) {
            seen = end.id;
            if end.stored {
                return said(ctx, "paired", end, &clean::line(&end.message));
            }
            let failure = failed(ctx, end)?;
            if !args.accept || view.window.is_none() {
                return Err(failure);
            }
            out::error(&failure.message);
            let left = view.window.as_ref().map_or(0, |w| w.tries_left);
            said(
                ctx,
                "window",
                &view.window,
                &format!("pairing is still open, tries left: {left}"),
            )?;
        }
        match &view.session {
            Some(session) if session.stage == PairStage::Comparing && session.id > asked => {
                asked = session.id;
                compare(ctx, args, remote, input, session).await?;
            }
            None if args.accept && view.window.is_none() => {
                return Err(Failure::failed(
                    "TIMEOUT: the pairing window is closed and nobody was paired",
                ));
            }
            None if !args.accept => {
                return Err(Failure::failed(
                    "the node has started again and knows nothing of this pairing; begin again",
                ));
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

fn failed(ctx: &Context, end: &PairEndView) -> Result<Failure, Failure> {
    if ctx.json {
        out::json_line(&json!({"step": "failed", "data": end}))?;
    }
    let code = end.code.as_deref().unwrap_or("PAIRING_REJECTED");
    let message = format!("{code}: {}; nothing is stored here", end.message);
    Ok(Failure::new(exit_of(code), message))
}

/// Shows what to compare, asks, and tells the node.
async fn compare(
    ctx: &Context,
    args: &PairArgs,
    remote: &Remote,
    input: &mut Input,
    session: &PairSessionView,
) -> Done {
    let Some(shown) = &session.compare else {
        return Ok(());
    };
    if ctx.json {
        out::json_line(&json!({"step": "compare", "data": session}))?;
    } else {
        out::line(&format!(
            "{}, role {}, mesh {}",
            format::who(Some(&shown.peer.name), &shown.peer.device_id),
            shown.peer.role,
            shown.peer.mesh
        ));
        let pictures: Vec<String> = shown
            .emoji
            .iter()
            .map(|e| format!("{} {}", e.emoji, e.name))
            .collect();
        out::line(&format!("  {}", pictures.join("   ")));
        out::line(&format!("  {}", shown.digits));
        if let Some(joins) = &shown.joins {
            out::line(&format!("  if both say yes, {joins}"));
        }
    }
    let Some(yes) = ask_same(ctx, remote, input, session.id).await? else {
        return Ok(());
    };
    let preset = match (&args.preset, yes, ctx.json) {
        (_, false, _) => None,
        (Some(preset), ..) => Some(preset.clone()),
        // A program that says yes without --as takes what the role suggests.
        (None, true, true) => Some(shown.suggested.clone()),
        (None, true, false) => {
            match ask_preset(ctx, remote, input, session.id, &shown.suggested).await? {
                Some(preset) => Some(preset),
                None => return Ok(()),
            }
        }
    };
    let decision = PairDecision {
        session: session.id,
        yes,
        preset,
    };
    let view = remote.pair_decide(&decision).await?;
    if yes {
        return said(
            ctx,
            "waiting",
            &view.session,
            "waiting for the person at the other node …",
        );
    }
    Ok(())
}

/// The meaning of an answer to a yes-or-no question.
fn meant(word: &str) -> Option<bool> {
    match word {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

/// Asks whether both screens show the same. A slip of the finger is no answer: it is asked again, a few
/// times, and then the answer is no. The end of the input ends the pairing.
async fn ask_same(
    ctx: &Context,
    remote: &Remote,
    input: &mut Input,
    id: u64,
) -> Result<Option<bool>, Failure> {
    let question = "does the other screen show the same? (yes/no)";
    for left in (0..PAIR_ASKS_MAX).rev() {
        let Some(word) = ask_until_end(ctx, remote, input, id, question).await? else {
            return Ok(None);
        };
        if let Some(yes) = meant(&word) {
            return Ok(Some(yes));
        }
        out::error(&match left {
            0 => format!("{word:?} is neither yes nor no; that counts as no"),
            _ => format!("{word:?} is neither yes nor no; type yes or no"),
        });
    }
    Ok(Some(false))
}

/// Asks what the other node may do here, until the answer is something.
async fn ask_preset(
    ctx: &Context,
    remote: &Remote,
    input: &mut Input,
    id: u64,
    suggested: &str,
) -> Result<Option<String>, Failure> {
    let question =
        format!("what may it do here? field, command-center, owner, viewer or gen1 [{suggested}]");
    loop {
        let Some(said) = ask_until_end(ctx, remote, input, id, &question).await? else {
            return Ok(None);
        };
        if said.is_empty() {
            return Ok(Some(suggested.to_owned()));
        }
        match said.parse::<Preset>() {
            // The second answer is the typed yes that the first asks for.
            Ok(Preset::Owner) => {
                out::error(worst::ADMIN_WARNING.en);
                let sure = "type owner again to give it, anything else to choose anew";
                match ask_until_end(ctx, remote, input, id, sure).await? {
                    Some(again) if again == said => return Ok(Some(said)),
                    Some(_) => {}
                    None => return Ok(None),
                }
            }
            Ok(_) => return Ok(Some(said)),
            Err(why) => out::error(&why),
        }
    }
}

/// Asks the person; `None` if the pairing ends before they answer.
async fn ask_until_end(
    ctx: &Context,
    remote: &Remote,
    input: &mut Input,
    id: u64,
    question: &str,
) -> Result<Option<String>, Failure> {
    if !ctx.json {
        out::line(question);
    }
    let over = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let view = remote.pairing().await?;
            if view.session.is_none_or(|s| s.id != id) {
                return Ok::<(), Failure>(());
            }
        }
    };
    tokio::select! {
        line = answer(input) => line.map(Some),
        ended = over => ended.map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes_and_only_a_no_is_a_no() {
        assert_eq!((meant("y"), meant("yes")), (Some(true), Some(true)));
        assert_eq!((meant("n"), meant("no")), (Some(false), Some(false)));
        for slip in ["", "yed", "yes!", "nein", "ja", "yesno"] {
            assert_eq!(meant(slip), None, "{slip:?}");
        }
    }
}
