//! The log that this node appends to: recorded at once, committed when it is as safe as the configuration demands.

use consensus_tap::leader::{LogAppender, LogFull};

use crate::store::recording_writer::{RecordError, RecordingWriter};
use crate::store::sync_watch::SyncWatch;

/// Recorded and not durable may be this much; more than a disk that keeps up ever leaves.
const UNCOMMITTED_LENGTH_MAX: i64 = 64 * 1024 * 1024;
/// A disk that is full now may have room again in a second, not in a cycle.
const RETRY_NS: u64 = 1_000_000_000;

/// The recording, and how far it counts.
#[derive(Debug)]
pub(super) struct LedLog {
    writer: RecordingWriter,
    /// Where what counts must be durable.
    durable: Option<SyncWatch>,
    /// What was there before this node led counts, and what has counted once.
    committed_position: i64,
    /// Up to where the syncer was told.
    woken_position: i64,
    now_ns: u64,
    /// Nothing is appended before.
    retry_ns: u64,
    report: Option<String>,
}

impl LedLog {
    /// The log as it is counts.
    pub(super) fn new(writer: RecordingWriter, durable: Option<SyncWatch>) -> Self {
        let position = writer.recorded_position();
        Self {
            writer,
            durable,
            committed_position: position,
            woken_position: position,
            now_ns: 0,
            retry_ns: 0,
            report: None,
        }
    }

    /// A duty cycle begins: looks how far the log is durable by now.
    #[inline]
    pub(super) fn on_cycle(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        if let Some(watch) = &self.durable {
            self.committed_position = self.committed_position.max(watch.durable_position());
        }
    }

    /// How far the log counts.
    #[inline]
    pub(super) fn commit_position(&self) -> i64 {
        if self.durable.is_some() { self.committed_position } else { self.writer.recorded_position() }
    }

    /// Where the log ends.
    pub(super) fn recorded_position(&self) -> i64 {
        self.writer.recorded_position()
    }

    /// Has what was recorded since the last call made durable, where something waits for that.
    #[inline]
    pub(super) fn wake_syncer(&mut self) {
        let position = self.writer.recorded_position();
        if position > self.woken_position
            && let Some(watch) = &self.durable
        {
            self.woken_position = position;
            watch.wake();
        }
    }

    /// Everything that is recorded counts from now on: nothing is appended any more.
    pub(super) fn commit_all(&mut self) {
        self.committed_position = self.writer.recorded_position();
    }

    /// The log below `position` is about to be purged.
    pub(super) fn purged_below(&mut self, position: i64) {
        self.writer.purged_below(position);
    }

    /// How many segments were not ready when they were needed.
    pub(super) fn late_segment_count(&self) -> u64 {
        self.writer.late_segment_count()
    }

    /// Why nothing could be appended, once for each try.
    pub(super) fn take_report(&mut self) -> Option<String> {
        self.report.take()
    }

    #[cold]
    fn on_error(&mut self, error: &RecordError) {
        self.retry_ns = self.now_ns + RETRY_NS;
        self.report = Some(format!("the log takes nothing more until there is room for it: {error}"));
    }
}

impl LogAppender for LedLog {
    fn append(&mut self, position: i64, frames: &[u8]) -> Result<(), LogFull> {
        if self.now_ns < self.retry_ns || position - self.commit_position() > UNCOMMITTED_LENGTH_MAX {
            return Err(LogFull);
        }
        match self.writer.append(position, frames) {
            Ok(()) => Ok(()),
            Err(error @ RecordError::NextSegment { .. }) => {
                self.on_error(&error);
                Err(LogFull)
            }
            // Frames of our own that do not fit the recording are a bug, and going on would lose them.
            Err(error) => panic!("the leader's frames cannot be recorded: {error}"),
        }
    }
}
