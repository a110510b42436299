//! Our node, as a process of its own: this very program, started with the verb `run`.
//!
//! A process has memory and CPU time of its own to be counted, and can be stood still. Cargo does not build the
//! binary of `standby-node` for us, and the verbs are in its library.

use crate::cluster::{Cluster, await_some};
use crate::error::BenchError;
use crate::process::Process;
use consensus_tap::file::cnc::counters::{APPLIED_POSITION, RECORDED_POSITION};
use service_api::{
    ClientSession, CloseReason, Cluster as ClusterApi, ClusteredService, NewLeadershipTerm, ServiceError,
    SnapshotReader, SnapshotWriter, StatusFields,
};
use standby_node::NodeHandle;
use standby_node::audit::Audit;
use standby_node::config::{Layout, NodeConfig, Settings};
use standby_node::store::cnc::CncReader;
use standby_node::sys::clock::monotonic_ns;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

/// A running node. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    process: Process,
    aeron_dir: PathBuf,
}

impl Node {
    /// Starts a node in a directory `name`, which must be new, to follow member 0.
    pub(crate) fn start(cluster: &Cluster, name: &str, flags: &[&str]) -> Result<Self, BenchError> {
        Self::start_at(Priority::Normal, cluster, name, flags)
    }

    /// As [`Self::start`], at a priority.
    pub(crate) fn start_at(
        priority: Priority,
        cluster: &Cluster,
        name: &str,
        flags: &[&str],
    ) -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
        let dir = cluster.files().path(name);
        let aeron_dir = PathBuf::from(&dir).join("aeron");
        let mut command = match priority {
            Priority::Normal => Command::new(program),
            Priority::Lowest => {
                let mut nice = Command::new("nice");
                nice.args(["-n", "19"]).arg(program);
                nice
            }
        };
        command
            .args([VERB, "--no-progress", "--host", "localhost", "--dir", &dir])
            .args(["--consensus-endpoints", &cluster.consensus_endpoint(0), "--routing", "single"])
            .args(flags)
            .env("RUST_LOG", "warn");
        let process = Process::spawn("node", &command, cluster.files().errors(name))?;
        Ok(Self { process, aeron_dir })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn into_process(self) -> Process {
        self.process
    }

    /// Its counters, once it has any.
    pub(crate) fn counters(&self) -> Result<CncReader, BenchError> {
        await_some("cnc.dat of the node", START_TIMEOUT, || Ok(CncReader::open(&self.aeron_dir).ok()))
    }

    /// Waits until it has recorded and applied the log up to `position`.
    pub(crate) fn await_applied(&self, position: i64, timeout: Duration) -> Result<(), BenchError> {
        let counters = self.counters()?;
        await_some(&format!("position {position} in the node"), timeout, || {
            Ok((applied_position(&counters) >= position).then_some(()))
        })
    }
}

/// How a node's process competes for the cores.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Priority {
    Normal,
    /// Takes what others leave.
    Lowest,
}

/// A node in this process, in a directory `name`, which must be new, to follow member 0.
pub(crate) fn launch_here(
    cluster: &Cluster,
    name: &str,
    layout: Layout,
    idle: &str,
    make: impl Fn() -> Box<dyn ClusteredService> + Send + Sync + 'static,
) -> Result<NodeHandle, BenchError> {
    let settings = Settings {
        dir: Some(PathBuf::from(cluster.files().path(name))),
        host: Some("localhost".to_owned()),
        consensus_endpoints: Some(vec![cluster.consensus_endpoint(0)]),
        routing: Some("single".to_owned()),
        layout: Some(layout),
        idle: Some(idle.parse().map_err(BenchError::run)?),
        ..Settings::default()
    };
    let config = NodeConfig::new(settings, CORE_COUNT_UNUSED).map_err(BenchError::run)?;
    standby_node::launch(config, move |_, _| Ok(make())).map_err(BenchError::run)
}

/// What is both recorded and applied, -1 when nothing is.
pub(crate) fn applied_position(counters: &CncReader) -> i64 {
    let value =
        |type_id| counters.find(type_id, &[]).filter(|counter| counter.value >= 0).map_or(-1, |c| c.value);
    value(RECORDED_POSITION.type_id).min(value(APPLIED_POSITION.type_id))
}

/// Whether this process is to be a node, and not a bench.
pub(crate) fn is_asked_for() -> bool {
    std::env::args().nth(1).is_some_and(|verb| verb == VERB)
}

/// Is a node until told to stop.
pub(crate) fn main() -> ExitCode {
    standby_node::cli::main(service)
}

fn service(name: &str, _config: &NodeConfig) -> Result<Box<dyn ClusteredService>, String> {
    let audit = Audit::new(monotonic_ns);
    match name {
        "audit" => Ok(Box::new(audit)),
        SLEEPING_AUDIT => Ok(Box::new(HookedAudit::new(audit, |_| thread::sleep(SLEEP)))),
        other => Err(format!("there is no service \"{other}\" here")),
    }
}

/// Name of the service that sleeps for a millisecond with every message.
pub(crate) const SLEEPING_AUDIT: &str = "sleeping-audit";

/// The audit service, and something that is done with every message that it has applied.
pub(crate) struct HookedAudit<F> {
    audit: Audit,
    on_applied: F,
}

impl<F: FnMut(&[u8])> HookedAudit<F> {
    pub(crate) fn new(audit: Audit, on_applied: F) -> Self {
        Self { audit, on_applied }
    }
}

impl<F: FnMut(&[u8]) + Send> ClusteredService for HookedAudit<F> {
    fn on_start(
        &mut self,
        cluster: &ClusterApi<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        self.audit.on_start(cluster, snapshot)
    }

    fn on_session_open(&mut self, cluster: &ClusterApi<'_>, session: ClientSession<'_>, timestamp: i64) {
        self.audit.on_session_open(cluster, session, timestamp);
    }

    fn on_session_message(
        &mut self,
        cluster: &ClusterApi<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        message: &[u8],
    ) {
        self.audit.on_session_message(cluster, session, timestamp, message);
        (self.on_applied)(message);
    }

    fn on_session_close(
        &mut self,
        cluster: &ClusterApi<'_>,
        session: ClientSession<'_>,
        timestamp: i64,
        reason: CloseReason,
    ) {
        self.audit.on_session_close(cluster, session, timestamp, reason);
    }

    fn on_timer_event(&mut self, cluster: &ClusterApi<'_>, correlation_id: i64, timestamp: i64) {
        self.audit.on_timer_event(cluster, correlation_id, timestamp);
    }

    fn on_take_snapshot(
        &mut self,
        cluster: &ClusterApi<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        self.audit.on_take_snapshot(cluster, snapshot)
    }

    fn on_new_leadership_term_event(&mut self, cluster: &ClusterApi<'_>, term: &NewLeadershipTerm) {
        self.audit.on_new_leadership_term_event(cluster, term);
    }

    fn status(&self, fields: &mut StatusFields) {
        self.audit.status(fields);
    }
}

const VERB: &str = "run";
/// Only a node without a layout would be given one by it.
const CORE_COUNT_UNUSED: usize = 1;
const SLEEP: Duration = Duration::from_millis(1);
const START_TIMEOUT: Duration = Duration::from_secs(20);
