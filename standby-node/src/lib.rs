//! The runtime of a warm standby: threads, sockets, files. See `topology` for who runs where.
#![deny(unsafe_code)]

pub mod agent;
pub mod audit;
pub mod net;
pub mod store;
pub mod sys;
