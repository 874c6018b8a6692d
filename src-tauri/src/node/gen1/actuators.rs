//! Actuators of gen-1 nodes, as their driver reaches them: which link may carry a command, and how one is
//! said. It decides nothing: a start comes here with the gate's permit, and is said once.
//!
//! Only a link that we dialed will do: there the gen-1 node has proven its key, and there alone it answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use crate::adapters::devices::{Carrier, DriverError};
use crate::domain::admission::Generation;
use crate::domain::base::limits::GEN1_REFUSAL_MAX_CHARS;
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::gate::Gen1Command;
use crate::domain::gate::command::{Behind, Saying, forward_params};
use crate::domain::plan::election::role_for_gen1;
use crate::domain::wire::envelope::RemoteError;
use crate::domain::wire::handshake::Hello;
use crate::node::frame_log::{Frames, WeakFrames};
use crate::node::guards::Guards;
use crate::node::links::{Link, LinkHandle};

/// The refusals that a gen-1 node gives before it acts. After any other answer it is unknown whether it acted.
const BEFORE_ACTING: [Code; 12] = [
    Code::InvalidParams,
    Code::LoopDetected,
    Code::InvalidCommandEnvelope,
    Code::TrustEnvelopeMismatch,
    Code::ActuationDeclarationRequired,
    Code::InvalidTrustPolicy,
    Code::TrustMetadataRequired,
    Code::LlmOnlyActuationBlocked,
    Code::InsufficientTrustTier,
    Code::VerificationRequired,
    Code::UnknownMethod,
    // Also our own, where too much waits on the link to say anything.
    Code::Busy,
];

/// Whether a device acts for this node: a gen-1 node behind an actuator of ours.
pub fn acts(guards: &Guards, hello: &Hello) -> bool {
    hello.features.is_empty() && !guards.behind(&hello.device_id).is_empty()
}

/// The configuration has changed: links with gen-1 nodes that act for this node now and did not when the link began, or the
/// other way round, are made anew.
pub fn meet_again(frames: &Frames, guards: &Guards) {
    for link in frames.links.all() {
        let acts = link.info.features.is_empty() && !guards.behind(&link.info.device).is_empty();
        if link.info.acts != acts {
            link.close(1012, "what acts for this node has changed");
        }
    }
}

/// The link over which a gen-1 node may be told. The way to the safe state is said over every link on which it
/// speaks as a gen-1 node and that we dialed, whatever became of the trust in it since.
fn way(frames: &Frames, device: &DeviceId, behind: Behind<'_>) -> Result<LinkHandle, Refusal> {
    let hears =
        |l: &LinkHandle| l.info.outbound && l.info.features.is_empty() && !l.stop.is_cancelled();
    let last = match behind {
        Behind::Safety => frames.links.get(device).filter(hears),
        Behind::Act(_) => None,
    };
    last.map_or_else(|| link(frames, device), Ok)
}

/// The link over which a gen-1 node may be told to act.
///
/// # Errors
/// `UNTRUSTED_PEER`; `WRONG_EXECUTOR` for one of our own kind; `EXECUTOR_UNREACHABLE` without a link that we
/// dialed.
pub fn link(frames: &Frames, device: &DeviceId) -> Result<LinkHandle, Refusal> {
    let short = device.short();
    let refuse = |code: Code, why: String| Err(Refusal::new(code, why));
    let Some(record) = frames.trust.live(device) else {
        let why = format!(
            "device {short}, which would act, is not trusted here: trust add {device} --as gen1"
        );
        return refuse(Code::UntrustedPeer, why);
    };
    let stands = |l: &LinkHandle| !l.stop.is_cancelled() && !l.is_parting();
    let link = frames.links.get(device).filter(stands);
    let speaks = link.as_ref().is_some_and(|l| !l.info.features.is_empty());
    if speaks || record.generation() != Generation::Gen1 {
        let why = format!(
            "device {short} is of our own kind and checks for itself: configure the actuator there"
        );
        return refuse(Code::WrongExecutor, why);
    }
    match link {
        None => refuse(
            Code::ExecutorUnreachable,
            format!("the gen-1 node {short}, which would act, is not connected; nothing was sent"),
        ),
        Some(link) if !link.info.outbound => refuse(
            Code::ExecutorUnreachable,
            format!(
                "the gen-1 node {short} dialed this node, and answers nothing on such a link; nothing was sent. \
                 It is dialed where `peers` here says; take this node out of its own peers"
            ),
        ),
        Some(link) => Ok(link),
    }
}

