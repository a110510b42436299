mod handshake;
mod requests;

use super::*;
use crate::archive::{Recording, ReplayParams, RequestRefused};
use crate::codec::archive_control::{
    ArchiveErrorCode, ArchiveIdRequest, ArchiveRequest, Challenge, ChallengeResponse, ControlResponse,
    ControlResponseCode, MaxRecordedPositionRequest, Ping, REPLAY_ALL_AND_FOLLOW, RecordingDescriptor,
    RecordingSignal, RecordingSignalEvent,
};
use crate::codec::message::SemanticVersion;
use proptest::prelude::*;

const SESSION: i64 = 4711;
const TIMEOUT_NS: u64 = 10_000;
const SEED: i64 = 1000;

/// A client, and an archive that says what a test scripts.
struct Rig {
    client: ArchiveClient,
    now_ns: u64,
}

impl Rig {
    fn new(credentials: Credentials) -> Self {
        let params = ArchiveClientParams {
            response_stream_id: 20,
            response_channel: "aeron:udp?endpoint=localhost:8131|session-id=7".into(),
            credentials,
            client_info: "name=standby".into(),
            message_timeout_ns: TIMEOUT_NS,
            correlation_seed: SEED,
        };
        Self { client: ArchiveClient::new(params), now_ns: 5 }
    }

    fn connected() -> Self {
        let mut rig = Self::new(Credentials::None);
        rig.client.on_connected(rig.now_ns);
        rig.sent_ids();
        rig.ok(SEED, SESSION);
        rig.ok(SEED + 1, 99);
        rig.sent_ids();
        assert_eq!(rig.events(), [ArchiveEvent::Connected { archive_id: Some(99) }]);
        rig
    }

    /// Takes what the client wants to send, as template ids.
    fn sent_ids(&mut self) -> Vec<u16> {
        let mut ids = Vec::new();
        while let Some(bytes) = self.client.poll_request() {
            ids.push(u16::from_le_bytes([bytes[2], bytes[3]]));
            self.client.request_sent();
        }
        ids
    }

    fn events(&mut self) -> Vec<ArchiveEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn failure(&mut self) -> ArchiveFailure {
        match self.events().as_slice() {
            [ArchiveEvent::Failed(failure)] => failure.clone(),
            other => panic!("expected one failure, got {other:?}"),
        }
    }

    fn hear(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.client.on_message(&bytes, self.now_ns);
    }

    fn respond(&mut self, correlation_id: i64, code: ControlResponseCode, relevant_id: i64, message: &str) {
        self.hear(|out| response(correlation_id, code, relevant_id, message).encode(out));
    }

    fn ok(&mut self, correlation_id: i64, relevant_id: i64) {
        self.respond(correlation_id, ControlResponseCode::Ok, relevant_id, "");
    }

    fn describe(&mut self, correlation_id: CorrelationId, recording_id: i64) {
        self.hear(|out| descriptor(correlation_id.0, recording_id).encode(out));
    }

    fn pass(&mut self, elapsed_ns: u64) {
        self.now_ns += elapsed_ns;
        self.client.on_timeout(self.now_ns);
    }
}

fn response(
    correlation_id: i64,
    code: ControlResponseCode,
    relevant_id: i64,
    error_message: &str,
) -> ControlResponse<'_> {
    ControlResponse {
        control_session_id: SESSION,
        correlation_id,
        relevant_id,
        code,
        version: ARCHIVE_PROTOCOL_VERSION,
        error_message,
    }
}

fn descriptor(correlation_id: i64, recording_id: i64) -> RecordingDescriptor<'static> {
    RecordingDescriptor {
        control_session_id: SESSION,
        correlation_id,
        recording_id,
        start_timestamp: 1,
        stop_timestamp: -1,
        start_position: 64,
        stop_position: -1,
        initial_term_id: -5,
        segment_file_length: 1 << 27,
        term_buffer_length: 1 << 16,
        mtu_length: 1408,
        session_id: -7,
        stream_id: 100,
        stripped_channel: "aeron:udp?endpoint=h:2",
        original_channel: "aeron:udp?endpoint=h:2|alias=log",
        source_identity: "127.0.0.1:5",
    }
}

