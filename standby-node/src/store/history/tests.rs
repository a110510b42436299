use super::*;
use crate::agent::syncer::SyncedLog;
use consensus_tap::wire::{DataHeader, FrameType, data};

const STREAM_ID: i32 = 100;

fn source() -> Recording {
    Recording {
        recording_id: 3,
        start_timestamp: 0,
        stop_timestamp: -1,
        start_position: 0,
        stop_position: -1,
        initial_term_id: 0,
        segment_file_length: 65_536,
        term_buffer_length: 65_536,
        mtu_length: 1408,
        session_id: 1,
        stream_id: STREAM_ID,
        stripped_channel: "aeron:udp".to_owned(),
        original_channel: "aeron:udp".to_owned(),
        source_identity: "a:1".to_owned(),
    }
}

fn frame(position: i64, payload: u8) -> Vec<u8> {
    let header = DataHeader {
        frame_length: 64,
        flags: data::UNFRAGMENTED,
        frame_type: FrameType::Data,
        term_offset: position as i32,
        session_id: 9,
        stream_id: STREAM_ID,
        term_id: 0,
        reserved_value: 0,
    };
    [header.encode().to_vec(), vec![payload; 32]].concat()
}

/// A history whose log was recorded up to 256 and made durable up to 128.
fn recorded(dir: &Path) {
    let directory = NodeDirectory::open(dir, 1).unwrap();
    let mut history = History::open(&directory, SyncLevel::None).unwrap();
    let mut log = history.create_log(0, &source(), None).unwrap().open().unwrap();
    for position in [0, 64, 128, 192] {
        log.writer.append(position, &frame(position, 7)).unwrap();
    }
    log.durability.mark(log.place.recording_id(), 128, false).unwrap();
    let term = NewLeadershipTermEvent {
        leadership_term_id: 0,
        log_position: 96,
        timestamp: 0,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 0,
        time_unit: service_api::ClusterTimeUnit::Millis,
        app_version: 1,
    };
    history.on_leadership_term(log.place.recording_id(), &term).unwrap();
}

fn reopened(dir: &Path) -> OpenedLog {
    let directory = NodeDirectory::open(dir, 2).unwrap();
    History::open(&directory, SyncLevel::None).unwrap().recover_log().unwrap().unwrap()
}

#[test]
fn a_new_log_is_not_begun_over_a_file_that_no_catalog_knows() {
    let dir = tempfile::tempdir().unwrap();
    let directory = NodeDirectory::open(dir.path(), 1).unwrap();
    let mut history = History::open(&directory, SyncLevel::None).unwrap();
    let stale = directory.archive().join("0-0.rec");
    std::fs::write(&stale, [7; 65_536]).unwrap();
    let error = history.create_log(0, &source(), None).unwrap_err().to_string();
    assert!(error.contains("0-0.rec exists already"), "{error}");
    assert_eq!(history.catalog.next_recording_id(), 0, "nothing was entered");
    assert_eq!(std::fs::read(&stale).unwrap(), [7; 65_536]);
    std::fs::remove_file(&stale).unwrap();
    assert!(history.create_log(0, &source(), None).is_ok());
}

#[test]
fn a_node_that_was_killed_before_the_logs_first_row_finds_the_log_and_enters_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = || History::open(&NodeDirectory::open(dir.path(), 1).unwrap(), SyncLevel::None).unwrap();
    let mut history = open();
    let set = SnapshotSet {
        leadership_term_id: 4,
        term_base_log_position: 128,
        log_position: 640,
        timestamp: 7,
        consensus_module: 7,
        services: Vec::new(),
    };
    history.recording_log.append_snapshot_set(&set).unwrap();
    let at_set = Descriptor { start_position: 640, ..active_descriptor(&source()) };
    let recording_id = history.catalog.add(at_set).unwrap();
    let path = history.durability_path.clone();
    DurabilityFile::open_or_create(&path).unwrap().mark(recording_id, 640, false).unwrap();
    drop(history);
    for _ in 0..2 {
        let mut again = open();
        let log = again.recover_log().unwrap().unwrap();
        assert_eq!((log.place.recording_id(), log.writer.recorded_position()), (recording_id, 640));
        let term = again.last_term().unwrap();
        assert_eq!((term.log_recording_id, term.leadership_term_id), (recording_id, 4));
        assert_eq!(again.recording_log.log().rows().len(), 2, "the row was entered once");
    }
}

