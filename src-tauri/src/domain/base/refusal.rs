//! Default deny with one voice: a refusal carries a stable code and a sentence for people.

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A stable code that programs act on. The gen-1 codes keep their gen-1 meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(test, derive(utoipa::ToSchema))]
        #[allow(missing_docs)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name),*
        }

        impl Code {
            /// Every code there is, for documentation and metrics.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }

            /// The code of a wire text, if we know it.
            pub fn from_wire(text: &str) -> Option<Code> {
                match text { $($text => Some(Code::$name),)* _ => None }
            }
        }
    };
}

codes! {
    // Envelope and handshake (gen-1 §5).
    InvalidJson = "INVALID_JSON",
    InvalidType = "INVALID_TYPE",
    InvalidParams = "INVALID_PARAMS",
    UnknownMethod = "UNKNOWN_METHOD",
    InternalError = "INTERNAL_ERROR",
    TooLarge = "TOO_LARGE",
    DataTooLarge = "DATA_TOO_LARGE",
    AuthNonceRequired = "AUTH_NONCE_REQUIRED",
    AuthNonceInvalid = "AUTH_NONCE_INVALID",
    UntrustedPeer = "UNTRUSTED_PEER",
    PublicKeyMismatch = "PUBLIC_KEY_MISMATCH",
    AuthFailed = "AUTH_FAILED",
    /// A node of our own kind came over a network without TLS bound to its key.
    TlsRequired = "TLS_REQUIRED",
    MeshIdMismatch = "MESH_ID_MISMATCH",
    NotAuthorized = "NOT_AUTHORIZED",
    Timeout = "TIMEOUT",
    Busy = "BUSY",
    /// A device has used up its share of what it may make this node keep.
    OverBudget = "OVER_BUDGET",
    // Frames.
    InvalidFrame = "INVALID_FRAME",
    FrameSignatureInvalid = "FRAME_SIGNATURE_INVALID",
    FrameConflict = "FRAME_CONFLICT",
    /// A frame is older than what this node keeps, and was dropped.
    FrameBehind = "FRAME_BEHIND",
    // The gen-1 gate (gen-1 §8).
    LoopDetected = "LOOP_DETECTED",
    InvalidCommandEnvelope = "INVALID_COMMAND_ENVELOPE",
    TrustEnvelopeMismatch = "TRUST_ENVELOPE_MISMATCH",
    ActuationDeclarationRequired = "ACTUATION_DECLARATION_REQUIRED",
    InvalidTrustPolicy = "INVALID_TRUST_POLICY",
    TrustMetadataRequired = "TRUST_METADATA_REQUIRED",
    LlmOnlyActuationBlocked = "LLM_ONLY_ACTUATION_BLOCKED",
    InsufficientTrustTier = "INSUFFICIENT_TRUST_TIER",
    VerificationRequired = "VERIFICATION_REQUIRED",
    DeliveryFailed = "DELIVERY_FAILED",
    // Ours: commands and drafts.
    /// All gen-1 checks passed; a person must approve the proposal named in the answer.
    ApprovalRequired = "APPROVAL_REQUIRED",
    CommandReplayed = "COMMAND_REPLAYED",
    CommandExpired = "COMMAND_EXPIRED",
    UnknownTarget = "UNKNOWN_TARGET",
    /// Several executors offer the target, and nothing says which is meant.
    TargetAmbiguous = "TARGET_AMBIGUOUS",
    /// Several devices use the id of a cited frame, and nothing says whose is meant.
    EvidenceAmbiguous = "EVIDENCE_AMBIGUOUS",
    PolicyDenied = "POLICY_DENIED",
    PolicyInvalid = "POLICY_INVALID",
    ExecutorUnreachable = "EXECUTOR_UNREACHABLE",
    // Ours: proposals and approvals.
    ProposalNotFound = "PROPOSAL_NOT_FOUND",
    ProposalAmbiguous = "PROPOSAL_AMBIGUOUS",
    ProposalNotWaiting = "PROPOSAL_NOT_WAITING",
    ProposalExpired = "PROPOSAL_EXPIRED",
    WrongExecutor = "WRONG_EXECUTOR",
    WrongMesh = "WRONG_MESH",
    DigestMismatch = "DIGEST_MISMATCH",
    ApprovalInvalid = "APPROVAL_INVALID",
    /// This very decision was here before and was refused; it never acts later.
    DecisionUsed = "DECISION_USED",
    OperatorUnknown = "OPERATOR_UNKNOWN",
    OperatorRevoked = "OPERATOR_REVOKED",
    OperatorExpired = "OPERATOR_EXPIRED",
    OperatorLevelTooLow = "OPERATOR_LEVEL_TOO_LOW",
    /// The device that vouches for an operator has not been accepted at this executor.
    IssuerNotAccepted = "ISSUER_NOT_ACCEPTED",
    /// The device that asked for an action alone vouches for the person who approves it.
    SelfVouched = "SELF_VOUCHED",
    InterlockOpen = "INTERLOCK_OPEN",
    EvidenceStale = "EVIDENCE_STALE",
    EvidenceMissing = "EVIDENCE_MISSING",
    RateExceeded = "RATE_EXCEEDED",
    ActuatorBusy = "ACTUATOR_BUSY",
    /// The actuator is not confirmed to be in its safe state; nothing starts on it.
    ActuatorUnsafe = "ACTUATOR_UNSAFE",
    DriverFailed = "DRIVER_FAILED",
    ClockUntrusted = "CLOCK_UNTRUSTED",
    /// This node's state may be older than what it has done, or runs twice.
    StateInDoubt = "STATE_IN_DOUBT",
    // Ours: pairing.
    /// A message that comes twice, late or before its turn.
    PairingOutOfOrder = "PAIRING_OUT_OF_ORDER",
    /// A person said no, or took the pairing back.
    PairingRejected = "PAIRING_REJECTED",
    /// The emergency stop is latched at this executor.
    Estop = "ESTOP",
    // Ours: the node and its door.
    StorageFailed = "STORAGE_FAILED",
    StorageFull = "STORAGE_FULL",
    NotFound = "NOT_FOUND",
    Conflict = "CONFLICT",
    Unauthenticated = "UNAUTHENTICATED",
    PassphraseWrong = "PASSPHRASE_WRONG",
    KeyUnprotected = "KEY_UNPROTECTED",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A "no" with its reason: what was refused, by which rule, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// What programs act on.
    pub code: Code,
    /// What people read: one sentence, safe to show, without secrets.
    pub message: String,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
