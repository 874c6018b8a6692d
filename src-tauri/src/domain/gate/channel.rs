//! Channel keys: a key that a node holds so that a person can decide through a chat, with a record that the person's own
//! operator key has signed (invariant I5).
//!
//! A decision through a channel is one of the person who signed the record, so that a person with several keys counts
//! once. Every executor checks it against the record: the ceiling, the actions of an hour, the node, the end. The node that
//! holds the key can lie within that ceiling and no further.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::approval::{Decision, Subject, Verdict};
use crate::domain::base::canonical::canonical_of;
use crate::domain::base::limits::{
    CHANNEL_ACTIONS_PER_HOUR_MAX, CHANNEL_MAX_MS, NAME_MAX_BYTES, SIGNER_AHEAD_MAX_MS,
    TEXT_MAX_CHARS,
};
use crate::domain::base::{Code, DeviceId, Digest, MeshId, OperatorId, Refusal, TimeMs};
use crate::domain::identity::{OperatorKey, PublicKey, Signature};
use crate::domain::policy::Level;

const DOMAIN: &[u8] = b"clawmesh/channel/v1\n";
pub(super) const END_DOMAIN: &[u8] = b"clawmesh/channel-end/v1\n";

/// What a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// A private chat with a Telegram bot.
    Telegram,
    /// Direct messages with a Slack app.
    Slack,
}

impl ChannelKind {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Telegram, Self::Slack];

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Telegram => "Telegram",
            Self::Slack => "Slack",
        }
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Telegram => "telegram",
            Self::Slack => "slack",
        })
    }
}

/// The record of a channel key, as the person signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// The form of the record; 1.
    pub version: u32,
    /// The mesh in which it counts.
    pub mesh_id: MeshId,
    /// What it is.
    pub kind: ChannelKind,
    /// The node that holds the key.
    pub node: DeviceId,
    /// The operator key of the person who decides through it.
    pub operator_id: OperatorId,
    /// The public half of the channel key.
    pub channel_key: PublicKey,
    /// The highest level that may be approved through it; L2 at most.
    pub max_level: Level,
    /// How many approvals through channels of this operator key count in an hour, at each executor.
    pub actions_per_hour: u32,
    /// Whether approvals count at other executors also for what the node itself asked for, led to, or has measured.
    pub own_wishes: bool,
    /// When it was given, by the person's clock.
    pub given_at: TimeMs,
    /// Until when it counts, by the executor's clock.
    pub valid_until: TimeMs,
    /// Random text of the node, of which it makes the key anew.
    pub nonce: String,
}

/// A record of a channel key with the person's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedChannel {
    /// The record.
    pub channel: Channel,
    /// By the operator key that it names.
    pub signature: Signature,
}

/// The end of a channel key. It is never taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelEnd {
    /// The mesh.
    pub mesh_id: MeshId,
    /// The channel.
    pub channel: Digest,
    /// The operator key that gave it.
    pub operator_id: OperatorId,
    /// The hash of the key that says so: of the same or another operator, or of a device with `admin`.
    pub issuer: DeviceId,
    /// When, by the clock of who says so.
    pub ended_at: TimeMs,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The end of a channel key with the operator's key and signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedChannelEnd {
    /// Which ends.
    pub end: ChannelEnd,
    /// The key of who ends it.
    pub key: PublicKey,
    /// By that key.
    pub signature: Signature,
}

pub(super) fn message(domain: &[u8], record: &impl Serialize) -> Vec<u8> {
    let mut bytes = domain.to_vec();
    // These records hold texts, whole numbers and a boolean, so they always have a canonical form.
    bytes.extend(canonical_of(record).unwrap_or_default());
    bytes
}

impl Channel {
    /// The bytes a person signs.
    pub fn signing_bytes(&self) -> Vec<u8> {
        message(DOMAIN, self)
    }

    /// Its id: the hash of the bytes that are signed.
    pub fn id(&self) -> Digest {
        Digest::of(&[&self.signing_bytes()])
    }

    /// The record, signed in the person's own process.
    pub fn sign(self, key: &OperatorKey) -> SignedChannel {
        let signature = key.sign(&self.signing_bytes());
        SignedChannel {
            channel: self,
            signature,
        }
    }

    /// Whether it says something that can count.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, with what is wrong.
    pub fn check_form(&self) -> Result<(), Refusal> {
        let bad = |why: String| Err(Refusal::new(Code::InvalidParams, why));
        if self.version != 1 {
            return bad(format!("version {} is not known here", self.version));
        }
        if self.max_level > Level::L2 {
            return bad(format!(
                "a channel reaches up to L2, not {}; what is {} is approved with the person's own key",
                self.max_level, self.max_level
            ));
        }
        if !(1..=CHANNEL_ACTIONS_PER_HOUR_MAX).contains(&self.actions_per_hour) {
            return bad(format!(
                "1 to {CHANNEL_ACTIONS_PER_HOUR_MAX} approvals an hour can count through a channel"
            ));
        }
        if self.given_at >= self.valid_until
            || self.valid_until.since(self.given_at) > CHANNEL_MAX_MS
        {
            let days = CHANNEL_MAX_MS / 86_400_000;
            return bad(format!("a channel holds for up to {days} days"));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let sound = (16..=NAME_MAX_BYTES).contains(&self.nonce.len());
        if !sound || !self.nonce.bytes().all(plain) {
            return bad("nonce must be 16 or more random letters, digits, '-' or '_'".to_owned());
        }
        Ok(())
    }

    /// It in words: `telegram at node 1f2e3d4c (channel ab12cd34)`.
    pub fn shown(&self) -> String {
        let id: String = self.id().to_hex().chars().take(8).collect();
        format!("{} at node {} (channel {id})", self.kind, self.node.short())
    }
}

impl SignedChannel {
    /// Whether the operator of this key signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.operator_id() == self.channel.operator_id
            && key.verify_strict(&self.channel.signing_bytes(), &self.signature)
    }
}

