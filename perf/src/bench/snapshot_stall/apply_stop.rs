use super::{CLIENT_FLAGS, RATE, load_beside, millis};
use crate::cluster::{Client, Cluster};
use crate::error::BenchError;
use crate::node::{Hook, HookedAudit, ask_for_snapshot, launch_here, snapshot_position};
use crate::report::{Case, Measured, Session, Target};
use standby_node::NodeHandle;
use standby_node::agent::service_snapshots::SnapshotMode;
use standby_node::audit::Audit;
use standby_node::config::{Layout, Settings};
use standby_node::store::cnc::CncReader;
use standby_node::sys::clock::monotonic_ns;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const VIEW: Case = Case {
    bench: "snapshot-stall",
    case: "apply_stop_view",
    unit: "ms",
    peer: "budget-10ms",
    target: Target::AtMost(1.0),
};
const REPLICA: Case = Case { case: "apply_stop_replica", ..VIEW };

/// Both modes, on one member.
pub(super) fn run(session: &mut Session) -> Result<(), BenchError> {
    let time = if session.is_quick() { TIME_QUICK } else { TIME };
    let cluster = Cluster::start(1, MEMBER_FLAGS)?;
    let mut client = cluster.client(CLIENT_FLAGS)?;
    for (case, mode) in [(&VIEW, SnapshotMode::View), (&REPLICA, SnapshotMode::Replica)] {
        let node = OurNode::start(&cluster, mode)?;
        client.send(RATE, RATE)?;
        session.against_constant(case, millis(BUDGET), || node.longest_stop(&mut client, time))?;
        node.stop(&cluster)?;
    }
    Ok(())
}

#[derive(Debug)]
struct OurNode {
    node: NodeHandle,
    counters: CncReader,
    longest_ns: Arc<AtomicU64>,
}

impl OurNode {
    fn start(cluster: &Cluster, mode: SnapshotMode) -> Result<Self, BenchError> {
        let longest_ns = Arc::new(AtomicU64::new(0));
        let settings = Settings { snapshot_mode: Some(mode), layout: Some(LAYOUT), ..Settings::default() };
        let node = launch_here(cluster, DIRECTORY, settings, {
            let longest_ns = Arc::clone(&longest_ns);
            move || {
                let audit = Audit::new(monotonic_ns).with_ballast(BALLAST).expect("a multiple of 8");
                let watch =
                    StopWatch { is_replica: None, last_ns: None, longest_ns: Arc::clone(&longest_ns) };
                Box::new(HookedAudit::new(audit.with_output(Box::new(io::sink())), watch))
            }
        })?;
        let counters = CncReader::open(node.aeron_dir()).map_err(BenchError::run)?;
        Ok(Self { node, counters, longest_ns })
    }

    /// Has a snapshot taken under load.
    fn longest_stop(&self, client: &mut Client, time: Duration) -> Result<Measured, BenchError> {
        let before = snapshot_position(&self.counters);
        let begin = || {
            self.longest_ns.store(0, Ordering::Relaxed);
            ask_for_snapshot(self.node.aeron_dir())
        };
        load_beside(client, time, begin, || Ok(snapshot_position(&self.counters) > before))?;
        Ok(Measured::value(self.longest_ns.load(Ordering::Relaxed) as f64 / 1e6))
    }

    fn stop(self, cluster: &Cluster) -> Result<(), BenchError> {
        self.node.stop().map_err(BenchError::run)?;
        cluster.files().remove(DIRECTORY)
    }
}

/// Measures from one duty cycle of the applying service to the next. A replica, which may stop, is not looked at.
#[derive(Debug)]
struct StopWatch {
    /// Known from the first cycle on, which is the first time that this is on the service's thread.
    is_replica: Option<bool>,
    last_ns: Option<u64>,
    longest_ns: Arc<AtomicU64>,
}

impl Hook for StopWatch {
    fn on_cycle(&mut self, now_ns: u64) {
        let is_replica =
            *self.is_replica.get_or_insert_with(|| thread::current().name() == Some(REPLICA_THREAD));
        if let Some(last_ns) = self.last_ns.replace(now_ns)
            && !is_replica
        {
            self.longest_ns.fetch_max(now_ns.saturating_sub(last_ns), Ordering::Relaxed);
        }
    }
}

/// By the names in `standby_node::topology`.
const REPLICA_THREAD: &str = "replica";
/// What two cores get by default.
const LAYOUT: Layout = Layout::Shared;
const MEMBER_FLAGS: &[&str] = &["--term-length", "64m", "--segment-length", "128m"];
const BALLAST: usize = 256 << 20;
const BUDGET: Duration = Duration::from_millis(10);
const TIME: Duration = Duration::from_secs(5);
const TIME_QUICK: Duration = Duration::from_millis(1500);
const DIRECTORY: &str = "node-here";
