//! TLS 1.3 between nodes, bound to their device keys, and TLS for browsers, on the same port.
//!
//! A node's certificate is of its own Ed25519 key, so completing the handshake with it proves that
//! device's key and no authority is needed. Certificates are not judged by their content: the
//! handshake proves the key (RFC 8446 §4.4.3), the caller compares the device. Sessions are never
//! resumed, so that every connection proves its key again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use super::socket::Channel;
use crate::domain::base::DeviceId;
use crate::domain::identity::{DeviceKey, PublicKey};

#[cfg(test)]
pub use odd::{anonymous_client, client_showing};

/// Prefix of the 32 bytes of an Ed25519 key in a certificate (RFC 8410 §4).
const ED25519_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The name every node answers to in TLS: devices are told apart by key, and an id is no host name.
const SERVER_NAME: &str = "clawmesh.invalid";

/// The SHA-256 of a certificate, as people compare it: 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no TLS fingerprint; it is the SHA-256 of the certificate as 64 hex digits, with or without colons"
)]
pub struct FingerprintError(String);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let bad = || FingerprintError(text.chars().take(100).collect());
        let lower = text.trim().to_ascii_lowercase();
        let bare = lower.strip_prefix("sha256:").unwrap_or(&lower);
        let pairs = bare.split(':').all(|pair| pair.len() == 2);
        if bare.contains(':') && !pairs {
            return Err(bad());
        }
        let digits: Vec<u8> = bare
            .chars()
            .filter(|sign| *sign != ':')
            .map(|sign| sign.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// An error in setting up TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The device key could not be put into the form TLS wants.
    #[error("the device key cannot be used for TLS")]
    Key,
    /// The configuration was refused.
    #[error("TLS could not be set up: {0}")]
    Config(#[from] Error),
}

/// The certificate for browsers: one of a key of its own, since browsers take no Ed25519.
#[derive(Clone)]
pub struct BrowserCertificate {
    certificate: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

impl fmt::Debug for BrowserCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BrowserCertificate({})",
            Fingerprint::of(&self.certificate)
        )
    }
}

impl BrowserCertificate {
    /// A fresh P-256 key and its certificate for this machine.
    ///
    /// # Errors
    /// [`TlsError::Certificate`].
    pub fn generate() -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "ClawMesh node");
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.der().to_vec(),
            key: zeroize::Zeroizing::new(key.serialize_der()),
        })
    }

    /// The bytes to keep: the length of the certificate, the certificate, the key.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let length = u32::try_from(self.certificate.len()).unwrap_or(u32::MAX);
        let parts = [&length.to_be_bytes()[..], &self.certificate, &self.key];
        zeroize::Zeroizing::new(parts.concat())
    }

    /// Reads [`BrowserCertificate::to_bytes`]; `None` if it is damaged, also if the
    /// key is not that of the certificate.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (certificate, key) = rest.split_at_checked(length)?;
        let chain = vec![CertificateDer::from(certificate.to_vec())];
        let pkcs8 = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, pkcs8, &provider).ok()?;
        Some(Self {
            certificate: certificate.to_vec(),
            key: zeroize::Zeroizing::new(key.to_vec()),
        })
    }
}

/// TLS as one device speaks it. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Configs>);

struct Configs {
    nodes: Arc<ServerConfig>,
    browsers: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    fingerprint: Fingerprint,
    #[cfg(test)]
    certificate: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.0.fingerprint)
    }
}

