//! What is well and what is not with a node and the machine below it, a line each with what to do. `local` looks without a
//! node, `running` at what one tells, `bundle` writes it all down without secrets. Nothing is mended here.

pub mod bundle;
pub mod local;
pub mod running;
#[cfg(test)]
mod tests;

use serde::Serialize;

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Well.
    Ok,
    /// It works, and may not go on to.
    Warning,
    /// It does not work.
    Fault,
}

impl Grade {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at, as in `disk`.
    pub check: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub message: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

/// Something is well.
pub fn well(check: &'static str, message: impl Into<String>) -> Finding {
    found(check, Grade::Ok, message, "")
}

/// Something works, and may not go on to.
pub fn warning(
    check: &'static str,
    message: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    found(check, Grade::Warning, message, advice)
}

/// Something does not work.
pub fn fault(
    check: &'static str,
    message: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    found(check, Grade::Fault, message, advice)
}

fn found(
    check: &'static str,
    grade: Grade,
    message: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding {
        check,
        grade,
        message: message.into(),
        advice: advice.into(),
    }
}

/// The worst grade of all; well where nothing was found.
pub fn worst(findings: &[Finding]) -> Grade {
    let grades = findings.iter().map(|finding| finding.grade);
    grades.max().unwrap_or(Grade::Ok)
}
