//! Channels at the door: given with a person's signature, listed, ended, and for a surface that is a chat: whose chat it is
//! and decisions of that person, signed by the key of their channel.

use serde::{Deserialize, Serialize};

use super::access::deciding::opened;
use super::{Answer, Door};
use crate::domain::base::limits::{CHANNEL_CODE_TTL_MS, TEXT_MAX_CHARS};
use crate::domain::base::{Code, Digest, OperatorId, Refusal, TimeMs};
use crate::domain::gate::approval::Verdict;
use crate::domain::gate::{ChannelKind, Decision, SignedChannel, SignedChannelEnd};
use crate::domain::identity::PublicKey;
use crate::domain::policy::Level;
use crate::domain::router::answering::{Other, Stand};
use crate::node::answering;
use crate::node::channels::memory::Memory;
use crate::node::channels::{Bot, Contact, Known, Member};
use crate::node::proposals::Standing;

/// Where a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ChannelState {
    /// Its code has not been entered in a chat.
    Waiting,
    /// It is a chat's.
    Counts,
    /// It does not count any more; `why` says how it ended.
    Ended,
}

/// A channel whose key this node holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// Its id: the hash of what the person signed.
    pub id: String,
    /// What it is.
    pub kind: ChannelKind,
    /// The node that holds its key.
    pub node: String,
    /// The operator key that gave it.
    pub operator_id: String,
    /// That person's name, where the key is known here.
    #[serde(default)]
    pub name: Option<String>,
    /// The highest level that may be approved through it.
    pub max_level: Level,
    /// How many approvals count in an hour, at each executor.
    pub actions_per_hour: u32,
    /// Whether approvals count for what this node itself asked for, or led to.
    pub own_wishes: bool,
    /// When it was given, in milliseconds since 1970.
    pub given_at: u64,
    /// Until when it counts, in milliseconds since 1970.
    pub valid_until: u64,
    /// The account whose chat it is, once the code was entered.
    #[serde(default)]
    pub account: Option<String>,
    /// Whether new proposals are told there.
    pub alerts: bool,
    /// Where it stands.
    pub state: ChannelState,
    /// Why it does not count.
    #[serde(default)]
    pub why: Option<String>,
}

/// The bot of this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BotView {
    /// What channel it is.
    pub kind: ChannelKind,
    /// Its name, once its server told it.
    #[serde(default)]
    pub name: Option<String>,
    /// What stands in its way.
    #[serde(default)]
    pub problem: Option<String>,
    /// Why this node does not answer, where another does or it looks whether one does.
    #[serde(default)]
    pub stands_by: Option<String>,
    /// The node that answers now, by its name; absent where none is known to.
    #[serde(default)]
    pub answered_by: Option<String>,
    /// When its server answered this node last, in milliseconds since 1970; absent where it has not since the start.
    #[serde(default)]
    pub heard_at: Option<u64>,
    /// When something went wrong last.
    #[serde(default)]
    pub failed_at: Option<u64>,
    /// What that was.
    #[serde(default)]
    pub failed_why: Option<String>,
    /// The other nodes that run this bot.
    #[serde(default)]
    pub others: Vec<BotNode>,
}

/// Another node that runs the same bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BotNode {
    /// The device.
    pub device_id: String,
    /// Its name and the start of its id.
    pub name: String,
    /// Whether it answers.
    pub holds: bool,
    /// How long ago it was heard, in milliseconds.
    pub heard_ms: u64,
}

/// The channels of this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChannelsView {
    /// The mesh, which a channel names.
    pub mesh_id: String,
    /// This node.
    pub own: String,
    /// Those whose keys it holds.
    pub list: Vec<ChannelView>,
    /// Its bots.
    pub bots: Vec<BotView>,
}

/// What the record of a new channel takes from the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChannelOffer {
    /// The mesh.
    pub mesh_id: String,
    /// This node.
    pub node: String,
    /// The public half of the key.
    pub channel_key: String,
    /// The text of which the node makes the key anew.
    pub nonce: String,
}

/// A channel that a person gives this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelGive {
    /// The record with the person's signature.
    #[cfg_attr(test, schema(value_type = Object))]
    pub given: SignedChannel,
    /// The public half of the person's operator key.
    pub operator_key: String,
}

/// A channel that waits for its code.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChannelCode {
    /// The channel.
    pub channel: ChannelView,
    /// The code, which counts once.
    pub code: String,
    /// How long it counts, in milliseconds.
    pub valid_ms: u64,
    /// The bot to which it is sent, if one runs.
    #[serde(default)]
    pub bot: Option<BotView>,
}

