//! Reads a recording where it lies: ranges of mapped segment files, borrowed.

use std::path::{Path, PathBuf};

use consensus_tap::file::segment::RecordingGeometry;

use super::segment::SegmentError;
use super::segment_views::SegmentViews;
use crate::sys::mapped::{Published, SegmentView};

/// One reader of a recording. One each for a service agent, the consensus module, a replay.
#[derive(Debug)]
pub struct RecordingReader {
    directory: PathBuf,
    geometry: RecordingGeometry,
    published: Published,
    /// Shared with other readers; `None` where each segment is mapped by this one alone, and unmapped when it goes on.
    views: Option<SegmentViews>,
    segment: Option<SegmentView>,
}

impl RecordingReader {
    /// A reader of the recording in `directory`, up to what `published` tells, with mappings of its own. Maps nothing yet.
    ///
    /// `published` is the writer's own ([`RecordingWriter::published`](super::recording_writer::RecordingWriter::published)),
    /// or for a recording that is complete, one that stands at its stop position.
    pub fn new(directory: &Path, geometry: RecordingGeometry, published: Published) -> Self {
        Self { directory: directory.to_owned(), geometry, published, views: None, segment: None }
    }

    /// A reader of the recording that `views` is of. Maps nothing yet.
    pub(super) fn sharing(views: SegmentViews, geometry: RecordingGeometry, published: Published) -> Self {
        let directory = views.directory().to_owned();
        Self { directory, geometry, published, views: Some(views), segment: None }
    }

    /// Where the recording's files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The recording's shape.
    pub(super) fn geometry(&self) -> &RecordingGeometry {
        &self.geometry
    }

    /// Position below which frames can be read.
    pub fn published_position(&self) -> i64 {
        self.published.position()
    }

    /// The frames from position `from` on: as many bytes as lie in one segment, at most up to position `to`.
    /// Empty only when `from == to`. A padding frame occupies its whole length here, zero behind its header.
    ///
    /// The segment that was read last stays mapped until another is asked for; the first call within a segment
    /// maps it, which takes system calls, unless it is shared and was mapped before.
    ///
    /// # Errors
    /// [`SegmentError::Map`] when the segment file is gone, of the wrong length or cannot be mapped.
    ///
    /// # Panics
    /// When `from` lies below the start of the recording or above `to`, or `to` above the published position.
    pub fn frames(&mut self, from: i64, to: i64) -> Result<&[u8], SegmentError> {
        assert!(from >= self.geometry.start_position(), "{from} lies before the recording");
        assert!(from <= to, "the range {from}..{to} runs backwards");
        if from == to {
            return Ok(&[]);
        }
        let base_position = self.geometry.segment_base(from);
        let segment = match self.segment.take() {
            Some(segment) if segment.base_position() == base_position => segment,
            _ => self.view(base_position)?,
        };
        let to = to.min(self.geometry.segment_end(from));
        Ok(self.segment.insert(segment).bytes(from, to))
    }

    fn view(&self, base_position: i64) -> Result<SegmentView, SegmentError> {
        if let Some(views) = &self.views {
            return Ok(views.get(base_position)?);
        }
        let path = self.directory.join(self.geometry.segment_name(base_position));
        let length = self.geometry.segment_length() as usize;
        Ok(SegmentView::open(&path, base_position, length, self.published.clone())?)
    }
}
