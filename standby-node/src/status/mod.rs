//! What an operator sees: written by the agents into cnc.dat, read from there by `status` and by Aeron's tools.

mod gauges;
mod report;

pub use gauges::{ReceiverGauges, ServiceGauges};
pub use report::{CheckLimits, ServiceReport, StatusError, StatusReport};
