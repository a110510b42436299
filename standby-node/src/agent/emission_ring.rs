//! The way of what a service emitted to the module follower, with the position up to which that is all.

use crossbeam_utils::CachePadded;
use service_api::host::Emissions;

use crate::sync::Arc;
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::sync::ring::{Consumer, Producer, RingBuffer};

/// A buffer that a burst blew up is cut down to this before it is used again.
const BUFFER_LENGTH_KEPT: usize = 4 * 1024 * 1024;

/// Makes the two ends for one service, between which `buffer_count` buffers go round.
pub fn emission_ring(buffer_count: usize) -> (EmissionSender, EmissionReceiver) {
    let (filled_producer, filled_consumer) = RingBuffer::new(buffer_count);
    let (mut empty_producer, empty_consumer) = RingBuffer::new(buffer_count);
    for _ in 0..buffer_count {
        empty_producer.push(Emissions::new()).expect("the ring is as long as there are buffers");
    }
    let through = Arc::new(CachePadded::new(AtomicI64::new(i64::MIN)));
    (
        EmissionSender { filled: filled_producer, empty: empty_consumer, through: Arc::clone(&through) },
        EmissionReceiver { filled: filled_consumer, empty: empty_producer, through },
    )
}

/// The service agent's end.
#[derive(Debug)]
pub struct EmissionSender {
    filled: Producer<Emissions>,
    empty: Consumer<Emissions>,
    through: Arc<CachePadded<AtomicI64>>,
}

impl EmissionSender {
    /// Hands over what `take` swaps out, if a buffer is free. `has_emissions` says whether there is anything.
    /// Returns false when all buffers are filled: nothing is lost, the emissions wait where they are and
    /// [`Self::publish`] must wait with them.
    pub fn send(&mut self, has_emissions: bool, take: impl FnOnce(&mut Emissions)) -> bool {
        if !has_emissions {
            return true;
        }
        let Ok(mut buffer) = self.empty.pop() else { return false };
        take(&mut buffer);
        self.filled.push(buffer).expect("there are no more buffers than slots");
        true
    }

    /// Everything that was emitted up to `position` has been sent.
    pub fn publish(&self, position: i64) {
        // Pairs with the Acquire in `EmissionReceiver::through`: who sees the position sees the buffers.
        self.through.store(position, Ordering::Release);
    }
}

/// The module follower's end.
#[derive(Debug)]
pub struct EmissionReceiver {
    filled: Consumer<Emissions>,
    empty: Producer<Emissions>,
    through: Arc<CachePadded<AtomicI64>>,
}

impl EmissionReceiver {
    /// Position up to which every emission has been sent; `i64::MIN` before the service started.
    pub fn through(&self) -> i64 {
        // Pairs with the Release in `EmissionSender::publish`.
        self.through.load(Ordering::Acquire)
    }

    /// The next buffer, if there is one.
    pub fn poll(&mut self) -> Option<Emissions> {
        self.filled.pop().ok()
    }

    /// Gives a buffer back.
    pub fn recycle(&mut self, mut buffer: Emissions) {
        buffer.clear();
        buffer.shrink_to(BUFFER_LENGTH_KEPT);
        // The service's own buffer is one more than the ring holds when the service has stopped.
        let _ = self.empty.push(buffer);
    }
}
