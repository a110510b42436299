//! Scripts: what happens to a server, a client, a leader, step by step.

use super::log::*;
use super::*;

const SESSION_OF_THE_LEADER: i64 = 1;

pub(super) fn scripts() {
    let response = |correlation_id: i64, relevant_id: i64, code| {
        let mut bytes = Vec::new();
        ControlResponse {
            control_session_id: 77,
            correlation_id,
            relevant_id,
            code,
            version: ARCHIVE_PROTOCOL_VERSION,
            error_message: "words",
        }
        .encode(&mut bytes);
        bytes
    };
    let seed = ARCHIVE_CORRELATION_SEED;
    let mut script = Vec::new();
    for (request, answer) in [
        (None, response(seed, 77, ControlResponseCode::Ok)),
        (None, response(seed + 1, 9, ControlResponseCode::Ok)),
        (Some(224), response(seed + 3, 901, ControlResponseCode::Ok)),
        (Some(216), response(seed + 4, 4096, ControlResponseCode::Ok)),
        (Some(208), response(seed + 5, 3, ControlResponseCode::RecordingUnknown)),
        (Some(192), response(seed + 6, 5, ControlResponseCode::Error)),
    ] {
        script.extend(request);
        block(&mut script, 0, &answer);
    }
    script.push(255);
    write("archive_client", "session", &script);

    serving();

    let setup = Setup {
        flags: 0,
        term_offset: 0,
        session_id: 7,
        stream_id: 108,
        initial_term_id: 0,
        active_term_id: 0,
        term_length: 64 << 10,
        mtu: 1408,
        ttl: 0,
    };
    let mut stream = Stream { stream_id: 108, bytes: Vec::new() };
    stream.message(b"hello");
    stream.message(&[3; 900]);
    let second = stream.bytes.len();
    stream.message(&[4; 100]);
    let data = |range: std::ops::Range<usize>| stream.bytes[range].to_vec();
    let mut script = Vec::new();
    block(&mut script, 0, &setup.encode());
    block(&mut script, 64, &data(0..second));
    block(&mut script, 64, &data(second..stream.bytes.len()));
    block(&mut script, 64, &data(0..second));
    write("tap_datagrams", "consensus-stream", &script);
    let mut script = Vec::new();
    block(&mut script, 0, &setup.encode());
    // A gap first, which is asked for and filled.
    block(&mut script, 64, &data(second..stream.bytes.len()));
    block(&mut script, 128, &data(0..second));
    // The publication's receiver: connects, misses something, leaves.
    let (message, length) = status_message_of(0).encode();
    block(&mut script, 0b0110_0000, &message[..length]);
    block(&mut script, 0b0110_0000, &Setup { session_id: 5, stream_id: 100, ..setup }.encode());
    let nak = Nak { session_id: 9, stream_id: 10, term_id: 0, term_offset: 0, length: 1408 };
    block(&mut script, 64, &nak.encode());
    let (message, length) = status_message_of(status_message::END_OF_STREAM).encode();
    block(&mut script, 0, &message[..length]);
    write("endpoint", "both-ways", &script);

    write("tap_conversation", "honest", &[0; 64]);
    write("tap_conversation", "from-the-beginning", &[1]);
    let falsified: Vec<u8> = (0..600_u32).flat_map(|at| [0, 0, 0, (at * 37 % 256) as u8]).collect();
    write("tap_conversation", "falsified", &falsified);
    write("tap_conversation", "falsified-with-a-slow-disk", &[&[0x10], falsified.as_slice()].concat());
}

/// A standby that is asked by others, and one that announces its snapshots.
pub(super) fn serving() {
    let channel = "aeron:udp?endpoint=10.0.0.2:9000";
    let (correlation_id, response_stream_id) = (7, 108);
    let message = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        bytes
    };
    let query = BackupQuery {
        correlation_id,
        response_stream_id,
        version: CLUSTER_PROTOCOL_VERSION,
        log_position: ANY_LOG_POSITION,
        response_channel: channel,
        encoded_credentials: Secret(b""),
    };
    let heartbeat = HeartbeatRequest {
        correlation_id: 8,
        response_stream_id,
        response_channel: channel,
        encoded_credentials: Secret(b""),
    };
    let answer = ChallengeResponse {
        correlation_id: 9,
        cluster_session_id: 1,
        encoded_credentials: Secret(b"answer"),
    };
    let mut script = vec![249];
    block(&mut script, 0, &message(&|out| query.encode(out)));
    script.extend([224, 224]);
    block(&mut script, 0, &message(&|out| answer.encode(out)));
    block(&mut script, 0, &message(&|out| heartbeat.encode(out)));
    script.extend([224, 224]);
    write("consensus_server", "asked", &script);

    let refusal = SessionEvent {
        cluster_session_id: -1,
        correlation_id: 1,
        leadership_term_id: 0,
        leader_member_id: 0,
        code: EventCode::Error,
        version: CLUSTER_PROTOCOL_VERSION,
        leader_heartbeat_timeout_ns: 0,
        detail: "Not configured to accept StandbySnapshot",
    };
    let challenge = Challenge { correlation_id: 1, cluster_session_id: -1, encoded_challenge: b"who" };
    write("announcer", "taken", &[224, 224, 192, 224, 208, 2, 224, 192, 224, 224, 224]);
    let mut script = vec![224, 224];
    block(&mut script, 0, &message(&|out| challenge.encode(out)));
    script.extend([224, 192]);
    write("announcer", "challenged", &script);
    let mut script = vec![224, 224];
    block(&mut script, 0, &message(&|out| refusal.encode(out)));
    script.push(192);
    write("announcer", "refused", &script);
}

