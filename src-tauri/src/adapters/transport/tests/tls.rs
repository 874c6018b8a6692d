//! TLS on the shared port: who is bound to what, and who never gets in.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::domain::base::DeviceId;

pub(super) fn id(seed: u8) -> DeviceId {
    DeviceKey::from_seed(&[seed; 32]).id().clone()
}

pub(super) fn security(seed: u8, expect: DeviceId) -> Security {
    Security::Tls {
        tls: tls_of(seed),
        pin: None,
        expect: Some(expect),
    }
}

pub(super) async fn dial_as(site: &Site, security: &Security) -> Result<Socket, TransportError> {
    let url = format!("wss://{}/", site.addr).parse().unwrap();
    dial(&url, security, PATIENCE, &CancellationToken::new()).await
}

/// How a socket is protected, apart from the connection's own name.
fn bare(socket: &Socket) -> Protection {
    socket.protection().clone().over(None)
}

#[tokio::test]
async fn a_link_between_nodes_is_bound_to_both_devices() {
    let mut site = site().await;
    let near = dial_as(&site, &security(1, id(SERVER))).await.unwrap();
    let far = site.next().await.socket;
    assert_eq!(bare(&near), Protection::tls(Some(id(SERVER))));
    assert_eq!(bare(&far), Protection::tls(Some(id(1))));
    let (here, there) = (near.protection(), far.protection());
    assert!(
        here.channel.is_some() && here.channel == there.channel,
        "both ends name the connection alike"
    );
    assert_eq!(near.protection().posture, Posture::IdentityBound);
    conforms(near, far).await;
    // The same port still speaks plain.
    let near = site.dial().await;
    let far = site.next().await.socket;
    assert_eq!(bare(&far), Protection::PLAIN);
    assert!(near.protection().channel.is_some());
    assert_eq!(near.protection().channel, far.protection().channel);
    conforms(near, far).await;
}

#[tokio::test]
async fn another_device_or_another_certificate_never_connects() {
    let mut site = site().await;
    let error = dial_as(&site, &security(1, id(2))).await.err().unwrap();
    let TransportError::WrongDevice {
        expected, found, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((expected, found), (&id(2), &id(SERVER)));
    let pinned = |pin: Fingerprint| Security::Tls {
        tls: tls_of(1),
        pin: Some(pin),
        expect: Some(id(SERVER)),
    };
    let wrong = pinned(tls_of(2).fingerprint());
    let error = dial_as(&site, &wrong).await.err().unwrap();
    assert!(
        matches!(error, TransportError::PinMismatch { .. }),
        "{error}"
    );
    // Nothing of either reached the mesh side.
    assert!(site.incoming.try_recv().is_err());
    // The certificate is the same after every start, so its pin holds.
    let right = pinned(tls_of(SERVER).fingerprint());
    let near = dial_as(&site, &right).await.unwrap();
    assert_eq!(near.protection().posture, Posture::IdentityBound);
}

/// A client with settings of its own.
async fn connect_with(
    site: &Site,
    config: rustls::ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(site.addr).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(Tls::server_name().unwrap(), tcp).await
}

#[tokio::test]
async fn a_client_without_a_certificate_has_proven_nothing() {
    let mut site = site().await;
    let config = super::super::tls::anonymous_client().unwrap();
    let stream = connect_with(&site, config).await.unwrap();
    let url = format!("ws://{}/", site.addr);
    let (_socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let far = site.next().await.socket;
    assert_eq!(bare(&far), Protection::tls(None));
    assert_eq!(far.protection().posture, Posture::TlsUnpinned);
}

#[tokio::test]
async fn showing_a_certificate_of_a_key_one_does_not_hold_proves_nothing() {
    let mut site = site().await;
    // The public certificate of device 1, with a key of one's own.
    let stolen = CertificateDer::from(tls_of(1).certificate());
    let own = DeviceKey::from_seed(&[3; 32]).to_pkcs8().unwrap();
    let own = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.to_vec()));
    let config = super::super::tls::client_showing(stolen, own);
    // Where the library itself refuses the pair there is nothing left to try.
    if let Some(config) = config
        && let Ok(mut stream) = connect_with(&site, config).await
    {
        stream
            .write_all(upgrade("127.0.0.1", "").as_bytes())
            .await
            .ok();
        let mut answer = Vec::new();
        soon(stream.read_to_end(&mut answer)).await.ok();
        assert!(answer.is_empty(), "it was answered");
    }
    assert!(site.incoming.try_recv().is_err());
}

