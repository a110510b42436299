//! Our node, as a process of its own: this very program, started with the verb `run`.
//!
//! A process has memory and CPU time of its own to be counted, and can be stood still. Cargo does not build the
//! binary of `standby-node` for us, and the verbs are in its library.

use crate::cluster::{Cluster, Workplace, await_some, toggle};
use crate::error::BenchError;
use crate::message_counter::MessageCounter;
use crate::process::Process;
use consensus_tap::file::cnc::counters::{
    APPLIED_POSITION, COMMIT_POSITION, ELECTION_STATE, RECORDED_POSITION, SNAPSHOT_POSITION,
    STANDBY_CONTROL_TOGGLE, TOGGLE_SNAPSHOT,
};
use service_api::{
    ClientSession, CloseReason, Cluster as ClusterApi, ClusteredService, FrozenState, NewLeadershipTerm,
    Role, ServiceError, SnapshotReader, SnapshotWriter, StatusFields,
};
use standby_node::NodeHandle;
use standby_node::agent::idle::IdleStrategy;
use standby_node::audit::Audit;
use standby_node::config::{Layout, NodeConfig, Settings};
use standby_node::store::cnc::CncReader;
use standby_node::sys::clock::monotonic_ns;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running node. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    process: Process,
    aeron_dir: PathBuf,
}

impl Node {
    /// Starts a node in a directory `name`, which is new or a node's that has ended, to follow member 0.
    pub(crate) fn start(cluster: &Cluster, name: &str, flags: &[&str]) -> Result<Self, BenchError> {
        Self::start_at(Priority::Normal, cluster, name, flags)
    }

    /// Starts a node in a new directory `name`, with the audit service, to follow a node of ours.
    pub(crate) fn follow(
        files: &Workplace,
        name: &str,
        endpoint: &str,
        flags: &[&str],
    ) -> Result<Self, BenchError> {
        let (process, aeron_dir) = spawn(
            files,
            name,
            &[&["--service", "audit", "--member-id", "101", "--consensus-endpoints", endpoint], flags]
                .concat(),
        )?;
        Ok(Self { process, aeron_dir })
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

    pub(crate) fn aeron_dir(&self) -> &Path {
        &self.aeron_dir
    }

    pub(crate) fn into_process(self) -> Process {
        self.process
    }

    /// Does what an operator's script does: asks by dry runs until nothing stands in the way, then sets the
    /// flag and waits until the node leads.
    pub(crate) fn activate(&self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.verb(&["--dry-run"])?.success() {
            if Instant::now() > deadline {
                return Err(BenchError::Run(format!("no dry run is clean within {START_TIMEOUT:?}")));
            }
            thread::sleep(DRY_RUN_INTERVAL);
        }
        let status = self.verb(&["--wait", "10"])?;
        if status.success() {
            Ok(())
        } else {
            Err(BenchError::Run(format!("the activation ends with {status}")))
        }
    }

    fn verb(&self, flags: &[&str]) -> Result<ExitStatus, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
        let dir = self.aeron_dir.parent().expect("it lies in the node's directory");
        let mut command = Command::new(program);
        command.arg(ACTIVATE).arg("--dir").arg(dir).args(flags).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().map_err(BenchError::io("run a verb"))
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

/// A running node that leads a cluster of its own. Killed when dropped.
#[derive(Debug)]
pub(crate) struct ActiveNode {
    process: Process,
    aeron_dir: PathBuf,
    ingress_endpoints: String,
    archive_endpoint: String,
}

impl ActiveNode {
    /// Starts a node with the audit service in a new directory `name`, and waits until it serves.
    pub(crate) fn start(files: &Workplace, name: &str, flags: &[&str]) -> Result<Self, BenchError> {
        let ingress_endpoint = format!("localhost:{}", free_port()?);
        let archive_endpoint = format!("localhost:{}", free_port()?);
        let own = ["--service", "audit", "--bootstrap", "--ingress-endpoint", &ingress_endpoint];
        let own = [&own[..], &["--archive-endpoint", &archive_endpoint]].concat();
        let (process, aeron_dir) = spawn(files, name, &[&own[..], flags].concat())?;
        await_some("active node", START_TIMEOUT, || {
            let cnc = CncReader::open(&aeron_dir).ok();
            Ok(cnc.filter(is_serving).map(drop))
        })?;
        let ingress_endpoints = format!("{MEMBER_ID}={ingress_endpoint}");
        Ok(Self { process, aeron_dir, ingress_endpoints, archive_endpoint })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Where it takes ingress.
    pub(crate) fn ingress_endpoints(&self) -> &str {
        &self.ingress_endpoints
    }

    /// Where a standby of it asks.
    pub(crate) fn archive_endpoint(&self) -> &str {
        &self.archive_endpoint
    }

    /// Up to where its log is committed.
    pub(crate) fn commit_position(&self) -> Result<i64, BenchError> {
        let counters = CncReader::open(&self.aeron_dir).map_err(BenchError::run)?;
        Ok(counters.find(COMMIT_POSITION, &[]).map_or(-1, |counter| counter.value))
    }

    /// Ends it in order.
    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.process.stop()
    }
}

/// Whether a node leads, by its counters.
pub(crate) fn is_serving(counters: &CncReader) -> bool {
    counters.find(ELECTION_STATE, &[]).is_some_and(|counter| counter.value == ELECTION_CLOSED)
}

fn spawn(files: &Workplace, name: &str, flags: &[&str]) -> Result<(Process, PathBuf), BenchError> {
    let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
    let dir = files.path(name);
    let mut command = Command::new(program);
    command
        .args([VERB, "--no-progress", "--host", "localhost", "--dir", &dir])
        .args(flags)
        .env("RUST_LOG", "warn");
    let process = Process::spawn("node", &command, files.errors(name))?;
    Ok((process, PathBuf::from(&dir).join("aeron")))
}

/// A port that the system has just handed out and taken back.
fn free_port() -> Result<u16, BenchError> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.map(|address| address.port()).map_err(BenchError::io("find a free port"))
}

/// How a node's process competes for the cores.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Priority {
    Normal,
    /// Takes what others leave.
    Lowest,
}

