//! Recordings in memory.

use std::cell::RefCell;
use std::rc::Rc;

use consensus_tap::archive::Recording;
use consensus_tap::archive::server::{RecordedFrames, RecordingStore};
use consensus_tap::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{DataHeader, FrameType, StreamTerms, TermLength, align};

use crate::rng::Rng;

pub(crate) const TERM_LENGTH: i32 = 65_536;
pub(crate) const SEGMENT_LENGTH: i64 = 131_072;
pub(crate) const INITIAL_TERM_ID: i32 = 5;
pub(crate) const MTU: i32 = 1408;
pub(crate) const SESSION_ID: i32 = 900;
pub(crate) const STREAM_ID: i32 = 100;

/// What a server under test serves.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    recordings: Vec<Recording>,
    bytes: Vec<Rc<RefCell<Vec<u8>>>>,
    pub(crate) commit_position: i64,
}

/// Reads like a mapped recording: never beyond the end of a segment.
#[derive(Debug)]
pub(crate) struct MemoryReader {
    start_position: i64,
    bytes: Rc<RefCell<Vec<u8>>>,
    read: Vec<u8>,
}

impl MemoryStore {
    /// Adds a recording of frames from `start_position` on; it goes on being made unless it `is_stopped`.
    pub(crate) fn add(&mut self, recording_id: i64, start_position: i64, frames: Vec<u8>, is_stopped: bool) {
        let stop_position = if is_stopped { start_position + frames.len() as i64 } else { -1 };
        self.recordings.push(Recording {
            recording_id,
            start_timestamp: 1,
            stop_timestamp: if is_stopped { 2 } else { -1 },
            start_position,
            stop_position,
            initial_term_id: INITIAL_TERM_ID,
            segment_file_length: SEGMENT_LENGTH as i32,
            term_buffer_length: TERM_LENGTH,
            mtu_length: MTU,
            session_id: SESSION_ID,
            stream_id: STREAM_ID,
            stripped_channel: "aeron:udp?endpoint=a:1".to_owned(),
            original_channel: format!("aeron:udp?endpoint=a:1|alias=number-{recording_id}"),
            source_identity: "b:2".to_owned(),
        });
        self.bytes.push(Rc::new(RefCell::new(frames)));
    }

    pub(crate) fn append(&mut self, recording_id: i64, frames: &[u8]) {
        self.of(recording_id).borrow_mut().extend_from_slice(frames);
    }

    pub(crate) fn start_position(&self, recording_id: i64) -> i64 {
        self.find(recording_id).expect("a recording of the test").start_position
    }

    /// Its bytes from `from` on.
    pub(crate) fn bytes(&self, recording_id: i64, from: i64) -> Vec<u8> {
        let start_position = self.start_position(recording_id);
        self.of(recording_id).borrow()[(from - start_position) as usize..].to_vec()
    }

    pub(crate) fn end_position(&self, recording_id: i64) -> i64 {
        self.start_position(recording_id) + self.of(recording_id).borrow().len() as i64
    }

    fn of(&self, recording_id: i64) -> &Rc<RefCell<Vec<u8>>> {
        let index = self.recordings.iter().position(|recording| recording.recording_id == recording_id);
        &self.bytes[index.expect("a recording of the test")]
    }
}

impl RecordingStore for MemoryStore {
    type Reader = MemoryReader;

    fn recordings(&self) -> &[Recording] {
        &self.recordings
    }

    fn reader(&self, recording_id: i64) -> Option<MemoryReader> {
        let start_position = self.find(recording_id)?.start_position;
        let bytes = Rc::clone(self.of(recording_id));
        Some(MemoryReader { start_position, bytes, read: Vec::new() })
    }

    fn commit_position(&self) -> i64 {
        self.commit_position
    }
}

impl RecordedFrames for MemoryReader {
    fn end_position(&self) -> i64 {
        self.start_position + self.bytes.borrow().len() as i64
    }

    fn frames(&mut self, from: i64, to: i64) -> Result<&[u8], String> {
        assert!(self.start_position <= from && from <= to && to <= self.end_position(), "{from}..{to}");
        let first_base = self.start_position - self.start_position % i64::from(TERM_LENGTH);
        let segment_end = from - (from - first_base) % SEGMENT_LENGTH + SEGMENT_LENGTH;
        let range =
            (from - self.start_position) as usize..(to.min(segment_end) - self.start_position) as usize;
        self.read = self.bytes.borrow()[range].to_vec();
        Ok(&self.read)
    }
}

/// Frames of a recorded stream from `position` on, some `length` bytes of them: fragments of all lengths, reserved
/// values, and padding where a frame does not fit in its term.
pub(crate) fn recorded_frames(rng: &mut Rng, position: i64, length: i64) -> Vec<u8> {
    let terms = StreamTerms {
        initial_term_id: INITIAL_TERM_ID,
        term_length: TermLength::new(TERM_LENGTH).expect("legal"),
    };
    let mut bytes = Vec::new();
    while (bytes.len() as i64) < length {
        let at = position + bytes.len() as i64;
        let room = (terms.term_end(at) - at) as usize;
        let longest = rng.pick(&[64, 300, MTU as u64, MTU as u64]);
        let frame_length = rng.between(HEADER_LENGTH as u64, longest) as usize;
        let (frame_type, frame_length) =
            if align(frame_length) > room { (FrameType::Pad, room) } else { (FrameType::Data, frame_length) };
        let header = DataHeader {
            frame_length: frame_length as i32,
            flags: rng.pick(&[UNFRAGMENTED, UNFRAGMENTED, 0x80, 0, 0x40]),
            frame_type,
            term_offset: terms.term_offset(at),
            session_id: SESSION_ID,
            stream_id: STREAM_ID,
            term_id: terms.term_id(at),
            reserved_value: rng.next() as i64,
        };
        bytes.extend_from_slice(&header.encode());
        if frame_type == FrameType::Data {
            bytes.extend_from_slice(&crate::rng::fill(rng.next(), frame_length - HEADER_LENGTH));
        }
        bytes.resize((at - position) as usize + align(frame_length), 0);
    }
    bytes
}
