use super::*;
use crate::codec::sbe::MessageHeader;
use proptest::prelude::*;

fn check(hex: &str, message: SnapshotMessage<'_>, encode: impl Fn(&mut Vec<u8>)) {
    let golden = hex::decode(hex).unwrap();
    assert_eq!(SnapshotMessage::decode(&golden), Ok(message));
    let mut encoded = Vec::new();
    encode(&mut encoded);
    assert_eq!(hex::encode(encoded), hex);
}

#[test]
fn snapshot_marker_matches_what_java_writes() {
    let marker = SnapshotMarker {
        type_id: CONSENSUS_MODULE_TYPE_ID,
        log_position: 4096,
        leadership_term_id: 2,
        index: 0,
        mark: Some(SnapshotMark::Begin),
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    };
    check(
        "280064006f001000010000000000000000100000000000000200000000000000000000000000000000000000010000\
         00",
        SnapshotMessage::Marker(marker),
        |out| marker.encode(out),
    );
}

#[test]
fn consensus_module_matches_what_java_writes() {
    let module = ConsensusModule {
        next_session_id: 2,
        service_0: Some(ServiceCounters {
            next_service_session_id: i64::MIN + 1,
            log_service_session_id: i64::MIN,
            pending_message_capacity: 0,
        }),
    };
    check(
        "1c0069006f00100002000000000000000100000000000080000000000000008000000000",
        SnapshotMessage::ConsensusModule(module),
        |out| module.encode(out),
    );
}

#[test]
fn cluster_session_matches_what_java_writes() {
    let session = ClusterSession {
        cluster_session_id: 1,
        correlation_id: 7,
        opened_log_position: 192,
        time_of_last_activity: -1,
        close_reason: None,
        response_stream_id: 102,
        response_channel: "x",
    };
    check(
        "280067006f00100001000000000000000700000000000000c000000000000000ffffffffffffffff00000080660000\
         000100000078",
        SnapshotMessage::ClusterSession(session),
        |out| session.encode(out),
    );
}

#[test]
fn timer_matches_what_java_writes() {
    let timer = Timer { correlation_id: 77, deadline: 5000 };
    check("100068006f0010004d000000000000008813000000000000", SnapshotMessage::Timer(timer), |out| {
        timer.encode(out);
    });
}

#[test]
fn pending_message_tracker_matches_what_java_writes() {
    let tracker = PendingMessageTracker {
        counters: ServiceCounters {
            next_service_session_id: i64::MIN + 1,
            log_service_session_id: i64::MIN,
            pending_message_capacity: 0,
        },
        service_id: 0,
    };
    check(
        "18006b006f001000010000000000008000000000000000800000000000000000",
        SnapshotMessage::PendingMessageTracker(tracker),
        |out| tracker.encode(out),
    );
}

#[test]
fn client_session_matches_what_java_writes() {
    let session = ClientSession {
        cluster_session_id: 1,
        response_stream_id: 102,
        response_channel: "x",
        encoded_principal: &[1, 2],
    };
    check(
        "0c0066006f0010000100000000000000660000000100000078020000000102",
        SnapshotMessage::ClientSession(session),
        |out| session.encode(out),
    );
}

#[test]
fn a_session_that_is_open_is_not_read_as_closed_by_its_client() {
    let mut bytes = Vec::new();
    let open = ClusterSession {
        cluster_session_id: 1,
        correlation_id: 2,
        opened_log_position: 3,
        time_of_last_activity: -1,
        close_reason: Some(CloseReason::ClientAction),
        response_stream_id: 4,
        response_channel: "",
    };
    open.encode(&mut bytes);
    assert_eq!(SnapshotMessage::decode(&bytes), Ok(SnapshotMessage::ClusterSession(open)));
    bytes[40..44].copy_from_slice(&NULL_I32.to_le_bytes());
    let Ok(SnapshotMessage::ClusterSession(session)) = SnapshotMessage::decode(&bytes) else {
        panic!("{bytes:?}")
    };
    assert_eq!(session.close_reason, None);
}

#[test]
fn a_module_of_an_old_version_has_no_service_counters() {
    let mut bytes = Vec::new();
    let old = MessageHeader { version: 2, ..header(ConsensusModule::TEMPLATE_ID, 8) };
    let _ = Encoder::new(&mut bytes, old).i64(5);
    let module = ConsensusModule { next_session_id: 5, service_0: None };
    assert_eq!(SnapshotMessage::decode(&bytes), Ok(SnapshotMessage::ConsensusModule(module)));
}

#[test]
fn cluster_members_are_ignored_and_another_schema_is_refused() {
    let mut bytes = Vec::new();
    let _ = Encoder::new(&mut bytes, header(106, 8)).i32(1).i32(2).bytes(b"");
    assert_eq!(SnapshotMessage::decode(&bytes), Ok(SnapshotMessage::Ignored { template_id: 106 }));
    bytes[4] = 9;
    let refused = SnapshotMessage::decode(&bytes);
    assert_eq!(refused, Err(EventError::Malformed(DecodeError::UnexpectedSchema(9))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
                                   template in prop_oneof![Just(1u8), 100u8..108]) {
        let _ = SnapshotMessage::decode(&bytes);
        if bytes.len() >= 8 {
            bytes[1..8].copy_from_slice(&[0, template, 0, 111, 0, 16, 0]);
            let _ = SnapshotMessage::decode(&bytes);
        }
    }
}