#[tokio::test]
async fn half_a_handshake_and_garbage_end_and_leave_the_door_open() {
    let settings = Settings {
        deadline: Duration::from_millis(200),
        ..Settings::default()
    };
    let mut site = site_with(settings).await;
    let mut half = TcpStream::connect(site.addr).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let mut rest = Vec::new();
    soon(half.read_to_end(&mut rest)).await.ok();
    let mut garbage = TcpStream::connect(site.addr).await.unwrap();
    garbage.write_all(&[0x16; 600]).await.unwrap();
    soon(garbage.read_to_end(&mut rest)).await.ok();
    let near = dial_as(&site, &security(1, id(SERVER))).await.unwrap();
    let far = site.next().await;
    assert!(far.slot.promote());
    conforms(near, far.socket).await;
}

#[test]
fn fingerprints_are_read_as_people_write_them() {
    let print = tls_of(1).fingerprint();
    let plain = print.to_string();
    let colons: Vec<String> = plain
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect();
    for text in [plain.clone(), colons.join(":"), format!("sha256:{plain}")] {
        assert_eq!(text.parse::<Fingerprint>().unwrap(), print);
    }
    for bad in [
        "",
        "abc",
        &plain[1..],
        &format!("{plain}0"),
        &"é".repeat(32),
        &format!("+{}", &plain[1..]),
        &format!("{}:{}", &plain[..3], &plain[3..]),
    ] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
    }
}

#[test]
fn the_browser_certificate_survives_its_file() {
    let made = BrowserCertificate::generate().unwrap();
    let kept = BrowserCertificate::from_bytes(&made.to_bytes()).unwrap();
    assert_eq!(format!("{made:?}"), format!("{kept:?}"));
    assert!(!format!("{kept:?}").contains("key"));
    assert!(BrowserCertificate::from_bytes(&made.to_bytes()[..40]).is_none());
    assert!(BrowserCertificate::from_bytes(b"").is_none());
}

#[test]
fn a_browser_certificate_with_another_key_is_damage() {
    let (one, other) = (
        BrowserCertificate::generate().unwrap(),
        BrowserCertificate::generate().unwrap(),
    );
    let (one, other) = (one.to_bytes(), other.to_bytes());
    let length = |bytes: &[u8]| {
        let (length, _) = bytes.split_first_chunk::<4>().unwrap();
        4 + usize::try_from(u32::from_be_bytes(*length)).unwrap()
    };
    let mixed = [&one[..length(&one)], &other[length(&other)..]].concat();
    assert!(BrowserCertificate::from_bytes(&mixed).is_none());
}

#[tokio::test]
async fn a_url_that_asks_for_tls_is_never_dialed_without() {
    let site = site().await;
    let error = dial_as(&site, &Security::Plain).await.err().unwrap();
    assert!(matches!(error, TransportError::TlsNeeded { .. }), "{error}");
}

#[tokio::test]
async fn whoever_answers_is_known_but_bound_to_nothing_if_nobody_was_expected() {
    let site = site().await;
    let here = tls_of(SERVER).fingerprint();
    for (pin, posture) in [
        (None, Posture::TlsUnpinned),
        (Some(here), Posture::TlsPinned),
    ] {
        let (tls, expect) = (tls_of(2), None);
        let security = Security::Tls { tls, pin, expect };
        let near = dial_as(&site, &security).await.unwrap();
        let device = Some(id(SERVER));
        assert_eq!(
            bare(&near),
            Protection {
                posture,
                device,
                channel: None
            }
        );
    }
}