impl Tls {
    /// TLS with the device's own key, and with another for browsers.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(device: &DeviceKey, browser: &BrowserCertificate) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pkcs8 = device.to_pkcs8().ok_or(TlsError::Key)?;
        let key = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)?;
        let params = device_certificate(device)?;
        let certificate = params.self_signed(&pair)?.der().clone();
        let fingerprint = Fingerprint::of(&certificate);
        let own_key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
        let proof = Arc::new(AnyKey(provider.clone()));

        let mut nodes = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(proof.clone())
            .with_single_cert(vec![certificate.clone()], own_key())?;
        let browser_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(browser.key.to_vec()));
        let browser_certificate = CertificateDer::from(browser.certificate.clone());
        let mut browsers = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![browser_certificate], browser_key)?;
        for config in [&mut nodes, &mut browsers] {
            config.send_tls13_tickets = 0;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(proof)
            .with_client_auth_cert(vec![certificate.clone()], own_key())?;
        client.enable_sni = false;
        client.resumption = rustls::client::Resumption::disabled();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(Configs {
            nodes: Arc::new(nodes),
            browsers: Arc::new(browsers),
            client: Arc::new(client),
            fingerprint,
            #[cfg(test)]
            certificate: certificate.to_vec(),
        })))
    }

    /// The fingerprint of the device's certificate; the same after every start.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// How to answer a client: browsers can do nothing with an Ed25519 certificate and must not be
    /// asked for one of their own.
    pub(super) fn server(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        match hello
            .signature_schemes()
            .contains(&SignatureScheme::ED25519)
        {
            true => self.0.nodes.clone(),
            false => self.0.browsers.clone(),
        }
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.0.client.clone()
    }

    pub(super) fn server_name() -> Option<ServerName<'static>> {
        ServerName::try_from(SERVER_NAME).ok()
    }
}

/// The client's side for a program that has no device key: the server proves the key of its
/// certificate, and the caller compares the device.
///
/// # Errors
/// [`TlsError::Config`].
pub(super) fn client_without_key() -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey(provider)))
        .with_no_client_auth();
    client.enable_sni = false;
    client.resumption = rustls::client::Resumption::disabled();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(client)
}

/// The content of the device's certificate. All of it is set by the key and this function, nothing
/// by the library's defaults: people keep its fingerprint as a pin.
fn device_certificate(device: &DeviceKey) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, device.id().as_str());
    let mut serial: Vec<u8> = device
        .public()
        .as_bytes()
        .iter()
        .copied()
        .take(16)
        .collect();
    if let Some(first) = serial.first_mut() {
        // Positive and without leading zeros (RFC 5280 §4.1.2.2).
        *first = *first & 0x3f | 0x40;
    }
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    Ok(params)
}

/// The label under which both ends of a TLS connection export what only they have in common.
pub(super) const EXPORTER: &[u8] = b"EXPORTER-clawmesh-handshake";

/// The output of `export` for a zero key, as the name of a connection; `None` if TLS refuses.
pub(super) fn exported<E>(export: impl FnOnce([u8; 32]) -> Result<[u8; 32], E>) -> Option<Channel> {
    export([0; 32]).ok().map(|bytes| Channel::tls(&bytes))
}

/// The device whose key a certificate carries, if it is an Ed25519 key at all. Only a completed
/// handshake proves that the other side holds it.
pub(super) fn device_of(certificate: &CertificateDer<'_>) -> Option<DeviceId> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let info = parsed.subject_public_key_info();
    let raw: &[u8; 32] = info.as_ref().strip_prefix(&ED25519_HEAD)?.try_into().ok()?;
    PublicKey::from_bytes(raw).ok().map(|key| key.device_id())
}

/// Takes any certificate, and has the handshake prove that its key is held.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl AnyKey {
    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyKey {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// A client without a certificate is served as one that has proven nothing.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// Clients that our own code never makes.
#[cfg(test)]
mod odd {
    use super::*;

    impl Tls {
        /// The certificate everybody gets to see.
        pub fn certificate(&self) -> Vec<u8> {
            self.0.certificate.clone()
        }
    }

    fn config() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyKey(provider)))
    }

    /// A client that shows no certificate.
    pub fn anonymous_client() -> Option<ClientConfig> {
        Some(config().with_no_client_auth())
    }

    /// Shows one certificate and signs with another key.
    #[derive(Debug)]
    struct Mixed(Arc<rustls::sign::CertifiedKey>);

    impl rustls::client::ResolvesClientCert for Mixed {
        fn resolve(
            &self,
            _: &[&[u8]],
            _: &[SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(self.0.clone())
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    /// A client that shows a certificate it has no key for.
    pub fn client_showing(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Option<ClientConfig> {
        let signing = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
        let mixed = rustls::sign::CertifiedKey::new(vec![certificate], signing);
        Some(config().with_client_cert_resolver(Arc::new(Mixed(Arc::new(mixed)))))
    }
}
