use consensus_tap::file::cnc::counters as kinds;

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;

fn small() -> CncSettings {
    CncSettings { counter_capacity: 64, error_log_length: 4096, ..CncSettings::default() }
}

#[test]
fn a_reader_finds_counters_by_type_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, mut counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let commit = counters.allocate_for_cluster(kinds::COMMIT_POSITION, "Cluster commit-pos:", 3, 96).unwrap();
    let applied = counters.allocate_kind(&kinds::APPLIED_POSITION, 3, Some(1)).unwrap();
    commit.set_ordered(4096);
    applied.add(64);
    let reader = CncReader::open(directory.path()).unwrap();
    let found = reader.find(kinds::COMMIT_POSITION, &3i32.to_le_bytes()).unwrap();
    assert_eq!((found.id, found.value), (46, 4096));
    assert_eq!(found.label, "Cluster commit-pos: - clusterId=3");
    assert_eq!(reader.find(kinds::COMMIT_POSITION, &4i32.to_le_bytes()), None);
    let found = reader.find(kinds::APPLIED_POSITION.type_id, &[3, 0, 0, 0, 1, 0, 0, 0]).unwrap();
    assert_eq!((found.id, found.value), (47, 64));
    assert_eq!(reader.pid(), i64::from(std::process::id()));
    assert_eq!(reader.version(), 512);
    assert_eq!(reader.start_timestamp_ms(), NOW_MS);
}

#[test]
fn system_counters_have_their_own_ids() {
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    counters.system_counter(kinds::SYSTEM_NAKS_SENT).add(3);
    let records: Vec<_> = CncReader::open(directory.path()).unwrap().counters().collect();
    assert_eq!(records.len(), 46);
    for (id, record) in records.iter().enumerate() {
        assert_eq!((record.id, record.type_id), (id as i32, 0));
        assert_eq!(record.key[..4], (id as i32).to_le_bytes());
        assert_eq!((record.registration_id, record.owner_id), (id as i64, -1));
    }
    assert_eq!((records[5].label.as_str(), records[5].value), ("NAKs sent", 3));
    assert_eq!(records[43].value, 65536);
    assert!(records[15].label.starts_with("Errors: version="));
}

#[test]
fn a_freed_slot_rests_for_a_second_and_stays_hidden() {
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, mut counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let first = counters.allocate(10_900, b"a", "first", 1).unwrap();
    let second = counters.allocate(10_900, b"b", "second", 2).unwrap();
    let first_id = first.id();
    counters.free(first, NOW_MS);
    let reader = CncReader::open(directory.path()).unwrap();
    // The hole does not hide what comes behind it.
    assert_eq!(reader.find(10_900, b"b").unwrap().id, second.id());
    assert_eq!(reader.find(10_900, b"a"), None);
    let third = counters.allocate_at(10_900, b"c", "third", 3, NOW_MS + 999).unwrap();
    assert_ne!(third.id(), first_id);
    let fourth = counters.allocate_at(10_900, b"d", "4", 4, NOW_MS + 1000).unwrap();
    assert_eq!(fourth.id(), first_id);
    let found = reader.find(10_900, b"d").unwrap();
    assert_eq!((found.label.as_str(), found.value, found.key[1]), ("4", 4, 0));
}

#[test]
fn a_full_table_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, mut counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let mut allocated = 46;
    while counters.allocate(10_900, &[], "x", 0).is_ok() {
        allocated += 1;
    }
    assert_eq!(allocated, 63);
}

#[test]
fn a_toggle_is_flipped_from_outside() {
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, mut counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let toggle = counters
        .allocate_for_cluster(
            kinds::STANDBY_CONTROL_TOGGLE,
            "Standby control toggle",
            0,
            kinds::TOGGLE_NEUTRAL,
        )
        .unwrap();
    let operator = CncReader::open_writable(directory.path()).unwrap();
    let found = operator.find(kinds::STANDBY_CONTROL_TOGGLE, &0i32.to_le_bytes()).unwrap();
    assert!(operator.counter(found.id).compare_and_set(1, 3));
    assert!(!operator.counter(found.id).compare_and_set(1, 2));
    assert_eq!(toggle.get_volatile(), 3);
}

