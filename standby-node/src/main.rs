//! `standby-node`: the operator's binary.

fn main() {}
