//! What the cluster's log and snapshots hold, from one seed.

use consensus_tap::archive::Recording;
use consensus_tap::codec::log::NewLeadershipTermEvent;
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::wire::{DataHeader, FrameType, data};
use service_api::ClusterTimeUnit;

use crate::random::Random;

pub(crate) const TERM_LENGTH: i32 = 64 * 1024;
pub(crate) const SERVICE_COUNT: usize = 2;
const LOG_STREAM_ID: i32 = 100;
const SNAPSHOT_STREAM_ID: i32 = 107;
const INITIAL_TERM_ID: i32 = 7;
const HEADER_LENGTH: usize = 32;

/// One cluster: its whole log, of which a node records more and more.
pub(crate) struct Cluster {
    seed: u64,
    pub(crate) start_position: i64,
    pub(crate) segment_length: i32,
    /// In order, from the start position on.
    pub(crate) frames: Vec<Frame>,
    /// In order; `log_position` is the end of the event's own frame.
    pub(crate) terms: Vec<NewLeadershipTermEvent>,
}

/// One frame of a stream: as it comes from the wire, where padding is a header alone.
pub(crate) struct Frame {
    pub(crate) position: i64,
    /// Position behind it.
    pub(crate) end: i64,
    pub(crate) bytes: Vec<u8>,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xC1);
        let segment_length = *random.pick(&[TERM_LENGTH, 2 * TERM_LENGTH]);
        // From the beginning, or joined late: from a snapshot within some term.
        let start_position = *random.pick(&[0, 5 * 65_536 + 96 * 32]);
        let end = start_position + 65_536 * (2 + random.below(5) as i64) + 32 * random.below(2048) as i64;
        let frames = frames(&mut random, LOG_STREAM_ID, start_position, end);
        let mut terms = Vec::new();
        let mut leadership_term_id = 3;
        for (index, frame) in frames.iter().enumerate() {
            if index == 0 && start_position == 0 || index > 0 && random.one_in(40) {
                // Elections that nobody won are terms too, and sometimes there are many.
                leadership_term_id += 1 + *random.pick(&[0, 0, 0, 1, 20]);
                terms.push(NewLeadershipTermEvent {
                    leadership_term_id,
                    log_position: frame.end,
                    timestamp: frame.position,
                    term_base_log_position: frame.position,
                    leader_member_id: 0,
                    log_session_id: 1,
                    time_unit: ClusterTimeUnit::Millis,
                    app_version: 1,
                });
            }
        }
        Self { seed, start_position, segment_length, frames, terms }
    }

    /// Where all of its log ends.
    pub(crate) fn end_position(&self) -> i64 {
        self.frames.last().map_or(self.start_position, |frame| frame.end)
    }

    /// The frames from a position on, the boundary of one.
    pub(crate) fn frames_from(&self, position: i64) -> &[Frame] {
        let at = self.frames.partition_point(|frame| frame.position < position);
        assert!(self.frames.get(at).is_none_or(|frame| frame.position == position), "within a frame");
        &self.frames[at..]
    }

    /// The log's recording in the source's archive.
    pub(crate) fn log_recording(&self) -> Recording {
        self.recording(LOG_STREAM_ID, 0, self.segment_length)
    }

    /// A snapshot's recording in the source's archive.
    pub(crate) fn snapshot_recording(&self) -> Recording {
        self.recording(SNAPSHOT_STREAM_ID, 0, TERM_LENGTH)
    }

    /// What the snapshot at a position holds of a service, or of the consensus module (-1).
    pub(crate) fn snapshot_frames(&self, log_position: i64, service_id: i32) -> Vec<Frame> {
        let mut random = Random::new(self.seed ^ log_position as u64 ^ (service_id as u64) << 40);
        let end = *random.pick(&[64, 4096, 20_000, 70_016]) + 32 * random.below(64) as i64;
        frames(&mut random, SNAPSHOT_STREAM_ID, 0, end)
    }

    /// The messages of a snapshot that the node itself takes.
    pub(crate) fn snapshot_messages(&self, log_position: i64, service_id: i32) -> Vec<Vec<u8>> {
        let mut random = Random::new(!self.seed ^ log_position as u64 ^ (service_id as u64) << 40);
        let count = *random.pick(&[1, 3, 20, 60]);
        let lengths: Vec<u64> = (0..count).map(|_| random.below(10_000)).collect();
        lengths.into_iter().map(|length| (0..length).map(|_| random.next() as u8).collect()).collect()
    }

    /// The set of the snapshot at a position, by its recordings: the consensus module's, then the services'.
    pub(crate) fn snapshot_set(&self, log_position: i64, recording_ids: &[i64]) -> SnapshotSet {
        let term = self.terms.iter().rfind(|term| term.log_position <= log_position);
        let (leadership_term_id, term_base_log_position) =
            term.map_or((3, 0), |term| (term.leadership_term_id, term.term_base_log_position));
        SnapshotSet {
            leadership_term_id,
            term_base_log_position,
            log_position,
            timestamp: log_position,
            consensus_module: recording_ids[0],
            services: recording_ids[1..].to_vec(),
        }
    }

    fn recording(&self, stream_id: i32, start_position: i64, segment_file_length: i32) -> Recording {
        Recording {
            recording_id: 3,
            start_timestamp: 0,
            stop_timestamp: -1,
            start_position,
            stop_position: -1,
            initial_term_id: INITIAL_TERM_ID,
            segment_file_length,
            term_buffer_length: TERM_LENGTH,
            mtu_length: 1408,
            session_id: 1,
            stream_id,
            stripped_channel: "aeron:udp?endpoint=a:1".to_owned(),
            original_channel: "aeron:udp?endpoint=a:1|alias=log".to_owned(),
            source_identity: "10.0.0.1:5000".to_owned(),
        }
    }
}

/// Frames of all lengths, some of zeros only, with padding where a term ends and now and then elsewhere.
fn frames(random: &mut Random, stream_id: i32, start: i64, end: i64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut position = start;
    while position < end {
        let room = TERM_LENGTH - (position & i64::from(TERM_LENGTH - 1)) as i32;
        let wanted = 32 + *random.pick(&[0, 8, 64, 700, 1376, 5000, 9000]);
        let is_padding = wanted > room || random.one_in(60);
        let length = if is_padding { room.min(wanted.max(32 + 32)) } else { wanted };
        let length = if is_padding && wanted > room { room } else { length };
        let aligned = (length + 31) & !31;
        let header = DataHeader {
            frame_length: length,
            flags: data::UNFRAGMENTED,
            frame_type: if is_padding { FrameType::Pad } else { FrameType::Data },
            term_offset: (position & i64::from(TERM_LENGTH - 1)) as i32,
            session_id: 0,
            stream_id,
            term_id: INITIAL_TERM_ID + (position / i64::from(TERM_LENGTH)) as i32,
            reserved_value: 0,
        };
        let mut bytes = header.encode().to_vec();
        if !is_padding {
            let is_blank = random.one_in(10);
            let payload =
                (HEADER_LENGTH..length as usize).map(|_| if is_blank { 0 } else { random.next() as u8 });
            bytes.extend(payload);
            bytes.resize(aligned as usize, 0);
        }
        let frame_end = position + i64::from(aligned);
        frames.push(Frame { position, end: frame_end, bytes });
        position = frame_end;
    }
    frames
}
