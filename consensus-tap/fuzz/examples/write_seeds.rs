//! Writes the seeds that no unit test holds as one official string: files, recordings and scripts.
//!
//! `cargo run -p consensus-tap-fuzz --example write_seeds`, from any directory. The seeds called `official-…` are
//! bytes of Java's encoders, copied from the unit tests.

use std::fs;
use std::path::Path;

use consensus_tap::codec::archive_control::{
    ARCHIVE_PROTOCOL_VERSION, ArchiveIdRequest, AuthConnectRequest, BoundedReplayRequest,
    CloseSessionRequest, ControlResponse, ControlResponseCode, KeepAliveRequest, ListRecordingRequest,
    ListRecordingsForUriRequest, ListRecordingsRequest, MaxRecordedPositionRequest, REPLAY_ALL_AND_FOLLOW,
    ReplayRequest, StopAllReplaysRequest, StopReplayRequest,
};
use consensus_tap::codec::consensus::{ANY_LOG_POSITION, BackupQuery, HeartbeatRequest};
use consensus_tap::codec::log::{
    CloseReason, ClusterAction, ClusterActionRequest, ClusterTimeUnit, NewLeadershipTermEvent,
    SessionCloseEvent, SessionMessage, SessionOpenEvent, TimerEvent, service_session_id,
};
use consensus_tap::codec::message::Secret;
use consensus_tap::codec::session::{
    AdminRequest, AdminRequestType, CLUSTER_PROTOCOL_VERSION, Challenge, ChallengeResponse, EventCode,
    SessionCloseRequest, SessionConnectRequest, SessionEvent, SessionKeepAlive, SessionMessageHeader,
};
use consensus_tap::codec::snapshot::{
    ClientSession, ClusterSession, ConsensusModule, PendingMessageTracker, ServiceCounters, SnapshotMark,
    SnapshotMarker, Timer,
};
use consensus_tap::codec::standby::StandbyBeacon;
use consensus_tap::file::activation::{Activation, ActivationPhase, ActivationRecord};
use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::catalog::{Descriptor, Header, RecordState};
use consensus_tap::file::cluster_mark::ClusterMark;
use consensus_tap::file::cnc::{CNC_VERSION, CncIdentity, CncLayout};
use consensus_tap::file::error_log::ErrorLog;
use consensus_tap::file::node_state::{CandidateTerm, NodeState};
use consensus_tap::file::recording_log::{Entry, EntryKind};
use consensus_tap::wire::data::{BEGIN, END, HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{
    DataHeader, FrameType, Nak, ResponseSetup, Rttm, Setup, StatusMessage, align, rttm, status_message,
};
use consensus_tap_fuzz::{ARCHIVE_CORRELATION_SEED, TERMS};

fn main() {
    wire();
    texts();
    files();
    recordings();
    scripts();
    archive_server();
    cluster_client();
    leader();
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory).expect("the corpus directory");
    fs::write(directory.join(name), bytes).expect("a seed");
}

fn wire() {
    let rttm = Rttm {
        flags: rttm::REPLY,
        session_id: 1,
        stream_id: 2,
        echo_timestamp_ns: 3,
        reception_delta_ns: 4,
        receiver_id: 5,
    };
    write("wire_rttm", "request", &rttm.encode());
    let setup = ResponseSetup { session_id: 1, stream_id: 2, response_session_id: 3 };
    write("wire_response_setup", "setup", &setup.encode());
    let tagged = StatusMessage { group_tag: Some(9), ..status_message_of(0) };
    write("wire_status_message", "group-tag", &tagged.encode().0);
    let mut resolution = vec![51, 0, 0, 0, 0, 0, 7, 0];
    resolution.extend([1, 0x80, 0, 0x50, 1, 0, 0, 0, 127, 0, 0, 1, 2, 0, b'a', b'b']);
    resolution.extend([2, 0, 0, 0x50, 2, 0, 0, 0]);
    resolution.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, b'c']);
    write("wire_resolution", "two-entries", &resolution);
    let mut stream = Stream::default();
    stream.message(b"one");
    stream.message(b"and two");
    write("wire_data", "two-frames", &stream.bytes);
}

