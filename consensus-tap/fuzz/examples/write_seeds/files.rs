//! Files and recordings.

use super::log::*;
use super::*;

pub(super) fn files() {
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
            file_sync_level: 0,
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
        log_term_count: 17,
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

pub(super) fn recordings() {
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
