//! `catchup`: a node without history takes over a member's whole log, against ClusterBackup doing so.
//!
//! One member holds a log that a client filled before. In turn, our node records it and has the audit service apply
//! it, and ClusterBackup records it; each in a fresh process with an empty directory in memory. Both are measured
//! alike, from outside: by the positions in their cnc.dat and by the process's times in /proc, from the first
//! position that shows to the end of the log. What comes before, starting and finding the member, is left out.

use crate::cluster::{Client, Cluster, await_some};
use crate::error::BenchError;
use crate::node::{Node, applied_position};
use crate::process::{Process, cpu_time};
use crate::report::{Case, Pairs, Session, Target};
use consensus_tap::file::cnc::counters::{COMMIT_POSITION, RECORDING_POSITION};
use standby_node::store::cnc::CncReader;
use std::thread;
use std::time::{Duration, Instant};

const RATE: Case = Case {
    bench: "catchup",
    case: "rate",
    unit: "MB/s",
    peer: "cluster-backup",
    target: Target::AtLeast(1.2),
};
const CPU_PER_GB: Case = Case { case: "cpu_per_gb", unit: "s", target: Target::AtMost(0.4), ..RATE };

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    let length = if session.is_quick() { LOG_LENGTH_QUICK } else { LOG_LENGTH };
    let cluster = Cluster::start(1, MEMBER_FLAGS)?;
    let end_position = fill_log(&cluster, length)?;
    let (mut rate, mut cpu_per_gb) = (Pairs::default(), Pairs::default());
    for _ in 0..session.pair_count() {
        let ours = catch_up_ours(&cluster, end_position)?;
        let theirs = catch_up_theirs(&cluster, end_position)?;
        rate.push(ours.megabytes_per_second(), theirs.megabytes_per_second());
        cpu_per_gb.push(ours.cpu_seconds_per_gigabyte(), theirs.cpu_seconds_per_gigabyte());
    }
    session.report(&RATE, &rate)?;
    session.report(&CPU_PER_GB, &cpu_per_gb)
}

/// Has a client send until the member has committed this many bytes, and returns where the log ends.
fn fill_log(cluster: &Cluster, length: i64) -> Result<i64, BenchError> {
    let mut client: Client = cluster.client(CLIENT_FLAGS)?;
    loop {
        client.send(MESSAGES_PER_ROUND, 0)?;
        let committed = cluster.counter(0, COMMIT_POSITION)?.unwrap_or(0);
        if committed >= length {
            return Ok(committed);
        }
    }
}

/// What a run came to.
#[derive(Debug)]
struct CatchUp {
    bytes: i64,
    duration: Duration,
    cpu_time: Duration,
}

impl CatchUp {
    fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.duration.as_secs_f64()
    }

    fn cpu_seconds_per_gigabyte(&self) -> f64 {
        self.cpu_time.as_secs_f64() * 1e9 / self.bytes as f64
    }
}

fn catch_up_ours(cluster: &Cluster, end_position: i64) -> Result<CatchUp, BenchError> {
    let node = Node::start(cluster, "node", NODE_FLAGS)?;
    let counters = node.counters()?;
    let caught_up = watch(node.process(), end_position, || Ok(applied_position(&counters)))?;
    node.into_process().stop()?;
    cluster.files().remove("node")?;
    Ok(caught_up)
}

fn catch_up_theirs(cluster: &Cluster, end_position: i64) -> Result<CatchUp, BenchError> {
    let (backup, aeron_dir) = cluster.back_up("backup", BACKUP_FLAGS)?;
    let counters = CncReader::open(&aeron_dir).map_err(BenchError::run)?;
    let caught_up = watch(&backup, end_position, || {
        Ok(counters.find(RECORDING_POSITION, &[]).map_or(-1, |counter| counter.value))
    })?;
    backup.stop()?;
    cluster.files().remove("backup")?;
    Ok(caught_up)
}

/// Measures from the first position that shows to the end of the log.
fn watch(
    process: &Process,
    end_position: i64,
    mut position: impl FnMut() -> Result<i64, BenchError>,
) -> Result<CatchUp, BenchError> {
    let begin_position = await_some("first position", START_TIMEOUT, || {
        Ok(Some(position()?).filter(|&position| position > 0))
    })?;
    let (begun, cpu_time_at_begin) = (Instant::now(), cpu_time(process.pid())?);
    loop {
        let reached = position()?;
        if reached >= end_position {
            return Ok(CatchUp {
                bytes: reached - begin_position,
                duration: begun.elapsed(),
                cpu_time: cpu_time(process.pid())? - cpu_time_at_begin,
            });
        }
        if begun.elapsed() > CATCH_UP_TIMEOUT {
            return Err(BenchError::Run(format!("stands at position {reached} of {end_position}")));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Aeron's own lengths of terms and segments.
const MEMBER_FLAGS: &[&str] = &["--term-length", "64m", "--segment-length", "128m"];
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "2048", "--window", "1024"];
const NODE_FLAGS: &[&str] = &["--replay-start", "beginning"];
const BACKUP_FLAGS: &[&str] = &[];
const LOG_LENGTH: i64 = 1_000_000_000;
const LOG_LENGTH_QUICK: i64 = 420_000_000;
const MESSAGES_PER_ROUND: u64 = 50_000;
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);
