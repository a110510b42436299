//! Golden bytes were written by the Java codecs of Aeron 1.51.0.

use super::*;
use crate::codec::message::Secret;
use crate::codec::sbe::{NULL_I32, NULL_I64};
use proptest::prelude::*;

macro_rules! round_trips {
    ($family:ident::$variant:ident, $name:ident { $($field:ident: $value:expr),+ $(,)? }, $hex:literal) => {{
        let bytes = hex::decode($hex).unwrap();
        let value = $name { $($field: $value),+ };
        assert_eq!($family::decode(&bytes), Ok($family::$variant(value)));
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        assert_eq!(hex::encode(encoded), $hex);
    }};
}

#[test]
fn requests_that_only_a_server_reads_match_javas_bytes() {
    round_trips!(
        ArchiveRequest::Connect,
        ConnectRequest {
            correlation_id: 67,
            response_stream_id: 20,
            version: ARCHIVE_PROTOCOL_VERSION,
            response_channel: "aeron:udp?endpoint=h:1",
        },
        "1000020065000d00430000000000000014000000000c0100160000006165726f6e3a7564703f656e64706f696e743d683a31"
    );
    round_trips!(
        ArchiveRequest::ListRecordingsForUri,
        ListRecordingsForUriRequest {
            control_session_id: 9,
            correlation_id: 74,
            from_recording_id: 3,
            record_count: 5,
            stream_id: 100,
            channel: "endpoint=h",
        },
        "2000090065000d0009000000000000004a00000000000000030000000000000005000000640000000a000000656e64706f696e743d68"
    );
    round_trips!(
        ArchiveRequest::ListRecordingSubscriptions,
        ListRecordingSubscriptionsRequest {
            control_session_id: 9,
            correlation_id: 74,
            pseudo_index: 2,
            subscription_count: 5,
            apply_stream_id: 1,
            stream_id: 100,
            channel: "endpoint=h",
        },
        "2000110065000d0009000000000000004a00000000000000020000000500000001000000640000000a000000656e64706f696e743d68"
    );
    round_trips!(
        ArchiveRequest::StopAllReplays,
        StopAllReplaysRequest { control_session_id: 9, correlation_id: 74, recording_id: 3 },
        "1800130065000d0009000000000000004a000000000000000300000000000000"
    );
    round_trips!(
        ArchiveRequest::ReplayToken,
        ReplayTokenRequest { control_session_id: 9, correlation_id: 74, recording_id: 3 },
        "1800690065000d0009000000000000004a000000000000000300000000000000"
    );
}

#[test]
fn of_a_request_that_would_change_an_archive_its_name_and_ids_are_read() {
    for (hex, name) in [
        (
            "1c003f0065000d0009000000000000004a000000000000000500000001000000000000000100000063",
            "start recording",
        ),
        ("1800680065000d0009000000000000004a000000000000000300000000000000", "purge recording"),
    ] {
        let bytes = hex::decode(hex).unwrap();
        let expected = ChangeRequest { name, control_session_id: 9, correlation_id: 74 };
        assert_eq!(ArchiveRequest::decode(&bytes), Ok(ArchiveRequest::Change(expected)));
    }
}

#[test]
fn session_requests_match_javas_bytes() {
    round_trips!(
        ArchiveRequest::AuthConnect,
        AuthConnectRequest {
            correlation_id: 67,
            response_stream_id: 20,
            version: ARCHIVE_PROTOCOL_VERSION,
            response_channel: "aeron:udp?endpoint=h:1",
            encoded_credentials: Secret(&[]),
            client_info: "x",
        },
        "10003a0065000d00430000000000000014000000000c0100160000006165726f6e3a7564703f656e64706f696e743d683a31000000000100000078"
    );
    round_trips!(
        ArchiveRequest::ChallengeResponse,
        ChallengeResponse { control_session_id: 9, correlation_id: 74, encoded_credentials: Secret(&[4, 5]) },
        "10003c0065000d0009000000000000004a00000000000000020000000405"
    );
    round_trips!(
        ArchiveRequest::KeepAlive,
        KeepAliveRequest { control_session_id: 9, correlation_id: -1 },
        "10003d0065000d000900000000000000ffffffffffffffff"
    );
    round_trips!(
        ArchiveRequest::ArchiveId,
        ArchiveIdRequest { control_session_id: 9, correlation_id: 74 },
        "1000440065000d0009000000000000004a00000000000000"
    );
    round_trips!(
        ArchiveRequest::CloseSession,
        CloseSessionRequest { control_session_id: 9 },
        "0800030065000d000900000000000000"
    );
}

