//! A second socket to a gen-1 node that dialed us. On its own link it answers no requests, so what it
//! holds from while we were away is asked for where it listens, once per link. Saying hello there would
//! end its link, so the socket stays unauthenticated and whoever answers has proven nothing: what
//! comes is believed no further than its signatures reach, and is on an account of that address
//! ([`DeviceId::at_address`](crate::domain::base::DeviceId::at_address)), not of the device.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::dial::{self, DialError};
use crate::domain::base::limits::{DEFAULT_PORT, HANDSHAKE_DEADLINE_MS};
use crate::node::gossip::catch_up;
use crate::node::ingress::Ingress;
use crate::node::links::LinkHandle;
use crate::node::links::target::{Source, Target};
use crate::node::sessions::Sessions;

/// Asks a gen-1 node at the addresses that are known of it, or else at the usual port of the machine
/// that its link comes from (on this machine that port is more likely our own), until one answers.
pub(super) async fn fetch(sessions: Sessions, ingress: Ingress, link: LinkHandle, from: IpAddr) {
    let device = &link.info.device;
    let mut targets = sessions.reach.targets(device);
    if targets.is_empty()
        && !from.is_loopback()
        && let Ok(url) = format!("ws://{}", SocketAddr::new(from, DEFAULT_PORT)).parse()
    {
        targets.push(Target {
            url,
            pin: None,
            label: "local".to_owned(),
            source: Source::Seen,
        });
    }
    for target in &targets {
        let asking = ask(&sessions, &ingress, &link, target);
        let asked = tokio::select! {
            biased;
            () = link.stop.cancelled() => return,
            asked = asking => asked,
        };
        match asked {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(peer = device.short(), url = %target.url, "what it holds could not be asked for: {error:?}");
            }
        }
    }
    tracing::info!(
        peer = device.short(),
        "the gen-1 node dialed us and does not answer where it listens; what it holds from before stays there"
    );
}

async fn ask(
    sessions: &Sessions,
    ingress: &Ingress,
    link: &LinkHandle,
    target: &Target,
) -> Result<(), DialError> {
    let device = &link.info.device;
    let socket = dial::reach(sessions, device, target, &link.stop).await?;
    let (mut reader, mut writer) = socket.split();
    // Its answer is larger than what strangers are read.
    reader.trusted();
    let params = catch_up::question(sessions, link).await;
    let deadline = Duration::from_millis(HANDSHAKE_DEADLINE_MS);
    let asking = dial::ask(&mut reader, &mut writer, "1", "context.sync", &params);
    let answer = tokio::time::timeout(deadline, asking).await;
    writer.close(1000, "thank you").await;
    let answer = answer.unwrap_or_else(|_| Err(DialError::Failed("no answer".to_owned())))?;
    catch_up::take(sessions, ingress, link, answer, false).await;
    Ok(())
}