fn view(known: Known) -> ChannelView {
    let channel = &known.row.signed.channel;
    let state = match (&known.over, &known.row.account) {
        (Some(_), _) => ChannelState::Ended,
        (None, None) => ChannelState::Waiting,
        (None, Some(_)) => ChannelState::Counts,
    };
    ChannelView {
        id: channel.id().to_hex(),
        kind: channel.kind,
        node: channel.node.as_str().to_owned(),
        operator_id: channel.operator_id.as_str().to_owned(),
        name: known.name,
        max_level: channel.max_level,
        actions_per_hour: channel.actions_per_hour,
        own_wishes: channel.own_wishes,
        given_at: channel.given_at.0,
        valid_until: channel.valid_until.0,
        account: known.row.account.clone(),
        alerts: known.row.alerts,
        state,
        why: known.over.map(|refusal| refusal.message),
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

fn digest(text: &str) -> Answer<Digest> {
    Digest::from_hex(text).ok_or_else(|| bad("the id of a channel has 64 hex digits"))
}

impl Door {
    fn bot_view(&self, kind: ChannelKind, bot: Bot, contact: Contact) -> BotView {
        let answered_by = match self.answering(kind).stand() {
            Stand::Holds => Some(self.handles.config.name.clone()),
            Stand::By(device) => Some(self.answering(kind).name(&device)),
            _ => None,
        };
        let (failed_at, failed_why) = contact.failed.map(|(at, why)| (at.0, why)).unzip();
        let others = self.answering(kind).others().into_iter();
        let node = |(other, name): (Other, String)| BotNode {
            device_id: other.device.as_str().to_owned(),
            name,
            holds: other.holds,
            heard_ms: other.heard_ms,
        };
        BotView {
            kind,
            name: bot.name,
            problem: bot.problem,
            stands_by: bot.stands_by,
            answered_by,
            heard_at: contact.heard_at.map(|at| at.0),
            failed_at,
            failed_why,
            others: others.map(node).collect(),
        }
    }

    /// Which node answers the bot of a kind of this node.
    pub fn answering(&self, kind: ChannelKind) -> answering::Bot {
        self.handles.answering.of(kind)
    }

    /// The channels of this node.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channels(&self) -> Answer<ChannelsView> {
        let list = self.handles.channels.list().await?;
        Ok(ChannelsView {
            mesh_id: self.handles.mesh.as_str().to_owned(),
            own: self.handles.own_id().as_str().to_owned(),
            list: list.into_iter().map(view).collect(),
            bots: self.bots(),
        })
    }

    /// What the record of a new channel takes from this node; nothing is kept.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` without random bytes.
    pub fn channel_offer(&self) -> Answer<ChannelOffer> {
        let (nonce, key) = self.handles.channels.offer()?;
        Ok(ChannelOffer {
            mesh_id: self.handles.mesh.as_str().to_owned(),
            node: self.handles.own_id().as_str().to_owned(),
            channel_key: key.to_text(),
            nonce,
        })
    }

    /// Takes a channel that a person has signed; the code that comes back is entered in the chat.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `APPROVAL_INVALID`, `CONFLICT`, `BUSY`, or why it does not count.
    pub async fn channel_give(&self, asked: ChannelGive) -> Answer<ChannelCode> {
        let key = PublicKey::from_text(asked.operator_key.trim());
        let key = key.map_err(|e| bad(format!("operatorKey: {e}")))?;
        let kind = asked.given.channel.kind;
        let (known, code) = self.handles.channels.give(asked.given, key).await?;
        // The code is entered with this node, so this one answers meanwhile.
        self.answering(kind).wanted_for(CHANNEL_CODE_TTL_MS);
        Ok(ChannelCode {
            channel: view(known),
            code,
            valid_ms: CHANNEL_CODE_TTL_MS,
            bot: self.bots().into_iter().find(|bot| bot.kind == kind),
        })
    }

    /// Takes a person's signed word that a channel ends, here and wherever it becomes known.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, `APPROVAL_INVALID`, `NOT_FOUND`.
    pub async fn channel_end(&self, id: &str, signed: SignedChannelEnd) -> Answer<ChannelsView> {
        if digest(id)? != signed.end.channel {
            let why = "the signed word is about another channel than the address names";
            return Err(bad(why));
        }
        self.handles.channels.end(signed).await?;
        self.channels().await
    }

    /// Ends a channel of this node, as its administrator.
    ///
    /// # Errors
    /// `NOT_FOUND`, or what the store says.
    pub async fn channel_void(&self, id: &str, why: Option<String>) -> Answer<ChannelsView> {
        self.handles.channels.void(digest(id)?, why).await?;
        self.channels().await
    }

    /// How the bot of a kind of this node is; nothing where none runs.
    pub fn channel_bot(&self, kind: ChannelKind) -> Option<Bot> {
        self.handles.channels.bot(kind)
    }

    /// The way to the server of the configured bot of a kind, with its tokens.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    #[cfg(feature = "chat")]
    pub async fn chats(
        &self,
        kind: ChannelKind,
    ) -> Result<std::sync::Arc<dyn crate::adapters::channel::Chats>, String> {
        self.handles.channels.chats(kind).await
    }

    /// The bots of this node, read from memory alone.
    pub fn bots(&self) -> Vec<BotView> {
        let bots = self.handles.channels.bots().into_iter();
        bots.map(|(kind, bot, contact)| self.bot_view(kind, bot, contact))
            .collect()
    }

    /// Notes that the server of a bot has answered.
    pub fn channel_bot_heard(&self, kind: ChannelKind) {
        self.handles.channels.bot_heard(kind);
    }

    /// Notes whether this node answers a bot, or who does.
    pub async fn channel_bot_hands(&self, kind: ChannelKind, answers: bool) {
        let who = match self.answering(kind).stand() {
            Stand::By(device) | Stand::Waits(device) => Some(self.answering(kind).name(&device)),
            _ => None,
        };
        let channels = &self.handles.channels;
        channels.bot_changes_hands(kind, answers, who).await;
    }

    /// Notes how the bot of a kind of this node is, for who lists channels.
    pub fn channel_bot_is(&self, kind: ChannelKind, bot: Bot) {
        self.handles.channels.bot_is(kind, bot);
    }

    /// Whose chat this is.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` for a chat that is nobody's, or why its channel does not count.
    pub async fn channel_member(&self, kind: ChannelKind, account: &str) -> Answer<Member> {
        self.handles.channels.member(kind, account).await
    }

    /// Every chat of a kind that is a person's now.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channel_members(&self, kind: ChannelKind) -> Answer<Vec<Member>> {
        self.handles.channels.members(kind).await
    }

    /// Makes a chat a person's, by the code of their enrolment.
    ///
    /// # Errors
    /// `NOT_FOUND` for a wrong code, `RATE_EXCEEDED` for who guesses, `CONFLICT`.
    pub async fn channel_enter(
        &self,
        kind: ChannelKind,
        account: &str,
        code: &str,
    ) -> Answer<Member> {
        let entered = self.handles.channels.enter(kind, account, code).await?;
        self.answering(kind).wanted_no_more();
        Ok(entered)
    }

    /// Sets whether new proposals are told in a chat.
    ///
    /// # Errors
    /// As [`Door::channel_member`].
    pub async fn channel_alerts(&self, kind: ChannelKind, account: &str, on: bool) -> Answer<()> {
        self.handles.channels.set_alerts(kind, account, on).await
    }

    /// The number from which on updates of a bot were not taken yet.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channel_next_update(&self, kind: ChannelKind, bot: &str) -> Answer<i64> {
        self.handles.channels.next_update(kind, bot).await
    }

    /// Takes an update of a bot, on disk before anything is answered; whether it was new.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channel_take_update(
        &self,
        kind: ChannelKind,
        bot: &str,
        update: i64,
    ) -> Answer<bool> {
        let channels = &self.handles.channels;
        channels.take_update(kind, bot, update).await
    }

    /// Remembers and forgets for a bot, over a restart.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channel_remember(
        &self,
        kind: ChannelKind,
        bot: &str,
        all: Vec<Memory>,
    ) -> Answer<()> {
        self.handles.channels.remember(kind, bot, all).await
    }

    /// What a bot remembers: names and records.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channel_recall(
        &self,
        kind: ChannelKind,
        bot: &str,
    ) -> Answer<Vec<(String, String)>> {
        self.handles.channels.recall(kind, bot).await
    }

    /// Notes that the emergency stop of an update was carried out, so that it is not carried out again.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channel_note_stop(&self, kind: ChannelKind, bot: &str, update: i64) -> Answer<()> {
        self.handles.channels.note_stop(kind, bot, update).await
    }

    /// The updates of a bot whose emergency stops were carried out, and when.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn channel_stops(&self, kind: ChannelKind, bot: &str) -> Answer<Vec<(i64, TimeMs)>> {
        self.handles.channels.stops(kind, bot).await
    }

    /// Decides as the person whose chat it is, about the very record that was shown there. The executor says whether it
    /// counts.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` if the record is another, what [`Door::channel_member`] says, what a decision is refused with.
    pub async fn channel_decide(
        &self,
        (kind, account): (ChannelKind, &str),
        (proposal, shown): (&str, &str),
        verdict: Verdict,
        note: Option<String>,
    ) -> Answer<Standing> {
        let view = self.proposal_record(proposal).await?;
        if view.proposal.digest != shown {
            let why =
                "the stored record is not the one that was shown; look at it again before deciding";
            return Err(Refusal::new(Code::DigestMismatch, why));
        }
        let note = note.filter(|note| !note.trim().is_empty());
        let long = |note: &String| note.chars().count() > TEXT_MAX_CHARS;
        if note.as_ref().is_some_and(long) {
            return Err(bad("the reason is too long"));
        }
        let record = opened(&view)?;
        let subject = record.record();
        let decision = Decision {
            verdict,
            mesh_id: subject.mesh_id.clone(),
            executor: subject.executor.clone(),
            proposal_id: subject.proposal_id.clone(),
            digest: *record.digest(),
            // Of whoever gave the channel.
            operator_id: OperatorId::of_public_key(&[0; 32]),
            decided_at: self.handles.now(),
            note,
            channel: None,
            at_node: None,
        };
        let channels = &self.handles.channels;
        let signed = channels.sign(kind, account, decision).await?;
        self.decide(subject.proposal_id.as_str(), signed).await
    }
}