/// A node in this process, in a directory `name`, which must be new, to follow member 0. `settings` are those of the
/// bench; where the node is and whom it follows is filled in.
pub(crate) fn launch_here(
    cluster: &Cluster,
    name: &str,
    settings: Settings,
    make: impl Fn() -> Box<dyn ClusteredService> + Send + Sync + 'static,
) -> Result<NodeHandle, BenchError> {
    let settings = Settings {
        dir: Some(PathBuf::from(cluster.files().path(name))),
        host: Some("localhost".to_owned()),
        consensus_endpoints: Some(vec![cluster.consensus_endpoint(0)]),
        routing: Some("single".to_owned()),
        ..settings
    };
    let config = NodeConfig::new(settings, CORE_COUNT_UNUSED).map_err(BenchError::run)?;
    standby_node::launch(config, move |_, _| Ok(make())).map_err(BenchError::run)
}

/// Settings that say how a node's threads lie and idle.
pub(crate) fn threads(layout: Layout, idle: IdleStrategy) -> Settings {
    Settings { layout: Some(layout), idle: Some(idle), ..Settings::default() }
}

/// Asks a node for a snapshot by its toggle, as its verb does.
pub(crate) fn ask_for_snapshot(aeron_dir: &Path) -> Result<(), BenchError> {
    toggle(aeron_dir, STANDBY_CONTROL_TOGGLE, TOGGLE_SNAPSHOT)
}

/// Waits until a node has a newer snapshot than that at `before`, and returns where it stands in the log.
pub(crate) fn await_snapshot(
    counters: &CncReader,
    before: i64,
    timeout: Duration,
) -> Result<i64, BenchError> {
    await_some("snapshot of the node", timeout, || {
        Ok(Some(snapshot_position(counters)).filter(|&position| position > before))
    })
}

/// Where a node's newest snapshot stands in the log, -1 for none.
pub(crate) fn snapshot_position(counters: &CncReader) -> i64 {
    counters.find(SNAPSHOT_POSITION.type_id, &[]).map_or(-1, |counter| counter.value)
}