#[test]
fn recording_requests_match_javas_bytes() {
    round_trips!(
        ArchiveRequest::ListRecordings,
        ListRecordingsRequest {
            control_session_id: 9,
            correlation_id: 74,
            from_recording_id: 3,
            record_count: 5
        },
        "1c00080065000d0009000000000000004a00000000000000030000000000000005000000"
    );
    round_trips!(
        ArchiveRequest::ListRecording,
        ListRecordingRequest { control_session_id: 9, correlation_id: 74, recording_id: 3 },
        "18000a0065000d0009000000000000004a000000000000000300000000000000"
    );
    round_trips!(
        ArchiveRequest::RecordingPosition,
        RecordingPositionRequest { control_session_id: 9, correlation_id: 74, recording_id: 3 },
        "18000c0065000d0009000000000000004a000000000000000300000000000000"
    );
    round_trips!(
        ArchiveRequest::StartPosition,
        StartPositionRequest { control_session_id: 9, correlation_id: 74, recording_id: 3 },
        "1800340065000d0009000000000000004a000000000000000300000000000000"
    );
    round_trips!(
        ArchiveRequest::StopPosition,
        StopPositionRequest { control_session_id: 9, correlation_id: 74, recording_id: 3 },
        "18000f0065000d0009000000000000004a000000000000000300000000000000"
    );
    round_trips!(
        ArchiveRequest::MaxRecordedPosition,
        MaxRecordedPositionRequest { control_session_id: 9, correlation_id: 74, recording_id: 3 },
        "1800430065000d0009000000000000004a000000000000000300000000000000"
    );
    round_trips!(
        ArchiveRequest::FindLastMatching,
        FindLastMatchingRecordingRequest {
            control_session_id: 9,
            correlation_id: 74,
            min_recording_id: 0,
            session_id: -7,
            stream_id: 100,
            channel: "endpoint=h",
        },
        "2000100065000d0009000000000000004a000000000000000000000000000000f9ffffff640000000a000000656e64706f696e743d68"
    );
}

#[test]
fn replay_requests_match_javas_bytes() {
    round_trips!(
        ArchiveRequest::Replay,
        ReplayRequest {
            control_session_id: 9,
            correlation_id: 74,
            recording_id: 1,
            position: 4096,
            length: REPLAY_ALL_AND_FOLLOW,
            replay_stream_id: 33,
            file_io_max_length: -1,
            replay_token: NULL_VALUE,
            replay_channel: "aeron:udp?endpoint=h:2",
        },
        "3800060065000d0009000000000000004a0000000000000001000000000000000010000000000000ffffffffffffffff21000000ffffffffffffffffffffffff160000006165726f6e3a7564703f656e64706f696e743d683a32"
    );
    round_trips!(
        ArchiveRequest::BoundedReplay,
        BoundedReplayRequest {
            control_session_id: 9,
            correlation_id: 74,
            recording_id: 1,
            position: 4096,
            length: REPLAY_ALL_AND_FOLLOW,
            limit_counter_id: 44,
            replay_stream_id: 33,
            file_io_max_length: -1,
            replay_token: NULL_VALUE,
            replay_channel: "aeron:udp?endpoint=h:2",
        },
        "3c00120065000d0009000000000000004a0000000000000001000000000000000010000000000000ffffffffffffffff2c00000021000000ffffffffffffffffffffffff160000006165726f6e3a7564703f656e64706f696e743d683a32"
    );
    round_trips!(
        ArchiveRequest::StopReplay,
        StopReplayRequest { control_session_id: 9, correlation_id: 74, replay_session_id: (1 << 32) | 43 },
        "1800070065000d0009000000000000004a000000000000002b00000001000000"
    );
}

