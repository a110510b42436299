//! `apply`: how fast a service gets through a recorded log.
//!
//! The real service agent reads a recording on one core; on the other, a thread stands in for the receiver and
//! tells it of each datagram's worth of log, one after the other and never merged, which is the most work that
//! the ring can make. The log lies in segment files that were written before, as a recording writer leaves them.
//! The same runs count the agent's allocations.

mod counting_service;
mod recorded_log;

use crate::error::BenchError;
use crate::report::{Case, Measured, Pairs, Session, Target};
use counting_service::{CountingService, Tally};
use recorded_log::RecordedLog;
use rtrb::RingBuffer;
use service_api::host::{ServiceDriver, StartPoint};
use service_api::{ClusteredService, MemberId, ServiceId, StatusFields};
use standby_node::agent::egress_ring::{EgressLimits, egress_ring};
use standby_node::agent::emission_ring::emission_ring;
use standby_node::agent::idle::IdleStrategy;
use standby_node::agent::log_ring::{LogEnd, LogSender, log_ring};
use standby_node::agent::runner::{AgentRunner, RunnerConfig, StopFlag};
use standby_node::agent::service::{FreshService, ServiceAgent, ServiceLinks};
use standby_node::service_start::{ServiceOrder, ServiceStart};
use standby_node::status::ServiceGauges;
use standby_node::store::cnc::{CncFile, CncSettings};
use standby_node::store::counters::Counter;
use standby_node::sys::affinity::{available_cores, pin_current_thread};
use standby_node::sys::clock::{epoch_ms, monotonic_ns};
use standby_node::topology::{
    EGRESS_BUFFER_COUNT, EMISSION_BUFFER_COUNT, LOG_RING_CAPACITY, ORDER_RING_CAPACITY,
};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const RATE: Case = Case {
    bench: "apply",
    case: "rate",
    unit: "messages/s",
    peer: "target-10M",
    target: Target::AtLeast(1.0),
};
/// Nobody leads here, so nothing is replied.
const EGRESS_LIMITS: EgressLimits =
    EgressLimits { message_length_max: 8192, window_length: 8192, is_shared: false };

/// Told beside the rate: a reader names and maps each segment that it comes to. What a following node allocates is
/// `footprint`'s to say.
const ALLOCATIONS: Case =
    Case { case: "allocations_per_message", unit: "allocations", peer: "zero", target: Target::None, ..RATE };

/// Runs every case.
pub(crate) fn run(session: &mut Session) -> Result<(), BenchError> {
    let message_count = if session.is_quick() { MESSAGES_QUICK } else { MESSAGES };
    let log = RecordedLog::write(message_count)?;
    let mut allocations = Pairs::default();
    session.against_constant(&RATE, RATE_TARGET, || {
        let applied = apply(&log)?;
        allocations.push(applied.allocations_per_message(), 0.0);
        Ok(Measured::value(applied.messages_per_second()))
    })?;
    session.report(&ALLOCATIONS, &allocations)
}

/// What a run came to, without its warm-up.
#[derive(Debug)]
struct Applied {
    bytes: i64,
    duration_ns: u64,
    tally: Tally,
}

impl Applied {
    fn messages_per_second(&self) -> f64 {
        (self.bytes / recorded_log::MESSAGE_FRAME_LENGTH) as f64 * 1e9 / self.duration_ns as f64
    }

    fn allocations_per_message(&self) -> f64 {
        self.tally.allocation_count as f64 / self.tally.message_count as f64
    }
}

