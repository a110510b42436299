//! The ring between the receiver and one reader of the log: where the log ends now.
//!
//! Bytes never travel here. A ring that is full loses nothing: the next end that fits stands for those that did
//! not, so a slow reader never holds the receiver up.

use rtrb::{Consumer, Producer, RingBuffer};

/// The recorded log ends at `position`; what lies before it may be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogEnd {
    /// End of the last recorded frame.
    pub position: i64,
    /// When its datagram was taken from the network, on the monotonic clock.
    pub received_ns: u64,
}

/// Makes the two ends of a ring.
pub fn log_ring(capacity: usize) -> (LogSender, LogReceiver) {
    let (producer, consumer) = RingBuffer::new(capacity);
    (LogSender { producer, sent_position: i64::MIN }, LogReceiver { consumer })
}

/// The receiver's end.
#[derive(Debug)]
pub struct LogSender {
    producer: Producer<LogEnd>,
    sent_position: i64,
}

impl LogSender {
    /// Tells the reader of a new end, now if the ring has room, else with a later one. Returns 1 if it was told.
    pub fn advance(&mut self, end: LogEnd) -> usize {
        if end.position <= self.sent_position || self.producer.push(end).is_err() {
            return 0;
        }
        self.sent_position = end.position;
        1
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
        LogEnd { position, received_ns: 0 }
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
}
