//! What the store's threads share.

#[expect(dead_code, reason = "the driver's own counters are set before anybody reads the file")]
#[path = "../../../src/store/counters.rs"]
pub mod counters;
pub mod segment;
#[path = "../../../src/store/segment_preparer.rs"]
pub mod segment_preparer;

#[cfg(test)]
mod tests;
