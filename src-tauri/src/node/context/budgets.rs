//! Usage of other devices within their shares: alarms about those that are used up, and the shares
//! that come free again with time. What the store keeps is counted there (`adapters/store/usage.rs`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::alarms::AlarmKind;
use super::{Context, Event};
use crate::adapters::store::shares::{self, Kept};
use crate::adapters::store::usage;
use crate::domain::admission::budget::{Bucket, Cause, Share};
use crate::domain::base::limits::{
    AUDIT_UNPROVEN_PER_HOUR, BUDGET_CHECKS_PER_MINUTE, BUDGET_COMMANDS_PER_HOUR,
    BUDGET_ENROLMENTS_PER_HOUR, BUDGET_EVENTS_PER_MINUTE, BUDGET_LISTS_PER_MINUTE,
    BUDGET_STANDING_PER_HOUR, BUDGET_STOPS_PER_HOUR, BUDGET_WINDOW_MS, FLOOD_MS, NO_ROOM_TOLD_MS,
    PEERS_MAX, REFUSAL_REPEAT_MAX_MS, REFUSAL_REPEAT_MS,
};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};

/// Devices that an alarm about a full store names.
const SHOWN: usize = 3;

/// The shares of one node's peers that live in memory.
#[derive(Debug, Default)]
pub struct Budgets(
    Mutex<BTreeMap<DeviceId, Used>>,
    /// Refused decisions without a known signer; with how many were not written down.
    Mutex<Option<(Bucket, u64)>>,
    Mutex<BTreeMap<Cause, Told>>,
    Mutex<Crowd>,
);

/// The events on one account: how many are told one by one, and how many were left out since.
#[derive(Debug)]
struct Told {
    bucket: Bucket,
    /// Of a session, its stops that changed nothing.
    stops: Bucket,
    left_out: u64,
    at: TimeMs,
    rest_ms: u64,
}

impl Told {
    fn admits(&mut self, now: TimeMs) -> bool {
        let tell = self.bucket.take(1, BUDGET_EVENTS_PER_MINUTE, 60_000, now);
        if !tell {
            self.left_out = self.left_out.saturating_add(1);
        }
        tell
    }

    fn is_of_use(&mut self, now: TimeMs) -> bool {
        let (most, hour) = (BUDGET_STOPS_PER_HOUR, BUDGET_WINDOW_MS);
        self.bucket.take(0, BUDGET_EVENTS_PER_MINUTE, 60_000, now);
        self.stops.take(0, most, hour, now);
        self.left_out > 0 || self.bucket.used() > 0 || self.stops.used() > 0
    }

    /// How many were left out, where that is to be told now: less and less often while it goes on.
    fn due(&mut self, now: TimeMs) -> Option<u64> {
        if now.distance(self.at) < self.rest_ms {
            return None;
        }
        self.at = now;
        if self.left_out == 0 {
            self.rest_ms = REFUSAL_REPEAT_MS;
            return None;
        }
        self.rest_ms = self.rest_ms.saturating_mul(2).min(REFUSAL_REPEAT_MAX_MS);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A request of a device that has a share of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A standing approval is brought.
    Give,
    /// The end of one is brought.
    End,
    /// They are listed.
    List,
    /// The checks of a proposal are made.
    Checks,
}

/// Who fills the store.
#[derive(Debug, Default)]
struct Crowd {
    /// The devices that have most of the frame log, with their bytes.
    first: Vec<(Option<DeviceId>, u64)>,
    /// When frames were last refused for want of room.
    refused_at: Option<TimeMs>,
}

#[derive(Debug)]
struct Used {
    frames: Bucket,
    enrolments: Bucket,
    commands: Bucket,
    stops: Bucket,
    asked: [Bucket; 4],
    refused: BTreeMap<Share, u64>,
    refused_at: TimeMs,
}

impl Budgets {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Used>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, device: &DeviceId, now: TimeMs, f: impl FnOnce(&mut Used) -> T) -> T {
        let mut all = self.lock();
        // Origins of relayed frames come and go; one that is forgotten begins with a free share.
        if all.len() >= 4 * PEERS_MAX && !all.contains_key(device) {
            let least = all.iter().min_by_key(|(_, used)| used.frames.used());
            if let Some(least) = least.map(|(id, _)| id.clone()) {
                all.remove(&least);
            }
        }
        let fresh = || Used {
            frames: Bucket::new(now),
            enrolments: Bucket::new(now),
            commands: Bucket::new(now),
            stops: Bucket::new(now),
            asked: [0; 4].map(|_| Bucket::new(now)),
            refused: BTreeMap::new(),
            refused_at: now,
        };
        f(all.entry(device.clone()).or_insert_with(fresh))
    }

