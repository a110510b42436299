//! Holds a recording's files against the catalog: what `ArchiveTool verify` checks, and the two things over which a Java
//! archive refuses to start or to verify.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use consensus_tap::file::catalog::{Record, RecordState};
use consensus_tap::file::segment::{
    FrameHeader, GeometryError, RecordingGeometry, Scan, ScanEnd, last_frame_may_be_torn, scan,
};

use crate::store::segment::{SegmentError, segment_bases};
use crate::sys::mapped::MapError;

/// How much of a recording is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// Its last segment, which tells where it ends.
    LastSegment,
    /// Every frame of every segment.
    EverySegment,
}

/// What was found.
#[derive(Debug)]
pub struct RecordingCheck {
    /// Which recording.
    pub recording_id: i64,
    /// Its shape, `None` where the catalog describes none.
    pub geometry: Option<RecordingGeometry>,
    /// Whether it counts, by the catalog.
    pub state: RecordState,
    /// First position, by the catalog.
    pub start_position: i64,
    /// Position behind the last frame, by the catalog; -1 while active.
    pub stop_position: i64,
    /// Position behind the last frame, by the files; `None` where they are damaged.
    pub data_end: Option<i64>,
    /// Segment files.
    pub segment_count: usize,
    /// Frames that were read.
    pub frame_count: u64,
    /// What is wrong.
    pub faults: Vec<RecordingFault>,
    /// What an operator may wonder about.
    pub notes: Vec<String>,
}

/// What is wrong with a recording, and where.
#[derive(Debug, thiserror::Error)]
pub enum RecordingFault {
    /// A file is missing, misplaced, damaged, or cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The catalog describes no possible recording.
    #[error("{}: the record at offset {offset} describes no recording: {source}", path.display())]
    Geometry {
        /// The catalog.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// Why not.
        source: GeometryError,
    },
    /// The catalog's stop position cannot be one.
    #[error(
        "{}: the record at offset {offset} has stop position {stop_position}, expected -1, or a multiple of 32 from the \
         start position {start_position} on",
        path.display()
    )]
    StopPosition {
        /// The catalog.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What it says.
        stop_position: i64,
        /// Where the recording begins.
        start_position: i64,
    },
    /// A frame of another stream.
    #[error("{} at offset {offset}: the frame is of stream {found}, the recording of stream {expected}", path.display())]
    Stream {
        /// The segment file.
        path: PathBuf,
        /// Where the frame begins.
        offset: usize,
        /// Stream of the recording.
        expected: i32,
        /// Stream of the frame.
        found: i32,
    },
    /// The files end elsewhere than the catalog says.
    #[error(
        "{}: the frames end at offset {offset} (position {data_end}), the catalog says at position {stop_position}: \
         restore the file, or begin again from the members with `reseed`",
        path.display()
    )]
    End {
        /// The last segment file.
        path: PathBuf,
        /// Where its frames end.
        offset: usize,
        /// The same as a position.
        data_end: i64,
        /// What the catalog says.
        stop_position: i64,
    },
    /// The last frame may have been torn by a power cut.
    #[error(
        "{} at offset {offset}: the last frame crosses a page and holds a page of zeros, so a Java archive refuses to \
         start over it; `archive verify --repair` cuts it off, and a source sends it again",
        path.display()
    )]
    LastFrameTorn {
        /// The last segment file.
        path: PathBuf,
        /// Where the frame begins.
        offset: usize,
        /// The same as a position.
        position: i64,
    },
    /// The last segment is full, and the empty one that an archive puts behind it is not there.
    #[error(
        "{}: the recording ends at the end of a segment, and the empty next one is missing, so `ArchiveTool verify` \
         would mark it invalid; `archive verify --repair` makes the file",
        path.display()
    )]
    NextSegmentMissing {
        /// The file that should be there.
        path: PathBuf,
        /// Bytes of a segment.
        segment_length: usize,
    },
}

impl RecordingFault {
    /// Whether `archive verify --repair` mends it without losing what a source cannot send again.
    pub fn is_repairable(&self) -> bool {
        matches!(self, Self::LastFrameTorn { .. } | Self::NextSegmentMissing { .. })
    }
}

