//! What a user implements: a clustered service, written once, that runs on a warm standby.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod host;
pub mod test_kit;

mod cluster;
mod error;
mod ids;
mod service;
mod session;
mod snapshot;
mod status;

pub use cluster::{Cluster, ClusterTimeUnit, Role};
pub use error::{Callback, ClusterError, OfferError, ServiceError};
pub use ids::{ClusterSessionId, LeadershipTermId, LogPosition, MemberId, ServiceId};
pub use service::{ClusteredService, FrozenState, NewLeadershipTerm};
pub use session::{Claim, ClientSession, CloseReason, MOCKED_CLAIM_LENGTH_MAX};
pub use snapshot::{
    MAX_MESSAGE_LENGTH_DEFAULT, MemorySnapshot, MemorySnapshotReader, SnapshotReader, SnapshotWriter,
};
pub use status::{StatusFields, StatusValue};
