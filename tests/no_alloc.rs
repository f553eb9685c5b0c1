//! Allocation-free hot path.
fn main() {}
