//! A queue of byte messages in one buffer that grows, laid out as Agrona's `ExpandableRingBuffer`.
//!
//! ```text
//!  0              4              8                          multiple of 8
//!  | length + 8   | 1, padding 0 | message …                |
//! ```
//! A snapshot states how many bytes of it are in use, padding included, and its loader makes a ring of that
//! many bytes; so when padding arises and when the ring grows must be as there. The capacity is a power of
//! two, at most 1 GiB. Appending costs amortised constant time per byte, removing constant time.

const HEADER_LENGTH: usize = 8;
const ALIGNMENT: usize = 8;
const TYPE_PADDING: u32 = 0;
const TYPE_MESSAGE: u32 = 1;
/// Most bytes that a ring holds, headers and padding included.
pub(super) const CAPACITY_MAX: usize = 1 << 30;

/// The queue. Invariants: `head <= tail <= head + buffer.len()`; both are multiples of 8 within records
/// that never wrap around the buffer's end.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    capacity_max: usize,
    buffer: Vec<u8>,
    head: usize,
    tail: usize,
    /// What growing took off positions so far.
    base: u64,
}

/// A place in a [`Ring`] between two messages, which stays where it is when the ring grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct RingPosition(u64);

impl Ring {
    /// An empty ring without a buffer, that grows to at most `capacity_max` bytes.
    ///
    /// # Panics
    /// When `capacity_max` exceeds [`CAPACITY_MAX`] or is no power of two.
    pub(super) fn new(capacity_max: usize) -> Self {
        assert!(capacity_max <= CAPACITY_MAX && capacity_max.is_power_of_two());
        Self { capacity_max, buffer: Vec::new(), head: 0, tail: 0, base: 0 }
    }

    /// Bytes in use, headers and padding included.
    pub(super) fn size(&self) -> usize {
        self.tail - self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Empties the ring and gives it the capacity that a loader of a snapshot would. Returns false when
    /// that exceeds the largest.
    pub(super) fn reset(&mut self, required_capacity: usize) -> bool {
        if required_capacity > self.capacity_max {
            return false;
        }
        // 0 becomes 1 here as it does there, which the next growth then counts in.
        let capacity = required_capacity.next_power_of_two();
        if capacity != self.buffer.len() {
            self.buffer = vec![0; capacity];
        }
        self.base += self.tail as u64;
        self.head = 0;
        self.tail = 0;
        true
    }

    /// Appends a message in parts. Returns false, and changes nothing a reader sees, when it does not fit
    /// into the largest ring.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > self.capacity_max {
            return false;
        }
        let aligned_length = align(HEADER_LENGTH + length);
        let free = self.buffer.len() - self.size();
        if aligned_length > free {
            if !self.grow(aligned_length) {
                return false;
            }
        } else {
            let (head, tail) = (self.offset(self.head), self.offset(self.tail));
            if tail >= head {
                let to_end = self.buffer.len() - tail;
                if aligned_length > to_end {
                    if aligned_length <= free - to_end {
                        self.write_header(tail, to_end, TYPE_PADDING);
                        self.tail += to_end;
                    } else if !self.grow(aligned_length) {
                        return false;
                    }
                }
            }
        }

        let at = self.offset(self.tail);
        self.write_header(at, HEADER_LENGTH + length, TYPE_MESSAGE);
        let mut at = at + HEADER_LENGTH;
        for part in parts {
            self.buffer[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.tail += aligned_length;
        true
    }

    /// Removes messages from the front while `predicate` holds, and the padding between them.
    pub(super) fn pop_while(&mut self, mut predicate: impl FnMut(&[u8]) -> bool) {
        while self.head < self.tail {
            let (record, message) = self.record_at(self.head);
            if message.is_some_and(|message| !predicate(message)) {
                break;
            }
            self.head += record;
        }
    }

    /// The messages from front to back.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.iter_from(RingPosition::default()).map(|(message, _)| message)
    }

    /// The messages from a place on, or from the front if that is behind it, each with the place that follows.
    pub(super) fn iter_from(&self, from: RingPosition) -> impl Iterator<Item = (&[u8], RingPosition)> {
        let skipped = from.0.saturating_sub(self.base);
        let mut position = usize::try_from(skipped).unwrap_or(usize::MAX).max(self.head);
        std::iter::from_fn(move || {
            while position < self.tail {
                let (record, message) = self.record_at(position);
                position += record;
                if let Some(message) = message {
                    return Some((message, RingPosition(self.base + position as u64)));
                }
            }
            None
        })
    }

    /// Bytes of the record at a position, and its message unless it is padding.
    fn record_at(&self, position: usize) -> (usize, Option<&[u8]>) {
        let at = self.offset(position);
        let length = self.u32_at(at) as usize;
        let message =
            (self.u32_at(at + 4) == TYPE_MESSAGE).then(|| &self.buffer[at + HEADER_LENGTH..at + length]);
        (align(length), message)
    }