pub(super) fn cluster_client() {
    let offer = [192, 5, 0, b'h', b'e', b'l', b'l', b'o'];
    // Time for the streams to meet, the request, its answer.
    let opened = [160, 1, 160, 1, 160, 1, 112, 160, 1];
    write("cluster_client", "a_session", &[&opened[..], &offer, &[224, 1, 160, 20, 240, 160, 1]].concat());
    let new_leader = [152, 3, 160, 1, 160, 1];
    write("cluster_client", "a_new_leader", &[&opened[..], &new_leader, &offer].concat());
    write("cluster_client", "redirected", &[160, 1, 160, 1, 160, 1, 128, 160, 1, 112, 160, 60]);
    write("cluster_client", "challenged", &[160, 1, 160, 1, 160, 1, 144, 160, 1, 112, 160, 1]);
    write("cluster_client", "left_alone", &[&opened[..], &[176, 160, 120, 160, 255, 160, 255]].concat());
    let header = SessionMessageHeader { leadership_term_id: 0, cluster_session_id: 5, timestamp: 9 };
    let mut reply = Vec::new();
    header.encode(&mut reply);
    reply.extend(b"reply");
    let mut script = opened.to_vec();
    block(&mut script, 0, &reply);
    script.extend([136, 4]);
    write("cluster_client", "replied_and_closed", &script);
}

pub(super) fn leader() {
    let message = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        bytes
    };
    let session = SESSION_OF_THE_LEADER;
    let connect = SessionConnectRequest {
        correlation_id: 1,
        response_stream_id: 102,
        version: CLUSTER_PROTOCOL_VERSION,
        response_channel: "aeron:udp?endpoint=10.0.0.2:9000",
        encoded_credentials: Secret(b"admin:admin"),
        client_info: "name=test",
    };
    let answer = ChallengeResponse {
        correlation_id: 2,
        cluster_session_id: session,
        encoded_credentials: Secret(b"answer"),
    };
    let header = SessionMessageHeader { leadership_term_id: 0, cluster_session_id: session, timestamp: 0 };
    let keep_alive = SessionKeepAlive { leadership_term_id: 0, cluster_session_id: session };
    let close = SessionCloseRequest { leadership_term_id: 0, cluster_session_id: session };
    let admin = AdminRequest {
        leadership_term_id: 0,
        cluster_session_id: session,
        correlation_id: 3,
        request_type: AdminRequestType::Snapshot,
        payload: &[],
    };
    let mut opened = vec![160, 1];
    block(&mut opened, 0, &message(&|out| connect.encode(out)));
    opened.extend([160, 1, 160, 1]);
    block(&mut opened, 0, &message(&|out| answer.encode(out)));
    opened.extend([160, 1, 160, 1]);
    block(&mut opened, 0, &message(&|out| header.encode(out)));

    let mut script = opened.clone();
    block(&mut script, 0, &message(&|out| keep_alive.encode(out)));
    block(&mut script, 0, &message(&|out| admin.encode(out)));
    script.extend([224, 1]);
    script.extend(5_u16.to_le_bytes());
    script.extend(b"reply");
    block(&mut script, 0, &message(&|out| close.encode(out)));
    write("leader", "a_session", &script);

    let mut script = opened.clone();
    script.extend([208, 0, 208, 2, 208, 4]);
    script.extend(3_u16.to_le_bytes());
    script.extend(b"abc");
    script.extend([208, 5, 160, 20, 160, 20]);
    write("leader", "a_service", &script);

    let mut script = opened;
    script.extend([192, 0, 176]);
    block(&mut script, 0, &message(&|out| header.encode(out)));
    script.extend([192, 1, 176, 160, 1, 184, 160, 120]);
    write("leader", "suspended", &script);
}