fn texts() {
    write("host_port", "name", b"node0.example:9003");
    write("host_port", "ipv4", b"127.0.0.1:20110");
    write("host_port", "ipv6", b"[fe80::1%eth0]:9003");
    write("channel_uri", "endpoint", b"aeron:udp?endpoint=localhost:20121|session-id=-7");
    write(
        "channel_uri",
        "every-key",
        b"aeron:udp?endpoint=[::1]:1|control=h:2|control-mode=dynamic|init-term-id=3|term-id=4|term-offset=64|\
          term-length=64k|mtu=1408|linger=5s|pub-wnd=32k|rcv-wnd=128k|so-rcvbuf=2m|so-sndbuf=1m|ttl=4|group=true|\
          gtag=9|eos=false|reliable=false|rejoin=false|tether=false|sparse=true|ssc=true|nak-delay=100us|\
          session-id=tag:8|stream-id=100|alias=x",
    );
    write("channel_uri", "ipc", b"aeron:ipc?term-length=128k");
    write("channel_uri", "spy", b"aeron-spy:aeron:udp?endpoint=h:1");
    write(
        "cluster_members",
        "three",
        b"0,a:1,a:2,a:3,a:4,a:5|1,b:1,b:2,b:3,b:4,b:5,b:6|2,c:1,c:2,c:3,c:4,c:5,c:6,c:7",
    );
    write("network", "ipv4", b"10.1.0.0/16");
    write("network", "ipv6", b"fd00::/8");
    write("cluster_members", "ingress", b"0=a:1,1=b:1,2=c:1");
}

