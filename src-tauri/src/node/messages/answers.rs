//! What other nodes ask of the runs of this one.

use serde_json::{Map, Value, json};

use super::Messages;
use super::runs::{RunAsk, begin, cancel, invalid, look};
use crate::domain::base::Refusal;
use crate::domain::base::limits::NAME_MAX_BYTES;
use crate::node::links::LinkHandle;

fn id_of(params: &Map<String, Value>) -> Result<&str, Refusal> {
    let id = params.get("id").and_then(Value::as_str);
    id.filter(|id| id.len() <= NAME_MAX_BYTES)
        .ok_or_else(|| invalid("id must be a text"))
}

/// Another node asks an agent of this one.
///
/// # Errors
/// As [`begin`].
pub async fn asked(
    messages: &Messages,
    link: &LinkHandle,
    params: Map<String, Value>,
) -> Result<Value, Refusal> {
    let ask: RunAsk =
        serde_json::from_value(Value::Object(params)).map_err(|e| invalid(e.to_string()))?;
    begin(messages, &link.info.device, ask).await?;
    Ok(json!({}))
}

/// Another node asks how its run stands.
///
/// # Errors
/// As [`look`].
pub async fn told(
    messages: &Messages,
    link: &LinkHandle,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let from = params
        .get("from")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let told = look(messages, &link.info.device, id_of(params)?, from).await?;
    Ok(serde_json::to_value(told).unwrap_or_default())
}

/// Another node takes its run back.
///
/// # Errors
/// `INVALID_PARAMS`.
pub fn cancelled(
    messages: &Messages,
    link: &LinkHandle,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    cancel(messages, &link.info.device, id_of(params)?);
    Ok(json!({}))
}
