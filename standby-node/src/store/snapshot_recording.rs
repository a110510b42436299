//! One recording of a standby snapshot while it is written: messages in, framed, recorded, durable at the end.

use std::path::{Path, PathBuf};

use consensus_tap::file::catalog::{Descriptor, NULL_POSITION, NULL_TIMESTAMP};
use consensus_tap::file::segment::RecordingGeometry;
use consensus_tap::log::{SnapshotFramer, SnapshotKind, SnapshotStream};
use consensus_tap::wire::{StreamTerms, TermLength};
use service_api::{ServiceError, SnapshotWriter};

use super::recording_syncer::{RecordingSyncer, SyncError};
use super::recording_writer::{RecordError, RecordingWriter};
use super::segment::{SegmentError, remove_recording};
use crate::message_buffer::WriteFault;
use crate::sys::clock;

/// The channel that members record their snapshots from; readers of a catalog tell them by it.
const CHANNEL: &str = "aeron:ipc";
/// What a Java archive notes as the sender of an IPC stream.
const SOURCE_IDENTITY: &str = "aeron:ipc";

/// A place in the archive for a snapshot that is to be written. Nobody finds it before it is published.
#[derive(Clone, Debug)]
pub struct ReservedRecording {
    archive: PathBuf,
    geometry: RecordingGeometry,
    stream: SnapshotStream,
}

/// A recording that is written, whole and on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WrittenRecording {
    /// Which one.
    pub recording_id: i64,
    /// Where it ends.
    pub stop_position: i64,
}

/// Why a snapshot could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotRecordingError {
    /// A segment file.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The recording takes no more.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It did not reach the disk.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// A write of the service failed, in its words.
    #[error("{0}")]
    Incomplete(ServiceError),
    /// A message is longer than a loader could put together.
    #[error(
        "a message of {length} bytes is longer than {length_max}: write shorter ones, or raise snapshot_term_length"
    )]
    TooLong {
        /// Of the message, bytes.
        length: usize,
        /// The longest that the recording's terms allow, bytes.
        length_max: usize,
    },
}

/// The catalog's entry for a snapshot of ours, as a member's archive describes one of its own. `session_id` stands
/// for the publication that a member would have recorded.
pub(super) fn descriptor(kind: SnapshotKind, term_length: TermLength, session_id: i32) -> Descriptor {
    let channel = format!("{CHANNEL}?session-id={session_id}|alias=snapshot");
    Descriptor {
        control_session_id: 0,
        correlation_id: 0,
        recording_id: 0,
        start_timestamp: clock::epoch_ms(),
        stop_timestamp: NULL_TIMESTAMP,
        start_position: 0,
        stop_position: NULL_POSITION,
        initial_term_id: 0,
        segment_file_length: term_length.bytes(),
        term_buffer_length: term_length.bytes(),
        mtu_length: SnapshotStream::MTU_LENGTH,
        session_id,
        stream_id: kind.stream_id(),
        stripped_channel: channel.clone(),
        original_channel: channel,
        source_identity: SOURCE_IDENTITY.to_owned(),
    }
}

impl ReservedRecording {
    pub(super) fn new(
        archive: &Path,
        geometry: RecordingGeometry,
        kind: SnapshotKind,
        descriptor: &Descriptor,
    ) -> Self {
        let terms = StreamTerms {
            initial_term_id: geometry.initial_term_id(),
            term_length: TermLength::new(geometry.term_length()).expect("a geometry's term length is valid"),
        };
        let stream = SnapshotStream {
            kind,
            session_id: descriptor.session_id,
            terms,
            mtu_length: descriptor.mtu_length,
        };
        Self { archive: archive.to_owned(), geometry, stream }
    }

    /// Which recording it will be.
    pub fn recording_id(&self) -> i64 {
        self.geometry.recording_id()
    }

    /// Removes the files of a recording that is given up.
    ///
    /// # Errors
    /// [`SegmentError::Io`].
    pub fn remove_files(&self) -> Result<(), SegmentError> {
        remove_recording(&self.archive, self.geometry.recording_id())
    }
}

/// Writes one recording. May block on the disk.
#[derive(Debug)]
pub struct SnapshotRecording {
    framer: SnapshotFramer,
    writer: RecordingWriter,
    syncer: RecordingSyncer,
    segment_end: i64,
    fault: WriteFault,
}

impl SnapshotRecording {
    /// Creates the recording's first segment. The disk is taken as the snapshot grows, and not by the segment: nobody
    /// knows how long a service's snapshot will be, and most are far shorter.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn create(place: &ReservedRecording) -> Result<Self, SegmentError> {
        let geometry = place.geometry;
        let writer = RecordingWriter::create_growing(&place.archive, geometry)?;
        let syncer = RecordingSyncer::new(&place.archive, geometry, writer.published(), 0);
        let segment_end = geometry.segment_end(0);
        let framer = SnapshotFramer::new(place.stream);
        Ok(Self { framer, writer, syncer, segment_end, fault: WriteFault::default() })
    }

    /// Appends one message.
    ///
    /// # Errors
    /// [`SnapshotRecordingError`]; the recording is void then.
    pub fn append(&mut self, message: &[u8]) -> Result<(), SnapshotRecordingError> {
        let length_max = self.framer.message_length_max();
        if message.len() > length_max {
            return Err(SnapshotRecordingError::TooLong { length: message.len(), length_max });
        }
        let writer = &mut self.writer;
        self.framer.push(message, |position, frames| writer.append(position, frames))?;
        if self.writer.recorded_position() >= self.segment_end {
            // Segment by segment, so that the end does not bring a burst that the log's own syncs wait behind.
            self.syncer.sync()?;
            self.segment_end = self.writer.geometry().segment_end(self.writer.recorded_position());
        }
        Ok(())
    }

    /// Makes the recording durable.
    ///
    /// # Errors
    /// [`SnapshotRecordingError`]; the recording is void then. That of a write that failed, whoever passed over it.
    pub fn finish(self) -> Result<WrittenRecording, SnapshotRecordingError> {
        let Self { writer, mut syncer, fault, .. } = self;
        fault.check().map_err(SnapshotRecordingError::Incomplete)?;
        let recording_id = writer.geometry().recording_id();
        writer.trim()?;
        let stop_position = syncer.sync()?;
        syncer.write_checksum()?;
        Ok(WrittenRecording { recording_id, stop_position })
    }
}

impl SnapshotWriter for SnapshotRecording {
    fn max_message_length(&self) -> usize {
        self.framer.message_length_max()
    }

    fn write(&mut self, message: &[u8]) -> Result<(), ServiceError> {
        let written = self.append(message).map_err(|error| ServiceError::new(error.to_string()));
        self.fault.note(written)
    }
}
