use super::side::{Side, StreamShape, sockets};
use super::{Cores, ROUND_TRIP_MESSAGE_LENGTH, RUN_LIMIT_NS, RoundTripPlan, RoundTrips};
use crate::error::BenchError;
use crate::report::Measured;
use consensus_tap::image::{ImageKey, ImageSink, Refused};
use consensus_tap::publication::OfferError;
use consensus_tap::wire::frames;
use standby_node::sys::affinity::pin_current_thread;
use standby_node::sys::clock::monotonic_ns;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Ping-pong between two of our end points.
pub(super) fn run(cores: Cores, plan: RoundTripPlan) -> Result<Measured, BenchError> {
    let [ping_socket, pong_socket] = sockets()?;
    let (ping_address, pong_address) = (ping_socket.local_addr(), pong_socket.local_addr());
    let now_ns = monotonic_ns();
    let mut ping = Side::new(ping_socket, pong_address, 0, SHAPE, LastMessage::default(), now_ns)?;
    let mut pong = Side::new(pong_socket, ping_address, 1, SHAPE, LastMessage::default(), now_ns)?;

    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let pong = scope.spawn(|| {
            pin_current_thread(cores.second).map_err(BenchError::run)?;
            echo(&mut pong, &is_done)
        });
        let ping = scope.spawn(|| {
            pin_current_thread(cores.first).map_err(BenchError::run)?;
            measure(&mut ping, plan)
        });
        let measured = ping.join().expect("the ping thread does not panic");
        is_done.store(true, Ordering::Relaxed);
        pong.join().expect("the pong thread does not panic")?;
        measured
    })
}

fn echo(side: &mut Side<LastMessage>, is_done: &AtomicBool) -> Result<(), BenchError> {
    while !is_done.load(Ordering::Relaxed) {
        let now_ns = monotonic_ns();
        side.receive(now_ns)?;
        if let Some(message) = side.sink.message {
            match side.offer(&message) {
                Ok(_) => side.sink.message = None,
                // The first ping may come before the way back is open.
                Err(OfferError::NotConnected) => {}
                Err(error) => return Err(BenchError::run(error)),
            }
        }
        side.transmit(now_ns)?;
    }
    Ok(())
}

fn measure(side: &mut Side<LastMessage>, plan: RoundTripPlan) -> Result<Measured, BenchError> {
    let limit_ns = monotonic_ns() + RUN_LIMIT_NS;
    let mut round_trips = RoundTrips::new(plan);
    while !side.is_connected() {
        let now_ns = monotonic_ns();
        if now_ns > limit_ns {
            return Err(BenchError::Run("rtt: the two sides did not connect".to_owned()));
        }
        side.receive(now_ns)?;
        side.transmit(now_ns)?;
    }
    let mut message = [0; ROUND_TRIP_MESSAGE_LENGTH];
    for round in 0..plan.warm_up_count + plan.count {
        message[..8].copy_from_slice(&round.to_le_bytes());
        let start_ns = monotonic_ns();
        side.offer(&message).map_err(BenchError::run)?;
        side.transmit(start_ns)?;
        loop {
            let now_ns = monotonic_ns();
            side.receive(now_ns)?;
            if side.sink.message == Some(message) {
                break;
            }
            side.transmit(now_ns)?;
            if now_ns > limit_ns {
                let counters = side.counters();
                return Err(BenchError::Run(format!("rtt: round {round} did not come back: {counters:?}")));
            }
        }
        round_trips.record(round, monotonic_ns() - start_ns);
    }
    Ok(round_trips.measured())
}

/// Keeps the last message that came in.
#[derive(Debug, Default)]
struct LastMessage {
    message: Option<[u8; ROUND_TRIP_MESSAGE_LENGTH]>,
}

impl ImageSink for LastMessage {
    fn append(&mut self, _image: ImageKey, _position: i64, bytes: &[u8]) -> Result<(), Refused> {
        for frame in frames(bytes) {
            let frame = frame.map_err(|_| Refused)?;
            if !frame.is_padding() {
                self.message = Some(frame.payload().try_into().map_err(|_| Refused)?);
            }
        }
        Ok(())
    }
}

/// What Aeron uses by default, but for terms that stay in the cache.
const SHAPE: StreamShape = StreamShape { term_length: 1024 * 1024, window_length: 128 * 1024 };
