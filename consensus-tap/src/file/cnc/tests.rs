use proptest::prelude::*;

use super::counters::{OWN_COUNTERS, SYSTEM_LABELS};
use super::*;

const IDENTITY: CncIdentity = CncIdentity {
    client_liveness_timeout_ns: 10_000_000_000,
    start_timestamp_ms: 1_700_000_000_123,
    pid: 4242,
};

fn ready_header(layout: &CncLayout) -> [u8; HEADER_LENGTH] {
    let mut header = layout.encode(&IDENTITY);
    header[..4].copy_from_slice(&CNC_VERSION.to_le_bytes());
    header
}

#[test]
fn a_header_reads_back_as_written() {
    let layout = CncLayout::new(1024, 1 << 20);
    let decoded = CncLayout::decode(&ready_header(&layout), layout.file_length());
    assert_eq!(decoded, Ok((layout, IDENTITY)));
}

#[test]
fn sections_follow_each_other() {
    let layout = CncLayout::new(64, 4096);
    let rings = 128 + 65536 + 768 + 65536 + 128;
    assert_eq!(layout.heartbeat_offset(), 128 + 65536 + 640);
    assert_eq!(layout.metadata_offset(1), rings + 512);
    assert_eq!(layout.value_offset(1), rings + 64 * 512 + 128);
    assert_eq!(layout.error_log_offset(), rings + 64 * 512 + 64 * 128);
    assert_eq!(layout.file_length() % 4096, 0);
    assert!(layout.file_length() >= layout.error_log_offset() + 4096);
    // Words are read as atomics, so every section must begin at a multiple of 8.
    assert_eq!(layout.metadata_offset(0) % 8, 0);
    assert_eq!(layout.error_log_offset() % 8, 0);
    assert_eq!(layout.counter_capacity(), 64);
}

#[test]
fn a_file_that_is_not_ready_or_too_new_is_refused() {
    let layout = CncLayout::new(64, 4096);
    let length = layout.file_length();
    assert_eq!(CncLayout::decode(&layout.encode(&IDENTITY), length), Err(CncFormatError::NotReady));
    let mut header = ready_header(&layout);
    header[2] = 1;
    let error = CncLayout::decode(&header, length).unwrap_err();
    assert_eq!(error, CncFormatError::Version(0x1_0200));
    assert!(error.to_string().contains("1.2.0"), "{error}");
    assert_eq!(CncLayout::decode(&header[..127], length), Err(CncFormatError::Truncated));
}

#[test]
fn a_file_shorter_than_its_sections_is_refused() {
    let layout = CncLayout::new(64, 4096);
    let found = layout.error_log_offset();
    let error = CncLayout::decode(&ready_header(&layout), found).unwrap_err();
    assert_eq!(error, CncFormatError::FileLength { expected: found + 4096, found });
}

#[test]
fn a_negative_or_odd_section_is_refused() {
    let layout = CncLayout::new(64, 4096);
    let mut header = ready_header(&layout);
    header[16..20].copy_from_slice(&(-128i32).to_le_bytes());
    let refused = CncFormatError::SectionLength { section: "counter values", length: -128 };
    assert_eq!(CncLayout::decode(&header, usize::MAX), Err(refused));
    header[16..20].copy_from_slice(&129i32.to_le_bytes());
    assert!(CncLayout::decode(&header, usize::MAX).is_err());
}

#[test]
fn labels_are_ascii_and_cut() {
    assert_eq!(label_bytes("Zürich"), b"Z?rich");
    assert_eq!(label_bytes(&"x".repeat(1000)).len(), LABEL_LENGTH_MAX);
    assert_eq!(cluster_label("Cluster commit-pos:", 3), "Cluster commit-pos: - clusterId=3");
    assert_eq!(cluster_service_label("n", 3, 1), "n - clusterId=3 serviceId=1");
}

#[test]
fn a_recording_counters_key_fits_whatever_the_source_is_called() {
    let (key, label) = recording_position_counter(7, -2, 100, "aeron:udp", &"é".repeat(200), 9);
    assert!(key.len() <= KEY_LENGTH_MAX);
    assert_eq!(&key[key.len() - 8..], 9i64.to_le_bytes());
    assert_eq!(label, "rec-pos: 7 -2 100 aeron:udp - archiveId=9");
}

#[test]
fn our_type_ids_are_distinct_and_clear_of_aerons() {
    let mut ids: Vec<_> = OWN_COUNTERS.iter().map(|kind| kind.type_id).collect();
    ids.dedup();
    assert_eq!(ids.len(), OWN_COUNTERS.len());
    assert!(ids.is_sorted() && ids[0] >= 10_000);
    assert_eq!(SYSTEM_LABELS[43], "Control protocol version");
}

proptest! {
    #[test]
    fn any_header_is_decoded_without_panic_and_its_records_lie_in_the_file(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        lengths in prop::array::uniform5(0i32..1 << 20),
        file_length in 0usize..1 << 23,
    ) {
        let _ = CncLayout::decode(&bytes, file_length);
        let mut header = [0; HEADER_LENGTH];
        header[1] = 2;
        for (index, length) in lengths.iter().enumerate() {
            header[4 + index * 4..8 + index * 4].copy_from_slice(&(length & !511).to_le_bytes());
        }
        if let Ok((layout, _)) = CncLayout::decode(&header, file_length) {
            prop_assert!(layout.heartbeat_offset() + 8 <= file_length);
            let last = layout.counter_capacity() - 1;
            prop_assert!(layout.metadata_offset(last) + METADATA_RECORD_LENGTH <= file_length);
            prop_assert!(layout.value_offset(last) + VALUE_RECORD_LENGTH <= file_length);
            prop_assert!(layout.error_log_offset() + layout.error_log_length() <= file_length);
        }
    }
}