#[test]
fn pings_signals_and_unknown_messages_are_tolerated() {
    let mut rig = Rig::connected();
    rig.hear(|out| Ping { control_session_id: SESSION }.encode(out));
    rig.client.on_message(&[0, 0, 200, 0, 101, 0, 14, 0], 5);
    rig.client.on_message(&[9, 0, 1, 0, 101, 0, 13, 0], 5);
    assert_eq!(rig.events(), []);
    let stats = rig.client.stats();
    assert_eq!((stats.unknown_template_count, stats.malformed_count), (1, 1));
    let signal = RecordingSignalEvent {
        control_session_id: SESSION,
        correlation_id: 5,
        recording_id: 1,
        subscription_id: -1,
        position: 4096,
        signal: RecordingSignal::Stop,
    };
    rig.hear(|out| signal.encode(out));
    assert_eq!(
        rig.events(),
        [ArchiveEvent::Signal {
            correlation_id: CorrelationId(5),
            recording_id: 1,
            subscription_id: -1,
            position: 4096,
            signal: RecordingSignal::Stop,
        }]
    );
}

#[test]
fn answers_of_another_session_are_dropped() {
    let mut rig = Rig::connected();
    let correlation_id = rig.client.stop_position(3, rig.now_ns).unwrap();
    let foreign = ControlResponse {
        control_session_id: SESSION + 1,
        ..response(correlation_id.0, ControlResponseCode::Ok, 4096, "")
    };
    rig.hear(|out| foreign.encode(out));
    assert_eq!(rig.events(), []);
    assert_eq!(rig.client.stats().foreign_session_count, 1);
    rig.ok(correlation_id.0, 64);
    assert_eq!(rig.events().len(), 1);
}

#[test]
fn closing_drops_what_was_not_sent_and_says_so_to_the_archive() {
    let mut rig = Rig::connected();
    rig.client.stop_position(3, rig.now_ns).unwrap();
    rig.client.close();
    rig.client.close();
    assert_eq!(rig.sent_ids(), [CloseSessionRequest::TEMPLATE_ID]);
    assert_eq!(rig.client.stop_position(3, rig.now_ns), Err(RequestRefused::NotConnected));
    rig.client.on_disconnected();
    assert_eq!(rig.events(), []);
    assert_eq!(rig.client.next_deadline_ns(), None);
}

#[test]
fn a_disconnected_session_fails_without_a_farewell() {
    let mut rig = Rig::connected();
    rig.client.stop_position(3, rig.now_ns).unwrap();
    rig.client.on_disconnected();
    assert_eq!(rig.failure(), ArchiveFailure::Disconnected);
    assert_eq!(rig.sent_ids(), []);
}

#[test]
fn requests_are_bounded() {
    let mut rig = Rig::connected();
    for _ in 0..REQUESTS_MAX {
        rig.client.stop_position(3, rig.now_ns).unwrap();
    }
    assert_eq!(rig.client.stop_position(3, rig.now_ns), Err(RequestRefused::TooMany));
    let long = format!("aeron:udp?alias={}", "x".repeat(5000));
    let params = ReplayParams::new(1, 100, &long);
    assert_eq!(rig.client.bounded_replay(&params, 44, 5), Err(RequestRefused::ChannelTooLong));
}

#[test]
fn events_that_nobody_takes_end_the_session_and_not_the_memory() {
    let mut rig = Rig::connected();
    let correlation_id = rig.client.list_recordings(0, u16::MAX, rig.now_ns).unwrap();
    for recording_id in 0..1000 {
        rig.describe(correlation_id, recording_id);
    }
    let events = rig.events();
    assert_eq!(events.len(), EVENTS_MAX + 1);
    assert_eq!(events[EVENTS_MAX], ArchiveEvent::Failed(ArchiveFailure::Backlog));
}

#[test]
fn granted_replays_are_forgotten_oldest_first() {
    let mut rig = Rig::connected();
    let params = ReplayParams::new(1, 100, "aeron:udp?endpoint=h:2");
    let ids: Vec<_> = (0..=REPLAYS_MAX)
        .map(|replay_session_id| {
            let correlation_id = rig.client.replay(&params, rig.now_ns).unwrap();
            rig.sent_ids();
            rig.ok(correlation_id.0, i64::try_from(replay_session_id).unwrap());
            correlation_id
        })
        .collect();
    rig.events();
    rig.respond(ids[0].0, ControlResponseCode::Error, 0, "late");
    assert_eq!(rig.events(), []);
    rig.respond(ids[1].0, ControlResponseCode::Error, 0, "late");
    assert_eq!(rig.events().len(), 1);
}

