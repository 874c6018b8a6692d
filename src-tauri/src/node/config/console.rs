//! `[console]`: the console for browsers of other machines, such as a phone, on a port of its own over TLS. Without the table
//! there is none. Nothing in it weakens what is asked of a browser.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::{ConfigError, value};
use crate::adapters::http_client::Address;
use crate::adapters::notify::OwnServices;
use crate::domain::base::limits::{AWAY_HOSTS_MAX, PUSH_SERVICES_MAX};

/// Where it listens if nothing is said.
pub const LISTEN: &str = "0.0.0.0:18443";
/// The port that a browser leaves out.
const HTTPS: u16 = 443;

/// `[console]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConsole {
    /// The address and port to listen on.
    pub listen: Option<String>,
    /// The PEM file with the certificate and its chain.
    pub cert: Option<PathBuf>,
    /// The PEM file with its key.
    pub key: Option<PathBuf>,
    /// The names under which browsers reach it, each with a port where that is another one there.
    pub hosts: Vec<String>,
    /// The most that a session there may do.
    pub scope: Option<String>,
    /// Push services in networks of one's own, as host and port.
    pub push_services: Vec<String>,
    /// A file with the authorities that prove those.
    pub push_ca: Option<PathBuf>,
}

/// The most that a session of a browser of another machine may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MostAway {
    /// Look.
    Read,
    /// Decide, ask, withdraw, stop.
    Operate,
    /// Change trust, operators and policy too.
    Admin,
}

/// A name under which browsers reach the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name or address.
    pub name: String,
    /// The port, where it is another one there than the one that is listened on.
    pub port: Option<u16>,
}

/// The console for browsers of other machines.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// The PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// The PEM file with its key.
    pub key: PathBuf,
    /// The names under which browsers reach it; the first is used in links.
    pub hosts: Vec<Host>,
    /// The most that a session there may do.
    pub most: MostAway,
    /// Push services in networks of one's own.
    pub services: OwnServices,
    /// The port that it listens on, once it does.
    pub port: Arc<OnceLock<u16>>,
}

impl ConsoleConfig {
    /// Each name as a browser writes it in `Host`, once the port is known.
    pub fn authorities(&self) -> impl Iterator<Item = (&Host, String)> {
        let port = self.port.get().copied();
        self.hosts.iter().filter_map(move |host| {
            let name = match host.name.contains(':') {
                true => format!("[{}]", host.name),
                false => host.name.clone(),
            };
            let text = match host.port.or(port)? {
                HTTPS => name,
                port => format!("{name}:{port}"),
            };
            Some((host, text))
        })
    }

    /// The names, as a certificate has to have them.
    pub fn names(&self) -> Vec<ServerName<'static>> {
        let names = self.hosts.iter().map(|host| host.name.clone());
        names
            .filter_map(|name| ServerName::try_from(name).ok())
            .collect()
    }
}

fn host(text: &str) -> Result<Host, ConfigError> {
    let odd = || {
        value(
            "console.hosts",
            format!(
                "{text:?} is no name of a host; write what stands in the browser's address, such as \"field.example\" or \"field.example:443\""
            ),
        )
    };
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, port)) => (name, Some(port.strip_prefix(':').ok_or_else(odd)?)),
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(odd()),
    };
    let name = name.to_ascii_lowercase();
    let is_name = ServerName::try_from(name.clone()).is_ok() && !name.ends_with('.');
    match is_name && !name.contains('*') {
        true => Ok(Host { name, port }),
        false => Err(odd()),
    }
}

/// Push services in networks of one's own, to which messages may go though a browser chose them.
fn services(written: Vec<String>, ca: Option<PathBuf>) -> Result<OwnServices, ConfigError> {
    if written.len() > PUSH_SERVICES_MAX {
        let why = format!("at most {PUSH_SERVICES_MAX} are allowed");
        return Err(value("console.push_services", why));
    }
    let read = |text: &String| {
        let address = Address::parse(&format!("https://{text}")).ok();
        let address = address.filter(|address| address.path.is_empty() && !text.contains('/'));
        address.map(|address| address.authority()).ok_or_else(|| {
            let why = format!("{text:?} is no host; write one such as \"push.farm.lan:8443\"");
            value("console.push_services", why)
        })
    };
    if ca.as_ref().is_some_and(|path| !path.is_absolute()) {
        let why =
            "is no whole path; write one from the root, such as \"/etc/clawmesh/push-ca.pem\"";
        return Err(value("console.push_ca", why));
    }
    Ok(OwnServices {
        authorities: written.iter().map(read).collect::<Result<_, _>>()?,
        ca,
    })
}

