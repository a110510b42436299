//! What waits to be sent: runs of datagrams in order, in one block of memory of fixed size.
//!
//! A run is a row of datagrams of one length for one peer, the last possibly shorter, that the kernel can cut
//! by itself (GSO). Neighbours that fit together are merged as they come. A run that the kernel does not want
//! to cut is handed out datagram by datagram instead.

use std::net::SocketAddr;
use std::ops::Range;

use super::address::RawAddress;
use super::{DATAGRAM_LENGTH_MAX, RUN_LENGTH_MAX};

/// Runs of datagrams in the order they were given. Never grows.
#[derive(Debug)]
pub struct SendQueue {
    bytes: Box<[u8]>,
    /// End of the queued bytes; they begin where the first run does.
    end: usize,
    runs: Vec<Run>,
    /// The runs before this one are sent.
    first: usize,
    last_address: (SocketAddr, RawAddress),
}

/// What one message to the kernel carries: one run, or one datagram of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Message {
    /// Where the payload begins in [`SendQueue::bytes`].
    pub start: usize,
    /// Bytes of payload.
    pub length: usize,
    /// Length to cut the payload into, when there is more than one datagram in it.
    pub segment_length: Option<u16>,
    /// Which run, for [`SendQueue::address`].
    run: usize,
}

impl Message {
    /// How many datagrams the message becomes on the wire.
    pub fn datagram_count(&self) -> usize {
        self.segment_length.map_or(1, |length| self.length.div_ceil(usize::from(length)))
    }
}

#[derive(Clone, Copy, Debug)]
struct Run {
    to: SocketAddr,
    address: RawAddress,
    start: usize,
    length: usize,
    segment_length: usize,
}

