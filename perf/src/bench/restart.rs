//! `restart`: from the snapshot through the log that is there, our node and a Java member.
//!
//! One member takes an ordinary snapshot near the beginning, and our node with it; then a client fills the log, which
//! the node records. In turn, the node, which has been stopped, starts again on its directory, and the member, killed,
//! on its own. Both are measured alike, by the positions in their cnc.dat: from the first that is beyond the snapshot's to
//! the end of the log. The member's is its commit position, which its consensus module moves as it replays; the
//! service, which may be behind it by what fits a replay's window, is not waited for. Ours is what the service has applied.
//! Starting a process and loading the snapshot, which is small, are left out.

use crate::cluster::{Cluster, await_some};
use crate::error::BenchError;
use crate::node::{MESSAGE_COUNTER, Node, applied_position, await_snapshot};
use crate::process::Signal;
use crate::report::{Case, Pairs, Session, Target};
use consensus_tap::file::cnc::counters::COMMIT_POSITION;
use std::thread;
use std::time::{Duration, Instant};

const TIME: Case =
    Case { bench: "restart", case: "time", unit: "s", peer: "java-member", target: Target::AtMost(0.33) };
/// What a service costs that reads every byte, by the same work in both languages.
const TIME_AUDIT: Case = Case { case: "time_audit", target: Target::None, ..TIME };

/// Runs the cases.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    run_with(session, &TIME, COUNTING)?;
    run_with(session, &TIME_AUDIT, AUDIT)
}

fn run_with(session: &mut Session, case: &Case, service: Service) -> Result<(), BenchError> {
    let length = if session.is_quick() { LOG_LENGTH_QUICK } else { LOG_LENGTH };
    let mut cluster = Cluster::start(1, &[MEMBER_FLAGS, service.member_flags].concat())?;
    let log = record_log(&cluster, service, length)?;
    let mut pairs = Pairs::default();
    for _ in 0..session.pair_count() {
        // Its compilers would go on for a while.
        cluster.process(0).signal(Signal::Stop)?;
        pairs.push(restart_node(&cluster, service, log)?, restart_member(&mut cluster, log)?);
    }
    session.report(case, &pairs)
}

/// The same service on either side.
#[derive(Clone, Copy, Debug)]
struct Service {
    node_name: &'static str,
    member_flags: &'static [&'static str],
}

impl Service {
    fn start(self, cluster: &Cluster) -> Result<Node, BenchError> {
        Node::start(cluster, DIRECTORY, &[NODE_FLAGS, &["--service", self.node_name]].concat())
    }
}

/// What is replayed.
#[derive(Clone, Copy, Debug)]
struct Log {
    snapshot_position: i64,
    end_position: i64,
}

/// Has both take a snapshot and record a log behind it.
fn record_log(cluster: &Cluster, service: Service, length: i64) -> Result<Log, BenchError> {
    let mut client = cluster.client(CLIENT_FLAGS)?;
    let node = service.start(cluster)?;
    client.send(MESSAGES_BEFORE_SNAPSHOT, 0)?;
    cluster.toggle(SNAPSHOT)?;
    let snapshot_position = await_snapshot(&node.counters()?, -1, START_TIMEOUT)?;
    await_some("snapshot of the member", START_TIMEOUT, || Ok(cluster.is_neutral()?.then_some(())))?;
    let end_position = loop {
        client.send(MESSAGES_PER_ROUND, 0)?;
        let committed = cluster.counter(0, COMMIT_POSITION)?.unwrap_or(0);
        if committed >= snapshot_position + length {
            break committed;
        }
    };
    node.await_applied(end_position, REPLAY_TIMEOUT)?;
    node.into_process().stop()?;
    Ok(Log { snapshot_position, end_position })
}

fn restart_node(cluster: &Cluster, service: Service, log: Log) -> Result<f64, BenchError> {
    cluster.files().remove(&format!("{DIRECTORY}/aeron"))?;
    let node = service.start(cluster)?;
    let counters = node.counters()?;
    let time = watch(log, || Ok(applied_position(&counters)))?;
    node.into_process().stop()?;
    Ok(time)
}

fn restart_member(cluster: &mut Cluster, log: Log) -> Result<f64, BenchError> {
    cluster.restart_alone()?;
    let counters = await_some("cnc.dat of the member", START_TIMEOUT, || Ok(cluster.counters(0).ok()))?;
    let time = watch(log, || Ok(counters.find(COMMIT_POSITION, &[]).map_or(-1, |counter| counter.value)))?;
    cluster.await_ready()?;
    Ok(time)
}

/// Seconds from the first position behind the snapshot to the end of the log.
fn watch(log: Log, mut position: impl FnMut() -> Result<i64, BenchError>) -> Result<f64, BenchError> {
    let from = await_some("first position of a replay", START_TIMEOUT, || {
        Ok(Some(position()?).filter(|&position| position > log.snapshot_position))
    })?;
    let begun = Instant::now();
    while position()? < log.end_position {
        if begun.elapsed() > REPLAY_TIMEOUT {
            return Err(BenchError::Run(format!("no replay from {from} to {} in time", log.end_position)));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(begun.elapsed().as_secs_f64())
}

const COUNTING: Service = Service { node_name: MESSAGE_COUNTER, member_flags: &["--counting-service"] };
const AUDIT: Service = Service { node_name: "audit", member_flags: &[] };
/// Aeron's own lengths of terms and segments.
const MEMBER_FLAGS: &[&str] = &["--term-length", "64m", "--segment-length", "128m"];
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "256", "--window", "4096"];
/// Each reader of the log has a thread, as in the member.
const NODE_FLAGS: &[&str] =
    &["--replay-start", "beginning", "--snapshot-on-ordinary", "--layout", "dedicated", "--idle", "backoff"];
const LOG_LENGTH: i64 = 1_000_000_000;
const LOG_LENGTH_QUICK: i64 = 420_000_000;
const MESSAGES_BEFORE_SNAPSHOT: u64 = 1000;
const MESSAGES_PER_ROUND: u64 = 50_000;
/// `ToggleState.SNAPSHOT` of ClusterControl.java.
const SNAPSHOT: i64 = 4;
const DIRECTORY: &str = "node";
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const REPLAY_TIMEOUT: Duration = Duration::from_secs(60);
