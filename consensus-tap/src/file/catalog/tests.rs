use proptest::prelude::*;

use super::*;

fn descriptor(recording_id: i64) -> Descriptor {
    Descriptor {
        recording_id,
        start_timestamp: 1000,
        stop_timestamp: NULL_TIMESTAMP,
        start_position: 64,
        stop_position: NULL_POSITION,
        initial_term_id: 5,
        segment_file_length: 128 * 1024,
        term_buffer_length: 64 * 1024,
        mtu_length: 1408,
        session_id: 77,
        stream_id: 100,
        stripped_channel: "aeron:udp?endpoint=a:1".into(),
        original_channel: "aeron:udp?endpoint=a:1|alias=log".into(),
        source_identity: "10.0.0.1:5000".into(),
        ..Descriptor::default()
    }
}

fn image(descriptors: &[Descriptor]) -> Vec<u8> {
    let next = descriptors.last().map_or(0, |last| last.recording_id + 1);
    let mut out = Header::new(next).encode().to_vec();
    for descriptor in descriptors {
        out.extend(descriptor.encode_record(RecordState::Valid, ALIGNMENT).unwrap());
    }
    out
}

#[test]
fn a_record_has_javas_layout() {
    let bytes = image(&[descriptor(3)]);
    let i32_at = |at: usize| i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let i64_at = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((i32_at(0), i32_at(4), i64_at(8), i32_at(16)), (196_864, 32, 4, 64));
    // 112 + 3 * 4 + 22 + 32 + 13 bytes of strings, in slots of 64.
    assert_eq!((i32_at(32), i32_at(36), i32_at(40)), (192 - 32, 1, 0));
    assert_eq!((i64_at(32 + 48), i64_at(32 + 80)), (3, -1));
    assert_eq!(i32_at(32 + 104), 77);
    assert_eq!(&bytes[32 + 116..32 + 138], b"aeron:udp?endpoint=a:1");
    assert_eq!(bytes.len(), 32 + 192);
}

#[test]
fn records_end_at_the_first_length_of_zero() {
    let mut bytes = image(&[descriptor(0), descriptor(4)]);
    let end = bytes.len();
    bytes.resize(4096, 0);
    let catalog = Catalog::parse(&bytes).unwrap();
    assert_eq!(catalog.end, to_u64(end));
    assert_eq!(catalog.records[1].descriptor, descriptor(4));
    assert_eq!(catalog.find(4).unwrap().offset, 32 + 192);
    assert_eq!(catalog.find(3), None);
    assert_eq!(catalog.next_recording_id(), 5);
}

#[test]
fn a_record_that_was_marked_invalid_or_deleted_is_kept_but_not_found() {
    for state in [RecordState::Invalid, RecordState::Deleted] {
        let mut bytes = Header::new(1).encode().to_vec();
        bytes.extend(descriptor(0).encode_record(state, ALIGNMENT).unwrap());
        let catalog = Catalog::parse(&bytes).unwrap();
        assert_eq!(catalog.records[0].state, state);
        assert_eq!(catalog.find(0), None);
    }
}

#[test]
fn a_hidden_record_that_lost_its_descriptor_in_a_power_cut_is_passed_over() {
    let mut bytes = image(&[descriptor(3), descriptor(4), descriptor(5)]);
    let second = 32 + 192;
    bytes[second + RECORD_HEADER_LENGTH..second + 192].fill(0);
    assert!(Catalog::parse(&bytes).is_err(), "a valid one is damaged");
    bytes[second + 4..second + 8].copy_from_slice(&(RecordState::Invalid as i32).to_le_bytes());
    let catalog = Catalog::parse(&bytes).unwrap();
    let ids: Vec<i64> = catalog.records.iter().map(|record| record.descriptor.recording_id).collect();
    assert_eq!((ids, catalog.end), (vec![3, 5], to_u64(bytes.len())));
}

#[test]
fn faults_name_their_offset() {
    let fault = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = image(&[descriptor(0), descriptor(1)]);
        change(&mut bytes);
        Catalog::parse(&bytes).unwrap_err()
    };
    let second = 32 + 192;
    let error = fault(&|bytes| bytes.truncate(300));
    let expected = FormatError::Truncated { offset: 224, what: "record", expected: 192, found: 76 };
    assert_eq!(error, expected);
    assert_eq!(fault(&|bytes| bytes.truncate(20)).offset(), 0);
    assert_eq!(fault(&|bytes| bytes[2] = 2).offset(), 0);
    assert_eq!(fault(&|bytes| bytes[16] = 0).offset(), 16);
    assert_eq!(fault(&|bytes| bytes[second + 3] = 0x80).offset(), 224);
    assert_eq!(fault(&|bytes| bytes[second + 4] = 9).offset(), 228);
    assert_eq!(fault(&|bytes| bytes[second + 48] = 0).offset(), 224 + 48);
    let error = fault(&|bytes| bytes[second + 113] = 1);
    assert!(error.to_string().starts_with("at offset 340: stripped channel is cut short"), "{error}");
}

#[test]
fn a_header_that_is_older_than_the_records_gives_no_id_twice() {
    let mut bytes = image(&[descriptor(0), descriptor(1)]);
    bytes[8] = 1;
    assert_eq!(Catalog::parse(&bytes).unwrap().next_recording_id(), 2);
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let numbers = (any::<[i64; 6]>(), any::<[i32; 6]>());
    (numbers, "[ -~]{0,90}", "[ -~]{0,90}", "[ -~]{0,30}").prop_map(|((l, i), stripped, original, source)| {
        Descriptor {
            control_session_id: l[0],
            correlation_id: l[1],
            recording_id: 0,
            start_timestamp: l[2],
            stop_timestamp: l[3],
            start_position: l[4],
            stop_position: l[5],
            initial_term_id: i[0],
            segment_file_length: i[1],
            term_buffer_length: i[2],
            mtu_length: i[3],
            session_id: i[4],
            stream_id: i[5],
            stripped_channel: stripped,
            original_channel: original,
            source_identity: source,
        }
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(tail in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Catalog::parse(&tail);
        let mut bytes = Header::new(0).encode().to_vec();
        bytes.extend(tail);
        let _ = Catalog::parse(&bytes);
    }

    #[test]
    fn a_damaged_byte_is_read_without_a_panic(at in 0_usize..416, byte in any::<u8>()) {
        let mut bytes = image(&[descriptor(0), descriptor(1)]);
        bytes[at] = byte;
        if let Ok(catalog) = Catalog::parse(&bytes) {
            prop_assert!(catalog.end <= to_u64(bytes.len()));
        }
    }

    #[test]
    fn records_round_trip(descriptors in prop::collection::vec(any_descriptor(), 0..6)) {
        let descriptors: Vec<_> =
            descriptors.into_iter().zip(0..).map(|(d, recording_id)| Descriptor { recording_id, ..d }).collect();
        let catalog = Catalog::parse(&image(&descriptors)).unwrap();
        let read: Vec<_> = catalog.records.into_iter().map(|record| record.descriptor).collect();
        prop_assert_eq!(read, descriptors);
    }
}
