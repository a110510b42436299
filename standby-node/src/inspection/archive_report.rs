//! `archive describe` and `archive verify`.

use std::fmt::Write as _;

use consensus_tap::file::catalog::{Record, RecordState};
use serde::Serialize;

use super::recording_check::{Depth, RecordingCheck, check_recording};
use super::{InspectionError, NodeFiles, position_text};
use crate::store::segment::segment_bases;

/// What an archive holds, by its catalog and its directory.
#[derive(Clone, Debug, Serialize)]
pub struct ArchiveReport {
    /// Version of the catalog, `major.minor.patch`.
    pub catalog_version: String,
    /// The id that the next recording gets.
    pub next_recording_id: i64,
    /// Every record, whatever its state.
    pub recordings: Vec<RecordingReport>,
}

/// One record of the catalog, and its files.
#[derive(Clone, Debug, Serialize)]
pub struct RecordingReport {
    /// Its id.
    pub recording_id: i64,
    /// `VALID`, `INVALID`, `DELETED`.
    pub state: &'static str,
    /// Epoch ms.
    pub start_timestamp: i64,
    /// Epoch ms, -1 while active.
    pub stop_timestamp: i64,
    /// First position.
    pub start_position: i64,
    /// Position behind the last frame, -1 while active.
    pub stop_position: i64,
    /// Term id of position 0.
    pub initial_term_id: i32,
    /// Bytes of a segment.
    pub segment_file_length: i32,
    /// Bytes of a term.
    pub term_buffer_length: i32,
    /// Longest datagram.
    pub mtu_length: i32,
    /// Session of the recorded image.
    pub session_id: i32,
    /// Stream.
    pub stream_id: i32,
    /// Channel with only what identifies it.
    pub stripped_channel: String,
    /// Channel as asked for.
    pub original_channel: String,
    /// Who sent it.
    pub source_identity: String,
    /// Base positions of its segment files.
    pub segments: Vec<i64>,
    /// Why the files cannot be listed, where they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl ArchiveReport {
    /// Reads catalog and directory; `recording_id` picks one recording.
    ///
    /// # Errors
    /// [`InspectionError`].
    pub fn read(files: &NodeFiles, recording_id: Option<i64>) -> Result<Self, InspectionError> {
        let catalog = files.catalog()?;
        let version = catalog.header.version;
        let recordings: Vec<_> = catalog
            .records
            .iter()
            .filter(|record| recording_id.is_none_or(|id| record.descriptor.recording_id == id))
            .map(|record| RecordingReport::new(files, record))
            .collect();
        if let (Some(recording_id), true) = (recording_id, recordings.is_empty()) {
            return Err(crate::store::StoreError::Recording {
                path: files.catalog_path(),
                recording_id,
                expected: "one that is in the catalog",
                found: "is not there",
            }
            .into());
        }
        Ok(Self {
            catalog_version: format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff),
            next_recording_id: catalog.next_recording_id(),
            recordings,
        })
    }

    /// Some lines for each recording.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "catalog {}: {} records, next recording id {}\n",
            self.catalog_version,
            self.recordings.len(),
            self.next_recording_id
        );
        for recording in &self.recordings {
            let _ = writeln!(
                text,
                "recording {} {}: {} to {}, stream {}, session {}, {} segments of {} bytes, term {} bytes from id {}, \
                 MTU {}\n  channel {}\n  from {}",
                recording.recording_id,
                recording.state,
                recording.start_position,
                if recording.stop_position == -1 {
                    "active".to_owned()
                } else {
                    recording.stop_position.to_string()
                },
                recording.stream_id,
                recording.session_id,
                recording.segments.len(),
                recording.segment_file_length,
                recording.term_buffer_length,
                recording.initial_term_id,
                recording.mtu_length,
                recording.original_channel,
                recording.source_identity,
            );
            if let Some(fault) = &recording.fault {
                let _ = writeln!(text, "  FAULT {fault}");
            }
        }
        text
    }
}