impl SendQueue {
    /// A queue that holds up to `capacity` bytes in up to `run_count_max` runs.
    pub fn new(capacity: usize, run_count_max: usize) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            end: 0,
            runs: Vec::with_capacity(run_count_max),
            first: 0,
            last_address: (nowhere, RawAddress::new(nowhere)),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first == self.runs.len()
    }

    /// Appends a run; false, and nothing appended, when there is no room for the whole of it.
    pub fn push(&mut self, to: SocketAddr, bytes: &[u8], segment_length: usize) -> bool {
        if !self.make_room(bytes.len(), bytes.len().div_ceil(run_length_max(segment_length))) {
            return false;
        }
        for piece in bytes.chunks(run_length_max(segment_length)) {
            let start = self.end;
            self.end += piece.len();
            self.bytes[start..self.end].copy_from_slice(piece);
            if !self.merge(to, piece.len(), segment_length) {
                let address = self.raw_address(to);
                let segment_length = segment_length.min(piece.len());
                self.runs.push(Run { to, address, start, length: piece.len(), segment_length });
            }
        }
        true
    }

    /// Lists what to send next into `messages`, oldest first, and returns how many there are. Runs whose
    /// segments are longer than `segment_length_max` are listed datagram by datagram; 0 cuts all of them up.
    pub fn messages(&self, segment_length_max: usize, messages: &mut [Message]) -> usize {
        let mut count = 0;
        for (index, run) in self.runs.iter().enumerate().skip(self.first) {
            let whole = run.length <= run.segment_length || run.segment_length <= segment_length_max;
            let step = if whole { run.length } else { run.segment_length };
            for offset in (0..run.length).step_by(step) {
                let Some(message) = messages.get_mut(count) else { return count };
                let length = step.min(run.length - offset);
                let segment_length = (length > run.segment_length).then_some(run.segment_length as u16);
                *message = Message { start: run.start + offset, length, segment_length, run: index };
                count += 1;
            }
        }
        count
    }

    /// Where the payloads of all messages lie.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The address that `message` goes to.
    pub fn address(&self, message: &Message) -> &RawAddress {
        &self.runs[message.run].address
    }

    /// Whom `message` goes to.
    pub fn peer(&self, message: &Message) -> SocketAddr {
        self.runs[message.run].to
    }

    /// Drops the oldest message as listed: it is sent.
    pub fn consume(&mut self, message: &Message) {
        let run = &mut self.runs[self.first];
        assert_eq!(run.start, message.start, "messages are consumed in order");
        run.start += message.length;
        run.length -= message.length;
        if run.length == 0 {
            self.drop_run();
        }
    }

    /// Drops what is left of the oldest run and returns how many datagrams that was.
    ///
    /// # Panics
    ///
    /// If the queue is empty.
    pub fn drop_run(&mut self) -> usize {
        let run = &self.runs[self.first];
        let count = run.length.div_ceil(run.segment_length);
        self.first += 1;
        if self.is_empty() {
            self.first = 0;
            self.end = 0;
            self.runs.clear();
        }
        count
    }

    /// Extends the newest run by `length` bytes that were just appended, if the kernel would cut the whole
    /// into the very datagrams that were asked for.
    fn merge(&mut self, to: SocketAddr, length: usize, segment_length: usize) -> bool {
        if self.is_empty() {
            return false;
        }
        let Some(run) = self.runs.last_mut() else { return false };
        let joined = run.length + length;
        let fits = joined <= run_length_max(run.segment_length)
            && run.length.is_multiple_of(run.segment_length)
            && (segment_length == run.segment_length || length <= segment_length.min(run.segment_length));
        let merged = fits && run.to == to;
        if merged {
            run.length = joined;
        }
        merged
    }

    fn make_room(&mut self, length: usize, run_count: usize) -> bool {
        if self.runs.len() + run_count > self.runs.capacity() {
            self.runs.drain(..self.first);
            self.first = 0;
        }
        if self.end + length > self.bytes.len() && !self.is_empty() {
            self.compact();
        }
        self.end + length <= self.bytes.len() && self.runs.len() + run_count <= self.runs.capacity()
    }

    /// Moves what waits to the front of the block. Only a kernel that is behind makes this necessary.
    fn compact(&mut self) {
        let waiting: Range<usize> = self.runs[self.first].start..self.end;
        let shift = waiting.start;
        self.end = waiting.len();
        self.bytes.copy_within(waiting, 0);
        for run in &mut self.runs[self.first..] {
            run.start -= shift;
        }
    }

    fn raw_address(&mut self, to: SocketAddr) -> RawAddress {
        if self.last_address.0 != to {
            self.last_address = (to, RawAddress::new(to));
        }
        self.last_address.1
    }
}

/// Longest run of such segments that the kernel cuts: 64 of them, and no more than one IP packet would hold.
pub fn run_length_max(segment_length: usize) -> usize {
    let count = (DATAGRAM_LENGTH_MAX / segment_length).clamp(1, SEGMENT_COUNT_MAX);
    count * segment_length
}

/// Bytes that a socket's queue holds.
pub const CAPACITY: usize = 512 * 1024;

/// Runs that a socket's queue holds.
pub const RUN_COUNT_MAX: usize = 2048;
// Else the longest run of the shortest datagrams could never be queued.
const _: () = assert!(RUN_COUNT_MAX * SEGMENT_COUNT_MAX >= RUN_LENGTH_MAX && CAPACITY >= RUN_LENGTH_MAX);

