//! What a leader tells its node, and what it counts.

use crate::channel::HostPort;
use crate::codec::log::CloseReason;
use crate::endpoint::LookupToken;

use super::egress::EgressState;

/// What an operator asks of the leader: the toggles of ClusterControl.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ControlAction {
    /// Take no ingress, and append nothing else.
    Suspend,
    /// Go on.
    Resume,
    /// Take a snapshot.
    Snapshot,
    /// Let standbys take a snapshot.
    StandbySnapshot,
    /// Take a snapshot and stop.
    Shutdown,
    /// Stop.
    Abort,
}

/// A word to the node, or a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LeaderAction {
    /// Look a name up, on a thread that may wait: answered by [`super::Leader::on_resolved`].
    Resolve {
        /// To be given back.
        token: LookupToken,
        /// What to look up.
        endpoint: HostPort,
    },
    /// The term's event is committed: ingress is taken from now on.
    Serving,
    /// An operator's action, or a client's snapshot, is done as far as it is the leader's: what the log must
    /// say of it is appended.
    ControlDone {
        /// The action.
        action: ControlAction,
        /// End of the log behind it; of its event, where it has one.
        log_position: i64,
    },
    /// The end of the log will not move any more, and everything up to it is committed and applied: the node
    /// may stop, once the snapshot is taken if there is to be one.
    Terminated {
        /// End of the log.
        log_position: i64,
    },
    /// A session was opened in the log, or goes on under this leader.
    SessionOpened {
        /// The session.
        cluster_session_id: i64,
        /// What the client says of itself, and where it is; its response channel while no more is known. As
        /// in the label of Aeron's counter of a session.
        client_info: String,
    },
    /// A session is closed: in the log, and applied unless its client closed it. Nobody replies to it any
    /// more.
    SessionClosed {
        /// The session.
        cluster_session_id: i64,
        /// Why.
        close_reason: CloseReason,
    },
    /// A session's client takes replies, or no longer: for services that ask before they reply.
    EgressChanged {
        /// The session.
        cluster_session_id: i64,
        /// What holds from now on.
        state: EgressState,
    },
    /// Tell the operator.
    Report(String),
}

/// What came of clients' messages and of the leader's duties so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LeaderCounters {
    /// Clients' messages in the log.
    pub messages_appended: u64,
    /// Messages of another term or of no open session, which are dropped without a word.
    pub messages_ignored: u64,
    /// Messages that did not decode.
    pub invalid: u64,
    /// Messages that were too long, or broken off.
    pub dropped: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Messages of services that were appended.
    pub service_messages_appended: u64,
    /// Sessions that opened.
    pub sessions_opened: u64,
    /// Sessions that closed.
    pub sessions_closed: u64,
    /// Clients that did not connect in time, or fell silent.
    pub clients_timed_out: u64,
    /// Clients that were told why they get no session.
    pub clients_rejected: u64,
    /// Connect requests beyond what is kept, which nobody answers.
    pub connects_over_limit: u64,
    /// Connect requests that were there already.
    pub connects_repeated: u64,
    /// Replies that found no client, or no room.
    pub replies_refused: u64,
    /// How often the log was full when there was something to append.
    pub log_full: u64,
    /// Reports that nobody took, or that would have told of clients what was told before.
    pub reports_dropped: u64,
}
