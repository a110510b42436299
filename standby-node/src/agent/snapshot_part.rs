//! One reader's share of a standby snapshot, and its way to the snapshot agent.
//!
//! Every reader of the log, each service and the module follower, comes to the same positions at which a snapshot is
//! to be taken, and hands over its part there or says why it has none. So the snapshot agent gets as many words about
//! each position as there are readers, and a set is whole or given up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};
use service_api::{ClusterTimeUnit, FrozenState};

use super::snapshot_stream::StreamReader;
use crate::message_buffer::MessageBuffer;

/// What a reader says of one position.
#[derive(Debug)]
pub enum SnapshotPart {
    /// Its part of the snapshot there.
    Taken(Box<TakenPart>),
    /// It has none, neither there nor at any position before that it has not spoken of.
    Skipped {
        /// The last position that it stands for.
        log_position: i64,
        /// In words.
        reason: String,
    },
}

/// Where in the log, and in the cluster's time, a snapshot stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotPoint {
    /// End of the last message that is part of it.
    pub log_position: i64,
    /// The leader's term there.
    pub leadership_term_id: i64,
    /// Cluster time of the last message.
    pub timestamp: i64,
    /// The unit of that time.
    pub time_unit: ClusterTimeUnit,
}

/// One recording's content, complete or still to be asked for.
pub struct TakenPart {
    /// The same in every part of a set.
    pub point: SnapshotPoint,
    /// What the cluster itself reads: of a service the marks and sessions, of the module everything.
    pub head: MessageBuffer,
    /// What follows.
    pub content: PartContent,
    /// Held until the content is written or thrown away.
    in_hand: InHand,
}

/// What a service adds to its snapshot.
pub enum PartContent {
    /// Nothing: the consensus module's.
    None,
    /// A view that writes itself.
    Frozen(Box<dyn FrozenState>),
    /// Messages that the service has written.
    Messages(MessageBuffer),
    /// Messages that the service is writing on another thread.
    Stream(StreamReader),
}

impl SnapshotPart {
    /// The position that it is about.
    pub fn log_position(&self) -> i64 {
        match self {
            Self::Taken(part) => part.point.log_position,
            Self::Skipped { log_position, .. } => *log_position,
        }
    }
}

impl fmt::Debug for PartContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Frozen(_) => "Frozen",
            Self::Messages(_) => "Messages",
            Self::Stream(_) => "Stream",
        })
    }
}

impl fmt::Debug for TakenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenPart").field("point", &self.point).finish_non_exhaustive()
    }
}

/// Makes the two ends for one reader.
pub fn part_ring(capacity: usize) -> (PartSender, PartReceiver) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let busy = Arc::new(AtomicBool::new(false));
    (PartSender { parts: producer, missed: None, busy }, PartReceiver { parts: consumer })
}

/// The reader's end.
#[derive(Debug)]
pub struct PartSender {
    parts: Producer<SnapshotPart>,
    /// A position for which the ring had no room.
    missed: Option<(i64, String)>,
    busy: Arc<AtomicBool>,
}

impl PartSender {
    /// Whether the part before is still being written: a reader has one in hand, so that views and copies do not pile
    /// up in memory.
    pub fn is_busy(&self) -> bool {
        // Pairs with the Release in `InHand::drop`: what the part held is free then.
        self.busy.load(Ordering::Acquire)
    }

    /// Hands a part over.
    ///
    /// # Panics
    /// When [`Self::is_busy`]: the caller looks first.
    pub fn send(&mut self, point: SnapshotPoint, head: MessageBuffer, content: PartContent) {
        assert!(!self.busy.swap(true, Ordering::Relaxed), "a reader has one part in hand");
        let in_hand = InHand(Arc::clone(&self.busy));
        self.push(SnapshotPart::Taken(Box::new(TakenPart { point, head, content, in_hand })));
    }

    /// Says that there is no part for this position.
    pub fn skip(&mut self, log_position: i64, reason: impl Into<String>) {
        self.push(SnapshotPart::Skipped { log_position, reason: reason.into() });
    }

    /// Says what did not find room, if there is room now. To be called in every duty cycle; it costs a look.
    #[inline]
    pub fn flush(&mut self) {
        if self.missed.is_some() {
            self.flush_missed();
        }
    }

    #[cold]
    fn flush_missed(&mut self) {
        if let Some((log_position, reason)) = self.missed.take()
            && self.parts.push(SnapshotPart::Skipped { log_position, reason: reason.clone() }).is_err()
        {
            self.missed = Some((log_position, reason));
        }
    }

    fn push(&mut self, part: SnapshotPart) {
        self.flush();
        let log_position = part.log_position();
        if self.missed.is_some() || self.parts.push(part).is_err() {
            self.missed = Some((log_position, "earlier snapshots are still being written".to_owned()));
        }
    }
}

/// The snapshot agent's end.
#[derive(Debug)]
pub struct PartReceiver {
    parts: Consumer<SnapshotPart>,
}

impl PartReceiver {
    /// The next part, left where it is.
    pub fn peek(&self) -> Option<&SnapshotPart> {
        self.parts.peek().ok()
    }

    /// Takes the next part.
    pub fn poll(&mut self) -> Option<SnapshotPart> {
        self.parts.pop().ok()
    }
}

/// A part that is on its way or being written.
#[derive(Debug)]
struct InHand(Arc<AtomicBool>);

impl Drop for InHand {
    fn drop(&mut self) {
        // Pairs with the Acquire in `PartSender::is_busy`.
        self.0.store(false, Ordering::Release);
    }
}

impl TakenPart {
    /// Splits it into what is written first and what then, and a guard to be dropped behind both.
    pub fn into_content(self) -> (MessageBuffer, PartContent, impl Drop) {
        (self.head, self.content, self.in_hand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(log_position: i64) -> SnapshotPoint {
        SnapshotPoint {
            log_position,
            leadership_term_id: 0,
            timestamp: 0,
            time_unit: ClusterTimeUnit::Millis,
        }
    }

    #[test]
    fn a_reader_is_busy_until_its_part_is_written_or_thrown_away() {
        let (mut sender, mut receiver) = part_ring(4);
        sender.send(point(64), MessageBuffer::new(), PartContent::None);
        assert!(sender.is_busy());
        let Some(SnapshotPart::Taken(part)) = receiver.poll() else { panic!("a part was sent") };
        let (_, _, in_hand) = part.into_content();
        assert!(sender.is_busy());
        drop(in_hand);
        assert!(!sender.is_busy());
        sender.send(point(96), MessageBuffer::new(), PartContent::None);
        drop(receiver.poll());
        assert!(!sender.is_busy());
    }

    #[test]
    fn a_full_ring_merges_what_was_skipped_and_says_it_later() {
        let (mut sender, mut receiver) = part_ring(4);
        for position in 1..=7 {
            sender.skip(position * 32, "busy");
        }
        let said = |receiver: &mut PartReceiver| receiver.poll().map(|part| part.log_position());
        assert_eq!(said(&mut receiver), Some(32));
        sender.flush();
        let rest: Vec<i64> = std::iter::from_fn(|| said(&mut receiver)).collect();
        assert_eq!(rest, [64, 96, 128, 224]);
    }
}
