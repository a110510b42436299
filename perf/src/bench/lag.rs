//! `lag`: from when a client should have sent a message to when it is applied.
//!
//! A client sends at a fixed rate to a Java member that leads alone. In turn, our node and a Java process follow that
//! member by the same bounded replay and run the audit service; both count every message with the time that the
//! client stamped it with, which is CLOCK_MONOTONIC on either side. A Java follower is measured beside our node, on the
//! same messages.

mod follower;
mod our_node;
mod replay_consumer;

use crate::cluster::{Client, Cluster, await_some};
use crate::error::BenchError;
use crate::report::{Case, Pairs, Session, Target};
use follower::Follower;
use hdrhistogram::Histogram;
use our_node::OurNode;
use replay_consumer::ReplayConsumer;
use std::time::Duration;

const P50_10K: Case = Case {
    bench: "lag",
    case: "p50_10k",
    unit: "us",
    peer: "java-replay-consumer",
    target: Target::AtMost(1.0),
};
const P99_10K: Case = Case { case: "p99_10k", ..P50_10K };
const P50_1K: Case = Case { case: "p50_1k", target: Target::None, ..P50_10K };
const P99_1K: Case = Case { case: "p99_1k", ..P50_1K };
const FOLLOWER_P50_10K: Case = Case { case: "follower_p50_10k", peer: "java-follower", ..P50_1K };
const FOLLOWER_P99_10K: Case = Case { case: "follower_p99_10k", ..FOLLOWER_P50_10K };

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    let plan = if session.is_quick() { Plan::QUICK } else { Plan::FULL };
    beside_consumer(session, plan)?;
    beside_follower(session, plan)
}

/// Who follows, and counts how old messages are when they have been applied.
trait Follows {
    fn reset(&mut self) -> Result<(), BenchError>;
    fn lags(&mut self) -> Result<Histogram<u64>, BenchError>;
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    warm_up: Duration,
    measured_10k: Duration,
    measured_1k: Duration,
}

impl Plan {
    const QUICK: Self = Self {
        warm_up: Duration::from_millis(1000),
        measured_10k: Duration::from_millis(1500),
        measured_1k: Duration::from_millis(700),
    };
    const FULL: Self = Self {
        warm_up: Duration::from_secs(5),
        measured_10k: Duration::from_secs(10),
        measured_1k: Duration::from_secs(5),
    };
}

fn beside_consumer(session: &mut Session, plan: Plan) -> Result<(), BenchError> {
    let cluster = Cluster::start(1, MEMBER_FLAGS)?;
    let mut load = Load { client: cluster.client(CLIENT_FLAGS)?, sent_count: 0 };
    let (mut at_10k, mut at_1k) = (Lags::default(), Lags::default());
    for _ in 0..session.pair_count() {
        let mut node = OurNode::start(&cluster)?;
        let ours = measure(&mut node, &mut load, plan)?;
        node.stop(&cluster)?;
        let mut consumer = ReplayConsumer::start(&cluster)?;
        let theirs = measure(&mut consumer, &mut load, plan)?;
        consumer.stop()?;
        at_10k.push(ours.at_10k, theirs.at_10k);
        at_1k.push(ours.at_1k, theirs.at_1k);
    }
    at_10k.report(session, &P50_10K, &P99_10K)?;
    at_1k.report(session, &P50_1K, &P99_1K)
}

fn beside_follower(session: &mut Session, plan: Plan) -> Result<(), BenchError> {
    let mut cluster = Cluster::start(2, &[MEMBER_FLAGS, &["--lag-commands"]].concat())?;
    let mut load = Load { client: cluster.client(CLIENT_FLAGS)?, sent_count: 0 };
    let mut node = OurNode::start(&cluster)?;
    let mut lags = Lags::default();
    load.send_for(plan.warm_up, 10_000)?;
    await_count(&mut node, load.sent_count)?;
    for _ in 0..session.pair_count() {
        node.reset()?;
        Follower::of(&mut cluster).reset()?;
        let count = load.send_for(plan.measured_10k, 10_000)?;
        let ours = await_count(&mut node, count)?;
        lags.push(ours, await_count(&mut Follower::of(&mut cluster), count)?);
    }
    node.stop(&cluster)?;
    lags.report(session, &FOLLOWER_P50_10K, &FOLLOWER_P99_10K)
}

#[derive(Debug)]
struct Measured {
    at_10k: Histogram<u64>,
    at_1k: Histogram<u64>,
}

fn measure(follower: &mut impl Follows, load: &mut Load, plan: Plan) -> Result<Measured, BenchError> {
    // It begins with the log that is there.
    await_count(follower, load.sent_count)?;
    load.send_for(plan.warm_up, 10_000)?;
    await_count(follower, load.sent_count)?;
    let mut at_rate = |duration, rate| {
        follower.reset()?;
        let count = load.send_for(duration, rate)?;
        await_count(follower, count)
    };
    Ok(Measured { at_10k: at_rate(plan.measured_10k, 10_000)?, at_1k: at_rate(plan.measured_1k, 1_000)? })
}

/// Waits until all of these messages were applied.
fn await_count(follower: &mut impl Follows, count: u64) -> Result<Histogram<u64>, BenchError> {
    await_some(&format!("lags of {count} messages"), APPLY_TIMEOUT, || {
        let lags = follower.lags()?;
        Ok((lags.len() >= count).then_some(lags))
    })
}

/// A client that counts what it sent.
#[derive(Debug)]
struct Load {
    client: Client,
    sent_count: u64,
}

impl Load {
    fn send_for(&mut self, duration: Duration, rate: u64) -> Result<u64, BenchError> {
        let count = duration.as_millis() as u64 * rate / 1000;
        self.client.send(count, rate)?;
        self.sent_count += count;
        Ok(count)
    }
}

/// The histograms of all pairs at one rate.
#[derive(Debug, Default)]
struct Lags {
    ours: Vec<Histogram<u64>>,
    theirs: Vec<Histogram<u64>>,
}

impl Lags {
    fn push(&mut self, ours: Histogram<u64>, theirs: Histogram<u64>) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    fn report(&self, session: &mut Session, p50: &Case, p99: &Case) -> Result<(), BenchError> {
        let name = format!("{}.{}", p50.case.replace("p50_", ""), p50.peer);
        session.keep_histograms(&name, &self.ours, &self.theirs)?;
        for (case, quantile) in [(p50, 0.5), (p99, 0.99)] {
            let mut pairs = Pairs::default();
            let micros = |lags: &Histogram<u64>| lags.value_at_quantile(quantile) as f64 / 1e3;
            self.ours
                .iter()
                .zip(&self.theirs)
                .for_each(|(ours, theirs)| pairs.push(micros(ours), micros(theirs)));
            session.report(case, &pairs)?;
        }
        Ok(())
    }
}

const MEMBER_FLAGS: &[&str] = &["--term-length", "64m", "--segment-length", "128m"];
const CLIENT_FLAGS: &[&str] = &["--size-min", "64", "--size-max", "256"];
const APPLY_TIMEOUT: Duration = Duration::from_secs(20);
