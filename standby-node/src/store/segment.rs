//! The segment files of one recording in the archive's directory.

use std::io;
use std::path::{Path, PathBuf};

use consensus_tap::file::segment::{RecordingGeometry, SEGMENT_SUFFIX, SegmentName};

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

/// Base positions of the recording's segment files, ascending and without a gap from the one that holds the start
/// position. Files below that one are left over from a purge and ignored.
///
/// # Errors
/// [`SegmentError::Io`], [`SegmentError::Missing`], [`SegmentError::Misplaced`].
pub fn segment_bases(directory: &Path, geometry: &RecordingGeometry) -> Result<Vec<i64>, SegmentError> {
    let bases = all_segment_bases(directory, geometry)?;
    let mut expected = geometry.first_segment_base();
    for &base in &bases {
        if base != expected {
            return Err(SegmentError::Missing { path: directory.join(geometry.segment_name(expected)) });
        }
        expected = geometry.segment_end(base);
    }
    Ok(bases)
}

/// As [`segment_bases`], but there may be gaps.
pub(super) fn all_segment_bases(
    directory: &Path,
    geometry: &RecordingGeometry,
) -> Result<Vec<i64>, SegmentError> {
    let first_base = geometry.first_segment_base();
    let mut bases: Vec<i64> = names(directory)?
        .filter_map(|name| SegmentName::parse(&name))
        .filter(|name| name.recording_id == geometry.recording_id() && name.base_position >= first_base)
        .map(|name| name.base_position)
        .collect();
    bases.sort_unstable();
    if let Some(&base) = bases.iter().find(|base| **base != geometry.segment_base(**base)) {
        let path = directory.join(geometry.segment_name(base));
        let segment_length = geometry.segment_length();
        return Err(SegmentError::Misplaced { path, first_base, segment_length });
    }
    Ok(bases)
}

/// The highest id of a recording that has a segment file in the directory.
pub(super) fn highest_recording_id(directory: &Path) -> Result<Option<i64>, SegmentError> {
    Ok(names(directory)?.filter_map(|name| SegmentName::parse(&name)).map(|name| name.recording_id).max())
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

/// The names of the files in a directory.
pub(super) fn names(directory: &Path) -> Result<impl Iterator<Item = String>, SegmentError> {
    let entries = std::fs::read_dir(directory).map_err(|source| io_error("list", directory, source))?;
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names = names.map_err(|source| io_error("list", directory, source))?;
    // A name that is not UTF-8 is no segment's.
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()))
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> SegmentError {
    SegmentError::Io { action, path: path.to_owned(), source }
}