/// Datagrams in one run at most. UDP_MAX_SEGMENTS of the kernel, 128 since Linux 6.9.
const SEGMENT_COUNT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends everything as the kernel would, a few messages at a time, cutting runs into datagrams.
    fn drain(queue: &mut SendQueue, segment_length_max: usize, batch: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = Vec::new();
        let mut messages = vec![Message::default(); batch];
        while !queue.is_empty() {
            let count = queue.messages(segment_length_max, &mut messages);
            assert!(count > 0);
            for message in &messages[..count] {
                let to = crate::net::address::parse_address(queue.address(message).as_bytes()).unwrap();
                let payload = &queue.bytes()[message.start..][..message.length];
                let length = message.segment_length.map_or(message.length, usize::from);
                assert!(
                    message.datagram_count() <= SEGMENT_COUNT_MAX && message.length <= DATAGRAM_LENGTH_MAX
                );
                assert!(message.segment_length.is_none() || length <= segment_length_max);
                assert_eq!(message.datagram_count(), payload.chunks(length).count());
                datagrams.extend(payload.chunks(length).map(|bytes| (to, bytes.to_vec())));
                queue.consume(message);
            }
        }
        datagrams
    }

    fn peer(number: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], number))
    }

    #[test]
    fn frames_of_one_length_become_one_message_and_a_short_one_ends_it() {
        let mut queue = SendQueue::new(4096, 8);
        for length in [100, 100, 40, 100] {
            assert!(queue.push(peer(1), &[7; 100][..length], 100));
        }
        let mut messages = [Message::default(); 4];
        assert_eq!(queue.messages(usize::MAX, &mut messages), 2);
        assert_eq!((messages[0].length, messages[0].segment_length), (240, Some(100)));
        assert_eq!((messages[1].length, messages[1].segment_length), (100, None));
    }

    #[test]
    fn frames_for_another_peer_are_not_merged() {
        let mut queue = SendQueue::new(4096, 8);
        assert!(queue.push(peer(1), &[1; 100], 100) && queue.push(peer(2), &[2; 100], 100));
        let datagrams = drain(&mut queue, usize::MAX, 4);
        assert_eq!(datagrams, [(peer(1), vec![1; 100]), (peer(2), vec![2; 100])]);
    }

    #[test]
    fn a_full_queue_refuses_the_whole_run_and_keeps_what_it_has() {
        let mut queue = SendQueue::new(250, 8);
        assert!(queue.push(peer(1), &[1; 200], 100));
        assert!(!queue.push(peer(1), &[2; 51], 51));
        assert!(queue.push(peer(1), &[3; 50], 50));
        assert_eq!(drain(&mut queue, 100, 1).len(), 3);
    }

    #[test]
    fn the_longest_run_of_the_shortest_datagrams_fits_an_empty_queue() {
        let mut queue = SendQueue::new(CAPACITY, RUN_COUNT_MAX);
        assert!(queue.push(peer(1), &[0; RUN_LENGTH_MAX], 1));
    }

    proptest! {
        #[test]
        fn every_datagram_leaves_once_in_order_and_uncut(
            pushes in prop::collection::vec((0u16..3, 1usize..400, 1usize..200), 1..60),
            segment_length_max in 0usize..200,
            batch in 1usize..8,
            consume_between in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut queue = SendQueue::new(1500, 12);
            let (mut expected, mut sent) = (Vec::new(), Vec::new());
            for (index, &(to, length, segment_length)) in pushes.iter().enumerate() {
                let bytes: Vec<u8> = (0..length).map(|at| (at + index * 31) as u8).collect();
                if queue.push(peer(to), &bytes, segment_length) {
                    expected.extend(bytes.chunks(segment_length).map(|datagram| (peer(to), datagram.to_vec())));
                }
                if consume_between[index] {
                    let mut message = [Message::default()];
                    if queue.messages(segment_length_max, &mut message) == 1 {
                        let piece = message[0];
                        let payload = queue.bytes()[piece.start..][..piece.length].to_vec();
                        let to = crate::net::address::parse_address(queue.address(&piece).as_bytes()).unwrap();
                        let length = piece.segment_length.map_or(piece.length, usize::from);
                        sent.extend(payload.chunks(length).map(|datagram| (to, datagram.to_vec())));
                        queue.consume(&piece);
                    }
                }
            }
            sent.extend(drain(&mut queue, segment_length_max, batch));
            prop_assert_eq!(sent, expected);
        }
    }
}