/// How drivers reach the links of their node; they are made before it is. Clones share it.
#[derive(Clone)]
pub struct Wire {
    node: Arc<watch::Sender<Option<WeakFrames>>>,
    /// Where a start was said last, for each gen-1 node.
    said: Arc<Mutex<BTreeMap<DeviceId, Weak<Link>>>>,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            node: Arc::new(watch::channel(None).0),
            said: Arc::default(),
        }
    }
}

impl Wire {
    /// The node is there.
    pub fn belongs_to(&self, frames: &Frames) {
        self.node.send_replace(Some(frames.weak()));
    }

    async fn node(&self, behind: Behind<'_>) -> Result<Frames, DriverError> {
        let mut node = self.node.subscribe();
        let there = match behind {
            Behind::Safety => node.wait_for(Option::is_some).await.ok(),
            Behind::Act(_) => Some(node.borrow()),
        };
        let weak = there.and_then(|there| there.clone());
        let frames = weak.and_then(|weak| weak.get());
        frames.ok_or_else(|| DriverError::Failed("the node does not run".to_owned()))
    }

    /// The link, as soon as there is one where it is about the safe state.
    async fn link(
        &self,
        frames: &Frames,
        device: &DeviceId,
        behind: Behind<'_>,
        why: &Mutex<Option<Refusal>>,
    ) -> Result<LinkHandle, DriverError> {
        let mut links = frames.links.watch();
        loop {
            links.mark_unchanged();
            let refusal = match way(frames, device, behind) {
                Ok(link) => return Ok(link),
                Err(refusal) => refusal,
            };
            let failed = DriverError::Failed(refusal.message.clone());
            *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            if matches!(behind, Behind::Act(_)) {
                return Err(failed);
            }
            tokio::select! {
                biased;
                () = frames.tasks.stop().cancelled() => return Err(failed),
                changed = links.changed() => changed.map_err(|_| failed)?,
            }
        }
    }

    async fn back(&self, device: &DeviceId) {
        let Ok(frames) = self.node(Behind::Safety).await else {
            return std::future::pending().await;
        };
        let mut links = frames.links.watch();
        let before = way(&frames, device, Behind::Safety).ok();
        loop {
            tokio::select! {
                biased;
                () = frames.tasks.stop().cancelled() => break,
                changed = links.changed() => if changed.is_err() { break },
            }
            let same = |new: &LinkHandle| before.as_ref().is_some_and(|old| Arc::ptr_eq(old, new));
            if way(&frames, device, Behind::Safety).is_ok_and(|new| !same(&new)) {
                return;
            }
        }
        drop((frames, before));
        std::future::pending().await
    }

