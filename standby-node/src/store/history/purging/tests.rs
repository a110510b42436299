use std::path::Path;

use consensus_tap::archive::Recording;
use consensus_tap::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{DataHeader, FrameType, TermLength};
use service_api::SnapshotWriter as _;

use super::*;
use crate::store::SyncLevel;
use crate::store::directory::NodeDirectory;
use crate::store::history::OpenedLog;
use crate::store::snapshot_recording::{ReservedRecording, SnapshotRecording, WrittenRecording};

const SEGMENT: i64 = 65_536;
const FRAME: i64 = 1024;
const KEEP_ONE: RetentionPolicy = RetentionPolicy::KeepSnapshots(1);

fn open(dir: &Path) -> History {
    History::open(&NodeDirectory::open(dir, 1).unwrap(), SyncLevel::None).unwrap()
}

/// A log of five segments and a bit.
fn recorded(history: &mut History) -> OpenedLog {
    let source = Recording {
        recording_id: 3,
        start_timestamp: 0,
        stop_timestamp: -1,
        start_position: 0,
        stop_position: -1,
        initial_term_id: 0,
        segment_file_length: SEGMENT as i32,
        term_buffer_length: SEGMENT as i32,
        mtu_length: 1408,
        session_id: 9,
        stream_id: 100,
        stripped_channel: "aeron:udp?endpoint=a:1".into(),
        original_channel: "aeron:udp?endpoint=a:1".into(),
        source_identity: "a:1".into(),
    };
    let mut log = history.create_log(0, &source, None).unwrap().open().unwrap();
    for position in (0..SEGMENT * 5 + FRAME).step_by(FRAME as usize) {
        let header = DataHeader {
            frame_length: FRAME as i32,
            flags: UNFRAGMENTED,
            frame_type: FrameType::Data,
            term_offset: (position % SEGMENT) as i32,
            session_id: 9,
            stream_id: 100,
            term_id: (position / SEGMENT) as i32,
            reserved_value: 0,
        };
        let frame = [&header.encode()[..], &[7; FRAME as usize - HEADER_LENGTH]].concat();
        log.writer.append(position, &frame).unwrap();
    }
    let term = consensus_tap::codec::log::NewLeadershipTermEvent {
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
    log
}

/// A set of one service that counts.
fn publish(history: &mut History, log_position: i64) -> SnapshotSet {
    let places = history.reserve_snapshots(1, TermLength::MIN).unwrap();
    let write = |place: &ReservedRecording| {
        let mut recording = SnapshotRecording::create(place).unwrap();
        recording.write(&[1; 100]).unwrap();
        recording.finish().unwrap()
    };
    let recordings: Vec<WrittenRecording> = places.iter().map(write).collect();
    history.stop_recordings(&recordings).unwrap();
    history.reveal_recordings(&recordings).unwrap();
    let set = SnapshotSet {
        leadership_term_id: 0,
        term_base_log_position: 0,
        log_position,
        timestamp: 7,
        consensus_module: recordings[1].recording_id,
        services: vec![recordings[0].recording_id],
    };
    history.enter_snapshot_set(&set).unwrap();
    set
}

fn plan(history: &History, log: &RecordingPlace, durable_position: i64) -> Going {
    history.plan_purge(KEEP_ONE, &Pins::default(), 1, log, durable_position)
}

fn segment_files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("archive")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".rec")).collect();
    names.sort();
    names
}

/// Carries out the first `steps` of three.
fn carry_out(history: &mut History, log: &mut RecordingPlace, going: &Going, steps: usize) {
    if steps > 0 {
        history.withdraw_sets(going).unwrap().sync().unwrap();
    }
    if steps > 1 {
        history.disown(going, log).unwrap().sync().unwrap();
    }
    if steps > 2 {
        history.unnamed_files().delete().unwrap();
    }
}

#[test]
fn a_set_that_a_member_may_fetch_stays_though_it_is_none_to_start_from_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let log = recorded(&mut history);
    let sets = [100, SEGMENT + FRAME, SEGMENT * 4 + FRAME].map(|at| publish(&mut history, at));
    for refused in &sets[..2] {
        history.invalidate_snapshot_set(refused).unwrap();
    }
    let taken = Pins { set_positions: vec![SEGMENT + FRAME], ..Pins::default() };
    let going = history.plan_purge(KEEP_ONE, &taken, 1, &log.place, i64::MAX);
    assert_eq!(going.recording_ids, [sets[0].services[0], sets[0].consensus_module]);
    let all = plan(&history, &log.place, i64::MAX).recording_ids;
    assert_eq!(all.len(), 4, "nobody may fetch them: {all:?}");
}

