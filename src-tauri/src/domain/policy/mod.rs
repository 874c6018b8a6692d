//! Stub until merged.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
/// Level
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[allow(missing_docs)]
pub enum Level {
    L0,
    L1,
    L2,
    L3,
}
impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
/// Requester
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Requester {
    Rules,
    Person,
    Llm,
}
/// Terms
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Terms {
    pub rule: String,
    pub level: Level,
    pub quorum: u32,
    pub deadline_ms: u64,
    pub run_ms: u64,
    pub safe_state: String,
}
