//! The lease of a held run: who may keep it, who does, and until when. Pure: time is the boot clock, and an argument.
//!
//! A renewal moves the end forward and never beyond the deadline; what has ended takes none. A model keeps nothing: a run
//! with any mark is kept by a person's session at the executor alone.

use crate::domain::base::text::one_line;
use crate::domain::base::{Code, DeviceId, ProposalId, Refusal};
use crate::domain::policy::Class;

/// Longest name of a run's keeper that is shown, in characters.
const SHOWN_CHARS: usize = 80;

/// From where a run is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Over the link of a device, which has proven itself.
    Device(DeviceId),
    /// By a person's session at this node's own door.
    Session,
    /// By this node's own rules.
    OwnRules,
}

/// Who says that a run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    source: Source,
    token: String,
    shown: String,
}

impl Keeper {
    /// `token` tells two keepers of one source apart; `shown` is what people are told.
    pub fn new(source: Source, token: &str, shown: &str) -> Self {
        Self {
            source,
            token: token.to_owned(),
            shown: one_line(shown, SHOWN_CHARS),
        }
    }

    fn is(&self, other: &Keeper) -> bool {
        self.source == other.source && self.token == other.token
    }
}

/// From where a run may be kept, fixed with its permit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entitled {
    /// The device that asked for it, and as what.
    device: Option<(DeviceId, Class)>,
    /// Whether it is a wish of this node's own rules.
    own_rules: bool,
}

impl Entitled {
    /// The asker, of a class above a model or a rule of an unnamed device.
    pub fn of(class: Class, marked: bool, asked_by: &DeviceId) -> Self {
        let peer = matches!(class, Class::NamedRules | Class::PeerPerson);
        Self {
            device: (peer && !marked).then(|| (asked_by.clone(), class)),
            own_rules: class == Class::OwnRules && !marked,
        }
    }

    /// The device that asked for it, and as what; none where a model had a part in it, or a rule of an unnamed device asked.
    pub fn asker(&self) -> Option<&(DeviceId, Class)> {
        self.device.as_ref()
    }

    /// As what a device may keep it, as long as it is that.
    fn class_of(&self, device: &DeviceId) -> Option<Class> {
        let asker = self.device.as_ref().filter(|(asker, _)| asker == device);
        asker.map(|(_, class)| *class)
    }

    fn check(&self, keeper: &Keeper) -> Result<(), Refusal> {
        let may = match &keeper.source {
            Source::Session => true,
            Source::Device(device) => self.class_of(device).is_some(),
            Source::OwnRules => self.own_rules,
        };
        match may {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::NotAuthorized,
                "only the device that asked for it keeps a held action, and a person at its executor; one in which a \
                 model had a part, or that a rule of a device asked for which the policy does not name, only the latter",
            )),
        }
    }
}

/// A keeper's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it goes on. The counter is larger with each renewal: one that comes late or again changes nothing.
    Keep(u64),
    /// That it ends now.
    Release,
}

/// How a run stands after a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// After how many milliseconds it ends unless it is renewed.
    pub lapses_in_ms: u64,
    /// After how many milliseconds it ends in any case.
    pub ends_in_ms: u64,
    /// The largest counter so far.
    pub counter: u64,
    /// Whether it was released.
    pub released: bool,
}

/// Why the lease is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// Its holder let go.
    Released {
        /// Who.
        by: String,
        /// When.
        at: u64,
    },
    /// Its holder was not heard in time.
    Lapsed {
        /// The last holder, if there was one.
        holder: Option<String>,
        /// How long before the lapse they were last heard, in milliseconds.
        silent_ms: u64,
        /// When it was due.
        at: u64,
    },
}

impl Over {
    /// When it was over, by the boot clock.
    pub fn at(&self) -> u64 {
        match self {
            Over::Released { at, .. } | Over::Lapsed { at, .. } => *at,
        }
    }
}

/// How a held run is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The run.
    pub proposal: ProposalId,
    /// The holder, if any was heard.
    pub holder: Option<String>,
    /// After how many milliseconds it ends unless it is renewed.
    pub lapses_in_ms: u64,
    /// After how many milliseconds it ends in any case.
    pub ends_in_ms: u64,
}

/// The lease of one run.
#[derive(Debug)]
pub struct Lease {
    proposal: ProposalId,
    entitled: Entitled,
    lease_ms: u64,
    deadline: u64,
    until: u64,
    heard: u64,
    holder: Option<Keeper>,
    counter: u64,
    over: Option<Over>,
}

