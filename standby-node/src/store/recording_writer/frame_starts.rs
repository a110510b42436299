//! Where frames begin, for whoever asks for a replay of what is recorded already.

use std::path::Path;

use consensus_tap::file::segment::{RecordingGeometry, scan};

use crate::store::segment::open_whole;

/// Where some of the frames recorded last begin: one about every 16 KiB, over at least 256 KiB.
#[derive(Debug)]
pub(super) struct FrameStarts {
    starts: [i64; FrameStarts::COUNT],
    next: usize,
    last: i64,
}

impl FrameStarts {
    const COUNT: usize = 32;
    const SPACING: i64 = 16 * 1024;
    /// Bytes below the end over which starts are known.
    pub(super) const REACH: usize = Self::COUNT * Self::SPACING as usize;
    const NONE: i64 = i64::MAX;

    pub(super) fn new(start_position: i64) -> Self {
        Self { starts: [Self::NONE; Self::COUNT], next: 0, last: start_position - Self::SPACING }
    }

    pub(super) fn note(&mut self, position: i64) {
        if position - self.last >= Self::SPACING {
            self.starts[self.next % Self::COUNT] = position;
            self.next = self.next.wrapping_add(1);
            self.last = position;
        }
    }

    pub(super) fn at_or_before(&self, position: i64) -> Option<i64> {
        self.starts.iter().copied().filter(|start| *start <= position).max()
    }
}

/// Notes the frames of the last term of the segment before this one. Where it cannot be read they stay unknown, and a
/// replay begins farther back than it would have to.
pub(super) fn note_term_before(
    directory: &Path,
    geometry: &RecordingGeometry,
    base_position: i64,
    frame_starts: &mut FrameStarts,
) {
    let before = base_position - i64::from(geometry.segment_length());
    if before < geometry.first_segment_base() {
        return;
    }
    let Ok(segment) = open_whole(&directory.join(geometry.segment_name(before)), geometry, before) else {
        return;
    };
    let last_term = segment.length() - geometry.term_length() as usize;
    let from_offset = last_term.max(geometry.first_frame_offset(before));
    scan(geometry, before, segment.bytes(0, segment.length()), from_offset, |at| {
        frame_starts.note(before + at as i64);
    });
}
