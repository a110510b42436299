//! Bytes that the official 1.51.0 encoders produced, and arbitrary ones.

use super::data::{EOS, UNFRAGMENTED};
use super::error_frame::{ERROR_LENGTH_MAX, IMAGE_REJECTED};
use super::*;
use proptest::prelude::*;

const SESSION_ID: i32 = 0x0102_0304;
const STREAM_ID: i32 = 1001;
const RECEIVER_ID: i64 = 0x1122_3344_5566_7788;

#[test]
fn setup_has_the_official_bytes() {
    let setup = Setup {
        flags: 0,
        term_offset: 64,
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        initial_term_id: -5,
        active_term_id: -4,
        term_length: 65_536,
        mtu: 1408,
        ttl: 0,
    };
    let official =
        hex::decode("28000000000005004000000004030201e9030000fbfffffffcffffff000001008005000000000000")
            .unwrap();
    assert_eq!(setup.encode().as_slice(), official);
    assert_eq!(Setup::parse(&official), Ok(setup));
    assert_eq!(
        setup.to_string(),
        "SETUP stream 1001 session 16909060 term -4 offset 64 initial -5 term length 65536 mtu 1408 ttl 0 \
         flags ."
    );
}

#[test]
fn status_message_has_the_official_bytes() {
    let message = StatusMessage {
        flags: status_message::END_OF_STREAM,
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        consumption_term_id: -4,
        consumption_term_offset: 96,
        receiver_window: 32_768,
        receiver_id: RECEIVER_ID,
        group_tag: None,
    };
    let official =
        hex::decode("240000000040030004030201e9030000fcffffff60000000008000008877665544332211").unwrap();
    let (bytes, length) = message.encode();
    assert_eq!(&bytes[..length], official);
    assert_eq!(StatusMessage::parse(&official), Ok(message));
    assert_eq!(
        message.to_string(),
        "SM stream 1001 session 16909060 term -4 offset 96 window 32768 receiver 0x1122334455667788 flags E"
    );

    let tagged = StatusMessage { group_tag: Some(-7), ..message };
    let (mut bytes, length) = tagged.encode();
    assert_eq!(StatusMessage::parse(&bytes[..length]), Ok(tagged));
    bytes[0] = 40;
    assert_eq!(StatusMessage::parse(&bytes), Err(Reject::BadLength), "half a group tag");
}

#[test]
fn nak_has_the_official_bytes() {
    let nak = Nak { session_id: SESSION_ID, stream_id: STREAM_ID, term_id: -4, term_offset: 96, length: 128 };
    let official = hex::decode("1c0000000000020004030201e9030000fcffffff6000000080000000").unwrap();
    assert_eq!(nak.encode().as_slice(), official);
    assert_eq!(Nak::parse(&official), Ok(nak));
    assert_eq!(nak.to_string(), "NAK stream 1001 session 16909060 term -4 offset 96 length 128");
}

#[test]
fn end_of_stream_heartbeat_has_the_official_bytes() {
    let header = DataHeader {
        frame_length: 0,
        flags: UNFRAGMENTED | EOS,
        frame_type: FrameType::Data,
        term_offset: 96,
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        term_id: -4,
        reserved_value: 0,
    };
    let official = hex::decode("0000000000e001006000000004030201e9030000fcffffff0000000000000000").unwrap();
    assert_eq!(header.encode().as_slice(), official);
    let frame = DataFrame::parse(&official).unwrap();
    assert_eq!(frame.header(), header);
    assert!(frame.is_heartbeat());
    assert_eq!(
        frame.to_string(),
        "HEARTBEAT stream 1001 session 16909060 term -4 offset 96 length 0 flags BES"
    );
}

#[test]
fn error_has_the_official_bytes() {
    let error = ErrorFrame {
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        receiver_id: RECEIVER_ID,
        group_tag: None,
        error_code: IMAGE_REJECTED,
        text: b"no",
    };
    let official =
        hex::decode("2a0000000000040004030201e9030000887766554433221100000000000000000d000000020000006e6f")
            .unwrap();
    let mut bytes = [0; ERROR_LENGTH_MAX];
    let length = error.encode(&mut bytes);
    assert_eq!(&bytes[..length], official);
    assert_eq!(ErrorFrame::parse(&official), Ok(error));
    assert_eq!(
        error.to_string(),
        "ERR stream 1001 session 16909060 receiver 0x1122334455667788 code 13 \"no\""
    );

    let mut too_long = official;
    too_long[36] = 3;
    assert_eq!(ErrorFrame::parse(&too_long), Err(Reject::BadLength), "text longer than its frame");
}

