//! What the models of a node can do for its planner, derived from how each of them stands; nothing of it is stored.
//! Whatever the mode, the planner of rules works, and no mode permits anything.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::base::TimeMs;
use super::ModelRef;

/// What the models can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A model may be asked.
    Active,
    /// Every model is out for a reason that passes: the rules answer, and the models are tried by themselves.
    Observing,
    /// Every model is out until a person mends something, or a budget begins anew: the rules answer.
    Suspended,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mode::Active => "active",
            Mode::Observing => "observing",
            Mode::Suspended => "suspended",
        })
    }
}

/// Why a model cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OutFor {
    /// Its server does not take the key, wants one, or does not let it use the model.
    Key,
    /// Its budget for the day is used up.
    Budget,
    /// It failed and is left alone for a while.
    Failing,
    /// It is a model of another device, and none that offers it is connected.
    Away,
}

impl OutFor {
    /// Whether a person has to mend it.
    fn wants_person(self) -> bool {
        matches!(self, Self::Key | Self::Budget)
    }
}

/// A model that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Out {
    /// Which.
    #[cfg_attr(test, schema(value_type = String))]
    pub model: ModelRef,
    /// Why, as a word.
    pub reason: OutFor,
    /// Why, in a sentence.
    pub why: String,
    /// When it is tried again by itself, in milliseconds since 1970; absent where only a person changes that.
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    pub until: Option<TimeMs>,
}

/// How the models of a node stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What they can do.
    pub mode: Mode,
    /// Those that cannot be asked, in their order.
    pub out: Vec<Out>,
    /// When the first of them is tried again by itself, where none can be asked.
    pub until: Option<TimeMs>,
}

impl Standing {
    /// How `models` models stand of which these cannot be asked.
    pub fn of(models: usize, out: Vec<Out>) -> Self {
        let mode = match out.len() < models || models == 0 {
            true => Mode::Active,
            false if out.iter().all(|o| o.reason.wants_person()) => Mode::Suspended,
            false => Mode::Observing,
        };
        let until = match mode {
            Mode::Active => None,
            _ => out.iter().filter_map(|o| o.until).min(),
        };
        Self { mode, out, until }
    }

    /// Why no model can be asked, in a sentence.
    pub fn why(&self) -> String {
        let each = self.out.iter().map(|o| format!("{}: {}", o.model, o.why));
        each.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn out(reason: OutFor, until: Option<u64>) -> Out {
        Out {
            model: "a/b".parse().unwrap(),
            reason,
            why: "it is so".to_owned(),
            until: until.map(TimeMs),
        }
    }

    #[test]
    fn one_model_that_can_be_asked_is_enough() {
        assert_eq!(Standing::of(0, Vec::new()).mode, Mode::Active);
        let one = Standing::of(2, vec![out(OutFor::Key, None)]);
        assert_eq!((one.mode, one.until), (Mode::Active, None));
    }

    #[test]
    fn what_passes_is_waited_for_and_what_a_person_mends_is_not() {
        let key = || out(OutFor::Key, None);
        let all = Standing::of(2, vec![key(), out(OutFor::Budget, Some(9))]);
        assert_eq!((all.mode, all.until), (Mode::Suspended, Some(TimeMs(9))));
        for passes in [OutFor::Failing, OutFor::Away] {
            let all = Standing::of(2, vec![key(), out(passes, Some(7))]);
            assert_eq!((all.mode, all.until), (Mode::Observing, Some(TimeMs(7))));
        }
        assert_eq!(Standing::of(1, vec![key()]).why(), "a/b: it is so");
    }
}
