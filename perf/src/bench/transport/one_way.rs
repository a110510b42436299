use super::side::{Side, StreamShape, sockets};
use super::{Cores, ONE_WAY_MESSAGE_LENGTH, OneWayPlan, RUN_LIMIT_NS, megabytes_per_second};
use crate::error::BenchError;
use crate::report::Measured;
use consensus_tap::image::{ImageKey, ImageSink, Refused};
use consensus_tap::publication::OfferError;
use consensus_tap::wire::frames;
use standby_node::sys::affinity::pin_current_thread;
use standby_node::sys::clock::monotonic_ns;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Messages one way between two of our end points, in megabytes of messages a second.
pub(super) fn run(cores: Cores, plan: OneWayPlan) -> Result<Measured, BenchError> {
    let [receiver_socket, sender_socket] = sockets()?;
    let (to_receiver, to_sender) = (receiver_socket.local_addr(), sender_socket.local_addr());
    let now_ns = monotonic_ns();
    let mut receiver = Side::new(receiver_socket, to_sender, 0, SHAPE, Checker::default(), now_ns)?;
    let mut sender = Side::new(sender_socket, to_receiver, 1, SHAPE, Checker::default(), now_ns)?;

    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            pin_current_thread(cores.second).map_err(BenchError::run)?;
            send(&mut sender, &is_done)
        });
        let receiver = scope.spawn(|| {
            pin_current_thread(cores.first).map_err(BenchError::run)?;
            take(&mut receiver, plan)
        });
        let measured = receiver.join().expect("the receiver's thread does not panic");
        is_done.store(true, Ordering::Relaxed);
        sender.join().expect("the sender's thread does not panic")?;
        measured
    })
}

fn send(side: &mut Side<Checker>, is_done: &AtomicBool) -> Result<(), BenchError> {
    let mut message = [0; ONE_WAY_MESSAGE_LENGTH];
    let mut sequence = 0_u64;
    while !is_done.load(Ordering::Relaxed) {
        let now_ns = monotonic_ns();
        for _ in 0..OFFERS_PER_CYCLE_MAX {
            message[..8].copy_from_slice(&sequence.to_le_bytes());
            match side.offer(&message) {
                Ok(_) => sequence += 1,
                Err(OfferError::BackPressured | OfferError::NotConnected) => break,
                Err(error) => return Err(BenchError::run(error)),
            }
        }
        side.transmit(now_ns)?;
        side.receive(now_ns)?;
    }
    Ok(())
}

fn take(side: &mut Side<Checker>, plan: OneWayPlan) -> Result<Measured, BenchError> {
    let limit_ns = monotonic_ns() + RUN_LIMIT_NS;
    while side.sink.next_sequence == 0 {
        cycle(side)?;
        if monotonic_ns() > limit_ns {
            return Err(BenchError::Run("one way: no message came".to_owned()));
        }
    }
    let warm_ns = monotonic_ns() + plan.warm_up.as_nanos() as u64;
    while cycle(side)? < warm_ns {}
    let count_before = side.sink.next_sequence;
    let start_ns = monotonic_ns();
    let end_ns = start_ns + plan.measured.as_nanos() as u64;
    while cycle(side)? < end_ns {}
    let message_count = side.sink.next_sequence - count_before;
    let duration_ns = monotonic_ns() - start_ns;

    if side.sink.is_broken {
        return Err(BenchError::Run("one way: a message was out of order or of another length".to_owned()));
    }
    let counters = side.counters();
    if counters.naks_sent > 0 {
        eprintln!("perf: one way: {} gaps, {} NAKs", counters.loss_gaps, counters.naks_sent);
    }
    Ok(Measured::value(megabytes_per_second(message_count, duration_ns)))
}

fn cycle(side: &mut Side<Checker>) -> Result<u64, BenchError> {
    let now_ns = monotonic_ns();
    side.receive(now_ns)?;
    side.transmit(now_ns)?;
    Ok(now_ns)
}

/// Holds that every message is the next one.
#[derive(Debug, Default)]
struct Checker {
    next_sequence: u64,
    is_broken: bool,
}

impl ImageSink for Checker {
    fn append(&mut self, _image: ImageKey, _position: i64, bytes: &[u8]) -> Result<(), Refused> {
        for frame in frames(bytes) {
            let frame = frame.map_err(|_| Refused)?;
            if frame.is_padding() {
                continue;
            }
            let payload = frame.payload();
            let is_next = payload.first_chunk() == Some(&self.next_sequence.to_le_bytes());
            self.is_broken |= !is_next || payload.len() != ONE_WAY_MESSAGE_LENGTH;
            self.next_sequence += 1;
        }
        Ok(())
    }
}

const SHAPE: StreamShape = StreamShape { term_length: 1024 * 1024, window_length: 512 * 1024 };
const OFFERS_PER_CYCLE_MAX: usize = 64;
