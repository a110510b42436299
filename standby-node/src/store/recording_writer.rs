//! Writes a recording: runs of frames, copied once from the datagram into the mapped segment file.
//!
//! Invariants, which a `kill -9` at any moment leaves intact:
//! - Bytes are only added at the recorded position. Of a run, the length of the first frame is stored last, with
//!   Release: whoever scans the file finds the whole run or none of it.
//! - Nothing but zeros lies behind the recorded position, except while a tail of an earlier life waits to be
//!   confirmed (below).
//! - The next segment gets its final name only after the last length of the one before is stored, and at once.
//!
//! **The tail.** After a power cut a recording is opened at its durable position, though its files hold frames
//! beyond. These are kept, unread. What is appended then is compared with them: equal frames are confirmed where
//! they lie, the first that differs discards the rest. [`RecordingWriter::accept_tail`] takes them unconfirmed, as far
//! as it is told, and the caller vouches for them; [`RecordingWriter::discard_tail`] gives them up.

mod allocation;
mod error;
mod frame_starts;
mod tail;

use std::path::{Path, PathBuf};

use consensus_tap::file::segment::{FRAME_HEADER_LENGTH, FrameHeader, RecordingGeometry, ScanEnd, scan};

use self::allocation::{Allocation, create_segment};
pub use self::error::RecordError;
use self::frame_starts::{FrameStarts, note_term_before};
use super::recording_reader::RecordingReader;
use super::segment::{SegmentError, open_whole, segment_bases};
use super::segment_preparer::SegmentSupply;
use super::segment_views::SegmentViews;
use super::tail_watch::TailWatch;
use crate::sys::mapped::{MappedFile, PAGE_LENGTH, Published, SegmentMap};

/// The one writer of a recording. Lives on the receive thread.
#[derive(Debug)]
pub struct RecordingWriter {
    directory: PathBuf,
    geometry: RecordingGeometry,
    published: Published,
    recorded_position: i64,
    tail_end: i64,
    tail: TailWatch,
    allocation: Allocation,
    /// Where the room ends that the recording has: what runs beyond is refused, or makes room first.
    room_end: i64,
    segment: SegmentMap,
    supply: Option<SegmentSupply>,
    /// Whether the next segment was asked for. Not before something is recorded: a node that has just started has its log
    /// to read again, and better use for its cores.
    next_is_wanted: bool,
    /// Readers that share this writer's mapping.
    views: Option<SegmentViews>,
    recorded: RecordingReader,
    frame_starts: FrameStarts,
    late_segment_count: u64,
}

impl RecordingWriter {
    /// Creates the first segment of a new recording in `directory`. Segments that follow come from `supply`; with
    /// none, each is created when it is needed.
    ///
    /// # Errors
    /// [`SegmentError`], above all [`SegmentError::Exists`] when the recording has a segment already.
    pub fn create(
        directory: &Path,
        geometry: RecordingGeometry,
        supply: Option<SegmentSupply>,
    ) -> Result<Self, SegmentError> {
        refuse_existing(directory, &geometry)?;
        Self::open(directory, geometry, geometry.start_position(), geometry.start_position(), supply)
    }

    /// As [`Self::create`], of a recording that ends at `stop_position`: no more than that is allocated, and more than
    /// that is refused. Each segment is created when it is needed.
    ///
    /// # Errors
    /// As [`Self::create`].
    ///
    /// # Panics
    /// When `stop_position` is not above the start position.
    pub fn create_complete(
        directory: &Path,
        geometry: RecordingGeometry,
        stop_position: i64,
    ) -> Result<Self, SegmentError> {
        let start_position = geometry.start_position();
        assert!(start_position < stop_position, "a recording that ends at {stop_position} has no bytes");
        refuse_existing(directory, &geometry)?;
        let allocation = Allocation::Until(stop_position);
        Self::open_with(directory, geometry, start_position, start_position, allocation, None)
    }

