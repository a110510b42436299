//! What clients ask of recordings.

use super::*;

#[test]
fn recordings_are_listed_in_all_the_ways_there_are() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let list = |from_recording_id, record_count, correlation_id| ListRecordingsRequest {
        control_session_id,
        correlation_id,
        from_recording_id,
        record_count,
    };
    rig.clients[client].send(|out| list(0, 2, 10).encode(out));
    rig.clients[client].send(|out| list(4, 9, 11).encode(out));
    rig.clients[client].send(|out| list(8, 1, 12).encode(out));
    assert_eq!(rig.answer(client, 11), (Code::RecordingUnknown, 8, String::new()));
    assert_eq!(rig.answer(client, 12), (Code::RecordingUnknown, 8, String::new()));
    assert_eq!((rig.clients[client].listed(10), rig.clients[client].listed(11)), (vec![3, 5], vec![5, 7]));
    assert!(rig.clients[client].answers(10).is_empty(), "a full listing ends with its last descriptor");

    for (stream_id, channel, expected) in
        [(100, "number-", vec![3, 5, 7]), (100, "number-5", vec![5]), (101, "", vec![]), (100, "x", vec![])]
    {
        rig.clients[client].received.messages.clear();
        rig.clients[client].send(|out| {
            ListRecordingsForUriRequest {
                control_session_id,
                correlation_id: 13,
                from_recording_id: 0,
                record_count: 10,
                stream_id,
                channel,
            }
            .encode(out);
        });
        assert_eq!(rig.answer(client, 13).0, Code::RecordingUnknown);
        assert_eq!(rig.clients[client].listed(13), expected, "{stream_id} {channel}");
    }
    for recording_id in [STOPPED, 4] {
        rig.clients[client].send(|out| {
            ListRecordingRequest { control_session_id, correlation_id: recording_id + 100, recording_id }
                .encode(out);
        });
    }
    assert_eq!(rig.answer(client, 104), (Code::RecordingUnknown, 4, String::new()));
    assert_eq!(rig.clients[client].listed(103), [STOPPED]);
    rig.clients[client].send(|out| {
        ListRecordingSubscriptionsRequest {
            control_session_id,
            correlation_id: 20,
            pseudo_index: 0,
            subscription_count: 5,
            apply_stream_id: 0,
            stream_id: 0,
            channel: "",
        }
        .encode(out);
    });
    assert_eq!(rig.answer(client, 20).0, Code::SubscriptionUnknown);
}

#[test]
fn a_descriptor_is_as_long_as_the_catalogs_record() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    rig.clients[client].send(|out| {
        ListRecordingRequest { control_session_id, correlation_id: 2, recording_id: LOG }.encode(out);
    });
    rig.run_until("the descriptor", |rig| !rig.clients[client].listed(2).is_empty());
    let messages = rig.clients[client].received.messages.iter();
    let is_descriptor =
        |message: &&Vec<u8>| matches!(ArchiveResponse::decode(message), Ok(ArchiveResponse::Descriptor(_)));
    let message = messages.rev().find(is_descriptor).expect("it came");
    // 80 bytes of block, three strings with their lengths; the catalog pads them and its header to 64 bytes.
    let strings =
        "aeron:udp?endpoint=a:1".len() + "aeron:udp?endpoint=a:1|alias=number-7".len() + "b:2".len();
    assert_eq!(message.len(), 8 + (32 + 80 + 12 + strings).next_multiple_of(64) - 32);
}

#[test]
fn a_listing_longer_than_the_client_takes_at_once_is_whole_and_alone() {
    let mut store = store();
    (10..500).for_each(|id| store.add(id, 0, Vec::new(), true));
    let mut rig = Rig::new(store);
    let (client, control_session_id) = rig.connect();
    for correlation_id in [30, 31] {
        rig.clients[client].send(|out| {
            ListRecordingsRequest {
                control_session_id,
                correlation_id,
                from_recording_id: 0,
                record_count: 1_000,
            }
            .encode(out);
        });
    }
    assert_eq!(rig.answer(client, 31).1, 1, "one listing at a time");
    assert_eq!(rig.answer(client, 30), (Code::RecordingUnknown, 500, String::new()));
    assert_eq!(rig.clients[client].listed(30).len(), 493);
}

#[test]
fn positions_are_those_of_the_recording_stopped_or_not() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    let (stop, live) = (rig.store.end_position(STOPPED), rig.store.end_position(LOG));
    for (recording_id, expected) in [(STOPPED, [START, stop, -1, stop]), (LOG, [0, -1, live, live])] {
        let id = recording_id * 100;
        let to = &mut rig.clients[client];
        let correlation_id = id + 1;
        to.send(|out| StartPositionRequest { control_session_id, correlation_id, recording_id }.encode(out));
        let correlation_id = id + 2;
        to.send(|out| StopPositionRequest { control_session_id, correlation_id, recording_id }.encode(out));
        let correlation_id = id + 3;
        to.send(|out| {
            RecordingPositionRequest { control_session_id, correlation_id, recording_id }.encode(out)
        });
        let correlation_id = id + 4;
        to.send(|out| {
            MaxRecordedPositionRequest { control_session_id, correlation_id, recording_id }.encode(out);
        });
        let answers = [1, 2, 3, 4].map(|offset| rig.answer(client, id + offset));
        assert!(answers.iter().all(|answer| answer.0 == Code::Ok));
        assert_eq!(answers.map(|answer| answer.1), expected, "recording {recording_id}");
    }
    rig.clients[client].send(|out| {
        StopPositionRequest { control_session_id, correlation_id: 5, recording_id: 99 }.encode(out);
    });
    assert_eq!(rig.answer(client, 5), (Code::Error, 5, "unknown recording id: 99".to_owned()));
}

#[test]
fn the_last_matching_recording_is_found() {
    let mut rig = Rig::new(store());
    let (client, control_session_id) = rig.connect();
    for (correlation_id, min_recording_id, session_id, channel, expected) in [
        (1_000, 0, 900, "alias=number-", 7),
        (1_001, 0, 900, "number-3", 3),
        (1_002, 4, 900, "number-3", -1),
        (1_003, 0, 901, "", -1),
    ] {
        rig.clients[client].send(|out| {
            FindLastMatchingRecordingRequest {
                control_session_id,
                correlation_id,
                min_recording_id,
                session_id,
                stream_id: 100,
                channel,
            }
            .encode(out);
        });
        assert_eq!(rig.answer(client, correlation_id), (Code::Ok, expected, String::new()));
    }
}
