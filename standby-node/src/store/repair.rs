//! Mends the two things over which a Java archive refuses to start, or `ArchiveTool verify` to go on.

use std::path::Path;

use consensus_tap::file::segment::RecordingGeometry;

use super::segment::{SegmentError, open_whole, zero_from};
use crate::sys::mapped::{MappedFile, sync_directory};

/// Cuts off the last frame of an active recording, which begins at `position`: a power cut may have torn it. A source
/// sends it again.
///
/// # Errors
/// [`SegmentError`]; the frame is then still there.
pub fn cut_off_last_frame(
    archive: &Path,
    geometry: &RecordingGeometry,
    position: i64,
) -> Result<(), SegmentError> {
    let base_position = geometry.segment_base(position);
    let path = archive.join(geometry.segment_name(base_position));
    let mut segment = open_whole(&path, geometry, base_position)?;
    zero_from(&mut segment, geometry.segment_offset(position));
    Ok(segment.file().sync_data()?)
}

/// Makes the empty segment that an archive keeps behind a full last one, at `path`.
///
/// # Errors
/// [`SegmentError`]; there is no file then.
pub fn make_next_segment(path: &Path, segment_length: usize) -> Result<(), SegmentError> {
    drop(MappedFile::create(path, segment_length)?);
    let directory = path.parent().expect("a segment lies in a directory");
    Ok(sync_directory(directory)?)
}
