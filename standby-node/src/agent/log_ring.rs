//! The ring between the receiver and one reader of the log: where the log ends now.
//!
//! Bytes never travel here. A ring that is full loses nothing: the next end that fits stands for those that did
//! not, so a slow reader never holds the receiver up. Marks, for a snapshot or for the node's taking the lead, are not
//! lost either: they wait for room.

use rtrb::{Consumer, Producer, RingBuffer};

/// The recorded log ends at `position`; what lies before it may be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogEnd {
    /// End of the last recorded frame.
    pub position: i64,
    /// When its datagram was taken from the network, on the monotonic clock.
    pub received_ns: u64,
    /// Take a snapshot here.
    pub snapshot_mark: Option<Mark>,
    /// This node leads from this position on, which no earlier end lay beyond. It is where frames end; of a message that
    /// began before and never ended, nothing counts.
    pub leads_from: Option<i64>,
}

/// Where the readers are to take a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// At the first message boundary at or behind this position, which no earlier end lay beyond: so no reader has
    /// passed it.
    pub position: i64,
    /// Where the newest set was given up, once every reader had spoken of it: who stands there speaks again.
    pub again_at: Option<i64>,
}

impl Mark {
    /// A mark that nothing went before.
    #[cfg(test)]
    pub const fn at(position: i64) -> Self {
        Self { position, again_at: None }
    }
}

impl LogEnd {
    /// An end without a mark.
    pub const fn at(position: i64, received_ns: u64) -> Self {
        Self { position, received_ns, snapshot_mark: None, leads_from: None }
    }

    /// Before anything was told.
    pub const NONE: Self = Self::at(i64::MIN, 0);
}

/// Makes the two ends of a ring.
pub fn log_ring(capacity: usize) -> (LogSender, LogReceiver) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let sender = LogSender { producer, sent_position: i64::MIN, mark: None, leads_from: None };
    (sender, LogReceiver { consumer })
}

/// The receiver's end.
#[derive(Debug)]
pub struct LogSender {
    producer: Producer<LogEnd>,
    sent_position: i64,
    /// A mark that the reader has not been told of.
    mark: Option<Mark>,
    /// That the node leads from here on, of which the reader has not been told.
    leads_from: Option<i64>,
}

impl LogSender {
    /// Tells the reader of a new end, now if the ring has room, else with a later one. Returns 1 if it was told.
    #[inline]
    pub fn advance(&mut self, end: LogEnd) -> usize {
        if end.position <= self.sent_position && self.mark.is_none() && self.leads_from.is_none() {
            return 0;
        }
        let marked = LogEnd { snapshot_mark: self.mark, leads_from: self.leads_from, ..end };
        if self.producer.push(marked).is_err() {
            return 0;
        }
        self.sent_position = end.position;
        (self.mark, self.leads_from) = (None, None);
        1
    }

    /// Whether the reader was told that the log ends at `position`, or behind.
    pub fn is_told(&self, position: i64) -> bool {
        self.sent_position >= position
    }

    /// Puts a mark on the next end that is told, which must not be before it: an end that says nothing new will do. It takes
    /// the place of one that was not told yet: a reader that takes part in snapshots has spoken of the one before when the
    /// next is asked for, and to others marks mean nothing.
    ///
    /// # Panics
    /// When the reader was told of an end beyond the mark.
    pub fn mark_snapshot(&mut self, mark: Mark) {
        assert!(mark.position >= self.sent_position, "the reader may have passed {}", mark.position);
        self.mark = Some(mark);
    }

    /// Tells the reader, with the next end, that this node leads from `position` on: where the log ends now.
    ///
    /// # Panics
    /// When the reader was told of an end beyond `position`.
    pub fn lead_from(&mut self, position: i64) {
        assert!(position >= self.sent_position, "the reader may have passed {position}");
        self.leads_from = Some(position);
    }
}

/// The reader's end.
#[derive(Debug)]
pub struct LogReceiver {
    consumer: Consumer<LogEnd>,
}