    /// As [`Self::create`], of a recording whose length nobody knows yet: its files are given blocks by steps, as they
    /// are needed, and [`Self::trim`] gives back what was too much. Each segment is created when it is needed.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_growing(directory: &Path, geometry: RecordingGeometry) -> Result<Self, SegmentError> {
        let start_position = geometry.start_position();
        refuse_existing(directory, &geometry)?;
        Self::open_with(directory, geometry, start_position, start_position, Allocation::Growing, None)
    }

    /// Opens a recording to be extended from `position`, a boundary of frames. What its files hold from there to
    /// `tail_end` is kept as the tail; with `tail_end` the same as `position` there is none. Behind `tail_end`,
    /// which [`recover`](super::recovery::recover) found, the files must be zero.
    ///
    /// Pre-faults the rest of the segment, so it may block for long.
    ///
    /// For [`History`](super::history::History), which opens the log once in a process, before anybody reads it: nobody
    /// else writes the recording, and no reader has an older [`Published`] of it.
    ///
    /// # Errors
    /// [`SegmentError`] when the files cannot be used.
    ///
    /// # Panics
    /// When the positions are not in order: start position, `position`, `tail_end`.
    pub(crate) fn open(
        directory: &Path,
        geometry: RecordingGeometry,
        position: i64,
        tail_end: i64,
        supply: Option<SegmentSupply>,
    ) -> Result<Self, SegmentError> {
        Self::open_with(directory, geometry, position, tail_end, Allocation::Whole, supply)
    }

    fn open_with(
        directory: &Path,
        geometry: RecordingGeometry,
        position: i64,
        tail_end: i64,
        allocation: Allocation,
        supply: Option<SegmentSupply>,
    ) -> Result<Self, SegmentError> {
        assert!(geometry.start_position() <= position, "{position} lies before the recording");
        assert!(position <= tail_end, "the tail ends at {tail_end}, before {position}");
        let base_position = geometry.segment_base(position);
        let path = directory.join(geometry.segment_name(base_position));
        let mut frame_starts = FrameStarts::new(geometry.start_position());
        let offset = geometry.segment_offset(position);
        if offset < FrameStarts::REACH {
            note_term_before(directory, &geometry, base_position, &mut frame_starts);
        }
        let file = if path.exists() {
            let segment = open_whole(&path, &geometry, base_position)?;
            let first_offset = geometry.first_frame_offset(base_position);
            let found = scan(&geometry, base_position, segment.bytes(0, offset), first_offset, |at| {
                frame_starts.note(base_position + at as i64);
            });
            if found.end != ScanEnd::Full || found.stop_offset != offset {
                return Err(SegmentError::NotAFrameBoundary { path, position });
            }
            segment.into_file()
        } else {
            create_segment(directory, &geometry, base_position, allocation)?
        };
        let published = Published::new(position);
        let mut segment = SegmentMap::new(file, base_position, published.clone());
        segment.populate(offset, allocation.length(&geometry, base_position))?;
        let recorded = RecordingReader::new(directory, geometry, published.clone());
        Ok(Self {
            directory: directory.to_owned(),
            geometry,
            published,
            recorded_position: position,
            tail_end,
            tail: TailWatch::new(position, tail_end),
            allocation,
            room_end: allocation.room_end(&geometry, base_position),
            segment,
            supply,
            next_is_wanted: false,
            views: None,
            recorded,
            frame_starts,
            late_segment_count: 0,
        })
    }

    /// Lets the readers of `views` read through this writer's mapping.
    pub(super) fn share(&mut self, views: SegmentViews) {
        views.put(self.segment.view());
        self.views = Some(views);
    }

    /// Position behind the last recorded frame.
    pub fn recorded_position(&self) -> i64 {
        self.recorded_position
    }

    /// Position behind the last frame that the files hold, recorded or not: equal to
    /// [`Self::recorded_position`] when there is no tail.
    pub fn tail_end(&self) -> i64 {
        self.tail_end.max(self.recorded_position)
    }

    /// What tells the syncer whether there is a tail.
    pub fn tail(&self) -> TailWatch {
        self.tail.clone()
    }

    /// What tells readers and the syncer how far they may go.
    pub fn published(&self) -> Published {
        self.published.clone()
    }

    /// The recording's shape.
    pub fn geometry(&self) -> &RecordingGeometry {
        &self.geometry
    }

    /// What lies below `position` is about to be purged: nothing there is looked at any more. A purge that failed and is
    /// tried again may take less than it was to.
    ///
    /// # Panics
    /// As [`RecordingGeometry::purged_below`].
    pub fn purged_below(&mut self, position: i64) {
        if position > self.geometry.start_position() {
            self.geometry = self.geometry.purged_below(position);
        }
    }

    /// How many segments this thread had to create itself, because the prepared one was late: each stalled it.
    pub fn late_segment_count(&self) -> u64 {
        self.late_segment_count
    }

    /// Records a run of frames that begins at `position`, and publishes it. The bytes go in as they are.
    ///
    /// A run is what datagrams carry: whole frames, padded to 32 bytes each, within one term. A padding frame
    /// comes as its header alone, last in the run, and advances the position by its whole length.
    ///
    /// When the run fills the segment, the next one is put in place before this returns. Should that fail, the
    /// run is recorded all the same, and the next call tries again.
    ///
    /// # Errors
    /// [`RecordError`]; nothing of the run is recorded then.
    pub fn append(&mut self, position: i64, frames: &[u8]) -> Result<(), RecordError> {
        if position != self.recorded_position {
            return Err(RecordError::NotContiguous { expected: self.recorded_position, found: position });
        }
        if position == self.segment_end() && position < self.allocation.stop_position() {
            self.next_segment()?;
        }
        let end = self.checked_end(position, frames)?;
        if end > self.room_end {
            self.make_room(end)?;
        }
        let Some((length, rest)) = frames.split_first_chunk() else {
            return Ok(());
        };
        if !self.next_is_wanted {
            self.want_next();
        }

        let confirmed = position < self.tail_end && self.confirms_tail(position, end, frames);
        if !confirmed {
            if position < self.tail_end {
                self.discard_tail()
                    .map_err(|source| RecordError::NextSegment { position: self.segment_end(), source })?;
            }
            let offset = (position - self.segment.base_position()) as usize;
            self.segment.copy_in(offset + length.len(), rest);
            self.segment.store_length_release(offset, i32::from_le_bytes(*length));
        }
        self.segment.publish(end);
        self.recorded_position = end;
        self.frame_starts.note(position);
        if end == self.segment_end() && end < self.allocation.stop_position() {
            // The run is recorded, so an error here is not the run's: the next call meets and reports it.
            let _ = self.next_segment();
        }
        Ok(())
    }

    /// Whether the frames of a run that begins at `position` are the ones recorded there, their session and stream
    /// ids apart: another source replays the same log under other ids. Frames at or behind the recorded position
    /// are not compared, nor are those below the start of the recording, which a purge may have moved meanwhile.
    ///
    /// # Errors
    /// [`SegmentError`] when the segment cannot be read: that tells nothing about the frames.
    pub fn matches(&mut self, position: i64, frames: &[u8]) -> Result<bool, SegmentError> {
        let mut at = position;
        let mut rest = frames;
        while at < self.recorded_position && !rest.is_empty() {
            let Some(frame) = FrameHeader::parse(rest).filter(|frame| frame.fits(&self.geometry, at)) else {
                return Ok(false);
            };
            let frame_end = at + i64::from(frame.aligned_length());
            let Some(received) = rest.get(..wire_length(&frame)) else {
                return Ok(false);
            };
            if frame_end > self.recorded_position {
                return Ok(false);
            }
            // A frame lies within one term, so its bytes are contiguous.
            if at >= self.geometry.start_position()
                && !is_same_frame(self.recorded.frames(at, frame_end)?, received)
            {
                return Ok(false);
            }
            rest = rest.get(frame.aligned_length() as usize..).unwrap_or_default();
            at = frame_end;
        }
        Ok(true)
    }

    /// Position of a frame's first byte, as near below or at `position` as is known: at most about 16 KiB below
    /// for what this writer recorded last, else the beginning of the term. Never below the start position.
    ///
    /// # Panics
    /// When `position` lies before the start of the recording.
    pub fn frame_start_at_or_before(&self, position: i64) -> i64 {
        assert!(position >= self.geometry.start_position(), "{position} lies before the recording");
        if position >= self.recorded_position {
            return self.recorded_position;
        }
        let term_start = self.geometry.term_base(position).max(self.geometry.start_position());
        self.frame_starts.at_or_before(position).map_or(term_start, |start| start.max(term_start))
    }

    /// Gives back what a growing recording has been given too much. Nothing is appended any more; what was published is
    /// still to be synced, and its length with it.
    ///
    /// # Errors
    /// [`SegmentError`]; the recording's last file may be too short then, and it is void.
    pub fn trim(mut self) -> Result<(), SegmentError> {
        if let Allocation::Growing = self.allocation {
            let offset = (self.recorded_position - self.segment.base_position()) as usize;
            self.segment.release_from(offset)?;
        }
        Ok(())
    }

    fn segment_end(&self) -> i64 {
        self.segment.base_position() + i64::from(self.geometry.segment_length())
    }

    /// Checks a run and returns the position behind it.
    fn checked_end(&self, position: i64, frames: &[u8]) -> Result<i64, RecordError> {
        let recording_id = self.geometry.recording_id();
        let term_end = self.geometry.term_end(position);
        let mut at = position;
        let mut rest = frames;
        while !rest.is_empty() {
            if at == term_end {
                return Err(RecordError::CrossesTerm { term_end });
            }
            let bad_frame = RecordError::BadFrame { recording_id, position: at };
            let Some(frame) = FrameHeader::parse(rest).filter(|frame| frame.fits(&self.geometry, at)) else {
                return Err(bad_frame);
            };
            if frame.stream_id != self.geometry.stream_id() {
                let expected = self.geometry.stream_id();
                return Err(RecordError::UnexpectedStream { expected, found: frame.stream_id });
            }
            let occupied =
                if frame.is_padding { FRAME_HEADER_LENGTH } else { frame.aligned_length() as usize };
            rest = rest.get(occupied..).ok_or(bad_frame)?;
            at += i64::from(frame.aligned_length());
            if frame.is_padding && !rest.is_empty() {
                return Err(RecordError::BadFrame { recording_id, position: at });
            }
        }
        Ok(at)
    }

    /// Refuses what lies behind the end of the recording, and makes room in the segment up to `end`, within it.
    fn make_room(&mut self, end: i64) -> Result<(), RecordError> {
        if let Allocation::Until(stop_position) = self.allocation {
            return Err(RecordError::BeyondStop { stop_position, found: end });
        }
        let base_position = self.segment.base_position();
        let allocated = (self.room_end - base_position) as usize;
        let step = allocated.min(Allocation::STEP_MAX);
        let wanted = (allocated + step).max((end - base_position) as usize);
        let length = wanted.next_multiple_of(PAGE_LENGTH).min(self.segment.length());
        self.segment
            .allocate(length)
            .and_then(|()| self.segment.populate(allocated, length))
            .map_err(|source| RecordError::NoRoom { position: end, source })?;
        self.room_end = base_position + length as i64;
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), RecordError> {
        let base_position = self.segment_end();
        let file = self
            .next_file(base_position)
            .map_err(|source| RecordError::NextSegment { position: base_position, source })?;
        let next = SegmentMap::new(file, base_position, self.published.clone());
        if let Some(views) = &self.views {
            views.put(next.view());
        }
        let full = std::mem::replace(&mut self.segment, next).into_file();
        self.room_end = self.allocation.room_end(&self.geometry, base_position);
        if let Some(supply) = &mut self.supply {
            supply.retire(full);
        }
        self.want_next();
        Ok(())
    }

    fn want_next(&mut self) {
        self.next_is_wanted = true;
        if let Some(supply) = &self.supply {
            supply.want(self.segment_end());
        }
    }

    fn next_file(&mut self, base_position: i64) -> Result<MappedFile, SegmentError> {
        let path = self.directory.join(self.geometry.segment_name(base_position));
        if path.exists() {
            // Only a tail may already have what comes next.
            if self.tail_end < base_position {
                return Err(SegmentError::Exists { path });
            }
            if let Some(supply) = &mut self.supply
                && let Some(needless) = supply.take(base_position)
            {
                supply.retire(needless);
            }
            let length = self.geometry.segment_length() as usize;
            return Ok(MappedFile::open_writable(&path, Some(length))?);
        }
        if let Some(mut file) = self.supply.as_mut().and_then(|supply| supply.take(base_position)) {
            file.rename(&path)?;
            return Ok(file);
        }
        self.late_segment_count += 1;
        create_segment(&self.directory, &self.geometry, base_position, self.allocation)
    }
}

fn refuse_existing(directory: &Path, geometry: &RecordingGeometry) -> Result<(), SegmentError> {
    match segment_bases(directory, geometry)?.first() {
        Some(base) => Err(SegmentError::Exists { path: directory.join(geometry.segment_name(*base)) }),
        None => Ok(()),
    }
}

/// Bytes of a frame that are sent and recorded, without its alignment.
fn wire_length(frame: &FrameHeader) -> usize {
    if frame.is_padding { FRAME_HEADER_LENGTH } else { frame.length as usize }
}

/// Compares frames from their first byte on, session id and stream id apart, over the length of `received`.
fn is_same_frame(recorded: &[u8], received: &[u8]) -> bool {
    const IDS: std::ops::Range<usize> = 12..20;
    let Some(recorded) = recorded.get(..received.len()) else {
        return false;
    };
    recorded[..IDS.start] == received[..IDS.start] && recorded[IDS.end..] == received[IDS.end..]
}

#[cfg(test)]
mod tests;
