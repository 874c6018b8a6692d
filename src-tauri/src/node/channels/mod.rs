//! Channels whose keys this node holds: given by a person, entered in a chat with a one-time code, used for decisions of that
//! person. Whether a decision counts is for its executor; this room cannot raise what the person's record says. It must not
//! know words, chats or bots.

mod bots;
mod codes;
mod ends;
pub mod memory;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use serde_json::json;

pub use self::bots::{Bot, Contact};
use self::codes::Codes;
use super::authority::Authority;
use super::context::{DURABLE, Event, Severity, store_refusal};
use crate::adapters::keystore::{Credentials, channel_key};
use crate::adapters::store::channels::{self as store, ChannelRow};
use crate::adapters::store::{StoreError, operators, records};
use crate::domain::base::limits::CHANNELS_MAX;
use crate::domain::base::{AuditKind, Code, Digest, Refusal};
use crate::domain::gate::channel::{Through, holds};
use crate::domain::gate::{Channel, ChannelKind, Decision, SignedChannel, SignedDecision};
use crate::domain::identity::{DeviceKey, OperatorKey, PublicKey};

/// The channels of this node. The device's key in it makes the keys of channels and signs nothing itself.
#[derive(Clone)]
pub struct Channels(Arc<Parts>);

/// What [`Channels`] gives access to.
pub struct Parts {
    authority: Authority,
    key: Arc<DeviceKey>,
    #[cfg_attr(not(feature = "chat"), allow(dead_code))]
    credentials: Credentials,
    codes: Codes,
    bots: Mutex<BTreeMap<ChannelKind, (Bot, Contact)>>,
}

impl std::ops::Deref for Channels {
    type Target = Authority;

    fn deref(&self) -> &Authority {
        &self.0.authority
    }
}

/// Whose chat a channel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The channel.
    pub channel: Channel,
    /// The person's name, where their key is known here.
    pub name: Option<String>,
    /// Whose chat it is.
    pub account: String,
    /// Whether new proposals are told there.
    pub alerts: bool,
}

/// A channel as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The channel.
    pub row: ChannelRow,
    /// The person's name, where their key is known here.
    pub name: Option<String>,
    /// Why it does not count, where it does not.
    pub over: Option<Refusal>,
}

fn refused(code: Code, why: impl Into<String>) -> StoreError {
    StoreError::Refused(Refusal::new(code, why))
}

impl Channels {
    /// None yet, beside those of the store.
    pub fn new(authority: Authority, key: Arc<DeviceKey>, credentials: Credentials) -> Self {
        Self(Arc::new(Parts {
            authority,
            key,
            credentials,
            codes: Codes::default(),
            bots: Mutex::default(),
        }))
    }

    fn key_of(&self, nonce: &str) -> Result<OperatorKey, Refusal> {
        let made = channel_key(&self.0.key, nonce);
        made.ok_or_else(|| Refusal::new(Code::InternalError, "no channel key can be made"))
    }

    /// A nonce and the public half of the key that belongs to it, for the record that a person signs. Nothing is kept.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` without random bytes.
    pub fn offer(&self) -> Result<(String, PublicKey), Refusal> {
        let nonce = self.fresh_id()?.simple().to_string();
        let key = self.key_of(&nonce)?;
        Ok((nonce, *key.public()))
    }

    fn over(&self, conn: &Connection, channel: &Channel) -> Result<Option<Refusal>, StoreError> {
        let through = Through {
            ended: records::channel_ended(conn, &channel.id(), &channel.operator_id)?,
            node_trusted: true,
            used: 0,
        };
        if channel.node != *self.own_id() {
            let why = "the channel is of another node";
            return Ok(Some(Refusal::new(Code::WrongExecutor, why)));
        }
        // What ends the key has to reach this node too, and it does only where the key is known.
        let Some(known) = operators::get(conn, &channel.operator_id)? else {
            let why = format!(
                "operator key {} is not known at this node: enroll it here too, with `clawmesh-node operator enroll`",
                channel.operator_id.short()
            );
            return Ok(Some(Refusal::new(Code::OperatorUnknown, why)));
        };
        let record = known.signed.record;
        if known.revocation.is_some() {
            let why = format!("the key of operator {} has been revoked", record.name);
            return Ok(Some(Refusal::new(Code::OperatorRevoked, why)));
        }
        if record.expires_at.is_some_and(|at| at <= self.now()) {
            let why = format!("the key of operator {} has run out", record.name);
            return Ok(Some(Refusal::new(Code::OperatorExpired, why)));
        }
        Ok(holds(channel, &self.mesh, &through, self.now()).err())
    }

