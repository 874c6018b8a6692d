//! `mcp`: the Model Context Protocol over stdin and stdout for a program of this machine, and the programs that have a token.
//!
//! The messages go to the running node as they are, and its answers come back. Where no node runs the program is told so with
//! each message, and the next message finds a node that has been started meanwhile.

use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::args::McpCommand;
use super::context::Context;
use super::fail::{Done, Failure};
use super::{format, out};
use crate::domain::base::limits::{MCP_BODY_MAX_BYTES, MCP_STDIO_AT_ONCE_MAX};
use crate::operator::mcp::{McpAdd, McpClientView};

/// `mcp …`
///
/// # Errors
/// If no node runs where one is needed, or the node refuses.
pub(super) async fn run(ctx: &Context, command: Option<&McpCommand>, client: &str) -> Done {
    match command {
        None => speak(ctx, client).await,
        Some(McpCommand::List) => {
            let all = ctx.remote().await?.mcp_clients().await?;
            list(ctx, &all)
        }
        Some(McpCommand::Add { name }) => add(ctx, name).await,
        Some(McpCommand::Remove { name }) => {
            let left = ctx.remote().await?.mcp_remove(name).await?;
            if ctx.json {
                return out::json(&left);
            }
            out::line(&format!("the token of {name} is no token any more"));
            Ok(())
        }
    }
}

async fn add(ctx: &Context, name: &str) -> Done {
    let remote = ctx.remote().await?;
    let add = McpAdd {
        name: name.to_owned(),
        by: Some(ctx.person()),
    };
    let added = remote.mcp_add(&add).await?;
    if ctx.json {
        return out::json(&added);
    }
    let address = remote.address();
    out::line(&format!("address  http://{address}/mcp"));
    out::line(&format!("token    {}", added.token));
    out::aside("the token is not shown again; the program sends it as Authorization: Bearer TOKEN");
    Ok(())
}

fn list(ctx: &Context, all: &[McpClientView]) -> Done {
    if ctx.json {
        return out::json(&all);
    }
    let now = ctx.time().0;
    let ago = |at: u64| format::age(now, at);
    let rows = all.iter().map(|one| {
        let last = one.recent.first();
        vec![
            one.name.clone(),
            one.says.clone().unwrap_or_else(|| "-".to_owned()),
            match one.added_at {
                Some(_) => "token".to_owned(),
                None => "this machine".to_owned(),
            },
            one.heard_at.map_or_else(|| "never".to_owned(), ago),
            one.calls.to_string(),
            one.refused.to_string(),
            last.map_or_else(|| "-".to_owned(), |call| call.tool.clone()),
        ]
    });
    let head = ["NAME", "SAYS", "BY", "HEARD", "CALLS", "REFUSED", "LAST"];
    let nothing = "no program speaks MCP with this node; `clawmesh-node mcp add NAME` lets one in";
    out::table(&head, &rows.collect::<Vec<_>>(), nothing);
    Ok(())
}

/// A line of stdin; `Err` for one that is too long, which is skipped.
async fn line(
    stdin: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<Result<String, ()>>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("stdin: {error}"));
    let most = u64::try_from(MCP_BODY_MAX_BYTES).unwrap_or(u64::MAX);
    let mut text = Vec::new();
    let mut piece = (&mut *stdin).take(most + 1);
    let read = piece.read_until(b'\n', &mut text).await;
    if read.map_err(failed)? == 0 {
        return Ok(None);
    }
    if text.last() == Some(&b'\n') || text.len() <= MCP_BODY_MAX_BYTES {
        return Ok(Some(String::from_utf8(text).map_err(drop)));
    }
    loop {
        let held = stdin.fill_buf().await.map_err(failed)?;
        let (count, ends) = match held.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (held.len(), held.is_empty()),
        };
        stdin.consume(count);
        if ends {
            return Ok(Some(Err(())));
        }
    }
}

/// Passes messages on until stdin ends.
async fn speak(ctx: &Context, client: &str) -> Done {
    let mut stdin = BufReader::new(tokio::io::stdin());
    let version = Mutex::new(None);
    let mut asking = FuturesUnordered::new();
    let mut open = true;
    while open || !asking.is_empty() {
        let reads = open && asking.len() < MCP_STDIO_AT_ONCE_MAX;
        tokio::select! {
            read = line(&mut stdin), if reads => match read? {
                None => open = false,
                Some(Ok(text)) if text.trim().is_empty() => {}
                Some(Ok(text)) => asking.push(answer(ctx, client, &version, text)),
                Some(Err(())) => {
                    let why = format!("a message is a line of UTF-8 of at most {MCP_BODY_MAX_BYTES} bytes");
                    out::line(&fault(&Value::Null, -32700, &why));
                }
            },
            Some(said) = asking.next() => if let Some(said) = said {
                out::line(&said);
            },
        }
    }
    Ok(())
}

fn fault(id: &Value, code: i32, why: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}}).to_string()
}

/// The answer to a message, in a line.
async fn answer(
    ctx: &Context,
    client: &str,
    version: &Mutex<Option<String>>,
    text: String,
) -> Option<String> {
    let message: Value = match serde_json::from_str(text.trim()) {
        Ok(message) => message,
        Err(error) => return Some(fault(&Value::Null, -32700, &format!("no JSON: {error}"))),
    };
    let id = message.get("id");
    let is_id = |id: &Value| id.is_string() || id.is_i64() || id.is_u64();
    if message["jsonrpc"] != "2.0" || id.is_some_and(|id| !is_id(id)) {
        let why = "a message is an object with \"jsonrpc\": \"2.0\"; its id, where it has one, is a text or a whole number";
        return Some(fault(&Value::Null, -32600, why));
    }
    let agreed = version
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let said = async {
        let remote = ctx.remote().await?;
        Ok::<_, Failure>(remote.mcp(client, agreed.as_deref(), text.trim()).await?)
    };
    let said = match said.await {
        Ok(said) => said?,
        Err(failure) => {
            // A notification has no answer.
            return Some(fault(id?, -32000, &failure.to_string()));
        }
    };
    let read: Value = serde_json::from_str(&said).unwrap_or_default();
    if message["method"] == "initialize"
        && let Some(agreed) = read["result"]["protocolVersion"].as_str()
    {
        *version.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed.to_owned());
    }
    Some(said.replace(['\n', '\r'], " "))
}
