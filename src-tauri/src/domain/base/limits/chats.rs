//! Times by which the nodes that run the same bot decide which of them answers.

/// How often a node tells the others how it stands with its bot, in milliseconds.
pub const ANSWERING_EVERY_MS: u64 = 2_000;
/// How long what another node told of its bot counts, in milliseconds. Longer than [`ANSWERING_HELD_MS`].
pub const ANSWERING_HEARD_MS: u64 = 15_000;
/// How long a node answers without having looked whether it still may, in milliseconds: one that stood still for longer has
/// lost the bot before another can have taken it.
pub const ANSWERING_HELD_MS: u64 = 10_000;
/// How long a node listens before it begins, in milliseconds.
pub const ANSWERING_SETTLE_MS: u64 = 5_000;
/// How long a node looks at a bot's server for another that polls, before it answers, in milliseconds. A holder that is not
/// heard by the others lets none of its requests take half of this.
pub const ANSWERING_LOOK_MS: u64 = 12_000;
/// How long one look asks a bot's server to wait, and a holder that does not hear the others, in milliseconds.
pub const ANSWERING_SHORT_POLL_MS: u64 = 3_000;
/// Longest a request of a holder that does not hear the others may take, and longest without the server for one that knows
/// of others, in milliseconds.
pub const ANSWERING_CONTACT_MS: u64 = 5_000;
/// How long a node that goes first may take to begin before the next does, in milliseconds.
pub const ANSWERING_PATIENCE_MS: u64 = 30_000;
/// How long a bot that somebody else polls is left alone before it is looked at again, in milliseconds.
pub const ANSWERING_REST_MS: u64 = 30_000;
/// How long a node that answers may be told by the server that another polls, before it gives way, in milliseconds.
pub const ANSWERING_CONFLICT_MS: u64 = 60_000;
/// How long after a node began to say that it answers the others look whether it does, in milliseconds.
pub const ANSWERING_FIRST_CHECK_MS: u64 = 20_000;
/// How often they look again, in milliseconds.
pub const ANSWERING_CHECK_MS: u64 = 300_000;
/// How long a node is not believed that said so and did not, in milliseconds.
pub const ANSWERING_DOUBT_MS: u64 = 3_600_000;
/// How often a node gives way to one that wants the bot for an enrolment, in milliseconds.
pub const ANSWERING_GIVE_EVERY_MS: u64 = 900_000;
/// Emergency stops of a bot's chats that are known not to be carried out again.
pub const CHAT_STOPS_KEPT: usize = 64;
/// How long an emergency stop of a chat is not carried out again, in milliseconds. A bot's server keeps an update for a day, and
/// numbers a bot anew after a quiet week.
pub const CHAT_STOPS_MS: u64 = 2 * 86_400_000;
/// Records that bots remember over a restart.
pub const CHAT_MEMORY_MAX: usize = 2_048;
/// How long a bot remembers where it told of a proposal, in milliseconds.
pub const CHAT_TOLD_MS: u64 = 7 * 86_400_000;
/// Nodes that run the same bot.
pub const ANSWERING_NODES_MAX: usize = 32;
/// An envelope over a Slack app's connection, in bytes.
pub const SLACK_ENVELOPE_MAX_BYTES: usize = 2 * 1_048_576;
/// How long a Slack app's connection may be silent before it is asked whether it stands, in milliseconds.
pub const SLACK_PING_MS: u64 = 20_000;
/// How long it may be silent before it is taken for broken, in milliseconds.
pub const SLACK_SILENT_MS: u64 = 40_000;
/// How long a connection that is replaced may take to end, in milliseconds.
pub const SLACK_GOODBYE_MS: u64 = 1_000;
/// How soon a connection is replaced to count anew where others were counted, at first and at most, in milliseconds.
pub const SLACK_RECOUNT_MS: u64 = 20_000;
/// See [`SLACK_RECOUNT_MS`].
pub const SLACK_RECOUNT_MAX_MS: u64 = 300_000;
/// Envelopes that carry the same update, as it comes again.
pub const SLACK_COPIES_MAX: usize = 8;
/// Texts that are read from a Slack app's connection before what is there is answered.
pub const SLACK_READ_MAX: usize = 256;
/// Rows of buttons under a Slack message, and buttons in one.
pub const SLACK_ROWS_MAX: usize = 10;
/// See [`SLACK_ROWS_MAX`].
pub const SLACK_ROW_MAX: usize = 25;
