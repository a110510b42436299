//! Where the data of a recording ends whose process died, or whose machine did.
//!
//! ```text
//!  of this boot:        | … every segment is whole …            | frames | 0 0 0 0 |
//!                                                                         ^ recorded up to here
//!  after a power cut:   | … on the disk …     | frames | frames | hole …  | frames, of no use |
//!                                             ^ durable position ^ tail end
//! ```
//! While the machine was up the page cache holds every byte, so the last segment tells the end. After a power cut only
//! what lies below the durable position is certain. Behind it any page, any file's length and any name may be as it
//! was before it was last written, or never have been written at all. What still joins on without a hole is kept as
//! the tail; it proves nothing until a source sends the same bytes.

use std::path::Path;

use consensus_tap::file::segment::{
    FrameHeader, PREPARED_SUFFIX, RecordingGeometry, Scan, ScanEnd, last_frame_may_be_torn, scan,
};

use super::durability::Trust;
use super::segment::{SegmentError, all_segment_bases, names, open_whole, remove, segment_bases, zero_from};
use crate::sys::mapped::{MapError, SegmentMap};

/// Where the data of a recording was found to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recovered {
    /// Position behind the last whole frame.
    pub stop_position: i64,
    /// Bytes behind it that were not zero, and now are.
    pub zeroed_length: usize,
}

/// Finds where the data of a recording ends that was active when its process died, and makes its files ready to be
/// extended from there: what lies behind it becomes zero, and segments that were prepared ahead are removed. A missing
/// next segment behind a full one is no error: the writer creates it.
///
/// With [`Trust::All`] only the last segment is scanned, as an archive does. Its frames are known to reach to
/// `known_end`: files that end below it were damaged. With [`Trust::Below`] everything from that position on is
/// scanned, and whatever is wrong there ends the data.
///
/// # Errors
/// [`SegmentError`] when a file that is trusted is missing, damaged, misplaced or of the wrong length, or when one
/// cannot be accessed. Nothing of a damaged file is changed.
pub fn recover(
    directory: &Path,
    geometry: &RecordingGeometry,
    trust: Trust,
    known_end: i64,
) -> Result<Recovered, SegmentError> {
    let recovered = match trust {
        Trust::All => recover_in_this_boot(directory, geometry, known_end),
        Trust::Below(durable_position) => recover_after_power_cut(directory, geometry, durable_position),
    }?;
    remove_prepared(directory, geometry.recording_id())?;
    Ok(recovered)
}

fn recover_in_this_boot(
    directory: &Path,
    geometry: &RecordingGeometry,
    known_end: i64,
) -> Result<Recovered, SegmentError> {
    let Some(&base) = segment_bases(directory, geometry)?.last() else {
        if known_end > geometry.start_position() {
            let path = directory.join(geometry.segment_name(geometry.first_segment_base()));
            return Err(SegmentError::Missing { path });
        }
        return Ok(Recovered { stop_position: geometry.start_position(), zeroed_length: 0 });
    };
    let path = directory.join(geometry.segment_name(base));
    let mut segment = open_whole(&path, geometry, base)?;
    let found = scan_whole(&segment, geometry, base);
    let data_end = base + found.stop_offset as i64;
    if found.end == ScanEnd::Full && data_end < known_end {
        return Err(SegmentError::Missing { path: directory.join(geometry.segment_name(data_end)) });
    }
    if found.end == ScanEnd::Damaged || data_end < known_end {
        return Err(SegmentError::Damaged { path, offset: found.stop_offset, position: data_end });
    }
    let zeroed_length = end_at(&mut segment, found.stop_offset)?;
    Ok(Recovered { stop_position: base + found.stop_offset as i64, zeroed_length })
}

