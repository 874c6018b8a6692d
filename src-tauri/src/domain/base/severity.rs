//! How much an event or an alarm matters.

use serde::{Deserialize, Serialize};

/// How much an event or an alarm matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing needs to be done.
    Info,
    /// The node works; a person should look.
    Warning,
    /// A promise of the node does not hold until this is mended, or an action did not end as asked.
    Critical,
}

impl Severity {
    /// The severity as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// The severity that a stored event has; a text that is none of them counts as a warning.
    pub fn of_stored(text: &str) -> Self {
        match text {
            "info" => Severity::Info,
            "critical" => Severity::Critical,
            _ => Severity::Warning,
        }
    }
}
