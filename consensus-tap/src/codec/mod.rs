//! SBE messages, one file a family: cluster log, consensus, snapshot, session, archive control.

pub mod archive_control;
pub mod consensus;
pub mod log;
pub mod message;
pub mod sbe;
pub mod session;
pub mod snapshot;
