//! `infer`: asks a model of this node or of the mesh; its words go to stdout as they come.

use super::args::InferArgs;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{clean, out};
use crate::adapters::signals;
use crate::domain::inference::Usage;
use crate::operator::inference::{InferRequest, Inferred};

/// The result of the request.
#[derive(Default)]
struct Came {
    model: String,
    route: String,
    text: String,
    usage: Option<Usage>,
    failed: Option<String>,
}

/// `infer PROMPT`
///
/// # Errors
/// If the node does not run or refuses, no model answers, or a person interrupts it.
pub(super) async fn run(ctx: &Context, args: &InferArgs) -> Done {
    let remote = ctx.remote().await?;
    let asked = InferRequest {
        prompt: args.prompt.clone(),
        model: args.model.clone(),
        peer: args.peer.clone(),
        max_tokens: args.max_tokens,
    };
    let (mut line, mut came) = (Vec::new(), Came::default());
    let mut sink = |bytes: &[u8]| {
        for byte in bytes {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            let whole = std::mem::take(&mut line);
            if !whole.is_empty() {
                let told = serde_json::from_slice(&whole).map_err(std::io::Error::other)?;
                take(ctx, &mut came, told);
            }
        }
        Ok(())
    };
    let asking = remote.infer(&asked, &mut sink);
    tokio::select! {
        asked = asking => asked?,
        // The node takes the request back when this connection ends.
        Ok(_) = signals::asked() => return Err(Failure::failed("interrupted; the request is taken back")),
    }
    if !ctx.json && !came.text.is_empty() {
        out::line("");
    }
    match (came.usage, came.failed) {
        (Some(usage), _) if ctx.json => out::json(&serde_json::json!({
            "model": came.model, "route": came.route, "text": came.text, "usage": usage,
            "finishReason": if usage.cut { "length" } else { "stop" },
        })),
        (Some(usage), _) => {
            out::aside_line(&format!(
                "{}, {} tokens read, {} written{}",
                came.model,
                usage.input_tokens,
                usage.output_tokens,
                if usage.cut {
                    ", cut off at the limit"
                } else {
                    ""
                }
            ));
            out::arrived()
        }
        (None, Some(why)) => Err(Failure::new(Exit::Failed, why)),
        (None, None) => {
            let why = "the node ended before the reply did";
            Err(Failure::new(Exit::NotRunning, why))
        }
    }
}

fn take(ctx: &Context, came: &mut Came, told: Inferred) {
    match told {
        Inferred::Begun { model, route } => (came.model, came.route) = (model, route),
        Inferred::Text { text } => {
            if !ctx.json {
                let lines: Vec<String> = text.split('\n').map(clean::clean).collect();
                out::print(&lines.join("\n"));
            }
            came.text.push_str(&text);
        }
        Inferred::Ended { usage } => came.usage = Some(usage),
        Inferred::Failed { why } => came.failed = Some(why),
    }
}
