//! Approval levels and kinds of askers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who must agree before an action (DESIGN §8), ordered from least to most.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
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
