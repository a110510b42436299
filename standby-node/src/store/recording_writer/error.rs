//! Why a run is not recorded.

use crate::store::segment::SegmentError;
use crate::sys::mapped::MapError;

/// Why a run was not recorded. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The run does not begin where the recording ends.
    #[error("the run begins at {found}, the recording ends at {expected}")]
    NotContiguous {
        /// The recorded position.
        expected: i64,
        /// Position of the run.
        found: i64,
    },
    /// The run is not made of whole, aligned frames of this recording, each with the term id and offset of its
    /// position, and padding only at its end.
    #[error("no frame of recording {recording_id} begins at position {position} of the run")]
    BadFrame {
        /// Which recording.
        recording_id: i64,
        /// Position where a frame should begin.
        position: i64,
    },
    /// The frames belong to another stream: tools would refuse the recording.
    #[error("the run is of stream {found}, the recording of stream {expected}")]
    UnexpectedStream {
        /// Stream id of the recording.
        expected: i32,
        /// Stream id of a frame.
        found: i32,
    },
    /// The run goes on behind the end of its term, and so may leave the segment.
    #[error("the run crosses the end of a term at position {term_end}")]
    CrossesTerm {
        /// Where the term ends.
        term_end: i64,
    },
    /// The recording was to end before.
    #[error("the run ends at {found}, the recording was to end at {stop_position}")]
    BeyondStop {
        /// Where it was to end.
        stop_position: i64,
        /// Where the run ends.
        found: i64,
    },
    /// The disk has no room for the run.
    #[error("no room to record up to position {position}: {source}")]
    NoRoom {
        /// Position behind the run.
        position: i64,
        /// What failed.
        source: MapError,
    },
    /// The segment is full, and the next one cannot be created.
    #[error("no next segment at position {position}: {source}")]
    NextSegment {
        /// Its base position.
        position: i64,
        /// What failed.
        source: SegmentError,
    },
}
