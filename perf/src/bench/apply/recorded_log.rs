use crate::error::BenchError;
use consensus_tap::codec::log::{ClusterTimeUnit, NewLeadershipTermEvent, SessionMessage, SessionOpenEvent};
use consensus_tap::file::segment::RecordingGeometry;
use consensus_tap::log::{LogReader, LogStart, MidMessage};
use consensus_tap::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{DataHeader, FrameType, StreamTerms, TermLength, align};
use standby_node::store::recording_reader::RecordingReader;
use standby_node::store::recording_writer::RecordingWriter;
use tempfile::TempDir;

/// The log of a cluster with one leader and one client, recorded in a directory of its own.
#[derive(Debug)]
pub(super) struct RecordedLog {
    directory: TempDir,
    writer: RecordingWriter,
    message_count: u64,
    datagram_ends: Vec<i64>,
}

impl RecordedLog {
    /// Records the beginning of a term, of a session, and so many messages.
    pub(super) fn write(message_count: u64) -> Result<Self, BenchError> {
        let directory = TempDir::with_prefix("perf-apply-")
            .map_err(BenchError::io("make a directory for a recording"))?;
        let writer = RecordingWriter::create(directory.path(), geometry(), None).map_err(BenchError::run)?;
        let mut log = Self { directory, writer, message_count, datagram_ends: Vec::new() };

        let mut run = Run::new();
        let mut message = Vec::new();
        let term_length = align(HEADER_LENGTH + NEW_TERM_LENGTH) as i64;
        NewLeadershipTermEvent {
            leadership_term_id: 0,
            log_position: term_length,
            timestamp: 1,
            term_base_log_position: 0,
            leader_member_id: 0,
            log_session_id: SESSION_ID,
            time_unit: ClusterTimeUnit::Millis,
            app_version: 0,
        }
        .encode(&mut message);
        log.append(&mut run, &message)?;
        message.clear();
        SessionOpenEvent {
            leadership_term_id: 0,
            correlation_id: 1,
            cluster_session_id: CLUSTER_SESSION_ID,
            timestamp: 2,
            response_stream_id: 102,
            response_channel: "aeron:udp?endpoint=localhost:9999",
            encoded_principal: &[],
        }
        .encode(&mut message);
        log.append(&mut run, &message)?;
        for index in 0..message_count {
            let mut payload = [0; MESSAGE_LENGTH];
            payload[..8].copy_from_slice(&index.to_le_bytes());
            message.clear();
            SessionMessage {
                leadership_term_id: 0,
                cluster_session_id: CLUSTER_SESSION_ID,
                timestamp: 3 + index as i64 / 1000,
                payload: &payload,
            }
            .encode(&mut message);
            log.append(&mut run, &message)?;
        }
        log.flush(&mut run)?;
        let end_position = log.writer.recorded_position();
        if log.datagram_ends.last() != Some(&end_position) {
            log.datagram_ends.push(end_position);
        }
        Ok(log)
    }

    pub(super) fn message_count(&self) -> u64 {
        self.message_count
    }

    /// Where each datagram would end that a sender with the default MTU had sent; the last is the log's end.
    pub(super) fn datagram_ends(&self) -> &[i64] {
        &self.datagram_ends
    }

    /// A reader of events from the beginning on.
    pub(super) fn reader(&self) -> LogReader {
        LogReader::new(LogStart {
            terms: terms(),
            position: 0,
            leadership_term_id: None,
            mid_message: MidMessage::Reject,
        })
    }

    /// A reader of bytes.
    pub(super) fn recording(&self) -> RecordingReader {
        RecordingReader::new(self.directory.path(), geometry(), self.writer.published())
    }

    fn append(&mut self, run: &mut Run, message: &[u8]) -> Result<(), BenchError> {
        let position = self.writer.recorded_position() + run.length();
        let length = align(HEADER_LENGTH + message.len()) as i64;
        let room = terms().term_end(position) - position;
        if length > room {
            run.push_frame(position, FrameType::Pad, room as usize, &[]);
            self.flush(run)?;
            return self.append(run, message);
        }
        let sent_position = self.datagram_ends.last().copied().unwrap_or_default();
        if position + length - sent_position > MTU {
            self.datagram_ends.push(position);
        }
        run.push_frame(position, FrameType::Data, HEADER_LENGTH + message.len(), message);
        if run.length() >= RUN_LENGTH || length == room {
            self.flush(run)?;
        }
        Ok(())
    }

    fn flush(&mut self, run: &mut Run) -> Result<(), BenchError> {
        self.writer.append(self.writer.recorded_position(), &run.bytes).map_err(BenchError::run)?;
        run.bytes.clear();
        Ok(())
    }
}

/// Frames that are recorded together.
struct Run {
    bytes: Vec<u8>,
}

impl Run {
    fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    fn length(&self) -> i64 {
        self.bytes.len() as i64
    }

    fn push_frame(&mut self, position: i64, frame_type: FrameType, frame_length: usize, payload: &[u8]) {
        let header = DataHeader {
            frame_length: frame_length as i32,
            flags: UNFRAGMENTED,
            frame_type,
            term_offset: terms().term_offset(position),
            session_id: SESSION_ID,
            stream_id: STREAM_ID,
            term_id: terms().term_id(position),
            reserved_value: 0,
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(start + align(HEADER_LENGTH + payload.len()), 0);
    }
}

fn terms() -> StreamTerms {
    let term_length = TermLength::new(TERM_LENGTH).expect("a power of two");
    StreamTerms { initial_term_id: 0, term_length }
}

fn geometry() -> RecordingGeometry {
    RecordingGeometry::new(0, 0, TERM_LENGTH, SEGMENT_LENGTH, 0, STREAM_ID).expect("the lengths are legal")
}

/// What a client sends, in bytes.
const MESSAGE_LENGTH: usize = 64;
/// What that comes to in the log: frame header, session header, message.
pub(super) const MESSAGE_FRAME_LENGTH: i64 = 32 + 32 + MESSAGE_LENGTH as i64;
const NEW_TERM_LENGTH: usize = 56;
const CLUSTER_SESSION_ID: i64 = 1;
const SESSION_ID: i32 = 42;
const STREAM_ID: i32 = 100;
/// Aeron's defaults.
const TERM_LENGTH: i32 = 64 * 1024 * 1024;
const SEGMENT_LENGTH: i32 = 128 * 1024 * 1024;
const MTU: i64 = 1408;
const RUN_LENGTH: i64 = 32 * 1024;
