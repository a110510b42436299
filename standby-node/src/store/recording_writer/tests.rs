use super::*;
use crate::store::durability::Trust;
use crate::store::recording_syncer::{RecordingSyncer, SyncError};
use crate::store::recovery::{Recovered, recover};
use crate::store::segment_preparer::segment_pipeline;
use crate::sys::disk;

const TERM: i32 = 64 * 1024;
const SEGMENT: i32 = 128 * 1024;
const STREAM_ID: i32 = 100;
const START: i64 = 65536 + 96;
const FIRST_BASE: i64 = 65536;
const SECOND_BASE: i64 = FIRST_BASE + SEGMENT as i64;

fn geometry() -> RecordingGeometry {
    RecordingGeometry::new(0, START, TERM, SEGMENT, 7, STREAM_ID).unwrap()
}

/// A frame of `length` bytes as it comes from the wire, aligned; of padding only the header.
fn frame(position: i64, length: i32, is_padding: bool, session_id: i32, fill: u8) -> Vec<u8> {
    let geometry = geometry();
    let wire_length = if is_padding { 32 } else { (length + 31) & !31 };
    let mut bytes = vec![0; wire_length as usize];
    if !is_padding {
        bytes[32..length as usize].fill(fill);
    }
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[5] = 0xC0;
    bytes[6] = u8::from(!is_padding);
    bytes[8..12].copy_from_slice(&geometry.term_offset(position).to_le_bytes());
    bytes[12..16].copy_from_slice(&session_id.to_le_bytes());
    bytes[16..20].copy_from_slice(&STREAM_ID.to_le_bytes());
    bytes[20..24].copy_from_slice(&geometry.term_id(position).to_le_bytes());
    bytes
}

fn data(position: i64, length: i32) -> Vec<u8> {
    frame(position, length, false, 1, position as u8 | 1)
}

/// Appends frames of `length` bytes up to `to`, the last of each term being padding.
fn fill_to(writer: &mut RecordingWriter, to: i64, length: i32) {
    while writer.recorded_position() < to {
        let at = writer.recorded_position();
        let room = geometry().term_end(at).min(to) - at;
        if room >= i64::from(length) + 32 || room == i64::from(length) {
            writer.append(at, &data(at, length)).unwrap();
        } else {
            writer.append(at, &frame(at, room as i32, true, 1, 0)).unwrap();
        }
    }
}

fn segment_bytes(directory: &Path, base: i64) -> Vec<u8> {
    std::fs::read(directory.join(geometry().segment_name(base))).unwrap()
}

fn read_all(writer: &RecordingWriter, directory: &Path) -> Vec<u8> {
    let mut reader = RecordingReader::new(directory, geometry(), writer.published());
    let mut bytes = Vec::new();
    let mut at = START;
    while at < writer.recorded_position() {
        let run = reader.frames(at, writer.recorded_position()).unwrap();
        at += run.len() as i64;
        bytes.extend_from_slice(run);
    }
    bytes
}

#[test]
fn frames_lie_in_the_file_as_they_came() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let mut run = data(START, 100);
    run.extend(data(START + 128, 32));
    writer.append(START, &run).unwrap();
    assert_eq!(writer.recorded_position(), START + 160);
    let file = segment_bytes(directory.path(), FIRST_BASE);
    assert_eq!(file.len(), SEGMENT as usize);
    assert!(file[..96].iter().all(|byte| *byte == 0));
    assert_eq!(file[96..256], run);
    assert!(file[256..].iter().all(|byte| *byte == 0));
    assert_eq!(read_all(&writer, directory.path()), run);
}

#[test]
fn padding_occupies_its_length_and_leaves_zeros() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let mut run = data(START, 64);
    run.extend(frame(START + 64, 512, true, 1, 0));
    writer.append(START, &run).unwrap();
    assert_eq!(writer.recorded_position(), START + 64 + 512);
    writer.append(START + 576, &data(START + 576, 64)).unwrap();
    let bytes = read_all(&writer, directory.path());
    assert_eq!(bytes[64..96], run[64..96]);
    assert!(bytes[96..576].iter().all(|byte| *byte == 0));
}

