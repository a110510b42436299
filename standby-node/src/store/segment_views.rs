//! Mappings of a recording's segments that all its readers share, made and faulted in ahead of them.
//!
//! ```text
//!   RecordingWriter ── its own segment ──▶ SegmentViews ◀── view of a segment ── RecordingReader (each)
//!                                             ▲    │
//!                         maps, faults in, unmaps  └── farthest segment that was asked for
//!                                             │    ▼
//!                                           ReadAhead, on a thread that may block
//! ```
//! A reader that maps a segment for itself takes a page fault every 64 KiB, and unmapping costs it milliseconds. Here the
//! one that is at the end of the log reads through its writer's mapping, whose pages are there already, and one that
//! is behind finds the next segment mapped and faulted in, once for all of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consensus_tap::file::segment::RecordingGeometry;

use crate::sys::mapped::{MapError, Published, SegmentView};

/// The views of one recording. Clones are the same.
#[derive(Clone, Debug)]
pub struct SegmentViews(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    geometry: RecordingGeometry,
    published: Published,
    /// Locked once for each segment that a reader comes to, for as long as it takes to find it among a few.
    views: Mutex<Vec<SegmentView>>,
    /// Base of the farthest segment that a reader has come to.
    farthest: AtomicI64,
}

const NONE: i64 = i64::MIN;

impl SegmentViews {
    /// No view yet, of the recording in `directory`, up to what `published` tells.
    pub fn new(directory: PathBuf, geometry: RecordingGeometry, published: Published) -> Self {
        let views = Mutex::new(Vec::with_capacity(VIEW_COUNT));
        let farthest = AtomicI64::new(NONE);
        Self(Arc::new(Shared { directory, geometry, published, views, farthest }))
    }

    /// Where the recording's files are.
    pub(super) fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Lets readers have the writer's own mapping.
    pub(super) fn put(&self, view: SegmentView) {
        let mut views = self.views();
        views.retain(|other| other.base_position() != view.base_position());
        views.push(view);
    }

    /// The view of the segment at `base_position`, which is mapped now if nobody has it.
    ///
    /// # Errors
    /// [`MapError`] when the file is gone, of the wrong length or cannot be mapped.
    pub(super) fn get(&self, base_position: i64) -> Result<SegmentView, MapError> {
        // Only a hint, which no other memory hangs on.
        self.0.farthest.fetch_max(base_position, Ordering::Relaxed);
        self.find_or_open(base_position)
    }

    fn find_or_open(&self, base_position: i64) -> Result<SegmentView, MapError> {
        let mut views = self.views();
        if let Some(view) = views.iter().find(|view| view.base_position() == base_position) {
            return Ok(view.clone());
        }
        let Shared { directory, geometry, published, .. } = &*self.0;
        let path = directory.join(geometry.segment_name(base_position));
        let length = geometry.segment_length() as usize;
        let view = SegmentView::open(&path, base_position, length, published.clone())?;
        views.push(view.clone());
        Ok(view)
    }

    fn views(&self) -> MutexGuard<'_, Vec<SegmentView>> {
        // A list of views is whole after every step.
        self.0.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Maps segments ahead of their readers, and unmaps those that nobody reads any more. Run by an agent that may block.
#[derive(Debug)]
pub struct ReadAhead {
    views: SegmentViews,
    /// What lies below is faulted in, or was read.
    populated_position: i64,
}

impl ReadAhead {
    /// For the readers that share `views`.
    pub fn new(views: SegmentViews) -> Self {
        Self { views, populated_position: NONE }
    }

    /// Faults in a part of the segment that the first reader is in, and of the one behind it, as far as they are
    /// published. Returns how much was done; blocks meanwhile, for a millisecond or so on a file that is in memory.
    ///
    /// # Errors
    /// [`MapError`] when a segment cannot be mapped: its reader will meet the same.
    pub fn do_work(&mut self) -> Result<usize, MapError> {
        let unmapped = self.unmap();
        let shared = &*self.views.0;
        let farthest = shared.farthest.load(Ordering::Relaxed);
        if farthest == NONE {
            return Ok(unmapped);
        }
        let geometry = &shared.geometry;
        let end = shared.published.position().min(geometry.segment_end(farthest) + segment_length(geometry));
        let from = self.populated_position.max(farthest).max(geometry.start_position());
        let step_length = STEP_LENGTH.min(segment_length(geometry));
        // What follows at the end of the log is read through its writer's mapping.
        if end - from < step_length {
            return Ok(unmapped);
        }
        let to = (from + step_length).min(geometry.segment_end(from));
        self.populated_position = to;
        let view = self.views.find_or_open(geometry.segment_base(from))?;
        if let Err(error) = view.populate(from - from % PAGE_LENGTH, to) {
            // No more than a wish: who reads there will be told what is wrong.
            tracing::debug!(%error, from, to, "cannot fault in a part of the log");
        }
        Ok(unmapped + 1)
    }