impl LogReceiver {
    /// The next end, if there is one.
    pub fn poll(&mut self) -> Option<LogEnd> {
        self.consumer.pop().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(position: i64) -> LogEnd {
        LogEnd::at(position, 0)
    }

    fn marked(position: i64, mark: i64) -> LogEnd {
        LogEnd { snapshot_mark: Some(Mark::at(mark)), ..end(position) }
    }

    #[test]
    fn a_full_ring_merges_ends_and_loses_none() {
        let (mut sender, mut receiver) = log_ring(2);
        assert_eq!((1..=5).map(|i| sender.advance(end(i * 32))).sum::<usize>(), 2);
        assert_eq!(receiver.poll(), Some(end(32)));
        assert_eq!(sender.advance(end(160)), 1);
        assert_eq!(
            [receiver.poll(), receiver.poll(), receiver.poll()],
            [Some(end(64)), Some(end(160)), None]
        );
    }

    #[test]
    fn the_same_end_is_told_once() {
        let (mut sender, mut receiver) = log_ring(2);
        assert_eq!((sender.advance(end(32)), sender.advance(end(32))), (1, 0));
        assert_eq!([receiver.poll(), receiver.poll()], [Some(end(32)), None]);
    }

    #[test]
    fn a_mark_is_told_once_though_the_log_has_not_grown() {
        let (mut sender, mut receiver) = log_ring(4);
        sender.advance(end(32));
        sender.mark_snapshot(Mark::at(32));
        assert_eq!((sender.advance(end(32)), sender.advance(end(32))), (1, 0));
        assert_eq!([receiver.poll(), receiver.poll()], [Some(end(32)), Some(marked(32, 32))]);
    }

    #[test]
    fn a_mark_outlives_the_merging_of_ends_and_keeps_its_place() {
        let (mut sender, mut receiver) = log_ring(1);
        sender.advance(end(32));
        sender.mark_snapshot(Mark::at(64));
        assert_eq!(sender.advance(end(96)) + sender.advance(end(128)), 0);
        assert_eq!(receiver.poll(), Some(end(32)));
        sender.advance(end(160));
        assert_eq!(receiver.poll(), Some(marked(160, 64)));
    }

    #[test]
    fn a_mark_that_its_reader_has_not_heard_of_gives_way_to_the_next() {
        let (mut sender, mut receiver) = log_ring(1);
        sender.advance(end(32));
        sender.mark_snapshot(Mark::at(32));
        assert_eq!(sender.advance(end(64)), 0);
        sender.mark_snapshot(Mark::at(64));
        assert_eq!(receiver.poll(), Some(end(32)));
        sender.advance(end(96));
        assert_eq!(receiver.poll(), Some(marked(96, 64)));
    }

    #[test]
    fn that_the_node_leads_is_told_once_beside_a_mark_and_though_the_log_has_not_grown() {
        let (mut sender, mut receiver) = log_ring(1);
        sender.advance(end(32));
        sender.mark_snapshot(Mark::at(64));
        sender.lead_from(96);
        assert_eq!(sender.advance(end(96)), 0, "the ring is full");
        assert_eq!(receiver.poll(), Some(end(32)));
        assert_eq!(sender.advance(end(160)), 1);
        assert_eq!(receiver.poll(), Some(LogEnd { leads_from: Some(96), ..marked(160, 64) }));
        sender.lead_from(160);
        assert_eq!((sender.advance(end(160)), sender.advance(end(160))), (1, 0));
        assert_eq!(receiver.poll(), Some(LogEnd { leads_from: Some(160), ..end(160) }));
    }

    #[test]
    #[should_panic(expected = "may have passed")]
    fn a_mark_that_a_reader_may_have_passed_is_a_bug() {
        let (mut sender, _receiver) = log_ring(1);
        sender.advance(end(96));
        sender.mark_snapshot(Mark::at(64));
    }
}
