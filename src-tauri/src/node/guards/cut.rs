//! Why an actuator is brought to its safe state before its time.

use std::fmt;

use crate::domain::base::DeviceId;

/// Why an actuator is brought to its safe state before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// A person or a device stopped it.
    Stopped {
        /// Who.
        by: String,
    },
    /// The emergency stop.
    EmergencyStop,
    /// A condition of its policy no longer holds.
    Interlock {
        /// Which one, in a sentence.
        what: String,
    },
    /// Who approved or asked for it may not any more.
    Withdrawn {
        /// Who, and why, in a sentence.
        why: String,
    },
    /// The device was lost.
    Lost {
        /// How, in a sentence.
        what: String,
    },
    /// The node may not operate any more: what it stands on is gone, or runs twice.
    MayNotOperate {
        /// Why, in a sentence.
        why: String,
    },
    /// The sequence of which it is a step has come to an end.
    Sequence {
        /// Why, in a sentence.
        what: String,
    },
    /// The gen-1 node that acts is trusted no longer.
    Untrusted {
        /// The gen-1 node.
        device: DeviceId,
    },
    /// Its device was changed in the configuration, and its guard is a new one.
    Refitted,
    /// The node ends.
    Shutdown,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Stopped { by } => write!(f, "{by} stopped it"),
            Cut::EmergencyStop => f.write_str("the emergency stop"),
            Cut::Interlock { what } => write!(f, "an interlock opened: {what}"),
            Cut::Withdrawn { why } => write!(f, "what it stood on was withdrawn: {why}"),
            Cut::Lost { what } => f.write_str(what),
            Cut::Sequence { what } => write!(f, "its sequence ended: {what}"),
            Cut::MayNotOperate { why } => write!(f, "the node may not operate: {why}"),
            Cut::Untrusted { device } => {
                write!(f, "the gen-1 node {} is trusted no longer", device.short())
            }
            Cut::Refitted => f.write_str("a change of its device in the configuration"),
            Cut::Shutdown => f.write_str("the node was shut down"),
        }
    }
}
