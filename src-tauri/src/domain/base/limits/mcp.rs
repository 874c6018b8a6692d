//! Limits of programs that speak MCP with a node.

/// Programs that have a token of their own.
pub const MCP_CLIENTS_MAX: usize = 32;
/// Bytes of the name of one.
pub const MCP_NAME_MAX_BYTES: usize = 32;
/// A message of one, in bytes.
pub const MCP_BODY_MAX_BYTES: usize = 65_536;
/// Messages of one in a minute.
pub const MCP_PER_MINUTE_MAX: u32 = 240;
/// Messages of one that are answered at once.
pub const MCP_AT_ONCE_MAX: usize = 4;
/// Messages of all that are answered at once.
pub const MCP_ALL_AT_ONCE_MAX: usize = 16;
/// Actions that one asks for in an hour.
pub const MCP_PROPOSALS_PER_HOUR_MAX: usize = 30;
/// Proposals of one that wait for people; no more is asked for until some are decided.
pub const MCP_WAITING_MAX: usize = 8;
/// As [`MCP_WAITING_MAX`], of all programs of a node: one may give itself many names.
pub const MCP_ALL_WAITING_MAX: usize = 24;
/// As [`MCP_PROPOSALS_PER_HOUR_MAX`], of all programs of a node.
pub const MCP_ALL_PROPOSALS_PER_HOUR_MAX: usize = 120;
/// Calls of one that are remembered, for people.
pub const MCP_CALLS_KEPT: usize = 32;
/// Entries of a list where a program does not say how many.
pub const MCP_LIST_DEFAULT: usize = 50;
/// Most entries of a list.
pub const MCP_LIST_MAX: usize = 200;
/// Messages that `clawmesh-node mcp` passes on at once.
pub const MCP_STDIO_AT_ONCE_MAX: usize = 4;
