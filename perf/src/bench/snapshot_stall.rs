//! `snapshot-stall`: what a snapshot stops, on the standby and on the members.
//!
//! **Clients.** A client sends 1,000 messages a second to three Java members whose audit service has a large ballast;
//! a standby at the lowest priority follows, for one that is used has a host of its own. The figure is the longest time
//! in which the client had a reply due and none came: while nobody takes a snapshot, while the standby takes one that
//! the leader's STANDBY_SNAPSHOT toggle asks for, and while the members take an ordinary one. The loads are equally
//! long; one beside a snapshot goes on until that is complete.
//!
//! **The standby itself.** A node in this process follows one member at the same rate and takes snapshots, written from
//! a frozen view or by a replica. The figure is the longest time between two duty cycles of the service that applies,
//! from before the snapshot until the load's end: it has the copying of what was frozen in it, and the idling.

mod apply_stop;

use crate::cluster::{Client, Cluster, MemberOptions};
use crate::error::BenchError;
use crate::node::{Node, Priority, snapshot_position};
use crate::report::{Case, Pairs, Session, Target};
use consensus_tap::file::cnc::counters::COMMIT_POSITION;
use standby_node::store::cnc::CncReader;
use std::thread;
use std::time::{Duration, Instant};

const GAP: Case = Case {
    bench: "snapshot-stall",
    case: "client_gap",
    unit: "ms",
    peer: "no-snapshot-plus-50ms",
    target: Target::AtMost(2.0),
};
const GAP_BESIDE_ORDINARY: Case = Case { peer: "ordinary-snapshot", target: Target::AtMost(0.03), ..GAP };

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    client_gaps(session)?;
    apply_stop::run(session)
}

fn client_gaps(session: &mut Session) -> Result<(), BenchError> {
    let load_time = if session.is_quick() { LOAD_TIME_QUICK } else { LOAD_TIME };
    let cluster = Cluster::start_with(MemberOptions::new(3, MEMBER_FLAGS).with_heap(MEMBER_HEAP))?;
    let mut client = cluster.client(CLIENT_FLAGS)?;
    let node = Node::start_at(Priority::Lowest, &cluster, DIRECTORY, NODE_FLAGS)?;
    client.send(WARM_UP_MESSAGES, RATE)?;
    node.await_applied(cluster.counter(0, COMMIT_POSITION)?.unwrap_or(0), SNAPSHOT_TIMEOUT)?;

    let counters = node.counters()?;
    let mut bench = Bench { cluster: &cluster, client, counters, load_time };
    let (mut against_none, mut against_ordinary) = (Pairs::default(), Pairs::default());
    for _ in 0..session.pair_count() {
        let none = bench.without_snapshot()?;
        let standby = bench.beside_standby_snapshot()?;
        let ordinary = bench.beside_ordinary_snapshot()?;
        against_none.push(millis(standby), millis(none + ALLOWANCE));
        against_ordinary.push(millis(standby), millis(ordinary));
    }
    session.report(&GAP, &against_none)?;
    session.report(&GAP_BESIDE_ORDINARY, &against_ordinary)
}

#[derive(Debug)]
struct Bench<'cluster> {
    cluster: &'cluster Cluster,
    client: Client,
    /// The standby's.
    counters: CncReader,
    load_time: Duration,
}

impl Bench<'_> {
    fn without_snapshot(&mut self) -> Result<Duration, BenchError> {
        load_beside(&mut self.client, self.load_time, || Ok(()), || Ok(true))
    }

    fn beside_standby_snapshot(&mut self) -> Result<Duration, BenchError> {
        let before = snapshot_position(&self.counters);
        let begin = || self.cluster.toggle(STANDBY_SNAPSHOT);
        load_beside(
            &mut self.client,
            self.load_time,
            begin,
            || Ok(snapshot_position(&self.counters) > before),
        )
    }

    fn beside_ordinary_snapshot(&mut self) -> Result<Duration, BenchError> {
        let begin = || self.cluster.toggle(SNAPSHOT);
        load_beside(&mut self.client, self.load_time, begin, || self.cluster.is_neutral())
    }
}

/// Sends for `time`, and on until something that is begun meanwhile is complete. Returns the longest time in which the
/// client had a reply due and none came.
fn load_beside(
    client: &mut Client,
    time: Duration,
    begin: impl FnOnce() -> Result<(), BenchError>,
    is_complete: impl Fn() -> Result<bool, BenchError>,
) -> Result<Duration, BenchError> {
    let count = time.as_millis() as u64 * RATE / 1000;
    client.reset()?;
    client.begin_sending(count, RATE)?;
    let begun = Instant::now();
    thread::sleep(LEAD);
    begin()?;
    let mut gap = client.await_sent()?;
    while !is_complete()? {
        if begun.elapsed() > SNAPSHOT_TIMEOUT {
            return Err(BenchError::Run(format!("no complete snapshot within {SNAPSHOT_TIMEOUT:?}")));
        }
        client.begin_sending(count, RATE)?;
        gap = client.await_sent()?;
    }
    Ok(gap)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

const MEMBER_FLAGS: &[&str] = &[
    "--term-length",
    "64m",
    "--segment-length",
    "128m",
    "--accept-standby-snapshots",
    "--ballast",
    "268435456",
];
const NODE_FLAGS: &[&str] = &["--audit-ballast", "256m"];
const MEMBER_HEAP: &str = "768m";
/// A window that a stall does not fill: messages leave when they are due.
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "256", "--window", "100000"];
const RATE: u64 = 1000;
const LOAD_TIME: Duration = Duration::from_secs(10);
const LOAD_TIME_QUICK: Duration = Duration::from_millis(1500);
const WARM_UP_MESSAGES: u64 = 2 * RATE;
/// What a client may wait anyhow, on a machine that is not its own.
const ALLOWANCE: Duration = Duration::from_millis(50);
/// The load runs for so long before a snapshot is asked for.
const LEAD: Duration = Duration::from_millis(200);
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30);
const DIRECTORY: &str = "node";
/// `ToggleState` of ClusterControl.java.
const SNAPSHOT: i64 = 4;
const STANDBY_SNAPSHOT: i64 = 7;
