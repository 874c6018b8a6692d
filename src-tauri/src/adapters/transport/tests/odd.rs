//! Clients and servers that our own code never makes, against ours.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ServerConfig, SignatureScheme,
};
use tokio::net::TcpListener;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite;

use super::tls::{dial_as, id, security};
use super::*;

/// The certificate of one device with the secret key of another, or of the same.
fn certified(certificate: u8, key: u8) -> CertifiedKey {
    let shown = CertificateDer::from(tls_of(certificate).certificate());
    let held = DeviceKey::from_seed(&[key; 32]).to_pkcs8().unwrap();
    let held = PrivatePkcs8KeyDer::from(held.to_vec()).into();
    let signing = ring::sign::any_supported_type(&held).unwrap();
    CertifiedKey::new(vec![shown], signing)
}

fn pinning(pin: Fingerprint, expect: u8) -> Security {
    Security::Tls {
        tls: tls_of(2),
        pin: Some(pin),
        expect: Some(id(expect)),
    }
}

/// A foreign client: it offers `schemes` and may show a certificate.
#[derive(Debug)]
struct Stranger {
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Stranger {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("not TLS 1.3".into()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Remembers whether the server asked for a certificate.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::SeqCst);
        None
    }
    fn has_certs(&self) -> bool {
        true
    }
}

fn config(schemes: &[SignatureScheme], certificate: Arc<dyn ResolvesClientCert>) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = Stranger {
        algorithms: provider.signature_verification_algorithms,
        schemes: schemes.to_vec(),
    };
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(certificate)
}

const NODE: &[SignatureScheme] = &[
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
];
const BROWSER: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

async fn over_tls(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::clone(config)).connect(name, tcp)).await
}

/// A foreign server.
async fn other_server(certified: CertifiedKey) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = tcp.local_addr().unwrap();
    TaskTracker::new().spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio_tungstenite::accept_async(stream).await.ok();
            }
        }
    });
    addr
}