#[test]
fn a_run_that_does_not_fit_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let refused = writer.append(START + 32, &data(START + 32, 64)).unwrap_err();
    assert!(matches!(refused, RecordError::NotContiguous { expected: START, .. }));

    let mut run = data(START, 64);
    run.extend(data(START + 96, 64)); // A term offset that does not follow.
    let refused = writer.append(START, &run).unwrap_err();
    assert!(matches!(refused, RecordError::BadFrame { position, .. } if position == START + 64));

    let mut run = frame(START, 64, true, 1, 0);
    run.extend(data(START + 64, 64)); // Padding that is not last.
    assert!(matches!(writer.append(START, &run), Err(RecordError::BadFrame { .. })));

    let cut = &data(START, 64)[..63];
    assert!(matches!(writer.append(START, cut), Err(RecordError::BadFrame { .. })));

    let mut other_stream = data(START, 64);
    other_stream[16] = 99;
    let refused = writer.append(START, &other_stream).unwrap_err();
    assert!(matches!(refused, RecordError::UnexpectedStream { expected: STREAM_ID, found: 99 }));

    assert_eq!(writer.recorded_position(), START);
    assert!(segment_bytes(directory.path(), FIRST_BASE).iter().all(|byte| *byte == 0));
}

#[test]
fn a_run_never_crosses_a_term() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let term_end = geometry().term_end(START);
    fill_to(&mut writer, term_end - 64, 1024);
    let mut run = data(term_end - 64, 64);
    run.extend(data(term_end, 64));
    let refused = writer.append(term_end - 64, &run).unwrap_err();
    assert!(matches!(refused, RecordError::CrossesTerm { term_end: at } if at == term_end));
}

#[test]
fn the_next_segment_exists_as_soon_as_one_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let (supply, mut preparer) = segment_pipeline(directory.path(), geometry());
    let mut writer = RecordingWriter::create(directory.path(), geometry(), Some(supply)).unwrap();
    assert_eq!(preparer.do_work().unwrap(), 0, "a node that only reads its log again has no use for it");
    fill_to(&mut writer, START + 1408, 1408);
    assert_eq!(preparer.do_work().unwrap(), 1);
    assert_eq!(preparer.do_work().unwrap(), 0);
    let prepared = directory.path().join(geometry().prepared_name(SECOND_BASE));
    assert!(prepared.exists());
    fill_to(&mut writer, SECOND_BASE, 1408);
    assert!(!prepared.exists());
    assert_eq!(segment_bytes(directory.path(), SECOND_BASE), vec![0; SEGMENT as usize]);
    assert_eq!(writer.late_segment_count(), 0);
    // One full segment to unmap, one to prepare.
    assert_eq!(preparer.do_work().unwrap(), 2);

    // A preparer that sleeps costs a stall, not the recording.
    fill_to(&mut writer, SECOND_BASE + 2 * i64::from(SEGMENT) + 4096, 1408);
    assert_eq!(writer.late_segment_count(), 1);
    assert_eq!(read_all(&writer, directory.path()).len() as i64, writer.recorded_position() - START);
    drop(writer);
    preparer.do_work().unwrap();
    let left = recover(directory.path(), &geometry(), Trust::All, START).unwrap();
    assert_eq!(left.stop_position, SECOND_BASE + 2 * i64::from(SEGMENT) + 4096);
}

