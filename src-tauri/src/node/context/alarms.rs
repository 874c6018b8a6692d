//! Standing alarms: conditions that hold until they are mended, such as an actuator that is not
//! confirmed safe or a store that takes no writes.
//!
//! The list lives in memory and is never waited for: raising an alarm touches no disk, log or
//! network, so that the safety path may do it. `status`, `/healthz`, `/metrics` and the console
//! read it. Events about an alarm are recorded by the task that raised it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::event::Severity;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    ALARM_OWN_SUBJECTS_MAX, ALARM_SUBJECTS_MAX, ALARM_TEXT_MAX_CHARS,
};
use crate::domain::base::text::cut;

macro_rules! alarm_kinds {
    ($($name:ident = $text:literal, $severity:ident, $meaning:literal;)*) => {
        /// What an alarm is about; closed, so that clients can rely on the codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum AlarmKind {
            $(#[doc = $meaning] $name),*
        }

        impl AlarmKind {
            /// Every kind there is, for metrics and documentation.
            pub const ALL: &'static [AlarmKind] = &[$(AlarmKind::$name),*];

            /// The stable code.
            pub fn as_str(self) -> &'static str {
                match self { $(AlarmKind::$name => $text),* }
            }

            /// When it stands and what its subject is, in words.
            pub fn meaning(self) -> &'static str {
                match self { $(AlarmKind::$name => $meaning),* }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(AlarmKind::$name => Severity::$severity),* }
            }
        }
    };
}

alarm_kinds! {
    ActuatorUnsafe = "actuator.unsafe", Critical, "An actuator is not confirmed to be in its safe state. Subject: its capability.";
    ActuatorAstray = "actuator.astray", Critical, "An actuator that is idle and was confirmed safe is not in its safe state, as its device says; nothing here has moved it. Subject: its capability.";
    ActuatorLeft = "actuator.left", Critical, "An actuator was moved before the node was interrupted, and the configuration does not have it any more. Subject: its capability.";
    StoreFull = "store.full", Critical, "The store is full. No subject.";
    StoreUnwritable = "store.unwritable", Critical, "The store or the state directory takes no writes. No subject.";
    StateLost = "state.lost", Critical, "The state directory, the database in it or a file beside that is gone, cut short or another one than at the start. No subject.";
    StateRolledBack = "state.rolled-back", Critical, "The state is older than what this node has done: a restored backup or snapshot. No subject.";
    MarksUnwritable = "marks.unwritable", Critical, "The mark outside the state directory cannot be written; the node does not operate. No subject.";
    RunsTwice = "identity.runs-twice", Critical, "Another process runs with this node's identity. No subject.";
    ClockUntrusted = "clock.untrusted", Critical, "The clock is not believed; the node does not operate. No subject.";
    PeerClock = "peer.clock", Warning, "A peer's clock and ours differ too much. Subject: the device.";
    PeerWithholds = "peer.withholds", Warning, "A peer offers frames and does not send them when asked. Subject: the device.";
    PlannerHeld = "planner.held", Warning, "A rule's wish has been left to another planner for longer than a minute. No subject.";
    NamesAlike = "names.alike", Warning, "Names of this node and trusted devices look the same and are not. No subject.";
    RowsUnreadable = "store.rows", Warning, "Rows of the store do not read and are left out of lists. No subject.";
    LogLost = "log.lost", Warning, "Log lines are being lost. No subject.";
    OverBudget = "device.over-budget", Warning, "A device has used up a budget. Subject: the device.";
    AddressOverBudget = "address.over-budget", Warning, "Whoever answers at an address of a device, without proof, has used up what such answers may use. Subject: the device.";
    SensorFailing = "sensor.failing", Warning, "A sensor gives no readings: it fails, panics or does not answer in time. Subject: its name, or that of its device where that has several: one alarm for all of them.";
    ReadingDoubted = "reading.doubted", Warning, "A sensor's reading is not believed: out of its range, jumping, stuck, of unknown age or contradicted. Subject: the reading and its sensor.";
    SurfaceFailing = "surface.failing", Warning, "A surface inside the process, such as a chat, panicked and is started again. Subject: its name.";
    PlannerSuspended = "planner.suspended", Warning, "Every language model is out until a person mends something; the rules answer. No subject.";
    EstopLatched = "estop.latched", Critical, "The emergency stop is latched at this node. No subject.";
    AlertCritical = "alert.critical", Critical, "A rule of the configuration ([[alert]]) for what is critical holds. Subject: the rule, and whose reading.";
    AlertWarning = "alert.warning", Warning, "A rule of the configuration ([[alert]]) for a warning holds. Subject: the rule, and whose reading.";
    AlertInfo = "alert.info", Info, "A rule of the configuration ([[alert]]) that matters little holds. Subject: the rule, and whose reading.";
    PeerLost = "peer.lost", Warning, "A trusted device of our own kind that was there is missed: there is no link with it, and nothing is heard of it through others. Subject: the device.";
    ProposalWaits = "proposal.waits", Warning, "A proposal waits for a person for long. Subject: the proposal.";
    NotifyFailing = "notify.failing", Warning, "People cannot be told of alerts at a place of the configuration ([[notify]]). Subject: its name.";
    ConsoleCertificate = "console.certificate", Warning, "The console for browsers of other machines is not open, or its certificate ends, has ended or cannot be renewed. No subject.";
    AtNodeCodes = "at_node.codes", Warning, "A rule of the policy goes by a code that is shown at this node, and none can be shown, or none is taken because many were wrong. No subject.";
    UpdateOffered = "update.offered", Info, "A newer release is offered where the configuration says, signed with its key ([updates]). No subject.";
    GatewayLost = "gateway.lost", Warning, "A gateway of agents that is enabled has not been ready for a minute or longer. Subject: its id.";
    PolicyWarns = "policy.warns", Warning, "The policy in force says something that is probably not meant. No subject.";
}