fn files() {
    let entry = |recording_id: i64, service_id: i32, kind: EntryKind, valid: bool| Entry {
        recording_id,
        leadership_term_id: 0,
        term_base_log_position: 0,
        log_position: if kind == EntryKind::Term { -1 } else { 4096 },
        timestamp: 1000,
        service_id,
        kind,
        valid,
    };
    let endpoint = "host:10001".to_owned();
    let rows = [
        entry(7, -1, EntryKind::Term, true),
        entry(20, 0, EntryKind::Snapshot, true),
        entry(19, -1, EntryKind::Snapshot, true),
        entry(21, 0, EntryKind::StandbySnapshot { endpoint }, true),
        entry(22, -1, EntryKind::Snapshot, false),
    ];
    let image: Vec<u8> = rows.iter().flat_map(|row| row.encode().expect("a row")).collect();
    write("recording_log", "term-and-snapshots", &image);

    let descriptor = |recording_id: i64, stop_position: i64| Descriptor {
        recording_id,
        stop_position,
        start_timestamp: 1000,
        stop_timestamp: -1,
        segment_file_length: 128 << 20,
        term_buffer_length: 64 << 10,
        mtu_length: 1408,
        session_id: 5,
        stream_id: 100,
        stripped_channel: "aeron:udp?endpoint=a:1".to_owned(),
        original_channel: "aeron:udp?endpoint=a:1|alias=log".to_owned(),
        source_identity: "a:1".to_owned(),
        ..Descriptor::default()
    };
    let mut image = Header::new(3).encode().to_vec();
    for (id, stop_position, state) in
        [(0, -1, RecordState::Valid), (1, 4096, RecordState::Deleted), (2, 32, RecordState::Invalid)]
    {
        image.extend(descriptor(id, stop_position).encode_record(state, 32).expect("a record"));
    }
    write("catalog", "three-records", &image);

    let archive_mark =
        ArchiveMark { control_channel: "aeron:udp?endpoint=a:1".to_owned(), ..Default::default() };
    // The header alone: what lies behind its strings is zero.
    write("archive_mark", "header", &archive_mark.encode().expect("a mark")[..512]);
    let cluster_mark = ClusterMark { service_name: "audit".to_owned(), ..Default::default() };
    write("cluster_mark", "header", &cluster_mark.encode().expect("a mark")[..512]);
    let activation = Activation {
        record: Some(ActivationRecord {
            phase: ActivationPhase::Leading,
            leadership_term_id: 17,
            base_log_position: 4096,
            claim_id: 5,
            log_recording_id: 3,
            forced_checks: 9,
            time_ms: 1,
        }),
        grant: Some((101, 7)),
        cluster_members: "0,a:1,b:1,c:1,d:1,e:1".to_owned(),
    };
    write("activation", "leading", &activation.encode());
    write("activation", "none", &Activation::default().encode());
    let mut beacon = Vec::new();
    StandbyBeacon {
        member_id: 100,
        state: 3,
        incarnation: 1,
        sequence: 9,
        leadership_term_id: 17,
        log_position: 4096,
        claim_id: 5,
        grant_claim_id: 7,
        grant_member_id: 101,
        cluster_id: 0,
        reserved: 0,
        encoded_credentials: Secret(b"u:p"),
    }
    .encode(&mut beacon);
    write("standby_beacon", "claiming", &beacon);
    write("node_state", "fresh", &NodeState::encode_new(CandidateTerm::default()));

    let mut region = vec![0; 256];
    let mut log = ErrorLog::new(region.len());
    for (text, now_ms) in [("one", 10), ("two, longer", 11), ("one", 12)] {
        for edit in log.observe(text, now_ms).expect("room") {
            let at = usize::try_from(edit.offset).expect("small");
            region[at..at + edit.bytes.len()].copy_from_slice(&edit.bytes);
        }
    }
    write("error_log", "two-errors", &region);

    // A file with the smallest sections that there can be, so that mutations of its header matter.
    let identity =
        CncIdentity { client_liveness_timeout_ns: 10_000_000_000, start_timestamp_ms: 1, pid: 4242 };
    let mut header = CncLayout::new(64, 4096).encode(&identity);
    header[..4].copy_from_slice(&CNC_VERSION.to_le_bytes());
    write("cnc", "header-of-a-larger-file", &header);
    let mut small = header.to_vec();
    for (at, length) in [(4, 776_i32), (8, 136), (12, 512), (16, 128), (20, 64)] {
        small[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    small.resize(4096, 0);
    write("cnc", "small", &small);
}

fn recordings() {
    let mut log = Stream::default();
    for message in log_messages() {
        log.message(&message);
    }
    write("log_reader", "one-of-each", &log.bytes);
    write("fragment_assembler", "one-of-each", &[&[64], log.bytes.as_slice()].concat());
    let mut padded = Stream::default();
    padded.message(&log_messages()[0]);
    for _ in 0..5 {
        padded.message(&log_messages()[1]);
    }
    padded.pad();
    padded.message(&log_messages()[1]);
    // Padding is nearly a whole term of zeros, too much for a seed; the frame itself ends the run here.
    padded.bytes.truncate(4096);
    write("log_reader", "padding-cut-off", &padded.bytes);

    let mut file = vec![0, 0, 0, 0, 0, 0, 0, 0];
    file.extend_from_slice(&log.bytes);
    file.resize(8 + log.bytes.len() + 256, 0);
    write("segment", "written-in-part", &file);
    write("segment", "name", b"7-134217728.rec");

    let mut module = Stream::default();
    for message in snapshot_messages(1) {
        module.message(&message);
    }
    write("module_snapshot", "one-of-each", &module.bytes);
    let mut service = Stream::default();
    let mut session = Vec::new();
    ClientSession {
        cluster_session_id: 1,
        response_stream_id: 102,
        response_channel: "aeron:udp",
        encoded_principal: b"p",
    }
    .encode(&mut session);
    let marker = |mark| {
        let mut bytes = Vec::new();
        SnapshotMarker {
            type_id: 2,
            log_position: 4096,
            leadership_term_id: 0,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        }
        .encode(&mut bytes);
        bytes
    };
    for message in [marker(SnapshotMark::Begin), session, marker(SnapshotMark::End), vec![7; 3000]] {
        service.message(&message);
    }
    write("service_snapshot", "one-session", &service.bytes);
}

fn scripts() {
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

fn status_message_of(flags: u8) -> StatusMessage {
    StatusMessage {
        flags,
        session_id: 9,
        stream_id: 10,
        consumption_term_id: 0,
        consumption_term_offset: 0,
        receiver_window: 32 << 10,
        receiver_id: 3,
        group_tag: None,
    }
}

/// A step of a script: a byte, then a block.
/// A standby that is asked by others, and one that announces its snapshots.
fn serving() {
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

fn cluster_client() {
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

fn leader() {
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

const SESSION_OF_THE_LEADER: i64 = 1;

fn block(script: &mut Vec<u8>, step: u8, bytes: &[u8]) {
    script.push(step);
    script.extend((bytes.len() as u16).to_le_bytes());
    script.extend_from_slice(bytes);
}

/// One event of each kind. The positions that events bear are those at which [`Stream`] puts them.
fn log_messages() -> Vec<Vec<u8>> {
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

fn snapshot_messages(type_id: i64) -> Vec<Vec<u8>> {
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
struct Stream {
    stream_id: i32,
    bytes: Vec<u8>,
}

impl Default for Stream {
    fn default() -> Self {
        Self { stream_id: 100, bytes: Vec::new() }
    }
}

impl Stream {
    fn message(&mut self, message: &[u8]) {
        const PAYLOAD_MAX: usize = 1408 - HEADER_LENGTH;
        let count = message.len().div_ceil(PAYLOAD_MAX);
        for (index, payload) in message.chunks(PAYLOAD_MAX).enumerate() {
            let begin = if index == 0 { BEGIN } else { 0 };
            let end = if index + 1 == count { END } else { 0 };
            self.frame(begin | end, FrameType::Data, payload);
        }
    }

    fn pad(&mut self) {
        let left = TERMS.term_length.bytes() as usize - self.bytes.len();
        self.frame(UNFRAGMENTED, FrameType::Pad, &vec![0; left - HEADER_LENGTH]);
    }

    fn frame(&mut self, flags: u8, frame_type: FrameType, payload: &[u8]) {
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

/// Clients of an archive. The session id is filled in by the target, at odd steps.
fn archive_server() {
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