    /// Unmaps what is behind all readers.
    fn unmap(&self) -> usize {
        let farthest = self.views.0.farthest.load(Ordering::Relaxed);
        let left: Vec<SegmentView> = {
            let mut views = self.views.views();
            views.extract_if(.., |view| view.base_position() < farthest && view.is_alone()).collect()
        };
        left.len()
    }
}

fn segment_length(geometry: &RecordingGeometry) -> i64 {
    i64::from(geometry.segment_length())
}

/// As many as there are as a rule: behind, where the readers are, ahead, and the writer's.
const VIEW_COUNT: usize = 8;
/// Faulted in at a time.
const STEP_LENGTH: i64 = 4 * 1024 * 1024;
const PAGE_LENGTH: i64 = crate::sys::mapped::PAGE_LENGTH as i64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::recording_reader::RecordingReader;

    const SEGMENT: i64 = 64 * 1024;
    const START: i64 = 96;

    fn geometry() -> RecordingGeometry {
        RecordingGeometry::new(0, START, SEGMENT as i32, SEGMENT as i32, 7, 100).unwrap()
    }

    /// Four segments, each filled with its number, of which all but the last half segment is published.
    fn recording(directory: &Path) -> (SegmentViews, impl Fn() -> RecordingReader) {
        for number in 0..4 {
            let path = directory.join(geometry().segment_name(number * SEGMENT));
            std::fs::write(path, vec![number as u8; SEGMENT as usize]).unwrap();
        }
        let published = Published::new(4 * SEGMENT - SEGMENT / 2);
        let views = SegmentViews::new(directory.to_owned(), geometry(), published.clone());
        let of_readers = views.clone();
        (views, move || RecordingReader::sharing(of_readers.clone(), geometry(), published.clone()))
    }

    fn bases(views: &SegmentViews) -> Vec<i64> {
        let mut bases: Vec<i64> = views.views().iter().map(SegmentView::base_position).collect();
        bases.sort_unstable();
        bases
    }

    fn work(ahead: &mut ReadAhead) -> usize {
        std::iter::from_fn(|| Some(ahead.do_work().unwrap()).filter(|work| *work > 0)).sum()
    }

    #[test]
    fn a_segment_is_mapped_ahead_of_its_readers_and_unmapped_behind_all_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let (views, reader) = recording(directory.path());
        let mut ahead = ReadAhead::new(views.clone());
        assert_eq!(work(&mut ahead), 0, "nobody reads yet");

        let (mut first, mut second) = (reader(), reader());
        first.frames(START, START + 32).unwrap();
        second.frames(START, START + 32).unwrap();
        assert_eq!(bases(&views), [0]);
        assert!(work(&mut ahead) > 0);
        assert_eq!(bases(&views), [0, SEGMENT]);

        assert_eq!(first.frames(SEGMENT, 2 * SEGMENT).unwrap(), [1; SEGMENT as usize]);
        work(&mut ahead);
        assert_eq!(bases(&views), [0, SEGMENT, 2 * SEGMENT], "the second reader is behind");
        assert_eq!(second.frames(SEGMENT, 2 * SEGMENT).unwrap(), [1; SEGMENT as usize]);
        work(&mut ahead);
        assert_eq!(bases(&views), [SEGMENT, 2 * SEGMENT]);
    }

    #[test]
    fn nothing_is_mapped_ahead_that_is_not_published() {
        let directory = tempfile::tempdir().unwrap();
        let (views, reader) = recording(directory.path());
        let mut ahead = ReadAhead::new(views.clone());
        let mut reader = reader();
        reader.frames(2 * SEGMENT, 2 * SEGMENT + 32).unwrap();
        work(&mut ahead);
        assert_eq!(bases(&views), [2 * SEGMENT], "half a segment is the end of the log, and its writer's");
    }

    #[test]
    fn a_reader_far_behind_the_others_maps_again_what_was_unmapped() {
        let directory = tempfile::tempdir().unwrap();
        let (views, reader) = recording(directory.path());
        let mut ahead = ReadAhead::new(views.clone());
        let (mut first, mut second) = (reader(), reader());
        first.frames(2 * SEGMENT, 2 * SEGMENT + 32).unwrap();
        work(&mut ahead);
        assert_eq!(second.frames(SEGMENT, 2 * SEGMENT).unwrap(), [1; SEGMENT as usize]);
    }

    #[test]
    fn a_segment_that_is_gone_is_an_error_of_whoever_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let (views, reader) = recording(directory.path());
        std::fs::remove_file(directory.path().join(geometry().segment_name(SEGMENT))).unwrap();
        let mut ahead = ReadAhead::new(views);
        let mut reader = reader();
        reader.frames(START, START + 32).unwrap();
        while ahead.do_work().is_ok_and(|work| work > 0) {}
        assert!(reader.frames(SEGMENT, SEGMENT + 32).is_err());
        assert_eq!(reader.frames(2 * SEGMENT, 2 * SEGMENT + 32).unwrap(), [2; 32]);
    }
}
