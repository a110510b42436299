//! `active-rtt`: what a client waits for, and how much passes, at an active node of one member.
//!
//! The same Java client sends at 10,000 messages a second to our active node and to a Java cluster of one
//! member, both with the audit service and file sync level 0. What client, drivers and loopback take by
//! themselves is measured, too, against an echo without log and service, and taken off both. The throughput
//! is that of our own client, which keeps so many messages under way.

mod echo;

use crate::cluster::{Client, Cluster, Workplace};
use crate::error::BenchError;
use crate::load::{Load, LoadOptions};
use crate::node::ActiveNode;
use crate::report::{Case, Pairs, Session, Target};
use echo::Echo;
use hdrhistogram::Histogram;
use standby_node::agent::idle::IdleStrategy;
use std::time::{Duration, Instant};

const P50_10K: Case = Case {
    bench: "active-rtt",
    case: "p50_10k",
    unit: "us",
    peer: "java-single-member",
    target: Target::AtMost(0.5),
};
const P99_10K: Case = Case { case: "p99_10k", ..P50_10K };
/// With what the floor takes.
const P50_10K_WHOLE: Case = Case { case: "p50_10k_whole", target: Target::None, ..P50_10K };
const P99_10K_WHOLE: Case = Case { case: "p99_10k_whole", ..P50_10K_WHOLE };
const FLOOR_P50_10K: Case = Case { case: "p50_10k_whole", peer: "echo", ..P50_10K_WHOLE };
const FLOOR_P99_10K: Case = Case { case: "p99_10k_whole", ..FLOOR_P50_10K };
const THROUGHPUT: Case = Case { case: "throughput", unit: "msg/s", target: Target::AtLeast(2.0), ..P50_10K };

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    session.state_condition("file_sync_level=0");
    let plan = if session.is_quick() { Plan::QUICK } else { Plan::FULL };
    round_trips(session, plan)?;
    throughput(session, plan)
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Messages as fast as replies allow, for compilers to see.
    warm_up_count: u64,
    warm_up: Duration,
    measured: Duration,
}

impl Plan {
    const QUICK: Self = Self {
        warm_up_count: 100_000,
        warm_up: Duration::from_millis(500),
        measured: Duration::from_secs(2),
    };
    const FULL: Self =
        Self { warm_up_count: 400_000, warm_up: Duration::from_secs(3), measured: Duration::from_secs(10) };
}

fn round_trips(session: &mut Session, plan: Plan) -> Result<(), BenchError> {
    let mut runs = Runs::default();
    for _ in 0..session.pair_count() {
        let files = Workplace::create()?;
        let node = ActiveNode::start(&files, "node", NODE_FLAGS)?;
        runs.ours.push(measure(&files, node.ingress_endpoints(), plan)?);
        node.stop()?;

        let cluster = Cluster::start(1, MEMBER_FLAGS)?;
        runs.theirs.push(measure(cluster.files(), &cluster.ingress_endpoints(), plan)?);
        drop(cluster);

        let echo = Echo::start(IDLE)?;
        runs.floor.push(measure(&files, echo.ingress_endpoints(), plan)?);
        echo.stop()?;
    }
    runs.report(session)
}

fn measure(files: &Workplace, endpoints: &str, plan: Plan) -> Result<Histogram<u64>, BenchError> {
    let mut client = Client::start(files, &[CLIENT_FLAGS, &["--ingress-endpoints", endpoints]].concat())?;
    client.send(plan.warm_up_count, 0)?;
    client.send(at_10k(plan.warm_up), RATE)?;
    client.reset()?;
    client.send(at_10k(plan.measured), RATE)?;
    client.round_trips()
}

fn at_10k(duration: Duration) -> u64 {
    duration.as_millis() as u64 * RATE / 1000
}

/// Round trips of all pairs.
#[derive(Debug, Default)]
struct Runs {
    ours: Vec<Histogram<u64>>,
    theirs: Vec<Histogram<u64>>,
    floor: Vec<Histogram<u64>>,
}

