//! A log's and a snapshot's messages, and the stream that holds them.

use super::*;

/// One event of each kind. The positions that events bear are those at which [`Stream`] puts them.
pub(super) fn log_messages() -> Vec<Vec<u8>> {
    let mut messages = vec![Vec::new(); 7];
    NewLeadershipTermEvent {
        leadership_term_id: 0,
        log_position: 96,
        timestamp: 1,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 5,
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    }
    .encode(&mut messages[0]);
    SessionOpenEvent {
        leadership_term_id: 0,
        correlation_id: 1,
        cluster_session_id: 1,
        timestamp: 2,
        response_stream_id: 102,
        response_channel: "aeron:udp?endpoint=a:1",
        encoded_principal: b"principal",
    }
    .encode(&mut messages[1]);
    SessionMessage { leadership_term_id: 0, cluster_session_id: 1, timestamp: 3, payload: &[9; 2000] }
        .encode(&mut messages[2]);
    TimerEvent { leadership_term_id: 0, correlation_id: 4, timestamp: 4 }.encode(&mut messages[3]);
    SessionCloseEvent {
        leadership_term_id: 0,
        cluster_session_id: 1,
        timestamp: 5,
        close_reason: CloseReason::ClientAction,
    }
    .encode(&mut messages[4]);
    SessionMessage {
        leadership_term_id: 0,
        cluster_session_id: service_session_id(0, 1),
        timestamp: 6,
        payload: b"from a service",
    }
    .encode(&mut messages[5]);
    let mut before = Stream::default();
    for message in &messages[..6] {
        before.message(message);
    }
    ClusterActionRequest {
        leadership_term_id: 0,
        log_position: before.bytes.len() as i64 + 96,
        timestamp: 7,
        action: ClusterAction::Snapshot,
        flags: ClusterActionRequest::STANDBY_SNAPSHOT,
    }
    .encode(&mut messages[6]);
    messages
}

pub(super) fn snapshot_messages(type_id: i64) -> Vec<Vec<u8>> {
    let mut messages = vec![Vec::new(); 7];
    let marker = |mark, out: &mut Vec<u8>| {
        SnapshotMarker {
            type_id,
            log_position: 4096,
            leadership_term_id: 0,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        }
        .encode(out);
    };
    let counters = ServiceCounters {
        next_service_session_id: service_session_id(0, 2),
        log_service_session_id: service_session_id(0, 0),
        pending_message_capacity: 4096,
    };
    marker(SnapshotMark::Begin, &mut messages[0]);
    ConsensusModule { next_session_id: 3, service_0: Some(counters) }.encode(&mut messages[1]);
    ClusterSession {
        cluster_session_id: 2,
        correlation_id: 5,
        opened_log_position: 96,
        time_of_last_activity: 2,
        close_reason: None,
        response_stream_id: 102,
        response_channel: "aeron:udp?endpoint=a:1",
    }
    .encode(&mut messages[2]);
    Timer { correlation_id: 6, deadline: 7000 }.encode(&mut messages[3]);
    PendingMessageTracker { counters, service_id: 0 }.encode(&mut messages[4]);
    SessionMessage {
        leadership_term_id: 0,
        cluster_session_id: service_session_id(0, 1),
        timestamp: 0,
        payload: b"pending",
    }
    .encode(&mut messages[5]);
    marker(SnapshotMark::End, &mut messages[6]);
    messages
}

/// A recording from position 0, in fragments of 1,408 bytes.
pub(super) struct Stream {
    pub(super) stream_id: i32,
    pub(super) bytes: Vec<u8>,
}

impl Default for Stream {
    fn default() -> Self {
        Self { stream_id: 100, bytes: Vec::new() }
    }
}

impl Stream {
    pub(super) fn message(&mut self, message: &[u8]) {
        const PAYLOAD_MAX: usize = 1408 - HEADER_LENGTH;
        let count = message.len().div_ceil(PAYLOAD_MAX);
        for (index, payload) in message.chunks(PAYLOAD_MAX).enumerate() {
            let begin = if index == 0 { BEGIN } else { 0 };
            let end = if index + 1 == count { END } else { 0 };
            self.frame(begin | end, FrameType::Data, payload);
        }
    }

    pub(super) fn pad(&mut self) {
        let left = TERMS.term_length.bytes() as usize - self.bytes.len();
        self.frame(UNFRAGMENTED, FrameType::Pad, &vec![0; left - HEADER_LENGTH]);
    }

    pub(super) fn frame(&mut self, flags: u8, frame_type: FrameType, payload: &[u8]) {
        let position = self.bytes.len() as i64;
        let length = HEADER_LENGTH + payload.len();
        let header = DataHeader {
            frame_length: length as i32,
            flags,
            frame_type,
            term_offset: TERMS.term_offset(position),
            session_id: 7,
            stream_id: self.stream_id,
            term_id: TERMS.term_id(position),
            reserved_value: 0,
        };
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(self.bytes.len() - length + align(length), 0);
    }
}
