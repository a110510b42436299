//! The archive control protocol, as a client and as the archive.
//!
//! [`ArchiveClient`] holds one control session: it turns requests into messages for the archive's control
//! stream and messages of the response stream into [`ArchiveEvent`]s. Carrying them is the runtime's: one
//! publication, one subscription, and the time. [`server`] is the other side.

mod client;
mod credentials;
mod event;
mod request;
pub mod server;

pub use client::{ArchiveClient, ArchiveClientParams, ArchiveClientStats};
pub use credentials::Credentials;
pub use event::{ArchiveEvent, ArchiveFailure, ConnectStep, Recording};
pub use request::{CorrelationId, ReplayParams, RequestKind, RequestRefused};