/// A step of a script: a byte, then a block.
pub(super) fn block(script: &mut Vec<u8>, step: u8, bytes: &[u8]) {
    script.push(step);
    script.extend((bytes.len() as u16).to_le_bytes());
    script.extend_from_slice(bytes);
}

/// Clients of an archive. The session id is filled in by the target, at odd steps.
pub(super) fn archive_server() {
    const REQUEST: u8 = 1;
    const QUARTER_SECOND: u8 = 192;
    const THREE_SECONDS: u8 = 240;
    let (control_session_id, correlation_id) = (0, 9);
    let message = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        bytes
    };
    let replay = |recording_id, replay_channel| ReplayRequest {
        control_session_id,
        correlation_id,
        recording_id,
        position: 64,
        length: REPLAY_ALL_AND_FOLLOW,
        replay_stream_id: 33,
        file_io_max_length: -1,
        replay_token: -1,
        replay_channel,
    };
    let list =
        ListRecordingsRequest { control_session_id, correlation_id, from_recording_id: 0, record_count: 5 };
    let list_for_uri = ListRecordingsForUriRequest {
        control_session_id,
        correlation_id,
        from_recording_id: 0,
        record_count: 5,
        stream_id: 100,
        channel: "alias",
    };
    let mut asked = Vec::new();
    for request in [
        message(&|out| KeepAliveRequest { control_session_id, correlation_id: -1 }.encode(out)),
        message(&|out| ArchiveIdRequest { control_session_id, correlation_id }.encode(out)),
        message(&|out| list.encode(out)),
        message(&|out| list_for_uri.encode(out)),
        message(&|out| {
            ListRecordingRequest { control_session_id, correlation_id, recording_id: 1 }.encode(out);
        }),
        message(&|out| {
            MaxRecordedPositionRequest { control_session_id, correlation_id, recording_id: 2 }.encode(out);
        }),
        // Start recording, which is refused.
        vec![
            24, 0, 4, 0, 101, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0,
        ],
        message(&|out| CloseSessionRequest { control_session_id }.encode(out)),
    ] {
        block(&mut asked, REQUEST, &request);
    }
    write("archive_server", "asked", &asked);

    let channel = "aeron:udp?endpoint=127.0.0.1:2";
    let mut replayed = Vec::new();
    block(&mut replayed, REQUEST, &message(&|out| replay(1, channel).encode(out)));
    block(&mut replayed, REQUEST, &message(&|out| replay(2, channel).encode(out)));
    replayed.extend([QUARTER_SECOND, QUARTER_SECOND]);
    let bounded = BoundedReplayRequest {
        control_session_id,
        correlation_id,
        recording_id: 2,
        position: -1,
        length: 1_000,
        limit_counter_id: 7,
        replay_stream_id: 33,
        file_io_max_length: 4096,
        replay_token: -1,
        replay_channel: "aeron:udp?endpoint=127.0.0.1:2|session-id=8|linger=1s|eos=false",
    };
    block(&mut replayed, REQUEST, &message(&|out| bounded.encode(out)));
    let stop = StopReplayRequest { control_session_id, correlation_id, replay_session_id: 1 << 32 };
    block(&mut replayed, REQUEST, &message(&|out| stop.encode(out)));
    let stop_all = StopAllReplaysRequest { control_session_id, correlation_id, recording_id: -1 };
    block(&mut replayed, REQUEST, &message(&|out| stop_all.encode(out)));
    replayed.push(THREE_SECONDS);
    block(&mut replayed, REQUEST, &message(&|out| replay(1, "aeron:udp?endpoint=127.0.0.1:9").encode(out)));
    replayed.extend([THREE_SECONDS, THREE_SECONDS]);
    write("archive_server", "replayed", &replayed);

    let connect = |response_channel| AuthConnectRequest {
        correlation_id,
        response_stream_id: 20,
        version: ARCHIVE_PROTOCOL_VERSION,
        response_channel,
        encoded_credentials: Secret(b"u:p"),
        client_info: "name=x",
    };
    let mut connected = Vec::new();
    for response_channel in [channel, "aeron:udp?endpoint=127.0.0.1:2|session-id=5", "aeron:ipc", channel] {
        block(&mut connected, 0, &message(&|out| connect(response_channel).encode(out)));
    }
    connected.extend([THREE_SECONDS, THREE_SECONDS]);
    write("archive_server", "connected", &connected);
}
