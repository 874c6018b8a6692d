//! What a peer may ask about standing approvals of this executor.

use serde_json::{Map, Value, json};

use super::{Protocol, need, parse};
use crate::domain::admission::Grant;
use crate::domain::admission::budget::Cause;
use crate::domain::base::{Code, Refusal};
use crate::node::context::budgets::Asked;
use crate::node::links::LinkHandle;
use crate::node::proposals::standing_approvals::{END, GIVE, LIST, end, give, list, offers};

/// Whether a method is one of these.
pub(super) fn is_one(method: &str) -> bool {
    [GIVE, END, LIST].contains(&method)
}

/// Answers one of them, within the share of the device that asks. Bringing a person's word takes the grant `human`, as a
/// decision does; the word itself is proven by its signature alone.
pub(super) async fn answer(
    protocol: &Protocol,
    link: &LinkHandle,
    method: &str,
    mut params: Map<String, Value>,
) -> Result<Value, Refusal> {
    let device = &link.info.device;
    let cause = Cause::Device(device.clone());
    let within = |what| protocol.budgets.asked(device, what, protocol.now());
    match method {
        GIVE => {
            need(protocol, link, Grant::Human)?;
            within(Asked::Give)?;
            let signed = parse(&mut params, "standing")?;
            Ok(json!(give(protocol, cause, signed).await?))
        }
        END => {
            need(protocol, link, Grant::Human)?;
            within(Asked::End)?;
            let signed = parse(&mut params, "end")?;
            Ok(json!(end(protocol, cause, signed).await?))
        }
        LIST => {
            need(protocol, link, Grant::Read)?;
            within(Asked::List)?;
            let (listed, allowed) = (list(protocol).await?, offers(protocol));
            Ok(json!({
                "standing": listed.list, "leftOut": listed.left_out, "allowed": allowed,
            }))
        }
        _ => Err(Refusal::new(Code::UnknownMethod, "unknown method")),
    }
}