#[test]
fn responses_match_javas_bytes() {
    round_trips!(
        ArchiveResponse::Control,
        ControlResponse {
            control_session_id: 9,
            correlation_id: 67,
            relevant_id: 9,
            code: ControlResponseCode::Ok,
            version: ARCHIVE_PROTOCOL_VERSION,
            error_message: "",
        },
        "2000010065000d0009000000000000004300000000000000090000000000000000000000000c010000000000"
    );
    round_trips!(
        ArchiveResponse::Control,
        ControlResponse {
            control_session_id: 9,
            correlation_id: 68,
            relevant_id: 5,
            code: ControlResponseCode::Error,
            version: ARCHIVE_PROTOCOL_VERSION,
            error_message: "bad",
        },
        "2000010065000d0009000000000000004400000000000000050000000000000001000000000c010003000000626164"
    );
    round_trips!(
        ArchiveResponse::Control,
        ControlResponse {
            control_session_id: 9,
            correlation_id: 67,
            relevant_id: 11,
            code: ControlResponseCode::RecordingUnknown,
            version: ARCHIVE_PROTOCOL_VERSION,
            error_message: "",
        },
        "2000010065000d00090000000000000043000000000000000b0000000000000002000000000c010000000000"
    );
    round_trips!(
        ArchiveResponse::Signal,
        RecordingSignalEvent {
            control_session_id: 9,
            correlation_id: 5,
            recording_id: 1,
            subscription_id: 73,
            position: 4096,
            signal: RecordingSignal::Sync,
        },
        "2c00180065000d000900000000000000050000000000000001000000000000004900000000000000001000000000000005000000"
    );
    round_trips!(
        ArchiveResponse::Challenge,
        Challenge {
            control_session_id: 9,
            correlation_id: 74,
            version: ARCHIVE_PROTOCOL_VERSION,
            encoded_challenge: &[1, 2, 3],
        },
        "14003b0065000d0009000000000000004a00000000000000000c010003000000010203"
    );
    round_trips!(ArchiveResponse::Ping, Ping { control_session_id: 9 }, "08006a0065000d000900000000000000");
    round_trips!(
        ArchiveResponse::Descriptor,
        RecordingDescriptor {
            control_session_id: 9,
            correlation_id: 74,
            recording_id: 3,
            start_timestamp: 1000,
            stop_timestamp: -1,
            start_position: 64,
            stop_position: -1,
            initial_term_id: -5,
            segment_file_length: 134_217_728,
            term_buffer_length: 65_536,
            mtu_length: 1408,
            session_id: -7,
            stream_id: 100,
            stripped_channel: "aeron:udp?endpoint=h:2",
            original_channel: "aeron:udp?endpoint=h:2|alias=x",
            source_identity: "127.0.0.1:5",
        },
        "5000160065000d0009000000000000004a000000000000000300000000000000e803000000000000ffffffffffffffff4000000000000000fffffffffffffffffbffffff000000080000010080050000f9ffffff64000000160000006165726f6e3a7564703f656e64706f696e743d683a321e0000006165726f6e3a7564703f656e64706f696e743d683a327c616c6961733d780b0000003132372e302e302e313a35"
    );
}