#[test]
fn equal_errors_are_one_entry_with_a_count() {
    let directory = tempfile::tempdir().unwrap();
    let (cnc, counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let log = cnc.error_log();
    assert!(log.record("source lost", NOW_MS));
    assert!(log.record("disk full", NOW_MS + 1));
    assert!(log.record("source lost", NOW_MS + 2));
    let errors = CncReader::open(directory.path()).unwrap().errors();
    let entry = |text: &str, count, first, last| ErrorEntry {
        text: text.to_owned(),
        count,
        first_timestamp_ms: NOW_MS + first,
        last_timestamp_ms: NOW_MS + last,
    };
    assert_eq!(errors, [entry("source lost", 2, 0, 2), entry("disk full", 1, 1, 1)]);
    assert_eq!(counters.system_counter(kinds::SYSTEM_ERRORS).get(), 3);

    // One that does not fit is counted, and the known ones still are.
    assert!(!log.record(&"x".repeat(4096), NOW_MS));
    assert!(log.record("disk full", NOW_MS + 3));
    assert_eq!(CncReader::open(directory.path()).unwrap().errors()[1].count, 2);
}

#[test]
fn an_error_log_filled_to_its_last_byte_reads_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (cnc, _counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let log = cnc.error_log();
    assert!(log.record(&"a".repeat(2048 - 24), NOW_MS));
    assert!(log.record_last(&"b".repeat(2048 - 24), NOW_MS));
    assert!(!log.record("c", NOW_MS));
    assert_eq!(CncReader::open(directory.path()).unwrap().errors().len(), 2);
}

#[test]
fn a_directory_is_taken_over_only_from_the_dead() {
    let directory = tempfile::tempdir().unwrap();
    let (cnc, _counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let refused = CncFile::create(directory.path(), &small(), NOW_MS + LIVENESS_TIMEOUT_MS).unwrap_err();
    assert!(matches!(refused, CncError::InUse { age_ms: LIVENESS_TIMEOUT_MS, .. }), "{refused}");
    assert!(CncFile::create(directory.path(), &small(), NOW_MS + LIVENESS_TIMEOUT_MS + 1).is_ok());
    drop(cnc);
    assert!(CncFile::create(directory.path(), &small(), NOW_MS).is_ok());
}

#[test]
fn what_a_killed_process_left_is_taken_over_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, _counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let killed = Holder { pid: std::process::id(), start_timestamp_ms: NOW_MS };
    let create = |gone| CncFile::create_after(&[gone], directory.path(), &small(), NOW_MS + 1).map(drop);
    let recycled = Holder { start_timestamp_ms: NOW_MS - 1, ..killed };
    assert!(matches!(create(recycled), Err(CncError::InUse { .. })));
    assert!(create(killed).is_ok());
}

#[test]
fn closing_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (cnc, _counters) = CncFile::create(directory.path(), &small(), NOW_MS).unwrap();
    let reader = CncReader::open(directory.path()).unwrap();
    assert_eq!(reader.heartbeat_age_ms(NOW_MS + 5), Some(5));
    cnc.heartbeat(NOW_MS + 1000);
    assert!(reader.is_alive(NOW_MS + 11_000));
    assert!(!reader.is_alive(NOW_MS + 11_001));
    drop(cnc);
    assert_eq!(reader.heartbeat_age_ms(NOW_MS + 1000), None);
    assert!(!reader.is_alive(NOW_MS + 1000));
}

#[test]
fn a_file_that_is_no_cnc_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(CncReader::open(directory.path()), Err(CncError::Map(_))));
    let path = directory.path().join(CNC_FILE_NAME);
    std::fs::write(&path, [0; 64]).unwrap();
    let truncated = CncReader::open(directory.path()).unwrap_err();
    assert!(matches!(truncated, CncError::Format { source: CncFormatError::Truncated, .. }));
    std::fs::write(&path, [0; 4096]).unwrap();
    let not_ready = CncReader::open(directory.path()).unwrap_err();
    assert!(matches!(not_ready, CncError::Format { source: CncFormatError::NotReady, .. }));
    // Nobody lives there.
    assert!(CncFile::create(directory.path(), &small(), NOW_MS).is_ok());
}
