//! A service's snapshot on its way to the disk while the service writes it: for replicas, which may wait.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use service_api::{ServiceError, SnapshotWriter};

use crate::message_buffer::{MessageBuffer, WriteFault, check_length};

/// Messages are handed over in runs of about this many bytes.
const RUN_LENGTH: usize = 1024 * 1024;
/// Runs under way: what bounds the memory, whatever the length of the snapshot.
const RUNS_MAX: usize = 4;

/// Makes the two ends, for messages of at most `message_length_max` bytes.
pub fn snapshot_stream(message_length_max: usize) -> (StreamWriter, StreamReader) {
    let (sender, receiver) = sync_channel(RUNS_MAX);
    let fault = WriteFault::default();
    (StreamWriter { sender, run: MessageBuffer::new(), message_length_max, fault }, StreamReader { receiver })
}

enum Run {
    Messages(MessageBuffer),
    End(Result<(), ServiceError>),
}

/// The service's end. Dropping it without [`end`](Self::end) gives the snapshot up.
#[derive(Debug)]
pub struct StreamWriter {
    sender: SyncSender<Run>,
    run: MessageBuffer,
    message_length_max: usize,
    fault: WriteFault,
}

impl StreamWriter {
    /// Says how the service ended. Waits until the messages before were taken.
    pub fn end(mut self, result: Result<(), ServiceError>) {
        // Whoever gave the snapshot up no longer listens.
        let _ = self.send_run();
        let _ = self.sender.send(Run::End(result.and_then(|()| self.fault.check())));
    }

    fn send_run(&mut self) -> Result<(), ServiceError> {
        let run = std::mem::take(&mut self.run);
        self.sender
            .send(Run::Messages(run))
            .map_err(|_| ServiceError::new("the snapshot was given up while the service wrote it"))
    }
}

impl SnapshotWriter for StreamWriter {
    fn max_message_length(&self) -> usize {
        self.message_length_max
    }

    fn write(&mut self, message: &[u8]) -> Result<(), ServiceError> {
        self.fault.note(check_length(message, self.message_length_max))?;
        self.run.push(message);
        if self.run.length() < RUN_LENGTH { Ok(()) } else { self.send_run() }
    }
}

/// The snapshot agent's end.
#[derive(Debug)]
pub struct StreamReader {
    receiver: Receiver<Run>,
}

impl StreamReader {
    /// Writes everything to `snapshot`, waiting for the service as long as it takes.
    ///
    /// # Errors
    /// That of the service or of the writer.
    pub fn write(self, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        loop {
            match self.receiver.recv() {
                Ok(Run::Messages(run)) => run.iter().try_for_each(|message| snapshot.write(message))?,
                Ok(Run::End(result)) => return result,
                Err(_) => return Err("the service ended while it wrote its snapshot".into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use service_api::MemorySnapshot;

    use super::*;

    #[test]
    fn messages_arrive_in_order_while_they_are_written() {
        let (mut writer, reader) = snapshot_stream(RUN_LENGTH);
        let written = std::thread::spawn(move || {
            // More runs than may be under way.
            for i in 0..3 * RUNS_MAX {
                writer.write(&vec![i as u8; RUN_LENGTH / 2 + i]).unwrap();
            }
            writer.end(Ok(()));
        });
        let mut snapshot = MemorySnapshot::default();
        reader.write(&mut snapshot).unwrap();
        written.join().unwrap();
        let lengths: Vec<usize> = snapshot.messages().iter().map(Vec::len).collect();
        assert_eq!(lengths, (0..3 * RUNS_MAX).map(|i| RUN_LENGTH / 2 + i).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_of_the_service_reaches_the_reader_and_the_end_of_the_reader_the_service() {
        let (writer, reader) = snapshot_stream(8);
        writer.end(Err("no".into()));
        assert_eq!(reader.write(&mut MemorySnapshot::default()), Err("no".into()));

        let (mut writer, reader) = snapshot_stream(8);
        let passed_over = writer.write(b"too long.").unwrap_err();
        writer.end(Ok(()));
        assert_eq!(reader.write(&mut MemorySnapshot::default()), Err(passed_over));

        let (writer, reader) = snapshot_stream(8);
        drop(writer);
        assert!(reader.write(&mut MemorySnapshot::default()).is_err());

        let (mut writer, reader) = snapshot_stream(RUN_LENGTH);
        drop(reader);
        assert!(writer.write(&vec![0; RUN_LENGTH]).is_err());
    }
}
