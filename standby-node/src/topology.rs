//! Every agent, its thread and core, the rings between agents and their sizes, on one screen.
//!
//! ```text
//!                    commands 64                     jobs 64
//!   receiver  <──────────────────────  conductor ──────────────> storage
//!      │  └─────────────────────────────>  ^ ^  <────────────────── ┘
//!      │             requests 64           │ │       replies 64
//!      │                                   │ │ emissions 4 buffers
//!      │  log ends 1,024                   │ └──────────────── service-N
//!      ├───────────────────────────────────┘ ──── orders 2 ───>  ^
//!      └─────────────────────────────────────────────────────────┘
//!         log ends 1,024
//!
//!   archive   <── commands 64, requests 64 ──>  conductor
//!   receiver  <── next segment 1, full segments 4 ──>  storage
//!
//!                       parts 4                       orders 64
//!   service-N, module ──────────────>  snapshot  <───────────────  conductor
//!                                          └──────────────────────>  ^
//!                                                     news 64
//! ```
//! Once this node leads, on the receiver's thread:
//!
//! ```text
//!               commands 64, requests 64, ended 1                log 1, failures 1
//!   leading  <─────────────────────────────────>  conductor  <─────────────────────>  syncer
//!      ^ └── log ends 1,024 ──> service-N, module (the receiver's rings)   how far it is durable: an atomic
//!      └── replies 8 buffers ── service-N
//! ```
//! With `snapshot_mode = replica` the thread `replica` has a second set of services and a module follower of its own,
//! with the same rings; theirs are then the parts.
//!
//! `launch` makes the rings, of the sizes below; those for segments are made anew with each recording, by
//! `store::segment_preparer`. A full ring of log ends merges them, a full segment that finds no room is unmapped where
//! it is, a service whose buffers are all under way keeps its emissions; every other ring has room for all that its
//! protocol allows to be under way, or its sender keeps what does not fit.

use std::time::Duration;

use crate::agent::idle::IdleStrategy;
use crate::agent::runner::{AgentRunner, RunnerConfig, RunnerError, StopFlag};
use crate::agent::{Agent, CompositeAgent};
use crate::config::{Layout, NodeConfig};
use crate::status::CycleGauges;

/// Ends of the log on their way to one reader.
pub const LOG_RING_CAPACITY: usize = 1024;
/// Buffers of emissions that go round between a service and the module follower.
pub const EMISSION_BUFFER_COUNT: usize = 4;
/// Buffers of replies that go round between a service and the receiver's thread, which leads.
pub const EGRESS_BUFFER_COUNT: usize = 8;
/// Bytes of replies that are kept for one client that does not take them; half of it makes services wait.
pub const EGRESS_BACKLOG_LENGTH_MAX: usize = 16 * 1024 * 1024;
/// Words of one reader about snapshots; one that is so many ahead of the snapshot agent merges them.
pub const PART_RING_CAPACITY: usize = 4;
/// To load and to begin.
pub const ORDER_RING_CAPACITY: usize = 2;
/// Commands, requests, jobs and replies.
pub const CONTROL_RING_CAPACITY: usize = 64;
/// A cycle longer than this is counted as a stall.
pub const CYCLE_THRESHOLD: Duration = Duration::from_millis(10);
/// Others wait for what is served, but not on a core of its own.
const ARCHIVE_IDLE: IdleStrategy = IdleStrategy::BACKOFF;
/// The conductor's work is not urgent to the microsecond.
const CONDUCTOR_IDLE: IdleStrategy = IdleStrategy::Sleep(Duration::from_millis(1));
/// Neither is the disk's.
const STORAGE_IDLE: IdleStrategy = IdleStrategy::Sleep(Duration::from_millis(1));
/// Sleeps between two syncs, until somebody who waits for one wakes it.
const SYNCER_IDLE: IdleStrategy = IdleStrategy::Sleep(Duration::from_millis(1));
/// Nor is a snapshot, which takes longer by far.
const SNAPSHOT_IDLE: IdleStrategy = IdleStrategy::Sleep(Duration::from_millis(1));
/// A replica has to keep up, no more.
const REPLICA_IDLE: IdleStrategy = IdleStrategy::BACKOFF;

/// The agents of a node, in no thread yet.
#[allow(missing_debug_implementations, reason = "agents need not be printable")]
pub struct Agents {
    /// Drives the tap.
    pub receiver: Box<dyn Agent + Send>,
    /// Leads, on the receiver's thread.
    pub leading: Box<dyn Agent + Send>,
    /// Drives what is served to others.
    pub archive: Box<dyn Agent + Send>,
    /// One for each service, by service id.
    pub services: Vec<Box<dyn Agent + Send>>,
    /// Files, module state, counters.
    pub conductor: Box<dyn Agent + Send>,
    /// What may block.
    pub storage: Box<dyn Agent + Send>,
    /// Makes the log durable, and blocks on the disk.
    pub syncer: Box<dyn Agent + Send>,
    /// Records snapshots, and may block.
    pub snapshot: Box<dyn Agent + Send>,
    /// The second set of services, and the module behind them; empty without one.
    pub replica: Vec<Box<dyn Agent + Send>>,
    /// How long cycles take of the receiver, and of each service by service id.
    pub cycles: Cycles,
}

