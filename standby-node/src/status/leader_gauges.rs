//! What a node shows of its role, and of what it does as a leader: Aeron's counters of a consensus module, and ours.

use consensus_tap::file::cnc::counters::{self as kind, CounterKind};
use consensus_tap::leader::Leader;

use super::{SocketGauges, SocketRole};
use crate::net::IoCounters;
use crate::store::counters::{Counter, CountersFull, CountersManager};

/// Counters of the role: the conductor's.
#[derive(Debug)]
pub struct RoleGauges {
    module_state: Counter,
    role: Counter,
    /// What `ClusterControl` sets.
    pub toggle: Counter,
    /// What `NodeControl` sets, whatever the role.
    pub node_toggle: Counter,
    election_state: Counter,
    election_count: Counter,
    leadership_term_id: Counter,
    leader_member_id: Counter,
}

/// State of the consensus module, by Aeron's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i64)]
pub enum ModuleState {
    /// It does not lead yet.
    Init = 0,
    /// Clients are served.
    Active = 1,
    /// Clients wait.
    Suspended = 2,
    /// A snapshot is taken, while clients are served.
    Snapshot = 3,
    /// The node is about to stop.
    Terminating = 5,
    /// It has stopped.
    Closed = 6,
}

/// Aeron's number of a node that leads.
pub(super) const ROLE_LEADER: i64 = 2;
/// Aeron's number of an election that is over.
const ELECTION_CLOSED: i64 = 17;

impl ModuleState {
    /// The name of the state with this number.
    pub(super) fn name_of(value: i64) -> String {
        let states = [
            (Self::Init, "INIT"),
            (Self::Active, "ACTIVE"),
            (Self::Suspended, "SUSPENDED"),
            (Self::Snapshot, "SNAPSHOT"),
            (Self::Terminating, "TERMINATING"),
            (Self::Closed, "CLOSED"),
        ];
        let name = states.iter().find(|(state, _)| *state as i64 == value).map(|(_, name)| *name);
        name.map_or_else(|| format!("UNKNOWN({value})"), str::to_owned)
    }
}

impl RoleGauges {
    /// Allocates them: a follower's, and no toggle that anybody may set.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(
        counters: &mut CountersManager,
        cluster_id: i32,
        leadership_term_id: Counter,
        leader_member_id: Counter,
    ) -> Result<Self, CountersFull> {
        let mut cluster =
            |type_id, name, initial| counters.allocate_for_cluster(type_id, name, cluster_id, initial);
        Ok(Self {
            module_state: cluster(kind::CONSENSUS_MODULE_STATE, "Consensus Module state", 0)?,
            role: cluster(kind::NODE_ROLE, "Cluster node role", 0)?,
            toggle: cluster(kind::CLUSTER_CONTROL_TOGGLE, "Cluster control toggle", kind::TOGGLE_INACTIVE)?,
            node_toggle: cluster(kind::NODE_CONTROL_TOGGLE, "Node control toggle", kind::TOGGLE_INACTIVE)?,
            election_state: cluster(kind::ELECTION_STATE, "Cluster election state", 0)?,
            election_count: cluster(kind::ELECTION_COUNT, "Cluster election count", 0)?,
            leadership_term_id,
            leader_member_id,
        })
    }

    /// This node leads, and serves clients.
    pub fn show_leading(&self, leadership_term_id: i64, member_id: i32, state: ModuleState) {
        self.leadership_term_id.set_ordered(leadership_term_id);
        self.leader_member_id.set_ordered(i64::from(member_id));
        self.election_count.add_ordered(1);
        self.role.set_ordered(ROLE_LEADER);
        self.show_state(state);
        self.toggle.set_ordered(kind::TOGGLE_NEUTRAL);
        self.election_state.set_ordered(ELECTION_CLOSED);
    }

    /// What the module does now.
    pub fn show_state(&self, state: ModuleState) {
        self.module_state.set_ordered(state as i64);
    }

    /// The node ends: nobody may set the toggles.
    pub fn show_closed(&self) {
        self.toggle.set_ordered(kind::TOGGLE_INACTIVE);
        self.node_toggle.set_ordered(kind::TOGGLE_INACTIVE);
        self.show_state(ModuleState::Closed);
    }
}

/// Counters of who leads: those that change with clients and their messages.
#[derive(Debug)]
pub struct LeadingGauges {
    recorded_position: Counter,
    commit_position: Counter,
    segments_late: Counter,
    client_timeouts: Counter,
    messages_appended: Counter,
    messages_ignored: Counter,
    messages_invalid: Counter,
    clients_rejected: Counter,
    replies_refused: Counter,
    log_full: Counter,
    socket: SocketGauges,
    /// Shared with the receiver, which has counted before: what it left is kept.
    bytes_sent: Summed,
    bytes_received: Summed,
    status_messages_sent: Summed,
    naks_sent: Summed,
    naks_received: Summed,
    invalid_packets: Summed,
}

