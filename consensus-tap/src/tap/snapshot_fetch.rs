//! A set of snapshots on its way from one member's archive, one recording after another.

use crate::archive::{CorrelationId, Recording};
use crate::codec::consensus::SnapshotEntry;
use crate::file::segment::{GeometryError, RecordingGeometry};
use crate::image::SubscriptionId;

/// A set being fetched. Each recording is described, opened here, replayed to its stop position, and then
/// the next; only the whole set is of use.
#[derive(Debug)]
pub(super) struct SnapshotFetch {
    set: Vec<SnapshotEntry>,
    index: usize,
    pub(super) step: FetchStep,
}

/// How far the recording at the current index is.
#[derive(Debug)]
pub(super) enum FetchStep {
    /// Its descriptor was asked for under this correlation id.
    Describing { correlation_id: CorrelationId },
    /// The runtime creates the files.
    Opening { descriptor: Box<Recording> },
    /// Its frames arrive.
    Replaying {
        descriptor: Box<Recording>,
        subscription: SubscriptionId,
        correlation_id: CorrelationId,
        /// Known once the archive granted the replay.
        replay_session_id: Option<i64>,
        /// How far it was when it last moved, and when that was.
        position: i64,
        since_ns: u64,
    },
}

impl SnapshotFetch {
    pub(super) fn new(set: Vec<SnapshotEntry>, correlation_id: CorrelationId) -> Self {
        assert!(!set.is_empty(), "an empty set needs no fetch");
        Self { set, index: 0, step: FetchStep::Describing { correlation_id } }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn row(&self) -> &SnapshotEntry {
        &self.set[self.index]
    }

    /// Where the frames of the current recording arrive.
    pub(super) fn subscription(&self) -> Option<SubscriptionId> {
        match self.step {
            FetchStep::Replaying { subscription, .. } => Some(subscription),
            FetchStep::Describing { .. } | FetchStep::Opening { .. } => None,
        }
    }

    /// Whether this is what the source's archive was asked last.
    pub(super) fn waits_for(&self, correlation_id: CorrelationId) -> bool {
        match self.step {
            FetchStep::Describing { correlation_id: asked }
            | FetchStep::Replaying { correlation_id: asked, .. } => asked == correlation_id,
            FetchStep::Opening { .. } => false,
        }
    }

    /// The replay that the archive has granted and may not have ended yet.
    pub(super) fn granted(&self) -> Option<i64> {
        match self.step {
            FetchStep::Replaying { replay_session_id, .. } => replay_session_id,
            FetchStep::Describing { .. } | FetchStep::Opening { .. } => None,
        }
    }

    /// The next recording to describe, `None` when the set is complete.
    pub(super) fn advance(&mut self) -> Option<i64> {
        self.index += 1;
        self.set.get(self.index).map(|row| row.recording_id)
    }

    /// Where the log continues after this set.
    pub(super) fn log_position(&self) -> i64 {
        self.set[0].log_position
    }
}

/// Whether there can be a recording as an archive describes it: ours will be of the same shape.
pub(super) fn check_shape(descriptor: &Recording) -> Result<(), GeometryError> {
    let &Recording { recording_id, start_position, term_buffer_length, segment_file_length, .. } = descriptor;
    let (initial_term_id, stream_id) = (descriptor.initial_term_id, descriptor.stream_id);
    RecordingGeometry::new(
        recording_id,
        start_position,
        term_buffer_length,
        segment_file_length,
        initial_term_id,
        stream_id,
    )
    .map(drop)
}

/// What a snapshot recording must be, in words when it is not.
pub(super) fn check_snapshot(descriptor: &Recording) -> Result<(), String> {
    let &Recording { recording_id, start_position, stop_position, .. } = descriptor;
    check_shape(descriptor)
        .map_err(|error| format!("snapshot recording {recording_id} cannot be: {error}"))?;
    if start_position != 0 {
        return Err(format!("snapshot recording {recording_id} starts at {start_position}, not at 0"));
    }
    if stop_position <= 0 {
        return Err(format!(
            "snapshot recording {recording_id} is not complete (stop position {stop_position})"
        ));
    }
    Ok(())
}
