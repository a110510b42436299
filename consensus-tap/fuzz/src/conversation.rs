//! A tap and a member that talk to each other, with the member's words falsified on their way.
//!
//! The member is honest and speaks through an [`Endpoint`] of its own: it answers backup queries, archive requests
//! and replays of one snapshot set and one log. So every state of the tap is reached, and what is falsified is
//! something that the tap was waiting for. The script's bytes say what happens to each datagram; where it is at its
//! end, everything arrives as it is.

use std::collections::VecDeque;
use std::net::SocketAddr;

use consensus_tap::archive::Credentials;
use consensus_tap::channel::ChannelUri;
use consensus_tap::codec::archive_control::{
    ARCHIVE_PROTOCOL_VERSION, ArchiveRequest, ControlResponse, ControlResponseCode, RecordingDescriptor,
};
use consensus_tap::codec::consensus::{
    BackupResponse, ConsensusMessage, HeartbeatResponse, SnapshotEntry, Snapshots,
};
use consensus_tap::codec::log::{NewLeadershipTermEvent, SessionMessage};
use consensus_tap::endpoint::Endpoint;
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::{PublicationId, PublicationParams};
use consensus_tap::tap::{
    AppendError, RecordFailed, Recorder, RecordingKey, ReplayStart, Routing, SourceType, Tap, TapAction,
    TapConfig, TapReport, TapState,
};
use consensus_tap::wire::frames;
use service_api::ClusterTimeUnit;

use crate::script::Script;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
pub(crate) const CONSENSUS_STREAM_ID: i32 = 108;
const LOG_STREAM_ID: i32 = 100;
const ARCHIVE_CONTROL_STREAM_ID: i32 = 10;
const ARCHIVE_RESPONSE_STREAM_ID: i32 = 20;
const CONTROL_SESSION_ID: i64 = 77;
const LOG_RECORDING_ID: i64 = 3;
const SNAPSHOT_LOG_POSITION: i64 = 96;
const TICK_NS: u64 = 5_000_000;
/// Long enough for a query, a fetch, a replay and a time-out of each.
const ROUNDS_MAX: usize = 3_000;

/// Drives a tap and a member until the script is over and the tap follows or has halted, or time is up.
pub fn tap_conversation(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let tap_address: SocketAddr = ([127, 0, 0, 1], 1).into();
    let member_address: SocketAddr = ([127, 0, 0, 1], 2).into();
    let mut now_ns = SECOND_NS;
    let mut config = tap_config();
    let choice = script.byte();
    if choice & 1 != 0 {
        config.replay_start = ReplayStart::Beginning;
    }
    // A slow disk: answers come when their source may be gone.
    let delay_rounds = if choice & 0x10 != 0 { 300 } else { 0 };
    let mut actions = VecDeque::new();
    let mut tap = Tap::new(config, 7);
    let mut recorder = MemoryRecorder::default();
    let mut member = Member::new(tap_address);
    tap.start(None, now_ns);

    let mut rounds_after_script = 0;
    for round in 0..ROUNDS_MAX {
        now_ns += TICK_NS;
        let mut to_member = Vec::new();
        tap.on_timeout(now_ns, &mut recorder);
        tap.poll_transmit(now_ns, &mut |run| to_member.extend(run.datagrams().map(<[u8]>::to_vec)));
        for datagram in &to_member {
            member.on_datagram(datagram, tap_address, now_ns);
        }
        for datagram in member.poll(now_ns) {
            deliver(&datagram, &mut script, |bytes| {
                tap.on_datagram(bytes, member_address, now_ns, &mut recorder);
            });
        }
        while let Some(action) = tap.poll_action() {
            actions.push_back((round + delay_rounds, action));
        }
        while let Some((_, action)) = actions.pop_front_if(|(due_round, _)| *due_round <= round) {
            on_action(action, &mut tap, &mut recorder, member_address, now_ns);
        }
        recorder.check();
        if script.is_over() {
            rounds_after_script += 1;
            let settled = matches!(
                tap.status().state,
                TapState::Following | TapState::Diverged | TapState::LogPurged | TapState::Failed
            );
            if settled && rounds_after_script > 50 {
                break;
            }
        }
    }
    if bytes.iter().all(|byte| *byte == 0) {
        assert_eq!(tap.status().state, TapState::Following, "nothing was falsified");
        assert_eq!(recorder.log.as_ref().map(MemoryLog::end), Some(member.log_end()));
    }
    tap.close(now_ns);
    tap.poll_transmit(now_ns, &mut |_| {});
}

