//! The wire: bytes in, verified frames and typed messages out (gen-1 protocol, our additions optional).
//!
//! `envelope` reads the three message forms, `handshake` proves who is there, `frame` reads and
//! composes context frames, `verify` checks origin signatures. Who may send what is decided
//! later, in `admission` and `gate`.

pub mod envelope;
pub mod frame;
pub mod handshake;
pub mod verify;

pub use envelope::{Message, Reply};
pub use frame::{Frame, FrameKind, FrameSpec};
pub use verify::{Checked, Verified};
