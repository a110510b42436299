//! What an earlier life left behind the durable position: confirmed, taken as it is, or given up.

use consensus_tap::file::segment::FrameHeader;

use super::{RecordError, RecordingWriter, is_same_frame, wire_length};
use crate::store::segment::{SegmentError, remove};

impl RecordingWriter {
    /// Takes the tail up to `end`, a boundary of frames, as recorded, though no source confirmed it, and returns the
    /// recorded position: `end`, or where the tail ends before. What lies behind stays a tail.
    ///
    /// # Errors
    /// [`RecordError::NextSegment`] when a segment of the tail cannot be mapped; what lies before it is taken.
    pub fn accept_tail(&mut self, end: i64) -> Result<i64, RecordError> {
        let accepted = end.min(self.tail_end);
        while self.recorded_position < accepted {
            let end = accepted.min(self.segment_end());
            self.segment.publish(end);
            self.recorded_position = end;
            if end == self.segment_end() {
                self.next_segment()?;
            }
        }
        Ok(self.recorded_position)
    }

    /// Whether the tail holds the very frames of a run that was checked to be well formed.
    pub(super) fn confirms_tail(&self, position: i64, end: i64, frames: &[u8]) -> bool {
        if end > self.tail_end {
            return false;
        }
        let mut offset = (position - self.segment.base_position()) as usize;
        let mut rest = frames;
        while let Some(frame) = FrameHeader::parse(rest) {
            let length = wire_length(&frame);
            if !is_same_frame(self.segment.bytes(offset, length), &rest[..length]) {
                return false;
            }
            offset += frame.aligned_length() as usize;
            rest = rest.get(frame.aligned_length() as usize..).unwrap_or_default();
        }
        true
    }

    /// Gives the tail up, if there is one: zeroes what the files hold behind the recorded position, the last segment
    /// first. A crash in between leaves a shorter tail.
    ///
    /// # Errors
    /// [`SegmentError`] when a segment of the tail cannot be removed; what is left is still a tail.
    pub fn discard_tail(&mut self) -> Result<(), SegmentError> {
        if self.recorded_position >= self.tail_end {
            return Ok(());
        }
        let segment_end = self.segment_end();
        let mut base = self.geometry.segment_base(self.tail_end);
        while base >= segment_end {
            let path = self.directory.join(self.geometry.segment_name(base));
            if path.exists() {
                remove(&path)?;
            }
            base -= i64::from(self.geometry.segment_length());
        }
        let offset = (self.recorded_position - self.segment.base_position()) as usize;
        let tail_end = self.tail_end.min(segment_end);
        if self.recorded_position < tail_end {
            // The first length goes first, so that a crash leaves no frame in front of zeros.
            self.segment.store_length_release(offset, 0);
            self.segment.zero(offset, (tail_end - self.recorded_position) as usize);
        }
        self.tail_end = self.recorded_position;
        self.tail.discard(self.recorded_position);
        Ok(())
    }
}
