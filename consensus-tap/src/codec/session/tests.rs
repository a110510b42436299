//! Golden bytes were written by the Java codecs of Aeron 1.51.0.

use super::*;
use crate::codec::sbe::{NULL_I32, NULL_I64};
use proptest::prelude::*;

macro_rules! round_trips {
    ($name:ident { $($field:ident: $value:expr),+ $(,)? }, $hex:literal) => {{
        let bytes = hex::decode($hex).unwrap();
        let value = $name { $($field: $value),+ };
        assert_eq!($name::decode(&Message::parse(&bytes).unwrap()), Ok(value));
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        assert_eq!(hex::encode(encoded), $hex);
    }};
}

#[test]
fn client_messages_match_javas_bytes() {
    round_trips!(
        SessionMessageHeader { leadership_term_id: 1, cluster_session_id: 2, timestamp: 3 },
        "180001006f001000010000000000000002000000000000000300000000000000"
    );
    round_trips!(
        SessionMessageHeader {
            leadership_term_id: 1,
            cluster_session_id: i64::from_le_bytes([5, 0, 0, 0, 0, 0, 0, 0x81]),
            timestamp: 3
        },
        "180001006f001000010000000000000005000000000000810300000000000000"
    );
    round_trips!(
        SessionConnectRequest {
            correlation_id: 7,
            response_stream_id: 102,
            version: CLUSTER_PROTOCOL_VERSION,
            response_channel: "aeron:udp?endpoint=a:1",
            encoded_credentials: Secret(&[]),
            client_info: "name=",
        },
        "100003006f00100007000000000000006600000000030000160000006165726f6e3a7564703f656e64706f696e743d613a3100000000050000006e616d653d"
    );
    round_trips!(
        SessionCloseRequest { leadership_term_id: 1, cluster_session_id: 4 },
        "100004006f00100001000000000000000400000000000000"
    );
    round_trips!(
        SessionKeepAlive { leadership_term_id: 1, cluster_session_id: 4 },
        "100005006f00100001000000000000000400000000000000"
    );
    round_trips!(
        ChallengeResponse { correlation_id: 8, cluster_session_id: -1, encoded_credentials: Secret(&[9]) },
        "100008006f0010000800000000000000ffffffffffffffff0100000009"
    );
    round_trips!(
        AdminRequest {
            leadership_term_id: 1,
            cluster_session_id: 4,
            correlation_id: 7,
            request_type: AdminRequestType::Snapshot,
            payload: &[9],
        },
        "1c001a006f001000010000000000000004000000000000000700000000000000000000000100000009"
    );
}

#[test]
fn cluster_messages_match_javas_bytes() {
    round_trips!(
        SessionEvent {
            cluster_session_id: 4,
            correlation_id: 7,
            leadership_term_id: 1,
            leader_member_id: 2,
            code: EventCode::Ok,
            version: CLUSTER_PROTOCOL_VERSION,
            leader_heartbeat_timeout_ns: 10_000_000_000,
            detail: "",
        },
        "2c0002006f00100004000000000000000700000000000000010000000000000002000000000000000003000000e40b540200000000000000"
    );
    round_trips!(
        NewLeaderEvent {
            leadership_term_id: 5,
            cluster_session_id: 4,
            leader_member_id: 9,
            ingress_endpoints: "9=h:1"
        },
        "140006006f001000050000000000000004000000000000000900000005000000393d683a31"
    );
    round_trips!(
        Challenge { correlation_id: 7, cluster_session_id: -1, encoded_challenge: &[1, 2, 3] },
        "100007006f0010000700000000000000ffffffffffffffff03000000010203"
    );
    round_trips!(
        AdminResponse {
            cluster_session_id: 4,
            correlation_id: 7,
            request_type: AdminRequestType::Snapshot,
            response_code: AdminResponseCode::UnauthorisedAccess,
            message: "no",
            payload: &[9],
        },
        "18001b006f001000040000000000000007000000000000000000000002000000020000006e6f0100000009"
    );
}

