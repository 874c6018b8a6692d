//! The words every other room shares: ids, time, tiers, limits, canonical JSON, refusals.

pub mod alike;
pub mod audit_kind;
pub mod canonical;
pub mod duration;
pub mod ids;
pub mod limits;
pub mod number;
pub mod quantity;
pub mod refusal;
pub mod severity;
pub mod text;
pub mod tier;
pub mod time;
pub mod zone;

pub use audit_kind::AuditKind;
pub use canonical::{CanonicalError, Digest};
pub use ids::{DeviceId, DraftId, FrameId, MeshId, OperatorId, ProposalId};
pub use refusal::{Code, Refusal};
pub use severity::Severity;
pub use tier::{EvidenceSource, SignatureState, Taint, Tier, TierName};
pub use time::{Hlc, TimeMs};