    /// Takes a channel that a person has signed with the operator key whose public half is given, and makes the code that
    /// is entered in the chat. The same one again gets a new code, until it was entered.
    ///
    /// # Errors
    /// `APPROVAL_INVALID` for one that is not signed by that key or is for another key than this node's, `CONFLICT` for one
    /// that was entered, `BUSY` where there are too many, or why it does not count.
    pub async fn give(
        &self,
        signed: SignedChannel,
        operator_key: PublicKey,
    ) -> Result<(Known, String), Refusal> {
        let channel = signed.channel.clone();
        channel.check_form()?;
        let own = self.key_of(&channel.nonce)?.public() == &channel.channel_key;
        if !signed.is_signed_by(&operator_key) || !own {
            let why = "the channel is not signed by the operator key that it names, or its key is not one of this node";
            return Err(Refusal::new(Code::ApprovalInvalid, why));
        }
        let s = self.clone();
        let work = move |conn: &Connection| {
            if let Some(why) = s.over(conn, &signed.channel)? {
                return Err(StoreError::Refused(why));
            }
            let id = signed.channel.id();
            match store::get(conn, &id)? {
                Some(row) if row.account.is_some() => {
                    return Err(refused(Code::Conflict, "this channel was entered already"));
                }
                Some(_) => {}
                None => {
                    s.room(conn)?;
                    store::put(conn, &signed, s.now())?;
                    let c = &signed.channel;
                    let detail = json!({
                        "kind": c.kind, "operatorId": c.operator_id, "maxLevel": c.max_level, "actionsPerHour": c.actions_per_hour,
                        "ownWishes": c.own_wishes, "validUntil": c.valid_until, "signature": signed.signature,
                    });
                    let kind = AuditKind::ChannelGiven;
                    s.journal.audit(conn, kind, &id.to_hex(), detail)?;
                }
            }
            s.known_in(conn, &id)
        };
        let known = self.store.write(DURABLE, "channel", work).await;
        let known = known.map_err(|e| store_refusal(&e))?;
        let random = self.random.bytes();
        let random = random.map_err(|e| Refusal::new(Code::InternalError, e.to_string()))?;
        let code = self.0.codes.make(channel.id(), random, self.now());
        let message = format!(
            "Operator {} gave {}: up to {}, {} approvals an hour",
            known
                .name
                .as_deref()
                .unwrap_or_else(|| channel.operator_id.short()),
            channel.shown(),
            channel.max_level,
            channel.actions_per_hour
        );
        self.told(Event::ChannelGiven, &channel, &message).await;
        Ok((known, code))
    }

    /// Forgets what does not count any more, and refuses where there are too many channels all the same.
    fn room(&self, conn: &Connection) -> Result<(), StoreError> {
        let mut have = 0_u64;
        for row in store::all(conn)? {
            match self.over(conn, &row.signed.channel)? {
                Some(_) => store::forget(conn, &row.signed.channel.id())?,
                None => have += 1,
            }
        }
        if have < CHANNELS_MAX {
            return Ok(());
        }
        let why = format!("this node holds {have} channels; revoke some first");
        Err(refused(Code::Busy, why))
    }

    fn known_in(&self, conn: &Connection, id: &Digest) -> Result<Known, StoreError> {
        let row = store::get(conn, id)?;
        let row = row.ok_or_else(|| refused(Code::NotFound, "there is no such channel here"))?;
        self.known(conn, row)
    }

    fn known(&self, conn: &Connection, row: ChannelRow) -> Result<Known, StoreError> {
        let channel = &row.signed.channel;
        let operator = operators::get(conn, &channel.operator_id)?;
        Ok(Known {
            name: operator.map(|known| known.signed.record.name),
            over: self.over(conn, channel)?,
            row,
        })
    }