fn recover_after_power_cut(
    directory: &Path,
    geometry: &RecordingGeometry,
    durable_position: i64,
) -> Result<Recovered, SegmentError> {
    let bases = all_segment_bases(directory, geometry)?;
    let durable_base = geometry.segment_base(durable_position);
    check_durable_segments(directory, geometry, &bases, durable_position)?;
    let mut stop_position = durable_position;
    let mut zeroed_length = 0;
    for base in (durable_base..).step_by(geometry.segment_length() as usize) {
        let path = directory.join(geometry.segment_name(base));
        if bases.binary_search(&base).is_err() {
            break;
        }
        let mut segment = match open_whole(&path, geometry, base) {
            Ok(segment) => segment,
            // Its name reached the disk, its length did not, and nothing of it was ever durable.
            Err(SegmentError::Map(MapError::Length { .. }))
                if durable_position <= base.max(geometry.start_position()) =>
            {
                remove(&path)?;
                break;
            }
            Err(error) => return Err(error),
        };
        let found = scan_whole(&segment, geometry, base);
        let data_end = base + found.stop_offset as i64;
        if data_end < durable_position.min(base + segment.length() as i64) {
            return Err(SegmentError::Damaged { path, offset: found.stop_offset, position: data_end });
        }
        // What is known to be on the disk is not torn, whatever it looks like.
        let torn =
            data_end > durable_position && last_frame_may_be_torn(segment.bytes(0, segment.length()), &found);
        let stop_offset = found.last_frame_offset.filter(|_| torn).unwrap_or(found.stop_offset);
        zeroed_length += end_at(&mut segment, stop_offset)?;
        stop_position = base + stop_offset as i64;
        if stop_offset < segment.length() {
            break;
        }
    }
    // What lies behind a hole would stand in the writer's way. The last first: a crash leaves a shorter tail.
    for base in bases.into_iter().rev().filter(|base| *base >= stop_position && *base > durable_base) {
        let path = directory.join(geometry.segment_name(base));
        if path.exists() {
            remove(&path)?;
        }
    }
    Ok(Recovered { stop_position, zeroed_length })
}

/// Writes the bytes between two positions once more, as they are. Where an earlier sync failed, Linux has given pages
/// up and takes them for clean: a sync would pass over them and succeed.
///
/// # Errors
/// [`SegmentError`] when a segment cannot be read or written.
pub fn rewrite(
    directory: &Path,
    geometry: &RecordingGeometry,
    from: i64,
    to: i64,
) -> Result<(), SegmentError> {
    let mut at = from;
    while at < to {
        let base = geometry.segment_base(at);
        let end = to.min(geometry.segment_end(at));
        let segment = open_whole(&directory.join(geometry.segment_name(base)), geometry, base)?;
        segment.file().rewrite(geometry.segment_offset(at), (end - at) as usize)?;
        at = end;
    }
    Ok(())
}

/// What is durable must be there.
fn check_durable_segments(
    directory: &Path,
    geometry: &RecordingGeometry,
    bases: &[i64],
    durable_position: i64,
) -> Result<(), SegmentError> {
    let durable =
        (geometry.first_segment_base()..durable_position).step_by(geometry.segment_length() as usize);
    // A recording of which nothing is durable yet may have no file at all.
    let mut missing = durable.filter(|base| bases.binary_search(base).is_err());
    match missing.next() {
        Some(base) if durable_position > geometry.start_position() => {
            Err(SegmentError::Missing { path: directory.join(geometry.segment_name(base)) })
        }
        _ => Ok(()),
    }
}

/// Walks the frames of a segment. One of another stream is as foreign as one of another position.
fn scan_whole(segment: &SegmentMap, geometry: &RecordingGeometry, base_position: i64) -> Scan {
    let bytes = segment.bytes(0, segment.length());
    let mut foreign = None;
    let mut before = None;
    let found = scan(geometry, base_position, bytes, geometry.first_frame_offset(base_position), |at| {
        let frame = FrameHeader::parse(&bytes[at..]);
        if foreign.is_none() {
            if frame.is_none_or(|frame| frame.stream_id != geometry.stream_id()) {
                foreign = Some(at);
            } else {
                before = Some(at);
            }
        }
    });
    match foreign {
        Some(stop_offset) => Scan { stop_offset, last_frame_offset: before, end: ScanEnd::Damaged },
        None => found,
    }
}

/// Makes everything from an offset on zero, on the disk too, and returns how many bytes were not.
fn end_at(segment: &mut SegmentMap, offset: usize) -> Result<usize, SegmentError> {
    let zeroed_length = zero_from(segment, offset);
    if zeroed_length > 0 {
        segment.file().sync_data()?;
    }
    Ok(zeroed_length)
}

/// Removes segments that were prepared ahead for the recording and never used.
fn remove_prepared(directory: &Path, recording_id: i64) -> Result<(), SegmentError> {
    let prefix = format!("{recording_id}-");
    for name in names(directory)? {
        if name.starts_with(&prefix) && name.contains(PREPARED_SUFFIX) {
            remove(&directory.join(name))?;
        }
    }
    Ok(())
}
