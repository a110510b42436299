//! Blocks on the disk for what is recorded.

use std::path::Path;

use consensus_tap::file::segment::RecordingGeometry;

use crate::store::segment::{SegmentError, remove};
use crate::sys::mapped::{MappedFile, PAGE_LENGTH};

/// How much of a segment has blocks on the disk. A store into a page without them would end the process where the disk
/// is full, so room is made before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allocation {
    /// All of it, from the beginning: where datagrams are received, nothing is left to be asked for.
    Whole,
    /// As far as the recording goes, which ends here.
    Until(i64),
    /// A step ahead of what is recorded.
    Growing,
}

impl Allocation {
    /// Of a growing recording's segment, bytes. Each further step is as long as all before, up to [`Self::STEP_MAX`].
    const STEP_MIN: usize = 64 * 1024;
    pub(super) const STEP_MAX: usize = 16 * 1024 * 1024;

    /// Where the recording must end, if that is known.
    pub(super) fn stop_position(self) -> i64 {
        match self {
            Self::Until(stop_position) => stop_position,
            Self::Whole | Self::Growing => i64::MAX,
        }
    }

    /// How much of a new segment is allocated: whole pages, for a mapping has no less.
    pub(super) fn length(self, geometry: &RecordingGeometry, base_position: i64) -> usize {
        let length = geometry.segment_length() as usize;
        let needed = match self {
            Self::Whole => length,
            Self::Until(stop_position) => usize::try_from(stop_position - base_position).unwrap_or_default(),
            Self::Growing => Self::STEP_MIN.max(geometry.first_frame_offset(base_position) + 1),
        };
        needed.min(length).next_multiple_of(PAGE_LENGTH).min(length)
    }

    /// Up to where a recording may be written without a question, with a new segment at `base_position`.
    pub(super) fn room_end(self, geometry: &RecordingGeometry, base_position: i64) -> i64 {
        match self {
            // A run never leaves its segment, all of which is allocated.
            Self::Whole => i64::MAX,
            Self::Until(stop_position) => stop_position,
            Self::Growing => base_position + self.length(geometry, base_position) as i64,
        }
    }
}

/// Creates a segment under a passing name, so that one with its final name always has its full length.
pub(super) fn create_segment(
    directory: &Path,
    geometry: &RecordingGeometry,
    base_position: i64,
    allocation: Allocation,
) -> Result<MappedFile, SegmentError> {
    // The preparer may be working on a file with the plain prepared name.
    let passing = directory.join(format!("{}.late", geometry.prepared_name(base_position)));
    if passing.exists() {
        remove(&passing)?;
    }
    let allocated_length = allocation.length(geometry, base_position);
    let mut file = MappedFile::create_sparse(&passing, geometry.segment_length() as usize, allocated_length)?;
    file.rename(&directory.join(geometry.segment_name(base_position)))?;
    Ok(file)
}