#[tokio::test]
async fn a_server_without_a_device_key_is_unpinned_or_pinned() {
    let pair = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    let der = pair.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()).into();
    let signing = ring::sign::any_supported_type(&key).unwrap();
    let pin = Fingerprint::of(&der);
    let addr = other_server(CertifiedKey::new(vec![der], signing)).await;
    let url = format!("wss://{addr}").parse().unwrap();
    for (security, posture) in [
        (security(2, id(SERVER)), Posture::TlsUnpinned),
        (pinning(pin, SERVER), Posture::TlsPinned),
    ] {
        let never = CancellationToken::new();
        let link = dial(&url, &security, PATIENCE, &never).await.unwrap();
        assert_eq!(
            (link.protection().posture, link.protection().device.as_ref()),
            (posture, None)
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_hold_the_key_it_shows_is_refused() {
    let never = CancellationToken::new();
    let honest = other_server(certified(9, 9)).await;
    let url = format!("wss://{honest}").parse().unwrap();
    let link = dial(&url, &security(2, id(9)), PATIENCE, &never).await;
    assert_eq!(link.unwrap().protection().posture, Posture::IdentityBound);
    let liar = other_server(certified(9, 8)).await;
    let url = format!("wss://{liar}").parse().unwrap();
    let pin = tls_of(9).fingerprint();
    for security in [security(2, id(9)), pinning(pin, 9)] {
        let error = dial(&url, &security, PATIENCE, &never).await.err().unwrap();
        assert!(matches!(error, TransportError::Tls { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_hold_the_key_it_shows_gets_nowhere() {
    let mut site = site().await;
    let upgrade = |stream| tokio_tungstenite::client_async("ws://127.0.0.1/", stream);
    for (key, honest) in [(8, false), (9, true)] {
        let shown = SingleCertAndKey::from(certified(9, key));
        let config = Arc::new(config(NODE, Arc::new(shown)));
        // Our side of the handshake is over before the server has judged it.
        let stream = over_tls(site.addr, &config).await.unwrap();
        let upgraded = soon(Box::pin(upgrade(stream))).await;
        assert_eq!(upgraded.is_ok(), honest, "key {key}");
        if honest {
            assert_eq!(site.next().await.socket.protection().device, Some(id(9)));
        } else {
            assert!(matches!(upgraded, Err(tungstenite::Error::Io(_))));
        }
        assert!(site.incoming.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_client_without_certificate_is_unpinned_and_a_browser_is_not_asked_for_one() {
    let mut site = site().await;
    for (schemes, asks) in [(NODE, true), (BROWSER, false)] {
        let asked = Arc::new(Asked::default());
        let config = Arc::new(config(
            schemes,
            Arc::clone(&asked) as Arc<dyn ResolvesClientCert>,
        ));
        let stream = over_tls(site.addr, &config).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let of_device = Fingerprint::of(&shown) == tls_of(SERVER).fingerprint();
        assert_eq!(of_device, asks, "browsers know no Ed25519");
        let upgraded = tokio_tungstenite::client_async("wss://127.0.0.1/", stream);
        let _link = soon(Box::pin(upgraded)).await.unwrap();
        let incoming = site.next().await;
        assert_eq!(incoming.socket.protection().posture, Posture::TlsUnpinned);
        assert_eq!(incoming.socket.protection().device, None);
        assert_eq!(asked.0.load(Ordering::SeqCst), asks);
    }
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let site = site().await;
    let mut config = config(NODE, Arc::new(Asked::default()));
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    for _ in 0..3 {
        let mut stream = over_tls(site.addr, &config).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(connection.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn requests_work_over_tls_and_know_it() {
    let site = site().await;
    let request = "GET /told HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for schemes in [NODE, BROWSER] {
        let mut config = config(schemes, Arc::new(Asked::default()));
        // The ALPN offer of browsers and curl.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut stream = over_tls(site.addr, &Arc::new(config)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("secure=true from=127.0.0.1"), "{answer}");
    }
    let answer = site.ask(request).await;
    assert!(answer.ends_with("secure=false from=127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn garbage_is_refused_at_once_and_not_at_a_deadline() {
    let patient = Settings {
        deadline: PATIENCE * 10,
        head_timeout: PATIENCE * 10,
        ..Settings::default()
    };
    let mut site = site_with(patient).await;
    for garbage in [
        &[0x16; 64][..],
        b"\x16\x03\x01\x00\x05hello",
        b"\x16GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(site.addr).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        soon(tcp.read_to_end(&mut answer)).await.ok();
    }
    let near = dial_as(&site, &security(2, id(SERVER))).await.unwrap();
    conforms(near, site.next().await.socket).await;
}

#[tokio::test]
async fn a_crowd_that_stops_in_mid_handshake_leaves_a_peer_in() {
    let mut site = site().await;
    let mut crowd = Vec::new();
    for number in 0..600 {
        let mut silent = TcpStream::connect(site.addr).await.unwrap();
        if number % 2 == 0 {
            silent.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        }
        crowd.push(silent);
    }
    let near = dial_as(&site, &security(2, id(SERVER))).await.unwrap();
    let far = site.next().await;
    assert!(far.slot.promote());
    assert_eq!(far.socket.protection().device, Some(id(2)));
    conforms(near, far.socket).await;
}

#[tokio::test]
async fn another_device_is_named_to_the_person_and_so_are_both_certificates() {
    let site = site().await;
    let text = dial_as(&site, &security(2, id(3))).await.err().unwrap();
    let text = text.to_string();
    assert!(
        text.contains(id(3).as_str()) && text.contains(id(SERVER).as_str()),
        "{text}"
    );
    let (here, other) = (tls_of(SERVER).fingerprint(), tls_of(3).fingerprint());
    let error = dial_as(&site, &pinning(other, SERVER)).await.err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains(&here.to_string()) && text.contains(&other.to_string()),
        "{text}"
    );
    // The right certificate does not make up for the wrong device.
    let error = dial_as(&site, &pinning(here, 3)).await.err().unwrap();
    assert!(
        matches!(error, TransportError::WrongDevice { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_without_tls_says_so() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}", tcp.local_addr().unwrap());
    TaskTracker::new().spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .ok();
        }
    });
    let never = CancellationToken::new();
    let error = dial(&url.parse().unwrap(), &security(2, id(9)), PATIENCE, &never).await;
    let error = error.err().unwrap();
    assert!(matches!(error, TransportError::Tls { .. }), "{error}");
}

#[test]
fn the_fingerprint_depends_on_the_device_key_alone() {
    // Pins in other people's configuration hold this: it may never change for a given key.
    let golden = "1b2914a70616dea801f64bb92ad1d72bd930247cab66518fcd31cf033acc868b";
    assert_eq!(tls_of(7).fingerprint().to_string(), golden);
    assert_ne!(tls_of(8).fingerprint(), tls_of(7).fingerprint());
}