#[test]
fn after_a_crash_at_any_step_the_next_purge_comes_to_the_same_end() {
    for steps in 0..=3 {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(dir.path());
        let mut log = recorded(&mut history);
        let sets = [100, SEGMENT + FRAME, SEGMENT * 4 + FRAME].map(|at| publish(&mut history, at));
        // A purge takes nothing that is not on the disk.
        log.durability.mark(0, SEGMENT * 5 + FRAME, false).unwrap();
        let going = plan(&history, &log.place, i64::MAX);
        assert_eq!(going.purge.sets, sets[..2]);
        carry_out(&mut history, &mut log.place, &going, steps);
        drop((history, log));

        let mut history = open(dir.path());
        let mut log = history.recover_log().unwrap().expect("a log");
        assert_eq!(log.writer.recorded_position(), SEGMENT * 5 + FRAME, "after {steps} steps");
        let going = plan(&history, &log.place, i64::MAX);
        assert_eq!(going.is_empty(&log.place), steps >= 2, "after {steps} steps: {going:?}");
        carry_out(&mut history, &mut log.place, &going, 3);

        assert_eq!(history.snapshot_sets(1), sets[2..], "after {steps} steps");
        assert_eq!(log.place.start_position(), SEGMENT * 4);
        let (service, module) = (sets[2].services[0], sets[2].consensus_module);
        let log_files = [4, 5].map(|segment| format!("0-{}.rec", segment * SEGMENT));
        let mut expected: Vec<String> = [format!("{service}-0.rec"), format!("{module}-0.rec")].into();
        expected.extend(log_files);
        expected.sort();
        assert_eq!(segment_files(dir.path()), expected, "after {steps} steps");
        let entries = std::fs::read_dir(dir.path().join("archive")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut checksums: Vec<String> = names.filter(|name| name.ends_with(".crc32")).collect();
        checksums.sort();
        let of_kept = [service, module].map(|recording_id| format!("{recording_id}-0.rec.crc32"));
        assert_eq!(checksums, of_kept, "after {steps} steps");
    }
}

#[test]
fn an_archive_that_is_about_to_purge_lists_what_will_be_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let mut log = recorded(&mut history);
    publish(&mut history, SEGMENT + FRAME);
    publish(&mut history, SEGMENT * 3);
    let going = plan(&history, &log.place, i64::MAX);
    let before = history.recordings_without(&going, &log.place);
    carry_out(&mut history, &mut log.place, &going, 2);
    let after = history.recordings(Some(&log.place));
    assert_eq!(before.list(), after.list());
    assert_eq!((after.list().len(), after.list()[0].start_position), (3, SEGMENT * 3));
}

#[test]
fn a_set_beyond_what_is_on_the_disk_makes_no_other_unwanted() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let log = recorded(&mut history);
    publish(&mut history, SEGMENT + FRAME);
    publish(&mut history, SEGMENT * 4);
    assert!(plan(&history, &log.place, SEGMENT).is_empty(&log.place), "no set counts");
    let going = plan(&history, &log.place, SEGMENT * 4 - FRAME);
    assert_eq!((going.purge.sets.len(), going.purge.log_start_position), (0, SEGMENT));
    assert_eq!(plan(&history, &log.place, SEGMENT * 4).purge.sets.len(), 1);
}

#[test]
fn a_set_whose_recordings_are_missing_makes_no_other_unwanted() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let log = recorded(&mut history);
    publish(&mut history, SEGMENT);
    let broken = publish(&mut history, SEGMENT * 3);
    history.catalog.withdraw(broken.services[0]).unwrap();
    let going = plan(&history, &log.place, i64::MAX);
    assert_eq!((going.purge.sets.len(), going.purge.log_start_position), (0, SEGMENT));
}

#[test]
fn frames_below_a_start_that_has_moved_are_not_compared() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let mut log = recorded(&mut history);
    publish(&mut history, SEGMENT * 2);
    let going = plan(&history, &log.place, i64::MAX);
    let reader = &mut log.place.reader();
    let frames: Vec<Vec<u8>> =
        [SEGMENT, SEGMENT * 2].map(|at| reader.frames(at, at + FRAME).unwrap().to_vec()).into();
    log.writer.purged_below(going.purge.log_start_position);
    carry_out(&mut history, &mut log.place, &going, 3);
    assert!(log.writer.matches(SEGMENT, &frames[0]).unwrap(), "its file is gone");
    assert!(log.writer.matches(SEGMENT * 2, &frames[1]).unwrap());
    let mut other = frames[1].clone();
    other[100] ^= 1;
    assert!(!log.writer.matches(SEGMENT * 2, &other).unwrap());
}
