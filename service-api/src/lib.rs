//! What a user implements: a clustered service, written once, that runs on a warm standby.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ids;

pub use ids::{ClusterSessionId, LeadershipTermId, LogPosition, MemberId, ServiceId};