#[test]
fn rttm_is_answered_with_its_own_timestamp() {
    let asked = Rttm {
        flags: rttm::REPLY,
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        echo_timestamp_ns: i64::MIN + 1,
        reception_delta_ns: 9,
        receiver_id: RECEIVER_ID,
    };
    assert_eq!(Rttm::parse(&asked.encode()), Ok(asked));
    assert_eq!(asked.reply(), Rttm { flags: 0, reception_delta_ns: 0, ..asked });
}

#[test]
fn response_setup_survives_the_wire() {
    let setup = ResponseSetup { session_id: -1, stream_id: 2, response_session_id: i32::MIN };
    assert_eq!(ResponseSetup::parse(&setup.encode()), Ok(setup));
}

#[test]
fn resolution_entries_are_read_at_their_alignment() {
    let entry = "0180005001000000 7f000001 0200 6162";
    let second = "0200005002000000 00000000000000000000000000000001 0100 63";
    let bytes = hex::decode(format!("300000000000 0700 {entry} {second}").replace(' ', "")).unwrap();
    // Eight bytes of frame header, 16 of the first entry, 27 of the second.
    assert_eq!(bytes.len(), 8 + 16 + 27);
    let mut bytes = bytes;
    bytes[0] = 8 + 16 + 27;
    let frame = ResolutionFrame::parse(&bytes).unwrap();
    let entries: Vec<_> = frame.entries().map(|entry| entry.unwrap()).collect();
    assert_eq!(entries[0].name, b"ab");
    assert_eq!(entries[0].flags, resolution::SELF);
    assert_eq!(entries[0].address, "127.0.0.1:20480".parse().unwrap());
    assert_eq!(entries[1].address, "[::1]:20480".parse().unwrap());
    assert_eq!((entries[1].age_ms, entries[1].name), (2, b"c".as_slice()));
    assert_eq!(frame.to_string(), "RES ab=127.0.0.1:20480 c=[::1]:20480");
}

#[test]
fn another_version_or_type_is_rejected() {
    let mut bytes =
        Nak { session_id: 1, stream_id: 2, term_id: 3, term_offset: 0, length: 32 }.encode().to_vec();
    assert_eq!(Setup::parse(&bytes), Err(Reject::UnexpectedType));
    bytes[VERSION_OFFSET] = 1;
    assert_eq!(Nak::parse(&bytes), Err(Reject::BadVersion));
    bytes[VERSION_OFFSET] = 0;
    assert_eq!(Nak::parse(&bytes[..27]), Err(Reject::Truncated));
    bytes[LENGTH_OFFSET] = 29;
    assert_eq!(Nak::parse(&bytes), Err(Reject::BadLength));
    for closed in [0x08_u8, 0x09, 0x0A, 0xFF] {
        bytes[TYPE_OFFSET] = closed;
        assert_eq!(FrameType::of(&bytes), Err(Reject::UnknownType));
    }
}

#[test]
fn every_reject_has_its_own_index() {
    for (index, reject) in Reject::ALL.into_iter().enumerate() {
        assert_eq!(reject.index(), index);
    }
}

proptest! {
    /// Arbitrary bytes, half of them behind a plausible frame header, never panic a parser, and what
    /// parses is also printed.
    #[test]
    fn parsing_is_total(mut bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0_u16..16) {
        for plausible in [false, true] {
            if plausible && bytes.len() >= FRAME_HEADER_LENGTH {
                bytes[VERSION_OFFSET] = 0;
                bytes[TYPE_OFFSET..8].copy_from_slice(&kind.to_le_bytes());
                bytes[2] = 0;
                bytes[3] = 0;
            }
            let _ = Setup::parse(&bytes).map(|frame| frame.to_string());
            let _ = StatusMessage::parse(&bytes).map(|frame| frame.to_string());
            let _ = Nak::parse(&bytes).map(|frame| frame.to_string());
            let _ = Rttm::parse(&bytes).map(|frame| frame.to_string());
            let _ = ErrorFrame::parse(&bytes).map(|frame| frame.to_string());
            let _ = ResponseSetup::parse(&bytes).map(|frame| frame.to_string());
            let _ = ResolutionFrame::parse(&bytes).map(|frame| frame.to_string());
            let mut walk = frames(&bytes);
            let mut frame_count = 0;
            for frame in walk.by_ref().flatten() {
                frame_count += 1;
                prop_assert!(!frame.to_string().is_empty());
            }
            prop_assert!(frame_count * data::HEADER_LENGTH <= bytes.len());
        }
    }
}
