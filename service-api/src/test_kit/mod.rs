//! Drives a service without a node: events in, requests and replies out, all in memory.
//!
//! [`TestKit`] applies one event a call and records what came of it. [`EventLog`] is a list of such calls that
//! can be run again, and [`assert_deterministic`] runs one on several copies of a service, on a leader and on a
//! standby, straight through and over a snapshot, and compares.
//!
//! The kit plays the consensus module in the simplest way: what a service schedules, offers or closes waits until
//! the test lets it happen with [`fire_timers`](TestKit::fire_timers),
//! [`deliver_offers`](TestKit::deliver_offers) and [`deliver_closes`](TestKit::deliver_closes).

mod determinism;
mod event_log;
mod kit;
mod record;

pub use determinism::{Divergence, assert_deterministic, check_determinism};
pub use event_log::EventLog;
pub use kit::{SavedState, TestKit};
pub use record::{Emitted, Event, RecordingEgress, Reply};

#[cfg(test)]
mod tests;
