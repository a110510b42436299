//! Why a node's history cannot be read or continued.

use std::path::PathBuf;

use consensus_tap::file::segment::GeometryError;

use crate::store::StoreError;
use crate::store::recording_syncer::SyncError;
use crate::store::segment::SegmentError;

/// Why the node's history cannot be read or continued.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A control-plane file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A segment file.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The disk refused to make something durable.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// A recording of a shape that no archive has.
    #[error("recording {recording_id} cannot be: {source}; run `reseed`")]
    Geometry {
        /// Which recording.
        recording_id: i64,
        /// What is wrong with it.
        source: GeometryError,
    },
    /// The log cannot begin there.
    #[error(
        "{}: the log, recording {recording_id}, begins at {start_position}, but {} says that it is on the disk up to \
         {durable_position} only: one of the two is damaged; restore it from a copy, or run `reseed`",
        catalog.display(), durability.display()
    )]
    StartBeyondDurable {
        /// archive.catalog.
        catalog: PathBuf,
        /// Which recording.
        recording_id: i64,
        /// Where it begins.
        start_position: i64,
        /// durable-position.dat.
        durability: PathBuf,
        /// What that says.
        durable_position: i64,
    },
    /// Every TERM row is marked invalid, so the log that was recorded here has no name.
    #[error(
        "{}: the TERM row at offset {offset} is marked invalid, and there is no other: which recording is the log is not \
         known; restore the file, or run `reseed`",
        path.display()
    )]
    NoValidTerm {
        /// recording.log.
        path: PathBuf,
        /// Where the row begins.
        offset: u64,
    },
    /// One recording cannot be the log and a snapshot.
    #[error(
        "{}: the row at offset {offset} names recording {recording_id} as a snapshot, other rows name it as the log; \
         restore the file, or run `reseed`",
        path.display()
    )]
    NamedTwice {
        /// recording.log.
        path: PathBuf,
        /// Where the snapshot's row begins.
        offset: u64,
        /// Which recording.
        recording_id: i64,
    },
    /// A recording that recording.log names as a snapshot is none.
    #[error(
        "{}: recording {recording_id} runs from {start_position} to {stop_position}, a snapshot's from 0 to its end; \
         restore the archive, or invalidate the snapshot (`snapshot invalidate`)",
        path.display()
    )]
    NotASnapshot {
        /// The catalog.
        path: PathBuf,
        /// Which recording.
        recording_id: i64,
        /// Where it begins, by the catalog.
        start_position: i64,
        /// Where it ends, by the catalog; -1 while active.
        stop_position: i64,
    },
    /// recording.log names a recording that the catalog does not have.
    #[error(
        "{} names recording {recording_id}, which is not in the archive's catalog: restore the archive, or run \
         `reseed`",
        path.display()
    )]
    Unknown {
        /// recording.log.
        path: PathBuf,
        /// Which recording.
        recording_id: i64,
    },
}