#[test]
fn fields_that_an_older_sender_lacks_read_as_null() {
    // Version 12 of SessionEvent ends before the heartbeat timeout, version 5 before the version too.
    let golden = hex::decode(
        "2c0002006f00100004000000000000000700000000000000010000000000000002000000000000000003000000e40b540200000000000000",
    )
    .unwrap();
    let older = |block_length: u8, version: u8| {
        let mut bytes = golden[..8 + usize::from(block_length)].to_vec();
        bytes[0] = block_length;
        bytes[6] = version;
        bytes.extend_from_slice(&[2, 0, 0, 0, b'h', b'i']);
        bytes
    };
    let bytes = older(36, 12);
    let EgressMessage::Event(event) = EgressMessage::decode(&bytes).unwrap() else { panic!("not an event") };
    assert_eq!((event.version, event.leader_heartbeat_timeout_ns), (CLUSTER_PROTOCOL_VERSION, NULL_I64));
    assert_eq!(event.detail, "hi");
    let bytes = older(32, 5);
    let EgressMessage::Event(event) = EgressMessage::decode(&bytes).unwrap() else { panic!("not an event") };
    assert_eq!((event.version, event.leader_heartbeat_timeout_ns), (SemanticVersion::NULL, NULL_I64));
    assert_eq!((event.leader_member_id, event.detail), (2, "hi"));
}

#[test]
fn a_connect_request_of_an_older_client_has_no_client_info() {
    let mut bytes = Vec::new();
    SessionConnectRequest {
        correlation_id: 7,
        response_stream_id: 102,
        version: CLUSTER_PROTOCOL_VERSION,
        response_channel: "aeron:ipc",
        encoded_credentials: Secret(b"me"),
        client_info: "",
    }
    .encode(&mut bytes);
    bytes.truncate(bytes.len() - 4);
    bytes[6] = 13;
    let IngressMessage::Connect(request) = IngressMessage::decode(&bytes).unwrap() else {
        panic!("not a connect request")
    };
    assert_eq!((request.encoded_credentials, request.client_info), (Secret(b"me"), ""));
    bytes[6] = 14;
    assert_eq!(IngressMessage::decode(&bytes), Err(DecodeError::Truncated));
}

#[test]
fn a_newer_senders_longer_block_is_stepped_over() {
    let mut bytes = Vec::new();
    NewLeaderEvent {
        leadership_term_id: 5,
        cluster_session_id: 4,
        leader_member_id: 9,
        ingress_endpoints: "9=h:1",
    }
    .encode(&mut bytes);
    bytes[0] += 8;
    bytes[6] = 17;
    bytes.splice(28..28, [0xff; 8]);
    let EgressMessage::NewLeader(event) = EgressMessage::decode(&bytes).unwrap() else {
        panic!("not a new leader event")
    };
    assert_eq!((event.leader_member_id, event.ingress_endpoints), (9, "9=h:1"));
}

#[test]
fn a_session_message_keeps_its_payload() {
    let mut bytes = Vec::new();
    let header = SessionMessageHeader { leadership_term_id: 1, cluster_session_id: 2, timestamp: 0 };
    header.encode(&mut bytes);
    assert_eq!(bytes.len(), SESSION_HEADER_LENGTH);
    bytes.extend_from_slice(b"payload");
    assert_eq!(IngressMessage::decode(&bytes), Ok(IngressMessage::Session(header, b"payload")));
    assert_eq!(EgressMessage::decode(&bytes), Ok(EgressMessage::Session(header, b"payload")));
}

#[test]
fn an_enum_keeps_a_value_that_it_does_not_name() {
    assert_eq!(EventCode::from_i32(9), EventCode::Other(9));
    assert_eq!(EventCode::Other(9).to_i32(), 9);
    assert_eq!(AdminRequestType::from_i32(NULL_I32), AdminRequestType::Other(NULL_I32));
}

#[test]
fn another_schema_or_message_is_refused() {
    let mut bytes = Vec::new();
    SessionKeepAlive { leadership_term_id: 1, cluster_session_id: 4 }.encode(&mut bytes);
    assert_eq!(EgressMessage::decode(&bytes), Ok(EgressMessage::Unknown(5)));
    assert_eq!(
        SessionCloseRequest::decode(&Message::parse(&bytes).unwrap()),
        Err(DecodeError::UnexpectedTemplate(5))
    );
    bytes[4] = 101;
    assert_eq!(IngressMessage::decode(&bytes), Err(DecodeError::UnexpectedSchema(101)));
    assert_eq!(
        SessionKeepAlive::decode(&Message::parse(&bytes).unwrap()),
        Err(DecodeError::UnexpectedSchema(101))
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = EgressMessage::decode(&bytes);
        let _ = IngressMessage::decode(&bytes);
    }

    #[test]
    fn any_body_of_a_known_template_is_read_or_refused(
        template in prop::sample::select(vec![1_u8, 2, 3, 4, 5, 6, 7, 8, 26, 27]),
        block_length in 0_u8..60,
        version in 0_u8..20,
        body in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..200),
    ) {
        let mut bytes = vec![block_length, 0, template, 0, 111, 0, version, 0];
        bytes.extend(body);
        let _ = EgressMessage::decode(&bytes);
        let _ = IngressMessage::decode(&bytes);
    }
}
