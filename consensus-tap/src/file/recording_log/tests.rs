use proptest::prelude::*;

use super::*;

/// Four rows in the bytes that Aeron 1.51.0 writes (unused ones zero): TERM, SNAPSHOT of service 0 and of the consensus module, and a
/// STANDBY_SNAPSHOT.
const JAVA_ROWS: &str = "
    0700000000000000 0000000000000000 0000000000000000 ffffffffffffffff e803000000000000 ffffffff 00000000
    0000000000000000 0000000000000000
    1400000000000000 0000000000000000 0000000000000000 0010000000000000 d007000000000000 00000000 01000000
    0000000000000000 0000000000000000
    1300000000000000 0000000000000000 0000000000000000 0010000000000000 d007000000000000 ffffffff 01000000
    0000000000000000 0000000000000000
    1500000000000000 0000000000000000 0000000000000000 0020000000000000 b80b000000000000 00000000 02000000
    0b000000 686f7374303a3130303031 00";

fn java_rows() -> Vec<u8> {
    hex::decode(JAVA_ROWS.split_whitespace().collect::<String>()).unwrap()
}

fn snapshot(recording_id: i64, term: i64, log_position: i64, service_id: i32) -> Entry {
    Entry {
        recording_id,
        leadership_term_id: term,
        term_base_log_position: 0,
        log_position,
        timestamp: 5,
        service_id,
        kind: EntryKind::Snapshot,
        valid: true,
    }
}

fn standby(endpoint: &str) -> Entry {
    let kind = EntryKind::StandbySnapshot { endpoint: endpoint.into() };
    Entry { kind, ..snapshot(21, 0, 8192, 0) }
}

/// A log with the given edits applied, and a proof that it equals a parse of its image.
fn with(mut log: RecordingLog, edits: Vec<Edit>) -> RecordingLog {
    log.apply(&edits);
    assert_eq!(RecordingLog::parse(log.image().to_vec()).unwrap(), log);
    log
}

fn with_term(log: RecordingLog, id: i64, base: i64) -> RecordingLog {
    let edits = log.plan_append_term(7, id, base, 1000).unwrap();
    with(log, edits)
}

fn with_snapshot(log: RecordingLog, entry: &Entry) -> RecordingLog {
    let edits = log.plan_append_snapshot(entry).unwrap();
    with(log, edits)
}

fn terms(log: &RecordingLog) -> Vec<(i64, i64, i64)> {
    let terms = log.rows().iter().map(|row| &row.entry).filter(|entry| entry.kind == EntryKind::Term);
    terms.map(|e| (e.leadership_term_id, e.term_base_log_position, e.log_position)).collect()
}

#[test]
fn rows_of_java_are_read_and_written_the_same() {
    let log = RecordingLog::parse(java_rows()).unwrap();
    let order: Vec<usize> = log.rows().iter().map(|row| row.index).collect();
    assert_eq!(order, [0, 3, 1, 2]);
    assert_eq!(log.rows()[1].offset, 0xc0);
    assert_eq!(log.rows()[1].entry, Entry { timestamp: 3000, ..standby("host0:10001") });
    let mut rows = log.rows().to_vec();
    rows.sort_by_key(|row| row.offset);
    let encoded: Vec<u8> = rows.iter().flat_map(|row| row.entry.encode().unwrap()).collect();
    assert_eq!(encoded, java_rows());
}

#[test]
fn a_new_term_ends_the_one_before_it() {
    let log = with_term(RecordingLog::default(), 0, 0);
    assert_eq!(terms(&log), [(0, 0, NULL_POSITION)]);
    let log = with_term(log, 1, 4096);
    assert_eq!(terms(&log), [(0, 0, 4096), (1, 4096, NULL_POSITION)]);
    assert_eq!(log.log_recording_id(), Some(7));
    assert_eq!(log.last_term().unwrap().entry.leadership_term_id, 1);
    assert_eq!(log.check_term(7, 1, 4096), TermCheck::Same);
    assert_eq!(log.check_term(7, 1, 64), TermCheck::Conflict);
    assert_eq!(log.check_term(7, 2, 64), TermCheck::Absent);
}

#[test]
fn a_term_entered_late_ends_where_the_next_begins() {
    let log = with_term(with_term(RecordingLog::default(), 3, 9600), 2, 640);
    assert_eq!(terms(&log), [(2, 640, 9600), (3, 9600, NULL_POSITION)]);
}

#[test]
fn a_duplicate_term_and_another_recording_are_refused() {
    let log = with_term(RecordingLog::default(), 0, 0);
    assert_eq!(log.plan_append_term(7, 0, 64, 1), Err(RowError::DuplicateTerm(0)));
    let other = RowError::OtherRecording { expected: 7, found: 8 };
    assert_eq!(log.plan_append_term(8, 1, 64, 1), Err(other.clone()));
    assert_eq!(log.plan_coherent(8, 1, 64, None, 1), Err(other));
    assert_eq!(log.plan_append_term(-1, 1, 64, 1), Err(RowError::BadRecordingId(-1)));
}

