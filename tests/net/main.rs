//! Real nodes on a real network: the program itself, in network namespaces of this machine that are
//! joined by a bridge or by cables. Nothing that is sent here leaves the namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr, clippy::disallowed_methods)]
#![cfg(target_os = "linux")]

mod avahi;
mod discovery;
mod heal;
mod lab;
