//! The log's recording, from the catalog to open files.

use std::path::PathBuf;

use consensus_tap::file::segment::RecordingGeometry;

use super::{HistoryError, RecordingPlace};
use crate::store::durability::DurabilityFile;
use crate::store::recording_syncer::RecordingSyncer;
use crate::store::recording_writer::RecordingWriter;
use crate::store::segment_preparer::{SegmentPreparer, segment_pipeline};
use crate::store::segment_views::SegmentViews;

/// The log, ready to be extended.
#[derive(Debug)]
pub struct OpenedLog {
    /// For the receiver.
    pub writer: RecordingWriter,
    /// For the storage agent.
    pub preparer: SegmentPreparer,
    /// For the storage agent.
    pub syncer: RecordingSyncer,
    /// For the storage agent.
    pub durability: DurabilityFile,
    /// Where the files' data ends; beyond the writer's position lies what no source has confirmed.
    pub tail_end: i64,
    /// For every reader.
    pub place: RecordingPlace,
}

/// The log's recording, in the catalog. Its files are opened by whoever may wait for the disk.
#[derive(Debug)]
pub struct PlannedLog {
    pub(super) archive: PathBuf,
    pub(super) geometry: RecordingGeometry,
    pub(super) position: i64,
    pub(super) tail_end: i64,
    pub(super) durability: DurabilityFile,
}

impl PlannedLog {
    /// Opens the files to be written from the log's end on. Blocks on the disk, above all to allocate and pre-fault a
    /// segment.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn open(self) -> Result<OpenedLog, HistoryError> {
        let Self { archive, geometry, position, tail_end, mut durability } = self;
        let (supply, preparer) = segment_pipeline(&archive, geometry);
        let mut writer = RecordingWriter::open(&archive, geometry, position, tail_end, Some(supply))?;
        let (recording_id, start_position) = (geometry.recording_id(), geometry.start_position());
        let durable_position = durability.position(recording_id, start_position).min(position);
        durability.mark(recording_id, durable_position, position < tail_end)?;
        let syncer = RecordingSyncer::new(&archive, geometry, writer.published(), durable_position);
        let published = writer.published();
        let views = SegmentViews::new(archive.clone(), geometry, published.clone());
        writer.share(views.clone());
        let place =
            RecordingPlace { directory: archive, geometry, published, views: Some(views), committed: None };
        Ok(OpenedLog { writer, preparer, syncer, durability, tail_end, place })
    }
}

/// How the frames of a log are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogFrames {
    /// The longest frame.
    pub mtu_length: i32,
    /// Session id of the frames.
    pub session_id: i32,
    /// Stream id of the frames.
    pub stream_id: i32,
}
