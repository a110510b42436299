//! Makes a recording durable, away from the thread that writes it.

use std::path::{Path, PathBuf};

use consensus_tap::file::segment::RecordingGeometry;

use super::segment::SegmentError;
use super::snapshot_checksum::SnapshotChecksum;
use crate::sys::mapped::{MappedFile, Published, sync_directory};

/// Syncs the segment files of one recording, and knows up to where a power cut would leave it whole.
///
/// Only the range between the last durable position and the new one is written. Syncing whole files would also
/// write, and make fault again, every page that was pre-faulted ahead of the writer.
#[derive(Debug)]
pub struct RecordingSyncer {
    directory: PathBuf,
    geometry: RecordingGeometry,
    published: Published,
    durable_position: i64,
    segment: Option<(i64, MappedFile)>,
    failed: bool,
}

/// Why a recording could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The system reported that data did not reach the disk.
    #[error("recording {recording_id} is durable only up to {durable_position}: {source}")]
    Failed {
        /// Which recording.
        recording_id: i64,
        /// Position up to which it is certainly on disk.
        durable_position: i64,
        /// What failed.
        source: SegmentError,
    },
    /// An earlier sync failed. Linux drops the pages that it could not write, so a sync that succeeds
    /// afterwards would prove nothing.
    #[error(
        "recording {recording_id} is durable only up to {durable_position}, since a sync failed: check the \
             disk and restart"
    )]
    FailedBefore {
        /// Which recording.
        recording_id: i64,
        /// Position up to which it is certainly on disk.
        durable_position: i64,
    },
}

impl RecordingSyncer {
    /// A syncer of the recording in `directory`, of which everything below `durable_position` is on disk already.
    pub fn new(
        directory: &Path,
        geometry: RecordingGeometry,
        published: Published,
        durable_position: i64,
    ) -> Self {
        assert!(durable_position >= geometry.start_position(), "durable from below the recording's start");
        Self {
            directory: directory.to_owned(),
            geometry,
            published,
            durable_position,
            segment: None,
            failed: false,
        }
    }

    /// Which recording.
    pub fn recording_id(&self) -> i64 {
        self.geometry.recording_id()
    }

    /// Position up to which the recording is on disk.
    pub fn durable_position(&self) -> i64 {
        self.durable_position
    }

    /// Makes everything recorded so far durable, and returns the durable position. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Self::sync_to`].
    pub fn sync(&mut self) -> Result<i64, SyncError> {
        self.sync_to(self.published.position())
    }

    /// As [`Self::sync`], but makes at most about `length_max` bytes durable; true when that was all.
    ///
    /// # Errors
    /// As [`Self::sync_to`].
    pub fn sync_some(&mut self, length_max: i64) -> Result<bool, SyncError> {
        let end = self.published.position();
        let position = end.min(self.durable_position + length_max);
        Ok(self.sync_to(position)? >= end)
    }

    /// Writes the checksum of a snapshot that is recorded whole and durable. Reads it, and blocks on the disk.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn write_checksum(&self) -> Result<(), SegmentError> {
        SnapshotChecksum::write(&self.directory, &self.geometry, self.durable_position)
    }

    /// Makes everything below `position` durable, and returns the durable position. Blocks on the disk.
    ///
    /// # Errors
    /// [`SyncError`]; once it failed, it keeps failing.
    ///
    /// # Panics
    /// When `position` is not recorded yet.
    pub fn sync_to(&mut self, position: i64) -> Result<i64, SyncError> {
        assert!(position <= self.published.position(), "{position} is not recorded yet");
        let recording_id = self.geometry.recording_id();
        if self.failed {
            return Err(SyncError::FailedBefore { recording_id, durable_position: self.durable_position });
        }
        while self.durable_position < position {
            let to = position.min(self.geometry.segment_end(self.durable_position));
            if let Err(source) = self.sync_within_segment(to) {
                self.failed = true;
                let durable_position = self.durable_position;
                return Err(SyncError::Failed { recording_id, durable_position, source });
            }
            self.durable_position = to;
        }
        Ok(self.durable_position)
    }

    fn sync_within_segment(&mut self, to: i64) -> Result<(), SegmentError> {
        let base_position = self.geometry.segment_base(self.durable_position);
        let file = match self.segment.take() {
            Some((base, file)) if base == base_position => file,
            _ => {
                let path = self.directory.join(self.geometry.segment_name(base_position));
                let file = MappedFile::open_for_sync(&path, Some(self.geometry.segment_length() as usize))?;
                // The segment got its name after the last time that the directory was synced.
                sync_directory(&self.directory)?;
                file
            }
        };
        let offset = (self.durable_position - base_position) as usize;
        let length = (to - self.durable_position) as usize;
        let (_, file) = self.segment.insert((base_position, file));
        file.sync_range(offset, length)?;
        Ok(())
    }
}
