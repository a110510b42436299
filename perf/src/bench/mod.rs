//! The benches, one file each: its cases, how it measures ours, and which peer it starts.

pub(crate) mod apply;
pub(crate) mod transport;
