//! Entry point of the desktop application.

fn main() {}
