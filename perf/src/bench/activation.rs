//! `activation`: from the flag to serving, and what a client sees of the loss of a whole cluster.

mod lost_cluster;

use crate::cluster::{Workplace, toggle};
use crate::error::BenchError;
use crate::load::{Load, LoadOptions};
use crate::node::{ActiveNode, Node, is_serving};
use crate::report::{Case, Pairs, Session, Target};
use consensus_tap::file::cnc::counters::{STANDBY_CONTROL_TOGGLE, TOGGLE_ACTIVATE};
use lost_cluster::{ColdRestore, Haste};
use standby_node::agent::idle::IdleStrategy;
use std::thread;
use std::time::{Duration, Instant};

/// The median of all rounds, against 50 ms.
const READY: Case =
    Case { bench: "activation", case: "ready", unit: "ms", peer: "budget-50ms", target: Target::AtMost(1.0) };
/// The worst of all rounds, against 200 ms.
const READY_WORST: Case = Case { case: "ready_worst", peer: "budget-200ms", ..READY };
/// The worst of all rounds on either side.
const RTO_ELECTION: Case =
    Case { case: "rto_java_client", peer: "java-election", target: Target::AtMost(0.15), ..READY };
const RTO_COLD: Case = Case { peer: "cluster-backup-restore", ..RTO_ELECTION };
const RTO_HASTY: Case = Case { peer: "cluster-backup-restore-hasty", target: Target::None, ..RTO_ELECTION };

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    session.state_condition("file_sync_level=0");
    ready(session)?;
    java_client(session)
}

/// What a Java client misses when it loses its cluster.
fn java_client(session: &mut Session) -> Result<(), BenchError> {
    let rounds = if session.is_quick() { RTO_ROUNDS_QUICK } else { RTO_ROUNDS };
    let (mut warm, mut election, mut cold, mut hasty) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        warm.push(lost_cluster::warm()?);
        hasty.push(ColdRestore::begin(Haste::Greatest)?.gap()?);
        // Both are nearly all waiting, for timeouts of many seconds.
        let restore = ColdRestore::begin(Haste::Default)?;
        election.push(lost_cluster::election()?);
        cold.push(restore.gap()?);
    }
    for (case, theirs) in [(RTO_ELECTION, &election), (RTO_COLD, &cold), (RTO_HASTY, &hasty)] {
        let mut worst = Pairs::default();
        worst.push(worst_ms(&warm), worst_ms(theirs));
        session.report(&case, &worst)?;
        // Beside the worst, every round: no target of its own.
        let mut all = Pairs::default();
        warm.iter().zip(theirs).for_each(|(&ours, &theirs)| all.push(millis(ours), millis(theirs)));
        session.report(&Case { case: "rto_java_client_rounds", target: Target::None, ..case }, &all)?;
    }
    Ok(())
}

fn worst_ms(times: &[Duration]) -> f64 {
    millis(times.iter().copied().max().unwrap_or_default())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A node of ours leads, another follows, both with a log; the first is killed, and 2 s later the flag of the
/// second is set. What is measured ends when its counters say that it serves.
fn ready(session: &mut Session) -> Result<(), BenchError> {
    let rounds = if session.is_quick() { ROUNDS_QUICK } else { ROUNDS };
    let mut times_ms = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let time = flag_to_ready(round)?;
        times_ms.push(millis(time));
    }
    let worst_ms = times_ms.iter().copied().fold(0.0, f64::max);
    // One pair for each round: the reported value is their median.
    let mut all = Pairs::default();
    times_ms.iter().for_each(|&time_ms| all.push(time_ms, READY_BUDGET_MS));
    session.report(&READY, &all)?;
    let mut worst = Pairs::default();
    worst.push(worst_ms, WORST_BUDGET_MS);
    session.report(&READY_WORST, &worst)
}

fn flag_to_ready(round: usize) -> Result<Duration, BenchError> {
    let files = Workplace::create()?;
    let leader = ActiveNode::start(&files, "leader", LEADER_FLAGS)?;
    let standby = Node::follow(&files, "standby", leader.archive_endpoint(), STANDBY_FLAGS)?;
    let mut load = Load::connect(leader.ingress_endpoints(), LOAD)?;
    // Not the same moment of a cycle each time.
    load.send(LOAD_COUNT + 37 * round as u64, LOAD_RATE, |_, _| true)?;
    drop(load);
    standby.await_applied(leader.commit_position()?, START_TIMEOUT)?;
    let counters = standby.counters()?;
    drop(leader);
    thread::sleep(SILENCE);

    let begun = Instant::now();
    toggle(standby.aeron_dir(), STANDBY_CONTROL_TOGGLE, TOGGLE_ACTIVATE)?;
    while !is_serving(&counters) {
        if begun.elapsed() > READY_TIMEOUT {
            return Err(BenchError::Run(format!("the standby does not lead within {READY_TIMEOUT:?}")));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(begun.elapsed())
}

const ROUNDS: usize = 30;
const ROUNDS_QUICK: usize = 3;
const RTO_ROUNDS: usize = 5;
const RTO_ROUNDS_QUICK: usize = 1;
const READY_BUDGET_MS: f64 = 50.0;
const WORST_BUDGET_MS: f64 = 200.0;
const LEADER_FLAGS: &[&str] = &["--file-sync-level", "0"];
const STANDBY_FLAGS: &[&str] = &["--fence", "none", "--file-sync-level", "0"];
const LOAD: LoadOptions =
    LoadOptions { lengths: (64, 256), window: 4096, resends: false, idle: IdleStrategy::BACKOFF };
const LOAD_RATE: u64 = 5_000;
const LOAD_COUNT: u64 = 5_000;
/// Members count as silent then.
const SILENCE: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_micros(100);
const START_TIMEOUT: Duration = Duration::from_secs(20);
const READY_TIMEOUT: Duration = Duration::from_secs(20);