#[test]
fn a_log_without_a_term_yet_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let directory = NodeDirectory::open(dir.path(), 1).unwrap();
    let mut history = History::open(&directory, SyncLevel::None).unwrap();
    history.create_log(0, &source(), None).unwrap().open().unwrap().writer.append(0, &frame(0, 7)).unwrap();
    drop((history, directory));
    let log = reopened(dir.path());
    assert_eq!((log.place.recording_id(), log.writer.recorded_position()), (0, 64));
}

#[test]
fn what_cannot_be_a_recording_never_enters_the_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let directory = NodeDirectory::open(dir.path(), 1).unwrap();
    let mut history = History::open(&directory, SyncLevel::None).unwrap();
    let odd = Recording { term_buffer_length: 100_000, ..source() };
    assert!(matches!(history.plan_snapshot(&odd), Err(HistoryError::Geometry { .. })));
    assert_eq!(history.catalog.next_recording_id(), 0);
}

#[test]
fn after_a_crash_of_the_process_the_whole_recording_counts() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    assert_eq!(reopened(dir.path()).writer.recorded_position(), 256);
}

#[test]
fn after_a_power_cut_a_tail_counts_as_far_as_a_source_confirms_it() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    after_another_boot(dir.path());

    let mut log = reopened(dir.path());
    assert_eq!((log.writer.recorded_position(), log.tail_end), (128, 256));
    log.writer.append(128, &frame(128, 7)).unwrap();
    log.writer.append(192, &frame(192, 8)).unwrap();
    assert_eq!(log.writer.recorded_position(), 256);
    assert!(log.writer.matches(192, &frame(192, 8)).unwrap(), "the source's word replaces the tail");
    drop(log);

    // Killed before the tail was resolved on the disk: it is not trusted now either.
    assert_eq!(reopened(dir.path()).writer.recorded_position(), 128);
}

#[test]
fn what_is_recorded_in_place_of_a_tail_survives_a_crash_of_the_process() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    after_another_boot(dir.path());

    let OpenedLog { mut writer, syncer, durability, .. } = reopened(dir.path());
    let mut synced = SyncedLog { syncer, durability, tail: writer.tail() };
    synced.sync().unwrap();
    assert!(!writer.tail().is_settled(), "the tail waits for its confirmation");
    writer.discard_tail().unwrap();
    synced.sync().unwrap();
    assert!(writer.tail().is_settled());
    writer.append(128, &frame(128, 9)).unwrap();
    writer.append(192, &frame(192, 9)).unwrap();
    drop((writer, synced));

    let mut log = reopened(dir.path());
    assert_eq!((log.writer.recorded_position(), log.tail_end), (256, 256));
    assert!(log.writer.matches(192, &frame(192, 9)).unwrap());
}

/// Rewrites the mark as one of an earlier boot.
fn after_another_boot(dir: &Path) {
    let path = dir.join("cluster").join("durable-position.dat");
    DurabilityFile::open_or_create(&path).unwrap().mark(0, 128, true).unwrap();
}

#[test]
fn frames_of_a_log_are_of_its_own_stream_and_session() {
    let dir = tempfile::tempdir().unwrap();
    let directory = NodeDirectory::open(dir.path(), 1).unwrap();
    let mut history = History::open(&directory, SyncLevel::None).unwrap();
    let source = Recording { stream_id: 105, session_id: -7, mtu_length: 8192, ..source() };
    let recording_id = history.create_log(0, &source, None).unwrap().open().unwrap().place.recording_id();
    let frames = LogFrames { mtu_length: 8192, session_id: -7, stream_id: 105 };
    assert_eq!(history.log_frames(recording_id).unwrap(), frames);
}

#[test]
fn a_log_that_begins_beyond_what_is_durable_is_damage_and_nothing_of_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    let path = dir.path().join("archive/archive.catalog");
    let mut bytes = std::fs::read(&path).unwrap();
    // Bit 16 of the start position in the first record.
    bytes[32 + 72 + 2] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let directory = NodeDirectory::open(dir.path(), 1).unwrap();
    let error = History::open(&directory, SyncLevel::None).unwrap_err().to_string();
    for word in ["archive.catalog", "begins at 65536", "durable-position.dat", "up to 128", "`reseed`"] {
        assert!(error.contains(word), "no `{word}` in {error}");
    }
    assert!(dir.path().join("archive/0-0.rec").exists());
}
