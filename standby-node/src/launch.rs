//! Puts a node together: directory, cnc.dat, sockets, rings, agents, threads.

mod error;
mod handle;
mod part_configs;
mod sockets;

use std::sync::{Arc, mpsc};

use consensus_tap::file::cnc::counters as kind;
use consensus_tap::file::node_state;
use consensus_tap::serving::Serving;
use consensus_tap::tap::Tap;
use rtrb::RingBuffer;
use service_api::{ClusteredService, ServiceError, ServiceId, StatusFields};

pub use self::error::LaunchError;
pub use self::handle::NodeHandle;
use self::sockets::Sockets;
use crate::agent::Agent;
use crate::agent::archive::Archive;
use crate::agent::backlog::Backlog;
use crate::agent::conductor::{
    Activation, ActivationParts, Conductor, ConductorRings, Downstream, Following, LeadRings, LeaderIdentity,
    Leadership, Retention, StopWish, discard_requests, member_entry,
};
use crate::agent::leading::{Leading, LeadingParts};
use crate::agent::receiver::Receiver;
use crate::agent::replica_module::ReplicaModule;
use crate::agent::service_snapshots::SnapshotMode;
use crate::agent::snapshot::Snapshot;
use crate::agent::snapshot_control::SnapshotControl;
use crate::agent::snapshot_schedule::SnapshotSchedule;
use crate::agent::storage::Storage;
use crate::agent::syncer::Syncer;
use crate::announcing::Announcing;
use crate::clients_file::{ClientAccess, ClientsFile};
use crate::config::{Layout, NodeConfig, SERVICES_MAX};
use crate::service_set::{MakeService, NewService, ServiceSet, SetRole};
use crate::signs_of_life::SignsOfLife;
use crate::standing::StandingKeeper;
use crate::starting::Starting;
use crate::status::{
    ArchiveGauges, BackupSchedule, CycleGauges, LeadingGauges, ReceiverGauges, RoleGauges, ServiceGauges,
    SnapshotGauges, TransitionGauges,
};
use crate::store::SyncLevel;
use crate::store::activation_record;
use crate::store::cnc::{CncFile, CncSettings};
use crate::store::directory::NodeDirectory;
use crate::store::history::History;
use crate::store::mark::{ArchiveMarkFile, ClusterMarkFile};
use crate::store::standby_snapshots::StandbySnapshots;
use crate::store::sync_watch::SyncWatch;
use crate::sys::affinity;
use crate::sys::clock;
use crate::topology::{Agents, CONTROL_RING_CAPACITY, CYCLE_THRESHOLD, Cycles, Threads};

/// Starts a node with as many services as `config` names.
///
/// `make` makes a fresh instance of the service with an id.
///
/// # Errors
/// [`LaunchError`], which names the key, the value and the next step. What happens later is in the log, in cnc.dat,
/// and in the result of [`NodeHandle::stop`].
pub fn launch(
    config: NodeConfig,
    make: impl Fn(ServiceId, &NodeConfig) -> Result<Box<dyn ClusteredService>, ServiceError>
    + Send
    + Sync
    + 'static,
) -> Result<NodeHandle, LaunchError> {
    let access = match &config.leading.clients_file {
        Some(path) => ClientsFile::read(path)?.into(),
        None => ClientAccess::open(),
    };
    launch_with_access(config, access, make)
}

