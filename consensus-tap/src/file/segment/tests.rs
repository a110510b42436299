use proptest::prelude::*;

use super::*;

const TERM: i32 = 64 * 1024;
const STREAM_ID: i32 = 1001;

fn geometry(start_position: i64, segment_length: i32) -> RecordingGeometry {
    RecordingGeometry::new(3, start_position, TERM, segment_length, -1, STREAM_ID).unwrap()
}

/// Writes a frame of `length` bytes whose payload is `fill`, and returns the offset behind it.
fn put_frame(
    geometry: &RecordingGeometry,
    segment: &mut [u8],
    base: i64,
    at: usize,
    length: i32,
    fill: u8,
) -> usize {
    let position = base + at as i64;
    segment[at..at + length as usize].fill(fill);
    let header = &mut segment[at..at + FRAME_HEADER_LENGTH];
    header.fill(0);
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[6] = 1;
    header[8..12].copy_from_slice(&geometry.term_offset(position).to_le_bytes());
    header[16..20].copy_from_slice(&STREAM_ID.to_le_bytes());
    header[20..24].copy_from_slice(&geometry.term_id(position).to_le_bytes());
    at + ((length + 31) & !31) as usize
}

#[test]
fn segments_count_from_the_term_of_the_start_position() {
    // The case that a real archive was seen to make: start 73728, term and segment 64 KiB.
    let narrow = geometry(73728, TERM);
    assert_eq!(narrow.first_segment_base(), 65536);
    assert_eq!(narrow.segment_name(narrow.segment_base(73728)), "3-65536.rec");
    assert_eq!(narrow.first_frame_offset(65536), 8192);
    assert_eq!(narrow.first_frame_offset(131072), 0);

    // A segment of two terms starts at an odd term when the recording does.
    let wide = geometry(73728, 2 * TERM);
    assert_eq!(wide.segment_base(65536 + 2 * 65536 - 32), 65536);
    assert_eq!(wide.segment_base(65536 + 2 * 65536), 3 * 65536);
    assert_eq!(wide.segment_end(73728), 3 * 65536);
    assert_eq!(wide.segment_offset(3 * 65536 + 64), 64);
}

#[test]
fn term_ids_wrap() {
    let geometry = RecordingGeometry::new(0, 0, TERM, TERM, i32::MAX, 1).unwrap();
    assert_eq!(geometry.term_id(0), i32::MAX);
    assert_eq!(geometry.term_id(65536), i32::MIN);
    assert_eq!(geometry.term_base(65536 + 96), 65536);
    assert_eq!(geometry.term_end(65536 + 96), 131072);
}

#[test]
fn an_impossible_geometry_is_refused() {
    let new = |id, start, term, segment| RecordingGeometry::new(id, start, term, segment, 0, 1).unwrap_err();
    assert_eq!(new(-1, 0, TERM, TERM), GeometryError::RecordingId(-1));
    assert_eq!(new(0, 33, TERM, TERM), GeometryError::StartPosition(33));
    assert_eq!(new(0, -32, TERM, TERM), GeometryError::StartPosition(-32));
    assert_eq!(new(0, 0, TERM - 1, TERM), GeometryError::TermLength(TERM - 1));
    assert_eq!(new(0, 0, i32::MIN, TERM), GeometryError::TermLength(i32::MIN));
    assert_eq!(new(0, 0, TERM * 2, TERM), GeometryError::SegmentLength(TERM));
}

#[test]
fn only_the_archives_own_names_are_segments() {
    let name = SegmentName { recording_id: 12, base_position: 65536 };
    assert_eq!(SegmentName::parse("12-65536.rec"), Some(name));
    for other in
        ["12-65536.rec.next", "12-65536.rec.del", "-65536.rec", "12-.rec", "012-0.rec", "12--1.rec", "a.rec"]
    {
        assert_eq!(SegmentName::parse(other), None, "{other}");
    }
}

#[test]
fn the_scan_stops_at_the_first_length_that_is_not_positive() {
    let geometry = geometry(65536 + 96, TERM);
    let mut segment = vec![0; TERM as usize];
    let mut at = geometry.first_frame_offset(65536);
    let mut expected = Vec::new();
    for length in [32, 33, 1408] {
        expected.push(at);
        at = put_frame(&geometry, &mut segment, 65536, at, length, 1);
    }
    // What lies behind a hole is not data, even when it looks like a frame.
    put_frame(&geometry, &mut segment, 65536, at + 64, 64, 1);
    let mut seen = Vec::new();
    let scan = scan(&geometry, 65536, &segment, 96, |offset| seen.push(offset));
    assert_eq!(seen, expected);
    assert_eq!(
        scan,
        Scan { stop_offset: at, last_frame_offset: expected.last().copied(), end: ScanEnd::Unwritten }
    );
}

#[test]
fn a_full_segment_ends_at_its_length() {
    let geometry = geometry(0, TERM);
    let mut segment = vec![0; TERM as usize];
    let mut at = 0;
    while at < segment.len() {
        at = put_frame(&geometry, &mut segment, 0, at, 1024, 1);
    }
    let scan = scan(&geometry, 0, &segment, 0, |_| {});
    assert_eq!((scan.stop_offset, scan.end), (TERM as usize, ScanEnd::Full));
}

