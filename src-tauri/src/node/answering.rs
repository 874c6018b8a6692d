//! Which node answers each bot of this node, one of a kind: it tells the others how it stands, hears how they do, and knows by
//! that whether it may speak. It must not know chats, servers or words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::domain::admission::Grant;
use crate::domain::base::limits::ANSWERING_EVERY_MS;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::gate::ChannelKind;
use crate::domain::router::answering::{Claim, Other, Stand, Turns};
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;
use crate::node::context::Context;
use crate::node::frame_log::Frames;
use crate::node::links::LinkHandle;
use crate::node::routing;

/// How a node tells the others how it stands with its bot.
pub const CLAIM: &str = "channel.claim";

/// The nodes of this node's bots, as it hears them.
#[derive(Clone)]
pub struct Answering(Arc<Parts>);

/// The nodes of this node's bot of one kind.
#[derive(Clone)]
pub struct Bot {
    all: Answering,
    kind: ChannelKind,
}

/// What [`Answering`] gives access to.
pub struct Parts {
    frames: Frames,
    turns: Mutex<BTreeMap<ChannelKind, Turns>>,
    changes: watch::Sender<u64>,
}

impl std::ops::Deref for Answering {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.0.frames
    }
}

impl Answering {
    /// No bot runs yet.
    pub fn new(frames: Frames) -> Self {
        Self(Arc::new(Parts {
            frames,
            turns: Mutex::default(),
            changes: watch::channel(0).0,
        }))
    }

    /// The bot of one kind.
    pub fn of(&self, kind: ChannelKind) -> Bot {
        Bot {
            all: self.clone(),
            kind,
        }
    }

    fn turns(&self) -> MutexGuard<'_, BTreeMap<ChannelKind, Turns>> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no other device may answer a bot as far as this node is concerned.
    pub fn alone(&self) -> bool {
        let all = self.trust.all();
        let may = |device: &DeviceId| device != self.own_id() && counts(self, device);
        !all.iter().any(|r| may(&r.device_id))
    }

    /// The name of a device, for people.
    pub fn name(&self, device: &DeviceId) -> String {
        routing::name(self, device)
    }

    /// Wakes when this node stands otherwise than before.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl std::ops::Deref for Bot {
    type Target = Answering;

    fn deref(&self) -> &Answering {
        &self.all
    }
}

impl Bot {
    /// Looks at the turns, if a bot of this kind runs, and tells whoever waits if this node stands otherwise after it.
    fn with<T>(&self, work: impl FnOnce(&mut Turns, u64) -> T) -> Option<T> {
        self.turns().get(&self.kind)?;
        let (now, alone) = (self.clock.steady_ms(), self.alone());
        let mut all = self.turns();
        let turns = all.get_mut(&self.kind)?;
        let before = turns.stand(alone, now);
        let done = work(turns, now);
        let after = turns.stand(alone, now);
        drop(all);
        if before != after {
            self.0.changes.send_modify(|n| *n += 1);
        }
        Some(done)
    }

    /// A bot runs here; one of its kind that ran before is forgotten.
    pub async fn runs(&self, bot: &str) {
        let (kind, now) = (self.kind, self.clock.steady_ms());
        {
            let mut turns = self.turns();
            if turns.get(&kind).is_some_and(|t| t.is_about(kind, bot)) {
                return;
            }
            turns.insert(kind, Turns::new(self.own_id().clone(), kind, bot, now));
        }
        if let Ok(capability) = format!("channel:{kind}:{bot}").parse()
            && self.known.own.runs(capability)
        {
            self.known.own.tell_all(&self.links).await;
        }
    }

    /// How this node stands with its bot.
    pub fn stand(&self) -> Stand {
        let alone = self.alone();
        self.with(|turns, now| turns.stand(alone, now))
            .unwrap_or(Stand::Listens)
    }

    /// Whether this node may say anything now. One that stood still for long may not.
    pub fn speaks(&self) -> bool {
        self.with(|turns, now| turns.speaks(now))
            .unwrap_or_default()
    }

    /// Begins to answer, and tells the others at once.
    pub fn takes(&self) -> u64 {
        let epoch = self.with(Turns::take).unwrap_or_default();
        self.tell();
        epoch
    }

    /// Ceases to answer, or does not begin: somebody else polls.
    pub fn rests(&self) {
        let random = self.random.bytes::<2>().map_or(0, u16::from_be_bytes);
        self.with(|turns, now| turns.rests(turns.apart().wrapping_add(random.into()), now));
        self.tell();
    }

    /// Ceases to answer, for it may have missed that another has begun.
    pub fn lets_go(&self) {
        self.with(|turns, _| turns.lets_go());
        self.tell();
    }

