//! Where a recording lies.

use std::ops::ControlFlow;
use std::path::PathBuf;

use consensus_tap::file::segment::RecordingGeometry;
use consensus_tap::log::{FrameFault, LogError, LogFault, LogReader, LogStart, MidMessage, PollLimits};
use consensus_tap::wire::{FRAME_ALIGNMENT, Reject, StreamTerms, TermLength};

use crate::store::recorded_snapshot::LoadError;
use crate::store::recording_reader::RecordingReader;
use crate::store::segment_views::{ReadAhead, SegmentViews};
use crate::store::sync_watch::SyncWatch;
use crate::store::tail;
use crate::sys::mapped::Published;

/// Where a recording lies and how far it may be read: from it every reader makes its own view.
#[derive(Clone, Debug)]
pub struct RecordingPlace {
    pub(super) directory: PathBuf,
    pub(super) geometry: RecordingGeometry,
    pub(super) published: Published,
    /// Of a log that is being written.
    pub(super) views: Option<SegmentViews>,
    /// Of a log that this node leads and that counts only as far as it is durable: how far that is, and where the term
    /// began, before which everything counts.
    pub(super) committed: Option<(SyncWatch, i64)>,
}

impl RecordingPlace {
    /// The same place, of which nothing is read beyond what is durable, or beyond `position` where that is more.
    pub fn as_far_as_durable(&self, watch: SyncWatch, position: i64) -> Self {
        Self { committed: Some((watch, position)), ..self.clone() }
    }

    /// A reader of what this node follows or leads: it shares the mappings of a log that is being written.
    pub fn live_reader(&self) -> RecordingReader {
        match &self.views {
            Some(views) => RecordingReader::sharing(views.clone(), self.geometry, self.published.clone()),
            None => self.reader(),
        }
    }

    /// A reader with mappings of its own, for whoever may be anywhere in the recording.
    pub fn reader(&self) -> RecordingReader {
        RecordingReader::new(&self.directory, self.geometry, self.published.clone())
    }

    /// What works ahead of live readers, if there are any.
    pub fn read_ahead(&self) -> Option<ReadAhead> {
        self.views.clone().map(ReadAhead::new)
    }

    /// How positions map to terms.
    pub fn terms(&self) -> StreamTerms {
        StreamTerms {
            initial_term_id: self.geometry.initial_term_id(),
            term_length: TermLength::new(self.geometry.term_length())
                .expect("a geometry's term length is valid"),
        }
    }

    /// Up to where the log can be read whose tail ends at `tail_end`, as far as frames and messages there are whole. The
    /// log was read up to its end, last from `position` on, a message boundary in `leadership_term_id`; and nobody writes
    /// it meanwhile.
    pub fn whole_up_to(&self, position: i64, leadership_term_id: Option<i64>, tail_end: i64) -> i64 {
        let terms = self.terms();
        let start = LogStart { terms, position, leadership_term_id, mid_message: MidMessage::Reject };
        tail::whole_up_to(&self.directory, &self.geometry, start, self.published.position(), tail_end)
    }

    /// Looks whether a log goes on at `position` as after a snapshot in `leadership_term_id`: its next message, if there
    /// is one, begins there and is of that term, or begins a newer one, which is returned.
    ///
    /// # Errors
    /// [`LoadError::Log`] where it does not, [`LoadError::Segment`] where it cannot be read.
    pub fn check_continuation(
        &self,
        position: i64,
        leadership_term_id: i64,
    ) -> Result<Option<i64>, LoadError> {
        let fault = LogFault::Frame(FrameFault::Malformed(Reject::Unaligned));
        if position % FRAME_ALIGNMENT as i64 != 0 {
            return Err(LogError { position, fault }.into());
        }
        let mut log = LogReader::new(LogStart {
            terms: self.terms(),
            position,
            leadership_term_id: Some(leadership_term_id),
            mid_message: MidMessage::Reject,
        });
        let mut recording = self.reader();
        let end = self.end_position();
        let mut is_read = false;
        while !is_read && log.position() < end {
            let frames = recording.frames(log.position(), end)?;
            log.poll(frames, PollLimits::NONE, |_, _| {
                is_read = true;
                ControlFlow::Break(())
            })?;
        }
        Ok(log.leadership_term_id().filter(|term_id| *term_id > leadership_term_id))
    }

    /// The file that the recording begins in.
    pub fn first_file(&self) -> PathBuf {
        self.directory.join(self.geometry.segment_name(self.geometry.first_segment_base()))
    }

    /// Which recording it is.
    pub fn recording_id(&self) -> i64 {
        self.geometry.recording_id()
    }

    /// The first position.
    pub fn start_position(&self) -> i64 {
        self.geometry.start_position()
    }

    /// How far the recording may be read.
    pub fn end_position(&self) -> i64 {
        let published_position = self.published.position();
        match &self.committed {
            None => published_position,
            Some((watch, position)) => watch.durable_position().max(*position).min(published_position),
        }
    }
}