/// What the script makes of one datagram.
fn deliver(datagram: &[u8], script: &mut Script<'_>, mut to: impl FnMut(&[u8])) {
    match script.byte() {
        // Most arrive as they are, so that the conversation gets somewhere.
        0..160 => to(datagram),
        160..176 => {}
        176..184 => {
            to(datagram);
            to(datagram);
        }
        184..232 => {
            let mut falsified = datagram.to_vec();
            let at = usize::from(script.u16()) % falsified.len();
            falsified[at] ^= script.byte().max(1);
            to(&falsified);
        }
        232..240 => {
            // A field at its limit, where a bit flip seldom leads.
            let mut falsified = datagram.to_vec();
            let at = (usize::from(script.u16()) % falsified.len()) & !3;
            let value = [0, u32::MAX, i32::MIN as u32, i32::MAX as u32][usize::from(script.byte() & 3)];
            let end = (at + 4).min(falsified.len());
            falsified[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            to(&falsified);
        }
        240..248 => to(&datagram[..usize::from(script.u16()) % (datagram.len() + 1)]),
        248.. => {
            to(script.block());
            to(datagram);
        }
    }
}

fn on_action(
    action: TapAction,
    tap: &mut Tap,
    recorder: &mut MemoryRecorder,
    member_address: SocketAddr,
    now_ns: u64,
) {
    match action {
        TapAction::Resolve { token, .. } => tap.on_resolved(token, Some(member_address), now_ns),
        TapAction::OpenSnapshot { index, descriptor, .. } => {
            if tap.on_recording_opened(RecordingKey::Snapshot(index), now_ns) {
                assert_eq!(recorder.snapshots.len(), index, "snapshots are opened in order");
                recorder.snapshots.push(MemoryLog::new(descriptor.start_position));
            }
        }
        TapAction::SnapshotsRecorded | TapAction::DiscardSnapshots => recorder.snapshots.clear(),
        TapAction::OpenLog { start_position, .. } => {
            if start_position < 0 || start_position % 32 != 0 {
                // As a recording would be refused, whose geometry this is not.
                return tap.on_recording_failed("not a position".to_owned(), now_ns);
            }
            assert!(recorder.log.is_none(), "a log is opened once");
            recorder.log = Some(MemoryLog::new(start_position));
            assert!(tap.on_recording_opened(RecordingKey::Log, now_ns), "a log that is open is kept");
        }
        TapAction::Report(TapReport::Halted { reason, .. } | TapReport::SourceLost { reason, .. }) => {
            assert!(!reason.is_empty());
        }
        TapAction::Report(_) => {}
    }
}

/// The configuration of every tap here: one service, one endpoint, fixed seed.
pub(crate) fn tap_config() -> TapConfig {
    TapConfig {
        member_id: 100,
        consensus_endpoints: vec!["member:2".parse().expect("an endpoint")],
        response_endpoint: "standby:1".parse().expect("an endpoint"),
        endpoint_map: Vec::new(),
        source_type: SourceType::Any,
        routing: Routing::All,
        replay_start: ReplayStart::LatestSnapshot,
        service_count: Some(1),
        fetch_snapshots: true,
        consensus_stream_id: CONSENSUS_STREAM_ID,
        archive_control_stream_id: ARCHIVE_CONTROL_STREAM_ID,
        archive_response_stream_id: ARCHIVE_RESPONSE_STREAM_ID,
        receive_window_length: 128 * 1024,
        cluster_credentials: Credentials::None,
        archive_credentials: Credentials::None,
        connect_timeout_ns: SECOND_NS,
        response_timeout_ns: 2 * SECOND_NS,
        message_timeout_ns: 5 * SECOND_NS,
        progress_timeout_ns: 5 * SECOND_NS,
        source_timeout_ns: 5 * SECOND_NS,
        heartbeat_interval_ns: SECOND_NS,
        source_position_interval_ns: SECOND_NS / 10,
        seed: 1,
    }
}

/// Recordings in memory, which hold a tap to the rules of a [`Recorder`].
#[derive(Debug, Default)]
pub(crate) struct MemoryRecorder {
    pub(crate) log: Option<MemoryLog>,
    snapshots: Vec<MemoryLog>,
}

/// One recording. Of padding only the header is kept; what it stands for counts.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    start: i64,
    frames: Vec<(i64, Vec<u8>)>,
    end: i64,
}