    /// Moves all records into a ring that holds one more of `aligned_length`.
    fn grow(&mut self, aligned_length: usize) -> bool {
        let capacity = (self.buffer.len() + aligned_length).next_power_of_two();
        if capacity > self.capacity_max {
            return false;
        }
        let mut grown = vec![0; capacity];
        let size = self.size();
        if size > 0 {
            let head = self.offset(self.head);
            let first = size.min(self.buffer.len() - head);
            grown[..first].copy_from_slice(&self.buffer[head..head + first]);
            grown[first..size].copy_from_slice(&self.buffer[..size - first]);
        }
        self.buffer = grown;
        self.base += self.head as u64;
        self.head = 0;
        self.tail = size;
        true
    }

    fn offset(&self, position: usize) -> usize {
        if self.buffer.is_empty() { 0 } else { position & (self.buffer.len() - 1) }
    }

    fn write_header(&mut self, at: usize, length: usize, record_type: u32) {
        let length = u32::try_from(length).expect("a record is at most 1 GiB");
        self.buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
        self.buffer[at + 4..at + 8].copy_from_slice(&record_type.to_le_bytes());
    }

    fn u32_at(&self, at: usize) -> u32 {
        let bytes = self.buffer[at..].first_chunk().expect("records begin within the buffer");
        u32::from_le_bytes(*bytes)
    }
}

const fn align(length: usize) -> usize {
    (length + ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn a_record_that_does_not_fit_before_the_end_leaves_padding_that_counts() {
        let mut ring = Ring::new(CAPACITY_MAX);
        assert!(ring.push(&[&[1; 24]]));
        assert!(ring.push(&[&[2; 16]]));
        assert_eq!((ring.size(), ring.buffer.len()), (56, 64));
        let mut left = 1;
        ring.pop_while(|_| {
            left -= 1;
            left >= 0
        });
        assert!(ring.push(&[&[3; 8]]));
        assert_eq!((ring.size(), ring.buffer.len()), (24 + 8 + 16, 64));
        assert_eq!(ring.iter().map(|message| message[0]).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn grows_to_the_next_power_of_two_above_capacity_plus_record() {
        let mut ring = Ring::new(CAPACITY_MAX);
        assert!(ring.push(&[&[1; 56]]));
        assert_eq!(ring.buffer.len(), 64);
        assert!(ring.reset(0));
        assert!(ring.push(&[&[1; 56]]));
        assert_eq!(ring.buffer.len(), 128, "a ring reset to 0 has 1 byte");
    }

    #[test]
    fn refuses_more_than_its_largest_capacity() {
        let mut ring = Ring::new(1024);
        assert!(ring.reset(1024));
        assert!(!ring.reset(1025));
        for _ in 0..4 {
            assert!(ring.push(&[&[1; 256 - HEADER_LENGTH]]));
        }
        assert!(!ring.push(&[]));
        assert_eq!((ring.size(), ring.iter().count()), (1024, 4));
        ring.pop_while(|_| true);
        assert!(ring.push(&[]));
    }

    proptest! {
        #[test]
        fn behaves_as_a_queue(steps in proptest::collection::vec((any::<bool>(), 0usize..200), 1..200)) {
            let mut ring = Ring::new(CAPACITY_MAX);
            let mut queue: VecDeque<Vec<u8>> = VecDeque::new();
            for (index, (push, length)) in steps.into_iter().enumerate() {
                if push {
                    let message = vec![index as u8; length];
                    prop_assert!(ring.push(&[&message]));
                    queue.push_back(message);
                } else {
                    let mut left = length % 4;
                    ring.pop_while(|_| left > 0 && { left -= 1; true });
                    queue.drain(..queue.len().min(length % 4));
                }
                prop_assert!(ring.iter().eq(queue.iter().map(Vec::as_slice)));
                prop_assert!(ring.size() <= ring.buffer.len());
                prop_assert_eq!(ring.is_empty() , queue.is_empty());
            }
        }

        #[test]
        fn a_place_stays_where_it_is_while_messages_come_and_go(
            steps in proptest::collection::vec((0u8..3, 0usize..100), 1..300)
        ) {
            let mut ring = Ring::new(CAPACITY_MAX);
            let (mut pushed, mut read, mut popped) = (0u32, 0u32, 0u32);
            let mut place = RingPosition::default();
            for (step, length) in steps {
                match step {
                    0 => {
                        prop_assert!(ring.push(&[&pushed.to_le_bytes(), &vec![7; length]]));
                        pushed += 1;
                    }
                    1 => {
                        for (message, next) in ring.iter_from(place).take(length / 20) {
                            prop_assert_eq!(&message[..4], &read.to_le_bytes());
                            (read, place) = (read + 1, next);
                        }
                    }
                    _ => ring.pop_while(|_| popped < read && length > 20 && { popped += 1; true }),
                }
                prop_assert_eq!(ring.iter_from(place).count(), (pushed - read) as usize);
            }
        }
    }
}
