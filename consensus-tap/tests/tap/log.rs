use consensus_tap::codec::log::{ClusterTimeUnit, NewLeadershipTermEvent, SessionMessage};
use consensus_tap::wire::data::{BEGIN, END, UNFRAGMENTED};
use consensus_tap::wire::{DataHeader, FrameType, StreamTerms, TermLength, align};

pub(crate) const MTU: usize = 1408;
const HEADER_LENGTH: usize = 32;

/// A recording as bytes from position 0 on, of which the first may have been purged.
#[derive(Clone, Debug)]
pub(crate) struct SimLog {
    pub(crate) stream_id: i32,
    pub(crate) terms: StreamTerms,
    /// First position that is still there.
    pub(crate) start: i64,
    pub(crate) bytes: Vec<u8>,
    frame_starts: Vec<i64>,
    /// Leadership terms with their leaders and base positions.
    pub(crate) leaderships: Vec<Leadership>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Leadership {
    pub(crate) term_id: i64,
    pub(crate) leader_id: i32,
    pub(crate) base: i64,
}

impl SimLog {
    pub(crate) fn new(stream_id: i32, term_length: i32) -> Self {
        let term_length = TermLength::new(term_length).expect("a legal length");
        Self {
            stream_id,
            terms: StreamTerms { initial_term_id: 0, term_length },
            start: 0,
            bytes: Vec::new(),
            frame_starts: Vec::new(),
            leaderships: Vec::new(),
        }
    }

    pub(crate) fn end(&self) -> i64 {
        self.bytes.len() as i64
    }

    /// The first event of a reign.
    pub(crate) fn begin_term(&mut self, term_id: i64, leader_id: i32, now_ns: u64) {
        let base = self.end();
        self.leaderships.push(Leadership { term_id, leader_id, base });
        let mut message = Vec::new();
        NewLeadershipTermEvent {
            leadership_term_id: term_id,
            log_position: base + 96,
            timestamp: now_ns as i64,
            term_base_log_position: base,
            leader_member_id: leader_id,
            log_session_id: term_id as i32,
            time_unit: ClusterTimeUnit::Millis,
            app_version: 0,
        }
        .encode(&mut message);
        self.append(term_id as i32, &message);
    }

    pub(crate) fn append_session_message(&mut self, now_ns: u64, payload: &[u8]) {
        let leadership_term_id = self.leaderships.last().map_or(0, |leadership| leadership.term_id);
        let mut message = Vec::new();
        SessionMessage { leadership_term_id, cluster_session_id: 1, timestamp: now_ns as i64, payload }
            .encode(&mut message);
        self.append(leadership_term_id as i32, &message);
    }

    /// Frames a message as a publication does: in fragments, and behind padding where the term has no room.
    pub(crate) fn append(&mut self, session_id: i32, message: &[u8]) {
        let payload_length_max = MTU - HEADER_LENGTH;
        let length: usize =
            message.chunks(payload_length_max).map(|fragment| align(HEADER_LENGTH + fragment.len())).sum();
        let room = (self.terms.term_end(self.end()) - self.end()) as usize;
        if length > room {
            self.append_frame(session_id, FrameType::Pad, UNFRAGMENTED, &vec![0; room - HEADER_LENGTH]);
        }
        let count = message.chunks(payload_length_max).len();
        for (index, fragment) in message.chunks(payload_length_max).enumerate() {
            let begin = if index == 0 { BEGIN } else { 0 };
            let end = if index + 1 == count { END } else { 0 };
            self.append_frame(session_id, FrameType::Data, begin | end, fragment);
        }
    }

    fn append_frame(&mut self, session_id: i32, frame_type: FrameType, flags: u8, payload: &[u8]) {
        let position = self.end();
        let header = DataHeader {
            frame_length: (HEADER_LENGTH + payload.len()) as i32,
            flags,
            frame_type,
            term_offset: self.terms.term_offset(position),
            session_id,
            stream_id: self.stream_id,
            term_id: self.terms.term_id(position),
            reserved_value: position ^ 0x5555,
        };
        self.frame_starts.push(position);
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(self.bytes.len().next_multiple_of(32), 0);
    }

    pub(crate) fn is_frame_start(&self, position: i64) -> bool {
        self.frame_starts.binary_search(&position).is_ok()
    }

    /// The end of the last frame that ends at or before `position`.
    pub(crate) fn frame_end_at_or_before(&self, position: i64) -> i64 {
        if position >= self.end() {
            return self.end();
        }
        let index = self.frame_starts.partition_point(|start| *start <= position);
        index.checked_sub(1).map_or(0, |index| self.frame_starts[index])
    }

    /// Up to where two members' logs are the same. One leader appends in one term, so terms and bases tell.
    pub(crate) fn common_end(&self, other: &Self) -> i64 {
        let same =
            self.leaderships.iter().zip(&other.leaderships).take_while(|(ours, theirs)| ours == theirs);
        let count = same.count();
        if count == 0 {
            return 0;
        }
        let end_of = |log: &Self| log.leaderships.get(count).map_or(log.end(), |next| next.base);
        end_of(self).min(end_of(other))
    }

    pub(crate) fn truncate(&mut self, position: i64) {
        self.bytes.truncate(position as usize);
        self.frame_starts.retain(|start| *start < position);
        self.leaderships.retain(|leadership| leadership.base < position);
    }

    /// Takes what follows our end from a log of which ours is a prefix, up to at most `limit`.
    pub(crate) fn copy_from(&mut self, other: &Self, limit: i64) {
        let (from, to) = (self.end(), other.frame_end_at_or_before(limit));
        if to <= from {
            return;
        }
        self.bytes.extend_from_slice(&other.bytes[from as usize..to as usize]);
        self.frame_starts.extend(other.frame_starts.iter().filter(|start| (from..to).contains(*start)));
        let begun = other.leaderships.iter().filter(|leadership| (from..to).contains(&leadership.base));
        self.leaderships.extend(begun);
    }

    /// Deletes what lies before the term of `position`.
    pub(crate) fn purge(&mut self, position: i64) {
        let term_start = position - i64::from(self.terms.term_offset(position));
        self.start = self.start.max(term_start);
    }
}

/// Whether two runs of frames are the same but for the session and stream that carried them. What ends within a
/// frame is not.
pub(crate) fn is_same_log(ours: &[u8], theirs: &[u8]) -> bool {
    let mut at = 0;
    if ours.len() != theirs.len() {
        return false;
    }
    while at < ours.len() {
        let length = i32::from_le_bytes([ours[at], ours[at + 1], ours[at + 2], ours[at + 3]]) as usize;
        let is_padding = ours[at + 6] == 0;
        let compared = if is_padding { HEADER_LENGTH } else { align(length) };
        let (Some(a), Some(b)) = (ours.get(at..at + compared), theirs.get(at..at + compared)) else {
            return false;
        };
        if a[..12] != b[..12] || a[20..] != b[20..] {
            return false;
        }
        at += align(length);
    }
    true
}
