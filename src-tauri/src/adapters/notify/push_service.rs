//! The push service of a browser (RFC 8030): where it is, and one message to it. A browser chooses the service, so whoever has a
//! session does: only https is spoken, to public addresses alone as they are resolved for the very connection, unless the
//! configuration names the service; nothing of an answer but its status is looked at, and redirects are not followed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER,
    USER_AGENT,
};
use tokio::time::timeout;

use super::web_push::{BrowserKeys, Sender, Unmade};
use crate::adapters::http_client::{Address, Allowed, begin, connect, find_among, over};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    PUSH_ENDPOINT_MAX_BYTES, PUSH_RETRY_MAX_MS, PUSH_RETRY_MIN_MS, PUSH_SEND_MS, PUSH_WHY_MAX_CHARS,
};
use crate::domain::base::text::seen;

/// Where a browser's push service takes messages for it. Who knows the whole of it can send there, if with another key, so
/// that no text shows more than the host.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: Address,
    /// Path and query, as the browser wrote them.
    path: String,
}

impl Endpoint {
    /// Reads the URL of a subscription.
    ///
    /// # Errors
    /// The fault, without the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.len() > PUSH_ENDPOINT_MAX_BYTES {
            return Err(format!(
                "the address of the push service has more than {PUSH_ENDPOINT_MAX_BYTES} bytes"
            ));
        }
        let rest = url.strip_prefix("https://").ok_or_else(|| {
            "the address of the push service does not begin with https://".to_owned()
        })?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let odd = |c: char| !c.is_ascii_graphic() || "#\\\"<>^`{|}".contains(c);
        if !path.starts_with('/') || path.chars().any(odd) {
            return Err("the address of the push service has no good path".to_owned());
        }
        let address = Address::parse(&format!("https://{authority}"))
            .map_err(|_| "the address of the push service has no good host".to_owned())?;
        Ok(Self {
            address,
            path: path.to_owned(),
        })
    }

    /// As the browser wrote it.
    pub fn reveal(&self) -> String {
        format!("{}{}", self.address, self.path)
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        self.address.authority()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.address)
    }
}

/// A browser that wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Where.
    pub endpoint: Endpoint,
    /// For whom alone.
    pub keys: BrowserKeys,
}

/// Push services of a network of one's own, which the configuration names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnServices {
    /// Their hosts and ports, as in a URL.
    pub authorities: Vec<String>,
    /// A PEM file of the authorities that prove them, instead of the system's.
    pub ca: Option<PathBuf>,
}

impl OwnServices {
    fn has(&self, endpoint: &Endpoint) -> bool {
        let authority = endpoint.authority();
        self.authorities
            .iter()
            .any(|own| own.eq_ignore_ascii_case(&authority))
    }

    /// Whether messages may go to a push service, as far as its name tells: the address is looked at when it is connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, endpoint: &Endpoint) -> Result<(), String> {
        let public = endpoint.address.port == 443 && endpoint.address.is_public();
        match public || self.has(endpoint) {
            true => Ok(()),
            false => Err(format!(
                "{endpoint} is no public push service; one of your own network is named in console.push_services of config.toml"
            )),
        }
    }
}

/// How urgent a message is (RFC 8030, section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It wakes a phone that saves its battery.
    High,
    /// It waits where a phone saves its battery.
    Normal,
}

/// A message for a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// What it says.
    pub text: Vec<u8>,
    /// How long the service keeps it for a phone that is off, in seconds.
    pub ttl_s: u64,
    /// How urgent it is.
    pub urgency: Urgency,
    /// What it replaces where that still waits: up to 32 characters of base64url.
    pub topic: String,
}

/// Why a message did not reach a push service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The browser does not want to hear any more.
    #[error("its subscription has ended")]
    Gone,
    /// The service wants to be left alone for so long.
    #[error("its push service takes nothing more for {} s", .0.as_secs())]
    Later(Duration),
    /// It does not take it; trying again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// It cannot be reached, or failed.
    #[error("{0}")]
    Lost(String),
}

impl From<Unmade> for Undelivered {
    fn from(why: Unmade) -> Self {
        Undelivered::Refused(why.to_string())
    }
}

fn request(
    to: &Subscription,
    letter: &Letter,
    (sender, contact, now): (&Sender, &str, TimeMs),
) -> Result<Request<Full<Bytes>>, Undelivered> {
    let body = to.keys.encrypt(&letter.text)?;
    let origin = format!("https://{}", to.endpoint.authority());
    let proof = sender.proof(&origin, contact, now)?;
    let odd = |_| Undelivered::Refused("no request can be made of its address".to_owned());
    let mut proof = HeaderValue::from_str(&proof)
        .map_err(|_| Undelivered::Refused("the proof cannot stand in a request".to_owned()))?;
    proof.set_sensitive(true);
    Request::builder()
        .method("POST")
        .uri(&to.endpoint.path)
        .header(HOST, to.endpoint.authority())
        .header(
            USER_AGENT,
            concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_ENCODING, "aes128gcm")
        .header("ttl", letter.ttl_s)
        .header(
            "urgency",
            match letter.urgency {
                Urgency::High => "high",
                Urgency::Normal => "normal",
            },
        )
        .header("topic", &letter.topic)
        .header(AUTHORIZATION, proof)
        .body(Full::new(Bytes::from(body)))
        .map_err(odd)
}

