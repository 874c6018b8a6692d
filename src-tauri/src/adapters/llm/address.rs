//! Where a model is served: the provider's own place, or the URL that the operator gives.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// As OpenAI's `/chat/completions`, which most servers offer.
    OpenAi,
    /// As Anthropic's `/v1/messages`.
    Anthropic,
}

/// A server: scheme, host, port and the path before that of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether over TLS.
    pub tls: bool,
    /// The host, an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What stands before the path of a request, without a slash at its end.
    pub path: String,
}

/// How far away a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On this machine.
    Loopback,
    /// In a network of one's own, by its address or name.
    Private,
    /// Elsewhere.
    Public,
}

/// The providers known by name: how they are spoken to, where they are, and the variables that usually hold their key.
const KNOWN: [(&str, Speech, &str, &[&str]); 9] = [
    (
        "openai",
        Speech::OpenAi,
        "https://api.openai.com/v1",
        &["OPENAI_API_KEY"],
    ),
    (
        "anthropic",
        Speech::Anthropic,
        "https://api.anthropic.com/v1",
        &["ANTHROPIC_API_KEY"],
    ),
    (
        "google",
        Speech::OpenAi,
        "https://generativelanguage.googleapis.com/v1beta/openai",
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    ),
    (
        "openrouter",
        Speech::OpenAi,
        "https://openrouter.ai/api/v1",
        &["OPENROUTER_API_KEY"],
    ),
    ("ollama", Speech::OpenAi, "http://127.0.0.1:11434/v1", &[]),
    ("lm-studio", Speech::OpenAi, "http://127.0.0.1:1234/v1", &[]),
    ("lmstudio", Speech::OpenAi, "http://127.0.0.1:1234/v1", &[]),
    (
        "llama-server",
        Speech::OpenAi,
        "http://127.0.0.1:8080/v1",
        &[],
    ),
    (
        "litellm",
        Speech::OpenAi,
        "http://127.0.0.1:4000/v1",
        &["LITELLM_API_KEY"],
    ),
];

/// How a provider is spoken to; as OpenAI where it is not known.
pub fn speech_of(provider: &str) -> Speech {
    known(provider).map_or(Speech::OpenAi, |(speech, ..)| speech)
}

/// Where a provider that is known by name is.
pub fn url_of(provider: &str) -> Option<&'static str> {
    known(provider).map(|(_, url, _)| url)
}

/// The variables that hold the key of a provider by custom. They are for its own place alone: a URL that the operator
/// gives is not sent a key that was meant for another server.
pub fn variables_of(provider: &str) -> &'static [&'static str] {
    known(provider).map_or(&[], |(.., variables)| variables)
}

/// Every provider known by name.
pub fn providers() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, ..)| *name)
}

fn known(provider: &str) -> Option<(Speech, &'static str, &'static [&'static str])> {
    let found = KNOWN.iter().find(|(name, ..)| *name == provider)?;
    Some((found.1, found.2, found.3))
}

impl Address {
    /// Reads a URL: `http://` or `https://`, a host, perhaps a port and a path; no user, query or fragment.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let bad = |what: &str| {
            Err(format!(
                "{what}; write it like http://127.0.0.1:8080/v1 or https://example.org/v1"
            ))
        };
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return bad("the URL of a model's server begins with http:// or https://"),
        };
        if rest.contains(['@', '?', '#', '\\'])
            || rest.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return bad("the URL of a model's server has no user, query, fragment or space");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let Some((host, after)) = inner.split_once(']') else {
                    return bad("the URL of a model's server has a bracket that is not closed");
                };
                if host.parse::<Ipv6Addr>().is_err() {
                    return bad("what stands in brackets in the URL is no IPv6 address");
                }
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port.map(str::parse) {
            None if tls => 443,
            None => 80,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return bad("the URL of a model's server has no good port"),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
            return bad("the URL of a model's server has no good host");
        }
        let path = path.trim_end_matches('/');
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            path: match path {
                "" => String::new(),
                path => format!("/{path}"),
            },
        })
    }

    /// Host and port, as a request names them.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// How far away it is, by its host.
    pub fn reach(&self) -> Reach {
        if self.host == "localhost" || self.host.ends_with(".localhost") {
            return Reach::Loopback;
        }
        match self.host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => Reach::Loopback,
            Ok(IpAddr::V4(ip)) if is_private(ip) => Reach::Private,
            Ok(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => {
                Reach::Private
            }
            Ok(_) => Reach::Public,
            Err(_) => {
                let ends = [".local", ".lan", ".internal", ".home.arpa"];
                let own = !self.host.contains('.') || ends.iter().any(|e| self.host.ends_with(e));
                match own {
                    true => Reach::Private,
                    false => Reach::Public,
                }
            }
        }
    }
}

fn is_private(ip: Ipv4Addr) -> bool {
    // The last is what overlay networks such as Tailscale use (RFC 6598).
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_is_read_and_written_the_same() {
        for (url, host, port, reach) in [
            (
                "http://127.0.0.1:8080/v1",
                "127.0.0.1",
                8080,
                Reach::Loopback,
            ),
            ("http://localhost", "localhost", 80, Reach::Loopback),
            (
                "https://api.openai.com/v1",
                "api.openai.com",
                443,
                Reach::Public,
            ),
            ("http://[::1]:9/v1", "::1", 9, Reach::Loopback),
            ("http://nas.local:1/x/y", "nas.local", 1, Reach::Private),
            (
                "http://192.168.1.4:4000/v1",
                "192.168.1.4",
                4000,
                Reach::Private,
            ),
            ("http://8.8.8.8/v1", "8.8.8.8", 80, Reach::Public),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.reach(), reach, "{url}");
            assert_eq!(address.to_string(), url);
        }
        let slash = Address::parse("http://a:1/v1/").unwrap();
        assert_eq!(slash.to_string(), "http://a:1/v1");
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for url in [
            "",
            "127.0.0.1:80",
            "ftp://a/",
            "http://",
            "http://a:0/",
            "http://a:99999",
            "http://me:secret@a/v1",
            "http://a/v1?key=secret",
            "http://a/v1#x",
            "http://[::1/v1",
            "http://[nonsense]/v1",
            "http://a b/v1",
            "http://a\r\nHost: b/",
        ] {
            let why = Address::parse(url).unwrap_err();
            assert!(!why.contains("secret") && why.contains("http"), "{why}");
        }
    }

    #[test]
    fn every_known_provider_has_an_address() {
        for provider in providers() {
            Address::parse(url_of(provider).unwrap()).unwrap();
        }
        assert_eq!(speech_of("anthropic"), Speech::Anthropic);
        assert_eq!(speech_of("something-else"), Speech::OpenAi);
    }
}
