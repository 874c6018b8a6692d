//! Entry point of the headless node.

fn main() {}