/// Where others see how long the cycles of the hot threads take. In the shared layout all show the same thread's.
#[derive(Debug)]
pub struct Cycles {
    /// Of the thread that receives.
    pub standby: CycleGauges,
    /// Of each service, by service id.
    pub services: Vec<CycleGauges>,
}

/// The running threads, in the order in which they are to be stopped: whoever feeds goes before who is fed. Dropping
/// them stops them too.
#[derive(Debug)]
pub struct Threads {
    stages: Vec<(StopFlag, Vec<AgentRunner>)>,
}

impl Threads {
    /// Puts agents on threads as the configured layout says.
    ///
    /// # Errors
    /// [`RunnerError::Spawn`]; threads that were started are stopped.
    pub fn start(agents: Agents, config: &NodeConfig) -> Result<Self, RunnerError> {
        let mut threads = Self { stages: Vec::new() };
        for stage in stages(agents, config) {
            if let Err(error) = threads.start_stage(stage) {
                // Why the others ended matters less than why this one could not begin.
                let _ = threads.stop();
                return Err(error);
            }
        }
        Ok(threads)
    }

    fn start_stage(&mut self, stage: Stage) -> Result<(), RunnerError> {
        let stop = StopFlag::new();
        self.stages.push((stop.clone(), Vec::new()));
        let (_, runners) = self.stages.last_mut().expect("it was just pushed");
        for (config, agent) in stage {
            runners.push(AgentRunner::start(config, agent, stop.clone())?);
        }
        Ok(())
    }

    /// Whether some thread has ended by itself, which only an error makes it do.
    pub fn any_finished(&self) -> bool {
        self.stages.iter().flat_map(|(_, runners)| runners).any(AgentRunner::is_finished)
    }

    /// Stops the threads stage by stage and waits for each.
    ///
    /// # Errors
    /// The first error that ended a thread.
    pub fn stop(mut self) -> Result<(), RunnerError> {
        self.stop_all()
    }

    fn stop_all(&mut self) -> Result<(), RunnerError> {
        let mut result = Ok(());
        for (stop, runners) in self.stages.drain(..) {
            stop.stop();
            for runner in runners {
                result = result.and(runner.join());
            }
        }
        result
    }
}

impl Drop for Threads {
    /// Threads never outlive what they were started for: above all the lock on the directory that they write to.
    fn drop(&mut self) {
        if let Err(error) = self.stop_all() {
            tracing::error!(%error, "the node was dropped after it had failed");
        }
    }
}

/// Threads that are stopped together.
type Stage = Vec<Thread>;

fn stages(agents: Agents, config: &NodeConfig) -> Vec<Stage> {
    let Agents {
        receiver,
        leading,
        archive,
        services,
        conductor,
        storage,
        syncer,
        snapshot,
        replica,
        cycles,
    } = agents;
    let archive = vec![thread(archive, "archive", None, ARCHIVE_IDLE)];
    // Stopped last: a replica may be waiting for the snapshot agent.
    let blocking = vec![
        thread(storage, "storage", None, STORAGE_IDLE),
        thread(syncer, "syncer", None, SYNCER_IDLE),
        thread(snapshot, "snapshot", None, SNAPSHOT_IDLE),
    ];
    let replica = if replica.is_empty() {
        Vec::new()
    } else {
        vec![thread(Box::new(CompositeAgent::new(replica)), "replica", None, REPLICA_IDLE)]
    };
    match config.layout {
        Layout::Dedicated => {
            let services = services.into_iter().zip(cycles.services).enumerate();
            let services = services.map(|(id, (service, gauges))| {
                let core = config.service_cores.get(id).copied();
                measured(thread(service, &format!("service-{id}"), core, config.idle), vec![gauges])
            });
            // A composite closes in reverse order: who leads has the log that the receiver had.
            let receiver = Box::new(CompositeAgent::new(vec![receiver, leading]));
            let receiver = thread(receiver, "receiver", config.receiver_core, config.idle);
            vec![
                archive,
                vec![measured(receiver, vec![cycles.standby])],
                services.collect(),
                replica,
                vec![thread(conductor, "conductor", None, CONDUCTOR_IDLE)],
                blocking,
            ]
        }
        Layout::Shared => {
            // A composite closes in reverse order: who leads, receiver, services, conductor.
            let mut all = vec![conductor];
            all.extend(services);
            all.extend([receiver, leading]);
            let shared =
                thread(Box::new(CompositeAgent::new(all)), "standby", config.receiver_core, config.idle);
            let mut gauges = cycles.services;
            gauges.push(cycles.standby);
            vec![archive, vec![measured(shared, gauges)], replica, blocking]
        }
    }
}

/// A thread, and what it runs.
type Thread = (RunnerConfig, Box<dyn Agent + Send>);

fn thread(agent: Box<dyn Agent + Send>, name: &str, core: Option<usize>, idle: IdleStrategy) -> Thread {
    let thread_name = name.to_owned();
    let cycle_threshold = CYCLE_THRESHOLD;
    (RunnerConfig { thread_name, core, idle, cycle_threshold, cycle_gauges: Vec::new() }, agent)
}

/// The thread's cycles are shown to others.
fn measured((config, agent): Thread, cycle_gauges: Vec<CycleGauges>) -> Thread {
    (RunnerConfig { cycle_gauges, ..config }, agent)
}
