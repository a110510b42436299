//! The protocols of Aeron 1.51, sans IO: bytes and time in, decisions out.
//!
//! No socket, file, clock or thread is touched here (the crate's `clippy.toml` holds it to that), so one
//! seed can replay a bad night. Dependencies within the crate point one way:
//! `wire, codec, channel <- transport <- image, publication <- endpoint <- archive <- tap, serving, client`,
//! `wire, codec <- log <- module`, `endpoint, module <- leader`, and `tap <- transition <- serving`;
//! `authentication`, `authorisation`, `file` and `random` stand alone.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod archive;
pub mod authentication;
pub mod authorisation;
pub mod channel;
pub mod client;
pub mod codec;
pub mod endpoint;
pub mod file;
pub mod image;
pub mod leader;
pub mod log;
pub mod module;
pub mod publication;
mod random;
pub mod serving;
pub mod tap;
pub mod transition;
pub mod transport;
pub mod wire;