impl MemoryLog {
    fn new(start: i64) -> Self {
        Self { start, frames: Vec::new(), end: start }
    }

    fn end(&self) -> i64 {
        self.end
    }

    fn append(&mut self, position: i64, bytes: &[u8]) -> Result<(), AppendError> {
        assert_eq!(position, self.end, "a recording has no gaps");
        let mut at = 0;
        for frame in frames(bytes) {
            let frame = frame.expect("an image hands on whole frames");
            let stored = if frame.is_padding() { 32 } else { frame.aligned_length() };
            self.frames.push((self.end, bytes[at..at + stored].to_vec()));
            at += stored;
            self.end += frame.aligned_length() as i64;
        }
        // A disk has an end.
        if self.end > self.start + (64 << 20) { Err(AppendError::Failed) } else { Ok(()) }
    }
}

impl MemoryRecorder {
    fn check(&self) {
        let bytes = |log: &MemoryLog| log.frames.iter().map(|(_, frame)| frame.len()).sum::<usize>();
        assert!(self.log.iter().chain(&self.snapshots).map(bytes).sum::<usize>() < 16 << 20);
    }

    fn recording(&self, key: RecordingKey) -> Option<&MemoryLog> {
        match key {
            RecordingKey::Log => self.log.as_ref(),
            RecordingKey::Snapshot(index) => self.snapshots.get(index),
        }
    }
}

impl Recorder for MemoryRecorder {
    fn append(&mut self, key: RecordingKey, position: i64, bytes: &[u8]) -> Result<(), AppendError> {
        let recording = match key {
            RecordingKey::Log => self.log.as_mut(),
            RecordingKey::Snapshot(index) => self.snapshots.get_mut(index),
        };
        recording.expect("a tap appends to what was opened").append(position, bytes)
    }

    fn position(&self, key: RecordingKey) -> Option<i64> {
        self.recording(key).map(MemoryLog::end)
    }

    fn matches(&mut self, position: i64, frame: &[u8]) -> Result<bool, RecordFailed> {
        let log = self.log.as_ref().expect("a tap compares with a log that is open");
        let ours = log.frames.iter().find(|(at, _)| *at == position).map(|(_, bytes)| bytes.as_slice());
        // Session and stream id are the replay's own.
        let apart = |bytes: &[u8]| (bytes[..12].to_vec(), bytes[20..].to_vec());
        Ok(ours.is_some_and(|ours| ours.len() == frame.len() && apart(ours) == apart(frame)))
    }

    fn frame_start_at_or_before(&self, position: i64) -> i64 {
        let Some(log) = &self.log else { return 0 };
        log.frames.iter().map(|(at, _)| *at).rfind(|at| *at <= position).unwrap_or(log.start)
    }
}

/// An honest member: consensus module and archive behind one address.
struct Member {
    endpoint: Endpoint,
    tap_address: SocketAddr,
    inbox: Inbox,
    consensus: Option<PublicationId>,
    archive: Option<PublicationId>,
    /// Messages that wait until their publication is connected.
    waiting: Vec<(PublicationId, Vec<u8>)>,
}

#[derive(Default)]
struct Inbox {
    assemblers: Vec<(ImageKey, FragmentAssembler)>,
    messages: Vec<Vec<u8>>,
}

