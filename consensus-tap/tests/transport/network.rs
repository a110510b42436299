use super::rng::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

/// What the network does to datagrams, in parts of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    /// Datagrams that take up to twenty times longer than others, and so arrive out of order.
    pub(crate) delay: u64,
}

/// Carries datagrams, badly.
#[derive(Debug)]
pub(crate) struct Network {
    rng: Rng,
    faults: Faults,
    delay_ns: u64,
    /// Up to this much more delay, for every datagram.
    jitter_ns: u64,
    /// Nothing is carried before this.
    outage_until_ns: u64,
    in_flight: BinaryHeap<Reverse<Datagram>>,
    sent_count: u64,
    pub(crate) dropped_count: u64,
}

/// Ordered by the time of arrival, then by the order of sending.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Datagram {
    pub(crate) arrives_ns: u64,
    number: u64,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Network {
    pub(crate) fn new(mut rng: Rng) -> Self {
        let severity = rng.pick(&[0, 1, 5, 20]);
        let faults = Faults {
            drop: rng.below(10) * severity,
            duplicate: rng.below(5) * severity,
            delay: rng.below(10) * severity,
        };
        let delay_ns = rng.pick(&[10_000, 50_000, 200_000, 2_000_000]);
        let jitter_ns = rng.pick(&[0, 0, delay_ns]);
        Self {
            rng,
            faults,
            delay_ns,
            jitter_ns,
            outage_until_ns: 0,
            in_flight: BinaryHeap::new(),
            sent_count: 0,
            dropped_count: 0,
        }
    }

    pub(crate) fn heal(&mut self) {
        self.faults = Faults::default();
        self.outage_until_ns = 0;
    }

    pub(crate) fn fail_until(&mut self, time_ns: u64) {
        self.outage_until_ns = time_ns;
    }

    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], now_ns: u64) {
        if now_ns < self.outage_until_ns || self.rng.chance(self.faults.drop) {
            self.dropped_count += 1;
            return;
        }
        let copy_count = if self.rng.chance(self.faults.duplicate) { 2 } else { 1 };
        for _ in 0..copy_count {
            let mut delay_ns = self.rng.between(self.delay_ns, self.delay_ns + self.jitter_ns);
            if self.rng.chance(self.faults.delay) {
                delay_ns *= self.rng.between(2, 20);
            }
            self.sent_count += 1;
            self.in_flight.push(Reverse(Datagram {
                arrives_ns: now_ns + delay_ns,
                number: self.sent_count,
                from,
                to,
                bytes: bytes.to_vec(),
            }));
        }
    }

    pub(crate) fn receive(&mut self, now_ns: u64) -> Option<Datagram> {
        if self.next_arrival_ns()? > now_ns {
            return None;
        }
        self.in_flight.pop().map(|Reverse(datagram)| datagram)
    }

    pub(crate) fn next_arrival_ns(&self) -> Option<u64> {
        self.in_flight.peek().map(|Reverse(datagram)| datagram.arrives_ns)
    }
}
