//! Limits of Modbus devices.

/// The port of Modbus TCP.
pub const MODBUS_PORT: u16 = 502;
/// Most registers that one request may read (the standard).
pub const MODBUS_REGISTERS_MAX: u16 = 125;
/// Most bits that one request may read (the standard).
pub const MODBUS_COILS_MAX: u16 = 2_000;
/// Most bytes that follow the length of a request or an answer, unit included (the standard).
pub const MODBUS_LENGTH_MAX: usize = 254;
/// How long it is waited for what addresses a name stands for, in milliseconds.
pub const MODBUS_NAME_MS: u64 = 1_000;
/// Most of the addresses that a name stands for that are tried, one after the other.
pub const MODBUS_ADDRESSES_TRIED_MAX: usize = 2;
/// How long one answer may take where nothing is said, in milliseconds, and what may be said.
pub const MODBUS_LIMIT_MS: u64 = 1_000;
/// See [`MODBUS_LIMIT_MS`].
pub const MODBUS_LIMIT_MIN_MS: u64 = 50;
/// See [`MODBUS_LIMIT_MS`].
pub const MODBUS_LIMIT_MAX_MS: u64 = 5_000;
/// Most requests that wait for their turn, of each urgency; readings do not count.
pub const MODBUS_WAITING_MAX: usize = 64;
/// The pause before a connection that was lost is made again, at first and at most, in milliseconds.
pub const MODBUS_PAUSE_FIRST_MS: u64 = 200;
/// See [`MODBUS_PAUSE_FIRST_MS`].
pub const MODBUS_PAUSE_MAX_MS: u64 = 5_000;
/// What was read longer ago than this, in milliseconds, is not taken for a reading of now.
pub const MODBUS_FRESH_MS: u64 = 1_000;
/// How long a device's own watchdog is fed before the action is said and after its time is over, in milliseconds.
pub const MODBUS_ARMED_MS: u64 = 10_000;
/// Heartbeats in a row that are not written before the run ends.
pub const MODBUS_BEATS_LOST: u32 = 2;
/// Shortest pause between two heartbeats, in seconds.
pub const MODBUS_BEAT_MIN_SEC: f64 = 0.1;
/// Longest pause between two heartbeats, in seconds.
pub const MODBUS_BEAT_MAX_SEC: f64 = 60.0;
/// How long the feedback of a safe state may take where nothing is said, in milliseconds.
pub const MODBUS_WITHIN_MS: u64 = 2_000;
/// The longest that the feedback of a safe state may take, in milliseconds.
pub const MODBUS_WITHIN_MAX_MS: u64 = 20_000;
/// The pause between two looks at the feedback, in milliseconds.
pub const MODBUS_LOOK_MS: u64 = 100;
/// The pause between two looks at an actuator that is away from its safe state, in milliseconds.
pub const MODBUS_MOVING_LOOK_MS: u64 = 500;
/// How late an answer over a serial line may still come that nobody waits for any more, in milliseconds.
pub const RTU_LATE_MS: u64 = 10_000;
/// Most requests without an answer that are remembered of a unit.
pub const RTU_LATE_MAX: usize = 256;
/// The shortest silence before a request over a serial line, in milliseconds; three and a half characters where that is longer.
pub const RTU_SILENCE_MIN_MS: u64 = 3;
/// The longest that silence is waited for, in milliseconds.
pub const RTU_NOISE_MAX_MS: u64 = 500;
/// Highest number of a unit on a serial line (the standard).
pub const RTU_UNIT_MAX: u8 = 247;
/// Most bytes of a request or an answer over a serial line (the standard).
pub const RTU_FRAME_MAX_BYTES: usize = 256;
