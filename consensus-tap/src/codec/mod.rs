//! SBE messages, one file a family: cluster log, consensus, snapshot, session, archive control, and standbys
//! among themselves.

pub mod archive_control;
pub mod consensus;
pub mod log;
pub mod message;
pub mod sbe;
pub mod session;
pub mod snapshot;
pub mod standby;
