//! The segment files of one recording in the archive's directory: which there are, and where their data ends
//! after a crash.

use std::io;
use std::path::{Path, PathBuf};

use consensus_tap::file::segment::{
    FRAME_HEADER_LENGTH, FrameHeader, PREPARED_SUFFIX, RecordingGeometry, SEGMENT_SUFFIX, ScanEnd,
    SegmentName, last_frame_may_be_torn, scan,
};

use crate::advice::next_step;
use crate::sys::disk;
use crate::sys::mapped::{MapError, MappedFile, PAGE_LENGTH, Published, SegmentMap};

/// Why the segment files of a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A file could not be created, mapped or synced.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The directory could not be read or changed.
    #[error("cannot {action} {path}: {source}; {}", next_step(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file stands where the next segment would be created.
    #[error("{path} exists already, though the recording has not reached it: move it away")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A segment between the first and the last is not there.
    #[error("{path} is missing, though a later segment exists: restore it, or reseed")]
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A segment's base position is not one of its recording.
    #[error("{path} begins at no multiple of {segment_length} bytes from {first_base}: move it away")]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// Base position of the recording's first segment.
        first_base: i64,
        /// Bytes of a segment.
        segment_length: i32,
    },
    /// Something that is no frame of the recording lies where the next frame should be.
    #[error(
        "{path} is damaged at offset {offset} (position {position}): no frame of this recording, nor its \
             end; `ArchiveTool verify` of Aeron tells more, `reseed` begins again from the members"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset in it, bytes.
        offset: usize,
        /// Position in the recording.
        position: i64,
    },
    /// A position that was said to be the end of a frame is not.
    #[error(
        "position {position} is not at the boundary of a frame in {path}: restore the \
             file, or begin again from the members with `reseed`"
    )]
    NotAFrameBoundary {
        /// The file.
        path: PathBuf,
        /// Position in the recording.
        position: i64,
    },
}

/// What to think of a last frame that a power cut may have torn (see [`last_frame_may_be_torn`]).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Straddling {
    /// The page cache lived on (same boot id): every length that is there has its payload.
    Trust,
    /// The machine went down: drop such a frame, as `ArchiveTool verify` offers to. It will be fetched again.
    Drop,
}

/// Where the data of a recording was found to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recovered {
    /// Position behind the last whole frame.
    pub stop_position: i64,
    /// Bytes behind it that were not zero, and now are.
    pub zeroed_length: usize,
}

/// Finds the stop position of a recording that was active when its process died, and makes its files ready to be
/// extended from there: what lies behind it becomes zero, and segments that were prepared ahead are removed. Only
/// the last segment is scanned, as an archive does. A missing next segment behind a full one is no error: the
/// writer creates it.
///
/// # Errors
/// [`SegmentError`] when a file is missing in between, damaged, misplaced or of the wrong length, or cannot be
/// accessed. Nothing of a damaged file is changed.
pub fn recover(
    directory: &Path,
    geometry: &RecordingGeometry,
    straddling: Straddling,
) -> Result<Recovered, SegmentError> {
    recover_at_least(directory, geometry, straddling, geometry.start_position())
}

/// As [`recover`], of a recording whose frames are known to reach to `known_end`: files that end below it were damaged,
/// and are left as they are.
///
/// # Errors
/// As [`recover`]; [`SegmentError::Damaged`] or [`SegmentError::Missing`] where the frames end below `known_end`.
pub fn recover_at_least(
    directory: &Path,
    geometry: &RecordingGeometry,
    straddling: Straddling,
    known_end: i64,
) -> Result<Recovered, SegmentError> {
    let bases = segment_bases(directory, geometry)?;
    let Some(&base) = bases.last() else {
        if known_end > geometry.start_position() {
            let path = directory.join(geometry.segment_name(geometry.first_segment_base()));
            return Err(SegmentError::Missing { path });
        }
        remove_prepared(directory, geometry.recording_id())?;
        return Ok(Recovered { stop_position: geometry.start_position(), zeroed_length: 0 });
    };

    let path = directory.join(geometry.segment_name(base));
    let mut segment = open_whole(&path, geometry, base)?;
    let length = segment.length();
    let first_offset = geometry.first_frame_offset(base);
    let mut foreign_offset = None;
    let found = scan(geometry, base, segment.bytes(0, length), first_offset, |at| {
        let frame = FrameHeader::parse(segment.bytes(at, FRAME_HEADER_LENGTH));
        if frame.is_none_or(|frame| frame.stream_id != geometry.stream_id()) {
            foreign_offset.get_or_insert(at);
        }
    });
    let data_end = base + found.stop_offset as i64;
    if found.end == ScanEnd::Full && data_end < known_end {
        return Err(SegmentError::Missing { path: directory.join(geometry.segment_name(data_end)) });
    }
    if found.end == ScanEnd::Damaged || foreign_offset.is_some() || data_end < known_end {
        let offset = foreign_offset.unwrap_or(found.stop_offset);
        return Err(SegmentError::Damaged { path, offset, position: base + offset as i64 });
    }
    remove_prepared(directory, geometry.recording_id())?;
    // What is known to be on the disk is not torn, whatever it looks like.
    let torn = straddling == Straddling::Drop
        && (data_end > known_end || known_end == geometry.start_position())
        && last_frame_may_be_torn(segment.bytes(0, length), &found);
    let stop_offset = match found.last_frame_offset {
        Some(last_frame_offset) if torn => last_frame_offset,
        _ => found.stop_offset,
    };
    let zeroed_length = zero_from(&mut segment, stop_offset);
    if zeroed_length > 0 {
        segment.file().sync_data()?;
    }
    Ok(Recovered { stop_position: base + stop_offset as i64, zeroed_length })
}