#[test]
fn skipped_terms_begin_and_end_at_the_new_base() {
    let log = with_term(RecordingLog::default(), 1, 64);
    let edits = log.plan_coherent(7, 4, 128, None, 9).unwrap();
    let log = with(log, edits);
    assert_eq!(terms(&log), [(1, 64, 128), (2, 128, 128), (3, 128, 128), (4, 128, NULL_POSITION)]);
    assert_eq!(log.plan_coherent(7, 4, 128, None, 9), Ok(vec![]));
    let edits = log.plan_coherent(7, 4, 128, Some(256), 9).unwrap();
    assert_eq!(terms(&with(log, edits)).last(), Some(&(4, 128, 256)));
}

#[test]
fn filling_in_goes_on_after_a_crash_in_its_middle() {
    let log = with_term(RecordingLog::default(), 1, 64);
    let edits = log.plan_coherent(7, 4, 128, None, 9).unwrap();
    let whole = with(log.clone(), edits.clone());
    // Only the end of the old term and the first of the new rows reached the file.
    let mut image = log.image().to_vec();
    image[24..32].copy_from_slice(&edits[0].bytes);
    image.extend_from_slice(&edits[1].bytes[..64]);
    let cut = RecordingLog::parse(image).unwrap();
    let edits = cut.plan_coherent(7, 4, 128, None, 9).unwrap();
    assert_eq!(with(cut, edits), whole);
}

#[test]
fn what_lies_beyond_the_base_of_a_later_term_counts_no_more() {
    let mut log = RecordingLog::default();
    for (term, base) in [(0, 0), (1, 640), (2, 6400)] {
        log = with_term(log, term, base);
    }
    for (term, base, position) in [(0, 0, 640), (1, 640, 3200), (1, 640, 3232), (2, 6400, 9600)] {
        for service_id in [0, CONSENSUS_MODULE_ID] {
            let entry = Entry {
                recording_id: position + i64::from(service_id) + 1,
                leadership_term_id: term,
                term_base_log_position: base,
                log_position: position,
                timestamp: 5,
                service_id,
                kind: EntryKind::Snapshot,
                valid: true,
            };
            let edits = log.plan_append_snapshot(&entry).unwrap();
            log = with(log, edits);
        }
    }
    assert_eq!(log.plan_cut(2, 6400, 6400), [], "what a term begins behind is left alone");
    let behind_padding = with(log.clone(), log.plan_cut(12, 3200, 3232));
    assert_eq!(behind_padding.snapshot_sets(1)[0].log_position, 3232, "where the term's first event begins");
    let edits = log.plan_cut(12, 3200, 3200);
    let log = with(log, edits);
    assert_eq!(terms(&log), [(0, 0, 640), (1, 640, 3200), (2, 6400, NULL_POSITION)]);
    assert!(log.find_term(2).is_none(), "its row is invalid");
    let positions: Vec<i64> = log.snapshot_sets(1).iter().map(|set| set.log_position).collect();
    assert_eq!(positions, [3200, 640]);
    assert_eq!(log.plan_cut(12, 3200, 3200), [], "it may be repeated");
    let edits = log.plan_coherent(7, 12, 3200, None, 9).unwrap();
    let log = with(log, edits);
    assert_eq!(terms(&log).last(), Some(&(12, 3200, NULL_POSITION)));
    assert_eq!(log.find_term(2).map(|row| row.entry.log_position), Some(3200), "a term that was skipped");
}

#[test]
fn a_log_that_contradicts_the_new_term_is_a_fork_and_is_left_alone() {
    let log = with_term(with_term(RecordingLog::default(), 0, 0), 1, 640);
    let edits = log.plan_commit_log_position(1, 960).unwrap();
    let log = with(log, edits);
    let error = RowError::BaseMismatch { term: 2, base: 800, previous_end: 960 };
    assert_eq!(log.plan_coherent(7, 2, 800, None, 1), Err(error));
    let error = RowError::BaseMismatch { term: 1, base: 704, previous_end: 640 };
    assert_eq!(log.plan_coherent(7, 1, 704, None, 1), Err(error));
}

#[test]
fn a_gap_wider_than_any_history_is_refused() {
    let log = with_term(RecordingLog::default(), 0, 0);
    for term in [SKIPPED_TERMS_MAX + 1, i64::MAX] {
        assert_eq!(log.plan_coherent(7, term, 64, None, 1), Err(RowError::GapTooWide { from: 1, to: term }));
    }
}

