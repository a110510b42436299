//! The recordings that the receiver writes, as the tap sees them.

use consensus_tap::tap::{AppendError, RecordFailed, Recorder, RecordingKey};

use crate::store::recording_writer::{RecordError, RecordingWriter};
use crate::store::segment::SegmentError;

/// Why a recording could not be written or compared.
#[derive(Debug, thiserror::Error)]
pub enum RecordingFailure {
    /// It takes no more.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What is there cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// The log and the snapshots being fetched, each with its writer.
#[derive(Debug, Default)]
pub struct Recordings {
    log: Option<RecordingWriter>,
    snapshots: Vec<RecordingWriter>,
    failure: Option<(RecordingKey, RecordingFailure)>,
}

impl Recordings {
    /// A recording is ready to be written. Snapshots are opened in the order of their set.
    ///
    /// # Panics
    /// When a snapshot is opened out of order: the tap asks for one at a time.
    pub fn open(&mut self, key: RecordingKey, writer: RecordingWriter) {
        match key {
            RecordingKey::Log => self.log = Some(writer),
            RecordingKey::Snapshot(index) => {
                assert_eq!(index, self.snapshots.len(), "snapshots are opened in the order of their set");
                self.snapshots.push(writer);
            }
        }
    }

    /// Where the log ends, `None` before it is open.
    pub fn log_position(&self) -> Option<i64> {
        self.log.as_ref().map(RecordingWriter::recorded_position)
    }

    /// How many segments of the log were not ready when they were needed.
    pub fn late_segment_count(&self) -> u64 {
        self.log.as_ref().map_or(0, RecordingWriter::late_segment_count)
    }

    /// The log below `position` is about to be purged.
    pub fn purged_below(&mut self, position: i64) {
        if let Some(log) = &mut self.log {
            log.purged_below(position);
        }
    }

    /// Gives the log's writer away.
    pub fn take_log(&mut self) -> Option<RecordingWriter> {
        self.log.take()
    }

    /// Gives the snapshots' writers away.
    pub fn take_snapshots(&mut self) -> Vec<RecordingWriter> {
        std::mem::take(&mut self.snapshots)
    }

    /// Which append or comparison failed last, and why; once.
    pub fn take_failure(&mut self) -> Option<(RecordingKey, RecordingFailure)> {
        self.failure.take()
    }

    fn writer(&self, key: RecordingKey) -> Option<&RecordingWriter> {
        match key {
            RecordingKey::Log => self.log.as_ref(),
            RecordingKey::Snapshot(index) => self.snapshots.get(index),
        }
    }
}

impl Recorder for Recordings {
    #[inline]
    fn append(&mut self, key: RecordingKey, position: i64, frames: &[u8]) -> Result<(), AppendError> {
        let writer = match key {
            RecordingKey::Log => self.log.as_mut(),
            RecordingKey::Snapshot(index) => self.snapshots.get_mut(index),
        };
        let writer = writer.expect("the tap appends to what was opened");
        writer.append(position, frames).map_err(|error| match error {
            RecordError::NextSegment { .. } | RecordError::NoRoom { .. } => {
                self.failure = Some((key, error.into()));
                AppendError::Failed
            }
            // The recording is as good as before: whoever sent this is left, and another may go on.
            RecordError::NotContiguous { .. }
            | RecordError::BadFrame { .. }
            | RecordError::BeyondStop { .. }
            | RecordError::UnexpectedStream { .. }
            | RecordError::CrossesTerm { .. } => AppendError::Misplaced,
        })
    }

    fn position(&self, key: RecordingKey) -> Option<i64> {
        self.writer(key).map(RecordingWriter::recorded_position)
    }

    fn matches(&mut self, position: i64, frame: &[u8]) -> Result<bool, RecordFailed> {
        let log = self.log.as_mut().expect("the tap compares with a log that is open");
        log.matches(position, frame).map_err(|error| {
            self.failure = Some((RecordingKey::Log, error.into()));
            RecordFailed
        })
    }

    fn frame_start_at_or_before(&self, position: i64) -> i64 {
        self.log
            .as_ref()
            .map_or(0, |log| log.frame_start_at_or_before(position.max(log.geometry().start_position())))
    }
}