#[test]
fn a_foreign_file_in_the_way_stops_the_recording_and_not_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let foreign = directory.path().join(geometry().segment_name(SECOND_BASE));
    std::fs::write(&foreign, b"foreign").unwrap();
    fill_to(&mut writer, SECOND_BASE, 1408);
    assert_eq!(writer.recorded_position(), SECOND_BASE);
    let refused = writer.append(SECOND_BASE, &data(SECOND_BASE, 64)).unwrap_err();
    assert!(matches!(refused, RecordError::NextSegment { source: SegmentError::Exists { .. }, .. }));
    assert_eq!(std::fs::read(&foreign).unwrap(), b"foreign");
    std::fs::remove_file(&foreign).unwrap();
    writer.append(SECOND_BASE, &data(SECOND_BASE, 64)).unwrap();
}

#[test]
fn an_overlap_matches_whatever_session_and_stream_it_came_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    fill_to(&mut writer, SECOND_BASE + 4096, 1408);
    // Back in the first segment, which is no longer mapped for writing.
    let at = writer.frame_start_at_or_before(SECOND_BASE - 20_000);
    let mut overlap = data(at, 1408);
    overlap[12..20].fill(0xEE);
    assert!(writer.matches(at, &overlap).unwrap());
    overlap[40] ^= 1;
    assert!(!writer.matches(at, &overlap).unwrap());
    assert!(!writer.matches(at, &data(at, 1376)).unwrap());
    assert!(!writer.matches(at, &data(at, 1408)[..64]).unwrap());
    assert!(!writer.matches(at, &[0; 64]).unwrap());
    // Behind the end there is nothing to differ from.
    let end = writer.recorded_position();
    assert!(writer.matches(end, &data(end, 64)).unwrap());
}

#[test]
fn a_frame_start_is_known_near_the_end_and_per_term_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    fill_to(&mut writer, SECOND_BASE + 300_000, 1408);
    let end = writer.recorded_position();
    let start = writer.frame_start_at_or_before(end - 64 * 1024);
    assert!(start <= end - 64 * 1024 && start > end - 64 * 1024 - 20_000, "{start} of {end}");
    assert!(writer.matches(start, &data(start, 1408)).unwrap());
    assert_eq!(writer.frame_start_at_or_before(START + 5000), START);
    assert_eq!(writer.frame_start_at_or_before(end + 5000), end);
}

#[test]
fn frame_starts_before_the_last_segment_are_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    fill_to(&mut writer, SECOND_BASE + 20_000, 1408);
    let end = writer.recorded_position();
    drop(writer);
    let writer = RecordingWriter::open(directory.path(), geometry(), end, end, None).unwrap();
    let start = writer.frame_start_at_or_before(end - 40_000);
    assert!(start <= end - 40_000 && start > end - 40_000 - 20_000, "{start} of {end}");
}

#[test]
fn a_run_cut_before_its_first_length_is_not_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    fill_to(&mut writer, START + 8192, 1024);
    drop(writer);
    let path = directory.path().join(geometry().segment_name(FIRST_BASE));
    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    let stop = (START + 8192 - FIRST_BASE) as usize;
    let mut run = data(START + 8192, 64);
    run.extend(data(START + 8256, 64));
    torn[stop + 4..stop + 128].copy_from_slice(&run[4..]);
    std::fs::write(&path, &torn).unwrap();
    let recovered = recover(directory.path(), &geometry(), Trust::All, START).unwrap();
    assert_eq!(recovered.stop_position, START + 8192);
    assert!(recovered.zeroed_length > 0);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_recording_goes_on_where_it_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let recovered = recover(directory.path(), &geometry(), Trust::All, START).unwrap();
    assert_eq!(recovered, Recovered { stop_position: START, zeroed_length: 0 });
    // Ends to stand at: within a segment, at a term's end, at a segment's end.
    for to in [START + 4096, FIRST_BASE + i64::from(TERM), SECOND_BASE, SECOND_BASE + 4096] {
        let at = recover(directory.path(), &geometry(), Trust::All, START).unwrap().stop_position;
        let mut writer = RecordingWriter::open(directory.path(), geometry(), at, at, None).unwrap();
        fill_to(&mut writer, to, 1024);
        let all = read_all(&writer, directory.path());
        assert_eq!(all.len() as i64, to - START);
    }
}