    /// The channels of this node.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn list(&self) -> Result<Vec<Known>, Refusal> {
        let s = self.clone();
        let read = move |conn: &Connection| {
            let rows = store::all(conn)?.into_iter();
            rows.map(|row| s.known(conn, row)).collect()
        };
        let all: Result<Vec<Known>, StoreError> = self.store.read("channels", read).await;
        all.map_err(|e| store_refusal(&e))
    }

    /// Whose chat this is.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` for a chat that is nobody's, or why its channel does not count.
    pub async fn member(&self, kind: ChannelKind, account: &str) -> Result<Member, Refusal> {
        let (s, account) = (self.clone(), account.to_owned());
        let read = move |conn: &Connection| {
            let Some(row) = store::of_account(conn, kind, &account)? else {
                let why = format!(
                    "this chat is no operator's here; enroll it with `clawmesh-node {kind} enroll`"
                );
                return Err(refused(Code::NotAuthorized, why));
            };
            let known = s.known(conn, row)?;
            match known.over {
                Some(why) => Err(StoreError::Refused(why)),
                None => Ok(Member {
                    channel: known.row.signed.channel,
                    name: known.name,
                    account,
                    alerts: known.row.alerts,
                }),
            }
        };
        let found = self.store.read("channel", read).await;
        found.map_err(|e| store_refusal(&e))
    }

    /// Every chat of a kind that is a person's now.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn members(&self, kind: ChannelKind) -> Result<Vec<Member>, Refusal> {
        let all = self.list().await?.into_iter();
        let all = all.filter(|k| k.over.is_none() && k.row.signed.channel.kind == kind);
        let member = |known: Known| {
            Some(Member {
                account: known.row.account?,
                channel: known.row.signed.channel,
                name: known.name,
                alerts: known.row.alerts,
            })
        };
        Ok(all.filter_map(member).collect())
    }

    /// Makes a chat a person's, by the code of their enrolment.
    ///
    /// # Errors
    /// `NOT_FOUND` for a wrong code, `RATE_EXCEEDED` for who guesses, `CONFLICT` for a chat that is another person's.
    pub async fn enter(
        &self,
        kind: ChannelKind,
        account: &str,
        code: &str,
    ) -> Result<Member, Refusal> {
        let id = self.0.codes.take(account, code, self.now())?;
        let (s, of) = (self.clone(), account.to_owned());
        let work = move |conn: &Connection| {
            let known = s.known_in(conn, &id)?;
            if let Some(why) = known.over {
                return Err(StoreError::Refused(why));
            }
            let channel = known.row.signed.channel;
            if channel.kind != kind {
                return Err(refused(Code::NotFound, "the code is for another channel"));
            }
            if let Some(before) = store::of_account(conn, kind, &of)?
                && before.signed.channel.operator_id != channel.operator_id
                && s.over(conn, &before.signed.channel)?.is_none()
            {
                let why = "this chat is another operator's; that channel must be revoked first";
                return Err(refused(Code::Conflict, why));
            }
            if !store::enter(conn, &channel, &of, s.now())? {
                return Err(refused(Code::Conflict, "this channel was entered already"));
            }
            let detail = json!({"kind": kind, "account": of, "operatorId": channel.operator_id});
            let audited = AuditKind::ChannelEntered;
            s.journal
                .audit(conn, audited, &channel.id().to_hex(), detail)?;
            Ok(Member {
                channel,
                name: known.name,
                account: of,
                alerts: true,
            })
        };
        let member = self.store.write(DURABLE, "channel entered", work).await;
        let member = member.map_err(|e| store_refusal(&e))?;
        let message = format!(
            "Account {account} entered the code of {}",
            member.channel.shown()
        );
        self.told(Event::ChannelEntered, &member.channel, &message)
            .await;
        Ok(member)
    }

    /// Signs a decision with the key of the channel of a chat, for the person who gave it. `operator_id` and `channel` of
    /// the decision are set here.
    ///
    /// # Errors
    /// As [`Channels::member`].
    pub async fn sign(
        &self,
        kind: ChannelKind,
        account: &str,
        decision: Decision,
    ) -> Result<SignedDecision, Refusal> {
        self.member(kind, account).await?;
        let of = account.to_owned();
        let read = move |conn: &Connection| store::of_account(conn, kind, &of);
        let row = self.store.read("channel", read).await;
        let row = row.map_err(|e| store_refusal(&e))?;
        let signed = row
            .map(|row| row.signed)
            .ok_or_else(|| Refusal::new(Code::NotAuthorized, "this chat is no operator's here"))?;
        let key = self.key_of(&signed.channel.nonce)?;
        let decision = Decision {
            operator_id: signed.channel.operator_id.clone(),
            channel: Some(Box::new(signed)),
            ..decision
        };
        Ok(decision.sign(&key))
    }

    /// Sets whether new proposals are told in a chat.
    ///
    /// # Errors
    /// As [`Channels::member`].
    pub async fn set_alerts(
        &self,
        kind: ChannelKind,
        account: &str,
        on: bool,
    ) -> Result<(), Refusal> {
        let id = self.member(kind, account).await?.channel.id();
        let work = move |conn: &Connection| store::set_alerts(conn, &id, on);
        let done = self.store.write(DURABLE, "channel alerts", work).await;
        done.map_err(|e| store_refusal(&e))
    }

    /// The number from which on updates of a bot were not taken yet.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn next_update(&self, kind: ChannelKind, bot: &str) -> Result<i64, Refusal> {
        let bot = bot.to_owned();
        let read = move |conn: &Connection| store::next_update(conn, kind, &bot);
        let next = self.store.read("channel updates", read).await;
        next.map_err(|e| store_refusal(&e))
    }

    /// Takes an update of a bot: on disk, before anything is answered. Whether it was new.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn take_update(
        &self,
        kind: ChannelKind,
        bot: &str,
        update: i64,
    ) -> Result<bool, Refusal> {
        let bot = bot.to_owned();
        let work = move |conn: &Connection| store::take_update(conn, kind, &bot, update);
        let taken = self.store.write(DURABLE, "channel update", work).await;
        taken.map_err(|e| store_refusal(&e))
    }

    async fn told(&self, event: Event, channel: &Channel, message: &str) {
        let data = json!({"channel": channel.id(), "operatorId": channel.operator_id});
        let journal = &self.journal;
        journal.record(event, Severity::Info, message, data).await;
    }
}
