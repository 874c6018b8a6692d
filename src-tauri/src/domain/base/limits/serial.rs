//! Limits of serial lines.

/// Slowest and fastest speed of a serial port, in bits a second.
pub const SERIAL_BAUD_MIN: u32 = 300;
/// See [`SERIAL_BAUD_MIN`].
pub const SERIAL_BAUD_MAX: u32 = 4_000_000;
/// Longest line of text that is read from a serial port, in bytes.
pub const SERIAL_LINE_MAX_BYTES: usize = 4_096;
/// The longest pause within a line, in milliseconds; what came before it belongs to no line.
pub const SERIAL_LINE_PAUSE_MS: u64 = 2_000;
/// How long nothing usable may come where a reading says nothing of it, in milliseconds.
pub const SERIAL_SILENT_MS: u64 = 60_000;
/// How long a sentence is kept to that says a quantity, before another one is believed that says it too, in milliseconds.
pub const SERIAL_SENTENCE_MS: u64 = 5_000;
/// Most columns of a line.
pub const SERIAL_COLUMNS_MAX: usize = 256;
/// The pause before a port that was lost is opened again, at first and at most, in milliseconds.
pub const SERIAL_PAUSE_FIRST_MS: u64 = 200;
/// See [`SERIAL_PAUSE_FIRST_MS`].
pub const SERIAL_PAUSE_MAX_MS: u64 = 5_000;
/// How long a reader of a serial port waits for bytes before it looks whether it is still wanted, in milliseconds.
pub const SERIAL_LOOK_MS: u64 = 250;