impl RecordingReport {
    fn new(files: &NodeFiles, record: &Record) -> Self {
        let descriptor = &record.descriptor;
        let segments = descriptor.geometry().map_err(|error| error.to_string()).and_then(|geometry| {
            segment_bases(&files.archive(), &geometry).map_err(|error| error.to_string())
        });
        let (segments, fault) = match segments {
            Ok(segments) => (segments, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        Self {
            recording_id: descriptor.recording_id,
            state: state_name(record.state),
            start_timestamp: descriptor.start_timestamp,
            stop_timestamp: descriptor.stop_timestamp,
            start_position: descriptor.start_position,
            stop_position: descriptor.stop_position,
            initial_term_id: descriptor.initial_term_id,
            segment_file_length: descriptor.segment_file_length,
            term_buffer_length: descriptor.term_buffer_length,
            mtu_length: descriptor.mtu_length,
            session_id: descriptor.session_id,
            stream_id: descriptor.stream_id,
            stripped_channel: descriptor.stripped_channel.clone(),
            original_channel: descriptor.original_channel.clone(),
            source_identity: descriptor.source_identity.clone(),
            segments,
            fault,
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct ArchiveVerification {
    /// Each recording that is not deleted.
    pub recordings: Vec<RecordingVerdict>,
    /// How many have faults.
    pub faulty_count: usize,
    /// What was mended before.
    pub repaired: Vec<String>,
}

/// What a verification found of one recording.
#[derive(Clone, Debug, Serialize)]
pub struct RecordingVerdict {
    /// Its id.
    pub recording_id: i64,
    /// `VALID`, `INVALID`.
    pub state: &'static str,
    /// First position.
    pub start_position: i64,
    /// By the catalog, -1 while active.
    pub stop_position: i64,
    /// By the files; absent where they are damaged.
    pub data_end: Option<i64>,
    /// Segment files.
    pub segment_count: usize,
    /// Frames that were read.
    pub frame_count: u64,
    /// What is wrong, each with its file and offset.
    pub faults: Vec<String>,
    /// What is not wrong, but may be wondered about.
    pub notes: Vec<String>,
}

impl ArchiveVerification {
    /// Checks every recording that is not deleted, or one.
    ///
    /// # Errors
    /// [`InspectionError`] when the catalog itself cannot be read; faults of recordings are in the result.
    pub fn run(
        files: &NodeFiles,
        recording_id: Option<i64>,
        depth: Depth,
        now_ms: i64,
    ) -> Result<Self, InspectionError> {
        let checks = checks(files, recording_id, depth, now_ms)?;
        let recordings: Vec<_> = checks.iter().map(RecordingVerdict::new).collect();
        let faulty_count = recordings.iter().filter(|verdict| !verdict.faults.is_empty()).count();
        Ok(Self { recordings, faulty_count, repaired: Vec::new() })
    }

    /// The same, after these repairs.
    #[must_use]
    pub fn repaired(self, repaired: Vec<String>) -> Self {
        Self { repaired, ..self }
    }

    /// A line for each recording, and one for each fault and note.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for repaired in &self.repaired {
            let _ = writeln!(text, "mended: {repaired}");
        }
        for verdict in &self.recordings {
            let word = if verdict.faults.is_empty() { "OK" } else { "FAULTY" };
            let _ = writeln!(
                text,
                "recording {} {}: {word}, {} to {}, {} frames read, {} segments",
                verdict.recording_id,
                verdict.state,
                verdict.start_position,
                position_text(verdict.data_end.unwrap_or(verdict.stop_position)),
                verdict.frame_count,
                verdict.segment_count
            );
            for fault in &verdict.faults {
                let _ = writeln!(text, "  FAULT {fault}");
            }
            for note in &verdict.notes {
                let _ = writeln!(text, "  {note}");
            }
        }
        let _ = writeln!(
            text,
            "verified: catalog, segment names and lengths, each frame's length, term, offset and stream, and the end of \
             the data; payloads carry no checksum\n{} of {} recordings are faulty",
            self.faulty_count,
            self.recordings.len()
        );
        text
    }
}

impl RecordingVerdict {
    fn new(check: &RecordingCheck) -> Self {
        Self {
            recording_id: check.recording_id,
            state: state_name(check.state),
            start_position: check.start_position,
            stop_position: check.stop_position,
            data_end: check.data_end,
            segment_count: check.segment_count,
            frame_count: check.frame_count,
            faults: check.faults.iter().map(ToString::to_string).collect(),
            notes: check.notes.clone(),
        }
    }
}

/// Checks every recording that is not deleted, or one.
///
/// # Errors
/// As [`ArchiveVerification::run`].
pub fn checks(
    files: &NodeFiles,
    recording_id: Option<i64>,
    depth: Depth,
    now_ms: i64,
) -> Result<Vec<RecordingCheck>, InspectionError> {
    let catalog = files.catalog()?;
    let is_in_use = files.is_in_use(now_ms)?;
    Ok(catalog
        .records
        .iter()
        .filter(|record| record.state != RecordState::Deleted)
        .filter(|record| recording_id.is_none_or(|id| record.descriptor.recording_id == id))
        .map(|record| check_recording(&files.archive(), &files.catalog_path(), record, depth, is_in_use))
        .collect())
}

fn state_name(state: RecordState) -> &'static str {
    match state {
        RecordState::Invalid => "INVALID",
        RecordState::Valid => "VALID",
        RecordState::Deleted => "DELETED",
    }
}
