//! A set of services and the module follower behind them, with their rings: the node's first, and its replica's.

use std::sync::Arc;

use rtrb::RingBuffer;
use service_api::host::ServiceDriver;
use service_api::{ClusteredService, MemberId, ServiceError, ServiceId};

use crate::agent::egress_ring::{EgressLimits, EgressReceiver, egress_ring};
use crate::agent::emission_ring::emission_ring;
use crate::agent::log_ring::{LogSender, log_ring};
use crate::agent::module_follower::{ModuleFollower, ModuleSnapshots};
use crate::agent::service::{FreshService, ServiceAgent, ServiceLinks};
use crate::agent::service_snapshots::ServiceSnapshots;
use crate::agent::snapshot_marks::SnapshotMarks;
use crate::agent::snapshot_part::{PartReceiver, part_ring};
use crate::config::{Layout, NodeConfig};
use crate::starting::ServiceLink;
use crate::status::ServiceGauges;
use crate::store::counters::Counter;
use crate::topology::{
    EGRESS_BACKLOG_LENGTH_MAX, EGRESS_BUFFER_COUNT, EMISSION_BUFFER_COUNT, LOG_RING_CAPACITY,
    ORDER_RING_CAPACITY, PART_RING_CAPACITY,
};

/// Makes a fresh instance of the service with an id.
pub(crate) type MakeService = dyn Fn(u8) -> Result<Box<dyn ClusteredService>, ServiceError> + Send + Sync;

/// A service that is to run, and its counters if anybody looks at it.
pub(crate) struct NewService {
    pub(crate) name: String,
    pub(crate) service: Box<dyn ClusteredService>,
    pub(crate) gauges: Option<ServiceGauges>,
}

/// Agents that read one log in step, and the other ends of their rings.
pub(crate) struct ServiceSet {
    /// By service id.
    pub(crate) agents: Vec<ServiceAgent<Box<dyn ClusteredService>>>,
    /// Behind them.
    pub(crate) follower: ModuleFollower,
    /// For the receiver: the services by id, then the follower.
    pub(crate) log_senders: Vec<LogSender>,
    /// For the conductor, by service id.
    pub(crate) links: Vec<ServiceLink>,
    /// For the snapshot agent: the services by id, then the follower; empty where the set takes no snapshots.
    pub(crate) parts: Vec<PartReceiver>,
    /// For whoever leads: the services' replies, by id; nobody looks at those of a replica.
    pub(crate) egress: Vec<EgressReceiver>,
}

/// Which of a node's sets it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SetRole {
    /// The one that clients are answered from.
    First,
    /// The one beside it, which is there for snapshots.
    Replica,
}

impl ServiceSet {
    /// Ties the services, by id, to a module follower. `module_stop_max_ns` is the follower's counter of how long its
    /// parts of snapshots take.
    pub(crate) fn assemble(
        config: &NodeConfig,
        make: &Arc<MakeService>,
        services: Vec<NewService>,
        role: SetRole,
        takes_snapshots: bool,
        module_stop_max_ns: Option<Counter>,
    ) -> Self {
        let member_id = MemberId(config.member_id);
        let marks = SnapshotMarks::new(config.snapshots.on_ordinary);
        let (mut agents, mut links, mut log_senders) = (Vec::new(), Vec::new(), Vec::new());
        let (mut emission_receivers, mut part_receivers) = (Vec::new(), Vec::new());
        let mut egress = Vec::new();
        let limits = egress_limits(config, services.len());
        for (service_id, NewService { name, service, gauges }) in (0..).zip(services) {
            let (orders, order_receiver) = RingBuffer::new(ORDER_RING_CAPACITY);
            let (loaded_sender, loaded) = RingBuffer::new(ORDER_RING_CAPACITY);
            let (log_sender, log) = log_ring(LOG_RING_CAPACITY);
            let (emissions, emission_receiver) = emission_ring(EMISSION_BUFFER_COUNT);
            let snapshots = takes_snapshots.then(|| {
                let (parts, part_receiver) = part_ring(PART_RING_CAPACITY);
                part_receivers.push(part_receiver);
                ServiceSnapshots {
                    marks,
                    mode: config.snapshots.mode,
                    app_version: config.app_version,
                    message_length_max: config.snapshots.term_length.message_length_max(),
                    is_missing_view_told: false,
                    parts,
                }
            });
            let (egress_sender, egress_receiver) = egress_ring(EGRESS_BUFFER_COUNT, limits);
            egress.push(egress_receiver);
            let driver = ServiceDriver::new(service, egress_sender, member_id, ServiceId(service_id));
            let make = Arc::clone(make);
            let fresh = FreshService(Box::new(move || make(service_id)));
            agents.push(ServiceAgent::new(
                name,
                driver,
                fresh,
                ServiceLinks {
                    orders: order_receiver,
                    loaded: loaded_sender,
                    log,
                    emissions,
                    snapshots,
                    gauges,
                    takes_lead: role == SetRole::First,
                },
            ));
            links.push(ServiceLink { orders, loaded });
            log_senders.push(log_sender);
            emission_receivers.push(emission_receiver);
        }
        let (log_sender, log) = log_ring(LOG_RING_CAPACITY);
        log_senders.push(log_sender);
        // Without a service, what a snapshot would say of the services is not known.
        let snapshots = (takes_snapshots && !agents.is_empty()).then(|| {
            let (parts, part_receiver) = part_ring(PART_RING_CAPACITY);
            part_receivers.push(part_receiver);
            ModuleSnapshots { marks, parts, stop_max_ns: module_stop_max_ns }
        });
        let follower = ModuleFollower::new(log, emission_receivers, snapshots);
        Self { agents, follower, log_senders, links, parts: part_receivers, egress }
    }
}

/// What services may reply to one session before it is sent never exceeds the half of its backlog that is left when it is
/// said to be back-pressured: so no reply that was taken is refused later.
fn egress_limits(config: &NodeConfig, service_count: usize) -> EgressLimits {
    EgressLimits {
        message_length_max: config.leading.egress_term_length.message_length_max(),
        window_length: EGRESS_BACKLOG_LENGTH_MAX / 2 / service_count.max(1),
        is_shared: config.layout == Layout::Shared,
    }
}
