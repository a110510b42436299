//! Messages of a snapshot in memory, one behind the other.

use service_api::{ServiceError, SnapshotWriter};

/// Any number of messages in two allocations, so that filling it takes no longer than copying.
#[derive(Debug, Default)]
pub struct MessageBuffer {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl MessageBuffer {
    /// Without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of a message.
    pub fn push(&mut self, message: &[u8]) {
        self.encode(|bytes| bytes.extend_from_slice(message));
    }

    /// Appends what `encode` appends to the bytes, as one message.
    pub fn encode(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Bytes of all messages together.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }
}

/// Keeps what a service writes for the thread that records it.
#[derive(Debug)]
pub struct BufferedWriter {
    messages: MessageBuffer,
    message_length_max: usize,
}

impl BufferedWriter {
    /// A writer of messages of at most `message_length_max` bytes, which is what their recording takes.
    pub fn new(message_length_max: usize) -> Self {
        Self { messages: MessageBuffer::new(), message_length_max }
    }

    /// What was written.
    pub fn into_messages(self) -> MessageBuffer {
        self.messages
    }
}

impl SnapshotWriter for BufferedWriter {
    fn max_message_length(&self) -> usize {
        self.message_length_max
    }

    fn write(&mut self, message: &[u8]) -> Result<(), ServiceError> {
        check_length(message, self.message_length_max)?;
        self.messages.push(message);
        Ok(())
    }
}

/// Refuses a message that the recording could not take, while the service still is there to hear it.
///
/// # Errors
/// The message is longer.
pub fn check_length(message: &[u8], length_max: usize) -> Result<(), ServiceError> {
    if message.len() <= length_max {
        return Ok(());
    }
    Err(ServiceError::new(format!(
        "a snapshot message of {} bytes is longer than {length_max}: write shorter ones, or raise \
         snapshot_term_length",
        message.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_one_by_one_also_empty_ones() {
        let mut buffer = MessageBuffer::new();
        for message in [&b"one"[..], b"", b"three"] {
            buffer.push(message);
        }
        assert_eq!(buffer.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!((buffer.length(), MessageBuffer::new().iter().count()), (8, 0));
    }

    #[test]
    fn a_message_longer_than_the_recording_takes_is_refused() {
        let mut writer = BufferedWriter::new(4);
        writer.write(b"four").unwrap();
        assert!(writer.write(b"fifth").unwrap_err().to_string().contains("snapshot_term_length"));
        assert_eq!(writer.into_messages().iter().collect::<Vec<_>>(), [b"four"]);
    }
}
