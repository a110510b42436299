//! A network that misbehaves, for tests: loses, doubles, reorders and delays datagrams around a working one.
//!
//! One seed decides the fate of every datagram in the order in which they pass, so the same traffic meets the
//! same faults again. Time is counted in ticks, one per call of `receive`: there is no clock here.

use std::io;
use std::net::SocketAddr;

use super::{DatagramIo, IoCounters};
use crate::sys::readiness::Readiness;

/// Wraps a working `Io`. Faults can be changed while it runs; with none set it passes everything through.
#[derive(Debug)]
pub struct FaultyIo<Io> {
    inner: Io,
    random: Random,
    tick: u64,
    incoming: Line,
    outgoing: Line,
}

/// What goes wrong in one direction. Chances are in 1/1000 for each datagram.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// Chance that a datagram vanishes; 1000 cuts the line.
    pub loss_per_mille: u32,
    /// Chance that a datagram arrives twice, the second time later.
    pub duplicate_per_mille: u32,
    /// Chance that a datagram is held back for 1 to `reorder_ticks_max` ticks more than others.
    pub reorder_per_mille: u32,
    /// Longest extra wait of a reordered or doubled datagram, in ticks.
    pub reorder_ticks_max: u32,
    /// Wait of every datagram, in ticks.
    pub delay_ticks: u32,
}

/// How often each fault was dealt out, in both directions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FaultCounters {
    /// Datagrams that vanished.
    pub lost: u64,
    /// Datagrams that arrived twice.
    pub duplicated: u64,
    /// Datagrams that were held back longer than others.
    pub reordered: u64,
}

impl<Io: DatagramIo> FaultyIo<Io> {
    /// Wraps `inner`; `seed` decides every fate.
    pub fn new(inner: Io, seed: u64) -> Self {
        Self {
            inner,
            random: Random { state: seed },
            tick: 0,
            incoming: Line::default(),
            outgoing: Line::default(),
        }
    }

    /// Sets what goes wrong with datagrams received from now on.
    pub fn set_receive_faults(&mut self, faults: Faults) {
        self.incoming.faults = faults;
    }

    /// Sets what goes wrong with datagrams sent from now on.
    pub fn set_send_faults(&mut self, faults: Faults) {
        self.outgoing.faults = faults;
    }

    /// What was dealt out so far.
    pub fn fault_counters(&self) -> FaultCounters {
        let (incoming, outgoing) = (self.incoming.counters, self.outgoing.counters);
        FaultCounters {
            lost: incoming.lost + outgoing.lost,
            duplicated: incoming.duplicated + outgoing.duplicated,
            reordered: incoming.reordered + outgoing.reordered,
        }
    }

    fn send_due(&mut self) -> io::Result<()> {
        while let Some(held) = self.outgoing.next_due(self.tick) {
            match self.inner.send(held.peer, &held.bytes, held.bytes.len().max(1)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.outgoing.held.push(held);
                    return Ok(());
                }
                result => result?,
            }
        }
        Ok(())
    }
}

impl<Io: DatagramIo> DatagramIo for FaultyIo<Io> {
    fn receive(&mut self, limit: usize, mut on_datagram: impl FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        self.tick += 1;
        let mut delivered = 0;
        while delivered < limit {
            let Some(held) = self.incoming.next_due(self.tick) else { break };
            on_datagram(&held.bytes, held.peer);
            delivered += 1;
        }
        let (line, random, tick) = (&mut self.incoming, &mut self.random, self.tick);
        let mut passed = 0;
        self.inner.receive(limit - delivered, |bytes, from| {
            if line.admit(random, tick, bytes, from) {
                on_datagram(bytes, from);
                passed += 1;
            }
        })?;
        Ok(delivered + passed)
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_length: usize) -> io::Result<()> {
        if self.outgoing.faults == Faults::default() && self.outgoing.held.is_empty() {
            return self.inner.send(to, bytes, segment_length);
        }
        for datagram in bytes.chunks(segment_length) {
            if self.outgoing.admit(&mut self.random, self.tick, datagram, to) {
                // In order behind what waits already, should the inner queue be full.
                self.outgoing.hold(self.tick, datagram, to);
            }
        }
        self.send_due()
    }

    fn flush(&mut self) -> io::Result<usize> {
        self.send_due()?;
        self.inner.flush()
    }

    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }

    fn counters(&self) -> IoCounters {
        self.inner.counters()
    }

    /// What is held back becomes due by calls, not by the socket.
    fn sleep_at(&self, _: &mut Readiness) {}
}

/// One direction.
#[derive(Debug, Default)]
struct Line {
    faults: Faults,
    held: Vec<Held>,
    sequence: u64,
    counters: FaultCounters,
}

#[derive(Debug)]
struct Held {
    due_tick: u64,
    sequence: u64,
    peer: SocketAddr,
    bytes: Vec<u8>,
}

impl Line {
    /// Decides a datagram's fate; true when it passes at once, else it is lost or held.
    fn admit(&mut self, random: &mut Random, tick: u64, bytes: &[u8], peer: SocketAddr) -> bool {
        let faults = self.faults;
        if random.happens(faults.loss_per_mille) {
            self.counters.lost += 1;
            return false;
        }
        let due_tick = tick + u64::from(faults.delay_ticks);
        if random.happens(faults.duplicate_per_mille) {
            self.counters.duplicated += 1;
            self.hold(due_tick + random.extra_ticks(faults), bytes, peer);
        }
        if random.happens(faults.reorder_per_mille) {
            self.counters.reordered += 1;
            self.hold(due_tick + random.extra_ticks(faults), bytes, peer);
            return false;
        }
        if due_tick > tick {
            self.hold(due_tick, bytes, peer);
            return false;
        }
        true
    }