    /// Whether a device has used up its bytes of frames.
    pub fn frames_used_up(&self, device: &DeviceId, now: TimeMs) -> bool {
        let most = Share::FrameBytes.most_of(device);
        self.with(device, now, |used| used.frames.frames_used_up(most, now))
    }

    /// Takes the bytes of stored frames out of a device's share; the last of them may go over it.
    pub fn charge_frames(&self, device: &DeviceId, bytes: u64, now: TimeMs) {
        let most = Share::FrameBytes.most_of(device);
        self.with(device, now, |used| {
            used.frames.charge_frames(bytes, most, now);
        });
    }

    /// Whether something becomes an event of its own now; else it is counted. What this node and its
    /// persons do always does.
    pub fn event(&self, cause: &Cause, now: TimeMs) -> bool {
        *cause == Cause::Own || self.told(cause, now, |told| told.admits(now))
    }

    /// On whose account how many events were left out, where that is to be told now.
    pub fn left_out(&self, now: TimeMs) -> Vec<(Cause, u64)> {
        let mut told = self.2.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told
            .iter_mut()
            .filter_map(|(cause, told)| Some((cause.clone(), told.due(now)?)));
        let due = due.collect();
        // Sessions come and go; of one that causes nothing any more nothing is remembered.
        told.retain(|cause, told| !matches!(cause, Cause::Session(_)) || told.is_of_use(now));
        due
    }

