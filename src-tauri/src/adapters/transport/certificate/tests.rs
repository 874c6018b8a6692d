//! Certificates that browsers would take, and those that they would not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use base64::Engine as _;
use rcgen::{CertificateParams, KeyPair};

use super::*;

const NOW: TimeMs = TimeMs(1_790_000_000_000);

struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        let made = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        made.write("", |_| {});
        made
    }

    fn write(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["field.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        change(&mut params);
        let cert = params.self_signed(&key).unwrap();
        self.pem(&format!("{name}cert.pem"), "CERTIFICATE", cert.der());
        let secret = key.serialize_der();
        self.pem(&format!("{name}key.pem"), "PRIVATE KEY", &secret);
        self.mode(&format!("{name}key.pem"), 0o600);
    }

    fn pem(&self, name: &str, label: &str, der: &[u8]) {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let text = lines.join("\n");
        let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
        std::fs::write(self.path(name), pem).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[cfg(not(unix))]
    fn mode(&self, _: &str, _: u32) {}

    #[cfg(unix)]
    fn mode(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    fn load_as(&self, cert: &str, key: &str, host: &str) -> Result<Certificate, String> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let (cert, key) = (self.path(cert), self.path(key));
        Certificate::load((&cert, &key), &[name], NOW).map_err(|e| e.to_string())
    }

    fn load(&self) -> Result<Certificate, String> {
        self.load_as("cert.pem", "key.pem", "field.example")
    }
}

#[test]
fn a_good_pair_is_taken_and_known_again_until_a_file_changes() {
    let made = Made::new();
    let good = made.load().unwrap();
    assert_eq!(day(good.ends()), "2027-01-01");
    let read = |made: &Made| Files::read(&made.path("cert.pem"), &made.path("key.pem"));
    assert!(good.is_of(&read(&made).unwrap()));
    made.write("", |_| {});
    assert!(!good.is_of(&read(&made).unwrap()));
    assert!(!format!("{good:?}").contains("PRIVATE"));
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused_with_what_to_do() {
    let made = Made::new();
    for mode in [0o640, 0o604, 0o644] {
        made.mode("key.pem", mode);
        let said = made.load().unwrap_err();
        assert!(said.contains("chmod 600"), "{said}");
    }
    made.mode("key.pem", 0o400);
    made.load().unwrap();
}

#[test]
fn what_is_missing_broken_or_of_another_pair_is_named() {
    let made = Made::new();
    made.write("other-", |_| {});
    let said = |cert: &str, key: &str| made.load_as(cert, key, "field.example").unwrap_err();
    assert!(said("cert.pem", "other-key.pem").contains("is not the key of"));
    assert!(said("none.pem", "key.pem").contains("console.cert"));
    assert!(said("cert.pem", "none.pem").contains("console.key"));
    assert!(said("key.pem", "key.pem").contains("holds no certificate"));
    std::fs::write(made.path("bad.pem"), "hush").unwrap();
    made.mode("bad.pem", 0o600);
    let bad = said("cert.pem", "bad.pem");
    assert!(
        bad.contains("holds no private key") && !bad.contains("hush"),
        "{bad}"
    );
    let other = made.load_as("cert.pem", "key.pem", "evil.example");
    assert!(
        other
            .unwrap_err()
            .contains("not for evil.example, which is one of")
    );
}

#[test]
fn one_that_has_expired_or_does_not_count_yet_says_so_and_when() {
    let made = Made::new();
    made.write("", |p| p.not_after = rcgen::date_time_ymd(2026, 2, 3));
    let said = made.load().unwrap_err();
    assert!(said.contains("has expired on 2026-02-03"), "{said}");
    made.write("", |p| {
        p.not_before = rcgen::date_time_ymd(2060, 2, 3);
        p.not_after = rcgen::date_time_ymd(2061, 2, 3);
    });
    let said = made.load().unwrap_err();
    assert!(said.contains("only from 2060-02-03 on"), "{said}");
}

#[test]
fn what_browsers_refuse_is_refused_here() {
    use rcgen::ExtendedKeyUsagePurpose as Use;
    let made = Made::new();
    // A chain whose second certificate is none.
    let own = std::fs::read_to_string(made.path("cert.pem")).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(made.path("cert.pem"), format!("{own}{broken}")).unwrap();
    let said = made.load().unwrap_err();
    assert!(said.contains("certificate 2 of its chain"), "{said}");
    std::fs::write(made.path("cert.pem"), format!("{own}{own}")).unwrap();
    made.load().unwrap();
    // One for clients alone.
    made.write("", |p| p.extended_key_usages = vec![Use::ClientAuth]);
    let said = made.load().unwrap_err();
    assert!(said.contains("serverAuth"), "{said}");
    let both = vec![Use::ClientAuth, Use::ServerAuth];
    made.write("", |p| p.extended_key_usages = both);
    made.load().unwrap();
    // A kind of key that they do not take.
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = CertificateParams::new(vec!["field.example".to_owned()]).unwrap();
    made.pem(
        "cert.pem",
        "CERTIFICATE",
        params.self_signed(&key).unwrap().der(),
    );
    made.pem("key.pem", "PRIVATE KEY", &key.serialize_der());
    let said = made.load().unwrap_err();
    assert!(said.contains("no Ed25519"), "{said}");
}

#[test]
fn a_cut_certificate_is_no_panic() {
    let made = Made::new();
    let whole = made.load().unwrap().certified.cert[0].to_vec();
    for length in 0..whole.len() {
        let _ = validity(&whole[..length]);
    }
    assert!(validity(&whole).is_some());
}

/// A certificate that says it is signed by another algorithm, given as the content of an OID.
fn signed_with(der: &[u8], oid: &[u8]) -> Vec<u8> {
    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], content].concat()
    }
    let algorithm = wrap(0x30, &wrap(0x06, oid));
    let (certificate, _) = member(der, 0x30).unwrap();
    let (signed, rest) = member(certificate, 0x30).unwrap();
    let (_, signature) = member(rest, 0x30).unwrap();
    let (_, after_version) = member(signed, 0xa0).unwrap();
    let (_, after_serial) = member(after_version, 0x02).unwrap();
    let (_, after_algorithm) = member(after_serial, 0x30).unwrap();
    let begin = &signed[..signed.len() - after_serial.len()];
    let signed = wrap(0x30, &[begin, &algorithm, after_algorithm].concat());
    wrap(0x30, &[&signed, algorithm.as_slice(), signature].concat())
}

#[test]
fn one_that_is_signed_with_sha_1_is_refused_as_browsers_do() {
    let made = Made::new();
    let der = made.load().unwrap().certified.cert[0].to_vec();
    for oid in [
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01][..],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
    ] {
        made.pem("cert.pem", "CERTIFICATE", &signed_with(&der, oid));
        let said = made.load().unwrap_err();
        assert!(said.contains("SHA-1") && said.contains("SHA-256"), "{said}");
    }
}