/// Base positions of the recording's segment files, ascending and without a gap from the one that holds the start
/// position. Files below that one are left over from a purge and ignored.
///
/// # Errors
/// [`SegmentError::Io`], [`SegmentError::Missing`], [`SegmentError::Misplaced`].
pub fn segment_bases(directory: &Path, geometry: &RecordingGeometry) -> Result<Vec<i64>, SegmentError> {
    let first_base = geometry.first_segment_base();
    let mut bases: Vec<i64> = names(directory)?
        .filter_map(|name| SegmentName::parse(&name))
        .filter(|name| name.recording_id == geometry.recording_id() && name.base_position >= first_base)
        .map(|name| name.base_position)
        .collect();
    bases.sort_unstable();
    let mut expected = first_base;
    for &base in &bases {
        if base != geometry.segment_base(base) {
            let path = directory.join(geometry.segment_name(base));
            let segment_length = geometry.segment_length();
            return Err(SegmentError::Misplaced { path, first_base, segment_length });
        }
        if base != expected {
            return Err(SegmentError::Missing { path: directory.join(geometry.segment_name(expected)) });
        }
        expected = geometry.segment_end(base);
    }
    Ok(bases)
}

/// Maps a whole segment that nobody reads yet for writing: none of it counts as published.
pub(super) fn open_whole(
    path: &Path,
    geometry: &RecordingGeometry,
    base_position: i64,
) -> Result<SegmentMap, SegmentError> {
    let file = MappedFile::open_writable(path, Some(geometry.segment_length() as usize))?;
    Ok(SegmentMap::new(file, base_position, Published::new(0)))
}

/// Sets everything from `offset` on to zero, and returns how many bytes were not. Pages that are zero already stay
/// untouched, so that a sparse rest is not written.
pub(super) fn zero_from(segment: &mut SegmentMap, offset: usize) -> usize {
    let mut zeroed = 0;
    let mut at = offset;
    while at < segment.length() {
        let length = (PAGE_LENGTH - at % PAGE_LENGTH).min(segment.length() - at);
        let dirty = segment.bytes(at, length).iter().filter(|byte| **byte != 0).count();
        if dirty > 0 {
            segment.zero(at, length);
            zeroed += dirty;
        }
        at += length;
    }
    zeroed
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> Result<(), SegmentError> {
    disk::remove(path).map_err(|source| io_error("remove", path, source))
}

/// Removes every segment file of a recording, prepared ones too. None is no error.
pub(super) fn remove_recording(directory: &Path, recording_id: i64) -> Result<(), SegmentError> {
    let prefix = format!("{recording_id}-");
    for name in names(directory)? {
        if name.starts_with(&prefix) && name.contains(SEGMENT_SUFFIX) {
            remove(&directory.join(name))?;
        }
    }
    Ok(())
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

fn names(directory: &Path) -> Result<impl Iterator<Item = String>, SegmentError> {
    let entries = std::fs::read_dir(directory).map_err(|source| io_error("list", directory, source))?;
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names = names.map_err(|source| io_error("list", directory, source))?;
    // A name that is not UTF-8 is no segment's.
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> SegmentError {
    SegmentError::Io { action, path: path.to_owned(), source }
}