    fn hold(&mut self, due_tick: u64, bytes: &[u8], peer: SocketAddr) {
        self.sequence += 1;
        self.held.push(Held { due_tick, sequence: self.sequence, peer, bytes: bytes.to_vec() });
    }

    /// Takes out the datagram that is due first, if its tick has come.
    fn next_due(&mut self, tick: u64) -> Option<Held> {
        let (index, first) =
            self.held.iter().enumerate().min_by_key(|(_, held)| (held.due_tick, held.sequence))?;
        (first.due_tick <= tick).then(|| self.held.swap_remove(index))
    }
}

/// SplitMix64, see Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Debug)]
struct Random {
    state: u64,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        self.next() % 1000 < u64::from(per_mille)
    }

    fn extra_ticks(&mut self, faults: Faults) -> u64 {
        1 + self.next() % u64::from(faults.reorder_ticks_max.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A line of memory from `send` to `receive`.
    #[derive(Default)]
    struct Loop {
        queue: VecDeque<Vec<u8>>,
        room: usize,
    }

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    impl DatagramIo for Loop {
        fn receive(
            &mut self,
            limit: usize,
            mut on_datagram: impl FnMut(&[u8], SocketAddr),
        ) -> io::Result<usize> {
            let count = limit.min(self.queue.len());
            self.queue.drain(..count).for_each(|bytes| on_datagram(&bytes, address()));
            Ok(count)
        }

        fn send(&mut self, _to: SocketAddr, bytes: &[u8], segment_length: usize) -> io::Result<()> {
            self.room = self.room.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
            self.queue.extend(bytes.chunks(segment_length).map(<[u8]>::to_vec));
            Ok(())
        }

        fn flush(&mut self) -> io::Result<usize> {
            Ok(0)
        }

        fn local_addr(&self) -> SocketAddr {
            address()
        }

        fn counters(&self) -> IoCounters {
            IoCounters::default()
        }

        fn sleep_at(&self, _: &mut Readiness) {}
    }

    fn faulty(seed: u64) -> FaultyIo<Loop> {
        FaultyIo::new(Loop { room: usize::MAX, ..Loop::default() }, seed)
    }

    /// Sends the numbers below `count` and returns those that arrive within `ticks` ticks.
    fn run(io: &mut FaultyIo<Loop>, count: u32, ticks: u32) -> Vec<u32> {
        let bytes: Vec<u8> = (0..count).flat_map(u32::to_ne_bytes).collect();
        io.send(address(), &bytes, 4).unwrap();
        let mut received = Vec::new();
        for _ in 0..ticks {
            io.flush().unwrap();
            io.receive(usize::MAX, |bytes, _| received.push(u32::from_ne_bytes(bytes.try_into().unwrap())))
                .unwrap();
        }
        received
    }

    fn hostile() -> Faults {
        Faults {
            loss_per_mille: 100,
            duplicate_per_mille: 100,
            reorder_per_mille: 100,
            reorder_ticks_max: 5,
            delay_ticks: 2,
        }
    }

    #[test]
    fn without_faults_everything_passes_in_order() {
        assert_eq!(run(&mut faulty(1), 1000, 1), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn one_seed_gives_one_outcome_and_another_seed_another() {
        let outcome = |seed| {
            let mut io = faulty(seed);
            io.set_receive_faults(hostile());
            io.set_send_faults(hostile());
            run(&mut io, 1000, 40)
        };
        assert_eq!(outcome(7), outcome(7));
        assert_ne!(outcome(7), outcome(8));
    }

    #[test]
    fn every_datagram_is_lost_or_arrives_and_the_counters_tell_how_often() {
        let mut io = faulty(3);
        io.set_receive_faults(hostile());
        io.set_send_faults(hostile());
        let received = run(&mut io, 10_000, 40);
        let FaultCounters { lost, duplicated, reordered } = io.fault_counters();
        assert_eq!(received.len() as u64, 10_000 - lost + duplicated);
        // Both directions deal out a tenth each.
        for dealt in [lost, duplicated, reordered] {
            assert!((1500..2500).contains(&dealt), "{dealt}");
        }
        assert!(!received.is_sorted());
    }

    #[test]
    fn a_cut_line_heals() {
        let mut io = faulty(5);
        io.set_send_faults(Faults { loss_per_mille: 1000, ..Faults::default() });
        assert!(run(&mut io, 100, 10).is_empty());
        io.set_send_faults(Faults::default());
        assert_eq!(run(&mut io, 3, 10), [0, 1, 2]);
    }

    #[test]
    fn a_delay_keeps_the_order() {
        let mut io = faulty(6);
        io.set_receive_faults(Faults { delay_ticks: 3, ..Faults::default() });
        assert!(run(&mut io, 100, 3).is_empty());
        assert_eq!(run(&mut io, 0, 1), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_inner_queue_loses_nothing() {
        let mut io = faulty(7);
        io.set_send_faults(Faults { reorder_ticks_max: 1, ..Faults::default() });
        io.inner.room = 10;
        assert_eq!(run(&mut io, 30, 3), (0..10).collect::<Vec<_>>());
        io.inner.room = 20;
        assert_eq!(run(&mut io, 0, 3), (10..30).collect::<Vec<_>>());
    }
}
