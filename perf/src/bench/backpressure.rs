//! `backpressure`: what a standby that does not keep up costs the cluster's clients.
//!
//! A client sends at a fixed rate to a Java member, without end but for short pauses: with no standby, with
//! one whose service sleeps for a millisecond with every message, with one that is stood still by SIGSTOP
//! once it follows. All of it is one living cluster and one client, in slices of a few seconds: without,
//! stopped, without, sleeping, and again. What makes the machine or the JVM slower for a while so meets all
//! of them. Of a pair's slices of a kind the lower quartile of their 99th percentiles counts, for
//! disturbances only ever add, and each slice takes the same course. Before a slice without a standby, too,
//! one joined, and has left: what its joining does to the member's caches and compiled code is no matter of
//! its slowness. An ordinary snapshot at the beginning of each round makes that joining short.
//!
//! The figures are the client's: how many messages a second came back, and the 99th percentile of the round
//! trip from when a message should have left. A standby has a host of its own; here it shares the member's
//! cores, so it runs at the lowest priority, and what is left of its cost is what the member does for it. Of
//! the two standbys the worse one counts; each is told beside it.
//!
//! `back_pressure_events` are the times that one of the leader's senders met the end of a receiver's window,
//! those of the streams to the standby itself apart: a window that nobody opens is what a stopped standby looks
//! like.

use crate::cluster::{Client, Cluster, await_some};
use crate::error::BenchError;
use crate::node::{Node, Priority, SLEEPING_AUDIT};
use crate::process::Signal;
use crate::report::{Case, Pairs, Session, Target, lower_quartile};
use consensus_tap::file::cnc::counters::{COMMIT_POSITION, RECORDED_POSITION};
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::thread;
use std::time::Duration;

const THROUGHPUT: Case = Case {
    bench: "backpressure",
    case: "throughput",
    unit: "messages/s",
    peer: "no-standby",
    target: Target::AtLeast(0.9),
};
const THROUGHPUT_STOPPED: Case = Case { case: "throughput_stopped", ..THROUGHPUT };
const THROUGHPUT_SLEEPING: Case = Case { case: "throughput_sleeping", ..THROUGHPUT };
const P99: Case = Case { case: "p99", unit: "us", target: Target::AtMost(1.25), ..THROUGHPUT };
const P99_STOPPED: Case = Case { case: "p99_stopped", ..P99 };
const P99_SLEEPING: Case = Case { case: "p99_sleeping", ..P99 };
/// Every other slice without a standby against those between: what the rows above cannot tell from chance.
const P99_CHANCE: Case = Case { case: "p99_chance", target: Target::None, ..P99 };
const EVENTS: Case =
    Case { case: "back_pressure_events", unit: "events", target: Target::AtMost(1.0), ..THROUGHPUT };

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    let plan = if session.is_quick() { Plan::QUICK } else { Plan::FULL };
    let cluster = Cluster::start(1, MEMBER_FLAGS)?;
    let mut bench = Bench { client: cluster.client(CLIENT_FLAGS)?, cluster: &cluster, plan };
    bench.client.send(plan.compiled_count, 0)?;
    bench.client.send(RATE * plan.settled_s, RATE)?;
    let mut kinds: [Vec<Outcome>; 4] = Default::default();
    for _ in 0..session.pair_count() {
        let mut pair: [Vec<Outcome>; 4] = Default::default();
        for _ in 0..plan.rounds_per_pair {
            bench.round(&mut pair)?;
        }
        for (all, slices) in kinds.iter_mut().zip(pair) {
            all.push(Outcome::of(slices)?);
        }
    }

    // Each against as many slices as it has itself, those before it: of more, the lowest would be lower.
    let [before_stopped, stopped, before_sleeping, sleeping] = kinds;
    let sides = [(&stopped, &before_stopped), (&sleeping, &before_sleeping)];
    let throughput: Figure = |outcome| outcome.throughput;
    session.report(&THROUGHPUT, &worse_of(sides, f64::min, throughput))?;
    session.report(&THROUGHPUT_STOPPED, &pairs(&stopped, &before_stopped, throughput))?;
    session.report(&THROUGHPUT_SLEEPING, &pairs(&sleeping, &before_sleeping, throughput))?;
    session.report(&P99, &worse_of(sides, f64::max, Outcome::p99_us))?;
    session.report(&P99_STOPPED, &pairs(&stopped, &before_stopped, Outcome::p99_us))?;
    session.report(&P99_SLEEPING, &pairs(&sleeping, &before_sleeping, Outcome::p99_us))?;
    session.report(&P99_CHANCE, &pairs(&before_sleeping, &before_stopped, Outcome::p99_us))?;
    session.report(&EVENTS, &worse_of(sides, f64::max, |outcome| outcome.event_count))?;
    let histograms =
        |outcomes: &[Outcome]| outcomes.iter().map(|outcome| outcome.round_trips.clone()).collect::<Vec<_>>();
    session.keep_histograms("stopped.no-standby", &histograms(&stopped), &histograms(&before_stopped))?;
    session.keep_histograms("sleeping.no-standby", &histograms(&sleeping), &histograms(&before_sleeping))
}