#[test]
fn a_missing_next_segment_is_made_and_a_missing_middle_one_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    fill_to(&mut writer, SECOND_BASE, 1024);
    drop(writer);
    let second = directory.path().join(geometry().segment_name(SECOND_BASE));
    std::fs::remove_file(&second).unwrap();
    let recovered = recover(directory.path(), &geometry(), Trust::All, START).unwrap();
    assert_eq!(recovered.stop_position, SECOND_BASE);
    let writer = RecordingWriter::open(directory.path(), geometry(), SECOND_BASE, SECOND_BASE, None).unwrap();
    assert!(second.exists());
    drop(writer);

    std::fs::remove_file(directory.path().join(geometry().segment_name(FIRST_BASE))).unwrap();
    let refused = recover(directory.path(), &geometry(), Trust::All, START).unwrap_err();
    assert!(matches!(refused, SegmentError::Missing { .. }), "{refused}");
}

#[test]
fn a_damaged_segment_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    fill_to(&mut writer, START + 4096, 1024);
    drop(writer);
    let path = directory.path().join(geometry().segment_name(FIRST_BASE));
    let mut damaged = std::fs::read(&path).unwrap();
    damaged[96 + 1024 + 20] ^= 0x40;
    std::fs::write(&path, &damaged).unwrap();
    let refused = recover(directory.path(), &geometry(), Trust::All, START).unwrap_err();
    assert!(matches!(refused, SegmentError::Damaged { offset: 1120, .. }), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), damaged);
}

#[test]
fn a_torn_last_frame_is_dropped_only_after_a_power_cut() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    fill_to(&mut writer, START + 4096, 4096);
    // Its payload is zero, as a page would be that never reached the disk.
    let at = START + 4096;
    writer.append(at, &frame(at, 8192, false, 1, 0)).unwrap();
    drop(writer);
    let trusted = recover(directory.path(), &geometry(), Trust::All, START).unwrap();
    assert_eq!(trusted.stop_position, at + 8192);
    let dropped = recover(directory.path(), &geometry(), Trust::Below(START), START).unwrap();
    assert_eq!(dropped.stop_position, at);
    assert!(
        segment_bytes(directory.path(), FIRST_BASE)[(at - FIRST_BASE) as usize..]
            .iter()
            .all(|byte| *byte == 0)
    );
}

/// A recording with frames of 1024 up to the second segment, opened at a durable position in the first.
fn with_tail(directory: &Path) -> (RecordingWriter, i64, i64) {
    let mut writer = RecordingWriter::create(directory, geometry(), None).unwrap();
    fill_to(&mut writer, START + 10_240, 1024);
    let durable = writer.recorded_position();
    fill_to(&mut writer, SECOND_BASE + 2048, 1024);
    drop(writer);
    let tail_end = recover(directory, &geometry(), Trust::Below(START), START).unwrap().stop_position;
    assert_eq!(tail_end, SECOND_BASE + 2048);
    (RecordingWriter::open(directory, geometry(), durable, tail_end, None).unwrap(), durable, tail_end)
}

#[test]
fn a_tail_is_confirmed_by_equal_frames() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, durable, tail_end) = with_tail(directory.path());
    assert_eq!((writer.recorded_position(), writer.tail_end()), (durable, tail_end));
    fill_to(&mut writer, tail_end + 1024, 1024);
    assert_eq!(writer.recorded_position(), tail_end + 1024);
    assert_eq!(writer.late_segment_count(), 0);
}

