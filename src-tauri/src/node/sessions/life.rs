//! The life of a link that both sides have proven themselves on: it is read here until it ends.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::pulse;
use super::writer::{self, Queues};
use crate::adapters::transport::{Received, SocketReader, SocketWriter};
use crate::domain::admission::budget::Cause;
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal};
use crate::domain::inference::exchange::INFER;
use crate::domain::wire::handshake::Feature;
use crate::domain::wire::{Message, Reply};
use crate::node::context::{Event, Severity};
use crate::node::gen1::parting;
use crate::node::gossip::{self, catch_up, private};
use crate::node::ingress::Ingress;
use crate::node::links::credit::Taken;
use crate::node::links::{Ended, Lanes, LinkHandle};
use crate::node::protocol::Protocol;
use crate::node::{authority, mesh_models, protocol, reconcile};

/// Serves a registered link to its end. `from` is where its feeder begins. What is logged meanwhile stands in
/// a span that names the device.
#[tracing::instrument(name = "peer", skip_all, fields(device = %link.info.device.short()))]
pub(super) async fn run(
    node: Protocol,
    ingress: Ingress,
    link: LinkHandle,
    mut reader: SocketReader,
    writer: SocketWriter,
    lanes: Lanes,
    from: u64,
) {
    let info = &link.info;
    node.metrics.peers_connected.inc();
    protocol::offered::heard(&node, &link, &link.offered()).await;
    if info.speaks(Feature::Sig) {
        node.remember_signer(&info.device).await;
    }
    let name = info.shown();
    let data = json!({"deviceId": info.device, "outbound": info.outbound, "posture": info.posture.to_string()});
    let message = format!("Connected: {name} ({})", info.posture);
    node.journal
        .caused(
            Cause::Device(info.device.clone()),
            Event::PeerConnect,
            Severity::Info,
            &message,
            data,
        )
        .await;
    let Lanes {
        answers,
        control,
        words,
        bulk,
        wanted,
    } = lanes;
    node.tree.joined(&link);
    let (tells, told) = (node.frames.clone(), link.clone());
    let queues = Queues {
        answers,
        control,
        words,
        bulk,
    };
    let tasks = &node.tasks;
    tasks.passing("link writer", writer::run(writer, queues, link.clone()));
    tasks.passing(
        "link feeder",
        gossip::feed(node.frames.clone(), link.clone(), from, wanted),
    );
    tasks.passing(
        "proposals feeder",
        gossip::feed_proposals(node.frames.clone(), link.clone()),
    );
    tasks.passing(
        "private feeder",
        private::feed(node.frames.clone(), link.clone()),
    );
    tasks.passing(
        "records",
        authority::greet(node.context.clone(), link.clone()),
    );
    // What this node offers may have changed since the handshake.
    tasks.passing("offers", async move {
        tells.known.own.tell(&told).await;
    });
    match info.speaks(Feature::Reconcile) {
        true if info.outbound => {
            tasks.passing(
                "reconcile",
                reconcile::keep(node.frames.clone(), link.clone()),
            );
        }
        true => {}
        false => tasks.passing(
            "catch up",
            catch_up::ask(node.context.clone(), ingress.clone(), link.clone()),
        ),
    }
    if !info.speaks(Feature::Reconcile) {
        let pongs = reader.pongs();
        tasks.passing(
            "pulse",
            pulse::keep(node.context.clone(), link.clone(), pongs),
        );
    }
    let why = tokio::select! {
        biased;
        () = link.stop.cancelled() => Ended::Here(link.farewell().map_or("closed by this node", |(_, why)| why)),
        why = read_loop(&node, &ingress, &link, &mut reader) => why,
    };
    link.close(1000, "bye");
    let why = if link.is_leaving() { Ended::Left } else { why };
    node.links.forget(&link, &why);
    if node.links.get(&info.device).is_none() {
        gossip::tree::left(&node, &info.device);
    }
    node.metrics.peers_connected.dec();
    let data = json!({"deviceId": info.device, "reason": why.to_string()});
    let message = format!("Disconnected: {name} ({why})");
    node.journal
        .caused(
            Cause::Device(info.device.clone()),
            Event::PeerDisconnect,
            Severity::Info,
            &message,
            data,
        )
        .await;
}