fn pairs(ours: &[Outcome], theirs: &[Outcome], figure: Figure) -> Pairs {
    let mut pairs = Pairs::default();
    ours.iter().zip(theirs).for_each(|(ours, theirs)| pairs.push(figure(ours), figure(theirs)));
    pairs
}

type Figure = fn(&Outcome) -> f64;

/// In each pair that of two kinds whose figure is the worse one, with those that it is held against.
fn worse_of(sides: [(&Vec<Outcome>, &Vec<Outcome>); 2], worse: fn(f64, f64) -> f64, figure: Figure) -> Pairs {
    let [(one, before_one), (other, before_other)] = sides;
    let mut pairs = Pairs::default();
    for index in 0..one.len() {
        let (of_one, of_other) = (figure(&one[index]), figure(&other[index]));
        if worse(of_one, of_other) == of_one {
            pairs.push(of_one, figure(&before_one[index]));
        } else {
            pairs.push(of_other, figure(&before_other[index]));
        }
    }
    pairs
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Messages as fast as replies allow, for compilers to see.
    compiled_count: u64,
    /// Seconds at the rate, before anything counts.
    settled_s: u64,
    rounds_per_pair: usize,
    /// Messages of a slice.
    message_count: u64,
}

impl Plan {
    const QUICK: Self =
        Self { compiled_count: 50_000, settled_s: 2, rounds_per_pair: 1, message_count: 3 * RATE / 2 };
    const FULL: Self =
        Self { compiled_count: 200_000, settled_s: 5, rounds_per_pair: 4, message_count: 3 * RATE };
}

/// What the client met with in slices of a kind, and the leader counted.
#[derive(Clone, Debug)]
struct Outcome {
    throughput: f64,
    /// 99th percentile of each slice, in microseconds.
    p99s_us: Vec<f64>,
    round_trips: Histogram<u64>,
    /// In a slice, on average.
    event_count: f64,
}

impl Outcome {
    fn p99_us(&self) -> f64 {
        lower_quartile(&self.p99s_us)
    }

    /// Slices of a kind, taken together. There is at least one.
    fn of(slices: Vec<Self>) -> Result<Self, BenchError> {
        let count = slices.len() as f64;
        let mut slices = slices.into_iter();
        let mut all = slices.next().expect("a round has every kind");
        for slice in slices {
            all.throughput += slice.throughput;
            all.p99s_us.extend(slice.p99s_us);
            all.round_trips.add(&slice.round_trips).map_err(BenchError::run)?;
            all.event_count += slice.event_count;
        }
        all.throughput /= count;
        all.event_count /= count;
        Ok(all)
    }
}

#[derive(Debug)]
struct Bench<'cluster> {
    cluster: &'cluster Cluster,
    client: Client,
    plan: Plan,
}

