//! Limits of what gen-1 nodes send us and are sent.

/// Hops after which a frame is not relayed to gen-1 peers (gen-1 §7).
pub const GEN1_RELAY_HOPS_MAX: u32 = 3;
/// The frames of one answer to a gen-1 question, in bytes of their text: it fits into one message.
pub const GEN1_ANSWER_BYTES: usize = 786_432;
/// Most frames `mesh.world.query` returns (gen-1 §10).
pub const GEN1_WORLD_QUERY_MAX: usize = 200;
/// Most frames `context.sync` returns (gen-1 §7).
pub const GEN1_SYNC_MAX: usize = 500;
/// Messages a gen-1 node gets from us in a minute on a link that we dialed; it takes 100.
pub const GEN1_MESSAGES_PER_MINUTE: u32 = 95;
/// Longest question to the planner that is answered, in characters.
pub const GEN1_INTENT_MAX_CHARS: usize = 2_000;
/// Readings that an answer of the planner cites.
pub const INTENT_CITATIONS_MAX: usize = 12;
/// Proposals of other planners that are kept of one device.
pub const GEN1_PROPOSALS_MAX: usize = 50;
/// Devices whose planners' proposals are kept.
pub const GEN1_PLANNERS_MAX: usize = 64;
/// Readings of different keys that wait for a gen-1 node that we dialed.
pub const GEN1_WAITING_KEYS_MAX: usize = 4_096;
/// Other frames that wait for it; it keeps a thousand itself.
pub const GEN1_WAITING_SAID_MAX: usize = 1_000;
/// Pings in a row that a gen-1 node may leave without an answer before its link is given up.
pub const GEN1_PINGS_MISSED_MAX: u32 = 3;
/// Which part of the pause between two pings of our own kind is the pause on a gen-1 link: silence is
/// noticed after four of them at most.
pub const GEN1_PING_PART: u64 = 4;
/// The longest text of a gen-1 node's refusal that is told, and the longest code.
pub const GEN1_REFUSAL_MAX_CHARS: usize = 200;
/// Most chains that `mesh.trace` returns (gen-1 §10).
pub const GEN1_TRACES_MAX: usize = 20;