impl Lease {
    /// The lease of a run that begins now, which has no holder yet: one has to be heard within it.
    pub fn begin(
        proposal: ProposalId,
        entitled: Entitled,
        lease_ms: u64,
        deadline: u64,
        now: u64,
    ) -> Self {
        Self {
            proposal,
            entitled,
            lease_ms,
            deadline,
            until: now.saturating_add(lease_ms).min(deadline),
            heard: now,
            holder: None,
            counter: 0,
            over: None,
        }
    }

    /// Whether it is that of a proposal.
    pub fn is_of(&self, proposal: &ProposalId) -> bool {
        self.proposal == *proposal
    }

    /// As what a device may keep it; `None` where it may not. Whether it is still that is for the executor to say.
    pub fn class_of(&self, device: &DeviceId) -> Option<Class> {
        self.entitled.class_of(device)
    }

    /// When it lapses unless it is renewed, by the boot clock.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// How it stands.
    pub fn shown(&self, now: u64) -> Shown {
        Shown {
            proposal: self.proposal.clone(),
            holder: self.holder.as_ref().map(|h| h.shown.clone()),
            lapses_in_ms: self.until.saturating_sub(now),
            ends_in_ms: self.deadline.saturating_sub(now),
        }
    }

    /// Takes a keeper's request.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` for who may not keep it, `ACTUATOR_BUSY` while another holds it, `CONFLICT` when it is over.
    pub fn take(&mut self, keeper: &Keeper, wish: Wish, now: u64) -> Result<Kept, Refusal> {
        self.entitled.check(keeper)?;
        if self.over(now).is_some() || now >= self.deadline {
            return Err(ended(&self.proposal));
        }
        match &self.holder {
            Some(holder) if !holder.is(keeper) => {
                return Err(Refusal::new(
                    Code::ActuatorBusy,
                    format!(
                        "{} holds it; whoever wants it to end may stop it",
                        holder.shown
                    ),
                ));
            }
            Some(_) => {}
            None => self.holder = Some(keeper.clone()),
        }
        match wish {
            Wish::Release => {
                self.over = Some(Over::Released {
                    by: keeper.shown.clone(),
                    at: now,
                });
                self.until = now;
            }
            Wish::Keep(counter) if counter > self.counter => {
                self.counter = counter;
                self.heard = now;
                // Never back, by any clock, and never beyond the deadline.
                let until = now.saturating_add(self.lease_ms).min(self.deadline);
                self.until = self.until.max(until);
            }
            Wish::Keep(_) => {}
        }
        Ok(Kept {
            lapses_in_ms: self.until.saturating_sub(now),
            ends_in_ms: self.deadline.saturating_sub(now),
            counter: self.counter,
            released: self.over.is_some(),
        })
    }

    /// Whether it is over now, and why. Once over it stays so.
    pub fn over(&mut self, now: u64) -> Option<&Over> {
        if self.over.is_none() && now >= self.until && self.until < self.deadline {
            self.over = Some(Over::Lapsed {
                holder: self.holder.as_ref().map(|h| h.shown.clone()),
                silent_ms: self.until.saturating_sub(self.heard),
                at: self.until,
            });
        }
        self.over.as_ref()
    }
}

