//! How sessions end, and how attempts at one fail.

use super::IngressEndpointsError;

/// Why a client is closed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SessionEnd {
    /// There never was a session.
    #[error("no session was opened: {0}")]
    NotConnected(#[from] ConnectFailure),
    /// [`close`](super::ClusterClient::close) was called.
    #[error("the session was closed here")]
    ByClient,
    /// The cluster closed the session.
    #[error("the cluster closed the session: {detail}")]
    ByCluster {
        /// Why, in the cluster's words: `TIMEOUT`, `SERVICE_ACTION`, ...
        detail: String,
    },
    /// The leader is gone, and no other called in time.
    #[error(
        "no new leader called within {} ms of the loss of the last; raise the new leader timeout if a \
         cluster or an operator may take longer", .timeout_ns / 1_000_000
    )]
    NoNewLeader {
        /// How long was waited.
        timeout_ns: u64,
    },
    /// A new leader called, but nothing could be sent to it.
    #[error("the new leader, member {leader_member_id}, cannot be reached at {endpoint}")]
    NewLeaderUnreachable {
        /// The new leader.
        leader_member_id: i32,
        /// Where it should listen.
        endpoint: String,
    },
    /// A new leader called without saying where it listens.
    #[error("member {leader_member_id} leads now, but where it listens is unknown: {reason}")]
    NewLeaderUnknown {
        /// The new leader.
        leader_member_id: i32,
        /// What is wrong with its list of endpoints.
        reason: BadEndpoints,
    },
    /// The ingress reached the last position that a stream has.
    #[error("the ingress stream is at its last position; connect anew, with a larger term length")]
    PositionMax,
}

/// Why connecting failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectFailure {
    /// It took longer than the message timeout.
    #[error("connecting took longer than {} ms: {step} ({endpoints})", .timeout_ns / 1_000_000)]
    Timeout {
        /// How long was waited.
        timeout_ns: u64,
        /// What was being waited for.
        step: ConnectStep,
        /// The ingress endpoints that were tried last.
        endpoints: String,
    },
    /// The cluster refused the session.
    #[error("the cluster refused the session: {detail}")]
    Refused {
        /// Why, in the cluster's words.
        detail: String,
    },
    /// The cluster refused the credentials.
    #[error("the cluster refused the credentials: {detail}")]
    AuthenticationRejected {
        /// Why, in the cluster's words.
        detail: String,
    },
    /// The cluster asks for more than the credentials have.
    #[error("the cluster sent a challenge, which the credentials do not answer")]
    Challenged,
    /// A follower named a leader without saying where it listens.
    #[error("a follower names member {leader_member_id} as the leader: {reason}")]
    BadRedirect {
        /// The leader.
        leader_member_id: i32,
        /// What is wrong with the follower's list of endpoints.
        reason: BadEndpoints,
    },
    /// The request, or the answer to a challenge, is longer than the ingress allows.
    #[error(
        "a message of {length} bytes does not fit; raise the ingress term length, or shorten the credentials"
    )]
    TooLong {
        /// The bytes of the message.
        length: usize,
    },
    /// The member that was asked went away.
    #[error("the member that was asked for a session went away")]
    Disconnected,
}

/// What is wrong with a list of endpoints that a member sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadEndpoints {
    /// It cannot be read.
    #[error("its list of endpoints cannot be read: {0}")]
    Unreadable(#[from] IngressEndpointsError),
    /// It does not name the leader.
    #[error("its list of endpoints, `{endpoints}`, does not name that member")]
    LeaderNotNamed {
        /// The list.
        endpoints: String,
    },
}

/// How far connecting got.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum ConnectStep {
    /// No member has an address yet.
    #[error("no ingress endpoint resolves; check the names")]
    AwaitAddress,
    /// No member subscribes to our ingress.
    #[error("no member takes our ingress; check that the cluster runs and the endpoints are right")]
    AwaitPublication,
    /// The next message could not be sent.
    #[error("the ingress is back-pressured")]
    Send,
    /// The connect request, or the answer to a challenge, is unanswered.
    #[error(
        "no member answers; check that members can reach the egress channel, and whether there is a leader"
    )]
    AwaitResponse,
}
