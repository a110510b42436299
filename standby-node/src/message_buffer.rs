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
    fault: WriteFault,
}

/// The first error of a snapshot's writer. A service may pass over the error of a write and still end in order: what it
/// wrote lacks a message then, and must not count.
#[derive(Clone, Debug, Default)]
pub struct WriteFault(Option<ServiceError>);

impl WriteFault {
    /// Remembers how a write ended, and tells it on.
    ///
    /// # Errors
    /// That of the write.
    pub fn note(&mut self, written: Result<(), ServiceError>) -> Result<(), ServiceError> {
        if let Err(error) = &written {
            self.0.get_or_insert_with(|| error.clone());
        }
        written
    }

    /// Whether every write succeeded.
    ///
    /// # Errors
    /// That of the first write that did not.
    pub fn check(self) -> Result<(), ServiceError> {
        self.0.map_or(Ok(()), Err)
    }
}

impl BufferedWriter {
    /// A writer of messages of at most `message_length_max` bytes, which is what their recording takes.
    pub fn new(message_length_max: usize) -> Self {
        Self { messages: MessageBuffer::new(), message_length_max, fault: WriteFault::default() }
    }

    /// What was written.
    ///
    /// # Errors
    /// That of the first write that failed.
    pub fn into_messages(self) -> Result<MessageBuffer, ServiceError> {
        self.fault.check().map(|()| self.messages)
    }
}

impl SnapshotWriter for BufferedWriter {
    fn max_message_length(&self) -> usize {
        self.message_length_max
    }

    fn write(&mut self, message: &[u8]) -> Result<(), ServiceError> {
        self.fault.note(check_length(message, self.message_length_max))?;
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
        assert_eq!(writer.into_messages().unwrap().iter().collect::<Vec<_>>(), [b"four"]);
    }

    #[test]
    fn the_error_of_a_write_that_the_service_passes_over_is_kept() {
        let mut writer = BufferedWriter::new(4);
        assert!(writer.write(b"fifth").unwrap_err().to_string().contains("of 5 bytes"));
        assert!(writer.write(b"sixteen").is_err() && writer.write(b"four").is_ok());
        let error = writer.into_messages().unwrap_err().to_string();
        assert!(error.contains("of 5 bytes") && error.contains("snapshot_term_length"), "{error}");
    }
}