    /// Whether one more record of an issuer takes the place of an earlier one now.
    ///
    /// # Errors
    /// `OVER_BUDGET`.
    pub fn enrolment(&self, issuer: &DeviceId, now: TimeMs) -> Result<(), Refusal> {
        let (most, hour) = (BUDGET_ENROLMENTS_PER_HOUR, BUDGET_WINDOW_MS);
        let taken = |used: &mut Used| used.enrolments.take(1, most, hour, now);
        match self.with(issuer, now, taken) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::OverBudget,
                format!(
                    "device {} has changed {most} of its operators' records within an hour; more are taken as time passes",
                    issuer.short()
                ),
            )),
        }
    }

    /// Whether one more command of a device is remembered now.
    pub fn command(&self, device: &DeviceId, now: TimeMs) -> bool {
        self.with(device, now, |used| {
            used.commands
                .take(1, BUDGET_COMMANDS_PER_HOUR, 3_600_000, now)
        })
    }

    /// Takes one request of a device out of its share. Each sort has a number of its own: who brings too many standing
    /// approvals still may end them.
    ///
    /// # Errors
    /// `OVER_BUDGET`.
    pub fn asked(&self, device: &DeviceId, what: Asked, now: TimeMs) -> Result<(), Refusal> {
        let (place, most, window, shown) = match what {
            Asked::Give => (
                0,
                BUDGET_STANDING_PER_HOUR,
                BUDGET_WINDOW_MS,
                "standing approvals brought in an hour",
            ),
            Asked::End => (
                1,
                BUDGET_STANDING_PER_HOUR,
                BUDGET_WINDOW_MS,
                "ends of standing approvals in an hour",
            ),
            Asked::List => (
                2,
                BUDGET_LISTS_PER_MINUTE,
                60_000,
                "lists of standing approvals in a minute",
            ),
            Asked::Checks => (
                3,
                BUDGET_CHECKS_PER_MINUTE,
                60_000,
                "looks at the checks of proposals in a minute",
            ),
        };
        let taken = |used: &mut Used| {
            let bucket = used.asked.get_mut(place);
            bucket.is_some_and(|bucket| bucket.take(1, most, window, now))
        };
        match self.with(device, now, taken) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::OverBudget,
                format!(
                    "device {} has used up its share of {shown}: {most}; more is taken as time passes",
                    device.short()
                ),
            )),
        }
    }

    /// Whether one more stop is recorded now; else it is counted among the events left out. It stops in
    /// any case.
    pub fn stop(&self, cause: &Cause, now: TimeMs) -> bool {
        let (most, hour) = (BUDGET_STOPS_PER_HOUR, BUDGET_WINDOW_MS);
        let told = match cause {
            Cause::Own | Cause::Strangers => return true,
            Cause::Device(device) => {
                self.with(device, now, |used| used.stops.take(1, most, hour, now))
            }
            Cause::Session(_) => self.told(cause, now, |told| told.stops.take(1, most, hour, now)),
        };
        if !told {
            self.told(cause, now, |told| {
                told.left_out = told.left_out.saturating_add(1)
            });
        }
        told
    }

    fn told<T>(&self, cause: &Cause, now: TimeMs, f: impl FnOnce(&mut Told) -> T) -> T {
        let mut all = self.2.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Told {
            bucket: Bucket::new(now),
            stops: Bucket::new(now),
            left_out: 0,
            at: now,
            rest_ms: REFUSAL_REPEAT_MS,
        };
        f(all.entry(cause.clone()).or_insert_with(fresh))
    }

    /// How many refusals of decisions, this one included, the next entry of the audit trail stands for:
    /// decisions that nobody enrolled has signed, or that were refused before. `None` where this one is
    /// only counted.
    pub fn unproven(&self, now: TimeMs) -> Option<u64> {
        let mut unproven = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let (bucket, uncounted) = unproven.get_or_insert_with(|| (Bucket::new(now), 0));
        if bucket.take(1, AUDIT_UNPROVEN_PER_HOUR, 3_600_000, now) {
            return Some(std::mem::take(uncounted).saturating_add(1));
        }
        *uncounted = uncounted.saturating_add(1);
        None
    }

    /// The bytes of frames that a device has used of its share.
    pub fn frame_bytes(&self, device: &DeviceId, now: TimeMs) -> u64 {
        let mut all = self.lock();
        all.get_mut(device).map_or(0, |used| {
            let most = Share::FrameBytes.most_of(device);
            used.frames.frames_used_up(most, now);
            used.frames.used()
        })
    }

    /// Notes who has most of the frame log, and when frames were refused for want of room.
    pub fn crowded(&self, kept: &[Kept], refused_at: Option<TimeMs>) {
        let mut by: BTreeMap<Option<DeviceId>, u64> = BTreeMap::new();
        for one in kept {
            *by.entry(one.device.clone()).or_default() += one.bytes;
        }
        let mut first: Vec<_> = by.into_iter().collect();
        first.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        first.truncate(SHOWN);
        let mut crowd = self.3.lock().unwrap_or_else(PoisonError::into_inner);
        crowd.first = first;
        crowd.refused_at = refused_at.or(crowd.refused_at);
    }

    /// Whether frames were refused for want of room a moment ago.
    pub fn has_no_room(&self, now: TimeMs) -> bool {
        let crowd = self.3.lock().unwrap_or_else(PoisonError::into_inner);
        let since = crowd.refused_at.map(|at| now.since(at));
        since.is_some_and(|ms| ms < NO_ROOM_TOLD_MS)
    }

    /// Counts something that was refused because a share is used up.
    fn count_refused(&self, device: &DeviceId, share: Share, now: TimeMs) {
        self.with(device, now, |used| {
            let n = used.refused.entry(share).or_default();
            *n = n.saturating_add(1);
            used.refused_at = now;
        });
    }

    /// Whether something was refused to a device within the last so many milliseconds.
    fn refused_within(&self, device: &DeviceId, ms: u64, now: TimeMs) -> bool {
        let of = |used: &Used| !used.refused.is_empty() && now.distance(used.refused_at) < ms;
        self.lock().get(device).is_some_and(of)
    }

    /// How much was refused to a device because a share is used up, since this node started.
    pub fn refused(&self, device: &DeviceId, share: Share) -> u64 {
        let of = |used: &Used| used.refused.get(&share).copied();
        self.lock().get(device).and_then(of).unwrap_or(0)
    }

    /// Forgets a device that is no longer trusted, and the account of its address.
    pub fn forget(&self, device: &DeviceId) {
        for account in [device.clone(), device.at_address()] {
            self.lock().remove(&account);
            let mut told = self.2.lock().unwrap_or_else(PoisonError::into_inner);
            told.remove(&Cause::Device(account));
        }
    }
}

impl Context {
    /// Who fills the store, in words, and what to do about the first of them.
    pub fn who_fills(&self) -> Option<(String, String)> {
        let first = {
            let crowd = self
                .budgets
                .3
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            crowd.first.clone()
        };
        let name = |device: &Option<DeviceId>| match device {
            None => "this node".to_owned(),
            Some(account) if account.is_at_address() => account.who(),
            Some(device) => {
                let known = self.trust.live(device);
                let standing = if known.is_some() { "" } else { ", not trusted" };
                let name = known.and_then(|r| r.name);
                let name = name.as_deref().unwrap_or("a device");
                format!("{name} ({}{standing})", device.short())
            }
        };
        #[allow(clippy::cast_precision_loss)]
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let list: Vec<String> = first
            .iter()
            .map(|(device, bytes)| format!("{} {:.1} MiB", name(device), mib(*bytes)))
            .collect();
        let mut devices = first.iter().filter_map(|(device, _)| device.as_ref());
        let most = devices.find(|device| !device.is_at_address())?;
        let advice = format!(
            "if {} should not send so much, end it: `clawmesh-node trust revoke {}` (see `trust show` and `peers`), or on the Trust page",
            name(&Some(most.clone())),
            most.short()
        );
        Some((format!("most frames: {}", list.join(", ")), advice))
    }