/// The refusal of who wants to keep what does not run.
pub fn ended(proposal: &ProposalId) -> Refusal {
    Refusal::new(
        Code::Conflict,
        format!(
            "no held action of proposal {} runs at its executor now; one that has ended is never taken up again",
            proposal.short()
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId::of_public_key(&[n; 32])
    }

    fn id() -> ProposalId {
        "0123456789abcdef0123456789abcdef".parse().unwrap()
    }

    fn over_link(n: u8) -> Keeper {
        Keeper::new(Source::Device(device(n)), "t", "laptop")
    }

    fn lease(class: Class, marked: bool) -> Lease {
        let entitled = Entitled::of(class, marked, &device(2));
        Lease::begin(id(), entitled, 5_000, 60_000, 1_000)
    }

    #[test]
    fn only_who_asked_keeps_it_and_of_what_a_model_asked_a_person_at_the_executor_alone() {
        let session = Keeper::new(Source::Session, "s", "ada");
        let rules = Keeper::new(Source::OwnRules, "", "rule dry");
        for (class, marked, device, own_rules) in [
            (Class::PeerPerson, false, true, false),
            (Class::NamedRules, false, true, false),
            (Class::PeerRules, false, false, false),
            (Class::Model, true, false, false),
            (Class::Model, false, false, false),
            (Class::PeerPerson, true, false, false),
            (Class::OwnRules, false, false, true),
            (Class::OwnRules, true, false, false),
            (Class::Person, false, false, false),
        ] {
            let may = |keeper: &Keeper| {
                let taken = lease(class, marked).take(keeper, Wish::Keep(1), 2_000);
                taken
                    .map_err(|refusal| assert_eq!(refusal.code, Code::NotAuthorized))
                    .is_ok()
            };
            assert_eq!(may(&over_link(2)), device, "{class} {marked}");
            assert!(!may(&over_link(3)), "another device: {class}");
            assert_eq!(may(&rules), own_rules, "{class} {marked}");
            assert!(may(&session), "{class} {marked}");
        }
    }

    #[test]
    fn it_lapses_unless_it_is_renewed_and_is_never_taken_up_again() {
        let mut lease = lease(Class::PeerPerson, false);
        assert_eq!(lease.over(5_999), None);
        assert_eq!(
            lease
                .take(&over_link(2), Wish::Keep(7), 5_999)
                .unwrap()
                .lapses_in_ms,
            5_000
        );
        // The same again, and an older one that comes late, change nothing.
        for counter in [7, 3] {
            let kept = lease
                .take(&over_link(2), Wish::Keep(counter), 8_000)
                .unwrap();
            assert_eq!((kept.lapses_in_ms, kept.counter), (2_999, 7));
        }
        // A second holder is refused while the first one is.
        let second = Keeper::new(Source::Session, "s", "ada");
        let refusal = lease.take(&second, Wish::Keep(9), 8_000).unwrap_err();
        assert_eq!(refusal.code, Code::ActuatorBusy);
        assert!(refusal.message.contains("laptop holds it"), "{refusal}");
        let lapsed = Over::Lapsed {
            holder: Some("laptop".into()),
            silent_ms: 5_000,
            at: 10_999,
        };
        assert_eq!(lease.over(10_999), Some(&lapsed));
        for wish in [Wish::Keep(100), Wish::Release] {
            let refusal = lease.take(&over_link(2), wish, 11_000).unwrap_err();
            assert_eq!(refusal.code, Code::Conflict);
        }
        assert_eq!(lease.over(0), Some(&lapsed), "whatever the clock says then");
    }

    #[test]
    fn who_holds_it_lets_go() {
        let mut lease = lease(Class::PeerPerson, false);
        lease.take(&over_link(2), Wish::Keep(1), 2_000).unwrap();
        assert!(
            lease
                .take(&over_link(2), Wish::Release, 3_000)
                .unwrap()
                .released
        );
        let by = "laptop".into();
        assert_eq!(lease.over(3_000), Some(&Over::Released { by, at: 3_000 }));
        lease.take(&over_link(2), Wish::Keep(2), 3_000).unwrap_err();
    }

    proptest! {
        /// For any sequence of wishes: it ends at its deadline at the latest, within one lease of the last renewal that
        /// counted, and nothing is taken after its end.
        #[test]
        fn nothing_outlives_its_deadline_or_its_lease(
            said in proptest::collection::vec((0_u8..4, 0_u64..50, any::<bool>(), 0_u64..4_000), 0..60)
        ) {
            let mut lease = lease(Class::PeerPerson, false);
            let (mut now, mut last, mut over) = (1_000, 1_000, false);
            for (who, counter, release, pause) in said {
                now += pause;
                let ends = lease.over(now).is_some() || now >= 60_000;
                prop_assert!(!over || ends, "it was over and is not any more");
                over = ends;
                prop_assert_eq!(over, now >= 60_000 || now >= last + 5_000 || over && lease.over.is_some());
                let wish = match release && counter > 45 {
                    true => Wish::Release,
                    false => Wish::Keep(counter),
                };
                let before = lease.counter;
                let taken = lease.take(&over_link(who), wish, now);
                prop_assert!(taken.is_err() || (who == 2 && !over));
                if taken.is_ok() && lease.counter > before {
                    last = now;
                }
                prop_assert!(lease.until <= 60_000);
                prop_assert!(lease.until <= last + 5_000 || lease.over.is_some());
            }
        }
    }
}