    /// Whether the bot's server is reached.
    pub fn is_well(&self, well: bool) {
        self.with(|turns, _| turns.is_well(well));
    }

    /// How many chats are persons' here.
    pub fn serves(&self, chats: usize) {
        let chats = u32::try_from(chats).unwrap_or(u32::MAX);
        self.with(|turns, _| turns.serves(chats));
    }

    /// A code was given out for so long, and has to be entered with this node.
    pub fn wanted_for(&self, ms: u64) {
        self.with(|turns, now| turns.wants_until(now.saturating_add(ms), now));
        self.tell();
    }

    /// The code was entered.
    pub fn wanted_no_more(&self) {
        self.with(Turns::wanted_no_more);
        self.tell();
    }

    /// Whether the one that answered has just said that it does not any more.
    pub fn is_handed(&self) -> bool {
        self.with(|turns, now| turns.is_handed(now))
            .unwrap_or_default()
    }

    /// Who says that it answers, where it is time to look at the server whether it does.
    pub fn to_check(&self) -> Option<DeviceId> {
        self.with(|turns, now| turns.to_check(now)).flatten()
    }

    /// The holder is there.
    pub fn checked(&self, holder: &DeviceId) {
        self.with(|turns, now| turns.checked(holder, now));
    }

    /// A device says that it answers, and nobody does: it is not believed for a while.
    pub fn doubt(&self, device: &DeviceId) {
        tracing::warn!(
            "{} says that it answers the bot, and nobody polls the bot's server: it is not believed for an hour",
            routing::name(self, device)
        );
        self.with(|turns, now| turns.doubt(device, now));
    }

    /// Whether other nodes run this bot, as far as was ever heard.
    pub fn is_shared(&self) -> bool {
        self.with(|turns, now| !turns.others(now).is_empty())
            .unwrap_or_default()
    }

    /// Whether every other node of this bot is heard now.
    pub fn hears_all(&self) -> bool {
        self.with(|turns, now| turns.hears_all(now)).unwrap_or(true)
    }

    /// The other nodes of this bot, with their names.
    pub fn others(&self) -> Vec<(Other, String)> {
        let all = self.with(|turns, now| turns.others(now));
        let all = all.unwrap_or_default().into_iter();
        all.map(|other| {
            let name = routing::name(self, &other.device);
            (other, name)
        })
        .collect()
    }

    fn tell(&self) {
        let Some(claim) = self.with(|turns, now| turns.claim(now)) else {
            return;
        };
        let message = Message::event(CLAIM, &json!(claim));
        for link in self.links.all() {
            // One that does not know the kind would refuse it time and again.
            let known = self.kind == ChannelKind::Telegram || link.info.speaks(Feature::Bots);
            if known && link.info.speaks(Feature::Answering) {
                link.tell(message.clone());
            }
        }
    }
}

/// Whether the word of a device about a bot counts: decisions may come from it, as from every node that runs one.
fn counts(context: &Context, device: &DeviceId) -> bool {
    let record = context.trust.live(device);
    record.is_some_and(|r| r.grants.has(Grant::Human))
}

/// A neighbour tells how it stands with its bot.
///
/// # Errors
/// `NOT_AUTHORIZED` without the grant `human`, `INVALID_PARAMS` for what does not read.
pub fn heard(answering: &Answering, link: &LinkHandle, payload: Value) -> Result<(), Refusal> {
    let device = &link.info.device;
    let claim = Claim::parse(payload)?;
    if !counts(answering, device) {
        let why = format!(
            "device {} is not trusted here with `human`, so it answers no bot of this node",
            device.short()
        );
        return Err(Refusal::new(Code::NotAuthorized, why));
    }
    let bot = answering.of(claim.kind);
    bot.with(|turns, now| turns.hear(device.clone(), claim, now));
    Ok(())
}

/// Tells the others how this node stands, time and again, and at once when a link comes or this node stands otherwise.
pub async fn run(answering: Answering) {
    let mut links = answering.links.watch();
    let mut tick = tokio::time::interval(Duration::from_millis(ANSWERING_EVERY_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let bots = ChannelKind::ALL.map(|kind| answering.of(kind));
        tokio::select! {
            biased;
            () = answering.tasks.stop().cancelled() => {
                bots.iter().for_each(Bot::lets_go);
                return;
            }
            changed = links.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
        for bot in bots {
            if bot.with(Turns::tick) == Some(false) {
                tracing::warn!(
                    "this node stood still for too long to answer its {} bot: it looks whether another has begun",
                    bot.kind.title()
                );
            }
            bot.tell();
        }
    }
}