/// Has a service agent of its own apply the whole log.
fn apply(log: &RecordedLog) -> Result<Applied, BenchError> {
    let cores = available_cores();
    let &[feeder_core, service_core, ..] = cores.as_slice() else {
        return Err(BenchError::Run(format!("two cores are needed, there is {cores:?}")));
    };
    let directory = tempfile::tempdir().map_err(BenchError::io("make a directory for cnc.dat"))?;
    let (_cnc, mut counters) =
        CncFile::create(directory.path(), &CncSettings::default(), epoch_ms()).map_err(BenchError::run)?;
    let tally = Arc::new(Tally::shared());
    let service = CountingService::new(WARM_UP_SHARE.of(log.message_count()), log.message_count(), &tally);
    let mut figures = StatusFields::new();
    service.status(&mut figures);
    let gauges =
        ServiceGauges::allocate(&mut counters, 0, 0, "counting", &figures).map_err(BenchError::run)?;
    let applied_position = gauges.applied_position.clone();

    let (egress_sender, _egress_receiver) = egress_ring(EGRESS_BUFFER_COUNT, EGRESS_LIMITS);
    let driver = ServiceDriver::new(service, egress_sender, MemberId(1000), ServiceId(0));
    let (mut orders, order_receiver) = RingBuffer::new(ORDER_RING_CAPACITY);
    let (loaded, _loaded_receiver) = RingBuffer::new(ORDER_RING_CAPACITY);
    let (log_sender, log_receiver) = log_ring(LOG_RING_CAPACITY);
    let (emission_sender, _emission_receiver) = emission_ring(EMISSION_BUFFER_COUNT);
    let links = ServiceLinks {
        orders: order_receiver,
        loaded,
        log: log_receiver,
        emissions: emission_sender,
        snapshots: None,
        gauges: Some(gauges),
        takes_lead: false,
    };
    let fresh = FreshService(Box::new(|| Err("this service is loaded once".into())));
    let agent = ServiceAgent::new("service-0", driver, fresh, links);
    let start = ServiceStart {
        point: StartPoint::FRESH,
        offer_length_max: usize::MAX,
        snapshot: None,
        log_reader: log.reader(),
        log_recording: log.recording(),
    };
    for order in [ServiceOrder::Load(Box::new(start)), ServiceOrder::Begin] {
        orders.push(order).expect("an empty ring has room for both");
    }

    let config = RunnerConfig {
        thread_name: "service-0".to_owned(),
        core: Some(service_core),
        idle: IdleStrategy::Spin,
        cycle_threshold: Duration::from_millis(10),
        cycle_gauges: Vec::new(),
    };
    let runner = AgentRunner::start(config, agent, StopFlag::new()).map_err(BenchError::run)?;
    let datagram_ends = log.datagram_ends();
    let fed = thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            pin_current_thread(feeder_core).map_err(BenchError::run)?;
            feed(datagram_ends, log_sender, &applied_position, &runner)
        });
        feeder.join().expect("the feeder does not panic")
    });
    runner.stop();
    runner.join().map_err(BenchError::run)?;
    let (bytes, duration_ns) = fed?;
    let tally = tally.taken();
    if tally.message_count + WARM_UP_SHARE.of(log.message_count()) != log.message_count() {
        return Err(BenchError::Run(format!("the service saw {tally:?} of {}", log.message_count())));
    }
    Ok(Applied { bytes, duration_ns, tally })
}

/// Tells the reader of one end after the other, and returns how many bytes it applied in how many nanoseconds
/// once it was warm.
fn feed(
    datagram_ends: &[i64],
    mut ends: LogSender,
    applied_position: &Counter,
    runner: &AgentRunner,
) -> Result<(i64, u64), BenchError> {
    let limit_ns = monotonic_ns() + RUN_LIMIT_NS;
    let end_position = datagram_ends[datagram_ends.len() - 1];
    let warm_position = WARM_UP_SHARE.of(end_position as u64) as i64;
    let mut warm = None;
    let mut untold = datagram_ends;
    loop {
        let now_ns = monotonic_ns();
        // A receiver, too, reads the clock once for the datagrams that one call brings.
        for _ in 0..DATAGRAMS_PER_CLOCK_READ {
            if let Some((&position, rest)) = untold.split_first()
                && ends.advance(LogEnd::at(position, now_ns)) == 1
            {
                untold = rest;
            }
        }
        let applied = applied_position.get();
        if applied >= warm_position && warm.is_none() {
            warm = Some((applied, now_ns));
        }
        if let Some((from, from_ns)) = warm
            && applied == end_position
        {
            return Ok((applied - from, now_ns - from_ns));
        }
        if runner.is_finished() || now_ns > limit_ns {
            return Err(BenchError::Run(format!("apply: the service stopped at position {applied}")));
        }
    }
}

/// A part of a run, in percent.
struct Share(u64);

impl Share {
    const fn of(&self, whole: u64) -> u64 {
        whole / 100 * self.0
    }
}

const WARM_UP_SHARE: Share = Share(20);
const MESSAGES: u64 = 8_000_000;
const MESSAGES_QUICK: u64 = 4_000_000;
const RATE_TARGET: f64 = 10e6;
const DATAGRAMS_PER_CLOCK_READ: usize = 8;
const RUN_LIMIT_NS: u64 = 30_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_log_reaches_the_service() {
        if available_cores().len() < 2 {
            return;
        }
        let log = RecordedLog::write(20_000).unwrap();
        let applied = apply(&log).unwrap();
        assert_eq!(applied.tally.message_count, 16_000);
        assert!(applied.messages_per_second() > 0.0);
    }
}
