//! The console for browsers of other machines, at a real node: its port speaks TLS with the operator's certificate and nothing
//! else, takes a renewed one, and keeps the one it has where the new one cannot be used. What the router refuses there is in
//! `surfaces/http/away_tests.rs`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::harness::PATIENCE;
use crate::process::*;

/// An authority of one test, which browsers of the test alone trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Writes a certificate for `host` and its key, and gives the certificate.
    pub fn certify(&self, place: &Place, host: &str, until_year: i32) -> Vec<u8> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let cert = params.signed_by(&key, &self.0).unwrap();
        write(
            place,
            "phone.key",
            &pem("PRIVATE KEY", &key.serialize_der()),
            0o600,
        );
        write(place, "phone.pem", &pem("CERTIFICATE", cert.der()), 0o644);
        cert.der().to_vec()
    }

    /// TLS of a server of this host.
    pub fn server(&self, host: &str) -> rustls::ServerConfig {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap()
    }

    /// Writes its own certificate, by which its servers are proven.
    pub fn file(&self, place: &Place) -> std::path::PathBuf {
        let own: &CertificateDer<'_> = self.0.der();
        write(place, "ca.pem", &pem("CERTIFICATE", own), 0o644);
        place.beside("ca.pem")
    }

    /// A browser that trusts this authority alone, at the port of the node.
    fn browser(&self, port: u16) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        let own: &CertificateDer<'_> = self.0.der();
        roots.add(own.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(tls, connect(port))
    }

    /// What the node answers to a request, and the certificate it showed.
    pub fn ask(&self, port: u16, method: &str, path: &str, headers: &[&str]) -> (String, Vec<u8>) {
        self.send(port, method, path, headers, "")
    }

    /// The same of a request with a body.
    pub fn send(
        &self,
        port: u16,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> (String, Vec<u8>) {
        let mut socket = self.browser(port);
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\n");
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        head.push_str(&format!(
            "connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The node closes without a word of TLS after its answer.
        let _ = socket.read_to_end(&mut answer);
        let shown = socket.conn.peer_certificates().unwrap()[0].to_vec();
        (String::from_utf8_lossy(&answer).into_owned(), shown)
    }
}

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub fn write(place: &Place, name: &str, text: &str, mode: u32) {
    // As a tool that renews does: the whole file at once.
    let (file, new) = (place.beside(name), place.beside(&format!("{name}.new")));
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(new, file).unwrap();
}

pub fn configured(place: &Place) {
    configured_with(place, "");
}

/// The same with more in the table, or after it.
pub fn configured_with(place: &Place, more: &str) {
    let (cert, key) = (place.beside("phone.pem"), place.beside("phone.key"));
    place.write(
        "config.toml",
        &format!(
            "port = 0\ndiscovery = false\n[console]\nlisten = \"127.0.0.1:0\"\ncert = {cert:?}\nkey = {key:?}\nhosts = [\"localhost\"]\n{more}"
        ),
    );
}

/// A link of the command line, once the port is open: its port and its path.
pub fn link(place: &Place, more: &[&str]) -> (u16, String) {
    let args = [&["console", "--phone", "--print"], more].concat();
    let url = eventually("the console is open", || {
        let said = place.run(&args);
        (said.code == 0).then_some(said.out)
    });
    let rest = url.trim().strip_prefix("https://localhost:").unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    (port.parse().unwrap(), format!("/{path}"))
}

fn alarm(place: &Place) -> Option<Value> {
    let all = place.json(&["alert", "list"]);
    let mut all = all.as_array().unwrap().clone().into_iter();
    all.find(|alert| alert["kind"] == "console.certificate")
}

#[test]
fn a_phone_comes_by_its_link_over_tls_alone_and_is_ended_from_the_machine() {
    let (place, authority) = (Place::new(), Authority::new());
    authority.certify(&place, "localhost", 2099);
    configured(&place);
    let node = place.start(&[]);
    let (port, path) = link(&place, &[]);
    let picture = place.run(&["console", "--phone"]);
    assert!(
        picture.out.contains('█') && picture.out.contains("with the operate scope"),
        "{picture:?}"
    );

    let (answer, _) = authority.ask(port, "GET", &path, &[]);
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let cookie = answer.split("set-cookie: ").nth(1).unwrap();
    let cookie = format!("cookie: {}", cookie.split(';').next().unwrap());
    assert!(
        cookie.starts_with(&format!("cookie: __Host-clawmesh_{port}=")),
        "{cookie}"
    );
    let status = "/api/operator/v1/status";
    let (answer, _) = authority.ask(port, "GET", status, &[&cookie]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The link is used up, here and on the machine.
    let (answer, _) = authority.ask(port, "GET", &path, &[]);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");

    // Without TLS there is no answer at all, and a peer of the mesh finds none here.
    let mut plain = connect(port);
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut got = Vec::new();
    let _ = plain.read_to_end(&mut got);
    assert!(
        !got.starts_with(b"HTTP"),
        "{:?}",
        String::from_utf8_lossy(&got)
    );
    let upgrade = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    let (answer, _) = authority.ask(port, "GET", "/", &upgrade);
    assert!(!answer.starts_with("HTTP/1.1 101"), "{answer}");
    // The node's own port serves this name to nobody, and has no session of the phone.
    let (code, _) = node.http("GET", status, &[&cookie]);
    assert_eq!(code, 401);

    let sessions = place.json(&["console", "sessions"]);
    assert_eq!(sessions[0]["away"], true, "{sessions}");
    assert_eq!(sessions[0]["from"], "127.0.0.1");
    let id = sessions[0]["id"].as_str().unwrap();
    let ended = place.run(&["console", "end", id]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let (answer, _) = authority.ask(port, "GET", status, &[&cookie]);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    for (more, word) in [
        (["--scope", "admin"], "console.scope"),
        (["--host", "other"], "console.hosts"),
    ] {
        let args = [&["console", "--phone"], &more[..]].concat();
        let said = place.run(&args);
        assert!(said.code != 0 && said.err.contains(word), "{said:?}");
    }
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_renewed_certificate_is_taken_and_a_bad_one_is_an_alarm_and_costs_nothing() {
    let (place, authority) = (Place::new(), Authority::new());
    configured(&place);
    // A certificate that has ended: the node runs, says so, and opens the port once there is another.
    authority.certify(&place, "localhost", 2020);
    let doctor = place.run(&["doctor"]);
    assert!(
        doctor.code == 6 && doctor.out.contains("has expired on 2020-01-01"),
        "{doctor:?}"
    );
    let node = place.start(&[]);
    let said = eventually("it is an alarm", || alarm(&place));
    assert!(
        said.to_string().contains("has expired on 2020-01-01"),
        "{said}"
    );
    let refused = place.run(&["console", "--phone"]);
    assert!(
        refused.code != 0 && refused.err.contains("has expired"),
        "{refused:?}"
    );

    let first = authority.certify(&place, "localhost", 2099);
    let (port, _) = link(&place, &[]);
    let shown = |port| authority.ask(port, "GET", "/", &[]).1;
    assert_eq!(shown(port), first);
    eventually("the alarm is over", || {
        alarm(&place).is_none().then_some(())
    });

    // A key that others may read is not taken: the certificate that it has stays.
    let second = authority.certify(&place, "localhost", 2098);
    let key = std::fs::read_to_string(place.beside("phone.key")).unwrap();
    write(&place, "phone.key", &key, 0o644);
    let said = eventually("it is an alarm", || alarm(&place));
    assert!(said.to_string().contains("chmod 600"), "{said}");
    assert_eq!(shown(port), first);
    write(&place, "phone.key", &key, 0o600);
    eventually("the alarm is over", || {
        alarm(&place).is_none().then_some(())
    });
    assert_eq!(shown(port), second);
    let doctor = place.json(&["doctor"]);
    assert!(
        doctor.to_string().contains("counts until 2098-01-01"),
        "{doctor}"
    );
    assert_eq!(node.stop(), 0);
}