async fn read_loop(
    node: &Protocol,
    ingress: &Ingress,
    link: &LinkHandle,
    reader: &mut SocketReader,
) -> Ended {
    loop {
        let text = match reader.recv().await {
            Ok(Received::Text(text)) => text,
            Ok(Received::TooLarge { .. }) if link.is_parting() => continue,
            Ok(Received::TooLarge { bytes }) => {
                let refusal = Refusal::new(
                    Code::TooLarge,
                    format!("a message of {bytes} bytes; at most 1 MiB is read"),
                );
                node.journal
                    .refused_of(
                        Cause::Device(link.info.device.clone()),
                        Event::MessageRefused,
                        link.info.device.as_str(),
                        &refusal,
                    )
                    .await;
                if !link.tell(Reply::from(refusal).to_text("")) {
                    return Ended::Here("its answers are not read");
                }
                continue;
            }
            Ok(Received::Closed { code, reason }) => {
                return Ended::Peer {
                    code,
                    reason: one_line(&reason, 123),
                };
            }
            Err(error) => {
                tracing::debug!(peer = link.info.device.short(), %error, "link broke");
                return Ended::Broke;
            }
        };
        node.metrics.messages_received.inc();
        link.vitals.heard(node.now(), text.len());
        // Trust can end while the link is up: look every time.
        if link.is_parting() || !node.trust.trusts(&link.info.device) {
            parting::part(node, link);
            take_last(link, &text);
            continue;
        }
        // The offers it may make were decided when the link began.
        if node.may_actuate(&link.info.device) != link.info.may_actuate {
            return Ended::Here("whether it may offer actuators has changed");
        }
        link.taking.store(true, Ordering::Release);
        let goes_on = take(node, ingress, link, &text).await;
        link.taking.store(false, Ordering::Release);
        if !goes_on && !link.is_parting() {
            return Ended::Here("its answers are not read");
        }
    }
}

/// Takes a message of a device that is trusted no longer: its answers to the way to a safe state, and nothing
/// else.
fn take_last(link: &LinkHandle, text: &str) {
    if let Ok(Message::Response { id, result }) = Message::parse(text) {
        link.answer(&id, result);
    }
}

/// Takes one message. `false` if the link cannot go on.
async fn take(node: &Protocol, ingress: &Ingress, link: &LinkHandle, text: &str) -> bool {
    let (bytes, rest) = (text.len(), gossip::without_copies(node, link, text));
    let text = match rest.as_deref() {
        Some("") => {
            // Its credit is returned to the sender.
            drop(Taken::new(link, bytes));
            return true;
        }
        Some(rest) => rest,
        None => text,
    };
    match Message::parse(text) {
        Ok(Message::Request { id, method, params }) if method == INFER => {
            // The reply comes when the model has ended, and nothing waits for it here.
            match mesh_models::infer(&node.mesh_models, link, &id, &params).await {
                Ok(()) => true,
                Err(refusal) => link.tell(Reply::from(refusal).to_text(&id)),
            }
        }
        Ok(Message::Request { id, method, params })
            if method == private::FRAMES && link.info.speaks(Feature::Private) =>
        {
            // The reply comes when they are stored, and nothing waits for it here.
            match private::take(node, ingress, link, &id, params, bytes).await {
                Ok(()) => true,
                Err(refusal) => link.tell(Reply::from(refusal).to_text(&id)),
            }
        }
        Ok(Message::Request { id, method, params }) => {
            let reply = protocol::answer(node, link, &method, params).await;
            link.tell(reply.to_text(&id))
        }
        Ok(Message::Response { id, result }) => {
            if !link.answer(&id, result) {
                node.metrics.answers_unasked.inc();
            }
            true
        }
        Ok(Message::Event { event, payload }) => {
            protocol::event(node, ingress, link, &event, payload, bytes).await;
            true
        }
        Err(bad) => {
            node.journal
                .refused_of(
                    Cause::Device(link.info.device.clone()),
                    Event::MessageRefused,
                    link.info.device.as_str(),
                    &bad.refusal,
                )
                .await;
            let id = bad.id.unwrap_or_default();
            link.tell(Reply::from(bad.refusal).to_text(&id))
        }
    }
}