/// A time that a service wants to be left alone, within bounds.
fn later(seconds: u64) -> Undelivered {
    let ms = seconds.saturating_mul(1_000);
    Undelivered::Later(Duration::from_millis(
        ms.clamp(PUSH_RETRY_MIN_MS, PUSH_RETRY_MAX_MS),
    ))
}

/// What a status says; a `Retry-After` counts where it is a number.
fn answered(
    endpoint: &Endpoint,
    status: u16,
    retry_after_s: Option<u64>,
) -> Result<(), Undelivered> {
    match status {
        200..=299 => Ok(()),
        404 | 410 => Err(Undelivered::Gone),
        429 => Err(later(retry_after_s.unwrap_or(60))),
        300..=399 => Err(Undelivered::Refused(format!(
            "{endpoint} sends on to another place (status {status}), which is not followed"
        ))),
        400..=499 => Err(Undelivered::Refused(format!(
            "{endpoint} refuses the message (status {status})"
        ))),
        _ => Err(retry_after_s.map_or_else(
            || Undelivered::Lost(format!("{endpoint} failed with status {status}")),
            later,
        )),
    }
}

/// Sends a message once.
///
/// # Errors
/// [`Undelivered`].
pub async fn send(
    to: &Subscription,
    letter: &Letter,
    own: &OwnServices,
    by: (&Sender, &str, TimeMs),
) -> Result<(), Undelivered> {
    let endpoint = &to.endpoint;
    own.admit(endpoint).map_err(Undelivered::Refused)?;
    let request = request(to, letter, by)?;
    // What the other side sent may stand in an error, such as the names of a certificate.
    let lost =
        |why: &str| Undelivered::Lost(seen(&format!("{endpoint} {why}"), PUSH_WHY_MAX_CHARS));
    let (allowed, ca) = match own.has(endpoint) {
        true => (Allowed::Every, own.ca.as_deref()),
        false => (Allowed::Public, None),
    };
    let exchange = async {
        let unreachable = |e: std::io::Error| lost(&format!("cannot be reached: {e}"));
        let found = find_among(&endpoint.address, ca, allowed)
            .await
            .map_err(unreachable)?;
        let wire = connect(&found).await.map_err(unreachable)?;
        let broke = |_| lost("broke the connection off");
        let (mut sender, connection) = begin(wire).await.map_err(broke)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(broke)?;
            let after = answer.headers().get(RETRY_AFTER);
            let after = after.and_then(|v| v.to_str().ok()?.trim().parse().ok());
            answered(endpoint, answer.status().as_u16(), after)
        };
        over(connection, exchange).await
    };
    match timeout(Duration::from_millis(PUSH_SEND_MS), exchange).await {
        Ok(done) => done,
        Err(_) => Err(lost("has not answered in time")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_public_services_over_tls_are_admitted_unless_they_are_named() {
        let own = OwnServices {
            authorities: vec!["push.farm.lan:8443".to_owned()],
            ca: None,
        };
        let admitted = |url: &str| Endpoint::parse(url).and_then(|e| own.admit(&e));
        for good in [
            "https://fcm.googleapis.com/fcm/send/abc:APA91",
            "https://updates.push.services.mozilla.com/wpush/v2/gAAA",
            "https://web.push.apple.com/QGuQyavXutnMH",
            "https://wns2-par02p.notify.windows.com/w/?token=BQYA%2bx",
            "https://push.farm.lan:8443/x",
        ] {
            assert_eq!(admitted(good), Ok(()), "{good}");
            assert_eq!(Endpoint::parse(good).unwrap().reveal(), good);
        }
        let long = format!("https://fcm.googleapis.com/{}", "x".repeat(4_000));
        for bad in [
            "",
            "http://fcm.googleapis.com/x",
            "https://fcm.googleapis.com",
            "https://fcm.googleapis.com:8443/x",
            "https://me@fcm.googleapis.com/x",
            "https://fcm.googleapis.com/x#y",
            "https://fcm.googleapis.com/a b",
            "https://fcm.googleapis.com/x\r\nhost: y",
            "https://localhost/x",
            "https://printer/x",
            "https://nas.local/x",
            "https://127.0.0.1/x",
            "https://192.168.1.1/x",
            "https://169.254.169.254/latest",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://[fe80::1]/x",
            "https://2130706433/x",
            "https://0x7f.1/x",
            "https://100.64.0.1/x",
            "https://push.farm.lan:8444/x",
            &long,
        ] {
            let why = admitted(bad).unwrap_err();
            assert!(!why.contains("latest") && why.len() < 300, "{bad}: {why}");
        }
    }

    #[test]
    fn a_status_says_what_becomes_of_the_subscription() {
        let at = Endpoint::parse("https://push.example/secret").unwrap();
        let said = |status, after| answered(&at, status, after);
        assert_eq!(said(201, None), Ok(()));
        for gone in [404, 410] {
            assert_eq!(said(gone, None), Err(Undelivered::Gone));
        }
        let wait = |ms| Err(Undelivered::Later(Duration::from_millis(ms)));
        assert_eq!(said(429, None), wait(60_000));
        assert_eq!(said(429, Some(0)), wait(PUSH_RETRY_MIN_MS));
        assert_eq!(said(503, Some(u64::MAX)), wait(PUSH_RETRY_MAX_MS));
        assert!(matches!(said(500, None), Err(Undelivered::Lost(_))));
        for refused in [301, 307, 400, 403, 413] {
            let why = said(refused, None).unwrap_err();
            let shown = format!("{why:?} {why} {at:?}");
            assert!(matches!(why, Undelivered::Refused(_)), "{shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