impl RecordingCheck {
    fn new(record: &Record) -> Self {
        Self {
            recording_id: record.descriptor.recording_id,
            geometry: record.descriptor.geometry().ok(),
            state: record.state,
            start_position: record.descriptor.start_position,
            stop_position: record.descriptor.stop_position,
            data_end: None,
            segment_count: 0,
            frame_count: 0,
            faults: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The first fault that `--repair` cannot mend, else the first.
    ///
    /// # Panics
    /// When there is none.
    pub fn into_first_fault(self) -> RecordingFault {
        let (mut mendable, mut others): (Vec<_>, Vec<_>) =
            self.faults.into_iter().partition(RecordingFault::is_repairable);
        others.append(&mut mendable);
        others.into_iter().next().expect("a check without an end has a fault")
    }

    fn count(&mut self, segment: Segment) -> Segment {
        self.frame_count += segment.frame_count;
        segment
    }

    fn with(mut self, fault: impl Into<RecordingFault>) -> Self {
        self.faults.push(fault.into());
        self
    }
}

/// Checks one recording. `is_in_use` says that a process may be writing it: then its end moves, and is not held against
/// anything.
pub fn check_recording(
    archive: &Path,
    catalog: &Path,
    record: &Record,
    depth: Depth,
    is_in_use: bool,
) -> RecordingCheck {
    let mut check = RecordingCheck::new(record);
    let descriptor = &record.descriptor;
    let geometry = match descriptor.geometry() {
        Ok(geometry) => geometry,
        Err(source) => {
            let (path, offset) = (catalog.to_owned(), record.offset);
            return check.with(RecordingFault::Geometry { path, offset, source });
        }
    };
    let (start_position, stop_position) = (descriptor.start_position, descriptor.stop_position);
    if !descriptor.is_active() && (stop_position < start_position || stop_position % 32 != 0) {
        let (path, offset) = (catalog.to_owned(), record.offset);
        return check.with(RecordingFault::StopPosition { path, offset, stop_position, start_position });
    }
    let bases = match segment_bases(archive, &geometry) {
        Ok(bases) => bases,
        Err(error) => return check.with(error),
    };
    check.segment_count = bases.len();
    let Some((&last, before)) = bases.split_last() else {
        check.data_end = Some(start_position);
        if stop_position > start_position {
            let path = archive.join(geometry.segment_name(geometry.first_segment_base()));
            return check.with(SegmentError::Missing { path });
        }
        return check;
    };
    for &base in before.iter().filter(|_| depth == Depth::EverySegment) {
        match read_segment(archive, &geometry, base).map(|segment| check.count(segment)) {
            Ok(segment) if segment.found.end == ScanEnd::Full => {}
            Ok(segment) => return check.with(damaged(archive, &geometry, base, segment.found.stop_offset)),
            Err(fault) => return check.with(fault),
        }
    }
    let segment = match read_segment(archive, &geometry, last).map(|segment| check.count(segment)) {
        Ok(segment) if segment.found.end == ScanEnd::Damaged => {
            return check.with(damaged(archive, &geometry, last, segment.found.stop_offset));
        }
        Ok(segment) => segment,
        Err(fault) => return check.with(fault),
    };
    let data_end = last + segment.found.stop_offset as i64;
    check.data_end = Some(data_end);
    check_end(archive, &geometry, last, &segment, is_in_use, &mut check);
    check
}

/// Holds the end of the last segment against the catalog and against what a Java archive expects.
fn check_end(
    archive: &Path,
    geometry: &RecordingGeometry,
    base: i64,
    segment: &Segment,
    is_in_use: bool,
    check: &mut RecordingCheck,
) {
    let path = || archive.join(geometry.segment_name(base));
    let data_end = base + segment.found.stop_offset as i64;
    let is_active = check.stop_position == -1;
    if is_active && is_in_use {
        check.notes.push("is being written".to_owned());
        return;
    }
    let torn = last_frame_may_be_torn(&segment.bytes, &segment.found);
    if is_active {
        check.notes.push(format!("its writer died; the next start goes on at position {data_end}"));
        if let (true, Some(offset)) = (torn, segment.found.last_frame_offset) {
            let position = base + offset as i64;
            check.faults.push(RecordingFault::LastFrameTorn { path: path(), offset, position });
        }
    } else if data_end != check.stop_position {
        let (offset, stop_position) = (segment.found.stop_offset, check.stop_position);
        check.faults.push(RecordingFault::End { path: path(), offset, data_end, stop_position });
    } else if torn {
        check.notes.push(
            "its last frame holds a page of zeros: `ArchiveTool verify` offers to cut it off; refuse"
                .to_owned(),
        );
    }
    if segment.found.end == ScanEnd::Full && check.state == RecordState::Valid {
        let path = archive.join(geometry.segment_name(geometry.segment_end(base)));
        let segment_length = geometry.segment_length() as usize;
        check.faults.push(RecordingFault::NextSegmentMissing { path, segment_length });
    }
}

/// A copy of a segment, and what a walk over its frames found.
pub(crate) struct Segment {
    /// All its bytes.
    pub(crate) bytes: Vec<u8>,
    found: Scan,
    frame_count: u64,
}

/// Reads a segment and walks its frames. It may be written at the same time, so it is not mapped.
///
/// # Errors
/// [`RecordingFault`] when it cannot be read, or holds frames of another stream; where its frames end is in the result.
pub(crate) fn read_segment(
    archive: &Path,
    geometry: &RecordingGeometry,
    base: i64,
) -> Result<Segment, RecordingFault> {
    let path = archive.join(geometry.segment_name(base));
    let bytes = read_whole(&path, geometry.segment_length() as usize)?;
    let (mut frame_count, mut foreign) = (0, None);
    let found = scan(geometry, base, &bytes, geometry.first_frame_offset(base), |at| {
        frame_count += 1;
        let stream_id = bytes.get(at..).and_then(FrameHeader::parse).map(|frame| frame.stream_id);
        if let Some(found) = stream_id.filter(|found| *found != geometry.stream_id()) {
            foreign.get_or_insert((at, found));
        }
    });
    match foreign {
        None => Ok(Segment { bytes, found, frame_count }),
        Some((offset, found)) => {
            Err(RecordingFault::Stream { path, offset, expected: geometry.stream_id(), found })
        }
    }
}

fn read_whole(path: &Path, length: usize) -> Result<Vec<u8>, SegmentError> {
    let failed = |action| {
        let path = path.to_owned();
        move |source| SegmentError::Map(MapError::Io { action, path, source })
    };
    let mut file = File::open(path).map_err(failed("open"))?;
    let found = file.metadata().map_err(failed("ask for the length of"))?.len();
    if found != length as u64 {
        return Err(MapError::Length { path: path.to_owned(), expected: length, found }.into());
    }
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).map_err(failed("read"))?;
    Ok(bytes)
}

fn damaged(archive: &Path, geometry: &RecordingGeometry, base: i64, offset: usize) -> SegmentError {
    let path = archive.join(geometry.segment_name(base));
    SegmentError::Damaged { path, offset, position: base + offset as i64 }
}