impl ImageSink for Inbox {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let index = self.assemblers.iter().position(|(key, _)| *key == image).unwrap_or_else(|| {
            self.assemblers.push((image, FragmentAssembler::new(1 << 20)));
            self.assemblers.len() - 1
        });
        let mut position = position;
        for frame in frames(bytes).map_while(Result::ok) {
            if let Some(message) = self.assemblers[index].1.on_frame(&frame, position) {
                self.messages.push(message.bytes.to_vec());
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}

impl Member {
    fn new(tap_address: SocketAddr) -> Self {
        let mut endpoint = Endpoint::new(8);
        endpoint.add_subscription(SubscriptionParams::new(CONSENSUS_STREAM_ID));
        endpoint.add_subscription(SubscriptionParams::new(ARCHIVE_CONTROL_STREAM_ID));
        Self {
            endpoint,
            tap_address,
            inbox: Inbox::default(),
            consensus: None,
            archive: None,
            waiting: Vec::new(),
        }
    }

    fn on_datagram(&mut self, datagram: &[u8], from: SocketAddr, now_ns: u64) {
        self.endpoint.on_datagram(datagram, from, now_ns, &mut self.inbox);
    }

    fn poll(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        while self.endpoint.poll_event().is_some() {}
        for message in std::mem::take(&mut self.inbox.messages) {
            self.on_message(&message, now_ns);
        }
        let endpoint = &mut self.endpoint;
        let mut blocked = Vec::new();
        self.waiting.retain(|(publication, message)| {
            let keeps = blocked.contains(publication) || endpoint.offer(*publication, message).is_err();
            if keeps {
                blocked.push(*publication);
            }
            keeps
        });
        self.endpoint.on_timeout(now_ns);
        let mut datagrams = Vec::new();
        self.endpoint.poll_transmit(now_ns, &mut |run| datagrams.extend(run.datagrams().map(<[u8]>::to_vec)));
        datagrams
    }

    fn publication(&mut self, session_id: i32, stream_id: i32, position: i64, now_ns: u64) -> PublicationId {
        let params = PublicationParams {
            term_offset: position as i32,
            ..PublicationParams::new(session_id, stream_id)
        };
        self.endpoint.add_publication(params, self.tap_address, now_ns)
    }

    fn on_message(&mut self, message: &[u8], now_ns: u64) {
        let mut answer = Vec::new();
        match ConsensusMessage::decode(message) {
            Ok(ConsensusMessage::BackupQuery(query)) => backup_response(query.correlation_id, &mut answer),
            Ok(ConsensusMessage::HeartbeatRequest(request)) => {
                HeartbeatResponse { correlation_id: request.correlation_id }.encode(&mut answer);
            }
            _ => return self.on_archive_request(message, now_ns),
        }
        let publication = match self.consensus {
            Some(publication) => publication,
            None => self.publication(11, CONSENSUS_STREAM_ID, 0, now_ns),
        };
        self.consensus = Some(publication);
        self.waiting.push((publication, answer));
    }

    fn on_archive_request(&mut self, message: &[u8], now_ns: u64) {
        let Ok(request) = ArchiveRequest::decode(message) else { return };
        let (correlation_id, relevant_id) = match request {
            ArchiveRequest::AuthConnect(request) => {
                let session_id = session_of(request.response_channel).unwrap_or(12);
                self.archive = Some(self.publication(session_id, request.response_stream_id, 0, now_ns));
                (request.correlation_id, CONTROL_SESSION_ID)
            }
            ArchiveRequest::ArchiveId(request) => (request.correlation_id, 1),
            ArchiveRequest::MaxRecordedPosition(request) => (request.correlation_id, self.log_end()),
            ArchiveRequest::ListRecording(request) => {
                let mut answer = Vec::new();
                descriptor(request.correlation_id, request.recording_id, &mut answer);
                return self.answer(answer);
            }
            ArchiveRequest::Replay(request) => {
                let messages = [vec![0; 96], vec![1; 2000], vec![2; 32]];
                self.replay(request.replay_channel, request.replay_stream_id, 0, &messages, now_ns);
                (request.correlation_id, 900)
            }
            ArchiveRequest::BoundedReplay(request) => {
                let messages = log_messages(request.position);
                self.replay(
                    request.replay_channel,
                    request.replay_stream_id,
                    request.position,
                    &messages,
                    now_ns,
                );
                (request.correlation_id, 901)
            }
            _ => return,
        };
        let mut answer = Vec::new();
        ControlResponse {
            control_session_id: CONTROL_SESSION_ID,
            correlation_id,
            relevant_id,
            code: ControlResponseCode::Ok,
            version: ARCHIVE_PROTOCOL_VERSION,
            error_message: "",
        }
        .encode(&mut answer);
        self.answer(answer);
    }

    fn answer(&mut self, answer: Vec<u8>) {
        if let Some(archive) = self.archive {
            self.waiting.push((archive, answer));
        }
    }

    fn replay(&mut self, channel: &str, stream_id: i32, position: i64, messages: &[Vec<u8>], now_ns: u64) {
        let Some(session_id) = session_of(channel) else { return };
        // The fuzzer may have talked the tap into asking for what is not there, which an archive refuses.
        if !(0..60_000).contains(&position) || position % 32 != 0 {
            return;
        }
        let publication = self.publication(session_id, stream_id, position, now_ns);
        self.waiting.extend(messages.iter().map(|message| (publication, message.clone())));
    }

    fn log_end(&self) -> i64 {
        log_messages(0).iter().map(|message| framed_length(message.len())).sum()
    }
}

/// The log from a position on: a leadership term, then messages.
fn log_messages(from: i64) -> Vec<Vec<u8>> {
    let mut term = Vec::new();
    NewLeadershipTermEvent {
        leadership_term_id: 0,
        log_position: 96,
        timestamp: 1,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 13,
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    }
    .encode(&mut term);
    let message = |length: usize| {
        let mut message = Vec::new();
        SessionMessage {
            leadership_term_id: 0,
            cluster_session_id: 1,
            timestamp: 2,
            payload: &vec![7; length],
        }
        .encode(&mut message);
        message
    };
    let mut at = 0;
    let all = [term, message(0), message(3000), message(100), message(9)];
    all.into_iter()
        .filter(|message| {
            let begin = at;
            at += framed_length(message.len());
            begin >= from
        })
        .collect()
}

/// What a message takes of the log, in fragments of an MTU of 1408.
fn framed_length(message_length: usize) -> i64 {
    const PAYLOAD_MAX: usize = 1408 - 32;
    let rest = message_length % PAYLOAD_MAX;
    let rest_framed = if rest > 0 { (rest + 32).next_multiple_of(32) } else { 0 };
    (message_length / PAYLOAD_MAX * 1408 + rest_framed) as i64
}

fn session_of(channel: &str) -> Option<i32> {
    ChannelUri::parse(channel).ok()?.get("session-id")?.parse().ok()
}

fn backup_response(correlation_id: i64, out: &mut Vec<u8>) {
    let entry = |service_id: i32| SnapshotEntry {
        recording_id: 5 + i64::from(service_id),
        leadership_term_id: 0,
        term_base_log_position: 0,
        log_position: SNAPSHOT_LOG_POSITION,
        timestamp: 1,
        service_id,
    };
    BackupResponse {
        correlation_id,
        log_recording_id: LOG_RECORDING_ID,
        log_leadership_term_id: 0,
        log_term_base_log_position: 0,
        last_leadership_term_id: 0,
        last_term_base_log_position: 0,
        commit_position_counter_id: 60,
        leader_member_id: 0,
        member_id: 0,
        snapshots: Snapshots::new(&[entry(-1), entry(0)]),
        cluster_members: "0,member:1,member:2,member:3,member:4,member:5",
    }
    .encode(out);
}

fn descriptor(correlation_id: i64, recording_id: i64, out: &mut Vec<u8>) {
    let is_log = recording_id == LOG_RECORDING_ID;
    let snapshot_end = framed_length(96) + framed_length(2000) + framed_length(32);
    RecordingDescriptor {
        control_session_id: CONTROL_SESSION_ID,
        correlation_id,
        recording_id,
        start_timestamp: 1,
        stop_timestamp: -1,
        start_position: 0,
        stop_position: if is_log { -1 } else { snapshot_end },
        initial_term_id: 0,
        segment_file_length: 128 << 20,
        term_buffer_length: 64 << 10,
        mtu_length: 1408,
        session_id: 13,
        stream_id: if is_log { LOG_STREAM_ID } else { 106 },
        stripped_channel: "aeron:udp?endpoint=member:3",
        original_channel: "aeron:udp?endpoint=member:3|alias=log",
        source_identity: "member:3",
    }
    .encode(out);
}
