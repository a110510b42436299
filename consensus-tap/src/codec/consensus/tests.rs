//! Golden bytes were written by the Java codecs of Aeron 1.51.0.

use super::*;
use crate::codec::sbe::{NULL_I32, NULL_I64};
use crate::codec::session::CLUSTER_PROTOCOL_VERSION;
use proptest::prelude::*;

const BACKUP_RESPONSE: &str = "3c004e006f0010000700000000000000010000000000000002000000000000000300000000000000020000000000000003000000000000002c00000000000000010000002c0001000900000000000000020000000000000003000000000000000010000000000000e803000000000000ffffffff0b000000302c612c622c632c642c65";
const STANDBY_SNAPSHOT: &str = "100051006f0010000700000000000000000300006c0000002c0002000900000000000000020000000000000003000000000000000010000000000000e8030000000000000000000006000000683a383031300a00000000000000020000000000000003000000000000000010000000000000e803000000000000ffffffff06000000683a38303130010000007800000000";

const SNAPSHOT: SnapshotEntry = SnapshotEntry {
    recording_id: 9,
    leadership_term_id: 2,
    term_base_log_position: 3,
    log_position: 4096,
    timestamp: 1000,
    service_id: -1,
};

fn assert_round_trips(hex: &str, message: ConsensusMessage<'_>, encode: impl Fn(&mut Vec<u8>)) {
    let bytes = hex::decode(hex).unwrap();
    assert_eq!(ConsensusMessage::decode(&bytes), Ok(message));
    let mut encoded = Vec::new();
    encode(&mut encoded);
    assert_eq!(hex::encode(encoded), hex);
}

#[test]
fn requests_match_javas_bytes() {
    let query = BackupQuery {
        correlation_id: 7,
        response_stream_id: 108,
        version: CLUSTER_PROTOCOL_VERSION,
        log_position: ANY_LOG_POSITION,
        response_channel: "aeron:udp?endpoint=s:1",
        encoded_credentials: Secret(&[]),
    };
    assert_round_trips(
        "18004d006f00100007000000000000006c00000000030000ffffffffffffff7f160000006165726f6e3a7564703f656e64706f696e743d733a3100000000",
        ConsensusMessage::BackupQuery(query),
        |out| query.encode(out),
    );
    let request = HeartbeatRequest {
        correlation_id: 7,
        response_stream_id: 108,
        response_channel: "x",
        encoded_credentials: Secret(&[]),
    };
    assert_round_trips(
        "0c004f006f00100007000000000000006c000000010000007800000000",
        ConsensusMessage::HeartbeatRequest(request),
        |out| request.encode(out),
    );
    let first = SnapshotEntry { service_id: 0, ..SNAPSHOT };
    let second = SnapshotEntry { recording_id: 10, ..SNAPSHOT };
    let entries = [first, second].map(|snapshot| StandbyEntry { snapshot, archive_endpoint: "h:8010" });
    let standby_snapshot = StandbySnapshot {
        correlation_id: 7,
        version: CLUSTER_PROTOCOL_VERSION,
        response_stream_id: 108,
        snapshots: StandbyEntries::new(&entries),
        response_channel: "x",
        encoded_credentials: Secret(&[]),
    };
    assert_round_trips(STANDBY_SNAPSHOT, ConsensusMessage::StandbySnapshot(standby_snapshot), |out| {
        standby_snapshot.encode(out);
    });
}

#[test]
fn responses_match_javas_bytes() {
    let response = BackupResponse {
        correlation_id: 7,
        log_recording_id: 1,
        log_leadership_term_id: 2,
        log_term_base_log_position: 3,
        last_leadership_term_id: 2,
        last_term_base_log_position: 3,
        commit_position_counter_id: 44,
        leader_member_id: 0,
        member_id: 1,
        snapshots: Snapshots::new(&[SNAPSHOT]),
        cluster_members: "0,a,b,c,d,e",
    };
    assert_round_trips(BACKUP_RESPONSE, ConsensusMessage::BackupResponse(response), |out| {
        response.encode(out);
    });
    let response = HeartbeatResponse { correlation_id: 7 };
    assert_round_trips(
        "080050006f0010000700000000000000",
        ConsensusMessage::HeartbeatResponse(response),
        |out| response.encode(out),
    );
}

#[test]
fn what_was_received_can_be_passed_on_as_it_is() {
    for (hex, count) in [(BACKUP_RESPONSE, 1), (STANDBY_SNAPSHOT, 2)] {
        let bytes = hex::decode(hex).unwrap();
        let mut encoded = Vec::new();
        match ConsensusMessage::decode(&bytes).unwrap() {
            ConsensusMessage::BackupResponse(response) => {
                assert_eq!((response.snapshots.len(), response.snapshots.iter().count()), (count, count));
                response.encode(&mut encoded);
            }
            ConsensusMessage::StandbySnapshot(snapshot) => {
                assert_eq!((snapshot.snapshots.len(), snapshot.snapshots.iter().count()), (count, count));
                snapshot.encode(&mut encoded);
            }
            other => panic!("unexpected {other:?}"),
        }
        assert_eq!(hex::encode(encoded), hex);
    }
}

