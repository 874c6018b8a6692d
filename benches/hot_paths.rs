//! Benchmarks of the paths that every frame takes.

fn main() {}
