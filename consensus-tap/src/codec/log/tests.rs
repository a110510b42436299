use super::*;
use proptest::prelude::*;

fn check(hex: &str, event: LogEvent<'_>, encode: impl Fn(&mut Vec<u8>)) {
    let golden = hex::decode(hex).unwrap();
    assert_eq!(LogEvent::decode(&golden), Ok(event));
    let mut encoded = Vec::new();
    encode(&mut encoded);
    assert_eq!(hex::encode(encoded), hex);
}

#[test]
fn session_message_matches_what_java_writes() {
    let event = SessionMessage { leadership_term_id: 1, cluster_session_id: 2, timestamp: 3, payload: &[] };
    check(
        "180001006f001000010000000000000002000000000000000300000000000000",
        LogEvent::SessionMessage(event),
        |out| event.encode(out),
    );
}

#[test]
fn service_message_matches_what_java_writes() {
    let id = service_session_id(1, 5);
    assert_eq!(service_id_of(id), 1);
    let event = SessionMessage { leadership_term_id: 1, cluster_session_id: id, timestamp: 3, payload: &[] };
    check(
        "180001006f001000010000000000000005000000000000810300000000000000",
        LogEvent::SessionMessage(event),
        |out| event.encode(out),
    );
}

#[test]
fn timer_event_matches_what_java_writes() {
    let event = TimerEvent { leadership_term_id: 1, correlation_id: 77, timestamp: 1000 };
    check(
        "180014006f00100001000000000000004d00000000000000e803000000000000",
        LogEvent::Timer(event),
        |out| event.encode(out),
    );
}

#[test]
fn session_open_event_matches_what_java_writes() {
    let event = SessionOpenEvent {
        leadership_term_id: 1,
        correlation_id: 7,
        cluster_session_id: 4,
        timestamp: 1000,
        response_stream_id: 102,
        response_channel: "aeron:udp?endpoint=a:1",
        encoded_principal: &[],
    };
    check(
        "240015006f001000010000000000000007000000000000000400000000000000e80300000000000066000000160000\
         006165726f6e3a7564703f656e64706f696e743d613a3100000000",
        LogEvent::SessionOpen(event),
        |out| event.encode(out),
    );
}

#[test]
fn session_close_event_matches_what_java_writes() {
    let event = SessionCloseEvent {
        leadership_term_id: 1,
        cluster_session_id: 4,
        timestamp: 1000,
        close_reason: CloseReason::Timeout,
    };
    check(
        "1c0016006f00100001000000000000000400000000000000e80300000000000002000000",
        LogEvent::SessionClose(event),
        |out| event.encode(out),
    );
}

#[test]
fn cluster_action_request_matches_what_java_writes() {
    let event = ClusterActionRequest {
        leadership_term_id: 1,
        log_position: 4096,
        timestamp: 1000,
        action: ClusterAction::Snapshot,
        flags: ClusterActionRequest::STANDBY_SNAPSHOT,
    };
    check(
        "200017006f00100001000000000000000010000000000000e8030000000000000200000001000000",
        LogEvent::ClusterAction(event),
        |out| event.encode(out),
    );
}

#[test]
fn new_leadership_term_event_matches_what_java_writes() {
    let event = NewLeadershipTermEvent {
        leadership_term_id: 1,
        log_position: 96,
        timestamp: 1000,
        term_base_log_position: 0,
        leader_member_id: 2,
        log_session_id: -5,
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    };
    check(
        "300018006f00100001000000000000006000000000000000e803000000000000000000000000000002000000fbffff\
         ff0000000001000000",
        LogEvent::NewLeadershipTerm(event),
        |out| event.encode(out),
    );
}

#[test]
fn flags_and_units_that_an_old_version_lacks_take_their_defaults() {
    let mut bytes = Vec::new();
    let _ = Encoder::new(&mut bytes, header(23, 28)).i64(1).i64(96).i64(9).i32(0);
    let Ok(LogEvent::ClusterAction(event)) = LogEvent::decode(&bytes) else { panic!("{bytes:?}") };
    assert_eq!((event.action, event.flags), (ClusterAction::Suspend, 0));

    bytes.clear();
    let _ = Encoder::new(&mut bytes, header(24, 40)).i64(1).i64(96).i64(9).i64(0).i32(1).i32(2);
    let Ok(LogEvent::NewLeadershipTerm(event)) = LogEvent::decode(&bytes) else { panic!("{bytes:?}") };
    assert_eq!((event.time_unit, event.app_version), (ClusterTimeUnit::Millis, 0));
}

#[test]
fn a_longer_block_of_a_newer_version_is_stepped_over() {
    let mut bytes = Vec::new();
    let _ = Encoder::new(&mut bytes, header(1, 28)).i64(1).i64(2).i64(3).i32(99).payload(b"abc");
    let Ok(LogEvent::SessionMessage(event)) = LogEvent::decode(&bytes) else { panic!("{bytes:?}") };
    assert_eq!((event.timestamp, event.payload), (3, &b"abc"[..]));
}

#[test]
fn refuses_another_schema_a_short_block_and_an_unknown_enum_value() {
    let other_schema = hex::decode("180001006e0010000100000000000000020000000000000003000000000000").unwrap();
    assert!(LogEvent::decode(&other_schema).is_err());

    let mut bytes = Vec::new();
    let _ = Encoder::new(&mut bytes, MessageHeader { schema_id: 9, ..header(1, 24) }).i64(1).i64(2).i64(3);
    let refused = LogEvent::decode(&bytes);
    assert_eq!(refused, Err(EventError::Malformed(DecodeError::UnexpectedSchema(9))));

    bytes.clear();
    let _ = Encoder::new(&mut bytes, header(20, 16)).i64(1).i64(2);
    assert_eq!(LogEvent::decode(&bytes), Err(EventError::Malformed(DecodeError::Truncated)));

    bytes.clear();
    let _ = Encoder::new(&mut bytes, header(22, 28)).i64(1).i64(2).i64(3).i32(3);
    let refused = LogEvent::decode(&bytes);
    assert_eq!(refused, Err(EventError::UnknownValue { field: "closeReason", value: 3 }));
}

#[test]
fn membership_changes_and_unknown_templates_are_ignored() {
    for template_id in [25, 200] {
        let mut bytes = Vec::new();
        let _ = Encoder::new(&mut bytes, header(template_id, 8)).i64(1);
        assert_eq!(LogEvent::decode(&bytes), Ok(LogEvent::Ignored { template_id }));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
                                   template in prop_oneof![Just(1u8), 20u8..26]) {
        let _ = LogEvent::decode(&bytes);
        if bytes.len() >= 8 {
            bytes[1..8].copy_from_slice(&[0, template, 0, 111, 0, 16, 0]);
            let _ = LogEvent::decode(&bytes);
        }
    }

    #[test]
    fn the_fast_path_agrees_with_the_general_one(bytes in proptest::collection::vec(any::<u8>(), 24..64)) {
        let mut message = Vec::new();
        let _ = Encoder::new(&mut message, header(1, 24)).payload(&bytes);
        prop_assert_eq!(LogEvent::decode(&message), LogEvent::decode_any(&message));
    }
}