#[test]
fn a_backup_response_without_snapshots_has_none() {
    let response = BackupResponse {
        correlation_id: 7,
        log_recording_id: 1,
        log_leadership_term_id: 2,
        log_term_base_log_position: 3,
        last_leadership_term_id: 2,
        last_term_base_log_position: 3,
        commit_position_counter_id: 67,
        leader_member_id: -1,
        member_id: 1,
        snapshots: Snapshots::new(&[]),
        cluster_members: "",
    };
    let mut bytes = Vec::new();
    response.encode(&mut bytes);
    let Ok(ConsensusMessage::BackupResponse(decoded)) = ConsensusMessage::decode(&bytes) else {
        panic!("not a backup response")
    };
    assert!(decoded.snapshots.is_empty());
    assert_eq!(decoded, response);
}

#[test]
fn a_member_of_an_older_version_has_no_member_id() {
    let mut bytes = hex::decode(BACKUP_RESPONSE).unwrap();
    bytes[0] = 56;
    bytes[6] = 9;
    bytes.drain(64..68);
    let Ok(ConsensusMessage::BackupResponse(response)) = ConsensusMessage::decode(&bytes) else {
        panic!("not a backup response")
    };
    assert_eq!((response.leader_member_id, response.member_id), (0, NULL_I32));
    assert_eq!(response.snapshots.iter().next(), Some(SNAPSHOT));
    assert_eq!(response.cluster_members, "0,a,b,c,d,e");
}

#[test]
fn a_backup_query_of_an_older_version_has_no_position() {
    let query = BackupQuery {
        correlation_id: 7,
        response_stream_id: 108,
        version: CLUSTER_PROTOCOL_VERSION,
        log_position: 4096,
        response_channel: "x",
        encoded_credentials: Secret(b"me"),
    };
    let mut bytes = Vec::new();
    query.encode(&mut bytes);
    bytes[0] = 16;
    bytes[6] = 15;
    bytes.drain(24..32);
    let older = BackupQuery { log_position: NULL_I64, ..query };
    assert_eq!(ConsensusMessage::decode(&bytes), Ok(ConsensusMessage::BackupQuery(older)));
}

#[test]
fn a_group_entry_of_a_newer_version_is_stepped_over() {
    let mut bytes = hex::decode(BACKUP_RESPONSE).unwrap();
    bytes[68] += 8;
    let entry_end = 72 + 44;
    bytes.splice(entry_end..entry_end, [0xff; 8]);
    let Ok(ConsensusMessage::BackupResponse(response)) = ConsensusMessage::decode(&bytes) else {
        panic!("not a backup response")
    };
    assert_eq!(response.snapshots.iter().collect::<Vec<_>>(), [SNAPSHOT]);
    assert_eq!(response.cluster_members, "0,a,b,c,d,e");
}

#[test]
fn a_group_that_promises_too_much_is_refused() {
    for hex in [BACKUP_RESPONSE, STANDBY_SNAPSHOT] {
        let golden = hex::decode(hex).unwrap();
        let mut bytes = golden.clone();
        let count_offset = 8 + usize::from(bytes[0]) + 2;
        bytes[count_offset] = 200;
        assert_eq!(ConsensusMessage::decode(&bytes), Err(DecodeError::Truncated));
        for length in 0..golden.len() {
            assert_eq!(ConsensusMessage::decode(&golden[..length]), Err(DecodeError::Truncated));
        }
    }
}

#[test]
fn messages_among_members_are_left_to_them() {
    // AppendPosition
    let bytes = hex::decode("150036006f001000010000000000000002000000000000000300000001").unwrap();
    assert_eq!(ConsensusMessage::decode(&bytes), Ok(ConsensusMessage::Unknown(54)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ConsensusMessage::decode(&bytes);
    }

    #[test]
    fn any_body_of_a_known_template_is_read_or_refused(
        template in prop::sample::select(vec![2_u8, 7, 8, 77, 78, 79, 80, 81]),
        block_length in 0_u8..70,
        body in prop::collection::vec(prop_oneof![4 => Just(0_u8), 1 => any::<u8>()], 0..300),
    ) {
        let mut bytes = vec![block_length, 0, template, 0, 111, 0, 16, 0];
        bytes.extend(body);
        match ConsensusMessage::decode(&bytes) {
            Ok(ConsensusMessage::BackupResponse(response)) => {
                prop_assert_eq!(response.snapshots.iter().count(), response.snapshots.len());
            }
            Ok(ConsensusMessage::StandbySnapshot(snapshot)) => {
                prop_assert_eq!(snapshot.snapshots.iter().count(), snapshot.snapshots.len());
            }
            _ => {}
        }
    }

    #[test]
    fn any_member_list_is_read_or_refused(text in "[0-9a-z,|=:]{0,200}") {
        let _ = parse_cluster_members(&text);
        let _ = parse_ingress_endpoints(&text);
    }
}