    /// Tells that a device has used up a share: an alarm that stands, a count, an event.
    pub async fn over_budget(&self, device: &DeviceId, share: Share, refusal: &Refusal) {
        self.budgets.count_refused(device, share, self.now());
        if device.is_at_address() {
            return self.address_over_budget(device, share, refusal).await;
        }
        let name = self.trust.live(device).and_then(|r| r.name);
        let (name, short) = (name.as_deref().unwrap_or("a device"), device.short());
        let message = match share {
            Share::KeptFrames | Share::KeptBytes => format!(
                "{name} ({short}) sends more than its share of the store, {} MiB: its own oldest frames go",
                self.store.bytes_of_one_device() / 1_048_576
            ),
            share => format!(
                "{name} ({short}) has used up its share of {}: {}",
                share.as_str(),
                share.most()
            ),
        };
        let advice = "look at what it sends; if it should not, run `clawmesh-node trust revoke` or revoke it on the Trust page";
        let kind = AlarmKind::OverBudget;
        self.alarms
            .raise(kind, device.as_str(), &message, advice, self.now());
        let cause = Cause::Device(device.clone());
        self.journal
            .refused_of(cause, Event::DeviceOverBudget, device.as_str(), refusal)
            .await;
    }

    /// As [`Context::over_budget`], of whoever answers at an address of a device: nothing says that it is
    /// that device, which keeps its own shares and its trust.
    async fn address_over_budget(&self, account: &DeviceId, share: Share, refusal: &Refusal) {
        let owner = self.trust.at_address(account);
        if let Some(owner) = owner {
            let name = owner.name.as_deref().unwrap_or("a device");
            let short = owner.device_id.short();
            let message = format!(
                "whatever answers at an address of {name} ({short}) has used up the account of that address ({}: {}); it has not proven to be {name}",
                share.as_str(),
                share.most_of(account)
            );
            let advice = "look which machine answers there; the device itself has another account, and what it says over its own link counts as before, so this is no reason to revoke it";
            let kind = AlarmKind::AddressOverBudget;
            let subject = owner.device_id.as_str();
            self.alarms
                .raise(kind, subject, &message, advice, self.now());
        }
        let cause = Cause::Device(account.clone());
        self.journal
            .refused_of(cause, Event::AddressOverBudget, &account.who(), refusal)
            .await;
    }
}

/// Clears the alarms of devices that are within their shares again.
pub async fn look(context: &Context) {
    for alarm in context.alarms.list() {
        let Ok(device) = alarm.subject.parse::<DeviceId>() else {
            continue;
        };
        match alarm.kind {
            AlarmKind::OverBudget => {}
            AlarmKind::AddressOverBudget => {
                // What fills it stays for a while; what counts is whether more is refused.
                let (account, now) = (device.at_address(), context.now());
                if !context.budgets.refused_within(&account, FLOOD_MS, now) {
                    context.alarms.clear(alarm.kind, &alarm.subject);
                }
                continue;
            }
            _ => continue,
        }
        let of = device.clone();
        let now = context.now();
        let read = context
            .store
            .read("usage", move |c| {
                Ok((usage::all(c, &of, now)?, shares::all(c)?))
            })
            .await;
        let Ok((stored, kept)) = read else { continue };
        let bytes = (Share::FrameBytes, context.budgets.frame_bytes(&device, now));
        // A share of the frame log stays used up; what counts is whether young frames go.
        let full = |(share, used): &(Share, u64)| match share {
            Share::KeptFrames | Share::KeptBytes => false,
            share => *used * 10 >= share.most() * 9,
        };
        let floods = kept.iter().any(|k| {
            let young = k.horizon.is_some_and(|h| now.since(h) < FLOOD_MS);
            young && k.device.as_ref() == Some(&device)
        });
        if !floods && !stored.iter().chain([&bytes]).any(full) {
            context.alarms.clear(AlarmKind::OverBudget, &alarm.subject);
        }
    }
}
