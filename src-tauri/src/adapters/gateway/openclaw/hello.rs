//! The first exchange with an OpenClaw gateway: who this node says it is, with what proof, and what a refusal means for people.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::Secrets;
use super::reading::said;
use crate::domain::base::Digest;
use crate::domain::identity::DeviceKey;

/// Protocols that are understood; the gateway takes one of them.
const OLDEST: u64 = 3;
const NEWEST: u64 = 5;
/// What this node may do there: ask, and read what there is.
const SCOPES: [&str; 2] = ["operator.read", "operator.write"];
/// How gateways name a program that asks for others; they know a closed list.
const CLIENT: &str = "gateway-client";
const MODE: &str = "backend";
const ROLE: &str = "operator";

/// What the gateway wants signed.
pub(super) struct Challenge {
    pub nonce: String,
    pub at: u64,
}

impl Challenge {
    /// Reads the first message of a gateway.
    pub(super) fn of(message: &Value) -> Option<Self> {
        let is = message["type"] == "event" && message["event"] == "connect.challenge";
        let payload = &message["payload"];
        let nonce = payload["nonce"].as_str()?;
        let plain = |c: char| c.is_ascii_graphic() && c != '|';
        let fits = is && (1..=256).contains(&nonce.len()) && nonce.chars().all(plain);
        fits.then_some(Self {
            nonce: nonce.to_owned(),
            at: payload["ts"].as_u64()?,
        })
    }
}

/// Which of the tokens is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The one that the gateway has given to this node.
    Own,
    /// The one that a person gave, or none.
    Given,
}

/// The parameters of `connect`.
pub(super) fn connect(
    (challenge, secrets): (&Challenge, &Secrets),
    shown: Shown,
    display_name: &str,
) -> Value {
    let key = DeviceKey::from_seed(&secrets.seed);
    let public = key.public().as_bytes();
    let device = Digest::of(&[public]).to_hex();
    let platform = std::env::consts::OS;
    let token = match shown {
        Shown::Own => secrets.device_token.as_ref(),
        Shown::Given => secrets.token.as_ref(),
    };
    let token = token.map_or("", |token| token.as_str());
    let at = challenge.at.to_string();
    let signed = zeroize::Zeroizing::new(
        [
            "v3",
            &device,
            CLIENT,
            MODE,
            ROLE,
            &SCOPES.join(","),
            &at,
            token,
            &challenge.nonce,
            platform,
            "",
        ]
        .join("|"),
    );
    let signature = key.sign(signed.as_bytes()).to_bytes();
    let auth = match (shown, token) {
        (_, "") => json!({}),
        (Shown::Own, token) => json!({"deviceToken": token}),
        (Shown::Given, token) => json!({"token": token}),
    };
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "minProtocol": OLDEST,
        "maxProtocol": NEWEST,
        "client": {
            "id": CLIENT,
            "version": version,
            "platform": platform,
            "mode": MODE,
            "displayName": display_name,
        },
        "role": ROLE,
        "scopes": SCOPES,
        "caps": [],
        "auth": auth,
        "locale": "en",
        "userAgent": format!("clawmesh-node/{version}"),
        "device": {
            "id": device,
            "publicKey": URL_SAFE_NO_PAD.encode(public),
            "signature": URL_SAFE_NO_PAD.encode(signature),
            "signedAt": challenge.at,
            "nonce": challenge.nonce,
        },
    })
}

/// What a refusal leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not ready; it is asked again after so many milliseconds.
    Starting(u64),
    /// A person must let this node in; the request.
    Pairing(String),
    /// The token that the gateway gave is none any more.
    OwnToken,
    /// A person has to do something else.
    Failed(String),
    /// It is tried again.
    Lost(String),
}

/// Whether a text names a request so that it can stand in a command.
fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=100).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(plain)
}

