//! Limits of lines of a board.

/// Highest number of a line of a GPIO chip.
pub const GPIO_LINE_MAX: u32 = 1_023;
/// Longest time in which a line may bounce, in milliseconds.
pub const GPIO_DEBOUNCE_MAX_MS: u64 = 1_000;
/// How long a line may take to be set or read, in milliseconds; behind some chips is a slow bus.
pub const GPIO_LIMIT_MS: u64 = 2_000;
/// Most edges that are taken from the kernel at one look; the next look takes the rest.
pub const GPIO_EDGES_MAX: usize = 1_024;
/// How often a line that was switched is asked whether it is still there, in milliseconds.
pub const GPIO_LOST_LOOK_MS: u64 = 1_000;