impl ChannelEnd {
    /// The bytes that are signed.
    pub fn signing_bytes(&self) -> Vec<u8> {
        message(END_DOMAIN, self)
    }

    /// The end, signed in the person's own process.
    pub fn sign(self, key: &OperatorKey) -> SignedChannelEnd {
        let signature = key.sign(&self.signing_bytes());
        SignedChannelEnd {
            end: self,
            key: *key.public(),
            signature,
        }
    }

    /// Whether it can be stored.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a note that is too long.
    pub fn check_form(&self) -> Result<(), Refusal> {
        match &self.note {
            Some(note) if note.chars().count() > TEXT_MAX_CHARS => Err(Refusal::new(
                Code::InvalidParams,
                format!("the note is longer than {TEXT_MAX_CHARS} characters"),
            )),
            _ => Ok(()),
        }
    }
}

/// What an executor knows of a channel, and of what came through it, as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Through {
    /// Whether its end is known here.
    pub ended: bool,
    /// Whether the node that holds its key is trusted here with `human`, or is this node.
    pub node_trusted: bool,
    /// How many approvals through channels of its operator key have counted in the last hour; 0 where one that has counted
    /// is looked at again.
    pub used: u32,
}

/// Whether a channel counts now.
///
/// # Errors
/// `OPERATOR_REVOKED`, `OPERATOR_EXPIRED`, `NOT_AUTHORIZED`, or what is wrong with its form.
pub fn holds(
    channel: &Channel,
    mesh: &MeshId,
    through: &Through,
    now: TimeMs,
) -> Result<(), Refusal> {
    let no = |code: Code, why: String| Err(Refusal::new(code, why));
    channel.check_form()?;
    if channel.mesh_id != *mesh {
        return no(Code::WrongMesh, "the channel is of another mesh".to_owned());
    }
    let shown = channel.shown();
    if through.ended {
        return no(Code::OperatorRevoked, format!("{shown} has been revoked"));
    }
    if now >= channel.valid_until {
        return no(
            Code::OperatorExpired,
            format!(
                "{shown} has run out; enroll anew with `{} enroll`",
                channel.kind
            ),
        );
    }
    if channel.given_at.since(now) > SIGNER_AHEAD_MAX_MS {
        let why = format!("{shown} is dated ahead; set the clock of the machine it was signed on");
        return no(Code::ApprovalInvalid, why);
    }
    if !through.node_trusted {
        let why = format!(
            "{shown}: that node is not trusted here with `human`, so nothing counts through it"
        );
        return no(Code::NotAuthorized, why);
    }
    Ok(())
}

/// Whether a decision through a channel counts, beside what is asked of every decision.
///
/// # Errors
/// As [`holds`]; for an approval `OPERATOR_LEVEL_TOO_LOW`, `SELF_VOUCHED` and `RATE_EXCEEDED` too.
pub(super) fn check(
    channel: &Channel,
    decision: &Decision,
    subject: &Subject<'_>,
    through: &Through,
    now: TimeMs,
) -> Result<(), Refusal> {
    holds(channel, subject.mesh_id, through, now)?;
    if decision.verdict == Verdict::Reject {
        return Ok(());
    }
    let no = |code: Code, why: String| Err(Refusal::new(code, why));
    let shown = channel.shown();
    if channel.max_level < subject.level {
        let why = format!(
            "up to {} can be approved through {shown}, this proposal is {}; approve it with your own key",
            channel.max_level, subject.level
        );
        return no(Code::OperatorLevelTooLow, why);
    }
    // A wish and its approval never rest on the word of one device that is not the executor itself. Who feeds the reading
    // that makes a rule ask has asked by it.
    let node = &channel.node;
    let part = if *subject.asked_by == *node || subject.led_by == Some(node) {
        "that node asked for this, or led to it"
    } else if subject.origins.contains(&node) {
        "this rests on a reading of that node"
    } else {
        ""
    };
    if !part.is_empty() && node != subject.executor && !channel.own_wishes {
        let why = format!(
            "{shown}: {part}, and its channel was given for wishes of others alone; approve it with your own key, or enroll \
             the chat with `{} enroll --own-wishes`",
            channel.kind
        );
        return no(Code::SelfVouched, why);
    }
    if through.used >= channel.actions_per_hour {
        let why = format!(
            "{} approvals through channels of this operator have counted here in the last hour, and no more may; approve it with your own key",
            through.used
        );
        return no(Code::RateExceeded, why);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
