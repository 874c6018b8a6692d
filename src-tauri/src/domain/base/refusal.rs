//! Default deny with one voice: a refusal carries a stable code and a sentence for people.

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($($name:ident = $text:literal, $meaning:literal;)*) => {
        /// A stable code that programs act on. The gen-1 codes keep their gen-1 meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(test, derive(utoipa::ToSchema))]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $text)] $name),*
        }

        impl Code {
            /// Every code there is, for documentation and metrics.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }

            /// Its meaning, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning),* }
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
    InvalidJson = "INVALID_JSON", "A message is not JSON, or has a key twice.";
    InvalidType = "INVALID_TYPE", "A message is no request, answer or event.";
    InvalidParams = "INVALID_PARAMS", "A request has parameters that are missing, unknown or out of range.";
    UnknownMethod = "UNKNOWN_METHOD", "There is no such method or path.";
    InternalError = "INTERNAL_ERROR", "A fault of the node itself; its log has the details.";
    TooLarge = "TOO_LARGE", "A message or request is larger than allowed.";
    DataTooLarge = "DATA_TOO_LARGE", "The data of a frame is larger than allowed.";
    AuthNonceRequired = "AUTH_NONCE_REQUIRED", "A connection was asked for without the nonce that was given.";
    AuthNonceInvalid = "AUTH_NONCE_INVALID", "The nonce is not the one that was given, or is too old.";
    UntrustedPeer = "UNTRUSTED_PEER", "The device is not trusted here.";
    PublicKeyMismatch = "PUBLIC_KEY_MISMATCH", "The public key is not that of the device id or of the trust record.";
    AuthFailed = "AUTH_FAILED", "The signature of the handshake does not hold.";
    TlsRequired = "TLS_REQUIRED", "A node of our own kind came over a network without TLS bound to its key.";
    MeshIdMismatch = "MESH_ID_MISMATCH", "The device belongs to another mesh.";
    NotAuthorized = "NOT_AUTHORIZED", "The grant or scope for this is missing.";
    Timeout = "TIMEOUT", "No answer came in time.";
    Busy = "BUSY", "Too much waits already; ask again later.";
    PlannerPaused = "PLANNER_PAUSED", "A person has paused the planner: it asks for nothing, and takes no wish for others.";
    OverBudget = "OVER_BUDGET", "A device has used up its share of what it may make this node keep.";
    // Frames.
    InvalidFrame = "INVALID_FRAME", "A context frame does not have the form of one.";
    FrameSignatureInvalid = "FRAME_SIGNATURE_INVALID", "The signature of a context frame does not hold.";
    FrameConflict = "FRAME_CONFLICT", "Another frame with the same id and other content is known.";
    FrameBehind = "FRAME_BEHIND", "A frame is older than what this node keeps, and was dropped.";
    // The gen-1 gate (gen-1 §8).
    LoopDetected = "LOOP_DETECTED", "A command came back to where it had been.";
    InvalidCommandEnvelope = "INVALID_COMMAND_ENVELOPE", "A command does not have the form of one.";
    TrustEnvelopeMismatch = "TRUST_ENVELOPE_MISMATCH", "The two copies of a command's trust block differ.";
    ActuationDeclarationRequired = "ACTUATION_DECLARATION_REQUIRED", "A command for an actuator does not say that it moves something.";
    InvalidTrustPolicy = "INVALID_TRUST_POLICY", "The trust block asks for something that no policy has.";
    TrustMetadataRequired = "TRUST_METADATA_REQUIRED", "A command for an actuator has no trust block.";
    LlmOnlyActuationBlocked = "LLM_ONLY_ACTUATION_BLOCKED", "The evidence comes from a language model alone.";
    InsufficientTrustTier = "INSUFFICIENT_TRUST_TIER", "The evidence is not of the tier that is needed.";
    VerificationRequired = "VERIFICATION_REQUIRED", "The verification that the policy asks for is missing.";
    DeliveryFailed = "DELIVERY_FAILED", "The device or service that was meant cannot be reached.";
    // Models of other devices (gen-1 §10).
    LlmBusy = "LLM_BUSY", "As many requests to models are answered as may be at once.";
    LlmModelUnavailable = "LLM_MODEL_UNAVAILABLE", "The model is not offered to other devices, or cannot answer.";
    LlmTimeout = "LLM_TIMEOUT", "The model did not answer in time.";
    LlmBackpressure = "LLM_BACKPRESSURE", "The reply was not taken as fast as it came, and was ended.";
    LlmCancelled = "LLM_CANCELLED", "There is no such request under way any more.";
    // Ours: commands and drafts.
    ApprovalRequired = "APPROVAL_REQUIRED", "All gen-1 checks passed; a person must approve the proposal named in the answer.";
    CommandReplayed = "COMMAND_REPLAYED", "This command was here before.";
    CommandExpired = "COMMAND_EXPIRED", "The command is too old.";
    UnknownTarget = "UNKNOWN_TARGET", "Nobody offers this capability or operation.";
    TargetAmbiguous = "TARGET_AMBIGUOUS", "Several executors offer the target, and nothing says which is meant.";
    EvidenceAmbiguous = "EVIDENCE_AMBIGUOUS", "Several devices use the id of a cited frame, and nothing says whose is meant.";
    PolicyDenied = "POLICY_DENIED", "The executor's policy forbids it.";
    PolicyInvalid = "POLICY_INVALID", "The executor's policy has an error, so that it allows nothing.";
    ExecutorUnreachable = "EXECUTOR_UNREACHABLE", "The executor is not connected.";
    // Ours: proposals and approvals.
    ProposalNotFound = "PROPOSAL_NOT_FOUND", "There is no such proposal.";
    ProposalAmbiguous = "PROPOSAL_AMBIGUOUS", "Several proposals have an id that begins like this.";
    ProposalNotWaiting = "PROPOSAL_NOT_WAITING", "The proposal is decided, ended or executing already.";
    ProposalExpired = "PROPOSAL_EXPIRED", "The time to decide is over.";
    WrongExecutor = "WRONG_EXECUTOR", "Another executor minted the proposal.";
    WrongMesh = "WRONG_MESH", "The decision was signed for another mesh.";
    DigestMismatch = "DIGEST_MISMATCH", "What was signed is not what the executor holds.";
    ApprovalInvalid = "APPROVAL_INVALID", "The signature of a decision does not hold, or its time is out of range.";
    DecisionUsed = "DECISION_USED", "This very decision was here before and was refused; it never acts later.";
    OperatorUnknown = "OPERATOR_UNKNOWN", "The operator is not enrolled here.";
    OperatorRevoked = "OPERATOR_REVOKED", "The operator's key is revoked.";
    OperatorExpired = "OPERATOR_EXPIRED", "The operator's record is over.";
    OperatorLevelTooLow = "OPERATOR_LEVEL_TOO_LOW", "The operator may not decide at this level.";
    IssuerNotAccepted = "ISSUER_NOT_ACCEPTED", "The device that vouches for an operator has not been accepted at this executor.";
    SelfVouched = "SELF_VOUCHED", "The device that asked for an action alone vouches for the person who approves it.";
    InterlockOpen = "INTERLOCK_OPEN", "An interlock forbids the action now.";
    EvidenceStale = "EVIDENCE_STALE", "The evidence is older than the policy allows.";
    EvidenceMissing = "EVIDENCE_MISSING", "A cited frame is not known here.";
    RateExceeded = "RATE_EXCEEDED", "It was asked for more often than allowed.";
    ActuatorBusy = "ACTUATOR_BUSY", "The actuator executes something else.";
    ActuatorUnsafe = "ACTUATOR_UNSAFE", "The actuator is not confirmed to be in its safe state; nothing starts on it.";
    DriverFailed = "DRIVER_FAILED", "The actuator's driver reported an error.";
    ClockUntrusted = "CLOCK_UNTRUSTED", "The clock is behind a time that this node has recorded; it does not operate.";
    StateInDoubt = "STATE_IN_DOUBT", "This node's state may be older than what it has done, or runs twice.";
    // Ours: pairing.
    PairingOutOfOrder = "PAIRING_OUT_OF_ORDER", "A message of a pairing came twice, late or before its turn.";
    PairingRejected = "PAIRING_REJECTED", "A person said no, or took the pairing back.";
    Estop = "ESTOP", "The emergency stop is engaged at this executor.";
    // Ours: the node and its door.
    StorageFailed = "STORAGE_FAILED", "The store could not be read or written.";
    StorageFull = "STORAGE_FULL", "The store has reached its limit.";
    NotFound = "NOT_FOUND", "There is no such thing.";
    Conflict = "CONFLICT", "It contradicts what is there.";
    Unauthenticated = "UNAUTHENTICATED", "A token or session is missing, wrong or over.";
    PassphraseWrong = "PASSPHRASE_WRONG", "The passphrase does not open the key.";
    KeyUnprotected = "KEY_UNPROTECTED", "The operator's key has no passphrase and cannot be used here.";
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
    /// The code for programs.
    pub code: Code,
    /// The text for people: one sentence, safe to show, without secrets.
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