#[test]
fn a_tail_that_differs_is_discarded_from_there_on() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, durable, _) = with_tail(directory.path());
    writer.append(durable, &data(durable, 1024)).unwrap();
    let at = durable + 1024;
    writer.append(at, &frame(at, 64, false, 1, 0xAB)).unwrap();
    assert_eq!(writer.tail_end(), at + 64);
    assert!(!directory.path().join(geometry().segment_name(SECOND_BASE)).exists());
    let rest = &segment_bytes(directory.path(), FIRST_BASE)[(at + 64 - FIRST_BASE) as usize..];
    assert!(rest.iter().all(|byte| *byte == 0));
    fill_to(&mut writer, SECOND_BASE + 64, 1024);
}

#[test]
fn a_tail_that_is_given_up_leaves_room_for_what_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, durable, tail_end) = with_tail(directory.path());
    let tail = writer.tail();
    assert_eq!((tail.end(), tail.is_settled()), (tail_end, false));
    writer.discard_tail().unwrap();
    assert_eq!((writer.recorded_position(), writer.tail_end(), tail.end()), (durable, durable, durable));
    assert!(!directory.path().join(geometry().segment_name(SECOND_BASE)).exists());
    let rest = &segment_bytes(directory.path(), FIRST_BASE)[(durable - FIRST_BASE) as usize..];
    assert!(rest.iter().all(|byte| *byte == 0));
    writer.discard_tail().unwrap();
    fill_to(&mut writer, SECOND_BASE + 64, 1024);
    assert!(writer.recorded_position() > SECOND_BASE);
}

#[test]
fn a_tail_can_be_accepted_unconfirmed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, _, tail_end) = with_tail(directory.path());
    assert_eq!(writer.accept_tail(tail_end).unwrap(), tail_end);
    assert_eq!(read_all(&writer, directory.path()).len() as i64, tail_end - START);
    writer.append(tail_end, &data(tail_end, 64)).unwrap();
}

#[test]
fn a_position_within_a_frame_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, durable, tail_end) = with_tail(directory.path());
    drop(writer);
    let refused =
        RecordingWriter::open(directory.path(), geometry(), durable - 32, tail_end, None).unwrap_err();
    assert!(matches!(refused, SegmentError::NotAFrameBoundary { .. }), "{refused}");
}

/// Bytes on the disk.
fn occupied(directory: &Path, base: i64) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(directory.join(geometry().segment_name(base))).unwrap().blocks() * 512
}

#[test]
fn a_growing_recording_takes_the_disk_by_steps_and_gives_back_what_was_too_much() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create_growing(directory.path(), geometry()).unwrap();
    fill_to(&mut writer, FIRST_BASE + 64 * 1024, 1024);
    assert!((64 * 1024..128 * 1024).contains(&occupied(directory.path(), FIRST_BASE)));
    fill_to(&mut writer, SECOND_BASE + 5 * 1024, 1024);
    assert!(occupied(directory.path(), FIRST_BASE) >= 128 * 1024);
    let before = read_all(&writer, directory.path());
    let (published, end) = (writer.published(), writer.recorded_position());
    writer.trim().unwrap();
    assert!((5 * 1024..16 * 1024).contains(&occupied(directory.path(), SECOND_BASE)));
    assert_eq!(segment_bytes(directory.path(), SECOND_BASE).len(), SEGMENT as usize);
    let mut reader = RecordingReader::new(directory.path(), geometry(), published);
    let last = reader.frames(SECOND_BASE, end).unwrap();
    assert!(before.ends_with(last), "what was recorded is as it was");
}

#[test]
fn a_growing_recording_that_ends_with_its_segment_leaves_an_empty_one_without_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create_growing(directory.path(), geometry()).unwrap();
    fill_to(&mut writer, SECOND_BASE, 1024);
    writer.trim().unwrap();
    assert_eq!(occupied(directory.path(), SECOND_BASE), 0);
    assert_eq!(segment_bytes(directory.path(), SECOND_BASE), vec![0; SEGMENT as usize]);
}

/// A disk without free blocks.
struct Full;

impl disk::Watcher for Full {
    fn before(&mut self, operation: &disk::Operation<'_>) -> std::io::Result<()> {
        match operation {
            disk::Operation::Allocate { .. } => Err(std::io::Error::from_raw_os_error(libc::ENOSPC)),
            _ => Ok(()),
        }
    }

