//! Limits of messages to agents and of the rules that route them.

/// The text of a message, in bytes.
pub const MESSAGE_TEXT_MAX_BYTES: usize = 65_536;
/// The answer to a message, in bytes; a longer one is cut, and says so.
pub const MESSAGE_ANSWER_MAX_BYTES: usize = 1_048_576;
/// How much of an answer is fetched from another node at once, in bytes.
pub const MESSAGE_SLICE_MAX_BYTES: usize = 65_536;
/// How long a message may take where nobody says, in milliseconds.
pub const MESSAGE_TIMEOUT_MS: u64 = 600_000;
/// How long a message may take at most, in milliseconds: a day.
pub const MESSAGE_TIMEOUT_MAX_MS: u64 = 86_400_000;
/// Messages that are not over.
pub const MESSAGES_OPEN_MAX: usize = 10_000;
/// Messages that are kept after they are over; the oldest go first.
pub const MESSAGES_KEPT_MAX: usize = 20_000;
/// Messages of this node that are under way at once.
pub const MESSAGES_AT_ONCE: usize = 32;
/// Messages in one page of a list.
pub const MESSAGES_PAGE_MAX: usize = 200;
/// Attempts that are kept of one message.
pub const MESSAGE_ATTEMPTS_MAX: usize = 32;
/// Runs of messages of one other device at once.
pub const RUNS_OF_DEVICE_MAX: usize = 8;
/// Runs of messages at once.
pub const RUNS_AT_ONCE: usize = 32;
/// Messages that one other device may have run in an hour.
pub const RUNS_OF_DEVICE_PER_HOUR: usize = 1_000;
/// How long the outcome of a run is kept for who asked, in milliseconds.
pub const RUN_KEPT_MS: u64 = 2 * 86_400_000;
/// Pieces of an answer that wait to be taken.
pub const RUN_PIECES_WAITING_MAX: usize = 64;
/// Runs that are kept.
pub const RUNS_KEPT_MAX: usize = 20_000;
/// How often a node asks another what became of a message, in milliseconds, at first and later.
pub const MESSAGE_POLL_MS: (u64, u64) = (20, 500);
/// After how long without a word the node of a message counts as silent, in milliseconds.
pub const MESSAGE_SILENT_MS: u64 = 4_000;
/// How long a message waits in the queue before it looks for a node again, in milliseconds.
pub const MESSAGE_WAIT_MS: u64 = 1_000;
/// How often a node tells others how much it has under way, in milliseconds, where nothing changes.
pub const MESSAGE_OFFER_EVERY_MS: u64 = 10_000;
/// How often a node takes such word of another, in a minute.
pub const MESSAGE_OFFERS_PER_MINUTE: u32 = 240;
/// Agents that one node answers with.
pub const AGENTS_OF_NODE_MAX: usize = 64;

/// Graphics processors that a node tells of.
pub const PROFILE_GPUS_MAX: usize = 16;
/// Skills that a node tells of.
pub const PROFILE_SKILLS_MAX: usize = 128;
/// Tags of a node.
pub const TAGS_MAX: usize = 32;
/// A tag, in bytes.
pub const TAG_MAX_BYTES: usize = 32;
/// How often a node looks at what its machine can do, in milliseconds.
pub const PROFILE_LOOK_MS: u64 = 30_000;
/// Groups of nodes.
pub const GROUPS_MAX: usize = 64;

/// The text of the routing rules, in bytes.
pub const ROUTES_MAX_BYTES: usize = 262_144;
/// Rules.
pub const ROUTE_RULES_MAX: usize = 256;
/// Tests that the rules carry.
pub const ROUTE_TESTS_MAX: usize = 512;
/// Entries of one list of a rule.
pub const ROUTE_LIST_MAX: usize = 64;
/// A regular expression of a rule, in bytes.
pub const ROUTE_PATTERN_MAX_BYTES: usize = 256;
/// The same once it is compiled, in bytes: it bounds how long it takes to look for it.
pub const ROUTE_PATTERN_COMPILED_MAX_BYTES: usize = 8_192;
/// Regular expressions in all rules.
pub const ROUTE_PATTERNS_MAX: usize = 64;
/// How far into a message a regular expression looks, in bytes.
pub const ROUTE_PATTERN_TEXT_MAX_BYTES: usize = 4_096;
/// The longest time between two looks for a node where none is there, in milliseconds; one that comes is noticed at once.
pub const MESSAGE_ALONE_WAIT_MAX_MS: u64 = 300_000;