impl AlarmKind {
    /// The kind with this code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == code)
    }

    /// Whether it is one of the rules for alerts of the configuration.
    pub fn is_of_rule(self) -> bool {
        matches!(
            self,
            Self::AlertCritical | Self::AlertWarning | Self::AlertInfo
        )
    }

    /// The kind of a rule for alerts that matters so much.
    pub fn of_rule(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::AlertCritical,
            Severity::Warning => Self::AlertWarning,
            Severity::Info => Self::AlertInfo,
        }
    }

    /// Whether it says that this node does not work as it should: what people are only to know of says nothing of it, so
    /// that no monitor starts a node again because a room is warm.
    pub fn is_of_node(self) -> bool {
        let for_people = matches!(
            self,
            Self::PeerLost
                | Self::GatewayLost
                | Self::ProposalWaits
                | Self::EstopLatched
                | Self::UpdateOffered
        );
        !for_people && !self.is_of_rule()
    }

    /// Whether its subjects are of this node's own configuration: however many stand, each of them is told.
    fn is_of_own(self) -> bool {
        matches!(
            self,
            Self::ActuatorUnsafe
                | Self::ActuatorAstray
                | Self::ActuatorLeft
                | Self::SensorFailing
                | Self::ReadingDoubted
                | Self::SurfaceFailing
                | Self::NotifyFailing
        )
    }

    /// Most of it that stand at once.
    fn most(self) -> usize {
        match self.is_of_own() {
            true => ALARM_OWN_SUBJECTS_MAX,
            false => ALARM_SUBJECTS_MAX,
        }
    }

    /// Whether it is about an actuator that may move, or an emergency: it is never muted for long.
    pub fn is_grave(self) -> bool {
        matches!(
            self,
            Self::ActuatorUnsafe | Self::ActuatorAstray | Self::ActuatorLeft | Self::EstopLatched
        )
    }
}

/// A condition that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// Which device, actuator or file; empty where there is only one.
    pub subject: String,
    /// Since when.
    pub since: TimeMs,
    /// What is the matter, in a sentence.
    pub message: String,
    /// What to do, in a sentence.
    pub advice: String,
}

/// The subject of the alarm that there are more of a kind than are listed.
pub const AND_MORE: &str = "and more";

/// How many of a kind stand, each with its own subject.
fn of_kind(alarms: &BTreeMap<(AlarmKind, String), Alarm>, kind: AlarmKind) -> usize {
    let of_kind = alarms.keys().filter(|(k, _)| *k == kind);
    of_kind.filter(|(_, subject)| subject != AND_MORE).count()
}

/// The alarms of one node.
#[derive(Debug, Default)]
pub struct Alarms(Mutex<BTreeMap<(AlarmKind, String), Alarm>>);