/// What is both recorded and applied, -1 when nothing is.
pub(crate) fn applied_position(counters: &CncReader) -> i64 {
    let value =
        |type_id| counters.find(type_id, &[]).filter(|counter| counter.value >= 0).map_or(-1, |c| c.value);
    value(RECORDED_POSITION.type_id).min(value(APPLIED_POSITION.type_id))
}

/// Whether this process is to be a node, or to tell one something, and not a bench.
pub(crate) fn is_asked_for() -> bool {
    std::env::args().nth(1).is_some_and(|verb| verb == VERB || verb == ACTIVATE)
}

/// Is a node until told to stop, or tells one something.
pub(crate) fn main() -> ExitCode {
    standby_node::cli::main(service)
}

fn service(name: &str, config: &NodeConfig) -> Result<Box<dyn ClusteredService>, String> {
    let audit =
        Audit::new(monotonic_ns).with_ballast(config.audit_ballast).map_err(|error| error.to_string())?;
    match name {
        "audit" => Ok(Box::new(audit)),
        MESSAGE_COUNTER => Ok(Box::new(MessageCounter::default())),
        SLEEPING_AUDIT => Ok(Box::new(HookedAudit::new(audit, |_: &[u8]| thread::sleep(SLEEP)))),
        other => Err(format!("there is no service \"{other}\" here")),
    }
}

/// Name of the service that counts messages and does nothing else.
pub(crate) const MESSAGE_COUNTER: &str = "message-counter";

/// Name of the service that sleeps for a millisecond with every message.
pub(crate) const SLEEPING_AUDIT: &str = "sleeping-audit";

/// What is done besides when the audit service is called.
pub(crate) trait Hook: Send {
    /// A message has been applied.
    fn on_applied(&mut self, message: &[u8]) {
        let _ = message;
    }

    /// A duty cycle of the agent that began at `now_ns` nears its end.
    fn on_cycle(&mut self, now_ns: u64) {
        let _ = now_ns;
    }
}

impl<F: FnMut(&[u8]) + Send> Hook for F {
    fn on_applied(&mut self, message: &[u8]) {
        self(message);
    }
}

/// The audit service with a hook.
pub(crate) struct HookedAudit<H> {
    audit: Audit,
    hook: H,
}

impl<H: Hook> HookedAudit<H> {
    pub(crate) fn new(audit: Audit, hook: H) -> Self {
        Self { audit, hook }
    }
}

impl<H: Hook> ClusteredService for HookedAudit<H> {
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
        self.hook.on_applied(message);
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

    fn freeze(&mut self, cluster: &ClusterApi<'_>) -> Option<Box<dyn FrozenState>> {
        self.audit.freeze(cluster)
    }

    fn on_role_change(&mut self, cluster: &ClusterApi<'_>, role: Role) {
        self.audit.on_role_change(cluster, role);
    }

    fn on_new_leadership_term_event(&mut self, cluster: &ClusterApi<'_>, term: &NewLeadershipTerm) {
        self.audit.on_new_leadership_term_event(cluster, term);
    }

    fn on_terminate(&mut self, cluster: &ClusterApi<'_>) {
        self.audit.on_terminate(cluster);
    }

    fn do_background_work(&mut self, cluster: &ClusterApi<'_>, now_ns: u64) -> usize {
        self.hook.on_cycle(now_ns);
        self.audit.do_background_work(cluster, now_ns)
    }

    fn status(&self, fields: &mut StatusFields) {
        self.audit.status(fields);
    }
}

const VERB: &str = "run";
const ACTIVATE: &str = "activate";
/// Between two dry runs.
const DRY_RUN_INTERVAL: Duration = Duration::from_millis(20);
/// A node's default.
const MEMBER_ID: i32 = 100;
/// No election is under way: Aeron's code.
const ELECTION_CLOSED: i64 = 17;
/// Only a node without a layout would be given one by it.
const CORE_COUNT_UNUSED: usize = 1;
const SLEEP: Duration = Duration::from_millis(1);
const START_TIMEOUT: Duration = Duration::from_secs(20);