#[test]
fn a_stale_frame_of_another_term_is_damage_not_data() {
    let geometry = geometry(0, TERM);
    let mut segment = vec![0; TERM as usize];
    let at = put_frame(&geometry, &mut segment, 0, 0, 64, 1);
    put_frame(&geometry, &mut segment, 65536, at, 64, 1);
    let scan = scan(&geometry, 0, &segment, 0, |_| {});
    assert_eq!((scan.stop_offset, scan.end), (64, ScanEnd::Damaged));
}

#[test]
fn a_zero_page_under_the_last_frame_looks_torn() {
    let geometry = geometry(0, TERM);
    let mut segment = vec![0; TERM as usize];
    let scan_of = |segment: &[u8]| scan(&geometry, 0, segment, 0, |_| {});

    // Within one page nothing can be torn, whatever the payload.
    let at = put_frame(&geometry, &mut segment, 0, 0, 4096, 0);
    assert!(!last_frame_may_be_torn(&segment, &scan_of(&segment)));

    put_frame(&geometry, &mut segment, 0, at, 4096 * 2 + 64, 1);
    assert!(!last_frame_may_be_torn(&segment, &scan_of(&segment)));
    segment[3 * 4096..3 * 4096 + 64].fill(0);
    assert!(last_frame_may_be_torn(&segment, &scan_of(&segment)));
    segment[3 * 4096 + 63] = 1;
    assert!(!last_frame_may_be_torn(&segment, &scan_of(&segment)));
    segment[2 * 4096..3 * 4096].fill(0);
    assert!(last_frame_may_be_torn(&segment, &scan_of(&segment)));
}

#[test]
fn an_empty_segment_is_not_torn() {
    let geometry = geometry(96, TERM);
    let segment = vec![0; TERM as usize];
    let scan = scan(&geometry, 0, &segment, 96, |_| {});
    assert_eq!(scan, Scan { stop_offset: 96, last_frame_offset: None, end: ScanEnd::Unwritten });
    assert!(!last_frame_may_be_torn(&segment, &scan));
}

proptest! {
    #[test]
    fn any_bytes_are_scanned_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..512), from in 0usize..600) {
        let scan = scan(&geometry(0, TERM), 0, &bytes, from, |_| {});
        prop_assert!(scan.stop_offset <= bytes.len().max(from));
        let _ = last_frame_may_be_torn(&bytes, &scan);
        let _ = FrameHeader::parse(&bytes);
    }

    #[test]
    fn frames_then_any_bytes_stop_at_or_behind_the_frames(
        lengths in prop::collection::vec(32i32..2000, 1..10),
        tail in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        let geometry = geometry(0, TERM);
        let mut segment = vec![0; TERM as usize];
        let at = lengths.iter().fold(0, |at, length| put_frame(&geometry, &mut segment, 0, at, *length, 9));
        segment[at..at + tail.len()].copy_from_slice(&tail);
        let scan = scan(&geometry, 0, &segment, 0, |_| {});
        prop_assert!(scan.stop_offset >= at);
    }

    #[test]
    fn every_position_lies_in_its_segment_and_term(start in 0i64..1 << 40, ahead in 0i64..1 << 40, shift in 0..4) {
        let geometry = geometry(start & !31, TERM << shift);
        let position = geometry.start_position() + ahead;
        let base = geometry.segment_base(position);
        prop_assert!(base <= position && position < base + i64::from(TERM << shift));
        prop_assert_eq!((base - geometry.first_segment_base()) % i64::from(TERM << shift), 0);
        prop_assert_eq!(geometry.segment_offset(position) as i64, position - base);
        prop_assert!(geometry.term_base(position) >= base);
        prop_assert!(geometry.term_end(position) <= base + i64::from(TERM << shift));
    }

    #[test]
    fn any_name_is_parsed_without_panic(name in ".{0,40}") {
        if let Some(parsed) = SegmentName::parse(&name) {
            prop_assert_eq!(parsed.to_string(), name);
        }
    }
}

#[test]
fn a_frame_whose_page_ends_in_zeros_may_be_torn_and_one_within_a_page_is_not() {
    let frame = |length: usize, zeros: std::ops::Range<usize>| {
        let mut frame = vec![0xab; length.next_multiple_of(32)];
        frame[..4].copy_from_slice(&(length as i32).to_le_bytes());
        frame[4..32].fill(0);
        frame[6] = 1;
        frame[length..].fill(0);
        frame[zeros].fill(0);
        frame
    };
    // It begins 1,000 bytes before the end of a page and covers two more, the last of them in part.
    let offset = 8 * 4096 - 1000;
    let torn = |zeros| frame_may_be_torn(&frame(6001, zeros), offset);
    assert!(!torn(0..0) && !torn(100..900) && !torn(990..1000), "a few zeros are anybody's");
    assert!(torn(936..1000), "the first page was not filled");
    assert!(torn(1000..5096) && torn(4000..5096), "the second is not there, or not all of it");
    assert!(torn(5096..6001), "the last is not there");
    assert!(!frame_may_be_torn(&frame(1000, 40..1000), offset), "its length is on the same page");
    let mut padding = frame(6001, 32..6001);
    padding[6] = 0;
    assert!(!frame_may_be_torn(&padding, offset));
}
