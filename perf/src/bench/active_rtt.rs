//! `active-rtt`: what a client waits for, and how much passes, at an active node of one member.
//!
//! The same Java client sends at 10,000 messages a second to our active node and to a Java cluster of one
//! member, both with the audit service and file sync level 0. What client, drivers and loopback take by
//! themselves is measured, too, against an echo without log and service, and taken off both. The throughput
//! is that of our own client, which keeps so many messages under way.
//!
//! All of them run from the beginning to the end, and all but one stand still: they take turns of 0.4 seconds,
//! so that a machine that is disturbed for a while disturbs every side. Of a side's turns the lower
//! quartile counts, for disturbances only ever add. Every side has a party for each idle strategy, and the one
//! that was fastest over the whole run stands for it.

pub(crate) mod echo;
mod party;

use crate::cluster::{Cluster, Workplace};
use crate::error::BenchError;
use crate::load::{Load, LoadOptions};
use crate::node::ActiveNode;
use crate::report::{Case, Pairs, Session, Target, lower_quartile};
use hdrhistogram::Histogram;
use party::{Kind, MEMBER_FLAGS, NODE_FLAGS, Party, WARM_UP_MESSAGES};
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
    /// How often each party warms up, for compilers to see.
    warm_up_count: u64,
    /// Of [`STRATEGIES`], how many each side has a party of.
    strategy_count: usize,
    /// Turns of each party for a pair.
    turn_count: usize,
    /// Of the throughput.
    measured: Duration,
}

impl Plan {
    const QUICK: Self =
        Self { warm_up_count: 2, strategy_count: 1, turn_count: 4, measured: Duration::from_secs(1) };
    const FULL: Self =
        Self { warm_up_count: 8, strategy_count: 2, turn_count: 16, measured: Duration::from_secs(10) };
}

fn round_trips(session: &mut Session, plan: Plan) -> Result<(), BenchError> {
    let mut sides = [Kind::Node, Kind::Member, Kind::Echo].map(Side::new);
    for index in 0..sides.len() {
        for idle in &STRATEGIES[..plan.strategy_count] {
            let mut party = Party::start(sides[index].kind, idle)?;
            let others = || sides.iter().flat_map(|side| &side.entrants).map(|entrant| &entrant.party);
            for _ in 0..plan.warm_up_count {
                others().try_for_each(Party::breathe)?;
                party.warm_up()?;
            }
            party.stand_still()?;
            others().try_for_each(Party::breathe)?;
            sides[index].entrants.push(Entrant { party, pairs: Vec::new() });
        }
    }
    for _ in 0..session.pair_count() {
        sides.iter_mut().for_each(Side::begin_pair);
        for _ in 0..plan.turn_count {
            sides.iter_mut().try_for_each(Side::turn)?;
        }
    }
    sides.iter().for_each(Side::say_how_it_idles);
    report(session, &sides)
}

/// Whoever takes turns.
#[derive(Debug)]
struct Side {
    kind: Kind,
    /// One for each strategy.
    entrants: Vec<Entrant>,
}

/// A party and its turns in each pair.
#[derive(Debug)]
struct Entrant {
    party: Party,
    pairs: Vec<Vec<Histogram<u64>>>,
}

impl Side {
    fn new(kind: Kind) -> Self {
        Self { kind, entrants: Vec::new() }
    }

    fn begin_pair(&mut self) {
        self.entrants.iter_mut().for_each(|entrant| entrant.pairs.push(Vec::new()));
    }

    /// Each of its parties moves while all others stand still.
    fn turn(&mut self) -> Result<(), BenchError> {
        for Entrant { party, pairs } in &mut self.entrants {
            let turn = party.turn(TURN)?;
            pairs.last_mut().expect("a pair has begun").push(turn);
        }
        Ok(())
    }

    /// The one whose 99th percentile is the lowest over all pairs: it stands for its side.
    fn fastest(&self) -> &Entrant {
        let fastest =
            self.entrants.iter().min_by(|one, other| one.overall(0.99).total_cmp(&other.overall(0.99)));
        fastest.expect("every side has a strategy")
    }

    fn say_how_it_idles(&self) {
        for entrant in &self.entrants {
            let (p50, p99) = (entrant.overall(0.5), entrant.overall(0.99));
            println!("{:?} --idle {}: p50={p50:.1} p99={p99:.1} us", self.kind, entrant.party.idle());
        }
        println!("{:?} idles by {}", self.kind, self.fastest().party.idle());
    }

    /// A quantile of each pair, in microseconds.
    fn quantiles(&self, quantile: f64) -> Vec<f64> {
        self.fastest().pairs.iter().map(|turns| typical(turns, quantile)).collect()
    }

    fn all_turns(&self) -> Vec<Histogram<u64>> {
        self.fastest().pairs.iter().flatten().cloned().collect()
    }
}

impl Entrant {
    /// A quantile of all its turns, in microseconds.
    fn overall(&self, quantile: f64) -> f64 {
        typical(self.pairs.iter().flatten(), quantile)
    }
}

/// The lower quartile of the turns' quantiles, in microseconds.
fn typical<'a>(turns: impl IntoIterator<Item = &'a Histogram<u64>>, quantile: f64) -> f64 {
    let quantiles = turns.into_iter().map(|turn| turn.value_at_quantile(quantile) as f64 / 1e3);
    lower_quartile(&quantiles.collect::<Vec<_>>())
}

fn report(session: &mut Session, sides: &[Side; 3]) -> Result<(), BenchError> {
    let [ours, theirs, floor] = sides.each_ref().map(Side::all_turns);
    session.keep_histograms("10k.java-single-member", &ours, &theirs)?;
    session.keep_histograms("10k.echo", &ours, &floor)?;
    let quantiles =
        [(0.5, P50_10K, P50_10K_WHOLE, FLOOR_P50_10K), (0.99, P99_10K, P99_10K_WHOLE, FLOOR_P99_10K)];
    for (quantile, without_floor, whole, floor) in quantiles {
        let [ours, theirs, floors] = sides.each_ref().map(|side| side.quantiles(quantile));
        let (mut net, mut gross, mut above_floor) = (Pairs::default(), Pairs::default(), Pairs::default());
        // What lies below the floor has no time of its own.
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

fn throughput(session: &mut Session, plan: Plan) -> Result<(), BenchError> {
    let mut pairs = Pairs::default();
    for _ in 0..session.pair_count() {
        let files = Workplace::create()?;
        let node = ActiveNode::start(&files, "node", &[NODE_FLAGS, YIELD].concat())?;
        let ours = full_speed(node.ingress_endpoints(), plan)?;
        node.stop()?;
        let cluster = Cluster::start(1, &[MEMBER_FLAGS, YIELD].concat())?;
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
    load.send(plan.warm_up_count * WARM_UP_MESSAGES, 0, |_, _| true)?;
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

/// What may be fastest on few cores; a spinning member is slower by far, as it has more threads than there
/// are cores.
const STRATEGIES: &[&str] = &["yield", "backoff"];
/// With six parties, nobody stands still for more than four seconds.
const TURN: Duration = Duration::from_millis(400);
const LENGTHS: (usize, usize) = (64, 64);
/// Enough that neither side ever waits for the client.
const WINDOW: usize = 4096;
const IDLE: IdleStrategy = IdleStrategy::Yield;
const YIELD: &[&str] = &["--idle", "yield"];
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
