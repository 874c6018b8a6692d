//! A push service for tests, as strict as real ones where a node could go wrong: TLS, one path for each browser, the headers of
//! RFC 8030, a proof of RFC 8292 that is for this service and not for long, and a body of RFC 8291 that the browser's key opens. It reads
//! with another implementation of P-256 than the node writes with. It fails when a test says so.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{PublicKey, SecretKey};
use ring::{aead, hkdf, signature};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::harness::PATIENCE;
use crate::process::eventually;

/// A browser with a subscription.
#[derive(Clone)]
pub struct Browser {
    secret: SecretKey,
    auth: [u8; 16],
    /// What stands behind the host in its endpoint.
    path: String,
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derived(salt: &[u8], secret: &[u8], info: &[&[u8]], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    prk.expand(info, Length(length))
        .unwrap()
        .fill(&mut out)
        .unwrap();
    out
}

impl Browser {
    /// One whose key and path are made of this number.
    pub fn new(n: u8) -> Self {
        Self {
            secret: SecretKey::from_slice(&[n.max(1); 32]).unwrap(),
            auth: [n; 16],
            path: format!("/wpush/v2/secret-{n}?t=1"),
        }
    }

    fn public(&self) -> Vec<u8> {
        let point = self.secret.public_key().to_sec1_point(false);
        point.as_bytes().to_vec()
    }

    /// Opens the body of a message (RFC 8291, section 3.4, and RFC 8188 with one record).
    fn open(&self, body: &[u8]) -> Result<Value, String> {
        if body.len() > 4_096 || body.len() < 104 {
            return Err(format!("a body of {} bytes", body.len()));
        }
        let (salt, rest) = body.split_at(16);
        let (size, rest) = rest.split_at(4);
        let size = u32::from_be_bytes(size.try_into().unwrap());
        let (length, rest) = rest.split_at(1);
        if length != [65] {
            return Err("the key of the sender has another length".to_owned());
        }
        let (theirs, sealed) = rest.split_at(65);
        if u32::try_from(sealed.len()).unwrap() > size {
            return Err("more than one record".to_owned());
        }
        let key = PublicKey::from_sec1_bytes(theirs).map_err(|e| e.to_string())?;
        let shared = p256::ecdh::diffie_hellman(&self.secret.to_nonzero_scalar(), key.as_affine());
        let own = self.public();
        let info: [&[u8]; 3] = [b"WebPush: info\0", &own, theirs];
        let ikm = derived(&self.auth, shared.raw_secret_bytes(), &info, 32);
        let key = derived(salt, &ikm, &[b"Content-Encoding: aes128gcm\0"], 16);
        let nonce = derived(salt, &ikm, &[b"Content-Encoding: nonce\0"], 12);
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key).unwrap();
        let mut text = sealed.to_vec();
        let nonce = aead::Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let text = aead::LessSafeKey::new(key)
            .open_in_place(nonce, aead::Aad::empty(), &mut text)
            .map_err(|_| "the body does not open".to_owned())?;
        let end = text.iter().rposition(|byte| *byte != 0);
        let Some((2, text)) = end.map(|end| (text[end], &text[..end])) else {
            return Err("the record is not the last".to_owned());
        };
        serde_json::from_slice(text).map_err(|e| e.to_string())
    }
}

#[derive(Default)]
struct Inside {
    got: Vec<Value>,
    answers: VecDeque<String>,
    asked: usize,
    wrong: Vec<String>,
}

/// A running service. A clone is the same one.
#[derive(Clone)]
pub struct PushService {
    inside: Arc<Mutex<Inside>>,
    browsers: Arc<Mutex<Vec<Browser>>>,
    pub port: u16,
}