#[test]
fn snapshot_sets_come_newest_first_and_incomplete_ones_not_at_all() {
    let mut log = with_term(RecordingLog::default(), 0, 0);
    for (recording, position) in [(10, 1024), (20, 2048), (30, 4096)] {
        for service in [1, 0, CONSENSUS_MODULE_ID] {
            log = with_snapshot(log, &snapshot(recording + i64::from(service), 0, position, service));
        }
    }
    let positions = |log: &RecordingLog| {
        let sets = log.snapshot_sets(2);
        sets.iter().map(|set| (set.log_position, set.services.clone())).collect::<Vec<_>>()
    };
    assert_eq!(positions(&log), [(4096, vec![30, 31]), (2048, vec![20, 21]), (1024, vec![10, 11])]);
    assert_eq!(log.latest_snapshot_set(1).unwrap().consensus_module, 29);
    assert_eq!(log.latest_snapshot_set(3), None);

    let middle = log.rows().iter().find(|row| row.entry.recording_id == 21).unwrap().offset;
    let edits = log.plan_invalidate(middle).unwrap();
    let log = with(log, edits);
    assert_eq!(positions(&log), [(4096, vec![30, 31]), (1024, vec![10, 11])]);

    // Whoever does not know how many services there are sees what is there up to the first that is missing.
    let found = log.snapshot_sets_as_found();
    let found: Vec<_> = found.into_iter().map(|set| (set.log_position, set.services)).collect();
    assert_eq!(found, [(4096, vec![30, 31]), (2048, vec![20]), (1024, vec![10, 11])]);

    let edits = log.plan_invalidate_latest_snapshot().unwrap();
    assert_eq!(edits.len(), 3);
    let log = with(log, edits);
    assert_eq!(positions(&log), [(1024, vec![10, 11])]);

    let rows = log.rows().len();
    let log = with_snapshot(log, &snapshot(99, 0, 2048, 1));
    assert_eq!(log.rows().len(), rows, "the invalid row is used again");
    assert_eq!(positions(&log), [(2048, vec![20, 99]), (1024, vec![10, 11])]);
}

#[test]
fn a_set_lists_its_rows_in_the_order_in_which_they_are_entered() {
    let set = SnapshotSet {
        leadership_term_id: 0,
        term_base_log_position: 0,
        log_position: 4096,
        timestamp: 5,
        consensus_module: 3,
        services: vec![4, 5],
    };
    let mut log = with_term(RecordingLog::default(), 0, 0);
    for entry in set.entries() {
        assert_eq!(log.snapshot_sets(2), [], "complete only with the last row");
        log = with_snapshot(log, &entry);
    }
    assert_eq!(log.snapshot_sets(2), [set]);
}

#[test]
fn a_standby_row_takes_as_many_slots_as_its_endpoint_needs() {
    for (length, row_length) in [(1, 64), (12, 64), (13, 128), (ENDPOINT_LENGTH_MAX, 4096)] {
        let entry = standby(&"e".repeat(length));
        let log = with_snapshot(RecordingLog::default(), &entry);
        assert_eq!(log.image().len(), row_length);
        assert_eq!(with_term(log, 0, 0).rows()[1].entry, entry);
    }
    for bad in [String::new(), "é".into(), "e".repeat(ENDPOINT_LENGTH_MAX + 1)] {
        let error = RecordingLog::default().plan_append_snapshot(&standby(&bad));
        assert_eq!(error, Err(RowError::BadEndpoint(bad)));
    }
}

#[test]
fn a_removed_row_is_skipped_and_keeps_its_slot() {
    let mut image = java_rows();
    image[64 + 44..64 + 48].fill(0xff);
    let log = RecordingLog::parse(image).unwrap();
    assert_eq!(log.rows().iter().map(|row| row.index).collect::<Vec<_>>(), [0, 3, 2]);
    assert_eq!(log.snapshot_sets(1), []);
}