/// As [`launch`], with a say in who may be a client once the node leads; the key `clients_file` is passed over.
///
/// # Errors
/// As [`launch`].
pub fn launch_with_access(
    config: NodeConfig,
    access: ClientAccess,
    make: impl Fn(ServiceId, &NodeConfig) -> Result<Box<dyn ClusteredService>, ServiceError>
    + Send
    + Sync
    + 'static,
) -> Result<NodeHandle, LaunchError> {
    if config.services.len() > SERVICES_MAX {
        return Err(LaunchError::TooManyServices { names: config.services });
    }
    let config = Arc::new(config);
    let make: Arc<MakeService> = {
        let config = Arc::clone(&config);
        Arc::new(move |service_id| make(ServiceId(service_id), &config))
    };
    // Before anything is touched: a name that nobody knows leaves no directory behind.
    let services = new_services(&config, &make)?;
    check_cores(&config)?;
    config.network.probe()?;
    let now_ms = clock::epoch_ms();
    let mut directory = NodeDirectory::open(&config.dir, now_ms)?;
    let sockets = Sockets::open(&config)?;
    let archive_addr = sockets.archive.local_addr;
    let ingress_addr = sockets.ingress.local_addr;
    let families = sockets.families();
    let level = config.file_sync_level;
    let history = History::open(&directory, level)?;

    let gone = directory.previous_holders();
    let (cnc, mut counters) =
        CncFile::create_after(gone, &config.aeron_dir, &CncSettings::default(), now_ms)?;
    let cluster_mark = ClusterMarkFile::activate(&directory, part_configs::cluster_mark(&config), now_ms)?;
    let archive_mark = ArchiveMarkFile::activate(
        &directory,
        part_configs::archive_mark(&config, archive_addr.port()),
        now_ms,
    )?;
    directory.taken_over()?;
    let is_backup = config.tap.fetch_snapshots;
    let backup_errors = is_backup
        .then(|| {
            counters.allocate_for_cluster(kind::BACKUP_ERRORS, "ClusterBackup Errors", config.cluster_id, 0)
        })
        .transpose()?;
    let life = SignsOfLife { cnc, cluster_mark, archive_mark, backup_errors, is_full_told: false };

    let (command_producer, command_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (request_producer, request_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (archive_command_producer, archive_command_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (archive_request_producer, archive_request_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (job_producer, job_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (reply_producer, reply_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (order_producer, order_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (lead_command_producer, lead_command_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (lead_request_producer, lead_request_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (lead_ended_producer, lead_ended_consumer) = RingBuffer::new(1);
    let (synced_log_producer, synced_log_consumer) = RingBuffer::new(1);
    let (sync_failure_producer, sync_failure_consumer) = RingBuffer::new(1);
    let (news_producer, news_consumer) = RingBuffer::new(CONTROL_RING_CAPACITY);
    let (state_sender, state_receiver) = mpsc::channel();

    let mut applied_positions = Vec::new();
    let mut missed_messages = Vec::new();
    let mut service_cycles = Vec::new();
    let mut first = Vec::new();
    for (service_id, mut service) in (0..).zip(services) {
        let mut figures = StatusFields::new();
        service.service.status(&mut figures);
        let name = &config.services[usize::from(service_id)];
        let gauges = ServiceGauges::allocate(&mut counters, config.cluster_id, service_id, name, &figures)?;
        applied_positions.push(gauges.applied_position.clone());
        let id = Some(i32::from(service_id));
        missed_messages.push(counters.allocate_kind(&kind::MISSED_MESSAGES, config.cluster_id, id)?);
        service_cycles.push(CycleGauges::allocate_for_service(
            &mut counters,
            config.cluster_id,
            service_id,
            CYCLE_THRESHOLD,
        )?);
        service.gauges = Some(gauges);
        first.push(service);
    }
    let snapshot_gauges = SnapshotGauges::allocate(&mut counters, config.cluster_id)?;
    let has_replica = config.snapshots.mode == SnapshotMode::Replica && !config.services.is_empty();
    let module_stop_max_ns = Some(snapshot_gauges.module_stop_max_ns.clone());
    let mut set =
        ServiceSet::assemble(&config, &make, first, SetRole::First, !has_replica, module_stop_max_ns);
    let mut replica: Vec<Box<dyn Agent + Send>> = Vec::new();
    let mut replica_module = None;
    if has_replica {
        let mut services = new_services(&config, &make)?;
        services.iter_mut().for_each(|service| service.name.insert_str(0, "replica-"));
        let second = ServiceSet::assemble(&config, &make, services, SetRole::Replica, true, None);
        let (start_producer, start_consumer) = RingBuffer::new(1);
        replica_module = Some(start_producer);
        // A composite closes in reverse order: the services, then the module behind them.
        replica.push(Box::new(ReplicaModule::new(second.follower, start_consumer)));
        replica.extend(second.agents.into_iter().map(|agent| Box::new(agent) as Box<dyn Agent + Send>));
        set.log_senders.extend(second.log_senders);
        set.links.extend(second.links);
        set.parts = second.parts;
    }
    let service_count = config.services.len();

    let tap = Tap::new(part_configs::tap(&config, sockets.receiver.local_addr.port()), entropy() as i64);
    let gauges = ReceiverGauges::allocate(&mut counters, config.cluster_id, applied_positions, is_backup)?;
    let backup = is_backup
        .then(|| BackupSchedule::allocate(&mut counters, config.cluster_id, config.backup_interval, now_ms))
        .transpose()?;
    let durable_position = counters.allocate_kind(&kind::DURABLE_POSITION, config.cluster_id, None)?;
    let sync_interval = (level == SyncLevel::None).then_some(config.sync_interval);
    let sync_watch = SyncWatch::default();
    let durable = (level != SyncLevel::None).then(|| sync_watch.clone());

    let endpoint = config.served_endpoint(archive_addr.port());
    let serving = Serving::new(
        part_configs::serving(&config, &endpoint, gauges.commit_position_counter_id()),
        Box::new(config.archive_secrets.clone()),
        Box::new(config.consensus_secrets.clone()),
        entropy() as i64,
    );
    let standby_snapshots = StandbySnapshots::path_in(&directory.cluster());
    let downstream = Downstream::new(
        StandingKeeper::new(gauges.commit_position_counter_id()),
        Announcing::new(config.tap.clone(), StandbySnapshots::read(&standby_snapshots)?),
        standby_snapshots,
    );
    let activation_file = activation_record::path_in(&directory.cluster());
    discard_requests(&directory.cluster());
    let activation = Activation::new(ActivationParts {
        config: config.activation.clone(),
        tap: config.tap.clone(),
        gauges: TransitionGauges::allocate(&mut counters, config.cluster_id, CYCLE_THRESHOLD)?,
        toggle: snapshot_gauges.toggle.clone(),
        source: gauges.source_gauges(),
        service_count,
        cluster_directory: directory.cluster(),
        file: activation_record::read(&activation_file)?,
        file_path: activation_file,
        file_sync_level: level,
        seed: entropy(),
        now_ms,
    });
    let standby_cycles =
        CycleGauges::allocate_for_standby(&mut counters, config.cluster_id, CYCLE_THRESHOLD)?;
    let archive_gauges =
        ArchiveGauges::allocate(&mut counters, part_configs::archive_id(&config), config.cluster_id)?;

    let ingress_endpoint = config.told_endpoint(&config.leading.ingress_endpoint, ingress_addr.port());
    let leading_parts = LeadingParts {
        config: part_configs::leader(&config, &ingress_endpoint),
        access,
        receiver_id: entropy() as i64,
        egress: set.egress,
        durable: durable.clone(),
        gauges: LeadingGauges::allocate(&mut counters, config.cluster_id, gauges.log_gauges())?,
    };
    let (leadership_term_id, leader_member_id) = gauges.term_gauges();
    let role_gauges =
        RoleGauges::allocate(&mut counters, config.cluster_id, leadership_term_id, leader_member_id)?;
    let stop = StopWish::default();
    let leadership = Leadership::new(
        LeaderIdentity {
            member_id: config.member_id,
            cluster_id: config.cluster_id,
            app_version: config.app_version,
            member_entry: member_entry(config.member_id, &ingress_endpoint, &endpoint),
            durable,
            node_state: directory.cluster().join(node_state::FILE_NAME),
            bootstrap: config
                .leading
                .bootstrap
                .then(|| part_configs::bootstrap_log(&config, &ingress_endpoint)),
        },
        LeadRings {
            commands: Backlog::new(lead_command_producer),
            requests: lead_request_consumer,
            ended: lead_ended_consumer,
        },
        role_gauges,
        counters,
        stop.clone(),
    );

    let agents = Agents {
        archive: Box::new(Archive::new(
            serving,
            sockets.archive.io,
            archive_command_consumer,
            archive_request_producer,
            archive_gauges,
        )),
        receiver: Box::new(Receiver::new(
            tap,
            sockets.receiver.io,
            command_consumer,
            request_producer,
            set.log_senders,
            gauges,
        )),
        leading: Box::new(Leading::new(
            sockets.ingress.io,
            leading_parts,
            lead_command_consumer,
            lead_request_producer,
            lead_ended_producer,
        )),
        services: set.agents.into_iter().map(|agent| Box::new(agent) as Box<dyn Agent + Send>).collect(),
        conductor: Box::new(Conductor::new(
            history,
            Following {
                starting: Starting::new(config.app_version, service_count, set.links),
                module: set.follower,
                missed_messages,
                snapshots: SnapshotControl::new(
                    service_count,
                    config.snapshots.term_length,
                    SnapshotSchedule::new(config.snapshots.interval_ns, config.snapshots.log_length),
                    snapshot_gauges,
                    order_producer,
                    news_consumer,
                ),
                retention: Retention::new(config.retention, durable_position.clone()),
                leadership,
                activation,
            },
            life,
            backup,
            downstream,
            ConductorRings {
                commands: Backlog::new(command_producer),
                requests: request_consumer,
                archive_commands: Backlog::new(archive_command_producer),
                archive_requests: archive_request_consumer,
                jobs: Backlog::new(job_producer),
                replies: reply_consumer,
                synced_logs: synced_log_producer,
                sync_failures: sync_failure_consumer,
                replica_module,
                module_states: state_receiver,
            },
        )),
        storage: Box::new(Storage::new(job_consumer, reply_producer, families)),
        syncer: Box::new(Syncer::new(
            synced_log_consumer,
            sync_failure_producer,
            sync_watch,
            durable_position,
            sync_interval,
        )),
        snapshot: Box::new(Snapshot::new(set.parts, order_consumer, news_producer)),
        replica,
        cycles: Cycles { standby: standby_cycles, services: service_cycles },
    };
    tracing::info!(
        dir = %config.dir.display(), local_addr = %sockets.receiver.local_addr, %archive_addr, %ingress_addr, layout = ?config.layout, network = %config.network,
        services = config.services.join(","), "started"
    );
    let threads = Threads::start(agents, &config)?;
    Ok(NodeHandle {
        threads,
        aeron_dir: config.aeron_dir.clone(),
        module_states: state_sender,
        stop,
        _directory: directory,
    })
}

/// A thread that cannot be pinned would end a node that has just said that it is up.
fn check_cores(config: &NodeConfig) -> Result<(), LaunchError> {
    let receiver = config.receiver_core.iter().map(|core| ("receiver_core", *core));
    let has_service_threads = config.layout == Layout::Dedicated;
    let services = config.service_cores.iter().take(config.services.len());
    let services = services.filter(|_| has_service_threads).map(|core| ("service_cores", *core));
    receiver.chain(services).try_for_each(|(key, core)| {
        affinity::check_core(core).map_err(|source| LaunchError::Core { key, source })
    })
}

/// One instance of each configured service, by id, without counters.
fn new_services(config: &NodeConfig, make: &Arc<MakeService>) -> Result<Vec<NewService>, LaunchError> {
    let new_service = |(service_id, name): (u8, &String)| {
        let service = make(service_id).map_err(|source| LaunchError::Service {
            service_id,
            name: name.clone(),
            source,
        })?;
        Ok(NewService { name: format!("service-{service_id}"), service, gauges: None })
    };
    (0..).zip(&config.services).map(new_service).collect()
}

/// Numbers that no other node, nor this one at another time, will come up with.
pub(crate) fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds each of these from the system's random numbers.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
