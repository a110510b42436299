//! What a tap is told before it starts.

use crate::archive::Credentials;
use crate::channel::HostPort;

/// Which members may be the source of the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SourceType {
    /// Any member, as it comes.
    #[default]
    Any,
    /// Only the leader: its commit position is the first to advance.
    Leader,
    /// Only a follower, or a member that knows no leader: spares the leader the outgoing bytes.
    Follower,
}

impl SourceType {
    /// Whether a member that calls itself `member_id` and its leader `leader_member_id` (-1 for unknown)
    /// may be followed.
    pub fn accepts(self, member_id: i32, leader_member_id: i32) -> bool {
        match self {
            Self::Any => true,
            Self::Leader => leader_member_id != -1 && member_id == leader_member_id,
            Self::Follower => leader_member_id == -1 || member_id != leader_member_id,
        }
    }
}

/// Whether members that are only known from a response are used as sources too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Routing {
    /// Every member that a response names.
    #[default]
    All,
    /// Only the configured consensus endpoints.
    Single,
}

/// Where a standby without any history of its own begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReplayStart {
    /// At the members' latest snapshots, at the start of the log where there are none.
    #[default]
    LatestSnapshot,
    /// At the start of the log, whatever snapshots there are.
    Beginning,
}

/// Settings of a [`super::Tap`]. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct TapConfig {
    /// This node's own id: who answers with it, or lists it, is not followed.
    pub member_id: i32,
    /// Consensus endpoints of members to ask, in this order.
    pub consensus_endpoints: Vec<HostPort>,
    /// Our own `host:port` as members reach it: every response and replay is sent there.
    pub response_endpoint: HostPort,
    /// Endpoints that a cluster names, and where they are reached from here (NAT, relays).
    pub endpoint_map: Vec<(HostPort, HostPort)>,
    /// Which members may be followed.
    pub source_type: SourceType,
    /// Whether members known from responses are candidates too.
    pub routing: Routing,
    /// Where to begin without local history.
    pub replay_start: ReplayStart,
    /// Services in this node; a snapshot set must hold one recording for each, and the consensus module's. `None`
    /// takes sets for any number of services: nothing here loads them.
    pub service_count: Option<u8>,
    /// Whether snapshots of the source that are newer than ours are fetched while its log is followed.
    pub fetch_snapshots: bool,
    /// Stream of consensus messages, 108 unless the cluster says otherwise.
    pub consensus_stream_id: i32,
    /// Stream of the members' archive control requests, 10 unless the cluster says otherwise.
    pub archive_control_stream_id: i32,
    /// Stream on which archives answer us.
    pub archive_response_stream_id: i32,
    /// Receive window of the log's replay in bytes, capped at three eighths of a term.
    pub receive_window_length: i32,
    /// Credentials for backup queries and heartbeats.
    pub cluster_credentials: Credentials,
    /// Credentials for the members' archives.
    pub archive_credentials: Credentials,
    /// How long a member's driver may take to connect to our publication.
    pub connect_timeout_ns: u64,
    /// How long a connected member may take to answer a backup query.
    pub response_timeout_ns: u64,
    /// How long an archive may take to answer a request, or a replay to begin.
    pub message_timeout_ns: u64,
    /// How long a source may be ahead of us, by its own word, without sending us anything.
    pub progress_timeout_ns: u64,
    /// How long a source's archive may say nothing, and its replay stand still, before another is tried.
    pub source_timeout_ns: u64,
    /// Time between two heartbeat requests to the source.
    pub heartbeat_interval_ns: u64,
    /// Time between two questions for the source's recorded position.
    pub source_position_interval_ns: u64,
    /// Seeds session and correlation ids; a run with the same seed and input makes the same decisions.
    pub seed: u64,
}

impl TapConfig {
    /// Where an endpoint that the cluster named is reached from here.
    pub fn reached_at(&self, named: &HostPort) -> HostPort {
        self.endpoint_map.iter().find(|(from, _)| from == named).map_or(named, |(_, to)| to).clone()
    }
}

/// One second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_knows_no_leader_is_a_follower_and_never_a_leader() {
        assert!(SourceType::Follower.accepts(1, -1));
        assert!(!SourceType::Leader.accepts(-1, -1));
        assert!(SourceType::Leader.accepts(2, 2));
        assert!(!SourceType::Follower.accepts(2, 2));
        assert!(SourceType::Any.accepts(2, 2));
    }
}
