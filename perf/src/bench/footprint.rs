//! `footprint`: what a node takes while it follows.
//!
//! Two nodes follow one member for as long: a process of its own, whose anonymous memory is read from /proc at the end,
//! and one in this process, in the dedicated layout, whose hot threads' allocations are counted. The audit service has
//! no ballast, so the service's state is a few bytes. The log of all runs stays within one segment of 128 MiB, Aeron's
//! own length: when a segment is full, the hot threads put the next one in place, which takes a few allocations.

use crate::allocations;
use crate::cluster::{Client, Cluster, await_some};
use crate::error::BenchError;
use crate::node::{Node, applied_position, launch_here, threads};
use crate::process::anonymous_memory;
use crate::report::{Case, Pairs, Session, Target};
use consensus_tap::file::cnc::counters::COMMIT_POSITION;
use standby_node::NodeHandle;
use standby_node::agent::idle::IdleStrategy;
use standby_node::audit::Audit;
use standby_node::config::Layout;
use standby_node::store::cnc::CncReader;
use standby_node::sys::clock::monotonic_ns;
use std::io;
use std::time::Duration;

const RSS_ANON: Case = Case {
    bench: "footprint",
    case: "rss_anon",
    unit: "MiB",
    peer: "budget-64MiB",
    target: Target::AtMost(1.0),
};
const ALLOCATIONS: Case = Case {
    case: "allocations_per_message",
    unit: "allocations",
    peer: "zero",
    target: Target::Zero,
    ..RSS_ANON
};

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    let message_count = if session.is_quick() { MESSAGES_QUICK } else { MESSAGES };
    let cluster = Cluster::start(1, MEMBER_FLAGS)?;
    let mut client = cluster.client(CLIENT_FLAGS)?;
    let (mut memory, mut allocations) = (Pairs::default(), Pairs::default());
    for _ in 0..session.pair_count() {
        let run = follow(&cluster, &mut client, message_count)?;
        memory.push(run.anonymous_memory as f64 / MEBIBYTE, BUDGET / MEBIBYTE);
        allocations.push(run.allocation_count as f64 / message_count as f64, 0.0);
    }
    session.report(&RSS_ANON, &memory)?;
    session.report(&ALLOCATIONS, &allocations)
}

/// What a run came to.
#[derive(Debug)]
struct Footprint {
    anonymous_memory: u64,
    allocation_count: u64,
}

fn follow(cluster: &Cluster, client: &mut Client, message_count: u64) -> Result<Footprint, BenchError> {
    let process = Node::start(cluster, PROCESS_DIRECTORY, &[])?;
    let here = launch_here(cluster, DIRECTORY, threads(Layout::Dedicated, IDLE), || {
        Box::new(Audit::new(monotonic_ns).with_output(Box::new(io::sink())))
    })?;
    client.send(WARM_UP_MESSAGES, RATE)?;
    let await_all = || {
        let committed = cluster.counter(0, COMMIT_POSITION)?.unwrap_or(0);
        process.await_applied(committed, APPLY_TIMEOUT)?;
        await_applied_here(&here, committed)
    };
    await_all()?;

    let before = count_allocations()?;
    client.send(message_count, RATE)?;
    await_all()?;
    let allocation_count = count_allocations()? - before;
    let anonymous_memory = anonymous_memory(process.process().pid())?;

    here.stop().map_err(BenchError::run)?;
    process.into_process().stop()?;
    cluster.files().remove(DIRECTORY)?;
    cluster.files().remove(PROCESS_DIRECTORY)?;
    Ok(Footprint { anonymous_memory, allocation_count })
}

fn await_applied_here(node: &NodeHandle, position: i64) -> Result<(), BenchError> {
    let counters = CncReader::open(node.aeron_dir()).map_err(BenchError::run)?;
    await_some(&format!("position {position} in the node here"), APPLY_TIMEOUT, || {
        Ok((applied_position(&counters) >= position).then_some(()))
    })
}

fn count_allocations() -> Result<u64, BenchError> {
    allocations::of_threads_named(HOT_THREADS)
        .ok_or_else(|| BenchError::Run(format!("not all of {HOT_THREADS:?} run here")))
}

/// By the names in `standby_node::topology`.
const HOT_THREADS: &[&str] = &["receiver", "service-0"];
const MEMBER_FLAGS: &[&str] = &["--term-length", "64m", "--segment-length", "128m"];
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "64"];
const RATE: u64 = 5_000;
const WARM_UP_MESSAGES: u64 = 2_500;
const MESSAGES: u64 = 30 * RATE;
const MESSAGES_QUICK: u64 = 10 * RATE;
const IDLE: IdleStrategy = IdleStrategy::BACKOFF;
const DIRECTORY: &str = "node-here";
const PROCESS_DIRECTORY: &str = "node";
const BUDGET: f64 = 64.0 * MEBIBYTE;
const MEBIBYTE: f64 = 1024.0 * 1024.0;
const APPLY_TIMEOUT: Duration = Duration::from_secs(20);
