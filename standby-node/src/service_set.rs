//! A set of services and the module follower behind them, with their rings: the node's first, and its replica's.

use std::sync::Arc;

use rtrb::RingBuffer;
use service_api::host::ServiceDriver;
use service_api::{ClusteredService, MemberId, ServiceError, ServiceId};

use crate::agent::emission_ring::emission_ring;
use crate::agent::log_ring::{LogSender, log_ring};
use crate::agent::module_follower::{ModuleFollower, ModuleSnapshots};
use crate::agent::service::{FreshDriver, ServiceAgent, ServiceLinks};
use crate::agent::service_snapshots::ServiceSnapshots;
use crate::agent::snapshot_marks::SnapshotMarks;
use crate::agent::snapshot_part::{PartReceiver, part_ring};
use crate::config::NodeConfig;
use crate::starting::ServiceLink;
use crate::status::ServiceGauges;
use crate::store::counters::Counter;
use crate::topology::{EMISSION_BUFFER_COUNT, LOG_RING_CAPACITY, ORDER_RING_CAPACITY, PART_RING_CAPACITY};

/// Makes a fresh instance of the service with an id.
pub(crate) type MakeService = dyn Fn(u8) -> Result<Box<dyn ClusteredService>, ServiceError> + Send + Sync;

/// A service that is to run, and its counters if anybody looks at it.
pub(crate) struct NewService {
    pub(crate) name: String,
    pub(crate) driver: ServiceDriver<Box<dyn ClusteredService>>,
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
}

impl ServiceSet {
    /// Ties the services, by id, to a module follower. `module_stop_max_ns` is the follower's counter of how long its
    /// parts of snapshots take.
    pub(crate) fn assemble(
        config: &NodeConfig,
        make: &Arc<MakeService>,
        services: Vec<NewService>,
        takes_snapshots: bool,
        module_stop_max_ns: Option<Counter>,
    ) -> Self {
        let member_id = MemberId(config.member_id);
        let marks = SnapshotMarks::new(config.snapshots.on_ordinary);
        let (mut agents, mut links, mut log_senders) = (Vec::new(), Vec::new(), Vec::new());
        let (mut emission_receivers, mut part_receivers) = (Vec::new(), Vec::new());
        for (service_id, NewService { name, driver, gauges }) in (0..).zip(services) {
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
                    parts,
                }
            });
            let make = Arc::clone(make);
            let fresh = FreshDriver(Box::new(move || {
                Ok(ServiceDriver::without_egress(make(service_id)?, member_id, ServiceId(service_id)))
            }));
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
        Self { agents, follower, log_senders, links, parts: part_receivers }
    }
}