impl Runs {
    fn report(&self, session: &mut Session) -> Result<(), BenchError> {
        session.keep_histograms("10k.java-single-member", &self.ours, &self.theirs)?;
        session.keep_histograms("10k.echo", &self.ours, &self.floor)?;
        let quantiles =
            [(0.5, P50_10K, P50_10K_WHOLE, FLOOR_P50_10K), (0.99, P99_10K, P99_10K_WHOLE, FLOOR_P99_10K)];
        for (quantile, without_floor, whole, floor) in quantiles {
            let micros = |runs: &[Histogram<u64>]| -> Vec<f64> {
                runs.iter().map(|run| run.value_at_quantile(quantile) as f64 / 1e3).collect()
            };
            let [ours, theirs, floors] = [&self.ours, &self.theirs, &self.floor].map(|runs| micros(runs));
            let (mut net, mut gross, mut above_floor) =
                (Pairs::default(), Pairs::default(), Pairs::default());
            // Noise only ever adds to a floor; and what lies below it has no time of its own.
            let lowest = floors.iter().copied().fold(f64::INFINITY, f64::min);
            for ((&ours, &theirs), &floor) in ours.iter().zip(&theirs).zip(&floors) {
                net.push((ours - lowest).max(0.0), (theirs - lowest).max(0.0));
                gross.push(ours, theirs);
                above_floor.push(ours, floor);
            }
            session.report(&without_floor, &net)?;
            session.report(&whole, &gross)?;
            session.report(&floor, &above_floor)?;
        }
        Ok(())
    }
}

fn throughput(session: &mut Session, plan: Plan) -> Result<(), BenchError> {
    let mut pairs = Pairs::default();
    for _ in 0..session.pair_count() {
        let files = Workplace::create()?;
        let node = ActiveNode::start(&files, "node", NODE_FLAGS)?;
        let ours = full_speed(node.ingress_endpoints(), plan)?;
        node.stop()?;
        let cluster = Cluster::start(1, MEMBER_FLAGS)?;
        let theirs = full_speed(&cluster.ingress_endpoints(), plan)?;
        drop(cluster);
        pairs.push(ours, theirs);
    }
    session.report(&THROUGHPUT, &pairs)
}

/// Replies a second.
fn full_speed(endpoints: &str, plan: Plan) -> Result<f64, BenchError> {
    let options = LoadOptions { lengths: LENGTHS, window: WINDOW, resends: false, idle: IDLE };
    let mut load = Load::connect(endpoints, options)?;
    load.send(plan.warm_up_count, 0, |_, _| true)?;
    let (begun, replied_before) = (Instant::now(), load.ledger.replied);
    let mut end = (Duration::ZERO, 0);
    load.send(u64::MAX, 0, |load, _| {
        end = (begun.elapsed(), load.ledger.replied - replied_before);
        end.0 < plan.measured
    })?;
    let is_drained = load.drain(DRAIN_TIMEOUT)?;
    let faults = load.ledger.faults;
    load.close()?;
    if !is_drained || !faults.is_none() {
        return Err(BenchError::Run(format!("replies are missing or wrong: {faults:?}")));
    }
    Ok(end.1 as f64 / end.0.as_secs_f64())
}

const RATE: u64 = 10_000;
const LENGTHS: (usize, usize) = (64, 64);
/// Enough that neither side ever waits for the client.
const WINDOW: usize = 4096;
const IDLE: IdleStrategy = IdleStrategy::Yield;
const NODE_FLAGS: &[&str] = &["--idle", "yield", "--log-term-length", "64m", "--file-sync-level", "0"];
/// Of spin, yield and backoff, yield is the fastest here: a member has more threads than this machine cores.
const MEMBER_FLAGS: &[&str] =
    &["--idle", "yield", "--term-length", "64m", "--segment-length", "128m", "--file-sync-level", "0"];
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "64", "--idle", "yield"];
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
