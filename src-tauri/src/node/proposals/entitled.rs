//! Whether who asked for an action that runs might still ask for it: the trust in that device, its grants, and the policy, as
//! they are now. From memory alone: a renewal waits for no disk.

use super::Executor;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::capability::Action;
use crate::domain::policy::{Class, Requester};
use crate::domain::proposal::standing::{Known, may_ask};

/// Whether a device is still what it was when it asked: a person's wish comes from a device that may speak for persons, a
/// rule's from one that the policy names for that action, and the policy takes wishes of that sort.
///
/// # Errors
/// `UNTRUSTED_PEER` or `NOT_AUTHORIZED`, with what has changed.
pub(super) fn still(
    executor: &Executor,
    action: &Action,
    class: Class,
    device: &DeviceId,
) -> Result<(), Refusal> {
    let ended = |why: String| Err(Refusal::new(Code::NotAuthorized, why));
    let requester = match class {
        Class::PeerPerson => Requester::Person,
        _ => Requester::Rules,
    };
    let live = executor.trust.live(device);
    let known = live.map_or(Known::Revoked, |record| Known::Trusted(record.grants));
    may_ask(device, requester, &known).map_err(|(code, why)| Refusal::new(code, why))?;
    let policy = executor.policy.current();
    let Some(rule) = policy.rule_for(action) else {
        return ended("no rule of the policy covers it any more".to_owned());
    };
    let name = &rule.name;
    if !rule.requesters.contains(&requester) {
        return ended(format!(
            "rule {name:?} takes no wish of {requester} any more"
        ));
    }
    if class == Class::NamedRules && !rule.from.contains(device) {
        let short = device.short();
        return ended(format!(
            "rule {name:?} of the policy does not name device {short} any more (from)"
        ));
    }
    Ok(())
}