#[test]
fn faults_name_their_offset() {
    let fault = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = java_rows();
        change(&mut image);
        RecordingLog::parse(image).unwrap_err()
    };
    let error = fault(&|image| image.truncate(200));
    assert_eq!(error, FormatError::Truncated { offset: 192, what: "row", expected: 64, found: 8 });
    let error = fault(&|image| image[128..].fill(0));
    assert_eq!(error, FormatError::Unwritten { offset: 128, what: "a row" });
    // Whole rows may stand behind it, after a power cut.
    let error = fault(&|image| image[64..128].fill(0));
    assert_eq!(error, FormatError::Unwritten { offset: 64, what: "a row" });
    assert_eq!(fault(&|image| image[64 + 44] = 3).offset(), 64 + 44);
    assert_eq!(fault(&|image| image[192 + 48] = 0).offset(), 192 + 48);
    assert_eq!(fault(&|image| image[192 + 50] = 255).offset(), 192 + 48);
    assert_eq!(fault(&|image| image[192 + 53] = 0xc3).offset(), 192 + 53);
    let mut image = java_rows();
    image.extend(term(8, 1, 64, NULL_POSITION, 1).encode().unwrap());
    let text = RecordingLog::parse(image).unwrap_err().to_string();
    assert_eq!(text, "at offset 256: recording id of a TERM row: expected 7, found 8");
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        Just(EntryKind::Term),
        Just(EntryKind::Snapshot),
        "[ -~]{1,80}".prop_map(|endpoint| EntryKind::StandbySnapshot { endpoint }),
    ];
    let small = -1_i64..6;
    (small.clone(), small, -1_i64..4, any::<i64>(), -1_i32..3, kind, any::<bool>()).prop_map(
        |(leadership_term_id, base, position, timestamp, service_id, kind, valid)| Entry {
            recording_id: 7,
            leadership_term_id,
            term_base_log_position: base * 64,
            log_position: position * 64,
            timestamp,
            service_id: if kind == EntryKind::Term { CONSENSUS_MODULE_ID } else { service_id },
            kind,
            valid,
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(image in prop::collection::vec(any::<u8>(), 0..1000)) {
        let _ = RecordingLog::parse(image);
    }

    #[test]
    fn damaged_rows_are_read_without_a_panic(
        entries in prop::collection::vec(any_entry(), 0..10),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut image: Vec<u8> = entries.iter().flat_map(|e| e.encode().unwrap()).collect();
        if !image.is_empty() {
            let at = at.index(image.len());
            image[at] = byte;
        }
        if let Ok(log) = RecordingLog::parse(image) {
            let _ = log.snapshot_sets(2);
            let _ = log.plan_invalidate_latest_snapshot();
            if let Ok(edits) = log.plan_coherent(7, 9, 640, None, 1) {
                let _ = with(log, edits);
            }
        }
    }

    #[test]
    fn rows_round_trip_and_a_cut_file_names_the_row(
        entries in prop::collection::vec(any_entry(), 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut starts = vec![0];
        let mut image = Vec::new();
        for entry in &entries {
            image.extend(entry.encode().unwrap());
            starts.push(image.len());
        }
        let log = RecordingLog::parse(image.clone()).unwrap();
        let mut rows = log.rows().to_vec();
        rows.sort_by_key(|row| row.index);
        prop_assert_eq!(rows.into_iter().map(|row| row.entry).collect::<Vec<_>>(), entries);

        let cut = cut.index(image.len());
        let row = *starts.iter().rfind(|start| **start <= cut).unwrap();
        image.truncate(cut);
        match RecordingLog::parse(image) {
            Ok(_) => prop_assert_eq!(row, cut),
            Err(error) => prop_assert_eq!(error.offset(), to_u64(row)),
        }
    }
}

#[test]
fn a_query_gets_the_newest_complete_set_that_is_not_behind_its_position_or_the_lowest() {
    let mut log = with_term(RecordingLog::default(), 1, 500);
    let mut enter = |log_position: i64, service_ids: &[i32], kind: &EntryKind| {
        for &service_id in service_ids {
            let entry = Entry {
                term_base_log_position: 500,
                kind: kind.clone(),
                ..snapshot(log_position * 10 + i64::from(service_id), 1, log_position, service_id)
            };
            log = with_snapshot(std::mem::take(&mut log), &entry);
        }
    };
    let standby = EntryKind::StandbySnapshot { endpoint: "localhost:8080".into() };
    enter(777, &[1, 0, -1], &EntryKind::Snapshot);
    enter(888, &[1, 0, -1], &standby);
    enter(888, &[1, 0, -1], &EntryKind::Snapshot);
    enter(890, &[0, -1], &EntryKind::Snapshot);
    enter(990, &[1, 0, -1], &standby);
    enter(999, &[1, 0, -1], &EntryKind::Snapshot);

    let found = |log_position| {
        let set = log.snapshot_set_at_or_before_or_lowest(log_position, 2).unwrap();
        assert_eq!(set.services.len(), 2);
        set.log_position
    };
    for (asked, expected) in [
        (i64::MIN, 777),
        (750, 777),
        (776, 777),
        (777, 777),
        (778, 777),
        (887, 777),
        (888, 888),
        (889, 888),
        (890, 888),
        (990, 888),
        (998, 888),
        (999, 999),
        (1000, 999),
        (i64::MAX, 999),
    ] {
        assert_eq!(found(asked), expected, "asked for {asked}");
    }
    assert_eq!(log.snapshot_set_at_or_before_or_lowest(i64::MAX, 3), None);
    assert_eq!(RecordingLog::default().snapshot_set_at_or_before_or_lowest(0, 2), None);
}
