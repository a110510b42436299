//! Settings of a leader, and where its term begins.

use crate::channel::HostPort;
use crate::codec::log::ClusterTimeUnit;
use crate::wire::StreamTerms;

/// Settings of a [`super::Leader`].
#[derive(Clone, Debug)]
pub struct LeaderConfig {
    /// This node's id.
    pub member_id: i32,
    /// Stream of what clients send: 101 in Aeron.
    pub ingress_stream_id: i32,
    /// `host:port` that clients are told to send to.
    pub ingress_endpoint: HostPort,
    /// A session whose client is silent for this long is closed, in nanoseconds; also how long a client that
    /// connects may take. 10 s in Aeron (aeron.cluster.session.timeout).
    pub session_timeout_ns: u64,
    /// Nanoseconds without a leader before an election, as clients are told: they wait twice as long for a
    /// new leader. 10 s in Aeron.
    pub leader_heartbeat_timeout_ns: u64,
    /// The most sessions at once, those included that are about to open. 10 in Aeron.
    pub session_count_max: usize,
    /// Bytes that a client may send ahead of what the log took; see
    /// [`crate::image::SubscriptionParams::receive_window_length`].
    pub ingress_window_length: i32,
    /// The longest message of a client, in bytes with its header; the log's terms may allow less. What is
    /// longer is dropped and counted. The default, 2 MiB, is the most that a client sends whose terms are as
    /// long as Aeron's.
    pub ingress_message_length_max: usize,
    /// Bytes of a term of a session's egress: a power of two. A session holds two terms, and no reply is
    /// longer than an eighth of one.
    pub egress_term_length: i32,
    /// Bytes of replies that are kept for a client that does not take them as fast as they come, beyond its
    /// egress' own half term. Half of it makes a session back-pressured; what does not fit is refused.
    pub egress_backlog_length_max: usize,
    /// Seeds wire session ids; a run with the same seed and input does the same.
    pub seed: u64,
}

impl Default for LeaderConfig {
    fn default() -> Self {
        Self {
            member_id: 0,
            ingress_stream_id: 101,
            ingress_endpoint: HostPort { host: "localhost".to_owned(), port: 0 },
            session_timeout_ns: 10_000_000_000,
            leader_heartbeat_timeout_ns: 10_000_000_000,
            session_count_max: 10,
            ingress_window_length: 128 * 1024,
            ingress_message_length_max: 2 * 1024 * 1024,
            egress_term_length: 4 * 1024 * 1024,
            egress_backlog_length_max: 4 * 1024 * 1024,
            seed: 0,
        }
    }
}

/// Where a leader's term begins.
#[derive(Clone, Copy, Debug)]
pub struct LeaderStart {
    /// The term.
    pub leadership_term_id: i64,
    /// End of the log and base of the term: a frame boundary, possibly behind a message that nobody finished.
    pub log_position: i64,
    /// Terms of the log's recording.
    pub terms: StreamTerms,
    /// Its longest frame.
    pub mtu_length: i32,
    /// Session id of the frames that this leader appends.
    pub log_session_id: i32,
    /// Stream of the log: 100 unless the cluster is told otherwise (aeron.cluster.log.stream.id).
    pub log_stream_id: i32,
    /// Unit of cluster time.
    pub time_unit: ClusterTimeUnit,
    /// The application's version.
    pub app_version: i32,
    /// Whether the cluster starts rather than goes on under a new leader: sessions that the log left open are
    /// closed then, as a Java cluster does after all its members were stopped.
    pub is_startup: bool,
}
