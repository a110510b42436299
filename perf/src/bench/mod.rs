//! The benches, one file each: its cases, how it measures ours, and which peer it starts.

pub(crate) mod activation;
pub(crate) mod active_rtt;
pub(crate) mod apply;
pub(crate) mod backpressure;
pub(crate) mod catchup;
pub(crate) mod footprint;
pub(crate) mod lag;
pub(crate) mod replicate;
pub(crate) mod restart;
pub(crate) mod snapshot_stall;
pub(crate) mod transport;