    fn after(&mut self, _: &disk::Operation<'_>) {}
}

#[test]
fn a_full_disk_refuses_a_growing_recording_its_room_before_anything_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create_growing(directory.path(), geometry()).unwrap();
    fill_to(&mut writer, FIRST_BASE + 63 * 1024, 1024);
    let watching = disk::watch(Box::new(Full));
    let at = FIRST_BASE + 64 * 1024;
    fill_to(&mut writer, at, 1024);
    let error = writer.append(at, &data(at, 1024)).unwrap_err();
    assert!(matches!(error, RecordError::NoRoom { .. }));
    assert!(error.to_string().contains("free space"), "{error}");
    assert_eq!(writer.recorded_position(), at);
    drop(watching);
    writer.append(at, &data(at, 1024)).unwrap();
}

#[test]
fn the_syncer_follows_across_segments_and_fails_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let mut syncer = RecordingSyncer::new(directory.path(), geometry(), writer.published(), START);
    assert_eq!(syncer.sync().unwrap(), START);
    fill_to(&mut writer, START + 4096, 1024);
    assert_eq!(syncer.sync().unwrap(), START + 4096);
    fill_to(&mut writer, SECOND_BASE + 4096, 1024);
    assert_eq!(syncer.sync_to(SECOND_BASE).unwrap(), SECOND_BASE);
    std::fs::remove_file(directory.path().join(geometry().segment_name(SECOND_BASE))).unwrap();
    assert!(matches!(syncer.sync(), Err(SyncError::Failed { durable_position: SECOND_BASE, .. })));
    assert!(matches!(syncer.sync(), Err(SyncError::FailedBefore { durable_position: SECOND_BASE, .. })));
}

#[test]
fn a_reader_on_another_thread_sees_only_whole_frames() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let published = writer.published();
    let mut reader = RecordingReader::new(directory.path(), geometry(), published);
    let end = SECOND_BASE + 2 * i64::from(SEGMENT);
    std::thread::scope(|scope| {
        scope.spawn(move || fill_to(&mut writer, end, 96));
        let mut at = START;
        while at < end {
            let run = reader.frames(at, reader.published_position()).unwrap();
            let mut offset = 0;
            while offset < run.len() {
                let frame = FrameHeader::parse(&run[offset..]).expect("a whole frame");
                assert!(frame.fits(&geometry(), at + offset as i64));
                let length = wire_length(&frame);
                let expected = (at + offset as i64) as u8 | 1;
                assert!(run[offset + 32..offset + length].iter().all(|byte| *byte == expected));
                offset += frame.aligned_length() as usize;
            }
            at += run.len() as i64;
        }
    });
}

#[test]
fn a_reader_at_the_end_of_the_log_reads_through_its_writers_mapping() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(directory.path(), geometry(), None).unwrap();
    let published = writer.published();
    let views = SegmentViews::new(directory.path().to_owned(), geometry(), published.clone());
    writer.share(views.clone());
    let mut reader = RecordingReader::sharing(views, geometry(), published);
    let own = |writer: &RecordingWriter, offset| writer.segment.bytes(offset, 1).as_ptr();

    fill_to(&mut writer, START + 1408, 1408);
    let read = reader.frames(START, START + 1408).unwrap();
    assert_eq!(read.as_ptr(), own(&writer, 96));
    fill_to(&mut writer, SECOND_BASE + 1408, 1408);
    let read = reader.frames(SECOND_BASE, SECOND_BASE + 1408).unwrap();
    assert_eq!(read.as_ptr(), own(&writer, 0));
    let first_segment = read_all(&writer, directory.path());
    let read = reader.frames(START, SECOND_BASE).unwrap();
    assert_eq!(read, &first_segment[..read.len()], "what the writer is done with can still be read");
}