#[test]
fn a_descriptor_is_read_by_its_fields_and_not_by_its_length() {
    let mut bytes = Vec::new();
    let descriptor = RecordingDescriptor {
        control_session_id: 9,
        correlation_id: 74,
        recording_id: 3,
        start_timestamp: 0,
        stop_timestamp: 0,
        start_position: 0,
        stop_position: 0,
        initial_term_id: 0,
        segment_file_length: 0,
        term_buffer_length: 0,
        mtu_length: 0,
        session_id: 0,
        stream_id: 0,
        stripped_channel: "s",
        original_channel: "o",
        source_identity: "i",
    };
    descriptor.encode(&mut bytes);
    bytes.extend_from_slice(&[0; 26]);
    assert_eq!(ArchiveResponse::decode(&bytes), Ok(ArchiveResponse::Descriptor(descriptor)));
}

#[test]
fn fields_that_an_older_peer_lacks_read_as_null() {
    let mut bytes = Vec::new();
    let replay = ReplayRequest {
        control_session_id: 9,
        correlation_id: 74,
        recording_id: 1,
        position: 0,
        length: 64,
        replay_stream_id: 33,
        file_io_max_length: 5,
        replay_token: 6,
        replay_channel: "x",
    };
    replay.encode(&mut bytes);
    bytes[0] = 44;
    bytes[6] = 6;
    bytes.drain(52..64);
    let older = ReplayRequest { file_io_max_length: NULL_I32, replay_token: NULL_I64, ..replay };
    assert_eq!(ArchiveRequest::decode(&bytes), Ok(ArchiveRequest::Replay(older)));

    // Version 11 of AuthConnectRequest ends behind the credentials, version 3 of ControlResponse's block
    // before the version.
    let connect = hex::decode("10003a0065000b00430000000000000014000000000c0100010000007800000000").unwrap();
    let Ok(ArchiveRequest::AuthConnect(request)) = ArchiveRequest::decode(&connect) else {
        panic!("not a connect request")
    };
    assert_eq!((request.response_channel, request.client_info), ("x", ""));
    let response =
        hex::decode("1c000100650003000900000000000000430000000000000009000000000000000000000000000000")
            .unwrap();
    let Ok(ArchiveResponse::Control(response)) = ArchiveResponse::decode(&response) else {
        panic!("not a control response")
    };
    assert_eq!((response.code, response.version), (ControlResponseCode::Ok, SemanticVersion::NULL));
}

#[test]
fn another_schema_is_refused_and_another_template_is_told() {
    let mut bytes = hex::decode("08006a0065000d000900000000000000").unwrap();
    assert_eq!(ArchiveRequest::decode(&bytes), Ok(ArchiveRequest::Unknown(106)));
    bytes[2] = 107;
    assert_eq!(ArchiveResponse::decode(&bytes), Ok(ArchiveResponse::Unknown(107)));
    bytes[4] = 111;
    assert_eq!(ArchiveResponse::decode(&bytes), Err(DecodeError::UnexpectedSchema(111)));
    assert_eq!(ArchiveRequest::decode(&bytes), Err(DecodeError::UnexpectedSchema(111)));
}

#[test]
fn the_image_of_a_replay_has_the_low_bits_of_its_id() {
    assert_eq!(replay_image_session_id(0x1_0000_1092), 4242);
    assert_eq!(replay_image_session_id(0x1_ffff_fffb), -5);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ArchiveRequest::decode(&bytes);
        let _ = ArchiveResponse::decode(&bytes);
    }

    #[test]
    fn any_body_of_a_known_schema_is_read_or_refused(
        template in 0_u8..110,
        block_length in 0_u8..90,
        version in 0_u8..16,
        body in prop::collection::vec(prop_oneof![2 => Just(0_u8), 1 => any::<u8>()], 0..200),
    ) {
        let mut bytes = vec![block_length, 0, template, 0, 101, 0, version, 0];
        bytes.extend(body);
        let _ = ArchiveRequest::decode(&bytes);
        let _ = ArchiveResponse::decode(&bytes);
    }
}