impl PushService {
    pub fn start(tls: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Self {
            inside: Arc::default(),
            browsers: Arc::default(),
            port: listener.local_addr().unwrap().port(),
        };
        let (own, tls) = (service.clone(), Arc::new(tls));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let tls = ServerConnection::new(tls.clone()).unwrap();
                own.serve(StreamOwned::new(tls, socket));
            }
        });
        service
    }

    fn serve(&self, mut stream: StreamOwned<ServerConnection, std::net::TcpStream>) {
        let mut got = Vec::new();
        let mut chunk = [0; 4_096];
        let (head, body) = loop {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(n) => got.extend_from_slice(&chunk[..n]),
            }
            let Some(at) = got.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8(got[..at].to_vec()).unwrap();
            let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
            if got.len() >= at + 4 + length {
                break (head, got[at + 4..at + 4 + length].to_vec());
            }
        };
        let answer = {
            let mut inside = self.inside.lock().unwrap();
            inside.asked += 1;
            match inside.answers.pop_front() {
                Some(answer) => answer,
                None => match self.checked(&head, &body) {
                    Ok(said) => {
                        inside.got.push(said);
                        "201 Created\r\nlocation: /m/1".to_owned()
                    }
                    Err(why) => {
                        inside.wrong.push(format!("{why}: {head}"));
                        "400 Bad Request".to_owned()
                    }
                },
            }
        };
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    /// What a message says, if a real service and the browser would take it.
    fn checked(&self, head: &str, body: &[u8]) -> Result<Value, String> {
        let of = |name| header(head, name).ok_or_else(|| format!("no {name}"));
        let is = |name, wanted: &str| match of(name)? == wanted {
            true => Ok(()),
            false => Err(format!("{name} is not {wanted}")),
        };
        is("content-encoding", "aes128gcm")?;
        is("host", &format!("localhost:{}", self.port))?;
        let ttl: u64 = of("ttl")?.parse().map_err(|_| "ttl is no number")?;
        let topic = of("topic")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if topic.len() > 32 || !topic.bytes().all(plain) || ttl > 4 * 7 * 86_400 {
            return Err("ttl or topic".to_owned());
        }
        if !matches!(of("urgency")?.as_str(), "high" | "normal") {
            return Err("urgency".to_owned());
        }
        self.proven(&of("authorization")?)?;
        let first = head.lines().next().unwrap();
        let path = first
            .strip_prefix("POST ")
            .and_then(|rest| rest.strip_suffix(" HTTP/1.1"))
            .ok_or("no POST")?;
        let browsers = self.browsers.lock().unwrap();
        let browser = browsers.iter().find(|b| b.path == path);
        let mut said = browser.ok_or("no such subscription")?.open(body)?;
        said["ttl"] = ttl.into();
        said["topic"] = topic.into();
        said["urgency"] = of("urgency")?.into();
        said["path"] = path.into();
        Ok(said)
    }

    /// Whether a proof is of the key that it names, for this service, and not for longer than a day.
    fn proven(&self, proof: &str) -> Result<(), String> {
        let (token, key) = proof
            .strip_prefix("vapid t=")
            .and_then(|rest| rest.split_once(", k="))
            .ok_or("no vapid")?;
        let bytes = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| "no base64url".to_owned())
        };
        let (signed, signature) = token.rsplit_once('.').ok_or("no token")?;
        let (head, claims) = signed.split_once('.').ok_or("no token")?;
        let json = |part: &str| -> Result<Value, String> {
            serde_json::from_slice(&bytes(part)?).map_err(|e| e.to_string())
        };
        if json(head)?["alg"] != "ES256" {
            return Err("alg".to_owned());
        }
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, bytes(key)?)
            .verify(signed.as_bytes(), &bytes(signature)?)
            .map_err(|_| "the signature does not fit".to_owned())?;
        let claims = json(claims)?;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let until = claims["exp"].as_u64().ok_or("no exp")?;
        match claims["aud"] == format!("https://localhost:{}", self.port)
            && (now..=now + 86_400).contains(&until)
            && claims["sub"] == "https://localhost"
        {
            true => Ok(()),
            false => Err(format!("claims {claims}")),
        }
    }

    /// The members of a browser's subscription here, as a page sends them.
    pub fn subscribe(&self, browser: &Browser) -> Value {
        self.browsers.lock().unwrap().push(browser.clone());
        serde_json::json!({
            "endpoint": format!("https://localhost:{}{}", self.port, browser.path),
            "p256dh": URL_SAFE_NO_PAD.encode(browser.public()),
            "auth": URL_SAFE_NO_PAD.encode(browser.auth),
            "language": "de",
        })
    }

    /// The next message is answered so: a status, and headers in further lines.
    pub fn answers(&self, answer: &str) {
        let mut inside = self.inside.lock().unwrap();
        inside.answers.push_back(answer.to_owned());
    }

    /// What arrived, oldest first.
    pub fn got(&self) -> Vec<Value> {
        self.inside.lock().unwrap().got.clone()
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.inside.lock().unwrap().asked
    }

    /// What a real service or browser would have refused.
    pub fn wrong(&self) -> Vec<String> {
        self.inside.lock().unwrap().wrong.clone()
    }

    /// Waits for a message with this text.
    pub fn hears(&self, text: &str) -> Value {
        eventually(&format!("a phone hears {text:?}"), || {
            let got = self.got();
            got.into_iter().find(|said| said.to_string().contains(text))
        })
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut found = head.lines().skip(1).filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    });
    let value = found.next()?;
    found.next().is_none().then_some(value)
}
