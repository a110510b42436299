//! `transport`: our end points on both sides of the loopback, against bare UDP and against Java Aeron.
//!
//! Two threads of one process, each pinned and spinning, talk over Aeron frames: every message is framed, sent,
//! received, checked and handed over as the node does it. `rtt_p50` is a ping-pong of one message at a time, so
//! there is no queue and a message leaves when it should. `throughput_1408` goes one way as fast as it goes; the
//! receiver checks length and order of every message.

mod java_aeron;
mod one_way;
mod round_trips;
mod side;
mod udp;

use crate::error::BenchError;
use crate::report::{Case, Measured, Session, Target};
use hdrhistogram::Histogram;
use java_aeron::JavaAeron;
use standby_node::sys::affinity;
use std::time::Duration;
use udp::Pairing;

const RTT_UDP: Case =
    Case { bench: "transport", case: "rtt_p50", unit: "us", peer: "udp", target: Target::AtMost(1.2) };
/// The least that a loopback can do, reported beside the others.
const RTT_UDP_CONNECTED: Case = Case { peer: "udp-connected", target: Target::None, ..RTT_UDP };
const RTT_AERON_JAVA: Case = Case { peer: "aeron-java", target: Target::AtMost(1.0), ..RTT_UDP };
const THROUGHPUT: Case = Case {
    bench: "transport",
    case: "throughput_1408",
    unit: "MB/s",
    peer: "aeron-java",
    target: Target::AtLeast(4.0),
};

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    let cores = Cores::find()?;
    let (round_trips, one_way) = if session.is_quick() {
        (RoundTripPlan { warm_up_count: 20_000, count: 50_000 }, OneWayPlan::of_millis(300, 700))
    } else {
        (RoundTripPlan { warm_up_count: 50_000, count: 300_000 }, OneWayPlan::of_millis(1_000, 3_000))
    };

    let ours = || round_trips::run(cores, round_trips);
    session.compare(&RTT_UDP, ours, || udp::run(cores, round_trips, Pairing::Open))?;
    session.compare(&RTT_UDP_CONNECTED, ours, || udp::run(cores, round_trips, Pairing::Connected))?;

    let mut java = JavaAeron::start(cores)?;
    java.warm_up(session.is_quick())?;
    session.compare(&RTT_AERON_JAVA, ours, || java.round_trips(round_trips))?;
    session.compare(&THROUGHPUT, || one_way::run(cores, one_way), || java.one_way(one_way))
}

/// The two cores of a run, one a side.
#[derive(Clone, Copy, Debug)]
struct Cores {
    first: usize,
    second: usize,
}

impl Cores {
    fn find() -> Result<Self, BenchError> {
        match affinity::available_cores().as_slice() {
            &[first, second, ..] => Ok(Self { first, second }),
            cores => Err(BenchError::Run(format!("two cores are needed, one a side; there is {cores:?}"))),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct RoundTripPlan {
    warm_up_count: u64,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct OneWayPlan {
    warm_up: Duration,
    measured: Duration,
}

impl OneWayPlan {
    const fn of_millis(warm_up: u64, measured: u64) -> Self {
        Self { warm_up: Duration::from_millis(warm_up), measured: Duration::from_millis(measured) }
    }
}

/// Round trips of a run, without its warm-up.
#[derive(Debug)]
struct RoundTrips {
    plan: RoundTripPlan,
    histogram: Histogram<u64>,
}

impl RoundTrips {
    fn new(plan: RoundTripPlan) -> Self {
        let histogram = Histogram::new_with_bounds(1, ROUND_TRIP_NS_MAX, 3).expect("the bounds are in order");
        Self { plan, histogram }
    }

    fn record(&mut self, round: u64, round_trip_ns: u64) {
        if round >= self.plan.warm_up_count {
            self.histogram.saturating_record(round_trip_ns);
        }
    }

    fn measured(self) -> Measured {
        let p50_us = self.histogram.value_at_quantile(0.5) as f64 / 1e3;
        Measured { value: p50_us, latencies: Some(self.histogram) }
    }
}

fn megabytes_per_second(message_count: u64, duration_ns: u64) -> f64 {
    (message_count * ONE_WAY_MESSAGE_LENGTH as u64) as f64 * 1e3 / duration_ns as f64
}

const ROUND_TRIP_MESSAGE_LENGTH: usize = 96;
const ONE_WAY_MESSAGE_LENGTH: usize = 1024;
const MTU: i32 = 1408;
const SOCKET_BUFFER_LENGTH: usize = 2 * 1024 * 1024;
const ROUND_TRIP_NS_MAX: u64 = 60_000_000_000;
/// A run that is not through by then has hung.
const RUN_LIMIT_NS: u64 = 30_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_of_ours_ends_with_figures() {
        let Ok(cores) = Cores::find() else { return };
        let plan = RoundTripPlan { warm_up_count: 10, count: 200 };
        let runs = [
            round_trips::run(cores, plan),
            udp::run(cores, plan, Pairing::Open),
            udp::run(cores, plan, Pairing::Connected),
        ];
        for measured in runs.map(Result::unwrap) {
            assert!(measured.value > 0.0);
            assert_eq!(measured.latencies.unwrap().len(), 200);
        }
        assert!(one_way::run(cores, OneWayPlan::of_millis(20, 50)).unwrap().value > 0.0);
    }
}
