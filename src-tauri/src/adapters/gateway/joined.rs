//! Agents of claw-mesh, which wait at an address for messages: one HTTP call each. Where a name leads is looked at for every
//! connection, and an address that is not allowed is never connected to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use serde::Deserialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{AskError, clean};
use crate::adapters::http_client::{Reach, begin, is_public, over, reach_of};
use crate::domain::base::limits::{JOINED_ANSWER_MAX_BYTES, JOINED_CONNECT_MS, JOINED_PROBE_MS};

/// How it stands with an agent that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers that it is well.
    Well,
    /// Nobody takes connections there, or no such address is allowed.
    Refused,
    /// It gave another answer, or none in time.
    Unwell,
}

/// Host and port of an endpoint.
///
/// # Errors
/// What is wrong with it.
pub fn split(endpoint: &str) -> Result<(String, u16), String> {
    if endpoint.contains('/') {
        return Err("endpoint must be host:port, not a URL".to_owned());
    }
    let Some((host, port)) = endpoint.rsplit_once(':') else {
        return Err("endpoint must be host:port format: missing port in address".to_owned());
    };
    if host.is_empty() || port.is_empty() {
        return Err("endpoint must have both host and port".to_owned());
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let good = match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.chars().all(plain),
    };
    match port.parse::<u16>() {
        Ok(port) if port != 0 && good => Ok((bare.unwrap_or(host).to_ascii_lowercase(), port)),
        _ => Err("endpoint must be host:port format: no good host or port".to_owned()),
    }
}

/// Whether an agent may be at an address. What is of one link, of nobody or of many is never allowed.
pub fn allowed(ip: IpAddr, private: bool) -> bool {
    let ip = ip.to_canonical();
    let of_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let own = || reach_of(&ip.to_string()) != Reach::Public;
    is_public(ip) || private && !of_link && own()
}

/// Looks at an endpoint before an agent is taken; one whose name leads nowhere is let through, and looked at again when it is
/// connected to.
///
/// # Errors
/// What is wrong with it.
pub async fn check(endpoint: &str, private: bool) -> Result<(), String> {
    let (host, port) = split(endpoint)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match allowed(ip, private) {
            true => Ok(()),
            false if private => Err("endpoint is no address that an agent can have".to_owned()),
            false => Err(
                "private/loopback endpoints not allowed (set allow_private to permit)".to_owned(),
            ),
        };
    }
    let wait = Duration::from_millis(JOINED_CONNECT_MS);
    let Ok(Ok(found)) = timeout(wait, lookup_host((host.as_str(), port))).await else {
        return Ok(());
    };
    for at in found {
        if !allowed(at.ip(), private) {
            return Err(format!(
                "endpoint resolves to private/loopback IP {} (set allow_private to permit)",
                at.ip()
            ));
        }
    }
    Ok(())
}

/// Connects to an endpoint, at an address that is allowed.
async fn connect(endpoint: &str, private: bool) -> Result<TcpStream, String> {
    let (host, port) = split(endpoint)?;
    let found = lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| error.to_string())?;
    let found: Vec<SocketAddr> = found.filter(|at| allowed(at.ip(), private)).collect();
    if found.is_empty() {
        return Err("its address is none that is allowed".to_owned());
    }
    let socket = TcpStream::connect(&found[..]).await;
    socket.map_err(|error| error.to_string())
}

fn request(method: Method, endpoint: &str, path: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, endpoint)
}

/// Looks whether an agent is there.
pub async fn probe(endpoint: &str, private: bool) -> Health {
    let look = async {
        let Ok(socket) = connect(endpoint, private).await else {
            return Health::Refused;
        };
        let asked = request(Method::GET, endpoint, "/healthz").body(Full::default());
        let (Ok(asked), Ok((mut sender, connection))) = (asked, begin(Box::new(socket)).await)
        else {
            return Health::Unwell;
        };
        match over(connection, sender.send_request(asked)).await {
            Ok(answer) if answer.status() == 200 => Health::Well,
            _ => Health::Unwell,
        }
    };
    let look = timeout(Duration::from_millis(JOINED_PROBE_MS), look);
    look.await.unwrap_or(Health::Unwell)
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    response: String,
}

/// Gives a message to an agent and waits for its answer.
///
/// # Errors
/// [`AskError`]: `NotSent` where it was not connected to.
pub async fn deliver(
    (endpoint, private): (&str, bool),
    token: &str,
    body: Vec<u8>,
    limit: Duration,
) -> Result<String, AskError> {
    let connecting = connect(endpoint, private);
    let socket = timeout(Duration::from_millis(JOINED_CONNECT_MS), connecting).await;
    let socket = match socket {
        Ok(Ok(socket)) => socket,
        Ok(Err(why)) => return Err(AskError::NotSent(why)),
        Err(_) => return Err(AskError::NotSent("no connection in time".to_owned())),
    };
    let asked = request(Method::POST, endpoint, "/api/v1/messages")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)));
    let asked = asked.map_err(|error| AskError::NotSent(error.to_string()))?;
    let begun = begin(Box::new(socket)).await;
    let (mut sender, connection) = begun.map_err(|error| AskError::NotSent(error.to_string()))?;
    let exchange = async {
        let unknown = |why: String| AskError::Unknown(format!("the connection broke: {why}"));
        let answer = sender.send_request(asked).await;
        let answer = answer.map_err(|error| unknown(error.to_string()))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), JOINED_ANSWER_MAX_BYTES);
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        match (status, body) {
            (200, Ok(body)) => match serde_json::from_slice::<Reply>(&body) {
                Ok(reply) if reply.response.trim().is_empty() => {
                    Err(AskError::Failed("it said nothing".to_owned()))
                }
                Ok(reply) => Ok(clean(&reply.response)),
                Err(_) => Err(AskError::Failed("its answer does not read".to_owned())),
            },
            (200, Err(error)) => Err(unknown(error.to_string())),
            // It looked at what was sent and did not take it.
            (400..500, _) => Err(AskError::Refused(format!("it answered {status}"))),
            _ => Err(AskError::Failed(format!("it answered {status}"))),
        }
    };
    let answered = timeout(limit, over(connection, exchange)).await;
    answered.unwrap_or_else(|_| Err(AskError::Unknown("it gave no answer in time".to_owned())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        assert_eq!(
            split("10.0.0.1:9121").unwrap(),
            ("10.0.0.1".to_owned(), 9121)
        );
        assert_eq!(split("[::1]:1").unwrap(), ("::1".to_owned(), 1));
        for bad in [
            "",
            "host",
            ":1",
            "host:",
            "http://host:1",
            "host:0",
            "host:99999",
            "a b:1",
            "user@host:1",
            "::1:1",
            "a\r\nb:1",
        ] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn own_addresses_need_leave_and_those_of_a_link_never_have_it() {
        for (ip, without, with) in [
            ("8.8.8.8", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("192.168.1.2", false, true),
            ("100.64.0.1", false, true),
            ("fd00::1", false, true),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(
                (allowed(ip, false), allowed(ip, true)),
                (without, with),
                "{ip}"
            );
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_allowed_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        assert!(connect(&at, true).await.is_ok());
        assert!(connect(&at, false).await.is_err());
        let named = format!("localhost:{}", listener.local_addr().unwrap().port());
        assert!(connect(&named, false).await.is_err());
        assert!(
            check(&named, false)
                .await
                .unwrap_err()
                .contains("allow_private")
        );
        assert!(
            check(&at, false)
                .await
                .unwrap_err()
                .contains("allow_private")
        );
        check(&at, true).await.unwrap();
    }
}
