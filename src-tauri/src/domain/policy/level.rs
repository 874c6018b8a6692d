//! Approval levels and kinds of askers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who must agree before an action (DESIGN §8), ordered from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub enum Level {
    /// Read-only; never moves anything.
    L0,
    /// Automatic, for untainted rules whose condition the executor itself evaluates.
    L1,
    /// One operator.
    L2,
    /// Two distinct operators, or one and presence at the node.
    L3,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::L0 => "L0",
            Level::L1 => "L1",
            Level::L2 => "L2",
            Level::L3 => "L3",
        })
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Level::L0, Level::L1, Level::L2, Level::L3]
            .into_iter()
            .find(|l| l.to_string() == text)
            .ok_or_else(|| format!("unknown level {text:?}; use L0, L1, L2 or L3"))
    }
}

/// What kind of asker a draft comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Requester {
    /// A rule of the embedded planner.
    Rules,
    /// A person.
    Person,
    /// A model, or anybody who cannot prove to be one of the others.
    Llm,
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Requester::Rules => "rules",
            Requester::Person => "person",
            Requester::Llm => "llm",
        })
    }
}

impl FromStr for Requester {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Requester::Rules, Requester::Person, Requester::Llm]
            .into_iter()
            .find(|r| r.to_string() == text)
            .ok_or_else(|| format!("unknown requester {text:?}; use rules, person or llm"))
    }
}

/// How an asker stands at the executor, from the least entitled to the most. A device's claims
/// prove nothing: the executor knows its own planner, and the policy names devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A model, or something derived from one.
    Model,
    /// Says that it is a rule of a device which the policy does not name.
    PeerRules,
    /// Says that it is a person at another device.
    PeerPerson,
    /// A rule of a device which the policy names.
    NamedRules,
    /// A rule of this executor's own planner.
    OwnRules,
    /// A person at this executor.
    Person,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 6] = [
        Class::Model,
        Class::PeerRules,
        Class::PeerPerson,
        Class::NamedRules,
        Class::OwnRules,
        Class::Person,
    ];

    /// The name as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Model => "model",
            Class::PeerRules => "peer-rules",
            Class::NamedRules => "named-rules",
            Class::OwnRules => "own-rules",
            Class::PeerPerson => "peer-person",
            Class::Person => "person",
        }
    }

    /// Whether it is no more than what a device says of itself.
    pub fn is_claimed(self) -> bool {
        matches!(self, Class::Model | Class::PeerRules | Class::PeerPerson)
    }

    /// Whether L1 may act without a person for this asker.
    pub fn is_automatic(self) -> bool {
        matches!(self, Class::NamedRules | Class::OwnRules)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Model => "a model's wish",
            Class::PeerRules => "a rule of a device that this rule does not name in `from`",
            Class::NamedRules => "a rule of a device that this rule names",
            Class::OwnRules => "a rule of this executor",
            Class::PeerPerson => "a wish that a device says is a person's",
            Class::Person => "a wish of a person at this executor",
        })
    }
}