/// Checks the table, if there is one.
pub(super) fn resolve(raw: Option<RawConsole>) -> Result<Option<ConsoleConfig>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let listen = raw.listen.as_deref().unwrap_or(LISTEN);
    let listen = listen.parse::<SocketAddr>().map_err(|_| {
        value(
            "console.listen",
            format!("{listen:?} is no address with a port; write one such as \"{LISTEN}\" or \"[::]:18443\""),
        )
    })?;
    let needed = |key: &str, what: &str| {
        value(
            key,
            format!("is missing: {what}; docs/phone.md says how to get one"),
        )
    };
    let cert = raw
        .cert
        .ok_or_else(|| needed("console.cert", "the PEM file with the certificate"))?;
    let key = raw
        .key
        .ok_or_else(|| needed("console.key", "the PEM file with the certificate's key"))?;
    for (name, path) in [("console.cert", &cert), ("console.key", &key)] {
        if !path.is_absolute() {
            let why = format!(
                "{path:?} is no whole path; write one from the root, such as \"/etc/clawmesh/field.pem\""
            );
            return Err(value(name, why));
        }
    }
    if raw.hosts.is_empty() || raw.hosts.len() > AWAY_HOSTS_MAX {
        let why = format!(
            "name from 1 to {AWAY_HOSTS_MAX} hosts as they stand in the browser's address, such as [\"field.example\"]"
        );
        return Err(value("console.hosts", why));
    }
    let hosts = raw
        .hosts
        .iter()
        .map(|text| host(text))
        .collect::<Result<_, _>>()?;
    let most = match raw.scope.as_deref() {
        None | Some("operate") => MostAway::Operate,
        Some("read") => MostAway::Read,
        Some("admin") => MostAway::Admin,
        Some(other) => {
            let why = format!("{other:?} is no scope; write read, operate or admin");
            return Err(value("console.scope", why));
        }
    };
    Ok(Some(ConsoleConfig {
        listen,
        cert,
        key,
        hosts,
        most,
        services: services(raw.push_services, raw.push_ca)?,
        port: Arc::default(),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::super::RawConfig;
    use super::*;

    fn of(text: &str) -> Result<ConsoleConfig, String> {
        let raw =
            RawConfig::parse(&format!("[console]\n{text}"), "c").map_err(|e| e.to_string())?;
        let config = raw.resolve(PathBuf::new()).map_err(|e| e.to_string())?;
        Ok(config.console.unwrap())
    }

    const FILES: &str = "cert = \"/c.pem\"\nkey = \"/k.pem\"\n";

    #[test]
    fn there_is_none_without_the_table_and_operate_is_the_most_unless_said() {
        let none = RawConfig::default().resolve(PathBuf::new()).unwrap();
        assert!(none.console.is_none());
        let console = of(&format!("{FILES}hosts = [\"Field.example\"]")).unwrap();
        assert_eq!(console.listen.to_string(), LISTEN);
        assert_eq!(console.most, MostAway::Operate);
        assert_eq!(console.hosts[0].name, "field.example");
        let more = format!("{FILES}hosts = [\"a.example\"]\nscope = \"admin\"");
        assert_eq!(of(&more).unwrap().most, MostAway::Admin);
    }

    #[test]
    fn a_browser_writes_a_name_with_the_port_that_it_uses() {
        let hosts = "hosts = [\"a.example\", \"b.example:443\", \"10.0.0.1\", \"[fd00::1]:9\"]";
        let console = of(&format!("{FILES}{hosts}")).unwrap();
        let written = |console: &ConsoleConfig| -> Vec<String> {
            console.authorities().map(|(_, text)| text).collect()
        };
        assert_eq!(written(&console), ["b.example", "[fd00::1]:9"]);
        console.port.set(18_443).unwrap();
        let all = [
            "a.example:18443",
            "b.example",
            "10.0.0.1:18443",
            "[fd00::1]:9",
        ];
        assert_eq!(written(&console), all);
        assert_eq!(console.names().len(), 4);
    }

    #[test]
    fn what_is_missing_or_weak_is_refused_by_its_key() {
        for (text, key) in [
            ("hosts = [\"a\"]", "console.cert"),
            ("cert = \"/c\"\nhosts = [\"a\"]", "console.key"),
            (
                "cert = \"c\"\nkey = \"/k\"\nhosts = [\"a\"]",
                "console.cert",
            ),
            (FILES, "console.hosts"),
            (&format!("{FILES}hosts = [\"*.example\"]"), "console.hosts"),
            (&format!("{FILES}hosts = [\"https://a\"]"), "console.hosts"),
            (&format!("{FILES}hosts = [\"a:0\"]"), "console.hosts"),
            (&format!("{FILES}hosts = [\"a b\"]"), "console.hosts"),
            (
                &format!("{FILES}hosts = [\"a\"]\nlisten = \"18443\""),
                "console.listen",
            ),
            (
                &format!("{FILES}hosts = [\"a\"]\nscope = \"all\""),
                "console.scope",
            ),
            (&format!("{FILES}hosts = [\"a\"]\nplain = true"), "plain"),
        ] {
            let said = of(text).unwrap_err();
            assert!(said.contains(key), "{text}: {said}");
        }
    }
}
