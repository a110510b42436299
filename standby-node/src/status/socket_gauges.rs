//! What happens at a socket that nobody asked for, as counters.

use consensus_tap::file::cnc::counters::{self as kind, CounterKind};
use consensus_tap::file::cnc::{cluster_label, cluster_service_key};

use crate::net::IoCounters;
use crate::store::counters::{Counter, CountersFull, CountersManager};

/// Counters of one socket: what was dropped and why. Their keys are cluster id and the socket's number.
#[derive(Debug)]
pub struct SocketGauges {
    queue_full: Counter,
    datagrams_refused: Counter,
    datagrams_malformed: Counter,
    icmp_errors: Counter,
}

/// Which of a node's sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i32)]
pub enum SocketRole {
    /// The receiver's, at `host`.
    Receiver = 0,
    /// That of who is served, at `archive_endpoint`.
    Archive = 1,
    /// That of clients, at `ingress_endpoint`.
    Ingress = 2,
}

impl SocketGauges {
    /// Allocates them.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(
        counters: &mut CountersManager,
        cluster_id: i32,
        role: SocketRole,
    ) -> Result<Self, CountersFull> {
        let name = match role {
            SocketRole::Receiver => "receiver",
            SocketRole::Archive => "archive",
            SocketRole::Ingress => "ingress",
        };
        let mut own = |kind: &CounterKind| {
            let label = format!("{} socket={name}", cluster_label(kind.name, cluster_id));
            counters.allocate(kind.type_id, &cluster_service_key(cluster_id, role as i32), &label, 0)
        };
        Ok(Self {
            queue_full: own(&kind::SEND_QUEUE_FULL)?,
            datagrams_refused: own(&kind::DATAGRAMS_REFUSED)?,
            datagrams_malformed: own(&kind::DATAGRAMS_MALFORMED)?,
            icmp_errors: own(&kind::ICMP_ERRORS)?,
        })
    }

    /// Shows what the socket has counted.
    pub fn show(&self, io: &IoCounters) {
        self.queue_full.set_ordered(io.queue_full as i64);
        self.datagrams_refused.set_ordered(io.datagrams_refused as i64);
        self.datagrams_malformed.set_ordered(io.datagrams_malformed as i64);
        self.icmp_errors.set_ordered(io.icmp_errors as i64);
    }
}
