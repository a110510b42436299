//! `perf`: benches that start their own peers and print `RESULT` lines.

fn main() {}