    async fn tell(
        &self,
        command: &Gen1Command,
        behind: Behind<'_>,
        progress: &Progress,
    ) -> Result<(), DriverError> {
        let device = &command.device_id;
        let frames = self.node(behind).await?;
        let link = self.link(&frames, device, behind, &progress.why).await?;
        let failed = |refusal: Refusal| DriverError::Failed(refusal.to_string());
        let id = match behind {
            Behind::Act(act) => act.proposal_id().as_str().to_owned(),
            Behind::Safety => frames.fresh_id().map_err(failed)?.to_string(),
        };
        let saying = Saying {
            from: frames.own_id(),
            role: role_for_gen1(frames.config.role.as_str()),
            id: &id,
            at: frames.now(),
        };
        let params = forward_params(command, behind, saying).map_err(failed)?;
        let before = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            match behind {
                Behind::Act(_) => said.insert(device.clone(), Arc::downgrade(&link)),
                Behind::Safety => said.get(device).cloned(),
            }
        };
        // A start that waits on an earlier link must not be written after this.
        if let Some(before) = before.and_then(|weak| weak.upgrade())
            && !Arc::ptr_eq(&before, &link)
        {
            before.silent.cancelled().await;
        }
        progress.said();
        let params = Value::Object(params);
        let method = "mesh.message.forward";
        let answer = match behind {
            Behind::Act(_) => link.request(method, &params).await,
            Behind::Safety => link.request_safe(method, &params).await,
        };
        match answer {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(device, &error)),
        }
    }
}

/// How far it came, for what is said when the time is up.
#[derive(Default)]
struct Progress {
    said: std::sync::atomic::AtomicBool,
    why: Mutex<Option<Refusal>>,
}

impl Progress {
    fn said(&self) {
        self.said.store(true, std::sync::atomic::Ordering::Release);
    }

    fn too_slow(&self, device: &DeviceId, limit: Duration) -> DriverError {
        if self.said.load(std::sync::atomic::Ordering::Acquire) {
            return unanswered(device, &format!("no answer within {} s", limit.as_secs()));
        }
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        let why = why.as_ref().map(|refusal| refusal.message.clone());
        DriverError::Failed(why.unwrap_or_else(|| "the node is not up yet".to_owned()))
    }
}

impl Carrier for Wire {
    fn say<'a>(
        &'a self,
        command: &'a Gen1Command,
        behind: Behind<'a>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            let progress = Progress::default();
            let told = tokio::time::timeout(limit, self.tell(command, behind, &progress)).await;
            told.unwrap_or_else(|_| Err(progress.too_slow(&command.device_id, limit)))
        }
        .boxed()
    }

    fn back<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, ()> {
        self.back(device).boxed()
    }
}

fn unanswered(device: &DeviceId, why: &str) -> DriverError {
    DriverError::Unanswered(format!(
        "the gen-1 node {} was told and may or may not have acted: {why}",
        device.short()
    ))
}

fn refused(device: &DeviceId, error: &RemoteError) -> DriverError {
    let code = one_line(&error.code, GEN1_REFUSAL_MAX_CHARS);
    let message = one_line(&error.message, GEN1_REFUSAL_MAX_CHARS);
    match Code::from_wire(&error.code) {
        Some(code) if BEFORE_ACTING.contains(&code) => DriverError::Failed(format!(
            "the gen-1 node {} refused: {code}: {message}",
            device.short()
        )),
        _ => unanswered(device, &format!("{code}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_acting_is_a_refusal_and_its_text_is_bounded() {
        let device = DeviceId::of_public_key(&[1; 32]);
        let error = |code: &str, message: String| RemoteError {
            code: code.to_owned(),
            message,
            detail: Value::Null,
        };
        let long = format!("no\u{1b}[2J\n{}", "x".repeat(5_000));
        let told = refused(&device, &error("VERIFICATION_REQUIRED", long));
        let text = told.to_string();
        assert!(matches!(told, DriverError::Failed(_)), "{text}");
        assert!(
            text.contains("VERIFICATION_REQUIRED: no[2Jxxx") && text.len() < 400,
            "{text}"
        );
        for code in [
            "DELIVERY_FAILED",
            "INTERNAL_ERROR",
            "TIMEOUT",
            "EXECUTOR_UNREACHABLE",
            "?",
        ] {
            let told = refused(&device, &error(code, String::new()));
            assert!(matches!(told, DriverError::Unanswered(_)), "{code}");
        }
    }
}
