//! Limits of gateways of AI assistants.

/// Gateways of a node.
pub const GATEWAYS_MAX: usize = 16;
/// Characters of the name of one.
pub const GATEWAY_NAME_MAX_CHARS: usize = 64;
/// Bytes of the id of one, which its credentials are named after.
pub const GATEWAY_ID_MAX_BYTES: usize = 32;
/// Bytes of the address of one.
pub const GATEWAY_URL_MAX_BYTES: usize = 300;
/// Largest message of one, in bytes; a longer one ends the connection.
pub const GATEWAY_MESSAGE_MAX_BYTES: usize = 4_194_304;
/// Largest message of one that has not let this node in yet, in bytes.
pub const GATEWAY_FIRST_MAX_BYTES: usize = 65_536;
/// A question to one, in bytes.
pub const GATEWAY_ASK_MAX_BYTES: usize = 65_536;
/// An answer of one, in bytes; a longer one is an error.
pub const GATEWAY_ANSWER_MAX_BYTES: usize = 262_144;
/// Bytes of the name of an agent, a conversation or a question.
pub const GATEWAY_WORD_MAX_BYTES: usize = 128;
/// Questions to one that are answered at once; further ones are not sent.
pub const GATEWAY_RUNS_MAX: usize = 32;
/// Questions to one that wait to be sent.
pub const GATEWAY_QUEUE_MAX: usize = 32;
/// Agents of one that are listed.
pub const GATEWAY_AGENTS_MAX: usize = 64;
/// Words of one about an error that are repeated, in characters.
pub const GATEWAY_WORDS_MAX_CHARS: usize = 300;
/// How long a connection to one may take, in milliseconds.
pub const GATEWAY_CONNECT_MS: u64 = 10_000;
/// How long one may take for an answer that needs no agent, in milliseconds.
pub const GATEWAY_ANSWER_MS: u64 = 20_000;
/// How long one may take to take a message, in milliseconds.
pub const GATEWAY_SEND_MS: u64 = 10_000;
/// The longest that an answer is waited for, in milliseconds.
pub const GATEWAY_WAIT_MAX_MS: u64 = 24 * 3_600_000;
/// How often agents and sessions are asked for, in milliseconds.
pub const GATEWAY_LOOK_MS: u64 = 30_000;
/// How long after it was asked a gateway surely knows the key of a question, in milliseconds: OpenClaw 2026.9.6 keeps it for
/// 300 s after the end of its run.
pub const GATEWAY_KEY_KEPT_MS: u64 = 240_000;
/// The first pause before one that was lost is tried again, in milliseconds; each further one is twice as long.
pub const GATEWAY_AGAIN_MS: u64 = 250;
/// The longest pause before one on this machine is tried again, in milliseconds.
pub const GATEWAY_AGAIN_HERE_MAX_MS: u64 = 1_500;
/// The longest pause before one elsewhere is tried again, in milliseconds.
pub const GATEWAY_AGAIN_MAX_MS: u64 = 30_000;
/// The pause before one is tried again that waits for a person, in milliseconds.
pub const GATEWAY_PERSON_MS: u64 = 3_000;
/// The pause before one is tried again that has refused this node, in milliseconds.
pub const GATEWAY_REFUSED_MS: u64 = 30_000;
/// How long one may be lost before an alarm tells, in milliseconds.
pub const GATEWAY_LOST_MS: u64 = 60_000;
/// A configuration of a gateway's program that is read for its address, in bytes.
pub const GATEWAY_FILE_MAX_BYTES: u64 = 1_048_576;

/// Agents of claw-mesh that are known at once.
pub const JOINED_MAX: usize = 256;
/// Bytes of the body of a request to the coordinator of claw-mesh.
pub const COORDINATOR_BODY_MAX_BYTES: usize = 1_048_576;
/// Bytes of the name of such an agent, and of each word of what it says that it can do.
pub const JOINED_WORD_MAX_BYTES: usize = 128;
/// Tags, and skills, of one.
pub const JOINED_WORDS_MAX: usize = 64;
/// Bytes of the answer of one, as JSON.
pub const JOINED_ANSWER_MAX_BYTES: usize = 1_048_576;
/// Messages that one works on at once.
pub const JOINED_RUNS_MAX: u32 = 16;
/// How long a connection to one may take, in milliseconds.
pub const JOINED_CONNECT_MS: u64 = 3_000;
/// How long it may take to say that it is well, in milliseconds.
pub const JOINED_PROBE_MS: u64 = 3_000;
/// How often each is looked at, in milliseconds.
pub const JOINED_LOOK_MS: u64 = 2_000;
/// For how long one may be silent before it counts as offline, in milliseconds.
pub const JOINED_SILENT_MS: u64 = 30_000;
/// How long a message to one may take, in milliseconds.
pub const JOINED_MESSAGE_MS: u64 = 180_000;
/// Messages through the coordinator whose sender waits at once.
pub const COORDINATOR_WAITING_MAX: usize = 64;
