//! What this node does for others: answers like a member, and tells members of its snapshots.

mod allow_list;
mod announcer;
mod consensus_server;
mod response_channel;
#[cfg(test)]
mod test_network;

pub use self::allow_list::{AllowList, Network, NetworkError};
pub use self::announcer::{
    AnnouncedMember, Announcement, AnnouncementOutcome, Announcer, AnnouncerConfig, MemberOutcome,
};
pub use self::consensus_server::{
    ConsensusServer, ConsensusServerConfig, ConsensusServerCounters, LastTerm, RefusedRequest, Standing,
};
