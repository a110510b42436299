//! What becomes of a request.

use super::*;

#[test]
fn positions_are_asked_and_told() {
    let mut rig = Rig::connected();
    let now_ns = rig.now_ns;
    let ids = [
        (rig.client.start_position(3, now_ns).unwrap(), RequestKind::StartPosition),
        (rig.client.stop_position(3, now_ns).unwrap(), RequestKind::StopPosition),
        (rig.client.recording_position(3, now_ns).unwrap(), RequestKind::RecordingPosition),
        (rig.client.max_recorded_position(3, now_ns).unwrap(), RequestKind::MaxRecordedPosition),
        (
            rig.client.find_last_matching_recording(0, "h:2", 100, -7, now_ns).unwrap(),
            RequestKind::FindLastMatchingRecording,
        ),
    ];
    assert_eq!(rig.sent_ids(), [52, 15, 12, 67, 16]);
    // Answers may overtake one another.
    for (correlation_id, request) in ids.into_iter().rev() {
        rig.ok(correlation_id.0, 4096);
        assert_eq!(rig.events(), [ArchiveEvent::Response { correlation_id, request, relevant_id: 4096 }]);
    }
    assert_eq!(rig.client.next_deadline_ns(), None);
}

#[test]
fn one_recording_is_described() {
    let mut rig = Rig::connected();
    let correlation_id = rig.client.list_recording(3, rig.now_ns).unwrap();
    assert_eq!(rig.sent_ids(), [10]);
    rig.describe(correlation_id, 3);
    let recording = Recording::from(&descriptor(0, 3));
    assert_eq!((recording.start_position, recording.stream_id), (64, 100));
    assert_eq!(rig.events(), [ArchiveEvent::Descriptor { correlation_id, recording }]);
    assert_eq!(rig.client.next_deadline_ns(), None);
    rig.describe(correlation_id, 3);
    assert_eq!(rig.events(), []);
    assert_eq!(rig.client.stats().unexpected_count, 1);
}

#[test]
fn an_unknown_recording_is_an_error_in_words() {
    let mut rig = Rig::connected();
    let correlation_id = rig.client.list_recording(3, rig.now_ns).unwrap();
    rig.respond(correlation_id.0, ControlResponseCode::RecordingUnknown, 3, "");
    assert_eq!(
        rig.events(),
        [ArchiveEvent::Error {
            correlation_id,
            request: RequestKind::ListRecording,
            code: ArchiveErrorCode::UnknownRecording,
            message: "list recording: unknown recording: 3".into(),
        }]
    );
    let correlation_id = rig.client.start_position(3, rig.now_ns).unwrap();
    rig.respond(correlation_id.0, ControlResponseCode::Error, 5, "unknown recording id: 3");
    assert_eq!(
        rig.events(),
        [ArchiveEvent::Error {
            correlation_id,
            request: RequestKind::StartPosition,
            code: ArchiveErrorCode::UnknownRecording,
            message: "unknown recording id: 3".into(),
        }]
    );
}

#[test]
fn a_listing_ends_where_the_archive_has_no_more() {
    let mut rig = Rig::connected();
    let correlation_id = rig.client.list_recordings(0, 10, rig.now_ns).unwrap();
    rig.describe(correlation_id, 0);
    rig.describe(correlation_id, 4);
    rig.respond(correlation_id.0, ControlResponseCode::RecordingUnknown, 5, "");
    let events = rig.events();
    assert_eq!(events.len(), 3);
    assert_eq!(events[2], ArchiveEvent::ListingEnded { correlation_id, count: 2 });
}

#[test]
fn a_listing_ends_at_the_count_that_was_asked_for() {
    let mut rig = Rig::connected();
    let correlation_id = rig.client.list_recordings(0, 2, rig.now_ns).unwrap();
    rig.describe(correlation_id, 0);
    // Each descriptor gives the next one time.
    rig.now_ns += TIMEOUT_NS - 1;
    rig.describe(correlation_id, 1);
    let events = rig.events();
    assert_eq!(events[2], ArchiveEvent::ListingEnded { correlation_id, count: 2 });
    rig.pass(TIMEOUT_NS);
    assert_eq!(rig.events(), []);
}

#[test]
fn a_bounded_replay_names_its_counter() {
    let mut rig = Rig::connected();
    let params = ReplayParams { position: 4096, ..ReplayParams::new(1, 100, "aeron:udp?endpoint=h:2") };
    let correlation_id = rig.client.bounded_replay(&params, 44, rig.now_ns).unwrap();
    let Ok(ArchiveRequest::BoundedReplay(request)) =
        ArchiveRequest::decode(rig.client.poll_request().unwrap())
    else {
        panic!("not a bounded replay")
    };
    assert_eq!((request.limit_counter_id, request.position), (44, 4096));
    assert_eq!((request.length, request.replay_stream_id), (REPLAY_ALL_AND_FOLLOW, 100));
    assert_eq!((request.file_io_max_length, request.replay_token), (-1, -1));
    assert_eq!((request.control_session_id, request.correlation_id), (SESSION, correlation_id.0));
    assert_eq!(request.replay_channel, "aeron:udp?endpoint=h:2");
}

#[test]
fn an_error_after_a_replay_was_granted_reaches_the_caller() {
    let mut rig = Rig::connected();
    let params = ReplayParams::new(1, 100, "aeron:udp?endpoint=h:2");
    let replay = rig.client.replay(&params, rig.now_ns).unwrap();
    let bounded = rig.client.bounded_replay(&params, 44, rig.now_ns).unwrap();
    rig.ok(replay.0, 43);
    rig.ok(bounded.0, 44);
    assert_eq!(rig.events().len(), 2);
    rig.respond(bounded.0, ControlResponseCode::Error, 0, "no connection established");
    assert_eq!(
        rig.events(),
        [ArchiveEvent::Error {
            correlation_id: bounded,
            request: RequestKind::BoundedReplay,
            code: ArchiveErrorCode::Generic,
            message: "no connection established".into(),
        }]
    );
    // Told once, and not at all of a replay that we stopped.
    rig.respond(bounded.0, ControlResponseCode::Error, 0, "no connection established");
    let stop = rig.client.stop_replay(43, rig.now_ns).unwrap();
    rig.ok(stop.0, 0);
    rig.events();
    rig.respond(replay.0, ControlResponseCode::Error, 0, "too late");
    assert_eq!(rig.events(), []);
    assert_eq!(rig.client.stats().unexpected_count, 2);
}

#[test]
fn a_request_without_an_answer_times_out_by_name() {
    let mut rig = Rig::connected();
    let sent = rig.client.stop_position(3, rig.now_ns).unwrap();
    assert_eq!(rig.sent_ids(), [15]);
    rig.pass(TIMEOUT_NS - 1);
    assert_eq!(rig.events(), []);
    let unsent = rig.client.start_position(3, rig.now_ns).unwrap();
    rig.pass(1);
    assert_eq!(
        rig.events(),
        [ArchiveEvent::TimedOut { correlation_id: sent, request: RequestKind::StopPosition }]
    );
    assert!(rig.client.is_connected(), "one lost answer does not end the session");
    rig.pass(TIMEOUT_NS);
    assert_eq!(
        rig.events(),
        [ArchiveEvent::TimedOut { correlation_id: unsent, request: RequestKind::StartPosition }]
    );
    assert_eq!(rig.sent_ids(), [], "a request that timed out is not sent any more");
    rig.ok(sent.0, 4096);
    assert_eq!(rig.events(), []);
    assert_eq!(rig.client.stats().timed_out_count, 2);
}