impl Bench<'_> {
    /// One slice of each kind: without a standby, stopped, without, sleeping.
    fn round(&mut self, kinds: &mut [Vec<Outcome>; 4]) -> Result<(), BenchError> {
        self.cluster.toggle(SNAPSHOT)?;
        await_some("snapshot of the member", FOLLOW_TIMEOUT, || {
            Ok(self.cluster.is_neutral()?.then_some(()))
        })?;
        kinds[0].push(self.alone()?);
        kinds[1].push(self.beside_stopped()?);
        kinds[2].push(self.alone()?);
        kinds[3].push(self.beside_sleeping()?);
        Ok(())
    }

    /// Sends at the rate, and then counts.
    fn measure(&mut self) -> Result<Outcome, BenchError> {
        self.client.send(WARM_UP_MESSAGES, RATE)?;
        self.client.reset()?;
        let before = self.back_pressure()?;
        let duration = self.client.send(self.plan.message_count, RATE)?;
        let round_trips = self.client.round_trips()?;
        let after = self.back_pressure()?;
        let new_events =
            |(sender, count): (&String, &i64)| (count - before.get(sender).copied().unwrap_or(0)).max(0);
        Ok(Outcome {
            throughput: self.plan.message_count as f64 / duration.as_secs_f64(),
            p99s_us: vec![round_trips.value_at_quantile(0.99) as f64 / 1e3],
            round_trips,
            event_count: after.iter().map(new_events).sum::<i64>() as f64,
        })
    }

    fn alone(&mut self) -> Result<Outcome, BenchError> {
        let node = self.follow(&[])?;
        node.process().signal(Signal::Terminate)?;
        thread::sleep(LEAVE_TIME);
        self.end(node)?;
        self.measure()
    }

    fn beside_sleeping(&mut self) -> Result<Outcome, BenchError> {
        let flags = ["--service", SLEEPING_AUDIT, "--layout", "dedicated", "--idle", "backoff"];
        let node = self.follow(&flags)?;
        let outcome = self.measure()?;
        // It would apply for minutes what it has recorded. That it has left the member is enough.
        node.process().signal(Signal::Terminate)?;
        thread::sleep(LEAVE_TIME);
        self.end(node)?;
        Ok(outcome)
    }

    fn beside_stopped(&mut self) -> Result<Outcome, BenchError> {
        let node = self.follow(&[])?;
        node.process().signal(Signal::Stop)?;
        let outcome = self.measure()?;
        node.process().signal(Signal::Continue)?;
        node.process().signal(Signal::Terminate)?;
        thread::sleep(LEAVE_TIME);
        self.end(node)?;
        Ok(outcome)
    }

    /// A node that has recorded all that is there.
    fn follow(&self, flags: &[&str]) -> Result<Node, BenchError> {
        let port = self.standby_port().to_string();
        let flags = [&["--port", &port], flags].concat();
        let node = Node::start_at(Priority::Lowest, self.cluster, DIRECTORY, &flags)?;
        let counters = node.counters()?;
        let committed = self.cluster.counter(0, COMMIT_POSITION)?.unwrap_or(0);
        await_some("recorded log in the node", FOLLOW_TIMEOUT, || {
            let recorded = counters.find(RECORDED_POSITION.type_id, &[]).map_or(-1, |counter| counter.value);
            Ok((recorded >= committed).then_some(()))
        })?;
        Ok(node)
    }

    fn end(&self, node: Node) -> Result<(), BenchError> {
        drop(node);
        self.cluster.files().remove(DIRECTORY)
    }

    /// How often each of the leader's senders met the end of a window, by its label.
    fn back_pressure(&self) -> Result<HashMap<String, i64>, BenchError> {
        let to_standby = format!(":{}", self.standby_port());
        let counters = self.cluster.counters(0)?;
        let senders = counters.counters().filter(|counter| counter.type_id == SENDER_BACK_PRESSURE_EVENTS);
        Ok(senders
            .filter(|counter| !counter.label.contains(&to_standby))
            .map(|counter| (counter.label, counter.value))
            .collect())
    }

    fn standby_port(&self) -> u16 {
        self.cluster.peer_port()
    }
}

const MEMBER_FLAGS: &[&str] = &["--term-length", "64m", "--segment-length", "128m"];
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "256"];
/// `ToggleState.SNAPSHOT` of ClusterControl.java.
const SNAPSHOT: i64 = 4;
const RATE: u64 = 10_000;
const WARM_UP_MESSAGES: u64 = RATE / 2;
/// `DRIVER_SENDER_BPE_TYPE_ID` of AeronCounters.java.
const SENDER_BACK_PRESSURE_EVENTS: i32 = 13;
const DIRECTORY: &str = "node";
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(20);
const LEAVE_TIME: Duration = Duration::from_millis(300);
