//! Snapshots, message by message.
//!
//! A service's snapshot is a sequence of messages, framed as the service likes. The runtime puts the marks and
//! the session table around them (see section "Service snapshot" of Aeron's cluster snapshot schema) and
//! records the whole as one stream, so that a Java node can load what a Rust node wrote and the reverse.

use crate::ServiceError;

/// Where a service writes its snapshot.
pub trait SnapshotWriter {
    /// The longest message that [`write`](Self::write) takes, in bytes. Never below 1,024.
    fn max_message_length(&self) -> usize;

    /// Appends one message. May block while the storage is slow.
    ///
    /// # Errors
    /// The message is too long, or the storage failed: return the error. The snapshot is given up, also where the service
    /// passes over it and ends in order.
    fn write(&mut self, message: &[u8]) -> Result<(), ServiceError>;
}

/// From where a service reads the snapshot that it, or its like in another language, wrote.
pub trait SnapshotReader {
    /// The next message, valid until the next call; `None` after the last.
    ///
    /// # Errors
    /// The storage failed or the recording is damaged: return the error, the service does not start.
    fn read(&mut self) -> Result<Option<&[u8]>, ServiceError>;
}

/// A snapshot in memory: for tests, and for handing state from one service to another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemorySnapshot {
    messages: Vec<Vec<u8>>,
    max_message_length: usize,
}

impl MemorySnapshot {
    /// An empty snapshot that takes messages of up to `max_message_length` bytes.
    pub fn new(max_message_length: usize) -> Self {
        Self { messages: Vec::new(), max_message_length }
    }

    /// The messages in the order in which they were written.
    pub fn messages(&self) -> &[Vec<u8>] {
        &self.messages
    }

    /// The messages, to damage them in a test.
    pub fn messages_mut(&mut self) -> &mut Vec<Vec<u8>> {
        &mut self.messages
    }

    /// A reader that begins at the first message.
    pub fn reader(&self) -> MemorySnapshotReader<'_> {
        MemorySnapshotReader { messages: self.messages.iter() }
    }
}

impl Default for MemorySnapshot {
    /// An empty snapshot with the message limit of a node's defaults.
    fn default() -> Self {
        Self::new(MAX_MESSAGE_LENGTH_DEFAULT)
    }
}

impl SnapshotWriter for MemorySnapshot {
    fn max_message_length(&self) -> usize {
        self.max_message_length
    }

    fn write(&mut self, message: &[u8]) -> Result<(), ServiceError> {
        if message.len() > self.max_message_length {
            return Err(ServiceError::new(format!(
                "a snapshot message of {} bytes is longer than {}",
                message.len(),
                self.max_message_length
            )));
        }
        self.messages.push(message.to_vec());
        Ok(())
    }
}

/// Reads a [`MemorySnapshot`].
#[derive(Clone, Debug)]
pub struct MemorySnapshotReader<'a> {
    messages: std::slice::Iter<'a, Vec<u8>>,
}

impl SnapshotReader for MemorySnapshotReader<'_> {
    fn read(&mut self) -> Result<Option<&[u8]>, ServiceError> {
        Ok(self.messages.next().map(Vec::as_slice))
    }
}

/// The longest message of a snapshot that a node of ours takes unless it is configured: an eighth of the 16 MiB term of
/// its recording (`snapshot_term_length`). A Java member of default term length takes 8 MiB.
pub const MAX_MESSAGE_LENGTH_DEFAULT: usize = 2 * 1024 * 1024;