/// What an error of `connect` means; `id` is this gateway's here.
pub(super) fn refused(error: &Value, shown: Shown, id: &str) -> Refused {
    let code = error["code"].as_str().unwrap_or_default();
    let details = &error["details"];
    let detail = details["code"].as_str().unwrap_or_default();
    let has = |word: &str| code == word || detail == word;
    if code == "UNAVAILABLE" {
        return Refused::Starting(error["retryAfterMs"].as_u64().unwrap_or(500));
    }
    if has("NOT_PAIRED") || has("PAIRING_REQUIRED") {
        let request = details["requestId"].as_str().unwrap_or_default();
        return match is_word(request) {
            true => Refused::Pairing(request.to_owned()),
            false => Refused::Pairing(String::new()),
        };
    }
    if detail.starts_with("AUTH_") || detail.starts_with("DEVICE_AUTH_") {
        if shown == Shown::Own {
            return Refused::OwnToken;
        }
        let set = format!("`clawmesh-node credential set gateway/{id}`");
        let why = match detail {
            "AUTH_TOKEN_MISSING" | "AUTH_PASSWORD_MISSING" => {
                format!("the gateway wants a token: set it with {set}")
            }
            "AUTH_TOKEN_MISMATCH" | "AUTH_PASSWORD_MISMATCH" => format!(
                "the gateway does not take the token: set the one of its gateway.auth.token with {set}"
            ),
            "AUTH_RATE_LIMITED" => {
                return Refused::Lost("the gateway takes no more attempts for a while".to_owned());
            }
            "AUTH_SCOPE_MISMATCH" => "the gateway lets this node in with less than operator.read and operator.write: approve its \
                 request there, in `openclaw devices list`"
                .to_owned(),
            "DEVICE_AUTH_SIGNATURE_EXPIRED" => {
                "the clocks of the gateway's machine and of this one differ: set them".to_owned()
            }
            other => format!("the gateway does not let this node in: {}", said(other)),
        };
        return Refused::Failed(why);
    }
    if has("PROTOCOL_MISMATCH") {
        return Refused::Failed(protocol(&details["expectedProtocol"]));
    }
    let message = said(error["message"].as_str().unwrap_or(code));
    match error["retryable"] == true {
        true => Refused::Lost(format!("the gateway refuses the connection: {message}")),
        false => Refused::Failed(format!("the gateway refuses the connection: {message}")),
    }
}

/// What to say of a protocol that is not understood.
pub(super) fn protocol(theirs: &Value) -> String {
    let theirs = theirs
        .as_u64()
        .map_or_else(String::new, |n| format!(" {n}"));
    format!(
        "the gateway speaks protocol{theirs}, this node {OLDEST} to {NEWEST}: update whichever is older"
    )
}

/// Whether a protocol that the gateway took is one of ours.
pub(super) fn is_ours(theirs: &Value) -> bool {
    theirs
        .as_u64()
        .is_some_and(|n| (OLDEST..=NEWEST).contains(&n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, detail: &str, shown: Shown) -> Refused {
        let error = json!({"code": code, "message": "no\u{202e}", "details": {"code": detail, "requestId": "r-1; rm"}});
        refused(&error, shown, "mac")
    }

    #[test]
    fn a_refusal_is_what_can_be_done_about_it() {
        let given = Shown::Given;
        assert_eq!(of("UNAVAILABLE", "X", given), Refused::Starting(500));
        // A request that could be more than a word of the command is left out of it.
        let pairing = Refused::Pairing(String::new());
        assert_eq!(of("NOT_PAIRED", "PAIRING_REQUIRED", given), pairing);
        assert_eq!(
            of("X", "AUTH_TOKEN_MISMATCH", Shown::Own),
            Refused::OwnToken
        );
        for (detail, words) in [
            ("AUTH_TOKEN_MISSING", "credential set gateway/mac"),
            ("DEVICE_AUTH_SIGNATURE_EXPIRED", "clocks"),
            ("PROTOCOL_MISMATCH", "update whichever is older"),
            ("OTHER", "refuses the connection: no"),
        ] {
            let Refused::Failed(why) = of("INVALID_REQUEST", detail, given) else {
                panic!("{detail}");
            };
            assert!(why.contains(words) && !why.contains('\u{202e}'), "{why}");
        }
    }

    #[test]
    fn a_first_message_that_is_no_challenge_is_none() {
        let good = json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}});
        assert!(Challenge::of(&good).is_some());
        for (key, odd) in [
            ("nonce", json!("a|b")),
            ("nonce", json!("")),
            ("nonce", json!(1)),
            ("ts", json!("1")),
        ] {
            let mut bad = good.clone();
            bad["payload"][key] = odd;
            assert!(Challenge::of(&bad).is_none(), "{bad}");
        }
    }
}
