//! Messages for a ring that may be full: they wait here, in order.

use std::collections::VecDeque;

use rtrb::Producer;

/// The sending end of a ring, and what found no room in it yet.
#[derive(Debug)]
pub struct Backlog<T> {
    ring: Producer<T>,
    waiting: VecDeque<T>,
}

impl<T> Backlog<T> {
    /// Nothing waits yet.
    pub fn new(ring: Producer<T>) -> Self {
        Self { ring, waiting: VecDeque::new() }
    }

    /// Sends `message` after those that wait.
    pub fn push(&mut self, message: T) {
        self.waiting.push_back(message);
        self.flush();
    }

    /// Passes on what waits, as far as there is room.
    pub fn flush(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
                self.waiting.push_front(message);
                return;
            }
        }
    }

    /// How many messages wait for room.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_sent_later_and_in_order() {
        let (producer, mut consumer) = rtrb::RingBuffer::new(2);
        let mut backlog = Backlog::new(producer);
        (0..5).for_each(|message| backlog.push(message));
        assert_eq!(backlog.len(), 3);
        let mut received = Vec::new();
        while let Ok(message) = consumer.pop() {
            received.push(message);
            backlog.flush();
        }
        assert_eq!(received, [0, 1, 2, 3, 4]);
        assert!(backlog.is_empty());
    }
}