impl Alarms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(AlarmKind, String), Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises an alarm, or brings the words of a standing one up to date; `true` if it is new. Of one kind only so many stand at
    /// once, since peers name some of the subjects; that there are more is then an alarm itself, whose subject is [`AND_MORE`].
    pub fn raise(
        &self,
        kind: AlarmKind,
        subject: &str,
        message: &str,
        advice: &str,
        now: TimeMs,
    ) -> bool {
        let subject = cut(subject, ALARM_TEXT_MAX_CHARS);
        let mut alarms = self.lock();
        let key = (kind, subject.clone());
        let since = alarms.get(&key).map(|a| a.since);
        if since.is_none() && of_kind(&alarms, kind) >= kind.most() {
            let more = Alarm {
                kind,
                subject: AND_MORE.to_owned(),
                since: now,
                message: format!(
                    "{} stands for more than the {} that are listed",
                    kind.as_str(),
                    kind.most()
                ),
                advice: "mend those that are listed; the others appear as there is room".to_owned(),
            };
            alarms.entry((kind, AND_MORE.to_owned())).or_insert(more);
            return false;
        }
        let alarm = Alarm {
            kind,
            subject,
            since: since.unwrap_or(now),
            message: cut(message, ALARM_TEXT_MAX_CHARS),
            advice: cut(advice, ALARM_TEXT_MAX_CHARS),
        };
        alarms.insert(key, alarm);
        since.is_none()
    }

    /// Ends an alarm; `false` if it did not stand.
    pub fn clear(&self, kind: AlarmKind, subject: &str) -> bool {
        let subject = cut(subject, ALARM_TEXT_MAX_CHARS);
        let mut alarms = self.lock();
        let stood = alarms.remove(&(kind, subject)).is_some();
        // There is room again: whoever has no place yet raises its own at its next look.
        if stood && of_kind(&alarms, kind) < kind.most() {
            alarms.remove(&(kind, AND_MORE.to_owned()));
        }
        stood
    }

    /// Whether this alarm stands.
    pub fn stands(&self, kind: AlarmKind, subject: &str) -> bool {
        let subject = cut(subject, ALARM_TEXT_MAX_CHARS);
        self.lock().contains_key(&(kind, subject))
    }

    /// Every standing alarm, the worst first, then the oldest.
    pub fn list(&self) -> Vec<Alarm> {
        let mut list: Vec<Alarm> = self.lock().values().cloned().collect();
        list.sort_by_key(|a| (std::cmp::Reverse(a.kind.severity()), a.since));
        list
    }

    /// The worst severity that stands of what says that this node does not work as it should.
    pub fn worst(&self) -> Option<Severity> {
        let alarms = self.lock();
        let of_node = alarms.keys().filter(|(kind, _)| kind.is_of_node());
        of_node.map(|(kind, _)| kind.severity()).max()
    }

    /// How many alarms of a kind stand.
    pub fn count(&self, kind: AlarmKind) -> usize {
        of_kind(&self.lock(), kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_stands_from_its_first_raise_until_it_is_cleared() {
        let alarms = Alarms::default();
        let raise =
            |kind, subject: &str, at| alarms.raise(kind, subject, "why", "what to do", TimeMs(at));
        assert!(raise(AlarmKind::LogLost, "", 1));
        assert!(raise(AlarmKind::ActuatorUnsafe, "actuator:pump:main", 5));
        assert!(!raise(AlarmKind::ActuatorUnsafe, "actuator:pump:main", 9));
        let list = alarms.list();
        let first = list.first().map(|a| (a.kind, a.since));
        assert_eq!(first, Some((AlarmKind::ActuatorUnsafe, TimeMs(5))));
        assert_eq!(alarms.worst(), Some(Severity::Critical));
        assert!(alarms.clear(AlarmKind::ActuatorUnsafe, "actuator:pump:main"));
        assert!(!alarms.clear(AlarmKind::ActuatorUnsafe, "actuator:pump:main"));
        assert_eq!(alarms.worst(), Some(Severity::Warning));
    }

    #[test]
    fn what_people_are_only_to_know_of_says_nothing_of_the_node() {
        let alarms = Alarms::default();
        for kind in [
            AlarmKind::AlertCritical,
            AlarmKind::PeerLost,
            AlarmKind::EstopLatched,
        ] {
            alarms.raise(kind, "x", "", "", TimeMs(1));
        }
        assert_eq!((alarms.worst(), alarms.list().len()), (None, 3));
        assert!(
            AlarmKind::ALL
                .iter()
                .all(|k| AlarmKind::of_code(k.as_str()) == Some(*k))
        );
    }

    #[test]
    fn subjects_that_peers_choose_do_not_grow_the_list_without_end() {
        let alarms = Alarms::default();
        for n in 0..10_000 {
            alarms.raise(AlarmKind::PeerClock, &n.to_string(), "", "", TimeMs(n));
        }
        assert_eq!(alarms.count(AlarmKind::PeerClock), ALARM_SUBJECTS_MAX);
        assert!(alarms.stands(AlarmKind::PeerClock, AND_MORE));
        assert!(alarms.clear(AlarmKind::PeerClock, "3"));
        assert!(!alarms.stands(AlarmKind::PeerClock, AND_MORE));
        assert!(alarms.raise(AlarmKind::StoreFull, "", "", "", TimeMs(1)));
    }

    #[test]
    fn each_of_this_nodes_own_actuators_is_told() {
        let alarms = Alarms::default();
        for n in 0..200 {
            let target = format!("actuator:valve:{n}");
            assert!(alarms.raise(AlarmKind::ActuatorUnsafe, &target, "", "", TimeMs(n)));
        }
        assert_eq!(alarms.count(AlarmKind::ActuatorUnsafe), 200);
        assert!(!alarms.stands(AlarmKind::ActuatorUnsafe, AND_MORE));
    }
}