#[test]
fn a_long_error_message_is_cut() {
    let mut rig = Rig::connected();
    let correlation_id = rig.client.stop_position(3, rig.now_ns).unwrap();
    rig.respond(correlation_id.0, ControlResponseCode::Error, 0, &"x".repeat(100_000));
    match rig.events().as_slice() {
        [ArchiveEvent::Error { message, .. }] => assert_eq!(message.len(), 1024),
        other => panic!("expected one error, got {other:?}"),
    }
}

#[test]
fn asking_for_a_position_again_and_again_needs_no_new_memory() {
    let mut rig = Rig::connected();
    let mut answer = Vec::new();
    let mut ask = |rig: &mut Rig| {
        let correlation_id = rig.client.max_recorded_position(3, rig.now_ns).unwrap();
        let request = rig.client.poll_request().unwrap();
        let address = request.as_ptr();
        assert_eq!(
            ArchiveRequest::decode(request),
            Ok(ArchiveRequest::MaxRecordedPosition(MaxRecordedPositionRequest {
                control_session_id: SESSION,
                correlation_id: correlation_id.0,
                recording_id: 3,
            }))
        );
        rig.client.request_sent();
        answer.clear();
        response(correlation_id.0, ControlResponseCode::Ok, 4096, "").encode(&mut answer);
        rig.client.on_message(&answer, rig.now_ns);
        assert!(matches!(rig.client.poll_event(), Some(ArchiveEvent::Response { relevant_id: 4096, .. })));
        let client = &rig.client;
        (address, client.events.capacity(), client.pending.capacity(), client.replays.capacity())
    };
    let first = ask(&mut rig);
    for _ in 0..1000 {
        assert_eq!(ask(&mut rig), first);
    }
}

#[test]
fn a_correlation_id_is_never_the_null_value() {
    let mut rig = Rig::connected();
    rig.client.next_correlation_id = -2;
    assert_eq!(rig.client.stop_position(3, 5), Ok(CorrelationId(-2)));
    assert_eq!(rig.client.stop_position(3, 5), Ok(CorrelationId(0)));
    rig.client.next_correlation_id = i64::MAX;
    assert_eq!(rig.client.stop_position(3, 5), Ok(CorrelationId(i64::MAX)));
    assert_eq!(rig.client.stop_position(3, 5), Ok(CorrelationId(i64::MIN)));
}

#[test]
fn credentials_are_not_printed() {
    let rig = Rig::new(Credentials::Simple(b"hunter2".into()));
    let printed = format!("{:?}", rig.client);
    let bytes = format!("{:?}", b"hunter2");
    assert!(!printed.contains("hunter2") && !printed.contains(&bytes), "{printed}");
}

proptest! {
    #[test]
    fn whatever_an_archive_says_the_client_holds_its_bounds(
        script in prop::collection::vec((0_u8..8, 0_i64..6, -2_i64..20, 0_i32..5, any::<bool>()), 0..400),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut rig = Rig::new(Credentials::ChallengeResponse { initial: vec![], answer: vec![1] });
        rig.client.on_connected(rig.now_ns);
        let params = ReplayParams::new(1, 100, "aeron:udp?endpoint=h:2");
        for (step, offset, relevant_id, code, is_drained) in script {
            let correlation_id = rig.client.next_correlation_id - offset;
            match step {
                0 => rig.respond(correlation_id, ControlResponseCode::from_i32(code), relevant_id, "words"),
                1 => rig.describe(CorrelationId(correlation_id), relevant_id),
                2 => rig.client.on_message(&noise, rig.now_ns),
                3 => drop(rig.client.list_recordings(0, 3, rig.now_ns)),
                4 => drop(rig.client.bounded_replay(&params, 44, rig.now_ns)),
                5 => drop(rig.client.stop_replay(relevant_id, rig.now_ns)),
                6 => rig.pass(TIMEOUT_NS / 8),
                _ => rig.hear(|out| {
                    Challenge {
                        control_session_id: SESSION,
                        correlation_id,
                        version: ARCHIVE_PROTOCOL_VERSION,
                        encoded_challenge: &[],
                    }
                    .encode(out);
                }),
            }
            if is_drained {
                rig.sent_ids();
                rig.events();
            }
            prop_assert!(rig.client.events.len() <= EVENTS_MAX + 1);
            prop_assert!(rig.client.pending.len() <= REQUESTS_MAX);
            prop_assert!(rig.client.replays.len() <= REPLAYS_MAX);
            prop_assert!(rig.client.outgoing.len() <= OUTGOING_MAX);
        }
    }
}