/// The counters that the receiver showed before, and that belong to whoever leads from then on.
#[derive(Clone, Debug)]
pub struct LogGauges {
    /// End of the recording.
    pub recorded_position: Counter,
    /// How far the log counts.
    pub commit_position: Counter,
    /// Segments that were not ready in time.
    pub segments_late: Counter,
}

/// A counter that goes on from where somebody else left it.
#[derive(Debug)]
struct Summed {
    counter: Counter,
    base: i64,
}

impl Summed {
    fn begin(&mut self) {
        self.base = self.counter.get();
    }

    fn show(&self, value: u64) {
        self.counter.set_ordered(self.base + value as i64);
    }
}

impl LeadingGauges {
    /// Allocates them; `log` are those that the receiver shows as long as this node follows.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(
        counters: &mut CountersManager,
        cluster_id: i32,
        log: LogGauges,
    ) -> Result<Self, CountersFull> {
        let client_timeouts = counters.allocate_for_cluster(
            kind::CLIENT_TIMEOUTS,
            "Cluster timed out client count",
            cluster_id,
            0,
        )?;
        let mut own = |kind: &CounterKind| counters.allocate_kind(kind, cluster_id, None);
        let LogGauges { recorded_position, commit_position, segments_late } = log;
        let (messages_appended, messages_ignored) =
            (own(&kind::CLIENT_MESSAGES_APPENDED)?, own(&kind::CLIENT_MESSAGES_IGNORED)?);
        let messages_invalid = own(&kind::CLIENT_MESSAGES_INVALID)?;
        let (clients_rejected, replies_refused) =
            (own(&kind::CLIENTS_REJECTED)?, own(&kind::REPLIES_REFUSED)?);
        let log_full = own(&kind::LOG_FULL)?;
        let socket = SocketGauges::allocate(counters, cluster_id, SocketRole::Ingress)?;
        let summed = |id| Summed { counter: counters.system_counter(id), base: 0 };
        Ok(Self {
            recorded_position,
            commit_position,
            segments_late,
            client_timeouts,
            messages_appended,
            messages_ignored,
            messages_invalid,
            clients_rejected,
            replies_refused,
            log_full,
            socket,
            bytes_sent: summed(kind::SYSTEM_BYTES_SENT),
            bytes_received: summed(kind::SYSTEM_BYTES_RECEIVED),
            status_messages_sent: summed(kind::SYSTEM_STATUS_MESSAGES_SENT),
            naks_sent: summed(kind::SYSTEM_NAKS_SENT),
            naks_received: summed(kind::SYSTEM_NAKS_RECEIVED),
            invalid_packets: summed(kind::SYSTEM_INVALID_PACKETS),
        })
    }

    /// The receiver shows nothing any more.
    pub fn begin(&mut self) {
        for summed in [
            &mut self.bytes_sent,
            &mut self.bytes_received,
            &mut self.status_messages_sent,
            &mut self.naks_sent,
            &mut self.naks_received,
            &mut self.invalid_packets,
        ] {
            summed.begin();
        }
    }

    /// Shows where the log ends, and how far it counts: the figures that change with every batch.
    #[inline]
    pub fn show_positions(&self, recorded_position: i64, commit_position: i64) {
        self.recorded_position.set_ordered(recorded_position);
        self.commit_position.set_ordered(commit_position);
    }

    /// Shows everything else.
    pub fn show(&self, leader: &Leader, io: &IoCounters, late_segment_count: u64) {
        let counters = leader.counters();
        let transport = leader.transport_counters();
        self.segments_late.set_ordered(late_segment_count as i64);
        self.client_timeouts.set_ordered(counters.clients_timed_out as i64);
        self.messages_appended.set_ordered(counters.messages_appended as i64);
        self.messages_ignored.set_ordered(counters.messages_ignored as i64);
        self.messages_invalid.set_ordered((counters.invalid + counters.dropped) as i64);
        self.clients_rejected.set_ordered((counters.clients_rejected + counters.connects_over_limit) as i64);
        self.replies_refused.set_ordered(counters.replies_refused as i64);
        self.log_full.set_ordered(counters.log_full as i64);
        self.socket.show(io);
        self.bytes_sent.show(io.bytes_sent);
        self.bytes_received.show(io.bytes_received);
        self.status_messages_sent.show(transport.status_messages_sent);
        self.naks_sent.show(transport.naks_sent);
        self.naks_received.show(transport.naks_received);
        self.invalid_packets.show(transport.invalid.iter().sum());
    }
}
