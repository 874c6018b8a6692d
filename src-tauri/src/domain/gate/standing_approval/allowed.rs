//! Parameter values that a standing approval allows.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::domain::base::number::{all_plain, plain};

/// Allowed values of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Allowed {
    /// This value.
    Value {
        /// A number, a text or a boolean.
        is: Value,
    },
    /// A number within bounds, both included.
    Range {
        /// The least.
        min: Number,
        /// The most.
        max: Number,
    },
}

impl Allowed {
    /// Whether a value is allowed.
    pub fn takes(&self, value: &Value) -> bool {
        match self {
            Allowed::Value { is } => all_plain(is.clone()) == all_plain(value.clone()),
            Allowed::Range { min, max } => match (min.as_f64(), value.as_f64(), max.as_f64()) {
                (Some(min), Some(value), Some(max)) => min <= value && value <= max,
                _ => false,
            },
        }
    }

    /// A value that it takes.
    pub(super) fn example(&self) -> Value {
        match self {
            Allowed::Value { is } => is.clone(),
            Allowed::Range { min, .. } => Value::Number(min.clone()),
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        match self {
            Allowed::Value { .. } => true,
            Allowed::Range { min, max } => min.as_f64() <= max.as_f64() && min.as_f64().is_some(),
        }
    }

    /// As people read it: `600`, or `60 to 600`.
    pub fn shown(&self) -> String {
        let number = |n: &Number| plain(n.clone()).to_string();
        match self {
            Allowed::Value { is } => match all_plain(is.clone()) {
                Value::String(text) => text,
                other => other.to_string(),
            },
            Allowed::Range { min, max } => format!("{} to {}", number(min), number(max)),
        }
    }
}
